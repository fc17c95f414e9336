# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What steps of generation leave: their outcome, the best sequences so far, the history.

Letters: A all rows, B rows at work, T positions.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch


# Where no token has been drawn; no probability is negative.
NOT_DRAWN = -1.0


class DenoisingStep(NamedTuple):
    """
    One step of the history, all (B, T): what went in, what stood there once masks were filled, what was re-masked,
    P(wrong) where the critic guided; and, of a model with a critic, the tokens it judged in this step with its raw
    logits about them, NaN in rows that were finished before.
    """

    input_ids: torch.Tensor
    filled: torch.Tensor
    remasked: torch.Tensor
    error_probabilities: torch.Tensor | None
    judged_ids: torch.Tensor | None = None
    critic_logits: torch.Tensor | None = None

    def each(self, function: Callable[[torch.Tensor], torch.Tensor]) -> "DenoisingStep":
        """What a function makes of each part that is there."""
        return DenoisingStep(*[None if part is None else function(part) for part in self])


class Complete(NamedTuple):
    """
    The best complete sequences so far: `tokens` (B, T), the `probability` (B, T) of each when drawn, `NOT_DRAWN` where
    none was, and which rows have one, `known` (B,).
    """

    tokens: torch.Tensor
    probability: torch.Tensor
    known: torch.Tensor


class StepOutcome(NamedTuple):
    """
    What a strategy made of one step, all (B, T): the tokens once masks were `filled`, the positions `remasked`, the
    tokens `after` it, where tokens were `drawn` and the model's `probability` of them, P(wrong) where the critic
    guided. `finished` (B,) says in which rows nothing is left to do; `None` where no row can finish early. `complete`
    is what a row is left with that has to end while masks are left, where a strategy keeps such.
    """

    filled: torch.Tensor
    remasked: torch.Tensor
    after: torch.Tensor
    drawn: torch.Tensor
    probability: torch.Tensor
    error_probabilities: torch.Tensor | None = None
    finished: torch.Tensor | None = None
    complete: Complete | None = None


class History:
    """The steps of a call so far, of all rows, on the CPU."""

    def __init__(self) -> None:
        self._steps: list[DenoisingStep] = []

    def add(self, *parts: Any) -> None:
        """Keeps a step, by the fields of [`DenoisingStep`]."""
        self._steps.append(DenoisingStep(*parts).each(torch.Tensor.cpu))

    def clone(self) -> None:
        """Makes plain tensors of what was made in `torch.inference_mode`."""
        self._steps = [step.each(torch.Tensor.clone) for step in self._steps]

    def of(self, rows: torch.Tensor | None) -> list[DenoisingStep]:
        """That of all rows (`None`), or of some of them."""
        if rows is None:
            return self._steps
        rows = rows.cpu()
        return [step.each(lambda part: part[rows]) for step in self._steps]
