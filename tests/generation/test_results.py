# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what `generate` returns beside the tokens."""

import pytest
import torch
from denoising_steps import mean_log_of_last_draws
from generation_cases import (
    EOS,
    MASK,
    PAD,
    QUALITY,
    VOCAB,
    M,
    arguments,
    build,
    canvas,
    config,
    every_kind,
    every_strategy,
    mixed,
    padded,
)

from critic_gpt import CriticCalibration, CriticGPTForSequenceClassification
from critic_gpt.generation.strategies.registry import STRATEGIES


# ---- which tokens were generated ----


@every_strategy
def test_generated_are_the_tokens_that_were_not_given_and_not_cut(model, strategy):
    rows = padded(mixed)
    protected = (rows != MASK) | (torch.arange(rows.shape[1]) == 1)  # a protected [MASK] stays, and is not generated
    output = model.generate(rows, protected_mask=protected, num_steps=3, seed=3, **arguments(strategy))
    assert output.generated_mask.dtype == torch.bool
    assert torch.equal(output.generated_mask, ~protected & (rows != PAD))
    several = {"num_candidates": 3, "eos_token_id": list(range(2, 7)), "max_new_tokens": 9, "seed_placement": "random"}
    output = model.generate(torch.tensor([[9, 8, 7]] * 4), num_steps=3, seed=3, **several, **arguments(strategy))
    cut = output.sequences == PAD
    assert cut.any() and not (output.generated_mask & cut).any()
    assert torch.equal((~output.generated_mask & ~cut).sum(dim=-1), torch.full((4,), 3))
    assert torch.equal(output.tokens_per_forward, output.generated_mask.sum(dim=-1) / output.row_passes)


def test_a_generated_eos_cuts_and_what_follows_is_not_judged():
    model = build(eos_token_id=EOS)

    def end_at_three(input_ids, scores):
        scores = scores.index_fill(-1, torch.tensor([EOS]), float("-inf")).view(-1, 8, VOCAB).clone()
        scores[:, 4] = float("-inf")
        scores[:, 4, EOS] = 0.0
        return scores.view(-1, VOCAB)

    ids, case = torch.tensor([[5, EOS]]), {"max_new_tokens": 6, "num_steps": 3, "seed": 0}
    output = model.generate(ids, logits_processor=[end_at_three], **case)
    assert output.sequences[0, :2].tolist() == [5, EOS], "a given EOS ends nothing"
    assert output.sequences[0, 4:].tolist() == [EOS, PAD, PAD, PAD]
    assert not output.error_probabilities[0, 5:].any() and output.error_probabilities[0, 2:5].all()
    alone = model(input_ids=output.sequences[:, :5]).critic_logits
    expected = CriticCalibration.ramp().error_probability(alone)
    assert torch.equal(output.error_probabilities[0, 2:5], expected[0, 2:])


# ---- how good a row is ----


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in ("proseco", "backtrack")])
def test_the_self_number_is_the_mean_logarithm_of_each_token_when_it_was_last_drawn(model, strategy):
    draft = torch.tensor([[5, M, M, 9, 10, M, 11, M], [M] * 8])
    protected = torch.zeros_like(draft, dtype=torch.bool)
    protected[0, 0] = True
    output = model.generate(
        draft, protected_mask=protected, num_steps=5, seed=2, return_history=True, **arguments(strategy)
    )
    # A token that is drawn in place of another differs from it.
    every = ~protected if strategy == "multinomial" else torch.zeros_like(protected)
    drawn = [(step.filled != step.input_ids) | every for step in output.history]
    torch.testing.assert_close(output.self_log_probability, mean_log_of_last_draws(model, output.history, drawn))


def test_the_self_number_is_that_of_the_model_before_temperature_and_truncation(model):
    ids = torch.tensor([[5, M, 6]])
    output = model.generate(ids, num_steps=1, temperature=0.3, top_k=1, seed=0)
    logits = model(input_ids=ids).logits[0, 1]
    logits[[PAD, MASK]] = float("-inf")
    assert output.self_log_probability.item() == pytest.approx(logits.log_softmax(-1).max().item())


@every_kind
def test_the_critics_numbers_are_those_of_the_generated_tokens_alone(model, strategy):
    output = model.generate(canvas, num_steps=4, seed=0, **arguments(strategy))
    for row in range(2):
        generated = output.error_probabilities[row][canvas[row] == MASK]
        assert output.error_mean[row].item() == pytest.approx(generated.mean().item())
        assert output.expected_errors[row].item() == pytest.approx(generated.sum().item())
        for name, quantile in (("error_p10", 0.1), ("error_p50", 0.5), ("error_p90", 0.9)):
            assert output[name][row].item() == pytest.approx(generated.quantile(quantile).item())
    assert all(output[name].shape == (2,) for name in QUALITY)


def test_without_a_critic_or_a_judge_there_are_none_of_their_numbers():
    for model in (build(critic=False), build(trained=False)):
        output = model.generate(canvas, num_steps=2, seed=0)
        assert all(getattr(output, name) is None for name in QUALITY[:-1]) and output.judge_wrongness is None
        assert output.self_log_probability.shape == (2,) and output.judge_passes == 0


def test_a_row_without_generated_tokens_has_sums_of_zero_and_no_means(model):
    ids = torch.tensor([[5, M, M], [6, 7, 8]])
    output = model.generate(ids, num_steps=2, seed=0)
    assert output.expected_errors[1] == 0
    assert all(output[name].isnan().tolist() == [False, True] for name in QUALITY[1:])


def test_a_judge_sees_the_finished_sequences_once_and_its_pass_is_counted_apart(model):
    seen = []

    def judge_rows(input_ids, attention_mask):
        seen.append((input_ids, attention_mask))
        return (input_ids * attention_mask).sum(-1) / 1000

    ids = padded([[5, 6], [7]])
    output = model.generate(ids, max_new_tokens=3, num_steps=2, seed=0, judge_model=judge_rows)
    assert len(seen) == output.judge_passes == 1 and output.forward_passes == 2
    assert torch.equal(seen[0][0], output.sequences) and seen[0][1].tolist() == [[1] * 5, [1] * 4 + [0]]
    assert output.judge_wrongness.tolist() == pytest.approx((output.sequences.sum(-1) / 1000).tolist())


def test_a_sequence_scorer_judges(model):
    torch.manual_seed(2)
    scorer = CriticGPTForSequenceClassification(config(num_labels=1)).eval()
    output = model.generate(canvas, num_steps=2, seed=0, judge_model=scorer)
    assert torch.equal(output.sequences, model.generate(canvas, num_steps=2, seed=0).sequences), "nothing is changed"
    expected = scorer(input_ids=output.sequences, attention_mask=torch.ones_like(canvas)).logits.squeeze(-1)
    assert torch.equal(output.judge_wrongness, expected) and (expected > 0).all() and (expected < 1).all()


def test_without_a_dictionary_the_sequences_alone_come_back_and_nothing_is_judged(model):
    calls = []
    hook = model.model.register_forward_hook(lambda *_: calls.append(1))
    sequences = model.generate(canvas, num_steps=3, seed=0, return_dict_in_generate=False)
    hook.remove()
    assert isinstance(sequences, torch.Tensor) and len(calls) == 3
    assert torch.equal(sequences, model.generate(canvas, num_steps=3, seed=0).sequences)
