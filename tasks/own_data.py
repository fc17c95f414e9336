# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Data of one's own: a `DatasetDict` and a tokenizer saved into one folder, without a task that judges texts."""

import copy
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy
import pyarrow
import pyarrow.compute
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from critic_gpt.hub.documents import cause_of
from critic_gpt.hub.vocabulary import read_tokenizer
from critic_gpt.tasks.vocabulary import make_ready, shared_padding


if TYPE_CHECKING:
    from datasets import Dataset, DatasetDict


logger = logging.get_logger(__name__)

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
        splits = datasets.load_from_disk(str(folder))
    except Exception as error:  # readers of JSON and of Arrow files each have their own errors
        raise ValueError(
            f"`folder` must hold intact data, got {str(folder)!r}, which did not load ({cause_of(error)}); {way_out}."
        ) from error
    return splits, read_tokenizer(folder)


def load_own_data(folder: Path) -> tuple["DatasetDict", PreTrainedTokenizerBase, int]:
    """
    Loads a folder that holds a saved `DatasetDict` and the files of its tokenizer.

    Args:
        folder (`Path`):
            The folder.

    Returns:
        `tuple`: The splits, memory-mapped, the tokenizer, made ready as [`make_ready`] does and with a warning of what
        was changed, and the number of tokens in the longest row. Where padding was another token too, rows that are
        padded already are padded by a token of its own ([`with_own_padding`]).

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
    ready = copy.deepcopy(tokenizer)
    for change in make_ready(ready):
        logger.warning(f"The tokenizer in {folder} {change}.")
    for name, split in splits.items():
        splits[name] = with_own_padding(split, tokenizer, ready.pad_token_id)
    return splits, ready, max(lengths, default=0)


def with_own_padding(rows: "Dataset", tokenizer: PreTrainedTokenizerBase, pad_id: int | None) -> "Dataset":
    """
    Rows of which the padding is told from the token that it was, so that this token is learnt and padding is not.

    Padding are the tokens of this kind at either end of a row that its `attention_mask` hides. In rows without one it
    is a run of them: at the end all but the first, where that is the end of a text, EOS; at the beginning two or more.

    Args:
        rows (`datasets.Dataset`): With the column `input_ids`.
        tokenizer (`PreTrainedTokenizerBase`): The one that made them.
        pad_id (`int`, *optional*): What padding becomes.

    Returns:
        `datasets.Dataset`: `rows` itself where the tokenizer has padding of its own, or no row is padded.
    """
    kind, shared = shared_padding(tokenizer), tokenizer.pad_token_id
    masked, ends = "attention_mask" in rows.column_names, kind == "eos_token"
    if kind is None or pad_id in (None, shared) or not _may_be_padded(rows, shared, masked, ends):
        return rows

    def run(ids: list[int], mask: list[int] | None) -> int:
        hidden = (token == shared and not (mask and shown) for token, shown in zip(ids, mask or ids, strict=True))
        return next((place for place, one in enumerate(hidden) if not one), len(ids))

    def own(batch: dict[str, list]) -> dict[str, list]:
        masks = batch["attention_mask"] if masked else [None] * len(batch["input_ids"])
        found = []
        for ids, mask in zip(batch["input_ids"], masks, strict=True):
            before, after = run(ids, mask), run(ids[::-1], mask and mask[::-1])
            if ends and mask is None:  # one of them is the end of a text
                before, after = before if before > 1 else 0, max(0, after - 1)
            before = min(before, len(ids) - after) if after < len(ids) - 1 else 0
            found.append([pad_id] * before + ids[before : len(ids) - after] + [pad_id] * after)
        return {"input_ids": found}

    return _with_ids(rows, own, pad_id)


def _may_be_padded(rows: "Dataset", shared: int, masked: bool, ends: bool) -> bool:
    """Whether [`with_own_padding`] would change any row, found without reading them one by one."""
    names = ["input_ids", "attention_mask"] if masked else ["input_ids"]
    for batch in rows.data.table.select(names).to_batches():
        lengths = pyarrow.compute.list_value_length(batch.column(0)).to_numpy(zero_copy_only=False)
        ids, *mask = (pyarrow.compute.list_flatten(column).to_numpy(zero_copy_only=False) for column in batch.columns)
        behind = lengths.cumsum()
        for edge, step in ((behind - lengths, 1), (behind - 1, -1)):
            found = ids[edge] == shared
            if masked:
                found &= mask[0][edge] == 0
            elif ends:
                found[lengths == 1] = False
                found[found] = ids[edge[found] + step] == shared
            if found.any():
                return True
    return False


def _with_ids(rows: "Dataset", change: Callable[[dict[str, list]], dict[str, list]], highest: int) -> "Dataset":
    """Rows with other ids, up to `highest`, in a file that goes when the program ends."""
    from datasets import Features, List, Value
    from datasets.fingerprint import get_temporary_cache_files_directory

    features = Features(rows.features)
    if highest > numpy.iinfo(features["input_ids"].feature.dtype).max:
        features["input_ids"] = List(Value("int32"))
    place = os.path.join(get_temporary_cache_files_directory(), f"{rows._fingerprint}-padded.arrow")
    return rows.map(change, batched=True, features=features, cache_file_name=place, desc="Telling padding from text")


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
