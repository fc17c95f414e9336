# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The trunk: from tokens or embeddings to states.

Letters: B batch, T positions, D width.
"""

from typing import Any, NamedTuple

import torch
from torch import nn
from transformers.cache_utils import Cache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_outputs import BaseModelOutput
from transformers.processing_utils import Unpack
from transformers.utils import auto_docstring
from transformers.utils.generic import TransformersKwargs, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.trunk.attention import CriticGPTRotaryEmbedding
from critic_gpt.trunk.blocks import CriticGPTLayer
from critic_gpt.trunk.pretrained import CriticGPTPreTrainedModel


def first_real_position(attention_mask: torch.Tensor) -> torch.LongTensor:
    """Index (B,) of each row's first token that is not padding; 0 unless the padding is on the left."""
    return attention_mask.long().argmax(dim=-1)


class Layout(NamedTuple):
    """
    What a pass of the trunk knows of its places: the `mask` of attention (`None` where nothing is hidden), the
    `position_ids` (1 or B, T), and by them learnt `vectors` (1 or B, T, D) and `rotations`, `None` where a model has
    none.
    """

    mask: Any
    position_ids: torch.LongTensor
    vectors: torch.Tensor | None
    rotations: tuple[torch.Tensor, torch.Tensor] | None


@auto_docstring
class CriticGPTModel(CriticGPTPreTrainedModel):
    def __init__(self, config: CriticGPTConfig):
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.hidden_size)
        self.embed_positions = None
        self.rotary_emb = None
        if config.position_embedding_type != "rotary":
            self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        if config.position_embedding_type != "absolute":
            self.rotary_emb = CriticGPTRotaryEmbedding(config)
        self.dropout = nn.Dropout(config.hidden_dropout)
        self.layers = nn.ModuleList([CriticGPTLayer(config, i) for i in range(config.num_hidden_layers)])
        self.norm = nn.LayerNorm(config.hidden_size, eps=config.layer_norm_eps, bias=config.use_bias)
        self.gradient_checkpointing = False
        self.post_init()

    @merge_with_config_defaults
    @capture_outputs
    @auto_docstring
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | BaseModelOutput:
        r"""
        past_key_values (`Cache`, *optional*):
            Keys and values of tokens that are not among `input_ids`; `position_ids` then say where these stand, and
            `attention_mask` is of all. `generate` keeps those of a text around the block that it works on.
        """
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("`input_ids` or `inputs_embeds` must be given, one of the two: pass exactly one.")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        length = inputs_embeds.shape[1]
        if self.embed_positions is not None and length > self.config.max_position_embeddings:
            # Learnt positions end there. Rotary ones go on, as some kinds of `rope_parameters` are made for.
            raise ValueError(
                f"`input_ids` must be at most `max_position_embeddings` = {self.config.max_position_embeddings} "
                f"tokens long, got {length}: truncate it, or train a model with more positions."
            )
        if past_key_values is not None and position_ids is None and past_key_values.get_seq_length():
            raise ValueError(
                "`position_ids` must say where `input_ids` stand beside kept keys and values, got None: pass them."
            )
        position_ids = self.place(inputs_embeds, attention_mask, position_ids)
        layout = self.lay_out(inputs_embeds, attention_mask, position_ids, past_key_values)
        kwargs["past_key_values"] = past_key_values
        return BaseModelOutput(last_hidden_state=self.through_layers(inputs_embeds, layout, **kwargs))

    def lay_out(
        self,
        inputs_embeds: torch.Tensor,
        attention_mask: torch.Tensor | None,
        position_ids: torch.LongTensor,
        past_key_values: Cache | None = None,
    ) -> Layout:
        """What a pass over embeddings (B, T, D) knows of their places, whatever tokens stand there."""
        # Falls back to the bidirectional mask where `config.is_causal` is False.
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=inputs_embeds,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        vectors = None if self.embed_positions is None else self.embed_positions(position_ids)
        rotations = None if self.rotary_emb is None else self.rotary_emb(inputs_embeds, position_ids)
        return Layout(mask, position_ids, vectors, rotations)

    def through_layers(self, inputs_embeds: torch.Tensor, layout: Layout, **kwargs) -> torch.Tensor:
        """States (B, T, D) of embeddings (B, T, D)."""
        if layout.vectors is not None:
            inputs_embeds = inputs_embeds + layout.vectors
        hidden_states = self.dropout(inputs_embeds)
        for layer in self.layers:
            hidden_states = layer(
                hidden_states, attention_mask=layout.mask, position_embeddings=layout.rotations, **kwargs
            )
        return self.norm(hidden_states)

    def place(
        self, states: torch.Tensor, attention_mask: torch.Tensor | None, position_ids: torch.LongTensor | None
    ) -> torch.LongTensor:
        """The positions (1 or B, T) of states (B, T, D), given or counted."""
        if position_ids is None:
            position_ids = torch.arange(states.shape[1], device=states.device).unsqueeze(0)
            if self.embed_positions is not None and attention_mask is not None:
                # Learnt positions start at the first real token, so that padding on the left changes nothing either.
                position_ids = (position_ids - first_real_position(attention_mask)[:, None]).clamp(min=0)
        return position_ids
