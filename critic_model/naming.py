# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""By which name the model under a critic is loaded again, and whether that name still means it."""

import os
from pathlib import Path
from typing import Any

import torch
import transformers
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
        revision (`str`, *optional*): Of the hub.
    """
    if os.path.isdir(name) and not any(Path(name, file).is_file() for file in _WEIGHTS):
        return has_adapters(model)  # else a variant or a subfolder, of which the model knows nothing
    if getattr(model, "hf_quantizer", None) is not None:
        return True
    if not _built_alike(model, name, revision):
        return False
    try:
        files = stored_files(name, **({} if revision is None else {"revision": revision}), local_files_only=True)
    except (OSError, ValueError):  # not in safetensors, or not on this machine
        return True
    own = dict(model.named_parameters())
    for file in files:
        with safe_open(file, framework="pt") as weights:
            for key in own.keys() & set(weights.keys()):
                found = weights.get_slice(key)
                if found.get_shape() != list(own[key].shape):
                    return False
                first = own[key].detach()[:1].float().cpu() if own[key].dim() else None
                # In whatever precision either is.
                if first is not None and not torch.allclose(found[:1].float(), first, rtol=0.02, atol=1e-3):
                    return False
    return True


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
