# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Randomness with addresses: a number depends on (row, stream, step, position) and on nothing else.

Letters: B batch, T positions, V vocabulary.
"""

import math
from numbers import Integral

import torch


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
STREAM_RACE = 15
_UINT32 = 0xFFFFFFFF
# Vocabularies above this are drawn from in two steps: a block, then a token in it.
ONE_STEP = 1024


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


def uniforms(
    row_seed: torch.Tensor,
    stream: int,
    step: int | torch.Tensor,
    length: int,
    position: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    Uniform random numbers that depend on nothing but their address (row, stream, step, position), after the
    counter-based generators of Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3" (SC 2011).

    Args:
        row_seed (`torch.LongTensor` of shape `(batch_size,)`): One seed per sequence.
        stream (`int`): Which kind of decision the numbers are for (`STREAM_*`).
        step (`int` or `torch.LongTensor` of shape `(num_steps, 1)`): Which denoising step they are for; 0 in training.
            Several steps at once take hardly longer than one.
        length (`int`): How many positions T.
        position (`torch.LongTensor` of shape `(batch_size, length)`, *optional*): Which ones; by default they count up
            from 0.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, length)`, of several steps `(num_steps, batch_size, length)`:
        float32 numbers in the open interval (0, 1). A position's number does not change with `length`, with the batch
        or with the device.
    """
    if position is None:
        position = torch.arange(length, dtype=torch.int64, device=row_seed.device)
    return uniforms_of(hash_integers(row_seed, stream, step), position)


def uniforms_of(row: torch.Tensor, position: torch.Tensor) -> torch.Tensor:
    """The same by the hash (...) of row, stream and step, and positions (..., length)."""
    row = row[..., None]
    bits = _mix32(_mix32((row & _UINT32) ^ _mix32(position)) ^ (row >> 32))
    # 23 bits and a half: exactly representable in float32, and never 0 or 1.
    return ((bits >> 9).to(torch.float32) + 0.5) * 2.0**-23


def row_seeds(seed: int | list[int] | None, batch_size: int, generator: torch.Generator | None = None) -> torch.Tensor:
    """
    Turns whatever a caller has into one seed per row.

    Args:
        seed (`int` or `list[int]`, *optional*): One number (row `i` then gets a seed made of the number and `i`) or
            one number per row (row `i` depends on its own number only, whatever the batch around it).
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


def sample_inverse_cdf(probabilities: torch.Tensor, draw: torch.Tensor) -> torch.Tensor:
    """
    Draws one token a position by inverting the cumulative distribution; a token of probability 0 is never drawn.

    Of a large vocabulary first a block of tokens is drawn by the sums of the blocks, then a token within it: only the
    sums of all tokens are read, and no cumulative sum of all of them is written.

    Args:
        probabilities (`torch.FloatTensor` of shape `(..., vocab_size)`): Non-negative; need not sum to one exactly.
        draw (`torch.FloatTensor` of shape `(...)`): Uniform numbers in (0, 1).

    Returns:
        `torch.LongTensor` of shape `(...)`.
    """
    size = probabilities.shape[-1]
    if size <= ONE_STEP:
        cumulative = probabilities.cumsum(dim=-1)
        return _first_beyond(probabilities, cumulative, draw.to(cumulative.dtype) * cumulative[..., -1])
    width = block_width(size)
    sums = block_sums(probabilities)
    before = sums.cumsum(dim=-1)
    target = draw.to(before.dtype) * before[..., -1]
    block = _first_beyond(sums, before, target)[..., None]
    # What the blocks before it leave of the target.
    target = target - (before - sums).gather(-1, block).squeeze(-1)
    within = _within(probabilities, block, width)
    cumulative = within.cumsum(dim=-1)
    return block.squeeze(-1) * width + _first_beyond(within, cumulative, target.clamp(min=0.0))


def sample_by_race(probabilities: torch.Tensor, clocks: torch.Tensor) -> torch.Tensor:
    """
    Draws one token per row by two races of exponential clocks, each running as fast as what it stands for is likely:
    one of blocks of tokens, and one of the tokens within the block that won. The law is that of the probabilities; and
    where these change a little, the token seldom changes, whereas by a cumulative distribution a shift of the first
    tokens moves all that follow.

    Args:
        probabilities (`torch.FloatTensor` of shape `(..., vocab_size)`): Non-negative; need not sum to one.
        clocks (`torch.FloatTensor` of shape `(..., race_size(vocab_size))`): Exponential numbers: minus the logarithms
            of uniform ones.

    Returns:
        `torch.LongTensor` of shape `(...)`.
    """
    width = block_width(probabilities.shape[-1])
    block = (block_sums(probabilities) / clocks[..., :-width]).argmax(dim=-1, keepdim=True)
    within = _within(probabilities, block, width)
    return block.squeeze(-1) * width + (within / clocks[..., -width:]).argmax(dim=-1)


def race_size(size: int) -> int:
    """How many numbers [`sample_by_race`] takes per token of a vocabulary: blocks first, then tokens of a block."""
    width = block_width(size)
    return -(-size // width) + width


def block_width(size: int) -> int:
    """Tokens of a block of a vocabulary; the last block may have fewer."""
    return math.isqrt(size)


def _within(weights: torch.Tensor, block: torch.Tensor, width: int) -> torch.Tensor:
    """The weights (..., width) of the tokens of a block each (..., 1), 0 beyond the vocabulary."""
    token = block * width + torch.arange(width, device=block.device)
    size = weights.shape[-1]
    return weights.gather(-1, token.clamp(max=size - 1)).masked_fill(token >= size, 0.0)


def block_sums(weights: torch.Tensor) -> torch.Tensor:
    """Sums over blocks of neighbours (..., ceil(V / width)), of which the last may be narrower."""
    width = block_width(weights.shape[-1])
    whole = weights.shape[-1] // width * width
    sums = weights[..., :whole].unflatten(-1, (-1, width)).sum(dim=-1)
    if whole == weights.shape[-1]:
        return sums
    return torch.cat([sums, weights[..., whole:].sum(dim=-1, keepdim=True)], dim=-1)


def _first_beyond(weights: torch.Tensor, cumulative: torch.Tensor, target: torch.Tensor) -> torch.Tensor:
    """The first place (...) at which the cumulative sums (..., n) of weights lie beyond a target (...)."""
    total = cumulative[..., -1]
    # Rounding could lift u * total to the total itself, past the last place that has weight.
    target = torch.minimum(target, torch.nextafter(total, total.new_zeros(())))
    # Where weights are NaN no place is found: any index will do, and whoever reads them sees it.
    place = torch.searchsorted(cumulative, target[..., None], right=True).clamp_(max=weights.shape[-1] - 1)
    # A parallel scan adds in another order at each position, so that on a GPU the sum may grow by a rounding error
    # where nothing was added.
    possible = weights.gather(-1, place) > 0
    if place.device.type == "cpu" and not torch.compiler.is_compiling() and bool(possible.all()):
        return place.squeeze(-1)  # elsewhere to look would be to wait
    return torch.where(possible, place, weights.argmax(dim=-1, keepdim=True)).squeeze(-1)
