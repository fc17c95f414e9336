# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Checkpoints that are whole or not there: files appear in one step, and only whole checkpoints are resumed."""

import os
import re
import shutil
import signal
import threading
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from safetensors import SafetensorError, safe_open
from transformers import TrainerState
from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from critic_gpt.hub.documents import read_json
from critic_gpt.hub.moving import CRITIC_HEAD_NAME, finish_moving, move_into


STAGING = ".saving"
MAX_STATE_BYTES = 2**28  # it holds all that was ever logged
# What a checkpoint holds of the run it is of.
RUN_NAME = "run.json"
# Weights, as they are saved whole, in shards, as adapters, by FSDP and by DeepSpeed.
_WEIGHTS = (
    *("model*.safetensors", "adapter_model.safetensors", "*/adapter_model.safetensors", "pytorch_model*.bin"),
    *("adapter_model.bin", "pytorch_model_fsdp_*", "global_step*", CRITIC_HEAD_NAME),
)
# What goes on beside the weights: the sentence where it is missing, by the forms it comes in.
_STATE = {
    "the optimizer's state (optimizer.pt)": ("optimizer.pt", "optimizer.bin", "optimizer_*", "global_step*"),
    "the schedule of the learning rate (scheduler.pt)": ("scheduler.pt", "global_step*"),
    "the state of the random numbers (rng_state.pth)": ("rng_state*.pth",),
}


@contextmanager
def uninterrupted() -> Iterator[None]:
    """Within it Ctrl-C waits for the end; a second one does not."""
    previous = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(previous):
        yield
        return
    asked: list[int] = []

    def remember(number, frame):
        if asked:
            previous(number, frame)
        asked.append(number)

    signal.signal(signal.SIGINT, remember)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
    if asked:
        previous(asked[0], None)


@contextmanager
def staged_folder(folder: str | os.PathLike, writer: bool = True) -> Iterator[str]:
    """
    A folder to write into whose content is moved to `folder` at the end. A process that is killed before leaves the
    old files as they were; one that is killed in between leaves none to be loaded until [`finish_moving`] was there.

    Args:
        folder (`str` or `os.PathLike`): Where the files shall lie; made if missing.
        writer (`bool`, *optional*, defaults to `True`): Whether this process writes and moves.
    """
    folder = Path(folder)
    staging = folder / STAGING
    if writer:
        finish_moving(folder)
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
    try:
        yield str(staging)
    except BaseException:
        if writer:
            shutil.rmtree(staging, ignore_errors=True)
        raise
    if writer:
        with uninterrupted():
            move_into(staging, folder)


def checkpoints_in(folder: str | os.PathLike) -> list[Path]:
    """The checkpoints in the output folder of a training, whole or not, the newest first."""
    steps = {}
    for path in Path(folder).glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        match = re.fullmatch(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)", path.name)
        if match and path.is_dir():
            steps[int(match.group(1))] = path
    return [path for _, path in sorted(steps.items(), reverse=True)]


def _was_interrupted(checkpoint: Path) -> bool:
    """The main process writes the trainer's state last: without a readable one a checkpoint was interrupted."""
    try:
        return not isinstance(read_json(checkpoint / TRAINER_STATE_NAME, max_bytes=MAX_STATE_BYTES), dict)
    except (OSError, ValueError):
        return True


def last_complete_checkpoint(folder: str | os.PathLike) -> str | None:
    """
    The newest checkpoint in `folder` that was written to its end, or `None`.

    Args:
        folder (`str` or `os.PathLike`): Output folder of a training.
    """
    return next((str(path) for path in checkpoints_in(folder) if not _was_interrupted(path)), None)


def fault_of(checkpoint: str | os.PathLike) -> str | None:
    """
    Why a training cannot go on from a checkpoint, as the end of a sentence; `None` where it can. All files of weights
    and states are looked at: one that is cut off, or whose checksums are not those of its content, is damaged.

    Args:
        checkpoint (`str` or `os.PathLike`): Its folder.
    """
    folder = Path(checkpoint)
    finish_moving(folder)
    if not (folder / TRAINER_STATE_NAME).exists():
        return f"which was not written to its end ({TRAINER_STATE_NAME} is missing)"
    if (damaged := _damaged_file(folder)) is not None:
        return f"whose {damaged} is damaged"
    if not any(any(folder.glob(pattern)) for pattern in _WEIGHTS):
        return "in which the weights are missing"
    for name, patterns in _STATE.items():
        if not any(any(folder.glob(pattern)) for pattern in patterns):
            return f"in which {name} is missing"
    return None


def _damaged_file(folder: Path) -> str | None:
    for path in sorted(folder.iterdir()):
        try:
            if path.name == TRAINER_STATE_NAME:
                if not isinstance(TrainerState.load_from_json(path).global_step, int):
                    return path.name
            elif path.suffix == ".json":
                content = read_json(path, max_bytes=MAX_STATE_BYTES)
                if not isinstance(content, dict) and path.name in (RUN_NAME, "config.json"):
                    return path.name
                if path.name.endswith(".safetensors.index.json"):
                    for shard in sorted(set(content["weight_map"].values())):
                        if not (folder / shard).is_file():
                            return shard
            elif path.suffix == ".safetensors":
                with safe_open(path, framework="pt"):
                    pass
            elif path.suffix in (".pt", ".pth") or path.name in ("optimizer.bin", "pytorch_model.bin"):
                with zipfile.ZipFile(path) as archive:
                    if archive.testzip() is not None:
                        return path.name
        except (OSError, ValueError, TypeError, KeyError, AttributeError, SafetensorError, zipfile.BadZipFile):
            return path.name
    return None
