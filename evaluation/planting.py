# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Texts in which few tokens are wrong: what proofreading meets, with the truth about every token."""

from typing import Any, NamedTuple

import torch

from critic_gpt.diffusion.drawable import never_drawn_ids
from critic_gpt.diffusion.randomness import hash_integers, sample_inverse_cdf, uniforms


# Streams of random numbers of their own, away from those of training and generation.
_CHOICE, _KIND, _OTHER, _DRAW = 9001, 9002, 9003, 9004


class PlantedTexts(NamedTuple):
    """Tokens (B, T), where they are wrong, and which count."""

    input_ids: torch.Tensor
    wrong: torch.Tensor
    judged: torch.Tensor


@torch.no_grad()
def plant_errors(
    model: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    editable: torch.Tensor,
    example_ids: torch.Tensor,
    rate: float,
    seed: int = 0,
) -> PlantedTexts:
    """
    Makes a share of the tokens of true texts wrong: half of them by what the model itself draws there where it does
    not see them, if that is another token, half by any other token.

    Args:
        model: The language model.
        input_ids, attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`): True texts, in their
            frames.
        editable (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Where an error may stand.
        example_ids (`torch.LongTensor` of shape `(batch_size,)`): Numbers of the texts: all draws hang on them.
        rate (`float`): Share of the tokens that are chosen, in (0, 1).
        seed (`int`, *optional*, defaults to 0): Of all draws.

    Raises:
        `ValueError`: A rate out of range.
    """
    if not 0.0 < rate < 1.0:
        raise ValueError(f"`planted_rate` must be between 0 and 1, got {rate}: 0.02 makes one token in fifty wrong.")
    config, length = model.config, input_ids.shape[1]
    seeds = hash_integers(example_ids, seed).to(input_ids.device)
    choice, kind, other, draw = (uniforms(seeds, one, 0, length) for one in (_CHOICE, _KIND, _OTHER, _DRAW))
    chosen = editable & (choice < rate)
    masked = chosen & (kind < 0.5)
    never = never_drawn_ids(config)
    logits = model(
        input_ids=input_ids.masked_fill(masked, config.mask_token_id), attention_mask=attention_mask
    ).logits.float()
    logits[..., never] = float("-inf")
    drawn = sample_inverse_cdf(logits.softmax(dim=-1), draw)
    alike = torch.zeros(logits.shape[-1], device=logits.device)
    alike[never] = float("-inf")
    anyone = sample_inverse_cdf(alike.softmax(dim=-1).expand(*input_ids.shape, -1), other)
    planted = torch.where(masked, drawn, torch.where(chosen, anyone, input_ids))
    return PlantedTexts(planted, planted != input_ids, editable)
