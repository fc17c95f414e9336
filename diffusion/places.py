# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Some positions of a batch, where alone something is computed: predictions above all, which are as wide as the
vocabulary. Letters: B batch, T positions, N positions that are chosen.
"""

from dataclasses import dataclass

import torch


@dataclass
class Places:
    """
    Positions of a batch.

    Args:
        index (`torch.LongTensor` of shape `(N,)`): Where they are among `batch_size * sequence_length`.
        shape (`tuple[int, int]`): `(batch_size, sequence_length)`.
    """

    index: torch.Tensor
    shape: tuple[int, int]

    @classmethod
    def where(cls, mask: torch.Tensor) -> "Places":
        """Those at which a mask (B, T) is set."""
        return cls(mask.flatten().nonzero().squeeze(-1), (mask.shape[0], mask.shape[1]))

    def take(self, values: torch.Tensor) -> torch.Tensor:
        """What stands there (N, ...) of values (B, T, ...)."""
        return values.flatten(0, 1).index_select(0, self.index)

    def put(self, values: torch.Tensor) -> torch.Tensor:
        """Values (N,) there and 0 elsewhere (B, T)."""
        return values.new_zeros(self.shape[0] * self.shape[1]).index_copy(0, self.index, values).view(self.shape)

    def among(self, mask: torch.Tensor) -> tuple["Places", torch.Tensor]:
        """Those of them at which a mask (B, T) is set as well, and which of the N these are."""
        kept = mask.flatten().index_select(0, self.index).nonzero().squeeze(-1)
        return Places(self.index[kept], self.shape), kept

    def of_rows(self, rows: torch.Tensor) -> "Places":
        """The same positions in a batch of some of its rows (n,); all of them must lie in these."""
        length = self.shape[1]
        moved = torch.zeros(self.shape[0], dtype=torch.int64, device=rows.device)
        moved[rows] = torch.arange(len(rows), device=rows.device)
        return Places(moved[self.index // length] * length + self.index % length, (len(rows), length))
