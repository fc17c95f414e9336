# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Ways to fill one 6x6 Sudoku grid after the other with the weights of a folder: what scripts/benchmark.py times behind
`--grids`. One call of each makes the grids of one turn, and those of its next turn the next time.
"""

import itertools
from collections.abc import Callable

import torch

from critic_gpt.scripts import benchmark_workloads
from critic_gpt.scripts.fast_dllm import fast_dllm
from critic_gpt.tasks.sudoku import SudokuTask


SIZE = 6
# Bare passes a grid, so that the floor lasts about as long as what is divided by it.
FLOOR_PASSES = 20
# Two rows of the grid.
BLOCK_LENGTH, THRESHOLD = 2 * SIZE, 0.9
EXPECTED_ERRORS = 0.3


class Workloads(benchmark_workloads.Workloads):
    """
    The cases. The grid of a number begins with the same canvas, and the same seed, in each of them.

    Args:
        package: The imported package.
        settings (`dict`): `grids` (the model's folder), `first_row` (whether it is given), `grids_per_turn`, `backend`
            (of `torch.compile`), `dtype`, `device`.
    """

    tells_tokens = True

    def __init__(self, package, settings):
        super().__init__(package, settings)
        self.model = package.CriticGPTForMaskedLM.from_pretrained(settings["grids"]).to(self.device).eval()
        tokenizer = SudokuTask(SIZE).tokenizer()
        self.digits = torch.tensor(tokenizer.convert_tokens_to_ids([str(1 + i) for i in range(SIZE)]))

    def canvas(self, number: int) -> torch.Tensor:
        """Masks (1, 36), behind a row drawn for this number where the first one is given."""
        canvas = torch.full((1, SIZE * SIZE), self.model.config.mask_token_id)
        if self.settings["first_row"]:
            order = torch.randperm(SIZE, generator=torch.Generator().manual_seed(number))
            canvas[0, :SIZE] = self.digits[order]
        return canvas.to(self.device)

    def _one_by_one(self, fill: Callable[[torch.Tensor, int], torch.Tensor]) -> Callable:
        turns, num = itertools.count(), self.settings["grids_per_turn"]

        def once():
            first = next(turns) * num
            with self._precision():
                grids = [fill(self.canvas(number), number) for number in range(first, first + num)]
            return num, torch.cat(grids)

        return once

    def grid_floor(self) -> Callable:
        """Bare passes of trunk and LM head over one grid; a unit is one of them."""
        model, canvas = self.model, self.canvas(0)
        passes = FLOOR_PASSES * self.settings["grids_per_turn"]

        @torch.no_grad()
        def once():
            with self._precision():
                for _ in range(passes):
                    logits = model.lm_head(model.model(input_ids=canvas).last_hidden_state)
            return passes, logits

        return once

    def _critic(self, num_steps: int, **settings) -> Callable:
        settings |= {"num_steps": num_steps, "remasking": "critic", "return_error_probabilities": False}
        return self._one_by_one(
            lambda canvas, number: self.model.generate(canvas, seed=number, **settings).sequences  # (1, 36)
        )

    def grid_critic_12(self) -> Callable:
        """Guided by the critic in 12 steps; over once it expects few errors."""
        return self._critic(12, stop_when_expected_errors_below=EXPECTED_ERRORS)

    def grid_critic_14(self) -> Callable:
        """The same in 14 steps."""
        return self._critic(14, stop_when_expected_errors_below=EXPECTED_ERRORS)

    def grid_critic_16(self) -> Callable:
        """The same in 16 steps."""
        return self._critic(16, stop_when_expected_errors_below=EXPECTED_ERRORS)

    def grid_critic_20(self) -> Callable:
        """The same in 20 steps."""
        return self._critic(20, stop_when_expected_errors_below=EXPECTED_ERRORS)

    def grid_critic_independent(self) -> Callable:
        """All of 20 steps, with tokens drawn each by itself."""
        return self._critic(20, token_draws="independent")

    def _compiled(self, num_steps: int) -> Callable:
        backend = self.settings["backend"]
        return self._critic(
            num_steps, token_draws="independent", compile=backend, stop_when_expected_errors_below=EXPECTED_ERRORS
        )

    def grid_critic_compiled_20(self) -> Callable:
        """Whole steps compiled, at most 20; over once the critic expects few errors."""
        return self._compiled(20)

    def grid_critic_compiled_24(self) -> Callable:
        """The same in 24 steps."""
        return self._compiled(24)

    def grid_critic_compiled_28(self) -> Callable:
        """The same in 28 steps."""
        return self._compiled(28)

    def _fast_dllm(self, cache: str | None) -> Callable:
        return self._one_by_one(
            lambda canvas, number: fast_dllm(self.model, canvas, BLOCK_LENGTH, cache, THRESHOLD).tokens
        )

    def grid_fast_dllm_dual(self) -> Callable:
        """Fast-dLLM's loop with its dual cache."""
        return self._fast_dllm("dual")

    def grid_fast_dllm(self) -> Callable:
        """Fast-dLLM's loop without a cache."""
        return self._fast_dllm(None)
