# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Numbers that say how good generated sequences are, one of each a row: by the model itself, its critic, a judge.

Letters: B batch, T positions.
"""

from collections.abc import Callable
from typing import Any

import torch

from critic_gpt.generation.answers import scores_of


QUANTILES = (0.1, 0.5, 0.9)


def mean_log_probability(probability: torch.Tensor, counted: torch.Tensor) -> torch.Tensor:
    """
    Mean natural logarithm of the probabilities of the counted tokens.

    Args:
        probability (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): In [0, 1] where counted.
        counted (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Which tokens count.

    Returns:
        `torch.FloatTensor` of shape `(batch_size,)`: at most 0; NaN for a row in which nothing counts.
    """
    # A draw at a high temperature may hit what float32 holds to be impossible: the smallest number, not infinity.
    logarithm = probability.clamp(min=torch.finfo(probability.dtype).tiny).log()
    return logarithm.masked_fill(~counted, 0.0).sum(dim=-1) / counted.sum(dim=-1)


def error_summary(error_probabilities: torch.Tensor, counted: torch.Tensor) -> dict[str, torch.Tensor]:
    """
    Mean and quantiles (linearly interpolated between neighbours) of P(wrong) over the counted tokens.

    Args:
        error_probabilities (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): P(wrong) in [0, 1].
        counted (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Which tokens count.

    Returns:
        `dict`: `error_mean`, `error_p10`, `error_p50`, `error_p90` of shape `(batch_size,)`; NaN for a row in which
        nothing counts, or in which a counted number is NaN: a broken score must not pass for none.
    """
    values = error_probabilities.masked_fill(~counted, float("nan"))
    quantiles = torch.nanquantile(values, values.new_tensor(QUANTILES), dim=-1)  # (3, B)
    names = ["error_mean", *(f"error_p{round(100 * q)}" for q in QUANTILES)]
    broken = (error_probabilities.isnan() & counted).any(dim=-1)
    numbers = (number.masked_fill(broken, float("nan")) for number in (values.nanmean(dim=-1), *quantiles))
    return dict(zip(names, numbers, strict=True))


def judge_wrongness(judge_model: Callable, sequences: torch.Tensor, attention_mask: torch.Tensor) -> torch.Tensor:
    """
    How wrong a judge holds each sequence to be.

    Args:
        judge_model (callable or sequence scorer): Called with `input_ids` and `attention_mask`; gives one number a
            row, as a tensor or as `logits`.
        sequences (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Finished sequences.
        attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`): 0 = padding.

    Returns:
        `torch.FloatTensor` of shape `(batch_size,)`: wrongness in [0, 1].
    """
    output: Any = judge_model(input_ids=sequences, attention_mask=attention_mask)
    scores = scores_of("judge_model", output)
    if scores.shape not in ((len(sequences),), (len(sequences), 1)):
        raise ValueError(
            f"`judge_model` must give one number for each of {len(sequences)} rows, got the shape "
            f"{tuple(scores.shape)}: pass a scorer (`num_labels=1`)."
        )
    scores = scores.reshape(-1)
    if not bool(((scores >= 0) & (scores <= 1)).all()):
        raise ValueError(
            f"`judge_model` must give a wrongness in [0, 1], got numbers from {scores.min():.4g} to "
            f"{scores.max():.4g}: pass a scorer that ends in a sigmoid, or a function that applies one."
        )
    return scores
