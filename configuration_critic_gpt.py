# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Configuration of CriticGPT: how big, which heads, which critic. Imports no torch."""

import math
import os
from typing import Any

from transformers.configuration_utils import PreTrainedConfig, strict

from critic_gpt.hub.documents import SAVE_AGAIN, read_object
from critic_gpt.hub.files import replace_file
from critic_gpt.hub.folder import (
    NamedInEveryFolder,
    complete_auto_map,
    complete_pipelines,
    is_remote_code,
    other_pipelines,
    write_source_files,
)
from critic_gpt.hub.legacy_keys import take_legacy_keys
from critic_gpt.hub.moving import finish_moving


CRITIC_TARGET_SCOPES = ("masked_only", "masked_and_ignore", "all")
CRITIC_FILLS = ("multinomial", "argmax")
CRITIC_REGIMES = ("full", "partial", "mixed", "sparse")
CRITIC_HEAD_TYPES = ("linear", "mlp", "odds")
POSITION_EMBEDDING_TYPES = ("rotary", "absolute", "both")

# The largest of each size, far above any model there is: more layers take minutes to make, more of the rest no memory.
_LARGEST = {
    "vocab_size": 2**24,
    "hidden_size": 2**17,
    "intermediate_size": 2**20,
    "num_hidden_layers": 2**10,
    "num_attention_heads": 2**12,
    "max_position_embeddings": 2**24,
    "joint_num_heads": 2**10,
    "joint_head_dim": 2**12,
}
_MOST_WEIGHTS = 10**12
_MOST_LABELS = 2**20


@strict
class CriticGPTConfig(NamedInEveryFolder, PreTrainedConfig):
    r"""
    Configuration of a [`CriticGPTModel`] and its heads. Fields that every Transformers configuration has are not
    repeated here.

    Args:
        vocab_size (`int`, *optional*, defaults to 50304): Size of the vocabulary, special tokens included.
        hidden_size (`int`, *optional*, defaults to 768): Width of the residual stream (alias `n_embd`).
        intermediate_size (`int`, *optional*): Width of the MLP, `4 * hidden_size` if not given.
        num_hidden_layers (`int`, *optional*, defaults to 12): Number of blocks (alias `n_layer`).
        num_attention_heads (`int`, *optional*, defaults to 12): Number of attention heads (alias `n_head`).
        max_position_embeddings (`int`, *optional*, defaults to 1024): Longest sequence (alias `block_size`).
        hidden_act (`str`, *optional*, defaults to `"gelu"`): Activation of the MLP.
        layer_norm_eps (`float`, *optional*, defaults to 1e-5): Added to the variance in every LayerNorm.
        use_bias (`bool`, *optional*, defaults to `False`): Biases in linear layers and LayerNorms (alias `bias`).
        hidden_dropout (`float`, *optional*, defaults to 0.0): Dropout on embeddings and residual branches, in [0, 1).
        attention_dropout (`float`, *optional*, defaults to 0.0): Dropout on attention weights, in [0, 1). The older
            key `dropout` sets both.
        initializer_range (`float`, *optional*, defaults to 0.02): Standard deviation of the initial weights; residual
            projections get `initializer_range / sqrt(2 * num_hidden_layers)` (GPT-2).
        position_embedding_type (`str`, *optional*, defaults to `"rotary"`): `"rotary"` (relative: all positions of a
            canvas of [MASK] look alike), `"absolute"` (learnt) or `"both"`.
        rope_parameters (`dict`, *optional*): Rotary parameters, base 10000 if not given.
        is_causal (`bool`, *optional*, defaults to `False`): `True` hides later positions, as older GPTs do. Masked
            diffusion needs `False`.
        mask_token_id (`int`, *optional*): Id of [MASK]. Needed for the critic and for generation.
        pad_token_id (`int`, *optional*): Id of the padding token. Needs to differ from `mask_token_id`.
        suppressed_token_ids (`list[int]`, *optional*): Ids that are never drawn, beside those two: the other special
            tokens of the tokenizer, such as [UNK] and [CLS]. Set by the trainer where nobody did.
        drawable_vocab_size (`int`, *optional*): How many of the ids are tokens; those from here to `vocab_size` are
            rows without a token, and never drawn. Set by `resize_token_embeddings(..., pad_to_multiple_of=64)`.
        add_critic_head (`bool`, *optional*, defaults to `False`): Whether [`CriticGPTForMaskedLM`] carries a critic
            head: one logit per token, higher = more likely wrong. `False` leaves the model exactly as without it.
        critic_alpha (`float`, *optional*, defaults to 0.5): Weight of the critic's loss, at least 0; `make demo`
            has 0.1 (docs/experiments/training.md).
        critic_target_scope (`str`, *optional*, defaults to `"masked_only"`): Which positions the critic is judged on:
            `"masked_only"` (filled by the model), `"masked_and_ignore"` (and visible unsupervised ones, which are
            right), `"all"` (every position that is not padding, substituted visible tokens included).
        critic_fill (`str`, *optional*, defaults to `"multinomial"`): How masks are filled for the critic:
            `"multinomial"` (a draw from the model's own distribution) or `"argmax"`.
        critic_regime (`str`, *optional*, defaults to `"mixed"`): How many of the masks are filled: `"full"` (all, the
            Token-Critic regime), `"partial"` (a fraction drawn per sequence; teaches judging while masks remain, which
            makes guidance free at generation, the PRISM regime), `"mixed"` (a quarter of the sequences full),
            `"sparse"` (one to four, so that what is judged stands among true tokens).
        critic_fill_exponent (`float`, *optional*, defaults to 1.0): Where a fraction of the masks is filled, it is a
            uniform number raised to this exponent, above 0: on average `1 / (1 + critic_fill_exponent)`. Above 1 few
            masks are filled more often, below 1 many.
        critic_head_type (`str`, *optional*, defaults to `"linear"`): `"linear"`; `"mlp"`: a hidden layer as wide as
            the stream, with `hidden_act`, before the linear layer; `"odds"`: reads beside the states what the language
            model thinks of each token, which costs its logits wherever the critic judges.
        critic_detach (`bool`, *optional*, defaults to `False`): Whether the critic's loss trains its head alone and
            leaves the trunk to the language model's terms.
        correction_alpha (`float`, *optional*, defaults to 0.1): Weight of the second pass's own language-model term:
            cross-entropy of the LM head towards the truth at the filled positions. 0 switches it off.
        remaining_alpha (`float`, *optional*, defaults to 0.0): Weight of a language-model term at the masks that the
            second pass still sees: cross-entropy there, weighted by the inverse of their share of the row, which makes
            it a diffusion bound given the filled input. 0 switches it off; `critic_regime="full"` leaves no masks.
        leave_one_out_alpha (`float`, *optional*, defaults to 0.0): Weight of a language-model term at the filled
            positions: the divergence, in nats, of what the LM head says where it sees the token from what it said
            where it did not. As it falls, the probability of a visible token becomes that of the token given all
            others, which `remasking="accept_reject"` and `remask_by="likelihood"` ask for; with
            `critic_regime="sparse"` all others are true. 0 switches it off.
        add_joint_head (`bool`, *optional*, defaults to `False`): Whether [`CriticGPTForMaskedLM`] carries a joint
            head, by which tokens drawn in one forward pass take account of each other. It learns from the states of
            the trunk and sends nothing back to them. `False` leaves the model exactly as without it.
        joint_num_heads (`int`, *optional*, defaults to 4): Heads of the joint head.
        joint_head_dim (`int`, *optional*, defaults to 16): Width of each, even for rotary positions.
        joint_alpha (`float`, *optional*, defaults to 0.1): Weight of the joint head's loss: cross-entropy at the
            masks, given the true tokens of some others. 0 switches it off.
        regression_scale_init (`float`, *optional*, defaults to 1.0): Initial A of the sequence scorer's
            `sigmoid(A * (w . h) + B)`; B starts at 0.
        balanced_class_weights (`bool`, *optional*, defaults to `False`): Token classification: weigh each class by
            `n_valid / (num_labels * count)` of the batch.
    """

    model_type = "critic_gpt"
    attribute_map = {
        "n_layer": "num_hidden_layers",
        "n_head": "num_attention_heads",
        "n_embd": "hidden_size",
        "block_size": "max_position_embeddings",
        "bias": "use_bias",
    }
    keys_to_ignore_at_inference = [
        "critic_logits",
        "lm_loss",
        "critic_loss",
        "correction_loss",
        "remaining_loss",
        "leave_one_out_loss",
        "joint_loss",
        "lm_token_loss",
        "critic_token_loss",
        "correction_token_loss",
        "remaining_token_loss",
        "leave_one_out_token_loss",
        "joint_token_loss",
        "joint_queries",
        "joint_keys",
        "critic_input_ids",
        "critic_input_logits",
        "critic_target",
        "critic_valid",
    ]
    base_model_tp_plan = {
        "layers.*.self_attn.q_proj": "colwise",
        "layers.*.self_attn.k_proj": "colwise",
        "layers.*.self_attn.v_proj": "colwise",
        "layers.*.self_attn.o_proj": "rowwise",
        "layers.*.mlp.up_proj": "colwise",
        "layers.*.mlp.down_proj": "rowwise",
    }

    vocab_size: int = 50304
    hidden_size: int = 768
    intermediate_size: int | None = None
    num_hidden_layers: int = 12
    num_attention_heads: int = 12
    max_position_embeddings: int = 1024
    hidden_act: str = "gelu"
    layer_norm_eps: float = 1e-5
    use_bias: bool = False
    hidden_dropout: float | int = 0.0
    attention_dropout: float | int = 0.0
    initializer_range: float = 0.02
    position_embedding_type: str = "rotary"
    rope_parameters: dict | None = None
    is_causal: bool = False
    pad_token_id: int | None = None
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = None
    mask_token_id: int | None = None
    suppressed_token_ids: list[int] | None = None
    drawable_vocab_size: int | None = None
    tie_word_embeddings: bool = True
    add_critic_head: bool = False
    critic_alpha: float | int = 0.5
    critic_target_scope: str = "masked_only"
    critic_fill: str = "multinomial"
    critic_regime: str = "mixed"
    critic_fill_exponent: float | int = 1.0
    critic_head_type: str = "linear"
    critic_detach: bool = False
    correction_alpha: float | int = 0.1
    remaining_alpha: float | int = 0.0
    leave_one_out_alpha: float | int = 0.0
    add_joint_head: bool = False
    joint_num_heads: int = 4
    joint_head_dim: int = 16
    joint_alpha: float | int = 0.1
    regression_scale_init: float | int = 1.0
    balanced_class_weights: bool = False

    def __post_init__(self, **kwargs):
        # Aliases arrive here as unknown keys and would be applied only after the derived values below.
        for alias, name in self.attribute_map.items():
            if alias in kwargs:
                setattr(self, name, kwargs.pop(alias))
        for name, value in take_legacy_keys(kwargs).items():
            setattr(self, name, value)
        if self.intermediate_size is None:
            self.intermediate_size = 4 * self.hidden_size
        pipelines = kwargs.pop("custom_pipelines", None)
        self._check_kinds(kwargs, pipelines)
        super().__post_init__(**kwargs)
        self._keep_pipelines(pipelines)

    def _check_kinds(self, kwargs: dict, pipelines: Any) -> None:
        """Of what the parent takes as it comes, that which it would trip over, or make millions of."""
        count = kwargs.get("num_labels", 2)
        if type(count) is not int or not 0 <= count <= _MOST_LABELS:
            raise ValueError(
                f"`num_labels` must be a whole number of at most {_MOST_LABELS:,}, got {count!r:.60}: mend the number."
            )
        given = {**vars(self), **kwargs, "custom_pipelines": pipelines}
        for name in ("id2label", "label2id", "auto_map", "custom_pipelines", "rope_parameters"):
            if not isinstance(given.get(name), (dict, type(None))):
                raise ValueError(f"`{name}` must be an object, got {given[name]!r:.60}: mend it.")

    @classmethod
    def _dict_from_json_file(cls, json_file: str | os.PathLike) -> dict[str, Any]:
        """As the parent's, of bounded size and depth."""
        return read_object(json_file, way_out=SAVE_AGAIN)

    def to_json_file(self, json_file_path: str | os.PathLike, *args, **kwargs) -> None:
        """As the parent's, in one step."""
        replace_file(json_file_path, self.to_json_string(*args, **kwargs))

    def _keep_pipelines(self, present: dict | None) -> None:
        """
        Where the package is, its tasks are registered, and naming them here would make `pipeline` ask for trust;
        where it is not, this is how `pipeline` learns of them.
        """
        pipelines = complete_pipelines(present) if is_remote_code() else other_pipelines(present)
        self.__dict__.pop("custom_pipelines", None)
        if pipelines:
            self.custom_pipelines = pipelines

    def to_dict(self) -> dict[str, Any]:
        """As the parent's, with all classes and pipelines that a model's folder offers, whatever wrote the folder."""
        content = super().to_dict()
        content["auto_map"] = complete_auto_map(content.get("auto_map"))
        content["custom_pipelines"] = complete_pipelines(content.get("custom_pipelines"))
        return content

    def save_pretrained(self, save_directory: str | os.PathLike, push_to_hub: bool = False, **kwargs):
        """As the parent's, and writes the source files that `config.json` names."""
        super().save_pretrained(save_directory)
        write_source_files(save_directory)
        self._keep_pipelines(getattr(self, "custom_pipelines", None))  # a pipeline's `save_pretrained` sets its own
        if push_to_hub:
            repo_id = kwargs.pop("repo_id", None) or os.path.basename(os.path.abspath(save_directory))
            self.push_to_hub(repo_id, **kwargs)

    @classmethod
    def get_config_dict(cls, pretrained_model_name_or_path, **kwargs):
        """As the parent's, after what an interrupted save has left undone. None at all is no model of the defaults."""
        if pretrained_model_name_or_path is not None:
            finish_moving(os.path.join(pretrained_model_name_or_path, kwargs.get("subfolder") or ""))
        content, rest = super().get_config_dict(pretrained_model_name_or_path, **kwargs)
        if not content and pretrained_model_name_or_path is not None:
            where = str(pretrained_model_name_or_path)
            raise OSError(f"`config.json` must describe a model, got none in {where!r}: save or push one there.")
        return content, rest

    @classmethod
    def from_dict(cls, config_dict, **kwargs):
        """As the parent's, which applies `kwargs` after the checks: runs them again."""
        loaded = super().from_dict(config_dict, **kwargs)
        (loaded[0] if isinstance(loaded, tuple) else loaded).validate()
        return loaded

    @property
    def head_dim(self) -> int:
        return self.hidden_size // self.num_attention_heads

    # The checks below are called by `@strict` after construction and after every load.

    def validate_architecture(self):
        """Checks sizes and names of the trunk."""
        self._check_sizes()
        if self.hidden_size % self.num_attention_heads != 0:
            raise ValueError(
                f"`hidden_size` must be a multiple of `num_attention_heads` ({self.num_attention_heads}), got "
                f"{self.hidden_size}: change one of the two."
            )
        if self.position_embedding_type != "absolute" and self.head_dim % 2 != 0:
            raise ValueError(
                f"`hidden_size / num_attention_heads` must be even for rotary positions, got {self.head_dim}: change "
                'one of the two or set `position_embedding_type="absolute"`.'
            )
        _one_of("position_embedding_type", self.position_embedding_type, POSITION_EMBEDDING_TYPES)
        if not 0.0 < self.layer_norm_eps <= 1.0:
            raise ValueError(f"`layer_norm_eps` must be in (0, 1], got {self.layer_norm_eps}: 1e-5 is usual.")
        if not 0.0 <= self.initializer_range < math.inf:
            raise ValueError(
                f"`initializer_range` must be a finite number of at least 0, got {self.initializer_range}: 0.02 is "
                "usual."
            )
        for name in ("hidden_dropout", "attention_dropout"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise ValueError(f"`{name}` must be in [0, 1), got {getattr(self, name)}: give a share, such as 0.1.")

    def _check_sizes(self):
        """Refuses, before anything is made, none at all and what no machine holds: a file may say any number."""
        for name, largest in _LARGEST.items():
            value = getattr(self, name)
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}: give a positive number.")
            if value > largest:
                given = f"{value:,}" if value < 10**15 else "far more"
                raise ValueError(
                    f"`{name}` must be at most {largest:,}, got {given}: give a smaller number, or mend config.json."
                )
        width = self.hidden_size
        size = self.num_hidden_layers * width * (4 * width + 2 * (self.intermediate_size or 0))
        size += width * (self.vocab_size + self.max_position_embeddings)
        if size > _MOST_WEIGHTS:
            raise ValueError(
                f"`num_hidden_layers`, `hidden_size` and the other sizes must make at most {_MOST_WEIGHTS:,} weights, "
                f"got {size:,}: make one smaller, or mend config.json."
            )

    def validate_token_ids(self):
        """Checks that the special tokens lie inside the vocabulary and apart."""
        for name in ("mask_token_id", "pad_token_id", "bos_token_id", "eos_token_id", "suppressed_token_ids"):
            value = getattr(self, name)
            for token in value if isinstance(value, list) else [value]:
                if token is not None and not 0 <= token < self.vocab_size:
                    raise ValueError(
                        f"`{name}` must be in [0, vocab_size = {self.vocab_size}), got {value}: take it from the "
                        "tokenizer and set `vocab_size=len(tokenizer)`."
                    )
        if self.drawable_vocab_size is not None and not 1 <= self.drawable_vocab_size <= self.vocab_size:
            raise ValueError(
                f"`drawable_vocab_size` must be in [1, vocab_size = {self.vocab_size}], got "
                f"{self.drawable_vocab_size}: set it to `len(tokenizer)`."
            )
        if self.mask_token_id is not None and self.mask_token_id == self.pad_token_id:
            raise ValueError(
                f"`pad_token_id` must differ from `mask_token_id`, got {self.pad_token_id} for both: add a padding "
                "token of its own to the tokenizer."
            )

    def validate_critic(self):
        """Checks the fields of the critic."""
        _one_of("critic_target_scope", self.critic_target_scope, CRITIC_TARGET_SCOPES)
        _one_of("critic_fill", self.critic_fill, CRITIC_FILLS)
        _one_of("critic_regime", self.critic_regime, CRITIC_REGIMES)
        _one_of("critic_head_type", self.critic_head_type, CRITIC_HEAD_TYPES)
        if not 0.0 < self.critic_fill_exponent < math.inf:
            raise ValueError(
                f"`critic_fill_exponent` must be a finite number above 0, got {self.critic_fill_exponent}: 1 fills "
                "every share alike."
            )
        for name, neutral in (("remaining_alpha", 0), ("critic_fill_exponent", 1)):
            if self.critic_regime == "full" and getattr(self, name) != neutral:
                raise ValueError(
                    f'`{name}` must be {neutral} with `critic_regime="full"`, which fills every mask, got '
                    f'{getattr(self, name)}: choose `critic_regime="mixed"`, or leave it out.'
                )
        if self.critic_regime == "sparse" and self.critic_fill_exponent != 1:
            raise ValueError(
                '`critic_fill_exponent` must be 1 with `critic_regime="sparse"`, which fills a number of masks, not a '
                f"share of them, got {self.critic_fill_exponent}: leave it out."
            )

    def validate_loss_weights(self):
        """Checks the weights of the terms of the loss."""
        for name in ("critic_alpha", "correction_alpha", "remaining_alpha", "leave_one_out_alpha", "joint_alpha"):
            if not 0.0 <= getattr(self, name) < math.inf:
                raise ValueError(
                    f"`{name}` must be a finite number of at least 0, got {getattr(self, name)}: 0 switches the term "
                    "off."
                )

    def validate_joint_head(self):
        """Checks the fields of the joint head."""
        if self.position_embedding_type == "rotary" and self.joint_head_dim % 2 != 0:
            raise ValueError(
                f"`joint_head_dim` must be even for rotary positions, got {self.joint_head_dim}: add one, or set "
                '`position_embedding_type="absolute"`.'
            )


def _one_of(name: str, value: str, allowed: tuple[str, ...]) -> None:
    if value not in allowed:
        raise ValueError(f"`{name}` must be one of {', '.join(allowed)}, got {value!r}: choose one of these.")


__all__ = ["CriticGPTConfig"]
