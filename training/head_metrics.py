# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Numbers that judge a classifier or a scorer, of sums or of all values of an evaluation set."""

import torch


def ranked_auroc(scores: torch.Tensor, positive: torch.Tensor) -> float | None:
    """
    P(a positive scores above a negative) + P(they tie) / 2, by average ranks (Mann and Whitney, 1947):
    `(R - n (n + 1) / 2) / (n m)`, where R is the sum of the ranks of the n positives among n + m.

    Args:
        scores (`torch.Tensor` of shape `(num,)`): Higher = likelier positive.
        positive (`torch.BoolTensor` of shape `(num,)`): The truth.

    Returns:
        `float` in [0, 1], or `None` where one of the two is absent.
    """
    num_positive, num_negative = int(positive.sum()), int((~positive).sum())
    if num_positive == 0 or num_negative == 0:
        return None
    _, group, size = scores.unique(return_inverse=True, return_counts=True)
    rank = size.cumsum(0) - (size.double() - 1) / 2
    above = rank[group][positive].sum() - num_positive * (num_positive + 1) / 2
    return float(above / num_positive / num_negative)


def classification_metrics(counts: torch.Tensor, right: torch.Tensor) -> dict[str, float]:
    """
    Accuracy, and its mean over the classes that occur.

    Args:
        counts, right (`torch.Tensor` of shape `(num_labels,)`): Tokens of each class, one or more in all, and
            those of them recognised.
    """
    present = counts > 0
    recalls = right[present] / counts[present]
    return {
        "accuracy": float(right.sum() / counts.sum()),
        "balanced_accuracy": float(recalls.mean()),
    }


def scoring_metrics(predictions: torch.Tensor, targets: torch.Tensor) -> dict[str, float]:
    """
    Mean squared and mean absolute error, and Pearson's correlation where both vary.

    Args:
        predictions, targets (`torch.Tensor` of shape `(num,)`): Scores.
    """
    predictions, targets = predictions.double(), targets.double()
    error = predictions - targets
    metrics = {"mse": float(error.square().mean()), "mae": float(error.abs().mean())}
    if (predictions != predictions[0]).any() and (targets != targets[0]).any():
        metrics["pearson"] = float(torch.corrcoef(torch.stack([predictions, targets]))[0, 1])
    return metrics
