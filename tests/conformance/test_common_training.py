# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Every head under the test of training that Transformers asks of its own models: it must learn a batch by heart."""

import sys
import unittest
from pathlib import Path

import torch

from critic_gpt import CriticGPTForMaskedLM, CriticGPTForSequenceClassification, CriticGPTForTokenClassification


sys.path.insert(0, str(Path(__file__).parent))
import transformers_models
import transformers_sources
from transformers_models import MASK


TrainingTesterMixin = transformers_sources.load("test_training_mixin").TrainingTesterMixin


class RecitingModel(CriticGPTForMaskedLM):
    """A language model that does its masking itself and is asked in the words of autoregressive decoding."""

    def forward(self, input_ids, labels=None, **kwargs):
        if labels is not None:
            # As in generation: the first token is given and the others are masked; in the second row every other one.
            masked = torch.ones_like(input_ids, dtype=torch.bool)
            masked[:, 0] = False
            masked[1, ::2] = False
            input_ids, labels = input_ids.masked_fill(masked, MASK), labels.masked_fill(~masked, -100)
        return super().forward(input_ids, labels=labels, **kwargs)

    def generate(self, prompt, max_new_tokens, do_sample, pad_token_id, eos_token_id, use_cache):
        assert not do_sample
        return super().generate(prompt, max_new_tokens=max_new_tokens, num_steps=1, temperature=0.0).sequences


# The test asks for a falling gradient on one batch, so nothing is drawn.
STILL = {"critic_regime": "full", "critic_fill": "argmax"}


class CommonTrainingTest(TrainingTesterMixin):
    """The common test of training for `trained_class` with `fields` of the configuration."""

    model_tester = None
    # Three times theirs, and larger initial weights: rotary positions tell the masks of a canvas apart only slowly.
    training_overfit_learning_rate = 3e-3
    trained_class = RecitingModel
    fields = {}

    def setUp(self):
        self.model_tester = transformers_models.TinyModelTester(self, initializer_range=0.1, **self.fields)

    def _get_trainable_model_class(self):
        return self.trained_class

    def _create_text_training_batch(self, batch_size, seq_length, vocab_size):
        batch = super()._create_text_training_batch(batch_size, seq_length, vocab_size)
        # Theirs begins with 1, which is our [MASK].
        return {name: tokens + 1 for name, tokens in batch.items()}


class RotaryTrainingTest(CommonTrainingTest, unittest.TestCase):
    pass


class RotaryCriticTrainingTest(CommonTrainingTest, unittest.TestCase):
    fields = {"add_critic_head": True, **STILL}


class AbsoluteMLPCriticTrainingTest(CommonTrainingTest, unittest.TestCase):
    fields = {"position_embedding_type": "absolute", "add_critic_head": True, "critic_head_type": "mlp", **STILL}


class TokenClassificationTrainingTest(CommonTrainingTest, unittest.TestCase):
    trained_class = CriticGPTForTokenClassification

    def _create_text_training_batch(self, batch_size, seq_length, vocab_size):
        batch = super()._create_text_training_batch(batch_size, seq_length, vocab_size)
        return {**batch, "labels": batch["labels"] % 3}


class SequenceClassificationTrainingTest(CommonTrainingTest, unittest.TestCase):
    trained_class = CriticGPTForSequenceClassification

    def _create_text_training_batch(self, batch_size, seq_length, vocab_size):
        batch = super()._create_text_training_batch(batch_size, seq_length, vocab_size)
        batch["input_ids"][1] = batch["input_ids"][1].flip(0)
        return {**batch, "labels": torch.tensor([0, 2])}
