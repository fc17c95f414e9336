# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the arguments of `generate`: where settings come from, and what is refused."""

import json

import pytest
import torch
from generation_cases import MASK, VOCAB, arguments, build, canvas, judge
from transformers import GenerationConfig

from critic_gpt import CriticGPTForMaskedLM, CriticGPTGenerationConfig
from critic_gpt.generation.strategies.registry import STRATEGIES


# ---- where settings come from ----


def test_the_generation_configuration_travels_with_the_model(tmp_path, model):
    model = build()
    fields = {
        "num_steps": 5,
        "remasking": "critic",
        "unmasking": "margin",
        "schedule": [0.9, 0.7, 0.4, 0.2, 0.1],
        "remask_per_step": 2,
        "temperature": 0.5,
        "top_k": 50,
        "top_p": 0.9,
        "return_dict_in_generate": False,
        "return_error_probabilities": False,
        "max_new_tokens": 8,
    }
    model.generation_config = CriticGPTGenerationConfig(**fields)
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path, dtype=torch.float64)
    assert type(loaded.generation_config) is CriticGPTGenerationConfig
    assert {name: getattr(loaded.generation_config, name) for name in fields} == fields
    assert torch.equal(loaded.generate(canvas, seed=0), model.generate(canvas, seed=0))
    passed = CriticGPTForMaskedLM.from_pretrained(tmp_path, generation_config=CriticGPTGenerationConfig(num_steps=3))
    assert passed.generation_config.num_steps == 3 and passed.generation_config.remasking is None


def test_a_stored_configuration_of_another_kind_is_read_with_a_warning(tmp_path, warnings):
    build().save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"num_steps": 3, "num_beam": 4, "max_length": None}))
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert loaded.generation_config.num_steps == 3
    assert len(warnings) == 1 and warnings[0].startswith("`num_beam` is not an argument of generation, got 4: ")
    (tmp_path / "generation_config.json").unlink()
    assert CriticGPTForMaskedLM.from_pretrained(tmp_path).generation_config.num_steps is None


def test_a_function_is_a_schedule_for_a_call_and_cannot_be_saved(tmp_path, model):
    for strategy in ("critic", "critic_full"):
        by_function = model.generate(canvas, num_steps=4, seed=0, remasking=strategy, schedule=lambda p: 1 - p**2)
        masked = [1 - p**2 for p in ([0.25, 0.5, 0.75, 1] if strategy == "critic" else [0, 1 / 3, 2 / 3, 1])]
        by_list = model.generate(canvas, num_steps=4, seed=0, remasking=strategy, schedule=masked)
        assert torch.equal(by_function.sequences, by_list.sequences)
    settings = CriticGPTGenerationConfig(schedule=abs)
    assert "built-in function abs" in repr(settings)
    with pytest.raises(
        ValueError, match="`schedule` must be a name or a list to be saved, got <built-in function abs>"
    ):
        settings.save_pretrained(tmp_path)


def test_the_call_beats_the_passed_configuration_which_takes_the_place_of_the_models_own():
    model = build()
    model.generation_config = CriticGPTGenerationConfig(num_steps=7, temperature=0.0, error_threshold=0.5)
    assert model.generate(canvas, seed=0).forward_passes == 7
    assert model.generate(canvas, seed=0, num_steps=2).forward_passes == 2
    passed = CriticGPTGenerationConfig(num_steps=3)
    assert model.generate(canvas, seed=0, generation_config=passed).forward_passes == 3
    assert model.generate(canvas, seed=0, generation_config=passed, num_steps=4).forward_passes == 4
    assert passed.num_steps == 3 and passed.mask_token_id is None, "left alone"
    # A number in the call takes the place of the threshold in the model's own configuration.
    assert model.generate(canvas, seed=0, remask_per_step=2).forward_passes == 7
    assert model.generation_config.error_threshold == 0.5


def test_a_number_of_new_tokens_of_the_models_own_is_meant_for_prefixes(model):
    model = build()
    model.generation_config.max_new_tokens = 4
    assert model.generate(torch.tensor([[5]]), num_steps=2, seed=0).sequences.shape == (1, 5)
    assert model.generate(num_steps=2, seed=0).sequences.shape == (1, 4)
    assert model.generate(canvas, num_steps=2, seed=0).sequences.shape == canvas.shape
    draft = torch.tensor([[5, 6, 7]])
    output = model.generate(draft, protected_mask=torch.zeros_like(draft), num_steps=2, seed=0)
    assert output.sequences.shape == (1, 3)


@pytest.mark.parametrize(
    ("ids", "given_arguments", "message"),
    [
        (canvas, {"num_step": 3}, "`num_step` is not an argument of generation, got 3: did you mean `num_steps`?"),
        (
            canvas,
            {"stop_criteria": 3},
            "`stop_criteria` is not an argument of generation, got 3: did you mean `stopping_",
        ),
        (canvas, {"inputs": canvas}, "`inputs` is not an argument of generation, got tensor([[5, 1, 1, 6, 1, 1, 1, 7"),
        (canvas, {"do_sample": True}, "`do_sample` is not an argument of generation, got True: `temperature=0` takes"),
        (canvas, {"max_time": 3}, "`max_time` is not an argument of generation, got 3: put a `MaxTimeCriteria` into"),
        (canvas, {"eos_token_id": "2"}, "`eos_token_id` must be a whole number or a list of them, got '2': "),
        (canvas, {"eos_token_id": []}, "`eos_token_id` must be a whole number or a list of them, got []: "),
        (canvas, {"mask_token_id": 1.0}, "`mask_token_id` must be a whole number, got 1.0: "),
        (canvas, {"qqqq": 3}, "`qqqq` is not an argument of generation, got 3: known are max_new_tokens, "),
        (
            canvas,
            {"max_new_tokens": 3},
            "`max_new_tokens` is for inputs without [MASK], got 3 for an input that holds",
        ),
        (
            torch.tensor([[5]]),
            {},
            "`input_ids` must hold [MASK] tokens, or `max_new_tokens` must be given, got neither: ",
        ),
        (None, {}, "`input_ids` must hold [MASK] tokens, or `max_new_tokens` must be given, got neither: "),
        (
            canvas,
            {"unmasking": "margin", "remasking": "critic_full"},
            "`unmasking` has no meaning for `remasking='critic_full'`, a fill-all strategy, got 'margin': ",
        ),
        (
            canvas,
            {"remask_per_step": 2, "remasking": "confidence"},
            "`remask_per_step` has no meaning for `remasking='confidence'`, a fill-all strategy, got 2: ",
        ),
        (
            canvas,
            {"start_ratio": 0.9, "remasking": "critic"},
            "`start_ratio` has no meaning for `remasking='critic'`, a one-pass strategy, got 0.9: ",
        ),
        (
            canvas,
            {"end_ratio": 0.1, "remasking": "none"},
            "`end_ratio` has no meaning for `remasking='none'`, a one-pass strategy, got 0.1: ",
        ),
        (
            canvas,
            {"error_threshold": 0.5, "remask_per_step": 1},
            "`error_threshold` and `remask_per_step` exclude each other, got 0.5 and 1: ",
        ),
        (
            canvas,
            {"error_threshold": 0.5, "remasking": "none"},
            "`error_threshold` has no meaning for `remasking='none'`",
        ),
        (
            canvas,
            {"error_threshold": 0.5, "remasking": "random"},
            "`error_threshold` has no meaning for `remasking='random'`, a fill-all strategy, got 0.5: ",
        ),
        (canvas, {"remasking": "external"}, '`remasking_model` must be given for `remasking="external"`, got None: '),
        (
            canvas,
            {"remasking": "critic", "remasking_model": judge},
            "`remasking_model` is for `remasking=\"external\"`, got 'critic': ",
        ),
        (
            canvas,
            {"remasking_model": lambda input_ids, attention_mask: torch.zeros(2, 1)},
            "`external_scores` must have the shape of `input_ids` (2, 12), got (2, 1): ",
        ),
        (canvas, {"mask_token_id": VOCAB}, "`mask_token_id` must be in [0, vocab_size = 12), got 12: "),
        (canvas, {"pad_token_id": -1}, "`pad_token_id` must be in [0, vocab_size = 12), got -1: "),
        (
            torch.full((1, 20), 5),
            {"max_new_tokens": 5},
            "`input_ids` and `max_new_tokens` must fit `max_position_embeddings` = 24, got 25 tokens: ",
        ),
        (
            torch.full((1, 25), MASK),
            {},
            "`input_ids` and `max_new_tokens` must fit `max_position_embeddings` = 24, got 25",
        ),
        (canvas, {"num_steps": 0}, "`num_steps` must be a whole number of at least 1, got 0: "),
        (canvas, {"num_steps": True}, "`num_steps` must be a whole number of at least 1, got True: "),
        (canvas, {"temperature": -1.0}, "`temperature` must be at least 0 and finite, got -1.0: "),
        (canvas, {"temperature": float("inf")}, "`temperature` must be at least 0 and finite, got inf: "),
        (canvas, {"top_p": 0.0}, "`top_p` must be in (0, 1], got 0.0: "),
        (canvas, {"unmasking": "best"}, "`unmasking` must be one of confidence, margin, "),
        (canvas, {"remasking": "best"}, f"`remasking` must be one of auto, {', '.join(STRATEGIES)}, got 'best': "),
        (
            canvas,
            {"schedule": "steep"},
            "`schedule` must be linear, quadratic, root, cosine, a number above 0, a list of ratios or a function, "
            "got 'steep': ",
        ),
        (canvas, {"schedule": [0.5]}, "`schedule` must hold one ratio for each of the 64 steps, got 1: "),
        (canvas, {"randomness_strength": 2}, "`randomness_strength` must be in [0, 1], got 2: "),
        (
            canvas,
            {"generation_config": GenerationConfig(do_sample=True)},
            "`generation_config` must be a CriticGPTGenerationConfig, got a GenerationConfig: ",
        ),
        (
            canvas,
            {"seed_placement": "random"},
            "`seed_placement` is for inputs without [MASK], got 'random' for an input that says itself ",
        ),
        (canvas, {"seed_placement": "suffix"}, "`seed_placement` must be one of prefix, random, got 'suffix': "),
        (
            canvas,
            {"remask_selection": "gumbel", "randomness_strength": 0.5},
            '`randomness_strength` must be 0 beside `remask_selection="gumbel"`, which draws by chance',
        ),
        (
            canvas,
            {"judge_model": judge, "return_dict_in_generate": False},
            "`judge_model` needs `return_dict_in_generate=True` for its verdict, got False: ",
        ),
        (canvas, {"seed": [1, 2, 3]}, "`seed` must be one number or one for each of 2 rows, got 3: "),
    ],
    ids=lambda value: next(iter(value), "nothing") if isinstance(value, dict) else "",
)
def test_bad_input_is_refused_in_one_sentence(model, ids, given_arguments, message):
    with pytest.raises(ValueError) as error:
        model.generate(ids, **given_arguments)
    text = str(error.value)
    assert text.startswith(message)
    assert "\n" not in text and text.endswith((".", "?"))


@pytest.mark.parametrize("strategy", ["critic", "critic_full"])
def test_a_critic_strategy_without_a_critic_is_refused(strategy):
    with pytest.raises(ValueError, match=f"`remasking` must not be '{strategy}' for a model without a critic head"):
        build(critic=False).generate(canvas, remasking=strategy)


def test_a_model_without_a_mask_token_is_refused():
    with pytest.raises(ValueError, match="`mask_token_id` must be set to generate, got None: "):
        build(mask_token_id=None).generate(canvas)


def test_arguments_of_the_other_family_in_the_models_own_configuration_give_way(model):
    model = build()
    model.generation_config = CriticGPTGenerationConfig(unmasking="margin", remask_per_step=2, start_ratio=0.8)
    for strategy in STRATEGIES:
        output = model.generate(canvas, num_steps=3, seed=0, **arguments(strategy))
        assert not (output.sequences == MASK).any()


# ---- what is refused beside it ----


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (torch.full((1, 4), 1000), "torch.int64 from 1000 to 1000"),
        (torch.tensor([[MASK, -1]]), "torch.int64 from -1 to "),
        (torch.full((1, 4), float(MASK)), "torch.float32 from "),
    ],
)
def test_ids_that_are_none_of_the_models_are_refused(model, ids, found):
    with pytest.raises(ValueError, match=rf"`input_ids` must be whole numbers in \[0, vocab_size .*, got {found}"):
        model.generate(ids, max_new_tokens=2)


@pytest.mark.parametrize("field", [{"schedule": "cosine"}, {"start_ratio": 0.5}, {"end_ratio": 0.1}])
def test_a_schedule_beside_a_threshold_is_refused_where_all_masks_are_filled(model, field):
    name = next(iter(field))
    with pytest.raises(ValueError, match=f"`{name}` has no meaning beside `error_threshold=0.5`"):
        model.generate(canvas, remasking="critic_full", error_threshold=0.5, **field)
