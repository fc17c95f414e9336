# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Data of one's own: a `DatasetDict` and a tokenizer saved into one folder, without a task that judges texts."""

from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow
import pyarrow.compute
from transformers import AutoTokenizer, PreTrainedTokenizerBase


if TYPE_CHECKING:
    from datasets import DatasetDict


RECIPE = (
    'save it with `DatasetDict({"train": ..., "validation": ...}).save_to_disk(folder)` and '
    "`tokenizer.save_pretrained(folder)`, token ids in the column `input_ids`"
)
# What a tokenizer leaves in a folder, of which any may be missing.
_TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json")


def load_splits_and_tokenizer(folder: Path, way_out: str) -> tuple["DatasetDict", PreTrainedTokenizerBase]:
    """The splits, memory-mapped, and the tokenizer in a folder; where one does not load, an error with a way out."""
    import datasets

    try:
        return datasets.load_from_disk(str(folder)), AutoTokenizer.from_pretrained(str(folder))
    except Exception as error:  # readers of JSON, Arrow and tokenizer files each have their own errors
        raise ValueError(
            f"`folder` must hold intact data, got {str(folder)!r}, which did not load ({error!r}); {way_out}."
        ) from error


def load_own_data(folder: Path) -> tuple["DatasetDict", PreTrainedTokenizerBase, int]:
    """
    Loads a folder that holds a saved `DatasetDict` and the files of its tokenizer.

    Args:
        folder (`Path`):
            The folder.

    Returns:
        `tuple`: The splits, memory-mapped, the tokenizer, and the number of tokens in the longest row.

    Raises:
        `FileNotFoundError`: If there is no dataset or no tokenizer.
        `ValueError`: If one of them does not load, or rows are not lists of ids that the tokenizer knows.
    """
    if not (folder / "dataset_dict.json").is_file():
        single = (folder / "dataset_info.json").is_file()
        what = "a single `Dataset` without splits" if single else "neither task.json nor dataset_dict.json"
        raise FileNotFoundError(
            f"`folder` must hold prepared data or a `DatasetDict` of your own, got {str(folder)!r} with {what}; "
            f"prepare data with scripts/prepare_data.py, or {RECIPE}."
        )
    if not any((folder / name).is_file() for name in _TOKENIZER_FILES):
        raise FileNotFoundError(
            f"`folder` must hold the files of a tokenizer beside the data, got {str(folder)!r} without; {RECIPE}."
        )
    splits, tokenizer = load_splits_and_tokenizer(folder, RECIPE)
    if "train" not in splits:
        raise ValueError(f"`folder` must hold the split train, got {', '.join(splits)} in {str(folder)!r}; {RECIPE}.")
    lengths = [_longest_row(name, split, len(tokenizer)) for name, split in splits.items() if len(split)]
    return splits, tokenizer, max(lengths, default=0)


def _longest_row(name: str, split, vocabulary_size: int) -> int:
    """The length of a split's longest row, of rows that are found to be in order."""
    if "input_ids" not in split.column_names:
        raise ValueError(
            f"`folder` must hold the column `input_ids`, got {', '.join(split.column_names)} in {name}; {RECIPE}."
        )
    rows = split.data.column("input_ids")
    if not pyarrow.types.is_nested(rows.type) or not pyarrow.types.is_integer(rows.type.value_type):
        raise ValueError(f"`input_ids` must hold lists of token ids, got {rows.type} in {name}; {RECIPE}.")
    ids = pyarrow.compute.list_flatten(rows)
    lengths = pyarrow.compute.min_max(pyarrow.compute.list_value_length(rows)).as_py()
    if rows.null_count or ids.null_count or lengths["min"] == 0:
        raise ValueError(
            f"`input_ids` must hold at least one token in every row, got none somewhere in {name}; drop such rows."
        )
    bounds = pyarrow.compute.min_max(ids).as_py()
    if bounds["min"] < 0 or bounds["max"] >= vocabulary_size:
        raise ValueError(
            f"`input_ids` must be below the {vocabulary_size} of the tokenizer and at least 0, got {bounds['min']} to "
            f"{bounds['max']} in {name}; save the tokenizer that made them."
        )
    return lengths["max"]
