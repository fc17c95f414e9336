# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Looks at a model and its data: samples, masks, the critic's verdict, denoising by hand.

    python scripts/explore.py --model runs/demo/model --data_dir runs/demo/data
    python scripts/explore.py --model runs/demo/model --data_dir runs/demo/data --web
    python scripts/explore.py --model runs/demo/model --data_dir runs/demo/data --view critic --index 3 --json

Without --view commands are read, one a line: `help` lists them. --web opens a page on this machine instead, --view
shows one view and ends, with --json as data. Masks are those of scripts/evaluate.py, unless --seed or --mask_rate
says otherwise. --strategy_module my_strategies.py adds strategies of your own to those that generate.
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("explore")  # before anything is imported that takes long

import argparse
import json
from pathlib import Path
from typing import Any

from rich.console import Console

from critic_gpt.cli.flags import explore_parser
from critic_gpt.cli.generation_flags import import_strategies
from critic_gpt.explorer import (
    Explorer,
    corrupted_view,
    critic_view,
    generation_view,
    sample_view,
    start_from_sample,
    start_from_text,
    text_view,
    view_data,
)
from critic_gpt.explorer.terminal import TerminalSession, draw
from critic_gpt.explorer.web import serve
from critic_gpt.hub.vocabulary import read_tokenizer
from critic_gpt.scripts import load_model, one_line, run_as_program
from critic_gpt.tasks import load_prepared


def load_explorer(model: str, data_dir: str | None = None, critic_regime: str | None = None) -> Explorer:
    """
    Loads what is to be explored.

    Args:
        model (`str`): Folder or hub name of a model.
        data_dir (`str`, *optional*): Folder of prepared data, whose tokenizer is then used.
        critic_regime (`str`, *optional*): As for [`Explorer`].

    Returns:
        [`Explorer`].
    """
    if data_dir is not None:
        splits, tokenizer, task = load_prepared(data_dir)
        loaded = load_model("model", model, tokenizer, task.sequence_length)
        return Explorer(loaded, tokenizer, splits, task, critic_regime, name_of(model))
    loaded = load_model("model", model)
    try:
        tokenizer = read_tokenizer(model)
    except ValueError as error:
        raise ValueError(
            f"`model` must have its tokenizer beside it where no data are given, got {model!r} without "
            f"({one_line(error)}): pass --data_dir."
        ) from error
    return Explorer(loaded, tokenizer, critic_regime=critic_regime, name=name_of(model))


def name_of(model: str) -> str:
    """What a model is called: its name on the hub, or its folder with the one around it, which often tells more."""
    path = Path(model)
    return "/".join(path.resolve().parts[-2:]) if path.exists() else model


def one_view(explorer: Explorer, args: argparse.Namespace) -> Any:
    """The view that the flags ask for."""
    place = (args.index, args.split)
    if args.view == "sample":
        return sample_view(explorer, *place)
    if args.view == "corrupted":
        return corrupted_view(explorer, *place, args.mask_rate, args.seed)
    if args.view == "critic":
        return critic_view(explorer, *place, args.mask_rate, args.seed, args.threshold)
    if args.view == "text":
        if args.text is None:
            raise ValueError("`text` must be given for the view text, got none: write --text.")
        return text_view(explorer, args.text, args.threshold)
    if args.text is None:
        state = start_from_sample(explorer, *place, args.mask_rate, args.seed)
    else:
        state = start_from_text(explorer, args.text, args.seed)
    given = {"remasking": args.remasking, "num_steps": args.num_steps}
    options = {name: value for name, value in given.items() if value is not None}
    return generation_view(explorer, state, args.threshold, **options)


def check(args: argparse.Namespace) -> None:
    """Refuses flags that exclude each other or would go unheard."""
    if args.json and args.view is None:
        raise ValueError("`json` must go with a view to print, got none: add --view, or type json in a session.")
    if args.web and args.view is not None:
        raise ValueError(f"`web` must stand without --view, got {args.view!r}: drop one of the two.")
    if args.text is not None and args.view not in ("text", "generate"):
        raise ValueError(f"`text` is for the views text and generate, got it with {args.view}: name one by --view.")
    for name in ("remasking", "num_steps"):
        if getattr(args, name) is not None and args.view != "generate":
            raise ValueError(f"`{name}` is for --view generate, got {getattr(args, name)!r}: add it, or type gen.")


def main(argv: list[str] | None = None) -> Any:
    """Explores; returns the view, if one was asked for."""
    import_strategies(argv)
    args = explore_parser().parse_args(argv)
    check(args)
    explorer = load_explorer(args.model, args.data_dir, args.critic_regime)
    begin = {name: getattr(args, name) for name in ("split", "index", "mask_rate", "seed", "threshold")}
    if args.web:
        serve(explorer, host=args.host, port=args.port, **begin)
        return None
    if args.view is None:
        TerminalSession(explorer, **begin).run()
        return None
    view = one_view(explorer, args)
    if args.json:
        print(json.dumps(view_data(view), allow_nan=False))
    else:
        draw(view, Console())
    return view


if __name__ == "__main__":
    run_as_program(main, "explore")
