# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about which tokens are revealed and which are re-masked."""

import math
from itertools import combinations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_gpt.diffusion.randomness import STREAM_SELECT, uniforms
from critic_gpt.diffusion.selection import (
    REMASKING_PRECEDENCE,
    apply_remasking_step,
    gumbel_keys,
    resolve_remasking,
    select_worst,
    settle,
    unmasking_order,
)


few = settings(max_examples=60, deadline=None)
MASK = 1
seeds = st.integers(0, 2**32)


# ---- selection ----


def slow_selection(scores, eligible, count, tie_break):
    rows = []
    for row in range(len(scores)):
        places = [i for i, allowed in enumerate(eligible[row]) if allowed]
        places.sort(key=lambda i: (-scores[row][i], -tie_break[row][i] if tie_break else 0, i))
        chosen = set(places[: max(count[row], 0)])
        rows.append([i in chosen for i in range(len(scores[row]))])
    return rows


@st.composite
def selections(draw):
    batch_size, length = draw(st.integers(1, 3)), draw(st.integers(1, 10))

    def rows(values):
        return [[draw(values) for _ in range(length)] for _ in range(batch_size)]

    # Few values, so that ties are the rule; infinite ones as raw scores may have.
    values = st.sampled_from([-math.inf, -1.0, 0.0, 0.25, 0.5, math.inf])
    tie_break = rows(st.sampled_from([0.0, 1.0, 2.0])) if draw(st.booleans()) else None
    return rows(values), rows(st.booleans()), [draw(st.integers(-2, length + 2)) for _ in range(batch_size)], tie_break


@given(selections())
@settings(max_examples=300, deadline=None)
def test_select_worst_equals_a_slow_loop(selection):
    scores, eligible, count, tie_break = selection
    given_tie_break = None if tie_break is None else torch.tensor(tie_break)
    chosen = select_worst(torch.tensor(scores), torch.tensor(eligible), torch.tensor(count), given_tie_break)
    assert chosen.tolist() == slow_selection(scores, eligible, count, tie_break)
    broken = torch.tensor([[0.2, math.nan, 0.9]])  # the worst of all
    assert select_worst(broken, torch.ones(1, 3, dtype=torch.bool), 1).tolist() == [[False, True, False]]


# ---- order of revealing ----


def predictions():
    """All probabilities, those of the tokens drawn (the second position drew an unlikely one), and noise."""
    probabilities = torch.tensor([[[0.5, 0.5, 0.0], [0.6, 0.2, 0.2], [0.34, 0.33, 0.33]]])
    return probabilities, torch.tensor([[0.5, 0.2, 0.34]]), torch.tensor([[0.2, 0.1, 0.3]])


@pytest.mark.parametrize(
    ("unmasking", "expected", "ranking"),
    [
        ("confidence", [0.5, 0.2, 0.34], [0, 2, 1]),
        ("margin", [0.0, 0.4, 0.01], [1, 2, 0]),
        ("entropy", [-0.6931, -0.9503, -1.0986], [0, 1, 2]),
        ("random", [0.2, 0.1, 0.3], [2, 0, 1]),
        ("left_to_right", [0, -1, -2], [0, 1, 2]),
    ],
)
def test_each_unmasking_order_is_right_by_hand(unmasking, expected, ranking):
    order = unmasking_order(*predictions()[:2], unmasking, predictions()[2])
    assert order[0].tolist() == pytest.approx(expected, abs=1e-4)
    assert order[0].argsort(descending=True).tolist() == ranking
    with pytest.raises(ValueError, match=r"`unmasking` must be confidence, .*, got 'certainty': "):
        unmasking_order(*predictions()[:2], "certainty", predictions()[2])


# ---- re-masking ----


def step_case(seed, batch_size=3, length=12):
    generator = torch.Generator().manual_seed(seed)

    def rand():
        return torch.rand(batch_size, length, generator=generator)

    ids = torch.randint(2, 9, (batch_size, length), generator=generator)
    ids[rand() < 0.3] = MASK
    return ids, rand() < 0.3, (rand() < 0.8).long(), rand


sources = {
    "external": lambda score, noise: {"external_scores": score},
    "critic": lambda score, noise: {"critic_scores": score},
    "confidence": lambda score, noise: {"confidence": 1 - score},
    "random": lambda score, noise: {"noise": score},
}


@given(seeds, st.integers(0, 14), st.sampled_from(REMASKING_PRECEDENCE), st.sampled_from([0.0, 0.3, 1.0]), st.data())
@settings(max_examples=200, deadline=None)
def test_exactly_k_eligible_tokens_are_masked_and_nothing_else_changes(seed, k, source, randomness, data):
    ids, protected, attention_mask, rand = step_case(seed)
    score, noise = torch.where(rand() < 0.2, 0.0, rand()), rand()
    drawn = data.draw(st.sampled_from([None, 0.05, 1.0, 50.0]))  # by weight, at this temperature
    arguments = {"randomness_strength": randomness, "noise": noise, **sources[source](score, noise)}
    if drawn is not None:
        arguments |= {"remask_selection": "gumbel", "selection_temperature": drawn, "selection_noise": rand()}
        randomness = arguments["randomness_strength"] = 0.0
    arguments |= {"protected_mask": protected, "attention_mask": attention_mask}
    tensors = [ids, *(value for value in arguments.values() if isinstance(value, torch.Tensor))]
    before = [tensor.clone() for tensor in tensors]
    after, chosen = apply_remasking_step(ids, MASK, k, remasking=source, **arguments)
    eligible = (ids != MASK) & ~protected & attention_mask.bool()
    assert not (chosen & ~eligible).any()
    assert torch.equal(chosen.sum(-1), eligible.sum(-1).clamp(max=k))
    assert torch.equal(after, torch.where(chosen, MASK, ids))
    assert all(torch.equal(now, then) for now, then in zip(tensors, before, strict=True)), "pure"
    if drawn is None:
        blend = score if source == "random" else (1 - randomness) * score + randomness * noise
        spared = blend.masked_fill(~eligible | chosen, -1).amax(-1)
        assert (blend.masked_fill(~chosen, 2).amin(-1) >= spared - 1e-6).all()


def test_protected_positions_do_not_eat_the_budget_and_rows_have_their_own():
    ids = torch.tensor([[5, 6, MASK, 7, 8, 0]])
    scores = torch.tensor([[0.9, 0.8, 0.99, 0.2, 0.1, 1.0]])
    masks = {"protected_mask": torch.tensor([[1, 1, 0, 0, 0, 0]]), "attention_mask": torch.tensor([[1] * 5 + [0]])}
    after, chosen = apply_remasking_step(ids, MASK, 2, critic_scores=scores, **masks)
    assert after.tolist() == [[5, 6, MASK, MASK, MASK, 0]]
    assert chosen.int().tolist() == [[0, 0, 0, 1, 1, 0]]
    counts = torch.tensor([0, 2, 9])
    _, chosen = apply_remasking_step(torch.full((3, 4), 5), MASK, counts, critic_scores=torch.rand(3, 4))
    assert chosen.sum(-1).tolist() == [0, 2, 4]


# Each source would choose a position of its own.
four = {
    "external_scores": torch.tensor([[1.0, 0.0, 0.0, 0.0]]),
    "critic_scores": torch.tensor([[0.0, 1.0, 0.0, 0.0]]),
    "confidence": torch.tensor([[1.0, 1.0, 0.0, 1.0]]),
    "noise": torch.tensor([[0.0, 0.0, 0.0, 1.0]]),
}


@pytest.mark.parametrize(("place", "name"), list(enumerate(REMASKING_PRECEDENCE)))
def test_the_precedence_is_external_critic_confidence_random(place, name):
    ids, at_hand = torch.full((1, 4), 5), dict(list(four.items())[place:])
    assert apply_remasking_step(ids, MASK, 1, **at_hand)[1][0].nonzero().item() == place
    there = [kind in REMASKING_PRECEDENCE[place:] for kind in ("external", "critic", "confidence")]
    assert resolve_remasking("auto", external=there[0], critic=there[1], confidence=there[2]) == name
    # A name overrides it.
    assert apply_remasking_step(ids, MASK, 1, remasking=name, **four)[1][0].nonzero().item() == place
    assert resolve_remasking(name, external=True, critic=True) == name


def test_a_threshold_masks_every_token_above_it_and_only_these():
    ids = torch.full((2, 4), 5)
    scores = torch.tensor([[0.1, 0.5, 0.51, 0.9], [0.0, 0.2, 0.5, 0.4]])
    after, chosen = apply_remasking_step(ids, MASK, error_threshold=0.5, critic_scores=scores)
    assert chosen.int().tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]
    assert torch.equal(after[1], ids[1])
    limited = apply_remasking_step(ids, MASK, 1, error_threshold=0.5, critic_scores=scores)[1]
    assert limited.int().tolist() == [[0, 0, 0, 1], [0, 0, 0, 0]]
    # It looks at the score, not at its blend with noise, and a broken score does not pass as safe.
    scores[0, 3] = math.nan
    noise = {"noise": 1 - scores.nan_to_num(1.0), "randomness_strength": 1.0}
    chosen = apply_remasking_step(ids, MASK, error_threshold=0.5, critic_scores=scores, **noise)[1]
    assert chosen.int().tolist() == [[0, 0, 1, 1], [0, 0, 0, 0]]


def test_a_randomness_of_zero_ignores_noise_and_of_one_ignores_scores():
    ids, score, noise = torch.full((2, 6), 5), torch.rand(2, 6), torch.rand(2, 6)

    def chosen(**arguments):
        return apply_remasking_step(ids, MASK, 3, **arguments)[1]

    plain = chosen(critic_scores=score)
    assert torch.equal(chosen(critic_scores=score, noise=noise, randomness_strength=0.0), plain)
    by_chance = chosen(remasking="random", noise=noise)
    for other in (score, torch.rand(2, 6)):
        assert torch.equal(chosen(critic_scores=other, noise=noise, randomness_strength=1.0), by_chance)


def test_equal_scores_are_ordered_by_the_tie_break_and_then_by_place():
    ids, scores = torch.full((1, 4), 5), torch.tensor([[0.5, 0.5, 0.5, 0.5]])
    logits = torch.tensor([[0.1, 0.3, 0.2, 0.3]])
    for k, expected in ((1, [1]), (2, [1, 3]), (3, [1, 2, 3])):
        chosen = apply_remasking_step(ids, MASK, k, critic_scores=scores, tie_break=logits)[1]
        assert chosen[0].nonzero().flatten().tolist() == expected


# ---- weighted draws without replacement ----


def draw(weights, k, temperature=1.0, num_rows=100_000, source="critic", eligible=None):
    """Which positions are re-masked, for many rows of the same scores."""
    scores = torch.tensor(weights).expand(num_rows, -1)
    noise = uniforms(torch.arange(num_rows), STREAM_SELECT, 0, len(weights))
    arguments = {"remasking": source, "remask_selection": "gumbel", **sources[source](scores, scores)}
    arguments |= {"selection_temperature": temperature, "selection_noise": noise}
    if eligible is not None:
        arguments["protected_mask"] = ~torch.tensor(eligible).expand(num_rows, -1)
    return apply_remasking_step(torch.full(scores.shape, 5), MASK, k, **arguments)[1]


def within_five_deviations(counts, probabilities, num_rows):
    """Each count lies within z = 5 of its binomial expectation: for some 50 counts one false alarm in 30 000 runs."""
    for name, probability in probabilities.items():
        deviation = math.sqrt(num_rows * probability * (1 - probability))
        assert abs(counts[name] - num_rows * probability) <= 5 * deviation + 1e-9, name


WEIGHTS = [0.9, 0.05, 0.4, 0.0, 0.2, 0.6]


@pytest.mark.parametrize("source", sources)
@pytest.mark.parametrize("temperature", [0.5, 1.0, 3.0])
def test_the_first_draw_is_proportional_to_p_wrong_to_the_power_of_one_over_the_temperature(source, temperature):
    num_rows = 100_000
    chosen = draw(WEIGHTS, 1, temperature, num_rows, source)
    powers = [w ** (1 / temperature) for w in WEIGHTS]
    expected = {i: power / sum(powers) for i, power in enumerate(powers)}
    within_five_deviations(dict(enumerate(chosen.sum(0).tolist())), expected, num_rows)
    assert chosen[:, 3].sum() == 0, "what is certainly right is not drawn"


def test_pairs_are_drawn_as_one_after_the_other_without_replacement():
    num_rows, weights = 100_000, [0.9, 0.05, 0.4, 0.2, 0.6]
    chosen = draw(weights, 2, num_rows=num_rows)
    whole, expected, counts = sum(weights), {}, {}
    for i, j in combinations(range(len(weights)), 2):
        one, other = weights[i], weights[j]
        expected[i, j] = one / whole * other / (whole - one) + other / whole * one / (whole - other)
        counts[i, j] = int((chosen[:, i] & chosen[:, j]).sum())
    assert sum(expected.values()) == pytest.approx(1) and sum(counts.values()) == num_rows
    within_five_deviations(counts, expected, num_rows)


def test_protected_positions_leave_the_law_among_the_others_alone():
    num_rows, eligible = 100_000, [False, True, True, False, True, False]
    chosen = draw(WEIGHTS, 1, num_rows=num_rows, eligible=eligible)
    rest = sum(w for w, allowed in zip(WEIGHTS, eligible, strict=True) if allowed)
    expected = {i: WEIGHTS[i] / rest if allowed else 0.0 for i, allowed in enumerate(eligible)}
    within_five_deviations(dict(enumerate(chosen.sum(0).tolist())), expected, num_rows)


def test_scores_of_zero_are_drawn_last_and_with_equal_chances():
    num_rows = 40_000
    chosen = draw([0.0, 0.3, 0.0, 0.0, 0.01], 3, num_rows=num_rows)
    assert chosen[:, [1, 4]].all() and (chosen.sum(-1) == 3).all()
    within_five_deviations({i: int(chosen[:, i].sum()) for i in (0, 2, 3)}, dict.fromkeys((0, 2, 3), 1 / 3), num_rows)


def test_a_cold_draw_takes_the_worst_and_a_broken_score_comes_first():
    ids, scores = torch.full((50, 8), 5), torch.rand(50, 8, generator=torch.Generator().manual_seed(0))
    scores = 0.05 + 0.1 * scores.argsort(-1).float()
    noise = uniforms(torch.arange(50), STREAM_SELECT, 0, 8)
    gumbel = {"remask_selection": "gumbel", "selection_noise": noise}
    cold = apply_remasking_step(ids, MASK, 3, critic_scores=scores, selection_temperature=1e-3, **gumbel)[1]
    assert torch.equal(cold, apply_remasking_step(ids, MASK, 3, critic_scores=scores)[1])
    scores[:, 2] = math.nan
    assert apply_remasking_step(ids, MASK, 1, critic_scores=scores, **gumbel)[1][:, 2].all()
    assert gumbel_keys(scores.bfloat16(), noise).dtype == torch.float32


def test_a_draw_above_a_threshold_takes_none_below_it():
    ids, scores = torch.full((200, 4), 5), torch.tensor([[0.6, 0.5, 0.7, 0.1]]).expand(200, -1)
    noise = uniforms(torch.arange(200), STREAM_SELECT, 0, 4)
    gumbel = {"remask_selection": "gumbel", "selection_noise": noise}
    chosen = apply_remasking_step(ids, MASK, 1, error_threshold=0.5, critic_scores=scores, **gumbel)[1]
    assert chosen.sum(0)[[1, 3]].tolist() == [0, 0] and (chosen.sum(0)[[0, 2]] > 0).all()


BY_CRITIC = {"num_remask": 1, "critic_scores": torch.rand(1, 3)}
GUMBEL = {"num_remask": 1, "remask_selection": "gumbel"}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({}, r"`num_remask` or `error_threshold` must be given, got neither: "),
        ({"num_remask": 1, "randomness_strength": 1.5}, r"`randomness_strength` must be in \[0, 1\], got 1.5: "),
        ({"error_threshold": -0.1}, r"`error_threshold` must be in \[0, 1\], got -0.1: "),
        ({"num_remask": 1, "remasking": "best"}, r"`remasking` must be auto or one of external, .*, got 'best': "),
        ({"num_remask": 1}, r"`noise` must be given for `remasking='random'`.*, got None: "),
        ({"num_remask": 1, "remasking": "critic"}, r"`critic_scores` must be given for `remasking='critic'`"),
        ({"num_remask": 1, "remasking": "external"}, r"`external_scores` must be given .*, got None: "),
        ({"num_remask": 1, "remasking": "confidence"}, r"`confidence` must be given .*, got None: "),
        ({**BY_CRITIC, "randomness_strength": 0.5}, r"`noise` must be given for `remasking='critic'`, `randomness_"),
        ({"num_remask": 1, "remask_selection": "best"}, r"`remask_selection` must be worst or gumbel, got 'best': "),
        ({"num_remask": 1, "selection_temperature": 0.0}, r"`selection_temperature` must be above 0 .* got 0\.0: "),
        ({**GUMBEL, "randomness_strength": 0.5}, r"`randomness_strength` must be 0 beside `remask.* got 0\.5: set "),
        ({**BY_CRITIC, **GUMBEL}, r"`selection_noise` must be given for .* `remask_selection='gumbel'`, got None: "),
        (
            {"num_remask": 1, "external_scores": torch.rand(1, 2)},
            r"`external_scores` must have .*\(1, 3\), got \(1, 2",
        ),
    ],
)
def test_every_error_names_field_rule_value_and_way_out(arguments, message):
    with pytest.raises(ValueError, match=message) as error:
        apply_remasking_step(torch.full((1, 3), 5), MASK, **arguments)
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64])
def test_settled_scores_keep_their_order_in_every_precision(dtype):
    scores = torch.tensor([-9.0, -0.5, 0.25, 1.0, 2.0, 7.0], dtype=dtype)
    assert settle(scores).tolist() == scores.tolist()
