# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Prepares data: a dataset of token ids, the tokenizer and the task, in one folder.

On a laptop, seconds each:

    python scripts/prepare_data.py --task sudoku --size 6 --num_train 90000 --output_dir data/sudoku-6x6
    python scripts/prepare_data.py --task sudoku --size 9 --num_train 48000 --num_puzzles 1000 --output_dir data/sudoku
    python scripts/prepare_data.py --task text --sequence_length 256 --output_dir data/reference
    python scripts/prepare_data.py --task smiles --source molecules.smi --output_dir data/molecules
    python scripts/prepare_data.py --task fillings --model runs/lm --data_dir data/reference --output_dir data/fillings

The folder holds a `datasets.DatasetDict` (splits train, validation and test with the column `input_ids`), the files of
the tokenizer, `task.json`, and for text the words of the training split. Text is read in pieces and may be larger than
memory; --judge_share keeps the end of it from the model, as one more split, "judge". Grids with --num_puzzles have
`puzzles.txt` beside them: puzzles with exactly one solution, each from a grid that is in no split (for 9x9 nor any of
its twins by symmetry). `smiles` takes --source and what goes with it, --num_train, --sequence_length (64 by default),
--validation_share and --test_share (0.01 each). `fillings` has two columns more: `labels`, 1 where the model filled a
mask rightly, 0 where wrongly and -100 elsewhere, and `score`, the share of wrong tokens; train.py learns from them. A
folder appears complete or not at all.
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("prepare")  # before anything is imported that takes long

import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import Any, ClassVar, Protocol

import torch
from tqdm import tqdm
from transformers import HfArgumentParser

from critic_gpt.cli.acts import ACTS
from critic_gpt.cli.dataclass_parser import DataclassActParser
from critic_gpt.cli.parser import ActParser
from critic_gpt.evaluation.fillings import labelled_fillings
from critic_gpt.scripts import load_model, run_as_program, say
from critic_gpt.tasks import (
    SPLITS,
    TASKS,
    Prepared,
    check_output_dir,
    load_prepared,
    read_metadata,
    save_prepared,
)


class Preparation(Protocol):
    """What makes data: any [`Task`], and the fillings below."""

    Flags: type

    @classmethod
    def prepare(cls, flags: Any, seed: int) -> Prepared: ...


@dataclass
class FillingsFlags:
    """The flags of `--task fillings`."""

    _argument_group_name: ClassVar[str] = "with --task fillings"

    model: str | None = field(default=None, metadata={"help": "Folder or hub name of the model that fills."})
    data_dir: str | None = field(default=None, metadata={"help": "Prepared folder whose sequences it fills."})
    num_sequences: int | None = field(default=None, metadata={"help": "Sequences of each split; default: all."})
    batch_size: int = field(default=64, metadata={"help": "Sequences that are filled at once."})

    def __post_init__(self):
        if self.model is None or self.data_dir is None:
            raise ValueError(
                f"`model` and `data_dir` must be given with --task fillings, got {self.model!r} and "
                f"{self.data_dir!r}; name a trained model and the prepared folder it was trained on."
            )
        for name in ("num_sequences", "batch_size"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}; ask for one sequence or more.")


class Fillings:
    """A model's own fillings of data of any task, which stay data of that task."""

    Flags = FillingsFlags

    @classmethod
    def prepare(cls, flags: FillingsFlags, seed: int) -> Prepared:
        """Loads the model and its data; the model fills row by row while they are written."""
        splits, tokenizer, task = load_prepared(flags.data_dir)
        source = read_metadata(flags.data_dir)
        if "fillings" in source:
            raise ValueError(
                f"`data_dir` must hold true sequences, got {flags.data_dir!r}, which holds fillings; give the folder "
                "that they were made from."
            )
        model = load_model("model", flags.model, tokenizer, task.sequence_length)
        model.to("cuda" if torch.cuda.is_available() else "cpu")
        windows = {
            split: labelled_fillings(model, splits[split], tokenizer, flags.num_sequences, flags.batch_size, seed)
            for split in SPLITS
        }
        made = {"model": Path(flags.model).name, "seed": seed, "num_sequences": flags.num_sequences}
        return Prepared(windows, tokenizer, {**source, "fillings": made}, task.files())


def preparations() -> dict[str, type[Preparation]]:
    """What `--task` may name; tasks that are registered later count, too."""
    return {**TASKS, "fillings": Fillings}


@dataclass
class PrepareDataArguments:
    """The flags that all tasks share."""

    task: str = field(metadata={"help": f"What to prepare: {', '.join(preparations())}."})
    output_dir: str = field(metadata={"help": "New or empty folder to write."})
    overwrite: bool = field(default=False, metadata={"help": "Replace data prepared earlier in output_dir."})
    seed: int = field(default=0, metadata={"help": "Seed of grids and fillings, at least 0; text draws nothing."})

    def __post_init__(self):
        if self.seed < 0:
            raise ValueError(f"`seed` must be at least 0, got {self.seed}; pass 0 or more.")


def flag_parser() -> DataclassActParser:
    """The flags of all tasks."""
    # Of flags that several tasks have, the help shows those of the task that was there first.
    every = [preparation.Flags for preparation in reversed(preparations().values())]
    return DataclassActParser([PrepareDataArguments, *every], act=ACTS["prepare"], conflict_handler="resolve")


def parse_flags(argv: Sequence[str]) -> tuple[PrepareDataArguments, Any]:
    """
    The shared flags, and those of the task that is asked for.

    Raises:
        `ValueError`: If a flag belongs to another task, or a value is out of its range.
    """
    first = ActParser(act=ACTS["prepare"], looks_only=True)
    first.add_argument("--task", choices=list(preparations()))
    name = first.parse_known_args(argv)[0].task
    if name is None:
        flag_parser().parse_args(argv)  # `--help-all`, or an error
    flag_parser().words(argv)  # refuses what no task knows
    own_flags = preparations()[name].Flags
    parser = DataclassActParser([PrepareDataArguments, own_flags], act=ACTS["prepare"], is_strict=False)
    shared, own, rest = parser.parse_args_into_dataclasses(argv, return_remaining_strings=True)
    check_foreign_flags(name, rest)
    return shared, own


def check_foreign_flags(task: str, rest: Sequence[str]) -> None:
    """Refuses what `task` knows no flag for; a flag of another task is named as such."""
    for name, preparation in preparations().items():
        parser = HfArgumentParser([preparation.Flags], add_help=False)
        given, rest = parser.parse_known_args(rest)
        for flag in fields(preparation.Flags):
            value = getattr(given, flag.name)
            if value != flag.default:
                raise ValueError(
                    f"`{flag.name}` belongs to the task {name!r} only, got {value!r} with --task {task}; leave it out "
                    "or change --task."
                )
    if rest:
        raise ValueError(f"`task` {task} knows no {' '.join(rest)}: see --task {task} --help.")


def with_progress(prepared: Prepared) -> Prepared:
    """The same with a bar for each split as it is written, on stderr where that is a terminal."""

    def shown(split: str) -> Iterator[Any]:
        total = expected_rows(prepared, split)
        yield from tqdm(prepared.windows[split], desc=split, total=total, unit=" examples", disable=None)

    return replace(prepared, windows={split: shown(split) for split in prepared.windows})


def expected_rows(prepared: Prepared, split: str) -> int | None:
    """How many examples a split will have, as far as that is known before they are made."""
    rows, metadata = prepared.windows[split], prepared.metadata
    if hasattr(rows, "__len__"):
        return len(rows)
    if metadata.get("tokenizer") == "character":
        return metadata["num_characters"][split] // metadata["sequence_length"]
    return None


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
    args, flags = parse_flags(sys.argv[1:] if argv is None else argv)
    check_output_dir(args.output_dir, args.overwrite)  # before the work, not only after it
    prepared = preparations()[args.task].prepare(flags, args.seed)
    metadata = save_prepared(args.output_dir, with_progress(prepared), overwrite=args.overwrite)
    counts = ", ".join(f"{split} {num}" for split, num in metadata["num_examples"].items())
    puzzles = (
        f", {metadata['num_puzzles']} puzzles of {metadata['blanks']} blanks" if "num_puzzles" in metadata else ""
    )
    say(f"Prepared {metadata['source']} in {args.output_dir}: {counts} examples{puzzles}.")


if __name__ == "__main__":
    run_as_program(main, "prepare_data")
