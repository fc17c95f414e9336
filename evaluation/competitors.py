# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Who competes in a comparison of ways of generating, and with which settings: arguments of `generate` by name.

All draw tokens at temperature 1 unless a strategy's own default is another one. Where each method comes from stands
with its class (`generation/strategies`).
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

from critic_gpt.diffusion.names import HALF, SCHEDULES
from critic_gpt.generation.declarations import ANSWERS
from critic_gpt.generation.strategies.registry import STRATEGIES


Arguments = Mapping[str, Any]

# Ours, which pictures show in front.
OURS = "critic"
# What is ours, which tables print in bold.
OWN = (OURS, "critic_many", "backtrack")
# What is compared by default: the order of unmasking alone, and the critic on top of it.
DEFAULT_COMPETITORS: dict[str, Arguments] = {
    "random": {"unmasking": "random", "remasking": "none"},
    "confidence": {"unmasking": "confidence", "remasking": "none"},
    "critic": {"remasking": "critic"},
}
# Everybody: orders without re-masking, then re-masking without and with a trained judge, ours last.
SHOOT_OUT: dict[str, Arguments] = {
    "random": DEFAULT_COMPETITORS["random"],
    "confidence": DEFAULT_COMPETITORS["confidence"],
    "entropy": {"unmasking": "entropy", "remasking": "none"},
    "entropy_bound": {"unmasking": "entropy_bound", "remasking": "none"},
    "confidence_threshold": {"unmasking": "confidence_threshold", "remasking": "none"},
    "fill_all_random": {"remasking": "random"},
    "fill_all_confidence": {"remasking": "confidence"},
    "remdm_cap": {"remasking": "remdm_cap"},
    "remdm_rescale": {"remasking": "remdm_rescale"},
    "remdm_conf": {"remasking": "remdm_conf"},
    "remdm_loop": {"remasking": "remdm_loop"},
    "p2": {"remasking": "p2"},
    "multinomial": {"remasking": "multinomial"},
    "accept_reject": {"remasking": "accept_reject"},
    "proseco": {"remasking": "proseco"},
    "token_critic": {"remasking": "token_critic"},
    "critic_full": {"remasking": "critic_full"},
    "prism": {"remasking": "prism"},
    # What joint draws bring by themselves, to another method, and what the critic does without them.
    "random_joint": {"unmasking": "random", "remasking": "none", "token_draws": "joint"},
    "confidence_joint": {"unmasking": "confidence", "remasking": "none", "token_draws": "joint"},
    "prism_joint": {"remasking": "prism", "token_draws": "joint"},
    "critic_independent": {"remasking": "critic", "token_draws": "independent"},
    "critic_random": {"unmasking": "random", "remasking": "critic"},
    "backtrack": {"remasking": "backtrack"},
    "critic": DEFAULT_COMPETITORS["critic"],
}

# Ours with the defaults of either family, whatever the model was trained for; compared where named, not by "all".
FAMILIES: dict[str, Arguments] = {f"{OURS}_{answers}": {"remasking": OURS, "answers": answers} for answers in ANSWERS}

# What tables for people call them.
TITLES: dict[str, str] = {
    "random": "random order",
    "confidence": "confidence order",
    "entropy": "entropy order",
    "entropy_bound": "entropy bound",
    "confidence_threshold": "confidence threshold",
    "fill_all_random": "fill all, random",
    "fill_all_confidence": "fill all, confidence (MaskGIT)",
    "remdm_cap": "ReMDM cap",
    "remdm_rescale": "ReMDM rescale",
    "remdm_conf": "ReMDM conf",
    "remdm_loop": "ReMDM loop",
    "p2": "P2",
    "multinomial": "redraw all (SUNDAE)",
    "accept_reject": "accept or reject",
    "proseco": "ProSeCo",
    "token_critic": "Token-Critic",
    "critic_full": "critic, two passes a step",
    "prism": "PRISM",
    "random_joint": "random order, joint draws",
    "confidence_joint": "confidence order, joint draws",
    "prism_joint": "PRISM, joint draws",
    "critic_independent": "critic, independent draws",
    "critic_random": "critic, random order",
    "backtrack": "critic, backtracking",
    "critic": "critic",
    "critic_one": "critic, defaults for one answer",
    "critic_many": "critic, defaults for many answers",
}


def _grid(name: str, **choices: Sequence[Any]) -> list[Arguments]:
    """All combinations of some settings of a competitor, its defaults first."""
    return [
        {**{**SHOOT_OUT, **FAMILIES}[name], **dict(zip(choices, values, strict=True))}
        for values in itertools.product(*choices.values())
    ]


_RATES = (0.04, 0.005, 0.01, 0.02, 0.08, 0.16)
# What each may choose from, so that all methods are shown at their best; a name that is missing has nothing to choose.
GRIDS: dict[str, list[Arguments]] = {
    "random": _grid("random", schedule=SCHEDULES),
    "confidence": _grid("confidence", schedule=SCHEDULES),
    "entropy": _grid("entropy", schedule=SCHEDULES),
    "entropy_bound": _grid("entropy_bound", entropy_bound=(0.1, 0.0001, 0.001, 0.01, 0.03, 0.3, 1.0, 3.0)),
    "confidence_threshold": _grid(
        "confidence_threshold", confidence_threshold=(0.9, 0.5, 0.7, 0.8, 0.95, 0.97, 0.99, 0.999)
    ),
    "fill_all_random": _grid("fill_all_random", schedule=SCHEDULES),
    "fill_all_confidence": _grid("fill_all_confidence", schedule=SCHEDULES, randomness_strength=(0.0, 0.2, 0.5)),
    "remdm_cap": _grid("remdm_cap", remdm_eta=_RATES),
    "remdm_rescale": _grid("remdm_rescale", remdm_eta=(*_RATES, 0.4)),
    "remdm_loop": [
        {**one, **phase}
        for phase in ({"loop_start": 0.45, "loop_end": 0.95}, {"loop_start": 0.25, "loop_end": 0.75})
        for one in _grid("remdm_loop", remdm_eta=_RATES)
    ],
    "p2": _grid("p2", schedule=SCHEDULES, randomness_strength=(0.0, 0.2, 0.5)),
    "accept_reject": _grid("accept_reject", schedule=("root", 0.8, "linear")),
    "proseco": _grid(
        "proseco",
        corrector_interval=(4, 1, 2, 8),
        unmasking=("random", "confidence"),
        corrector_temperature=(0.0, 1.0),
    ),
    "token_critic": _grid(
        "token_critic", schedule=("cosine", "linear", "quadratic"), randomness_strength=(0.0, 0.2, 0.5)
    ),
    "critic_full": _grid("critic_full", schedule=SCHEDULES, randomness_strength=(0.0, 0.2, 0.5)),
    "prism": _grid("prism", remask_per_step=(4, 1, 2, 3, 6), unmasking=("random", "confidence")),
    "random_joint": _grid("random_joint", schedule=SCHEDULES),
    "confidence_joint": _grid("confidence_joint", schedule=SCHEDULES),
    "prism_joint": _grid("prism_joint", remask_per_step=(4, 1, 2, 3, 6), unmasking=("random", "confidence")),
    "critic_independent": _grid("critic_independent", schedule=("root", 0.8, "linear"), remask_floor=(None, 0.3, 0.5)),
    "backtrack": _grid("backtrack", confidence_threshold=(0.97, 0.9, 0.95, 0.99)),
    "critic": _grid("critic", schedule=("root", 0.8, "linear"), remask_floor=(None, 0.3, 0.5)),
    "critic_one": _grid("critic_one", schedule=("root", 0.8, "linear"), remask_floor=(None, 0.3, 0.5)),
    "critic_many": [
        *_grid("critic_many", remask_per_step=(HALF, 1, 2, 4), remask_exponent=(1.0, 2.0, 3.0)),
        # As warm in the end as at the beginning, as others are.
        *_grid(
            "critic_many",
            temperature=(0.8,),
            temperature_end=(None,),
            remask_per_step=(HALF, 4),
            remask_exponent=(1.0, 3.0, 6.0),
        ),
        *_grid("critic_many", schedule=("linear",), remask_per_step=(2, 1)),
        *_grid("critic_many", remask_by=("error",), remask_per_step=(HALF, 2)),
    ],
}


def grid_of(model, name: str) -> Arguments | Sequence[Arguments]:
    """What a competitor may choose from; ours as many answers as are right for the model."""
    if name == OURS and model.resolve_generation_config(remasking=OURS).answers == "many":
        return [{key: value for key, value in one.items() if key != "answers"} for one in GRIDS["critic_many"]]
    return GRIDS.get(name, named()[name])


def named() -> dict[str, Arguments]:
    """All that can be named: `competitors()`, and ours with the defaults of either family."""
    return {**competitors(), **FAMILIES}


def competitors() -> dict[str, Arguments]:
    """Everybody: `SHOOT_OUT`, and strategies that were registered from outside, by their names."""
    ours = {one["remasking"] for one in SHOOT_OUT.values()}
    others = [name for name, cls in STRATEGIES.items() if name not in ours and not cls.needs_external]
    for name in others:
        if name in SHOOT_OUT:
            raise ValueError(
                f"`name` of {STRATEGIES[name].__name__} must be none that evaluation gives to others, got {name!r}: "
                "register it under another."
            )
    return {**{name: {"remasking": name} for name in others}, **SHOOT_OUT}


def left_out(model, arguments: Arguments) -> str | None:
    """Why a model cannot take part with a strategy, in words; `None` where it can."""
    strategy = STRATEGIES[arguments["remasking"]]
    if strategy.needs_critic and not model.has_trained_critic:
        return "the model has no trained critic"
    if strategy.needs_correction and not (model.config.correction_alpha and model.critic_head is not None):
        return "the model was not trained to correct its own fillings (`correction_alpha=0`)"
    if "token_draws" in arguments and not model.has_trained_joint_head:
        return "the model has no trained joint head"
    return None


def select_strategies(
    model, names: Sequence[str] | None = None, tune: bool = False
) -> tuple[dict[str, Arguments | Sequence[Arguments]], dict[str, str]]:
    """
    Those that compete, by their names.

    Args:
        model ([`CriticGPTForMaskedLM`]): What generates; some strategies need a trained critic.
        names (`list[str]`, *optional*): Of `named()`; `["all"]` for all of `competitors()`, by default those of
            `DEFAULT_COMPETITORS`.
        tune (`bool`, *optional*, defaults to `False`): Gives every strategy its settings in `GRIDS` to choose from.

    Returns:
        `tuple`: what `compare_strategies` takes; and, by name, why strategies that nobody named are left out.

    Raises:
        `ValueError`: A name that nobody has, or a strategy that the model cannot follow.
    """
    every = names is None or list(names) == ["all"]
    known = named()
    chosen = (DEFAULT_COMPETITORS if names is None else competitors()) if every else names
    unknown = [name for name in chosen if name not in known]
    if unknown:
        raise ValueError(
            f'`strategies` must be "all" or among {", ".join(known)}, got {unknown[0]!r}: choose one of these.'
        )
    reasons = {name: left_out(model, known[name]) for name in chosen}
    reasons = {name: reason for name, reason in reasons.items() if reason is not None}
    if reasons and not every:
        name, reason = next(iter(reasons.items()))
        raise ValueError(
            f"`strategies` must be ones that the model can follow, got {name!r}, where {reason}: drop it."
        )
    strategies = {name: known[name] for name in chosen if name not in reasons}
    return {name: grid_of(model, name) if tune else one for name, one in strategies.items()}, reasons
