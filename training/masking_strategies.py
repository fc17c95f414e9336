# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Strategies that choose which tokens are masked in training.

Every decision is drawn by address (row, stream, step, position), so a row is masked alike in any batch. Letters: B
batch, T positions. "Maskable" are the real tokens that are neither protected nor [MASK] already.
"""

from dataclasses import dataclass, fields
from typing import Any, ClassVar, NamedTuple

import torch

from critic_gpt.diffusion.randomness import STREAM_MASK, uniforms
from critic_gpt.diffusion.selection import select_worst


# Streams of `uniforms` for what only masking strategies draw, apart from those of `diffusion_critic_gpt`.
STREAM_STRATEGY = 32
STREAM_RATIO = 33
STREAM_SPAN = 34
STREAM_REPLACE = 35
STREAM_STICKY = 36

# Growing takes at most so many rounds; what is then missing is chosen in one more.
STICKY_ROUNDS = 64


@dataclass(frozen=True)
class RowDraws:
    """
    The random numbers of a batch's rows, which belong to a row's tokens wherever padding moves them.

    Args:
        seeds (`torch.LongTensor` of shape `(batch_size,)`): One a row.
        length (`int`): Positions T.
        shifts (`torch.LongTensor` of shape `(batch_size,)`, *optional*): Padding before the first token of each row;
            none by default.
    """

    seeds: torch.Tensor
    length: int
    shifts: torch.Tensor | None = None

    def tokens(self, stream: int, step: int = 0) -> torch.Tensor:
        """Numbers (B, T) in (0, 1)."""
        drawn = uniforms(self.seeds, stream, step, self.length)
        if self.shifts is None:
            return drawn
        # Padding takes the numbers that are left over: it is never masked.
        return drawn.gather(1, (torch.arange(self.length)[None, :] - self.shifts[:, None]) % self.length)

    def rows(self, stream: int, count: int = 1) -> torch.Tensor:
        """Numbers (B, `count`) in (0, 1)."""
        return uniforms(self.seeds, stream, 0, count)

    def select(self, rows: torch.Tensor) -> "RowDraws":
        """Those of some rows."""
        return RowDraws(self.seeds[rows], self.length, None if self.shifts is None else self.shifts[rows])


class Masked(NamedTuple):
    """`masked`: tokens to hide behind [MASK]; `supervised`: to predict; `replacements`: ids there, -1 = unchanged."""

    masked: torch.Tensor
    supervised: torch.Tensor
    replacements: torch.Tensor | None = None


@dataclass(frozen=True)
class DiffusionMasking:
    """Every maskable token with probability `t`, weighted `1 / t`: the bound of masked diffusion. No fields."""

    name: ClassVar[str] = "diffusion"


@dataclass(frozen=True)
class _RatioMasking:
    """Share of the maskable tokens: `ratio`, or a number between `min_ratio` and `max_ratio` drawn for each row."""

    ratio: float | None = None
    min_ratio: float = 0.1
    max_ratio: float = 0.9

    name: ClassVar[str] = ""

    def __post_init__(self):
        _check_numbers(self)
        ranged = (self.min_ratio, self.max_ratio) != (type(self).min_ratio, type(self).max_ratio)
        if self.ratio is not None and ranged:
            raise ValueError(
                f"`ratio` of {self.name} must be given alone, got {self.ratio} beside a range of "
                f"[{self.min_ratio}, {self.max_ratio}]: leave out one of the two."
            )
        for field in ("ratio", "min_ratio", "max_ratio"):
            value = getattr(self, field)
            if value is not None and not 0 <= value <= 1:
                raise ValueError(f"`{field}` of {self.name} must be in [0, 1], got {value}: 0.5 is usual.")
        if self.min_ratio > self.max_ratio:
            raise ValueError(
                f"`min_ratio` of {self.name} must be at most `max_ratio`, got {self.min_ratio} and {self.max_ratio}: "
                "exchange them."
            )

    def ratios(self, draws: RowDraws) -> torch.Tensor:
        """The share (B,) of each row."""
        if self.ratio is not None:
            return torch.full((len(draws.seeds),), self.ratio)
        return self.min_ratio + (self.max_ratio - self.min_ratio) * draws.rows(STREAM_RATIO).squeeze(-1)

    def counts(self, draws: RowDraws, maskable: torch.Tensor) -> torch.Tensor:
        """Tokens (B,) that this share makes, rounded up."""
        # In float64, less a rounding error of float32, lest 0.3 * 10 become 4.
        share = self.ratios(draws).double() * maskable.sum(dim=-1)
        return torch.ceil(share - 1e-6 * share.clamp(min=1.0)).long()


@dataclass(frozen=True)
class RandomMasking(_RatioMasking):
    """
    Every maskable token with the probability of its row's ratio.

    Args:
        ratio (`float`, *optional*): The same for every row, in [0, 1].
        min_ratio (`float`, *optional*, defaults to 0.1): Without `ratio`: the smallest one drawn, in [0, 1].
        max_ratio (`float`, *optional*, defaults to 0.9): The largest, at least `min_ratio`.
    """

    name: ClassVar[str] = "random"

    def mask(self, draws: RowDraws, maskable: torch.Tensor, vocabulary: torch.Tensor) -> Masked:
        """Masks a batch; `maskable` (B, T)."""
        masked = (draws.tokens(STREAM_MASK) < self.ratios(draws)[:, None]) & maskable
        return Masked(masked, masked)


@dataclass(frozen=True)
class BertMasking:
    """
    The corruption of BERT (Devlin et al., 2019, section 3.1): of the chosen tokens most become [MASK], some a random
    token and the rest stay; all of them are predicted.

    Args:
        rate (`float`, *optional*, defaults to 0.15): Probability that a token is chosen, in (0, 1].
        mask_share (`float`, *optional*, defaults to 0.8): Share of the chosen that become [MASK], in [0, 1].
        random_share (`float`, *optional*, defaults to 0.1): Share that become a token drawn evenly from all but the
            special ones, in [0, 1]; with `mask_share` at most 1.
    """

    rate: float = 0.15
    mask_share: float = 0.8
    random_share: float = 0.1

    name: ClassVar[str] = "bert"

    def __post_init__(self):
        _check_numbers(self)
        if not 0 < self.rate <= 1:
            raise ValueError(f"`rate` of bert must be in (0, 1], got {self.rate}: 0.15 is usual.")
        shares = (self.mask_share, self.random_share)
        if min(shares) < 0 or sum(shares) > 1 + 1e-9:
            raise ValueError(
                f"`mask_share` and `random_share` of bert must be at least 0 and at most 1 together, got {shares[0]} "
                f"and {shares[1]}: 0.8 and 0.1 are usual."
            )

    def mask(self, draws: RowDraws, maskable: torch.Tensor, vocabulary: torch.Tensor) -> Masked:
        """Masks a batch; `maskable` (B, T), `vocabulary` (V,) the ids that may replace a token."""
        chosen = (draws.tokens(STREAM_MASK) < self.rate) & maskable
        fate = draws.tokens(STREAM_REPLACE)
        masked = chosen & (fate < self.mask_share)
        replaced = chosen & ~masked & (fate < self.mask_share + self.random_share)
        picks = (draws.tokens(STREAM_REPLACE, 1) * len(vocabulary)).long().clamp(max=len(vocabulary) - 1)
        return Masked(masked, chosen, vocabulary[picks].masked_fill(~replaced, -1))


@dataclass(frozen=True)
class SpanMasking(_RatioMasking):
    """
    Runs of tokens, of geometric length, until exactly `ceil(ratio * maskable)` are masked (the last run is cut short
    for it); after SpanBERT (Joshi et al., 2020). A run ends at padding and at protected tokens.

    Args:
        ratio (`float`, *optional*): The same for every row, in [0, 1].
        min_ratio (`float`, *optional*, defaults to 0.1): Without `ratio`: the smallest one drawn, in [0, 1].
        max_ratio (`float`, *optional*, defaults to 0.9): The largest, at least `min_ratio`.
        mean_length (`float`, *optional*, defaults to 3.0): Mean length of a run before it is cut, at least 1.
    """

    mean_length: float = 3.0

    name: ClassVar[str] = "span"

    def __post_init__(self):
        super().__post_init__()
        if not 1 <= self.mean_length < float("inf"):
            raise ValueError(f"`mean_length` of span must be at least 1, got {self.mean_length}: 3 is usual.")

    def mask(self, draws: RowDraws, maskable: torch.Tensor, vocabulary: torch.Tensor) -> Masked:
        """Masks a batch; `maskable` (B, T)."""
        count = self.counts(draws, maskable)
        # Every maskable position begins a run, and the runs take their turn in the order of `turn`: a position is
        # masked at the turn of the first run that covers it, and the first `count` positions are taken.
        turn = draws.tokens(STREAM_MASK).masked_fill(~maskable, float("inf"))
        stay = 1.0 - 1.0 / self.mean_length
        lengths = torch.ones_like(turn)
        if stay > 0:
            lengths = 1 + (draws.tokens(STREAM_SPAN).log() / torch.tensor(stay).log()).floor()
        island = (~maskable).cumsum(dim=-1)  # the same number where nothing lies between
        covered = turn.clone()
        for distance in range(1, min(int(lengths.max()), turn.shape[1])):
            reaches = (lengths[:, :-distance] > distance) & (island[:, :-distance] == island[:, distance:])
            run = turn[:, :-distance].masked_fill(~reaches, float("inf"))
            covered[:, distance:] = torch.minimum(covered[:, distance:], run)
        masked = select_worst(-covered, maskable, count)
        return Masked(masked, masked)


@dataclass(frozen=True)
class StickyMasking(_RatioMasking):
    """
    Masks that grow: in every round each unmasked token is masked with probability `p1`, or `p2` beside a mask, until
    exactly `ceil(ratio * maskable)` are masked.

    Args:
        ratio (`float`, *optional*): The same for every row, in [0, 1].
        min_ratio (`float`, *optional*, defaults to 0.1): Without `ratio`: the smallest one drawn, in [0, 1].
        max_ratio (`float`, *optional*, defaults to 0.9): The largest, at least `min_ratio`.
        p1 (`float`, *optional*, defaults to 0.05): For a token with no masked neighbour, in (0, 1].
        p2 (`float`, *optional*, defaults to 0.3): For a token with one or two, in (0, 1].
    """

    p1: float = 0.05
    p2: float = 0.3

    name: ClassVar[str] = "sticky"

    def __post_init__(self):
        super().__post_init__()
        for field in ("p1", "p2"):
            if not 0 < getattr(self, field) <= 1:
                raise ValueError(f"`{field}` of sticky must be in (0, 1], got {getattr(self, field)}: 0.1 is usual.")

    def mask(self, draws: RowDraws, maskable: torch.Tensor, vocabulary: torch.Tensor) -> Masked:
        """Masks a batch; `maskable` (B, T)."""
        count = self.counts(draws, maskable)
        masked = torch.zeros_like(maskable)
        for step in range(STICKY_ROUNDS + 1):
            missing = count - masked.sum(dim=-1)
            if not (missing > 0).any():
                break
            beside = torch.zeros_like(masked)
            beside[:, 1:] |= masked[:, :-1]
            beside[:, :-1] |= masked[:, 1:]
            # Below 1 exactly where the token is masked in this round; the smaller, the sooner.
            odds = draws.tokens(STREAM_STICKY, step) / torch.where(beside, self.p2, self.p1)
            open_ = maskable & ~masked
            ripe = open_ if step == STICKY_ROUNDS else open_ & (odds < 1)
            masked = masked | select_worst(-odds, ripe, missing)
        return Masked(masked, masked)


Strategy = DiffusionMasking | RandomMasking | BertMasking | SpanMasking | StickyMasking
MASKING_STRATEGIES: dict[str, type[Strategy]] = {
    cls.name: cls for cls in (DiffusionMasking, RandomMasking, BertMasking, SpanMasking, StickyMasking)
}


def row_weights(supervised: torch.Tensor, maskable: torch.Tensor) -> torch.Tensor:
    """
    Loss weights (B, T) that let a row of any strategy weigh like the diffusion bound, whose weights add up to the
    number of maskable tokens on average: that number divided by the supervised ones, at each of these.
    """
    share = maskable.sum(dim=-1) / supervised.sum(dim=-1).clamp(min=1)
    return supervised * share[:, None]


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check_numbers(strategy) -> None:
    """Refuses what a file gives as text or truth value."""
    for field in fields(strategy):
        value = getattr(strategy, field.name)
        required = field.default is not None
        if (value is None and required) or (value is not None and not is_number(value)):
            raise ValueError(
                f"`{field.name}` of {strategy.name} must be a number, got {value!r}: {field.default} is the default."
            )
