# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about lines typed at a terminal: completed by Tab, remembered from one time to the next."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from critic_gpt.explorer import command_line
from critic_gpt.explorer.terminal import TerminalSession


pty = pytest.importorskip("pty", reason="Windows has neither terminals of this kind nor readline")
pytest.importorskip("readline", reason="this Python was built without readline")
# The module alone: it imports nothing of ours, and a terminal of its own needs a process of its own.
READER = """
import runpy, sys
typed = runpy.run_path(sys.argv[1])["typed_lines"](lambda line: ["alpha", "beta"] if " " not in line else ["two"])
for line in typed:
    print(repr(line), file=sys.stderr)
    if line == "q":
        break
typed.close()
"""


def typed(lines, home):
    """What the program reads where somebody types these lines, each once it is asked for."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", READER, str(Path(command_line.__file__))]
    settings = {**os.environ, "XDG_STATE_HOME": str(home), "TERM": "dumb", "INPUTRC": os.devnull}
    running = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=subprocess.PIPE, env=settings, text=True)
    os.close(theirs)
    for line in lines:
        shown = b""
        while not shown.endswith(b"> "):
            shown += os.read(ours, 1024)
        os.write(ours, line.encode())
    _, said = running.communicate(timeout=60)
    os.close(ours)
    assert running.returncode == 0, said
    return said.splitlines()


def test_words_are_completed_and_what_was_typed_is_there_the_next_time(tmp_path):
    assert typed(["al\tt\tx  \n", "q\n"], tmp_path) == ["'alpha two x  '", "'q'"], "blanks at the end are kept"
    assert typed(["\x1b[A\x1b[A\n", "\x04"], tmp_path) == ["'alpha two x  '"], "the end of the input ends it"


def test_a_home_that_may_not_be_written_to_changes_nothing(tmp_path):
    (tmp_path / "file").write_text("")
    assert typed(["beta\n", "q\n"], tmp_path / "file") == ["'beta'", "'q'"]


def test_commands_splits_and_strategies_are_known_by_their_place(explorer):
    session = TerminalSession(explorer)
    assert {"gen", "split", "q", "help"} <= set(session.words("")) and session.words("x some") == []
    assert session.words("split ") == ["validation", "test"] and "critic_full" in session.words("gen cr")
    assert session.words("r ") == ["threshold", "random", "at"] and session.words("gen critic 8") == []
