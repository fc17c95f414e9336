# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What generation asks of a pass. Letters: B batch, T positions, W of a window, N of a block, H heads."""

from typing import NamedTuple

import torch


class PassOutput(NamedTuple):
    """
    What a pass of generation gives, (B, T, ...) or of places (B, N, ...), by the names of
    [`CriticGPTMaskedLMOutput`]: `None` for what it does not have.
    """

    logits: torch.Tensor | None = None
    critic_logits: torch.Tensor | None = None
    last_hidden_state: torch.Tensor | None = None
    joint_queries: torch.Tensor | None = None
    joint_keys: torch.Tensor | None = None

    def at(self, places: torch.Tensor) -> "PassOutput":
        """That of some of the places (B, N)."""
        return PassOutput(
            *(_taken(part, places) for part in self[:3]),
            *(_taken(part, places, dim=2) for part in self[3:]),
        )


def _taken(values: torch.Tensor | None, places: torch.Tensor, dim: int = 1) -> torch.Tensor | None:
    """Values (B, W, ...) at places (B, N) of each row; where heads come first, (B, H, W, ...), at `dim` 2."""
    if values is None:
        return None
    shape = [len(places), *[1] * (dim - 1), places.shape[1], *[1] * (values.dim() - dim - 1)]
    index = places.view(shape)
    return values.gather(dim, index.expand(*values.shape[:dim], -1, *values.shape[dim + 1 :]))
