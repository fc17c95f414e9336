# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Fixtures of the tests of generation."""

import logging

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


@pytest.fixture
def warnings(monkeypatch):
    """What the package warns about in this test, each time it does."""
    messages = []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: messages.append(record.getMessage())
    # Of the sentences that are said once it would be told in one test only.
    monkeypatch.setattr(logging.Logger, "warning_once", logging.Logger.warning)
    logger = logging.getLogger("critic_gpt")
    logger.addHandler(handler)
    yield messages
    logger.removeHandler(handler)
