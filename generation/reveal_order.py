# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""In which order masks are revealed. Letters: B batch, T positions, V vocabulary."""

from collections.abc import Callable
from functools import partial

import torch

from critic_gpt.diffusion.selection import settle, unmasking_order
from critic_gpt.generation.prediction import highest


# In which order the adaptive ways of unmasking lift masks.
_ORDER_OF_ADAPTIVE = {"entropy_bound": "entropy", "confidence_threshold": "confidence"}


class RevealOrder:
    """
    An order of unmasking.

    Args:
        unmasking (`str`): The setting.
    """

    def __init__(self, unmasking: str):
        self._name = _ORDER_OF_ADAPTIVE.get(unmasking, unmasking)

    def opinion(self, drawn: bool) -> Callable[[torch.Tensor], torch.Tensor] | None:
        """
        What is read of all probabilities (..., V); `None` for nothing. Confidence means that of the token which was
        `drawn`, or of the likeliest.
        """
        if self._name in ("margin", "entropy"):
            return partial(unmasking_order, unmasking=self._name)
        return highest if self._name == "confidence" and not drawn else None

    def eagerness(
        self, said: torch.Tensor | None, probability: torch.Tensor, noise: Callable[[], torch.Tensor]
    ) -> torch.Tensor:
        """
        How eagerly masks are revealed (B, T), higher first.

        Args:
            said (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): The opinion.
            probability (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Of the tokens drawn, where
                there is none.
            noise (callable): Gives uniform numbers of this shape.
        """
        if said is not None and self._name != "confidence":
            return settle(said)
        probability = probability if said is None else said
        numbers = noise() if self._name == "random" else probability
        return settle(unmasking_order(None, probability, self._name, numbers))
