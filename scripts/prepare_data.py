# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Prepares data: a dataset of token ids, the tokenizer and the task, in one folder.

On a laptop, seconds each:

    python scripts/prepare_data.py --task sudoku --size 6 --num_train 90000 --output_dir data/sudoku-6x6
    python scripts/prepare_data.py --task text --sequence_length 256 --output_dir data/reference

The folder holds a `datasets.DatasetDict` (splits train, validation and test with the one column `input_ids`), the
files of the tokenizer, `task.json`, and for text the words of the training split. It appears complete or not at all.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

from transformers import HfArgumentParser

from critic_gpt.scripts import run_as_program
from critic_gpt.tasks import SPLITS, SudokuTask, TextTask, check_output_dir, save_prepared, words_of


FLAGS = {
    "sudoku": ("size", "num_train", "num_validation", "num_test", "grids_per_base"),
    "text": (
        *("source", "text_column", "dataset_config", "dataset_split"),
        *("tokenizer", "sequence_length", "window", "validation_share", "test_share"),
    ),
}
OWNERS = {flag: task for task, flags in FLAGS.items() for flag in flags}


@dataclass
class PrepareDataArguments:
    """The flags of this script; those of one task are refused with the other."""

    task: Literal["sudoku", "text"] = field(metadata={"help": "What to prepare."})
    output_dir: str = field(metadata={"help": "New or empty folder to write."})
    overwrite: bool = field(default=False, metadata={"help": "Replace data prepared earlier in output_dir."})
    seed: int = field(default=0, metadata={"help": "Seed of the sudoku grids, at least 0; text draws nothing."})

    size: int = field(default=6, metadata={"help": "Side of the grid: 4, 6 or 9."})
    num_train: int = field(default=90_000, metadata={"help": "Grids to train on."})
    num_validation: int = field(default=4096, metadata={"help": "Grids to validate on."})
    num_test: int = field(default=4096, metadata={"help": "Grids to test on."})
    grids_per_base: int = field(default=32, metadata={"help": "9x9: grids made by symmetry from each base grid."})

    source: str | None = field(
        default=None,
        metadata={
            "help": "A UTF-8 file, a dataset folder or a dataset name; left out: Python's reference.",
        },
    )
    text_column: str = field(default="text", metadata={"help": "Column of a dataset."})
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of a dataset."})
    dataset_split: str = field(default="train", metadata={"help": "Split of a dataset to read."})
    tokenizer: str = field(default="character", metadata={"help": "'character', or name or folder of a tokenizer."})
    sequence_length: int = field(default=256, metadata={"help": "Most tokens in a window."})
    window: Literal["fixed", "lines"] = field(
        default="fixed",
        metadata={"help": "'fixed': equal windows; 'lines': whole lines while they fit."},
    )
    validation_share: float = field(default=0.05, metadata={"help": "Share of the characters."})
    test_share: float = field(default=0.05, metadata={"help": "Share of the characters."})

    def __post_init__(self):
        if self.seed < 0:
            raise ValueError(f"`seed` must be at least 0, got {self.seed}; pass 0 or more.")
        for flag in fields(self):
            value, owner = getattr(self, flag.name), OWNERS.get(flag.name, self.task)
            if owner != self.task and value != flag.default:
                raise ValueError(
                    f"`{flag.name}` belongs to the task {owner!r} only, got {value!r} with --task {self.task}; leave "
                    "it out or change --task."
                )


def prepare_sudoku(args: PrepareDataArguments) -> dict[str, Any]:
    """Draws the grids; returns the arguments `windows`, `tokenizer` and `metadata` of `save_prepared`."""
    task = SudokuTask(args.size)
    sizes = {split: getattr(args, f"num_{split}") for split in SPLITS}
    for split, num in sizes.items():
        if num < 1:
            raise ValueError(f"`num_{split}` must be at least 1, got {num}; ask for one grid or more.")
    grids = task.sample_splits(sizes, args.seed, args.grids_per_base)
    tokenizer = task.tokenizer()
    metadata = {
        "task": task.name,
        "size": task.size,
        "sequence_length": task.sequence_length,
        "seed": args.seed,
        "source": f"sudoku {task.size}x{task.size}",
        **({"grids_per_base": args.grids_per_base} if task.size == 9 else {}),
        "vocab_size": len(tokenizer),
        "num_examples": sizes,
        "num_tokens": {split: num * task.sequence_length for split, num in sizes.items()},
    }
    windows = {split: task.to_input_ids(part, tokenizer) for split, part in grids.items()}
    return {"windows": windows, "tokenizer": tokenizer, "metadata": metadata}


def prepare_text(args: PrepareDataArguments) -> dict[str, Any]:
    """Reads, splits and encodes the corpus; returns arguments of `save_prepared`, the training words among them."""
    task = TextTask(
        source=args.source,
        text_column=args.text_column,
        dataset_config=args.dataset_config,
        dataset_split=args.dataset_split,
        tokenizer_name=args.tokenizer,
        sequence_length=args.sequence_length,
        window=args.window,
        validation_share=args.validation_share,
        test_share=args.test_share,
    )
    corpus = task.read()
    splits = task.split(corpus.text)
    tokenizer = task.tokenizer(corpus.text)
    windows = {split: task.windows(text, tokenizer, split) for split, text in splits.items()}
    metadata = {
        "task": task.name,
        "sequence_length": task.sequence_length,
        "window": task.window,
        "validation_share": task.validation_share,
        "test_share": task.test_share,
        "seed": args.seed,
        "source": corpus.title,
        "source_sha256": corpus.sha256,
        "tokenizer": args.tokenizer.rstrip("/").rpartition("/")[2],  # no folder of this machine in a file to publish
        "vocab_size": len(tokenizer),
        "num_characters": {split: len(text) for split, text in splits.items()},
        "num_examples": {split: len(part) for split, part in windows.items()},
        "num_tokens": {split: sum(map(len, part)) for split, part in windows.items()},
    }
    words = set(words_of(splits["train"]))
    return {"windows": windows, "tokenizer": tokenizer, "metadata": metadata, "train_words": words}


def main(argv: Sequence[str] | None = None) -> None:
    """
    Prepares a folder of data.

    Args:
        argv (`Sequence[str]`, *optional*):
            The flags; by default those of the command line.

    Raises:
        `ValueError`: If a flag is out of its range or `output_dir` is taken.
        `FileNotFoundError`: If `source` is a missing file.
    """
    (args,) = HfArgumentParser(PrepareDataArguments, description=__doc__.split("\n")[1]).parse_args_into_dataclasses(
        args=argv
    )
    check_output_dir(args.output_dir, args.overwrite)  # before the work, not only after it
    prepared = prepare_sudoku(args) if args.task == "sudoku" else prepare_text(args)
    save_prepared(args.output_dir, **prepared, overwrite=args.overwrite)
    counts = ", ".join(f"{split} {num}" for split, num in prepared["metadata"]["num_examples"].items())
    print(f"Prepared {prepared['metadata']['source']} in {args.output_dir}: {counts} examples.")


if __name__ == "__main__":
    run_as_program(main, "prepare_data")
