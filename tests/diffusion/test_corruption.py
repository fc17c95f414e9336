# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
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
    suppress_tokens,
)
from critic_gpt.diffusion.critic_targets import build_critic_artifacts_from_logits, judged_positions
from critic_gpt.diffusion.randomness import hash_integers, row_seeds, sample_inverse_cdf, uniforms


few = settings(max_examples=40, deadline=None)
int64s = st.integers(-(2**63), 2**63 - 1)
streams = st.integers(0, 20)
scopes = st.sampled_from(["masked_only", "masked_and_ignore", "all"])
MASK, PAD, IGNORE = 1, 0, -100


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


def test_the_extreme_uniforms_are_exact_in_float32():
    bits = torch.tensor([0, 2**23 - 1])
    low, high = ((bits.to(torch.float32) + 0.5) * 2.0**-23).tolist()
    assert low == 2.0**-24 and high == 1 - 2.0**-24


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
        drawn = torch.cat([uniforms(seeds(7), 3, step, 4)[0] for step in range(3_000)])
    else:
        drawn = torch.cat([uniforms(seeds(7), stream, 5, 4)[0] for stream in range(3_000)])
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
    for row in range(rows):
        count = int(masked[row].sum())
        expected = math.ceil(float(share[row, 1]) ** exponent * count)
        if regime == "mixed" and share[row, 0] < MIXED_FULL_SHARE:
            expected = count
        assert int(filled[row].sum()) == expected
        chosen = set(filled[row].nonzero().flatten().tolist())
        by_order = sorted(masked[row].nonzero().flatten().tolist(), key=lambda t: -float(order[row, t]))
        assert chosen == set(by_order[:expected])
    if exponent == 1.0:
        assert torch.equal(filled, fill_positions(masked, regime, share, order))


def test_a_large_exponent_still_fills_one_mask_and_none_where_there_is_none():
    masked = torch.tensor([[True, True, False], [False, False, False]])
    filled = fill_positions(masked, "partial", torch.full((2, 2), 0.01), torch.rand(2, 3), 100.0)
    assert filled.sum(dim=-1).tolist() == [1, 0]


def test_an_unknown_regime_is_refused():
    with pytest.raises(ValueError, match="`regime` must be full, partial or mixed, got 'half': "):
        fill_positions(torch.ones(1, 2, dtype=torch.bool), "half", torch.rand(1, 2), torch.rand(1, 2))


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


# ---- critic artifacts ----


def known_case():
    ids = torch.tensor([[99, 2, 99, 5, 6, 7]])
    labels = torch.tensor([[1, -100, 3, 4, -100, -100]])
    logits = torch.full((1, 6, 100), -30.0)
    logits[0, 0, 1] = logits[0, 2, 8] = 30.0
    return ids, logits, labels


@pytest.mark.parametrize("fill", ["multinomial", "argmax"])
@pytest.mark.parametrize(
    ("scope", "valid", "target"),
    [
        ("masked_only", [1, 0, 1, 0, 0, 0], {0: 0, 2: 1}),
        ("masked_and_ignore", [1, 1, 1, 0, 1, 1], {0: 0, 1: 0, 2: 1, 4: 0, 5: 0}),
        ("all", [1, 1, 1, 1, 1, 1], {0: 0, 1: 0, 2: 1, 3: 1, 4: 0, 5: 0}),
    ],
)
def test_the_known_artifacts_come_out_in_every_scope(scope, valid, target, fill):
    ids, logits, labels = known_case()
    artifacts = build_critic_artifacts_from_logits(ids, logits, labels, 99, scope=scope, fill=fill)
    assert artifacts.critic_input.tolist() == [[1, 2, 8, 5, 6, 7]]
    assert artifacts.critic_valid.int().tolist() == [valid]
    assert artifacts.filled.int().tolist() == [[1, 0, 1, 0, 0, 0]]
    assert artifacts.critic_target.dtype == torch.float32
    assert {i: artifacts.critic_target[0, i].item() for i in target} == target


def test_without_a_mask_id_the_supervised_positions_count_as_masked():
    ids, logits, labels = known_case()
    logits[0, 3, 9] = 60.0
    artifacts = build_critic_artifacts_from_logits(ids, logits, labels, None)
    assert artifacts.filled.int().tolist() == [[1, 0, 1, 1, 0, 0]]
    assert artifacts.critic_input.tolist() == [[1, 2, 8, 9, 6, 7]]


def random_case(seed, batch_size=3, length=12, vocab_size=8):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocab_size, (batch_size, length), generator=generator)
    ids[torch.rand(ids.shape, generator=generator) < 0.4] = MASK
    labels = torch.randint(2, vocab_size, ids.shape, generator=generator)
    labels[torch.rand(ids.shape, generator=generator) < 0.4] = IGNORE
    logits = 3 * torch.randn(batch_size, length, vocab_size, generator=generator)
    return ids, logits, labels, torch.rand(ids.shape, generator=generator) < 0.5


@given(st.integers(0, 2**32), scopes, st.sampled_from(["multinomial", "argmax"]), st.booleans(), st.booleans())
@settings(max_examples=100, deadline=None)
def test_artifacts_obey_their_laws_and_judged_positions_agree(seed, scope, fill, partial, has_mask_id):
    ids, logits, labels, some = random_case(seed)
    logits[..., [MASK, PAD]] += 20
    mask_id = MASK if has_mask_id else None
    masked = ids == MASK if has_mask_id else labels != IGNORE
    fill_mask = some if partial else None
    generator = torch.Generator().manual_seed(seed)
    artifacts = build_critic_artifacts_from_logits(
        ids,
        logits,
        labels,
        mask_id,
        pad_token_id=PAD,
        scope=scope,
        fill=fill,
        fill_mask=fill_mask,
        generator=generator,
    )
    filled = artifacts.filled
    assert torch.equal(filled, masked & some if partial else masked)
    assert torch.equal(artifacts.critic_input[~filled], ids[~filled])
    specials = [PAD, MASK] if has_mask_id else [PAD]
    assert not torch.isin(artifacts.critic_input[filled], torch.tensor(specials)).any()
    assert not (artifacts.critic_valid & (ids == PAD)).any()
    assert not (artifacts.critic_valid & masked & ~filled).any()
    agreed = judged_positions(ids, labels, filled, masked, scope, IGNORE, PAD)
    assert torch.equal(agreed, artifacts.critic_valid)
    supervised = labels != IGNORE
    assert torch.equal(artifacts.critic_target, ((artifacts.critic_input != labels) & supervised).float())
    expected = filled & supervised
    if scope == "masked_and_ignore":
        expected = expected | (~masked & ~supervised)
        assert not artifacts.critic_target[artifacts.critic_valid & ~supervised].any()
    if scope == "all":
        expected = expected | ~masked
    assert torch.equal(artifacts.critic_valid, expected & (ids != PAD))


def test_no_gradient_flows_through_the_filling():
    ids, logits, labels, _ = random_case(3)
    logits.requires_grad_(True)
    for artifact in build_critic_artifacts_from_logits(ids, logits, labels, MASK):
        assert not artifact.requires_grad


def test_a_generator_or_given_uniforms_make_the_filling_reproducible():
    ids, logits, labels, _ = random_case(4)
    draws = [
        build_critic_artifacts_from_logits(ids, logits, labels, MASK, generator=torch.Generator().manual_seed(9))
        for _ in range(2)
    ]
    assert torch.equal(draws[0].critic_input, draws[1].critic_input)
    given_uniforms = torch.rand(ids.shape, generator=torch.Generator().manual_seed(9))
    again = build_critic_artifacts_from_logits(ids, logits, labels, MASK, fill_uniforms=given_uniforms)
    assert torch.equal(draws[0].critic_input, again.critic_input)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64])
def test_filling_works_in_every_precision(dtype):
    ids, logits, labels, _ = random_case(5)
    artifacts = build_critic_artifacts_from_logits(ids, logits.to(dtype), labels, MASK, pad_token_id=PAD)
    assert not torch.isin(artifacts.critic_input[artifacts.filled], torch.tensor([MASK, PAD])).any()


def test_unknown_scopes_and_fills_are_refused():
    ids, logits, labels = known_case()
    with pytest.raises(ValueError, match="`scope` must be masked_only, masked_and_ignore or all, got 'everything': "):
        build_critic_artifacts_from_logits(ids, logits, labels, 99, scope="everything")
    with pytest.raises(ValueError, match="`fill` must be multinomial or argmax, got 'beam': "):
        build_critic_artifacts_from_logits(ids, logits, labels, 99, fill="beam")
