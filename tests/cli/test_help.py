# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Help comes at once, and on one screen."""

import os
import subprocess
import sys

import pytest
from act_parsers import full_parser
from sources import ROOT

from critic_gpt.cli import flags
from critic_gpt.cli.acts import ACTS
from critic_gpt.cli.command import main


# Seconds of CPU, user and system. Measured: 0.12 to 0.25 on a busy core of 2023; to import torch alone takes 4.
BOUND = 0.5
LINES, COLUMNS = 40, 80
SLOW = {"torch", "transformers", "numpy", "datasets", "accelerate"}
COMMAND = ["-m", "critic_gpt.cli.command"]
PROGRAMS = {
    "critic-gpt": COMMAND,
    **{f"critic-gpt {name}": [*COMMAND, name] for name, act in ACTS.items() if act.is_everyday},
    **{f"{act.script}.py": [str(ROOT / "scripts" / f"{act.script}.py")] for act in ACTS.values()},
}


def run_measured(command: list[str]) -> tuple[str, str, float]:
    """What a program prints, what it imports, and the seconds of CPU it takes."""
    environment = {**os.environ, "COLUMNS": str(COLUMNS), "PYTHONDONTWRITEBYTECODE": "1"}
    before = os.times()
    done = subprocess.run(
        [sys.executable, "-X", "importtime", *command], capture_output=True, text=True, env=environment
    )
    after = os.times()
    assert done.returncode == 0, done.stderr[-2000:]
    seconds = after.children_user + after.children_system - before.children_user - before.children_system
    return done.stdout, done.stderr, seconds


@pytest.mark.parametrize("program", PROGRAMS)
def test_help_takes_half_a_second_and_imports_nothing_that_takes_long(program):
    seconds = []
    for _ in range(3):  # the first run may have to compile; a busy machine gets another chance
        said, imported, spent = run_measured([*PROGRAMS[program], "--help"])
        seconds.append(spent)
        if spent < BOUND:
            break
    modules = {line.rpartition("|")[2].strip().partition(".")[0] for line in imported.splitlines()}
    assert not modules & SLOW
    assert min(seconds) < BOUND
    assert said.startswith(f"usage: {program} ") and len(said.splitlines()) <= LINES


@pytest.mark.parametrize("name", ACTS)
def test_the_short_help_has_an_example_and_about_ten_flags(name, monkeypatch):
    monkeypatch.setenv("COLUMNS", str(COLUMNS))
    act, parser = ACTS[name], getattr(flags, f"{name}_parser")()
    said = parser.short_help()
    assert act.short_help() == said
    assert all(example in said for example in act.examples)
    assert len(parser.that_matter()) <= 15
    for action in parser.that_matter():
        assert not action.option_strings or action.option_strings[0] in said
    for flag in ("--config", "--print-config", "--help-all"):
        assert flag in said


@pytest.mark.parametrize("name", ["prepare", "train"])
def test_flags_that_were_read_from_the_source_are_those_of_the_act(name):
    full = {action.dest: action for action in full_parser(name)._actions}
    of_tasks = {"prepare": {"model", "data_dir", "task"}, "train": set()}[name]
    for action in getattr(flags, f"{name}_parser")().that_matter():
        real = full[action.dest]
        if action.default is not None:
            assert action.default == real.default
        assert action.required == real.required
        if action.dest not in {*of_tasks, *flags.OF_TRANSFORMERS}:
            words = real.help.rstrip(".")
            assert action.help.partition(" (")[0].startswith(f"{words[0].lower()}{words[1:]}".partition(" (")[0])


@pytest.mark.parametrize("name", ACTS)
def test_all_flags_are_in_the_long_help_below_what_the_script_says(name, capsys):
    parser = full_parser(name)
    said = parser.format_help()
    for action in parser._actions:
        assert not action.option_strings or action.option_strings[0] in said
    assert ACTS[name].manual().splitlines()[0] in said
    with pytest.raises(SystemExit) as stop:
        parser.parse_args(["--help-all"])
    assert stop.value.code == 0 and capsys.readouterr().out.strip() == said.strip()


def test_the_overview_names_every_everyday_act(capsys):
    main([])
    bare = capsys.readouterr().out
    main(["--help"])
    assert capsys.readouterr().out == bare
    for act in ACTS.values():
        assert (f"\n  {act.name} " in bare) == act.is_everyday
