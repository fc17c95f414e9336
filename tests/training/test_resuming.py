"""Claims about runs: which checkpoint they go on from, what a change does, and when they are done."""

import json
import logging
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from critic_training import JUDGING, SAVING, make_model, make_rows, make_trainer
from prepared_folders import as_flags, prepare_sudoku
from safetensors.torch import load_file
from transformers import EarlyStoppingCallback

from critic_gpt.scripts import train


def trainer_in(folder, data=None, callbacks=(), model=None, **changed):
    data = make_rows(24) if data is None else data
    given = {**SAVING, "save_steps": 2, "max_steps": 4, "learning_rate": 0.01, **changed}
    model = make_model(num_hidden_layers=1, **(model or {}))
    return make_trainer(folder, model, data, data[:8], callbacks=list(callbacks), **given)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of four steps with checkpoints of steps 2 and 4."""
    folder = tmp_path_factory.mktemp("finished")
    trainer_in(folder).train()
    return folder


@pytest.fixture
def folder(finished, tmp_path):
    return shutil.copytree(finished, tmp_path / "run")


# ---- done ----


@pytest.mark.parametrize("resume", ["auto", True, "checkpoint-4"])
def test_a_finished_run_trains_no_step_more(folder, resume):
    trainer = trainer_in(folder)
    path = str(folder / resume) if resume == "checkpoint-4" else resume
    assert trainer.train(resume_from_checkpoint=path).global_step == 4
    stored = load_file(folder / "checkpoint-4" / "model.safetensors")
    own = trainer.model.state_dict()
    assert all(torch.equal(own[name], stored[name]) for name in stored)
    assert not (folder / "checkpoint-5").exists()
    assert "train_loss" not in trainer.state.log_history[-1] or trainer.state.log_history[-1]["train_loss"] > 0


def test_a_run_that_stopped_early_stays_stopped(tmp_path):
    best = {**SAVING, **JUDGING, "load_best_model_at_end": True, "metric_for_best_model": "loss"}
    best |= {"max_steps": 6, "learning_rate": 1e-12}

    def run(patience, **how):
        trainer = trainer_in(tmp_path, callbacks=[EarlyStoppingCallback(patience, 1e-3)], **best)
        return trainer.train(**how).global_step

    assert run(1) == 2
    assert run(1, resume_from_checkpoint="auto") == 2
    assert run(3, resume_from_checkpoint="auto") == 4  # patience counts on


# ---- of this run ----


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        ({"data": make_rows(24, seed=2)}, "other data"),
        ({"data": make_rows(28)}, "24 rows, now 28"),
        ({"model": {"hidden_size": 32}}, "hidden_size"),
        ({"model": {"add_critic_head": False}}, "add_critic_head"),
        ({"seed": 7}, "seed"),
        ({"data_seed": 7}, "data_seed"),
        ({"per_device_train_batch_size": 2}, "rows per step"),
        ({"muon_learning_rate": 0.02}, "muon_learning_rate"),
        ({"optim": "adafactor"}, "optim"),
    ],
)
@pytest.mark.parametrize("resume", ["auto", "checkpoint-2"])
def test_the_checkpoint_of_another_run_is_refused(folder, changed, named, resume):
    path = resume if resume == "auto" else str(folder / resume)
    with pytest.raises(ValueError, match=rf"`resume_from_checkpoint` must be a checkpoint of this run.*{named}"):
        trainer_in(folder, **changed).train(resume_from_checkpoint=path)


def test_a_checkpoint_written_by_others_is_known_by_its_configuration(folder, caplog):
    (folder / "checkpoint-4" / "run.json").unlink()
    with caplog.at_level(logging.WARNING):
        trainer_in(folder).train(resume_from_checkpoint="auto")
    assert "holds no run.json" in caplog.text
    (folder / "checkpoint-4" / "run.json").unlink(missing_ok=True)
    with pytest.raises(ValueError, match="hidden_size"):
        trainer_in(folder, model={"hidden_size": 32}).train(resume_from_checkpoint="auto")


def test_each_changed_argument_is_named_with_what_it_does(folder, caplog, capsys):
    changed = {"learning_rate": 0.5, "weight_decay": 0.3, "max_grad_norm": 0.5, "max_steps": 5}
    trainer = trainer_in(folder, model={"critic_alpha": 0.25}, **changed)
    with caplog.at_level(logging.WARNING):
        trainer.train(resume_from_checkpoint=str(folder / "checkpoint-2"))
    told, said = capsys.readouterr().out, caplog.text
    assert "`learning_rate` stays 0.01" in said and "`weight_decay` stays 0.01" in said
    assert "`critic_alpha` is 0.25 from step 2 on, where it was 0.5." in told
    assert "`max_grad_norm` is 0.5 from step 2 on" in told and "`max_steps` is 5" in told
    logged = {log["step"]: log for log in trainer.state.log_history if "learning_rate" in log}
    assert logged[3]["learning_rate"] <= 0.01 and logged[3]["critic_alpha"] == 0.25
    # What stays is what the next checkpoint holds.
    stored = json.loads((folder / "checkpoint-4" / "run.json").read_text())
    assert stored["arguments"]["learning_rate"] == 0.01 and stored["model"]["critic_alpha"] == 0.25


# ---- whole ----


def cut(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 255
    path.write_bytes(content)


FAULTS = [
    *((cut, name) for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")),
    *((cut, name) for name in ("trainer_state.json", "config.json", "run.json")),
    (flip, "optimizer.pt"),
    *((Path.unlink, name) for name in ("model.safetensors", "optimizer.pt", "scheduler.pt", "rng_state.pth")),
]


@pytest.mark.parametrize(("harm", "name"), FAULTS, ids=lambda one: getattr(one, "__name__", one))
def test_a_damaged_or_incomplete_checkpoint_is_a_sentence_and_auto_takes_the_one_before(folder, caplog, harm, name):
    harm(folder / "checkpoint-4" / name)
    part = "weights" if harm is Path.unlink and name.startswith("model") else name.removesuffix(".pth")
    with pytest.raises(ValueError, match=rf"`resume_from_checkpoint` must be a whole checkpoint.*{part}"):
        trainer_in(folder).train(resume_from_checkpoint=str(folder / "checkpoint-4"))
    trainer = trainer_in(folder)
    with caplog.at_level(logging.WARNING):
        assert Path(trainer.find_checkpoint()).name == "checkpoint-2"
    assert "checkpoint-4 is passed over" in caplog.text and part in caplog.text


def test_an_optimizer_of_another_kind_is_a_sentence(folder):
    torch.save({"state": {}}, folder / "checkpoint-4" / "optimizer.pt")
    with pytest.raises(ValueError, match="`resume_from_checkpoint` must fit what is trained"):
        trainer_in(folder).train(resume_from_checkpoint=str(folder / "checkpoint-4"))


# ---- the script ----


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return prepare_sudoku(tmp_path_factory.mktemp("prepared") / "sudoku")


def flags(data_dir, output_dir, *more):
    fixed = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "precision": "fp32", "use_cpu": True}
    fixed |= {"disable_tqdm": True, "per_device_train_batch_size": 4, "data_dir": data_dir, "output_dir": output_dir}
    return [*as_flags(**fixed), *more]


def test_a_model_in_the_output_folder_is_not_replaced_unasked(data_dir, tmp_path):
    given = flags(data_dir, tmp_path, "--max_steps", "2", "--save_steps", "1")
    train.main(given)
    before = (tmp_path / "model.safetensors").read_bytes()
    with pytest.raises(ValueError, match=r"`output_dir` must hold no model.*--overwrite_output_dir"):
        train.main(given)
    assert (tmp_path / "model.safetensors").read_bytes() == before
    train.main([*given, "--resume_from_checkpoint", "auto"])
    assert (tmp_path / "model.safetensors").read_bytes() == before
    with pytest.raises(ValueError, match="must be a checkpoint of this run"):
        train.main([*given, "--seed", "5", "--resume_from_checkpoint", "auto"])
    kept = {path: path.read_bytes() for path in tmp_path.glob("checkpoint-*/trainer_state.json")}
    for path in kept:
        path.write_text("{")
    with pytest.raises(ValueError, match=r"`output_dir` must hold no model"):
        train.main([*given, "--resume_from_checkpoint", "auto"])
    assert (tmp_path / "model.safetensors").read_bytes() == before
    for path, content in kept.items():
        path.write_bytes(content)
    train.main([*given, "--seed", "5", "--overwrite_output_dir", "True"])
    assert (tmp_path / "model.safetensors").read_bytes() != before


def test_ctrl_c_is_one_line_with_the_command_that_goes_on(data_dir, tmp_path):
    script = Path(train.__file__)
    given = flags(data_dir, tmp_path, "--max_steps", "100000", "--save_steps", "2", "--save_total_limit", "2")
    process = subprocess.Popen(
        [sys.executable, str(script), *given],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        # Started in the background, a shell has its children ignore interrupts.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    while not (tmp_path / "checkpoint-4").exists() and process.poll() is None:
        pass
    for _ in range(6):  # Python drops an interrupt that comes while an object is destroyed: who asks again is heard
        process.send_signal(signal.SIGINT)
        try:
            errors = process.communicate(timeout=30)[1]
            break
        except subprocess.TimeoutExpired:
            continue
    else:
        process.kill()
        pytest.fail("nobody heard six interrupts")
    last = errors.strip().splitlines()[-1]
    assert process.returncode == 130, errors
    assert "Traceback" not in errors and last.startswith("train: interrupted after step ")
    assert last.endswith("--resume_from_checkpoint auto") and f"--data_dir {data_dir}" in last
    for checkpoint in tmp_path.glob("checkpoint-*"):
        assert (checkpoint / "trainer_state.json").exists()
