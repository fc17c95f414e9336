# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How the tokens of one pass are drawn: which logits processors of Transformers apply, and joint draws.

A processor is asked about every position of every row at once: `scores` are `(batch_size * sequence_length,
vocab_size)`, and `input_ids` `(batch_size * sequence_length, sequence_length - 1)` hold, for each, the *other* tokens
of its row, [MASK] among them. There is no last token and no length that grows: what goes by these is refused.

Letters: B batch, T positions, V vocabulary, H heads, d width of a head.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers.generation import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    InfNanRemoveLogitsProcessor,
    LogitNormalization,
    LogitsProcessorList,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopHLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from critic_gpt.diffusion.selection import rank
from critic_gpt.generation.answers import CheckedProcessors
from critic_gpt.generation.canvas import Prediction, drawn_tokens
from critic_gpt.heads.joint import remember


# What shapes the draw of a token and says nothing of how likely the model holds it, as `temperature` and `top_k`.
WARPERS = (
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TopHLogitsWarper,
    MinPLogitsWarper,
    TypicalLogitsWarper,
    EpsilonLogitsWarper,
    EtaLogitsWarper,
)
POSITION_FREE = (
    SuppressTokensLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    InfNanRemoveLogitsProcessor,
    LogitNormalization,
)
# Position-free too, for single tokens.
SINGLE_TOKENS = (SequenceBiasLogitsProcessor, NoBadWordsLogitsProcessor)


def checked_list(name: str, given: Any) -> list[Callable]:
    """The callables of an argument that takes a list of them; `None` is an empty one."""
    given = [] if given is None else given
    if not isinstance(given, (list, tuple)) or not all(callable(one) for one in given):
        raise ValueError(f"`{name}` must be a list of callables, got {given!r:.80}: write `[...]` around one.")
    return list(given)


def is_stock(given: Any, module: str) -> bool:
    """Whether an object is of a class that a module of Transformers defines, not of a user's own subclass."""
    return type(given).__module__ == f"transformers.generation.{module}"


def sort_processors(given: Any) -> tuple[LogitsProcessorList, LogitsProcessorList]:
    """
    Tells the processors of a call apart.

    Args:
        given (`list[LogitsProcessor]`, *optional*): As passed to `generate`.

    Returns:
        `tuple[LogitsProcessorList, LogitsProcessorList]`: Those that change what the model holds to be likely, and the
        warpers, which shape the draw alone.

    Raises:
        `ValueError`: One goes by the end or the length of a text that is written from left to right.
    """
    processors, warpers = CheckedProcessors(), CheckedProcessors()
    for processor in checked_list("logits_processor", given):
        if isinstance(processor, WARPERS):
            warpers.append(processor)
            continue
        stock = is_stock(processor, "logits_process")
        if stock and isinstance(processor, SINGLE_TOKENS):
            longer = [ids for ids in processor.sequence_bias if len(ids) > 1]
            if longer:
                raise ValueError(
                    f"`logits_processor` must name single tokens in a {type(processor).__name__}, since those beside "
                    f"each other may be drawn in the same step, got {longer[0]}: leave longer sequences out."
                )
        elif stock and not isinstance(processor, POSITION_FREE):
            known = ", ".join(kind.__name__ for kind in (*POSITION_FREE, *SINGLE_TOKENS, *WARPERS))
            raise ValueError(
                "`logits_processor` must not go by the end or the length of a text, which is not written from left to "
                f"right here, got a {type(processor).__name__}: take one of {known}, or one of your own."
            )
        processors.append(processor)
    return processors, warpers


class JointDraws(NamedTuple):
    """
    A joint head after a pass: `queries` and `keys` (B, H, T, d); `values` from tokens (B,) to (B, H, d); `shift` from
    queries (B, H, N, d) and a memory (B, H, d, d) to what is added to logits, (B, N, V).
    """

    queries: torch.Tensor
    keys: torch.Tensor
    values: Callable[[torch.Tensor], torch.Tensor]
    shift: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def draw_jointly(
    prediction: Prediction,
    input_ids: torch.Tensor,
    masked: torch.Tensor,
    eagerness: torch.Tensor,
    tie_break: torch.Tensor,
    count: int,
    head: JointDraws,
    draw: torch.Tensor | None,
    warpers: LogitsProcessorList,
) -> Prediction:
    """
    Draws the tokens of the masks anew: of each row the `count` most eager ones in turn, then the others at once, each
    given all that were drawn in turn.

    Args:
        prediction ([`Prediction`]): What each position would be by itself.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Tokens before the step.
        masked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): What is to be drawn.
        eagerness, tie_break (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Higher is drawn first.
        count (`int`): How many are drawn in turn, at least 0.
        head ([`JointDraws`]): Relates them.
        draw (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): Uniform numbers; `None` takes
            the likeliest token.
        warpers ([`~transformers.LogitsProcessorList`]): Applied to the draw alone: temperature, top-k, top-p.

    Returns:
        [`Prediction`]: with the tokens of the masks, and the probability of each given those drawn in turn before it.
        `probabilities` stay those of each position by itself.
    """
    tokens, probability = prediction.tokens.clone(), prediction.probability.clone()
    # Up to a constant the logits after all processors.
    logits = prediction.probabilities.log()
    memory = head.keys.new_zeros((*head.keys.shape[:2], head.keys.shape[-1], head.keys.shape[-1])).float()
    rows, left = torch.arange(len(tokens), device=tokens.device), masked.clone()
    ranking = rank(eagerness.masked_fill(~masked, float("-inf")), tie_break)
    for place in ranking[:, :count].unbind(dim=-1):
        active = masked[rows, place]
        shifted = logits[rows, place] + head.shift(head.queries[rows, :, place, None], memory).squeeze(1)
        token, chance = _drawn(shifted, None if draw is None else draw[rows, place], input_ids[rows, place], warpers)
        tokens[rows, place] = torch.where(active, token, tokens[rows, place])
        probability[rows, place] = torch.where(active, chance, probability[rows, place])
        known = remember(memory, head.keys[rows, :, place], head.values(token))
        memory = torch.where(active[:, None, None, None], known, memory)
        left[rows, place] = False
    if count < masked.shape[1]:
        shifted = (logits + head.shift(head.queries, memory)).flatten(0, 1)
        token, chance = _drawn(shifted, None if draw is None else draw.flatten(), input_ids.flatten(), warpers)
        tokens = torch.where(left, token.view_as(tokens), tokens)
        probability = torch.where(left, chance.view_as(probability), probability)
    return prediction._replace(tokens=tokens, probability=probability)


def _drawn(
    logits: torch.Tensor, draw: torch.Tensor | None, input_ids: torch.Tensor, warpers: LogitsProcessorList
) -> tuple[torch.Tensor, torch.Tensor]:
    """Tokens (N,) by logits (N, V), and the probability of each before the warpers."""
    probabilities = logits.softmax(dim=-1)
    shaped = warpers(input_ids[:, None], logits).softmax(dim=-1) if warpers and draw is not None else probabilities
    return drawn_tokens(probabilities, shaped, draw)
