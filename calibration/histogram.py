# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Turns critic scores into error probabilities: count, fit a table of 100 numbers, keep it by the weights, look up.

    histogram = CriticHistogram()
    for critic_logits, critic_target, critic_valid in judged_batches:
        histogram.update(critic_logits, critic_target, critic_valid)
    histogram.fit().save("my_model")                                       # -> my_model/calibration.json
    CriticCalibration.load("my_model").error_probability(critic_logits)    # P(this token is wrong), in [0, 1]

Histogram binning as a calibration map: Zadrozny and Elkan, ICML 2001; isotonic regression for the same end: the same
authors, KDD 2002. This file travels with a model to the hub: it needs nothing but torch and the libraries of the hub.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch

from critic_gpt.calibration.file import NUM_BUCKETS
from critic_gpt.calibration.table import CriticCalibration, score_buckets


# Ways to make a table, the ones that take most from what was observed first.
FITTING_METHODS = ("nearest", "isotonic", "raw")


def fill_nearest(rates: Sequence[float | None]) -> list[float]:
    """Fills empty buckets (`None`) from a neighbour: ascending, in place, the lower half looks up, the upper down.

    "In place" is part of the rule: a bucket filled a moment ago serves the next one as if it had been observed. Where
    one side has nothing the other is asked; if nothing was observed at all, every bucket becomes 0.0.
    """
    filled: list[Any] = list(rates)
    for index, rate in enumerate(filled):
        if rate is None:
            upward, downward = filled[index + 1 :], filled[:index][::-1]
            order = upward + downward if index < NUM_BUCKETS // 2 else downward + upward
            filled[index] = next((value for value in order if value is not None), 0.0)
    return filled


def fill_isotonic(counts: Sequence[int], positives: Sequence[int]) -> list[float]:
    """Count-weighted monotone regression (pool adjacent violators), linear between observed buckets, constant outside.

    A table made this way never calls a higher score safer. Block means are compared as fractions of integers, so no
    rounding decides which buckets are pooled. Ayer et al., 1955; Zadrozny and Elkan, KDD 2002.

    Takes judged tokens per bucket (at least one of them not 0) and the wrong ones among them; returns a non-decreasing
    list in [0, 1] of the same length.
    """
    blocks: list[list[int]] = []  # [positives, count, observed buckets]; their means strictly increase
    observed = [index for index, count in enumerate(counts) if count > 0]
    for index in observed:
        block = [positives[index], counts[index], 1]
        while blocks and blocks[-1][0] * block[1] >= block[0] * blocks[-1][1]:
            block = [left + right for left, right in zip(blocks.pop(), block, strict=True)]
        blocks.append(block)
    level = [block[0] / block[1] for block in blocks for _ in range(block[2])]

    filled, right = [], 0  # observed[right] is the first observed bucket at or above `index`
    for index in range(len(counts)):
        while right < len(observed) - 1 and observed[right] < index:
            right += 1
        left = max(right - 1, 0)
        low, high, span = level[left], level[right], observed[right] - observed[left]
        share = min(1.0, max(0.0, (index - observed[left]) / span)) if span else 0.0
        filled.append(min(high, low + (high - low) * share))  # min: the product may round one digit above `high`
    return filled


class CriticHistogram:
    """Counts of judged and of wrong tokens per bucket of the critic's score.

    Args:
        counts (`torch.Tensor` of shape `(100,)`, *optional*, defaults to zeros):
            judged tokens per bucket, for instance the sum over processes.
        positives (`torch.Tensor` of shape `(100,)`, *optional*, defaults to zeros):
            those with target 1 (wrong) among them.

    Raises:
        `ValueError`: a shape other than `(100,)`, or `0 <= positives <= counts` broken.
    """

    def __init__(self, counts: torch.Tensor | None = None, positives: torch.Tensor | None = None):
        zeros = torch.zeros(NUM_BUCKETS, dtype=torch.int64)
        self._counts = zeros.clone() if counts is None else counts.detach().to("cpu", torch.int64).clone()
        self._positives = zeros.clone() if positives is None else positives.detach().to("cpu", torch.int64).clone()
        for name, value in (("counts", self._counts), ("positives", self._positives)):
            if value.shape != (NUM_BUCKETS,):
                raise ValueError(
                    f"`{name}` must have shape ({NUM_BUCKETS},), got {tuple(value.shape)}; pass one count per bucket."
                )
        wrong = ((self._positives < 0) | (self._positives > self._counts)).nonzero().flatten().tolist()
        if wrong:
            raise ValueError(
                f"`positives` must lie between 0 and `counts` in every bucket, got {self._positives[wrong[0]].item()} "
                f"of {self._counts[wrong[0]].item()} in bucket {wrong[0]}; pass the arguments in this order."
            )

    @property
    def counts(self) -> torch.Tensor:
        """Judged tokens per bucket (`torch.LongTensor` of shape `(100,)`, on the CPU; a copy)."""
        return self._counts.clone()

    @property
    def positives(self) -> torch.Tensor:
        """Tokens with target 1 (wrong) per bucket (`torch.LongTensor` of shape `(100,)`, on the CPU; a copy)."""
        return self._positives.clone()

    def update(
        self, critic_logits: torch.Tensor, critic_target: torch.Tensor, critic_valid: torch.Tensor | None = None
    ) -> None:
        """Adds one batch. Either the whole batch is counted or, on an error, nothing of it.

        Args:
            critic_logits (`torch.Tensor` of any shape): raw scores, higher = more likely wrong.
            critic_target (`torch.Tensor` of the same shape): 1 where the token is wrong, 0 where it is right.
            critic_valid (`torch.Tensor` of the same shape, *optional*, defaults to every position):
                true where the position is judged; nothing is asked of the other positions.

        Raises:
            `ValueError`: shapes differ, a judged logit is NaN or infinite, or a judged target is neither 0 nor 1.
        """
        valid = torch.ones_like(critic_logits, dtype=torch.bool) if critic_valid is None else critic_valid.bool()
        for name, tensor in (("critic_target", critic_target), ("critic_valid", valid)):
            if tensor.shape != critic_logits.shape:
                raise ValueError(
                    f"`{name}` must have the shape of `critic_logits`, {tuple(critic_logits.shape)}, got "
                    f"{tuple(tensor.shape)}; pass the three tensors of one batch."
                )
        logits = critic_logits.detach()[valid].float().cpu()
        target = critic_target.detach()[valid].cpu()
        broken = int((~logits.isfinite()).sum())
        if broken:
            raise ValueError(
                f"`critic_logits` must be finite at judged positions, got {broken} that are not; check that "
                "the weights are finite, or calibrate in float32."
            )
        foreign = target[(target != 0) & (target != 1)]
        if foreign.numel():
            raise ValueError(
                f"`critic_target` must be 0 (right) or 1 (wrong) at judged positions, got {foreign[0].item()}; "
                "exclude the other positions with `critic_valid`."
            )
        buckets = score_buckets(logits)
        self._counts += torch.bincount(buckets, minlength=NUM_BUCKETS)
        self._positives += torch.bincount(buckets[target == 1], minlength=NUM_BUCKETS)

    def merge(self, other: "CriticHistogram") -> "CriticHistogram":
        """Adds the counts of another histogram (say, of another process) to this one and returns this one."""
        self._counts += other.counts
        self._positives += other.positives
        return self

    @property
    def positive_rate(self) -> float:
        """Share of judged tokens that are wrong, in [0, 1]. Raises `ValueError` on an empty histogram."""
        self._refuse_empty()
        return int(self._positives.sum()) / int(self._counts.sum())

    def positive_rate_from_buckets(self, probabilities: Sequence[float]) -> float:
        """The same share as a table sees it: the mean of `probabilities` (100 floats) over the judged tokens.

        Equal to `positive_rate` for a table fitted to this histogram; a difference says that the table is another's.
        """
        self._refuse_empty()
        expected = math.fsum(count * rate for count, rate in zip(self._counts.tolist(), probabilities, strict=True))
        return expected / int(self._counts.sum())

    def fit(self, method: str = "nearest", metadata: Mapping | None = None) -> CriticCalibration:
        """Makes the table: the share of wrong tokens per bucket, empty buckets filled.

        Args:
            method (`str`, *optional*, defaults to `"nearest"`):
                `"nearest"` keeps every observed rate and copies neighbours into gaps (see `fill_nearest`);
                `"isotonic"` also makes the table non-decreasing (see `fill_isotonic`); `"raw"` takes the score for the
                probability, the middle of each bucket, and only counts.
            metadata (`dict`, *optional*): kept beside `method`, `counts`, `positives`, `positive_rate`.

        Raises:
            `ValueError`: an unknown method or an empty histogram.
        """
        if method not in FITTING_METHODS:
            raise ValueError(f"`method` must be one of {', '.join(FITTING_METHODS)}, got {method!r}; choose one.")
        self._refuse_empty()
        counts, positives = self._counts.tolist(), self._positives.tolist()
        if method == "nearest":
            pairs = zip(positives, counts, strict=True)
            table = fill_nearest([wrong / count if count else None for wrong, count in pairs])
        elif method == "raw":
            table = [(index + 0.5) / NUM_BUCKETS for index in range(NUM_BUCKETS)]
        else:
            table = fill_isotonic(counts, positives)
        record = {"method": method, "counts": counts, "positives": positives, "positive_rate": self.positive_rate}
        return CriticCalibration(table, metadata={**record, **(metadata or {})})

    def format_table(self, probabilities: Sequence[float] | None = None) -> str:
        """The verbose table, one line per bucket: count, count of target 1, P(wrong) (0.0 where empty).

        `probabilities` (100 floats, *optional*), the saved table, goes beside the counts: they cannot disagree unseen.
        """
        lines = []
        for index, (count, wrong) in enumerate(zip(self._counts.tolist(), self._positives.tolist(), strict=True)):
            line = f"bucket {index:2d}  count {count:9d}  target1 {wrong:9d}  probability {wrong / max(count, 1):.6f}"
            lines.append(line if probabilities is None else f"{line}  saved {probabilities[index]:.6f}")
        return "\n".join(lines)

    def _refuse_empty(self) -> None:
        if not self._counts.any():
            raise ValueError(
                "`counts` must hold at least one judged token, got 0; call `update` with judged positions before."
            )


def bucket_sums(critic_logits: torch.Tensor, critic_target: torch.Tensor, critic_valid: torch.Tensor) -> torch.Tensor:
    """
    What the figures of a critic can be computed from, row by row and without waiting for the device: sums of rows,
    batches and processes add up, and `figures_from_buckets` reads the total.

    Args:
        critic_logits (`torch.Tensor` of shape `(batch_size, sequence_length)`): Raw scores, higher = likelier wrong.
        critic_target (`torch.Tensor` of shape `(batch_size, sequence_length)`): 1 wrong, 0 right.
        critic_valid (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Where the position is judged.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, 4, 100)`: for each bucket of p = sigmoid(logit) the judged tokens,
        the wrong ones, the sum of p and the sum of (p - target)^2.
    """
    logits, valid = critic_logits.detach().float(), critic_valid.bool()
    score, target = torch.sigmoid(logits), critic_target.detach().float()
    columns = torch.stack([torch.ones_like(score), target, score, (score - target) ** 2], dim=1)  # (B, 4, T)
    columns = columns.masked_fill(~valid[:, None, :], 0.0)
    index = score_buckets(logits)[:, None, :].expand_as(columns)
    return columns.new_zeros((*columns.shape[:2], NUM_BUCKETS)).scatter_add_(-1, index, columns)


def figures_from_buckets(sums: torch.Tensor) -> dict[str, float | None]:
    """
    AUROC, ECE and Brier score of the uncalibrated critic.

    Args:
        sums (`torch.Tensor` of shape `(4, 100)`): Of `bucket_sums`, added up over all rows in float64.

    Returns:
        `dict`: `auroc`, where two scores of one bucket count as tied (`None` if all tokens are right or all wrong);
        `ece` over the 100 buckets; `brier`, exact. All `None` if nothing was judged.
    """
    count, wrong, score, squares = sums.detach().cpu().double()
    total, num_wrong = float(count.sum()), float(wrong.sum())
    if total == 0:
        return {"auroc": None, "ece": None, "brier": None}
    right = count - wrong
    pairs = num_wrong * (total - num_wrong)
    below = right.cumsum(0) - right  # right tokens in the buckets below
    auroc = float((wrong * (below + right / 2)).sum()) / pairs if pairs else None
    return {"auroc": auroc, "ece": float((score - wrong).abs().sum()) / total, "brier": float(squares.sum()) / total}
