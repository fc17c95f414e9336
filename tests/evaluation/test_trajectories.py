# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about how a critic is judged along the steps of a generation."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from sentences import one_sentence

from critic_gpt import CriticCalibration, DataCollatorForMaskedDiffusion
from critic_gpt.calibration.histogram import CriticHistogram
from critic_gpt.evaluation import (
    FINAL_STEP,
    CollatorForCorruptedRows,
    JudgedTrajectories,
    SpecialTokens,
    brier_score,
    cross_fitted_report,
    expected_errors,
    judge_trajectories,
    report_by_step,
    scoring,
)


PAD, MASK, NUM = 0, 1, 13
SAMPLER = {"remasking": "critic", "num_steps": 6, "unmasking": "random", "remask_per_step": 2}


@pytest.fixture
def collator(tokenizer):
    return DataCollatorForMaskedDiffusion(tokenizer, critic_regime=None, seed=3)


def columns(judged):
    """All but the histogram, as lists."""
    return [column.tolist() for column in judged[:4]]


def same(found, expected):
    """Equal up to the rounding of logits in another batch; exactly for the rest."""
    np.testing.assert_allclose(found.critic_logits, expected.critic_logits, rtol=1e-5)
    assert columns(found)[1:] == columns(expected)[1:]
    assert torch.equal(found.histogram.positives, expected.histogram.positives)


def by_plain_loop(model, rows, collator, **settings):
    """The same verdicts, sequence by sequence, position by position, without any of the code under test."""
    found = []
    for index, row in enumerate(rows):
        batch = collator.for_evaluation()([{**row, "example_id": index}])
        canvas, truth = batch["input_ids"], row["input_ids"]
        if MASK not in canvas[0].tolist():
            continue
        output = model.generate(canvas, seed=[index], return_history=True, **settings)
        steps = [(number, step.judged_ids, step.critic_logits) for number, step in enumerate(output.history)]
        steps.append((FINAL_STEP, output.sequences, model.critic_scores(output.sequences)))
        for number, tokens, logits in steps:
            for place, token in enumerate(tokens[0].tolist()):
                if canvas[0, place] == MASK and token != MASK:
                    found.append((float(logits[0, place]), float(token != truth[place]), index, number))
    return [list(column) for column in zip(*found, strict=True)]


# ---- what counts ----


@pytest.mark.parametrize(
    "settings",
    [
        {"remasking": "critic"},
        {"remasking": "critic_full"},
        {"remasking": "none"},
        {"remasking": "multinomial"},
        # Sequences that finish early leave the batch.
        {"remasking": "critic_full", "error_threshold": 0.9, "num_steps": 20},
        {"remasking": "critic", "polish_steps": 4, "polish_threshold": 0.9},
    ],
    ids=str,
)
def test_the_verdicts_are_those_of_the_history_and_one_on_the_finished_sequence(tiny_model, rows, collator, settings):
    model, settings = tiny_model().double(), {"num_steps": 6, **settings}
    judged = judge_trajectories(model, rows, collator, NUM, batch_size=5, **settings)
    logits, *others = by_plain_loop(model, rows, collator, **settings)
    assert columns(judged)[1:] == others
    np.testing.assert_allclose(judged.critic_logits, logits, rtol=1e-6)
    assert len(set(judged.step)) > 3 and 0 < judged.critic_target.mean() <= 1


def test_the_histogram_counts_the_arrays(tiny_model, rows, collator):
    totals = []

    def count(done, histogram):
        totals.append((done, int(histogram.counts.sum())))

    judged = judge_trajectories(tiny_model(), rows, collator, NUM, 4, on_step=count, **SAMPLER)
    counted = CriticHistogram()
    counted.update(torch.as_tensor(judged.critic_logits), torch.as_tensor(judged.critic_target))
    assert torch.equal(counted.counts, judged.histogram.counts)
    assert torch.equal(counted.positives, judged.histogram.positives)
    assert [done for done, _ in totals] == [4, 8, 12, NUM] and totals[-1][1] == len(judged.step)
    fields = ("critic_logits", "critic_target", "sequence_index", "step", "histogram")
    assert JudgedTrajectories._fields == fields


def test_the_settings_reach_generation(tiny_model, rows, collator):
    model = tiny_model()
    model.generation_config.max_new_tokens = 7  # meant for prefixes
    few, many = (judge_trajectories(model, rows, collator, NUM, **{**SAMPLER, "num_steps": n}) for n in (3, 9))
    assert (max(few.step), max(many.step)) == (2, 8)
    greedy = judge_trajectories(model, rows, collator, NUM, **{**SAMPLER, "num_steps": 3, "temperature": 0.0})
    assert columns(greedy) != columns(few)


def test_the_tables_of_the_model_guide_it_as_they_guide_generate(tiny_model, rows, collator):
    model, threshold = tiny_model(), {"remasking": "critic", "num_steps": 6, "error_threshold": 0.5}
    trusting = judge_trajectories(model, rows, collator, NUM, **threshold)
    model.calibration = CriticCalibration([1.0] * 100)
    doubting = judge_trajectories(model, rows, collator, NUM, **threshold)
    assert columns(trusting) != columns(doubting)


# ---- whatever the batch ----


@pytest.mark.parametrize(("batch_size", "num"), [(1, NUM), (3, NUM), (64, NUM), (5, 4)])
def test_the_batch_size_changes_nothing_nor_what_comes_after(tiny_model, rows, collator, batch_size, num):
    model = tiny_model().double()
    expected = judge_trajectories(model, rows, collator, NUM, batch_size=8, **SAMPLER)
    found = judge_trajectories(model, rows, collator, num, batch_size=batch_size, **SAMPLER)
    if num == NUM:
        return same(found, expected)
    size = len(found.step)
    assert 0 < size < len(expected.step)
    assert columns(found)[1:] == [column[:size] for column in columns(expected)[1:]]


def test_processes_find_together_what_one_finds_alone(tiny_model, rows, collator, monkeypatch):
    model, parts = tiny_model().double(), []
    expected = judge_trajectories(model, rows, collator, NUM, batch_size=5, **SAMPLER)
    # Each of three processes in turn; what they would gather is put together at the end of the last.
    monkeypatch.setattr(scoring, "gather_object", lambda own: parts.extend(own) or list(parts))
    for rank in range(3):
        process = SimpleNamespace(
            num_processes=3, process_index=rank, device="cpu", reduce=lambda counts, reduction: counts
        )
        found = judge_trajectories(model, rows, collator, NUM, 5, accelerator=process, **SAMPLER)
        assert len(parts[-1]["step"]) < len(expected.step)
    assert columns(found)[1:] == columns(expected)[1:]
    np.testing.assert_allclose(found.critic_logits, expected.critic_logits, rtol=1e-6)


def test_another_seed_makes_other_draws_in_the_same_holes(tiny_model, rows, collator):
    model = tiny_model()
    first, again, other = (judge_trajectories(model, rows, collator, NUM, seed=seed, **SAMPLER) for seed in (0, 0, 1))
    assert columns(first) == columns(again) != columns(other)
    holes = [judged.sequence_index[judged.step == FINAL_STEP].tolist() for judged in (first, other)]
    assert holes[0] == holes[1]


def test_a_model_in_training_is_put_right(tiny_model, rows, collator):
    model = tiny_model(hidden_dropout=0.5)
    expected = judge_trajectories(model, rows, collator, NUM, **SAMPLER)
    assert columns(judge_trajectories(model.train(), rows, collator, NUM, **SAMPLER)) == columns(expected)
    assert not model.training


# ---- how much is masked ----


def num_generated(judged):
    return int((judged.step == FINAL_STEP).sum())


def test_a_fixed_rate_masks_that_share_and_one_masks_all(tiny_model, collator):
    rows = [{"input_ids": [2 + i % 30 for i in range(40)]}] * 40
    total = 40 * 40
    model, quick = tiny_model(), {"remasking": "none", "num_steps": 1}
    for rate in (0.25, 0.75):
        found = num_generated(judge_trajectories(model, rows, collator, 40, mask_rate=rate, **quick))
        assert abs(found - rate * total) < 4 * math.sqrt(total * rate * (1 - rate))
    assert num_generated(judge_trajectories(model, rows, collator, 40, mask_rate=1.0, **quick)) == total
    # Drawn anew for each sequence, the rates vary.
    drawn = judge_trajectories(model, rows, collator, 40, **quick)
    shares = np.bincount(drawn.sequence_index[drawn.step == FINAL_STEP], minlength=40) / 40
    assert shares.min() < 0.2 and shares.max() > 0.8


@pytest.fixture
def corrupted():
    """Rows with holes of their own, of which the second has no truth, and their collator."""
    row = {"input_ids": [5, MASK, MASK, 6, MASK], "labels": [-100, 7, -100, 6, 8]}
    return [row, row], CollatorForCorruptedRows(SpecialTokens(MASK, PAD), 32, "full")


def test_holes_that_come_with_the_data_are_filled_and_count_where_there_is_a_truth(tiny_model, corrupted):
    judged = judge_trajectories(tiny_model(), *corrupted, 2, **SAMPLER)
    assert judged.sequence_index[judged.step == FINAL_STEP].tolist() == [0, 0, 1, 1]
    with one_sentence("`mask_rate` must be left out", "got 0.5: drop their labels"):
        judge_trajectories(tiny_model(), *corrupted, 2, mask_rate=0.5, **SAMPLER)


def test_where_nothing_is_masked_nothing_is_judged(tiny_model):
    rows = [{"input_ids": [5, 6, 7], "labels": [-100, 6, -100]}] * 2
    collator = CollatorForCorruptedRows(SpecialTokens(MASK, PAD), 32, "full")
    judged = judge_trajectories(tiny_model(), rows, collator, 2, **SAMPLER)
    assert columns(judged) == [[]] * 4 and int(judged.histogram.counts.sum()) == 0


# ---- histories that no tiny model makes at will ----


class Scripted:
    """Stands in for a model: "generates" what it was told, with scores that say where they stood."""

    device, config = torch.device("cpu"), SimpleNamespace(mask_token_id=MASK, pad_token_id=PAD)

    def __init__(self, steps, sequences):
        self.steps, self.sequences, self.seen = steps, torch.tensor(sequences), []

    def eval(self):
        return self

    def resolve_generation_config(self, **settings):
        return SimpleNamespace(**{"remasking": "scripted", "num_candidates": 1, **settings})

    def generate(self, input_ids, **arguments):
        history = []
        for tokens, logits in self.steps:
            tokens = None if logits is None else torch.tensor(tokens)
            logits = None if logits is None else torch.tensor(logits)
            history.append(SimpleNamespace(judged_ids=tokens, critic_logits=logits))
        return SimpleNamespace(history=history, sequences=self.sequences)

    def critic_scores(self, input_ids, attention_mask):
        self.seen.append(attention_mask.tolist())
        return torch.full(input_ids.shape, 9.0)


NAN = float("nan")
HOLES = [
    {"input_ids": [5, MASK, MASK], "labels": [-100, 6, 7]},
    {"input_ids": [5, 6, MASK], "labels": [-100, -100, 7]},
]


def judge_scripted(model, **settings):
    return judge_trajectories(
        model, HOLES, CollatorForCorruptedRows(SpecialTokens(MASK, PAD), 32, "full"), 2, **settings
    )


def test_a_finished_row_is_judged_no_more_and_a_step_without_a_critic_is_passed_over():
    steps = [
        ([[5, MASK, 7], [5, 6, 8]], [[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]),
        (None, None),
        ([[5, 6, 8], [5, 6, 7]], [[1.5, 2.5, 3.5], [NAN, NAN, NAN]]),
    ]
    judged = judge_scripted(Scripted(steps, [[5, 6, 7], [5, 6, 7]]))
    assert columns(judged) == [
        [3.0, 2.5, 3.5, 9.0, 9.0, 6.0, 9.0],
        [0.0, 0.0, 1.0, 0.0, 0.0, 1.0, 0.0],
        [0, 0, 0, 0, 0, 1, 1],
        [0, 2, 2, FINAL_STEP, FINAL_STEP, 0, FINAL_STEP],
    ]


def test_what_a_generated_eos_cut_off_is_hidden_from_the_last_verdict_and_does_not_count():
    model = Scripted([([[5, 6, 7], [5, 6, 7]], [[1.0] * 3] * 2)], [[5, 9, PAD], [5, 6, 7]])
    judged = judge_scripted(model)
    assert model.seen == [[[1, 1, 0], [1, 1, 1]]]
    assert judged.sequence_index[judged.step == FINAL_STEP].tolist() == [0, 1]


def test_what_cannot_be_judged_is_refused():
    done = [[5, 6, 7], [5, 6, 7]]
    with pytest.raises(ValueError, match="must be finite"):  # a broken score is no finished row
        judge_scripted(Scripted([(done, [[1.0, NAN, 1.0], [1.0, 1.0, 1.0]])], done))
    with pytest.raises(ValueError, match=r"`remasking` must be .* got 'scripted', in which none did: choose"):
        judge_scripted(Scripted([(None, None)] * 3, done))
    with pytest.raises(ValueError, match=r"`num_candidates` must be 1 .* got 4: set it to 1"):
        judge_scripted(Scripted([], done), num_candidates=4)


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        ({"num_sequences": 0}, ("`num_sequences`", "between 1 and the 13", "got 0")),
        ({"num_sequences": NUM + 1}, ("`num_sequences`", "got 14")),
        ({"batch_size": 0}, ("`batch_size`", "got 0")),
        *(({"mask_rate": rate}, ("`mask_rate` must be in (0, 1]", f"got {rate}")) for rate in (0.0, -0.5, 1.5)),
        ({"return_history": False}, ("`return_history`", "got False", "leave it out")),
        ({"remask_per_stp": 1}, ("`remask_per_stp`", "did you mean `remask_per_step`")),
        ({"max_new_tokens": 5}, ("`max_new_tokens`", "got 5")),
    ],
)
def test_wrong_arguments_are_one_sentence(tiny_model, rows, collator, arguments, parts):
    with one_sentence(*parts):
        judge_trajectories(tiny_model(), rows, collator, **{"num_sequences": NUM, **arguments})


# ---- what the verdicts are worth ----


def test_expected_errors_are_sums_over_the_finished_sequences_alone(tiny_model, rows, collator):
    judged = judge_trajectories(tiny_model(), rows, collator, NUM, **SAMPLER)
    table = CriticCalibration([i / 100 for i in range(100)])
    found = expected_errors(judged, table)
    for index, expected, actual in zip(*found, strict=True):
        own = (judged.step == FINAL_STEP) & (judged.sequence_index == index)
        bucket = (100 / (1 + np.exp(-judged.critic_logits[own].astype(float)))).astype(int).clip(max=99)
        assert expected == pytest.approx((bucket / 100).sum()) and actual == judged.critic_target[own].sum()
    assert found.sequence_index.tolist() == sorted(set(judged.sequence_index))
    assert found.actual.sum() == judged.critic_target[judged.step == FINAL_STEP].sum() > 0


def test_the_report_by_step_parts_the_verdicts_and_judges_them_by_one_table_of_all(tiny_model, rows, collator):
    judged = judge_trajectories(tiny_model(), rows, collator, NUM, **SAMPLER)
    table = CriticCalibration([i / 100 for i in range(100)])
    report = report_by_step(judged, table)
    assert list(report) == [*sorted(set(judged.step) - {FINAL_STEP}), FINAL_STEP]
    for step, figures in report.items():
        own = judged.step == step
        probability = table.error_probability(torch.as_tensor(judged.critic_logits[own]))
        assert figures["after"]["brier"] == pytest.approx(brier_score(probability, judged.critic_target[own]))
        assert figures["expected_rate"] == pytest.approx(float(probability.mean()))
        assert (figures["positions"], figures["positive_rate"]) == (own.sum(), judged.critic_target[own].mean())
    assert sum(figures["positions"] for figures in report.values()) == len(judged.step)
    # Without a table: one of other sequences, over all steps, as where all steps are judged together.
    honest, pooled = report_by_step(judged), cross_fitted_report(*judged[:3])
    squares = sum(figures["positions"] * figures["after"]["brier"] for figures in honest.values())
    assert squares / len(judged.step) == pytest.approx(pooled["after"]["brier"])
