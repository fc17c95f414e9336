# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The command `critic-gpt`, and the help of every script before it imports anything that takes long."""

import difflib
import functools
import importlib
import os
import sys
from collections.abc import Sequence

from critic_gpt import __version__
from critic_gpt.cli.acts import ACTS, Act


HELP = ("-h", "--help")
# Exit status of a command line that is wrong, as of `argparse`.
WRONG = 2


def overview() -> str:
    """All acts, a line each."""
    lines = [f"  {act.name:<11}{act.summary}" for act in ACTS.values() if act.is_everyday]
    return "\n".join(
        [
            "usage: critic-gpt COMMAND [flags]",
            "",
            "Masked diffusion language models that know which of their tokens are wrong.",
            "",
            *lines,
            "",
            "critic-gpt COMMAND --help shows an example and the flags that matter, --help-all all of them.",
            "Flags are written --num-steps or --num_steps, and may stand in a file: --config run.yaml.",
            "Several processes or GPUs: accelerate launch scripts/train.py, with the same flags.",
        ]
    )


def wants_help(words: Sequence[str]) -> bool:
    """Whether a command line asks for the short help."""
    words = list(words)
    return any(word in HELP for word in words[: words.index("--") if "--" in words else len(words)])


def wait_asleep() -> None:
    """
    Threads that wait for others sleep: by default they spin, and beside other work on the same cores a step then takes
    ten times as long. Heard by OpenMP when torch is imported; a policy of the user's own stays.
    """
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")


def answer_help(name: str) -> None:
    """For the head of a script that is run as a program: prints the short help and ends, if it was asked for."""
    wait_asleep()
    if wants_help(sys.argv[1:]):
        print(ACTS[name].short_help())
        sys.exit()


def act_of(name: str) -> Act:
    """The act of a name, or of the name of its script; ends the program where there is none."""
    if name in ACTS:
        return ACTS[name]
    for act in ACTS.values():
        if name.replace("-", "_") == act.script:
            return act
    near = difflib.get_close_matches(name, [act.name for act in ACTS.values() if act.is_everyday], n=1)
    way_out = f"did you mean {near[0]}?" if near else "see critic-gpt --help."
    print(f"critic-gpt: {name!r} is no command: {way_out}", file=sys.stderr)
    sys.exit(WRONG)


def main(argv: Sequence[str] | None = None) -> None:
    """The command line of `critic-gpt`."""
    words = list(sys.argv[1:] if argv is None else argv)
    if not words or words[0] in (*HELP, "--help-all", "help"):
        print(overview())
        return
    if words[0] in ("--version", "-V"):
        print(f"critic_gpt {__version__}")
        return
    act, rest = act_of(words[0]), words[1:]
    if wants_help(rest):
        print(act.short_help())
        return
    wait_asleep()
    try:
        program = importlib.import_module(f"critic_gpt.scripts.{act.script}")
        scripts = importlib.import_module("critic_gpt.scripts")
    except KeyboardInterrupt:
        sys.exit(130)  # as shells have it
    status_of = getattr(program, "status_of", None)
    scripts.run_as_program(functools.partial(program.main, rest), act.name, status_of)


if __name__ == "__main__":
    main()
