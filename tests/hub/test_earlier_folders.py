# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about folders of an earlier version: they load, do the same, and become folders of this one when saved."""

import json
import shutil
from pathlib import Path

import clean_process
import old_folder
import pytest
import torch
from complete_folder import assert_complete
from model_look import exactly, look
from payload import Payload
from transformers import AutoModelForMaskedLM, pipeline

from critic_gpt import CriticCalibration, CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.hub.folder import PIPELINES, source_files, write_source_files


TASKS = sorted(PIPELINES)
HELPERS = str(Path(__file__).parents[1] / "helpers")


@pytest.fixture
def old(tmp_path, tokenizer):
    """A folder as the flat package wrote it, with weights that have opinions everywhere."""
    folder = tmp_path / "model"
    old_folder.write(folder)
    torch.manual_seed(0)
    model = CriticGPTForMaskedLM(CriticGPTConfig.from_pretrained(folder)).eval()
    for weight in model.parameters():
        torch.nn.init.normal_(weight, std=0.3)
    own = {"fingerprint": model.fingerprint()}
    model.calibration = CriticCalibration([(i / 99) ** 2 for i in range(100)], own)
    model.trajectory_calibration = CriticCalibration([1 - i / 99 for i in range(100)], {**own, "remasking": "critic"})
    model.save_pretrained(tmp_path / "weights")
    for name in ("model.safetensors", "calibration.json"):
        shutil.copy(tmp_path / "weights" / name, folder)
    tokenizer.save_pretrained(folder)
    return folder


def modules(folder):
    return {path.name for path in folder.glob("*.py")}


WITHOUT_THE_PACKAGE = """
import sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from transformers import AutoModelForMaskedLM, pipeline
from model_look import exactly, look

tasks, into, folders = sys.argv[2].split(), sys.argv[3], sys.argv[4:]
trust = {"trust_remote_code": True}
models = [AutoModelForMaskedLM.from_pretrained(folder, **trust) for folder in folders]
result = {
    "exactly": [exactly(model) for model in models],
    "look": [look(folder, tasks, **trust) for folder in folders],
    "rooms": [Path(sys.modules[type(m).__module__].__file__).with_name("hub_folder.py").exists() for m in models],
}
pipeline(tasks[0], folders[1], **trust).save_pretrained(into)
"""


@pytest.mark.slow
def test_folders_from_before_and_after_do_the_same_in_one_process_with_and_without_the_package(old, tmp_path):
    # The first runs the code of its time where the package is not installed, and that of the package where it is.
    after, inside, from_there = tmp_path / "after", tmp_path / "inside", tmp_path / "from-there"
    model = AutoModelForMaskedLM.from_pretrained(old)
    assert type(model) is CriticGPTForMaskedLM
    shutil.copytree(old, inside)
    shutil.copytree(old, from_there)
    for folder in (after, inside):
        pipeline(TASKS[0], str(old)).save_pretrained(folder)
        assert_complete(folder, tokenizer=True, calibration=True)
    folders = [old, after, inside]
    here, exact = look(old, TASKS), exactly(model)
    assert here["tables"] == [[0.0, 0.0, 0.0], [1.0, 0.99, 0.98]]
    assert look(after, TASKS) == look(inside, TASKS, trust_remote_code=True) == here
    for folder in folders:
        assert exactly(AutoModelForMaskedLM.from_pretrained(folder, trust_remote_code=True)) == exact

    modules = {"HF_MODULES_CACHE": str(tmp_path / "modules")}
    there = clean_process.run(
        WITHOUT_THE_PACKAGE, HELPERS, " ".join(TASKS), from_there, *folders, package=False, environment=modules
    )
    assert there["rooms"] == [False, True, True]
    assert there["look"] == [here] * 3 and there["exactly"] == [exact] * 3
    assert_complete(from_there, tokenizer=True, calibration=True)


@pytest.mark.parametrize("save", ["model", "configuration", "pipeline"])
def test_saving_into_an_earlier_folder_leaves_nothing_of_it_that_is_not_imported_any_more(old, save):
    model = CriticGPTForMaskedLM.from_pretrained(old)
    before = modules(old)
    assert before - source_files().keys() > {"denoising_critic_gpt.py", "model_folder_critic_gpt.py"}
    if save == "pipeline":
        pipeline(TASKS[0], str(old)).save_pretrained(old)
    else:
        (model if save == "model" else model.config).save_pretrained(old)
    assert modules(old) == set(source_files())


def test_files_of_somebody_else_stay_and_with_them_what_they_import(old):
    mine = {
        "mine.py": "from .rotary_critic_gpt import rotate_half\n",
        "notes.py": (old / "rotary_critic_gpt.py").read_text(),  # begins as ours do, and nothing of ours brought it
    }
    mine["streamers_critic_gpt.py"] = "# Ours once, and rewritten since.\n"
    for name, text in mine.items():
        (old / name).write_text(text)
    write_source_files(old)
    assert modules(old) == set(source_files()) | set(mine) | {"rotary_critic_gpt.py"}
    assert all((old / name).read_text() == text for name, text in mine.items())


# ---- older still ----


@pytest.mark.parametrize("critic", [False, True])
def test_a_checkpoint_from_before_the_critic_loads_and_gives_the_same_logits(tiny_model, tmp_path, critic):
    model = tiny_model(add_critic_head=False)
    model.save_pretrained(tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    known_then = ("model_type", "vocab_size", "hidden_size", "num_hidden_layers", "num_attention_heads")
    old = {name: config[name] for name in (*known_then, "max_position_embeddings", "architectures", "dtype")}
    (tmp_path / "config.json").write_text(json.dumps(old))
    (tmp_path / "generation_config.json").unlink()
    more = {"add_critic_head": True} if critic else {}
    loaded, info = CriticGPTForMaskedLM.from_pretrained(tmp_path, output_loading_info=True, **more)
    assert set(info["missing_keys"]) == ({"critic_head.weight"} if critic else set())
    assert not info["unexpected_keys"] and not info["mismatched_keys"]
    ids = torch.arange(2, 20)[None]
    assert torch.equal(loaded.eval()(ids).logits, model(ids).logits)
    assert not loaded.has_trained_critic
    assert (loaded.config.critic_alpha, loaded.config.critic_target_scope) == (0.5, "masked_only")


def test_weights_that_carry_code_are_not_loaded_with_a_model(tiny_model, tmp_path):
    target = tmp_path / "was-run"
    model = tiny_model()
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({**model.state_dict(), "payload": Payload(target)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(Exception) as error:
        CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert not isinstance(error.value, (KeyError, AttributeError)) and not target.exists()
