# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the comparison of ways of generating at equal forward passes."""

from types import SimpleNamespace

import pytest
import torch

from critic_gpt.evaluation import STRATEGIES, compare_strategies, comparison
from critic_gpt.evaluation.comparison import ForwardCounter, sample_texts


class FakeTask:
    """Remembers what it judged."""

    sequence_length = 9

    def __init__(self):
        self.judged = []

    def judge(self, texts):
        self.judged.append(list(texts))
        return {"first_letter": float(len(self.judged)), "num_samples": len(texts)}


def compare(model, tokenizer, *args, task=None, **kwargs):
    return compare_strategies(model, tokenizer, task or FakeTask(), *args, **{"num_samples": 5, **kwargs})


def test_the_hook_counts_what_runs_and_goes_away(tiny_model):
    model = tiny_model()
    ids = torch.full((2, 5), 1)
    with ForwardCounter(model) as counter:
        model(ids)
        model(ids, labels=torch.full((2, 5), 3))  # two passes: the critic's as well
        model.critic_scores(ids)
    model(ids)
    assert counter.passes == 4
    assert not model.base_model._forward_hooks


def test_the_hook_goes_away_after_an_error_too(tiny_model):
    model = tiny_model()
    with pytest.raises(KeyError), ForwardCounter(model):
        raise KeyError
    assert not model.base_model._forward_hooks


def test_rows_are_keyed_by_the_passes_that_ran(tiny_model, tokenizer):
    strategies = {**STRATEGIES, "both": {"remasking": "critic_full"}}
    table = compare(tiny_model(), tokenizer, [1, 3, 4], strategies)
    assert {name: list(row) for name, row in table.items()} == {
        **{name: ["1", "3", "4"] for name in STRATEGIES},
        "both": ["1", "5", "7"],
    }


def test_the_figures_of_the_judge_arrive_with_the_seconds(tiny_model, tokenizer):
    task = FakeTask()
    table = compare(tiny_model(), tokenizer, [2, 3], {"critic": {"remasking": "critic"}}, task=task)
    assert {passes: cell["first_letter"] for passes, cell in table["critic"].items()} == {"2": 1.0, "3": 2.0}
    assert all(set(cell) == {"first_letter", "num_samples", "seconds"} for cell in table["critic"].values())
    assert all(cell["num_samples"] == 5 and cell["seconds"] > 0 for cell in table["critic"].values())
    assert [len(texts) for texts in task.judged] == [5, 5]
    assert all(len(text) == 9 for texts in task.judged for text in texts)


@pytest.mark.parametrize("remasking", ["none", "critic", "critic_full"])
def test_the_batch_size_changes_no_sample(tiny_model, tokenizer, remasking):
    # With rotary positions, all of an empty canvas look alike and rounding would tell which come first.
    model = tiny_model(position_embedding_type="absolute").double()
    drawn = [
        sample_texts(model, tokenizer, 9, 7, batch_size, seed=3, num_steps=4, remasking=remasking)[0]
        for batch_size in (1, 3, 7, 50)
    ]
    assert drawn[0] == drawn[1] == drawn[2] == drawn[3]
    assert len(set(drawn[0])) == 7
    assert drawn[0] != sample_texts(model, tokenizer, 9, 7, 7, seed=4, num_steps=4, remasking=remasking)[0]


@pytest.mark.parametrize("world", [2, 3])
def test_shared_samples_are_those_of_one_process_in_their_order(tiny_model, tokenizer, monkeypatch, world):
    model = tiny_model(position_embedding_type="absolute").double()
    flags = {"num_steps": 4, "remasking": "critic"}
    alone = sample_texts(model, tokenizer, 9, 7, 5, seed=3, **flags)
    parts = []
    monkeypatch.setattr(comparison, "gather_object", lambda own: parts.extend(own) or own)
    for rank in reversed(range(world)):
        sample_texts(model, tokenizer, 9, 7, 5, 3, SimpleNamespace(num_processes=world, process_index=rank), **flags)
    assert all(len(texts) < 7 for texts, _ in parts)
    monkeypatch.setattr(comparison, "gather_object", lambda own: parts)
    nobody = SimpleNamespace(num_processes=world, process_index=world)
    assert sample_texts(model, tokenizer, 9, 7, 5, 3, nobody, **flags) == alone


def test_the_temperature_is_one_unless_a_strategy_says_otherwise(tiny_model, tokenizer, monkeypatch):
    model, seen = tiny_model(), []
    model.generation_config.temperature = 0.0
    inner = type(model).generate

    def spy(self, *args, **kwargs):
        seen.append((kwargs["temperature"], kwargs["num_steps"], kwargs["return_error_probabilities"]))
        return inner(self, *args, **kwargs)

    monkeypatch.setattr(type(model), "generate", spy)
    task = FakeTask()
    compare(model, tokenizer, [2], {"plain": {}, "cool": {"temperature": 0.5}, "cold": {"temperature": 0}}, task=task)
    assert seen == [(1.0, 2, False), (0.5, 2, False), (0, 2, False)]
    plain, _, cold = task.judged
    assert len(set(plain)) == 5 > len(set(cold))


def test_padding_behind_a_generated_end_is_no_part_of_a_text(tiny_model, tokenizer):
    model = tiny_model(eos_token_id=5)
    with torch.no_grad():
        model.lm_head.weight[5] = model.lm_head.weight[6:].mean(dim=0)
    texts, _ = sample_texts(model, tokenizer, 30, 20, 20, seed=0, num_steps=30, unmasking="random", remasking="none")
    assert any(len(text) < 30 for text in texts)
    assert all("[PAD]" not in text and (len(text) == 30 or text.endswith(".")) for text in texts)


def test_a_model_that_miscounts_is_caught(tiny_model, tokenizer, monkeypatch):
    model = tiny_model()
    inner = type(model).generate

    def lie(self, *args, **kwargs):
        output = inner(self, *args, **kwargs)
        output.forward_passes -= 1
        return output

    monkeypatch.setattr(type(model), "generate", lie)
    with pytest.raises(RuntimeError, match="reported 1 passes where 2 ran"):
        compare(model, tokenizer, [2])


@pytest.mark.parametrize("field", ["num_samples", "batch_size"])
def test_wrong_numbers_are_one_sentence(tiny_model, tokenizer, field):
    with pytest.raises(ValueError) as error:
        compare(tiny_model(), tokenizer, [2], **{field: 0})
    text = str(error.value)
    assert text.startswith(f"`{field}` must be at least 1, got 0") and text.endswith(".") and "\n" not in text
