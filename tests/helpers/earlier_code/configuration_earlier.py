# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The configuration of a model whose code was written for Transformers 4."""

from transformers import PreTrainedConfig


class EarlierConfig(PreTrainedConfig):
    """As Dream's and LLaDA's, of which each has some of these fields."""

    model_type = "earlier_code_stand_in"

    def __init__(self, hidden_size=16, vocab_size=40, num_attention_heads=2, rope_theta=100.0, **kwargs):
        self.hidden_size, self.vocab_size = hidden_size, vocab_size
        self.num_attention_heads, self.rope_theta = num_attention_heads, rope_theta
        self.max_position_embeddings = 48
        super().__init__(**kwargs)
