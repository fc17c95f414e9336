# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/push_to_hub.py`: what it completes, what it refuses, and what then lies on the hub."""

import json
import os
import subprocess
import sys
import urllib.request

import clean_process
import pytest
import torch
from huggingface_hub import ModelCard
from loopback_hub import LoopbackHub
from prepared_folders import prepare_sudoku

from critic_gpt import CriticCalibration, CriticGPTForSequenceClassification
from critic_gpt.hub.folder import AUTO_MAP, PIPELINES, source_files
from critic_gpt.scripts import push_to_hub
from critic_gpt.tasks import SudokuTask


CODE = set(source_files())
MODEL = CODE | {"config.json", "generation_config.json", "model.safetensors", "calibration.json", "README.md"}
TOKENIZER = {"tokenizer.json", "tokenizer_config.json"}
# Each line of arguments is a call; the last line printed or the error's line comes back.
PUSH = """
import contextlib, io, json, sys
from critic_gpt.scripts import push_to_hub, run_as_program

result = []
for arguments in json.loads(sys.argv[1]):
    printed = io.StringIO()
    try:
        with contextlib.redirect_stdout(printed):
            run_as_program(lambda: push_to_hub.main(arguments), "push_to_hub")
        result.append(printed.getvalue().splitlines()[-1])
    except SystemExit as exit:
        result.append(exit.code)
"""


def write_folder(folder, model, tokenizer, **how):
    """A folder as an older version wrote it: without the code, and without what config.json says of it."""
    model.save_pretrained(folder, **how)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    for name in CODE:
        (folder / name).unlink()
    config = json.loads((folder / "config.json").read_text())
    del config["custom_pipelines"]
    config["auto_map"] = {"AutoModelForMaskedLM": AUTO_MAP["AutoModelForMaskedLM"]}
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.fixture
def calibrated(tiny_model):
    """Makes a model with a table."""

    def make(seed=0):
        model = tiny_model(seed)
        model.calibration = CriticCalibration([0.25] * 100, {"fingerprint": model.fingerprint()})
        return model

    return make


@pytest.mark.slow
def test_what_is_pushed(tmp_path, calibrated, tokenizer):
    whole = write_folder(tmp_path / "whole", calibrated(), tokenizer)
    (whole / "generation_config.json").unlink()
    # What a training leaves beside its model.
    for name in ("training_args.bin", "optimizer.pt", "trainer_state.json", "_half.tmp", ".secret"):
        (whole / name).write_text("{}")
    (whole / "denoising.html").write_text("an animation")
    (whole / "checkpoint-1").mkdir()
    (whole / "checkpoint-1" / "config.json").write_text("{}")
    shards = write_folder(tmp_path / "shards", calibrated(1), None, max_shard_size="5KB")
    scorer = tmp_path / "scorer"
    CriticGPTForSequenceClassification(calibrated().config).save_pretrained(scorer)
    tokenizer.save_pretrained(scorer)
    tokenizer.save_pretrained(tmp_path / "data")

    def call(folder, repo, *more):
        return ["--model", str(folder), "--repo_id", repo, *more]

    calls = {
        "whole": call(whole, "me/model", "--commit_message", "first", "--license", "apache-2.0"),
        "private": call(scorer, "scorer", "--private", "--revision", "trial"),
        "refused": call(whole, "me/other", "--token", "reader"),
        "broken": call(whole, "me/broken"),
        "shards": call(shards, "me/model", "--tokenizer", str(tmp_path / "data")),
        "single": call(whole, "me/back"),
    }
    with LoopbackHub() as hub:
        hub.faults = {"me/broken": ["drop"]}
        environment = {**hub.environment(tmp_path / "home"), "HF_TOKEN": "writer"}
        calls["again"] = call(whole, "me/model", "--revision", "whole")
        said = clean_process.run(PUSH, json.dumps(list(calls.values())), package=True, environment=environment)
        said = dict(zip(calls, said, strict=True))
        history = list(hub.repositories["me/model"].commits.values())

        assert said["whole"] == f"{hub.url}/me/model"
        assert set(history[1]) == MODEL | TOKENIZER | {"denoising.html"}
        config = json.loads(history[1]["config.json"])
        assert config["auto_map"] == AUTO_MAP and config["custom_pipelines"] == PIPELINES
        assert config["architectures"] == ["CriticGPTForMaskedLM"]
        card = ModelCard(history[1]["README.md"].decode())
        assert card.data.license == "apache-2.0" and 'model="me/model"' in card.text

        # A stale single file would be loaded in the place of the shards, and the other way round.
        main = set(hub.repositories["me/model"].files())
        assert "model.safetensors" not in main and "model.safetensors.index.json" in main
        assert main > TOKENIZER and (shards / "tokenizer.json").exists()
        assert said["again"] == f"{hub.url}/me/model/tree/whole"
        assert set(hub.repositories["me/model"].files("whole")) == MODEL | TOKENIZER | {"denoising.html"}
        assert said["single"] == f"{hub.url}/me/back"

        assert said["private"] == f"{hub.url}/me/scorer/tree/trial" and hub.repositories["me/scorer"].private
        expected = MODEL - {"generation_config.json", "calibration.json"} | TOKENIZER
        assert set(hub.repositories["me/scorer"].files("trial")) == expected
        assert not hub.repositories["me/scorer"].files()

        assert said["refused"].startswith("push_to_hub: 403 Forbidden") and "\n" not in said["refused"]
        assert "me/other" not in hub.repositories
        # Broken off once; the client repeats the commit.
        assert said["broken"] == f"{hub.url}/me/broken" and hub.faults == {"me/broken": []}
        assert set(hub.repositories["me/broken"].files()) == MODEL | TOKENIZER | {"denoising.html"}


@pytest.mark.slow
def test_a_space_shows_the_model_with_samples_and_runs_by_itself(tmp_path, tiny_model):
    data = prepare_sudoku(tmp_path / "data", splits=(80, 70, 4), seed=0)
    tiny_model(vocab_size=6).save_pretrained(tmp_path / "model")
    SudokuTask(size=4).tokenizer().save_pretrained(tmp_path / "model")
    model = ["--model", str(tmp_path / "model"), "--repo_id", "me/sudoku"]
    calls = [[*model, "--space", "show", "--data_dir", str(data)]]
    with LoopbackHub() as hub:
        environment = {**hub.environment(tmp_path / "home"), "HF_TOKEN": "writer"}
        (said,) = clean_process.run(PUSH, json.dumps(calls), package=True, environment=environment)
        assert said == f"{hub.url}/spaces/me/show"
        files = hub.repositories["spaces/me/show"].files()
        card = ModelCard(files["README.md"].decode())
        assert card.data.sdk == "docker" and card.data.app_port == 7860 and card.data.models == ["me/sudoku"]
        assert b"torch" in files["requirements.txt"] and b"extra ==" not in files["requirements.txt"]
        assert "app.py" in files["Dockerfile"].decode() and "samples/task.json" in files
        code = {name for name in files if name.startswith("critic_gpt/")}
        assert {"critic_gpt/__init__.py", "critic_gpt/explorer/assets/page.js"} <= code
        assert not any(part in name for name in code for part in ("/tests/", "/docs/", "/runs/", "/setup.py", "/."))
        space = tmp_path / "space"
        for name, content in files.items():
            (space / name).parent.mkdir(parents=True, exist_ok=True)
            (space / name).write_bytes(content)
        variables = {**os.environ, **environment, "PORT": "0", "SPACE_HOST": "me-show.hf.space", "PYTHONPATH": ""}
        app = subprocess.Popen([sys.executable, "app.py"], cwd=space, env=variables, stdout=subprocess.PIPE, text=True)
        try:
            port = app.stdout.readline().partition("http://0.0.0.0:")[2].partition("/")[0]
            url = f"http://127.0.0.1:{port}/api/about"
            request = urllib.request.Request(url, headers={"Host": "me-show.hf.space"})
            about = json.load(urllib.request.urlopen(request, timeout=20))
        finally:
            app.kill()
            app.wait()
    assert about["name"] == "me/sudoku" and about["splits"] == {"train": 64, "validation": 64, "test": 4}


def refusal(folder, *more):
    with pytest.raises(ValueError) as caught:
        push_to_hub.main(["--model", str(folder), "--repo_id", "me/model", *map(str, more)])
    return str(caught.value)


def test_a_hub_out_of_reach_is_a_line_that_says_so(tmp_path, calibrated, tokenizer, monkeypatch):
    class Unreachable(Exception):
        """What the transport raises has a class of its own."""

    def create_repo(self, *arguments, **keywords):
        raise Unreachable("Connection refused")

    calibrated().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    monkeypatch.setattr(push_to_hub.HfApi, "create_repo", create_repo)
    with pytest.raises(OSError, match=r"`repo_id` must be reachable, got Unreachable: Connection refused.*push again"):
        push_to_hub.main(["--model", str(tmp_path), "--repo_id", "me/model"])


def test_a_folder_without_its_model_or_its_tokenizer_is_refused(tmp_path, calibrated, tokenizer):
    assert "without config.json" in refusal(tmp_path / "nothing")
    (tmp_path / "adapter_config.json").write_text("{}")
    assert "with an adapter" in refusal(tmp_path) and "merge" in refusal(tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    assert "must be a model with a critic" in refusal(tmp_path)
    model = calibrated()
    model.config.mask_token_id = 5
    model.save_pretrained(tmp_path / "model")
    assert "--tokenizer" in refusal(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "data")
    assert "[MASK]" in refusal(tmp_path / "model", "--tokenizer", tmp_path / "data")  # that of another model
    assert not (tmp_path / "model" / "tokenizer.json").exists() and not (tmp_path / "model" / "README.md").exists()


@pytest.mark.parametrize("damage", ["no weights", "half a file", "a shard is missing", "a head is missing"])
def test_weights_that_do_not_load_whole_are_refused(tmp_path, calibrated, tokenizer, damage):
    model = calibrated()
    model.save_pretrained(tmp_path, max_shard_size="5KB" if "shard" in damage else "1GB")
    tokenizer.save_pretrained(tmp_path)
    weights = tmp_path / "model.safetensors"
    if damage == "no weights":
        weights.unlink()
        torch.save(model.state_dict(), tmp_path / "pytorch_model.bin")
        assert "as safetensors" in refusal(tmp_path)
    elif damage == "half a file":
        weights.write_bytes(weights.read_bytes()[:-100])
        assert "did not load" in refusal(tmp_path)
    elif damage == "a shard is missing":
        next(tmp_path.glob("model-00002-of-*.safetensors")).unlink()
        assert "did not load" in refusal(tmp_path)
    else:
        tiny = calibrated()
        tiny.critic_head = None
        tiny.save_pretrained(tmp_path)
        assert "critic_head.weight" in refusal(tmp_path)
