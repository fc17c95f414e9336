# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what a step does, and about who judges its tokens."""

from itertools import pairwise

import pytest
import torch
from denoising_steps import probabilities_of
from generation_cases import (
    FILL_ALL,
    MASK,
    ONE_PASS,
    M,
    arguments,
    build,
    canvas,
    config,
    every_kind,
    every_strategy,
    graded,
    judge,
)

from critic_gpt import CriticCalibration, CriticGPTForTokenClassification


# ---- history ----


@every_strategy
def test_the_history_tells_what_happened(model, strategy):
    num_steps = 7
    output = model.generate(canvas, num_steps=num_steps, seed=3, return_history=True, **arguments(strategy))
    history = output.history
    assert len(history) == num_steps
    assert torch.equal(history[0].input_ids, canvas)
    assert torch.equal(history[-1].filled, output.sequences)
    assert not history[-1].remasked.any()
    for now, after in pairwise(history):
        assert (after.input_ids[now.remasked] == MASK).all()
        assert torch.equal(after.input_ids, now.filled.masked_fill(now.remasked, MASK))
        assert not (now.remasked & (canvas != MASK)).any(), "given tokens"
    if strategy in (*ONE_PASS, "prism", "proseco", "backtrack", "accept_reject") or strategy.startswith("remdm"):
        assert not history[0].remasked.any()
        for now in history:
            assert not (now.remasked & (now.input_ids == MASK)).any(), "only visible tokens are judged"
            assert torch.equal(now.filled[now.remasked], now.input_ids[now.remasked])
    else:
        assert not any((now.filled == MASK).any() for now in history)
    judged = [now.error_probabilities is not None for now in history]
    guided = {name: [True] * 7 for name in ("critic", "prism", "backtrack")}
    guided |= {name: [True] * 6 + [False] for name in ("critic_full", "token_critic")}
    assert judged == guided.get(strategy, [False] * 7)


def test_the_critic_reveals_early_by_default_and_masks_a_share_of_the_masks_again_and_plain_unmasking_is_linear(model):
    ids = torch.full((2, 20), MASK)

    def generate(**arguments):
        return model.generate(ids, num_steps=6, seed=0, **arguments).sequences

    own = generate(remasking="critic", remask_per_step=0.2, schedule="root", remask_by="alternative")
    assert torch.equal(generate(remasking="critic"), own)
    assert not torch.equal(generate(remasking="critic", schedule="linear"), own)
    assert torch.equal(generate(remasking="none"), generate(remasking="none", schedule="linear"))


def test_a_one_pass_step_masks_the_worst_visible_tokens_again(model):
    settings = {"remasking": "critic", "remask_per_step": 2, "remask_by": "error", "num_steps": 6, "seed": 0}
    history = model.generate(canvas, return_history=True, **settings).history
    for now in history[1:-1]:
        visible = (canvas == MASK) & (now.input_ids != MASK)
        worst = now.error_probabilities.masked_fill(~now.remasked, 2).amin(-1)
        spared = now.error_probabilities.masked_fill(~visible | now.remasked, -1).amax(-1)
        assert (worst >= spared).all()


@pytest.mark.parametrize("strategy", FILL_ALL)
def test_a_fill_all_step_masks_the_scheduled_share_again(model, strategy):
    ids = torch.tensor([[5, 6] + [M] * 18])
    case = {"num_steps": 4, "schedule": [1.0, 0.5, 0.29, 0.1], "seed": 0, **arguments(strategy)}
    history = model.generate(ids, return_history=True, **case).history
    assert [int(now.remasked.sum()) for now in history] == [9, 5, 1, 0]


def test_more_steps_than_masks_run_exactly_so_many_passes(model):
    ids = torch.tensor([[5, M, 6, M]])
    for strategy in ONE_PASS:
        output = model.generate(ids, remasking=strategy, num_steps=9, seed=0, return_history=True)
        assert output.forward_passes == len(output.history) == 9
        assert not (output.sequences == MASK).any()


# ---- thresholds ----


def test_a_one_pass_threshold_masks_every_visible_token_above_it_again():
    model = graded(build(), 0.8)
    ids = torch.full((3, 20), MASK)
    case = {"remasking": "critic", "num_steps": 6, "error_threshold": 0.5, "schedule": "linear", "seed": 0}
    history = model.generate(ids, return_history=True, **case).history
    seen = 0
    for step, now in enumerate(history[1:-1], start=1):
        bad = (now.input_ids != MASK) & (now.error_probabilities > 0.5)
        room = 20 - 20 * (step + 1) // 6
        assert torch.equal(now.remasked.sum(-1), bad.sum(-1).clamp(max=room))
        assert not (now.remasked & ~bad).any()
        seen += int(bad.sum())
    assert seen > 0


def test_a_fill_all_threshold_stops_early_once_nothing_lies_above():
    model = graded(build(), 0.8)
    case = {"remasking": "critic_full", "num_steps": 50, "seed": 0, "return_history": True}
    output = model.generate(canvas, error_threshold=0.9, **case)
    assert output.forward_passes == 2, "one pass to fill, one to judge"
    output = model.generate(canvas, error_threshold=0.5, **case)
    assert output.forward_passes == 2 * len(output.history) - (len(output.history) == 50)
    for now in output.history[:-1]:
        bad = (now.error_probabilities > 0.5) & (canvas == MASK)
        assert torch.equal(now.remasked, bad)
    assert not (output.sequences == MASK).any()


# ---- who judges ----


def test_auto_takes_external_then_a_trained_critic_then_confidence():
    assert build().resolve_generation_config(remasking_model=judge).remasking == "external"
    assert build().resolve_generation_config().remasking == "critic"
    assert build().generate(canvas, num_steps=2, seed=0, remasking_model=judge).error_probabilities is not None
    for model in (build(trained=False), build(critic=False)):
        assert model.resolve_generation_config().remasking == "confidence"
        output = model.generate(canvas, num_steps=2, seed=0)
        assert output.error_probabilities is None and output.expected_errors is None
        assert output.scoring_passes == 0
        by_name = model.generate(canvas, num_steps=2, seed=0, remasking="confidence")
        assert torch.equal(output.sequences, by_name.sequences)


def test_a_token_classifier_judges_as_external_model(model):
    torch.manual_seed(1)
    classifier = CriticGPTForTokenClassification(config(num_labels=2)).double().eval()
    output = model.generate(canvas, remasking_model=classifier, num_steps=4, seed=0)
    assert output.forward_passes == 4 and not (output.sequences == MASK).any()


def test_confidence_judges_the_tokens_of_a_draft_and_not_others(model):
    draft = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 3, 4, 5]])
    protected = torch.zeros_like(draft)
    case = {"protected_mask": protected, "remasking": "confidence", "num_steps": 2, "end_ratio": 0.3, "seed": 0}
    history = model.generate(draft, return_history=True, **case).history
    confidence = probabilities_of(model, draft).gather(-1, draft[..., None])[0, :, 0]
    assert set(history[0].remasked[0].nonzero().flatten().tolist()) == set(confidence.argsort()[:3].tolist())


def test_a_critic_without_a_table_or_without_training_is_warned_about(warnings):
    build(trained=False).generate(canvas, num_steps=2, seed=0)
    assert len(warnings) == 1 and "has not been trained" in warnings.pop()
    for case in ({}, {"remasking": "critic_full"}, {"remasking": "none"}):
        build().generate(canvas, num_steps=2, seed=0, **case)
        assert len(warnings) == 1 and "not calibrated" in warnings.pop()
    build().generate(canvas, num_steps=2, seed=0, remasking="none", return_error_probabilities=False)
    graded(build(), 0.5).generate(canvas, num_steps=2, seed=0)
    build(critic=False).generate(canvas, num_steps=2, seed=0)
    assert warnings == []


@every_kind
def test_error_probabilities_come_from_the_models_table_and_add_up(strategy):
    table = [i / 200 for i in range(100)]
    model = build()
    model.calibration = CriticCalibration(table)
    output = model.generate(canvas, num_steps=4, seed=0, **arguments(strategy))
    logits = model(input_ids=output.sequences).critic_logits
    expected = model.calibration.error_probability(logits).masked_fill(canvas != MASK, 0.0)
    assert torch.equal(output.error_probabilities, expected)
    assert not output.error_probabilities[canvas != MASK].any()
    assert set(output.error_probabilities.flatten().tolist()) <= set(table)
    torch.testing.assert_close(output.expected_errors, output.error_probabilities.sum(-1))
