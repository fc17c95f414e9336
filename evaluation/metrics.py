# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Numbers that judge a critic: pure functions of scores and targets, given as numpy arrays, tensors or lists.

Everywhere `target` is 1 where the token is wrong and 0 where it is right, and a higher score means "likelier wrong".
Arrays of any shape are flattened; select the judged positions before (`critic_logits[critic_valid]`).
"""

from collections.abc import Mapping

import numpy as np
import torch

from critic_gpt.calibration_critic_gpt import CriticCalibration, CriticHistogram
from critic_gpt.training.head_metrics import ranked_auroc


def _flat(values) -> np.ndarray:
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _scores_and_target(scores, target, name: str, probability: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Both as flat float64 arrays, or one sentence about what is wrong with them."""
    scores, target = _flat(scores), _flat(target)
    if scores.size != target.size or scores.size == 0:
        raise ValueError(
            f"`{name}` and `target` must have the same number of elements and at least one, got {scores.size} and "
            f"{target.size}; select the judged positions of both."
        )
    if probability and not ((scores >= 0) & (scores <= 1)).all():
        value = scores[~((scores >= 0) & (scores <= 1))][0]
        raise ValueError(f"`{name}` must be in [0, 1], got {value}; apply a sigmoid or a calibration to raw logits.")
    if np.isnan(scores).any():
        raise ValueError(f"`{name}` must not be NaN, got {np.isnan(scores).sum()} NaN; check the model's weights.")
    if not np.isin(target, (0.0, 1.0)).all():
        value = target[~np.isin(target, (0.0, 1.0))][0]
        raise ValueError(f"`target` must be 0 (right) or 1 (wrong), got {value}; leave out positions not judged.")
    return scores, target


def reliability_bins(probability, target, num_bins: int = 15) -> dict[str, np.ndarray]:
    """What a reliability diagram shows: predicted against observed share of wrong tokens, per equal-width bin.

    Bin m of M holds the positions with (m-1)/M <= p < m/M, the last one p = 1 as well.

    Args:
        probability (array of any shape): predicted P(wrong), in [0, 1].
        target (array of the same shape): 1 wrong, 0 right.
        num_bins (`int`, *optional*, defaults to 15): M, the value of Guo et al., 2017.

    Returns:
        `dict` of `np.ndarray` of shape `(num_bins,)`: `probability` (mean prediction) and `rate` (share of wrong
        tokens), both NaN where the bin is empty, and `count`; `edges` has shape `(num_bins + 1,)`.
    """
    if not isinstance(num_bins, int) or num_bins < 1:
        raise ValueError(f"`num_bins` must be a positive integer, got {num_bins!r}; 15 is customary.")
    probability, target = _scores_and_target(probability, target, "probability")
    edges = np.linspace(0.0, 1.0, num_bins + 1)
    index = np.clip(np.searchsorted(edges, probability, side="right") - 1, 0, num_bins - 1)
    count = np.bincount(index, minlength=num_bins)
    divisor = np.where(count > 0, count, np.nan)
    return {
        "edges": edges,
        "count": count,
        "probability": np.bincount(index, weights=probability, minlength=num_bins) / divisor,
        "rate": np.bincount(index, weights=target, minlength=num_bins) / divisor,
    }


def calibration_error_of_bins(bins: Mapping[str, np.ndarray]) -> float:
    """`expected_calibration_error` of what `reliability_bins` returned."""
    return float(np.nansum(bins["count"] * np.abs(bins["probability"] - bins["rate"])) / np.sum(bins["count"]))


def expected_calibration_error(probability, target, num_bins: int = 15) -> float:
    """ECE = sum over bins m of (n_m / n) * |mean p in m - mean y in m|, in [0, 1], 0 is perfect.

    Naeini, Cooper and Hauskrecht, AAAI 2015; equal-width bins as in Guo et al., ICML 2017, eq. 3, here for the
    probability of one class ("wrong"). Arguments as in `reliability_bins`.
    """
    return calibration_error_of_bins(reliability_bins(probability, target, num_bins))


def brier_score(probability, target) -> float:
    """Mean of (p - y)^2, in [0, 1], 0 is perfect; it rewards sharp scores as well as honest ones. Brier, 1950.

    `probability` is P(wrong) in [0, 1] and `target` 1 (wrong) or 0 (right), arrays of one shape.
    """
    probability, target = _scores_and_target(probability, target, "probability")
    return float(np.mean((probability - target) ** 2))


def auroc(scores, target) -> float | None:
    """P(a wrong token scores above a right one) + P(they tie) / 2: the area under the ROC curve, 0.5 is chance.

    Tied scores share their average rank. A table of 100 values ties most tokens, so this matters here.

    Args:
        scores (array of any shape): logits or probabilities, higher = more likely wrong.
        target (array of the same shape): 1 wrong, 0 right.

    Returns:
        `float` in [0, 1], or `None` if all tokens are right or all are wrong.
    """
    scores, target = _scores_and_target(scores, target, "scores", probability=False)
    return ranked_auroc(torch.from_numpy(scores), torch.from_numpy(target == 1))


def summary_by_target(scores, target) -> dict[str, dict[str, float | int | None]]:
    """How the scores of right and of wrong tokens spread.

    Args:
        scores (array of any shape): any score, higher = more likely wrong.
        target (array of the same shape): 1 wrong, 0 right.

    Returns:
        `dict`: `{"right": {...}, "wrong": {...}}`, each with `count`, `mean`, `p10` and `p90` (10 % and 90 % quantile,
        linearly interpolated); `None` instead of a number where there is no such token.
    """
    scores, target = _scores_and_target(scores, target, "scores", probability=False)
    summary = {}
    for name, value in (("right", 0.0), ("wrong", 1.0)):
        chosen = scores[target == value]
        numbers = (chosen.mean(), *np.quantile(chosen, (0.1, 0.9))) if chosen.size else (None, None, None)
        mean, p10, p90 = (None if number is None else float(number) for number in numbers)
        summary[name] = {"count": int(chosen.size), "mean": mean, "p10": p10, "p90": p90}
    return summary


def _as_logits(critic_logits) -> torch.Tensor:
    """Flat float32 logits on the CPU: the precision in which tables are counted and read."""
    return torch.as_tensor(critic_logits).detach().to("cpu", torch.float32).reshape(-1)


def _report(raw, calibrated, target) -> dict:
    def judge(probability) -> dict[str, float | None]:
        return {
            "ece": expected_calibration_error(probability, target),
            "brier": brier_score(probability, target),
            "auroc": auroc(probability, target),
        }

    flat = _flat(target)
    return {
        "before": judge(raw),
        "after": judge(calibrated),
        "positions": int(flat.size),
        "positive_rate": float(flat.mean()),
    }


def calibration_report(critic_logits, target, calibration: CriticCalibration) -> dict:
    """What a table does for a critic: plain sigmoid ("before") against the table ("after").

    Judge on data that the table has not seen, or use `cross_fitted_report`; figures on the fitting data flatter.

    Args:
        critic_logits (array of any shape): raw scores, higher = more likely wrong.
        target (array of the same shape): 1 wrong, 0 right.
        calibration (`CriticCalibration`): the table.

    Returns:
        `dict`: `before` and `after`, each with `ece` (15 bins), `brier` and `auroc` (`None` if one class is absent;
        after, of the table's values alone, with their ties); `positions`, `positive_rate`.
    """
    logits = _as_logits(critic_logits)
    return _report(logits.sigmoid(), calibration.error_probability(logits), target)


def cross_fitted_report(critic_logits, target, sequence_index, method: str = "nearest") -> dict:
    """`calibration_report` with honest figures: every position is judged by a table fitted on other sequences.

    Two folds, every other sequence in the order of their indices. The split is by sequence, because tokens of one
    sequence are right or wrong together; the two halves' probabilities are pooled before the figures are computed.

    Args:
        critic_logits (array of any shape): raw scores, higher = more likely wrong.
        target (array of the same shape): 1 wrong, 0 right.
        sequence_index (array of the same shape): the sequence each position belongs to, any integers.
        method (`str`, *optional*, defaults to `"nearest"`): as in `CriticHistogram.fit`.

    Returns:
        `dict`: as `calibration_report`, and `sequences` (their number) and `method`.

    Raises:
        `ValueError`: shapes differ or there are fewer than two sequences.
    """
    logits = _as_logits(critic_logits)
    flat_target = torch.from_numpy(_scores_and_target(logits, target, "critic_logits", probability=False)[1])
    sequences, order = np.unique(_flat(sequence_index), return_inverse=True)
    if order.size != logits.numel() or sequences.size < 2:
        raise ValueError(
            "`sequence_index` must name at least two sequences, one index per position, got "
            f"{sequences.size} sequences and {order.size} indices for {logits.numel()} positions; calibrate on more "
            "sequences."
        )
    fold = torch.from_numpy(order % 2).bool()  # by rank, so that indices that are all even still make two halves
    calibrated = torch.empty_like(logits)
    for judged in (fold, ~fold):
        histogram = CriticHistogram()
        histogram.update(logits[~judged], flat_target[~judged])
        calibrated[judged] = histogram.fit(method).error_probability(logits[judged])
    report = _report(logits.sigmoid(), calibrated, flat_target)
    return {**report, "sequences": int(sequences.size), "method": method}
