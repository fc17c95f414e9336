# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Gives every training example the name under which its randomness is drawn."""

import copy
from collections.abc import Iterator, Mapping
from itertools import islice
from typing import Any

import datasets
import torch
from torch.utils.data import Dataset, IterableDataset, get_worker_info


# Rows read at once from a stream of `datasets`.
_ROWS_READ_AT_ONCE = 64


def _shared_epoch() -> torch.Tensor:
    """In shared memory, so that worker processes that live longer than an epoch see the new one."""
    return torch.zeros((), dtype=torch.int64).share_memory_()


def row_named(row: Any, index: int, **more: Any) -> dict[str, Any]:
    """
    A row with `example_id`, by which its randomness is drawn.

    Args:
        row (`Mapping`): With `input_ids`.
        index (`int`): Its place in the dataset.
        more: Further fields.

    Raises:
        `ValueError`: It is no row of tokens, but a text, say.
    """
    if not isinstance(row, Mapping):
        raise ValueError(
            f"`dataset` must hold rows with `input_ids`, got a {type(row).__name__} in row {index}: encode each text "
            'by the model\'s own tokenizer, `{"input_ids": tokenizer(text).input_ids}`.'
        )
    return {**row, "example_id": int(index), **more}


class IdentifiedExamples(Dataset):
    """
    A map-style dataset whose examples carry `example_id` (their index) and `epoch`, for a collator without state.

    Args:
        dataset: Anything with `__len__` and `__getitem__` whose items are mappings.
    """

    def __init__(self, dataset):
        self.dataset = dataset
        self._epoch = _shared_epoch()

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the beginning of every epoch."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return row_named(self.dataset[index], index, epoch=int(self._epoch))

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        rows = self.dataset.__getitems__(indices) if hasattr(self.dataset, "__getitems__") else None
        if rows is None:
            return [self[index] for index in indices]
        epoch = int(self._epoch)
        return [row_named(row, index, epoch=epoch) for row, index in zip(rows, indices, strict=True)]


class IdentifiedStream(IterableDataset):
    """
    A stream whose examples carry `example_id` (their running number in the order of the source) and `epoch`, and come
    in the same batches on any number of worker processes and ranks.

    Every worker reads the source from its beginning, numbers all rows, and keeps whole blocks in turn: worker `w` of
    `W` the blocks `w`, `w + W`, ... A data loader collects batches from its workers in turn as well, so they arrive in
    the order of the source. The source must therefore give the same rows in every process; the division among workers
    that a `datasets.IterableDataset` makes itself is passed by, a division by rank must not be made.

    Across ranks: accelerate reads a stream on rank 0 and hands batches out (`dispatch_batches`, its default), which
    needs nothing here but rows of one length. With `dispatch_batches=False`, for rows of any length, each rank reads
    the stream and keeps its part of every block of `batch_size * num_processes` rows; say `num_processes` then.

    Args:
        dataset: A `datasets.IterableDataset` or another iterable over mappings that begins anew at each `iter`. If it
            has `set_epoch`, it is told the epoch and may order its rows by it.
        batch_size (`int`): Rows in a batch of one process, at least 1; that of the data loader.
        num_processes (`int`, *optional*, defaults to 1): Ranks that split each block, at least 1. With more than one,
            the last block is filled up with the stream's first rows, as ranks must have equally many.
        repeat (`bool`, *optional*, defaults to `False`): Begin again at the end, with the next epoch, for ever. A
            training of `max_steps` that is resumed skips exactly the batches it has seen, also past the first epoch.
    """

    def __init__(self, dataset, batch_size: int, num_processes: int = 1, repeat: bool = False):
        for name, value in (("batch_size", batch_size), ("num_processes", num_processes)):
            if value < 1:
                raise ValueError(f"`{name}` must be at least 1, got {value}: 1 is the least.")
        self.dataset = dataset
        self.batch_size = batch_size
        self.num_processes = num_processes
        self.repeat = repeat
        self._epoch = _shared_epoch()

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the beginning of every epoch; the source reorders its rows if it can."""
        self._epoch.fill_(epoch)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        worker = get_worker_info()
        index, count = (0, 1) if worker is None else (worker.id, worker.num_workers)
        for number, block in enumerate(self._blocks()):
            if number % count == index:
                yield from block

    def _blocks(self) -> Iterator[list[dict[str, Any]]]:
        """All blocks of the stream, the same in every process."""
        size = self.batch_size * self.num_processes
        rows, first = self._rows(), None
        while block := list(islice(rows, size)):
            first = block if first is None else first
            while self.num_processes > 1 and len(block) < size:
                block = block + first[: size - len(block)]
            yield block

    def _rows(self) -> Iterator[dict[str, Any]]:
        epoch = int(self._epoch)
        while True:
            number = -1
            for number, row in enumerate(self._source(epoch)):
                yield row_named(row, number, epoch=epoch)
            if not self.repeat:
                return
            if number < 0:
                raise ValueError("`dataset` must hold at least one example to repeat, got none: check the data.")
            epoch += 1

    def _source(self, epoch: int) -> Iterator[dict[str, Any]]:
        dataset = self.dataset
        if isinstance(dataset, datasets.IterableDataset):
            # Its epoch lies in memory that worker processes share, where one that is ahead would change it for those
            # that are about to begin. Tables are not copied.
            dataset = copy.deepcopy(dataset)
        if hasattr(dataset, "set_epoch"):
            dataset.set_epoch(epoch)
        if not isinstance(dataset, datasets.IterableDataset):
            yield from dataset
            return
        # Iterated row by row, it would divide its files among the workers by itself.
        for batch in dataset.iter(_ROWS_READ_AT_ONCE):
            names = list(batch)
            for values in zip(*batch.values(), strict=True):
                yield dict(zip(names, values, strict=True))


def innermost_sampler(loader: Any) -> Any:
    """What makes the batches of a data loader, below what wraps it for several processes and for skipping."""
    while hasattr(loader, "batch_sampler"):
        loader = loader.batch_sampler
    return loader
