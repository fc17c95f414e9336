# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the critic as a verifier of whole sequences."""

import numpy as np
import pytest
import torch

from critic_gpt import CriticCalibration
from critic_gpt.evaluation import verify
from critic_gpt.evaluation.metrics import auroc
from critic_gpt.evaluation.sampling import blank_canvases


class FirstLetterTask:
    """Right is what begins with one of the letters up to m."""

    def right(self, texts):
        return np.array([text[0] <= "m" for text in texts])


class AllRightTask:
    """Nothing can be wrong."""

    def right(self, texts):
        return np.ones(len(texts), dtype=bool)


def run(model, tokenizer, task=None, num=12, canvases=None, **kwargs):
    canvases = blank_canvases(tokenizer, num, 9, model.backbone) if canvases is None else canvases
    return verify(model, tokenizer, task or FirstLetterTask(), canvases, **{"budget": 4, "seeds": [1, 2], **kwargs})


@pytest.fixture
def model(unsure_model):
    unsure_model.calibration = CriticCalibration([i / 100 for i in range(100)])
    return unsure_model


@pytest.mark.parametrize(("given", "answers"), [(0, "one"), (5, "one"), (0, "many")])
def test_verdicts_are_compared_with_the_truth_of_the_same_samples(model, tokenizer, given, answers):
    model.generation_config.answers = answers  # of many right ones the temperature is another
    canvases = blank_canvases(tokenizer, 12, 9, model.backbone)
    if given:  # what was given is no doubt
        canvases[:, -given:] = torch.tensor(tokenizer.convert_tokens_to_ids(list("abcde")))
    figures = run(model, tokenizer, canvases=canvases)
    scores, truth = [], []
    for seed in (1, 2):
        seeds = [seed * 1_000_003 + row for row in range(12)]
        output = model.generate(canvases, seed=seeds, num_steps=4, remasking="critic")
        generated = output.error_probabilities[:, : 9 - given].double()
        scores += (1 - generated).log().sum(dim=-1).tolist()
        truth += FirstLetterTask().right([tokenizer.decode(ids) for ids in output.sequences]).tolist()
    truth = np.array(truth)
    assert 0 < truth.mean() < 1 and figures["sequences"] == 24
    assert figures["auroc"]["all_right"] == pytest.approx(auroc(-np.array(scores), ~truth))
    assert figures["all_right"]["rate"] == truth.mean()
    assert figures["all_right"]["mean"] == pytest.approx(np.exp(scores).mean())
    assert figures["single"]["success_rate"]["by_seed"] == [truth[:12].mean(), truth[12:].mean()]


def test_one_gets_as_many_passes_as_all_candidates_and_the_verdicts_on_them(model, tokenizer):
    figures = run(model, tokenizer, num_candidates=3)
    assert (figures["single"]["num_steps"], figures["single"]["passes"]) == (4, 5)
    assert (figures["best_of_n"]["num_steps"], figures["best_of_n"]["passes"]) == (4, 15)
    longer = figures["single_at_equal_passes"]
    assert longer["num_steps"] == longer["passes"] == 15
    assert figures["num_candidates"] == 3 and figures["budget"] == 4
    for part in ("single", "best_of_n", "single_at_equal_passes"):
        assert set(figures[part]["success_rate"]) == {"mean", "spread", "by_seed"}


def test_the_best_of_one_is_that_one_and_where_nothing_is_wrong_there_is_nothing_to_tell_apart(model, tokenizer):
    figures = run(model, tokenizer, AllRightTask(), num_candidates=1)
    assert figures["best_of_n"]["success_rate"] == figures["single"]["success_rate"]
    assert set(figures["auroc"].values()) == {None} and figures["all_right"]["rate"] == 1.0


def test_certain_mistakes_are_no_infinity_but_counted(tiny_model, tokenizer):
    class BeginningTask:
        def right(self, texts):
            return np.array([text.startswith("abcde") for text in texts])

    model = tiny_model()
    model.calibration = CriticCalibration([1.0] * 100)
    canvases = blank_canvases(tokenizer, 12, 9, model.backbone)
    canvases[::2, :5] = torch.tensor(tokenizer.convert_tokens_to_ids(list("abcde")))
    figures = run(model, tokenizer, BeginningTask(), canvases=canvases)
    assert 0 <= figures["all_right"]["mean"] < 1e-12 and all(map(np.isfinite, figures["all_right"].values()))
    assert figures["auroc"]["all_right"] == figures["auroc"]["expected_errors"] == 1.0


def test_without_a_critic_or_a_step_it_is_refused(tiny_model, model, tokenizer):
    with pytest.raises(
        ValueError, match=r"`model` must have a trained critic .* got one without: train a critic first\.$"
    ):
        run(tiny_model(add_critic_head=False), tokenizer)
    with pytest.raises(ValueError, match=r"`budget` must allow one step of .*, got 2 forward passes: give more\.$"):
        run(model, tokenizer, budget=2, arguments={"remasking": "critic", "polish_steps": 3})
