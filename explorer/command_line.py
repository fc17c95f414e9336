# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Lines typed at a terminal, with what the standard library's `readline` gives: editing, history, completion by Tab.

`cmd.Cmd` reads the same way, but takes the blanks at the end of a line away, which may belong to a text; and
prompt_toolkit would be one more package for the same keys.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from types import ModuleType


PROMPT = "> "
MOST_KEPT = 1000


def history_file() -> Path:
    """Where what was typed is kept for the next time."""
    return (
        Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "critic_gpt" / "explore_history"
    )


def typed_lines(words: Callable[[str], list[str]]) -> Iterator[str]:
    """
    Lines as they are typed, until the end of the input.

    Args:
        words (callable): What the last word might be, of the line so far.
    """
    readline = _prepared(words)
    try:
        while True:
            try:
                yield input(PROMPT)
            except EOFError:
                return
    finally:
        if readline is not None:
            _keep(readline)


def _prepared(words: Callable[[str], list[str]]) -> ModuleType | None:
    """`readline`, ready; `None` where Python has none, as on Windows: lines are then read as they come."""
    try:
        import readline
    except ImportError:
        return None

    def complete(begun: str, number: int) -> str | None:
        line = readline.get_line_buffer()[: readline.get_endidx()]
        found = [word for word in words(line) if word.startswith(begun)]
        return f"{found[number]} " if number < len(found) else None

    readline.set_completer(complete)
    readline.set_completer_delims(" ")
    on_a_mac = "libedit" in (readline.__doc__ or "")
    readline.parse_and_bind("bind ^I rl_complete" if on_a_mac else "tab: complete")
    with suppress(OSError):  # none yet, or not to be read
        readline.read_history_file(history_file())
    return readline


def _keep(readline: ModuleType) -> None:
    readline.set_completer(None)
    readline.set_history_length(MOST_KEPT)
    with suppress(OSError):  # a home that may not be written to: nothing else depends on it
        history_file().parent.mkdir(parents=True, exist_ok=True)
        readline.write_history_file(history_file())
