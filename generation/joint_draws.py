# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Joint draws: the tokens of one pass drawn one in the light of the other, many at a time.

By the law a token is drawn given those before it, with a uniform number of its own. So the tokens are one function of
these numbers, and the sequence that is left unchanged when all its tokens are drawn anew, each given those before it,
is the one that drawing in turn would give: a guess is drawn anew until nothing changes. Each round settles one token
more at least, and often many at once, since few draws turn on the others (Song et al., "Accelerating Feedforward
Computation via Parallel Nonlinear Equation Solving", 2021).

Letters: B batch, T positions, V vocabulary, H heads, d width of a head, C tokens drawn in turn, n rows.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from transformers.generation import LogitsProcessorList, TemperatureLogitsWarper

from critic_gpt.diffusion.randomness import block_width, race_size
from critic_gpt.diffusion.selection import rank
from critic_gpt.generation.drawing import PlacedTemperature, warpers_at
from critic_gpt.generation.prediction import Prediction, at_least_float32, drawn_from, slabs
from critic_gpt.heads.joint import JointReading


# How many tokens of a row are drawn in one round: so many numbers over the vocabulary, and a few at least.
_READ_AT_ONCE, _FEWEST = 2**15, 8
# How many tokens over a large one are guessed ahead of those that are settled, in all rows; and how often they are
# drawn anew in the light of each other before the guess is put to the test.
_AHEAD, _REDRAWN = 128, 4
# How many rows of scores are shifted at once: each time the whole matrix is read by which they are.
_ROWS_AT_LEAST = 64


class JointHead(NamedTuple):
    """
    A joint head after a pass.

    Args:
        queries, keys (`torch.FloatTensor` of shape `(batch_size, joint_num_heads, sequence_length, joint_head_dim)`):
            Of every position.
        values (callable): From tokens (...) to (..., joint_num_heads, joint_head_dim).
        shifted ([`JointReading`]): From scores (n, V) and what was read, (n, joint_num_heads * joint_head_dim), to the
            scores of tokens given those drawn before.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    values: Callable[[torch.Tensor], torch.Tensor]
    shifted: JointReading


class Draw(NamedTuple):
    """How tokens are drawn: by uniform numbers (B, T), or the likeliest (`None`); `warpers` shape the draw alone."""

    uniforms: torch.Tensor | None
    warpers: LogitsProcessorList


class Race(NamedTuple):
    """
    How tokens of a large vocabulary are drawn ([`sample_by_race`]).

    Args:
        numbers (callable, *optional*): From columns (B, M) and n to uniform numbers (B, M, n); `None` takes the
            likeliest tokens.
        sums (`torch.FloatTensor` of shape `(batch_size, sequence_length, num_blocks)`, *optional*): Probabilities of
            the blocks of the vocabulary for each of the masks by itself, where somebody has looked already.
    """

    numbers: Callable[[torch.Tensor, int], torch.Tensor] | None
    sums: torch.Tensor | None = None


def draw_jointly(
    prediction: Prediction,
    input_ids: torch.Tensor,
    masked: torch.Tensor,
    eagerness: torch.Tensor,
    tie_break: torch.Tensor,
    count: int,
    head: JointHead,
    draw: Draw,
    race: Race | None = None,
) -> Prediction:
    """
    Draws the tokens of the masks: of each row the `count` most eager ones in turn, then the others at once, each given
    all that were drawn in turn.

    Args:
        prediction ([`Prediction`]): What each position would be by itself, the masks among what was asked for.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Tokens before the step.
        masked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): What is to be drawn.
        eagerness, tie_break (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Higher is drawn first.
        count (`int`): How many are drawn in turn, at least 0.
        head ([`JointHead`]): Relates them.
        draw ([`Draw`]): How.
        race ([`Race`], *optional*): By which tokens are drawn rather than by one number each, as is faster where the
            vocabulary is large.

    Returns:
        [`Prediction`]: with the tokens of the masks, and the probability of each given those drawn in turn before it.
        All else stays that of each position by itself.
    """
    order = rank(eagerness.masked_fill(~masked, float("-inf")), tie_break)
    rows = Rows(prediction, input_ids, head, draw)
    if race is not None:
        order = order[:, : int(masked.sum(dim=-1).max())]
        memory = Memory(head, order, masked, count)
        tokens, probability = _by_guesses(memory, rows, order, race)
        return _placed(prediction, order, memory.active, tokens, probability)
    turn = order[:, :count]  # (B, C)
    memory = Memory(head, turn, masked, count)
    tokens, probability = _in_turn(memory, rows, turn)
    found = _placed(prediction, turn, memory.active, tokens, probability)
    left = masked.scatter(1, turn, False).flatten().nonzero().squeeze(-1)
    if not len(left):
        return found
    others, chance = rows.drawn(left, memory.read(memory.seen_by_all(head), tokens).flatten(0, 1)[left])
    drawn = found.tokens.flatten().index_copy(0, left, others)
    # Of a step that draws none in turn the dtype is known by now only.
    chance = found.probability.to(chance.dtype).flatten().index_copy(0, left, chance)
    return found._replace(tokens=drawn.view_as(masked), probability=chance.view_as(masked))


def _placed(
    prediction: Prediction, columns: torch.Tensor, active: torch.Tensor, tokens: torch.Tensor, chance: torch.Tensor
) -> Prediction:
    """The prediction with tokens (B, C) and the probability of each at columns (B, C), where these are `active`."""
    kept = prediction.probability.to(chance.dtype)
    return prediction._replace(
        tokens=prediction.tokens.scatter(
            1, columns, torch.where(active, tokens, prediction.tokens.gather(1, columns))
        ),
        probability=kept.scatter(1, columns, torch.where(active, chance, kept.gather(1, columns))),
    )


def _in_turn(memory: "Memory", rows: "Rows", turn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens (B, C) drawn in turn, and the probability of each given those before it."""
    batch, count = turn.shape
    places, together = rows.places_of(turn), max(_FEWEST, _READ_AT_ONCE // rows.vocab_size)
    weights = memory.seen_in_turn()
    tokens, probability = torch.zeros_like(turn), torch.zeros(turn.shape, device=turn.device)
    settled = guessed = 0
    while settled < count:
        end = min(settled + together, count)
        # What is not even guessed is no part of what the others are drawn by.
        found = memory.read(weights[:, :, settled:end, :guessed], tokens[:, :guessed]).flatten(0, 1)
        drawn, chance = rows.drawn(places[:, settled:end].flatten(), found if guessed else None)
        drawn, chance = drawn.view(batch, -1), chance.view(batch, -1)
        changed = drawn != tokens[:, settled:end]
        changed[:, guessed - settled :] = True
        tokens[:, settled:end] = drawn
        probability = probability.to(chance.dtype)
        probability[:, settled:end] = chance
        guessed = end
        # All up to the first one that changed were drawn given what they keep, and so was that one.
        changed = (changed & memory.active[:, settled:end]).any(dim=0)
        settled += int(changed.int().argmax()) + 1 if bool(changed.any()) else end - settled
    return tokens, probability


def _by_guesses(memory: "Memory", rows: "Rows", order: torch.Tensor, race: Race) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The tokens (B, M) of all masks, the first ones in turn, and their probabilities. For large vocabularies, where what
    counts is how many rows of scores are read: one per token, given good guesses of all before it, unless one was
    wrong.
    """
    shape, number = order.shape, torch.arange(order.shape[1], device=order.device)
    places, count, weights = rows.places_of(order).flatten(), memory.count, memory.seen_in_turn()
    clocks = None
    if race.numbers is not None:
        clocks = race.numbers(order, race_size(rows.vocab_size)).log_().neg_().flatten(0, 1)
    block = _first_blocks(rows, order, places, race, clocks)
    tokens, probability = None, torch.zeros(len(places), device=order.device)
    settled, ahead = torch.zeros_like(order[:, :1]), max(_FEWEST, _AHEAD // len(order))
    while True:
        end = settled + ahead
        if tokens is not None:  # what sees all that are drawn in turn waits for them once a guess was wrong
            end = torch.where(settled < count, end.clamp(max=count), end)
        asked = (number >= settled).logical_and_(number < end).logical_and_(memory.active)
        at = asked.flatten().nonzero().squeeze(-1)
        if not len(at):
            break
        in_turn = at if count == shape[1] else asked.logical_and(number < count).flatten().nonzero().squeeze(-1)
        before = _guessed(memory, rows, weights, tokens, block, in_turn, places, clocks)
        found = memory.read(weights, before.view(shape)).flatten(0, 1)
        drawn, chance = rows.drawn(places[at], found[at], None if clocks is None else clocks[at])
        tokens, probability = before.index_copy(0, at, drawn), probability.to(chance.dtype).index_copy_(0, at, chance)
        block = tokens // block_width(rows.vocab_size)
        # All up to the first one that changed were drawn given what they keep, and so was that one.
        changed = (tokens != before).view(shape).logical_and_(asked).logical_and_(number < count)
        first = number.where(changed, shape[1]).amin(dim=-1, keepdim=True)
        settled = torch.where(first < count, first + 1, end)
    return torch.zeros_like(order) if tokens is None else tokens.view(shape), probability.view(shape)


def _first_blocks(
    rows: "Rows", order: torch.Tensor, places: torch.Tensor, race: Race, clocks: torch.Tensor | None
) -> torch.Tensor:
    """The block (B * M,) from which each token would be drawn by itself."""
    if race.sums is None:
        return rows.drawn(places, None, clocks)[0] // block_width(rows.vocab_size)
    sums = race.sums.flatten(0, 1)[places]
    return (sums if clocks is None else sums / clocks[:, : sums.shape[-1]]).argmax(dim=-1)


def _guessed(
    memory: "Memory",
    rows: "Rows",
    weights: torch.Tensor,
    tokens: torch.Tensor | None,
    block: torch.Tensor,
    at: torch.Tensor,
    places: torch.Tensor,
    clocks: torch.Tensor | None,
) -> torch.Tensor:
    """
    Tokens (B * M,), some (n,) of them drawn anew in the light of each other, each within its `block` (B * M,) of the
    vocabulary: most draws stay in theirs, and few scores are read.
    """
    width = block_width(rows.vocab_size)
    first, places = block * width, places[at]
    within = rows.within(places, block[at], width)
    if within is None:
        return first if tokens is None else tokens
    scores, shift = within
    noise = 0.0 if clocks is None else clocks[at, -width:].log().neg_()
    warpers, ids = rows.warpers_at(places), places[:, None]
    shape, found = (len(weights), -1), None
    for _ in range(_REDRAWN):
        shaped = scores
        if tokens is not None:
            found = memory.read(weights, tokens.view(shape)).flatten(0, 1)[at]
            shaped = torch.baddbmm(scores[:, None], found[:, None].to(scores.dtype), shift).squeeze(1)
        drawn = first[at] + ((warpers(ids, shaped) if warpers else shaped) + noise).argmax(dim=-1)
        before, tokens = tokens, (first if tokens is None else tokens).index_copy(0, at, drawn)
        if before is not None and tokens.device.type == "cpu" and torch.equal(before, tokens):
            break  # elsewhere to look would be to wait
    return tokens


class Memory:
    """
    What the positions of a canvas read of the tokens drawn in turn.

    Args:
        head ([`JointHead`]): After a pass.
        order (`torch.LongTensor` of shape `(batch_size, M)`): Which positions are drawn, those in turn first.
        masked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Which are drawn at all.
        count (`int`): How many C are drawn in turn at most.
    """

    def __init__(self, head: JointHead, order: torch.Tensor, masked: torch.Tensor, count: int):
        self.active, self.count = masked.gather(1, order), min(count, order.shape[1])
        # A row that has fewer masks than others remembers nothing of what is no mask.
        self._values = head.values
        place = order[:, None, :, None].expand(-1, head.keys.shape[1], -1, head.keys.shape[-1])
        self._queries = head.queries.gather(2, place)
        keys = head.keys.gather(2, place[:, :, : self.count])
        keys = keys.masked_fill(~self.active[:, None, : self.count, None], 0.0)
        self._keys = at_least_float32(keys).transpose(-1, -2) / keys.shape[-1]

    def seen_in_turn(self) -> torch.Tensor:
        """How strongly (B, H, M, C) each of the tokens sees those drawn in turn before it."""
        return (self._queries.to(self._keys.dtype) @ self._keys).tril(-1)

    def seen_by_all(self, head: JointHead) -> torch.Tensor:
        """How strongly (B, H, T, C) each position sees the tokens drawn in turn."""
        return head.queries.to(self._keys.dtype) @ self._keys

    def read(self, weights: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """What is found (B, M, H * d) with weights (B, H, M, C) in the first C of tokens (B, M)."""
        values = self._values(tokens[:, : weights.shape[-1]]).to(weights.dtype).transpose(1, 2)  # (B, H, C, d)
        return (weights @ values).transpose(1, 2).flatten(-2)


class Rows:
    """Draws tokens at places of a canvas, by the scores of a prediction and what the joint head adds to them."""

    def __init__(self, prediction: Prediction, input_ids: torch.Tensor, head: JointHead, draw: Draw):
        self.scores, self.head, self._warpers = prediction.scores.flatten(0, -2), head, draw.warpers
        self.vocab_size = self.scores.shape[-1]
        self._ids, self._length = input_ids.flatten(), input_ids.shape[1]
        self._uniforms = None if draw.uniforms is None else draw.uniforms.flatten()
        self._row_of = None
        if prediction.places is not None:
            numbers = torch.arange(len(prediction.places), device=input_ids.device)
            self._row_of = torch.zeros_like(self._ids).index_copy(0, prediction.places, numbers)

    def places_of(self, columns: torch.Tensor) -> torch.Tensor:
        """Places among all B * T of columns (B, C)."""
        return columns + self._length * torch.arange(len(columns), device=columns.device)[:, None]

    def within(
        self, places: torch.Tensor, block: torch.Tensor, width: int
    ) -> tuple[torch.Tensor, torch.Tensor] | None:
        """
        Of places (n,) the scores (n, width) of one block of tokens each (n,), and what shifts them, (n, H * d, width);
        `None` where that does not say how a token of a block is drawn.
        """
        if not all(isinstance(one, (TemperatureLogitsWarper, PlacedTemperature)) for one in self._warpers):
            return None
        shift = self.head.shifted.at(block, width)
        if shift is None:
            return None
        token = block[:, None] * width + torch.arange(width, device=block.device)
        place = self._rows_at(places)[:, None] * self.vocab_size + token.clamp(max=self.vocab_size - 1)
        scores = self.scores.take(place).masked_fill_(token >= self.vocab_size, float("-inf"))
        return at_least_float32(scores), shift

    def _rows_at(self, places: torch.Tensor) -> torch.Tensor:
        """Which rows (n,) of the scores are those of places (n,)."""
        return places if self._row_of is None else self._row_of[places]

    def drawn(
        self, places: torch.Tensor, found: torch.Tensor | None, clocks: torch.Tensor | None = None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Tokens (n,) for places (n,) among all B * T, given what they found (n, H * d), and their probabilities; by the
        `clocks` (n, m) of a race, or by one number each.
        """
        tokens, chances = [], []
        for part in slabs(len(places), self.scores, _ROWS_AT_LEAST):
            here = places[part]
            scores = self.scores.index_select(0, self._rows_at(here))
            if found is not None:
                scores = self.head.shifted(at_least_float32(scores), found[part])
            draw = clocks[part] if clocks is not None else None if self._uniforms is None else self._uniforms[here]
            token, chance, _ = drawn_from(scores, self._ids[here], draw, self.warpers_at(here))
            tokens.append(token)
            chances.append(chance)
        return (tokens[0], chances[0]) if len(tokens) == 1 else (torch.cat(tokens), torch.cat(chances))

    def warpers_at(self, places: torch.Tensor) -> LogitsProcessorList | None:
        """What shapes the draws at places (n,)."""
        return warpers_at(self._warpers, places)
