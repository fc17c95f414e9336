# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Gives every training example the name under which its randomness is drawn."""

from typing import Any

import torch
from torch.utils.data import Dataset


class IdentifiedExamples(Dataset):
    """
    A map-style dataset whose examples carry `example_id` (their index) and `epoch`, for a collator without state.

    Args:
        dataset: Anything with `__len__` and `__getitem__` whose items are mappings.
    """

    def __init__(self, dataset):
        self.dataset = dataset
        # In shared memory, so that worker processes that live longer than an epoch see the new one.
        self._epoch = torch.zeros((), dtype=torch.int64).share_memory_()

    def set_epoch(self, epoch: int) -> None:
        """Called by the data loader at the beginning of every epoch."""
        self._epoch.fill_(epoch)

    def __len__(self) -> int:
        return len(self.dataset)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {**self.dataset[index], "example_id": int(index), "epoch": int(self._epoch)}

    def __getitems__(self, indices: list[int]) -> list[dict[str, Any]]:
        rows = self.dataset.__getitems__(indices) if hasattr(self.dataset, "__getitems__") else None
        if rows is None:
            return [self[index] for index in indices]
        epoch = int(self._epoch)
        return [{**row, "example_id": int(index), "epoch": epoch} for row, index in zip(rows, indices, strict=True)]
