# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the score by which finished texts are judged, and the table that is measured on it."""

import math

import pytest
import torch

from critic_gpt import CriticCalibration
from critic_gpt.calibration.text_score import CRITIC, TOGETHER, text_scores
from critic_gpt.evaluation.calibrating import found_at


def score_of(critic_logit, probabilities, token, never=()):
    mask = torch.zeros(len(probabilities), dtype=torch.bool)
    mask[list(never)] = True
    logits = torch.tensor([[probabilities]]).log() + 3.0  # logits are known up to a constant
    return float(text_scores(torch.tensor([[critic_logit]]), logits, torch.tensor([[token]]), mask))


def test_it_is_the_mean_of_the_critics_log_odds_and_those_of_the_best_other_token():
    assert score_of(0.7, [0.1, 0.6, 0.3], token=2) == pytest.approx((0.7 + math.log(0.6 / 0.3)) / 2, abs=1e-5)
    assert score_of(0.7, [0.1, 0.6, 0.3], token=1) == pytest.approx((0.7 + math.log(0.3 / 0.6)) / 2, abs=1e-5)
    assert score_of(0.7, [0.1, 0.6, 0.3], token=2, never=[1]) == pytest.approx(
        (0.7 + math.log(0.1 / 0.3)) / 2, abs=1e-5
    )
    assert math.isfinite(score_of(0.7, [1.0, 0.0, 0.0], token=0)) and math.isfinite(score_of(0.7, [1.0], token=0))


@pytest.fixture
def model(tiny_model):
    return tiny_model()


@pytest.fixture
def rows():
    torch.manual_seed(0)
    return [{"input_ids": torch.randint(2, 32, (24,)).tolist()} for _ in range(12)]


def test_a_table_of_planted_errors_says_what_it_was_measured_on_and_proofreading_looks_it_up_by_that(model, rows):
    table = model.calibrate(rows, source="planted", planted_rate=0.3)
    assert table.metadata["text_score"] in (CRITIC, TOGETHER) and 0 <= table.metadata["found_at_one_percent"] <= 1
    steps = [i / 99 for i in range(100)]
    metadata = {**table.metadata, "positive_rate": 1 - 1e-9}
    ids = torch.tensor(rows[0]["input_ids"])
    with torch.no_grad():
        output = model(input_ids=ids[None])
    never = torch.zeros(32, dtype=torch.bool)
    never[:2] = True
    for name, scores in (
        (CRITIC, output.critic_logits),
        (TOGETHER, text_scores(output.critic_logits, output.logits, ids[None], never)),
    ):
        model.planted_calibration = CriticCalibration(steps, {**metadata, "text_score": name})
        found = model.proofread([ids])[0].error_probabilities
        expected = model.planted_calibration.error_probability(scores)[0]
        assert torch.equal(found.argsort(stable=True), expected.argsort(stable=True)), name


@pytest.mark.parametrize("value", ["odds", 3, ["critic"]])
def test_a_table_by_a_score_that_nobody_knows_is_refused(tmp_path, value):
    with pytest.raises(ValueError, match="`text_score` must be one of"):
        CriticCalibration([0.5] * 100, {"text_score": value}).save(tmp_path)
        CriticCalibration.load(tmp_path)


def test_the_score_that_finds_more_at_equal_false_alarms_is_told_by_hand():
    scores, target = torch.arange(200.0).numpy(), torch.zeros(200).numpy()
    target[[150, 199]] = 1
    assert found_at(scores, target, 0.01) == 0.5
    assert found_at(scores, torch.zeros(200).numpy(), 0.01) is None


def test_a_weak_model_says_so_and_a_strong_one_does_not(model, rows):
    ids = torch.tensor(rows[0]["input_ids"])
    metadata = {"source": "planted", "positive_rate": 0.02, "text_score": TOGETHER}
    for found, weak in ((0.1, True), (0.9, False), (None, False)):
        model.planted_calibration = CriticCalibration([0.02] * 100, {**metadata, "found_at_one_percent": found})
        said = model.proofread([ids])[0].weakness
        assert (said is not None) == weak and (not weak or "finds 10% of planted errors" in said)
    model.planted_calibration = CriticCalibration([0.9] * 100, {**metadata, "found_at_one_percent": 0.9})
    assert "the model knows no such texts" in model.proofread([ids.repeat(5)])[0].weakness
