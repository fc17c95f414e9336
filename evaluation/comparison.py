# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Compares ways of generating at equal forward passes, counted by a hook on the trunk."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator

from critic_gpt.backbones.description import Backbone
from critic_gpt.evaluation.competitors import DEFAULT_COMPETITORS, Arguments
from critic_gpt.evaluation.sampling import Samples, blank_canvases, sample_texts, without_advice
from critic_gpt.generation.strategies.registry import STRATEGIES


class Tuning(NamedTuple):
    """
    How one of several settings is chosen, at each budget anew.

    Args:
        seed (`int`): Of the samples it is chosen by: none of those that are reported.
        num_samples (`int`): How many of them, from the first canvas on, at most one of each.
        score (callable): From the judge's figures to what is to be large.
        temperatures (`Sequence[float]`, *optional*): Tried for every strategy alike: with its first settings, then its
            other settings at the best of them, then with the best settings once more.
    """

    seed: int
    num_samples: int
    score: Callable[[Mapping[str, float]], Any]
    temperatures: Sequence[float] = ()


def steps_within(model, budget: int, arguments: Arguments) -> int | None:
    """
    The most denoising steps that `budget` forward passes per sequence allow; `None` where not even one fits. Where the
    critic chooses among candidates, its verdict on each is part of the price.
    """
    config = model.resolve_generation_config(**arguments)
    verdicts = config.num_candidates if config.num_candidates > 1 else 0
    return STRATEGIES[config.remasking].steps_within(budget - verdicts, config)


def own_warmth(model, arguments: Arguments) -> Arguments:
    """How warm a strategy draws where nobody says so, the model's configuration least of all."""
    config = model.resolve_generation_config(**arguments)
    strategy = STRATEGIES[config.remasking]
    warmth = {name: strategy.default_of(config, name) for name in ("temperature", "temperature_end")}
    return {name: value for name, value in warmth.items() if value is not None}


def at_temperature(arguments: Arguments, temperature: float) -> Arguments:
    """The same at another temperature; at 0, which takes the likeliest token throughout, it has no end."""
    kept = {name: value for name, value in arguments.items() if temperature or name != "temperature_end"}
    return {**kept, "temperature": temperature}


class Competition:
    """
    What all cells of a comparison have in common.

    Args:
        model, tokenizer: What generates.
        judge (callable): From [`Samples`], in the order of the canvases, to figures by name.
        canvases (`torch.LongTensor` of shape `(num_samples, sequence_length)`): What is filled.
        batch_size (`int`): Sequences at a time, over all processes.
        accelerator ([`~accelerate.Accelerator`], *optional*): Shares the work among its processes.
    """

    def __init__(self, model, tokenizer, judge, canvases: torch.Tensor, batch_size: int, accelerator=None):
        self.model, self.tokenizer = model, tokenizer
        self.judge = lambda samples: measured(judge(samples))
        self.canvases, self.batch_size, self.accelerator = canvases, batch_size, accelerator

    def sample(
        self, budget: int, arguments: Arguments, num_steps: int, seed: int, count: int | None = None
    ) -> Samples:
        """Fills the first `count` canvases, all by default; refuses to have spent more than the budget."""
        with without_advice():
            samples = sample_texts(
                self.model,
                self.tokenizer,
                self.canvases[:count],
                self.batch_size,
                seed,
                self.accelerator,
                **{**arguments, "num_steps": num_steps},
            )
        if samples.forward_passes > budget:
            raise RuntimeError(f"{arguments} took {samples.forward_passes} forward passes of a budget of {budget}")
        return samples

    def choose(self, budget: int, candidates: Sequence[Arguments], tuning: Tuning) -> tuple[Arguments | None, dict]:
        """The best of some settings by samples of a seed of their own; and what became of each."""
        tried: list[tuple[Arguments, int, dict[str, float]]] = []
        count = min(tuning.num_samples, len(self.canvases))

        def attempt(arguments: Arguments) -> None:
            num_steps = steps_within(self.model, budget, arguments)
            if num_steps is not None and all(arguments != one for one, _, _ in tried):
                samples = self.sample(budget, arguments, num_steps, tuning.seed, count)
                tried.append((arguments, num_steps, self.judge(samples)))

        def best(otherwise: Arguments) -> Arguments:
            # The first of equals, so that defaults, which stand first, need a reason to go.
            return max(tried, key=lambda one: tuning.score(one[2]))[0] if tried else otherwise

        def at_all_temperatures(arguments: Arguments) -> None:
            for temperature in tuning.temperatures:
                attempt(at_temperature(arguments, temperature))

        attempt(candidates[0])
        at_all_temperatures(candidates[0])
        warmth = best(candidates[0]).get("temperature")
        for arguments in candidates[1:]:
            attempt(at_temperature(arguments, warmth) if tuning.temperatures else arguments)
        at_all_temperatures(best(candidates[0]))
        record = {
            "seed": tuning.seed,
            "num_samples": count,
            "tried": [{"arguments": dict(a), "num_steps": steps, "figures": f} for a, steps, f in tried],
        }
        return (best(candidates[0]), record) if tried else (None, record)

    def cell(self, budget: int, arguments: Arguments, seeds: Sequence[int]) -> dict[str, Any] | None:
        """One strategy at one budget: see [`compare_strategies`]."""
        num_steps = steps_within(self.model, budget, arguments)
        if num_steps is None:
            return None
        begin, runs = time.perf_counter(), []
        for seed in seeds:
            runs.append(self.sample(budget, arguments, num_steps, seed))
        seconds = (time.perf_counter() - begin) / len(seeds)
        judged = [self.judge(samples) for samples in runs]
        return {
            "num_steps": num_steps,
            "forward_passes": max(samples.forward_passes for samples in runs),
            "mean_forward_passes": statistics.fmean(samples.mean_forward_passes for samples in runs),
            "seconds": seconds,
            "arguments": dict(arguments),
            "figures": {name: over_seeds([figures[name] for figures in judged]) for name in judged[0]},
        }


def measured(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Figures of a judge, `None` where there was nothing to measure by, which judges tell by NaN."""
    return {name: None if value != value else value for name, value in figures.items()}


def over_seeds(values: Sequence[float | None]) -> dict[str, Any]:
    """Several measurements of one figure: `mean`, `spread` (standard deviation, n - 1 in the divisor; `None` of a
    single one) and `by_seed`. Where one of them is `None`, so are mean and spread."""
    if any(value is None for value in values):
        return {"mean": None, "spread": None, "by_seed": list(values)}
    spread = statistics.stdev(values) if len(values) > 1 else None
    return {"mean": statistics.mean(values), "spread": spread, "by_seed": list(values)}


def compare_strategies(
    model,
    tokenizer,
    task,
    budgets: Sequence[int],
    strategies: Mapping[str, Arguments | Sequence[Arguments]] = DEFAULT_COMPETITORS,
    num_samples: int = 1000,
    batch_size: int = 250,
    seeds: Sequence[int] = (0,),
    accelerator: Accelerator | None = None,
    tuning: Tuning | None = None,
    canvases: torch.Tensor | None = None,
    on_cell: Callable[[str, int, dict[str, Any] | None], None] | None = None,
) -> dict[str, dict[str, dict[str, Any] | None]]:
    """
    Judges samples of every strategy at every budget. Each strategy gets the most steps whose forward passes fit.

    Args:
        model, tokenizer: What generates.
        task: With `judge(texts) -> dict`, or `judge_samples(samples) -> dict` which is asked instead, and
            `sequence_length` where no canvases are given.
        budgets (`list[int]`): Forward passes of the trunk per sequence, at least 1.
        strategies (`dict`, *optional*): `{name: arguments of generate}`; temperature 1 unless they, or the strategy's
            defaults where many answers are right, say otherwise. With `tuning` also `{name:
            [arguments, arguments, ...]}`, of which the best at each budget competes.
        num_samples, batch_size (`int`, *optional*): How many sequences, and how many at a time, over all processes.
        seeds (`list[int]`, *optional*): For each, a set of samples.
        accelerator ([`~accelerate.Accelerator`], *optional*): Shares the work among its processes, which all get all.
        tuning ([`Tuning`], *optional*): How to choose where there is a choice.
        canvases (`torch.LongTensor` of shape `(num_samples, sequence_length)`, *optional*): What is filled, each once;
            `num_samples` sequences of nothing but [MASK] by default.
        on_cell (callable, *optional*): Called with name, budget and cell as soon as it is there.

    Returns:
        `dict`: `{strategy: {budget: cell}}`, budgets as text. A cell is `None` where not even one step fits, else:
            - `num_steps`: the steps it got; `arguments`: its other settings.
            - `forward_passes`, `mean_forward_passes`: of its sequences, as counted by the hook: the most and the mean.
            - `seconds`: for one set of samples.
            - `figures`: of the judge, each with `mean`, `spread` (standard deviation) and `by_seed`; `None` where the
              judge said NaN.
            - `tuning`: where it was chosen, the seed and what each setting reached.

    Raises:
        `ValueError`: Nothing to do, several settings without `tuning`, or a tuning seed that is reported as well.
        `RuntimeError`: More passes ran than the strategy says it takes.
    """
    _check(budgets, strategies, seeds, tuning)
    if canvases is None:
        canvases = blank_canvases(tokenizer, num_samples, task.sequence_length, Backbone.of(model.config))
    judge = getattr(task, "judge_samples", lambda samples: task.judge(samples.texts))
    competition = Competition(model, tokenizer, judge, canvases, batch_size, accelerator)
    table: dict[str, dict[str, dict[str, Any] | None]] = {name: {} for name in strategies}
    for name, settings in strategies.items():
        candidates = [settings] if isinstance(settings, Mapping) else settings
        candidates = [{**own_warmth(model, arguments), **arguments} for arguments in candidates]
        for budget in budgets:
            several = tuning is not None and (len(candidates) > 1 or len(tuning.temperatures) > 0)
            chosen, record = competition.choose(budget, candidates, tuning) if several else (candidates[0], None)
            cell = None if chosen is None else competition.cell(budget, chosen, seeds)
            if cell is not None and record is not None:
                cell["tuning"] = record
            table[name][str(budget)] = cell
            if on_cell is not None:
                on_cell(name, budget, cell)
    return table


def _check(budgets, strategies, seeds, tuning: Tuning | None) -> None:
    for field, values in (("budgets", budgets), ("strategies", strategies), ("seeds", seeds)):
        if len(values) == 0:
            raise ValueError(f"`{field}` must name at least one, got none: name what to compare.")
    if min(budgets) < 1:
        raise ValueError(f"`budgets` must be forward passes of at least 1, got {min(budgets)}: give 1 or more.")
    for name, settings in strategies.items():
        if not isinstance(settings, Mapping) and (len(settings) == 0 or (len(settings) > 1 and tuning is None)):
            raise ValueError(
                f"`strategies` must give one setting for {name!r} without `tuning`, got {len(settings)}: pass a "
                "`Tuning`, or choose one."
            )
    if tuning is not None and tuning.seed in seeds:
        raise ValueError(
            f"`tuning` must choose by a seed that is not reported, got {tuning.seed} of {list(seeds)}: take another."
        )


def figures_of(table: Mapping[str, Mapping[str, Mapping[str, Any] | None]], part: str = "mean") -> dict[str, dict]:
    """
    The table the other way round.

    Args:
        table (`dict`): From [`compare_strategies`].
        part (`str`, *optional*, defaults to `"mean"`): Or `"by_seed"`, `"spread"`.

    Returns:
        `dict`: `{figure: {strategy: {budget: value}}}`; budgets that a strategy cannot meet are left out.
    """
    cells = {name: {b: cell for b, cell in row.items() if cell is not None} for name, row in table.items()}
    figures = dict.fromkeys(figure for row in cells.values() for cell in row.values() for figure in cell["figures"])
    return {
        figure: {name: {b: cell["figures"][figure][part] for b, cell in row.items()} for name, row in cells.items()}
        for figure in figures
    }
