# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Which masks of a corrupted batch are filled for the critic, told to the joint head, or asked of it.

Letters: B batch, T positions.
"""

import torch

from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.diffusion.corruption import fill_positions, given_positions


def masked_positions(input_ids: torch.Tensor, labels: torch.Tensor, mask_token_id: int | None) -> torch.Tensor:
    """Where [MASK] stands (B, T); without such a token, where something is to be predicted."""
    return labels != -100 if mask_token_id is None else input_ids == mask_token_id


def draw_fill_mask(input_ids: torch.Tensor, labels: torch.Tensor, config: CriticGPTConfig) -> torch.Tensor:
    """The positions (B, T) to be filled for the critic, by `critic_regime`, drawn from torch's global generator."""
    masked = masked_positions(input_ids, labels, config.mask_token_id)
    share = torch.rand((len(masked), 2), device=masked.device)
    order = torch.rand(masked.shape, device=masked.device)
    return fill_positions(masked, config.critic_regime, share, order, config.critic_fill_exponent)


def draw_given_mask(input_ids: torch.Tensor, labels: torch.Tensor, mask_token_id: int | None) -> torch.Tensor:
    """The masks (B, T) of which a joint head is told the truth, drawn from torch's global generator."""
    masked = _supervised_masks(input_ids, labels, mask_token_id)
    share = torch.rand(len(masked), device=masked.device)
    return given_positions(masked, share, torch.rand(masked.shape, device=masked.device))


def given_and_asked(
    input_ids: torch.Tensor, labels: torch.Tensor, given_mask: torch.Tensor, mask_token_id: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """The masks (B, T) with a label of which the joint head is told the truth, and those it is asked for."""
    masked = _supervised_masks(input_ids, labels, mask_token_id)
    return masked & given_mask.bool(), masked & ~given_mask.bool()


def _supervised_masks(input_ids: torch.Tensor, labels: torch.Tensor, mask_token_id: int | None) -> torch.Tensor:
    return masked_positions(input_ids, labels, mask_token_id) & (labels != -100)
