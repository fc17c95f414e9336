# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the strategies that make the sequence whole at every step."""

import math

import pytest
import torch
from denoising_steps import MASK, PAD, M, assert_drawn_from, canvas, probabilities_of

from critic_gpt import CriticCalibration


# Of a draft with holes its ends are given.
given = torch.tensor([[1, 0, 0, 1, 0, 0, 0, 1, 0, 0, 1, 1], [0] * 12, [1] + [0] * 10 + [1]]).bool()


@pytest.fixture
def model(unsure):
    return unsure


def history_of(model, ids=canvas, **fields):
    fields = {"seed": 3, "return_history": True, "return_error_probabilities": False, **fields}
    return model.generate(ids, protected_mask=given, **fields).history


def confidence_of(model, step):
    """What the model gives each token that stands there once the masks are filled, from what went in."""
    return probabilities_of(model, step.input_ids).gather(-1, step.filled[..., None]).squeeze(-1)


def assert_worst(scores, remasked, row, count):
    """So many of those of a row that may change are masked again, and none that is spared scores higher."""
    free = [i for i in range(canvas.shape[1]) if not given[row, i]]
    chosen = [i for i in free if remasked[row, i]]
    spared = [i for i in free if not remasked[row, i]]
    assert len(chosen) == int(remasked[row].sum()) == count
    if chosen and spared:
        # Scores are told apart to six digits.
        assert min(scores[row, chosen]) >= max(scores[row, spared]) - 2.0**-20


def masked_shares(schedule, num_steps):
    """The share that is masked after each step but the last, from the formulas."""
    curve = {
        "linear": lambda p: 1 - p,
        "quadratic": lambda p: (1 - p) ** 2,
        "cosine": lambda p: math.cos(p * math.pi / 2),
    }
    return [curve[schedule]((i + 1) / num_steps) for i in range(num_steps - 1)]


# ---- P2: the most confident stay, clean ones included ----


@pytest.mark.parametrize("schedule", ["linear", "quadratic", "cosine"])
@pytest.mark.parametrize("num_steps", [1, 3, 7])
def test_p2_masks_the_least_confident_share_again_by_what_the_model_says_now(model, schedule, num_steps):
    history = history_of(model, remasking="p2", schedule=schedule, num_steps=num_steps)
    for step, share in zip(history[:-1], masked_shares(schedule, num_steps), strict=True):
        confidence = confidence_of(model, step)
        for row in range(len(canvas)):
            count = math.floor(share * int((~given[row]).sum()) + 1e-9)
            assert_worst(-confidence, step.remasked, row, count)
    assert len(history) == num_steps and not history[-1].remasked.any()


def test_p2_masks_clean_tokens_again_and_is_linear_by_default(model):
    history = history_of(model, remasking="p2", num_steps=7)
    assert any((step.remasked & (step.input_ids != MASK)).any() for step in history), "tokens that were clean before"
    linear = history_of(model, remasking="p2", num_steps=7, schedule="linear")
    assert all(torch.equal(one.filled, other.filled) for one, other in zip(history, linear, strict=True))


def test_confidence_goes_by_the_probability_at_the_draw_and_p2_by_the_present_one(model):
    """Of the second step on, where the two part: a token that stays keeps one number and changes the other."""
    first, step = history_of(model, remasking="confidence", num_steps=4)[:2]
    drawn = torch.where(step.input_ids == MASK, confidence_of(model, step), confidence_of(model, first))
    for row in range(len(canvas)):
        assert_worst(-drawn, step.remasked, row, int(step.remasked[row].sum()))
    assert not torch.allclose(drawn, confidence_of(model, step))


# ---- Token-Critic: the best stay, along a cosine ----


@pytest.mark.parametrize("num_steps", [1, 2, 6])
def test_token_critic_keeps_what_the_critic_trusts_most_along_a_quarter_cosine(model, num_steps):
    history = history_of(model, remasking="token_critic", num_steps=num_steps)
    for step, share in zip(history[:-1], masked_shares("cosine", num_steps), strict=True):
        assert not (step.filled[canvas != PAD] == MASK).any(), "whole when the critic judges it"
        logits = model.critic_scores(step.filled, attention_mask=(canvas != PAD).long())
        for row in range(len(canvas)):
            count = math.floor(share * int((~given[row]).sum()) + 1e-9)
            assert_worst(logits, step.remasked, row, count)


def test_token_critic_takes_two_passes_a_step_but_for_the_last(model):
    output = model.generate(canvas, remasking="token_critic", num_steps=6, seed=0, return_error_probabilities=False)
    assert output.forward_passes == 11 and output.row_passes.tolist() == [11] * 3


# ---- until nothing lies above a threshold ----


def test_with_a_threshold_each_row_ends_at_the_step_in_which_nothing_lay_above(model):
    model.calibration = CriticCalibration([i / 99 for i in range(100)])
    fields = {"remasking": "critic_full", "num_steps": 40, "error_threshold": 0.6}
    output = model.generate(canvas, protected_mask=given, seed=3, return_history=True, **fields)
    ends = []
    for row in range(len(canvas)):
        steps = [bool(step.remasked[row].any()) for step in output.history]
        ends.append(next((number for number, again in enumerate(steps) if not again), len(steps) - 1))
        assert not any(steps[ends[row] :]), "what has ended stays"
        # A step is a filling and a verdict; the last of all is a filling alone.
        assert output.row_passes[row] == 2 * (ends[row] + 1) - (ends[row] == 39)
    assert len(set(ends)) > 1, "some end before others"
    assert output.forward_passes == output.row_passes.max()


# ---- drawing all anew ----


def test_multinomial_draws_everything_that_may_change_anew_at_each_step(model):
    ids = torch.tensor([[5, M, 6, 8, M, M, 9, PAD]])
    protected = torch.tensor([[1, 0, 0, 0, 0, 1, 0, 0]])
    case = {"protected_mask": protected, "remasking": "multinomial"}
    output = model.generate(ids, num_steps=4, seed=3, return_history=True, **case)
    assert output.forward_passes == 4
    changed = torch.zeros_like(ids, dtype=torch.bool)
    for step, now in enumerate(output.history):
        likeliest = probabilities_of(model, now.input_ids).argmax(-1)
        greedy = model.generate(now.input_ids, num_steps=1, temperature=0, **case).sequences
        free = (protected == 0) & (ids != PAD)
        assert torch.equal(greedy[free], likeliest[free]), "also at visible positions"
        assert torch.equal(now.filled[~free], ids[~free]) and not now.remasked.any()
        if step:
            changed |= now.filled != now.input_ids
    assert changed.any(), "visible tokens are drawn again"


def test_multinomial_draws_from_the_models_own_distribution(model):
    ids, protected, num_rows = torch.tensor([[5, 6, M, 9]]), torch.tensor([[1, 0, 1, 1]]), 4000
    case = {"protected_mask": protected.expand(num_rows, -1), "remasking": "multinomial", "num_steps": 1, "seed": 0}
    output = model.generate(ids.expand(num_rows, -1), return_error_probabilities=False, **case)
    assert_drawn_from(probabilities_of(model, ids)[0, 1], output.sequences[:, 1])
