# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Runs programs and scripts, in one process or in several."""

import json
import multiprocessing
import os
import runpy
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


# Imports take longer than what most of these scripts do: processes are forked from one that has imported all of it,
# and has computed nothing, so that it has no threads.
FORK_SERVER = multiprocessing.get_context("forkserver")
FORK_SERVER.set_forkserver_preload(["critic_gpt.scripts.train", "critic_gpt.scripts.evaluate", "torch.distributed"])


def become(command, output, variables):
    """Is that command, to the end of this process: a script or `-m module` with its arguments."""
    with open(output, "w") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    os.environ.update(variables)
    multiprocessing.set_start_method(None, force=True)  # a data loader's workers are made as everywhere
    torch.set_num_threads(1)
    module = command[0] == "-m"
    program, *sys.argv[1:] = command[1:] if module else command
    sys.argv[0] = program
    if module:
        runpy.run_module(program, run_name="__main__", alter_sys=True)
    else:
        sys.path.insert(0, os.path.dirname(program))
        runpy.run_path(program, run_name="__main__")


def launch(command, world, folder, timeout=300):
    """
    Runs a script or `-m module` with its arguments as `world` processes on the CPU, in the environment that `torchrun`
    and `accelerate launch` make (tests/training/test_distributed.py calls the latter). Returns what they printed, by
    rank.
    """
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    common = {"OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "ACCELERATE_USE_CPU": "true"}
    outputs, processes = [], []
    for rank in range(world):
        variables = dict(common)
        if world > 1:
            variables |= {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(world)}
            variables |= {"LOCAL_WORLD_SIZE": str(world), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
        outputs.append(folder / f"printed-{rank}.txt")
        arguments = ([*map(str, command)], outputs[-1], variables)
        processes.append(FORK_SERVER.Process(target=become, args=arguments))
        processes[-1].start()
    for process in processes:
        process.join(timeout)
    late = [process for process in processes if process.is_alive()]
    for process in late:
        process.kill()
    printed = [output.read_text() for output in outputs]
    assert not late, f"{len(late)} of {world} processes did not end in {timeout} s:\n" + "\n".join(printed)
    assert not any(process.exitcode for process in processes), "\n".join(printed)
    return printed


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
        launch([folder / "run.py", folder, world, *arguments], world, folder)
        results.append(json.loads((folder / "result.json").read_text()))
        weights += [torch.load(folder / f"weights-{rank}.pt") for rank in range(world)]
    whole, first, second = weights
    assert_equal_weights(first, second)
    assert_equal_weights(whole, first, tolerance=tolerance)
    for log, other in zip(*(result["logs"] for result in results), strict=True):
        assert other["loss"] == pytest.approx(log["loss"], rel=10 * tolerance, abs=tolerance)
    return results, whole
