# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the arguments of `generate`: where settings come from, and what is refused."""

import json

import pytest
import torch
from generation_cases import MASK, VOCAB, arguments, build, canvas, judge
from refusals import refused
from transformers import GenerationConfig

from critic_gpt import CriticGPTForMaskedLM, CriticGPTGenerationConfig
from critic_gpt.generation.strategies.registry import STRATEGIES


# ---- where settings come from ----


def test_the_generation_configuration_travels_with_the_model(tmp_path):
    model = build()
    fields = {"num_steps": 5, "remasking": "critic", "unmasking": "margin", "schedule": [0.9, 0.7, 0.4, 0.2, 0.1]}
    fields |= {"remask_per_step": 2, "temperature": 0.5, "top_k": 50, "top_p": 0.9, "max_new_tokens": 8}
    fields |= {"return_dict_in_generate": False, "return_error_probabilities": False}
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
    with pytest.raises(ValueError, match="`schedule` must be a name or a list to be saved, got <built-in func"):
        settings.save_pretrained(tmp_path)


def test_the_call_beats_the_passed_configuration_which_takes_the_place_of_the_models_own():
    model = build()
    model.generation_config = CriticGPTGenerationConfig(num_steps=7, temperature=0.0, error_threshold=0.5)
    passed = CriticGPTGenerationConfig(num_steps=3)
    # A number in the call takes the place of the threshold in the model's own configuration.
    for said, passes in (({}, 7), ({"num_steps": 2}, 2), ({"remask_per_step": 2}, 7)):
        assert model.generate(canvas, seed=0, **said).forward_passes == passes
    for said, passes in (({}, 3), ({"num_steps": 4}, 4)):
        assert model.generate(canvas, seed=0, generation_config=passed, **said).forward_passes == passes
    assert passed.num_steps == 3 and passed.mask_token_id is None, "left alone"
    assert model.generation_config.error_threshold == 0.5


def test_a_number_of_new_tokens_of_the_models_own_is_meant_for_prefixes():
    model = build()
    model.generation_config.max_new_tokens = 4
    draft = torch.tensor([[5, 6, 7]])
    protected = {"protected_mask": torch.zeros_like(draft)}
    for ids, more, shape in ((draft[:, :1], {}, (1, 5)), (None, {}, (1, 4)), (canvas, {}, canvas.shape)):
        assert model.generate(ids, num_steps=2, seed=0, **more).sequences.shape == shape
    assert model.generate(draft, num_steps=2, seed=0, **protected).sequences.shape == (1, 3)


def test_arguments_of_the_other_family_in_the_models_own_configuration_give_way():
    model = build()
    plain = model.generate(canvas, remasking="random", num_steps=4, seed=0).sequences
    model.generation_config = CriticGPTGenerationConfig(unmasking="margin", remask_per_step=2, start_ratio=0.8)
    for strategy in STRATEGIES:
        output = model.generate(canvas, num_steps=3, seed=0, **arguments(strategy))
        assert not (output.sequences == MASK).any()
    model.generation_config = CriticGPTGenerationConfig(error_threshold=0.5)  # means nothing to chance
    assert torch.equal(model.generate(canvas, remasking="random", num_steps=4, seed=0).sequences, plain)


# ---- what is refused ----

NOT_ONE = "is not an argument of generation, got"
NEITHER = "`input_ids` must hold [MASK] tokens, or `max_new_tokens` must be given, got neither: "
FIT = "`input_ids` and `max_new_tokens` must fit `max_position_embeddings` = 24, got 25 tokens: "
EXTERNAL = '`remasking="external"`'
WHOLE = "must be a whole number or a list of them, got"
FOREIGN = "`input_ids` must be whole numbers in [0, vocab_size = 12), got"
text, holes = torch.tensor([[5, 6]]), torch.tensor([[5, MASK]])
BAD = [
    ({"input_ids": torch.empty((0, 5), dtype=torch.long), "max_new_tokens": 4}, "`input_ids` must hold one sequence "),
    # Names.
    ({"num_step": 3}, f"`num_step` {NOT_ONE} 3: did you mean `num_steps`?"),
    ({"stop_criteria": 3}, f"`stop_criteria` {NOT_ONE} 3: did you mean `stopping_"),
    ({"inputs": canvas}, f"`inputs` {NOT_ONE} tensor([[5, 1, 1, 6, 1, 1, 1, 7"),
    ({"do_sample": True}, f"`do_sample` {NOT_ONE} True: `temperature=0` takes"),
    ({"max_time": 3}, f"`max_time` {NOT_ONE} 3: put a `MaxTimeCriteria` into"),
    ({"qqqq": 3}, f"`qqqq` {NOT_ONE} 3: known are max_new_tokens, "),
    # Tokens and canvases.
    ({"eos_token_id": "2"}, f"`eos_token_id` {WHOLE} '2': "),
    ({"eos_token_id": []}, f"`eos_token_id` {WHOLE} []: "),
    *(({"eos_token_id": eos}, "`eos_token_id` must be in [0, vocab_size = 12)") for eos in (VOCAB, -1, [2, VOCAB])),
    ({"mask_token_id": 1.0}, "`mask_token_id` must be a whole number, got 1.0: "),
    ({"mask_token_id": VOCAB}, "`mask_token_id` must be in [0, vocab_size = 12), got 12: "),
    ({"pad_token_id": -1}, "`pad_token_id` must be in [0, vocab_size = 12), got -1: "),
    ({"input_ids": torch.full((1, 4), 1000)}, f"{FOREIGN} torch.int64 from 1000 to 1000"),
    ({"input_ids": torch.tensor([[MASK, -1]])}, f"{FOREIGN} torch.int64 from -1 to "),
    ({"input_ids": torch.full((1, 4), float(MASK))}, f"{FOREIGN} torch.float32 from "),
    ({"input_ids": holes[0]}, "`input_ids` must have the shape (batch_size, sequence_length), got (2,): "),
    ({"max_new_tokens": 3}, "`max_new_tokens` is for inputs without [MASK], got 3 for an input that holds"),
    ({"seed_placement": "random"}, "`seed_placement` is for inputs without [MASK], got 'random' for an input that "),
    ({"input_ids": text}, NEITHER),
    ({"input_ids": None}, NEITHER),
    (
        {"input_ids": text, "protected_mask": torch.ones(1, 2), "max_new_tokens": 3},
        "`protected_mask` needs [MASK] tokens or a draft to revise, got it with `max_new_tokens`: ",
    ),
    *(
        (
            {"input_ids": holes, name: torch.ones(1, 3)},
            f"`{name}` must have the shape of `input_ids` (1, 2), got (1, 3)",
        )
        for name in ("protected_mask", "attention_mask")
    ),
    ({"input_ids": torch.full((1, 20), 5), "max_new_tokens": 5}, FIT),
    ({"input_ids": torch.full((1, 25), MASK)}, FIT),
    ({"seed": [1, 2, 3]}, "`seed` must be one number or one for each of 2 rows, got 3: "),
    # Values, as the configuration refuses them.
    ({"num_steps": 0}, "`num_steps` must be a whole number of at least 1, got 0: "),
    ({"remasking": "best"}, f"`remasking` must be one of auto, {', '.join(STRATEGIES)}, got 'best': "),
    ({"schedule": [0.5]}, "`schedule` must hold one ratio for each of the 64 steps, got 1: "),
    (
        {"generation_config": GenerationConfig(do_sample=True)},
        "`generation_config` must be a CriticGPTGenerationConfig, got a GenerationConfig: ",
    ),
    # Other models.
    ({"remasking": "external"}, '`remasking_model` must be given for `remasking="external"`, got None: '),
    *(
        (
            {"remasking": name, "remasking_model": judge},
            f"`remasking_model` is for `remasking=\"external\"`, got '{name}'",
        )
        for name in ("critic", "prism")
    ),
    (
        {"remasking_model": lambda input_ids, attention_mask: torch.zeros(2, 1)},
        "`external_scores` must have the shape of `input_ids` (2, 12), got (2, 1): ",
    ),
    (
        {"judge_model": judge, "return_dict_in_generate": False},
        "`judge_model` needs `return_dict_in_generate=True` for its verdict, got False: ",
    ),
]


@pytest.mark.parametrize(("fields", "message"), BAD)
def test_bad_input_is_refused_in_one_sentence(model, fields, message):
    with refused(start=message):
        model.generate(**{"input_ids": canvas, **fields})


@pytest.mark.parametrize(
    ("model_fields", "fields", "message"),
    [
        (
            {"critic": False},
            {"remasking": "critic"},
            "`remasking` must not be 'critic' for a model without a critic h",
        ),
        ({"critic": False}, {"remasking": "critic_full"}, "`remasking` must not be 'critic_full' for a model without"),
        ({"mask_token_id": None}, {}, "`mask_token_id` must be set to generate, got None: "),
    ],
)
def test_a_model_that_cannot_do_it_is_refused(model_fields, fields, message):
    with refused(start=message):
        build(**model_fields).generate(canvas, **fields)
