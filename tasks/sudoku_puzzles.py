# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Sudoku puzzles with exactly one solution: grids that no split holds, and the rule that judges answers."""

# N puzzles, S side of a grid (digits 1..S)

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, ClassVar

import numpy as np
from transformers import PreTrainedTokenizerFast

from critic_gpt.tasks.sudoku_grids import NUM_GRIDS
from critic_gpt.tasks.sudoku_symmetry import symmetry_signatures


if TYPE_CHECKING:
    from critic_gpt.tasks.sudoku import SudokuTask  # which imports this module


BLANK = "."
# Keeps the draws of puzzles apart from those of splits with the same seed.
_STREAM = 1


@dataclass(frozen=True)
class SudokuPuzzles:
    """
    Puzzles and their solutions.

    Args:
        task ([`SudokuTask`]): The rules and the size.
        puzzles (`np.ndarray` of shape `(num, size, size)`): Digits 1..size, 0 = blank.
        solutions (`np.ndarray` of the same shape): Valid grids that agree with the givens.

    Raises:
        `ValueError`: No puzzle, or solutions that are none.
    """

    task: "SudokuTask"
    puzzles: np.ndarray = field(repr=False)
    solutions: np.ndarray = field(repr=False)

    name: ClassVar[str] = "sudoku puzzles"
    # The figures of `judge` that reports show, in words; the first one counts.
    figures: ClassVar[dict[str, str]] = {
        "success_rate": "share of solved puzzles",
        "right_cell_rate": "share of blanks filled rightly",
    }

    def __post_init__(self):
        agree = self.puzzles.shape == self.solutions.shape
        if not agree or len(self.puzzles) == 0 or not self.task.is_valid(self.solutions).all():
            raise ValueError(
                f"`solutions` must be one valid grid for each of the {len(self.puzzles)} puzzles, at least one, got "
                f"{self.solutions.shape} for {self.puzzles.shape}; draw them by `SudokuPuzzles.draw`."
            )
        if not ((self.puzzles == 0) | (self.puzzles == self.solutions)).all():
            raise ValueError(
                "`solutions` must hold the givens of the puzzles, got others; draw them by `SudokuPuzzles.draw`."
            )

    @classmethod
    def draw(
        cls, task: "SudokuTask", num: int, num_blanks: int, seed: int, apart_from: np.ndarray | None = None
    ) -> "SudokuPuzzles":
        """
        Draws puzzles with exactly one solution, each from a grid of its own.

        Args:
            task ([`SudokuTask`]): The size.
            num (`int`): How many, at least 1.
            num_blanks (`int`): Blanks in each.
            seed (`int`): Seed, at least 0.
            apart_from (`np.ndarray` of shape `(num_grids, size, size)`, *optional*): Grids that no solution may be;
                for 9x9 nor their twins by symmetry. Neither are solutions each other's.

        Raises:
            `ValueError`: More grids than there are, or blanks that leave several solutions.
        """
        apart_from = np.empty((0, task.size, task.size), dtype=np.uint8) if apart_from is None else apart_from
        solutions = _draw_apart(task, num, seed, apart_from)
        return cls(task, task.make_puzzles(solutions, num_blanks, seed, unique=True), solutions)

    def __len__(self) -> int:
        return len(self.puzzles)

    @property
    def sequence_length(self) -> int:
        """Tokens per puzzle."""
        return self.task.sequence_length

    def first(self, num: int) -> "SudokuPuzzles":
        """The first `num` puzzles, or all where there are fewer."""
        return SudokuPuzzles(self.task, self.puzzles[:num], self.solutions[:num])

    def canvases(self, tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
        """Token ids of the puzzles, `(num, size * size)`, with [MASK] at each blank."""
        blank = (self.puzzles == 0).reshape(len(self), -1)
        return np.where(blank, tokenizer.mask_token_id, self.task.to_input_ids(self.solutions, tokenizer))

    def rows(self, tokenizer: PreTrainedTokenizerFast) -> list[dict[str, list[int]]]:
        """The puzzles as corrupted rows: `input_ids`, and `labels` with the solution at each blank, -100 elsewhere."""
        canvases, truth = self.canvases(tokenizer), self.task.to_input_ids(self.solutions, tokenizer)
        labels = np.where(canvases == tokenizer.mask_token_id, truth, -100)
        return [{"input_ids": a, "labels": b} for a, b in zip(canvases.tolist(), labels.tolist(), strict=True)]

    # Lines of text

    def to_lines(self) -> list[str]:
        """Each puzzle, a blank as a dot, and its solution, with a space between."""
        lines = []
        for puzzle, solution in zip(self.puzzles, self.solutions, strict=True):
            givens = "".join(str(digit) if digit else BLANK for digit in puzzle.flatten().tolist())
            lines.append(f"{givens} {self.task.to_line(solution)}")
        return lines

    @classmethod
    def from_lines(cls, task: "SudokuTask", lines: Iterable[str]) -> "SudokuPuzzles":
        """Reads what `to_lines` wrote; that each puzzle has just one solution is not proved again.

        Raises:
            `ValueError`: A line that is not of this form or size, or a solution that is none.
        """
        puzzles, solutions = [], []
        for line in lines:
            givens, _, solution = line.partition(" ")
            grid = task.from_line(solution)
            if len(givens) != len(solution) or not set(givens) <= {BLANK, *task.digits}:
                raise ValueError(
                    f"`lines` must hold a puzzle of {task.sequence_length} digits and dots, a space and its solution, "
                    f"got {line!r}; such lines are written by `to_lines`."
                )
            puzzles.append(np.array([0 if c == BLANK else int(c) for c in givens], dtype=np.uint8).reshape(grid.shape))
            solutions.append(grid)
        shape = (-1, task.size, task.size)
        return cls(task, np.array(puzzles, np.uint8).reshape(shape), np.array(solutions, np.uint8).reshape(shape))

    # The judge

    def right(self, texts: Sequence[str]) -> np.ndarray:
        """
        Tells which puzzles are solved: the grid obeys the rules and the givens stand where they stood.

        Args:
            texts (`Sequence[str]`): One answer to each puzzle, in order.

        Returns:
            `np.ndarray` of shape `(num,)` and type `bool`.
        """
        grids = self._grids(texts)
        kept = ((grids == self.puzzles) | (self.puzzles == 0)).all(axis=(1, 2))
        return kept & self.task.is_valid(grids)

    def judge(self, texts: Sequence[str]) -> dict[str, float | int]:
        """
        Judges one answer to each puzzle, or to the first ones where there are fewer.

        Args:
            texts (`Sequence[str]`): Lines of digits.

        Returns:
            `dict`: `success_rate` (share of solved puzzles), `right_cell_rate` (share of the blanks that are filled
            rightly), `num_samples`.
        """
        part = self.first(len(texts))
        blank, right = part.puzzles == 0, part._grids(texts) == part.solutions
        return {
            "success_rate": float(part.right(texts).mean()),
            "right_cell_rate": float((right & blank).sum() / max(1, blank.sum())),
            "num_samples": len(texts),
        }

    def _grids(self, texts: Sequence[str]) -> np.ndarray:
        """The answers as grids; what is no grid becomes an empty one, which is never right."""
        if len(texts) != len(self):
            raise ValueError(
                f"`texts` must be one answer to each of the {len(self)} puzzles, got {len(texts)}; answer all."
            )
        none = "0" * self.sequence_length
        lines = [text if len(text) == len(none) and set(text) <= set(self.task.digits) else none for text in texts]
        digits = np.frombuffer("".join(lines).encode("ascii"), dtype=np.uint8) - ord("0")
        return digits.reshape(self.puzzles.shape)


def _draw_apart(task: "SudokuTask", num: int, seed: int, apart_from: np.ndarray) -> np.ndarray:
    """Grids that are neither in `apart_from` nor twice."""
    kinds = symmetry_signatures if task.size == 9 else lambda grids: [grid.tobytes() for grid in grids]
    taken = set(kinds(np.ascontiguousarray(apart_from, dtype=np.uint8)))
    if num < 1 or len(taken) + num > NUM_GRIDS[task.size]:
        raise ValueError(
            f"`num_puzzles` must be at least 1 and leave room beside the {len(taken)} grids of the splits among the "
            f"{NUM_GRIDS[task.size]} of {task.size}x{task.size}, got {num}; ask for fewer grids or a larger size."
        )
    rng, found = np.random.default_rng((seed, _STREAM)), []
    while len(found) < num:
        # A little more than is missing, or the last grids of a small population would take many rounds.
        drawn = task.sample_grids(num - len(found) + 64, int(rng.integers(2**63)), grids_per_base=1)
        for grid, kind in zip(drawn, kinds(drawn), strict=True):
            if kind not in taken and len(found) < num:
                taken.add(kind)
                found.append(grid)
    return np.stack(found)
