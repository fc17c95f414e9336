# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Modifiers of the sequence scorer's loss: one factor for a micro-batch, from its statistics."""

import math
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch

from critic_gpt.training.modifiers.base import EPSILON, LossModifier, at_least_float32, mean_over, scalar


class RowLossBatch(NamedTuple):
    """The scorer's squared errors, its scores and the targets, all of shape (B,)."""

    row_loss: torch.Tensor
    predictions: torch.Tensor
    targets: torch.Tensor


def _several(values: torch.Tensor) -> torch.Tensor:
    """Whether there are statistics of a batch at all (a scalar, on the device, as the others here)."""
    return torch.full((), len(values) > 1, dtype=torch.bool, device=values.device)


def _varies(values: torch.Tensor) -> torch.Tensor:
    return values.amax() > values.amin()


def _variance(values: torch.Tensor) -> torch.Tensor:
    return (values - values.mean()).square().mean()


def _centred(values: torch.Tensor) -> torch.Tensor:
    """Distances from the mean, in units of the greatest, so that no square of a small one underflows."""
    values = values - values.mean()
    greatest = values.abs().amax()
    return values / torch.where(greatest > 0, greatest, 1.0)


@dataclass(frozen=True)
class SequenceVariance(LossModifier):
    """Raises the scorer's loss, up to `scale` times, while its scores vary less than the targets."""

    scale: float = 2.0
    sharpness: float = 1.5
    name: ClassVar[str] = "sequence_variance"
    task: ClassVar[str] = "sequence_scoring"

    def __post_init__(self):
        super().__post_init__()
        self._check("scale", self.scale >= 1, "at least 1")
        self._check("sharpness", self.sharpness > 0, "above 0")

    def modify(self, batch: RowLossBatch, step: int):
        predictions, targets = at_least_float32(batch.predictions).detach(), at_least_float32(batch.targets)
        # Of a single row both variances are 0, and so is the ratio: the factor is 1.
        ratio = _variance(targets) / _variance(predictions).clamp(min=EPSILON)
        factor = 1.0 + (self.scale - 1.0) * (1.0 - torch.exp(-self.sharpness * (ratio - 1.0).clamp(min=0.0)))
        return factor, {"variance_ratio": mean_over(ratio, _several(predictions)), "factor": scalar(factor)}


@dataclass(frozen=True)
class SequenceCorrelation(LossModifier):
    """
    Raises the scorer's loss while its scores do not rise and fall with the targets: 1 at a correlation of 1,
    `sqrt(max_factor)` at 0, `max_factor` at -1. Where one of the two does not vary at all there is no correlation, and
    the factor is 1.
    """

    max_factor: float = 4.0
    name: ClassVar[str] = "sequence_correlation"
    task: ClassVar[str] = "sequence_scoring"

    def __post_init__(self):
        super().__post_init__()
        self._check("max_factor", self.max_factor >= 1, "at least 1")

    def modify(self, batch: RowLossBatch, step: int):
        predictions, targets = at_least_float32(batch.predictions).detach(), at_least_float32(batch.targets)
        x, y = _centred(predictions), _centred(targets)
        # By the values themselves: of equal numbers, rounding leaves a small spread around their mean.
        defined = _varies(predictions) & _varies(targets)
        spread = (x.square().sum() * y.square().sum()).sqrt()
        correlation = ((x * y).sum() / torch.where(spread > 0, spread, 1.0)).clamp(-1.0, 1.0)
        a = self.max_factor
        factor = (0.5 * (1 + a) - math.sqrt(a)) * correlation**2 + 0.5 * (1 - a) * correlation + math.sqrt(a)
        factor = torch.where(defined, factor, 1.0)
        return factor, {"correlation": mean_over(correlation, defined), "factor": scalar(factor)}
