# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Writes rows to an Arrow file as they come, without a Python object per token."""

from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow


# Rows in memory at once; their tokens come to some megabytes at usual lengths.
ROWS_PER_CHUNK = 2048


def write_rows(path: Path, rows: Iterable[np.ndarray | Mapping[str, Any]]) -> tuple[int, int]:
    """
    Writes examples to an Arrow stream that `datasets.Dataset.from_file` maps into memory.

    Args:
        path (`Path`):
            The file.
        rows (`Iterable`):
            Token ids of shape `(length,)`, or the columns of an example by name: arrays of shape `(length,)`, kept in
            their type, and numbers; `input_ids` is among them and becomes `int32`. All rows have the same columns.

    Returns:
        `tuple[int, int]`: How many examples and how many tokens were written.
    """
    num_examples = num_tokens = 0
    with path.open("wb") as file:
        writer = None
        for batch in _chunks(rows):
            num_examples += batch.num_rows
            num_tokens += len(batch.column("input_ids").values)
            writer = pyarrow.ipc.new_stream(file, batch.schema) if writer is None else writer
            writer.write_batch(batch)
        if writer is None:
            writer = pyarrow.ipc.new_stream(file, pyarrow.schema({"input_ids": pyarrow.list_(pyarrow.int32())}))
        writer.close()
    return num_examples, num_tokens


def _chunks(rows: Iterable[np.ndarray | Mapping[str, Any]]) -> Iterator[pyarrow.RecordBatch]:
    remaining = iter(rows)
    while chunk := list(islice(remaining, ROWS_PER_CHUNK)):
        examples = [row if isinstance(row, Mapping) else {"input_ids": row} for row in chunk]
        yield pyarrow.RecordBatch.from_pydict(
            {name: _column([row[name] for row in examples], name) for name in examples[0]}
        )


def _column(values: list[Any], name: str) -> pyarrow.Array:
    if not isinstance(values[0], np.ndarray):
        return pyarrow.array(values)
    joined = np.concatenate(values)
    joined = joined.astype(np.int32) if name == "input_ids" else joined
    offsets = np.cumsum([0, *map(len, values)])
    return pyarrow.ListArray.from_arrays(pyarrow.array(offsets, pyarrow.int32()), pyarrow.array(joined))
