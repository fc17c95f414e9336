# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The configuration under the tests that Transformers asks of its own configurations."""

import sys
import unittest
from pathlib import Path

import pytest

from critic_gpt import CriticGPTConfig


sys.path.insert(0, str(Path(__file__).parent))
import transformers_models  # skips or fails without the sources
import transformers_sources


FIELDS = {
    "plain": {},
    "critic": {"mask_token_id": transformers_models.MASK, "add_critic_head": True, "critic_alpha": 0.25},
    "absolute": {"position_embedding_type": "absolute", "use_bias": True},
}


@pytest.mark.parametrize("fields", FIELDS.values(), ids=FIELDS)
def test_the_configuration_passes_the_common_tests(fields):
    parent = unittest.TestCase()
    tester = transformers_sources.load("test_configuration_common").ConfigTester
    tester(parent, CriticGPTConfig, hidden_size=48, **fields).run_common_tests()
