# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about random numbers by row, and about drawing a token with them."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_gpt.diffusion.corruption import (
    suppress_tokens,
)
from critic_gpt.diffusion.randomness import (
    hash_integers,
    race_size,
    row_seeds,
    sample_by_race,
    sample_inverse_cdf,
    uniforms,
)


few = settings(max_examples=40, deadline=None)
int64s = st.integers(-(2**63), 2**63 - 1)
streams = st.integers(0, 20)


def seeds(*numbers):
    return torch.tensor(numbers, dtype=torch.int64)


def z_value(share, expected, count):
    """By how many standard deviations an observed share differs from the expected one."""
    return abs(share - expected) / math.sqrt(expected * (1 - expected) / count)


# ---- randomness ----


@given(st.lists(int64s, min_size=1, max_size=4), streams, st.integers(0, 10**6), st.integers(1, 300))
@few
def test_uniforms_lie_in_the_open_unit_interval(numbers, stream, step, length):
    drawn = uniforms(seeds(*numbers), stream, step, length)
    assert drawn.dtype == torch.float32 and drawn.shape == (len(numbers), length)
    assert drawn.min() > 0 and drawn.max() < 1


@given(st.lists(int64s, min_size=2, max_size=5), streams, st.integers(0, 99), st.integers(1, 40), st.data())
@few
def test_uniforms_depend_neither_on_length_nor_on_the_batch_nor_on_the_order_of_rows(numbers, stream, step, T, data):
    drawn = uniforms(seeds(*numbers), stream, step, T)
    torch.testing.assert_close(uniforms(seeds(*numbers), stream, step, T + 7)[:, :T], drawn, rtol=0, atol=0)
    order = data.draw(st.permutations(range(len(numbers))))
    shuffled = uniforms(seeds(*[numbers[i] for i in order]), stream, step, T)
    assert torch.equal(shuffled, drawn[list(order)])
    assert torch.equal(uniforms(seeds(numbers[0]), stream, step, T), drawn[:1])


@given(int64s, int64s, streams, streams, st.integers(0, 999), st.integers(0, 999))
@few
def test_uniforms_differ_between_rows_streams_and_steps(first, second, stream, other_stream, step, other_step):
    drawn = uniforms(seeds(first), stream, step, 32)
    assert len(set(drawn[0].tolist())) > 30, "positions"
    for differs, other in (
        (first != second, uniforms(seeds(second), stream, step, 32)),
        (stream != other_stream, uniforms(seeds(first), other_stream, step, 32)),
        (step != other_step, uniforms(seeds(first), stream, other_step, 32)),
        (stream != step, uniforms(seeds(first), step, stream, 32)),
    ):
        assert bool((drawn != other).sum() > 30) == differs


@pytest.mark.parametrize("axis", ["position", "row", "step", "stream"])
def test_uniforms_are_uniform_and_serially_uncorrelated(axis):
    # Fixed seeds; z < 4.5 for 64 + 5 statistics would fail by chance once in 2,000 choices of seeds.
    if axis == "position":
        drawn = uniforms(seeds(7), 3, 0, 40_000)[0]
    elif axis == "row":
        drawn = uniforms(torch.arange(40_000), 3, 0, 1)[:, 0]
    elif axis == "step":
        drawn = torch.cat([uniforms(seeds(7), 3, step, 4)[0] for step in range(1_500)])
    else:
        drawn = torch.cat([uniforms(seeds(7), stream, 5, 4)[0] for stream in range(1_500)])
    count = len(drawn)
    for cell in torch.histc(drawn, 64, 0, 1).tolist():
        assert z_value(cell / count, 1 / 64, count) < 4.5
    centred = (drawn.double() - 0.5) * math.sqrt(12)
    assert abs(centred.mean()) * math.sqrt(count) < 4.5
    for lag in (1, 2, 3, 32):
        correlation = (centred[lag:] * centred[:-lag]).mean()
        assert abs(correlation) * math.sqrt(count - lag) < 4.5


@given(int64s, int64s)
@few
def test_hash_integers_tells_order_and_is_not_negative(first, second):
    hashed = hash_integers(seeds(first), second)
    assert 0 <= hashed.item() < 2**62
    assert (hashed == hash_integers(seeds(second), first)).item() == (first == second)
    assert torch.equal(hashed, hash_integers(first, seeds(second))), "an int counts as a tensor of it"


@given(int64s)
@few
def test_hash_integers_sees_every_one_of_64_bits(number):
    flipped = seeds(number) ^ (torch.ones(64, dtype=torch.int64) << torch.arange(64))
    hashes = hash_integers(torch.cat([seeds(number), flipped]))
    assert len(set(hashes.tolist())) == 65


@given(st.integers(-(2**70), 2**70), st.integers(1, 6))
@few
def test_one_seed_gives_every_row_its_own_and_rows_do_not_depend_on_the_batch_size(seed, batch_size):
    rows = row_seeds(seed, batch_size)
    assert rows.dtype == torch.int64 and len(set(rows.tolist())) == batch_size
    assert torch.equal(row_seeds(seed, batch_size + 3)[:batch_size], rows)


@given(st.lists(int64s, min_size=1, max_size=6), st.data())
@few
def test_a_seed_per_row_gives_a_row_what_it_would_get_alone(numbers, data):
    rows = row_seeds(numbers, len(numbers))
    place = data.draw(st.integers(0, len(numbers) - 1))
    assert torch.equal(row_seeds([numbers[place]], 1), rows[place : place + 1])
    assert torch.equal(row_seeds(numbers[place], 1), rows[place : place + 1]), "one number is a list of one"


def test_seeds_that_do_not_fit_the_rows_are_refused():
    with pytest.raises(ValueError, match=r"`seed` must be one number or one for each of 3 rows, got 2: "):
        row_seeds([1, 2], 3)
    for bad in (1.5, "abc", [1.5, 2.0]):
        with pytest.raises(ValueError, match=r"`seed` must be a whole number or a list of them, got .*: write"):
            row_seeds(bad, 2)


def test_without_a_seed_rows_come_from_the_generator():
    draw = [row_seeds(None, 3, torch.Generator().manual_seed(5)) for _ in range(2)]
    assert torch.equal(*draw) and len(set(draw[0].tolist())) == 3
    torch.manual_seed(0)
    first = row_seeds(None, 3)
    assert not torch.equal(first, row_seeds(None, 3))


# ---- drawing a token ----

extreme_draws = st.one_of(st.sampled_from([2.0**-24, 0.5, 1 - 2.0**-24]), st.floats(2.0**-24, 1 - 2.0**-24))
# Many zeros and a wide range of sizes, so that sums round.
weights_lists = st.lists(
    st.one_of(st.just(0.0), st.floats(1e-30, 1e-6), st.floats(0.1, 1.0)), min_size=1, max_size=60
).filter(any)


@given(weights_lists, extreme_draws, st.sampled_from([torch.float32, torch.float64]))
@settings(max_examples=200, deadline=None)
def test_a_token_of_probability_zero_is_never_drawn(weights, draw, dtype):
    probabilities = torch.tensor(weights, dtype=dtype)
    token = sample_inverse_cdf(probabilities, torch.tensor(draw))
    assert probabilities[token] > 0


def test_the_last_token_is_drawn_by_the_largest_uniform_and_the_first_by_the_smallest():
    probabilities = torch.tensor([0.0, 0.25, 0.0, 0.75, 0.0]).expand(2, 5)
    assert sample_inverse_cdf(probabilities, torch.tensor([2.0**-24, 1 - 2.0**-24])).tolist() == [1, 3]
    assert sample_inverse_cdf(probabilities[:1], torch.zeros(1)).tolist() == [1]


def test_draws_follow_the_distribution():
    probabilities = torch.tensor([0.02, 0.4, 0.0, 0.08, 0.5]).expand(40_000, 5)
    tokens = sample_inverse_cdf(probabilities, uniforms(seeds(11), 4, 0, 40_000)[0])
    assert not (tokens == 2).any()
    for token in (0, 1, 3, 4):
        expected = probabilities[0, token].item()
        assert z_value((tokens == token).double().mean().item(), expected, 40_000) < 4.5


def test_a_token_of_probability_zero_is_not_drawn_where_a_parallel_scan_rounds_otherwise(monkeypatch):
    def doubling_cumsum(tensor, dim):
        """Adds neighbours at distance 1, 2, 4, ..., as a GPU does: another order of additions at each position."""
        distance = 1
        while distance < tensor.shape[-1]:
            tensor = torch.cat([tensor[..., :distance], tensor[..., distance:] + tensor[..., :-distance]], dim=-1)
            distance *= 2
        return tensor

    generator = torch.Generator().manual_seed(0)
    probabilities = torch.rand(500, 64, generator=generator) * (torch.rand(500, 64, generator=generator) < 0.5)
    cumulative = doubling_cumsum(probabilities, -1)
    before, after, total = cumulative[:, :-1].double(), cumulative[:, 1:].double(), cumulative[:, -1:].double()
    grew = (after > before) & (probabilities[:, 1:] == 0)
    assert grew.any()
    # A draw that falls between the two sums, where the sum grew although nothing was added.
    draw = (before + after) / 2 / total
    monkeypatch.setattr(torch.Tensor, "cumsum", doubling_cumsum)
    rows = grew.nonzero()[:, 0]
    nudges = torch.tensor([-1e-7, -5e-8, 0.0, 5e-8, 1e-7])
    tokens = sample_inverse_cdf(
        probabilities[rows][:, None, :].expand(-1, 5, -1), draw[grew].float()[:, None] + nudges
    )
    assert (probabilities[rows].gather(-1, tokens) > 0).all()


def test_suppressed_tokens_get_no_probability_and_the_input_is_left_alone():
    logits = torch.zeros(2, 3, 6)
    suppressed = suppress_tokens(logits, [0, 4])
    assert suppressed.softmax(-1)[..., [0, 4]].eq(0).all() and logits.eq(0).all()
    assert suppress_tokens(logits, []) is logits


# ---- large vocabularies, drawn from in two steps ----


@pytest.mark.parametrize("size", [1025, 5000, 4096])
def test_a_draw_in_two_steps_is_that_of_the_cumulative_sums(size):
    generator = torch.Generator().manual_seed(size)
    probabilities = torch.randn(400, size, generator=generator).mul(3).softmax(-1)
    probabilities[:, -70:] = probabilities[:, 100:300] = 0.0  # whole blocks without any, the last ones among them
    draw = torch.rand(400, generator=generator)
    draw[:2] = torch.tensor([2.0**-24, 1 - 2.0**-24])
    tokens = sample_inverse_cdf(probabilities, draw)
    assert (probabilities.gather(-1, tokens[:, None]) > 0).all()
    cumulative = probabilities.double().cumsum(-1)
    target = draw.double() * cumulative[:, -1]
    # Up to the rounding of the sums.
    above = cumulative.gather(-1, tokens[:, None]).squeeze(-1)
    below = above - probabilities.gather(-1, tokens[:, None]).squeeze(-1)
    assert ((target < above + 1e-5) & (target > below - 1e-5)).all()
    exact = torch.searchsorted(cumulative, target[:, None], right=True).squeeze(-1)
    assert (tokens == exact).float().mean() > 0.98


@pytest.mark.parametrize("by_race", [False, True])
def test_tokens_of_a_large_vocabulary_come_as_often_as_they_are_likely(by_race):
    likely = torch.linspace(1.0, 3.0, 3000).softmax(-1)
    likely[1234:1500] = 0.0  # whole blocks and a part of one
    likely /= likely.sum()
    if by_race:
        draws = uniforms(seeds(13), 4, 0, 20_000 * race_size(3000))[0].view(20_000, -1)
        tokens = sample_by_race(likely.expand(len(draws), -1), -draws.log())
    else:
        draws = uniforms(seeds(12), 4, 0, 100_000)[0]
        tokens = sample_inverse_cdf(likely.expand(len(draws), -1), draws)
    assert (likely[tokens] > 0).all()
    # Far apart in the order of tokens, and side by side.
    for group in ([slice(300 * i, 300 * (i + 1)) for i in range(10)], [slice(i, None, 10) for i in range(10)]):
        shares = torch.stack([torch.bincount(tokens, minlength=3000)[part].sum() for part in group]) / len(draws)
        p = torch.stack([likely[part].sum() for part in group])
        z = (shares - p) / (p * (1 - p) / len(draws)).sqrt().clamp(min=1e-6)
        assert (z.abs() < 4.0).all(), z


def test_a_race_seldom_draws_another_token_where_probabilities_change_a_little():
    generator = torch.Generator().manual_seed(2)
    scores = torch.randn(2000, 3000, generator=generator)
    other = (scores + 0.1 * torch.randn(2000, 3000, generator=generator)).softmax(-1)
    clocks = -torch.rand(2000, race_size(3000), generator=generator).clamp_(min=2.0**-24).log()
    tokens = [sample_by_race(one, clocks) for one in (scores.softmax(-1), other)]
    must = (scores.softmax(-1) - other).abs().sum(
        -1
    ).mean().item() / 2  # total variation: no way of drawing changes less
    assert (tokens[0] != tokens[1]).float().mean().item() < 3 * must < 0.2
