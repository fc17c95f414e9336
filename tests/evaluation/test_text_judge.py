# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the judge of generated text, and about the figures of text beside those of real text."""

import math

import pytest
import torch
from sentences import one_sentence
from tiny_masked_lms import framed_tokenizer

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.evaluation import TextFigures, TextJudge, text_judge
from critic_gpt.tasks import TextTask, build_character_tokenizer, encode_strict, words_of


TEXT = "the cat sat on the mat and the dog sat on the log. " * 40


@pytest.fixture(autouse=True)
def small(monkeypatch):
    monkeypatch.setattr(text_judge, "WIDTH", 16)
    monkeypatch.setattr(text_judge, "LAYERS", 1)


@pytest.fixture(scope="module")
def letters():
    return build_character_tokenizer("abcdefghijklmnopqrstuvwxyz .", model_max_length=16)


def train(letters, text=TEXT, num_steps=80, **kwargs):
    ids = encode_strict(letters, text)
    rows = [ids[start : start + 16] for start in range(0, len(ids) - 15, 16)]
    return TextJudge.train(rows, letters, 16, num_steps, batch_size=8, **kwargs)


@pytest.fixture(scope="module")
def judge(letters):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(text_judge, "WIDTH", 16)
        patch.setattr(text_judge, "LAYERS", 1)
        return train(letters)


# ---- the judge ----


def test_bits_are_those_of_the_chain_rule(judge, letters):
    text = "the cat sat"
    ids = torch.tensor([encode_strict(letters, text)])
    before = torch.cat([torch.tensor([[letters.pad_token_id]]), ids[:, :-1]], dim=1)
    with torch.no_grad():
        log_probability = judge.model(before).logits.log_softmax(dim=-1)
    nats = -log_probability.gather(-1, ids[..., None]).sum()
    assert judge.bits_per_character([text]) == pytest.approx(float(nats) / math.log(2) / len(text), rel=1e-5)


def test_likely_text_costs_fewer_bits_than_letters_at_random_or_none_learnt(judge, letters):
    real, mixed = TEXT[51:67], "".join(sorted(TEXT[51:67]))
    assert judge.bits_per_character([real]) < 3 < judge.bits_per_character([mixed])
    assert judge.bits_per_character([real]) < train(letters, num_steps=1).bits_per_character([real])


def test_texts_are_weighted_by_their_characters_and_batches_change_nothing(judge):
    texts = ["the cat", "sat on the mat.", "dog", "a"]
    alone = [judge.bits_per_character([text]) * len(text) for text in texts]
    together = judge.bits_per_character(texts)
    assert together == pytest.approx(sum(alone) / sum(map(len, texts)), rel=1e-5)
    assert judge.bits_per_character([*texts[::-1], ""], batch_size=2) == pytest.approx(together, rel=1e-5)


def test_a_text_longer_than_a_window_is_judged_in_windows(judge):
    long = TEXT[:40]
    parts = [long[:16], long[16:32], long[32:]]
    assert judge.bits_per_character([long]) == pytest.approx(judge.bits_per_character(parts), rel=1e-5)


def test_what_a_model_writes_and_its_tokenizer_does_not_know_is_judged_as_the_unknown_token():
    tokenizer = framed_tokenizer()
    judge = TextJudge.train([tokenizer("w1 w2 w3 w4", add_special_tokens=False).input_ids] * 4, tokenizer, 4, 1)
    found, named = (judge.bits_per_character([text]) for text in ("##i w2", "##j w2"))
    assert math.isfinite(found) and found == named  # it broke off an evaluation after all of its work


def test_training_is_repeatable_and_touches_no_global_randomness(letters):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    first = train(letters, num_steps=3)
    assert torch.equal(torch.rand(3), expected)
    steps = []
    second = train(letters, num_steps=3, on_step=lambda: steps.append(1))  # who watches changes nothing
    other = train(letters, num_steps=3, seed=1)
    assert len(steps) == 3
    weights = [dict(judge.model.named_parameters()) for judge in (first, second, other)]
    assert all(torch.equal(weights[0][name], weights[1][name]) for name in weights[0])
    assert not torch.equal(weights[0]["transformer.wte.weight"], weights[2]["transformer.wte.weight"])


def test_a_saved_judge_says_the_same(judge, tmp_path):
    judge.save_pretrained(tmp_path / "judge")
    loaded = TextJudge.from_pretrained(tmp_path / "judge")
    assert loaded.bits_per_character([TEXT[:30]]) == judge.bits_per_character([TEXT[:30]])


def test_what_is_no_judge_is_one_sentence(judge, tokenizer, letters, tmp_path):
    CriticGPTForMaskedLM(CriticGPTConfig(vocab_size=8, n_embd=4, n_head=1, n_layer=1)).save_pretrained(tmp_path / "lm")
    calls = [
        (lambda: TextJudge.from_pretrained(tmp_path / "none"), ("`judge`", "'none'")),
        (lambda: TextJudge.from_pretrained(tmp_path / "lm"), ("`judge`", "'lm'", "'critic_gpt'")),
        (lambda: TextJudge(judge.model, tokenizer), ("`judge`", "32 tokens")),
        (lambda: train(letters, num_steps=0), ("`num_steps`", "got 0")),
        (lambda: TextJudge.train([[3, 4]], letters, 16, 2), ("`rows`", "16 tokens", "2 tokens")),
        (lambda: judge.bits_per_character([""]), ("`texts`", "none")),
        (lambda: judge.bits_per_character(["THE"]), ("`text`", "unknown")),
    ]
    for call, parts in calls:
        with one_sentence(*parts):
            call()


# ---- beside real text ----


def test_figures_stand_beside_those_of_real_text(judge):
    task = TextTask(sequence_length=16, train_words=frozenset(words_of(TEXT)))
    real = [TEXT[i : i + 16] for i in range(0, 160, 16)]
    figures = TextFigures(task, real, judge)
    assert figures.real["entropy_deviation"] == 0.0 and figures.sequence_length == 16
    assert figures.real["bits_per_character"] == judge.bits_per_character(real)
    dull = figures.judge(["the the the the "] * 10)
    assert dull["known_word_rate"] == 1.0
    assert dull["entropy_deviation"] == pytest.approx(
        dull["unigram_entropy_bits"] / figures.real["unigram_entropy_bits"] - 1
    )
    assert dull["entropy_deviation"] < -0.03 and set(figures.figures) <= set(dull)
    without = TextFigures(task, real)
    assert "bits_per_character" not in without.judge(real) and "bits_per_character" not in without.figures
    # Known words count for nothing in a text that repeats itself.
    assert figures.score(figures.real) > figures.score(dull)


def test_settings_are_chosen_by_known_words_only_among_those_near_to_real_text():
    score = TextFigures.score.__get__(TextFigures)

    def figures(known, deviation):
        return {"known_word_rate": known, "entropy_deviation": deviation}

    ranked = [figures(0.9, 0.02), figures(0.8, -0.03), figures(0.7, 0.05), figures(0.99, -0.2)]
    assert sorted(ranked, key=score, reverse=True) == ranked
