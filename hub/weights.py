# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Whether a model was loaded whole: what a file of weights lacks is drawn at random, and must not pass for trained."""

import os
import re
from collections.abc import Iterable
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from critic_gpt.hub.folder import location_of
from critic_gpt.hub.looking import check_weights, look_at_folder


SHOWN = 3
# What may be new as a whole on a trained trunk.
NEW_HEADS = ("critic_head", "joint_head", "classifier", "score")
_LAYER = re.compile(r"(?:^|\.)layers\.(\d+)\.")


class UnfitWeightsError(ValueError, RuntimeError):
    """Weights that do not fit their configuration; also what Transformers raises for other shapes."""


def weights_fault(model: nn.Module, missing: Iterable[str], unexpected: Iterable[str]) -> str | None:
    """
    What keeps loaded weights from being all that a model computes with.

    Args:
        model ([`~transformers.PreTrainedModel`]): As loaded.
        missing (iterable of `str`): The weights that were not found. A head may be new as a whole, not in parts.
        unexpected (iterable of `str`): Those that were found and belong to nothing.

    Returns:
        `str` or `None`: As "must ..., got ..."; `None` where nothing does.
    """
    missing = set(missing)
    for name, child in model.named_children():
        own = {f"{name}.{inner}" for inner, _ in child.named_parameters()}
        if name in NEW_HEADS and model.base_model is not model and own <= missing:
            missing -= own
    if missing:
        return f"must hold all weights that its config.json describes, got none for {_named(missing)}"
    layers = getattr(model.config, "num_hidden_layers", None)
    if not isinstance(layers, int):
        return None
    surplus = [name for name in unexpected if (found := _LAYER.search(name)) and int(found[1]) >= layers]
    if surplus:
        return f"must hold weights for the {layers} layers of its config.json, got more: {_named(surplus)}"
    return None


def check_heads_finite(model: nn.Module, path: str | os.PathLike) -> None:
    """
    Refuses a model with a head that can say nothing: its weights are NaN or infinite.

    Args:
        model ([`~transformers.PreTrainedModel`]): As loaded. Weights that are offloaded are passed over.
        path (`str` or `os.PathLike`): Where it came from.
    """
    for name, weight in model.named_parameters():
        if name.partition(".")[0] not in NEW_HEADS or weight.is_meta or bool(weight.isfinite().all()):
            continue
        way_out = "save it again from before its training diverged"
        if weight.dtype != torch.float32:
            way_out = f"load it in float32, or {way_out}"
        raise UnfitWeightsError(
            f"`{name}` must be finite numbers in {os.fspath(path)!r}, got NaN or infinity in {weight.dtype}: "
            f"{way_out}."
        )


def _named(names: Iterable[str]) -> str:
    names = sorted(names)
    rest = len(names) - SHOWN
    return ", ".join(names[:SHOWN]) + (f" and {rest} more" if rest > 0 else "")


def _look(cls: Any, path: str | os.PathLike | None, kwargs: dict[str, Any]) -> None:
    """Refuses a folder whose documents are damaged, or describe what its weights cannot be, before either is made."""
    if path is None:
        return
    location, config = location_of(kwargs), kwargs.get("config")
    try:
        look_at_folder(path, **location)
        if isinstance(config, PreTrainedConfig) and not kwargs.get("ignore_mismatched_sizes"):
            content = {**vars(config), "model_type": config.model_type}
            check_weights(content, path, lambda: _count(cls, config), **location)
    except ValueError as error:
        raise UnfitWeightsError(str(error)) from error


def _count(cls: Any, config: Any) -> int:
    """How many weights a model of a configuration has; none is made."""
    with torch.device("meta"):
        return sum(weight.numel() for weight in cls(config).parameters())


class WholeWeightsMixin:
    """Remembers whether `from_pretrained` found all weights. Stands before the class whose method it extends."""

    # What was missing, as `weights_fault` says it.
    weights_fault: str | None = None

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, output_loading_info: bool = False, **kwargs):
        """As the parent's; what it did not find is remembered, for [`check_whole`]."""
        _look(cls, pretrained_model_name_or_path, kwargs)
        try:
            model, info = super().from_pretrained(  # type: ignore[misc]
                pretrained_model_name_or_path, *model_args, output_loading_info=True, **kwargs
            )
        except RuntimeError as error:
            if "mismatch" not in str(error):
                raise
            raise UnfitWeightsError(
                f"the weights in {os.fspath(pretrained_model_name_or_path)!r} must have the shapes that its "
                f"config.json describes ({' '.join(str(error).split()).rstrip('.')}): save the model again."
            ) from error
        model.weights_fault = weights_fault(model, info["missing_keys"], info["unexpected_keys"])
        check_heads_finite(model, pretrained_model_name_or_path)
        return (model, info) if output_loading_info else model

    def check_whole(self, field: str, path: str | os.PathLike) -> None:
        """
        Refuses a model that was loaded from incomplete weights.

        Args:
            field (`str`): The argument that names it.
            path (`str` or `os.PathLike`): Where it came from.

        Raises:
            `ValueError`: Weights were missing or left over.
        """
        if self.weights_fault is not None:
            raise ValueError(
                f"`{field}` {self.weights_fault} in {os.fspath(path)!r}: save the model again where it is whole, or "
                "mend config.json."
            )
