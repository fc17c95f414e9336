# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Which model a path means, and which of its weights: of a folder, or of a file of weights in one."""

import re
from pathlib import Path
from typing import NamedTuple

from critic_gpt.calibration.model import weights_file_name


# Files of weights in a model's folder: whole, the index of shards, a shard; each with or without a variant.
_WEIGHTS = re.compile(
    r"model(?:\.(?P<a>\w+))?\.safetensors|model\.safetensors\.index(?:\.(?P<b>\w+))?\.json"
    r"|model(?:\.(?P<c>\w+))?-\d{5}-of-\d{5}\.safetensors"
)


class Checkpoint(NamedTuple):
    """A model's `folder` and the `variant` of its weights, `None` for the plain ones."""

    folder: Path
    variant: str | None


def resolve_checkpoint(path: str) -> Checkpoint:
    """
    Finds the model that `path` means: a folder, or the file of weights in one.

    Args:
        path (`str`): Folder, or `model.safetensors`, `model.VARIANT.safetensors`, the index of shards or a shard.

    Raises:
        `ValueError`: Nothing there, or a file of another kind.
    """
    given = Path(path)
    if given.suffix in (".pt", ".pth", ".bin"):
        raise ValueError(
            f"`checkpoint` must be safetensors, got {path!r}, whose format can carry code: convert it with "
            "scripts/convert_nanogpt_checkpoint.py and calibrate the folder that it writes."
        )
    if given.is_dir():
        _check_folder(given)
        return Checkpoint(given, None)
    match = _WEIGHTS.fullmatch(given.name)
    if match is None or not given.is_file():
        raise ValueError(
            f"`checkpoint` must be the folder of a model, beside whose weights the table goes, or its file of "
            f"weights, got {path!r}: train one with scripts/train.py, or download it first."
        )
    variant = next((name for name in match.groups() if name), None)
    whole = given.with_name(weights_file_name(variant))
    if whole.is_file() and whole.name != given.name:
        raise ValueError(
            f"`checkpoint` must be the weights that are loaded, got {path!r} beside {whole.name}, which would be "
            "taken instead: remove one of the two."
        )
    return Checkpoint(given.parent, variant)


def _check_folder(folder: Path) -> None:
    """Points from the folder of a training, where it holds no model itself, to its checkpoints."""
    inside = sorted(path.name for path in folder.glob("checkpoint-*") if (path / "config.json").is_file())
    if inside and not (folder / "config.json").is_file():
        raise ValueError(
            f"`checkpoint` must be the folder of a model, got {str(folder)!r}, which holds {', '.join(inside)}: pass "
            "one of these."
        )
