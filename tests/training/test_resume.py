# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about a training that is killed: it goes on from its last checkpoint to the very same weights."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch
from critic_training import without_speed
from labelled_folder import make_folder
from prepared_folders import as_flags
from safetensors.torch import load_file

from critic_gpt.scripts import train
from critic_gpt.training.checkpoints import last_complete_checkpoint


SCRIPT = Path(__file__).parents[2] / "scripts" / "train.py"
# Six steps an epoch, so that step 9 lies in the middle of the second one.
SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "hidden_dropout": 0.1}
FLAGS = as_flags(**SHAPE, add_critic_head=True, add_joint_head=True, use_cpu=True, disable_tqdm=True, precision="fp32")
FLAGS += as_flags(per_device_train_batch_size=4, gradient_accumulation_steps=2, max_steps=20, logging_steps=1)
FLAGS += as_flags(save_steps=3, save_total_limit=2, critic_warmup_end=15, muon_learning_rate=0.02, ema_decay=0.9)
FLAGS += as_flags(learning_rate=1e-2)


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return make_folder(tmp_path_factory.mktemp("resumed"), num=43)


def flags(data_dir, output_dir, workers, *more):
    fixed = ["--data_dir", str(data_dir), "--output_dir", str(output_dir), *FLAGS]
    return [*fixed, "--dataloader_num_workers", str(workers), *more]


def there_is(path):
    """Whether a folder is there, or a file of JSON from its beginning to its end."""
    try:
        return path.is_dir() or bool(json.loads(path.read_text()))
    except (OSError, ValueError):
        return False


def kill_when_there_is(path, command):
    """Runs a training and kills it, as the system would, the moment that a folder appears, or a file is whole."""
    process = subprocess.Popen(
        command,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    deadline = time.monotonic() + 300
    while not there_is(path) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.0005)
    process.send_signal(signal.SIGKILL)
    errors = process.communicate()[1]
    assert process.returncode == -signal.SIGKILL, errors


@pytest.mark.slow
@pytest.mark.parametrize(
    ("workers", "moment"),
    [(0, "checkpoint-9/trainer_state.json"), (2, "checkpoint-12")],
    ids=["between two steps", "while a checkpoint is written"],
)
def test_a_killed_training_goes_on_to_the_same_weights(data_dir, tmp_path, workers, moment):
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    train.main(flags(data_dir, whole, workers))
    kill_when_there_is(killed / moment, [sys.executable, str(SCRIPT), *flags(data_dir, killed, workers)])
    # Nothing was published, and the last checkpoint is neither the run's end nor that of an epoch.
    assert not (killed / "model.safetensors").exists()
    done = json.loads(Path(last_complete_checkpoint(killed), "trainer_state.json").read_text())["global_step"]
    assert done in (9, 12) and not (killed / "checkpoint-20").exists()
    torch.manual_seed(9)  # whatever the state of the process that takes over
    train.main(flags(data_dir, killed, workers, "--resume_from_checkpoint", "auto"))
    for name in ("model.safetensors", "checkpoint-20/model.safetensors", "checkpoint-20/training_weights.safetensors"):
        expected, found = load_file(whole / name), load_file(killed / name)
        assert expected.keys() == found.keys()
        assert all(torch.equal(expected[key], found[key]) for key in expected), name
    histories = (json.loads((folder / "trainer_state.json").read_text())["log_history"] for folder in (whole, killed))
    logs = [[without_speed(log) for log in history if "loss" in log] for history in histories]
    assert len(logs[0]) == 20 and logs[0] == logs[1]
    assert not list(killed.glob("**/.saving")) and len(list(killed.glob("checkpoint-*"))) == 2
