# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The random numbers of one call of `generate`, made for several steps at once. Letters: B batch, T positions."""

from collections.abc import Callable

import torch

from critic_gpt.diffusion.randomness import hash_integers, uniforms, uniforms_of


# Steps, and numbers, that are made at once: the hash takes some fifty operations, however many numbers there are.
_STEPS, _NUMBERS = 16, 2**15


class Chance:
    """
    Numbers by their address: stream, step, place of a token.

    Args:
        seeds (`torch.LongTensor` of shape `(batch_size,)`): One per row.
        place (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Of each token among the real ones of its
            row, so that padding moves no number.
        padded (`bool`): Whether there is any, or places are left out; else they count up from 0.
        steps_before (`int`, *optional*, defaults to 0): Steps of earlier blocks, whose numbers do not come again.
    """

    def __init__(self, seeds: torch.Tensor, place: torch.Tensor, padded: bool, steps_before: int = 0):
        self._seeds, self._place, self._padded, self._before = seeds, place, padded, steps_before
        self._steps = max(1, min(_STEPS, _NUMBERS // max(1, place.numel())))
        # Of each stream the first step, and numbers (S, B, T) or hashes of rows (S, B).
        self._made: dict[int, tuple[int, torch.Tensor]] = {}
        self._rows: dict[int, tuple[int, torch.Tensor]] = {}

    def uniforms(self, stream: int, step: int) -> torch.Tensor:
        """Numbers (B, T) in (0, 1)."""
        place = self._place if self._padded else None
        return self._of_steps(
            self._made,
            stream,
            step,
            lambda steps: uniforms(self._seeds, stream, steps, self._place.shape[1], place),
        )

    def several(self, stream: int, step: int, columns: torch.Tensor, many: int) -> torch.Tensor:
        """Numbers (B, C, many) in (0, 1) of the tokens at columns (B, C), so many of each."""
        rows = self._of_steps(self._rows, stream, step, lambda steps: hash_integers(self._seeds, stream, steps))
        numbers = torch.arange(many, device=columns.device)
        position = (self._place.gather(1, columns)[..., None] * many + numbers).flatten(1)
        return uniforms_of(rows, position).view(*columns.shape, many)

    def _of_steps(self, made: dict, stream: int, step: int, make: Callable[[torch.Tensor], torch.Tensor]):
        """What is made of the numbers (S, 1) of several steps at once, (S, B, ...), for one of them."""
        step += self._before
        first = step - step % self._steps
        if stream not in made or made[stream][0] != first:
            steps = torch.arange(first, first + self._steps, device=self._seeds.device)[:, None]
            made[stream] = first, make(steps)
        return made[stream][1][step - first]

    def of_block(self, rows: torch.Tensor, columns: torch.Tensor, steps_before: int) -> "Chance":
        """The numbers of a part of the text: of some rows (B,) the places at columns (B, N)."""
        return Chance(self._seeds[rows], self._place[rows].gather(1, columns), True, steps_before)

    def keep(self, going: torch.Tensor) -> None:
        """Goes on with the rows where `going` (B,) alone."""
        self._seeds, self._place = self._seeds[going], self._place[going]
        for made in (self._made, self._rows):
            made.update({stream: (first, numbers[:, going]) for stream, (first, numbers) in made.items()})
