# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A step of the critic's strategy as one function of tensors, whose shapes and branches are always the same: what
`torch.compile` takes whole. Its law is that of [`Critic`] under its defaults.

Letters: B batch, T positions, V vocabulary.
"""

from typing import Any, NamedTuple

import torch

from critic_gpt.calibration.table import interpolated, looked_up
from critic_gpt.diffusion.corruption import suppress_tokens
from critic_gpt.diffusion.randomness import sample_inverse_cdf
from critic_gpt.diffusion.schedules import remask_counts
from critic_gpt.diffusion.selection import select_worst, settle
from critic_gpt.generation.prediction import at_least_float32, probability_of, without
from critic_gpt.generation.strategies.doubts import EVEN_ODDS, better_alternative, share_of_likeliest_other


class Moment(NamedTuple):
    """
    What differs between the steps of a generation: where tokens are `changeable` (B, T), the numbers they are drawn by
    (B, T), how many stay masked (B,), how many may be corrected at `most` (B,); and whether wrong ones are replaced,
    and this is the last step, both without dimensions.
    """

    changeable: torch.Tensor
    draw: torch.Tensor
    kept_back: torch.Tensor
    most: torch.Tensor
    replaces: torch.Tensor
    last: torch.Tensor


class StillStep(NamedTuple):
    """What [`critic_step`] makes, all (B, T): `tokens` drawn for every position, and what [`StepOutcome`] has."""

    critic_logits: torch.Tensor
    tokens: torch.Tensor
    filled: torch.Tensor
    remasked: torch.Tensor
    after: torch.Tensor
    drawn: torch.Tensor
    probability: torch.Tensor
    error_probabilities: torch.Tensor


# The law stands here a second time because each form costs what the other saves: [`Critic`] looks at a step's tensors
# and reads the vocabulary only where something is drawn or doubted, which breaks a graph; and to read it everywhere,
# as a graph does, costs a plain step more. tests/generation/test_compiled.py holds both to equal steps.
def critic_step(
    model: Any,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    layout: Any,
    editable: torch.Tensor,
    draft: torch.Tensor,
    total: torch.Tensor,
    table: tuple,
    moment: Moment,
    rule: tuple,
) -> StillStep:
    """
    A step of [`Critic`] under its defaults, with tokens drawn each by itself, as one function without a branch.

    Args:
        model ([`CriticGPTForMaskedLM`]): Whose pass it is, with `attention_mask` and `layout` as for `bare_pass`.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Tokens before the step.
        editable, draft, total: As [`Critic`] keeps them.
        table (`tuple`): P(wrong) by score, and log-odds.
        moment ([`Moment`]): What differs between steps.
        rule (`tuple`): Ids that are never drawn, that of [MASK], the floor, `remask_per_step`.
    """
    special_ids, mask_id, floor, remask_per_step = rule
    output = model.bare_pass(input_ids, attention_mask, layout, True, False)
    scores = suppress_tokens(at_least_float32(output.logits), list(special_ids))
    probabilities, replaces = scores.softmax(dim=-1), moment.replaces
    chances = torch.where(replaces, without(scores, input_ids), scores).softmax(dim=-1)
    tokens = sample_inverse_cdf(chances, moment.draw)
    probability, chance = probability_of(probabilities, tokens), probability_of(chances, tokens)
    probability = torch.where(chance.isnan(), chance, probability)

    wrong = looked_up(table[0], output.critic_logits)
    alternative = share_of_likeliest_other(probabilities, input_ids)
    log_odds = settle(better_alternative(interpolated(table[1], output.critic_logits), alternative))
    masked = editable & (input_ids == mask_id)
    masks = masked.sum(dim=-1)
    doubted = torch.where(replaces, ~(log_odds.sigmoid() <= EVEN_ODDS), ~(wrong <= floor) if floor else editable)
    wanted = remask_counts(torch.where(draft, total, masks), remask_per_step)
    wanted = torch.minimum(torch.where(moment.last, total, wanted), moment.most)
    chosen = select_worst(log_odds, moment.changeable & ~masked & doubted, wanted)

    remasked = chosen & ~replaces
    revealed = select_worst(settle(probability), masked, masks - moment.kept_back + remasked.sum(dim=-1))
    drawn = revealed | (chosen & replaces)
    filled = torch.where(drawn, tokens, input_ids)
    after = filled.masked_fill(remasked, mask_id)
    return StillStep(output.critic_logits, tokens, filled, remasked, after, drawn, probability, wrong)
