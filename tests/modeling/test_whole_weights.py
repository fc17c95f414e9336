# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about weights that lack something: no script and no pipeline goes on with random numbers in their place."""

import json

import datasets
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoTokenizer, pipeline

from critic_gpt import CriticCalibration, CriticGPTForMaskedLM
from critic_gpt.scripts import calibrate, explore, generate, load_model, one_line, push_to_hub, train


FIRST_LAYER = "model.layers.0.mlp.up_proj.weight"


@pytest.fixture
def folder(tiny_model, tokenizer, tmp_path):
    model = tiny_model(add_joint_head=True)
    model.calibration = CriticCalibration([0.25] * 100, {"fingerprint": model.fingerprint()})
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def change(folder, drop=(), add=(), **fields):
    file = folder / "model.safetensors"
    weights = {name: value for name, value in load_file(file).items() if not name.startswith(tuple(drop) or "-")}
    save_file({**weights, **{name: torch.zeros(2) for name in add}}, file, metadata={"format": "pt"})
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, **fields}))


FAULTS = {
    "a tensor of a layer": ({"drop": [FIRST_LAYER]}, FIRST_LAYER),
    "a layer": ({"drop": ["model.layers.1."]}, r"model\.layers\.1\."),
    "the embedding": ({"drop": ["model.embed_tokens", "lm_head"]}, "embed"),
    "the last norm": ({"drop": ["model.norm"]}, "norm"),
    "more layers than weights": ({"num_hidden_layers": 3}, r"model\.layers\.2\."),
    "fewer layers than weights": ({"num_hidden_layers": 1}, "the 1 layers of its config.json, got more"),
    "a head that is not tied any more": ({"tie_word_embeddings": False}, "lm_head.weight"),
    "half a head": ({"drop": ["joint_head.output"]}, "joint_head"),
    "another width": ({"hidden_size": 32}, "shapes that its config.json describes"),
}


@pytest.mark.parametrize(("fields", "named"), FAULTS.values(), ids=FAULTS)
def test_weights_that_are_not_whole_are_refused_and_the_table_stays(folder, fields, named):
    change(folder, **fields)
    before = (folder / "calibration.json").read_bytes()
    acts = [
        lambda: load_model("model", str(folder)),
        lambda: pipeline("critic-diffusion", model=str(folder)),
        lambda: pipeline("critic-proofread", model=str(folder)),
        lambda: generate.main(["--model", str(folder), "--max_new_tokens", "4"]),
        lambda: explore.load_explorer(str(folder)),
        lambda: push_to_hub.load_whole(folder),
    ]
    for act in acts:
        with pytest.raises(ValueError, match=named) as error:
            act()
        assert "mend config.json" in str(error.value) or ("save" in str(error.value) and one_line(error.value))
    assert (folder / "calibration.json").read_bytes() == before


def test_a_model_to_begin_with_and_one_to_calibrate_are_refused_too(folder, tmp_path):
    change(folder, drop=[FIRST_LAYER])
    rows = datasets.Dataset.from_dict({"input_ids": [list(range(2, 26))] * 8})
    datasets.DatasetDict({"train": rows}).save_to_disk(str(tmp_path / "data"))
    AutoTokenizer.from_pretrained(folder).save_pretrained(tmp_path / "data")
    with pytest.raises(ValueError, match=FIRST_LAYER):
        calibrate.main([str(tmp_path / "data"), str(folder), "4"])
    flags = ["--data_dir", str(tmp_path / "data"), "--output_dir", str(tmp_path / "out"), "--max_steps", "1"]
    with pytest.raises(ValueError, match="`model_name_or_path` must hold all weights"):
        train.main([*flags, "--model_name_or_path", str(folder)])


def test_heads_that_are_new_as_a_whole_are_no_fault(folder):
    change(folder, drop=["critic_head", "joint_head"])
    model = load_model("model", str(folder))
    assert not model.has_trained_critic and model.weights_fault is None
    assert pipeline("critic-diffusion", model=str(folder))("abc", max_new_tokens=2, seed=0)["generated_text"]


def test_loading_info_is_given_where_it_is_asked_for(folder):
    model, info = CriticGPTForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not info["missing_keys"] and model.weights_fault is None
