# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A folder of prepared data: datasets, tokenizer and task, written as a whole and read back."""

import glob
import json
import os
import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PreTrainedTokenizerBase

from critic_gpt.hub.documents import read_json
from critic_gpt.hub.files import replace_file
from critic_gpt.tasks.base import TASKS, Prepared, Task
from critic_gpt.tasks.own_data import load_own_data, load_splits_and_tokenizer
from critic_gpt.tasks.rows import write_rows


if TYPE_CHECKING:
    from datasets import DatasetDict, IterableDataset  # slow to import: the functions below do it when they need it


TASK_FILE = "task.json"
# Names in the temporary folder beside a folder that is written.
BUILDING, REPLACED = "new", "old"
SPLITS = ("train", "validation", "test")
PREPARE = "python -m critic_gpt.scripts.prepare_data --task TASK --output_dir"


def load_task(folder: str | os.PathLike) -> Task:
    """
    Loads the task of a prepared folder, so that texts can be judged.

    Args:
        folder (`str` or `os.PathLike`):
            A folder written by `scripts/prepare_data.py`.

    Returns:
        [`Task`]: An object with `name`, `sequence_length` and `judge(texts)`.

    Raises:
        `FileNotFoundError`: If the folder or a file in it is missing.
        `ValueError`: If `task.json` is corrupt or names an unknown task.
    """
    folder = Path(folder)
    metadata = read_metadata(folder)
    if not isinstance(metadata["task"], str) or metadata["task"] not in TASKS:
        raise _corrupt(folder, f"whose task is {metadata['task']!r}, none of {', '.join(sorted(TASKS))}")
    try:
        return TASKS[metadata["task"]].load(metadata, folder)
    except (KeyError, TypeError, ValueError) as error:
        raise _corrupt(folder, f"whose entries do not make a task ({error!r})") from error


def load_puzzles(folder: str | os.PathLike) -> Any:
    """
    Loads the puzzles of a prepared folder.

    Args:
        folder (`str` or `os.PathLike`):
            A folder written by `scripts/prepare_data.py --task sudoku --num_puzzles ...`.

    Returns:
        [`SudokuPuzzles`], or what another task has for puzzles.

    Raises:
        `FileNotFoundError`: If the folder or a file in it is missing, as where none were asked for.
        `ValueError`: If it is a folder of a task without puzzles, or the file is corrupt.
    """
    return load_task(folder).load_puzzles(Path(folder))


def load_prepared(
    folder: str | os.PathLike,
) -> tuple["DatasetDict", PreTrainedTokenizerBase, Task]:
    """
    Loads everything in a prepared folder.

    Args:
        folder (`str` or `os.PathLike`):
            A folder written by `scripts/prepare_data.py`.

    Returns:
        `tuple`: The `DatasetDict` (splits train, validation and test, of text perhaps judge, memory-mapped, the column
        `input_ids` and those of labelled data), the tokenizer, and the task as [`load_task`] gives it.

    Raises:
        `FileNotFoundError`: If the folder or a file in it is missing.
        `ValueError`: If a file in it is corrupt.
    """
    folder = Path(folder)
    task = load_task(folder)
    existing_file(folder, "dataset_dict.json")
    existing_file(folder, "tokenizer.json")
    return *load_splits_and_tokenizer(folder, f"prepare it anew by `{PREPARE} {folder} --overwrite`"), task


def load_data(folder: str | os.PathLike) -> tuple["DatasetDict", PreTrainedTokenizerBase, int]:
    """
    Loads what a model is trained on: a prepared folder, or one with a `DatasetDict` and a tokenizer of one's own.

    Args:
        folder (`str` or `os.PathLike`):
            A folder written by `scripts/prepare_data.py`; or, without `task.json`, one written by
            `DatasetDict.save_to_disk` and `tokenizer.save_pretrained`, with the split train, perhaps others, the
            column `input_ids`, and columns of labels if these are to be learnt.

    Returns:
        `tuple`: The `DatasetDict`, the tokenizer, and the most tokens in a sequence.

    Raises:
        `FileNotFoundError`, `ValueError`: As [`load_prepared`]; and if data of one's own are incomplete.
    """
    folder = Path(folder)
    repair_prepared(folder)
    if folder.is_dir() and not (folder / TASK_FILE).is_file():
        return load_own_data(folder)
    splits, tokenizer, task = load_prepared(folder)
    return splits, tokenizer, task.sequence_length


def generation_for(folder: str | os.PathLike, answers: str | None = None) -> dict[str, Any]:
    """
    The settings of generation that training writes into a model of these data.

    Args:
        folder (`str` or `os.PathLike`): Of prepared data, or of data of one's own, in which many answers are right.
        answers (`str`, *optional*): `"one"` or `"many"`, where somebody knows better than the task.

    Returns:
        `dict`: `answers`, and what the task wants beside them if these are its own.
    """
    task = load_task(folder) if (Path(folder) / TASK_FILE).is_file() else Task
    if answers not in (None, task.answers):
        return {"answers": answers}
    return {"answers": task.answers, **task.generation}


def save_prepared(folder: str | os.PathLike, prepared: Prepared, overwrite: bool = False) -> dict[str, Any]:
    """
    Writes a prepared folder as a whole or not at all: it is built beside its place and renamed at the end.

    Args:
        folder (`str` or `os.PathLike`):
            Where to; parent folders are made.
        prepared ([`Prepared`]):
            What to write.
        overwrite (`bool`, *optional*, defaults to `False`):
            Replace an earlier prepared folder.

    Returns:
        `dict`: What `task.json` holds: the metadata, and `num_examples` and `num_tokens` of each split.

    Raises:
        `ValueError`: See [`check_output_dir`].
    """
    folder = Path(folder)
    check_output_dir(folder, overwrite)
    folder = _where_it_lies(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
    try:
        return _save_prepared(folder, prepared, temporary)
    finally:
        repair_prepared(folder)  # an interrupt may have come between the two renames
        shutil.rmtree(temporary, ignore_errors=True)


def _save_prepared(folder: Path, prepared: Prepared, temporary: Path) -> dict[str, Any]:
    import datasets

    building, replaced = temporary / BUILDING, temporary / REPLACED
    building.mkdir()  # a folder of its own: the temporary one is closed to other users
    parts = {split: temporary / f"{split}.arrow" for split in prepared.windows}
    counts = {split: write_rows(parts[split], rows) for split, rows in prepared.windows.items()}
    splits = datasets.DatasetDict({split: datasets.Dataset.from_file(str(part)) for split, part in parts.items()})
    splits.save_to_disk(str(building))
    del splits  # it holds the files of `parts` open
    prepared.tokenizer.save_pretrained(str(building))
    for name, text in prepared.files.items():
        replace_file(building / name, text())
    metadata = {
        **prepared.metadata,
        "num_examples": {split: examples for split, (examples, _) in counts.items()},
        "num_tokens": {split: tokens for split, (_, tokens) in counts.items()},
    }
    replace_file(building / TASK_FILE, json.dumps(metadata, indent=2, ensure_ascii=False) + "\n")
    _put_in_place(building, folder, replaced)
    return metadata


def _where_it_lies(folder: str | os.PathLike) -> Path:
    """Where a folder, or a link to one, is: a link stays, and what it links to is written and replaced."""
    return Path(os.path.realpath(folder))


def _put_in_place(building: Path, folder: Path, replaced: Path) -> None:
    """Renames a finished folder to where it belongs; what was there goes to `replaced`. See [`repair_prepared`]."""
    if folder.exists():
        folder.rename(replaced)
    try:
        building.rename(folder)
    except OSError:
        if not building.exists() and folder.exists():
            return  # somebody who looked for the folder at this moment has put it in place
        if replaced.exists():
            replaced.rename(folder)  # or the old data would go with the temporary folder
        raise


def repair_prepared(folder: str | os.PathLike) -> None:
    """
    Puts in place what a killed [`save_prepared`] left beside a folder that it had just taken away to replace it. All
    who look for prepared data call it first.

    Args:
        folder (`str` or `os.PathLike`):
            A folder of prepared data; if it exists, nothing is done.
    """
    folder = _where_it_lies(folder)
    if folder.exists() or not folder.parent.is_dir():
        return
    for temporary in folder.parent.glob(f".{glob.escape(folder.name)}.*"):
        if (temporary / REPLACED).is_dir():  # the old data are taken away last, when the new ones are complete
            whole = temporary / BUILDING if (temporary / BUILDING).is_dir() else temporary / REPLACED
            whole.rename(folder)
            shutil.rmtree(temporary)
            return


def stream_prepared(
    folder: str | os.PathLike, split: str = "train", seed: int = 0, buffer_size: int = 10_000
) -> "IterableDataset":
    """
    Reads a split of a folder of data as a stream, shuffled anew in each epoch, with no more in memory than a buffer.

    The order depends on the folder, `seed`, `buffer_size` and the epoch (`set_epoch`) alone.

    Args:
        folder (`str` or `os.PathLike`):
            As for [`load_data`].
        split (`str`, *optional*, defaults to `"train"`):
            Which split.
        seed (`int`, *optional*, defaults to 0):
            Seed of the shuffling, at least 0.
        buffer_size (`int`, *optional*, defaults to 10000):
            Rows among which the next one is drawn, at least 1; 1 keeps the order of the folder.

    Returns:
        `datasets.IterableDataset`: Rows with the columns of the folder.

    Raises:
        `FileNotFoundError`, `ValueError`: As [`load_data`], and if there is no such split.
    """
    if buffer_size < 1:
        raise ValueError(f"`buffer_size` must be at least 1, got {buffer_size}; 10000 is usual.")
    if seed < 0:
        raise ValueError(f"`seed` must be at least 0, got {seed}; pass 0 or more.")
    splits, _, _ = load_data(folder)
    if split not in splits:
        raise ValueError(f"`split` must be one of {', '.join(splits)}, got {split!r}; choose one of these.")
    stream = splits[split].to_iterable_dataset()
    return stream if buffer_size == 1 else stream.shuffle(seed=seed, buffer_size=buffer_size)


def check_output_dir(folder: str | os.PathLike, overwrite: bool = False) -> None:
    """
    Refuses a place where prepared data cannot go.

    Args:
        folder (`str` or `os.PathLike`):
            The place. Free are a missing and an empty folder, and with `overwrite` an earlier prepared one.
        overwrite (`bool`, *optional*, defaults to `False`):
            Whether an earlier prepared folder may be replaced. Any other folder is safe from it.

    Raises:
        `ValueError`: If the place is a file, a folder with other contents, or prepared and `overwrite` is not set.
    """
    folder = Path(folder)
    repair_prepared(folder)
    if not folder.exists():
        return
    if not folder.is_dir():
        raise ValueError(f"`output_dir` must be a folder, got the file {str(folder)!r}; choose another name.")
    if not any(folder.iterdir()):
        return
    prepared = (folder / TASK_FILE).is_file() and (folder / "dataset_dict.json").is_file()
    if not prepared or (folder / "config.json").exists():  # config.json: somebody saved a model here
        raise ValueError(
            f"`output_dir` must be new, empty or a folder of prepared data only, got {str(folder)!r}, which holds "
            "other files; choose another folder."
        )
    if not overwrite:
        raise ValueError(
            f"`output_dir` must be new or empty, got {str(folder)!r}, which holds prepared data; choose another "
            "folder or pass --overwrite."
        )


def read_metadata(folder: str | os.PathLike) -> dict[str, Any]:
    """Reads the `task.json` of a prepared folder; errors are those of [`load_task`]."""
    folder = Path(folder)
    repair_prepared(folder)
    if not folder.is_dir():
        raise FileNotFoundError(
            f"`folder` must be a folder of prepared data, got {str(folder)!r}, which does not exist; make it by "
            f"`{PREPARE} {folder}`."
        )
    try:
        metadata = read_json(existing_file(folder, TASK_FILE))
    except ValueError as error:  # broken JSON and broken UTF-8
        raise _corrupt(folder, f"which does not parse ({error})") from error
    if not isinstance(metadata, dict) or "task" not in metadata:
        raise _corrupt(folder, "which names no task")
    return metadata


def existing_file(folder: Path, name: str) -> Path:
    """The path of a file that a prepared folder must hold."""
    if not (folder / name).is_file():
        raise FileNotFoundError(
            f"`folder` must hold {name}, got {str(folder)!r}, which does not; prepare the data again by "
            f"`{PREPARE} ANOTHER_FOLDER`."
        )
    return folder / name


def _corrupt(folder: Path, what: str) -> ValueError:
    return ValueError(
        f"`folder` must hold an intact {TASK_FILE}, got {str(folder / TASK_FILE)!r}, {what}; prepare it anew by "
        f"`{PREPARE} {folder} --overwrite`."
    )
