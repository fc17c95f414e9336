# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Flags made of the declared settings of generation, and strategies of the user's own."""

import argparse
import importlib
import importlib.util
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from critic_gpt.cli.acts import ACTS
from critic_gpt.cli.parser import ActParser, Later
from critic_gpt.generation.declarations import SETTINGS, STRATEGIES
from critic_gpt.generation.values import Setting


# Those of a user too, as far as they are registered by then.
STRATEGY_NAMES = Later("critic_gpt.generation.declarations", "remasking_names")


def flag_settings() -> list[Setting]:
    """The settings that have a flag, those of strategies from outside included."""
    return [setting for setting in SETTINGS.values() if setting.is_flag]


def add_generation_flags(parser: argparse.ArgumentParser, that_matter: Sequence[str] = ()) -> None:
    """Adds a flag for each such setting, `None` where it is not given; those that do not matter most in groups."""
    groups = [
        parser.add_argument_group("generation, the model's own settings by default"),
        parser.add_argument_group("settings of some strategies (docs/GENERATION.md says of which)"),
        parser.add_argument_group("ids of tokens"),
    ]
    for setting in sorted(flag_settings(), key=lambda setting: setting.name not in that_matter):
        values, options = setting.values, {"help": setting.summary}
        group = 2 if setting.name.endswith(("_token_id", "_token_ids")) else int(setting.of_strategies)
        if values.read is None:
            options["action"] = argparse.BooleanOptionalAction
        elif values.choices is not None:
            names = STRATEGY_NAMES if setting.name == "remasking" else values.choices()
            options |= {"choices": names, "metavar": setting.name.upper()}
            options["help"] += ": %(choices)s"
        else:
            several, letter = "+" if values.several else None, {int: "N", float: "X"}.get(values.read)
            options |= {"type": _reader(values.read), "nargs": several, "metavar": letter}
        place = parser if setting.name in that_matter else groups[group]
        place.add_argument(f"--{setting.name}", default=None, **options)


def _reader(read: Callable[[str], Any]) -> Callable[[str], Any]:
    """The same for `argparse`, which shows the words of one kind of error only."""

    def read_or_refuse(text: str) -> Any:
        try:
            return read(text)
        except ValueError as error:
            kind = {int: "a whole number", float: "a number"}.get(read)
            raise argparse.ArgumentTypeError(f"must be {kind}, got {text!r}" if kind else str(error)) from None

    return read_or_refuse


def add_strategy_flag(parser: argparse.ArgumentParser) -> None:
    """Adds `--strategy_module`."""
    parser.add_argument(
        "--strategy_module",
        nargs="+",
        default=[],
        metavar="FILE",
        help="Python files or modules that register strategies of your own; they run before all else",
    )


def import_strategies(argv: list[str] | None = None) -> None:
    """
    Imports what `--strategy_module` names, before the flags are made that offer strategies and their settings.

    Args:
        argv (`list[str]`, *optional*): The command line; that of the process by default.

    Raises:
        `ValueError`: There is no such file or module, or it registers nothing.
        `ImportError`: It does not run.
    """
    parser = ActParser(act=ACTS["generate"], looks_only=True, allow_abbrev=False)
    add_strategy_flag(parser)
    for name in parser.parse_known_args(argv)[0].strategy_module:
        module = _import(name)
        if not any(strategy.__module__ == module for strategy in STRATEGIES.values()):
            raise ValueError(
                f"`strategy_module` must register a strategy, got {name!r}, which registers none: decorate its class "
                "with `register_strategy`."
            )


def _import(name: str) -> str:
    """Imports a file or module; gives the name it has among the modules."""
    path = Path(name)
    if path.is_file():
        module_name = f"strategy_module_{path.stem}"  # of its own, whatever else the file is called like
        spec = importlib.util.spec_from_file_location(module_name, path)
        module = sys.modules[module_name] = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        return module_name
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:
        # One that it imports itself is another matter.
        if path.suffix != ".py" and error.name is not None and error.name not in (name, name.partition(".")[0]):
            raise
        raise ValueError(
            f"`strategy_module` must be a file or module, got {name!r}, which is none: name a file that ends in .py, "
            "or a module that Python finds."
        ) from error
    return name
