# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""From probabilities at one rate of errors to those at the rate of the text at hand."""

import torch


# A bucket in which nothing, or everything, was wrong is not certain.
_LEAST = 1e-4
# How many tokens at its own rate a table counts for against those of a text.
PRIOR_TOKENS = 20.0
_ROUNDS = 200


def at_own_rate(
    probabilities: torch.Tensor, judged: torch.Tensor, rate: float, prior_tokens: float = PRIOR_TOKENS
) -> torch.Tensor:
    """
    Error probabilities of a text at the rate of errors that the text itself shows (Saerens et al., "Adjusting the
    outputs of a classifier to new a priori probabilities", 2002, by expectation maximisation).

    A table that was measured where one token in fifty is wrong expects that of every text. What it knows beside is how
    much likelier a score is of wrong tokens than of right ones; with that the text's own rate is found.

    Args:
        probabilities (`torch.FloatTensor` of shape `(sequence_length,)`): P(wrong) by a table.
        judged (`torch.BoolTensor` of shape `(sequence_length,)`): Which tokens count.
        rate (`float`): Share of wrong tokens where the table was measured, in (0, 1).
        prior_tokens (`float`, *optional*, defaults to 20): Tokens that the table's rate counts for, at least 0.

    Returns:
        `torch.FloatTensor` of shape `(sequence_length,)`: P(wrong); 0 where nothing was judged.
    """
    if not 0.0 < rate < 1.0:
        raise ValueError(f"`rate` must be between 0 and 1, got {rate}: measure the table on texts with some errors.")
    chance = probabilities.double().clamp(_LEAST, 1.0 - _LEAST)
    # How much likelier the score is of a wrong token than of a right one.
    ratio = chance / (1.0 - chance) * ((1.0 - rate) / rate)
    present, count = rate, int(judged.sum())
    shifted = chance
    for _ in range(_ROUNDS if count else 0):
        odds = ratio * (present / (1.0 - present))
        shifted = odds / (1.0 + odds)
        found = float(shifted[judged].sum())
        updated = (prior_tokens * rate + found) / (prior_tokens + count)
        updated = min(max(updated, 1e-9), 1.0 - 1e-9)
        if abs(updated - present) < 1e-7:
            break
        present = updated
    return shifted.masked_fill(~judged, 0.0).to(probabilities.dtype)
