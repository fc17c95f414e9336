# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The joint head's loss over a large vocabulary, by the tokens that are in question.

Most of a large vocabulary has next to no probability at any mask of a text. Shifts of the logits are made of the
likely tokens and of the true ones alone, a choice per row, so that a loss does not depend on what else is in the
batch; all other tokens stand together as one.

Letters: B rows, N positions, V vocabulary, C candidates of a row, D width.
"""

import torch
from torch import nn

from critic_gpt.diffusion.corruption import suppress_tokens


# Up to so many tokens a loss reads every one.
WHOLE = 1024
# Candidates of a row beside its true tokens.
LIKELY = 256


def candidate_losses(
    states: torch.Tensor,
    weight: torch.Tensor,
    logits: torch.Tensor,
    labels: torch.Tensor,
    rows: torch.Tensor,
    mask_token_id: int | None,
    num_likely: int = LIKELY,
) -> torch.Tensor:
    """
    Cross-entropy in nats (N,) of predictions that are shifted by the LM head's reading of `states`.

    The candidates of a row are its true tokens, and the `num_likely` others that have the most probability at its
    positions before the shift. All other tokens keep their probability together, and are shifted together: as the mean
    of them is, each weighed by its probability in the row. The loss is therefore exact where the candidates are all
    tokens, or the others are shifted alike. Without that shift a head learns to raise what is no candidate.

    Args:
        states (`torch.FloatTensor` of shape `(num_positions, hidden_size)`): What the joint head read.
        weight (`torch.FloatTensor` of shape `(vocab_size, hidden_size)`): Of the LM head.
        logits (`torch.FloatTensor` of shape `(num_positions, vocab_size)`): Predictions, each for itself; nothing is
            sent back to them, and they are written over.
        labels (`torch.LongTensor` of shape `(num_positions,)`): The truth.
        rows (`torch.LongTensor` of shape `(num_positions,)`): The row of each position, in ascending order.
        mask_token_id (`int`, *optional*): Id of [MASK], never a prediction.
        num_likely (`int`, *optional*, defaults to 256): Candidates of a row beside its true tokens.
    """
    if len(labels) == 0:
        return states.sum(dim=-1)
    logits = suppress_tokens(logits.detach(), [] if mask_token_id is None else [mask_token_id], in_place=True)
    alone = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(dim=-1)
    rows, counts = rows.unique_consecutive(return_inverse=True, return_counts=True)[1:]
    longest = int(counts.max())
    candidates, valid, others = _candidates(alone, labels, rows, len(counts), num_likely, longest)
    mean = others / others.sum(dim=1, keepdim=True).clamp(min=torch.finfo(others.dtype).tiny)
    columns = torch.cat((weight[candidates], (mean.to(weight.dtype) @ weight)[:, None]), dim=1)  # (B, C + 1, D)
    shifts = _of_rows(states, columns, rows, counts, longest)
    tokens = candidates[rows]
    alone = alone.gather(1, tokens).masked_fill(~valid[rows], float("-inf"))
    left = (1.0 - alone.exp().sum(dim=1, keepdim=True)).clamp(min=0.0).log()
    place = (tokens == labels[:, None]).int().argmax(dim=1)
    return nn.functional.cross_entropy(torch.cat((alone, left), dim=1) + shifts, place, reduction="none")


def _candidates(
    alone: torch.Tensor, labels: torch.Tensor, rows: torch.Tensor, num_rows: int, num_likely: int, longest: int
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Tokens (B, C) of each row, which of them are its candidates, and the probability (B, V) of what is none, summed
    over its positions, of log-probabilities (N, V). A row with fewer true tokens than another has fewer candidates.
    """
    of_row = nn.functional.one_hot(rows, num_rows).to(alone.dtype)
    mass = of_row.T @ alone.exp()
    true = torch.zeros_like(mass, dtype=torch.bool)
    true[rows, labels] = True
    size = min(num_likely + longest, mass.shape[1])
    tokens = mass.masked_fill(true, float("inf")).topk(size, dim=1).indices
    rank = torch.arange(size, device=mass.device)
    valid = rank < true.sum(dim=1, keepdim=True) + num_likely
    kept = mass.gather(1, tokens).masked_fill(valid, 0.0)
    return tokens, valid, mass.scatter(1, tokens, kept)


def _of_rows(
    states: torch.Tensor, columns: torch.Tensor, rows: torch.Tensor, counts: torch.Tensor, longest: int
) -> torch.Tensor:
    """Products (N, C) of states (N, D) with the columns (B, C, D) of their rows, of at most `longest` positions."""
    place = rows * longest + torch.arange(len(rows), device=rows.device) - (counts.cumsum(0) - counts)[rows]
    padded = states.new_zeros(len(counts) * longest, states.shape[1]).index_copy(0, place, states)
    found = padded.unflatten(0, (len(counts), longest)) @ columns.transpose(1, 2)
    return found.flatten(0, 1)[place]
