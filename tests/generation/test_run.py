# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about a run: sequences that are finished leave it, and which table turns scores into probabilities."""

from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from generation_cases import MASK, PAD, QUALITY, M, judge, padded
from transformers.generation import LogitsProcessorList

from critic_gpt import CriticCalibration
from critic_gpt.evaluation.sampling import ForwardCounter
from critic_gpt.generation.canvas import Canvas
from critic_gpt.generation.run import DenoisingRun
from critic_gpt.generation.strategies.registry import STRATEGIES


ROWS = [[5, M, M, 6, M, M, M, 7], [M] * 12, [4, M, 6], [M, 9, 9], [3, M, M, M, M, 5, M, M, M, M, M, 7]]
SEEDS = [10, 20, 30, 40, 50]
KEPT = ("input_ids", "filled", "remasked", "judged_ids", "critic_logits", "error_probabilities")


@pytest.fixture
def model(unsure):
    return unsure


# ---- sequences that are finished leave the batch ----

LEAVING = [
    {"remasking": "critic", "stop_when_expected_errors_below": 2.0},
    {"remasking": "critic", "stop_when_expected_errors_below": 2.0, "correction": "replace", "unmasking": "random"},
    {"remasking": "critic", "stop_when_expected_errors_below": 2.0, "remask_selection": "gumbel", "top_p": 0.9},
    {"remasking": "critic", "num_steps": 4, "polish_steps": 10, "polish_threshold": 0.3},
    {"remasking": "critic", "num_steps": 4, "polish_steps": 10, "correction": "replace", "polish_threshold": 0.2},
    {"remasking": "critic_full", "error_threshold": 0.35},
    {"remasking": "backtrack", "stop_when_expected_errors_below": 0.7, "confidence_threshold": 0.3},
    {"remasking": "external", "remasking_model": judge, "error_threshold": 0.6},
    {"remasking": "confidence", "error_threshold": 0.8},
    {"remasking": "none", "unmasking": "entropy_bound", "entropy_bound": 3.0},
    {"remasking": "none", "unmasking": "confidence_threshold", "confidence_threshold": 0.3, "temperature": 0.7},
    {"remasking": "proseco", "unmasking": "entropy_bound", "entropy_bound": 3.0, "corrector_temperature": 1.0},
]
leaving = pytest.mark.parametrize(
    "case", LEAVING, ids=lambda case: "-".join(getattr(v, "__name__", str(v)) for v in case.values())[:60]
)


@leaving
def test_rows_that_end_at_their_own_step_are_those_they_would_be_alone(model, case):
    case = {"num_steps": 12, "return_history": True, **case}
    right, left = (model.generate(padded(ROWS, side), seed=SEEDS, **case) for side in ("right", "left"))
    assert len(set(right.row_passes.tolist())) > 1, "some end before others"
    for i, row in enumerate(ROWS):
        alone = model.generate(torch.tensor([row]), seed=[SEEDS[i]], **case)
        for batch, real in ((right, slice(len(row))), (left, slice(-len(row), None))):
            assert torch.equal(alone.sequences[0], batch.sequences[i, real])
            assert torch.equal(alone.error_probabilities[0], batch.error_probabilities[i, real])
            assert alone.row_passes[0] == batch.row_passes[i] == alone.forward_passes
            for name in QUALITY:
                torch.testing.assert_close(alone[name][0], batch[name][i], equal_nan=True)
        for step, expected in zip(right.history, alone.history, strict=False):
            for name in KEPT:
                mine, its = getattr(step, name), getattr(expected, name)
                assert (mine is None) == (its is None)
                if its is not None:
                    torch.testing.assert_close(mine[i, : len(row)], its[0])
        for step in right.history[len(alone.history) :]:
            for tokens in (step.input_ids, step.filled, step.judged_ids):
                assert torch.equal(tokens[i], right.sequences[i]), "nothing happens to it any more"
            assert not step.remasked[i].any() and step.critic_logits[i].isnan().all()
            assert step.error_probabilities is None or step.error_probabilities[i].isnan().all()


@leaving
def test_a_row_that_has_ended_costs_nothing_and_everybody_counts_the_same(model, case):
    case = {"num_steps": 12, "return_error_probabilities": False, **case}
    with ForwardCounter(model) as counter:
        output = model.generate(padded(ROWS), seed=SEEDS, **case)
    assert counter.passes == output.forward_passes == output.row_passes.max()
    assert counter.row_passes == output.row_passes.sum() < len(ROWS) * counter.passes
    config = model.resolve_generation_config(**case)
    assert counter.passes <= STRATEGIES[config.remasking].forward_passes(config.num_steps, config)


@leaving
def test_history_and_streamer_stay_complete_when_rows_leave(model, case):
    drafts, pieces = [], []
    streamer = SimpleNamespace(put=pieces.append, put_draft=drafts.append, end=lambda: None)
    ids = padded(ROWS)
    output = model.generate(ids, seed=SEEDS, streamer=streamer, **{"num_steps": 12, "return_history": True, **case})
    history = output.history
    assert torch.equal(history[0].input_ids, ids)
    for now, after in pairwise(history):
        assert torch.equal(after.input_ids, now.filled.masked_fill(now.remasked, MASK))
    for step, draft in zip(history, drafts, strict=True):
        assert torch.equal(draft, step.filled.masked_fill(step.remasked, MASK))
    assert torch.equal(drafts[-1], output.sequences) and torch.equal(pieces[1], output.sequences)


def test_rows_leave_whatever_is_asked_for_in_the_end(model):
    case = {"num_steps": 12, "seed": SEEDS, **LEAVING[0]}
    expected = model.generate(padded(ROWS), **case).sequences
    alone = model.generate(padded(ROWS), return_dict_in_generate=False, **case)
    assert torch.equal(alone, expected)
    model.config.eos_token_id = int(expected[1, 4])
    cut = model.generate(padded(ROWS), **case).sequences
    assert cut[1, 4] == expected[1, 4] and (cut[1, 5:] == PAD).all()


@torch.no_grad()  # as `generate` is
def test_going_on_with_some_rows_takes_them_along_in_everything(model):
    ids = padded(ROWS)
    canvas = Canvas(ids, (ids != PAD).long(), ids == MASK)
    config = model.resolve_generation_config(remasking="confidence")
    run = DenoisingRun(model, canvas, config, torch.arange(5), LogitsProcessorList())
    whole = DenoisingRun(model, canvas, config, torch.arange(5), LogitsProcessorList())
    strategy = STRATEGIES["confidence"](run)
    strategy.step(ids, 0)
    run.uniforms(0, 0)
    before = strategy.confidence
    for going, left in (([1, 0, 1, 1, 0], [0, 2, 3]), ([0, 1, 1], [2, 3])):
        going = torch.tensor(going).bool()
        strategy.keep(going)
        run.keep(going)
        assert run.rows.tolist() == left
        assert torch.equal(strategy.confidence, before[left]) and torch.equal(strategy.editable, (ids == MASK)[left])
        assert torch.equal(run.canvas.input_ids, ids[left])
        # Numbers made before and after: those of the rows that are left.
        for step in (0, 99):
            assert torch.equal(run.uniforms(0, step), whole.uniforms(0, step)[left])
    assert len(run.sequences) == len(run.row_passes) == 5


# ---- whose table ----


def test_the_table_of_trajectories_serves_the_sampler_it_was_made_with(model, warnings):
    model.trajectory_calibration = CriticCalibration([0.125] * 100, {"remasking": "critic"})
    for remasking, mine in (("critic", True), ("critic_full", False), ("none", False)):
        output = model.generate(padded(ROWS), remasking=remasking, num_steps=3, seed=0, return_history=True)
        judged = output.error_probabilities[padded(ROWS) == MASK]
        assert bool((judged == 0.125).all()) is mine
        guided = [step.error_probabilities for step in output.history if step.error_probabilities is not None]
        assert len(guided) == {"critic": 3, "critic_full": 2, "none": 0}[remasking]
        assert all(bool((step == 0.125).all()) is mine for step in guided)
    assert warnings == []


def test_where_no_table_fits_the_ramp_serves_with_a_warning_as_soon_as_the_critic_speaks(model, warnings):
    model.calibration = None
    model.trajectory_calibration = CriticCalibration([0.125] * 100, {"remasking": "critic"})
    model.generate(padded(ROWS), remasking="critic", num_steps=2, seed=0)
    model.generate(padded(ROWS), remasking="none", num_steps=2, seed=0, return_error_probabilities=False)
    assert warnings == []
    output = model.generate(padded(ROWS), remasking="none", num_steps=2, seed=0)
    assert len(warnings) == 1 and "not calibrated" in warnings[0]
    logits = model.critic_scores(output.sequences, attention_mask=(padded(ROWS) != PAD).long())
    expected = CriticCalibration.ramp().error_probability(logits)
    assert torch.equal(output.error_probabilities, expected.masked_fill(padded(ROWS) != MASK, 0.0))


def test_nobody_is_told_to_calibrate_a_critic_that_has_not_been_trained(model, warnings):
    model.calibration = None
    torch.nn.init.zeros_(model.critic_head.weight)
    model.generate(padded(ROWS), remasking="critic", num_steps=2, seed=0)
    assert ["has not been trained" in said for said in warnings] == [True]
