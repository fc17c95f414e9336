# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about D: what it is of real sequences, of repetition, of garbage, and of what is short or long."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentences import one_sentence

from critic_gpt.evaluation.divergence import ERROR, EXCESS, HeldOutDivergence, jensen_shannon_bits


LENGTH, LETTERS, SPACE = 24, 12, 0


def real(number, seed, length=LENGTH):
    """Sequences of a chain in which few letters follow each letter."""
    generator = np.random.default_rng(seed)
    rows = np.zeros((number, length), dtype=int)
    rows[:, 0] = generator.integers(LETTERS, size=number)
    for place in range(1, length):
        rows[:, place] = (
            2 * rows[:, place - 1] + generator.choice(4, p=[0.5, 0.3, 0.15, 0.05], size=number)
        ) % LETTERS
    return rows.tolist()


def words(rows):
    return ["".join(chr(97 + token) if token != SPACE else " " for token in row).split() for row in rows]


@pytest.fixture(scope="module")
def divergence():
    return HeldOutDivergence(HELD_OUT := real(400, 0), words(HELD_OUT))


def of(divergence, rows):
    return divergence.judge(rows, words(rows))[EXCESS]


def test_as_many_other_real_sequences_are_at_nothing_but_chance(divergence):
    found = [divergence.judge(rows, words(rows)) for rows in (real(80, seed) for seed in range(1, 5))]
    error = divergence.of_real(80)[ERROR]
    assert divergence.of_real(80)[EXCESS] == 0.0 and 0 < error < 0.02
    assert all(abs(one[EXCESS]) < 4 * max(error, one[ERROR]) for one in found)


def test_neither_repetition_nor_garbage_nor_a_part_of_the_variety_wins(divergence):
    garbage = np.random.default_rng(9).integers(LETTERS, size=(80, LENGTH)).tolist()
    few, likeliest = real(8, 5) * 10, [[(i * 2**j) % LETTERS for j in range(LENGTH)] for i in range(8)] * 10
    plain = abs(of(divergence, real(80, 6)))
    worst = {"garbage": garbage, "one": real(1, 5) * 80, "few": few, "likeliest": likeliest, "empty": [[]] * 80}
    for name, rows in worst.items():
        assert of(divergence, rows) > 0.1 + plain, name
    # The more of them are garbage, the worse.
    mixed = [of(divergence, garbage[:number] + real(80 - number, 7)) for number in (0, 20, 40, 80)]
    assert mixed == sorted(mixed)


def test_neither_shorter_nor_longer_sequences_gain_by_it(divergence):
    assert of(divergence, real(80, 6, length=8)) > 0.03
    assert abs(of(divergence, real(80, 6, length=3 * LENGTH))) < 0.04


def test_the_number_of_samples_does_not_move_it(divergence):
    found = [of(divergence, real(number, 8)) for number in (20, 80, 200, 500)]
    assert max(map(abs, found)) < 0.04


def test_it_is_the_same_again_and_knows_no_words_where_there_are_none():
    rows = real(100, 0)
    without = HeldOutDivergence(rows)
    assert without.judge(real(30, 1)) == HeldOutDivergence(rows).judge(real(30, 1))
    # One word a sequence, as of a protein, is none.
    single = HeldOutDivergence(rows, [["".join(map(str, row))] for row in rows])
    assert single.judge(real(30, 1), [["x"]] * 30) == without.judge(real(30, 1))
    with_words = HeldOutDivergence(rows, words(rows))
    assert with_words.judge(real(30, 1), words(real(30, 1))) != without.judge(real(30, 1))


counts = st.lists(st.integers(0, 50), min_size=3, max_size=3).map(np.array)


@given(counts, counts)
@settings(deadline=None, max_examples=60)
def test_the_divergence_of_two_distributions_is_symmetric_and_at_most_a_bit(one, other):
    value = jensen_shannon_bits(one, other)
    assert value == pytest.approx(jensen_shannon_bits(other, one)) and 0 <= value <= 1
    assert jensen_shannon_bits(3 * one, one) == pytest.approx(0.0 if one.any() else 1.0)


def test_known_divergences():
    assert jensen_shannon_bits(np.array([1, 0]), np.array([0, 5])) == 1.0
    # Half of one lies where the other is: 3/2 log 4/3 ... by hand: H(3/4, 1/4) - 1/2.
    assert jensen_shannon_bits(np.array([1, 1]), np.array([7, 0])) == pytest.approx(0.8112781 - 0.5)


@pytest.mark.parametrize(
    ("call", "parts"),
    [
        (lambda: HeldOutDivergence([[1, 2, 3]] * 3), ("`rows`", "got 3")),
        (lambda: HeldOutDivergence([[1, 2]] * 9), ("`rows`", "at least 3 tokens", "got 2")),
        (lambda: HeldOutDivergence([[1, 2, 3, 4]] * 9).judge([]), ("`rows`", "none")),
    ],
)
def test_what_cannot_be_compared_is_refused(call, parts):
    with one_sentence(*parts):
        call()
