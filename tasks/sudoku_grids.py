# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Sudoku grids of 4x4, 6x6 and 9x9: drawing them, the rules, and puzzles with one solution."""

# N grids, S side of a grid (digits 1..S), P permutations of the digits

import itertools
import random
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from critic_gpt.tasks.sudoku_solver import BOX_SHAPES, canonical_grids, solutions


NUM_GRIDS = {4: 288, 6: 28_200_960, 9: 6_670_903_752_021_072_936_960}
# The fewest givens for which some puzzle still has exactly one solution (9x9: McGuire et al., arXiv:1201.0749).
FEWEST_GIVENS = {4: 4, 6: 8, 9: 17}
DIGGING_ATTEMPTS = 20


@dataclass(frozen=True)
class SudokuGrids:
    """
    All complete grids of one size.

    Args:
        size (`int`, *optional*, defaults to 6):
            Side of the grid: 4 (boxes of 2x2), 6 (boxes of 2 rows by 3 columns) or 9 (boxes of 3x3).

    Raises:
        `ValueError`: If `size` is none of these.
    """

    size: int = 6

    def __post_init__(self):
        if self.size not in BOX_SHAPES:
            raise ValueError(f"`size` must be 4, 6 or 9, got {self.size!r}; 6 is a good size to begin with.")

    @property
    def sequence_length(self) -> int:
        """Tokens per grid: `size * size`."""
        return self.size * self.size

    @property
    def box_shape(self) -> tuple[int, int]:
        """Rows and columns of a box."""
        return BOX_SHAPES[self.size]

    @property
    def digits(self) -> str:
        """The digits in ascending order, `"1"` to `str(size)`."""
        return "".join(str(digit) for digit in range(1, self.size + 1))

    def to_line(self, grid: np.ndarray) -> str:
        """Writes a grid of shape `(size, size)` as one line of `size * size` digits, without separators."""
        (grid,) = self.check_grids(np.asarray(grid)[None])
        if grid.min() < 1 or grid.max() > self.size:
            raise ValueError(
                f"`grid` must hold digits from 1 to {self.size}, got values from {grid.min()} to {grid.max()}; write "
                "puzzles with blanks by `puzzle_to_prompt`."
            )
        return "".join(map(str, grid.flatten().tolist()))

    # Drawing and the rules

    def sample_grids(self, num: int, seed: int, grids_per_base: int = 32) -> np.ndarray:
        """
        Draws complete valid grids, independently for sizes 4 and 6, so that repeats occur as chance has it.

        For 4x4 and 6x6 the draw is exactly uniform over all 288 and 28,200,960 grids: the grids whose first row is
        1..size are enumerated once, one of them is drawn and its digits are renamed at random.

        For 9x9 it is **not** exactly uniform: randomised backtracking finds base grids, and each gives
        `grids_per_base` grids by random renaming, permutation of bands, stacks, rows and columns, and transposition.

        Args:
            num (`int`):
                Number of grids, at least 0.
            seed (`int`):
                Seed, at least 0; the same seed gives the same grids.
            grids_per_base (`int`, *optional*, defaults to 32):
                9x9 only: grids made from each base grid. 1 gives every grid a base of its own, and is slowest.

        Returns:
            `np.ndarray` of shape `(num, size, size)` and type `uint8`: digits 1..size.

        Raises:
            `ValueError`: If `num` or `seed` is negative or `grids_per_base` is below 1.
        """
        check_at_least("num", num, 0)
        check_at_least("seed", seed, 0)
        check_at_least("grids_per_base", grids_per_base, 1)
        rng = np.random.default_rng(seed)
        if self.size == 9:
            grids = self._sample_by_symmetry(num, rng, grids_per_base)
        else:
            canonical = canonical_grids(self.size)
            grids = canonical[rng.integers(len(canonical), size=num)]
        return self._rename_digits(grids, rng)

    def sample_splits(self, sizes: Mapping[str, int], seed: int, grids_per_base: int = 32) -> dict[str, np.ndarray]:
        """
        Draws splits in which no grid occurs twice, neither within a split nor across splits.

        For 4x4 and 6x6 all splits together are one uniform draw without replacement. For 9x9 every split has base
        grids of its own, so that no split holds a twin by symmetry of another split's grid.

        Args:
            sizes (`Mapping[str, int]`):
                Number of grids of each split, at least 0.
            seed (`int`):
                Seed, at least 0.
            grids_per_base (`int`, *optional*, defaults to 32):
                See [`~SudokuGrids.sample_grids`].

        Returns:
            `dict[str, np.ndarray]`: For each split an array of shape `(num, size, size)` and type `uint8`.

        Raises:
            `ValueError`: If more grids are asked for than there are (288 for 4x4).
        """
        for split, num in sizes.items():
            check_at_least(f"num_{split}", num, 0)
        total = sum(sizes.values())
        if total > NUM_GRIDS[self.size]:
            names = " + ".join(f"num_{split}" for split in sizes)
            raise ValueError(
                f"`{names}` must be at most {NUM_GRIDS[self.size]}, the number of {self.size}x{self.size} grids, "
                f"since no grid may occur twice, got {total}; ask for fewer grids or take a larger size."
            )
        check_at_least("seed", seed, 0)
        children = iter(_child_seeds(seed))
        grids = np.empty((0, self.size, self.size), dtype=np.uint8)
        ends = list(itertools.accumulate(sizes.values()))
        for target in ends:
            while len(grids) < target:
                missing = target - len(grids)
                # A little more than is missing, or the last grids of a small population would take many rounds.
                drawn = self.sample_grids(missing + missing // 8 + 64, next(children), grids_per_base)
                grids = distinct_grids(np.concatenate([grids, drawn]))[:target]
        return {split: grids[end - num : end] for (split, num), end in zip(sizes.items(), ends, strict=True)}

    def is_valid(self, grids: np.ndarray) -> np.ndarray:
        """
        Tells which grids hold every digit exactly once in each row, column and box.

        Args:
            grids (`np.ndarray` of shape `(num, size, size)`):
                Whole numbers of any value; numbers outside 1..size make a grid invalid.

        Returns:
            `np.ndarray` of shape `(num,)` and type `bool`.

        Raises:
            `ValueError`: If the shape or the type is another.
        """
        grids = self.check_grids(grids)
        size, (box_rows, box_columns) = self.size, self.box_shape
        known = (grids >= 1) & (grids <= size)
        # One bit per digit: size cells hold all digits once exactly if their bits together are full.
        bits = np.where(known, 1 << np.where(known, grids, 0).astype(np.int64), 0)
        boxes = bits.reshape(-1, size // box_rows, box_rows, size // box_columns, box_columns)
        boxes = boxes.swapaxes(2, 3).reshape(-1, size, size)
        full = (1 << (size + 1)) - 2
        lines = [np.bitwise_or.reduce(cells, axis=2) for cells in (bits, bits.swapaxes(1, 2), boxes)]
        return np.all(np.stack(lines) == full, axis=(0, 2))

    # Puzzles

    def make_puzzles(self, grids: np.ndarray, num_blanks: int, seed: int, unique: bool = False) -> np.ndarray:
        """
        Blanks cells of complete grids.

        Args:
            grids (`np.ndarray` of shape `(num, size, size)`):
                Complete valid grids.
            num_blanks (`int`):
                Blank cells per puzzle, from 0 to `size * size`.
            seed (`int`):
                Seed, at least 0.
            unique (`bool`, *optional*, defaults to `False`):
                `True`: every puzzle has exactly one solution. Cells are then blanked one by one in random order and
                kept where a second solution would appear, with up to 20 orders tried per grid.

        Returns:
            `np.ndarray` of shape `(num, size, size)` and type `uint8`: digits 1..size, 0 = blank.

        Raises:
            `ValueError`: If a grid is not valid, `num_blanks` is out of range, or uniqueness cannot be reached.
        """
        grids = self.check_grids(grids)
        check_at_least("seed", seed, 0)
        if not self.is_valid(grids).all():
            first = int(np.argmin(self.is_valid(grids)))
            raise ValueError(
                f"`grids` must be valid, got an invalid grid at index {first}; filter them by `is_valid`."
            )
        most = self.sequence_length - (FEWEST_GIVENS[self.size] if unique else 0)
        if not 0 <= num_blanks <= most:
            raise ValueError(
                f"`num_blanks` must be from 0 to {most} with `unique={unique}`, got {num_blanks}; blank fewer cells."
            )
        rng = np.random.default_rng(seed)
        if unique:
            return np.array([self._dig(grid, num_blanks, rng) for grid in grids], dtype=np.uint8).reshape(grids.shape)
        order = rng.permuted(np.tile(np.arange(self.sequence_length), (len(grids), 1)), axis=1)
        return np.where(order.reshape(grids.shape) < num_blanks, 0, grids).astype(np.uint8)

    def count_solutions(self, puzzle: np.ndarray, limit: int = 2) -> int:
        """
        Counts the solutions of a puzzle and stops at `limit`.

        Args:
            puzzle (`np.ndarray` of shape `(size, size)`):
                Digits 1..size, 0 = blank.
            limit (`int`, *optional*, defaults to 2):
                Where to stop, at least 1; 2 tells no, one and several solutions apart.

        Returns:
            `int`: The number of solutions, at most `limit`; 0 if the digits contradict each other.
        """
        check_at_least("limit", limit, 1)
        (puzzle,) = self.check_grids(np.asarray(puzzle)[None])
        if puzzle.min() < 0 or puzzle.max() > self.size:
            raise ValueError(
                f"`puzzle` must hold 0 for a blank or a digit up to {self.size}, got values from {puzzle.min()} to "
                f"{puzzle.max()}; such puzzles are made by `make_puzzles`."
            )
        return sum(1 for _ in itertools.islice(solutions(self.size, puzzle.flatten().tolist()), limit))

    # Helpers

    def check_grids(self, grids: np.ndarray) -> np.ndarray:
        grids = np.asarray(grids)
        if grids.ndim != 3 or grids.shape[1:] != (self.size, self.size) or not np.issubdtype(grids.dtype, np.integer):
            raise ValueError(
                f"`grids` must be whole numbers of shape (num, {self.size}, {self.size}), got {grids.dtype} of shape "
                f"{grids.shape}; convert lines by `from_line`, or make the task with the grids' size."
            )
        return grids

    def _rename_digits(self, grids: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        names = rng.permuted(np.tile(np.arange(1, self.size + 1, dtype=np.uint8), (len(grids), 1)), axis=1)  # (N, S)
        cells = grids.reshape(-1, self.sequence_length).astype(np.int64) - 1  # (N, S * S)
        return np.take_along_axis(names, cells, axis=1).reshape(grids.shape)

    def _sample_by_symmetry(self, num: int, rng: np.random.Generator, grids_per_base: int) -> np.ndarray:
        order = random.Random(int(rng.integers(2**63)))
        num_bases = -(-num // grids_per_base)
        bases = [next(solutions(self.size, [0] * self.sequence_length, order)) for _ in range(num_bases)]
        bases = np.array(bases, dtype=np.uint8).reshape(-1, self.size, self.size)
        grids = bases[rng.permutation(np.repeat(np.arange(num_bases), grids_per_base)[:num])]
        rows, columns = (self._shuffled_lines(num, rng, band) for band in self.box_shape)
        grids = grids[np.arange(num)[:, None, None], rows[:, :, None], columns[:, None, :]]
        turned = rng.random(num) < 0.5
        return np.where(turned[:, None, None], grids.swapaxes(1, 2), grids)

    def _shuffled_lines(self, num: int, rng: np.random.Generator, band: int) -> np.ndarray:
        """Orders of rows (or columns) which keep the bands (or stacks) together: `(num, size)`."""
        bands = rng.permuted(np.tile(np.arange(self.size // band), (num, 1)), axis=1)
        within = rng.permuted(np.tile(np.arange(band), (num, self.size // band, 1)), axis=2)
        return (bands[:, :, None] * band + within).reshape(num, self.size)

    def _dig(self, grid: np.ndarray, num_blanks: int, rng: np.random.Generator) -> list[int]:
        for _ in range(DIGGING_ATTEMPTS):
            cells, blanks = grid.flatten().tolist(), 0
            for cell in rng.permutation(self.sequence_length).tolist():
                if blanks == num_blanks:
                    return cells
                digit, cells[cell] = cells[cell], 0
                if sum(1 for _ in itertools.islice(solutions(self.size, cells), 2)) == 1:
                    blanks += 1
                else:
                    cells[cell] = digit
            if blanks == num_blanks:
                return cells
        raise ValueError(
            f"`num_blanks` must leave enough digits for exactly one solution, got {num_blanks}, not reached for "
            f"{self.to_line(grid)} in {DIGGING_ATTEMPTS} attempts; blank fewer cells or pass `unique=False`."
        )


def check_at_least(field: str, value: int, least: int) -> None:
    if value < least:
        raise ValueError(f"`{field}` must be at least {least}, got {value}; pass {least} or more.")


def _child_seeds(seed: int) -> Iterator[int]:
    rng = np.random.default_rng(seed)
    while True:
        yield int(rng.integers(2**63))


def distinct_grids(grids: np.ndarray) -> np.ndarray:
    """The grids without repeats, in order of first appearance (which keeps a uniform draw uniform)."""
    rows = np.ascontiguousarray(grids.reshape(len(grids), grids.shape[1] * grids.shape[2]))
    if len(rows) == 0:
        return grids
    keys = rows.view(np.dtype((np.void, rows.dtype.itemsize * rows.shape[1]))).ravel()
    first = np.unique(keys, return_index=True)[1]
    return grids[np.sort(first)]
