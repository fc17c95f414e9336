# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What training masks by: strategies mixed by row, stages of a curriculum, and the file that describes them."""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch

from critic_gpt.training.masking_strategies import (
    MASKING_STRATEGIES,
    STREAM_STRATEGY,
    DiffusionMasking,
    RowDraws,
    Strategy,
    is_number,
)
from critic_gpt.training.settings_files import SETTINGS_SUFFIXES, parse_settings


@dataclass(frozen=True)
class Stage:
    """
    Strategies mixed by row during some epochs.

    Args:
        mix (`tuple`): Pairs of a strategy and its share of the rows, above 0; the shares add up to 1.
        until_epoch (`int`, *optional*): First epoch (from 0) that this stage is not for; `None` = to the end.
    """

    mix: tuple[tuple[Strategy, float], ...]
    until_epoch: int | None = None

    def __post_init__(self):
        shares = [share for _, share in self.mix]
        if not shares or not all(is_number(share) and share > 0 for share in shares):
            raise ValueError(f"`share` must be above 0 for every strategy of a stage, got {shares}: 1.0 is one's all.")
        if abs(sum(shares) - 1) > 1e-6:
            raise ValueError(f"`share` must add up to 1 in a stage, got {shares}: divide each by {sum(shares):g}.")
        if self.until_epoch is not None and (not isinstance(self.until_epoch, int) or self.until_epoch < 1):
            raise ValueError(
                f"`until_epoch` must be a whole number of at least 1, got {self.until_epoch!r}: epochs count from 0."
            )


@dataclass(frozen=True)
class Masking:
    """
    What a collator masks by: stages, the first of which that has not ended gives a row its strategy.

    Args:
        stages (`tuple[Stage]`): In order of their `until_epoch`; the last one has none.
    """

    stages: tuple[Stage, ...]

    def __post_init__(self):
        ends = [stage.until_epoch for stage in self.stages]
        inner = [end for end in ends[:-1] if end is not None]
        complete = len(inner) == len(ends) - 1 and ends[-1] is None
        if not complete or any(a >= b for a, b in pairwise(inner)):
            raise ValueError(
                f"`until_epoch` must rise from stage to stage and be missing in the last one, got {ends}: put the "
                "stages in order."
            )

    @property
    def strategies(self) -> tuple[Strategy, ...]:
        """All that occur, each once, in order."""
        return tuple(dict.fromkeys(strategy for stage in self.stages for strategy, _ in stage.mix))

    @property
    def is_diffusion(self) -> bool:
        """Whether every row is corrupted by diffusion."""
        return all(isinstance(strategy, DiffusionMasking) for strategy in self.strategies)

    @property
    def has_weights(self) -> bool:
        """Whether batches carry `loss_weights`: if diffusion occurs in any stage."""
        return any(isinstance(strategy, DiffusionMasking) for strategy in self.strategies)

    def choose(self, draws: RowDraws, epochs: torch.Tensor) -> torch.Tensor:
        """The index (B,) in `strategies` of each row's strategy; `epochs` (B,)."""
        drawn = draws.rows(STREAM_STRATEGY).squeeze(-1)
        chosen = torch.full_like(epochs, -1)
        for stage in self.stages:
            here = chosen < 0
            if stage.until_epoch is not None:
                here &= epochs < stage.until_epoch
            upper = torch.tensor([share for _, share in stage.mix], dtype=torch.float64).cumsum(dim=0)
            places = torch.searchsorted(upper[:-1], drawn.double(), right=True)
            names = torch.tensor([self.strategies.index(strategy) for strategy, _ in stage.mix])
            chosen = torch.where(here, names[places], chosen)
        return chosen


def load_masking(value: str) -> Masking:
    """
    Makes a masking from its name or its file.

    Args:
        value (`str`): A strategy (`"diffusion"`, `"random"`, `"bert"`, `"span"`, `"sticky"`) with its default fields,
            or a file ending in `.yaml`, `.yml` or `.json` with the key `stages`: a list of stages, each with `mix` and
            all but the last with `until_epoch`; `mix` is a list of entries with `strategy`, `share` and the
            strategy's own fields.

    Returns:
        [`Masking`].

    Raises:
        `ValueError`: A name or field is unknown, or a value is out of its range.
        `FileNotFoundError`: The file is missing.
    """
    path = Path(value).expanduser()
    if path.suffix.lower() not in SETTINGS_SUFFIXES:
        strategy = _known("masking", value, MASKING_STRATEGIES, "or a file ending in .yaml, .yml or .json")
        return Masking((Stage(((MASKING_STRATEGIES[strategy](), 1.0),)),))
    if not path.is_file():
        raise FileNotFoundError(f"`masking` must be a file that exists, got {value!r}: check the path.")
    try:
        content = parse_settings(path)
    except ValueError as error:
        raise ValueError(f"`masking` must be a file that parses, got {value!r} ({error}): mend it.") from error
    _check_keys("the file", content, {"stages"}, {"stages"})
    return Masking(tuple(_stage(entry) for entry in _list("stages", content["stages"])))


def _stage(entry: Any) -> Stage:
    _check_keys("a stage", entry, {"mix", "until_epoch"}, {"mix"})
    mix = tuple(_mixed(part) for part in _list("mix", entry["mix"]))
    return Stage(mix, entry.get("until_epoch"))


def _mixed(entry: Any) -> tuple[Strategy, float]:
    if isinstance(entry, Mapping) and "strategy" in entry:
        cls = MASKING_STRATEGIES[_known("strategy", entry["strategy"], MASKING_STRATEGIES)]
        own = {field.name for field in fields(cls)}
    else:
        cls, own = DiffusionMasking, set()
    _check_keys(f"the strategy {cls.name}", entry, {"strategy", "share"} | own, {"strategy", "share"})
    return cls(**{name: value for name, value in entry.items() if name in own}), entry["share"]


def _check_keys(owner: str, entry: Any, allowed: set[str], needed: set[str]) -> None:
    if not isinstance(entry, Mapping):
        raise ValueError(f"`masking` must give {owner} named fields, got {entry!r}: write `name: value` lines.")
    for key in entry:
        _known(f"field of {owner}", key, allowed)
    for key in sorted(needed - set(entry)):
        raise ValueError(f"`{key}` must be given in {owner}, got {', '.join(map(str, entry)) or 'nothing'}: add it.")


def _list(name: str, value: Any) -> Sequence[Any]:
    if not isinstance(value, list) or not value:
        raise ValueError(f"`{name}` must be a list of at least one entry, got {value!r}: begin each with a dash.")
    return value


def _known(what: str, name: Any, names, more: str = "") -> str:
    if name in names:
        return name
    near = difflib.get_close_matches(str(name), [str(one) for one in names], n=1, cutoff=0.0)
    listed = ", ".join(sorted(names)) + (f", {more}" if more else "")
    way_out = f"write {near[0]!r}" if near else "leave it out"
    raise ValueError(f"`{what}` must be one of {listed}, got {name!r}: {way_out}.")
