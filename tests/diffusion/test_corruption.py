# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about times, masks, and which masks are filled."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_gpt.diffusion.corruption import (
    MIXED_FULL_SHARE,
    corrupt,
    diffusion_times,
    fill_positions,
    padding_attention_mask,
)
from critic_gpt.diffusion.randomness import uniforms


few = settings(max_examples=40, deadline=None)
MASK, PAD, IGNORE = 1, 0, -100


def seeds(*numbers):
    return torch.tensor(numbers, dtype=torch.int64)


def z_value(share, expected, count):
    """By how many standard deviations an observed share differs from the expected one."""
    return abs(share - expected) / math.sqrt(expected * (1 - expected) / count)


# ---- times and corruption ----


@given(
    st.integers(1, 64),
    st.floats(0.02, 0.98),
    st.floats(1e-4, 0.5),
    st.randoms(use_true_random=False),
)
@few
def test_times_hit_every_cell_of_the_grid_once_and_stay_in_range(batch_size, within, eps, random):
    ranks = list(range(batch_size))
    random.shuffle(ranks)
    # The offset lies inside a cell, so that float32 cannot push a time over its edge.
    offset = torch.tensor((random.randrange(batch_size) + within) / batch_size)
    times = diffusion_times(offset, torch.tensor(ranks), batch_size, eps)
    assert times.shape == (batch_size,)
    assert times.min() >= eps * (1 - 1e-6) and times.max() <= 1
    cells = ((times.double() - eps) / (1 - eps) * batch_size).floor().long()
    assert sorted(cells.tolist()) == list(range(batch_size))


def corruption_case(batch_size, length, seed):
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(2, 12, (batch_size, length), generator=generator)
    times = torch.rand(batch_size, generator=generator).clamp(min=1e-3)
    maskable = torch.rand(batch_size, length, generator=generator) < 0.7
    return clean, times, torch.rand(batch_size, length, generator=generator), maskable


@given(st.integers(1, 5), st.integers(1, 30), st.integers(0, 2**32), st.booleans())
@few
def test_corruption_touches_only_what_it_reports(batch_size, length, seed, restricted):
    clean, times, draw, maskable = corruption_case(batch_size, length, seed)
    before = clean.clone()
    noisy, labels, weights = corrupt(clean, times, draw, MASK, maskable if restricted else None)
    masked = noisy == MASK
    assert torch.equal(clean, before)
    assert torch.equal(noisy[~masked], clean[~masked])
    assert torch.equal(labels, torch.where(masked, clean, IGNORE))
    assert torch.equal(weights, torch.where(masked, 1 / times[:, None], 0.0))
    assert torch.equal(masked, (draw < times[:, None]) & (maskable if restricted else True))


def test_corruption_at_time_one_masks_everything():
    noisy = corrupt(torch.full((2, 50), 5), torch.ones(2), uniforms(seeds(1, 2), 1, 0, 50), MASK).input_ids
    assert (noisy == MASK).all()


def test_the_share_of_masks_is_the_time():
    times = torch.tensor([0.05, 0.3, 0.5, 0.9])
    noisy = corrupt(torch.full((4, 20_000), 5), times, uniforms(torch.arange(4), 1, 0, 20_000), MASK).input_ids
    for share, time in zip((noisy == MASK).double().mean(dim=-1).tolist(), times.tolist(), strict=True):
        assert z_value(share, time, 20_000) < 4.5


def test_padding_is_what_the_attention_mask_hides_and_a_mask_token_is_not():
    ids = torch.tensor([[5, MASK, PAD, PAD]])
    assert padding_attention_mask(ids, PAD).tolist() == [[1, 1, 0, 0]]
    assert padding_attention_mask(ids, None).tolist() == [[1, 1, 1, 1]]


# ---- which masks are filled ----


@given(st.sampled_from(["full", "partial", "mixed"]), st.integers(1, 6), st.integers(1, 30), st.integers(0, 2**32))
@few
def test_filled_positions_are_masks_and_at_least_one_where_there_is_one(regime, batch_size, length, seed):
    generator = torch.Generator().manual_seed(seed)
    masked = torch.rand(batch_size, length, generator=generator) < torch.rand(batch_size, 1, generator=generator)
    share = uniforms(torch.arange(batch_size) + seed, 2, 0, 2)
    filled = fill_positions(masked, regime, share, torch.rand(batch_size, length, generator=generator))
    assert not (filled & ~masked).any()
    assert torch.equal(filled.any(dim=-1), masked.any(dim=-1))
    if regime == "full":
        assert torch.equal(filled, masked)


def test_a_partial_filling_takes_the_drawn_share_at_random_places():
    rows, length = 20_000, 8
    masked = torch.ones(rows, length, dtype=torch.bool)
    filled = fill_positions(
        masked, "partial", uniforms(torch.arange(rows), 2, 0, 2), uniforms(torch.arange(rows), 3, 0, length)
    )
    number = filled.sum(dim=-1)
    for k in range(1, length + 1):
        assert z_value((number == k).double().mean().item(), 1 / length, rows) < 4.5
    expected = (length + 1) / 2 / length
    for share in filled.double().mean(dim=0).tolist():
        assert abs(share - expected) < 4.5 * 0.5 / math.sqrt(rows)


def test_a_mixed_filling_fills_all_in_its_share_of_the_rows():
    rows, length = 20_000, 16
    masked = torch.ones(rows, length, dtype=torch.bool)
    filled = fill_positions(
        masked, "mixed", uniforms(torch.arange(rows), 2, 0, 2), uniforms(torch.arange(rows), 3, 0, length)
    )
    expected = MIXED_FULL_SHARE + (1 - MIXED_FULL_SHARE) / length
    assert z_value(filled.all(dim=-1).double().mean().item(), expected, rows) < 4.5


@pytest.mark.parametrize("regime", ["partial", "mixed"])
@pytest.mark.parametrize("exponent", [0.5, 1.0, 2, 3.0])
def test_the_share_that_is_filled_is_a_uniform_number_raised_to_the_exponent(regime, exponent):
    rows, length = 400, 16
    generator = torch.Generator().manual_seed(3)
    masked = torch.rand(rows, length, generator=generator) < 0.6
    share, order = uniforms(torch.arange(rows), 2, 0, 2), uniforms(torch.arange(rows), 3, 0, length)
    filled = fill_positions(masked, regime, share, order, exponent)
    count = masked.sum(dim=-1)
    expected = (share[:, 1].double() ** exponent * count).ceil().long()
    if regime == "mixed":
        expected = torch.where(share[:, 0] < MIXED_FULL_SHARE, count, expected)
    assert torch.equal(filled.sum(dim=-1), expected) and not (filled & ~masked).any()
    # Those that come first in the drawn order.
    spared = order.masked_fill(~masked | filled, -1).amax(dim=-1)
    assert (order.masked_fill(~filled, 2).amin(dim=-1) >= spared).all()
    if exponent == 1.0:
        assert torch.equal(filled, fill_positions(masked, regime, share, order))


def test_a_sparse_filling_fills_one_to_four_masks_equally_often_however_many_there_are():
    generator = torch.Generator().manual_seed(0)
    masked = (torch.arange(12) < torch.tensor([[12], [3], [0]])).repeat(4000, 1)
    share, order = (torch.rand(len(masked), width, generator=generator) for width in (2, 12))
    counts = fill_positions(masked, "sparse", share, order).sum(dim=1).view(4000, 3)
    for row, ends in ((0, (1, 2, 3, 4)), (1, (1, 2, 3, 3)), (2, (0, 0, 0, 0))):
        found = torch.bincount(counts[:, row], minlength=5) / 4000
        assert found.tolist() == pytest.approx([ends.count(count) / 4 for count in range(5)], abs=0.03)


def test_a_large_exponent_still_fills_one_mask_and_none_where_there_is_none():
    masked = torch.tensor([[True, True, False], [False, False, False]])
    filled = fill_positions(masked, "partial", torch.full((2, 2), 0.01), torch.rand(2, 3), 100.0)
    assert filled.sum(dim=-1).tolist() == [1, 0]


def test_an_unknown_regime_is_refused():
    with pytest.raises(ValueError, match="`regime` must be full, partial, mixed or sparse, got 'half': "):
        fill_positions(torch.ones(1, 2, dtype=torch.bool), "half", torch.rand(1, 2), torch.rand(1, 2))
