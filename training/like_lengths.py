# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The order in which rows of many lengths are trained on, where those of like length are brought together."""

from collections.abc import Iterator, Sequence
from typing import Any

import datasets
import numpy
import torch
from transformers.trainer_pt_utils import LengthGroupedSampler, get_length_grouped_indices

from critic_gpt.training.data import IdentifiedExamples


# Rows whose lengths are read at once.
_ROWS_READ_AT_ONCE = 16_384


def row_lengths(dataset: Any, length_column_name: str | None = None) -> list[int]:
    """
    The number of tokens of each row.

    Args:
        dataset: A map-style dataset of rows with `input_ids`.
        length_column_name (`str`, *optional*): The column of a [`~datasets.Dataset`] that holds them already, if it is
            there; without it they are counted, without reading the tokens where the table knows.

    Raises:
        `ValueError`: That column holds something else than whole numbers.
    """
    dataset = dataset.dataset if isinstance(dataset, IdentifiedExamples) else dataset
    if not isinstance(dataset, datasets.Dataset):
        return [len(row["input_ids"]) for row in dataset]
    if length_column_name in dataset.column_names:
        lengths = list(dataset[length_column_name])
        other = next((length for length in lengths if type(length) is not int), 0)
        if type(other) is not int:
            raise ValueError(
                f"`length_column_name` must name a column of whole numbers, got {other!r:.60} in "
                f"{length_column_name!r}: name another one, or one that is not there, and tokens are counted."
            )
        return lengths
    tables = dataset.select_columns("input_ids").with_format("arrow").iter(_ROWS_READ_AT_ONCE)
    counts = [table.column("input_ids").combine_chunks().value_lengths().to_numpy() for table in tables]
    return numpy.concatenate(counts).tolist() if counts else []


class LikeLengthsSampler(LengthGroupedSampler):
    """
    As Transformers', whose order hangs on what else has drawn random numbers: this one is known from seed and epoch,
    so that every process has the same, and a resumed run goes on in it.

    Args:
        lengths (`Sequence[int]`): Tokens of each row.
        batch_size (`int`): Rows per step, of all processes together.
        seed (`int`): As for the order of `train_sampling_strategy="random"`.
    """

    def __init__(self, lengths: Sequence[int], batch_size: int, seed: int):
        super().__init__(batch_size, lengths=list(lengths))
        self.seed, self.epoch = seed, 0

    def set_epoch(self, epoch: int) -> None:
        """Called at the beginning of every epoch."""
        self.epoch = epoch

    def __iter__(self) -> Iterator[int]:
        generator = torch.Generator().manual_seed(self.seed + self.epoch)
        return iter(get_length_grouped_indices(self.lengths, self.batch_size, generator=generator))
