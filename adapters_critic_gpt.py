# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Models with adapters of PEFT: the weights that they amount to, which are those after merging the adapters."""

import copy
import sys
from collections.abc import Iterator

import torch
from torch import nn


# What PEFT calls the weights of an adapter in its folder.
ADAPTER_WEIGHTS_NAME = "adapter_model.safetensors"


def _adapter_classes() -> tuple[type, ...]:
    """What PEFT puts in the place of modules: layers with an adapter, and modules that are trained as a whole."""
    # Before somebody has imported it there can be no adapters. An import here would make it a requirement.
    if "peft" not in sys.modules:
        return ()
    peft = sys.modules["peft"]
    return peft.tuners.tuners_utils.BaseTunerLayer, peft.utils.AuxiliaryTrainingWrapper


def has_adapters(model: nn.Module) -> bool:
    """Whether PEFT has put adapters into a model, active or not, which are not merged and unloaded again."""
    classes = _adapter_classes()
    return bool(classes) and any(isinstance(module, classes) for module in model.modules())


def effective_weights(model: nn.Module, adapted: bool = True) -> Iterator[tuple[str, torch.Tensor]]:
    """
    The weights that a model computes with, by their names in the model without adapters: with an adapter those that
    merging it would leave, one layer at a time.

    Args:
        model (`nn.Module`): With adapters or without, merged or not; nothing is changed about it.
        adapted (`bool`, *optional*, defaults to `True`): `False` looks at the model as if its adapters were disabled.

    Returns:
        Iterator of `(str, torch.Tensor)`: a weight that is tied comes once, as from `named_parameters`.
    """
    seen: set[int] = set()
    for name, weight, is_own in _walk(model, "", _adapter_classes(), adapted):
        if is_own and id(weight) in seen:
            continue
        if is_own:  # what was merged here lives no longer than its turn, and its address may come again
            seen.add(id(weight))
        yield name, weight


def _walk(module: nn.Module, prefix: str, classes: tuple[type, ...], adapted: bool):
    """Name, weight, and whether it is one of the model's own."""
    is_own = True
    if classes and isinstance(module, classes):
        module, is_own = _effective_module(module, adapted)
    for name, weight in module.named_parameters(recurse=False):
        yield f"{prefix}{name}", weight, is_own
    for name, child in module.named_children():
        for below, weight, child_is_own in _walk(child, f"{prefix}{name}.", classes, adapted):
            yield below, weight, is_own and child_is_own


@torch.no_grad()
def _effective_module(layer: nn.Module, adapted: bool) -> tuple[nn.Module, bool]:
    """The plain module that a module of PEFT amounts to, and whether it is a part of the model and not made here."""
    on = adapted and not layer.disable_adapters and bool(layer.active_adapters)
    if isinstance(layer, _adapter_classes()[1]):
        if not on:
            return layer.original_module, True
        trained = getattr(layer, "modules_to_save", {})
        names = [name for name in layer.active_adapters if name in trained]
        return (trained[names[0]] if names else layer), True
    if on == layer.merged:  # merged weights are used as they are, and without an adapter those below it
        return layer.get_base_layer(), True
    layer = copy.deepcopy(layer)
    if on:
        layer.merge()
    else:
        layer.unmerge()
    return layer.get_base_layer(), False
