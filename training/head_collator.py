# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Pads sequences and their labels for the classification and scoring heads."""

from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from critic_gpt.diffusion.corruption import padding_attention_mask


LABEL_COLUMNS = ("labels", "score", "label")


@dataclass
class DataCollatorForHeads:
    """
    Makes a batch of complete sequences with labels.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Gives the padding token and its side.
        column (`str`): Where the labels are: `"labels"`, one class per token (-100 or -1: ignored) or C probabilities
            a token (all zeros: ignored); `"score"`, a number in [0, 1] a sequence; `"label"`, a class per sequence.

    Returns `input_ids`, `attention_mask` (0 at padding alone) of shape `(batch_size, sequence_length)`, and `labels`
    of shape `(batch_size, sequence_length)`, `(batch_size, sequence_length, num_labels)` or `(batch_size,)`.
    """

    tokenizer: PreTrainedTokenizerBase
    column: str

    def __post_init__(self):
        if self.column not in LABEL_COLUMNS:
            raise ValueError(
                f"`column` must be one of {', '.join(LABEL_COLUMNS)}, got {self.column!r}: choose one of these."
            )

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        rows = [torch.as_tensor(example["input_ids"], dtype=torch.int64) for example in examples]
        lengths = {len(row) for row in rows}
        pad_token_id = self.tokenizer.pad_token_id
        if pad_token_id is None and len(lengths) > 1:
            raise ValueError(
                f"`tokenizer` must have a padding token to bring {min(lengths)} tokens to {max(lengths)}, got one "
                "without: add it with `tokenizer.add_special_tokens({'pad_token': '[PAD]'})`."
            )
        input_ids = self._pad(rows, 0 if pad_token_id is None else pad_token_id)
        return {
            "input_ids": input_ids,
            "attention_mask": padding_attention_mask(input_ids, pad_token_id),
            "labels": self._labels(examples, rows),
        }

    def _labels(self, examples: list[dict[str, Any]], rows: list[torch.Tensor]) -> torch.Tensor:
        values = [example[self.column] for example in examples]
        if self.column == "score":
            return torch.tensor([float(value) for value in values])
        if self.column == "label":
            return torch.tensor([int(value) for value in values])
        labels = [torch.as_tensor(value) for value in values]
        for index, (label, row) in enumerate(zip(labels, rows, strict=True)):
            if len(label) != len(row):
                raise ValueError(
                    f"`labels` must have one entry for each of the {len(row)} tokens of `input_ids`, got {len(label)} "
                    f"in row {index} of the batch: give -100 for a token without a label."
                )
        if labels[0].dim() == 2:
            return self._pad([label.to(torch.float32) for label in labels], 0.0)
        return self._pad([label.to(torch.int64) for label in labels], -100)

    def _pad(self, rows: list[torch.Tensor], value: float) -> torch.Tensor:
        return torch.nn.utils.rnn.pad_sequence(
            rows, batch_first=True, padding_value=value, padding_side=self.tokenizer.padding_side
        )
