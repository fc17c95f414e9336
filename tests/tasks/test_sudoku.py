"""Claims about the Sudoku task."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from critic_gpt.tasks.sudoku import SudokuTask
from critic_gpt.tasks.sudoku_grids import NUM_GRIDS
from critic_gpt.tasks.sudoku_solver import canonical_grids


SIZES = st.sampled_from([4, 6, 9])
SEEDS = st.integers(0, 2**32)


def obeys_the_rules(grid):
    """The rules spelled out cell by cell, as a second opinion on the vectorised judge."""
    size = len(grid)
    box_rows, box_columns = {4: (2, 2), 6: (2, 3), 9: (3, 3)}[size]
    digits = set(range(1, size + 1))
    units = [set(row) for row in grid.tolist()] + [set(column) for column in grid.T.tolist()]
    for top in range(0, size, box_rows):
        for left in range(0, size, box_columns):
            units.append(set(grid[top : top + box_rows, left : left + box_columns].flatten().tolist()))
    return all(unit == digits for unit in units)


@given(SIZES, SEEDS, st.integers(0, 40), st.integers(1, 8))
@settings(max_examples=40, deadline=None)
def test_sampled_grids_are_valid_and_reproducible(size, seed, num, grids_per_base):
    task = SudokuTask(size)
    grids = task.sample_grids(num, seed, grids_per_base)
    assert grids.shape == (num, size, size) and grids.dtype == np.uint8
    assert task.is_valid(grids).all()
    assert all(obeys_the_rules(grid) for grid in grids)
    assert np.array_equal(grids, task.sample_grids(num, seed, grids_per_base))
    assert not np.array_equal(task.sample_grids(20, seed), task.sample_grids(20, seed + 1))


@pytest.mark.parametrize("size", [4, 6])
def test_enumeration_finds_every_grid_exactly_once(size):
    canonical = canonical_grids(size)
    assert len(canonical) * np.prod(np.arange(1, size + 1)) == NUM_GRIDS[size]
    assert len(np.unique(canonical.reshape(len(canonical), -1), axis=0)) == len(canonical)
    assert SudokuTask(size).is_valid(canonical).all()


def test_4x4_draw_is_uniform_over_all_288_grids():
    lines, counts = np.unique(
        SudokuTask(4).sample_grids(288 * 200, seed=1).reshape(-1, 16), axis=0, return_counts=True
    )
    chi_square = ((counts - 200) ** 2 / 200).sum()
    assert len(lines) == 288
    assert 200 < chi_square < 390  # 287 degrees of freedom: mean 287, standard deviation 24


@given(st.sampled_from([4, 6]), SEEDS, st.data())
@settings(max_examples=60, deadline=None)
def test_changing_any_cell_of_a_valid_grid_makes_it_invalid(size, seed, data):
    task = SudokuTask(size)
    grids = task.sample_grids(1, seed).astype(np.int64)
    row, column = data.draw(st.integers(0, size - 1)), data.draw(st.integers(0, size - 1))
    old = grids[0, row, column]
    grids[0, row, column] = data.draw(st.integers(-3, 300).filter(lambda value: value != old))
    assert not task.is_valid(grids).any()


@given(SIZES, SEEDS, st.data())
@settings(max_examples=60, deadline=None)
def test_vectorised_verdict_equals_the_rules_spelled_out(size, seed, data):
    task = SudokuTask(size)
    grids = task.sample_grids(4, seed)
    # Swapping two cells keeps the digit counts; it may hit equal digits and then change nothing.
    cells = data.draw(st.lists(st.integers(0, size * size - 1), min_size=2, max_size=2))
    flat = grids.reshape(4, -1)
    flat[1:, cells] = flat[1:, cells[::-1]]
    assert task.is_valid(grids).tolist() == [obeys_the_rules(grid) for grid in grids]
    latin = np.array([[1, 2, 3, 4], [2, 3, 4, 1], [3, 4, 1, 2], [4, 1, 2, 3]])  # but wrong boxes
    assert SudokuTask(4).is_valid(latin[None]).tolist() == [False]


@given(SIZES, SEEDS)
@settings(max_examples=30, deadline=None)
def test_line_and_grid_round_trip(size, seed):
    task = SudokuTask(size)
    (grid,) = task.sample_grids(1, seed)
    line = task.to_line(grid)
    assert len(line) == task.sequence_length
    assert np.array_equal(task.from_line(line), grid)


@pytest.mark.parametrize("line", ["", "1" * 15, "1" * 17, "5" * 16, "1" * 15 + "x", "1" * 15 + "²", "0" * 16])
def test_malformed_lines_are_errors_to_read_and_invalid_to_judge(line):
    task = SudokuTask(4)
    with pytest.raises(ValueError, match=r"`line` must hold"):
        task.from_line(line)
    assert task.judge([line])["valid_rate"] == 0.0


@given(SIZES, SEEDS, st.data())
@settings(max_examples=30, deadline=None)
def test_puzzles_have_exactly_the_blanks_asked_for_and_keep_the_rest(size, seed, data):
    task = SudokuTask(size)
    num_blanks = data.draw(st.integers(0, size * size))
    grids = task.sample_grids(5, seed)
    puzzles = task.make_puzzles(grids, num_blanks, seed)
    assert ((puzzles == 0).sum(axis=(1, 2)) == num_blanks).all()
    assert (puzzles == grids)[puzzles != 0].all()
    assert np.array_equal(puzzles, task.make_puzzles(grids, num_blanks, seed))


@pytest.mark.parametrize(("size", "num_blanks"), [(4, 0), (4, 10), (6, 22), (9, 45)])
def test_unique_puzzles_have_exactly_one_solution(size, num_blanks):
    task = SudokuTask(size)
    grids = task.sample_grids(4, seed=2)
    puzzles = task.make_puzzles(grids, num_blanks, seed=3, unique=True)
    assert ((puzzles == 0).sum(axis=(1, 2)) == num_blanks).all()
    assert (puzzles == grids)[puzzles != 0].all()
    assert [task.count_solutions(puzzle) for puzzle in puzzles] == [1] * 4


def test_solutions_are_counted_exactly_up_to_the_limit():
    task = SudokuTask(4)
    empty = np.zeros((4, 4), dtype=np.uint8)
    assert task.count_solutions(empty, limit=1000) == 288
    assert task.count_solutions(empty) == 2
    clash = empty.copy()
    clash[0, :2] = 1
    assert task.count_solutions(clash) == 0
    assert SudokuTask(6).count_solutions(np.zeros((6, 6), dtype=int), limit=500) == 500


def test_unreachable_uniqueness_is_an_error_with_a_way_out():
    task = SudokuTask(4)
    grids = task.sample_grids(1, seed=0)
    with pytest.raises(ValueError, match=r"`num_blanks` must be from 0 to 12 .* got 13; blank fewer cells"):
        task.make_puzzles(grids, 13, seed=0, unique=True)
    with pytest.raises(ValueError, match=r"exactly one solution, got 28, .* blank fewer cells or pass"):
        SudokuTask(6).make_puzzles(SudokuTask(6).sample_grids(1, seed=0), 28, seed=0, unique=True)


@pytest.mark.parametrize("size", [4, 6, 9])
def test_looked_up_ids_equal_tokenized_lines_also_after_saving(size, tmp_path):
    task = SudokuTask(size)
    grids = task.sample_grids(3, seed=0)
    task.tokenizer().save_pretrained(tmp_path)
    tokenizer = AutoTokenizer.from_pretrained(tmp_path)
    lines = [task.to_line(grid) for grid in grids]
    assert task.to_input_ids(grids, tokenizer).tolist() == tokenizer(lines)["input_ids"]
    # Of a puzzle: the givens, and one mask per blank.
    (puzzle,) = task.make_puzzles(grids[:1], 7, seed=0)
    ids = tokenizer(task.puzzle_to_prompt(puzzle))["input_ids"]
    assert len(ids) == tokenizer.model_max_length == size * size
    assert [token == tokenizer.mask_token_id for token in ids] == (puzzle == 0).flatten().tolist()
    assert tokenizer.batch_decode(tokenizer(lines)["input_ids"]) == lines
    assert len(tokenizer) == size + 2


def test_judge_counts_validity_and_repeats():
    task = SudokuTask(4)
    first, second = (task.to_line(grid) for grid in canonical_grids(4)[:2])
    verdict = task.judge([first, first, second, "1" * 16, "short"])
    assert verdict == {"valid_rate": 0.6, "distinct_rate": 0.8, "duplicates": 1, "num_samples": 5}
    lines = [first, first, second, "1" * 16]
    grids = np.stack([task.from_line(line) for line in lines])
    assert task.valid_rate(lines) == task.valid_rate(grids) == task.valid_rate(list(grids)) == 3 / 4
    assert task.distinct_rate(lines) == task.distinct_rate(grids) == 3 / 4
    assert SudokuTask(9).distinct_rate(SudokuTask(9).sample_grids(500, seed=0, grids_per_base=500)) == 1.0
    with pytest.raises(ValueError, match=r"at least one sample"):
        task.judge([])


@given(SIZES, SEEDS, st.lists(st.integers(0, 60), min_size=3, max_size=3))
@settings(max_examples=30, deadline=None)
def test_no_grid_occurs_twice_in_splits(size, seed, nums):
    task = SudokuTask(size)
    sizes = dict(zip(("train", "validation", "test"), nums, strict=True))
    splits = task.sample_splits(sizes, seed)
    assert {split: len(grids) for split, grids in splits.items()} == sizes
    together = np.concatenate(list(splits.values()))
    assert len({grid.tobytes() for grid in together}) == sum(nums)
    assert task.is_valid(together).all()


def test_4x4_splits_can_exhaust_all_grids_but_not_more():
    task = SudokuTask(4)
    splits = task.sample_splits({"train": 200, "validation": 44, "test": 44}, seed=0)
    assert len({grid.tobytes() for grids in splits.values() for grid in grids}) == 288
    with pytest.raises(ValueError, match=r"must be at most 288, .* got 289; ask for fewer"):
        task.sample_splits({"train": 201, "validation": 44, "test": 44}, seed=0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda task: SudokuTask(5), "`size` must be 4, 6 or 9, got 5"),
        (lambda task: task.sample_grids(-1, seed=0), "`num` must be at least 0, got -1"),
        (lambda task: task.sample_grids(1, seed=-1), "`seed` must be at least 0, got -1"),
        (
            lambda task: task.is_valid(np.zeros((2, 4, 4))),
            r"`grids` must be whole numbers of shape \(num, 4, 4\)",
        ),
        (lambda task: task.make_puzzles(np.ones((1, 4, 4), dtype=int), 1, seed=0), "invalid grid at index 0"),
        (lambda task: task.to_line(np.zeros((4, 4), dtype=int)), "puzzles with blanks by `puzzle_to_prompt`"),
    ],
)
def test_wrong_arguments_name_field_value_and_way_out(call, message):
    with pytest.raises(ValueError, match=message):
        call(SudokuTask(4))
