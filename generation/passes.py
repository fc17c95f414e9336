# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How a pass of generation is made: by the shortest way that is open, of a text or beside kept keys and values.

Letters: B batch, T positions that a pass reads, W of the text around them.
"""

from collections.abc import Callable
from typing import Any

import torch

from critic_gpt.generation.compiled import Compiler
from critic_gpt.generation.pass_output import PassOutput


class Sight:
    """
    What passes see of a text beside the tokens that change, and what a model keeps of that from pass to pass.

    Args:
        mask (`torch.LongTensor` of shape `(B, W)`): 1 at real tokens.
        padded (`bool`): Whether there are others.
        position_ids (`torch.LongTensor` of shape `(B, T)`, *optional*): Where the tokens stand, if not all are read.
    """

    def __init__(self, mask: torch.Tensor, padded: bool, position_ids: torch.Tensor | None = None):
        self.mask, self.padded, self.position_ids = mask, padded, position_ids
        self.layout: Any = None  # of bare passes, made by the first one

    @property
    def hides(self) -> torch.Tensor | None:
        """The mask; `None` where it hides nothing: to look whether it does would wait for the device in each pass."""
        return self.mask if self.padded else None


class Passes:
    """
    The passes of one call of `generate`.

    Args:
        model: With `forward`.
        with_joint (`bool`): Whether tokens are drawn in the light of each other.
    """

    def __init__(self, model: Any, with_joint: bool):
        self.model, self._with_joint = model, with_joint
        self._can_be_bare = model.takes_bare_passes
        # Whether the strategy says of each prediction where it wants it.
        self.asks_where = False
        self.compiler: Compiler | None = None

    @property
    def are_bare(self) -> bool:
        """Whether passes go through the layers and nothing else. Then nobody else reads what they give."""
        return self.asks_where and self._can_be_bare

    def read(self, input_ids: torch.Tensor, sight: Sight, with_logits: bool, past_key_values: Any = None) -> Any:
        """
        What the model makes of tokens (B, T).

        Args:
            input_ids (`torch.LongTensor` of shape `(B, T)`): Tokens.
            sight ([`Sight`]): What else it sees.
            with_logits (`bool`): `False` leaves the logits out, where the model can.
            past_key_values ([`BlockCache`], *optional*): Keys and values that are kept.
        """
        if self.are_bare:
            return self._bare(input_ids, sight, with_logits, past_key_values)
        fields = {"past_key_values": past_key_values, "position_ids": sight.position_ids}
        fields = {name: value for name, value in fields.items() if value is not None}
        if not self.model.forward_is_ours:
            return self.model(input_ids=input_ids, return_dict=True, attention_mask=sight.mask, **fields)
        fields |= {"attention_mask": sight.hides, "return_logits": with_logits}
        return self.model(input_ids=input_ids, return_dict=True, **fields)

    def _bare(self, input_ids: torch.Tensor, sight: Sight, with_logits: bool, past_key_values: Any) -> PassOutput:
        how = sight.hides, self.layout(input_ids, sight, past_key_values), with_logits, self._with_joint
        if self.compiler is not None:
            return self.compiler(_bare_pass, input_ids, *how, kind=how[2:])
        return self.model.bare_pass(input_ids, *how, past_key_values)

    def verdict(self, input_ids: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
        """The critic's logits (B, T) of finished sequences, both arguments (B, T); nothing is predicted."""
        sight = Sight(attention_mask, padded=not bool(attention_mask.all()))
        if not self._can_be_bare:
            return self.read(input_ids, sight, with_logits=False).critic_logits
        how = sight.hides, self.layout(input_ids, sight)
        return self.model.bare_pass(input_ids, *how, with_logits=False, with_joint=False).critic_logits

    def layout(self, input_ids: torch.Tensor, sight: Sight, past_key_values: Any = None) -> Any:
        """What bare passes know of the places they see."""
        if sight.layout is None:
            sight.layout = self.model.layout_for(input_ids, sight.hides, sight.position_ids, past_key_values)
        return sight.layout

    def whole_step(
        self, function: Callable, input_ids: torch.Tensor, sight: Sight, *arguments: Any, kind: tuple
    ) -> Any:
        """
        A step as one compiled function of the model, tokens, the mask of attention, the layout of a bare pass, and
        whatever it takes.
        """
        assert self.compiler is not None
        layout = self.layout(input_ids, sight)
        return self.compiler(function, input_ids, sight.hides, layout, *arguments, kind=kind)


def _bare_pass(model: Any, *arguments: Any) -> Any:
    return model.bare_pass(*arguments)
