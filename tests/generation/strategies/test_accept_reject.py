# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about accepting and rejecting what the last pass drew, on a law that is known exactly."""

import pytest
import torch
from exact_chain import LAW, LENGTH, MASK, distance, exact_model, generated
from sentences import one_sentence

from critic_gpt.generation.strategies.accept_reject import at_temperature


ROWS = 8000


@pytest.fixture(scope="module")
def model():
    return exact_model()


@pytest.mark.parametrize("judge", ["likelihood", "error"])
def test_few_passes_leave_nearly_the_law_where_every_probability_is_true(model, judge):
    accepted = generated(model, ROWS, remasking="accept_reject", remask_by=judge, num_steps=4)
    assert distance(accepted, LAW) < 0.08  # of which chance makes 0.055
    if judge == "likelihood":
        plain = generated(model, ROWS, remasking="none", unmasking="random", num_steps=4)
        assert distance(plain, LAW) > 1.3 * distance(accepted, LAW)


def test_only_what_the_last_pass_drew_is_taken_back_and_nothing_in_the_last(model):
    given = torch.full((200, LENGTH), MASK)
    given[:, 3] = 1
    history = model.generate(
        given, remasking="accept_reject", num_steps=5, seed=list(range(200)), return_history=True
    ).history
    drawn = torch.zeros_like(given, dtype=torch.bool)
    for step in history:
        assert not (step.remasked & ~drawn).any()
        drawn = (step.input_ids == MASK) & (step.filled != MASK)
    assert any(step.remasked.any() for step in history) and not history[-1].remasked.any()
    assert (history[-1].filled[:, 3] == 1).all() and (history[-1].filled != MASK).all()


def test_a_tempered_distribution_is_a_power_of_the_plain_one():
    plain = torch.tensor([[[0.5, 0.3, 0.2]], [[0.1, 0.1, 0.8]]])
    assert at_temperature(plain, 1.0) is plain
    assert torch.allclose(at_temperature(plain, 0.5), plain**2 / (plain**2).sum(-1, keepdim=True))
    rows = at_temperature(plain, torch.tensor([1.0, 0.5]))
    assert torch.allclose(rows[0], plain[0]) and torch.allclose(rows[1], at_temperature(plain, 0.5)[1])
    assert torch.equal(at_temperature(plain, 0).argmax(-1), plain.argmax(-1))


@pytest.mark.parametrize(
    ("kwargs", "parts"),
    [
        ({"remask_by": "alternative"}, ("`remask_by`", "'alternative'")),
        ({"remask_by": "error", "temperature": 0.5}, ("`temperature`", "got 0.5")),
        ({"remask_by": "error", "temperature_end": 0.5}, ("`temperature`",)),
        ({"remask_per_step": 2}, ("`remask_per_step`", "accept_reject")),
    ],
)
def test_what_makes_no_sense_is_refused(model, kwargs, parts):
    with one_sentence(*parts):
        model.generate(max_new_tokens=4, remasking="accept_reject", num_steps=2, **kwargs)


def test_what_a_stored_configuration_says_of_other_strategies_gives_way(model):
    stored = model.generation_config.remask_by
    try:
        model.generation_config.remask_by = "alternative"
        assert model.resolve_generation_config(remasking="accept_reject").remask_by == "likelihood"
    finally:
        model.generation_config.remask_by = stored
