# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The fingerprint of a model's weights: as they lie in files, and as the active adapters of PEFT leave them."""

import copy
import hashlib
import os
import re
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from safetensors import safe_open
from torch import nn
from torch.distributed.tensor import DTensor
from transformers.utils import SAFE_WEIGHTS_INDEX_NAME, SAFE_WEIGHTS_NAME
from transformers.utils.hub import cached_file, get_checkpoint_shard_files


FINGERPRINT_SAMPLE = 4096  # elements looked at per tensor
_WRAPPERS = ("_orig_mod.", "module.")
# PEFT's name for the weights of an adapter.
ADAPTER_WEIGHTS_NAME = "adapter_model.safetensors"


def weights_fingerprint(named_tensors: Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]]) -> str | None:
    """A short proof that a table and a set of weights belong together.

    SHA-256 over names, shapes and up to 4096 evenly spaced elements of each tensor: reading all of a large model
    would cost more than loading it, while training moves nearly every element. Elements are rounded to bfloat16, so a
    float32 checkpoint and the same checkpoint loaded in bfloat16 agree; they rank and score alike. float16 may not
    agree, since rounding twice is another rounding: see [`weights_fingerprints`]. Wrappers of DDP and `torch.compile`
    do not change the answer.

    Args:
        named_tensors (`dict` or iterable of `(str, torch.Tensor)`): for instance `model.named_parameters()`.

    Returns:
        `str` or `None`: 64 hexadecimal digits; `None` if any tensor has no values here: on the meta device, or sharded
        over processes.
    """
    found = _fingerprints(named_tensors, ((torch.bfloat16,),))
    return None if found is None else found[0]


def weights_fingerprints(
    named_tensors: Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]],
) -> list[str] | None:
    """
    By what weights are known again though they were rounded to float16 on the way: their [`weights_fingerprint`], the
    same in all digits of float16, and in those of bfloat16 that float16 leaves. Arguments and `None` as there.
    """
    return _fingerprints(named_tensors, ((torch.bfloat16,), (torch.float16,), (torch.float16, torch.bfloat16)))


def fingerprints_agree(one: Sequence[str], other: Sequence[str]) -> bool:
    """
    Whether two sets of weights, by their [`weights_fingerprints`], are one but for what rounding to float16 or to
    bfloat16 took from them. Of old tables the first alone is known.
    """
    rounded = one[1:2] == other[1:2] != []
    return rounded or one[0] in (other[0], *other[2:]) or other[0] in one[2:]


def _fingerprints(
    named_tensors: Mapping[str, torch.Tensor] | Iterable[tuple[str, torch.Tensor]],
    roundings: Sequence[tuple[torch.dtype, ...]],
) -> list[str] | None:
    pairs = named_tensors.items() if isinstance(named_tensors, Mapping) else named_tensors
    heads: dict[str, bytes] = {}
    alike: dict[tuple, dict[str, torch.Tensor]] = {}  # samples by dtype and device
    for name, tensor in pairs:
        if tensor.is_meta or isinstance(tensor, DTensor):
            return None
        if name.startswith(_WRAPPERS):
            name = re.sub(r"^((_orig_mod|module)\.)+", "", name)
        sample = _sample(_values(tensor.detach()))
        heads[name] = f"{name}{list(tensor.shape)}\n".encode()
        # Of what was made for this turn alone no more than the sample is kept.
        kept = sample if isinstance(tensor, nn.Parameter) else sample.clone()
        alike.setdefault((sample.dtype, sample.device), {})[name] = kept
    return [_digest(heads, alike.values(), dtypes) for dtypes in roundings]


def _digest(heads: dict[str, bytes], alike: Iterable[dict[str, torch.Tensor]], dtypes: tuple[torch.dtype, ...]) -> str:
    """The hash of samples rounded to one dtype after the other, each behind its head, in the order of their names."""
    found: dict[str, Any] = {}
    for samples in alike:
        rounded = torch.cat(list(samples.values()))  # at once: a model has many tensors
        for dtype in dtypes:
            rounded = rounded.to(dtype)
        numbers, begin = memoryview(rounded.cpu().view(torch.int16).numpy()).cast("B"), 0
        for name, sample in samples.items():
            found[name], begin = numbers[begin : begin + 2 * sample.numel()], begin + 2 * sample.numel()
    digest = hashlib.sha256()
    for name in sorted(found):
        digest.update(heads[name])
        digest.update(found[name])
    return digest.hexdigest()


def _sample(tensor: torch.Tensor) -> torch.Tensor:
    """Up to 4096 evenly spaced elements, as one row."""
    step = max(1, -(-tensor.numel() // FINGERPRINT_SAMPLE))
    if tensor.is_contiguous():  # in one operation: each call of `generate` looks at all tensors
        return tensor.as_strided((-(-tensor.numel() // step),), (step,))
    return tensor.reshape(-1)[::step]


def _values(tensor: torch.Tensor) -> torch.Tensor:
    """The numbers that a tensor stands for, where it is of a class that holds others, such as quantised ones."""
    return tensor.dequantize() if type(tensor).dequantize is not torch.Tensor.dequantize else tensor


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


def stored_fingerprints(
    pretrained_model_name_or_path: str | os.PathLike, variant: str | None = None, **location: Any
) -> list[str] | None:
    """As [`stored_fingerprint`], all [`weights_fingerprints`]."""
    files = stored_files(pretrained_model_name_or_path, variant, **location)
    return weights_fingerprints(_tensors(files)) if files else None


def _tensors(files: list[str]) -> Iterator[tuple[str, torch.Tensor]]:
    for file in files:
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():  # noqa: SIM118
                yield name, weights.get_tensor(name)


def _adapter_classes() -> tuple[Any, ...]:
    """What PEFT puts in place of modules: layers with an adapter, and modules that are trained whole."""
    # Unless somebody has imported it there are no adapters. An import here would make it a requirement.
    if "peft" not in sys.modules:
        return ()
    peft = sys.modules["peft"]
    return peft.tuners.tuners_utils.BaseTunerLayer, peft.utils.AuxiliaryTrainingWrapper


def has_adapters(model: nn.Module) -> bool:
    """Whether PEFT has put adapters into a model, active or not, and not merged and unloaded since."""
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
    classes = _adapter_classes()
    if not classes:
        yield from model.named_parameters()
        return
    seen: set[int] = set()
    for name, weight, is_own in _walk(model, "", classes, adapted):
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
def _effective_module(layer: Any, adapted: bool) -> tuple[nn.Module, bool]:
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
