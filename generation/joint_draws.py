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
from transformers.generation import LogitsProcessorList

from critic_gpt.diffusion.selection import rank
from critic_gpt.generation.drawing import warpers_at
from critic_gpt.generation.prediction import Prediction, at_least_float32, drawn_from, slabs


# How many tokens of a row are drawn in one round: so many numbers over the vocabulary, and a few at least.
_READ_AT_ONCE, _FEWEST = 2**15, 8


class JointHead(NamedTuple):
    """
    A joint head after a pass.

    Args:
        queries, keys (`torch.FloatTensor` of shape `(batch_size, joint_num_heads, sequence_length, joint_head_dim)`):
            Of every position.
        values (callable): From tokens (...) to (..., joint_num_heads, joint_head_dim).
        shifted (callable): From scores (n, V) and what was read, (n, joint_num_heads * joint_head_dim), to the scores
            of tokens given those drawn before.
    """

    queries: torch.Tensor
    keys: torch.Tensor
    values: Callable[[torch.Tensor], torch.Tensor]
    shifted: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


class Draw(NamedTuple):
    """How tokens are drawn: by uniform numbers (B, T), or the likeliest (`None`); `warpers` shape the draw alone."""

    uniforms: torch.Tensor | None
    warpers: LogitsProcessorList


def draw_jointly(
    prediction: Prediction,
    input_ids: torch.Tensor,
    masked: torch.Tensor,
    eagerness: torch.Tensor,
    tie_break: torch.Tensor,
    count: int,
    head: JointHead,
    draw: Draw,
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

    Returns:
        [`Prediction`]: with the tokens of the masks, and the probability of each given those drawn in turn before it.
        All else stays that of each position by itself.
    """
    turn = rank(eagerness.masked_fill(~masked, float("-inf")), tie_break)[:, :count]  # (B, C)
    memory = _Memory(head, turn, masked)
    rows = _Rows(prediction, input_ids, head, draw)
    tokens, probability = _in_turn(memory, rows, turn)
    drawn = prediction.tokens.scatter(1, turn, torch.where(memory.active, tokens, prediction.tokens.gather(1, turn)))
    chance = prediction.probability.to(probability.dtype)
    chance = chance.scatter(1, turn, torch.where(memory.active, probability, chance.gather(1, turn)))
    left = masked.scatter(1, turn, False).flatten().nonzero().squeeze(-1)
    if len(left):
        found = memory.read(memory.seen_by_all(head), tokens).flatten(0, 1)[left]
        others, others_chance = rows.drawn(left, found)
        drawn = drawn.flatten().index_copy(0, left, others)
        chance = chance.flatten().index_copy(0, left, others_chance)
    return prediction._replace(tokens=drawn.view_as(masked), probability=chance.view_as(masked))


def _in_turn(memory: "_Memory", rows: "_Rows", turn: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The tokens (B, C) drawn in turn, and the probability of each given those before it."""
    batch, count = turn.shape
    places = turn + memory.length * torch.arange(batch, device=turn.device)[:, None]
    weights = memory.seen_in_turn()
    tokens, probability = torch.zeros_like(turn), torch.zeros(turn.shape, device=turn.device)
    settled = guessed = 0
    while settled < count:
        end = min(settled + rows.together, count)
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


class _Memory:
    """
    What the positions of a canvas read of the tokens drawn in turn.

    Args:
        head ([`JointHead`]): After a pass.
        turn (`torch.LongTensor` of shape `(batch_size, C)`): Which positions are drawn in turn, in order.
        masked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Which are drawn at all.
    """

    def __init__(self, head: JointHead, turn: torch.Tensor, masked: torch.Tensor):
        self.length = masked.shape[1]
        self.active = masked.gather(1, turn)
        # A row that has fewer masks than others remembers nothing of what is no mask.
        self._values = head.values
        place = turn[:, None, :, None].expand(-1, head.keys.shape[1], -1, head.keys.shape[-1])
        self._queries = head.queries.gather(2, place)
        keys = head.keys.gather(2, place).masked_fill(~self.active[:, None, :, None], 0.0)
        self._keys = at_least_float32(keys).transpose(-1, -2) / keys.shape[-1]

    def seen_in_turn(self) -> torch.Tensor:
        """How strongly (B, H, C, C) each of the tokens drawn in turn sees those before it."""
        return (self._queries.to(self._keys.dtype) @ self._keys).tril(-1)

    def seen_by_all(self, head: JointHead) -> torch.Tensor:
        """How strongly (B, H, T, C) each position sees the tokens drawn in turn."""
        return head.queries.to(self._keys.dtype) @ self._keys

    def read(self, weights: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
        """What is found (B, M, H * d) with weights (B, H, M, C) in tokens (B, C)."""
        values = self._values(tokens).to(weights.dtype).transpose(1, 2)  # (B, H, C, d)
        return (weights @ values).transpose(1, 2).flatten(-2)


class _Rows:
    """Draws tokens at places of a canvas, by the scores of a prediction and what the joint head adds to them."""

    def __init__(self, prediction: Prediction, input_ids: torch.Tensor, head: JointHead, draw: Draw):
        self._scores, self._head, self._warpers = prediction.scores.flatten(0, -2), head, draw.warpers
        # Rounds cost what they begin, draws what they read: over a large vocabulary few are worth a guess.
        self.together = max(_FEWEST, _READ_AT_ONCE // self._scores.shape[-1])
        self._ids = input_ids.flatten()
        self._uniforms = None if draw.uniforms is None else draw.uniforms.flatten()
        self._row_of = None
        if prediction.places is not None:
            numbers = torch.arange(len(prediction.places), device=input_ids.device)
            self._row_of = torch.zeros_like(self._ids).index_copy(0, prediction.places, numbers)

    def drawn(self, places: torch.Tensor, found: torch.Tensor | None) -> tuple[torch.Tensor, torch.Tensor]:
        """Tokens (n,) for places (n,) among all B * T, given what they found (n, H * d), and their probabilities."""
        tokens, chances = [], []
        for part in slabs(len(places), self._scores):
            here = places[part]
            scores = self._scores[here if self._row_of is None else self._row_of[here]]
            if found is not None:
                scores = self._head.shifted(at_least_float32(scores), found[part])
            uniforms = None if self._uniforms is None else self._uniforms[here]
            token, chance, _ = drawn_from(scores, self._ids[here], uniforms, warpers_at(self._warpers, here))
            tokens.append(token)
            chances.append(chance)
        return (tokens[0], chances[0]) if len(tokens) == 1 else (torch.cat(tokens), torch.cat(chances))
