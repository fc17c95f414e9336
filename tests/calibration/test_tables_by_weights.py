# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import copy

import pytest
import torch

from critic_gpt import CriticCalibration


@pytest.fixture
def model(tiny_model):
    model = tiny_model()
    model.calibration = CriticCalibration([0.25] * 100)
    model.trajectory_calibration = CriticCalibration([0.75] * 100)
    return model


def tables(model):
    return [table and table.probabilities[0] for table in (model.calibration, model.trajectory_calibration)]


def test_a_table_serves_the_weights_it_was_set_for_and_no_others(model):
    with torch.no_grad():
        model.critic_head.weight.add_(1.0)
        assert tables(model) == [None, None]
        model.critic_head.weight.sub_(1.0)
    assert tables(model) == [0.25, 0.75]
    model.calibration = None
    assert tables(model) == [None, 0.75]


@pytest.mark.parametrize("dtype", [torch.float64, torch.bfloat16, torch.float16])
def test_another_precision_keeps_the_tables(model, dtype):
    assert tables(model.to(dtype)) == [0.25, 0.75]


def test_without_its_tables_a_model_has_none_and_then_the_same_again(model):
    with model.without_calibration():
        assert tables(model) == [None, None]
    assert tables(model) == [0.25, 0.75]
    model.drop_calibration()
    assert tables(model) == [None, None]


def test_a_copy_has_the_tables_and_its_own_fate(model):
    copied = copy.deepcopy(model)
    copied.drop_calibration()
    assert tables(model) == [0.25, 0.75] and tables(copied) == [None, None]


def test_a_model_without_tables_takes_no_fingerprint(tiny_model, monkeypatch):
    model = tiny_model()
    monkeypatch.setattr(type(model), "fingerprint", lambda self: pytest.fail("a look at every weight for nothing"))
    model.calibration = None
    assert tables(model) == [None, None]
