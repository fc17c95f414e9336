# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Schedules: which share of a canvas is masked at each step, and how many tokens a step re-masks.

Letters: B batch.
"""

import math
from collections.abc import Callable
from itertools import pairwise

import torch

from critic_gpt.diffusion.names import SCHEDULES, is_exponent


# Of the schedule "root": the visible share grows as progress to this power (docs/experiments/sampling-settings.md).
ROOT_EXPONENT = 0.6
Schedule = str | float | list[float] | Callable[[float], float]


def remask_ratios(schedule: Schedule, num_steps: int, start: float = 0.95, end: float = 0.05) -> list[float]:
    """
    Share of the sequence that is re-masked before each iteration of a fill-all strategy.

    Args:
        schedule (`str`, `float`, `list[float]` or callable): `"linear"`: `start - i / (N - 1) * (start - end)`;
            `"quadratic"` and `"cosine"`: the same two ends joined by a parabola or a quarter cosine wave; a number a,
            above 0: by `1 - progress ** a`; `"root"`: by the same with 0.6; a list with one ratio an iteration; or a
            function that gives the ratio for a progress in [0, 1]. A list and a function know no `start` and `end`.
        num_steps (`int`): Number of iterations N; a single iteration has the progress 1, hence the ratio `end`.
        start, end (`float`, *optional*, default to 0.95 and 0.05): Ratios in [0, 1] of the first and last iteration.

    Returns:
        `list[float]`: N ratios in [0, 1].
    """
    if isinstance(schedule, (list, tuple)):
        if len(schedule) != num_steps:
            raise ValueError(
                f"`schedule` must hold one ratio for each of the {num_steps} steps, got {len(schedule)}: "
                "change `num_steps` or the list."
            )
        ratios = [float(ratio) for ratio in schedule]
    else:
        progress = [i / (num_steps - 1) if num_steps > 1 else 1.0 for i in range(num_steps)]
        if callable(schedule):
            ratios = [float(schedule(p)) for p in progress]
        else:
            ratios = [end + (start - end) * _decay(schedule, p) for p in progress]
    for i, ratio in enumerate(ratios):
        if not 0.0 <= ratio <= 1.0:
            raise ValueError(
                f"`schedule` must give ratios in [0, 1], got {ratio} at step {i}: correct it, or its two ends."
            )
    return ratios


def reveal_shares(schedule: Schedule, num_steps: int) -> list[float]:
    """
    Share of the canvas that is visible after each denoising step, rising to 1.

    Args:
        schedule (`str`, `float`, `list[float]` or callable): `"linear"`, `"quadratic"` (many tokens first), `"root"`
            (many tokens first, but some left for the last steps), `"cosine"` (few tokens first); a number a, above 0:
            the visible share is `progress ** a`, with 0.6 under `"root"`; a list with the share still *masked* after
            each step, or a function giving the masked share for a progress in [0, 1].
        num_steps (`int`): Number of denoising steps.

    Returns:
        `list[float]`: `num_steps` shares in [0, 1], none smaller than the one before; the last is 1.
    """
    if not isinstance(schedule, (list, tuple)):
        curve = schedule if callable(schedule) else lambda progress: _decay(schedule, progress)
        schedule = [float(curve((i + 1) / num_steps)) for i in range(num_steps - 1)] + [0.0]
    masked = remask_ratios(schedule, num_steps)[:-1]
    for i, (before, after) in enumerate(pairwise(masked)):
        if after > before:
            raise ValueError(
                f"`schedule` must not rise where masks are only lifted, got {after} after {before} at step {i + 1}: "
                "let it fall."
            )
    return [*(1.0 - ratio for ratio in masked), 1.0]


def share_of(count: torch.Tensor, share: float) -> torch.Tensor:
    """
    The share (in [0, 1]) of each count, rounded down. Computed in integers, so that a third of 36 is 12 and 29 % of
    300 are 87 on every device; the 2**-20 added undoes the rounding of the share itself.
    """
    return (count * round(share * 2**40) + 2**20) >> 40


def remask_counts(count: torch.Tensor, remask_per_step: int | float) -> torch.Tensor:
    """
    How many tokens a step re-masks: that number, or of a float that share of the masks, rounded, one at least.

    Args:
        count (`torch.LongTensor` of shape `(batch_size,)`): Masks in each row.
        remask_per_step (`int` or `float`): A number of at least 0, or a share in (0, 1).
    """
    if isinstance(remask_per_step, int):
        return torch.full_like(count, remask_per_step)
    # Half a token more, rounded down, in integers as in `share_of`.
    return ((count * (2 * round(remask_per_step * 2**40)) + (2**40 + 2**20)) >> 41).clamp_(min=1)


def half_spread(total: torch.Tensor, step: int, num_steps: int) -> torch.Tensor:
    """
    How many tokens a step re-masks where half of all is spread evenly over the steps.

    Args:
        total (`torch.LongTensor` of shape `(batch_size,)`): Tokens of each row.
        step, num_steps (`int`): Which step, counted from 0, and how many there are.
    """
    return total * (step + 1) // (2 * num_steps) - total * step // (2 * num_steps)


def _decay(schedule: str | float, progress: float) -> float:
    """A curve from 1 at progress 0 to 0 at progress 1."""
    if isinstance(schedule, (int, float)) and is_exponent(schedule):
        return 1.0 - progress**schedule
    if schedule == "linear":
        return 1.0 - progress
    if schedule == "quadratic":
        return (1.0 - progress) ** 2
    if schedule == "root":
        return 1.0 - progress**ROOT_EXPONENT
    if schedule == "cosine":
        return math.cos(progress * math.pi / 2)
    raise ValueError(
        f"`schedule` must be {', '.join(SCHEDULES)}, a number above 0, a list or a function, got {schedule!r}: choose "
        "one."
    )
