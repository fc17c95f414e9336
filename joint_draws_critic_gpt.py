# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Draws the tokens of one forward pass one after the other, each in the light of those before.

Letters: B batch, T positions, V vocabulary, H heads, d width of a head.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from transformers.generation import LogitsProcessorList

from .denoising_critic_gpt import Prediction
from .diffusion_critic_gpt import sample_inverse_cdf
from .joint_head_critic_gpt import remember
from .remasking_critic_gpt import rank


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
    if draw is None:
        tokens = logits.argmax(dim=-1)
    else:
        shaped = warpers(input_ids[:, None], logits).softmax(dim=-1) if warpers else probabilities
        tokens = sample_inverse_cdf(shaped, draw)
    return tokens, probabilities.gather(-1, tokens[:, None]).squeeze(-1)
