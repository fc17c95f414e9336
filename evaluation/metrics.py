# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Numbers that judge a critic: pure functions of scores and targets, given as numpy arrays, tensors or lists.

Everywhere `target` is 1 where the token is wrong and 0 where it is right, and a higher score means "likelier wrong".
Arrays of any shape are flattened; select the judged positions before (`critic_logits[critic_valid]`).
"""

from collections.abc import Mapping

import numpy as np
import torch

from critic_gpt.calibration.histogram import CriticHistogram
from critic_gpt.calibration.table import CriticCalibration
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
    if not np.isfinite(scores).all():
        count = (~np.isfinite(scores)).sum()
        raise ValueError(f"`{name}` must be finite, got {count} that are not: check the model's weights.")
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


def before_and_after(raw, calibrated, target) -> dict:
    """Two predictions of the same targets side by side.

    Args:
        raw, calibrated (array of any shape): P(wrong) in [0, 1], of the plain sigmoid and of a table.
        target (array of the same shape): 1 wrong, 0 right.

    Returns:
        `dict`: `before` (of `raw`) and `after` (of `calibrated`), each with `ece` (15 bins), `brier` and `auroc`
        (`None` if one class is absent); `positions`, `positive_rate`.
    """

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
    return before_and_after(logits.sigmoid(), calibration.error_probability(logits), target)


def cross_fitted_probability(critic_logits, target, sequence_index, method: str = "nearest") -> np.ndarray:
    """P(wrong) of every position by a table fitted on other sequences, so that figures of it are honest.

    Two folds, every other sequence in the order of their indices. The split is by sequence, because tokens of one
    sequence are right or wrong together.

    Args:
        critic_logits (array of any shape): raw scores, higher = more likely wrong.
        target (array of the same shape): 1 wrong, 0 right.
        sequence_index (array of the same shape): the sequence each position belongs to, any integers.
        method (`str`, *optional*, defaults to `"nearest"`): as in `CriticHistogram.fit`.

    Returns:
        `np.ndarray` of shape `(positions,)`: float32, in [0, 1].

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
    return calibrated.numpy()


def cross_fitted_report(critic_logits, target, sequence_index, method: str = "nearest") -> dict:
    """`calibration_report` with honest figures: every position is judged by a table fitted on other sequences.

    The probabilities of both halves are pooled before the figures are computed. Arguments and errors are those of
    `cross_fitted_probability`.

    Returns:
        `dict`: as `calibration_report`, and `sequences` (their number) and `method`.
    """
    calibrated = cross_fitted_probability(critic_logits, target, sequence_index, method)
    report = before_and_after(_as_logits(critic_logits).sigmoid(), calibrated, target)
    return {**report, "sequences": int(np.unique(_flat(sequence_index)).size), "method": method}


def calibration_shift(
    critic_logits, target, sequence_index, calibration: CriticCalibration, method: str = "nearest"
) -> dict:
    """How far a table is off where it was not made: at another temperature, under another sampler, on other data.

    Args:
        critic_logits (array of any shape): raw scores under the other conditions, higher = more likely wrong.
        target (array of the same shape): 1 wrong, 0 right.
        sequence_index (array of the same shape): the sequence each position belongs to, any integers.
        calibration (`CriticCalibration`): the table in question.
        method (`str`, *optional*, defaults to `"nearest"`): how the positions' own table is fitted.

    Returns:
        `dict`: `raw` (plain sigmoid), `table` (the one in question) and `own` (a table of these very positions,
        cross-fitted), each with `ece` (15 bins), `brier` and `auroc`; `positions`, `positive_rate`, `sequences` and
        `method`. `table` far above `own` says that the table has to be measured anew.

    Raises:
        `ValueError`: as `cross_fitted_report`.
    """
    own = cross_fitted_report(critic_logits, target, sequence_index, method)
    table = calibration_report(critic_logits, target, calibration)["after"]
    counted = {name: own[name] for name in ("positions", "positive_rate", "sequences", "method")}
    return {"raw": own["before"], "table": table, "own": own["after"], **counted}


def binned_errors(expected, actual, num_bins: int = 10) -> dict[str, np.ndarray]:
    """Expected against actual numbers of wrong tokens, in bins of (nearly) equally many sequences.

    Args:
        expected (array of any shape): expected number of wrong tokens of each sequence, at least 0.
        actual (array of the same shape): their true number.
        num_bins (`int`, *optional*, defaults to 10): how many bins; fewer where there are fewer sequences.

    Returns:
        `dict` of `np.ndarray` of shape `(bins,)`, by rising expectation: `expected` and `actual` (means),
        `standard_error` (of the mean of `actual`; NaN in a bin of one sequence) and `count` (sequences).
    """
    if not isinstance(num_bins, int) or num_bins < 1:
        raise ValueError(f"`num_bins` must be a positive integer, got {num_bins!r}; 10 gives deciles.")
    expected, actual = _flat(expected), _flat(actual)
    if expected.size != actual.size or expected.size == 0:
        raise ValueError(
            "`expected` and `actual` must have the same number of elements and at least one, got "
            f"{expected.size} and {actual.size}; pass both numbers of every sequence."
        )
    if not (np.isfinite(expected).all() and np.isfinite(actual).all()):
        raise ValueError("`expected` and `actual` must be finite, got NaN or infinity: check the model's weights.")
    order = np.argsort(expected, kind="stable")
    bins = np.array_split(order, min(num_bins, order.size))
    spread = [np.std(actual[part], ddof=1) / np.sqrt(part.size) if part.size > 1 else np.nan for part in bins]
    return {
        "expected": np.array([expected[part].mean() for part in bins]),
        "actual": np.array([actual[part].mean() for part in bins]),
        "standard_error": np.array(spread),
        "count": np.array([part.size for part in bins]),
    }
