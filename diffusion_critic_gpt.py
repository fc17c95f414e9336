# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The tensor laws of masked diffusion with a critic: randomness, corruption, filling, critic targets.

Pure functions: no model, no tokenizer, no file, no global state. Letters: B batch, T positions, V vocabulary.
"""

from numbers import Integral
from typing import NamedTuple

import torch

from .remasking_critic_gpt import select_worst


# Streams of `uniforms`: each kind of random decision has a number of its own, so that none repeats another's draws.
STREAM_TIME = 0
STREAM_MASK = 1
STREAM_FILL_SHARE = 2
STREAM_FILL_POSITION = 3
STREAM_FILL_TOKEN = 4
STREAM_SAMPLE = 5
STREAM_REVEAL = 6
STREAM_REMASK = 7
STREAM_SELECT = 8
STREAM_PLACE = 9
STREAM_CORRECT = 10
STREAM_CANDIDATE = 11
STREAM_GIVEN_SHARE = 12
STREAM_GIVEN_POSITION = 13
STREAM_DRAW_ORDER = 14

# Share of the sequences whose masks are all filled under the "mixed" critic regime.
MIXED_FULL_SHARE = 0.25

_UINT32 = 0xFFFFFFFF


# --------------------------------------------------------------------------------------------------------------------
# Counter-based randomness
# --------------------------------------------------------------------------------------------------------------------


def _mix32(x: torch.Tensor) -> torch.Tensor:
    """Bijective scrambling of 32-bit integers held in int64 (xor-shift-multiply, constants of Wellons' lowbias32)."""
    x = x & _UINT32
    x = ((x ^ (x >> 16)) * 0x7FEB352D) & _UINT32
    x = ((x ^ (x >> 15)) * 0x846CA68B) & _UINT32
    return x ^ (x >> 16)


def hash_integers(*parts: torch.Tensor | int) -> torch.Tensor:
    """
    Hashes integers (broadcast against each other) into one non-negative int64 of 62 bits, the same on every device.

    Args:
        parts (`torch.LongTensor` or `int`): At least one tensor; order matters.

    Returns:
        `torch.LongTensor`: of the broadcast shape, in [0, 2**62).
    """
    device = next(part.device for part in parts if isinstance(part, torch.Tensor))
    low = torch.full((), 0x243F6A88, dtype=torch.int64, device=device)
    high = torch.full((), 0x13198A2E, dtype=torch.int64, device=device)
    for part in parts:
        part = part.to(torch.int64) if isinstance(part, torch.Tensor) else int(part)
        low = _mix32(low ^ (part & _UINT32))
        high = _mix32(high ^ ((part >> 32) & _UINT32) ^ low)
        low = _mix32(low + high)
    return ((high & 0x3FFFFFFF) << 32) | low


def uniforms(row_seed: torch.Tensor, stream: int, step: int, length: int) -> torch.Tensor:
    """
    Uniform random numbers that depend on nothing but their address (row, stream, step, position), after the
    counter-based generators of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).

    Args:
        row_seed (`torch.LongTensor` of shape `(batch_size,)`): One seed a sequence.
        stream (`int`): Which kind of decision the numbers are for (`STREAM_*`).
        step (`int`): Which denoising step they are for; 0 in training.
        length (`int`): How many positions T.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, length)`: float32 numbers in the open interval (0, 1). A position's
        number does not change with `length`, with the batch or with the device.
    """
    row = hash_integers(row_seed, stream, step)[:, None]
    position = torch.arange(length, dtype=torch.int64, device=row_seed.device)[None, :]
    bits = _mix32(_mix32((row & _UINT32) ^ _mix32(position)) ^ (row >> 32))
    # 23 bits and a half: exactly representable in float32, and never 0 or 1.
    return ((bits >> 9).to(torch.float32) + 0.5) * 2.0**-23


def row_seeds(seed: int | list[int] | None, batch_size: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """
    Turns whatever a caller has into one seed a row.

    Args:
        seed (`int` or `list[int]`, *optional*): One number (row `i` then gets a seed made of the number and `i`) or
            one number a row (row `i` depends on its own number only, whatever the batch around it).
        batch_size (`int`): How many rows B.
        generator (`torch.Generator`, *optional*): Drawn from where `seed` is `None`; torch's global one by default.

    Returns:
        `torch.LongTensor` of shape `(batch_size,)` on the CPU.
    """
    if seed is None:
        device = generator.device if generator is not None else "cpu"
        return torch.randint(0, 2**62, (batch_size,), generator=generator, device=device).cpu()
    if isinstance(seed, Integral):
        return hash_integers(torch.full((batch_size,), _signed64(seed)), torch.arange(batch_size))
    if not isinstance(seed, (list, tuple)) or not all(isinstance(number, Integral) for number in seed):
        raise ValueError(f"`seed` must be a whole number or a list of them, got {seed!r}: write `seed=0`.")
    if len(seed) != batch_size:
        raise ValueError(
            f"`seed` must be one number or one for each of {batch_size} rows, got {len(seed)}: repeat or drop some."
        )
    return hash_integers(torch.tensor([_signed64(number) for number in seed], dtype=torch.int64), 0)


def _signed64(number: int) -> int:
    """The number as int64 sees it, so that a seed of 64 or more random bits is as good as another."""
    return (int(number) + 2**63) % 2**64 - 2**63


# --------------------------------------------------------------------------------------------------------------------
# Masks, times, corruption
# --------------------------------------------------------------------------------------------------------------------


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
            `MIXED_FULL_SHARE` of the sequences and a fraction in the others.
        share_uniforms (`torch.FloatTensor` of shape `(batch_size, 2)`): Decide over full or partial, and the fraction.
        position_uniforms (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Decide over the positions.
        exponent (`float`, *optional*, defaults to 1.0): Above 0; the fraction is a uniform number raised to it, on
            average `1 / (1 + exponent)`.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, sequence_length)`: a subset of `masked`, at least one position in
        every sequence that has a mask.
    """
    if regime not in ("full", "partial", "mixed"):
        raise ValueError(f"`regime` must be full, partial or mixed, got {regime!r}: choose one.")
    if regime == "full":
        return masked
    count = masked.sum(dim=-1)
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


# --------------------------------------------------------------------------------------------------------------------
# Filling and the critic's targets
# --------------------------------------------------------------------------------------------------------------------


def sample_inverse_cdf(probabilities: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
    """
    Draws one token a position by inverting the cumulative distribution; a token of probability 0 is never drawn.

    Args:
        probabilities (`torch.FloatTensor` of shape `(..., vocab_size)`): Non-negative; need not sum to one exactly.
        draw (`torch.FloatTensor` of shape `(...)`): Uniform numbers in (0, 1).

    Returns:
        `torch.LongTensor` of shape `(...)`.
    """
    cumulative = probabilities.cumsum(dim=-1)
    total = cumulative[..., -1:]
    # Rounding could lift u * total to the total itself, past the last token that has probability.
    target = torch.minimum(draw[..., None].to(total.dtype) * total, torch.nextafter(total, torch.zeros_like(total)))
    tokens = torch.searchsorted(cumulative, target, right=True)
    # A parallel scan adds in another order at each position, so that on a GPU the sum may grow by a rounding error
    # where nothing was added.
    possible = probabilities.gather(-1, tokens) > 0
    return torch.where(possible, tokens, probabilities.argmax(dim=-1, keepdim=True)).squeeze(-1)


def suppress_tokens(logits: torch.Tensor, token_ids: list[int]) -> torch.Tensor:
    """A copy of `logits` (..., V) with -inf at `token_ids`, as special tokens are never predicted."""
    if not token_ids:
        return logits
    logits = logits.clone()
    for token_id in token_ids:  # by a plain index: a list would have to be copied to the device
        logits[..., token_id] = float("-inf")
    return logits


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

    Returns:
        [`CriticArtifacts`]: critic_input, critic_target, critic_valid, filled.
    """
    if fill not in ("multinomial", "argmax"):
        raise ValueError(f"`fill` must be multinomial or argmax, got {fill!r}: choose one.")
    masked = labels != ignore_index if mask_token_id is None else input_ids == mask_token_id
    fill_mask = masked if fill_mask is None else fill_mask.bool() & masked
    with torch.no_grad():
        special = sorted({token for token in (mask_token_id, pad_token_id) if token is not None})
        logits = suppress_tokens(logits.detach(), special)
        if fill == "argmax":
            tokens = logits.argmax(dim=-1)
        else:
            if fill_uniforms is None:
                device = logits.device if generator is None else generator.device
                fill_uniforms = torch.rand(input_ids.shape, generator=generator, device=device).to(logits.device)
            dtype = torch.float64 if logits.dtype == torch.float64 else torch.float32
            tokens = sample_inverse_cdf(logits.to(dtype).softmax(dim=-1), fill_uniforms)
        critic_input = torch.where(fill_mask, tokens, input_ids)
    critic_valid = judged_positions(input_ids, labels, fill_mask, masked, scope, ignore_index, pad_token_id)
    critic_target = (critic_input != labels) & (labels != ignore_index)
    return CriticArtifacts(critic_input, critic_target.float(), critic_valid, fill_mask)
