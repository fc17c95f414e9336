# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What every model on the trunk shares: how it is initialised, resized, recorded from and frozen."""

import copy

import torch
from torch import nn
from transformers import initialization as init
from transformers.modeling_utils import PreTrainedModel
from transformers.utils import auto_docstring

from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.heads.critic import SequenceScoreHead, UnnoticedLinear, ZeroLinear, initialise_unnoticed
from critic_gpt.hub.folder import NamedInEveryFolder
from critic_gpt.hub.weights import WholeWeightsMixin
from critic_gpt.trunk.attention import CriticGPTAttention, ResidualProjection
from critic_gpt.trunk.blocks import CriticGPTLayer


@auto_docstring
class CriticGPTPreTrainedModel(NamedInEveryFolder, WholeWeightsMixin, PreTrainedModel):
    config_class = CriticGPTConfig
    config: CriticGPTConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["CriticGPTLayer"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _supports_attention_backend = True
    _can_compile_fullgraph = True
    _can_record_outputs = {"hidden_states": CriticGPTLayer, "attentions": CriticGPTAttention}
    # The losses are means over what the model sees: the stock Trainer must divide by the accumulation steps itself.
    accepts_loss_kwargs = False

    @torch.no_grad()
    def _init_weights(self, module: nn.Module):
        # Transformers calls this only for modules with parameters of their own, at least outside its own package:
        # what is set here must not hang on a container such as the attention or the model.
        if isinstance(module, (ZeroLinear, UnnoticedLinear)):
            initialise_unnoticed(module, self.config.initializer_range)
            return
        super()._init_weights(module)
        if isinstance(module, ResidualProjection):
            # Two of them write into the stream in each layer, whose variance would otherwise grow with depth.
            std = self.config.initializer_range / (2 * self.config.num_hidden_layers) ** 0.5
            init.normal_(module.weight, mean=0.0, std=std)
        if isinstance(module, SequenceScoreHead):
            init.constant_(module.scale, self.config.regression_scale_init)
            init.zeros_(module.shift)

    def resize_token_embeddings(
        self, new_num_tokens: int | None = None, pad_to_multiple_of: int | None = None, *args, **kwargs
    ) -> nn.Embedding:
        """
        As the parent's. Rows that `pad_to_multiple_of` adds belong to no token, and are never drawn.

        Raises:
            `ValueError`: A special token of the configuration, such as [MASK], would be cut off.
        """
        if new_num_tokens is not None:
            resized = copy.copy(self.config)
            resized.vocab_size, resized.drawable_vocab_size = new_num_tokens, None
            resized.validate_token_ids()
        num_tokens = new_num_tokens
        if new_num_tokens is None and pad_to_multiple_of is not None:
            num_tokens = self.config.drawable_vocab_size or self.config.vocab_size
        embedding = super().resize_token_embeddings(new_num_tokens, pad_to_multiple_of, *args, **kwargs)
        if num_tokens is not None:
            self.config.drawable_vocab_size = num_tokens if num_tokens < self.config.vocab_size else None
        return embedding

    def freeze_trunk(self, untie: bool = False) -> None:
        """
        Freezes the trunk and leaves the heads trainable, as for adding a critic to an already trained model. A tied LM
        head belongs to the trunk and is frozen with it.

        Args:
            untie (`bool`, *optional*, defaults to `False`): Give a tied LM head its own, trainable copy first.
        """
        head = self.get_output_embeddings()
        if untie and head is not None and head.weight is self.get_input_embeddings().weight:
            head.weight = nn.Parameter(head.weight.detach().clone())
            self.config.tie_word_embeddings = False
        for parameter in self.base_model.parameters():
            parameter.requires_grad_(False)

    def unfreeze_trunk(self) -> None:
        """Makes every parameter of the trunk trainable again."""
        for parameter in self.base_model.parameters():
            parameter.requires_grad_(True)
