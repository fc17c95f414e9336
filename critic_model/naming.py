# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""By which name the model under a critic is loaded again, and whether that name still means it."""

import math
import os
from pathlib import Path
from typing import Any

import torch
import transformers
from huggingface_hub import constants
from safetensors import safe_open
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME, WEIGHTS_INDEX_NAME, WEIGHTS_NAME

from critic_gpt.calibration.fingerprint import has_adapters, stored_files


# What loads the model under a critic, the usual first.
AUTO_CLASSES = (
    transformers.AutoModelForMaskedLM,
    transformers.AutoModelForPreTraining,
    transformers.AutoModelForCausalLM,
    transformers.AutoModelForSeq2SeqLM,
    transformers.AutoModel,
)
# What the parameters of a critic's head are called in the model it is part of.
HEAD_PREFIX = "critic_head."
_WEIGHTS = (SAFE_WEIGHTS_NAME, SAFE_WEIGHTS_INDEX_NAME, WEIGHTS_NAME, WEIGHTS_INDEX_NAME)


def lasting_name(name: str) -> str:
    """A model's name that also holds elsewhere on this machine."""
    return os.path.abspath(name) if name and os.path.isdir(name) else name


def lies_under(model: Any, name: str, revision: str | None) -> bool:
    """
    Whether a name alone loads a model again: by the shapes and first rows of its weights, as far as these are at hand.

    Args:
        model ([`~transformers.PreTrainedModel`]): With a critic.
        name (`str`): Folder or hub name.
        revision (`str`, *optional*): Of the hub, as [`commit_of`] gives it, which has read the weights there.
    """
    if os.path.isdir(name) and not any(Path(name, file).is_file() for file in _WEIGHTS):
        return has_adapters(model)  # else a variant or a subfolder, of which the model knows nothing
    if getattr(model, "hf_quantizer", None) is not None:
        return True
    if not _built_alike(model, name, revision):
        return False
    if revision is not None:
        return True
    files = _stored_at(name, None)
    return files is None or _deviation(model, files) <= 1.0


def commit_of(model: Any, name: str) -> str | None:
    """
    At which commit a name of the hub means the weights of a model, of those commits that lie in the cache. A model
    does not know where in its repository it came from.

    Args:
        model ([`~transformers.PreTrainedModel`]): With a critic.
        name (`str`): Hub name; a folder has no commits.

    Returns:
        `str` or `None`: `None` where none is at hand.
    """
    if not name or os.path.isdir(name):
        return None
    cached = Path(constants.HF_HUB_CACHE, f"models--{name.replace('/', '--')}")
    if not (cached / "snapshots").is_dir():
        return None
    main = cached / "refs" / "main"
    first = main.read_text(encoding="utf-8").strip() if main.is_file() else None
    commits = sorted((path.name for path in (cached / "snapshots").iterdir()), key=lambda commit: commit != first)
    if getattr(model, "hf_quantizer", None) is not None:  # whose weights are no longer those of the file
        return first
    found = {commit: _deviation(model, files) for commit in commits if (files := _stored_at(name, commit))}
    nearest = min(found, key=lambda commit: found[commit], default=None)
    return nearest if nearest is not None and found[nearest] <= 1.0 else None


def _stored_at(name: str, revision: str | None) -> list[str] | None:
    """The files of the weights under a name; `None` where they are not in safetensors, or not on this machine."""
    try:
        return stored_files(name, **({} if revision is None else {"revision": revision}), local_files_only=True)
    except (OSError, ValueError):
        return None


def _deviation(model: Any, files: list[str]) -> float:
    """How far the first rows of weights are from those in files, in units of what rounding may do."""
    own, most = dict(model.named_parameters()), 0.0
    for file in files:
        with safe_open(file, framework="pt") as weights:
            for key in own.keys() & set(weights.keys()):
                found = weights.get_slice(key)
                if found.get_shape() != list(own[key].shape):
                    return math.inf
                if own[key].dim():
                    first, stored = own[key].detach()[:1].float().cpu(), found[:1].float()
                    most = max(most, float(((first - stored).abs() / (1e-3 + 0.02 * first.abs())).max()))
    return most


def _built_alike(model: Any, name: str, revision: str | None) -> bool:
    """
    Whether a model has the parameters that the configuration under a name asks for: output weights that were untied,
    or layers left out by an argument, are no longer what its name loads.
    """
    stock = type(model).stock_class
    if has_adapters(model) or not stock.__module__.startswith("transformers."):
        return True
    try:
        config = type(model.config).from_pretrained(name, revision=revision, local_files_only=True)
    except (OSError, ValueError):  # not on this machine
        return True
    with torch.device("meta"):
        fresh = stock(config)
    own = {key: weight.shape for key, weight in model.named_parameters() if not key.startswith(HEAD_PREFIX)}
    return own == {key: weight.shape for key, weight in fresh.named_parameters()}


def auto_class_of(model: Any) -> str:
    """The Auto class that loads the model under a critic."""
    stock = type(model).stock_class
    for auto in AUTO_CLASSES:
        found = auto._model_mapping.get(type(model.config), ())
        if stock in (found if isinstance(found, tuple) else (found,)):
            return auto.__name__
    offered = model.__dict__.get("_stock_auto_map") or {}
    named = [name for name, reference in offered.items() if str(reference).rpartition(".")[2] == stock.__name__]
    return (named or [AUTO_CLASSES[0].__name__])[0]
