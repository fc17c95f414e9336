# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The acts of `critic-gpt`, each served by one script."""

import ast
import importlib
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any


SCRIPTS = Path(__file__).resolve().parents[1] / "scripts"


@dataclass(frozen=True)
class Act:
    """
    One act.

    Args:
        name (`str`): What comes after `critic-gpt`.
        script (`str`): The module of `scripts/` that does it.
        summary (`str`): What it does, in a line.
        examples (`tuple[str, ...]`): Command lines, without `critic-gpt NAME`.
        is_everyday (`bool`, *optional*, defaults to `True`): Whether `critic-gpt --help` lists it; tools for whoever
            works on this package are scripts alone.
    """

    name: str
    script: str
    summary: str
    examples: tuple[str, ...]
    is_everyday: bool = True

    @property
    def program(self) -> str:
        """What was typed to get here: the script, or else the command."""
        typed = Path(sys.argv[0]).name
        if typed == f"{self.script}.py" or not self.is_everyday:
            return f"{self.script}.py"
        return f"critic-gpt {self.name}"

    def manual(self) -> str:
        """The docstring of the script, read without running it."""
        tree = ast.parse((SCRIPTS / f"{self.script}.py").read_text(encoding="utf-8"))
        return ast.get_docstring(tree) or self.summary

    def short_help(self) -> str:
        """One screen: an example, and the flags that matter."""
        flags: Any = importlib.import_module("critic_gpt.cli.flags")
        return getattr(flags, f"{self.name}_parser")().short_help()


_DECLARED = (
    Act(
        "prepare",
        "prepare_data",
        "makes data: a dataset of token ids, the tokenizer and the task, in one folder",
        (
            "--task text --source book.txt --sequence_length 128 --output_dir runs/book/data",
            "--task sudoku --size 6 --num_train 90000 --output_dir runs/data",
        ),
    ),
    Act(
        "train",
        "train",
        "trains a language model with a critic, or a classifier or scorer",
        ("--data_dir runs/data --output_dir runs/model --add_critic_head True --max_steps 700",),
    ),
    Act(
        "calibrate",
        "calibrate",
        "measures how often the critic's verdicts come true, and writes calibration.json beside the weights",
        ("runs/data runs/model 1024 --split validation",),
    ),
    Act(
        "generate",
        "generate",
        "generates text, and says of every token how likely it is wrong",
        ('--model runs/model --prompt "12[MASK]*34" --num_steps 18 --seed 0',),
    ),
    Act(
        "evaluate",
        "evaluate",
        "measures a model: bound, calibration, and samples of all strategies at equal cost",
        ("--model runs/model --data_dir runs/data --output_dir runs/report",),
    ),
    Act(
        "proofread",
        "proofread",
        "marks what is probably wrong in a text, suggests replacements, and corrects it if asked",
        ("--model runs/model letter.txt --correct --output corrected.txt",),
    ),
    Act(
        "explore",
        "explore",
        "looks at samples, masks and the critic's verdict, and denoises by hand; in the terminal or as a page",
        ("--model runs/model --data_dir runs/data --web",),
    ),
    Act(
        "push",
        "push_to_hub",
        "pushes a model's folder to the Hugging Face Hub, complete, in one commit",
        ("--model runs/model --repo_id me/sudoku --private",),
    ),
    Act(
        "convert",
        "convert_nanogpt_checkpoint",
        "turns a checkpoint of nanoGPT, or of a fork with a critic, into the folder of a model",
        ("out/ckpt.pt runs/converted --mask_token_id 50257 --pad_token_id 50258",),
    ),
    Act(
        "compare",
        "compare_recipes",
        "trains one model by each recipe of a file, and says what every recipe costs and brings",
        ("--recipes scripts/configs/critic_recipes.yaml --data_dir runs/data --output_dir runs/recipes",),
    ),
    Act(
        "benchmark",
        "benchmark",
        "times the forward pass, training steps and generation, alone or against another checkout",
        ("--output runs/benchmark.json",),
        is_everyday=False,
    ),
    Act(
        "record",
        "record_results",
        "records what evaluate measured, and writes the tables of the documents from the records",
        ("--report runs/demo/report --name sudoku-6x6 --note machine='two CPU cores'",),
        is_everyday=False,
    ),
    Act(
        "document",
        "document_settings",
        "writes the tables of docs/GENERATION.md from the declarations of settings and strategies",
        ("",),
        is_everyday=False,
    ),
)
ACTS = {act.name: act for act in _DECLARED}
