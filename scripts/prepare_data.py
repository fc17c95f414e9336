# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Prepares data: a dataset of token ids, the tokenizer and the task, in one folder.

On a laptop, seconds each:

    python scripts/prepare_data.py --task sudoku --size 6 --num_train 90000 --output_dir data/sudoku-6x6
    python scripts/prepare_data.py --task sudoku --size 9 --num_train 48000 --num_puzzles 1000 --output_dir data/sudoku
    python scripts/prepare_data.py --task text --sequence_length 256 --output_dir data/reference
    python scripts/prepare_data.py --task fillings --model runs/lm --data_dir data/reference --output_dir data/fillings

The folder holds a `datasets.DatasetDict` (splits train, validation and test with the column `input_ids`), the files of
the tokenizer, `task.json`, and for text the words of the training split. Text is read in pieces and may be larger than
memory; --judge_share keeps the end of it from the model, as one more split, "judge". Grids with --num_puzzles have
`puzzles.txt` beside them: puzzles with exactly one solution, each from a grid that is in no split (for 9x9 nor any of
its twins by symmetry). `fillings` has two columns more: `labels`, 1 where the model filled a mask rightly, 0 where
wrongly and -100 elsewhere, and `score`, the share of wrong tokens; train.py learns from them. A folder appears
complete or not at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from transformers import HfArgumentParser

from critic_gpt.evaluation.fillings import labelled_fillings
from critic_gpt.scripts import load_model, run_as_program
from critic_gpt.tasks import (
    SPLITS,
    SudokuPuzzles,
    SudokuTask,
    TextTask,
    check_output_dir,
    load_prepared,
    read_metadata,
    save_prepared,
)
from critic_gpt.tasks.text import iterate_words


FLAGS = {
    "sudoku": ("size", "num_train", "num_validation", "num_test", "grids_per_base", "num_puzzles", "blanks"),
    "text": (
        *("source", "text_column", "dataset_config", "dataset_split"),
        *("tokenizer", "sequence_length", "window", "validation_share", "test_share", "judge_share"),
    ),
    "fillings": ("model", "data_dir", "num_sequences", "batch_size"),
}
# 51 blanks are the benchmark of PRISM (Kim et al., 2025); smaller grids keep somewhat more of their cells.
DEFAULT_BLANKS = {4: 8, 6: 20, 9: 51}
OWNERS = {flag: task for task, flags in FLAGS.items() for flag in flags}


@dataclass
class PrepareDataArguments:
    """The flags of this script; those of one task are refused with the other."""

    task: Literal["sudoku", "text", "fillings"] = field(metadata={"help": "What to prepare."})
    output_dir: str = field(metadata={"help": "New or empty folder to write."})
    overwrite: bool = field(default=False, metadata={"help": "Replace data prepared earlier in output_dir."})
    seed: int = field(default=0, metadata={"help": "Seed of grids and fillings, at least 0; text draws nothing."})

    size: int = field(default=6, metadata={"help": "Side of the grid: 4, 6 or 9."})
    num_train: int = field(default=90_000, metadata={"help": "Grids to train on."})
    num_validation: int = field(default=4096, metadata={"help": "Grids to validate on."})
    num_test: int = field(default=4096, metadata={"help": "Grids to test on."})
    grids_per_base: int = field(default=32, metadata={"help": "9x9: grids made by symmetry from each base grid."})
    num_puzzles: int = field(default=0, metadata={"help": "Puzzles with one solution each, beside the splits."})
    blanks: int | None = field(default=None, metadata={"help": "Blanks in each puzzle; 9x9: 51, 6x6: 20, 4x4: 8."})

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
    judge_share: float = field(default=0.0, metadata={"help": "Share kept from the model, to train a judge on."})

    model: str | None = field(default=None, metadata={"help": "Folder or hub name of the model that fills."})
    data_dir: str | None = field(default=None, metadata={"help": "Prepared folder whose sequences it fills."})
    num_sequences: int | None = field(default=None, metadata={"help": "Sequences of each split; default: all."})
    batch_size: int = field(default=64, metadata={"help": "Sequences that are filled at once."})

    def __post_init__(self):
        if self.seed < 0:
            raise ValueError(f"`seed` must be at least 0, got {self.seed}; pass 0 or more.")
        if self.task == "fillings" and (self.model is None or self.data_dir is None):
            raise ValueError(
                f"`model` and `data_dir` must be given with --task fillings, got {self.model!r} and "
                f"{self.data_dir!r}; name a trained model and the prepared folder it was trained on."
            )
        for name in ("num_sequences", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}; ask for one sequence or more.")
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
    if args.num_puzzles == 0 and args.blanks is not None:
        raise ValueError(f"`blanks` needs `num_puzzles`, got {args.blanks} and 0 puzzles; ask for some, or drop it.")
    if args.num_puzzles < 0:
        raise ValueError(f"`num_puzzles` must be at least 0, got {args.num_puzzles}; 1000 is usual.")
    grids = task.sample_splits(sizes, args.seed, args.grids_per_base)
    tokenizer, puzzles = task.tokenizer(), None
    blanks = DEFAULT_BLANKS[task.size] if args.blanks is None else args.blanks
    if args.num_puzzles:
        everywhere = np.concatenate(list(grids.values()))
        puzzles = SudokuPuzzles.draw(task, args.num_puzzles, blanks, args.seed, apart_from=everywhere)
    metadata = {
        "task": task.name,
        "size": task.size,
        "sequence_length": task.sequence_length,
        "seed": args.seed,
        "source": f"sudoku {task.size}x{task.size}",
        **({"grids_per_base": args.grids_per_base} if task.size == 9 else {}),
        **({"num_puzzles": args.num_puzzles, "blanks": blanks} if puzzles is not None else {}),
        "vocab_size": len(tokenizer),
    }
    windows = {split: task.to_input_ids(part, tokenizer) for split, part in grids.items()}
    return {"windows": windows, "tokenizer": tokenizer, "metadata": metadata, "puzzles": puzzles}


def prepare_text(args: PrepareDataArguments) -> dict[str, Any]:
    """
    Surveys the corpus; returns arguments of `save_prepared`, which reads, encodes and writes it piece by piece.
    """
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
        judge_share=args.judge_share,
    )
    survey = task.survey()
    bounds = task.bounds(survey.num_characters)
    tokenizer = task.tokenizer(survey.alphabet)
    words: set[str] = set()

    def windows_of(split: str) -> Iterator[np.ndarray]:
        if split == "train":
            for some in iterate_words(task.pieces(bounds[split])):
                words.update(some)
        yield from task.iterate_windows(task.pieces(bounds[split]), tokenizer, split)

    metadata = {
        "task": task.name,
        "sequence_length": task.sequence_length,
        "window": task.window,
        "validation_share": task.validation_share,
        "test_share": task.test_share,
        **({"judge_share": task.judge_share} if task.judge_share else {}),
        "seed": args.seed,
        "source": survey.title,
        "source_sha256": survey.sha256,
        "tokenizer": args.tokenizer.rstrip("/").rpartition("/")[2],  # no folder of this machine in a file to publish
        "vocab_size": len(tokenizer),
        "num_characters": {split: end - begin for split, (begin, end) in bounds.items()},
    }
    windows = {split: windows_of(split) for split in bounds}
    return {"windows": windows, "tokenizer": tokenizer, "metadata": metadata, "train_words": words}


def prepare_fillings(args: PrepareDataArguments) -> dict[str, Any]:
    """Loads the model and its data; returns arguments of `save_prepared`, which lets the model fill row by row."""
    splits, tokenizer, task = load_prepared(args.data_dir)
    source = read_metadata(args.data_dir)
    if "fillings" in source:
        raise ValueError(
            f"`data_dir` must hold true sequences, got {args.data_dir!r}, which holds fillings; give the folder that "
            "they were made from."
        )
    model = load_model("model", args.model, tokenizer, task.sequence_length)
    model.to("cuda" if torch.cuda.is_available() else "cpu")
    windows = {
        split: labelled_fillings(model, splits[split], tokenizer, args.num_sequences, args.batch_size, args.seed)
        for split in SPLITS
    }
    made = {"model": Path(args.model).name, "seed": args.seed, "num_sequences": args.num_sequences}
    words = task.train_words if isinstance(task, TextTask) else None
    return {"windows": windows, "tokenizer": tokenizer, "metadata": {**source, "fillings": made}, "train_words": words}


PREPARE = {"sudoku": prepare_sudoku, "text": prepare_text, "fillings": prepare_fillings}


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
    prepared = PREPARE[args.task](args)
    metadata = save_prepared(args.output_dir, **prepared, overwrite=args.overwrite)
    counts = ", ".join(f"{split} {num}" for split, num in metadata["num_examples"].items())
    puzzles = (
        f", {metadata['num_puzzles']} puzzles of {metadata['blanks']} blanks" if "num_puzzles" in metadata else ""
    )
    print(f"Prepared {metadata['source']} in {args.output_dir}: {counts} examples{puzzles}.")


if __name__ == "__main__":
    run_as_program(main, "prepare_data")
