# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The random numbers of one call of `generate`, made for several steps at once. Letters: B batch, T positions."""

import torch

from critic_gpt.diffusion.randomness import uniforms


# Steps, and numbers, that are made at once: the hash takes some fifty operations, however many numbers there are.
_STEPS, _NUMBERS = 16, 2**15


class Chance:
    """
    Numbers by their address: stream, step, place of a token.

    Args:
        seeds (`torch.LongTensor` of shape `(batch_size,)`): One per row.
        place (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Of each token among the real ones of its
            row, so that padding moves no number.
        padded (`bool`): Whether there is any; else places count up from 0.
    """

    def __init__(self, seeds: torch.Tensor, place: torch.Tensor, padded: bool):
        self._seeds, self._place, self._padded = seeds, place, padded
        self._steps = max(1, min(_STEPS, _NUMBERS // max(1, place.numel())))
        self._made: dict[int, tuple[int, torch.Tensor]] = {}  # of each stream the first step, and (S, B, T)

    def uniforms(self, stream: int, step: int) -> torch.Tensor:
        """Numbers (B, T) in (0, 1)."""
        first = step - step % self._steps
        begin, numbers = self._made.get(stream, (None, None))
        if begin != first:
            steps = torch.arange(first, first + self._steps, device=self._seeds.device)[:, None]
            numbers = uniforms(self._seeds, stream, steps, self._place.shape[1])
            if self._padded:
                numbers = numbers.gather(-1, self._place.expand_as(numbers))
            self._made[stream] = first, numbers
        return numbers[step - first]

    def keep(self, going: torch.Tensor) -> None:
        """Goes on with the rows where `going` (B,) alone."""
        self._seeds, self._place = self._seeds[going], self._place[going]
        self._made = {stream: (first, numbers[:, going]) for stream, (first, numbers) in self._made.items()}
