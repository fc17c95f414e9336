# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Takes a model's new files into its folder: whatever interrupts it, nobody loads a mixture of old and new ones.

The new files lie complete in a folder of their own, `SAVED`, before the first of them is moved. The configuration goes
first and comes last, so the folder holds no model in between, and what a kill left undone is done at the next start or
load.
"""

import json
import os
import re
import shutil
from contextlib import suppress
from pathlib import Path

from critic_gpt.hub.documents import read_json


SAVED = ".saved"
_NAMES = "names.json.moving"
# One file of weights, or shards and their index.
WEIGHTS = re.compile(r"model(-\d{5}-of-\d{5})?\.safetensors(\.index\.json)?")
# The head of a critic whose model lies elsewhere, perhaps in the same folder; and what is read of it first.
CRITIC_HEAD_NAME = "critic_head.safetensors"
CRITIC_CONFIG_NAME = "critic_config.json"
# Without one of these a folder holds no model.
CONFIGURATIONS = ("config.json", "adapter_config.json", CRITIC_CONFIG_NAME)


def move_into(staging: Path, folder: Path) -> None:
    """
    Moves all of a folder's content into the folder around it. New weights take the place of all old ones: a single
    file would be preferred at loading to newer shards.

    Args:
        staging (`Path`): Within `folder`, complete, and gone afterwards.
        folder (`Path`): Where the files shall lie.
    """
    names = sorted(path.name for path in staging.iterdir())
    (staging / _NAMES).write_text(json.dumps(names), encoding="utf-8")
    os.replace(staging, folder / SAVED)  # from here on the new files win
    finish_moving(folder)


def finish_moving(folder: str | os.PathLike) -> None:
    """
    Ends a move that was interrupted; does nothing where there was none. Several processes may do so at a time.

    Args:
        folder (`str` or `os.PathLike`): That of a model, or any other path.
    """
    folder = Path(folder)
    saved = folder / SAVED
    try:
        listed = read_json(saved / _NAMES)
    except (FileNotFoundError, NotADirectoryError):
        _remove_emptied(saved)
        return
    # A folder may come from anywhere, and a name that leads out of it would be somebody else's file.
    if not isinstance(listed, list) or not all(_is_plain(name) for name in listed):
        raise ValueError(
            f"`{saved / _NAMES}` must list names of files in its folder, got {listed!r:.80}: remove {str(saved)!r}, "
            "which no save of ours has left."
        )
    names = set(listed)
    whole = any(WEIGHTS.fullmatch(name) for name in names)
    if whole or CRITIC_HEAD_NAME in names:
        for name in CONFIGURATIONS:
            if (saved / name).exists():
                (folder / name).unlink(missing_ok=True)
    if whole:
        for path in folder.iterdir():
            known = WEIGHTS.fullmatch(path.name) or path.name in (CRITIC_HEAD_NAME, CRITIC_CONFIG_NAME)
            if known and path.name not in names:
                path.unlink(missing_ok=True)
    for name in sorted(names, key=lambda name: (name in CONFIGURATIONS, name)):
        source, target = saved / name, folder / name
        if source.is_dir():
            shutil.rmtree(target, ignore_errors=True)
        try:
            os.replace(source, target)
        except FileNotFoundError:  # moved before the interruption, or by another process
            continue
    (saved / _NAMES).unlink(missing_ok=True)
    _remove_emptied(saved)


def _remove_emptied(saved: Path) -> None:
    with suppress(OSError):  # not there, or somebody else's and full
        saved.rmdir()


def _is_plain(name: object) -> bool:
    """Whether a name stays in its folder."""
    return isinstance(name, str) and Path(name).name == name and name != ".."
