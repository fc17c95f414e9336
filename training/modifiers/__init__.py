# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Loss modifiers: factors on, and a softer target for, the loss of the language model or of the sequence scorer.

Of the language model's loss (never of the critic's), per token or per sequence:

    target_smoothing    -sum_v q_v ln p_v with q = 1 - s on the true token and s / (V - 1) on every other ordinary one
    entropy             H = -sum q ln q / ln(number of q > eps), q = the prediction without the true token; mean over a
                        sequence; w = weight / (max(H, threshold) + eps) in [eps, 1000], rescaled to the mean 1
    mask_ratio_weight   w = (r + eps) ** -power in [min_weight, max_weight], r = supervised / real tokens
    judge_weight        w = (wrong / f(r)) ** e in [min_weight, max_weight], wrong = a frozen scorer's verdict on the
                        model's own filling, f(r) = r^4 - 2 r^3 + 2 r = how wrong is expected at this mask rate

Of the sequence scorer's loss, one factor for a micro-batch:

    sequence_variance     1 + (scale - 1) (1 - exp(-sharpness max(var(target) / var(prediction) - 1, 0)))
    sequence_correlation  the parabola through (1, 1), (0, sqrt(a)), (-1, a) at the correlation of the two

They work in training alone, in the order given, each on the result of the one before. Weights carry no gradient.
Statistics of a batch are those of one process's micro-batch; where it has fewer than two sequences the factor is 1.
"""

from critic_gpt.training.modifiers.base import LossModifier
from critic_gpt.training.modifiers.language_model import (
    EntropyWeight,
    JudgeWeight,
    MaskRatioWeight,
    TargetSmoothing,
    TokenLossBatch,
    expected_wrongness,
)
from critic_gpt.training.modifiers.pipeline import MODIFIERS, LossModifiers
from critic_gpt.training.modifiers.sequence_scoring import RowLossBatch, SequenceCorrelation, SequenceVariance


__all__ = [
    "EntropyWeight",
    "JudgeWeight",
    "LossModifier",
    "LossModifiers",
    "MODIFIERS",
    "MaskRatioWeight",
    "RowLossBatch",
    "SequenceCorrelation",
    "SequenceVariance",
    "TargetSmoothing",
    "TokenLossBatch",
    "expected_wrongness",
]
