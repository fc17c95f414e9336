# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Corrupts clean sequences for masked diffusion, and decides what the critic will judge."""

from dataclasses import dataclass, replace
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from critic_gpt.configuration_critic_gpt import CRITIC_REGIMES
from critic_gpt.diffusion_critic_gpt import (
    STREAM_FILL_POSITION,
    STREAM_FILL_SHARE,
    STREAM_FILL_TOKEN,
    STREAM_MASK,
    STREAM_TIME,
    corrupt,
    diffusion_times,
    fill_positions,
    hash_integers,
    padding_attention_mask,
    uniforms,
)


logger = logging.get_logger(__name__)

# Takes the place of the epoch in a row's seed, so that an evaluation sees the same masks every time.
_EVALUATION = -1


@dataclass
class DataCollatorForMaskedDiffusion:
    """
    Makes a training batch of clean sequences: diffusion times, masks, labels, loss weights, the positions the critic
    will judge and the uniform numbers that fill them.

    Stateless: what a row gets depends on (`seed`, epoch, example id) alone, never on rank, worker, or how often the
    collator was called; only the times of training depend on the other rows, with which they share a low-discrepancy
    grid. [`CriticTrainer`] adds `example_id` and `epoch` to every row. A row without them is drawn from torch's global
    generator in training and from a hash of its tokens in evaluation.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Gives the mask token, the padding token and its side.
        critic_regime (`str`, *optional*, defaults to `"mixed"`): How many masks are filled for the critic: `"full"`,
            `"partial"`, `"mixed"` ([`CriticGPTConfig`]); `None` draws nothing for a critic.
        seed (`int`, *optional*, defaults to 0): Of all draws.
        min_mask_rate (`float`, *optional*, defaults to 0.001): Smallest diffusion time, in (0, 1].
        evaluation (`bool`, *optional*, defaults to `False`): The same corruption at every call, and times drawn by row.
        pad_to_multiple_of (`int`, *optional*): Rounds the length up.

    Each example is a mapping with `input_ids` and optionally `protected_mask` (1 = never masked). An `attention_mask`
    that comes with the data is ignored: padding is the only thing that is ever hidden.
    """

    tokenizer: PreTrainedTokenizerBase
    critic_regime: str | None = "mixed"
    seed: int = 0
    min_mask_rate: float = 1e-3
    evaluation: bool = False
    pad_to_multiple_of: int | None = None

    def __post_init__(self):
        if self.tokenizer.mask_token_id is None:
            raise ValueError(
                "`tokenizer` must have a mask token, got one without: add it with "
                "`tokenizer.add_special_tokens({'mask_token': '[MASK]'})` and resize the model's embeddings."
            )
        if self.critic_regime is not None and self.critic_regime not in CRITIC_REGIMES:
            raise ValueError(
                f"`critic_regime` must be None or one of {', '.join(CRITIC_REGIMES)}, got {self.critic_regime!r}: "
                "choose one of these."
            )
        if not 0.0 < self.min_mask_rate <= 1.0:
            raise ValueError(f"`min_mask_rate` must be in (0, 1], got {self.min_mask_rate}: 0.001 is usual.")

    def for_evaluation(self) -> "DataCollatorForMaskedDiffusion":
        """The same collator with fixed corruption."""
        return replace(self, evaluation=True)

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        input_ids = self._pad([example["input_ids"] for example in examples], self.tokenizer.pad_token_id)
        attention_mask = padding_attention_mask(input_ids, self.tokenizer.pad_token_id)
        self._warn_of_foreign_mask(examples)
        maskable = attention_mask.bool()
        if "protected_mask" in examples[0]:
            maskable &= self._pad([example["protected_mask"] for example in examples], 1) == 0
        length = input_ids.shape[1]
        seeds = self._row_seeds(examples, input_ids)

        times = self._times(seeds)
        noisy = corrupt(
            input_ids, times, uniforms(seeds, STREAM_MASK, 0, length), self.tokenizer.mask_token_id, maskable
        )
        batch = {
            "input_ids": noisy.input_ids,
            "attention_mask": attention_mask,
            "labels": noisy.labels,
            "loss_weights": noisy.loss_weights,
        }
        if self.critic_regime is not None:
            batch["fill_mask"] = fill_positions(
                noisy.labels != -100,
                self.critic_regime,
                uniforms(seeds, STREAM_FILL_SHARE, 0, 2),
                uniforms(seeds, STREAM_FILL_POSITION, 0, length),
            )
            batch["fill_uniforms"] = uniforms(seeds, STREAM_FILL_TOKEN, 0, length)
        return batch

    def _times(self, seeds: torch.Tensor) -> torch.Tensor:
        if self.evaluation:
            own = uniforms(seeds, STREAM_TIME, 0, 1).squeeze(-1)
            return diffusion_times(own, torch.zeros_like(own), 1, self.min_mask_rate)
        offset = uniforms(hash_integers(seeds.sum()[None]), STREAM_TIME, 0, 1).squeeze()
        return diffusion_times(offset, torch.arange(len(seeds)), len(seeds), self.min_mask_rate)

    def _row_seeds(self, examples: list[dict[str, Any]], input_ids: torch.Tensor) -> torch.Tensor:
        if all("example_id" in example for example in examples):
            ids = torch.tensor([int(example["example_id"]) for example in examples])
        elif self.evaluation:
            ids = torch.zeros(len(input_ids), dtype=torch.int64)
            for column in input_ids.unbind(dim=1):
                # Padding at the end leaves the hash alone, so that it does not depend on the batch.
                padded = column == (-1 if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id)
                ids = torch.where(padded, ids, hash_integers(ids, column))
        else:
            return torch.randint(0, 2**62, (len(examples),))
        if self.evaluation:
            return hash_integers(ids, self.seed, _EVALUATION)
        epochs = torch.tensor([int(example.get("epoch", 0)) for example in examples])
        return hash_integers(ids, self.seed, epochs)

    def _pad(self, rows: list, value: int | None) -> torch.Tensor:
        lengths = [len(row) for row in rows]
        length = max(lengths)
        if length == 0:
            raise ValueError("`input_ids` must hold at least one token, got an empty batch: drop empty examples.")
        if self.pad_to_multiple_of is not None:
            length = -(-length // self.pad_to_multiple_of) * self.pad_to_multiple_of
        if min(lengths) < length and value is None:
            raise ValueError(
                "`tokenizer` must have a padding token for sequences of different length, got one without: add it "
                "with `tokenizer.add_special_tokens({'pad_token': '[PAD]'})`."
            )
        padded = torch.full((len(rows), length), 0 if value is None else value, dtype=torch.int64)
        for target, row in zip(padded, rows, strict=True):
            row = torch.as_tensor(row, dtype=torch.int64)
            if self.tokenizer.padding_side == "left":
                target[length - len(row) :] = row
            else:
                target[: len(row)] = row
        return padded

    @staticmethod
    def _warn_of_foreign_mask(examples: list[dict[str, Any]]) -> None:
        if "attention_mask" in examples[0] and not all(all(example["attention_mask"]) for example in examples):
            logger.warning_once(
                "The data's own `attention_mask` hides tokens and is ignored: only padding is hidden from the model, "
                "since a critic that cannot see the tokens it judges learns nothing."
            )
