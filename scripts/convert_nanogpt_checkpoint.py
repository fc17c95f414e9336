# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Turns a checkpoint of nanoGPT, or of a fork with a critic, into the folder of a model.

    python scripts/convert_nanogpt_checkpoint.py out/ckpt.pt runs/converted --mask_token_id 50257 --pad_token_id 50258
    python scripts/convert_nanogpt_checkpoint.py ckpt.pt runs/converted --tokenizer runs/data --vocab_size 67

The file is a mapping with `model` (weights, their names possibly behind `_orig_mod.` or `module.`) and `model_args`
(`n_layer`, `n_head`, `n_embd`, `block_size`, ...). It is read as tensors and plain values only: a file that asks for
anything else is refused, and nothing in it is run. The outputs of the new model equal those of the old one.

What the file leaves open is settled so:

- `attention_type`: causal, as nanoGPT is; --attention_type decides otherwise.
- `position_encoding`: absolute where the weights have learnt positions (`wpe`), else rotary. Rotary positions turn
  dimension i of a head together with i + half of its width, as GPT-NeoX does; for checkpoints that turn neighbours,
  2i together with 2i + 1, pass --rotary_interleaved: the rows of queries and keys are then put in our order.
- `mode`: language_model; token_classifier and sequence_scorer become the classes of these heads.
- Biases that only some layers have: the others get zeros, which changes nothing.
- A vocabulary that grows (--vocab_size): known ids keep their rows, new ones get the mean of all known rows, so that
  none of them is likelier than an average token. GPT-2's 50,257 tokens are often padded to 50,304: rows from 50,257 on
  are free for [MASK] and padding.
- A `calibration.json` beside the file: its table goes along with the critic, under the new weights' name.
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("convert")  # before anything is imported that takes long

import argparse
import re
import sys
from collections import Counter
from functools import reduce
from pathlib import Path
from typing import Any

import torch

import critic_gpt
from critic_gpt import CriticCalibration, CriticGPTConfig
from critic_gpt.cli.flags import convert_parser
from critic_gpt.explorer.drawing import visible_text
from critic_gpt.hub.legacy_keys import LEGACY_MODES, legacy_mode
from critic_gpt.hub.vocabulary import read_tokenizer
from critic_gpt.scripts import check_output_dir, run_as_program, say
from critic_gpt.scripts.nanogpt_layout import (
    DECIDED_HERE,
    SIZES,
    TAKEN_OVER,
    Checkpoint,
    Conversion,
    convert_weights,
    first_words,
    grow_vocabulary,
    has_biases,
    head_layout,
    inner_width,
    is_tied,
    read_checkpoint,
    read_sizes,
    trunk_layout,
)
from critic_gpt.training.checkpoints import STAGING, staged_folder


_LAYER = re.compile(r"\b(h|layers)\.\d+\.")


def check_new_output_dir(folder: str) -> None:
    """Refuses a place that holds something; what an interrupted conversion left there does not count."""
    check_output_dir("output_dir", folder)
    path = Path(folder)
    if path.exists() and (not path.is_dir() or any(inside.name != STAGING for inside in path.iterdir())):
        raise ValueError(f"`output_dir` must be new or an empty folder, got {folder!r}: choose another name.")


def load_tokenizer(args: argparse.Namespace):
    """The tokenizer to be saved with the model, if any, checked against the flags."""
    if args.tokenizer is None:
        return None
    try:
        tokenizer = read_tokenizer(args.tokenizer)
    except ValueError as error:
        raise ValueError(
            f"`tokenizer` must be the folder or hub name of a tokenizer, got {args.tokenizer!r}, which did not load "
            f"({first_words(error)}): check the path."
        ) from error
    for name in ("mask_token_id", "pad_token_id"):
        given, own = getattr(args, name), getattr(tokenizer, name)
        if None not in (given, own) and given != own:
            raise ValueError(f"`{name}` must be the tokenizer's, {own}, got {given}: leave it out.")
    return tokenizer


def check_vocabulary(args: argparse.Namespace, known: int, tokenizer) -> None:
    """Refuses a vocabulary that has no place for what is known, or for the tokenizer's tokens."""
    if args.vocab_size is not None and args.vocab_size < known:
        raise ValueError(
            f"`vocab_size` must be at least the checkpoint's {known}, got {args.vocab_size}: leave it out or raise it."
        )
    size = args.vocab_size or known
    if tokenizer is not None and len(tokenizer) > size:
        raise ValueError(
            f"`vocab_size` must be at least the {len(tokenizer)} tokens of the tokenizer, got {size}: pass "
            f"--vocab_size {len(tokenizer)}."
        )


def read_mode(checkpoint: Checkpoint, trunk_only: bool) -> str:
    """The mode of the new model, a key of `LEGACY_MODES`."""
    mode = legacy_mode(checkpoint.model_args.get("mode") or "language_model")
    if trunk_only:
        return "language_model"
    if mode not in LEGACY_MODES:
        raise ValueError(
            f"`mode` in model_args must be one of {', '.join(LEGACY_MODES)}, got {mode!r}: correct it, or pass "
            "--trunk_only."
        )
    return mode


def build_config(
    checkpoint: Checkpoint, sizes: dict[str, int], mode: str, args: argparse.Namespace, tokenizer
) -> CriticGPTConfig:
    """The new model's configuration; flags over the tokenizer over the file."""
    given, weights = checkpoint.model_args, checkpoint.weights
    position = given.get("position_encoding") or ("absolute" if "transformer.wpe.weight" in weights else "rotary")
    if args.rotary_interleaved and position != "rotary":
        raise ValueError(f"`rotary_interleaved` must be left out with positions that are {position}, got it: drop it.")
    fields = {name: given[name] for name in TAKEN_OVER if given.get(name) is not None}
    if tokenizer is not None:
        ids = {f"{kind}_token_id": getattr(tokenizer, f"{kind}_token_id") for kind in ("mask", "pad", "bos", "eos")}
        fields |= {name: value for name, value in ids.items() if value is not None}
    flags = {name: getattr(args, name) for name in ("mask_token_id", "pad_token_id")}
    fields |= {name: value for name, value in flags.items() if value is not None}
    if mode == "sequence_scorer":
        fields["num_labels"] = 1
    has_critic = given.get("add_critic_head") is True or "critic_head.weight" in weights
    fields["add_critic_head"] = mode == "language_model" and (
        args.add_critic_head or (has_critic and not args.trunk_only)
    )
    return CriticGPTConfig(
        **{name: sizes[name] for name in SIZES},
        vocab_size=args.vocab_size or sizes["vocab_size"],
        intermediate_size=inner_width(checkpoint, sizes),
        use_bias=has_biases(checkpoint),
        attention_type=args.attention_type or given.get("attention_type") or "causal",
        position_encoding=position,
        tie_word_embeddings=mode != "language_model" or args.trunk_only or is_tied(weights),
        **fields,
    )


def build_model(config: CriticGPTConfig, mode: str, conversion: Conversion, seed: int):
    """The model with the converted weights, in their precision; a head that is missing is initialised, and noted."""
    dtype = reduce(torch.promote_types, {tensor.dtype for tensor in conversion.weights.values()})
    torch.manual_seed(seed)
    model = getattr(critic_gpt, LEGACY_MODES[mode])(config).eval()
    for parameter in model.parameters():  # not the buffers: rotary frequencies stay as exact as they are
        parameter.data = parameter.data.to(dtype)
    missing = set(model.load_state_dict(conversion.weights, strict=False).missing_keys)
    if config.tie_word_embeddings:
        missing.discard("lm_head.weight")
    plain = {"score.scale": "1", "score.shift": "0", "classifier.bias": "zeros"}
    plain["critic_head.weight"] = "zeros: an untrained critic, which is not used before it is trained"
    for name in sorted(missing):
        conversion.initialised[name] = plain.get(name, "drawn: an untrained head")
    return model


def carry_calibration(path: str, model, conversion: Conversion) -> str | None:
    """Takes the table of a `calibration.json` beside the checkpoint along; returns what to say about it."""
    table = CriticCalibration.load(Path(path).parent, key=Path(path).name)
    if table is None:
        return None
    if "critic_head.weight" not in conversion.weights:
        return "The table in calibration.json stays behind: there is no trained critic for it."
    model.calibration = table.with_metadata(fingerprint=model.fingerprint())
    return "The table in calibration.json goes along, under the new weights' name."


def save(folder: str, model, tokenizer) -> None:
    """Writes the complete model's folder, or nothing."""
    if isinstance(model, critic_gpt.CriticGPTForMaskedLM):
        for name in ("pad_token_id", "bos_token_id", "eos_token_id"):
            setattr(model.generation_config, name, getattr(model.config, name))
    with staged_folder(folder) as staging:
        model.save_pretrained(staging)
        if tokenizer is not None:
            tokenizer.save_pretrained(staging)


def describe(conversion: Conversion, model_args: dict[str, Any]) -> str:
    """What was mapped, initialised and dropped; the same thing of several layers on one line."""
    lines = []
    for title in ("mapped", "initialised", "dropped"):
        entries = getattr(conversion, title)
        counts = Counter(_LAYER.sub(r"\1.*.", f"{name} -> {what}") for name, what in entries.items())
        lines.append(f"{title}: {len(entries)}" if entries else f"{title}: none")
        lines += [f"  {line}" + (f"  ({count} layers)" if count > 1 else "") for line, count in counts.items()]
    unused = sorted(map(str, set(model_args) - set(DECIDED_HERE) - set(TAKEN_OVER)))
    if unused:
        lines.append(f"model_args without a meaning here: {', '.join(unused)}")
    return "\n".join(lines)


def warnings_of(config: CriticGPTConfig, conversion: Conversion, mode: str) -> list[str]:
    """What should not be overlooked."""
    found = []
    untrained = [name for name, what in conversion.initialised.items() if "untrained" in what or "mean" in what]
    if untrained:
        found.append(f"{', '.join(untrained)} did not come from the checkpoint: train before use.")
    if config.mask_token_id is None and mode == "language_model":
        found.append("without a mask token the model can neither be trained nor generate: pass --mask_token_id.")
    if config.is_causal and mode == "language_model":
        found.append(
            "attention is causal: to train masked diffusion on these weights pass --attention_type bidirectional."
        )
    return found


def main(argv: list[str] | None = None):
    """Runs one conversion; returns the model."""
    args = convert_parser().parse_args(argv)
    check_new_output_dir(args.output_dir)
    tokenizer = load_tokenizer(args)
    checkpoint = read_checkpoint(args.checkpoint)
    sizes, mode = read_sizes(checkpoint), read_mode(checkpoint, args.trunk_only)
    if args.add_critic_head and mode != "language_model":
        raise ValueError(f"`add_critic_head` must be left out for a {mode}, got it: drop it, or pass --trunk_only.")
    check_vocabulary(args, sizes["vocab_size"], tokenizer)
    config = build_config(checkpoint, sizes, mode, args, tokenizer)
    layout = trunk_layout(checkpoint, sizes, config.position_embedding_type == "absolute", config.use_bias)
    if not args.trunk_only:
        layout |= head_layout(checkpoint, config, mode, sizes["vocab_size"])
    conversion = convert_weights(
        checkpoint, layout, config.num_attention_heads, args.rotary_interleaved, args.drop_unknown
    )
    grow_vocabulary(conversion, config.vocab_size)
    model = build_model(config, mode, conversion, args.seed)
    said = carry_calibration(args.checkpoint, model, conversion)
    save(args.output_dir, model, tokenizer)
    # Names of tensors and settings are the file's own.
    print(visible_text(describe(conversion, checkpoint.model_args)))
    if said is not None:
        print(said)
    for text in warnings_of(config, conversion, mode):
        print(f"warning: {text}", file=sys.stderr)
    say(f"Saved a {type(model).__name__} of {model.num_parameters():,} parameters to {args.output_dir}.")
    return model


if __name__ == "__main__":
    run_as_program(main, "convert_nanogpt_checkpoint")
