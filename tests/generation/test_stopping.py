# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `stopping_criteria`, and about `tokens_per_forward`, which tells what stopping early is worth."""

from itertools import pairwise

import pytest
import torch
from denoising_steps import MASK, PAD, SEEDS, M, P, canvas
from generation_cases import every_strategy, judge
from refusals import refused
from transformers import generation as stock

from critic_gpt.evaluation.sampling import ForwardCounter
from critic_gpt.generation.canvas import Canvas
from critic_gpt.generation.stopping import Stopping


@pytest.fixture
def model(unsure):
    return unsure


def generate(model, criteria=None, ids=canvas, **fields):
    judges = {"remasking_model": judge} if fields.get("remasking") == "external" else {}
    return model.generate(ids, stopping_criteria=criteria, **{"num_steps": 6, "seed": SEEDS, **judges, **fields})


class FewMasks(stock.StoppingCriteria):
    """Ends a row that has no more than so many masks; keeps what it was asked."""

    def __init__(self, most):
        self.most, self.asked = most, []

    def __call__(self, input_ids, scores):
        self.asked.append((input_ids.clone(), scores))
        return (input_ids == MASK).sum(-1) <= self.most


def always(input_ids, scores):
    return torch.ones(len(input_ids), dtype=torch.bool)


# ---- a row that is done ----


@every_strategy
def test_a_row_that_is_done_is_filled_by_the_predictions_at_hand(model, strategy):
    stopped, single = generate(model, [always], remasking=strategy), generate(model, remasking=strategy, num_steps=1)
    # One step that fills all: the same draws of the same pass.
    assert torch.equal(stopped.sequences, single.sequences) and not (stopped.sequences == MASK).any()
    assert torch.equal(stopped.self_log_probability, single.self_log_probability)
    twice = strategy in ("critic_full", "token_critic")
    assert stopped.row_passes.tolist() == [2 if twice else 1] * 3 and stopped.forward_passes == 1 + twice


@every_strategy
def test_rows_end_at_their_own_step_as_they_would_alone_and_cost_nothing_afterwards(model, strategy):
    case = {"remasking": strategy, "return_error_probabilities": False, "return_history": True}
    criterion = FewMasks(4)
    with ForwardCounter(model) as counter:
        batch = generate(model, [criterion], **case)
    assert counter.passes == batch.forward_passes == batch.row_passes.max()
    assert counter.row_passes == batch.row_passes.sum()
    # One step of a chain over whole sequences leaves no mask in any row.
    assert batch.row_passes[2] < batch.row_passes[1] or strategy == "multinomial"
    assert not (batch.sequences == MASK).any()
    assert torch.equal(batch.sequences[canvas != MASK], canvas[canvas != MASK])
    for now, after in pairwise(batch.history):
        assert torch.equal(after.input_ids, now.filled.masked_fill(now.remasked, MASK))
    assert torch.equal(batch.history[-1].filled, batch.sequences)
    for row in range(3):
        alone = generate(model, [FewMasks(4)], canvas[row : row + 1], **{**case, "seed": SEEDS[row : row + 1]})
        assert torch.equal(alone.sequences[0], batch.sequences[row])
        assert alone.row_passes[0] == batch.row_passes[row]
        torch.testing.assert_close(alone.self_log_probability[0], batch.self_log_probability[row])


def test_a_criterion_is_asked_after_each_step_about_all_rows_with_log_probabilities_of_those_that_go_on(model):
    criterion = FewMasks(3)
    history = generate(model, stock.StoppingCriteriaList([criterion]), remasking="critic", return_history=True).history
    assert len(criterion.asked) == len(history)
    gone = torch.zeros(3, dtype=torch.bool)
    for (ids, scores), now in zip(criterion.asked, history, strict=True):
        (scores,) = scores
        assert ids.shape == canvas.shape and scores.shape == (3, 12, 32)
        assert torch.equal(ids[gone], now.filled[gone]) and scores[gone].isnan().all()
        total = scores[~gone].exp().sum(-1)
        torch.testing.assert_close(total, torch.ones_like(total))
        assert (scores[~gone][..., [PAD, MASK]] == float("-inf")).all()
        going = ~gone & ((ids == MASK).sum(-1) > 3)
        before = now.filled.masked_fill(now.remasked, MASK)
        assert torch.equal(ids[going], before[going])
        gone |= (ids == MASK).sum(-1) <= 3
    assert gone.all()


def test_a_criterion_that_never_ends_anything_changes_nothing(model):
    for case in ({}, {"remasking": "critic", "stop_when_expected_errors_below": 3.0}, {"num_candidates": 2}):
        plain = generate(model, **case)
        asked = generate(model, [lambda ids, scores: torch.zeros(len(ids), dtype=torch.bool)], **case)
        for name, value in plain.items():
            assert torch.equal(value, asked[name]) if isinstance(value, torch.Tensor) else value == asked[name], name


def test_each_candidate_ends_by_itself(model):
    criterion = FewMasks(3)
    output = generate(model, [criterion], num_candidates=3)
    assert all(ids.shape == (9, 12) for ids, _ in criterion.asked)
    alone = generate(model, [FewMasks(3)], canvas[:1], num_candidates=3, seed=SEEDS[:1])
    assert torch.equal(alone.sequences[0], output.sequences[0]) and alone.row_passes[0] == output.row_passes[0]


def test_the_time_is_up(model):
    assert generate(model, [stock.MaxTimeCriteria(0.0)]).forward_passes == 1
    assert torch.equal(generate(model, [stock.MaxTimeCriteria(1e6)]).sequences, generate(model).sequences)


# ---- the end of a text ----


def ends(criterion, sequences, given=()):
    ids = torch.tensor(sequences)
    editable = ids != PAD
    editable[:, list(given)] = False
    stopping = Stopping(stock.StoppingCriteriaList([criterion]), Canvas(ids, (ids != PAD).long(), editable), MASK)
    return [row.nonzero().flatten().tolist() for row in stopping.ends(ids)]


def test_an_end_is_a_generated_one_with_no_mask_before_it():
    rows = [[9, 4, 9, 4, 3], [4, M, 9, 4, 3], [3, 4, M, 9, 3], [4, 4, 4, P, P]]
    assert ends(stock.EosTokenCriteria(9), rows) == [[0, 2], [], [], []]
    assert ends(stock.EosTokenCriteria(9), rows, given=[0]) == [[2], [], [], []]
    assert ends(stock.EosTokenCriteria([9, 3]), rows) == [[0, 2, 4], [], [0], []]


def test_a_string_ends_a_text_wherever_it_is_completed(tokenizer):
    ids = [tokenizer.encode(text, add_special_tokens=False) for text in ("a. the.", "the the", "th", "k. t")]
    ids[2:] = [[*ids[2], M, *ids[0][:4]], [*ids[3], P, P, P]]
    assert ends(stock.StopStringCriteria(tokenizer, ["the", "."]), ids) == [[1, 5, 6], [2, 6], [], [1]]
    assert ends(stock.StopStringCriteria(tokenizer, ["the"]), ids, given=[3, 4]) == [[5], [2, 6], [], []]
    # What a [MASK] or a padding is called is no text.
    assert ends(stock.StopStringCriteria(tokenizer, ["]a", "K]"]), [[P, ids[0][0], ids[0][0]], [M, M, M]]) == [[], []]


@pytest.mark.parametrize("strategy", ["critic", "none", "confidence"])
def test_what_follows_an_end_is_cut_and_neither_judged_nor_counted(model, tokenizer, strategy):
    plain = generate(model, remasking=strategy)
    criterion = stock.EosTokenCriteria([int(plain.sequences[1, 4]), 31])
    output = generate(model, [criterion], remasking=strategy)
    for row in range(3):
        generated = canvas[row] == MASK
        eos = (generated & torch.isin(output.sequences[row], criterion.eos_token_id)).nonzero().flatten().tolist()
        assert len(eos) <= 1, "one end at most"
        behind = torch.arange(12) > (eos[0] if eos else 12)
        assert (output.sequences[row][behind & generated] == PAD).all()
        assert not output.error_probabilities[row][behind].any()
        assert torch.equal(output.sequences[row][~generated], canvas[row][~generated])
        counted = int((generated & ~behind).sum())
        assert output.tokens_per_forward[row] == pytest.approx(counted / int(output.row_passes[row]))
    assert (output.sequences[1] == PAD).any()
    word = tokenizer.decode(criterion.eos_token_id[:1])
    by_string = generate(model, [stock.StopStringCriteria(tokenizer, [word])], remasking=strategy)
    assert torch.equal(
        by_string.sequences,
        generate(model, [stock.EosTokenCriteria(criterion.eos_token_id[:1])], remasking=strategy).sequences,
    )


def test_several_eos_of_the_configuration_cut_each_row_at_its_first_and_pad_what_follows(model):
    plain = generate(model).sequences
    ends = [int(plain[0, 2]), int(plain[1, 3])]
    output = generate(model, eos_token_id=ends)
    for row in range(3):
        generated = canvas[row] == MASK
        hits = (generated & torch.isin(plain[row], torch.tensor(ends))).nonzero().flatten().tolist()
        behind = generated & (torch.arange(12) > (hits[0] if hits else 12))
        assert torch.equal(output.sequences[row], plain[row].masked_fill(behind, PAD))
        assert output.tokens_per_forward[row] == pytest.approx(int((generated & ~behind).sum()) / 6)


def test_tokens_per_forward_are_those_generated_over_the_passes_of_all_candidates(model):
    assert generate(model).tokens_per_forward.tolist() == pytest.approx([7 / 6, 12 / 6, 4 / 6])
    assert generate(model, num_candidates=2).tokens_per_forward.tolist() == pytest.approx([7 / 12, 1.0, 4 / 12])


# ---- what is refused ----


@pytest.mark.parametrize(
    ("criteria", "message"),
    [
        ([stock.MaxLengthCriteria(5)], "must not go by the length of a text, .* MaxLengthCriteria: "),
        ([stock.ConfidenceCriteria(0.5)], "must not go by .* or by a single score, got a ConfidenceCriteria: "),
        (always, "must be a list of callables, got <function always"),
        ([lambda ids, scores: ids == MASK], r"must give one truth value per row, \(3,\), got \(3, 12\): reduce"),
    ],
    ids=["length", "confidence", "no list", "shape"],
)
def test_a_criterion_that_cannot_be_met_is_refused_in_one_sentence(model, criteria, message):
    with refused(match=f"`stopping_criteria` {message}"):
        generate(model, criteria)


def test_an_end_needs_something_to_put_behind_it(tiny_model):
    with refused(match=r"`stopping_criteria` need a `pad_token_id`, by which .* EosTokenCriteria"):
        generate(tiny_model(pad_token_id=None), [stock.EosTokenCriteria(3)], torch.full((3, 4), MASK))
