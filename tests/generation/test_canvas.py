# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the canvas and the pure parts of a step, on random logits."""

import math
from types import SimpleNamespace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused
from transformers.generation import LogitsProcessorList, TemperatureLogitsWarper, TopKLogitsWarper

from critic_gpt.diffusion.selection import entropy, settle, unmasking_order
from critic_gpt.generation.canvas import (
    append_masks,
    confidence_threshold_reveal,
    cut_after_eos,
    entropy_bound_reveal,
    external_scores,
    prepare_canvas,
    scheduled_reveal,
    shift_seed_text,
)
from critic_gpt.generation.configuration import CriticGPTGenerationConfig
from critic_gpt.generation.prediction import draw_tokens, processed
from critic_gpt.generation.strategy_declarations import ADAPTIVE_UNMASKING, UNMASKING


few = settings(max_examples=60, deadline=None)
PAD, MASK, EOS, VOCAB = 0, 1, 2, 10
M = MASK
seeds = st.integers(0, 2**32)
nothing = LogitsProcessorList()
SCHEDULED_ORDERS = [name for name in UNMASKING if name not in ADAPTIVE_UNMASKING]


def config(**fields):
    return CriticGPTGenerationConfig(**{"mask_token_id": MASK, "pad_token_id": PAD, **fields})


def predict_tokens(ids, logits, special_ids, processors, draw, warpers=None, exclude=None):
    return draw_tokens(ids, processed(logits, ids, special_ids, processors), draw, warpers, exclude)


def ban_five(input_ids, scores):
    return scores.index_fill(-1, torch.tensor([5]), float("-inf"))


def random_logits(seed, batch_size=3, length=8):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(2, VOCAB, (batch_size, length), generator=generator)
    ids[torch.rand(ids.shape, generator=generator) < 0.5] = MASK
    return ids, 3 * torch.randn(batch_size, length, VOCAB, generator=generator), generator


# ---- prediction ----


@given(seeds, st.booleans(), st.sampled_from([torch.float32, torch.bfloat16, torch.float64]))
@few
def test_special_tokens_are_never_predicted_and_each_token_has_its_probability(seed, greedy, dtype):
    ids, logits, generator = random_logits(seed)
    logits[..., [PAD, MASK]] += 20
    draw = None if greedy else torch.rand(ids.shape, generator=generator)
    prediction = predict_tokens(ids, logits.to(dtype), [PAD, MASK], nothing, draw)
    assert not torch.isin(prediction.tokens, torch.tensor([PAD, MASK])).any()
    assert torch.equal(
        prediction.probability, prediction.probabilities.gather(-1, prediction.tokens[..., None])[..., 0]
    )
    assert prediction.probabilities.dtype == torch.promote_types(dtype, torch.float32)
    assert prediction.probabilities.sum(-1).sub(1).abs().max() < 1e-5
    if greedy:
        assert torch.equal(prediction.tokens, logits.to(dtype)[..., 2:].argmax(-1) + 2)


def test_processors_are_applied_before_the_draw():
    ids, logits, generator = random_logits(0)
    logits[..., 5] += 20
    draw = torch.rand(ids.shape, generator=generator)
    assert (predict_tokens(ids, logits, [MASK], nothing, draw).tokens == 5).all()
    for uniforms in (draw, None):
        banned = predict_tokens(ids, logits, [MASK], LogitsProcessorList([ban_five]), uniforms)
        assert not (banned.tokens == 5).any() and banned.probabilities[..., 5].eq(0).all()


def test_warpers_shape_the_draw_and_leave_the_probabilities_the_models_own():
    ids, logits, generator = random_logits(1)
    draw = torch.rand(ids.shape, generator=generator)
    plain = predict_tokens(ids, logits, [MASK], nothing, None)
    for warper in (TopKLogitsWarper(1), TemperatureLogitsWarper(1e-3)):
        warped = predict_tokens(ids, logits, [MASK], nothing, draw, LogitsProcessorList([warper]))
        for name in ("tokens", "probability", "probabilities"):
            assert torch.equal(getattr(warped, name), getattr(plain, name)), name


@given(seeds, st.sampled_from([None, "greedy", "cold", "single"]))
@few
def test_an_excluded_token_is_not_drawn_and_the_probabilities_stay_the_models_own(seed, how):
    ids, logits, generator = random_logits(seed)
    draw = None if how == "greedy" else torch.rand(ids.shape, generator=generator)
    warpers = {"cold": TemperatureLogitsWarper(0.5), "single": TopKLogitsWarper(1)}
    warpers = LogitsProcessorList([warpers[how]]) if how in warpers else None
    plain = predict_tokens(ids, logits, [PAD, MASK], nothing, draw, warpers)
    exclude = torch.where(torch.rand(ids.shape, generator=generator) < 0.5, plain.tokens, MASK)
    other = predict_tokens(ids, logits, [PAD, MASK], nothing, draw, warpers, exclude)
    assert not (other.tokens == exclude).any() and torch.equal(other.probabilities, plain.probabilities)
    # As if that token had no chance from the beginning.
    banned = logits.scatter(-1, exclude[..., None], float("-inf"))
    assert torch.equal(other.tokens, predict_tokens(ids, banned, [PAD, MASK], nothing, draw, warpers).tokens)
    own = plain.probabilities.gather(-1, other.tokens[..., None])[..., 0]
    assert torch.equal(other.probability, own)
    # Where a [MASK] is excluded, which is never drawn, nothing changes at all.
    assert torch.equal(other.tokens[exclude == MASK], plain.tokens[exclude == MASK])


def test_an_excluded_token_comes_again_where_no_other_is_possible():
    ids, logits, _ = random_logits(0)
    logits = torch.full_like(logits, float("-inf")).index_fill(-1, torch.tensor([7]), 0.0)
    for draw in (None, torch.full(ids.shape, 0.3)):
        prediction = predict_tokens(ids, logits, [PAD, MASK], nothing, draw, exclude=torch.full_like(ids, 7))
        assert (prediction.tokens == 7).all() and (prediction.probability == 1).all()


# ---- orders that themselves decide how many masks are lifted ----


def random_probabilities(seed):
    """Sharp and flat distributions (3, 8, V) in float64, and where masks stand."""
    ids, logits, generator = random_logits(seed)
    sharpness = torch.rand(*ids.shape, 1, generator=generator) * 4
    return (logits.double() * sharpness).softmax(-1), ids == MASK


@given(seeds, st.sampled_from([0.0, 0.05, 0.3, 1.0, 3.0, 50.0]))
@settings(max_examples=150, deadline=None)
def test_masks_are_lifted_in_the_order_of_entropy_as_far_as_the_bound_goes(seed, bound):
    probabilities, masked = random_probabilities(seed)
    revealed = entropy_bound_reveal(entropy(probabilities), masked, bound)
    known = torch.distributions.Categorical(probabilities).entropy()
    kept, lifted = masked & ~revealed, known.masked_fill(~revealed, 0)
    assert not (revealed & ~masked).any()
    assert torch.equal(revealed.any(-1), masked.any(-1)), "one at least, where there is any"
    assert (lifted.amax(-1) <= known.masked_fill(~kept, 99).amin(-1) + 1e-5).all()
    assert (lifted.sum(-1) - lifted.amax(-1) <= bound + 1e-5).all(), "the largest does not count"
    assert (lifted.sum(-1)[kept.any(-1)] > bound - 1e-5).all(), "one more would be too much"
    assert bound < 50.0 or torch.equal(revealed, masked)


def test_a_bound_of_zero_lifts_what_is_certain_and_one_more():
    sure, unsure = [0.0] * 4 + [1.0, 0.0], [0.0, 0.0, 0.25, 0.25, 0.25, 0.25]
    probabilities = torch.tensor([[unsure, sure, unsure, sure], [unsure, unsure, unsure, unsure], [sure] * 4])
    masked = torch.tensor([[1, 1, 1, 1], [0, 1, 1, 1], [0, 0, 0, 0]]).bool()
    # Among equals the earlier one.
    expected = torch.tensor([[1, 1, 0, 1], [0, 1, 0, 0], [0, 0, 0, 0]]).bool()
    assert torch.equal(entropy_bound_reveal(entropy(probabilities), masked, 0.0), expected)
    # The largest does not count: with a bound of one entropy two of them, with less one.
    for bound, count in ((math.log(4) - 0.01, 1), (math.log(4) + 0.01, 2), (2 * math.log(4) + 0.01, 3)):
        assert entropy_bound_reveal(entropy(probabilities), masked, bound)[1].sum() == count


@given(seeds, st.sampled_from([0.0, 0.3, 0.5, 0.9, 1.0]))
@settings(max_examples=100, deadline=None)
def test_masks_above_a_confidence_are_lifted_and_the_most_confident_always(seed, threshold):
    probabilities, masked = random_probabilities(seed)
    probability = probabilities.amax(-1)
    revealed, sure = confidence_threshold_reveal(probability, masked, threshold), masked & (probability > threshold)
    surest = masked & (probability >= probability.masked_fill(~masked, 0).amax(-1, keepdim=True) - 2.0**-20)
    assert torch.equal(revealed & sure, sure) and not (revealed & ~sure & ~surest).any()
    assert torch.equal(revealed.sum(-1), torch.maximum(sure.sum(-1), masked.any(-1).long()))


def test_among_equally_confident_masks_below_the_threshold_the_first_is_lifted():
    probability = torch.full((1, 4), 1 / VOCAB)
    masked = torch.tensor([[False, True, True, True]])
    assert confidence_threshold_reveal(probability, masked, 0.9).tolist() == [[False, True, False, False]]
    assert confidence_threshold_reveal(probability, masked & False, 0.9).tolist() == [[False] * 4]
    # Above it means above it: of certain tokens one at a threshold of one, all below.
    certain = torch.ones(1, 4)
    assert confidence_threshold_reveal(certain, masked, 1.0).tolist() == [[False, True, False, False]]
    assert torch.equal(confidence_threshold_reveal(certain, masked, 0.99), masked)


# ---- one-pass step ----


@given(seeds, st.sampled_from(SCHEDULED_ORDERS), st.integers(0, 3), st.integers(0, 8))
@settings(max_examples=150, deadline=None)
def test_a_one_pass_step_reaches_its_target_and_reveals_nothing_it_masks_again(seed, unmasking, k, target):
    ids, logits, generator = random_logits(seed)
    editable = torch.rand(ids.shape, generator=generator) < 0.8
    visible = editable & (ids != MASK)
    remasked = visible & (visible.cumsum(-1) <= k)
    prediction = predict_tokens(ids, logits, [PAD, MASK], nothing, torch.rand(ids.shape, generator=generator))
    noise = torch.rand(ids.shape, generator=generator)
    target_visible = torch.full((len(ids),), target)
    order = settle(unmasking_order(prediction.probabilities, prediction.probability, unmasking, noise))
    revealed = scheduled_reveal(ids, editable, order, MASK, target_visible, remasked)
    after = torch.where(revealed, prediction.tokens, ids).masked_fill(remasked, MASK)

    assert torch.equal(after[~editable], ids[~editable])
    assert (after[remasked] == MASK).all()
    revealed = (ids == MASK) & (after != MASK)
    assert torch.equal(after[revealed], prediction.tokens[revealed])
    kept = visible & ~remasked
    assert torch.equal(after[kept], ids[kept])
    # Exactly the target wherever there are enough masks to reach it and no more visible tokens than that already.
    num_visible = (editable & (after != MASK)).sum(-1)
    least = visible.sum(-1) - remasked.sum(-1)
    most = editable.sum(-1) - remasked.sum(-1)
    assert torch.equal(num_visible, torch.clamp(target_visible, least, most))
    new_masks = (after == MASK) & (ids != MASK)
    assert torch.equal(new_masks, remasked)


def test_a_one_pass_step_reveals_the_most_confident_masks_first():
    ids = torch.tensor([[M, 7, M, M]])
    logits = torch.full((1, 4, VOCAB), -9.0)
    logits[0, 0, 4], logits[0, 2, 5], logits[0, 3, 6] = 1.0, 9.0, 5.0
    prediction = predict_tokens(ids, logits, [PAD, MASK], nothing, None)
    nobody, everywhere = torch.zeros(1, 4, dtype=torch.bool), torch.ones(1, 4, dtype=torch.bool)
    arguments = (ids, everywhere, prediction.probability, MASK, torch.tensor([3]), nobody)
    after = torch.where(scheduled_reveal(*arguments), prediction.tokens, ids)
    assert after.tolist() == [[M, 7, 5, 6]]


# ---- EOS ----


def test_what_follows_the_first_generated_eos_of_a_row_is_cut_and_given_tokens_stay():
    sequences = torch.tensor([[EOS, 5, EOS, 6, EOS, 7], [5, 6, 7, 8, 9, 5], [9, 5, 6, 7, EOS, EOS]])
    editable = torch.tensor([[0, 1, 1, 1, 1, 0], [1, 1, 1, 1, 1, 1], [1, 0, 1, 1, 1, 1]]).bool()
    cut = cut_after_eos(sequences, editable, EOS, PAD)
    assert cut.tolist() == [[EOS, 5, EOS, PAD, PAD, 7], [5, 6, 7, 8, 9, 5], [9, 5, 6, 7, EOS, PAD]]
    several = cut_after_eos(torch.tensor([[5, 9, 6, EOS]]), torch.ones(1, 4, dtype=torch.bool), [EOS, 9], PAD)
    assert several.tolist() == [[5, 9, PAD, PAD]]


# ---- canvas ----


@pytest.mark.parametrize(
    ("ids", "attention"),
    [
        ([[5, 6, PAD, PAD], [7, 8, 9, 3], [PAD] * 4], [[1, 1, 0, 0], [1, 1, 1, 1], [0] * 4]),
        ([[PAD, PAD, 5, 6], [7, 8, 9, 3], [PAD] * 4], [[0, 0, 1, 1], [1, 1, 1, 1], [0] * 4]),
    ],
    ids=["right", "left"],
)
def test_masks_stand_behind_the_real_tokens_and_padding_goes_to_the_end(ids, attention):
    expected = [[5, 6, M, M, PAD, PAD], [7, 8, 9, 3, M, M], [M, M, PAD, PAD, PAD, PAD]]
    appended = append_masks(torch.tensor(ids), torch.tensor(attention), 2, MASK, PAD)
    assert appended.tolist() == expected
    canvas = prepare_canvas(torch.tensor(ids), None, None, config(max_new_tokens=2), 6)
    assert canvas.input_ids.tolist() == expected
    assert torch.equal(canvas.attention_mask, (canvas.input_ids != PAD).long())
    assert torch.equal(canvas.editable, canvas.input_ids == MASK)


@pytest.mark.parametrize("dtype", [torch.long, torch.bool, torch.float])
def test_without_a_padding_id_the_attention_mask_says_what_is_padding(dtype):
    ids = torch.tensor([[9, 9, 5], [6, 7, 8]])
    attention_mask = torch.tensor([[0, 0, 1], [1, 1, 1]]).to(dtype)
    canvas = prepare_canvas(ids, attention_mask, None, config(max_new_tokens=2, pad_token_id=None), 8)
    assert canvas.input_ids.tolist() == [[5, M, M, 9, 9], [6, 7, 8, M, M]]
    assert canvas.attention_mask.tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]
    assert canvas.editable.int().tolist() == [[0, 1, 1, 0, 0], [0, 0, 0, 1, 1]]


def test_a_real_token_with_the_id_of_the_padding_stays_real():
    ids = torch.tensor([[5, PAD, 6]])
    canvas = prepare_canvas(ids, torch.ones_like(ids), None, config(max_new_tokens=1), 8)
    assert canvas.input_ids.tolist() == [[5, PAD, 6, M]]
    assert canvas.attention_mask.tolist() == [[1, 1, 1, 1]]


@pytest.mark.parametrize(
    ("ids", "protected", "editable"),
    [
        ([[5, M, 6, M, PAD]], None, [[0, 1, 0, 1, 0]]),
        # A draft may change where it is not protected, and a protected [MASK] stays.
        ([[5, 6, 7, PAD], [5, M, 8, 9]], [[1, 0, 0, 0], [1, 1, 1, 0]], [[0, 1, 1, 0], [0, 0, 0, 1]]),
    ],
)
def test_holes_are_the_only_positions_that_change(ids, protected, editable):
    canvas = prepare_canvas(torch.tensor(ids), None, protected and torch.tensor(protected), config(), 8)
    assert canvas.input_ids.tolist() == ids and canvas.editable.int().tolist() == editable
    assert torch.equal(canvas.attention_mask, (canvas.input_ids != PAD).long())


def test_nothing_at_all_becomes_a_canvas_of_masks():
    canvas = prepare_canvas(torch.empty((1, 0), dtype=torch.long), None, None, config(max_new_tokens=3), 8)
    assert canvas.input_ids.tolist() == [[M, M, M]] and canvas.editable.all()


def test_a_block_is_shifted_among_its_masks_and_padding_stays():
    ids = torch.tensor([[5, 6, M, M, M, PAD], [7, M, M, M, M, M], [8, 9, 5, 6, PAD, PAD], [PAD] * 6])
    attention_mask = (ids != PAD).long()
    num_new = torch.tensor([3, 5, 0, 0])
    for draw, expected in (
        (0.001, [[5, 6, M, M, M, PAD], [7, M, M, M, M, M]]),
        (0.3, [[M, 5, 6, M, M, PAD], [M, 7, M, M, M, M]]),
        (0.999, [[M, M, M, 5, 6, PAD], [M, M, M, M, M, 7]]),
    ):
        shifted = shift_seed_text(ids, attention_mask, num_new, torch.full((4,), draw))
        assert shifted.tolist() == [*expected, *ids[2:].tolist()]


@given(seeds, st.integers(0, 4), st.integers(0, 6))
@few
def test_a_shifted_block_is_whole_wherever_it_stands(seed, given_tokens, num_new):
    ids = torch.tensor([[5 + i for i in range(given_tokens)] + [M] * num_new + [PAD, PAD]])
    draw = torch.rand(1, generator=torch.Generator().manual_seed(seed))
    (row,) = shift_seed_text(ids, (ids != PAD).long(), torch.tensor([num_new]), draw).tolist()
    offset = min(int(draw * (num_new + 1)), num_new)
    assert row == [M] * offset + list(range(5, 5 + given_tokens)) + [M] * (num_new - offset) + [PAD, PAD]


def test_a_mask_token_hidden_by_the_attention_mask_is_shown_again_with_a_warning(warnings):
    ids = torch.tensor([[5, M, M, 6, PAD]])
    hidden = torch.tensor([[1, 0, 1, 0, 0]])
    canvas = prepare_canvas(ids, hidden, None, config(), 8)
    assert canvas.attention_mask.tolist() == [[1, 1, 1, 0, 0]]
    assert canvas.editable.int().tolist() == [[0, 1, 1, 0, 0]]
    assert hidden.tolist() == [[1, 0, 1, 0, 0]], "the caller's tensor is left alone"
    assert len(warnings) == 1 and "`attention_mask` hides [MASK]" in warnings[0]
    prepare_canvas(ids, torch.tensor([[1, 1, 1, 1, 0]]), None, config(), 8)
    assert len(warnings) == 1


# ---- external scores ----


def test_an_external_model_scores_by_two_classes_or_by_one_logit():
    good = torch.tensor([[2.0, -3.0]])
    two = torch.stack([torch.zeros_like(good), good], dim=-1)
    expected = 1 - torch.sigmoid(good)
    for output in (two, SimpleNamespace(logits=two), good, good[..., None], SimpleNamespace(logits=good[..., None])):
        torch.testing.assert_close(external_scores(output), expected)
    assert external_scores(good)[0, 1] > external_scores(good)[0, 0], "better tokens score lower"
    assert external_scores(good.bfloat16()).dtype == torch.float32


def test_an_external_model_of_three_classes_is_refused():
    with refused(match="`remasking_model` must give one logit or two classes per token, got 3: "):
        external_scores(torch.zeros(1, 4, 3))
