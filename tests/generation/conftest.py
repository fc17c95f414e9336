# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Fixtures of the tests of generation."""

import pytest
from generation_cases import build

from critic_gpt import CriticCalibration


@pytest.fixture(scope="module")
def model():
    """With a trained critic, in float64, where batches of any size give the same numbers."""
    return build()


@pytest.fixture
def unsure(unsure_model):
    """A model whose critic is not always sure, in float64, with a table."""
    model = unsure_model.double()
    model.calibration = CriticCalibration([(i / 99) ** 2 for i in range(100)])
    return model
