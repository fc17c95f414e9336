# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about ProSeCo."""

import pytest
import torch
from denoising_steps import (
    MASK,
    PAD,
    VOCAB,
    M,
    assert_drawn_from,
    canvas,
    generate,
    given,
    probabilities_of,
    same_steps,
)
from refusals import refused


@pytest.mark.parametrize(("interval", "steps"), [(1, 1), (2, 1), (3, 2), (2, 3)])
def test_proseco_replaces_what_is_visible_by_the_prediction_for_its_own_filling(model, interval, steps):
    """Step by step at temperature zero, where the tokens lifted are known; the corrector takes the likeliest."""
    output = generate(
        model, remasking="proseco", num_steps=6, temperature=0, corrector_interval=interval, corrector_steps=steps
    )
    assert output.forward_passes == 6 + 6 // interval * steps
    for number, step in enumerate(output.history):
        likeliest = probabilities_of(model, step.input_ids).argmax(-1)
        whole = torch.where(step.input_ids == MASK, likeliest, step.input_ids)
        visible = (step.filled != MASK) & ~given
        expected = whole
        if (number + 1) % interval == 0:
            for _ in range(steps):
                # What stands there in the end was held to be so likely, given the filling before.
                held, expected = probabilities_of(model, expected).max(-1)
                expected = torch.where(given, canvas, expected)
        assert torch.equal(step.filled[visible], expected[visible]) and torch.equal(step.filled[given], canvas[given])
    own = torch.where(given, float("nan"), held.log()).nanmean(-1)
    torch.testing.assert_close(output.self_log_probability, own)


def test_proseco_fills_with_the_likeliest_tokens_whatever_is_drawn_and_leaves_masks_as_many_as_there_were(model):
    plain = generate(model, remasking="none", unmasking="random", num_steps=8).history
    history = generate(model, remasking="proseco", corrector_interval=3, num_steps=8).history
    assert same_steps(history[:2], plain[:2])
    # The first correction, of the third step, stands on the tokens drawn without it.
    filling = probabilities_of(model, plain[2].input_ids).argmax(-1)
    draft = torch.where(plain[2].filled == MASK, filling, plain[2].filled)
    corrected = probabilities_of(model, draft).argmax(-1)
    visible = ~given & (plain[2].filled != MASK)
    assert torch.equal(history[2].filled[visible], corrected[visible])
    assert any(not torch.equal(one.filled, other.filled) for one, other in zip(history, plain, strict=True))
    for one, other in zip(history, plain, strict=True):
        assert torch.equal(one.filled == MASK, other.filled == MASK), "an order by chance does not look at tokens"


def flat(input_ids, scores):
    """All tokens but the special ones are equally likely."""
    return torch.zeros_like(scores).index_fill(-1, torch.tensor([PAD, MASK]), float("-inf"))


def test_a_warm_corrector_draws_anew_in_every_pass(model):
    more = {"logits_processor": [flat], "corrector_temperature": 1.0, "num_steps": 4}
    seen = set()
    for interval, steps in ((1, 1), (1, 2), (1, 3), (2, 1), (4, 1)):
        fields = {"corrector_interval": interval, "corrector_steps": steps, **more}
        history = generate(model, torch.full((1, 12), M), remasking="proseco", **fields).history
        seen.add(tuple(history[-1].filled[0].tolist()))
    # The last pass is number 3, 7, 11, 3 and 3 of the corrector.
    assert len(seen) == 3


def test_a_fixed_point_of_the_corrector_stays_as_it_is(model):
    draft = torch.tensor([[5, 6, 7, 8, 9, 10]])
    free = torch.tensor([[1, 0, 0, 0, 0, 1]]).bool()
    for _ in range(50):
        after = torch.where(free, draft, probabilities_of(model, draft).argmax(-1))
        if torch.equal(after, draft):
            break
        draft = after
    else:
        pytest.fail("no fixed point was found")
    fields = {"remasking": "proseco", "num_steps": 3, "corrector_interval": 1, "corrector_steps": 2}
    assert torch.equal(generate(model, draft, protected_mask=free, **fields).sequences, draft)


def test_a_warm_corrector_draws_from_the_prediction_for_the_filling(model):
    ids = torch.tensor([[5, M, 6]])
    first = probabilities_of(model, ids)[0, 1]
    expected = torch.zeros(VOCAB, dtype=torch.float64)
    for token in range(2, VOCAB):
        filled = torch.tensor([[5, token, 6]])
        logits = probabilities_of(model, filled)[0, 1].log() / 0.7
        expected += first[token].detach() * logits.detach().softmax(-1)
    corrector = {"corrector_interval": 1, "corrector_temperature": 0.7, "return_error_probabilities": False}
    output = generate(model, ids.expand(4000, -1), remasking="proseco", num_steps=1, **corrector)
    assert_drawn_from(expected, output.sequences[:, 1])


@pytest.mark.parametrize("fields", [{"correction_alpha": 0.0}, {"add_critic_head": False}])
def test_proseco_without_training_in_correction_is_refused(tiny_model, fields):
    with refused(match=r"`remasking` must not be 'proseco' .* correct its own fillings, got 'proseco'"):
        tiny_model(**fields).generate(canvas, remasking="proseco")
