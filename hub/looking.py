# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A look at a model's folder before Transformers reads it: documents of bounded depth, sizes that weights can have.

Transformers takes its JSON files as they come, and makes what a configuration describes before it meets the weights.
"""

import itertools
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NoReturn

import torch
from transformers.utils import cached_file

from critic_gpt.hub.documents import MAX_BYTES, MEND_OR_REMOVE, SAVE_AGAIN, read_object
from critic_gpt.hub.moving import CRITIC_CONFIG_NAME, finish_moving


# What Transformers and PEFT read of a folder, beside weights and the rules of a tokenizer.
DOCUMENTS = (
    *("config.json", "generation_config.json", "tokenizer_config.json", "special_tokens_map.json"),
    *("added_tokens.json", "adapter_config.json", CRITIC_CONFIG_NAME, "model.safetensors.index.json"),
)
# Without these there is no model, so that to remove them is no way out.
_INDISPENSABLE = ("config.json", "adapter_config.json", CRITIC_CONFIG_NAME, "model.safetensors.index.json")
_WEIGHTS = ("model", "pytorch_model")
_WEIGHTS_ENDINGS = (".safetensors", ".bin")
# Far above any model there is; by the endings of what configurations call their sizes.
_LARGEST = {"layers": 2**12, "_layer": 2**12, "heads": 2**12, "_head": 2**12, "num_labels": 2**20}
_LARGEST |= {"_size": 2**24, "_dim": 2**24, "d_model": 2**24, "n_embd": 2**24, "position_embeddings": 2**24}
_KINDS: dict[str, tuple[type, ...]] = {
    "model_type": (str,),
    "architectures": (list, type(None)),
    "auto_map": (dict,),
    "custom_pipelines": (dict,),
    "dtype": (str, dict, type(None)),
    "torch_dtype": (str, dict, type(None)),
    "id2label": (dict, type(None)),
    "label2id": (dict, type(None)),
    "quantization_config": (dict,),
    "attn_implementation": (str, dict, type(None)),
    "_attn_implementation": (str, dict, type(None)),
}
# Weights that take no time to make: where some are missing, Transformers says which.
_SMALL = 2**22
_SIZES = ("vocab_size", "hidden_size", "num_hidden_layers", "intermediate_size", "max_position_embeddings")
_WIDTHS = ("hidden_size", "embedding_size", "d_model", "n_embd", "emb_dim", "dim")


def look_at_folder(path: str | os.PathLike, **location: Any) -> None:
    """
    Ends a move of files that was interrupted, and refuses what Transformers would trip over, or make without end. To
    be called before one of its classes reads a folder, or a repository of the hub, of which config.json is looked at.

    Args:
        path (`str` or `os.PathLike`): Folder or hub name.
        location: What says where files come from, as in `from_pretrained`.

    Raises:
        `ValueError`: A document is damaged or nested too deeply, or describes more than there can be.
    """
    folder = Path(path, location.get("subfolder") or "")
    finish_moving(folder)
    if folder.is_dir():
        found = {name: folder / name for name in DOCUMENTS if (folder / name).is_file()}
    else:
        file = file_if_any(path, "config.json", **location)
        found = {} if file is None else {"config.json": Path(file)}
    documents = {name: _read(name, file) for name, file in found.items()}
    if "config.json" in documents:
        check_kinds(documents["config.json"], found["config.json"])
        check_sizes(documents["config.json"], found["config.json"])
        check_weights(documents["config.json"], path, **location)


def _read(name: str, file: Path) -> dict[str, Any]:
    most = 2**26 if name.endswith(".index.json") else MAX_BYTES  # a line for each of many weights
    return read_object(file, most, SAVE_AGAIN if name in _INDISPENSABLE else MEND_OR_REMOVE)


def file_if_any(path: str | os.PathLike, name: str, **location: Any) -> str | None:
    """Where a file of a folder, or of a repository of the hub, lies on this machine; `None` where there is none."""
    quiet = {f"_raise_exceptions_for_{what}": False for what in ("gated_repo", "missing_entries", "connection_errors")}
    try:
        return cached_file(os.fspath(path), name, **{**location, **quiet})
    except (OSError, ValueError):  # neither a folder nor a name: whoever reads it says so
        return None


def check_kinds(content: Mapping[str, Any], file: str | os.PathLike) -> None:
    """Refuses what Transformers takes for granted of a `config.json` while it finds out whose it is."""
    for name, kinds in _KINDS.items():
        if name in content and not isinstance(content[name], kinds):
            _refuse(name, f"{kinds[0].__name__} as Transformers writes it", content[name], file)
    for name in content.get("architectures") or []:
        if not isinstance(name, str):
            _refuse("architectures", "a list of names", content["architectures"], file)
    for name in ("dtype", "torch_dtype"):
        dtype = content.get(name)
        if isinstance(dtype, str) and not isinstance(getattr(torch, dtype.removeprefix("torch."), None), torch.dtype):
            _refuse(name, "the name of a precision", dtype, file)
    inner = (content[name].items() for name in ("auto_map", "id2label") if isinstance(content.get(name), dict))
    for key, value in itertools.chain.from_iterable(inner):
        if not isinstance(value, (str, list)) and not (isinstance(value, int) and key.isdecimal()):
            _refuse(key, "a name", value, file)


def _refuse(name: str, rule: str, value: Any, file: str | os.PathLike) -> NoReturn:
    raise ValueError(f"`{name}` must be {rule}, got {value!r:.60} in {os.fspath(file)!r}: mend the file.")


def check_sizes(content: Mapping[str, Any], file: str | os.PathLike) -> None:
    """Refuses a configuration, with all that lies within it, that describes what no machine can make."""
    for name, value in content.items():
        if isinstance(value, dict):
            check_sizes(value, file)
            continue
        largest = next((most for ending, most in _LARGEST.items() if name.endswith(ending)), None)
        if largest is not None and isinstance(value, int) and value > largest:
            _refuse(name, f"at most {largest:,}", value if value < 10**15 else "far more", file)


def check_weights(
    content: Mapping[str, Any],
    path: str | os.PathLike,
    count: Callable[[], int] | None = None,
    **location: Any,
) -> None:
    """
    Refuses a configuration of more weights than lie in its folder, at a byte each or half of one where they are
    quantised: others are made only to be found missing.

    Args:
        content (`Mapping`): Of a `config.json`.
        path (`str` or `os.PathLike`): The folder; of a repository of the hub nothing is known yet.
        count (callable, *optional*): Says how many there are exactly; asked where the sizes look too large.
        location: What says where files come from, as in `from_pretrained`.
    """
    folder = Path(path, location.get("subfolder") or "")
    files = folder.iterdir() if folder.is_dir() else ()
    stored = sum(file.stat().st_size for file in files if _holds_weights(file.name) and file.is_file())
    most = stored * (2 if content.get("quantization_config") else 1)
    described, certain = _described_weights(content)
    if stored and described > most and not certain:
        described = 0 if count is None else count()
    if stored and described > max(most, _SMALL):
        sizes = ", ".join(f"`{name}` {content[name]!r:.20}" for name in _SIZES if content.get(name) is not None)
        raise ValueError(
            f"the weights in {os.fspath(path)!r} must have the shapes that its config.json describes, got {stored:,} "
            f"bytes for at least {described:,} weights ({sizes}): mend it, or save the model again."
        )


def _holds_weights(name: str) -> bool:
    return name.startswith(_WEIGHTS) and name.endswith(_WEIGHTS_ENDINGS)


def _described_weights(content: Mapping[str, Any]) -> tuple[int, bool]:
    """
    How many weights the sizes of a configuration come to, and whether there are as many at least. Of CriticGPT the
    embedding and the matrices of its blocks are counted, of others the embedding, or else what may be shared or absent
    in some of them: layers, positions.
    """
    given = {name: content[name] for name in (*_SIZES, *_WIDTHS) if isinstance(content.get(name), int)}
    widths = [given[name] for name in _WIDTHS if name in given]
    if not widths:
        return 0, True
    width, layers = min(widths), given.get("num_hidden_layers", 0)
    embedding = given.get("vocab_size", 0) * width
    if content.get("model_type") == "critic_gpt":
        inner = given.get("intermediate_size", 4 * width)
        return embedding + layers * width * (4 * width + 2 * inner), True
    inner = max(width, given.get("intermediate_size", 0))
    others = given.get("max_position_embeddings", 0) * width, layers * width * inner
    return max(embedding, *others), embedding >= max(others)
