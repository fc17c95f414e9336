# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Every model class, with and without a critic, under the tests that Transformers asks of its own models."""

import sys
import unittest
from pathlib import Path

import pytest
import torch

from critic_gpt import CriticGPTForMaskedLM


sys.path.insert(0, str(Path(__file__).parent))
import transformers_models
import transformers_sources
from transformers_models import classes_in_the_tables  # noqa: F401


ModelTesterMixin = transformers_sources.load("test_modeling_common").ModelTesterMixin


def booleans_as_numbers(module, args, output):
    """A forward hook: the same output, its booleans as whole numbers."""
    if isinstance(module, CriticGPTForMaskedLM):
        if isinstance(output, tuple):
            return tuple(as_number(value) for value in output)
        return type(output)(**{name: as_number(value) for name, value in output.items()})


def as_number(value):
    return value.long() if isinstance(value, torch.Tensor) and value.dtype == torch.bool else value


@pytest.mark.usefixtures("classes_in_the_tables")
class CommonModelTests(ModelTesterMixin):
    """The common tests for `all_model_classes` with `fields` of the configuration."""

    all_model_classes = transformers_models.CLASSES
    # The common tests of generation are about autoregressive decoding. Those of denoising are tests/test_generation*.
    all_generative_model_classes = ()
    fields = {}

    def setUp(self):
        self.model_tester = transformers_models.TinyModelTester(self, **self.fields)

    def test_model_outputs_equivalence(self):
        # Its message subtracts the outputs even where they agree, and torch subtracts no booleans (`critic_valid`).
        hook = torch.nn.modules.module.register_module_forward_hook(booleans_as_numbers)
        try:
            super().test_model_outputs_equivalence()
        finally:
            hook.remove()


class RotaryModelTest(CommonModelTests, unittest.TestCase):
    pass


class RotaryCriticModelTest(CommonModelTests, unittest.TestCase):
    all_model_classes = (CriticGPTForMaskedLM,)
    fields = {"add_critic_head": True}


class AbsoluteMLPCriticModelTest(CommonModelTests, unittest.TestCase):
    fields = {
        "position_embedding_type": "absolute",
        "use_bias": True,
        "add_critic_head": True,
        "critic_head_type": "mlp",
        "remaining_alpha": 0.5,
    }
    # They ask for more positions than have been learnt, of whatever has a field `rope_parameters`.
    test_model_rope_scaling_from_config_0_linear = None
    test_model_rope_scaling_from_config_1_dynamic = None
    test_model_rope_scaling_from_config_2_yarn = None
