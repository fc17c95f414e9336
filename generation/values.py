# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a declaration of a setting says: the values it may have, its default and meaning, what it depends on."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from critic_gpt.diffusion.names import HALF, SCHEDULES, is_exponent


class Values(NamedTuple):
    """
    The values that a setting may have.

    Args:
        holds (callable): Whether a value is one of them.
        words (callable): Says in words what they are.
        types (`str`): Their types, for documentation.
        read (callable, *optional*): Reads one from the command line; `None` for a switch.
        choices (callable, *optional*): Gives their names, where they have names.
        several (`bool`, *optional*, defaults to `False`): Whether the command line takes several of them as a list.
    """

    holds: Callable[[Any], bool]
    words: Callable[[], str]
    types: str
    read: Callable[[str], Any] | None
    choices: Callable[[], tuple[str, ...]] | None = None
    several: bool = False


def is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def one_of(names: tuple[str, ...] | Callable[[], tuple[str, ...]]) -> Values:
    """A name among several; a function is asked anew each time."""
    choices = names if callable(names) else lambda: names
    return Values(lambda v: v in choices(), lambda: f"one of {', '.join(choices())}", "`str`", str, choices)


def whole(least: int | None = None) -> Values:
    """A whole number."""
    words = "a whole number" if least is None else f"a whole number of at least {least}"
    return Values(lambda v: is_int(v) and (least is None or v >= least), lambda: words, "`int`", int)


def number(interval: str) -> Values:
    """A number in an interval, written as in `"[0, 1)"`; `inf` is an open end."""
    low, high = (float(end) for end in interval[1:-1].split(","))
    above, below = interval[0] == "(", interval[-1] == ")"
    words = f"in {interval}"
    if math.isinf(high):
        words = f"{'above' if above else 'at least'} {low:g} and finite"

    def holds(value: Any) -> bool:
        return (
            is_number(value) and low <= value <= high and not ((above and value == low) or (below and value == high))
        )

    return Values(holds, lambda: words, "`float`", float)


def switch() -> Values:
    """Yes or no, or anything that counts as one of them."""
    return Values(lambda v: True, lambda: "true or false", "`bool`", None)


def truth() -> Values:
    """Yes or no, and nothing that only counts as one of them, such as the word "no"."""
    return Values(lambda v: isinstance(v, bool), lambda: "true or false", "`bool`", None)


def _read_count_or_share(text: str) -> int | float | str:
    if text == HALF:
        return text
    try:
        return float(text) if "." in text else int(text)
    except ValueError:
        raise ValueError(f"must be a whole number, a share as in 0.2, or {HALF}, got {text!r}") from None


def _read_schedule(text: str) -> str | float | list[float]:
    if text in SCHEDULES:
        return text
    try:
        return [float(ratio) for ratio in text.split(",")] if "," in text else float(text)
    except ValueError:
        known = ", ".join(SCHEDULES)
        raise ValueError(f"must be {known}, a number or one ratio a step, as in 0.9,0.5,0.1, got {text!r}") from None


COUNT_OR_SHARE = Values(
    lambda v: (is_int(v) and v >= 0) or (isinstance(v, float) and 0.0 < v < 1.0) or (isinstance(v, str) and v == HALF),
    lambda: f"a whole number of at least 0, a share in (0, 1) or {HALF}",
    "`int`, `float` or `str`",
    _read_count_or_share,
)
SCHEDULE = Values(
    lambda v: callable(v) or isinstance(v, (list, tuple)) or v in SCHEDULES or is_exponent(v),
    lambda: f"{', '.join(SCHEDULES)}, a number above 0, a list of ratios or a function",
    "`str`, `float`, `list[float]` or callable",
    _read_schedule,
)
TOKEN_IDS = Values(
    lambda v: is_int(v) or (isinstance(v, (list, tuple)) and len(v) > 0 and all(map(is_int, v))),
    lambda: "a whole number or a list of them",
    "`int` or `list[int]`",
    int,
    several=True,
)

NO_OR_SOME_IDS = Values(
    lambda v: isinstance(v, (list, tuple)) and all(is_int(token) and token >= 0 for token in v),
    lambda: "a list of whole numbers of at least 0",
    "`list[int]`",
    int,
    several=True,
)


class Condition(NamedTuple):
    """A setting means something only where another one has a value; `otherwise` says what is the case without it."""

    setting: str
    holds: Callable[[Any], bool]  # of the other setting's value
    otherwise: str
    way_out: str


class Clash(NamedTuple):
    """
    Values that contradict those of another setting.

    Args:
        other (`str`): The other setting.
        clashes (callable): Whether the two values do, ours first; neither is `None`.
        message (`str`): For the error, with `{mine}` and `{other}` for the values.
        replaces (`bool`, *optional*, defaults to `True`): Whether what a call says of either takes the place of what a
            stored configuration says of the other.
    """

    other: str
    clashes: Callable[[Any, Any], bool]
    message: str
    replaces: bool = True


@dataclass(frozen=True)
class Setting:
    """
    One setting of generation.

    Args:
        name (`str`): Of the field, the argument and the flag.
        values ([`Values`]): What it may be.
        summary (`str`): What it is, in a line: the help of the flag, and its row in docs/GENERATION.md.
        details (`str`, *optional*): For the docstring of the configuration; the summary by default.
        default (*optional*): The value where nobody sets it. Left out for a setting of some strategies, whose `takes`
            has their defaults, and for one that may stay unset.
        default_words (`str`, *optional*): Says what happens where it stays unset.
        of_strategies (`bool`, *optional*, defaults to `False`): Whether only those strategies know it that take it.
        harmless (*optional*): The value that says what is the case where it has no meaning; it is allowed there.
        condition ([`Condition`], *optional*): Where else it has a meaning.
        clash ([`Clash`], *optional*): What contradicts it.
        is_flag (`bool`, *optional*, defaults to `True`): Whether it has a flag on the command line.
    """

    name: str
    values: Values
    summary: str
    details: str | None = None
    default: Any = None
    default_words: str | None = None
    of_strategies: bool = False
    harmless: Any = None
    condition: Condition | None = None
    clash: Clash | None = None
    is_flag: bool = True

    def check(self, value: Any) -> None:
        """Refuses what is none of its values."""
        if value is not None and not self.values.holds(value):
            raise ValueError(
                f"`{self.name}` must be {self.values.words()}, got {value!r}: correct it, or leave it out for the "
                "default."
            )


def default_in_words(setting: Setting, strategies: Mapping[str, Any]) -> str:
    """Its defaults, of both families; "" where it may stay unset."""
    many: dict[Any, list[str]] = {}
    for name, strategy in strategies.items():
        value = strategy.takes_for_many.get(setting.name)
        if value is not None and value != strategy.takes.get(setting.name, setting.default):
            many.setdefault(value, []).append(in_code(name))
    words = [f"{in_code(value)} under {', '.join(names)}" for value, names in many.items()]
    words = [f"{one} where many answers are right" for one in words]
    return ", ".join(filter(None, [_usual_default(setting, strategies), *words]))


def _usual_default(setting: Setting, strategies: Mapping[str, Any]) -> str:
    """Its default, from its own declaration or from the strategies that take it; "" where it may stay unset."""
    if setting.default is not None:
        return f"defaults to {in_code(setting.default)}"
    if setting.default_words is not None:
        return f"by default {setting.default_words}"
    by_value: dict[Any, list[str]] = {}
    for name, strategy in strategies.items():
        if setting.name in strategy.takes:
            by_value.setdefault(strategy.takes[setting.name], []).append(in_code(name))
    unset = by_value.pop(None, [])
    usual, *others = sorted(by_value, key=lambda value: -len(by_value[value])) or [None]
    if usual is None:
        return ""
    words = f"defaults to {in_code(usual)}" + (f" under {', '.join(by_value[usual])}" if unset else "")
    return ", ".join([words, *(f"{in_code(value)} under {', '.join(by_value[value])}" for value in others)])


def in_code(value: Any) -> str:
    """A value as documentation writes it."""
    return str(value) if is_number(value) else f"`{value}`" if isinstance(value, bool) else f'`"{value}"`'
