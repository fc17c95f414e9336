# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about how a model fills held-out sequences and its critic judges them."""

from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentences import one_sentence

from critic_gpt import CriticTrainer, CriticTrainingArguments, DataCollatorForMaskedDiffusion
from critic_gpt.calibration.histogram import CriticHistogram
from critic_gpt.evaluation import judge_fillings
from critic_gpt.evaluation.scoring import shared_batches


NUM = 13


@pytest.fixture
def collator(tokenizer):
    return DataCollatorForMaskedDiffusion(tokenizer, critic_regime="mixed", seed=3)


def test_what_is_judged_is_what_forward_says_on_the_same_batch(tiny_model, rows, collator):
    model = tiny_model()
    judged = judge_fillings(model, rows, collator, NUM, batch_size=NUM)
    batch = collator.for_evaluation()([{**row, "example_id": i} for i, row in enumerate(rows)])
    with torch.no_grad():
        output = model(**batch)
    valid = output.critic_valid
    assert valid.any() and 0 < judged.critic_target.mean() <= 1
    np.testing.assert_array_equal(judged.critic_logits, output.critic_input_logits[valid].numpy())
    np.testing.assert_array_equal(judged.critic_target, output.critic_target[valid].numpy())
    np.testing.assert_array_equal(judged.sequence_index, valid.nonzero()[:, 0].numpy())
    assert judged.lm_loss == pytest.approx(output.lm_loss.item(), rel=1e-5)


def test_the_histogram_counts_the_arrays_and_on_step_sees_the_counts_so_far(tiny_model, rows, collator):
    totals = []

    def on_step(done, histogram):
        totals.append(int(histogram.counts.sum()))

    judged = judge_fillings(tiny_model(), rows, collator, NUM, batch_size=5, on_step=on_step)
    counted = CriticHistogram()
    counted.update(torch.as_tensor(judged.critic_logits), torch.as_tensor(judged.critic_target))
    assert torch.equal(counted.counts, judged.histogram.counts)
    assert torch.equal(counted.positives, judged.histogram.positives)
    assert totals == sorted(totals) and totals[-1] == len(judged.critic_logits)


@pytest.mark.parametrize("num", [1, 7, 8, NUM])
def test_exactly_so_many_sequences_are_judged(tiny_model, rows, collator, num):
    seen, steps = [], []

    def count(examples):
        seen.extend(example["example_id"] for example in examples)
        return collator.for_evaluation()(examples)

    count.for_evaluation = lambda: count
    judged = judge_fillings(tiny_model(), rows, count, num, batch_size=4, on_step=lambda done, _: steps.append(done))
    assert seen == list(range(num))
    assert steps == [*range(4, num, 4), num]
    assert set(judged.sequence_index) <= set(range(num))
    assert judged.sequence_index.tolist() == sorted(judged.sequence_index)


@pytest.mark.parametrize(("batch_size", "num"), [(1, NUM), (3, NUM), (64, NUM), (5, 9)])
def test_the_batch_size_changes_nothing_nor_what_comes_after(tiny_model, rows, collator, batch_size, num):
    model = tiny_model().double()
    expected = judge_fillings(model, rows, collator, NUM, batch_size=8)
    found = judge_fillings(model, rows, collator, num, batch_size=batch_size)
    size = len(found.critic_logits)
    np.testing.assert_allclose(found.critic_logits, expected.critic_logits[:size], rtol=1e-6)
    np.testing.assert_array_equal(found.critic_target, expected.critic_target[:size])
    np.testing.assert_array_equal(found.sequence_index, expected.sequence_index[:size])
    if num == NUM:
        assert torch.equal(found.histogram.counts, expected.histogram.counts)
        assert found.lm_loss == pytest.approx(expected.lm_loss, rel=1e-12)


@given(st.integers(1, 60), st.integers(1, 20), st.integers(1, 7))
@settings(max_examples=60, deadline=None)
def test_processes_share_every_step_and_see_every_sequence_once(num, size, world):
    processes = [SimpleNamespace(num_processes=world, process_index=rank) for rank in range(world)]
    steps = [list(shared_batches(num, size, process)) for process in processes]
    assert len({len(own) for own in steps}) == 1  # all meet in each step
    done = 0
    for parts in zip(*steps, strict=True):
        assert {end for end, _ in parts} == {min(done + size, num)}
        assert [row for _, rows in parts for row in rows] == list(range(done, min(done + size, num)))
        assert max(len(rows) for _, rows in parts) <= -(-size // world)
        done = parts[0][0]
    assert done == num


def test_twice_the_same_and_another_seed_something_else(tiny_model, tokenizer, rows, collator):
    model = tiny_model()
    first, second = (judge_fillings(model, rows, collator, NUM) for _ in range(2))
    np.testing.assert_array_equal(first.critic_logits, second.critic_logits)
    other = DataCollatorForMaskedDiffusion(tokenizer, critic_regime="mixed", seed=4)
    assert judge_fillings(model, rows, other, NUM).lm_loss != first.lm_loss


def test_a_collator_for_training_and_a_model_in_training_are_put_right(tiny_model, rows, collator):
    model = tiny_model(hidden_dropout=0.5)
    expected = judge_fillings(model, rows, collator.for_evaluation(), NUM)
    found = judge_fillings(model.train(), rows, collator, NUM)
    assert found.lm_loss == expected.lm_loss and not model.training
    assert not collator.evaluation


def test_without_a_critic_only_the_bound_has_content(tiny_model, rows, collator):
    judged = judge_fillings(tiny_model(add_critic_head=False), rows, collator, NUM)
    assert [len(column) for column in judged[:3]] == [0, 0, 0]
    assert int(judged.histogram.counts.sum()) == 0
    assert 0 < judged.lm_loss < float("inf")


def test_the_bound_is_that_of_the_trainer(tiny_model, tokenizer, rows, collator, tmp_path):
    model = tiny_model()
    arguments = CriticTrainingArguments(str(tmp_path), use_cpu=True, disable_tqdm=True, per_device_eval_batch_size=5)
    given = {"processing_class": tokenizer, "data_collator": collator, "eval_dataset": rows}
    metrics = CriticTrainer(model, arguments, **given).evaluate()
    judged = judge_fillings(model, rows, collator, NUM)
    assert judged.lm_loss == pytest.approx(metrics["eval_lm_loss"], rel=1e-5)
    assert judged.critic_target.mean() == pytest.approx(metrics["eval_error_rate"], rel=1e-5)


@pytest.mark.parametrize(
    ("num", "batch_size", "parts"),
    [
        (0, 8, ("`num_sequences`", f"between 1 and the {NUM}", "got 0")),
        (NUM + 1, 8, ("`num_sequences`", f"between 1 and the {NUM}", f"got {NUM + 1}")),
        (NUM, 0, ("`batch_size`", "at least 1", "got 0")),
        (NUM, -4, ("`batch_size`", "at least 1", "got -4")),
    ],
)
def test_wrong_numbers_are_one_sentence(tiny_model, rows, collator, num, batch_size, parts):
    with one_sentence(*parts):
        judge_fillings(tiny_model(), rows, collator, num, batch_size=batch_size)
