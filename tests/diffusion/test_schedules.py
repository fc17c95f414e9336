# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about schedules: ratios, shares and counts."""

import math
from fractions import Fraction

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_gpt.diffusion.schedules import remask_counts, remask_ratios, reveal_shares, share_of


few = settings(max_examples=60, deadline=None)
shares = st.floats(0, 1)


HALF = math.sqrt(0.5)


@pytest.mark.parametrize(
    ("schedule", "ratios", "shares"),
    [
        ("linear", [0.9, 0.7, 0.5, 0.3, 0.1], [0.25, 0.5, 0.75, 1.0]),
        # A quarter wave, and a parabola that falls early.
        ("cosine", [0.9, 0.8391036, 0.1 + 0.8 * HALF, 0.4061467, 0.1], [0.0761205, 1 - HALF, 0.6173166, 1.0]),
        ("quadratic", [0.9, 0.55, 0.3, 0.15, 0.1], [0.4375, 0.75, 0.9375, 1.0]),
        # Reveals early, and leaves masks for the last steps: (step / 4)^0.6.
        ("root", None, [0.4352753, 0.6597540, 0.8414667, 1.0]),
    ],
)
def test_the_known_ratios_and_shares_come_out(schedule, ratios, shares):
    assert reveal_shares(schedule, 4) == pytest.approx(shares, abs=1e-6)
    if ratios is not None:
        assert remask_ratios(schedule, 5, 0.9, 0.1) == pytest.approx(ratios, abs=1e-6)
    # A single iteration has the end ratio, none has none; the ends are 0.95 and 0.05 unless given.
    assert remask_ratios(schedule, 1, 0.9, 0.2) == pytest.approx([0.2]) and remask_ratios(schedule, 0, 0.9, 0.2) == []
    assert remask_ratios(schedule, 5) == remask_ratios(schedule, 5, 0.95, 0.05)


@given(st.lists(st.integers(0, 5000), min_size=1, max_size=6), st.integers(1, 999))
def test_a_share_to_mask_again_is_rounded_and_one_at_least(counts, thousandths):
    found = remask_counts(torch.tensor(counts), thousandths / 1000).tolist()
    for count, number in zip(counts, found, strict=True):
        assert number == max(1, math.floor(Fraction(thousandths * count, 1000) + Fraction(1, 2)))
    assert remask_counts(torch.tensor(counts), 3).tolist() == [3] * len(counts)


@given(st.floats(0.05, 20.0), st.integers(1, 40))
def test_a_number_is_the_exponent_of_progress(exponent, num_steps):
    expected = [((step + 1) / num_steps) ** exponent for step in range(num_steps)]
    assert reveal_shares(exponent, num_steps) == pytest.approx(expected)
    assert reveal_shares(1, num_steps) == reveal_shares("linear", num_steps)
    assert remask_ratios(0.6, num_steps, 0.9, 0.1) == remask_ratios("root", num_steps, 0.9, 0.1)


def test_a_list_and_a_function_are_the_ratios_themselves():
    assert remask_ratios([0.5, 0.25, 0.75], 3) == [0.5, 0.25, 0.75]
    assert remask_ratios(lambda progress: 1 - progress**2, 3, 0.6, 0.4) == [1.0, 0.75, 0.0]


@pytest.mark.parametrize("value", [-0.01, 1.01, math.nan, math.inf])
def test_ratios_out_of_range_are_refused(value):
    message = r"`schedule` must give ratios in \[0, 1\], got .* at step 1: "
    with pytest.raises(ValueError, match=message):
        remask_ratios([0.5, value, 0.5], 3)
    with pytest.raises(ValueError, match=message):
        remask_ratios(lambda progress: value if progress == 0.5 else 0.5, 3)
    with pytest.raises(ValueError, match=r"`schedule` must give ratios in \[0, 1\], got .* at step 0: "):
        reveal_shares(lambda progress: value, 3)


def test_lists_of_another_length_and_unknown_names_are_refused():
    for schedule in (remask_ratios, reveal_shares):
        with pytest.raises(ValueError, match="`schedule` must hold one ratio for each of the 3 steps, got 2: "):
            schedule([0.5, 0.5], 3)
        with pytest.raises(ValueError, match="root, cosine, a number above 0, a list or a function, got 'line': "):
            schedule("line", 3)
        for number in (0.0, -1.0, math.nan, math.inf, True):
            with pytest.raises(ValueError, match=f"a number above 0, a list or a function, got {number}: "):
                schedule(number, 3)


@given(st.sampled_from(["linear", "cosine"]), st.integers(2, 40), shares, shares)
@few
def test_ratios_stay_between_their_ends_and_run_one_way(schedule, num_steps, start, end):
    ratios = remask_ratios(schedule, num_steps, start, end)
    assert ratios[0] == pytest.approx(start) and ratios[-1] == pytest.approx(end)
    assert ratios == sorted(ratios, reverse=start > end) or ratios == pytest.approx([start] * num_steps)


masked_curves = st.one_of(
    st.sampled_from(["linear", "cosine"]),
    st.sampled_from([lambda p: 1 - p, lambda p: (1 - p) ** 3, lambda p: 1.0, lambda p: 0.0]),
)


@given(masked_curves, st.integers(1, 40))
@few
def test_reveal_shares_never_fall_and_end_at_one(schedule, num_steps):
    revealed = reveal_shares(schedule, num_steps)
    assert len(revealed) == num_steps and revealed[-1] == 1.0
    assert revealed == sorted(revealed) and revealed[0] >= 0


def test_reveal_shares_are_what_the_schedule_leaves_unmasked():
    assert reveal_shares([0.9, 0.9, 0.2, 0.1], 4) == pytest.approx([0.1, 0.1, 0.8, 1])
    with pytest.raises(ValueError, match=r"`schedule` must not rise .*, got 0\.6 after 0\.5 at step 1: "):
        reveal_shares([0.5, 0.6, 0.0], 3)


@given(st.integers(1, 500), st.integers(0, 500))
@few
def test_a_share_of_a_count_undoes_the_rounding_of_the_share(whole, part):
    part = min(part, whole)
    assert share_of(torch.tensor([whole, 0]), part / whole).tolist() == [part, 0]
    if part < whole:
        assert share_of(torch.tensor([whole]), (part + 0.5) / whole).tolist() == [part]
