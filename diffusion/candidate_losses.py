# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The joint head's loss over a large vocabulary, by the tokens that are in question.

Shifts of the logits are made of the true tokens of a row, of the likeliest, and of some that are drawn from all others
and stand for them ("sampled softmax": Jean et al., "On Using Very Large Target Vocabulary for Neural Machine
Translation", 2015). They are chosen row by row, so that a loss does not depend on what else is in the batch.

Letters: B rows, N positions, V vocabulary, C candidates of a row, D width.
"""

from typing import NamedTuple

import torch
from torch import nn

from critic_gpt.diffusion.corruption import suppress_tokens
from critic_gpt.diffusion.randomness import hash_integers


# Up to so many tokens a loss reads every one.
WHOLE = 1024
# Beside its true tokens, of each row.
NUM_LIKELY = 128
NUM_DRAWN = 128


def share_read(vocab_size: int) -> float:
    """The share of a vocabulary that a loss reads, true tokens apart."""
    return 1.0 if vocab_size <= WHOLE else (NUM_LIKELY + NUM_DRAWN) / vocab_size


class Rows(NamedTuple):
    """Which of the rows, counted from 0, positions (N,) are in, how many (B,) are in each, and in the longest."""

    index: torch.Tensor
    counts: torch.Tensor
    longest: int


class Candidates(NamedTuple):
    """
    Tokens of each row: some that are `kept` (B, C), as far as they are `valid` (B, C), and some that are `drawn`
    (B, C) from all others by their `mass` (B, C), the probability that each has at all positions of the row together.
    """

    kept: torch.Tensor
    valid: torch.Tensor
    drawn: torch.Tensor
    mass: torch.Tensor


def candidate_losses(
    states: torch.Tensor,
    weight: torch.Tensor,
    logits: torch.Tensor,
    labels: torch.Tensor,
    rows: torch.Tensor,
    mask_token_id: int | None,
    num_likely: int = NUM_LIKELY,
    num_drawn: int = NUM_DRAWN,
) -> torch.Tensor:
    """
    Cross-entropy in nats (N,) of predictions that are shifted by the LM head's reading of `states`.

    A row keeps its true tokens, and the `num_likely` others that have the most probability at its positions before the
    shift. The probability of all others together is known before the shift; what becomes of it is estimated by
    `num_drawn` of them, drawn in proportion to their probability in the row. So the loss is exact where every token is
    kept, or all others are shifted alike. The draw depends on the true tokens of the row alone.

    Args:
        states (`torch.FloatTensor` of shape `(num_positions, hidden_size)`): What the joint head read.
        weight (`torch.FloatTensor` of shape `(vocab_size, hidden_size)`): Of the LM head.
        logits (`torch.FloatTensor` of shape `(num_positions, vocab_size)`): Predictions, each for itself; nothing is
            sent back to them, and they are written over.
        labels (`torch.LongTensor` of shape `(num_positions,)`): The truth.
        rows (`torch.LongTensor` of shape `(num_positions,)`): The row of each position, in ascending order.
        mask_token_id (`int`, *optional*): Id of [MASK], never a prediction.
        num_likely, num_drawn (`int`, *optional*, default to 128): How many tokens stand for a row.
    """
    if len(labels) == 0:
        return states.sum(dim=-1)
    logits = suppress_tokens(logits.detach(), [] if mask_token_id is None else [mask_token_id], in_place=True)
    alone = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
    index, counts = rows.unique_consecutive(return_inverse=True, return_counts=True)[1:]
    of_row = Rows(index, counts, int(counts.max()))
    chosen = _choose(alone, labels, of_row, num_likely, num_drawn)
    tokens = torch.cat((chosen.kept, chosen.drawn), dim=1)
    shifts = _read(states, weight[tokens], of_row)
    whose = tokens[index]
    kept, drawn = alone.gather(1, whose).split((chosen.kept.shape[1], num_drawn), dim=1)
    kept = kept.masked_fill(~chosen.valid[index], float("-inf"))
    left = (1.0 - kept.exp().sum(dim=1, keepdim=True)).clamp(min=0.0).log()
    # Where nothing is left, it does not matter what stands for it.
    drawn = torch.where(chosen.mass[index] > 0, drawn - chosen.mass[index].log(), 0.0)
    scores = torch.cat((kept, left + drawn.log_softmax(dim=1)), dim=1) + shifts
    place = (whose == labels[:, None]).int().argmax(dim=1)  # the first one: what is kept comes first
    return nn.functional.cross_entropy(scores, place, reduction="none")


def _choose(alone: torch.Tensor, labels: torch.Tensor, rows: Rows, num_likely: int, num_drawn: int) -> Candidates:
    """The candidates of each row, by log-probabilities (N, V)."""
    mass = alone.new_zeros(len(rows.counts), alone.shape[1]).index_add(0, rows.index, alone.exp())
    true = torch.zeros_like(mass, dtype=torch.bool)
    true[rows.index, labels] = True
    size = min(num_likely + rows.longest, mass.shape[1])
    kept = mass.masked_fill(true, float("inf")).topk(size, dim=1).indices
    valid = torch.arange(size, device=mass.device) < true.sum(dim=1, keepdim=True) + num_likely
    others = mass.scatter(1, kept, mass.gather(1, kept).masked_fill(valid, 0.0))
    # At even distances, from a place that the row's true tokens say.
    below = others.cumsum(dim=1)
    seeds = torch.zeros_like(rows.counts).index_add(0, rows.index, labels)
    start = ((hash_integers(seeds) % 2**20) + 0.5) / 2**20
    steps = (torch.arange(num_drawn, device=mass.device) + start[:, None]) / num_drawn
    drawn = torch.searchsorted(below, steps.to(mass.dtype) * below[:, -1:]).clamp(max=mass.shape[1] - 1)
    return Candidates(kept, valid, drawn, others.gather(1, drawn))


def _read(states: torch.Tensor, columns: torch.Tensor, rows: Rows) -> torch.Tensor:
    """Products (N, C) of states (N, D) with the columns (B, C, D) of their rows."""
    first = rows.counts.cumsum(0) - rows.counts
    place = rows.index * rows.longest + torch.arange(len(states), device=states.device) - first[rows.index]
    padded = states.new_zeros(len(columns) * rows.longest, states.shape[1]).index_copy(0, place, states)
    found = padded.unflatten(0, (len(columns), rows.longest)) @ columns.transpose(1, 2)
    return found.flatten(0, 1)[place]
