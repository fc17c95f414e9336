# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Brings rows of any data set into the form that a critic is judged on: clean rows are corrupted, corrupted ones kept.

A row is **clean** if it has tokens only (`input_ids`, `input` or `x`): the collator masks it as in evaluation. It is
**corrupted already** if it has the truth beside them (`labels`, `target` or `y`): its [MASK]s stay where they are and
nothing else is masked. The truth is ignored where it is -100, or -1 as in older data, or where the input is padding.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from critic_gpt.backbones.description import Backbone
from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.diffusion.corruption import fill_positions
from critic_gpt.diffusion.randomness import (
    STREAM_FILL_POSITION,
    STREAM_FILL_SHARE,
    STREAM_FILL_TOKEN,
    hash_integers,
    uniforms,
)
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion


# Tokens and truth, by the names that data sets give them; the first pair that is there counts.
FORMS = (("input_ids", "labels"), ("input", "target"), ("x", "y"))
IGNORED = (-100, -1)
_PASSED_ON = ("attention_mask", "protected_mask")
# Rows read at a time where they are checked.
_CHUNK = 1000


@dataclass
class SpecialTokens:
    """The special tokens of a model, for collators where data come without a tokenizer: they need nothing else."""

    mask_token_id: int
    pad_token_id: int | None
    eos_token_id: int | None = None
    pad_token: str = "[PAD]"
    padding_side: str = "right"
    all_special_ids: tuple[int, ...] = ()

    @classmethod
    def of(cls, config: CriticGPTConfig) -> "SpecialTokens":
        """Those that a configuration names."""
        special = tuple(config.suppressed_token_ids or ())
        return cls(config.mask_token_id, config.pad_token_id, config.eos_token_id, all_special_ids=special)


@dataclass
class CollatorForCorruptedRows:
    """
    Batches rows that are corrupted already; what is filled, and with which numbers, depends on a row's number alone.

    Args:
        special ([`SpecialTokens`]): Of the model.
        vocab_size (`int`): Of the model.
        critic_regime (`str`): As for [`DataCollatorForMaskedDiffusion`].
        seed (`int`): Of all draws.
        critic_fill_exponent (`float`, *optional*, defaults to 1.0): As there.

    Each example has `input_ids`, `labels` and `example_id`. A batch has no `loss_weights`: only who corrupted the rows
    knows their times. It is the same at every call, so there is nothing to choose between training and evaluation.

    Rows are taken as they stand, without a frame ([CLS] ... [SEP]) put around them: who corrupted them decided what
    the model is to see, and labels lie at the places of the tokens.
    """

    special: SpecialTokens
    vocab_size: int
    critic_regime: str
    seed: int = 0
    critic_fill_exponent: float = 1.0

    def __post_init__(self):
        # Pads, warns of foreign attention masks, and masks nothing, since every token is protected.
        self._padding = DataCollatorForMaskedDiffusion(self.special, critic_regime=None, evaluation=True)

    def for_evaluation(self) -> "CollatorForCorruptedRows":
        """Itself."""
        return self

    def __call__(self, examples: list[Mapping[str, Any]]) -> dict[str, torch.Tensor]:
        kept = [{name: value for name, value in example.items() if name != "labels"} for example in examples]
        kept = [{**example, "protected_mask": [1] * len(example["input_ids"])} for example in kept]
        padded = self._padding(kept)
        input_ids = padded["input_ids"]  # (B, T)
        labels = torch.full_like(input_ids, -100)
        for row, example in zip(labels, examples, strict=True):
            row[: len(example["input_ids"])] = self._truth(example)
        labels = labels.masked_fill(padded["attention_mask"] == 0, -100)
        masked = input_ids == self.special.mask_token_id
        ids = torch.tensor([int(example["example_id"]) for example in examples])
        seeds, length = hash_integers(ids, self.seed), input_ids.shape[1]
        return {
            "input_ids": input_ids,
            "attention_mask": padded["attention_mask"],
            "labels": labels,
            "fill_mask": fill_positions(
                masked,
                self.critic_regime,
                uniforms(seeds, STREAM_FILL_SHARE, 0, 2),
                uniforms(seeds, STREAM_FILL_POSITION, 0, length),
                self.critic_fill_exponent,
            ),
            "fill_uniforms": uniforms(seeds, STREAM_FILL_TOKEN, 0, length),
        }

    def _truth(self, example: Mapping[str, Any]) -> torch.Tensor:
        """The labels of a row, -100 where ignored."""
        labels, tokens = (torch.as_tensor(example[name], dtype=torch.int64) for name in ("labels", "input_ids"))
        if labels.shape != tokens.shape:
            raise ValueError(
                f"`labels` must have one entry for each of the {len(tokens)} tokens, got {tuple(labels.shape)} in row "
                f"{example['example_id']}: give the truth of every position, -100 where there is none."
            )
        labels = labels.masked_fill(torch.isin(labels, torch.tensor(IGNORED)), -100)
        supervised = labels[(labels != -100) & (tokens != _or_none(self.special.pad_token_id))]
        foreign = (supervised < 0) | (supervised >= self.vocab_size) | (supervised == self.special.mask_token_id)
        if foreign.any():
            raise ValueError(
                f"`labels` must be tokens of the model, between 0 and {self.vocab_size - 1} and not [MASK], or -100, "
                f"got {int(supervised[foreign][0])} in row {example['example_id']}: token classes cannot calibrate a "
                "critic, give data whose truth is tokens."
            )
        return labels


def _or_none(token_id: int | None) -> int:
    """An id to compare with: one that no token has where there is none."""
    return -1 if token_id is None else token_id


def uniform_rows(dataset, config: CriticGPTConfig, num_sequences: int):
    """
    Gives a data set the column names that collators know, and refuses what no critic can be judged on.

    Args:
        dataset (`datasets.Dataset`): One split, see [`load_split`].
        config ([`CriticGPTConfig`]): Of the model that will fill the rows.
        num_sequences (`int`): How many rows, from the first, will be read.

    Returns:
        `tuple`: the data set with the columns `input_ids` and, where it is corrupted already, `labels` (and, where
        there, `attention_mask` and `protected_mask`); and whether it is corrupted already.

    Raises:
        `ValueError`: No tokens, scores of sequences, classes of tokens, no [MASK] in corrupted rows, or rows that the
            model cannot take.
    """
    tokens, truth = next((form for form in FORMS if form[0] in dataset.column_names), (None, None))
    first = dataset[0]
    if tokens is None or not _is_list_of_integers(first[tokens]):
        names = " or ".join(f"`{name}`" for name, _ in FORMS)
        raise ValueError(
            f"`dataset` must have lists of token ids in {names}, got the columns {', '.join(dataset.column_names)}: "
            "tokenise it with scripts/prepare_data.py."
        )
    scores = [name for name in ("score", "label") if name in dataset.column_names]
    scores += [truth] if truth in first and not isinstance(first[truth], list) else []
    if scores:
        raise ValueError(
            f"`dataset` must hold sequences to fill, got {tokens!r} with {scores[0]!r} for whole sequences, as "
            "scorers are trained on: give the data of the language model instead."
        )
    corrupted = truth in dataset.column_names
    if corrupted and not _is_list_of_integers(first[truth]):
        raise ValueError(
            f"`dataset` must have one token of truth for each of `{tokens}`, got something else in "
            f"{truth!r}, as probabilities of token classes are: give the data of the language model."
        )
    keep = {tokens: "input_ids", **({truth: "labels"} if corrupted else {})}
    keep |= {name: name for name in _PASSED_ON if name in dataset.column_names}
    dataset = dataset.select_columns(list(keep))
    dataset = dataset.rename_columns({old: new for old, new in keep.items() if old != new})
    _check_rows(dataset, config, min(num_sequences, len(dataset)), corrupted)
    return dataset, corrupted


def _is_list_of_integers(value: Any) -> bool:
    return isinstance(value, list) and all(type(token) is int for token in value)


def _check_rows(dataset, config: CriticGPTConfig, count: int, corrupted: bool) -> None:
    """Looks at the first `count` rows before a model works on them."""
    has_mask, columns, backbone = False, dataset.select_columns(["input_ids"]), Backbone.of(config)
    chunks = (columns[start : min(start + _CHUNK, count)]["input_ids"] for start in range(0, count, _CHUNK))
    for index, tokens in enumerate(row for chunk in chunks for row in chunk):
        row = np.asarray(tokens, dtype=np.int64)
        has_mask = has_mask or bool((row == config.mask_token_id).any())
        if row.size and not 0 <= row.min() <= row.max() < backbone.vocab_size:
            raise ValueError(
                f"`dataset` must hold tokens of the model, between 0 and {backbone.vocab_size - 1}, got "
                f"{row.min() if row.min() < 0 else row.max()} in row {index}: take the data it was trained on."
            )
        longest = backbone.max_sequence_length
        if longest is not None and row.size > longest:
            raise ValueError(
                f"`dataset` must hold sequences of at most {longest} tokens, which the model "
                f"takes, got {row.size} in row {index}: cut them shorter."
            )
    if corrupted and not has_mask:
        raise ValueError(
            f"`dataset` must have [MASK] (id {config.mask_token_id}) in its inputs where it comes with labels, got "
            f"none in {count} rows, as classes of tokens have: give the data of the language model, or "
            "drop the labels to have it masked."
        )
