# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Checkpoints that are whole or not there: files appear in one step, and only finished checkpoints are resumed."""

import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from transformers.trainer import TRAINER_STATE_NAME
from transformers.trainer_utils import PREFIX_CHECKPOINT_DIR

from critic_gpt.hub.documents import read_json


STAGING = ".saving"
MAX_STATE_BYTES = 2**28  # it holds all that was ever logged
# One file of weights, or shards and their index.
WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")


@contextmanager
def staged_folder(folder: str | os.PathLike, writer: bool = True) -> Iterator[str]:
    """
    A folder to write into whose content is moved to `folder` at the end, each file in one step. A process that is
    killed in between leaves the old files as they were. New weights take the place of all old ones: a single file
    would be preferred at loading to newer shards.

    Args:
        folder (`str` or `os.PathLike`): Where the files shall lie; made if missing.
        writer (`bool`, *optional*, defaults to `True`): Whether this process writes and moves.
    """
    folder = Path(folder)
    staging = folder / STAGING
    if writer:
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir(parents=True)
    yield str(staging)
    if not writer:
        return
    sources = sorted(staging.iterdir())
    for source in sources:
        target = folder / source.name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        os.replace(source, target)
    staging.rmdir()
    weights = {source.name for source in sources if WEIGHTS.fullmatch(source.name)}
    if weights:
        for path in folder.iterdir():
            if WEIGHTS.fullmatch(path.name) and path.name not in weights:
                path.unlink()


def last_complete_checkpoint(folder: str | os.PathLike) -> str | None:
    """
    The newest checkpoint in `folder` that was written to its end, or `None`. The main process writes
    the trainer's state last, so a checkpoint without a readable one was interrupted.

    Args:
        folder (`str` or `os.PathLike`): Output folder of a training.
    """
    folder = Path(folder)
    steps = {}
    for path in folder.glob(f"{PREFIX_CHECKPOINT_DIR}-*"):
        match = re.fullmatch(rf"{PREFIX_CHECKPOINT_DIR}-(\d+)", path.name)
        if match and path.is_dir():
            steps[int(match.group(1))] = path
    for _, path in sorted(steps.items(), reverse=True):
        try:
            read_json(path / TRAINER_STATE_NAME, max_bytes=MAX_STATE_BYTES)
        except (OSError, ValueError):
            continue
        return str(path)
    return None
