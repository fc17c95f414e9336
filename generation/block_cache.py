# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Keys and values of a text that are kept from pass to pass, while those of some places are made anew.

In each layer a place's key and value follow from its state, which follows from all tokens: kept ones are exact as long
as no token changed, and an approximation from then on (Wu et al., "Fast-dLLM: Training-free Acceleration of Diffusion
LLM by Enabling KV Cache and Parallel Decoding", 2025, arXiv:2505.22618).

Letters: B batch, H heads, W places of the text, M places that are read anew, d width of a head.
"""

from typing import Any

import torch
from transformers.cache_utils import Cache, CacheLayerMixin


class BlockCacheLayer(CacheLayerMixin):
    """Keys and values (B, H, W, d) of one layer, in the order of the text."""

    is_sliding = False

    def lazy_initialization(self, key_states: torch.Tensor, value_states: torch.Tensor) -> None:
        """Takes over what a pass over the whole text made."""
        self.keys, self.values, self.is_initialized = key_states, value_states, True

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, *args: Any, places: Any = None, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            key_states, value_states (`torch.FloatTensor` of shape `(batch_size, num_heads, M, head_dim)`): Made anew.
            places ([`Places`], *optional*): Where they belong; `None` for the whole text.

        Returns:
            `tuple`: keys and values of the whole text.
        """
        if places is None:
            self.lazy_initialization(key_states, value_states)
        else:
            places.write(self.keys, key_states)
            places.write(self.values, value_states)
        return self.keys, self.values

    def get_mask_sizes(self, query_length: int) -> tuple[int, int]:
        """How many keys there are, from the first on."""
        return (self.get_seq_length() or query_length), 0

    def get_seq_length(self) -> int:
        """Length of the text; 0 before the first pass."""
        return self.keys.shape[-2] if self.is_initialized else 0

    def get_max_length(self) -> int:
        """No bound."""
        return -1


class Places:
    """
    Where a pass over some places of a text writes.

    Args:
        places (`torch.LongTensor` of shape `(batch_size, M)`): In each row distinct ones.
        counted (`torch.BoolTensor` of shape `(batch_size, M)`): Which of them are read anew; the others fill up rows
            that have fewer, and keep what they have.
    """

    def __init__(self, places: torch.Tensor, counted: torch.Tensor):
        self.places, self.counted = places, counted
        self._common = bool((places == places[:1]).all()) and bool(counted.all())
        row = places[0]
        self._slice = None
        if self._common and bool((row.diff() == 1).all()):
            self._slice = slice(int(row[0]), int(row[-1]) + 1)

    def write(self, kept: torch.Tensor, made: torch.Tensor) -> None:
        """Puts values (B, H, M, d) into their places among those kept (B, H, W, d)."""
        if self._slice is not None:
            kept[:, :, self._slice] = made
        elif self._common:
            kept.index_copy_(2, self.places[0], made)
        else:
            index = self.places[:, None, :, None].expand(-1, kept.shape[1], -1, kept.shape[-1])
            made = torch.where(self.counted[:, None, :, None], made, kept.gather(2, index))
            kept.scatter_(2, index, made)

    def rows(self, going: torch.Tensor) -> "Places":
        """Those of some rows."""
        return Places(self.places[going], self.counted[going])


class BlockCache(Cache):
    """The layers of a trunk; `places` says where the next pass writes, `None` that it reads the whole text."""

    def __init__(self) -> None:
        super().__init__(layer_class_to_replicate=BlockCacheLayer)
        self.places: Places | None = None

    def update(
        self, key_states: torch.Tensor, value_states: torch.Tensor, layer_idx: int, *args: Any, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """As the parent's, at the `places` that were said."""
        return super().update(key_states, value_states, layer_idx, *args, places=self.places, **kwargs)

    def keep(self, going: torch.Tensor) -> None:
        """Goes on with the rows where `going` (B,) alone."""
        for layer in self.layers:
            layer.keys, layer.values = layer.keys[going], layer.values[going]
