# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the calibration tables of a model: kept with it, and chosen for each generation."""

import copy
import json
import logging

import pytest
import torch
from transformers.utils import logging as transformers_logging

from critic_gpt import CriticCalibration, CriticGPTForMaskedLM, CriticTrainer, CriticTrainingArguments
from critic_gpt.calibration.model import CALIBRATION_SOURCES, sampler_settings, shifted_settings, table_key


KEYS = {
    "calibration": "model.safetensors",
    "trajectory_calibration": "model.safetensors@trajectory",
    "planted_calibration": "model.safetensors@planted",
}
SAMPLER = {"remasking": "critic", "num_steps": 8, "unmasking": "confidence", "temperature": 1.0}


@pytest.fixture
def warnings():
    """Texts of what the module warns about in this test, each as often as it is logged."""
    transformers_logging.warning_once.cache_clear()
    logger, seen = logging.getLogger("critic_gpt.calibration.model"), []
    handler = logging.Handler(logging.WARNING)
    handler.emit = lambda record: seen.append(record.getMessage())
    logger.addHandler(handler)
    yield seen
    logger.removeHandler(handler)


@pytest.fixture
def calibrated(tiny_model):
    """Makes a model with all tables, which belong to its weights."""

    def make(seed=0, **settings):
        model = tiny_model(seed)
        own = {"fingerprint": model.fingerprint()}
        model.calibration = CriticCalibration([0.25] * 100, {**own, "source": "one_shot", "temperature": 1.0})
        model.trajectory_calibration = CriticCalibration([0.75] * 100, {**own, **SAMPLER, **settings})
        model.planted_calibration = CriticCalibration([0.125] * 100, {**own, "source": "planted"})
        return model

    return make


def tables(model):
    return {attribute: getattr(model, attribute) for attribute in CALIBRATION_SOURCES.values()}


# ---- of the present weights ----


@pytest.fixture
def model(calibrated):
    return calibrated()


def values(model):
    return [table and table.probabilities[0] for table in tables(model).values()]


def test_a_table_serves_the_weights_it_was_set_for_and_no_others(model):
    with torch.no_grad():
        model.critic_head.weight.add_(1.0)
        assert values(model) == [None, None, None]
        model.critic_head.weight.sub_(1.0)
    # Another precision keeps the values.
    for dtype in (torch.float32, torch.float64, torch.bfloat16, torch.float16):
        assert values(copy.deepcopy(model).to(dtype)) == [0.25, 0.75, 0.125]
    model.calibration = None
    assert values(model) == [None, 0.75, 0.125]


def test_without_its_tables_a_model_has_none_and_then_the_same_again(model):
    with model.without_calibration():
        assert values(model) == [None, None, None]
    copied = copy.deepcopy(model)
    copied.drop_calibration()
    assert values(model) == [0.25, 0.75, 0.125] and values(copied) == [None, None, None], "a copy has its own fate"


def test_a_model_without_tables_takes_no_fingerprint(tiny_model, monkeypatch):
    model = tiny_model()
    monkeypatch.setattr(type(model), "fingerprint", lambda self: pytest.fail("a look at every weight for nothing"))
    model.calibration = None
    assert values(model) == [None, None, None]


# ---- kept with the model ----


def test_the_keys_of_all_tables():
    found = {attribute: table_key(None, source) for source, attribute in CALIBRATION_SOURCES.items()}
    assert found == KEYS
    assert table_key("ema", "trajectory") == "model.ema.safetensors@trajectory"


@pytest.mark.parametrize("variant", [None, "ema"])
def test_all_tables_lie_in_one_file_and_come_back_with_the_weights(tmp_path, calibrated, warnings, variant):
    model = calibrated()
    model.save_pretrained(tmp_path, variant=variant)
    document = json.loads((tmp_path / "calibration.json").read_text())
    assert set(document) - {"__metadata__"} == {table_key(variant, source) for source in CALIBRATION_SOURCES}
    assert tables(CriticGPTForMaskedLM.from_pretrained(tmp_path, variant=variant)) == tables(model)
    without = CriticGPTForMaskedLM.from_pretrained(tmp_path, variant=variant, add_critic_head=False)
    assert set(tables(without).values()) == {None} and not warnings


def test_a_table_is_keyed_by_the_name_of_the_weights_and_found_wherever_the_folder_goes(tiny_model, tmp_path):
    model = tiny_model()
    table = CriticCalibration([0.25] * 100, {"fingerprint": model.fingerprint()})
    here, there = tmp_path / "here", tmp_path / "there" / "renamed"
    model.save_pretrained(here)
    table.save(here, key=str(here / "model.safetensors"))
    text = (here / "calibration.json").read_text()
    assert set(json.loads(text)) == {"model.safetensors", "__metadata__"}
    assert str(tmp_path) not in text and "/" not in text and "\\\\" not in text
    there.parent.mkdir()
    here.rename(there)
    assert CriticGPTForMaskedLM.from_pretrained(there).calibration == table


@pytest.mark.parametrize("missing", KEYS)
def test_a_model_may_have_either_table_alone(tmp_path, calibrated, missing):
    model = calibrated()
    setattr(model, missing, None)
    model.save_pretrained(tmp_path)
    assert KEYS[missing] not in json.loads((tmp_path / "calibration.json").read_text())
    assert tables(CriticGPTForMaskedLM.from_pretrained(tmp_path)) == tables(model)


def test_a_table_of_other_weights_is_refused_by_name_and_the_other_one_kept(tmp_path, calibrated, warnings):
    model = calibrated()
    model.trajectory_calibration = model.trajectory_calibration.with_metadata(fingerprint="0" * 64)
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert loaded.calibration == model.calibration and loaded.trajectory_calibration is None
    (text,) = warnings
    assert "under model.safetensors@trajectory was" in text and "calibrate again" in text


def test_two_tables_of_other_weights_are_one_warning(tmp_path, calibrated, warnings):
    model = calibrated()
    with torch.no_grad():
        model.critic_head.weight.add_(1.0)
    model.save_pretrained(tmp_path)
    assert set(tables(CriticGPTForMaskedLM.from_pretrained(tmp_path)).values()) == {None}
    (text,) = warnings
    assert all(key in text for key in KEYS.values()) and "other weights" in text


def train(folder, model, tokenizer, **arguments):
    quiet = {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "per_device_train_batch_size": 2}
    args = CriticTrainingArguments(output_dir=str(folder), **quiet, **arguments)
    rows = [{"input_ids": [2, 3, 4, 5, 6, 7]}] * 4
    return CriticTrainer(model, args, processing_class=tokenizer, train_dataset=rows)


def test_a_trainer_saves_both_tables_beside_others(tmp_path, calibrated, tokenizer):
    model, other = calibrated(), CriticCalibration([0.5] * 100)
    other.save(tmp_path, key="model.ema.safetensors")
    train(tmp_path, model, tokenizer).save_model()
    assert tables(CriticGPTForMaskedLM.from_pretrained(tmp_path)) == tables(model)
    assert None not in tables(model).values()
    assert CriticCalibration.load(tmp_path, key="model.ema.safetensors") == other


def test_training_drops_both_tables_at_its_first_step_and_checkpoints_have_none(tmp_path, calibrated, tokenizer):
    model = calibrated()
    trainer = train(tmp_path, model, tokenizer, max_steps=2, save_strategy="steps", save_steps=1)
    assert None not in tables(model).values()
    trainer.train()
    assert set(tables(model).values()) == {None}
    assert (tmp_path / "checkpoint-1").is_dir() and not list(tmp_path.rglob("calibration.json"))


def test_a_resumed_training_drops_the_tables_that_were_measured_in_between(tmp_path, calibrated, tokenizer):
    steps = {"max_steps": 2, "save_strategy": "steps", "save_steps": 1}
    trainer = train(tmp_path, calibrated(), tokenizer, **steps)
    trainer.train()
    checkpoint = tmp_path / "checkpoint-1"
    measured = CriticGPTForMaskedLM.from_pretrained(checkpoint)
    for source, attribute in CALIBRATION_SOURCES.items():
        table = CriticCalibration([0.5] * 100, {"fingerprint": measured.fingerprint()})
        table.save(checkpoint, key=table_key(None, source))
        setattr(measured, attribute, table)
    again = train(tmp_path, CriticGPTForMaskedLM.from_pretrained(checkpoint), tokenizer, **steps)
    assert tables(again.model) == tables(measured)
    again.train(resume_from_checkpoint=str(checkpoint))
    assert set(tables(again.model).values()) == {None}
    assert not (tmp_path / "checkpoint-2" / "calibration.json").exists()


# ---- chosen for a generation ----


def chosen(model, **settings):
    return model.calibration_for(model.resolve_generation_config(**{**SAMPLER, **settings}))


def test_the_table_of_trajectories_serves_its_own_strategy_and_the_other_one_all_others(calibrated, warnings):
    model = calibrated()
    assert chosen(model) is model.trajectory_calibration
    assert chosen(model, remasking="auto") is model.trajectory_calibration  # which comes down to "critic"
    assert chosen(model, remasking="none") is model.calibration
    model.trajectory_calibration, mine = CriticCalibration([0.75] * 100), model.trajectory_calibration
    assert chosen(model) is model.calibration, "a table that names no strategy serves none"
    model.trajectory_calibration, model.calibration = mine, None
    assert chosen(model) is model.trajectory_calibration and chosen(model, remasking="none") is None
    model.drop_calibration()
    assert chosen(model) is None and not warnings


@pytest.mark.parametrize(
    ("settings", "parts"),
    [
        ({"temperature": 0.7}, ("`temperature` should be 1.0", "got 0.7", "`temperature=1.0`")),
        ({"unmasking": "random"}, ("`unmasking` should be 'confidence'", "got 'random'")),
        ({"num_steps": 17}, ("`num_steps` should be 8", "got 17")),
        ({"num_steps": 3}, ("`num_steps` should be 8", "got 3")),
    ],
)
def test_a_call_unlike_the_table_is_warned_of_once(calibrated, warnings, settings, parts):
    model = calibrated()
    for _ in range(3):
        assert chosen(model, **settings) is model.trajectory_calibration
    (text,) = warnings
    assert all(part in text for part in (*parts, "--source trajectory")), text
    assert text.endswith(".") and "\n" not in text


def test_each_difference_is_a_warning_of_its_own(calibrated, warnings):
    model = calibrated()
    chosen(model, temperature=0.7, unmasking="random", num_steps=64)
    chosen(model, temperature=0.8)
    assert [text.split("`")[1] for text in warnings] == ["temperature", "unmasking", "num_steps", "temperature"]
    chosen(calibrated(top_k=None), top_k=5)
    assert warnings[-1].endswith("or leave `top_k` out."), "where nothing was cut"


def test_the_table_of_one_shot_says_at_which_temperature_it_was_measured_and_nothing_of_steps(calibrated, warnings):
    model = calibrated()
    chosen(model, remasking="none", num_steps=64, unmasking="random")
    assert not warnings
    assert chosen(model, remasking="none", temperature=0.5) is model.calibration
    (text,) = warnings
    assert text.startswith("`temperature` should be 1.0") and "got 0.5" in text


@pytest.mark.parametrize(
    ("measured", "present", "found"),
    [
        ({"top_k": None}, {"top_k": 5}, [("top_k", None, 5)]),
        ({"top_k": 5}, {"top_k": 5}, []),
        ({"top_p": None}, {"top_p": 0.9}, [("top_p", None, 0.9)]),
        ({"top_p": None}, {"top_p": 1.0}, []),
        ({"top_p": 1.0}, {}, []),
        ({"temperature": 1.0}, {"temperature": 1}, []),
        ({}, {"temperature": 0.1, "top_k": 5, "num_steps": 900}, []),
        ({"num_steps": 10}, {"num_steps": 21}, [("num_steps", 10, 21)]),
        *(({"num_steps": 8}, {"num_steps": steps}, []) for steps in (4, 7, 16)),
    ],
)
def test_what_counts_as_another_setting(tiny_model, measured, present, found):
    config = tiny_model().resolve_generation_config(**present)
    assert list(shifted_settings(measured, config)) == found


def test_the_settings_of_a_sampler_are_complete_and_hold_nothing_else(tiny_model):
    config = tiny_model().resolve_generation_config(**SAMPLER, max_new_tokens=5, top_k=3)
    settings = sampler_settings(config)
    assert {**SAMPLER, "top_k": 3, "schedule": "root", "remask_per_step": 0.2}.items() <= settings.items()
    assert settings["error_threshold"] is None
    left_out = {name for name in config._FIELDS if name.startswith("return_") or name.endswith("_token_id")}
    assert set(settings) == set(config._FIELDS) - left_out - {"max_new_tokens", "seed_placement"}
    CriticCalibration([0.5] * 100, settings)  # JSON can hold them
