# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about tables of weights that are stored in or rounded to float16: theirs, and nobody else's."""

import pytest
import torch
from safetensors.torch import load_file, save_file

from critic_gpt import CriticCalibration, CriticGPTForMaskedLM


def calibrated(tiny_model, seed: int = 0):
    model = tiny_model(seed)
    more = {"fingerprint": model.fingerprint(), "fingerprints_float16": model.fingerprints()[1:]}
    return model, CriticCalibration([0.25] * 100, more)


def rate(model):
    return model.calibration and model.calibration.probabilities[0]


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_a_model_that_is_saved_in_half_precision_finds_its_table_again(tiny_model, tmp_path, dtype):
    for seed in range(4):
        model, table = calibrated(tiny_model, seed)
        model.calibration = table.with_metadata(fingerprints_float16=None)  # as old tables are
        model.to(dtype).save_pretrained(tmp_path / str(seed))
        for loaded_in in ("auto", torch.float32, torch.bfloat16, torch.float16):
            assert rate(CriticGPTForMaskedLM.from_pretrained(tmp_path / str(seed), dtype=loaded_in)) == 0.25


@pytest.mark.parametrize("loaded_in", ["auto", torch.float32, torch.bfloat16, torch.float16])
def test_a_file_that_somebody_converted_to_float16_keeps_its_table_and_others_do_not(tiny_model, tmp_path, loaded_in):
    model, table = calibrated(tiny_model)
    model.save_pretrained(tmp_path)
    table.save(tmp_path)
    halves = {name: weight.half() for name, weight in load_file(tmp_path / "model.safetensors").items()}
    save_file(halves, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert rate(CriticGPTForMaskedLM.from_pretrained(tmp_path, dtype=loaded_in)) == 0.25
    name = next(name for name in halves if "q_proj" in name)
    halves[name][0, 0] += 0.01
    save_file(halves, tmp_path / "model.safetensors", metadata={"format": "pt"})
    assert rate(CriticGPTForMaskedLM.from_pretrained(tmp_path, dtype=loaded_in)) is None


def test_float32_weights_loaded_in_float16_have_their_table_and_others_do_not(tiny_model, tmp_path):
    model, table = calibrated(tiny_model)
    model.save_pretrained(tmp_path)
    table.with_metadata(fingerprints_float16=None).save(tmp_path)
    assert rate(CriticGPTForMaskedLM.from_pretrained(tmp_path, dtype=torch.float16)) == 0.25
    tiny_model(1).save_pretrained(tmp_path)
    assert rate(CriticGPTForMaskedLM.from_pretrained(tmp_path, dtype=torch.float16)) is None


def test_float16_weights_that_change_lose_their_table(tiny_model):
    model, table = calibrated(tiny_model)
    model.calibration = table
    model.half()
    assert rate(model) == 0.25
    with torch.no_grad():
        model.critic_head.weight.add_(0.5)
    assert rate(model) is None
    with torch.no_grad():
        model.critic_head.weight.sub_(0.5)
    model.load_state_dict(tiny_model(1).half().state_dict())
    assert rate(model) is None


def test_saving_does_not_make_a_foreign_table_ones_own(tiny_model, tmp_path):
    model, table = calibrated(tiny_model)
    model.calibration = table.with_metadata(fingerprint="0" * 64, fingerprints_float16=None)
    model.half().save_pretrained(tmp_path)
    assert CriticCalibration.load(tmp_path).metadata["fingerprint"] == "0" * 64
    assert rate(CriticGPTForMaskedLM.from_pretrained(tmp_path)) is None
