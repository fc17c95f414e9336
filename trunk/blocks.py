# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A block of the trunk: attention, then an MLP, each added to the residual stream."""

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.processing_utils import Unpack
from transformers.utils.generic import TransformersKwargs

from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.trunk.attention import CriticGPTAttention, ResidualProjection


class CriticGPTMLP(nn.Module):
    """Two linear layers around an activation."""

    def __init__(self, config: CriticGPTConfig):
        super().__init__()
        if config.hidden_act not in ACT2FN:  # known to a library that the configuration does without
            raise ValueError(
                f"`hidden_act` must be an activation of Transformers, got {config.hidden_act!r:.60}: gelu is usual."
            )
        self.up_proj = nn.Linear(config.hidden_size, config.intermediate_size, bias=config.use_bias)
        self.act_fn = ACT2FN[config.hidden_act]
        self.down_proj = ResidualProjection(config.intermediate_size, config.hidden_size, bias=config.use_bias)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.down_proj(self.act_fn(self.up_proj(hidden_states)))


class CriticGPTLayer(GradientCheckpointingLayer):
    """A pre-norm block: attention, then MLP, each added to the residual stream."""

    def __init__(self, config: CriticGPTConfig, layer_idx: int):
        super().__init__()
        self.input_layernorm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=config.use_bias)
        self.self_attn = CriticGPTAttention(config, layer_idx)
        self.post_attention_layernorm = nn.LayerNorm(
            config.hidden_size, eps=config.layer_norm_eps, bias=config.use_bias
        )
        self.mlp = CriticGPTMLP(config)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def forward(
        self,
        hidden_states: torch.Tensor,
        attention_mask: torch.Tensor | None = None,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> torch.Tensor:
        attended, _ = self.self_attn(
            self.input_layernorm(hidden_states),
            position_embeddings=position_embeddings,
            attention_mask=attention_mask,
            **kwargs,
        )
        hidden_states = hidden_states + self.dropout(attended)
        return hidden_states + self.dropout(self.mlp(self.post_attention_layernorm(hidden_states)))
