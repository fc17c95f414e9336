# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Windows that cover a text which is longer than a model takes, as plain numbers."""

from collections.abc import Sequence
from itertools import pairwise


def window_starts(length: int, window: int, stride: int) -> list[int]:
    """
    Where windows begin that cover a text. The last one ends where the text ends, and is as long as the others unless
    the text itself is shorter.

    Args:
        length (`int`): Tokens of the text; none need no window.
        window (`int`): Tokens of a window, at least 1.
        stride (`int`): Tokens that neighbours share, in [0, window); the last two may share more.
    """
    if length == 0:
        return []
    last = max(0, length - window)
    return [*range(0, last, window - stride), last]


def owned_ranges(starts: Sequence[int], length: int, window: int) -> list[tuple[int, int]]:
    """
    Which tokens each window speaks for, from `begin` to before `end`: those that no other window shows with more
    context, farther from the nearer of its cut edges. The ends of the text are no cut; of two equals the first speaks.
    """
    borders = [(before + window + after + 1) // 2 for before, after in pairwise(starts)]
    return list(pairwise([0, *borders, length])) if starts else []
