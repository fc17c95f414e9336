# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Cross-entropies per token of the heads' predictions. Letters: B batch, T positions, V vocabulary,
N positions that are chosen, C classes.
"""

import torch
from torch import nn

from critic_gpt.diffusion.corruption import suppress_tokens
from critic_gpt.diffusion.places import Places


def token_cross_entropy(
    logits: torch.Tensor,
    labels: torch.Tensor,
    mask_token_id: int | None,
    ignore_index: int = -100,
    places: Places | None = None,
) -> torch.Tensor:
    """
    Cross-entropy per token in nats (B, T), 0 at `ignore_index`; [MASK] itself is never a prediction. With `places` the
    logits (N, V) are those of these positions, and elsewhere it is 0.
    """
    if places is not None:
        return places.put(token_cross_entropy(logits, places.take(labels), mask_token_id, ignore_index))
    logits = suppress_tokens(logits, [] if mask_token_id is None else [mask_token_id])
    flat = nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).to(torch.promote_types(logits.dtype, torch.float32)),
        labels.reshape(-1),
        ignore_index=ignore_index,
        reduction="none",
    )
    return flat.view(labels.shape)


def remaining_token_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    left: torch.Tensor,
    num_tokens: torch.Tensor,
    mask_token_id: int | None,
    places: Places | None = None,
) -> torch.Tensor:
    """
    Cross-entropy (B, T) at the masks that a filling has left, weighted by the inverse of the rate at which they stand
    in their row: summed up, it estimates the diffusion bound given the filled tokens, as the weight 1/t does for masks
    that were drawn at the rate t (Nie et al., "Large Language Diffusion Models", 2025, eq. 6).

    Args:
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`): Predictions for the filled
            input.
        labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The truth, -100 elsewhere.
        left (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Where [MASK] still stands.
        num_tokens (`torch.LongTensor` of shape `(batch_size,)`): Tokens of which these are the masked ones.
        mask_token_id (`int`, *optional*): Id of [MASK], never a prediction.
        places ([`~diffusion.places.Places`], *optional*): Of which positions the logits are, `(N, vocab_size)`.
    """
    labels = labels.masked_fill(~left, -100)
    num_left = (labels != -100).sum(dim=-1)
    weights = num_tokens / num_left.clamp(min=1)  # 1 / rate; rows without masks have no loss to weigh
    return token_cross_entropy(logits, labels, mask_token_id, places=places) * weights[:, None]


def token_divergence(logits: torch.Tensor, target_logits: torch.Tensor, mask_token_id: int | None) -> torch.Tensor:
    """
    Kullback-Leibler divergence per token in nats (...,) of the predictions `logits` (..., V) from those that
    `target_logits` (..., V) make, to which no gradient flows; [MASK] itself is never a prediction.
    """
    never = [] if mask_token_id is None else [mask_token_id]
    dtype = torch.promote_types(logits.dtype, torch.float32)
    said = suppress_tokens(logits, never).to(dtype).log_softmax(dim=-1)
    meant = suppress_tokens(target_logits.detach(), never).to(dtype).log_softmax(dim=-1)
    # What is meant never adds nothing, where the difference of two infinities would be none.
    return (meant.exp() * (meant - said).masked_fill(meant == float("-inf"), 0.0)).sum(dim=-1)


def token_classes(labels: torch.Tensor) -> torch.Tensor:
    """Classes (B, T) with -100 where ignored, of hard labels (B, T) or of soft ones (B, T, C) by their maximum."""
    if labels.dim() == 3:
        return labels.argmax(dim=-1).masked_fill(labels.sum(dim=-1) <= 0, -100)
    return labels.masked_fill(labels == -1, -100)


def class_counts(classes: torch.Tensor, num_labels: int) -> torch.Tensor:
    """How often each class occurs in each row (B, C), of classes (B, T) with -100 where ignored."""
    counts = torch.zeros((len(classes), num_labels), device=classes.device)
    return counts.scatter_add(1, classes.clamp(min=0), (classes != -100).to(counts.dtype))


def token_classification_losses(logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
    """Cross-entropy per token (B, T) of logits (B, T, C) against labels as in [`token_classification_loss`]."""
    log_probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
    classes = token_classes(labels)
    if labels.dim() == logits.dim():
        token_loss = -(labels.to(log_probabilities.dtype) * log_probabilities).sum(dim=-1)
    else:
        token_loss = -log_probabilities.gather(-1, classes.clamp(min=0)[..., None]).squeeze(-1)
    return token_loss.masked_fill(classes == -100, 0.0)


def mean_over_classes(
    token_loss: torch.Tensor, classes: torch.Tensor, counts: torch.Tensor, balanced: bool
) -> torch.Tensor:
    """
    Weighted mean of token losses (B, T), 0 where ignored, by counts (C,) that may be those of a larger batch, of which
    these tokens are a part: the parts' means then add up to that of the whole.

    `balanced` weighs class c by `n_valid / (C * count_c)`, an absent class by 0.
    """
    counts = counts.to(token_loss.dtype)
    if not balanced:
        return token_loss.sum() / counts.sum().clamp(min=1)
    weights = torch.where(counts > 0, counts.sum() / (len(counts) * counts.clamp(min=1)), 0.0)
    total = (weights * counts).sum().clamp(min=torch.finfo(weights.dtype).tiny)
    return (token_loss * weights[classes.clamp(min=0)]).sum() / total


def token_classification_loss(logits: torch.Tensor, labels: torch.Tensor, balanced: bool) -> torch.Tensor:
    """
    Cross-entropy over tokens (B, T, C) against hard labels (B, T), -100 and -1 ignored, or soft labels (B, T, C), all
    zeros ignored.

    `balanced` weighs class c by `n_valid / (C * count_c)` of this batch, an absent class by 0; soft labels have no
    classes to count and are refused with it.
    """
    if balanced and labels.dim() == logits.dim():
        raise ValueError(
            "`balanced_class_weights` must be False with soft labels, got True: there are no classes to count."
        )
    classes = token_classes(labels)
    counts = class_counts(classes, logits.shape[-1]).sum(dim=0)
    return mean_over_classes(token_classification_losses(logits, labels), classes, counts, balanced)
