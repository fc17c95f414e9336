# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about Sudoku puzzles: one solution each, grids of their own, and the rule that judges answers."""

from itertools import permutations

import numpy as np
import pytest
from sentences import one_sentence

from critic_gpt.tasks import SudokuPuzzles, SudokuTask
from critic_gpt.tasks.sudoku_symmetry import symmetry_signatures


def draw(size=6, num=5, num_blanks=20, seed=0, **kwargs):
    return SudokuPuzzles.draw(SudokuTask(size), num, num_blanks, seed, **kwargs)


@pytest.mark.parametrize(("size", "num_blanks"), [(4, 10), (6, 24), (9, 51)])
def test_puzzles_have_the_blanks_asked_for_and_exactly_one_solution(size, num_blanks):
    drawn = draw(size, num_blanks=num_blanks)
    assert len(drawn) == 5 and drawn.sequence_length == size * size
    assert ((drawn.puzzles == 0).sum(axis=(1, 2)) == num_blanks).all()
    assert all(drawn.task.count_solutions(puzzle) == 1 for puzzle in drawn.puzzles)
    assert drawn.task.is_valid(drawn.solutions).all()


def test_no_solution_is_a_grid_of_the_splits_nor_another_solution():
    task = SudokuTask(4)
    everything = task.sample_splits({"train": 288}, seed=0)["train"]
    drawn = draw(4, num=100, num_blanks=4, apart_from=everything[:180])
    solutions = {grid.tobytes() for grid in drawn.solutions}
    assert len(solutions) == 100
    assert not solutions & {grid.tobytes() for grid in everything[:180]}


def test_a_9x9_solution_is_no_twin_by_symmetry_of_a_grid_of_the_splits(monkeypatch):
    task = SudokuTask(9)
    twins = task.sample_grids(8, seed=3, grids_per_base=1)
    # The draw meets twins of the splits' grids first and must pass them over.
    inner, calls = SudokuTask.sample_grids, []

    def meets_twins(self, num, seed, grids_per_base):
        calls.append(num)
        return twins[::-1] if len(calls) == 1 else inner(self, num, seed, grids_per_base)

    monkeypatch.setattr(SudokuTask, "sample_grids", meets_twins)
    drawn = draw(9, num=3, num_blanks=20, apart_from=twins.swapaxes(1, 2))
    assert len(calls) == 2
    assert not set(symmetry_signatures(drawn.solutions)) & set(symmetry_signatures(twins))


def test_twins_have_one_signature_and_strangers_others():
    grids = SudokuTask(9).sample_grids(96, seed=0, grids_per_base=16)
    # Renamed, with lines exchanged and turned round: six bases are left.
    assert len(set(symmetry_signatures(grids))) == 6
    orders = [np.concatenate([np.array(order) + 3 * band for band in (2, 0, 1)]) for order in permutations(range(3))]
    turned = np.stack([grids[0][order] for order in orders] + [grids[0][:, order] for order in orders])
    assert len(set(symmetry_signatures(turned))) == 1
    strangers = symmetry_signatures(SudokuTask(9).sample_grids(200, seed=1, grids_per_base=1))
    assert len(set(strangers)) >= 199
    # Nine digits of which none returns at once return in cycles of 9, 7 + 2, 6 + 3, 5 + 4, 5 + 2 + 2, 4 + 3 + 2,
    # 3 + 3 + 3 or 3 + 2 + 2 + 2 digits: eight codes of two lines.
    assert len(np.unique(np.frombuffer(b"".join(strangers), dtype=np.int16))) == 8


def test_canvases_are_the_givens_and_one_mask_per_blank():
    drawn, tokenizer = draw(), SudokuTask(6).tokenizer()
    for row, puzzle in zip(drawn.canvases(tokenizer), drawn.puzzles, strict=True):
        assert tokenizer.decode(row) == drawn.task.puzzle_to_prompt(puzzle)


def test_lines_are_read_as_they_were_written_and_follow_the_seed():
    drawn = draw()
    lines = drawn.to_lines()
    assert lines == draw().to_lines() != draw(seed=1).to_lines()
    assert all(line.count(".") == 20 and len(line) == 36 + 1 + 36 for line in lines)
    read = SudokuPuzzles.from_lines(drawn.task, lines)
    assert (read.puzzles == drawn.puzzles).all() and (read.solutions == drawn.solutions).all()


def test_a_grid_is_right_only_if_it_is_valid_and_keeps_the_givens():
    drawn = draw(num=4)
    right = [drawn.task.to_line(grid) for grid in drawn.solutions]
    other = drawn.task.to_line(drawn.task.sample_grids(1, seed=5)[0])  # valid, but of other givens
    assert drawn.right(right).all()
    assert drawn.judge(right) == {"success_rate": 1.0, "right_cell_rate": 1.0, "num_samples": 4}
    # Fewer answers are those to the first puzzles.
    assert drawn.judge(right[:2])["success_rate"] == 1.0 and len(drawn.first(2)) == 2 and len(drawn.first(9)) == 4
    blank = int(np.flatnonzero(drawn.puzzles[1] == 0)[0])
    wrong = right[1][:blank] + str(int(right[1][blank]) % 6 + 1) + right[1][blank + 1 :]
    answers = [other, wrong, "no grid", right[3]]
    assert drawn.right(answers).tolist() == [False, False, False, True]
    judged = drawn.judge(answers)
    assert judged["success_rate"] == 0.25
    blanks = [[i for i, sign in enumerate(line[:36]) if sign == "."] for line in drawn.to_lines()]
    by_chance = np.mean([other[i] == right[0][i] for i in blanks[0]])
    assert judged["right_cell_rate"] == pytest.approx((by_chance + 19 / 20 + 0 + 1) / 4)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: draw(num=0), ("`num_puzzles`", "got 0")),
        (lambda: draw(4, num=289, num_blanks=4), ("`num_puzzles`", "288", "got 289")),
        (lambda: draw(num_blanks=35), ("`num_blanks`", "got 35")),
        (lambda: draw().right(["1"]), ("`texts`", "5 puzzles", "got 1")),
        (lambda: SudokuPuzzles.from_lines(SudokuTask(6), []), ("`solutions`", "0 puzzles")),
        (lambda: SudokuPuzzles.from_lines(SudokuTask(6), ["12 3"]), ("`line`", "'3'")),
        (lambda: SudokuPuzzles.from_lines(SudokuTask(6), [f"x{draw().to_lines()[0][1:]}"]), ("`lines`", "got 'x")),
        (lambda: SudokuPuzzles(SudokuTask(6), draw().puzzles, draw(seed=1).solutions), ("`solutions`", "givens")),
        (lambda: SudokuPuzzles(SudokuTask(6), draw().puzzles, draw().puzzles), ("`solutions`", "valid")),
    ],
)
def test_user_errors_are_one_sentence(call, parts):
    with one_sentence(*parts):
        call()
