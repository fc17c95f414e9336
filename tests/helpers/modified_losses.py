# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Batches of token losses, and what modifiers make of them, position by position."""

import itertools
import math

import torch

from critic_gpt.diffusion.losses import token_cross_entropy
from critic_gpt.training.modifiers import (
    TokenLossBatch,
)


VOCAB, MASK, PAD = 9, 8, 7
EPS = 1e-8


def token_batch(seed=0, rows=4, length=6, weighted=True, dtype=torch.float64, padding=1, scale=2.0):
    """Random sequences, the last `padding` positions of the last row padding, with the gradient of the logits on."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(0, MASK - 1, (rows, length), generator=generator)
    attention_mask = torch.ones_like(clean)
    if padding:
        clean[-1, -padding:], attention_mask[-1, -padding:] = PAD, 0
    masked = (torch.rand((rows, length), generator=generator) < 0.6) & attention_mask.bool()
    masked[:, 0] = True
    logits = (scale * torch.randn((rows, length, VOCAB), generator=generator, dtype=dtype)).requires_grad_()
    labels = clean.masked_fill(~masked, -100)
    loss_weights = masked / torch.rand((rows, 1), generator=generator).to(dtype).clamp(0.2) if weighted else None
    token_loss = token_cross_entropy(logits, labels, MASK)
    return TokenLossBatch(
        token_loss if loss_weights is None else token_loss * loss_weights,
        logits,
        labels,
        clean.masked_fill(masked, MASK),
        attention_mask,
        loss_weights,
        torch.rand((rows, length), generator=generator),
        MASK,
        PAD,
    )


def log_probability(batch, b, t, v):
    allowed = [k for k in range(VOCAB) if k != MASK]
    total = torch.logsumexp(torch.stack([batch.logits[b, t, k] for k in allowed]), 0)
    return batch.logits[b, t, v] - total


def reference_cross_entropy(batch, b, t, smoothing=0.0):
    label = int(batch.labels[b, t])
    ordinary = [v for v in range(VOCAB) if v not in (MASK, PAD)]
    loss = -(1 - smoothing) * log_probability(batch, b, t, label)
    for v in ordinary:
        if v != label:
            loss = loss - smoothing / (len(ordinary) - 1) * log_probability(batch, b, t, v)
    return loss


def reference_entropies(batch):
    means = []
    for b in range(len(batch.labels)):
        entropies = []
        for t in range(batch.labels.shape[1]):
            label = int(batch.labels[b, t])
            if label == -100:
                continue
            rest = [batch.logits[b, t, v].item() for v in range(VOCAB) if v not in (MASK, PAD, label)]
            q = [math.exp(x - max(rest)) for x in rest]
            q = [x / sum(q) for x in q]
            entropies.append(-sum(x * math.log(x) for x in q if x > 0) / math.log(sum(x > EPS for x in q)))
        means.append(sum(entropies) / len(entropies))
    return means


def reference_entropy_weights(batch, weight=1.0, threshold=0.1):
    means = reference_entropies(batch)
    weights = [min(max(weight / (max(mean, threshold) + EPS), EPS), 1000.0) for mean in means]
    return [w * len(weights) / sum(weights) for w in weights]


def reference_ratios(batch):
    rows = zip(batch.labels, batch.attention_mask, strict=True)
    return [sum(int(x) != -100 for x in labels) / int(mask.sum()) for labels, mask in rows]


def reference_ratio_weights(batch):
    return [min(max((1 / (r + EPS)) ** 0.5, 0.1), 10.0) for r in reference_ratios(batch)]


def reference_expected(r):
    return r**4 - 2 * r**3 + 2 * r


def reference_wrongness(batch, scorer):
    wrongness = []
    for b in range(len(batch.labels)):
        row = batch.input_ids[b].clone()
        for t in range(len(row)):
            if row[t] != MASK:
                continue
            allowed = [v for v in range(VOCAB) if v not in (MASK, PAD)]
            p = torch.stack([batch.logits[b, t, v] for v in allowed]).detach().softmax(0)
            row[t] = allowed[int((p.cumsum(0) < float(batch.fill_uniforms[b, t])).sum())]
        with torch.no_grad():
            wrongness.append(float(scorer(row[None], attention_mask=batch.attention_mask[b : b + 1]).logits))
    return wrongness


def reference_judge_weights(batch, scorer, exponent=1.0):
    pairs = zip(reference_wrongness(batch, scorer), reference_ratios(batch), strict=True)
    return [min(max((wrong / reference_expected(r)) ** exponent, 0.1), 10.0) for wrong, r in pairs]


def reference(batch, names, scorer=None):
    """The modified loss a token of any of the modifiers, whatever their order."""
    factors = torch.ones(len(batch.labels), dtype=torch.float64)
    if "entropy" in names:
        factors = factors * torch.tensor(reference_entropy_weights(batch), dtype=torch.float64)
    if "mask_ratio_weight" in names:
        factors = factors * torch.tensor(reference_ratio_weights(batch), dtype=torch.float64)
    if "judge_weight" in names:
        factors = factors * torch.tensor(reference_judge_weights(batch, scorer), dtype=torch.float64)
    smoothing = 0.1 if "target_smoothing" in names else 0.0
    losses = torch.zeros(batch.labels.shape, dtype=torch.float64)
    for b, t in itertools.product(*map(range, batch.labels.shape)):
        if batch.labels[b, t] != -100:
            weight = 1.0 if batch.loss_weights is None else batch.loss_weights[b, t]
            losses[b, t] = reference_cross_entropy(batch, b, t, smoothing) * weight * factors[b]
    return losses
