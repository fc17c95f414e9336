# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `num_candidates`: the best of several by expected errors."""

import pytest
import torch
from denoising_steps import MASK, PAD, SEEDS, P, canvas, mean_log_of_last_draws
from refusals import refused

from critic_gpt import CriticGPTGenerationConfig
from critic_gpt.diffusion.randomness import row_seeds
from critic_gpt.evaluation.sampling import ForwardCounter
from critic_gpt.generation.generate import best_candidates, candidate_seeds


CASES = [
    {"remasking": "critic"},
    {"remasking": "critic", "stop_when_expected_errors_below": 3.0},
    {"remasking": "critic_full", "error_threshold": 0.4},
    {"remasking": "none", "unmasking": "entropy_bound", "entropy_bound": 3.0},
    {"remasking": "remdm_conf"},
    {"remasking": "multinomial"},
]
every_case = pytest.mark.parametrize("case", CASES, ids=lambda case: "-".join(map(str, case.values())))


@pytest.fixture
def model(unsure):
    return unsure


def generate(model, ids=canvas, **fields):
    return model.generate(ids, **{"num_steps": 5, "seed": SEEDS, "return_history": True, **fields})


def expected_errors(model, sequences):
    """What the critic expects of finished sequences, asked once more."""
    logits = model.critic_scores(sequences, attention_mask=(sequences != PAD).long())
    return model.calibration.error_probability(logits).masked_fill(canvas != MASK, 0.0).sum(-1)


@every_case
def test_of_several_candidates_the_one_with_the_fewest_expected_errors_comes_back(model, case):
    plain, output = generate(model, **case), generate(model, num_candidates=4, **case)
    assert output.sequences.shape == canvas.shape and output.candidate_expected_errors.shape == (3, 4)
    torch.testing.assert_close(output.expected_errors, output.candidate_expected_errors.amin(-1))
    torch.testing.assert_close(expected_errors(model, output.sequences), output.expected_errors)
    # The first candidate is the plain run, and the others are others.
    torch.testing.assert_close(output.candidate_expected_errors[:, 0], plain.expected_errors)
    assert (output.candidate_expected_errors[:, 1:] != output.candidate_expected_errors[:, :1]).any()
    for row in range(3):
        first = int(output.candidate_expected_errors[row].argmin()) == 0
        assert torch.equal(output.sequences[row], plain.sequences[row]) is first


@every_case
def test_candidates_depend_on_the_seed_of_their_row_alone(model, case):
    batch, few = generate(model, num_candidates=3, **case), generate(model, num_candidates=2, **case)
    torch.testing.assert_close(few.candidate_expected_errors, batch.candidate_expected_errors[:, :2])
    for row in range(3):
        alone = model.generate(canvas[row : row + 1], seed=[SEEDS[row]], num_steps=5, num_candidates=3, **case)
        assert torch.equal(alone.sequences[0], batch.sequences[row])
        torch.testing.assert_close(alone.candidate_expected_errors[0], batch.candidate_expected_errors[row])
        assert alone.row_passes[0] == batch.row_passes[row]


@every_case
def test_a_single_candidate_is_generation_as_it_always_was(model, case):
    plain, one = generate(model, **case), generate(model, num_candidates=1, **case)
    assert set(plain.keys()) == set(one.keys()) and plain.candidate_expected_errors is None
    for name, value in plain.items():
        if isinstance(value, torch.Tensor):
            assert torch.equal(value, one[name]), name
    for before, after in zip(plain.history, one.history, strict=True):
        assert torch.equal(before.input_ids, after.input_ids) and torch.equal(before.filled, after.filled)


@every_case
def test_a_row_pays_for_all_its_candidates(model, case):
    with ForwardCounter(model) as counter:
        output = generate(model, num_candidates=3, **case)
    assert output.scoring_passes == 1 and counter.passes == output.forward_passes + 1
    assert counter.row_passes == output.row_passes.sum() + 9, "all are judged once"
    plain = generate(model, **case)
    assert (output.row_passes > plain.row_passes).all() and (output.row_passes <= 3 * output.forward_passes).all()


@every_case
def test_history_and_numbers_are_those_of_the_winner(model, case):
    output = generate(model, num_candidates=4, **case)
    for step in output.history:
        assert all(part is None or part.shape == canvas.shape for part in step)
    assert torch.equal(output.history[0].input_ids, canvas)
    assert torch.equal(output.history[-1].filled, output.sequences)
    generated = canvas == MASK
    torch.testing.assert_close(output.error_probabilities.sum(-1), output.expected_errors)
    for row in range(3):
        mine = output.error_probabilities[row][generated[row]]
        assert output.error_mean[row].item() == pytest.approx(mine.mean().item())
    # Of a row that has ended nothing is drawn any more, though the loop over steps goes on.
    drawn = []
    for now in output.history:
        going = torch.ones(3, 1).bool() if now.critic_logits is None else ~now.critic_logits[:, :1].isnan()
        redrawn = generated & going if case["remasking"] == "multinomial" else torch.zeros(())
        drawn.append((now.filled != now.input_ids) | redrawn.bool())
    torch.testing.assert_close(output.self_log_probability, mean_log_of_last_draws(model, output.history, drawn))


def test_the_winner_comes_back_without_a_dictionary_and_without_a_verdict_too(model):
    case = {"remasking": "critic", "num_candidates": 4, "seed": SEEDS, "num_steps": 5}
    expected = model.generate(canvas, **case)
    assert torch.equal(model.generate(canvas, return_dict_in_generate=False, **case), expected.sequences)
    silent = model.generate(canvas, return_error_probabilities=False, **case)
    assert torch.equal(silent.sequences, expected.sequences) and silent.error_probabilities is None
    # To choose among them they must be judged all the same.
    assert silent.scoring_passes == 1 and silent.expected_errors is None
    assert torch.equal(silent.candidate_expected_errors, expected.candidate_expected_errors)


def test_candidates_of_a_prompt_stand_where_it_stands_and_end_where_they_end(model):
    ids = torch.tensor([[5, 6, 7], [8, 9, P]])
    for placement in ("prefix", "random"):
        case = {"max_new_tokens": 6, "seed_placement": placement, "seed": [3, 4], "num_steps": 4}
        first = model.generate(ids, return_history=True, **case).history[0].input_ids
        output = model.generate(ids, num_candidates=3, return_history=True, **case)
        assert torch.equal(output.history[0].input_ids, first)
    model.config.eos_token_id = int(output.sequences[0, -2])
    cut = model.generate(ids, num_candidates=3, **case)
    assert not cut.error_probabilities[cut.sequences == PAD].any()
    torch.testing.assert_close(cut.expected_errors, cut.candidate_expected_errors.amin(-1))


def test_the_best_candidate_has_the_fewest_expected_errors_and_a_broken_score_is_none():
    nan = float("nan")
    numbers = torch.tensor([3.0, 1.0, 2.0, nan, nan, 5.0, nan, nan, nan, 4.0, 4.0, 6.0])
    best, by_row = best_candidates(numbers, 3)
    assert best.tolist() == [1, 5, 6, 9] and by_row.shape == (4, 3)
    assert torch.equal(by_row.flatten().nan_to_num(-1), numbers.nan_to_num(-1))


def test_the_seeds_of_candidates_are_their_rows_own_and_others_made_of_it():
    seeds = row_seeds([7, 8, 9], 3)
    made = candidate_seeds(seeds, 4).view(3, 4)
    assert torch.equal(made[:, 0], seeds) and made.unique().numel() == 12 and (made >= 0).all()
    assert torch.equal(candidate_seeds(seeds[1:2], 2), made[1, :2])
    assert torch.equal(candidate_seeds(seeds, 1), seeds)


# ---- what is refused ----


def test_a_streamer_is_refused_before_it_gets_anything(model):
    def nothing_is_known_yet(self, *value):
        raise AssertionError

    deaf = type("Deaf", (), {"put": nothing_is_known_yet, "end": nothing_is_known_yet})()
    with refused(match=r"`streamer` must be left out with several .*`num_candidates=2`: drop one"):
        model.generate(torch.tensor([[5]]), max_new_tokens=4, num_candidates=2, streamer=deaf)


@pytest.mark.parametrize("fields", [{"add_critic_head": False}, {}])
def test_candidates_without_a_trained_critic_are_refused(tiny_model, fields):
    model = tiny_model(**fields)
    if model.critic_head is not None:
        torch.nn.init.zeros_(model.critic_head.weight)
    with refused(match=r"`num_candidates` must be 1 for a model without a trained .*, got 3: train"):
        model.generate(canvas, num_candidates=3)
    model.generation_config = CriticGPTGenerationConfig(num_candidates=3)
    assert model.generate(canvas, num_candidates=1, num_steps=2) is not None
