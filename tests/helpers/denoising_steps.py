# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A canvas of three rows, and what tests ask of a history."""

import torch

from critic_gpt import CriticCalibration


PAD, MASK, VOCAB = 0, 1, 32
M, P = MASK, PAD
canvas = torch.tensor([[5, M, M, 6, M, M, M, 7, M, M, P, P], [M] * 12, [5, 6, M, 8, 9, M, 10, 11, M, 12, M, P]])
SEEDS = [7, 8, 9]
given = (canvas != MASK) | (canvas == PAD)
RAMP = [(i + 0.5) / 100 for i in range(100)]
TABLE = CriticCalibration(RAMP)
# Orders that themselves decide how many masks are lifted.
ADAPTIVE = [("entropy_bound", 4.0), ("confidence_threshold", 0.3)]


def generate(model, ids=canvas, **fields):
    fields = {"seed": 3, "return_history": True, **fields}
    return model.generate(ids, **fields)


def probabilities_of(model, ids):
    """What the model predicts for each position."""
    logits = model(input_ids=ids, attention_mask=(ids != PAD).long()).logits
    logits[..., [PAD, MASK]] = float("-inf")
    return logits.softmax(-1)


def same_steps(one, other):
    """Whether two histories went through the same tokens."""
    pairs = zip(one, other, strict=True)
    return all(torch.equal(a.input_ids, b.input_ids) and torch.equal(a.filled, b.filled) for a, b in pairs)


def replaced_in(step):
    """Where a visible token was drawn anew."""
    return (step.input_ids != MASK) & (step.filled != step.input_ids)


def mean_log_of_last_draws(model, history, drawn):
    """For each row the mean log-probability of every token at the step that drew it last, as `drawn` says."""
    last = torch.full(history[0].filled.shape, float("nan"), dtype=torch.float64)
    for step, where in zip(history, drawn, strict=True):
        probability = probabilities_of(model, step.input_ids).gather(-1, step.filled[..., None]).squeeze(-1)
        last = torch.where(where, probability.log(), last)
    return last.nanmean(-1)


def assert_drawn_from(probabilities, tokens):
    """Draws of their own from this distribution can give these tokens: z = 5, one false alarm in 50 000 runs."""
    expected = len(tokens) * probabilities
    bound = 5 * (expected * (1 - probabilities)).sqrt() + 1e-9
    assert ((tokens.bincount(minlength=len(probabilities)) - expected).abs() <= bound).all()
