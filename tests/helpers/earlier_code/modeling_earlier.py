# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Two models with the habits of code for Transformers 4 at which Transformers 5 stumbles: a rope type "default" looked up
by name, positions computed when the model is made, tied names as a list, `tie_weights` without arguments, no
`post_init`, `use_cache` read of the configuration, a `from_pretrained` of its own, and a mask of pairs of tokens.
"""

import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_outputs import MaskedLMOutput
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from .configuration_earlier import EarlierConfig


class Positions(nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config
        self.rope_init_fn = ROPE_INIT_FUNCTIONS["default"]
        inv_freq, self.attention_scaling = self.rope_init_fn(config, None)
        self.register_buffer("inv_freq", inv_freq, persistent=False)

    def forward(self, length):
        angles = torch.arange(length).float()[:, None] * self.inv_freq[None]
        return torch.cat([angles.sin(), angles.cos()], dim=-1).repeat(1, 2)


class WithPositions(PreTrainedModel):
    """As Dream."""

    config_class = EarlierConfig
    _tied_weights_keys = ["lm_head.weight"]

    def __init__(self, config):
        super().__init__(config)
        self.embed, self.positions = nn.Embedding(config.vocab_size, config.hidden_size), Positions(config)
        self.mix = nn.Linear(config.hidden_size, config.hidden_size)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.post_init()

    def _init_weights(self, module):
        pass

    @classmethod
    def from_pretrained(cls, *args, **kwargs):
        raise TypeError("written for another version")

    def get_input_embeddings(self):
        return self.embed

    def get_output_embeddings(self):
        return self.lm_head

    def forward(self, input_ids=None, attention_mask=None, output_hidden_states=None, return_dict=None):
        states = self.embed(input_ids) + self.positions(input_ids.shape[1])
        if self.config.use_cache:
            raise ValueError("no cache here")
        mask = attention_mask if isinstance(attention_mask, torch.Tensor) else None
        seen = nn.functional.scaled_dot_product_attention(*[states[:, None]] * 3, attn_mask=mask)[:, 0]
        after = torch.tanh(self.mix(states + seen))
        kept = (states, after) if output_hidden_states else None
        return MaskedLMOutput(logits=self.lm_head(after), hidden_states=kept)


class WithoutPostInit(WithPositions):
    """As LLaDA."""

    _tied_weights_keys = None

    def post_init(self):
        pass

    def tie_weights(self):
        pass


class WithOtherNumbers(WithPositions):
    """Computes what nobody else can."""

    def __init__(self, config):
        super().__init__(config)
        self.register_buffer("slopes", torch.ones(3), persistent=False)
