# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Small models with the habits of diffusion language models whose own code does not run on this Transformers."""

import torch
from torch import nn
from transformers import BertConfig, BertForMaskedLM, PreTrainedConfig, PreTrainedModel
from transformers.modeling_outputs import BaseModelOutput, MaskedLMOutput


class HookFreeConfig(PreTrainedConfig):
    """As LLaDA's: its own name for the longest sequence, more rows than tokens."""

    model_type = "hook_free_stand_in"
    d_model: int = 32
    vocab_size: int = 32
    embedding_size: int = 40
    max_sequence_length: int = 48


class _Inner(nn.Module):
    def __init__(self, config: HookFreeConfig):
        super().__init__()
        self.embed = nn.Embedding(config.embedding_size, config.d_model)
        self.places = nn.Embedding(config.max_sequence_length, config.d_model)
        self.block = nn.TransformerEncoderLayer(config.d_model, 2, 37, dropout=0.0, batch_first=True)
        self.head = nn.Linear(config.d_model, config.embedding_size, bias=False)

    def forward(self, input_ids, output_hidden_states=False):
        states = self.embed(input_ids) + self.places(torch.arange(input_ids.shape[1], device=input_ids.device))
        after = self.block(states)
        return self.head(after), (states, after) if output_hidden_states else None


class HookFreeModelLM(PreTrainedModel):
    """As LLaDA: no attention mask, states on request alone, its inner model called past every hook."""

    config_class = HookFreeConfig
    base_model_prefix = "model"

    def __init__(self, config: HookFreeConfig):
        super().__init__(config)
        self.model = _Inner(config)
        self.post_init()

    def _init_weights(self, module):
        pass

    def forward(self, input_ids=None, labels=None, output_hidden_states=None, return_dict=None):
        logits, states = self.model.forward(input_ids, output_hidden_states=bool(output_hidden_states))
        return MaskedLMOutput(logits=logits, hidden_states=states)

    def get_output_embeddings(self):
        return self.model.head


class ShiftedConfig(BertConfig):
    """As Dream's: made from a causal model, whose logits speak of the next position."""

    model_type = "Dream"


class ShiftedModel(BertForMaskedLM):
    """As Dream: logits at a position are those of the next one."""

    config_class = ShiftedConfig

    def forward(self, *args, **kwargs):
        output = super().forward(*args, **kwargs)
        output.logits = torch.cat([output.logits[:, 1:], output.logits[:, -1:]], dim=1)
        return output


class CausalModel(HookFreeModelLM):
    """A model that sees what is before a token alone."""

    def forward(self, input_ids=None, output_hidden_states=None, return_dict=None, **kwargs):
        states = self.model.embed(input_ids).cumsum(dim=1)
        return MaskedLMOutput(
            logits=self.model.head(states), hidden_states=(states, states) if output_hidden_states else None
        )


class NoLanguageModel(HookFreeModelLM):
    """A model without logits."""

    def forward(self, input_ids=None, **kwargs):
        return BaseModelOutput(last_hidden_state=self.model.embed(input_ids))
