# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What checkpoints of nanoGPT and its forks look like, and how their tensors become ours."""

import pickle
import re
import zipfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch

from critic_gpt import CriticGPTConfig
from critic_gpt.scripts import one_line


SIZES = ("n_layer", "n_head", "n_embd", "block_size")
# Taken over as they are; the configuration understands the older ones among them.
TAKEN_OVER = (
    *("dropout", "num_token_classes", "binary_classification", "mask_token_id", "pad_token_id"),
    *("add_critic_head", "critic_alpha", "critic_target_scope"),
)
DECIDED_HERE = (*SIZES, "vocab_size", "bias", "mode", "attention_type", "position_encoding")
# What the heads are called, by mode; each with the part of our head that a tensor is.
HEADS = {
    "token_classifier": (
        ("token_head", "token_classifier", "classifier", "classification_head", "lm_head"),
        {"weight": "classifier.weight", "bias": "classifier.bias"},
    ),
    "sequence_scorer": (
        ("sequence_head", "sequence_scorer", "score_head", "scorer", "score"),
        {
            "weight": "score.weight",
            "scale": "score.scale",
            "A": "score.scale",
            "bias": "score.shift",
            "shift": "score.shift",
            "B": "score.shift",
        },
    ),
}
# Heads of another mode are no surprise, and stay behind.
OTHER_HEADS = {"critic_head", *(name for names, _ in HEADS.values() for name in names)} - {"lm_head"}
# Buffers that older attention and rotary layers keep; all can be computed.
_BUFFER = re.compile(
    r"(.+\.)?(masked_bias|inv_freq|freqs_cis|cos_cached|sin_cached)|(.+\.)?(rotary|rotary_emb|rope)\..+"
)


class Checkpoint(NamedTuple):
    """The weights by their names without wrappers, and the arguments the model was built with."""

    weights: dict[str, torch.Tensor]
    model_args: dict[str, Any]


class Part(NamedTuple):
    """One tensor of the old model: its `shape`, what it becomes (three parts of equal size for queries, keys and
    values), and whether the old model can be without it.
    """

    shape: tuple[int, ...]
    targets: tuple[str, ...]
    optional: bool = False


@dataclass
class Conversion:
    """The new weights, and the account of where they come from."""

    weights: dict[str, torch.Tensor] = field(default_factory=dict)
    mapped: dict[str, str] = field(default_factory=dict)
    initialised: dict[str, str] = field(default_factory=dict)
    dropped: dict[str, str] = field(default_factory=dict)


# --------------------------------------------------------------------------------------------------------------------
# Reading
# --------------------------------------------------------------------------------------------------------------------


def first_words(error: BaseException) -> str:
    """The first sentence of somebody else's error."""
    return re.split(r"[.:;] ", one_line(error))[0][:100].rstrip(".")


def read_checkpoint(path: str) -> Checkpoint:
    """
    Reads a checkpoint without running anything in it.

    Args:
        path (`str`): A file of `torch.save`.

    Raises:
        `ValueError`: No such file, one that is damaged or asks for more than tensors and plain values, or one without
            `model` and `model_args`.
    """
    if not Path(path).is_file():
        raise ValueError(f"`checkpoint` must be a file, got {path!r}, which is none: check the path.")
    try:
        # Mapped, an optimizer's state, twice as large as the model, is not read at all.
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(path))
    except pickle.UnpicklingError as error:
        # Not in torch's words, which advise to load it all the same.
        asked = re.search(r"GLOBAL (\S+)", str(error))
        what = f"asks for {asked.group(1)} and could run code" if asked else "holds something else, or is damaged"
        raise ValueError(
            f"`checkpoint` must hold tensors and plain values only, got {path!r}, which {what}: ask its author for a "
            "file without that."
        ) from None
    except Exception as error:  # of a damaged file, anything may come
        raise ValueError(
            f"`checkpoint` must be a whole file of torch.save, got {path!r}, which did not load "
            f"({first_words(error)}): copy it again."
        ) from error
    for key in ("model", "model_args"):
        if not isinstance(content, dict) or not isinstance(content.get(key), dict):
            found = sorted(map(str, content))[:6] if isinstance(content, dict) else type(content).__name__
            raise ValueError(
                f"`checkpoint` must be a mapping with the mappings `model` and `model_args`, got {found}: save "
                "both, as nanoGPT does."
            )
    weights = {}
    for name, tensor in content["model"].items():
        name = re.sub(r"^((_orig_mod|module)\.)+", "", str(name))
        if not isinstance(tensor, torch.Tensor) or name in weights:
            fault = "twice" if name in weights else f"as a {type(tensor).__name__}"
            raise ValueError(f"`model` must hold every tensor once, got {name} {fault}: save a plain state_dict.")
        weights[name] = tensor
    return Checkpoint(weights, content["model_args"])


def read_sizes(checkpoint: Checkpoint) -> dict[str, int]:
    """`n_layer`, `n_head`, `n_embd`, `block_size` and `vocab_size`; the last may be told by the weights alone."""
    model_args = checkpoint.model_args
    sizes = {name: model_args.get(name) for name in SIZES}
    sizes["vocab_size"] = model_args.get("vocab_size")
    if sizes["vocab_size"] is None and "transformer.wte.weight" in checkpoint.weights:
        sizes["vocab_size"] = len(checkpoint.weights["transformer.wte.weight"])
    for name, value in sizes.items():
        if type(value) is not int or value < 1:
            raise ValueError(
                f"`{name}` in model_args must be a whole number of at least 1, got {value!r}: add it to the file."
            )
    return sizes


# --------------------------------------------------------------------------------------------------------------------
# Layout
# --------------------------------------------------------------------------------------------------------------------


def trunk_layout(checkpoint: Checkpoint, sizes: dict[str, int], absolute: bool, use_bias: bool) -> dict[str, Part]:
    """The trunk's tensors by their old names."""
    width, inner = sizes["n_embd"], inner_width(checkpoint, sizes)
    layout = {"transformer.wte.weight": Part((sizes["vocab_size"], width), ("model.embed_tokens.weight",))}
    if absolute:
        layout["transformer.wpe.weight"] = Part((sizes["block_size"], width), ("model.embed_positions.weight",))

    def add(old: str, *new: str, rows: int = width, columns: int | None = None) -> None:
        shape = (rows,) if columns is None else (rows, columns)
        layout[f"{old}.weight"] = Part(shape, tuple(f"{name}.weight" for name in new))
        if use_bias:
            targets = tuple(f"{name}.bias" for name in new)
            layout[f"{old}.bias"] = Part((rows,), targets, optional=checkpoint.model_args.get("bias") is not True)

    for i in range(sizes["n_layer"]):
        old, new = f"transformer.h.{i}", f"model.layers.{i}"
        heads = [f"{new}.self_attn.{kind}_proj" for kind in "qkv"]
        add(f"{old}.ln_1", f"{new}.input_layernorm")
        add(f"{old}.attn.c_attn", *heads, rows=3 * width, columns=width)
        add(f"{old}.attn.c_proj", f"{new}.self_attn.o_proj", columns=width)
        add(f"{old}.ln_2", f"{new}.post_attention_layernorm")
        add(f"{old}.mlp.c_fc", f"{new}.mlp.up_proj", rows=inner, columns=width)
        add(f"{old}.mlp.c_proj", f"{new}.mlp.down_proj", columns=inner)
    add("transformer.ln_f", "model.norm")
    return layout


def head_layout(checkpoint: Checkpoint, config: CriticGPTConfig, mode: str, known_tokens: int) -> dict[str, Part]:
    """The heads' tensors by their old names, as far as the checkpoint has them and the class has a place for them."""
    width, weights = config.hidden_size, checkpoint.weights
    if mode == "language_model":
        layout = {}
        if not config.tie_word_embeddings:
            layout["lm_head.weight"] = Part((known_tokens, width), ("lm_head.weight",))
        if config.add_critic_head and "critic_head.weight" in weights:
            layout["critic_head.weight"] = Part((1, width), ("critic_head.weight",))
        return layout
    names, parts = HEADS[mode]
    for name in names:
        if f"{name}.weight" in weights and (name != "lm_head" or len(weights["lm_head.weight"]) == config.num_labels):
            _score_parts(name, weights)
            shape = {"weight": (config.num_labels, width), "bias": (config.num_labels,)}
            return {
                f"{name}.{part}": Part(shape.get(part, (1,)), (target,))
                for part, target in parts.items()
                if f"{name}.{part}" in weights
            }
    return {}


def _score_parts(name: str, weights: dict[str, torch.Tensor]) -> None:
    """Refuses a scorer with a bias inside of its scale and shift, which our head has no place for."""
    if f"{name}.bias" in weights and any(f"{name}.{part}" in weights for part in ("scale", "A", "shift", "B")):
        raise ValueError(
            f"`model` must hold either {name}.bias or scale and shift, got both: multiply the bias by the scale, add "
            "it to the shift and leave it out."
        )


def inner_width(checkpoint: Checkpoint, sizes: dict[str, int]) -> int:
    """Width of the MLP, which no argument tells."""
    first = checkpoint.weights.get("transformer.h.0.mlp.c_fc.weight")
    return 4 * sizes["n_embd"] if first is None else len(first)


def has_biases(checkpoint: Checkpoint) -> bool:
    """Whether any layer of the trunk has a bias."""
    names = r"transformer\.(ln_f|h\.\d+\.(ln_1|ln_2|attn\.c_attn|attn\.c_proj|mlp\.c_fc|mlp\.c_proj))\.bias"
    return checkpoint.model_args.get("bias") is True or any(re.fullmatch(names, name) for name in checkpoint.weights)


def is_tied(weights: dict[str, torch.Tensor]) -> bool:
    """Whether the LM head is the embedding: it then stands in the file twice, or once."""
    head, embedding = weights.get("lm_head.weight"), weights.get("transformer.wte.weight")
    return head is None or embedding is None or torch.equal(head, embedding)


# --------------------------------------------------------------------------------------------------------------------
# Converting
# --------------------------------------------------------------------------------------------------------------------


def convert_weights(
    checkpoint: Checkpoint, layout: dict[str, Part], num_heads: int, interleaved: bool, drop_unknown: bool
) -> Conversion:
    """Takes apart, checks and renames; leaves the old tensors as they are."""
    conversion = Conversion()
    for old, part in layout.items():
        tensor = checkpoint.weights.get(old)
        if tensor is not None and tensor.dim() == 0 and part.shape == (1,):
            tensor = tensor[None]  # a scale or shift kept as a plain number
        if tensor is None and part.optional:
            tensor = torch.zeros(part.shape, dtype=checkpoint.weights["transformer.wte.weight"].dtype)
            conversion.initialised[old] = "zeros, for no bias"
        elif tensor is None:
            raise ValueError(f"`model` must hold {old}, got a checkpoint without it: check `model_args`, or its copy.")
        elif tuple(tensor.shape) != part.shape or not tensor.is_floating_point():
            raise ValueError(
                f"{old} must be floating-point of shape {part.shape} by `model_args`, got {tensor.dtype} of shape "
                f"{tuple(tensor.shape)}: correct `model_args`."
            )
        else:
            conversion.mapped[old] = _in_braces(part.targets)
        for target, piece in zip(part.targets, tensor.chunk(len(part.targets)), strict=True):
            if interleaved and target.rsplit(".", 2)[-2] in ("q_proj", "k_proj"):
                piece = halves_from_pairs(piece, num_heads)
            conversion.weights[target] = piece.clone()
    heads = {old.split(".")[0] for old in layout if not old.startswith("transformer.")}
    for old, tensor in checkpoint.weights.items():
        if old not in layout:
            conversion.dropped[old] = _why_dropped(old, tensor, heads, drop_unknown)
    return conversion


def halves_from_pairs(rows: torch.Tensor, num_heads: int) -> torch.Tensor:
    """
    Reorders the rows (D, ...) of a projection to queries or keys whose head turns neighbours 2i and 2i + 1, so that i
    and i + half are turned. Dot products of queries and keys do not notice.
    """
    pairs = rows.reshape(num_heads, -1, 2, *rows.shape[1:])  # (heads, pairs, 2, ...)
    return pairs.transpose(1, 2).reshape(rows.shape)


def _why_dropped(name: str, tensor: torch.Tensor, heads_taken: set[str], drop_unknown: bool) -> str:
    if _BUFFER.fullmatch(name) or (name.endswith(".attn.bias") and tensor.dim() == 4):
        return "a buffer, computed"
    head = name.split(".")[0]
    if name == "lm_head.weight" or (head in OTHER_HEADS and head not in heads_taken):
        return "the embedding again, or a head that the new model does not have"
    if drop_unknown:
        return "unknown"
    raise ValueError(
        f"`model` must hold what nanoGPT has, got {name} of shape {tuple(tensor.shape)} besides: pass --drop_unknown "
        "to leave it behind."
    )


def _in_braces(names: tuple[str, ...]) -> str:
    """`a.{q,k,v}_proj` for the three."""
    if len(names) == 1:
        return names[0]
    differing = [position for position, letters in enumerate(zip(*names, strict=True)) if len(set(letters)) > 1]
    begin, end = differing[0], differing[-1] + 1
    return f"{names[0][:begin]}{{{','.join(name[begin:end] for name in names)}}}{names[0][end:]}"


def grow_vocabulary(conversion: Conversion, size: int) -> None:
    """Adds rows to embedding and LM head: the mean of the known ones."""
    for name in ("model.embed_tokens.weight", "lm_head.weight"):
        rows = conversion.weights.get(name)
        if rows is not None and len(rows) < size:
            mean = rows.double().mean(dim=0).to(rows.dtype)
            conversion.weights[name] = torch.cat([rows, mean.expand(size - len(rows), -1)])
            conversion.initialised[f"{name}[{len(rows)}:{size}]"] = "the mean of the known rows"
