# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Fixtures of the tests of strategies."""

import pytest
from denoising_steps import TABLE


@pytest.fixture
def model(unsure_model):
    """In float64, where batches of any size give the same numbers; with a table that says what the head says."""
    model = unsure_model.double()
    model.calibration = TABLE
    return model
