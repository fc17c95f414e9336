# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a pass predicts, and the tokens drawn from it: at once where that is small, else where it is wanted, in slabs.

Scores of all tokens at all positions are by far the largest thing a step makes. There is one copy of them, at the
positions that are asked for; probabilities are made of them a slab at a time and are gone once they were read.

Letters: B batch, T positions, V vocabulary, N positions that are asked for, n rows of a slab.
"""

from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from transformers.generation import LogitsProcessorList

from critic_gpt.diffusion.corruption import suppress_tokens
from critic_gpt.diffusion.randomness import sample_by_race, sample_inverse_cdf
from critic_gpt.generation.drawing import warpers_at


# Up to so many scores a canvas is read as a whole: to look up positions would take longer than they do.
SMALL = 2**17
# Numbers of a slab: what stays in the cache of a processor; on other devices what keeps them busy.
_SLAB_CPU, _SLAB_OTHERS = 2**19, 2**26


class Prediction(NamedTuple):
    """
    What the model would put at the positions that were asked for.

    Args:
        tokens (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Drawn ones.
        probability (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Of each, the model's own: before
            temperature, truncation and exclusion. Of the tokens that are left by top_k=1 each is certain, and nothing
            would tell which to reveal first.
        scores (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`, or `(N, vocab_size)`): Logits
            after the processors, of all positions or of those at `places`.
        places (`torch.LongTensor` of shape `(N,)`, *optional*): Where these are among `batch_size * sequence_length`.
        known (`torch.FloatTensor`, *optional*): The probabilities of the scores, where they are small enough to keep.
    """

    tokens: torch.Tensor
    probability: torch.Tensor
    scores: torch.Tensor
    places: torch.Tensor | None = None
    known: torch.Tensor | None = None

    @property
    def probabilities(self) -> torch.Tensor:
        """Those of all tokens, of the shape of the scores: as much again as they are. See [`Prediction.read`]."""
        return _probabilities(self.scores) if self.known is None else self.known

    def read(self, function: Callable, *beside: torch.Tensor, where: torch.Tensor | None = None):
        """
        What a function of probabilities says of every position.

        Args:
            function (callable): From probabilities `(..., vocab_size)`, and what stands `beside` them, `(...)`, to one
                number or one vector each, or to a tuple of such.
            beside (`torch.Tensor` of shape `(batch_size, sequence_length)`): Further arguments.
            where (`torch.BoolTensor` of shape `(batch_size, sequence_length)`, *optional*): Which positions are read,
                of those that were asked for; all by default. Elsewhere the result is 0, or whatever costs nothing.

        Returns:
            `torch.Tensor` of shape `(batch_size, sequence_length, ...)`, or a tuple of such.
        """
        if self.known is not None:
            return function(self.known, *beside)
        scores = self.scores.flatten(0, -2)
        rows, places = chosen(where, self.places)
        found = []
        for part in slabs(len(scores) if rows is None else len(rows), scores):
            here = [values.flatten()[part if places is None else places[part]] for values in beside]
            said = function(_probabilities(_rows(scores, rows, part)), *here)
            found.append(said if isinstance(said, tuple) else (said,))
        whole = tuple(spread(torch.cat(parts), places, self.tokens) for parts in zip(*found, strict=True))
        return whole if len(whole) > 1 else whole[0]


def chosen(where: torch.Tensor | None, places: torch.Tensor | None) -> tuple[torch.Tensor | None, torch.Tensor | None]:
    """Which rows (n,) of those at `places` stand `where` (B, T) says, and where these are; `None` for all."""
    if where is None:
        return None, places
    rows = (where.flatten() if places is None else where.flatten()[places]).nonzero().squeeze(-1)
    return rows, rows if places is None else places[rows]


def _rows(scores: torch.Tensor, rows: torch.Tensor | None, part: slice) -> torch.Tensor:
    """A part of some rows of scores (N, V)."""
    return scores[part] if rows is None else scores.index_select(0, rows[part])


def spread(values: torch.Tensor, places: torch.Tensor | None, like: torch.Tensor) -> torch.Tensor:
    """Values (N, ...) at their places among the positions of `like` (B, T), and 0 elsewhere."""
    if places is not None:
        values = values.new_zeros(like.numel(), *values.shape[1:]).index_copy_(0, places, values)
    return values.view(*like.shape, *values.shape[1:])


def slabs(count: int, scores: torch.Tensor, least: int = 1) -> Iterator[slice]:
    """
    The slices of `count` rows as wide as the scores (..., V) that are read at once; one at least, and of so many rows
    at `least`.
    """
    numbers = _SLAB_CPU if scores.device.type == "cpu" else _SLAB_OTHERS
    size = max(least, numbers // scores.shape[-1])
    for begin in range(0, max(count, 1), size):
        yield slice(begin, begin + size)


def processed(
    logits: torch.Tensor,
    input_ids: torch.Tensor,
    special_ids: list[int],
    processors: LogitsProcessorList | None = None,
    cur_step: int = 1,
    others: Callable[[torch.Tensor], torch.Tensor] | None = None,
) -> torch.Tensor:
    """
    Logits as tokens are drawn by them.

    Args:
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`): As the model gives them.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Current tokens.
        special_ids (`list[int]`): Ids that are never predicted.
        processors ([`~transformers.LogitsProcessorList`], *optional*): Applied to `(batch_size * sequence_length,
            vocab_size)`, with the other tokens of the row, `(batch_size * sequence_length, sequence_length - 1)`, as
            `input_ids`: all positions at once, drawn or not.
        cur_step (`int`, *optional*, defaults to 1): Steps that are left, this one included: for processors that ask.
        others (callable, *optional*): Gives these other tokens, where `input_ids` are a part of the row only.
    """
    logits = suppress_tokens(at_least_float32(logits), special_ids)
    if not processors:
        return logits
    beside = other_tokens(input_ids) if others is None else others(input_ids)
    return processors(beside, logits.reshape(-1, logits.shape[-1]), cur_step=cur_step).view(logits.shape)


def draw_tokens(
    input_ids: torch.Tensor,
    scores: torch.Tensor,
    draw: torch.Tensor | None,
    warpers: LogitsProcessorList | None = None,
    exclude: torch.Tensor | None = None,
) -> Prediction:
    """
    Draws a token by inverse CDF at every position.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Current tokens.
        scores (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`): As [`processed`] gives them.
        draw (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): Uniform numbers; `None` takes
            the likeliest token.
        warpers ([`~transformers.LogitsProcessorList`], *optional*): Applied to the draw alone, on scores `(rows,
            vocab_size)` and current tokens `(rows, 1)`: temperature, top-k, top-p.
        exclude (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): A token for each position
            that is not to be drawn there, unless no other is possible. The warpers choose among the others.
    """
    if not warpers:  # which want rows
        tokens, probability, known = drawn_from(scores, input_ids, draw, None, exclude)
        return Prediction(tokens, probability, scores, known=known)
    numbers, excluded = (None if one is None else one.flatten() for one in (draw, exclude))
    rows = scores.flatten(0, -2)
    tokens, probability, probabilities = drawn_from(rows, input_ids.flatten(), numbers, warpers, excluded)
    whole = probabilities.view(scores.shape)
    return Prediction(tokens.view_as(input_ids), probability.view_as(input_ids), scores, known=whole)


def draw_some(
    input_ids: torch.Tensor,
    scores: torch.Tensor,
    places: torch.Tensor | None,
    draw: torch.Tensor | None,
    warpers: LogitsProcessorList | None,
    exclude: torch.Tensor | None,
    where: torch.Tensor | None,
) -> Prediction:
    """
    The same a slab at a time, at some of the positions that scores are given for.

    Args:
        input_ids, draw, warpers, exclude: As for [`draw_tokens`].
        scores, places: As for [`Prediction`].
        where (`torch.BoolTensor` of shape `(batch_size, sequence_length)`, *optional*): Where tokens are drawn.
    """
    flat = scores.flatten(0, -2)
    rows, at = chosen(where, places)
    drawn = []
    for part in slabs(len(flat) if rows is None else len(rows), flat):
        here = part if at is None else at[part]
        numbers, excluded = (None if one is None else one.flatten()[here] for one in (draw, exclude))
        shaping = warpers_at(warpers, here)
        some = drawn_from(_rows(flat, rows, part), input_ids.flatten()[here], numbers, shaping, excluded)
        drawn.append(some[:2])
    tokens, probability = (spread(torch.cat(column), at, input_ids) for column in zip(*drawn, strict=True))
    return Prediction(tokens, probability, scores, places)


def undrawn(
    input_ids: torch.Tensor, scores: torch.Tensor, places: torch.Tensor | None = None, at_once: bool = True
) -> Prediction:
    """The same before anything was drawn, for whoever draws in another way: tokens stay, their probability is 0."""
    nothing = torch.zeros(input_ids.shape, dtype=torch.float32, device=input_ids.device)
    return Prediction(input_ids, nothing, scores, places, _probabilities(scores) if at_once else None)


def drawn_from(
    scores: torch.Tensor,
    input_ids: torch.Tensor,
    draw: torch.Tensor | None,
    warpers: LogitsProcessorList | None,
    exclude: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Tokens (n,) by scores (n, V), the probability of each before the warpers, and all probabilities (n, V). Without
    warpers the shapes may be (..., V) and (...). Tokens are drawn by inverse CDF of one number each (n,), or by the
    clocks of a race (n, `race_size(V)`).
    """
    # Warpers compare and sort: at least float32, whatever the model computes in.
    scores = at_least_float32(scores)
    probabilities = scores.softmax(dim=-1)
    shaped = scores if exclude is None else without(scores, exclude)
    if draw is not None and warpers:
        shaped = warpers(input_ids[:, None], shaped)
    chances = probabilities if shaped is scores else shaped.softmax(dim=-1)
    if draw is None:
        tokens = chances.argmax(dim=-1)
    else:
        tokens = (sample_by_race if draw.dim() == chances.dim() else sample_inverse_cdf)(chances, draw)
    probability = probability_of(probabilities, tokens)
    if chances is not probabilities:
        # NaN where there was nothing to draw by.
        chance = probability_of(chances, tokens)
        probability = torch.where(chance.isnan(), chance, probability)
    return tokens, probability, probabilities


def probability_of(probabilities: torch.Tensor, tokens: torch.Tensor) -> torch.Tensor:
    """Of probabilities (..., V) that of one token each (...)."""
    return probabilities.gather(-1, tokens[..., None]).squeeze(-1)


def highest(probabilities: torch.Tensor) -> torch.Tensor:
    """Of probabilities (..., V) the highest (...)."""
    return probabilities.amax(dim=-1)


def at_least_float32(logits: torch.Tensor) -> torch.Tensor:
    return logits.to(torch.promote_types(logits.dtype, torch.float32))


def _probabilities(scores: torch.Tensor) -> torch.Tensor:
    return at_least_float32(scores).softmax(dim=-1)


def other_tokens(input_ids: torch.Tensor, columns: torch.Tensor | None = None) -> torch.Tensor:
    """For each position of each row of (B, T), or for those at `columns` (B, N), all tokens of the row but its own:
    (B * T, T - 1)."""
    position = torch.arange(input_ids.shape[1], device=input_ids.device)
    own = (position if columns is None else columns)[..., None]
    others = position[:-1] + (position[:-1] >= own).long()  # (T, T - 1), or (B, N, T - 1)
    if columns is None:
        return input_ids[:, others].flatten(0, 1)
    return input_ids[:, None].expand(-1, columns.shape[1], -1).gather(-1, others).flatten(0, 1)


def without(scores: torch.Tensor, exclude: torch.Tensor) -> torch.Tensor:
    """The scores (n, V) with -inf at one token each (n,), except where no other is possible."""
    others = scores.scatter(-1, exclude[..., None], float("-inf"))
    possible = (others > float("-inf")).any(dim=-1, keepdim=True)
    return torch.where(possible, others, scores)
