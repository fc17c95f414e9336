# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what a call of `generate` comes down to."""

import pytest
import torch

from critic_gpt import (
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticGPTGenerationConfig,
)
from critic_gpt.strategies_critic_gpt import STRATEGIES, STRATEGY_ARGUMENTS


MASK = 1
canvas = torch.tensor([[5, MASK, MASK, 6, MASK, MASK, MASK, MASK]])


def judge(input_ids, attention_mask):
    return torch.sin(3.0 * input_ids.double())


def external(strategy):
    return {"remasking_model": judge} if strategy == "external" else {}


FIELDS = [
    ("critic", {}),
    ("critic", {"remask_per_step": 1, "schedule": "linear"}),
    ("critic", {"error_threshold": 0.4, "remask_selection": "gumbel", "selection_temperature": 2.0}),
    ("none", {"unmasking": "entropy"}),
    ("external", {"randomness_strength": 0.3}),
    ("critic_full", {"error_threshold": 0.4}),
    ("critic_full", {"schedule": [0.9, 0.5, 0.2, 0.1]}),
    ("confidence", {"remask_selection": "gumbel"}),
    ("random", {"start_ratio": 0.5}),
    ("multinomial", {"temperature": 0.5, "top_k": 3}),
]


@pytest.mark.parametrize(("strategy", "fields"), FIELDS)
def test_resolved_settings_are_complete_and_give_the_same_result_again(tiny_model, strategy, fields):
    model = tiny_model()
    # Whatever the model's own say where a strategy has no use for it.
    model.generation_config = CriticGPTGenerationConfig(num_steps=4, start_ratio=0.8, unmasking="random", top_p=0.9)
    given = {"remasking": strategy, **fields, **external(strategy)}
    resolved = model.resolve_generation_config(**given)
    assert resolved.remasking == strategy and resolved.num_steps == 4 and resolved.mask_token_id == MASK
    for name in STRATEGY_ARGUMENTS:
        if name not in STRATEGIES[strategy].accepts:
            assert getattr(resolved, name) == STRATEGIES[strategy].harmless.get(name)
        elif resolved.error_threshold is None and name != "error_threshold":
            assert getattr(resolved, name) is not None, name
    first = model.generate(canvas, seed=3, **given).sequences
    model.generation_config = CriticGPTGenerationConfig()
    again = model.generate(canvas, seed=3, generation_config=resolved, **external(strategy)).sequences
    assert torch.equal(first, again)


def test_auto_is_resolved_to_a_name(tiny_model):
    model = tiny_model()
    assert model.resolve_generation_config().remasking == "critic"
    assert model.resolve_generation_config(remasking_model=judge).remasking == "external"
    assert tiny_model(add_critic_head=False).resolve_generation_config().remasking == "confidence"
    assert model.generation_config.remasking is None, "left alone"


def test_what_a_call_says_takes_the_place_of_what_excludes_it_in_the_models_own(tiny_model):
    model = tiny_model()
    model.generation_config = CriticGPTGenerationConfig(randomness_strength=0.5, error_threshold=0.3)
    resolved = model.resolve_generation_config(remask_selection="gumbel", remask_per_step=1)
    assert (resolved.remask_selection, resolved.randomness_strength) == ("gumbel", 0.0)
    assert (resolved.remask_per_step, resolved.error_threshold) == (1, None)
    model.generation_config = CriticGPTGenerationConfig(remask_selection="gumbel", remask_per_step=3)
    resolved = model.resolve_generation_config(randomness_strength=0.5, error_threshold=0.3)
    assert (resolved.remask_selection, resolved.randomness_strength) == ("worst", 0.5)
    assert (resolved.remask_per_step, resolved.error_threshold) == (None, 0.3)


def test_only_a_strategy_that_was_asked_for_reads_the_defaults_of_its_own(tiny_model):
    model = tiny_model()
    assert model.resolve_generation_config(remasking="critic").schedule == "quadratic"
    assert model.resolve_generation_config(remasking="none").schedule == "linear"
    resolved = model.resolve_generation_config(remasking="critic_full")
    assert (resolved.start_ratio, resolved.end_ratio, resolved.unmasking) == (0.95, 0.05, None)


# ---- who may judge ----


def judges(tiny_config, **fields):
    torch.manual_seed(0)
    token_judge = CriticGPTForTokenClassification(tiny_config(num_labels=2, **fields)).eval()
    row_judge = CriticGPTForSequenceClassification(tiny_config(num_labels=1, **fields)).eval()
    return {"remasking_model": token_judge, "judge_model": row_judge}


@pytest.mark.parametrize("name", ["remasking_model", "judge_model"])
@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"vocab_size": 40},
            r"must have the vocabulary of the model it judges, 32 tokens with \[MASK\] 1, got 40 with \[MASK\] 1: ",
        ),
        ({"vocab_size": 20}, r"must have the vocabulary .*, got 20 with \[MASK\] 1: "),
        ({"mask_token_id": 7}, r"must have the vocabulary .*, got 32 with \[MASK\] 7: "),
        ({"max_position_embeddings": 7}, "must take sequences of 8 tokens, got a model for 7: "),
    ],
)
def test_a_judge_of_another_vocabulary_or_length_is_refused_in_one_sentence(
    tiny_model, tiny_config, name, fields, message
):
    with pytest.raises(ValueError, match=f"`{name}` {message}") as error:
        tiny_model().generate(canvas, num_steps=2, seed=0, **{name: judges(tiny_config, **fields)[name]})
    assert str(error.value).endswith(".") and "\n" not in str(error.value)


def test_judges_of_the_same_vocabulary_serve_whether_or_not_they_know_the_mask(tiny_model, tiny_config):
    for fields in ({}, {"mask_token_id": None}):
        output = tiny_model().generate(canvas, num_steps=2, seed=0, **judges(tiny_config, **fields))
        assert output.judge_wrongness.shape == (1,) and output.forward_passes == 2


STORED = [
    ({"randomness_strength": 0.5}, {"remask_selection": "worst"}, ("worst", 0.5)),
    ({"remask_selection": "gumbel"}, {"randomness_strength": 0.0}, ("gumbel", 0.0)),
    ({"randomness_strength": 0.5}, {"remask_selection": "gumbel"}, ("gumbel", 0.0)),
    ({"remask_selection": "gumbel"}, {"randomness_strength": 0.5}, ("worst", 0.5)),
]


@pytest.mark.parametrize(("stored", "said", "expected"), STORED)
def test_a_stored_setting_gives_way_to_what_contradicts_it_and_to_nothing_else(tiny_model, stored, said, expected):
    model = tiny_model()
    model.generation_config = CriticGPTGenerationConfig(**stored)
    config = model.resolve_generation_config(remasking="critic", **said)
    assert (config.remask_selection, config.randomness_strength) == expected


def test_an_end_that_could_cut_nothing_is_refused_where_the_call_names_it(tiny_model):
    model = tiny_model(pad_token_id=None, eos_token_id=2)
    with pytest.raises(ValueError, match=r"`eos_token_id` needs a `pad_token_id`, .*, got 5 without one"):
        model.generate(canvas, eos_token_id=5)
    resolved = model.resolve_generation_config()
    assert resolved.eos_token_id == 2 and model.generate(canvas, generation_config=resolved, seed=0) is not None
    assert model.resolve_generation_config(eos_token_id=5, pad_token_id=0).eos_token_id == 5


@pytest.mark.parametrize("eos", [32, -1, [2, 32]])
def test_an_end_outside_the_vocabulary_is_refused(tiny_model, eos):
    with pytest.raises(ValueError, match=r"`eos_token_id` must be in \[0, vocab_size = 32\)"):
        tiny_model().generate(canvas, eos_token_id=eos)
