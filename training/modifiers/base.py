# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What the modifiers of both tasks share."""

import dataclasses
import math
import os
from dataclasses import dataclass
from typing import Any, ClassVar

import torch
from transformers import PreTrainedModel


EPSILON = 1e-8

# `{name: (sum, count)}`, scalars on the device: means of them can be taken over steps and processes.
Metrics = dict[str, tuple[torch.Tensor, torch.Tensor]]


# What a field may be given as, by its declared type, and how that is called.
_ACCEPTED: dict[Any, tuple[Any, str]] = {int: (int, "a whole number"), float: ((int, float), "a finite number")}
_ACCEPTED_MODEL: tuple[Any, str] = ((str, os.PathLike, PreTrainedModel), "a path or hub name, or a loaded model")


def at_least_float32(values: torch.Tensor) -> torch.Tensor:
    """At least float32, whatever the model computes in."""
    return values.to(torch.promote_types(values.dtype, torch.float32))


def mean_over(values: torch.Tensor, where: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """A sum over the places that count, and their number."""
    where = where.to(values.dtype)
    return (values.detach() * where).sum(), where.sum()


def scalar(value: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """One value of a micro-batch."""
    return value.detach(), torch.ones_like(value)


@dataclass(frozen=True)
class LossModifier:
    """One modifier: a name in files, the task whose loss it modifies, and validated fields."""

    name: ClassVar[str]
    task: ClassVar[str] = "language_model"
    # Whether it looks at the model's own filling, for which a batch should bring `fill_uniforms`.
    fills_masks: ClassVar[bool] = False

    def __post_init__(self):
        for field in dataclasses.fields(self):
            accepted, words = _ACCEPTED.get(field.type, _ACCEPTED_MODEL)
            value: Any = getattr(self, field.name)
            valid = isinstance(value, accepted) and not isinstance(value, bool)
            self._check(field.name, valid and not (isinstance(value, float) and not math.isfinite(value)), words)

    def _check(self, field: str, valid: bool, rule: str) -> None:
        if not valid:
            raise ValueError(
                f"`{field}` of {self.name} must be {rule}, got {getattr(self, field)!r}: correct it, or leave it out."
            )

    def _check_range(self, min_weight: float, max_weight: float) -> None:
        self._check("min_weight", min_weight > 0, "above 0")
        self._check("max_weight", max_weight >= min_weight, f"at least min_weight = {min_weight}")

    def modify(self, batch: Any, step: int) -> tuple[Any, ...]:
        """
        What it makes of a micro-batch of its task: for the language model cross-entropies (B, T) in place of the plain
        ones or `None`, a factor on the loss or `None`, and metrics; for the sequence scorer the factor and metrics.
        """
        raise NotImplementedError

    def to(self, device: torch.device | str) -> None:
        """Moves what the modifier holds; most hold nothing."""
