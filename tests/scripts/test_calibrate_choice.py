# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about which table calibrate.py leaves behind: the best way of making one, and no worse one than was there."""

import numpy as np
import pytest
import torch
from calibrated_folder import save_model, save_rows

from critic_gpt import CriticCalibration, CriticGPTForMaskedLM
from critic_gpt.calibration.histogram import FITTING_METHODS, CriticHistogram
from critic_gpt.evaluation.metrics import calibration_report
from critic_gpt.evaluation.table_choice import best_method, cross_fitted_errors
from critic_gpt.scripts import calibrate


@pytest.fixture
def place(tmp_path):
    return str(save_rows(tmp_path / "rows")), str(save_model(tmp_path / "model"))


def judged(rng, rate, num=600, length=12):
    """Scores and targets whose share of wrong tokens is a function of sigmoid(score)."""
    logits = rng.normal(0, 2, num * length)
    target = (rng.random(num * length) < rate(1 / (1 + np.exp(-logits)))).astype(float)
    return logits, target, np.repeat(np.arange(num), length)


@pytest.mark.parametrize("num", [12, 40])
def test_a_critic_that_is_right_keeps_its_scores_where_there_are_too_few_tokens_to_learn_from(num):
    chosen = [best_method(cross_fitted_errors(*judged(np.random.default_rng(i), lambda p: p, num))) for i in range(10)]
    assert chosen.count("nearest") < 3 and chosen.count("raw") > 3


def test_the_method_chosen_is_no_worse_on_fresh_data_than_any_other():
    for seed, rate in enumerate([lambda p: p, lambda p: p**2, lambda p: 0.1 + 0 * p, lambda p: 1 - p]):
        rng = np.random.default_rng(seed)
        logits, target, index = judged(rng, rate)
        errors = cross_fitted_errors(logits, target, index)
        assert set(errors) == set(FITTING_METHODS)
        fresh, truth, _ = judged(rng, rate, 4000)
        histogram = CriticHistogram()
        histogram.update(*(torch.as_tensor(values) for values in (logits, target)))
        held = {name: calibration_report(fresh, truth, histogram.fit(name))["after"]["ece"] for name in errors}
        assert held[best_method(errors)] <= min(held.values()) + 0.02


def test_it_says_what_it_chose_and_saves_that(place, capsys):
    table = calibrate.main([*place, "40"])
    method = table.metadata["method"]
    assert f"Method {method}, the best by cross-fitted ECE: nearest 0." in capsys.readouterr().out
    assert CriticGPTForMaskedLM.from_pretrained(place[1]).calibration == table
    asked = calibrate.main([*place, "40", "--method", "raw", "--overwrite"])
    assert asked.probabilities == tuple((index + 0.5) / 100 for index in range(100))
    assert "Method" not in capsys.readouterr().out


def test_few_tokens_do_not_replace_a_table_on_many_unless_told(place, capsys):
    good = calibrate.main([*place, "40"])
    assert calibrate.main([*place, "2"]) == good == CriticCalibration.load(place[1])
    said = capsys.readouterr().out
    assert "Kept the table in" in said and "it rests on" in said and "--overwrite" in said
    told = calibrate.main([*place, "2", "--overwrite"])
    assert told == CriticCalibration.load(place[1]) != good
    assert calibrate.main([*place, "40"]) == good  # more tokens are better than few


def test_a_table_that_is_better_on_the_new_tokens_themselves_stays(place, capsys):
    best = calibrate.main([*place, "40", "--method", "nearest"])
    again = best.with_metadata(seed=7)  # of other tokens, for all that anybody knows
    again.save(place[1])
    assert calibrate.main([*place, "38", "--method", "raw"]) == again
    assert "on these tokens its ECE is" in capsys.readouterr().out


def test_a_table_of_other_weights_or_of_nobody_knows_which_is_replaced(place):
    good = calibrate.main([*place, "40"])
    for fingerprint in ("0" * 64, None):
        good.with_metadata(fingerprint=fingerprint, fingerprints_float16=None).save(place[1])
        few = calibrate.main([*place, "2"])
        assert few == CriticCalibration.load(place[1]) != good
