# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Losses of the heads, and the second training pass of a masked diffusion model with a critic.

Nothing here knows a model class: the trunk and the heads come in as functions. Letters: B batch, T positions,
V vocabulary, D width.
"""

import math
from collections.abc import Callable

import torch
from torch import nn

from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.diffusion.corruption import fill_positions, suppress_tokens
from critic_gpt.diffusion.critic_targets import build_critic_artifacts_from_logits
from critic_gpt.diffusion.drawable import never_drawn_ids


def masked_positions(input_ids: torch.Tensor, labels: torch.Tensor, mask_token_id: int | None) -> torch.Tensor:
    """Where [MASK] stands (B, T); without such a token, where something is to be predicted."""
    return labels != -100 if mask_token_id is None else input_ids == mask_token_id


def draw_fill_mask(input_ids: torch.Tensor, labels: torch.Tensor, config: CriticGPTConfig) -> torch.Tensor:
    """The positions (B, T) to be filled for the critic, by `critic_regime`, drawn from torch's global generator."""
    masked = masked_positions(input_ids, labels, config.mask_token_id)
    share = torch.rand((len(masked), 2), device=masked.device)
    order = torch.rand(masked.shape, device=masked.device)
    return fill_positions(masked, config.critic_regime, share, order, config.critic_fill_exponent)


def second_pass_rows(batch_size: int, share: float) -> list[int]:
    """
    The rows of a batch that the second pass is made of: `ceil(share * batch_size)`, spread evenly, so that they keep
    the spread of the diffusion times over the batch. Known from the size alone, so shapes are static.

    Raises:
        `ValueError`: `share` is outside of (0, 1].
    """
    if not 0.0 < share <= 1.0:
        raise ValueError(f"`critic_batch_share` must be in (0, 1], got {share}: 1 judges every row.")
    num_rows = math.ceil(share * batch_size - 1e-9)  # 0.07 * 100 is a little more than 7
    return [row * batch_size // num_rows for row in range(num_rows)]


def token_cross_entropy(
    logits: torch.Tensor, labels: torch.Tensor, mask_token_id: int | None, ignore_index: int = -100
) -> torch.Tensor:
    """Cross-entropy a token in nats (B, T), 0 at `ignore_index`; [MASK] itself is never a prediction."""
    logits = suppress_tokens(logits, [] if mask_token_id is None else [mask_token_id])
    flat = nn.functional.cross_entropy(
        logits.reshape(-1, logits.shape[-1]).to(torch.promote_types(logits.dtype, torch.float32)),
        labels.reshape(-1),
        ignore_index=ignore_index,
        reduction="none",
    )
    return flat.view(labels.shape)


def critic_second_pass(
    encode: Callable[[torch.Tensor], torch.Tensor],
    lm_head: Callable[[torch.Tensor], torch.Tensor],
    critic_head: Callable[[torch.Tensor], torch.Tensor],
    input_ids: torch.Tensor,
    logits: torch.Tensor,
    labels: torch.Tensor,
    fill_mask: torch.Tensor | None,
    fill_uniforms: torch.Tensor | None,
    config: CriticGPTConfig,
    correct: bool = True,
    num_tokens: torch.Tensor | None = None,
) -> dict[str, torch.Tensor]:
    """
    Fills masks with the model's own predictions, encodes the result and judges it: the critic's loss and, with
    `correct`, the LM head's losses towards the truth: if `correction_alpha > 0` at the filled positions, if
    `remaining_alpha > 0` at the masks that are left. Knows no model class: `encode` maps ids (B, T) to states
    (B, T, D). `num_tokens` (B,), needed for the last of them, is what each row counts in the language model's loss.
    """
    artifacts = build_critic_artifacts_from_logits(
        input_ids,
        logits,
        labels,
        config.mask_token_id,
        pad_token_id=config.pad_token_id,
        scope=config.critic_target_scope,
        fill=config.critic_fill if fill_uniforms is not None else "argmax",
        fill_mask=fill_mask,
        fill_uniforms=fill_uniforms,
        suppressed_token_ids=never_drawn_ids(config),
    )
    # Statements, not one expression: torch.compile may hold the weights as symbols, which it compares only in an `if`.
    lm_terms = False
    if correct and (config.correction_alpha > 0 or config.remaining_alpha > 0):
        lm_terms = True
    # A detached critic alone asks nothing of the trunk's gradients.
    with torch.set_grad_enabled(torch.is_grad_enabled() and (lm_terms or not config.critic_detach)):
        hidden_states = encode(artifacts.critic_input)
    critic_logits = critic_head(hidden_states.detach() if config.critic_detach else hidden_states)
    critic_logits = critic_logits.to(torch.promote_types(critic_logits.dtype, torch.float32))
    target = artifacts.critic_target.to(critic_logits.dtype)
    token_loss = nn.functional.binary_cross_entropy_with_logits(critic_logits, target, reduction="none")
    token_loss = token_loss.masked_fill(~artifacts.critic_valid, 0.0)
    output = {
        "critic_loss": token_loss.sum() / artifacts.critic_valid.sum().clamp(min=1),
        "critic_token_loss": token_loss,
        "critic_input_ids": artifacts.critic_input,
        "critic_input_logits": critic_logits,
        "critic_target": artifacts.critic_target,
        "critic_valid": artifacts.critic_valid,
    }
    if lm_terms:
        second_logits = lm_head(hidden_states)
        if config.correction_alpha > 0:
            correction_labels = labels.masked_fill(~artifacts.filled, -100)
            correction = token_cross_entropy(second_logits, correction_labels, config.mask_token_id)
            output["correction_token_loss"] = correction
            output["correction_loss"] = correction.sum() / (correction_labels != -100).sum().clamp(min=1)
        if config.remaining_alpha > 0:
            left = masked_positions(input_ids, labels, config.mask_token_id) & ~artifacts.filled
            remaining = remaining_token_loss(second_logits, labels, left, num_tokens, config.mask_token_id)
            output["remaining_token_loss"] = remaining
            output["remaining_loss"] = remaining.sum() / num_tokens.sum().clamp(min=1)
    return output


def remaining_token_loss(
    logits: torch.Tensor,
    labels: torch.Tensor,
    left: torch.Tensor,
    num_tokens: torch.Tensor,
    mask_token_id: int | None,
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
    """
    labels = labels.masked_fill(~left, -100)
    num_left = (labels != -100).sum(dim=-1)
    weights = num_tokens / num_left.clamp(min=1)  # 1 / rate; rows without masks have no loss to weigh
    return token_cross_entropy(logits, labels, mask_token_id) * weights[:, None]


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
    """Cross-entropy a token (B, T) of logits (B, T, C) against labels as in [`token_classification_loss`]."""
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
