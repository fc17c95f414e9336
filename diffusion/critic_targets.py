# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What the critic judges and what it should say there: the filled input, the targets, the positions that count.

Letters: B batch, T positions, V vocabulary.
"""

from collections.abc import Iterable
from typing import NamedTuple

import torch

from critic_gpt.diffusion.corruption import suppress_tokens
from critic_gpt.diffusion.places import Places
from critic_gpt.diffusion.randomness import sample_inverse_cdf


def judged_positions(
    input_ids: torch.Tensor,
    labels: torch.Tensor,
    fill_mask: torch.Tensor,
    masked: torch.Tensor,
    scope: str,
    ignore_index: int = -100,
    pad_token_id: int | None = None,
) -> torch.Tensor:
    """
    Where the critic's verdict counts; known before any forward pass.

    Args:
        input_ids, labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The corrupted batch.
        fill_mask, masked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): The positions filled, and all
            that were masked; positions left masked are never judged.
        scope (`str`): `"masked_only"`, `"masked_and_ignore"` or `"all"` ([`CriticGPTConfig`]).
        ignore_index (`int`, *optional*, defaults to -100): Label of unsupervised positions.
        pad_token_id (`int`, *optional*): Padding is never judged.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, sequence_length)`.
    """
    ignored = labels == ignore_index
    visible = ~masked
    valid = fill_mask & ~ignored
    if scope == "masked_and_ignore":
        valid = valid | (visible & ignored)
    elif scope == "all":
        valid = valid | visible
    elif scope != "masked_only":
        raise ValueError(f"`scope` must be masked_only, masked_and_ignore or all, got {scope!r}: choose one.")
    if pad_token_id is not None:
        valid = valid & (input_ids != pad_token_id)
    return valid


class CriticArtifacts(NamedTuple):
    """
    What the critic is trained and judged on, all of shape (B, T).

    `critic_input`: the input with the model's own tokens at the filled positions. `critic_target`: float, 1.0 = wrong.
    `critic_valid`: bool, where the target counts. `filled`: bool, where the model filled.
    """

    critic_input: torch.Tensor
    critic_target: torch.Tensor
    critic_valid: torch.Tensor
    filled: torch.Tensor


def build_critic_artifacts_from_logits(
    input_ids: torch.Tensor,
    logits: torch.Tensor,
    labels: torch.Tensor,
    mask_token_id: int | None,
    ignore_index: int = -100,
    pad_token_id: int | None = None,
    scope: str = "masked_only",
    fill: str = "multinomial",
    fill_mask: torch.Tensor | None = None,
    fill_uniforms: torch.Tensor | None = None,
    generator: torch.Generator | None = None,
    suppressed_token_ids: Iterable[int] = (),
    places: Places | None = None,
) -> CriticArtifacts:
    """
    Fills masks with the model's own predictions and says where they are wrong. The only place where the critic's
    input, target and validity are made: training, calibration and evaluation all call it.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Corrupted tokens.
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`): The model's predictions for
            them. No gradient flows through the filling.
        labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The truth, `ignore_index` elsewhere.
        mask_token_id (`int`, *optional*): Id of [MASK]. With `None` the positions whose label is not `ignore_index`
            count as masked.
        ignore_index (`int`, *optional*, defaults to -100): Label of unsupervised positions.
        pad_token_id (`int`, *optional*): Id of the padding: never filled in, never judged.
        scope (`str`, *optional*, defaults to `"masked_only"`): Which positions are judged ([`CriticGPTConfig`]).
            Under `"masked_and_ignore"` and `"all"` a visible unsupervised token counts as right; under `"all"` a
            visible supervised one is wrong where it differs from its label.
        fill (`str`, *optional*, defaults to `"multinomial"`): A draw from the softmax, or `"argmax"`.
        fill_mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`, *optional*): Which masks to fill; all
            by default. Positions left masked are not judged.
        fill_uniforms (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): Numbers in (0, 1) for
            the draw. Without them they come from `generator`.
        generator (`torch.Generator`, *optional*): Source of the draw, torch's global one by default.
        suppressed_token_ids (iterable of `int`, *optional*): Never filled in, beside [MASK] and padding.
        places ([`~diffusion.places.Places`], *optional*): Of which positions the logits are, `(N, vocab_size)`; those
            that are filled must be among them.

    Returns:
        [`CriticArtifacts`]: critic_input, critic_target, critic_valid, filled.
    """
    if fill not in ("multinomial", "argmax"):
        raise ValueError(f"`fill` must be multinomial or argmax, got {fill!r}: choose one.")
    masked = labels != ignore_index if mask_token_id is None else input_ids == mask_token_id
    fill_mask = masked if fill_mask is None else fill_mask.bool() & masked
    with torch.no_grad():
        given = (mask_token_id, pad_token_id, *suppressed_token_ids)
        special = sorted({token for token in given if token is not None})
        logits = suppress_tokens(logits.detach(), special)
        if fill == "argmax":
            tokens = logits.argmax(dim=-1)
        else:
            if fill_uniforms is None:
                device = logits.device if generator is None else generator.device
                fill_uniforms = torch.rand(input_ids.shape, generator=generator, device=device).to(logits.device)
            fill_uniforms = fill_uniforms if places is None else places.take(fill_uniforms)
            dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
            tokens = sample_inverse_cdf(logits.to(dtype).softmax(dim=-1), fill_uniforms)
        tokens = tokens if places is None else places.put(tokens)
        critic_input = torch.where(fill_mask, tokens, input_ids)
    critic_valid = judged_positions(input_ids, labels, fill_mask, masked, scope, ignore_index, pad_token_id)
    critic_target = (critic_input != labels) & (labels != ignore_index)
    return CriticArtifacts(critic_input, critic_target.float(), critic_valid, fill_mask)
