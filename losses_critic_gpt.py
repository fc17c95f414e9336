# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Losses of the heads, and the second training pass of a masked diffusion model with a critic.

Nothing here knows a model class: the trunk and the heads come in as functions. Letters: B batch, T positions,
V vocabulary, D width.
"""

from collections.abc import Callable

import torch
from torch import nn

from .configuration_critic_gpt import CriticGPTConfig
from .diffusion_critic_gpt import build_critic_artifacts_from_logits, suppress_tokens


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
) -> dict[str, torch.Tensor]:
    """
    Fills masks with the model's own predictions, encodes the result and judges it: the critic's loss and, if
    `correction_alpha > 0`, the LM head's loss towards the truth at the filled positions. Knows no model class:
    `encode` maps ids (B, T) to states (B, T, D).
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
    )
    hidden_states = encode(artifacts.critic_input)
    critic_logits = critic_head(hidden_states)
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
    if config.correction_alpha > 0:
        correction_labels = labels.masked_fill(~artifacts.filled, -100)
        correction = token_cross_entropy(lm_head(hidden_states), correction_labels, config.mask_token_id)
        output["correction_token_loss"] = correction
        output["correction_loss"] = correction.sum() / (correction_labels != -100).sum().clamp(min=1)
    return output


def token_classification_loss(logits: torch.Tensor, labels: torch.Tensor, balanced: bool) -> torch.Tensor:
    """
    Cross-entropy over tokens (B, T, C) against hard labels (B, T), -100 and -1 ignored, or soft labels (B, T, C).

    `balanced` weighs class c by `n_valid / (C * count_c)` of this batch, an absent class by 0.
    """
    num_labels = logits.shape[-1]
    log_probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
    if labels.dim() == logits.dim():
        valid = labels.sum(dim=-1) > 0
        token_loss = -(labels.to(log_probabilities.dtype) * log_probabilities).sum(dim=-1)
        return token_loss.masked_fill(~valid, 0.0).sum() / valid.sum().clamp(min=1)
    valid = (labels != -100) & (labels != -1)
    safe = labels.masked_fill(~valid, 0)
    token_loss = -log_probabilities.gather(-1, safe[..., None]).squeeze(-1)
    weights = valid.to(token_loss.dtype)
    if balanced:
        counts = torch.zeros(num_labels, dtype=token_loss.dtype, device=logits.device)
        counts = counts.index_add(0, safe.reshape(-1), weights.reshape(-1))
        class_weights = torch.where(counts > 0, weights.sum() / (num_labels * counts.clamp(min=1)), 0.0)
        weights = weights * class_weights[safe]
    return (token_loss * weights).sum() / weights.sum().clamp(min=torch.finfo(weights.dtype).tiny)
