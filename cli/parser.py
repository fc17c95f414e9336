# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What the parser of every act can do: both spellings of a flag, a file of flags, and help in two sizes."""

import argparse
import difflib
import importlib
import operator
import shutil
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from enum import Enum
from pathlib import Path
from typing import Any

from critic_gpt.cli.acts import Act


# Never printed.
SECRETS = ("token",)
# Columns of the short help: of its flags, and at most of a line.
FLAG_COLUMNS, WIDTH = 30, 100


class Later(Sequence):
    """Names that a module lists which takes long to import; imported when they are asked for."""

    def __init__(self, module: str, name: str, *first: str):
        self._module, self._name, self._first = module, name, first

    def _names(self) -> tuple[str, ...]:
        found = operator.attrgetter(self._name)(importlib.import_module(self._module))
        return (*self._first, *(found() if callable(found) else found))

    def __getitem__(self, index):
        return self._names()[index]

    def __len__(self) -> int:
        return len(self._names())


class LongHelp(argparse.RawDescriptionHelpFormatter):
    """With the default of each flag that has one."""

    def _get_help_string(self, action: argparse.Action) -> str:
        return help_of(action)


def help_of(action: argparse.Action) -> str:
    """The help of a flag, and its default where that says something."""
    said = action.help or ""
    silent = action.default in (None, False, argparse.SUPPRESS, [], "") or "default" in said
    if silent or action.option_strings == []:
        return said
    default = "%(default)s" if not isinstance(action.default, list) else " ".join(map(str, action.default))
    return f"{said}; default: {default}" if said else f"default: {default}"


class ActParsing:
    """
    Beside `argparse.ArgumentParser`, or a class derived from it: makes it the parser of an act. Flags outside of any
    group are those that matter, and stand in the short help.

    Args:
        act ([`Act`]): The act.
        is_strict (`bool`, *optional*, defaults to `True`): Whether unknown flags are refused; otherwise they are left
            over, those of a file too.
        looks_only (`bool`, *optional*, defaults to `False`): Whether it reads a few flags before all are known, and
            leaves help and all else to the parser that does.
    """

    def __init__(self, *args, act: Act, is_strict: bool = True, looks_only: bool = False, **kwargs):
        super().__init__(
            *args, prog=act.program, description=act.summary, add_help=False, formatter_class=LongHelp, **kwargs
        )
        self.act, self.is_strict, self.looks_only = act, is_strict and not looks_only, looks_only
        self._shows_config = False
        if looks_only:
            return
        own = self.add_argument_group("in every command")
        # Read from the words before they are parsed, so that none of them is a setting.
        own.add_argument("--config", metavar="FILE", default=argparse.SUPPRESS, help=_CONFIG_HELP)
        own.add_argument("--print-config", action="store_true", default=argparse.SUPPRESS, help=_PRINT_HELP)
        own.add_argument("-h", "--help", action=_Help, help="the flags that matter")
        own.add_argument("--help-all", action=_Help, help="all flags, in groups, and what comes out")

    # ---- words ----

    def parse_args(self, args=None, namespace=None):
        namespace, rest = self.parse_known_args(args, namespace)
        if rest:
            self.error(f"{' '.join(rest)} cannot be placed: every value stands behind its flag")
        return namespace

    def parse_known_args(self, args=None, namespace=None):
        try:
            namespace, rest = super().parse_known_args(self.words(args), namespace)
        finally:  # a parser may be asked again, also after what it refused
            shows_config, self._shows_config = self._shows_config, False
        if shows_config and not rest:
            self._print_config(namespace)
        return namespace, rest

    def words(self, given: Iterable[str] | None = None) -> list[str]:
        """A command line, that of the process by default: each flag as it was declared, those of a file among them."""
        words, config, left = [], None, iter(map(str, sys.argv[1:] if given is None else given))
        for word in left:
            if word == "--":
                words += [word, *left]
            elif not word.startswith("--"):
                words.append(word)
            else:
                name, equals, value = word.partition("=")
                flag = self._flag_of(name)
                if "--config" in (flag, name):
                    config = value if equals else next(left, None)
                    if not config:
                        self.error("`config` must be followed by a file of flags, got nothing: name one")
                elif flag == "--print-config":
                    self._shows_config = True
                elif flag is None and self.is_strict:
                    self.error(self._unknown(name))
                else:
                    words.append(f"{flag or name}{equals}{value}")
        return words if config is None else self._with_config(words, config)

    def _flag_of(self, name: str) -> str | None:
        """A flag as it was declared, whichever of `-` and `_` stands in it, or cut short as argparse allows."""
        options = self._option_string_actions
        if name in options:
            return name
        known = {option.replace("-", "_"): option for option in options if option.startswith("--")}
        wanted = name.replace("-", "_")
        if wanted in known:
            return known[wanted]
        found = [option for spelled, option in known.items() if spelled.startswith(wanted)]
        if len({id(options[option]) for option in found}) > 1:
            self.error(f"`{name}` must be one flag, got what {', '.join(found)} begin with: write it out")
        return found[0] if found else None

    def _unknown(self, name: str, place: str = "") -> str:
        named = [action.dest for action in self._actions if not action.option_strings]
        flags = [option[2:] for option in self._option_string_actions if option.startswith("--")]
        wanted = name.lstrip("-").replace("-", "_")
        near = difflib.get_close_matches(wanted, [*flags, *(named if place else ())], n=1)
        prefix = "" if place else "--"
        way_out = f"did you mean {prefix}{near[0]}?" if near else "see --help-all"
        return f"`{wanted}`{place} is no flag of {self.act.name}: {way_out}"

    def error(self, message: str):
        """Ends the program with one sentence and exit status 2."""
        # What a file or a word quotes must not act on the terminal.
        message = "".join(sign if sign.isprintable() else ascii(sign)[1:-1] for sign in " ".join(message.split()))
        self.exit(2, f"{self.prog}: {message}{'' if message[-1] in '.?' else '.'}\n")

    # ---- a file of flags ----

    def _with_config(self, words: list[str], path: str) -> list[str]:
        """The words, and those of a file for all that they leave open."""
        end = words.index("--") if "--" in words else len(words)
        given = {
            id(self._option_string_actions[name])
            for name in (word.partition("=")[0] for word in words[:end])
            if name in self._option_string_actions
        }
        given_to = {action.dest for action in self._actions if id(action) in given}
        added: list[str] = []
        for action, value in self._config_of(path):
            if isinstance(action, str):
                added.append(f"--{action}={_text(value)}")
            elif action.option_strings:
                added += self._words_of(action, value) if action.dest not in given_to else []
            elif action.nargs == "*":
                action.default = [str(word) for word in (value if isinstance(value, list) else [value])]
            else:
                action.nargs, action.default, action.required = "?", _text(value), False
        return [*words[:end], *added, *words[end:]]

    def _config_of(self, path: str) -> Iterator[tuple[argparse.Action | str, Any]]:
        """The flags that a file names, unknown ones by their names, and their values."""
        # Here, since most calls name no file.
        from critic_gpt.training.settings_files import SETTINGS_SUFFIXES, parse_settings

        if Path(path).suffix.lower() not in SETTINGS_SUFFIXES:
            self.error(f"`config` must be a .yaml or .json file, got {path!r}: rename or convert it")
        try:
            content = parse_settings(Path(path))
        except (OSError, ValueError) as error:
            reason = error.strerror if isinstance(error, OSError) else str(error)
            self.error(f"`config` must be a readable file of flags, got {path!r}: {reason}")
        if not isinstance(content, dict):
            self.error(f"`config` must hold flags by name, got {path!r} with none: write `num_steps: 18` for instance")
        by_name: dict[str, argparse.Action] = {}
        for action in self._actions:
            by_name.setdefault(action.dest, action)
        names = [str(key).replace("-", "_") for key in content]
        for name, value in zip(names, content.values(), strict=True):
            if names.count(name) > 1:
                self.error(f"`{name}` must stand once in {path!r}, got it in two spellings: drop one")
            is_known = name in by_name and by_name[name].default != argparse.SUPPRESS
            if not is_known and self.is_strict:
                self.error(self._unknown(name, f" in {path!r}"))
            if value is not None:
                yield by_name[name] if is_known else name, value

    def _words_of(self, action: argparse.Action, value: Any) -> list[str]:
        """How the command line says a value."""
        flag = action.option_strings[0]
        if isinstance(action, argparse.BooleanOptionalAction) or action.nargs == 0:
            if not isinstance(value, bool):
                self.error(f"`{action.dest}` must be true or false, got {value!r}: correct the file")
            no = next((option for option in action.option_strings if option.startswith("--no-")), None)
            return [flag] if value else [no] if no else []
        if value == [] and action.nargs == "+":
            return []
        if isinstance(value, list) and action.nargs in ("+", "*"):
            return [flag, *map(_text, value)]
        # YAML reads a bare `no` as false.
        if value is False and "no" in (action.choices or ()):
            value = "no"
        return [f"{flag}={_text(value)}"]

    def _print_config(self, namespace: argparse.Namespace) -> None:
        import yaml

        dests = dict.fromkeys(action.dest for action in self._actions if action.dest not in SECRETS)
        values = {dest: _plain(getattr(namespace, dest, None)) for dest in dests}
        values = {dest: value for dest, value in values.items() if value is not None}
        sys.stdout.write(yaml.safe_dump(values, sort_keys=False, allow_unicode=True))
        self.exit()

    # ---- help ----

    def format_usage(self) -> str:
        return f"{self._usage()}\n"

    def format_help(self) -> str:
        """All flags in groups, below what the script says of itself."""
        self.usage, self.description = self._usage(), self.act.manual()
        return super().format_help()

    def _usage(self) -> str:
        needed = [action for action in self._actions if action.required]
        words = [_values(action) if not action.option_strings else _flag_and_values(action) for action in needed]
        return " ".join([self.prog, *words, "[flags]"])

    def that_matter(self) -> list[argparse.Action]:
        """The positional arguments, and the flags outside of any group."""
        grouped = {id(action) for group in self._action_groups[2:] for action in group._group_actions}
        return [action for action in self._actions if id(action) not in grouped]

    def short_help(self) -> str:
        """One screen: what it does, examples, and the flags that matter."""
        width = min(WIDTH, shutil.get_terminal_size().columns)
        example = "\n".join(f"  {self.prog} {example}" for example in self.act.examples)
        lines = [f"usage: {self._usage()}", "", f"{self.act.summary[0].upper()}{self.act.summary[1:]}.", "", example]
        rows = [(_flag_and_values(action), _expanded(action)) for action in self.that_matter()]
        own = [
            ("--config FILE", _CONFIG_HELP),
            ("--print-config", _PRINT_HELP),
            ("--help-all", "all flags, in groups, and what comes out"),
        ]
        for part in (rows, own):
            lines.append("")
            for flag, words in part:
                lines += _row(flag, words, width)
        return "\n".join(lines)


_CONFIG_HELP = "YAML or JSON file of flags; what the command line says goes first"
_PRINT_HELP = "print all settings as such a file, and end"


class ActParser(ActParsing, argparse.ArgumentParser):
    """The parser of an act whose flags are declared in `critic_gpt.cli.flags`."""


class _Help(argparse.Action):
    """Prints the short help, or with `--help-all` the long one, and ends."""

    def __init__(self, option_strings, dest, help=None):
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, default=argparse.SUPPRESS, help=help)

    def __call__(self, parser, namespace, values, option_string=None):
        print(parser.format_help() if option_string == "--help-all" else parser.act.short_help())
        parser.exit()


def _expanded(action: argparse.Action) -> str:
    """Its help as the long help shows it, without names that take long to import."""
    words, values = help_of(action), vars(action)
    if isinstance(action.choices, Later):
        words = words.replace(": %(choices)s", "")
    elif "%(choices)" in words:
        values = {**values, "choices": ", ".join(action.choices)}
    return words % values


def _row(flag: str, words: str, width: int) -> list[str]:
    """A flag and its help; a long flag has a line of its own."""
    wrapped = textwrap.wrap(words, max(20, width - FLAG_COLUMNS), break_on_hyphens=False) or [""]
    head = f"  {flag}"
    if len(head) + 2 > FLAG_COLUMNS:
        return [head, *(" " * FLAG_COLUMNS + line for line in wrapped)]
    return [f"{head:<{FLAG_COLUMNS}}{wrapped[0]}".rstrip(), *(" " * FLAG_COLUMNS + line for line in wrapped[1:])]


def _flag_and_values(action: argparse.Action) -> str:
    return " ".join(filter(None, [next(iter(action.option_strings), ""), _values(action)]))


def _values(action: argparse.Action) -> str:
    """What stands behind a flag, in a word."""
    if action.nargs == 0:
        return ""
    few = not isinstance(action.choices, Later) and action.choices is not None and 2 <= len(action.choices) <= 3
    short = {int: "N", float: "X"}.get(action.type, action.dest.upper())
    word = str(action.metavar) if action.metavar else f"{{{','.join(action.choices)}}}" if few else short
    return {"+": f"{word} ...", "*": f"[{word} ...]", "?": f"[{word}]"}.get(action.nargs, word)


def _text(value: Any) -> str:
    """A value of a file as a word."""
    if isinstance(value, dict):
        import json

        return json.dumps(value)
    return ",".join(map(_text, value)) if isinstance(value, list) else str(value)


def _plain(value: Any) -> Any:
    """A value as files hold it."""
    if isinstance(value, Enum):
        return value.value
    if isinstance(value, (list, tuple)):
        return [_plain(part) for part in value]
    return value if isinstance(value, (str, int, float, bool, dict, type(None))) else str(value)
