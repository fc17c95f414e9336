# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""CriticGPT: a bidirectional GPT trunk, its heads, and the two training passes of a diffusion model with a critic.

Letters: B batch, T positions, V vocabulary, D width.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import (
    BaseModelOutput,
    ModelOutput,
    SequenceClassifierOutput,
    TokenClassifierOutput,
)
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS, dynamic_rope_update
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb
from transformers.processing_utils import Unpack
from transformers.utils import auto_docstring, logging
from transformers.utils.generic import TransformersKwargs, can_return_tuple, merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from critic_gpt.calibration.model import CalibratedModelMixin
from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.critic_model.two_passes import Reading, TwoPassMixin
from critic_gpt.diffusion.loss_terms import CriticGPTMaskedLMOutput, term_losses
from critic_gpt.diffusion.losses import token_classification_loss
from critic_gpt.diffusion.masks import draw_given_mask, given_and_asked
from critic_gpt.diffusion.second_pass import second_pass_rows
from critic_gpt.generation.configuration import CriticGPTGenerationConfig
from critic_gpt.generation.generate import CriticGPTGenerationMixin
from critic_gpt.generation.pass_output import PassOutput
from critic_gpt.heads.building import build_critic_head
from critic_gpt.heads.critic import SequenceScoreHead, UnnoticedLinear, ZeroLinear, initialise_unnoticed
from critic_gpt.heads.joint import JointHead, joint_token_loss
from critic_gpt.hub.folder import NamedInEveryFolder
from critic_gpt.hub.weights import WholeWeightsMixin
from critic_gpt.proofreading.mixin import ProofreadingMixin


logger = logging.get_logger(__name__)


# --------------------------------------------------------------------------------------------------------------------
# Trunk
# --------------------------------------------------------------------------------------------------------------------


def eager_attention_forward(
    module: nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Unpack[TransformersKwargs],
):
    """Attention in plain matrix products, the reference for every other implementation."""
    weights = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        weights = weights + attention_mask
    weights = nn.functional.softmax(weights, dim=-1, dtype=torch.promote_types(query.dtype, torch.float32))
    weights = nn.functional.dropout(weights.to(query.dtype), p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


class CriticGPTRotaryEmbedding(nn.Module):
    """Cosines and sines of the rotary position embedding (Su et al., "RoFormer", 2021)."""

    def __init__(self, config: CriticGPTConfig):
        super().__init__()
        self.config = config
        self.max_seq_len_cached = config.max_position_embeddings
        self.original_max_seq_len = config.max_position_embeddings
        self.rope_type = config.rope_parameters["rope_type"]
        rope_init = self.compute_default_rope_parameters
        if self.rope_type != "default":
            rope_init = ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = rope_init(config)
        self.inv_freq = nn.Buffer(inv_freq, persistent=False)
        self.original_inv_freq = nn.Buffer(inv_freq.clone(), persistent=False)

    @staticmethod
    def compute_default_rope_parameters(config: CriticGPTConfig, **kwargs) -> tuple[torch.Tensor, float]:
        """Frequencies `base ** (-2 i / head_dim)`, and the scaling of attention (none)."""
        exponent = torch.arange(0, config.head_dim, 2, dtype=torch.float) / config.head_dim
        return 1.0 / (config.rope_parameters["rope_theta"] ** exponent), 1.0

    @torch.no_grad()
    @dynamic_rope_update
    def forward(self, x: torch.Tensor, position_ids: torch.LongTensor) -> tuple[torch.Tensor, torch.Tensor]:
        angles = position_ids[..., None].float() * self.inv_freq.to(device=x.device, dtype=torch.float)
        angles = torch.cat((angles, angles), dim=-1)
        cos, sin = angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling
        return cos.to(x.dtype), sin.to(x.dtype)


class ResidualProjection(nn.Linear):
    """A linear layer whose output is added to the residual stream; its initial weights shrink with depth (GPT-2)."""


class CriticGPTAttention(nn.Module):
    """Multi-head self-attention, bidirectional unless `config.is_causal`."""

    def __init__(self, config: CriticGPTConfig, layer_idx: int):
        super().__init__()
        self.config = config
        self.layer_idx = layer_idx
        self.head_dim = config.head_dim
        self.scaling = self.head_dim**-0.5
        self.is_causal = config.is_causal
        self.q_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.k_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.v_proj = nn.Linear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.o_proj = ResidualProjection(config.hidden_size, config.hidden_size, bias=config.use_bias)

    def forward(
        self,
        hidden_states: torch.Tensor,
        position_embeddings: tuple[torch.Tensor, torch.Tensor] | None = None,
        attention_mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query = self.q_proj(hidden_states).view(shape).transpose(1, 2)  # (B, heads, T, head_dim)
        key = self.k_proj(hidden_states).view(shape).transpose(1, 2)
        value = self.v_proj(hidden_states).view(shape).transpose(1, 2)
        if position_embeddings is not None:
            query, key = apply_rotary_pos_emb(query, key, *position_embeddings)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        output, weights = attend(
            self,
            query,
            key,
            value,
            attention_mask,
            dropout=self.config.attention_dropout if self.training else 0.0,
            scaling=self.scaling,
            **kwargs,
        )
        return self.o_proj(output.reshape(*hidden_states.shape[:-1], -1).contiguous()), weights


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


def first_real_position(attention_mask: torch.Tensor) -> torch.LongTensor:
    """Index (B,) of each row's first token that is not padding; 0 unless the padding is on the left."""
    return attention_mask.long().argmax(dim=-1)


class Layout(NamedTuple):
    """
    What a pass of the trunk knows of its places: the `mask` of attention (`None` where nothing is hidden), the
    `position_ids` (1 or B, T), and learnt `vectors` (1 or B, T, D) or `rotations` by them.
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
        if config.position_embedding_type == "absolute":
            self.embed_positions = nn.Embedding(config.max_position_embeddings, config.hidden_size)
        else:
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
        if self.embed_positions is not None:
            return Layout(mask, position_ids, self.embed_positions(position_ids), None)
        return Layout(mask, position_ids, None, self.rotary_emb(inputs_embeds, position_ids))

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


# --------------------------------------------------------------------------------------------------------------------
# Masked diffusion language model with a critic
# --------------------------------------------------------------------------------------------------------------------


@auto_docstring(custom_intro="CriticGPT with a language model head and, if configured, a critic head.")
class CriticGPTForMaskedLM(
    TwoPassMixin, CalibratedModelMixin, CriticGPTGenerationMixin, ProofreadingMixin, CriticGPTPreTrainedModel
):
    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}
    _tp_plan = {"lm_head": "colwise_gather_output"}
    # A checkpoint with a critic loads cleanly into a configuration without one, or with one of the other kind.
    _keys_to_ignore_on_load_unexpected = [r"critic_head\.(weight|dense\.|states\.|output\.)", r"joint_head\."]
    generation_config_class = CriticGPTGenerationConfig

    def __init__(self, config: CriticGPTConfig):
        super().__init__(config)
        self.model = CriticGPTModel(config)
        self.lm_head = nn.Linear(config.hidden_size, config.vocab_size, bias=False)
        self.critic_head = None
        if config.add_critic_head:
            self.critic_head = build_critic_head(config, config.hidden_size)
            logger.info(f"Critic head on, critic_alpha = {config.critic_alpha}.")
        self.joint_head = JointHead(config) if config.add_joint_head else None
        self.post_init()

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.LongTensor | None = None,
        loss_weights: torch.FloatTensor | None = None,
        fill_mask: torch.BoolTensor | None = None,
        fill_uniforms: torch.FloatTensor | None = None,
        given_mask: torch.BoolTensor | None = None,
        critic_pass: bool = True,
        critic_batch_share: float = 1.0,
        joint_batch_share: float = 1.0,
        return_logits: bool = True,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | CriticGPTMaskedLMOutput:
        r"""
        labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*):
            The truth at the positions to predict, -100 elsewhere. Not shifted.
        loss_weights (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Factor on each token's cross-entropy, such as 1/t of the diffusion loss. With it `lm_loss` is divided by
            the number of real tokens (the diffusion bound, in nats per token), without it by the number of labels.
        fill_mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Which masks are filled for the critic. Without it: all in evaluation, by `critic_regime` in training.
        fill_uniforms (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Numbers in (0, 1) that decide the filling. Without them: argmax in evaluation, drawn in training.
        given_mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Of which masks the joint head is told the truth. Without it: drawn in training, and no loss of the joint
            head in evaluation.
        critic_pass (`bool`, *optional*, defaults to `True`):
            `False` skips the second pass, as in the first steps of an alpha warm-up.
        critic_batch_share (`float`, *optional*, defaults to 1.0):
            Share of the rows, in (0, 1] and rounded up, that the second pass is made of; evenly spread over the batch.
            In the others nothing is filled and nothing judged.
        joint_batch_share (`float`, *optional*, defaults to 1.0):
            Share of the rows, in (0, 1] and rounded up, in which the joint head is asked for masks; evenly spread over
            the batch.
        return_logits (`bool`, *optional*, defaults to `True`):
            `False` leaves the logits out. With `labels` the losses are the same to rounding, and the LM head sees the
            positions that they read alone (all under `torch.compile`); there are no `critic_logits` either. Without
            `labels` the states are given in place of the logits: for whoever wants `lm_logits` of some positions.
        """
        inputs = {"position_ids": position_ids, "inputs_embeds": inputs_embeds, **kwargs}
        reading = self.read(input_ids, attention_mask, **inputs)
        if labels is None and not return_logits:
            return self.judged(reading, position_ids)
        fill = {"fill_mask": fill_mask, "fill_uniforms": fill_uniforms}
        return self.both_passes(
            reading,
            labels,
            loss_weights,
            fill,
            given_mask,
            critic_pass,
            critic_batch_share,
            inputs,
            joint_batch_share,
            return_logits,
        )

    def read(self, input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None = None, **inputs) -> Reading:
        """One pass of the trunk."""
        inputs = {**inputs, "input_ids": input_ids, "attention_mask": attention_mask, "return_dict": True}
        outputs = self.model(**inputs)
        found = outputs.last_hidden_state, outputs.hidden_states, outputs.attentions
        return Reading(self, input_ids, attention_mask, *found)

    def lm_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Predictions (..., V) by states (..., D)."""
        return self.lm_head(states)

    @property
    def forward_is_ours(self) -> bool:
        """Whether a forward pass is what it is here: nobody wrote another one, or hooked something on it."""
        own = type(self).forward is CriticGPTForMaskedLM.forward and "forward" not in vars(self)
        return own and not (self._forward_hooks or self._forward_pre_hooks)

    @property
    def losses_need_no_logits(self) -> bool:
        """Whether `forward` takes `return_logits=False` beside labels: nobody wrote another one."""
        return type(self).forward is CriticGPTForMaskedLM.forward

    @property
    def takes_bare_passes(self) -> bool:
        """Whether that holds of the trunk and of every layer too, none of which is of a class from elsewhere."""
        methods = (type(self).forward, type(self).read, type(self.model).forward)
        if methods != _PASSES or any("forward" in vars(module) for module in (self, self.model)):
            return False
        rotary = self.model.rotary_emb
        if rotary is not None and rotary.rope_type != "default":  # others may change with what they see
            return False
        return all(_is_plain(module) for module in self.modules())

    def bare_pass(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor | None,
        layout: Layout,
        with_logits: bool = True,
        with_joint: bool = True,
    ) -> PassOutput:
        """
        What `forward` gives, bit by bit, without what Transformers does around it: a third of a millisecond, which is
        much where a pass takes five.

        Args:
            input_ids, attention_mask: As for `forward`.
            layout ([`Layout`]): Of their places, as [`CriticGPTForMaskedLM.layout_for`] gives it.
            with_logits, with_joint (`bool`): Whether predictions, and what the joint head relates, are made.
        """
        states = self.model.through_layers(self.model.embed_tokens(input_ids), layout)
        reading = Reading(self, input_ids, attention_mask, states)
        if with_logits:
            reading.given_logits = self.lm_logits(states)
        joint = None, None
        if with_joint and self.joint_head is not None:
            joint = self.joint_head(states, layout.position_ids, layout.vectors)
        critic_logits = None if self.critic_head is None else reading.verdict()
        return PassOutput(reading.given_logits, critic_logits, states, *joint)

    def layout_for(self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None) -> Layout:
        """What passes over tokens (B, T) with this mask know of their places."""
        vectors = self.model.embed_tokens(input_ids)
        return self.model.lay_out(vectors, attention_mask, self.model.place(vectors, attention_mask, None))

    def language_model_learns(self) -> bool:
        """Whether a term of the language model reaches a trainable weight."""
        return self.lm_head.weight.requires_grad or any(weight.requires_grad for weight in self.model.parameters())

    def joint_outputs(self, reading: Reading, position_ids: torch.LongTensor | None) -> dict[str, torch.Tensor]:
        """Queries and keys of the joint head, if there is one."""
        if self.joint_head is None:
            return {}
        trunk, states = self.model, reading.states
        position_ids = trunk.place(states, reading.attention_mask, position_ids)
        vectors = None if trunk.embed_positions is None else trunk.embed_positions(position_ids)
        queries, keys = self.joint_head(states, position_ids, vectors)
        return {"joint_queries": queries, "joint_keys": keys}

    def joint_losses(
        self, reading: Reading, labels, given_mask, batch_share, joint_queries, joint_keys
    ) -> dict[str, torch.Tensor]:
        """The joint head's cross-entropy at the masks that are not given, of a share of the rows."""
        input_ids, mask_id = reading.input_ids, self.config.mask_token_id
        if input_ids is None:
            # Of embeddings alone nobody can say where [MASK] stands: where something is to be predicted.
            input_ids, mask_id = labels, None
        if given_mask is None:
            given_mask = draw_given_mask(input_ids, labels, mask_id)
        given, asked = given_and_asked(input_ids, labels, given_mask, mask_id)
        if batch_share != 1.0:
            rows = torch.tensor(second_pass_rows(len(labels), batch_share, "joint_batch_share"), device=labels.device)
            asked = asked & torch.zeros_like(asked).index_fill(0, rows, True)
        values = self.joint_values(labels.clamp(min=0))
        read, logits, places = self.joint_shift, reading.logits, None
        if reading.places is not None:
            places, kept = reading.places.among(asked)
            logits = logits[kept]

            def read(queries, memory):
                return self.lm_head(places.take(self.joint_head.read(queries, memory)))

        token_loss = joint_token_loss(
            joint_queries, joint_keys, values, read, logits, labels, given, asked, mask_id, places
        )
        return term_losses("joint", token_loss, asked)

    def joint_values(self, tokens: torch.LongTensor) -> torch.FloatTensor:
        """The joint head's values (..., joint_num_heads, joint_head_dim) of drawn tokens (...)."""
        return self.joint_head.values(self.model.embed_tokens(tokens))

    def joint_shift(self, queries: torch.FloatTensor, memory: torch.FloatTensor) -> torch.FloatTensor:
        """
        What drawn tokens change about predictions.

        Args:
            queries (`torch.FloatTensor` of shape `(batch_size, joint_num_heads, num_positions, joint_head_dim)`): Of
                the positions to predict.
            memory (`torch.FloatTensor` of shape `(batch_size, joint_num_heads, joint_head_dim, joint_head_dim)`): Of
                the drawn tokens: their keys times their values, added up.

        Returns:
            `torch.FloatTensor` of shape `(batch_size, num_positions, vocab_size)`: to be added to the logits.
        """
        return self.lm_head(self.joint_head.read(queries, memory))

    def joint_reading(self) -> Callable[[torch.FloatTensor, torch.FloatTensor], torch.FloatTensor]:
        """
        From scores (n, vocab_size) and what the joint head read (n, joint_num_heads * joint_head_dim) to scores given
        that. Its output and the LM head are folded into one matrix, which is smaller than that of the latter.
        """
        output = self.joint_head.output
        if output.in_features >= self.config.hidden_size:
            return lambda scores, found: scores + self.lm_head(output(found.to(self.dtype)))
        folded = self.lm_head(output(torch.eye(output.in_features, dtype=self.dtype, device=self.device)))
        return lambda scores, found: torch.addmm(scores, found.to(scores.dtype), folded.to(scores.dtype))


# The passes as they are written here, by which it shows whether somebody put others in their place.
_PASSES = CriticGPTForMaskedLM.forward, CriticGPTForMaskedLM.read, CriticGPTModel.forward
# Whose layers do what they say, and keep nothing of what they saw.
_PLAIN_CLASSES = ("torch.nn.modules.", "transformers.activations")


def _is_plain(module: nn.Module) -> bool:
    """Whether a layer is one of ours, of torch or of Transformers, with nothing hooked on it."""
    home = type(module).__module__
    ours = home.startswith(_PLAIN_CLASSES) or home.split(".")[0] == __name__.split(".")[0]
    hooked = module._forward_hooks or module._forward_pre_hooks or module._compiled_call_impl is not None
    weights = (weight for weight in module._parameters.values() if weight is not None)
    return ours and not hooked and all(type(weight) is nn.Parameter for weight in weights)


# --------------------------------------------------------------------------------------------------------------------
# Token classification and sequence scoring
# --------------------------------------------------------------------------------------------------------------------


class CriticGPTClassifier(CriticGPTPreTrainedModel):
    """A trunk with a classifying or scoring head on it: what both classes below share."""

    output_class: type[ModelOutput]

    def __init__(self, config: CriticGPTConfig):
        super().__init__(config)
        self.num_labels = config.num_labels
        self.model = CriticGPTModel(config)
        self.dropout = nn.Dropout(config.hidden_dropout)

    def judge(self, states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """The head's logits for the states (B, T, D) of the trunk."""
        raise NotImplementedError

    def labelled_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The loss of these logits."""
        raise NotImplementedError

    def classify(
        self,
        input_ids: torch.LongTensor | None,
        attention_mask: torch.Tensor | None,
        labels: torch.Tensor | None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> ModelOutput:
        """The forward pass of every subclass, whose own `forward` carries its signature and its documentation."""
        outputs = self.model(input_ids=input_ids, attention_mask=attention_mask, return_dict=True, **kwargs)
        logits = self.judge(outputs.last_hidden_state, attention_mask)
        loss = None if labels is None else self.labelled_loss(logits, labels)
        return self.output_class(
            loss=loss, logits=logits, hidden_states=outputs.hidden_states, attentions=outputs.attentions
        )


@auto_docstring
class CriticGPTForTokenClassification(CriticGPTClassifier):
    output_class = TokenClassifierOutput

    def __init__(self, config: CriticGPTConfig):
        super().__init__(config)
        self.classifier = nn.Linear(config.hidden_size, config.num_labels)
        self.post_init()

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | TokenClassifierOutput:
        r"""
        labels (`torch.Tensor`, *optional*):
            Classes `(batch_size, sequence_length)` with -100 (or, in old data, -1) where ignored, or probabilities
            `(batch_size, sequence_length, num_labels)` with all zeros where ignored.
        """
        kwargs |= {"position_ids": position_ids, "inputs_embeds": inputs_embeds}
        return self.classify(input_ids, attention_mask, labels, **kwargs)

    def judge(self, states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """Logits `(batch_size, sequence_length, num_labels)` of every token."""
        return self.classifier(self.dropout(states))

    def labelled_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The cross-entropy over the tokens that have a label."""
        return token_classification_loss(logits, labels, self.config.balanced_class_weights)


@auto_docstring(
    custom_intro="""
    CriticGPT judging whole sequences from the state of the first real token. With `num_labels=1` it is a scorer:
    `logits` are scores in (0, 1), trained by mean squared error towards targets in [0, 1]; with more labels a
    classifier.
    """
)
class CriticGPTForSequenceClassification(CriticGPTClassifier):
    output_class = SequenceClassifierOutput

    def __init__(self, config: CriticGPTConfig):
        super().__init__(config)
        if config.num_labels == 1:
            self.score = SequenceScoreHead(config.hidden_size)
        else:
            self.score = nn.Linear(config.hidden_size, config.num_labels, bias=False)
        self.post_init()

    @can_return_tuple
    @auto_docstring
    def forward(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.LongTensor | None = None,
        inputs_embeds: torch.FloatTensor | None = None,
        labels: torch.Tensor | None = None,
        **kwargs: Unpack[TransformersKwargs],
    ) -> tuple | SequenceClassifierOutput:
        r"""
        labels (`torch.Tensor`, *optional*):
            Scores in [0, 1] of shape `(batch_size,)` with `num_labels=1`; classes `(batch_size,)`, or a 0/1 matrix
            `(batch_size, num_labels)`, otherwise.
        """
        kwargs |= {"position_ids": position_ids, "inputs_embeds": inputs_embeds}
        return self.classify(input_ids, attention_mask, labels, **kwargs)

    def judge(self, states: torch.Tensor, attention_mask: torch.Tensor | None) -> torch.Tensor:
        """Scores or logits `(batch_size, num_labels)` of every sequence."""
        first = 0 if attention_mask is None else first_real_position(attention_mask)
        # Not `len(states)`, which would make the batch size a constant of an exported program.
        return self.score(self.dropout(states[torch.arange(states.shape[0], device=states.device), first]))

    def labelled_loss(self, logits: torch.Tensor, labels: torch.Tensor) -> torch.Tensor:
        """The squared error of scores; of classes the cross-entropy, of a 0/1 matrix the binary one."""
        if self.num_labels == 1:
            return nn.functional.mse_loss(logits.squeeze(-1), labels.to(logits.dtype).view(-1))
        if labels.shape == logits.shape:
            return nn.functional.binary_cross_entropy_with_logits(logits, labels.to(logits.dtype))
        return nn.functional.cross_entropy(logits, labels.view(-1))


__all__ = [
    "CriticGPTForMaskedLM",
    "CriticGPTForSequenceClassification",
    "CriticGPTForTokenClassification",
    "CriticGPTModel",
    "CriticGPTPreTrainedModel",
]
