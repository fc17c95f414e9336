# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The models that the common tests of Transformers are asked of, and what these tests want to know about them."""

import pytest
import torch
import transformers_sources
from transformers.models.auto import modeling_auto

from critic_gpt import (
    CriticGPTConfig,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticGPTModel,
)


if not transformers_sources.are_fetched():
    if transformers_sources.REQUIRED:
        raise FileNotFoundError(transformers_sources.HOW_TO_GET_THEM)
    pytest.skip(transformers_sources.HOW_TO_GET_THEM, allow_module_level=True)

PAD, MASK, VOCAB = 0, 1, 99
CLASSES = (CriticGPTModel, CriticGPTForMaskedLM, CriticGPTForSequenceClassification, CriticGPTForTokenClassification)
# The common tests ask these tables which labels a class takes. A plugin's classes are registered elsewhere.
TABLES = {
    "MODEL_MAPPING_NAMES": CriticGPTModel,
    "MODEL_FOR_MASKED_LM_MAPPING_NAMES": CriticGPTForMaskedLM,
    "MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES": CriticGPTForSequenceClassification,
    "MODEL_FOR_TOKEN_CLASSIFICATION_MAPPING_NAMES": CriticGPTForTokenClassification,
}


@pytest.fixture
def classes_in_the_tables(monkeypatch):
    """For the time of a test the classes stand in the tables of Transformers, as if they were part of it."""
    for table, cls in TABLES.items():
        monkeypatch.setitem(getattr(modeling_auto, table), CriticGPTConfig.model_type, cls.__name__)


class TinyModelTester:
    """
    Sizes and inputs for the common tests, under the names that these use. `fields` are those of the configuration.
    """

    base_model_class = CriticGPTModel
    is_training = True
    batch_size = 3
    seq_length = 7
    hidden_size = 32
    num_hidden_layers = 2
    num_attention_heads = 4

    def __init__(self, parent=None, **fields):
        self.parent = parent
        self.fields = fields

    def get_config(self) -> CriticGPTConfig:
        return CriticGPTConfig(
            vocab_size=VOCAB,
            hidden_size=self.hidden_size,
            intermediate_size=37,
            num_hidden_layers=self.num_hidden_layers,
            num_attention_heads=self.num_attention_heads,
            max_position_embeddings=64,
            pad_token_id=PAD,
            mask_token_id=MASK,
            num_labels=3,
            **self.fields,
        )

    def prepare_config_and_inputs_for_common(self) -> tuple[CriticGPTConfig, dict[str, torch.Tensor]]:
        input_ids = torch.randint(2, VOCAB, (self.batch_size, self.seq_length))
        input_ids[:, ::2] = MASK
        attention_mask = torch.ones_like(input_ids)
        attention_mask[1, :2] = 0
        attention_mask[2, -2:] = 0
        return self.get_config(), {"input_ids": input_ids, "attention_mask": attention_mask}
