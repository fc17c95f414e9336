# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Masking: times, corruption, the masks that are filled, and the padding mask.

Pure functions: no model, no tokenizer, no file, no global state. Letters: B batch, T positions, V vocabulary.
"""

import itertools
from typing import NamedTuple

import torch

from critic_gpt.diffusion.selection import select_worst


# How many masks of a sequence are filled at most under the "sparse" critic regime.
SPARSE_FILLS = 4
# Share of the sequences whose masks are all filled under the "mixed" critic regime.
MIXED_FULL_SHARE = 0.25


def padding_attention_mask(input_ids: torch.Tensor, pad_token_id: int | None) -> torch.Tensor:
    """
    The one attention mask of the project: 1 at real tokens ([MASK] included), 0 at padding.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Token ids.
        pad_token_id (`int`, *optional*): Id of the padding; `None` = nothing is padded.

    Returns:
        `torch.LongTensor` of shape `(batch_size, sequence_length)`.
    """
    if pad_token_id is None:
        return torch.ones_like(input_ids)
    return (input_ids != pad_token_id).long()


def diffusion_times(offset: torch.Tensor, ranks: torch.Tensor, batch_size: int, min_mask_rate: float) -> torch.Tensor:
    """
    Times on a low-discrepancy grid: `t_i = eps + (1 - eps) * ((offset + i / B) mod 1)`, which lowers the variance of
    the 1/t-weighted loss (Kingma et al., "Variational Diffusion Models", appendix I.1; MDLM uses it as well).

    Args:
        offset (`torch.FloatTensor`): Shift of the grid in [0, 1); a scalar shared by the micro-batch.
        ranks (`torch.LongTensor` of shape `(batch_size,)`): Place `i` of each row on the grid.
        batch_size (`int`): Number of grid places B.
        min_mask_rate (`float`): Smallest time `eps` in (0, 1]; it bounds the weights by 1 / eps.

    Returns:
        `torch.FloatTensor` of shape `(batch_size,)`: times (= mask rates) in [eps, 1].
    """
    return min_mask_rate + (1.0 - min_mask_rate) * torch.remainder(offset + ranks / batch_size, 1.0)


class Corruption(NamedTuple):
    """What masking made of clean sequences: `input_ids`, `labels` (ignored elsewhere), `loss_weights`, all (B, T)."""

    input_ids: torch.Tensor
    labels: torch.Tensor
    loss_weights: torch.Tensor


def corrupt(
    input_ids: torch.Tensor,
    times: torch.Tensor,
    position_uniforms: torch.Tensor,
    mask_token_id: int,
    maskable: torch.Tensor | None = None,
    ignore_index: int = -100,
) -> Corruption:
    """
    Absorbing-state corruption: each maskable token becomes [MASK] with probability `t` and is then weighted `1 / t`
    in the loss (Sahoo et al., "Simple and Effective Masked Diffusion Language Models", 2024, eq. 11).

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Clean tokens.
        times (`torch.FloatTensor` of shape `(batch_size,)`): Mask rates in (0, 1].
        position_uniforms (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Numbers in (0, 1).
        mask_token_id (`int`): Id of [MASK].
        maskable (`torch.BoolTensor` of shape `(batch_size, sequence_length)`, *optional*): Where masks may fall
            (padding and given tokens excluded); everywhere by default.
        ignore_index (`int`, *optional*, defaults to -100): Label of unsupervised positions.

    Returns:
        [`Corruption`]: masked tokens, labels at the masks, weights `1 / t` at the masks and 0 elsewhere.
    """
    masked = position_uniforms < times[:, None]
    if maskable is not None:
        masked = masked & maskable
    return Corruption(
        input_ids=input_ids.masked_fill(masked, mask_token_id),
        labels=input_ids.masked_fill(~masked, ignore_index),
        loss_weights=masked / times[:, None],
    )


def fill_positions(
    masked: torch.Tensor,
    regime: str,
    share_uniforms: torch.Tensor,
    position_uniforms: torch.Tensor,
    exponent: float = 1.0,
) -> torch.Tensor:
    """
    Which of the masks the model fills for its critic to judge.

    Args:
        masked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Where [MASK] stands.
        regime (`str`): `"full"` fills all; `"partial"` a fraction drawn for each sequence; `"mixed"` all in a share
            `MIXED_FULL_SHARE` of the sequences and a fraction in the others; `"sparse"` one to `SPARSE_FILLS`.
        share_uniforms (`torch.FloatTensor` of shape `(batch_size, 2)`): Decide over full or partial, and the fraction.
        position_uniforms (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Decide over the positions.
        exponent (`float`, *optional*, defaults to 1.0): Above 0; the fraction is a uniform number raised to it, on
            average `1 / (1 + exponent)`.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, sequence_length)`: a subset of `masked`, at least one position in
        every sequence that has a mask.
    """
    if regime not in ("full", "partial", "mixed", "sparse"):
        raise ValueError(f"`regime` must be full, partial, mixed or sparse, got {regime!r}: choose one.")
    if regime == "full":
        return masked
    count = masked.sum(dim=-1)
    if regime == "sparse":
        return select_worst(position_uniforms, masked, (share_uniforms[:, 1] * SPARSE_FILLS).long() + 1)
    num_fill = torch.ceil(share_uniforms[:, 1] ** exponent * count).long()
    num_fill = num_fill.clamp(min=1)  # a large exponent rounds small shares down to nothing
    if regime == "mixed":
        num_fill = torch.where(share_uniforms[:, 0] < MIXED_FULL_SHARE, count, num_fill)
    return select_worst(position_uniforms, masked, num_fill)


def given_positions(
    masked: torch.Tensor, share_uniforms: torch.Tensor, position_uniforms: torch.Tensor
) -> torch.Tensor:
    """
    Of which masks a joint head is told the truth while it learns: of n masks `floor((n + 1) ** u) - 1`, since a
    forward pass draws few of many, at random places.

    Args:
        masked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Where [MASK] stands.
        share_uniforms (`torch.FloatTensor` of shape `(batch_size,)`): u, in (0, 1).
        position_uniforms (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Decide over the positions.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, sequence_length)`: a subset of `masked`, never all of it.
    """
    count = masked.sum(dim=-1)
    num_given = (count + 1).to(share_uniforms.dtype).pow(share_uniforms).floor().long() - 1
    return select_worst(position_uniforms, masked, torch.minimum(num_given, count - 1))


def suppress_tokens(logits: torch.Tensor, token_ids: list[int], in_place: bool = False) -> torch.Tensor:
    """A copy of `logits` (..., V), or these, with -inf at `token_ids`, as special tokens are never predicted."""
    if not token_ids:
        return logits
    logits = logits if in_place else logits.clone()
    # By slices: a list of ids would have to be copied to the device.
    for _, group in itertools.groupby(enumerate(sorted(token_ids)), key=lambda pair: pair[1] - pair[0]):
        run = [token_id for _, token_id in group]
        logits.narrow(-1, run[0], len(run)).fill_(float("-inf"))
    return logits
