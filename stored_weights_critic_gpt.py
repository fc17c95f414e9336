# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The weights of a model as they lie in its files, in a folder or on the hub, without building the model."""

import os
from collections.abc import Iterator
from typing import Any

import torch
from safetensors import safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file, get_checkpoint_shard_files

from .calibration_critic_gpt import weights_fingerprint


def stored_files(
    pretrained_model_name_or_path: str | os.PathLike, variant: str | None = None, **location: Any
) -> list[str]:
    """
    Paths of the weights' file, or of its shards.

    Args:
        pretrained_model_name_or_path (`str` or `os.PathLike`): Folder or hub name.
        variant (`str`, *optional*): Of the file, `model.VARIANT.safetensors`.
        location: What says where files come from, as in `from_pretrained`.

    Returns:
        `list[str]`: Empty where there are none in safetensors.
    """
    repo = os.fspath(pretrained_model_name_or_path)
    quiet = {"_raise_exceptions_for_missing_entries": False, **location}
    ending = f".{variant}.safetensors" if variant else ".safetensors"
    whole = cached_file(repo, SAFE_WEIGHTS_NAME.replace(".safetensors", ending), **quiet)
    if whole is not None:
        return [whole]
    ending = f".{variant}.json" if variant else ".json"
    index = cached_file(repo, SAFE_WEIGHTS_INDEX_NAME.replace(".json", ending), **quiet)
    return [] if index is None else get_checkpoint_shard_files(repo, index, **location)[0]


def stored_fingerprint(
    pretrained_model_name_or_path: str | os.PathLike, variant: str | None = None, **location: Any
) -> str | None:
    """
    The [`weights_fingerprint`] of the weights as they lie there, which is that of the model when it is loaded without
    changing them; `None` where there are none in safetensors. Arguments are those of [`stored_files`].
    """
    files = stored_files(pretrained_model_name_or_path, variant, **location)
    return weights_fingerprint(_tensors(files)) if files else None


def _tensors(files: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    for file in files:
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                yield name, weights.get_tensor(name)
