# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about ReMDM: its transition probabilities, by counting over many sequences.

Every bound is at z = 5, one false alarm in 1.7 million comparisons.
"""

from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from critic_gpt.generation.strategies.remdm import largest_sigma, reveal_probability


PAD, MASK = 0, 1
Z = 5.0
NUM_ROWS = 2000
# Two given tokens, of which no count may take notice, and seven masks.
canvas = torch.tensor([[5, MASK, MASK, MASK, 6, MASK, MASK, MASK, MASK]]).expand(NUM_ROWS, -1)
free = canvas == MASK


@pytest.fixture
def model(tiny_model):
    return tiny_model(add_critic_head=False).double()


# Makes predictions so sharp that confidences differ.
SHARP = {"logits_processor": [lambda input_ids, scores: 6.0 * scores]}


def probability_of(model, input_ids, tokens):
    """What the model gives each token, given what stands there."""
    logits = 6.0 * model(input_ids=input_ids).logits
    logits[..., [PAD, MASK]] = float("-inf")
    return logits.softmax(-1).gather(-1, tokens[..., None]).squeeze(-1).detach()


def history_of(model, ids=canvas, **fields):
    return model.generate(ids, seed=0, return_history=True, **fields).history


def assert_binomial(successes, trials, probability):
    """As many successes as so many draws of their own with this probability can give."""
    deviation = (trials * probability * (1 - probability)) ** 0.5
    assert abs(successes - trials * probability) <= Z * deviation + 1e-6, (successes, trials, probability)


def sigma_of(strategy, eta, alpha_t, alpha_s, holds):
    """The probability of masking again, from the paper's definitions."""
    largest = 1.0 if alpha_t == 0 else min(1.0, (1 - alpha_s) / alpha_t)
    return {
        "remdm_cap": min(eta, largest),
        "remdm_rescale": eta * largest,
        "remdm_loop": min(eta, largest) if holds else 0.0,
    }[strategy]


STEPS = 6
LOOP = {"loop_start": 0.25, "loop_end": 0.7, "loop_visible": 0.6}
CASES = [
    ("remdm_cap", {"remdm_eta": 0.04}),
    ("remdm_cap", {"remdm_eta": 0.5}),  # above the largest possible in the last steps
    ("remdm_rescale", {"remdm_eta": 0.3}),
    ("remdm_rescale", {"remdm_eta": 1.0}),
    ("remdm_loop", {"remdm_eta": 0.3, **LOOP}),
    ("remdm_loop", {"remdm_eta": 1.0, **LOOP}),
]


@pytest.mark.parametrize(("strategy", "fields"), CASES)
def test_tokens_are_masked_again_and_masks_are_lifted_with_the_probabilities_of_the_paper(model, strategy, fields):
    num_steps = 12 if strategy == "remdm_loop" else STEPS
    progress = np.arange(num_steps + 1) / num_steps
    ends = [0, LOOP["loop_start"], LOOP["loop_end"], 1], [0, LOOP["loop_visible"], LOOP["loop_visible"], 1]
    alphas = np.interp(progress, *ends) if strategy == "remdm_loop" else progress
    history = history_of(model, remasking=strategy, num_steps=num_steps, **fields)
    for step, (alpha_t, alpha_s) in zip(history[:-1], pairwise(alphas), strict=False):
        sigma = sigma_of(strategy, fields["remdm_eta"], alpha_t, alpha_s, holds=np.isclose(alpha_t, alpha_s))
        masked = step.input_ids == MASK
        assert_binomial(int(step.remasked.sum()), int((free & ~masked).sum()), sigma)
        lifted = (alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t)
        assert_binomial(int((masked & (step.filled != MASK)).sum()), int(masked.sum()), lifted)
        after = step.filled.masked_fill(step.remasked, MASK)
        assert_binomial(int((free & (after != MASK)).sum()), int(free.sum()), alpha_s)
        assert not (step.remasked & ~free).any(), "given tokens"


@pytest.mark.parametrize("strategy", ["remdm_cap", "remdm_rescale", "remdm_conf", "remdm_loop"])
def test_the_last_step_lifts_every_mask_and_masks_nothing_again(model, strategy):
    for num_steps in (1, 2, 7):
        history = history_of(model, canvas[:50], remasking=strategy, num_steps=num_steps)
        assert len(history) == num_steps and not history[-1].remasked.any()
        assert not (history[-1].filled == MASK).any()


def test_by_confidence_a_token_is_masked_again_the_sooner_the_less_likely_it_was_when_drawn(model):
    history = history_of(model, remasking="remdm_conf", num_steps=STEPS, **SHARP)
    drawn_with = torch.full(canvas.shape, float("nan"), dtype=torch.float64)
    excess = spread = contrast = 0.0
    for number, step in enumerate(history[:-1]):
        masked = step.input_ids == MASK
        visible = free & ~masked
        if number:
            alpha_t, alpha_s = number / STEPS, (number + 1) / STEPS
            weights = torch.where(visible, (-drawn_with).exp(), 0.0)
            weights = weights / weights.sum(-1, keepdim=True).clamp(min=1e-12)
            sigma = min(1.0, (1 - alpha_s) / alpha_t) * weights
            # Each draw has a probability of its own.
            variance = sigma * (1 - sigma)
            assert abs(step.remasked.sum() - sigma.sum()) <= Z * variance.sum().sqrt()
            # How far it lies from that of a choice by chance alone is the best weight to tell the two apart.
            lead = torch.where(visible, sigma - sigma.sum(-1, keepdim=True) / visible.sum(-1, keepdim=True), 0.0)
            excess += ((step.remasked.double() - sigma) * lead).sum()
            spread += (variance * lead**2).sum()
            contrast += (lead**2).sum()
            assert_binomial(int((masked & (step.filled != MASK)).sum()), int(masked.sum()), 1 / (STEPS - number))
        lifted = masked & (step.filled != MASK)
        drawn_with = torch.where(lifted, probability_of(model, step.input_ids, step.filled), drawn_with)
    assert abs(excess) <= Z * spread**0.5 and contrast > 2 * Z * spread**0.5, "which chance alone would fail"


def test_the_tokens_of_a_draft_count_by_what_the_model_says_of_them(model):
    """In the first step nothing of a draft has been drawn, and the largest sigma is one: one token a row."""
    draft = torch.tensor([[5, 6, 7, 8, 9, 10]])
    draft[0, 2:4] = model(input_ids=draft).logits[0, 2:4, 2:].argmax(-1) + 2  # two that it would say itself
    expected = (-probability_of(model, draft, draft)).softmax(-1)[0].tolist()
    assert max(expected) > 1.5 * min(expected)
    rows = draft.expand(NUM_ROWS, -1)
    free_rows = torch.zeros_like(rows)
    step = history_of(model, rows, protected_mask=free_rows, remasking="remdm_conf", num_steps=2, **SHARP)[0]
    for position in range(6):
        assert_binomial(int(step.remasked[:, position].sum()), NUM_ROWS, expected[position])


def test_without_eta_or_outside_its_loop_nothing_is_masked_again(model):
    for strategy in ("remdm_cap", "remdm_rescale", "remdm_loop"):
        history = history_of(model, canvas[:50], remasking=strategy, num_steps=STEPS, remdm_eta=0.0)
        assert not any(step.remasked.any() for step in history)
    history = history_of(model, canvas[:400], remasking="remdm_loop", num_steps=20, remdm_eta=0.5, **LOOP)
    # The share is held from a quarter to seven tenths of the way.
    assert [number for number, step in enumerate(history) if step.remasked.any()] == list(range(5, 14))


@given(st.integers(0, 30), st.integers(1, 30), st.floats(0, 1))
def test_probabilities_are_probabilities_and_keep_the_expected_share(done, more, part):
    num_steps = done + more + 1
    alpha_t, alpha_s = done / num_steps, (done + 1) / num_steps
    sigma = part * largest_sigma(alpha_t, alpha_s)
    lifted = reveal_probability(sigma, alpha_t, alpha_s)
    assert -1e-12 <= lifted <= 1 + 1e-12 and 0 <= sigma <= 1
    assert alpha_t * (1 - sigma) + (1 - alpha_t) * lifted == pytest.approx(alpha_s)
