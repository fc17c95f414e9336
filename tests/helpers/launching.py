# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Runs programs and scripts, in one process or in several."""

import json
import os
import socket
import subprocess
import sys

import pytest
import torch
from critic_training import assert_equal_weights


# Where scripts that run in other processes find these helpers.
HELPERS = os.path.dirname(__file__)
# How a script that `one_and_two` runs begins; it ends with `leave(trainer, ...)`.
BEGINNING = f"""
import json, sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, {HELPERS!r})
from critic_gpt.scripts import leave_together
from critic_training import *
folder, world, arguments = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]

def leave(trainer, **result):
    assert trainer.accelerator.num_processes == world
    torch.save(trainer.model.state_dict(), folder / f"weights-{{trainer.args.process_index}}.pt")
    if trainer.is_world_process_zero():
        (folder / "result.json").write_text(json.dumps({{"logs": logs_of(trainer), **result}}))
    leave_together()
"""


def run(command, timeout=300, **environment):
    """What a command came to, on one thread and without the network."""
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", **environment}
    return subprocess.run([*map(str, command)], capture_output=True, text=True, env=variables, timeout=timeout)


def launch(command, world):
    """A script or `-m module` with its arguments, in one process or, by accelerate, in several on the CPU."""
    prefix = [sys.executable]
    if world > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        prefix += f"-m accelerate.commands.launch --multi_gpu --num_processes {world} --num_machines 1".split()
        prefix += f"--mixed_precision no --dynamo_backend no --main_process_port {port}".split()
    done = run([*prefix, *command], ACCELERATE_USE_CPU="true")
    assert done.returncode == 0, done.stderr
    return done


def one_and_two(script, tmp_path, *arguments, tolerance=1e-5):
    """
    Trains by a script in one process and in two, to the same weights and losses. Returns what `leave` was given in
    either, and the weights.
    """
    results, weights = [], []
    for world in (1, 2):
        folder = tmp_path / str(world)
        folder.mkdir()
        (folder / "run.py").write_text(BEGINNING + script)
        launch([folder / "run.py", folder, world, *arguments], world)
        results.append(json.loads((folder / "result.json").read_text()))
        weights += [torch.load(folder / f"weights-{rank}.pt") for rank in range(world)]
    whole, first, second = weights
    assert_equal_weights(first, second)
    assert_equal_weights(whole, first, tolerance=tolerance)
    for log, other in zip(*(result["logs"] for result in results), strict=True):
        assert other["loss"] == pytest.approx(log["loss"], rel=10 * tolerance, abs=tolerance)
    return results, whole
