# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about backtracking: where it goes back to, what it keeps, what it returns."""

import math
from types import SimpleNamespace

import pytest
import torch
from denoising_steps import MASK, PAD, TABLE, VOCAB, M, canvas, probabilities_of
from refusals import refused

from critic_gpt import CriticCalibration


NEVER = 1e-9  # fewer expected errors than any sequence has


def generate(model, ids=canvas, **fields):
    return model.generate(ids, **{"remasking": "backtrack", "seed": 3, "return_history": True, **fields})


# ---- a world in which one guess decides everything ----

LIKELY, RIGHT, FOLLOWS_LIKELY, FOLLOWS_RIGHT = 10, 11, 12, 13


def guess_first(input_ids, critic_sees=True, **unused):
    """
    The first token is 10 with 0.6 and 11 with 0.4; all others follow from it, surely. The critic holds those that
    follow from 10 to be wrong, and of the first knows nothing.
    """
    chances = torch.full((*input_ids.shape, VOCAB), 0.01 / (VOCAB - 1))
    first = input_ids[:, :1]
    chances[:, 0] = 1e-6
    chances[:, 0, LIKELY], chances[:, 0, RIGHT] = 0.6, 0.4
    sure = torch.where(first == RIGHT, FOLLOWS_RIGHT, FOLLOWS_LIKELY).expand_as(input_ids[:, 1:])
    chances[:, 1:].scatter_(-1, sure[..., None], 0.99)
    chances[:, 1:][(first == MASK).expand_as(sure)] = 1 / VOCAB
    wrong = (input_ids == FOLLOWS_LIKELY) & critic_sees
    return SimpleNamespace(logits=chances.log(), critic_logits=torch.where(wrong, 0.5, -20.0))


@pytest.fixture
def world(model, monkeypatch):
    model.calibration = CriticCalibration([0.0] * 50 + [0.5] * 50)
    monkeypatch.setattr(model, "forward", guess_first)
    return model


def search(world, num_steps, **more):
    """Five masks, filled without chance."""
    fields = {"temperature": 0, "return_error_probabilities": False, **more}
    return generate(world, torch.full((1, 5), M), num_steps=num_steps, **fields)


def test_the_guess_is_taken_back_and_not_what_the_critic_sees(world):
    output = search(world, 10)
    inputs = [step.input_ids[0].tolist() for step in output.history]
    a, b, c, d = LIKELY, RIGHT, FOLLOWS_LIKELY, FOLLOWS_RIGHT
    assert inputs == [[M] * 5, [a, M, M, M, M], [a, c, c, c, c], [b, M, M, M, M], [b, d, d, d, d]]
    assert output.sequences.tolist() == [[b, d, d, d, d]] and output.forward_passes == 5
    # The guess with what it was given at first, the others with what they were given in its light.
    expected = (math.log(0.4 / (1 + 30e-6)) + 4 * math.log(0.99)) / 5
    assert output.self_log_probability.item() == pytest.approx(expected, abs=1e-3)


@pytest.mark.parametrize(("num_steps", "right"), [(3, False), (4, False), (5, True), (6, True)])
def test_what_the_critic_has_not_seen_yet_is_not_accepted(world, num_steps, right):
    output = search(world, num_steps)
    # In four passes the right sequence is complete, but by the model's own probabilities alone: four times one
    # percent, against the two tokens that the critic expects to be wrong in the other.
    assert output.sequences[0, 0] == (RIGHT if right or num_steps == 4 else LIKELY)
    assert output.forward_passes == min(num_steps, 5)


def test_where_nothing_seems_wrong_nothing_is_taken_back(world, monkeypatch):
    monkeypatch.setattr(world, "forward", lambda input_ids, **more: guess_first(input_ids, critic_sees=False))
    output = search(world, 10)
    assert output.forward_passes == 3 and output.sequences[0, 0] == LIKELY
    assert not any(step.remasked.any() for step in output.history)


@pytest.mark.parametrize(("passes", "guess"), [(2, LIKELY), (3, LIKELY), (4, RIGHT)])
def test_a_row_that_is_stopped_ends_with_a_sequence_that_belongs_together(world, passes, guess):
    """In the second and fourth pass all masks are filled; in the third, which goes back, the best so far remains."""
    calls = []

    def stop(sequences, scores):
        calls.append(1)
        return torch.full((len(sequences),), len(calls) == passes)

    output = search(world, 10, stopping_criteria=[stop])
    follows = FOLLOWS_LIKELY if guess == LIKELY else FOLLOWS_RIGHT
    assert output.sequences.tolist() == [[guess] + [follows] * 4] and output.forward_passes == passes
    first = 0.6 if guess == LIKELY else 0.4
    expected = (math.log(first / (1 + 30e-6)) + 4 * math.log(0.99)) / 5
    assert output.self_log_probability.item() == pytest.approx(expected, abs=1e-3)
    assert not output.history[-1].remasked.any()


def test_of_equally_good_sequences_the_first_counts(world, monkeypatch):
    """The critic holds everything to be as wrong."""

    def forward(input_ids, **unused):
        output = guess_first(input_ids)
        return SimpleNamespace(logits=output.logits, critic_logits=torch.full(input_ids.shape, 0.5))

    monkeypatch.setattr(world, "forward", forward)
    output = search(world, 5)
    assert len(output.history) == 5 and output.history[2].remasked.any()
    assert output.sequences[0].tolist()[0] == LIKELY


def test_a_model_without_doubts_has_nothing_to_go_back_to(world, monkeypatch):
    def forward(input_ids, **unused):
        logits = torch.full((*input_ids.shape, VOCAB), -20.0)
        logits[..., 10] = 0.0
        return SimpleNamespace(logits=logits, critic_logits=torch.full(input_ids.shape, 3.0))

    monkeypatch.setattr(world, "forward", forward)
    output = search(world, 20)
    assert output.sequences.tolist() == [[10] * 5] and output.forward_passes == 2
    assert output.self_log_probability.item() == pytest.approx(0.0, abs=1e-6)


# ---- every step, computed anew ----


@pytest.mark.parametrize("threshold", [0.1, 0.3])
@pytest.mark.parametrize("row", [0, 1, 2])
def test_every_step_is_what_its_description_says(model, warnings, threshold, row):
    """At temperature zero, where what is drawn is known."""
    ids, num_steps = canvas[row : row + 1, : int((canvas[row] != PAD).sum())], 25
    fields = {"confidence_threshold": threshold, "stop_when_expected_errors_below": NEVER, "num_steps": num_steps}
    history = generate(model, ids, temperature=0, **fields).history
    free, turns = ids[0] == MASK, 0
    came, rival, doubt = torch.zeros(ids.shape[1]), torch.zeros_like(ids[0]), torch.zeros(ids.shape[1]).double()
    for number, step in enumerate(history[:-1]):
        before, after, undone = step.input_ids[0], step.filled[0], step.remasked[0]
        probabilities, masked = probabilities_of(model, step.input_ids)[0], before == MASK
        likely, drawn = probabilities.max(-1)
        if masked.any():
            # What is sure is revealed, the likeliest first, and as much as leaves the budget room.
            shown = masked & (after != MASK)
            assert torch.equal(after[shown], drawn[shown]) and not undone.any()
            pace = math.ceil(int(masked.sum()) / (num_steps - number) ** 2)
            assert shown.sum() == max(pace, int((masked & (likely > threshold)).sum()))
            assert likely[shown].min() >= likely.masked_fill(~masked | shown, 0).max() - 2.0**-20
            others = probabilities.scatter(-1, drawn[:, None], 0.0).max(-1)
            came[shown], rival[shown] = number, others.indices[shown]
            doubt[shown] = (others.values / likely)[shown].detach()
        else:
            # The token with the strongest rival gives way to it, and all that came with it or later is masked.
            (turned,) = (free & ~undone & (after != before)).nonzero().flatten().tolist()
            assert doubt[turned] >= doubt[free].max() - 2.0**-19 and after[turned] == rival[turned]
            later = free & (came >= came[turned])
            later[turned] = False
            assert torch.equal(undone, later)
            doubt[turned], turns = 0.0, turns + 1
    assert turns > 1 and "ends no sequence early" in warnings[0]


def test_the_result_has_the_fewest_expected_errors_of_all_that_were_complete(model):
    output = generate(model, num_steps=30, stop_when_expected_errors_below=NEVER)
    for row in range(len(canvas)):
        complete = [step.input_ids[row] for step in output.history if not (step.input_ids[row] == MASK).any()]
        assert len(complete) > 2
        real = (canvas[row] != PAD).long().expand(len(complete), -1)
        logits = model(input_ids=torch.stack(complete), attention_mask=real).critic_logits
        expected = TABLE.error_probability(logits).masked_fill(canvas[row] != MASK, 0.0).sum(-1)
        assert output.expected_errors[row].item() <= expected.min().item() + 1e-9


def test_more_steps_never_make_it_worse_by_the_critic(model):
    """The first steps are the same, but for the pace that so many steps leave."""
    fields = {"stop_when_expected_errors_below": NEVER, "confidence_threshold": 0.0}
    few, many = (generate(model, num_steps=steps, **fields).expected_errors for steps in (6, 30))
    assert (many <= few + 1e-9).all() and (many < few).any()


# ---- drafts, budgets, broken scores ----


def test_a_draft_is_revised_only_where_the_critic_expects_less_of_another(model):
    draft, protected = torch.randint(2, VOCAB, (4, 10), generator=torch.Generator().manual_seed(0)), torch.zeros(4, 10)
    protected[:, :3] = 1
    fields = {"protected_mask": protected.bool(), "num_steps": 20}
    kept = generate(model, draft, stop_when_expected_errors_below=1e9, **fields)
    assert torch.equal(kept.sequences, draft) and kept.forward_passes == 1
    assert kept.self_log_probability.isnan().all(), "nothing was drawn"
    revised = generate(model, draft, stop_when_expected_errors_below=NEVER, **fields)
    assert torch.equal(revised.sequences[:, :3], draft[:, :3]) and not (revised.sequences == MASK).any()
    assert (revised.expected_errors <= kept.expected_errors + 1e-9).all()
    assert (revised.expected_errors < kept.expected_errors).any()
    unchanged = (revised.sequences == draft).all(-1)
    assert torch.equal(revised.self_log_probability.isnan(), unchanged), "what was drawn in vain does not count"


@pytest.mark.parametrize("num_steps", [1, 2, 3])
def test_few_steps_fill_everything(model, num_steps):
    output = generate(model, num_steps=num_steps)
    assert not (output.sequences == MASK).any() and output.forward_passes <= num_steps


def test_an_order_that_reveals_a_fixed_number_is_refused_and_gives_way_in_the_models_own_settings(model):
    with refused(match=r"`unmasking` must be entropy_bound or confidence_threshold .*'margin'"):
        generate(model, unmasking="margin")
    model.generation_config.unmasking = "margin"
    assert model.resolve_generation_config(remasking="backtrack").unmasking == "confidence_threshold"
    assert not (generate(model, confidence_threshold=0.9, num_steps=3).sequences == MASK).any()


def test_the_warning_is_left_out_where_a_sequence_can_end(model, warnings):
    model.calibration = CriticCalibration([0.0] * 50 + [0.5] * 50)
    generate(model, num_steps=3)
    assert not warnings
