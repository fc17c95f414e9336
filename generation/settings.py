# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a call of `generate` means: defaults, precedence, the strategy, and what is refused."""

import copy
import inspect
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch import nn
from transformers import PreTrainedConfig, PreTrainedModel
from transformers.utils import logging

from critic_gpt.backbones.description import Backbone
from critic_gpt.diffusion.selection import resolve_remasking
from critic_gpt.generation.configuration import CriticGPTGenerationConfig
from critic_gpt.generation.declarations import SETTINGS, STRATEGIES
from critic_gpt.generation.strategies.base import Strategy
from critic_gpt.hub.folder import location_of


logger = logging.get_logger(__name__)


class ResolvedSettings(NamedTuple):
    """What a call comes down to: complete settings, and the strategy they name."""

    config: CriticGPTGenerationConfig
    strategy: type[Strategy]


class GenerationSettingsMixin:
    """Resolves the settings of `generate` for a model."""

    # Of the model that it is a part of.
    config: PreTrainedConfig
    critic_head: nn.Module | None
    generate: Callable[..., Any]
    if TYPE_CHECKING:  # read-only, which an attribute would not say

        @property
        def has_trained_critic(self) -> bool: ...

        @property
        def has_trained_joint_head(self) -> bool: ...

    @property
    def backbone(self) -> Backbone:
        """What is under the model's heads, as the rest of the package sees it."""
        return Backbone.of(self.config)

    def resolve_generation_config(
        self,
        generation_config: CriticGPTGenerationConfig | None = None,
        remasking_model: Any | None = None,
        **kwargs,
    ) -> CriticGPTGenerationConfig:
        """
        The settings that `generate` would use: complete, with the strategy that `remasking="auto"` comes down to.
        Passed to `generate`, they give the same result again.

        Args:
            generation_config ([`CriticGPTGenerationConfig`], *optional*): Takes the place of the model's own.
            remasking_model (*optional*): As for `generate`; all that counts is whether there is one.
            kwargs: Fields of [`CriticGPTGenerationConfig`], as for `generate`.

        Returns:
            [`CriticGPTGenerationConfig`].
        """
        return resolve_settings(self, generation_config, kwargs, remasking_model).config

    def adjust_generation_fn(
        self, generation_config, from_auto_class, from_pipeline, pretrained_model_name_or_path, **kwargs
    ) -> None:
        """Called by `from_pretrained`: takes the configuration passed to it, else the one beside the weights."""
        if generation_config is not None:
            self.generation_config = copy.deepcopy(generation_config)
        elif pretrained_model_name_or_path is not None:
            try:
                self.generation_config = CriticGPTGenerationConfig.from_pretrained(
                    pretrained_model_name_or_path,
                    _from_auto=from_auto_class,
                    _from_pipeline=from_pipeline,
                    **location_of(kwargs),
                )
            except OSError:
                logger.info(f"No generation_config.json in {pretrained_model_name_or_path}: the defaults are used.")


def resolve_settings(
    model: GenerationSettingsMixin,
    generation_config: CriticGPTGenerationConfig | None,
    kwargs: dict[str, Any],
    remasking_model: Callable | None,
    input_ids: torch.Tensor | None = None,
    protected_mask: torch.Tensor | None = None,
) -> ResolvedSettings:
    """What a call of `model.generate` with these arguments comes down to; refuses what contradicts itself."""
    config, explicit = _merged(model, generation_config, _of_one_text(kwargs))
    holes = input_ids is not None and bool((input_ids == config.mask_token_id).any())
    if holes or protected_mask is not None:
        _leave_the_canvas_alone(config, explicit)
    external = remasking_model is not None
    if external and config.remasking not in ("auto", "external"):
        raise ValueError(
            f'`remasking_model` is for `remasking="external"`, got {config.remasking!r}: drop one of the two.'
        )
    config.remasking = resolve_remasking(config.remasking, external=external, critic=_has_critic_to_use(model))
    strategy = STRATEGIES[config.remasking]
    critic, joint = model.critic_head is not None, model.has_trained_joint_head
    correction = bool(model.config.correction_alpha) and critic
    strategy.check(config, explicit, critic=critic, external=external, correction=correction, joint=joint)
    if config.token_draws is None and joint and strategy.draws_jointly:
        config.token_draws = "joint"
    strategy.complete(config)
    if config.temperature is None:  # a strategy from outside may complete nothing
        config.temperature = strategy.default_of(config, "temperature")
    config.validate()  # again: what the call says may contradict a default
    _check_parts(model, config, explicit)
    _check_candidates(model, config, strategy)
    return ResolvedSettings(config, strategy)


def _of_one_text(kwargs: dict[str, Any]) -> dict[str, Any]:
    """The arguments of a call without the `token_type_ids` that tokenizers of BERT's kind add, which say nothing."""
    types = kwargs.get("token_type_ids")
    if types is not None and bool(torch.as_tensor(types).any()):
        raise ValueError(
            "`token_type_ids` must be 0 in generation, since a canvas holds one text, got others: join the texts, or "
            "leave them out."
        )
    return {name: value for name, value in kwargs.items() if name != "token_type_ids"}


def _leave_the_canvas_alone(config: CriticGPTGenerationConfig, explicit: set[str]) -> None:
    """Sets aside, in place, what the model's own settings say of prefixes: the input says itself what stands where."""
    if "max_new_tokens" not in explicit:
        config.max_new_tokens = None
    if "seed_placement" in explicit and config.seed_placement != "prefix":
        raise ValueError(
            f"`seed_placement` is for inputs without [MASK], got {config.seed_placement!r} for an input that says "
            "itself what stands where: leave it out."
        )
    config.seed_placement = "prefix"


def _merged(
    model: GenerationSettingsMixin, generation_config: CriticGPTGenerationConfig | None, kwargs: dict[str, Any]
) -> tuple[CriticGPTGenerationConfig, set[str]]:
    """Call over passed configuration over the model's own over defaults; and which fields this call set itself."""
    unknown = {k: v for k, v in kwargs.items() if k not in CriticGPTGenerationConfig._FIELDS}
    if unknown:
        own = set(inspect.signature(model.generate).parameters) - {"kwargs"}
        CriticGPTGenerationConfig.refuse_unknown(unknown, also=tuple(sorted(own)))
    if not isinstance(generation_config, (CriticGPTGenerationConfig, type(None))):
        raise ValueError(
            "`generation_config` must be a CriticGPTGenerationConfig, got a "
            f"{type(generation_config).__name__}: write `CriticGPTGenerationConfig(num_steps=64)`."
        )
    explicit = {name for name, value in kwargs.items() if value is not None}
    if generation_config is not None:
        explicit |= {n for n in CriticGPTGenerationConfig._FIELDS if getattr(generation_config, n, None) is not None}
    config = copy.deepcopy(generation_config or model.generation_config)
    for one, setting in SETTINGS.items():
        if setting.clash is not None and setting.clash.replaces:
            for name, other in ((one, setting.clash.other), (setting.clash.other, one)):
                # What is the case anyway excludes nothing.
                says = kwargs.get(name) not in (None, SETTINGS[name].harmless)
                if says and other not in explicit:
                    setattr(config, other, None)
    config.update(**{k: v for k, v in kwargs.items() if v is not None})
    defaults = CriticGPTGenerationConfig._get_default_generation_params()
    tokens = ("mask_token_id", "pad_token_id", "bos_token_id", "eos_token_id")
    defaults.update({name: getattr(model.config, name, None) for name in tokens})
    for name, value in defaults.items():
        # How warm tokens are drawn depends on the strategy where many answers are right.
        if name != "temperature" and getattr(config, name) is None:
            setattr(config, name, value)
    config.validate()
    _check_token_ids(model, config)
    if kwargs.get("eos_token_id") is not None and config.pad_token_id is None:
        raise ValueError(
            "`eos_token_id` needs a `pad_token_id`, by which all that follows is replaced, got "
            f"{config.eos_token_id} without one: give both, or leave it out."
        )
    return config, explicit


def _check_token_ids(model: GenerationSettingsMixin, config: CriticGPTGenerationConfig) -> None:
    if config.mask_token_id is None:
        raise ValueError(
            "`mask_token_id` must be set to generate, got None: set it in the model's configuration, from the "
            "tokenizer's `mask_token_id`."
        )
    size = Backbone.of(model.config).vocab_size
    for name in ("mask_token_id", "pad_token_id", "eos_token_id"):
        value = getattr(config, name)
        ids = value if isinstance(value, (list, tuple)) else [value]
        if not all(token is None or 0 <= token < size for token in ids):
            raise ValueError(
                f"`{name}` must be in [0, vocab_size = {size}), got {value}: take it from the "
                "tokenizer the model was trained with."
            )


def _check_parts(model: GenerationSettingsMixin, config: CriticGPTGenerationConfig, explicit: set[str]) -> None:
    """Refuses what the call says of blocks and caches where it means nothing; of a stored configuration, drops it."""
    takes, head = Backbone.of(model.config).takes_cache, getattr(model.critic_head, "reads_opinions", False)
    reasons = {
        "cache_implementation": (
            not takes and f"for a {type(model).__name__}, whose passes take no keys and values of earlier ones",
            head and "for a critic that reads the odds of tokens, and with them the share of masks in the whole text",
        ),
        "cache_refresh_interval": (config.cache_implementation is None and "without a `cache_implementation`",),
        "revision_threshold": (config.block_length is None and "without a `block_length`",),
    }
    for name, found in reasons.items():
        reason = next((one for one in found if one), None)
        if reason is None or getattr(config, name) is None:
            continue
        if name in explicit:
            raise ValueError(f"`{name}` has no meaning {reason}, got {getattr(config, name)!r}: leave it out.")
        setattr(config, name, None)


def _check_candidates(
    model: GenerationSettingsMixin, config: CriticGPTGenerationConfig, strategy: type[Strategy]
) -> None:
    """Refuses candidates that nobody can choose among."""
    if config.num_candidates == 1:
        return
    if not model.has_trained_critic:
        raise ValueError(
            f"`num_candidates` must be 1 for a model without a trained critic, got {config.num_candidates}: train "
            "one, which is to say which candidate is best."
        )
    chance = strategy.places_by_chance or config.unmasking == "random" or config.remask_selection == "gumbel"
    if config.temperature == 0 and not (chance or config.randomness_strength or config.corrector_temperature):
        logger.warning_once(
            f"`num_candidates={config.num_candidates}` gives so many copies of one candidate, since nothing is "
            "left to chance at `temperature=0`: raise it."
        )


def _has_critic_to_use(model: GenerationSettingsMixin) -> bool:
    if model.critic_head is None:
        return False
    if not model.has_trained_critic:
        logger.warning_once("The critic head has not been trained: train it before it can guide generation.")
        return False
    return True


def check_reads_our_tokens(model: PreTrainedModel, name: str, judge: Callable | None, length: int) -> None:
    """Refuses a model that judges tokens of another vocabulary, or shorter sequences; a function may do as it
    likes."""
    if not isinstance(judge, PreTrainedModel):
        return
    mine, its = model.config, judge.config
    mask_id = getattr(its, "mask_token_id", None)
    size, its_size = Backbone.of(mine).vocab_size, Backbone.of(its).vocab_size
    if its_size != size or mask_id not in (None, mine.mask_token_id):
        raise ValueError(
            f"`{name}` must have the vocabulary of the model it judges, {size} tokens with [MASK] "
            f"{mine.mask_token_id}, got {its_size} with [MASK] {mask_id}: train it with the same tokenizer."
        )
    longest = Backbone.of(its).max_sequence_length
    if longest is not None and longest < length:
        raise ValueError(
            f"`{name}` must take sequences of {length} tokens, got a model for {longest}: generate shorter ones, "
            "or choose another judge."
        )
