# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what a call of `generate` comes down to."""

import pytest
import torch
from generation_cases import judge
from refusals import refused

from critic_gpt import CriticGPTForSequenceClassification, CriticGPTForTokenClassification, CriticGPTGenerationConfig
from critic_gpt.generation.declarations import SETTINGS, strategy_settings
from critic_gpt.generation.strategies.registry import STRATEGIES


MASK = 1
canvas = torch.tensor([[5, MASK, MASK, 6, MASK, MASK, MASK, MASK]])


def external(strategy):
    return {"remasking_model": judge} if strategy == "external" else {}


FIELDS = [
    *(("critic", {}), ("prism", {}), ("token_critic", {}), ("remdm_rescale", {}), ("remdm_conf", {})),
    ("critic", {"remask_per_step": 1, "schedule": "linear"}),
    ("critic", {"error_threshold": 0.4, "remask_selection": "gumbel", "selection_temperature": 2.0}),
    ("critic", {"correction": "replace", "stop_when_expected_errors_below": 0.5}),
    ("critic", {"correction": "remask", "polish_steps": 2}),
    ("critic", {"polish_steps": 2, "polish_threshold": 0.3, "num_candidates": 2}),
    ("critic", {"unmasking": "entropy_bound"}),
    ("none", {"unmasking": "entropy"}),
    ("none", {"unmasking": "confidence_threshold", "confidence_threshold": 0.2}),
    ("external", {"randomness_strength": 0.3}),
    ("critic_full", {"error_threshold": 0.4}),
    ("critic_full", {"schedule": [0.9, 0.5, 0.2, 0.1]}),
    *(
        ("confidence", {"remask_selection": "gumbel"}),
        ("random", {"start_ratio": 0.5}),
        ("p2", {"schedule": "cosine"}),
    ),
    ("multinomial", {"temperature": 0.5, "top_k": 3}),
    ("proseco", {"corrector_temperature": 1.0}),
    *(("remdm_cap", {"remdm_eta": 0.2}), ("remdm_loop", {"loop_end": 0.7})),
]


@pytest.mark.parametrize(("strategy", "fields"), FIELDS)
def test_resolved_settings_are_complete_and_give_the_same_result_again(tiny_model, strategy, fields):
    model = tiny_model()
    # Whatever the model's own say where a strategy has no use for it.
    model.generation_config = CriticGPTGenerationConfig(num_steps=4, start_ratio=0.8, unmasking="random", top_p=0.9)
    given = {"remasking": strategy, **fields, **external(strategy)}
    resolved = model.resolve_generation_config(**given)
    assert resolved.remasking == strategy and resolved.num_steps == 4 and resolved.mask_token_id == MASK
    cls = STRATEGIES[strategy]
    for name in strategy_settings():
        condition = SETTINGS[name].condition
        idle = condition is not None and condition.setting in cls.takes
        idle = idle and not condition.holds(getattr(resolved, condition.setting))
        if name not in cls.takes or idle:
            assert getattr(resolved, name) == cls.harmless.get(name, SETTINGS[name].harmless)
        elif resolved.error_threshold is None and (cls.takes[name] is not None or name in fields):
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


def test_only_a_strategy_that_was_asked_for_reads_the_defaults_of_its_own(tiny_model):
    model = tiny_model()
    assert model.resolve_generation_config(remasking="critic").schedule == "root"
    assert model.resolve_generation_config(remasking="token_critic").schedule == "cosine"
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
    with refused(match=f"`{name}` {message}"):
        tiny_model().generate(canvas, num_steps=2, seed=0, **{name: judges(tiny_config, **fields)[name]})


def test_judges_of_the_same_vocabulary_serve_whether_or_not_they_know_the_mask(tiny_model, tiny_config):
    for fields in ({}, {"mask_token_id": None}):
        output = tiny_model().generate(canvas, num_steps=2, seed=0, **judges(tiny_config, **fields))
        assert output.judge_wrongness.shape == (1,) and output.forward_passes == 2


# ---- settings that contradict each other ----

ORDER, DECIDES = "for another order of unmasking", "beside an `unmasking` that itself decides how many tokens a step"
CONTRADICTIONS = [
    ({"remasking": "none", "entropy_bound": 0.5}, f"`entropy_bound` has no meaning {ORDER}, got 0.5: set `unmasking="),
    (
        {"remasking": "critic", "unmasking": "entropy_bound", "confidence_threshold": 0.5},
        f"`confidence_threshold` has no meaning {ORDER}, got 0.5: set `unmasking=",
    ),
    (
        {"remasking": "prism", "unmasking": "confidence_threshold", "schedule": "linear"},
        f"`schedule` has no meaning {DECIDES} reveals, got 'linear': choose another order of unmasking, or leave it ",
    ),
    *(
        (
            {"remasking": "critic", "polish_threshold": 0.2, **more},
            "`polish_threshold` has no meaning without steps of polishing, got 0.2: set `polish_steps`, or leave it ",
        )
        for more in ({}, {"polish_steps": 0})
    ),
    # The end is that of the paper, unless the call says another.
    *(
        (
            {"remasking": "remdm_loop", "loop_start": start, **more},
            f"`loop_start` must lie below `loop_end`, got {got}: ",
        )
        for start, more, got in ((0.6, {"loop_end": 0.6}, "0.6 and 0.6"), (0.97, {}, "0.97 and 0.95"))
    ),
    (
        {"remasking": "critic", "error_threshold": 0.5, "remask_per_step": 2},
        "`error_threshold` and `remask_per_step` exclude each other, got 0.5 and 2: give one of the two.",
    ),
    *(
        ({"remasking": "critic_full", "error_threshold": 0.5, **more}, f"`{name}` has no meaning beside `error_thresh")
        for more in ({"schedule": "cosine"}, {"start_ratio": 0.5}, {"end_ratio": 0.1})
        for name in more
    ),
]


@pytest.mark.parametrize(("fields", "message"), CONTRADICTIONS)
def test_a_contradiction_is_refused_with_the_way_out(tiny_model, fields, message):
    with refused(start=message):
        tiny_model().generate(canvas, **fields)


OWN = [
    ({"schedule": "cosine"}, {"unmasking": "entropy_bound"}, {"schedule": None, "entropy_bound": 0.1}),
    (
        {"unmasking": "entropy_bound", "entropy_bound": 0.7},
        {"unmasking": "margin"},
        {"entropy_bound": None, "schedule": "root"},
    ),
    ({"polish_steps": 4, "polish_threshold": 0.3}, {"polish_steps": 0}, {"polish_threshold": None}),
    ({"polish_steps": 4, "error_threshold": 0.3}, {}, {"polish_threshold": 0.3}),
    ({"polish_steps": 4}, {}, {"polish_threshold": 0.5}),
    # What contradicts a stored setting takes its place, and nothing else does.
    ({"randomness_strength": 0.5}, {"remask_selection": "worst"}, {"randomness_strength": 0.5}),
    ({"remask_selection": "gumbel"}, {"randomness_strength": 0.0}, {"remask_selection": "gumbel"}),
    (
        {"randomness_strength": 0.5, "error_threshold": 0.3},
        {"remask_selection": "gumbel", "remask_per_step": 1},
        {"remask_selection": "gumbel", "randomness_strength": 0.0, "remask_per_step": 1, "error_threshold": None},
    ),
    (
        {"remask_selection": "gumbel", "remask_per_step": 3},
        {"randomness_strength": 0.5, "error_threshold": 0.3},
        {"remask_selection": "worst", "randomness_strength": 0.5, "remask_per_step": None, "error_threshold": 0.3},
    ),
    ({"remdm_eta": 0.3, "corrector_steps": 3, "loop_end": 0.2}, {}, {"remdm_eta": None, "corrector_steps": None}),
]


@pytest.mark.parametrize(("stored", "said", "expected"), OWN)
def test_what_the_models_own_settings_say_gives_way_to_the_call(tiny_model, stored, said, expected):
    model = tiny_model()
    model.generation_config = CriticGPTGenerationConfig(**stored)
    config = model.resolve_generation_config(remasking="critic", **said)
    assert {name: getattr(config, name) for name in expected} == expected
    assert config.loop_end is None


def test_candidates_that_chance_cannot_tell_apart_are_warned_about(tiny_model, warnings):
    model = tiny_model()
    for fields in ({"remasking": "critic"}, {"remasking": "confidence"}, {"remasking": "multinomial"}):
        model.resolve_generation_config(num_candidates=3, temperature=0, **fields)
        assert "gives so many copies of one candidate" in warnings.pop() and not warnings
        model.resolve_generation_config(num_candidates=3, temperature=0.1, **fields)
        model.resolve_generation_config(temperature=0, **fields)
    by_chance = [
        *({"remasking": name} for name in ("prism", "random", "remdm_cap", "proseco")),
        {"remasking": "critic", "remask_selection": "gumbel"},
        {"remasking": "p2", "randomness_strength": 0.1},
    ]
    for fields in by_chance:
        model.resolve_generation_config(num_candidates=3, temperature=0, **fields)
    assert warnings == []


def test_an_end_that_could_cut_nothing_is_refused_where_the_call_names_it(tiny_model):
    model = tiny_model(pad_token_id=None, eos_token_id=2)
    with pytest.raises(ValueError, match=r"`eos_token_id` needs a `pad_token_id`, .*, got 5 without one"):
        model.generate(canvas, eos_token_id=5)
    resolved = model.resolve_generation_config()
    assert resolved.eos_token_id == 2 and model.generate(canvas, generation_config=resolved, seed=0) is not None
    assert model.resolve_generation_config(eos_token_id=5, pad_token_id=0).eos_token_id == 5
