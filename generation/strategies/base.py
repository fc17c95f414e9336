# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a strategy of generation is: what it accepts, its defaults, what it needs, what it costs, its step.

Letters: B batch, T positions.
"""

from typing import Any, ClassVar, NamedTuple

import torch
from transformers.generation import GenerationConfig

from critic_gpt.generation.run import DenoisingRun, StepOutcome


SCORE_ARGUMENTS = ("error_threshold", "randomness_strength", "remask_selection", "selection_temperature")
UNMASKING_ARGUMENTS = ("unmasking", "schedule", "entropy_bound", "confidence_threshold", "token_draws")
# Fields of the generation configuration that mean something to some strategies only.
STRATEGY_ARGUMENTS = (
    *UNMASKING_ARGUMENTS,
    "remask_per_step",
    "remask_by",
    "remask_floor",
    "start_ratio",
    "end_ratio",
    *SCORE_ARGUMENTS,
    "correction",
    "polish_steps",
    "polish_threshold",
    "stop_when_expected_errors_below",
    "remdm_eta",
    "loop_start",
    "loop_end",
    "loop_visible",
    "corrector_interval",
    "corrector_steps",
    "corrector_temperature",
)
SCORE_DEFAULTS = {"randomness_strength": 0.0, "remask_selection": "worst", "selection_temperature": 1.0}
# What says of a field without meaning what is the case anyway.
HARMLESS = {**SCORE_DEFAULTS, "token_draws": "independent", "remask_floor": 0.0, "polish_steps": 0}
# Orders of unmasking that themselves decide how many tokens a step reveals.
ADAPTIVE_UNMASKING = ("entropy_bound", "confidence_threshold")


class Condition(NamedTuple):
    """A field means something only where another one has a value; `otherwise` says what is the case without it."""

    field: str
    holds: Any  # a function of the other field's value
    otherwise: str
    way_out: str


CONDITIONS = {
    "selection_temperature": Condition(
        "remask_selection",
        lambda value: value == "gumbel",
        "where the worst tokens are taken",
        'set `remask_selection="gumbel"`',
    ),
    "entropy_bound": Condition(
        "unmasking",
        lambda value: value == "entropy_bound",
        "for another order of unmasking",
        'set `unmasking="entropy_bound"`',
    ),
    "confidence_threshold": Condition(
        "unmasking",
        lambda value: value == "confidence_threshold",
        "for another order of unmasking",
        'set `unmasking="confidence_threshold"`',
    ),
    "schedule": Condition(
        "unmasking",
        lambda value: value not in ADAPTIVE_UNMASKING,
        "beside an `unmasking` that itself decides how many tokens a step reveals",
        "choose another order of unmasking",
    ),
    "remask_floor": Condition(
        "correction",
        lambda value: value != "replace",
        "where wrong tokens are replaced at once, which takes better odds than even",
        'set `correction="auto"`',
    ),
    "polish_threshold": Condition(
        "polish_steps", lambda value: bool(value), "without steps of polishing", "set `polish_steps`"
    ),
}


class Strategy:
    """
    One way of denoising. A class declares, an instance serves one call of `generate` and makes its steps. Every
    attribute of an instance that is a tensor has one row a sequence, since finished sequences leave the batch.

    Class attributes:
        name (`str`): Its value of `remasking`.
        family (`str`): Its kind in words, for errors.
        accepts (`tuple[str]`): Those of `STRATEGY_ARGUMENTS` that mean something to it.
        defaults (`dict`): Values of accepted fields that nobody set.
        harmless (`dict`): Values that say of a field without meaning what is the case anyway.
        unused_beside_threshold (`tuple[str]`): Accepted fields that mean nothing once `error_threshold` is set.
        needs_critic, needs_external, needs_correction (`bool`): Whether it works with a critic head, a
            `remasking_model`, a model trained to correct its own fillings (`correction_alpha`) only.
        draws_jointly (`bool`): Whether a trained joint head draws its tokens unless told otherwise.
        places_by_chance (`bool`): Whether it masks again, or reveals, where chance says.
        passes_per_step (`int`): Forward passes of the trunk a step, the last one excepted, which needs a single one.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    accepts: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[dict[str, Any]] = {}
    harmless: ClassVar[dict[str, Any]] = HARMLESS
    unused_beside_threshold: ClassVar[tuple[str, ...]] = ()
    needs_critic: ClassVar[bool] = False
    needs_external: ClassVar[bool] = False
    needs_correction: ClassVar[bool] = False
    draws_jointly: ClassVar[bool] = False
    places_by_chance: ClassVar[bool] = False
    passes_per_step: ClassVar[int] = 1

    def __init__(self, run: DenoisingRun):
        self.run = run
        self.num_steps = run.config.num_steps
        self.last_step = self.num_steps - 1
        self.editable = run.canvas.editable
        self.total = self.editable.sum(dim=-1)  # (B,) what may change
        self.nothing = torch.zeros_like(self.editable)

    def step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        """Makes denoising step number `step` on the tokens (B, T)."""
        raise NotImplementedError

    def keep(self, going: torch.Tensor) -> None:
        """Goes on with the rows where `going` (B,) alone."""
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(self, name, value[going])

    @classmethod
    def forward_passes(cls, num_steps: int, config: GenerationConfig) -> int:
        """
        How many passes of the trunk a sequence takes at most; fewer only where it may stop early.

        Args:
            num_steps (`int`): Denoising steps.
            config ([`CriticGPTGenerationConfig`]): Complete, as `model.resolve_generation_config` gives it.
        """
        return (cls.passes_per_step * (num_steps - 1) + 1) * (config.num_candidates or 1)

    @classmethod
    def steps_within(cls, budget: int, config: GenerationConfig) -> int | None:
        """The most denoising steps whose forward passes a sequence do not exceed `budget`; `None` if not even one."""
        steps, most = 0, budget
        while steps < most:  # passes grow with steps
            middle = (steps + most + 1) // 2
            if cls.forward_passes(middle, config) <= budget:
                steps = middle
            else:
                most = middle - 1
        return steps or None

    @classmethod
    def _value(cls, config: GenerationConfig, name: str) -> Any:
        """What a field will come down to."""
        value = getattr(config, name)
        return cls.defaults.get(name) if value is None and name in cls.accepts else value

    @classmethod
    def _means_something(cls, config: GenerationConfig, name: str) -> bool:
        condition = CONDITIONS.get(name)
        if condition is None or condition.field not in cls.accepts:
            return True
        return condition.holds(cls._value(config, condition.field))

    @classmethod
    def _matters(cls, name: str, value: Any) -> bool:
        return value != cls.harmless.get(name)

    @classmethod
    def check(
        cls,
        config: GenerationConfig,
        explicit: set[str],
        *,
        critic: bool,
        external: bool,
        correction: bool = True,
        joint: bool = False,
    ) -> None:
        """
        Refuses what contradicts the strategy.

        Args:
            config ([`CriticGPTGenerationConfig`]): The settings.
            explicit (`set[str]`): Fields that the call itself set; the others give way silently.
            critic, external, correction, joint (`bool`): Whether there are a critic head, a `remasking_model`,
                training on the model's own fillings, and a trained joint head.
        """
        if cls.needs_critic and not critic:
            raise ValueError(
                f"`remasking` must not be {cls.name!r} for a model without a critic head (`add_critic_head=False`), "
                f'got {cls.name!r}: choose "confidence" or "none", or train a critic.'
            )
        if cls.needs_correction and not correction:
            raise ValueError(
                f"`remasking` must not be {cls.name!r} for a model that was not trained to correct its own fillings, "
                f'got {cls.name!r}: choose "none", or train with a critic head and a `correction_alpha` above 0.'
            )
        if cls.needs_external and not external:
            raise ValueError(
                f'`remasking_model` must be given for `remasking="{cls.name}"`, got None: pass a callable.'
            )
        for name in STRATEGY_ARGUMENTS:
            if name in explicit and cls._matters(name, getattr(config, name)):
                cls._check_field(config, name)
        if config.token_draws == "joint" and "token_draws" in cls.accepts and not joint:
            raise ValueError(
                "`token_draws` must be independent for a model without a trained joint head, got 'joint': train one "
                "with `add_joint_head=True`, or leave it out."
            )

    @classmethod
    def _check_field(cls, config: GenerationConfig, name: str) -> None:
        """Refuses a field that the call set though it means nothing here."""
        value, condition = getattr(config, name), CONDITIONS.get(name)
        if name not in cls.accepts:
            raise ValueError(
                f"`{name}` has no meaning for `remasking={cls.name!r}`, a {cls.family} strategy, got {value!r}: "
                "leave it out, or name another strategy in `remasking`."
            )
        if config.error_threshold is not None and name in cls.unused_beside_threshold:
            raise ValueError(
                f"`{name}` has no meaning beside `error_threshold={config.error_threshold}` where all masks are "
                f"filled, got {value!r}: give one of the two."
            )
        if not cls._means_something(config, name):
            raise ValueError(
                f"`{name}` has no meaning {condition.otherwise}, got {value!r}: {condition.way_out}, or leave it out."
            )

    @classmethod
    def complete(cls, config: GenerationConfig) -> None:
        """Sets its defaults in `config`, in place, and takes out what means nothing to it."""
        threshold = config.error_threshold if "error_threshold" in cls.accepts else None
        unused = () if threshold is None else cls.unused_beside_threshold
        for name in STRATEGY_ARGUMENTS:
            if name not in cls.accepts or name in unused or not cls._means_something(config, name):
                setattr(config, name, cls.harmless.get(name))
            elif getattr(config, name) is None:
                setattr(config, name, cls.defaults.get(name))
