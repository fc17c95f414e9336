# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Which table a critic gets: the way of fitting that is best on other sequences, and no worse one than it has."""

from collections.abc import Mapping
from typing import Any

from critic_gpt.calibration.histogram import FITTING_METHODS
from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.evaluation.metrics import calibration_report, cross_fitted_probability, expected_calibration_error


# What tells one measurement from another: a table judged on the tokens it was made of flatters itself.
_SAME_TOKENS = ("source", "dataset", "split", "num_sequences", "seed")
# A table on so many times as many tokens is not given up for one that was measured otherwise, or on luck.
FEWER = 2


def cross_fitted_errors(critic_logits, target, sequence_index) -> dict[str, float]:
    """
    ECE of each way of fitting a table, on sequences that the table was not made of.

    Args:
        critic_logits (array of any shape): Raw scores, higher = more likely wrong.
        target (array of the same shape): 1 wrong, 0 right.
        sequence_index (array of the same shape): The sequence each position belongs to.

    Returns:
        `dict`: By method, in order of preference where two are alike.
    """
    return {
        method: expected_calibration_error(
            cross_fitted_probability(critic_logits, target, sequence_index, method), target
        )
        for method in FITTING_METHODS
    }


def best_method(errors: Mapping[str, float]) -> str:
    """The method of the smallest error; of several the first."""
    return min(errors, key=lambda method: errors[method])


def reason_to_keep(
    old: CriticCalibration, new: CriticCalibration, critic_logits, target, way_of_measuring: Mapping[str, Any]
) -> str | None:
    """
    Why a table of the same weights should not be replaced by a new one.

    Args:
        old ([`CriticCalibration`]): The table that the weights have.
        new ([`CriticCalibration`]): The other, with its cross-fitted `quality`.
        critic_logits, target (array of any shape): What the new one was made of.
        way_of_measuring (`dict`): Those of its metadata that say how tokens came about.

    Returns:
        `str` or `None`: The reason, in words; `None` where the new one may take its place.
    """
    before, after = old.metadata, new.metadata
    tokens, fewer = (sum(metadata.get("counts") or [0]) for metadata in (before, after))
    if tokens >= FEWER * fewer:
        return f"it rests on {tokens:,} tokens, the new one on {fewer:,}"
    alike = all(before.get(name) == value for name, value in way_of_measuring.items())
    if alike and any(before.get(name) != after.get(name) for name in _SAME_TOKENS):
        error = calibration_report(critic_logits, target, old)["after"]["ece"]
        if error < after["quality"]["after"]["ece"]:
            ece = after["quality"]["after"]["ece"]
            return f"on these tokens its ECE is {error:.4f}, that of the new one {ece:.4f} (cross-fitted)"
    return None
