# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what both pipelines read: texts of a table by place, and what is no character of a text."""

import copy

import pandas
import pytest
import torch
from tiny_tokenizers import tiny_tokenizer
from transformers import pipeline

from critic_gpt.tasks.vocabulary import make_ready


@pytest.fixture
def make(tiny_model):
    """Makes a pipeline for a model with a tokenizer of a kind."""

    def pipeline_for(task, kind):
        tokenizer = copy.deepcopy(tiny_tokenizer(kind))
        make_ready(tokenizer)
        ids = {"mask_token_id": tokenizer.mask_token_id, "pad_token_id": tokenizer.pad_token_id}
        model = tiny_model(vocab_size=len(tokenizer), **ids)
        return pipeline(task, model=model, tokenizer=tokenizer)

    return pipeline_for


SETTINGS = {"critic-diffusion": {"num_steps": 2, "seed": 0}, "critic-proofread": {}}


def texts_of(results):
    return [result.get("generated_text") or result["text"] for result in results]


@pytest.mark.parametrize("task", SETTINGS)
def test_a_series_is_read_by_place_whatever_its_labels(make, task):
    run = make(task, "characters")
    series = pandas.Series(["the [MASK]at", "a cat", "is [MASK]t", "the mat"], index=[3, 1, 0, 2])
    for some in (series, series.sort_index(), series[series.str.contains("MASK")], series.iloc[1:3]):
        if task == "critic-diffusion":
            some = some + "[MASK]"
        assert texts_of(run(some, **SETTINGS[task])) == texts_of(run(some.to_list(), **SETTINGS[task]))


def test_a_half_character_is_named_in_a_prompt_and_marked_where_it_is_proofread(make):
    with pytest.raises(ValueError, match=r"`inputs` must consist of what the tokenizer knows, got '\\ud800'"):
        make("critic-diffusion", "byte-level BPE")("the \ud800[MASK]", num_steps=2)
    for kind in ("byte-level BPE", "characters", "BPE as Llama 2"):
        results = make("critic-proofread", kind)(["the cat", "the \udfff cat", "is it"])
        assert [[(span["start"], span["end"]) for span in result["unknown"]] for result in results] == [
            [],
            [(4, 5)],
            [],
        ]


@pytest.mark.parametrize(
    ("task", "bad"),
    [("critic-diffusion", ["\ud800[MASK]", 5, "\udfff[MASK]"]), ("critic-proofread", [None, 5, {"txt": "a"}])],
)
def test_of_a_list_all_that_are_refused_are_named_before_any_work(make, monkeypatch, task, bad):
    run, good = make(task, "characters"), ["the [MASK]at", "a [MASK]at"]
    monkeypatch.setattr(run, "_forward", lambda *args, **kwargs: pytest.fail("there was work"))
    with pytest.raises(ValueError) as error:
        run([good[0], bad[0], bad[1], good[1], bad[2], bad[0]], **SETTINGS[task])
    assert all(f"inputs[{place}]" in str(error.value) for place in (1, 2, 4, 5)) and "\n" not in str(error.value)
    assert not any(f"inputs[{place}]" in str(error.value) for place in (0, 3))


@pytest.mark.parametrize("task", SETTINGS)
def test_a_stream_gives_what_comes_before_one_that_is_refused_and_names_it(make, task):
    run = make(task, "characters")
    results = iter(run((text for text in ("the [MASK]at", "a [MASK]at", 5)), **SETTINGS[task]))
    assert len([next(results), next(results)]) == 2
    with pytest.raises(ValueError, match=r"got 5: pass a text \(inputs\[2\]\)\.$"):
        next(results)


@pytest.mark.parametrize("kind", ["byte-level BPE", "byte-level BPE, composed", "characters"])
def test_a_byte_order_mark_changes_nothing(make, kind):
    run, text = make("critic-diffusion", kind), "the cat[MASK]"
    assert texts_of([run("\ufeff" + text, num_steps=1, seed=0)]) == texts_of([run(text, num_steps=1, seed=0)])
    marked, plain = (make("critic-proofread", kind)(one) for one in ("\ufeffthe cat", "the cat"))
    assert marked["unknown"] == [] and marked["expected_errors"] == plain["expected_errors"]
    assert [token["start"] - 1 for token in marked["tokens"]] == [token["start"] for token in plain["tokens"]]


@pytest.mark.parametrize(
    "kind", ["byte-level BPE", "byte-level BPE with a space before", "Unigram, space before", "BPE as Llama 2"]
)
def test_what_is_given_around_a_mask_stays_to_the_letter(make, kind):
    run = make("critic-diffusion", kind)
    for head, tail in (("the cat", ", is it"), ("the\n", "\nis"), ("is ", " it"), ("the  ", "  cat")):
        text = run(f"{head}[MASK]{tail}", num_steps=1, seed=0)["generated_text"]
        assert text.startswith(head.removesuffix(" ")) and text.endswith(tail)


def test_a_mask_that_is_text_to_the_tokenizer_is_said(tiny_model, caplog):
    """As to RoBERTa's, whose mask is another token: the text is continued, its [MASK] not filled."""
    tokenizer = copy.deepcopy(tiny_tokenizer("byte-level BPE"))
    tokenizer.add_special_tokens({"mask_token": "<mask>", "pad_token": "<pad>"})
    ids = {"mask_token_id": tokenizer.mask_token_id, "pad_token_id": tokenizer.pad_token_id}
    run = pipeline("critic-diffusion", model=tiny_model(vocab_size=len(tokenizer), **ids), tokenizer=tokenizer)
    assert run("is<mask>", num_steps=1, seed=0)["generated_text"].startswith("is") and "is text" not in caplog.text
    assert run("is[MASK]", num_steps=1, seed=0)["generated_text"].startswith("is[MASK]")
    assert "[MASK] in a prompt is text to this model and is not filled: its mask is <mask>" in caplog.text


def test_letters_that_the_tokenizer_composes_are_known(make):
    run = make("critic-diffusion", "byte-level BPE, composed")
    with torch.no_grad():
        assert run("cafe\u0301[MASK]", num_steps=1, seed=0) == run("café[MASK]", num_steps=1, seed=0)
