# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The rules of Sudoku as search: every canonical grid of a size, and every solution of a puzzle."""

# N grids, S side of a grid (digits 1..S)

import functools
import itertools
import random
from collections.abc import Iterator

import numpy as np


BOX_SHAPES = {4: (2, 2), 6: (2, 3), 9: (3, 3)}  # rows and columns of a box


@functools.cache
def canonical_grids(size: int) -> np.ndarray:
    """All grids whose first row is 1..size: `(12, 4, 4)` or `(39168, 6, 6)`, type `uint8`, built row by row."""
    box_rows, box_columns = BOX_SHAPES[size]
    rows = np.array(list(itertools.permutations(range(size))), dtype=np.int64)  # (P, S), ascending: the first is 1..S
    column = np.arange(size)
    # One bit per (column, digit) and one per (box of the band, digit): two rows clash if they share a bit.
    column_bits = np.bitwise_or.reduce(1 << (column * size + rows), axis=1)
    box_bits = np.bitwise_or.reduce(1 << (size * size + column // box_columns * size + rows), axis=1)
    row_bits = column_bits | box_bits  # (P,)
    chosen, used = np.zeros((1, 1), dtype=np.int64), row_bits[:1]
    for row in range(1, size):
        if row % box_rows == 0:
            used = used & ((1 << (size * size)) - 1)  # a new band: its boxes are empty
        parts = []
        for start in range(0, len(used), 2048):  # bounds the memory of the clash table
            grid, candidate = np.nonzero((used[start : start + 2048, None] & row_bits) == 0)
            parts.append((grid + start, candidate))
        grid, candidate = (np.concatenate(part) for part in zip(*parts, strict=True))
        chosen = np.concatenate([chosen[grid], candidate[:, None]], axis=1)
        used = used[grid] | row_bits[candidate]
    canonical = (rows[chosen] + 1).astype(np.uint8)
    canonical.setflags(write=False)  # cached: callers share it
    return canonical


@functools.cache
def units_of_cells(size: int) -> tuple[tuple[int, int, int], ...]:
    """Row, column and box index of every cell, as positions in one list of `3 * size` sets of used digits."""
    box_rows, box_columns = BOX_SHAPES[size]
    return tuple(
        (row, size + column, 2 * size + row // box_rows * (size // box_columns) + column // box_columns)
        for row in range(size)
        for column in range(size)
    )


def solutions(size: int, cells: list[int], order: random.Random | None = None) -> Iterator[list[int]]:
    """Yields all completions of `cells` (0 = blank), the cell with the fewest candidates first; `order` shuffles."""
    cells, units, full = list(cells), units_of_cells(size), (1 << (size + 1)) - 2
    used = [0] * (3 * size)
    blanks = []
    for cell, digit in enumerate(cells):
        if digit == 0:
            blanks.append(cell)
            continue
        if any(used[unit] >> digit & 1 for unit in units[cell]):
            return
        for unit in units[cell]:
            used[unit] |= 1 << digit

    def complete() -> Iterator[list[int]]:
        if not blanks:
            yield cells.copy()
            return
        fewest, best, free = size + 1, 0, 0
        for position, cell in enumerate(blanks):
            row, column, box = units[cell]
            candidates = full & ~(used[row] | used[column] | used[box])
            count = candidates.bit_count()
            if count < fewest:
                fewest, best, free = count, position, candidates
                if count < 2:
                    break
        cell = blanks.pop(best)
        digits = [digit for digit in range(1, size + 1) if free >> digit & 1]
        if order is not None:
            order.shuffle(digits)
        for digit in digits:
            cells[cell] = digit
            for unit in units[cell]:
                used[unit] |= 1 << digit
            yield from complete()
            for unit in units[cell]:
                used[unit] &= ~(1 << digit)
        cells[cell] = 0
        blanks.insert(best, cell)

    yield from complete()
