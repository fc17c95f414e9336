# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a strategy of generation is: the settings it takes, what it needs, what it costs, its step. And the registry.

Letters: B batch, T positions.
"""

import inspect
from typing import Any, ClassVar

import torch
from transformers.generation import GenerationConfig

from critic_gpt.generation.declarations import SETTINGS, STRATEGIES, strategy_settings
from critic_gpt.generation.outcomes import StepOutcome
from critic_gpt.generation.run import DenoisingRun
from critic_gpt.generation.values import Setting


# What a strategy takes that chooses by scores which tokens are re-masked.
CHOICE_BY_SCORE: dict[str, Any] = {
    "error_threshold": None,
    "randomness_strength": 0.0,
    "remask_selection": "worst",
    "selection_temperature": 1.0,
}


class Strategy:
    """
    One way of denoising. A class declares, an instance serves one call of `generate` and makes its steps. Every
    attribute of an instance that is a tensor has one row per sequence, since finished sequences leave the batch.

    Class attributes:
        name (`str`): Its value of `remasking`.
        family (`str`): Its kind in words, for errors.
        takes (`dict`): The settings that mean something to it, of those that some strategies have only, each with its
            default; `None` where it may stay unset.
        takes_for_many (`dict`): Other defaults, of these and of `temperature` and its end, where many answers are
            right (`answers="many"`).
        settings (`tuple[Setting]`): Settings of its own, which nobody declared before.
        harmless (`dict`): Values that say of a setting without meaning what is the case anyway, where they are others
            than the declared ones.
        unused_beside_threshold (`tuple[str]`): Of those it takes the ones that mean nothing once `error_threshold` is
            set.
        needs_critic, needs_external, needs_correction (`bool`): Whether it works with a critic head, a
            `remasking_model`, a model trained to correct its own fillings (`correction_alpha`) only.
        draws_jointly (`bool`): Whether a trained joint head draws its tokens unless told otherwise.
        places_by_chance (`bool`): Whether it re-masks, or reveals, where chance says.
        passes_per_step (`int`): Forward passes of the trunk per step, but for the last one, which needs a single one.
        asks_where (`bool`): Whether it says of each prediction where it wants it (`where`), and asks for nothing else:
            passes over large canvases then leave out the logits. Not inherited, since a subclass may look elsewhere.
    """

    name: ClassVar[str]
    family: ClassVar[str] = "user-defined"
    takes: ClassVar[dict[str, Any]] = {}
    takes_for_many: ClassVar[dict[str, Any]] = {}
    settings: ClassVar[tuple[Setting, ...]] = ()
    harmless: ClassVar[dict[str, Any]] = {}
    unused_beside_threshold: ClassVar[tuple[str, ...]] = ()
    needs_critic: ClassVar[bool] = False
    needs_external: ClassVar[bool] = False
    needs_correction: ClassVar[bool] = False
    draws_jointly: ClassVar[bool] = False
    places_by_chance: ClassVar[bool] = False
    passes_per_step: ClassVar[int] = 1
    asks_where: ClassVar[bool] = False

    def __init_subclass__(cls, **kwargs):
        super().__init_subclass__(**kwargs)
        cls.asks_where = vars(cls).get("asks_where", False)

    def __init__(self, run: DenoisingRun):
        self.run = run
        run.passes.asks_where = self.asks_where
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
        """The most denoising steps whose passes per sequence do not exceed `budget`; `None` if not even one."""
        steps, most = 0, budget
        while steps < most:  # passes grow with steps
            middle = (steps + most + 1) // 2
            if cls.forward_passes(middle, config) <= budget:
                steps = middle
            else:
                most = middle - 1
        return steps or None

    @classmethod
    def value_of(cls, config: GenerationConfig, name: str) -> Any:
        """What a setting that it takes will come down to."""
        value = getattr(config, name)
        return cls.default_of(config, name) if value is None else value

    @classmethod
    def default_of(cls, config: GenerationConfig, name: str) -> Any:
        """The default of a setting, as many answers as are right."""
        family = cls.takes_for_many if config.answers == "many" else {}
        return family.get(name, cls.takes.get(name, SETTINGS[name].default))

    @classmethod
    def stands_for(cls, name: str) -> Any:
        """The value of a setting without meaning that says what is the case anyway."""
        return cls.harmless.get(name, SETTINGS[name].harmless)

    @classmethod
    def means_something(cls, config: GenerationConfig, name: str) -> bool:
        """Whether a setting that it takes has a meaning beside the others."""
        condition = SETTINGS[name].condition
        if condition is None or condition.setting not in cls.takes:
            return True
        return condition.holds(cls.value_of(config, condition.setting))

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
        for name in strategy_settings():
            if name in explicit and getattr(config, name) != cls.stands_for(name):
                cls._check_setting(config, name)
        if config.token_draws == "joint" and "token_draws" in cls.takes and not joint:
            raise ValueError(
                "`token_draws` must be independent for a model without a trained joint head, got 'joint': train one "
                "with `add_joint_head=True`, or leave it out."
            )

    @classmethod
    def _check_setting(cls, config: GenerationConfig, name: str) -> None:
        """Refuses a setting of the call that means nothing here."""
        value, condition = getattr(config, name), SETTINGS[name].condition
        if name not in cls.takes:
            raise ValueError(
                f"`{name}` has no meaning for `remasking={cls.name!r}`, a {cls.family} strategy, got {value!r}: "
                "leave it out, or name another strategy in `remasking`."
            )
        if config.error_threshold is not None and name in cls.unused_beside_threshold:
            raise ValueError(
                f"`{name}` has no meaning beside `error_threshold={config.error_threshold}` where all masks are "
                f"filled, got {value!r}: give one of the two."
            )
        if condition is not None and not cls.means_something(config, name):
            raise ValueError(
                f"`{name}` has no meaning {condition.otherwise}, got {value!r}: {condition.way_out}, or leave it out."
            )

    @classmethod
    def complete(cls, config: GenerationConfig) -> None:
        """Sets its defaults in `config`, in place, and takes out what means nothing to it."""
        threshold = config.error_threshold if "error_threshold" in cls.takes else None
        unused = () if threshold is None else cls.unused_beside_threshold
        for name in strategy_settings():
            if name not in cls.takes or name in unused or not cls.means_something(config, name):
                setattr(config, name, cls.stands_for(name))
            elif getattr(config, name) is None:
                setattr(config, name, cls.default_of(config, name))
        if config.temperature is None:  # else what was said counts from the first to the last token
            config.temperature = cls.default_of(config, "temperature")
            if config.temperature_end is None:
                config.temperature_end = cls.default_of(config, "temperature_end")


def register_strategy(strategy: type[Strategy]) -> type[Strategy]:
    """
    Makes a strategy known by its `name`: to `generate(remasking=name)`, to the generation configuration, to pipelines
    and, with `--strategy_module`, to the scripts. Serves as a decorator.

    A model that was loaded with `trust_remote_code=True` runs the code of its own folder, and knows the strategies
    that were registered there.

    Args:
        strategy (`type[Strategy]`): A subclass of [`Strategy`] with a `name` of its own, and the settings it `takes`.
            A class defined anew, as by running a cell of a notebook twice, takes the place of the old one.

    Returns:
        `type[Strategy]`: The same class.

    Raises:
        `ValueError`: It is no strategy, has no name, or one that another class has; or it takes settings that nobody
            declared, or declares one that is there.
    """
    if not (inspect.isclass(strategy) and issubclass(strategy, Strategy)):
        raise ValueError(
            f"`strategy` must be a subclass of Strategy, got {strategy!r}: derive one from Strategy, or from a "
            "strategy that comes near."
        )
    name = getattr(strategy, "name", None)
    if not isinstance(name, str) or not name:
        raise ValueError(
            f"`name` of {strategy.__name__} must be the text that `remasking` names it by, got {name!r}: give it one."
        )
    known = STRATEGIES.get(name)
    if name == "auto" or (known is not None and not _same_class(known, strategy)):
        owner = "the choice among all" if known is None else f"{known.__module__}.{known.__qualname__}"
        raise ValueError(
            f"`name` of {strategy.__name__} must be one that no other strategy has, got {name!r}, which is {owner}: "
            "give it another."
        )
    own = {setting.name: setting for setting in strategy.settings}
    earlier = set() if known is None else {setting.name for setting in known.settings}
    for setting in own:
        if setting in SETTINGS and setting not in earlier:
            raise ValueError(
                f"`settings` of {strategy.__name__} must be new ones, got {setting!r}, which is declared already: put "
                "it into `takes`, or give it another name."
            )
    for setting in {*strategy.takes, *strategy.harmless, *strategy.unused_beside_threshold}:
        if setting not in own and not (setting in SETTINGS and SETTINGS[setting].of_strategies):
            raise ValueError(
                f"`takes` of {strategy.__name__} must name settings of strategies, got {setting!r}: declare it in "
                f"`settings`, or take some of {', '.join(strategy_settings())}."
            )
    SETTINGS.update(own)
    STRATEGIES[name] = strategy
    return strategy


def _same_class(one: type, other: type) -> bool:
    """Whether a class is the other one, or its definition run again."""
    return (one.__module__, one.__qualname__) == (other.__module__, other.__qualname__)
