# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Mistakes about files, each made once somewhere: old checkpoints, tables and their keys, pickles that run code."""

import ast
import json
import re
from pathlib import Path

import pytest
import test_calibrate
import torch
from test_convert_nanogpt_checkpoint import Payload

import critic_gpt
from critic_gpt import CriticCalibration, CriticGPTForMaskedLM
from critic_gpt.scripts import calibrate


ROOT = Path(critic_gpt.__file__).parent
SOURCES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if not {"tests", "build", "runs"} & set(path.relative_to(ROOT).parts)
    and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)


# ---- old checkpoints that did not load, for want of what was added later ----


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


# ---- a table keyed by the path of one machine, and found on no other ----


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


# ---- a printed table that was not the saved one ----


def test_the_printed_table_and_the_saved_one_agree_at_every_bucket(tmp_path, capsys):
    folder = test_calibrate.save_model(tmp_path / "model")
    tokens, truth = test_calibrate.corrupted_rows()
    test_calibrate.datasets.Dataset.from_dict({"x": tokens, "y": truth}).save_to_disk(str(tmp_path / "rows"))
    calibrate.main([str(tmp_path / "rows"), str(folder), "40", "--verbose", "--method", "nearest"])
    saved, metadata = test_calibrate.entry(folder)
    pattern = r"bucket +(\d+) +count +(\d+) +target1 +(\d+) +probability (\S+) +saved (\S+)"
    rows = re.findall(pattern, capsys.readouterr().out)[-100:]
    assert [int(row[0]) for row in rows] == list(range(100)) and sum(int(row[1]) for row in rows) > 100
    for (_, count, wrong, rate, beside), value in zip(rows, saved, strict=True):
        assert beside == f"{value:.6f}"
        if count != "0":
            assert rate == beside == f"{int(wrong) / int(count):.6f}"
    assert [int(row[1]) for row in rows] == metadata["counts"]


# ---- files that ran code where they were loaded ----


def test_weights_that_carry_code_are_not_loaded_with_a_model(tiny_model, tmp_path):
    target = tmp_path / "was-run"
    model = tiny_model()
    model.save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    torch.save({**model.state_dict(), "payload": Payload(target)}, tmp_path / "pytorch_model.bin")
    with pytest.raises(Exception) as error:
        CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert not isinstance(error.value, (KeyError, AttributeError)) and not target.exists()


@pytest.mark.parametrize("name", ["ckpt.pt", "pytorch_model.bin"])
def test_weights_that_carry_code_are_not_calibrated(tmp_path, name):
    target = tmp_path / "was-run"
    torch.save(Payload(target), tmp_path / name)
    with pytest.raises(ValueError, match="convert it with scripts"):
        calibrate.main([str(tmp_path), str(tmp_path / name), "4"])
    assert not target.exists()


DANGEROUS_MODULES = {"cloudpickle", "dill", "joblib", "jsonpickle", "marshal", "shelve"}


def fault_of(node: ast.AST) -> str | None:
    """Why a place in a program could run what a file says; `None` where it could not."""
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else [node.module or ""]
        found = DANGEROUS_MODULES & {name.split(".")[0] for name in names}
        unpickles = isinstance(node, ast.ImportFrom) and node.module == "pickle"
        return f"imports {sorted(found)}" if found else ("takes pickle apart" if unpickles else None)
    if not isinstance(node, ast.Call):
        return None
    called = ast.unparse(node.func)
    given = {keyword.arg: ast.unparse(keyword.value) for keyword in node.keywords}
    if called in ("eval", "exec", "__import__", "builtins.eval", "builtins.exec") or called.startswith("pickle."):
        return f"calls {called}"
    if called == "torch.load" and given.get("weights_only") != "True":
        return "calls torch.load without weights_only=True"
    if called.startswith("yaml.") and "load" in called and called not in ("yaml.safe_load", "yaml.safe_load_all"):
        return f"calls {called}"
    if given.get("allow_pickle", "False") != "False" or given.get("trust_remote_code", "False") != "False":
        return f"calls {called} and trusts what it reads"
    return None


@pytest.mark.parametrize(
    "line",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=flag)",
        "pickle.load(file)",
        "pickle.Unpickler(file)",
        "from pickle import loads",
        "import joblib",
        "exec(open(path).read())",
        "eval(text)",
        "numpy.load(path, allow_pickle=True)",
        "yaml.load(text)",
        "AutoModel.from_pretrained(path, trust_remote_code=True)",
    ],
)
def test_the_search_for_dangerous_calls_finds_them(line):
    assert any(fault_of(node) for node in ast.walk(ast.parse(line)))


def test_nothing_in_the_package_runs_what_a_file_says():
    assert len(SOURCES) > 40
    faults = [
        f"{path.relative_to(ROOT)}:{node.lineno} {fault_of(node)}"
        for path in SOURCES
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if fault_of(node)
    ]
    assert faults == []
