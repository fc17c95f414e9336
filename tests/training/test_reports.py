# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what a training reports, and about early stopping, compilation and bf16, through `scripts/train.py`."""

import json

import pytest
import torch
from labelled_folder import make_folder
from prepared_folders import as_flags
from safetensors.torch import load_file
from transformers import TrainerCallback

from critic_gpt.scripts import train


FLAGS = as_flags(hidden_size=16, num_hidden_layers=2, num_attention_heads=2, initializer_range=0.3, use_cpu=True)
FLAGS += as_flags(disable_tqdm=True, logging_steps=1, precision="fp32", per_device_train_batch_size=4)
FLAGS += as_flags(learning_rate=1e-2, save_strategy="no")
CRITIC = ["--add_critic_head", "True", "--remaining_alpha", "0.5"]
JUDGED = ["--max_steps", "4", "--eval_strategy", "steps", "--eval_steps", "2"]
TRAINED = {"loss", "lm_loss", "critic_loss", "correction_loss", "remaining_loss", "critic_accuracy", "error_rate"}
TRAINED |= {"critic_alpha", "learning_rate", "grad_norm"}
EVALUATED = {"loss", "lm_loss", "critic_loss", "correction_loss", "remaining_loss", "critic_accuracy", "error_rate"}
EVALUATED |= {"critic_auroc", "critic_ece", "critic_brier", "bits_per_token"}


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("reports"), num=24)


def run(data_dir, output_dir, *more):
    train.main(["--data_dir", str(data_dir), "--output_dir", str(output_dir), *FLAGS, *more])
    return json.loads((output_dir / "trainer_state.json").read_text())


def scalars_of(history):
    """Every number of the logs, but for times, under the name that loggers give it, by step."""
    scalars, others = {}, ("step", "epoch", "train_", "total_", "eval_runtime", "eval_samples_", "eval_steps_")
    for log in history:
        for name, value in log.items():
            if not name.startswith(others):
                evaluated = name.startswith("eval_")
                name = f"eval/{name.removeprefix('eval_')}" if evaluated else f"train/{name}"
                scalars.setdefault(name, {})[log["step"]] = value
    return scalars


def assert_complete(scalars):
    for prefix, names in (("train", TRAINED), ("eval", EVALUATED)):
        assert {f"{prefix}/{name}" for name in names} <= set(scalars)
    assert set(scalars["train/critic_loss"]) == {1, 2, 3, 4} and set(scalars["eval/critic_loss"]) == {2, 4}


# ---- loggers ----


def test_tensorboard_sees_every_scalar(data_dir, tmp_path, monkeypatch):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    monkeypatch.setenv("TENSORBOARD_LOGGING_DIR", str(tmp_path / "events"))
    state = run(data_dir, tmp_path / "out", *CRITIC, *JUDGED, "--report_to", "tensorboard")
    expected = scalars_of(state["log_history"])
    assert_complete(expected)
    events = EventAccumulator(str(tmp_path / "events"))
    events.Reload()
    for name, values in expected.items():
        found = {event.step: event.value for event in events.Scalars(name)}
        assert {step: found[step] for step in values} == pytest.approx(values, rel=1e-6), name


def test_trackio_sees_every_scalar(data_dir, tmp_path, monkeypatch):
    from trackio import sqlite_storage

    monkeypatch.setattr(sqlite_storage, "TRACKIO_DIR", tmp_path / "trackio")
    more = ["--report_to", "trackio", "--project", "critic", "--run_name", "one"]
    state = run(data_dir, tmp_path / "out", *CRITIC, *JUDGED, *more)
    expected = scalars_of(state["log_history"])
    assert_complete(expected)
    found = {}
    for entry in sqlite_storage.SQLiteStorage.get_logs("critic", "one"):
        for name, value in entry.items():
            found.setdefault(name, []).append(value)
    for name, values in expected.items():
        assert list(values.values()) == pytest.approx(found[name][: len(values)], rel=1e-6), name


def test_a_callback_of_ones_own_sees_every_scalar(data_dir, tmp_path, monkeypatch):
    seen, build = [], train.build_trainer

    class Keep(TrainerCallback):
        def on_log(self, args, state, control, logs=None, **kwargs):
            seen.append({**logs, "step": state.global_step})

    def build_with_callback(*arguments):
        trainer = build(*arguments)
        trainer.add_callback(Keep())
        return trainer

    monkeypatch.setattr(train, "build_trainer", build_with_callback)
    state = run(data_dir, tmp_path, *CRITIC, *JUDGED)
    scalars = scalars_of(seen)
    assert_complete(scalars)
    assert scalars_of(state["log_history"]).items() <= scalars.items()
    assert all(isinstance(value, int | float) for log in seen for value in log.values())


# ---- early stopping ----


def test_a_training_that_gets_no_better_stops_early_with_its_best_model(data_dir, tmp_path):
    more = {"max_steps": 30, "eval_strategy": "steps", "eval_steps": 1, "save_strategy": "steps", "save_steps": 1}
    more |= {"save_total_limit": 3, "learning_rate": 0.3, "early_stopping_patience": 2, "load_best_model_at_end": True}
    state = run(data_dir, tmp_path, *CRITIC, *as_flags(**more))
    losses = [log["eval_loss"] for log in state["log_history"] if "eval_loss" in log]
    assert state["global_step"] < 30 and len(losses) == losses.index(min(losses)) + 3
    metrics = json.loads((tmp_path / "training_metrics.json").read_text())
    assert metrics["eval_loss"] == pytest.approx(min(losses), abs=1e-6)


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (["--early_stopping_patience", "0"], ["at least 1", "got 0"]),
        (["--early_stopping_patience", "2"], ["beside `load_best_model_at_end`", "got 2", "--eval_strategy"]),
    ],
)
def test_early_stopping_that_could_not_happen_is_refused(data_dir, tmp_path, more, parts):
    with pytest.raises(ValueError, match=r"^`early_stopping_patience` must ") as error:
        run(data_dir, tmp_path / "out", "--max_steps", "1", *more)
    assert all(part in str(error.value) for part in parts) and not (tmp_path / "out").exists()


# ---- bf16 and compilation ----


def test_bf16_trains_near_fp32_keeps_fp32_weights_and_resumes_exactly(data_dir, tmp_path):
    saving = [*CRITIC, "--max_steps", "4", "--save_strategy", "steps", "--save_steps", "2"]
    full = run(data_dir, tmp_path / "full", *saving)
    half = ["--precision", "bf16", *saving]
    state = run(data_dir, tmp_path / "half", *half)
    losses = [[log["loss"] for log in one["log_history"] if "loss" in log] for one in (full, state)]
    assert losses[0] == pytest.approx(losses[1], rel=0.03) and losses[0] != losses[1]
    weights = load_file(tmp_path / "half" / "model.safetensors")
    assert all(weight.dtype == torch.float32 for weight in weights.values())
    run(data_dir, tmp_path / "again", *half, "--resume_from_checkpoint", str(tmp_path / "half" / "checkpoint-2"))
    again = load_file(tmp_path / "again" / "model.safetensors")
    assert all(torch.equal(weights[name], again[name]) for name in weights)


@pytest.mark.slow
def test_a_compiled_training_gives_the_numbers_of_a_plain_one(data_dir, tmp_path):
    # Everything but the writing of kernels, which takes minutes.
    more = [*CRITIC, *JUDGED, "--ema_decay", "0.7", "--critic_batch_share", "0.5", "--num_hidden_layers", "1"]
    plain = run(data_dir, tmp_path / "plain", *more)
    compiled = run(data_dir, tmp_path / "compiled", *more, "--torch_compile_backend", "aot_eager")
    expected, found = (scalars_of(state["log_history"]) for state in (plain, compiled))
    for name in (*(f"train/{name}" for name in TRAINED), *(f"eval/{name}" for name in EVALUATED)):
        assert found[name] == pytest.approx(expected[name], abs=1e-4), name
    weights, other = (load_file(tmp_path / name / "model.safetensors") for name in ("plain", "compiled"))
    assert weights.keys() == other.keys()
    for name, weight in weights.items():
        torch.testing.assert_close(weight, other[name], rtol=0, atol=1e-4, msg=name)
