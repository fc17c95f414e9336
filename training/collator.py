# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Corrupts clean sequences for masked diffusion, and decides what the critic will judge."""

import math
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from critic_gpt.backbones.description import Backbone
from critic_gpt.configuration_critic_gpt import CRITIC_REGIMES
from critic_gpt.diffusion.corruption import (
    corrupt,
    diffusion_times,
    fill_positions,
    given_positions,
    padding_attention_mask,
)
from critic_gpt.diffusion.randomness import (
    STREAM_FILL_POSITION,
    STREAM_FILL_SHARE,
    STREAM_FILL_TOKEN,
    STREAM_GIVEN_POSITION,
    STREAM_GIVEN_SHARE,
    STREAM_MASK,
    STREAM_TIME,
    hash_integers,
    uniforms,
)
from critic_gpt.training.masking import Masking, load_masking
from critic_gpt.training.masking_strategies import DiffusionMasking, RowDraws, row_weights


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
    grid (`stratified_times`). [`CriticTrainer`] adds `example_id` and `epoch` to every row. A row without them is
    drawn from torch's global generator in training and from a hash of its tokens in evaluation.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Gives the mask token, the padding token and its side.
        critic_regime (`str`, *optional*, defaults to `"mixed"`): How many masks are filled for the critic: `"full"`,
            `"partial"`, `"mixed"`, `"sparse"` ([`CriticGPTConfig`]); `None` draws nothing for a critic.
        critic_fill_exponent (`float`, *optional*, defaults to 1.0): Exponent, above 0, of the share of the masks that
            is filled where it is not all of them ([`CriticGPTConfig`]).
        joint (`bool`, *optional*, defaults to `False`): Draw the masks of which a joint head is told the truth.
        stratified_times (`bool`, *optional*, defaults to `True`): Training draws the times of a batch on a common
            grid, so that every batch has low and high ones. `False`: each row draws its own, as in evaluation.
        seed (`int`, *optional*, defaults to 0): Of all draws.
        min_mask_rate (`float`, *optional*, defaults to 0.001): Smallest diffusion time, in (0, 1].
        evaluation (`bool`, *optional*, defaults to `False`): The same corruption at every call, times drawn by row.
        pad_to_multiple_of (`int`, *optional*): Rounds the length up.
        masking ([`~training.masking.Masking`] or `str`, *optional*): How training masks: what [`load_masking`] gives
            or takes; diffusion by default. Evaluation is always diffusion, so that runs can be compared. If diffusion
            occurs nowhere in `masking`, training batches have no `loss_weights`, and the loss is the plain mean over
            the supervised tokens. If it occurs among others, rows of these weigh maskable / supervised tokens at
            each supervised one, so that every row counts as much as the bound of diffusion.

        backbone ([`~backbones.description.Backbone`], *optional*): That of the model: rows that do not bring its frame
            along ([CLS] ... [SEP]) get it.

    Each example is a mapping with `input_ids` and optionally `protected_mask` (1 = never masked). A [MASK] that stands
    in the data already is a hole without a truth and stays unsupervised. An `attention_mask` that comes with the data
    is ignored: padding is the only thing that is ever hidden.
    """

    tokenizer: PreTrainedTokenizerBase
    critic_regime: str | None = "mixed"
    seed: int = 0
    min_mask_rate: float = 1e-3
    evaluation: bool = False
    pad_to_multiple_of: int | None = None
    masking: Masking | str | None = None
    critic_fill_exponent: float = 1.0
    stratified_times: bool = True
    joint: bool = False
    backbone: Backbone | None = None

    def __post_init__(self):
        if isinstance(self.masking, str):
            self.masking = load_masking(self.masking)
        if self.tokenizer.mask_token_id is None:
            raise ValueError(
                "`tokenizer` must have a mask token, got one without: add it with "
                "`tokenizer.add_special_tokens({'mask_token': '[MASK]'})` and resize the model's embeddings."
            )
        pad_id = self.tokenizer.pad_token_id
        if pad_id is not None and pad_id in (self.tokenizer.eos_token_id, self.tokenizer.mask_token_id):
            raise ValueError(
                f"`tokenizer` must have a padding token of its own, got {self.tokenizer.pad_token!r} with the id of "
                "another special token, which the model would never see: add one with "
                "`tokenizer.add_special_tokens({'pad_token': '[PAD]'})` and resize the model's embeddings."
            )
        if self.critic_regime is not None and self.critic_regime not in CRITIC_REGIMES:
            raise ValueError(
                f"`critic_regime` must be None or one of {', '.join(CRITIC_REGIMES)}, got {self.critic_regime!r}: "
                "choose one of these."
            )
        if not 0.0 < self.critic_fill_exponent < math.inf:
            raise ValueError(
                f"`critic_fill_exponent` must be a finite number above 0, got {self.critic_fill_exponent}: 1 fills "
                "every share alike."
            )
        if not 0.0 < self.min_mask_rate <= 1.0:
            raise ValueError(f"`min_mask_rate` must be in (0, 1], got {self.min_mask_rate}: 0.001 is usual.")
        if self.pad_to_multiple_of is not None and self.pad_to_multiple_of < 1:
            raise ValueError(
                f"`pad_to_multiple_of` must be None or at least 1, got {self.pad_to_multiple_of}: 8 is usual."
            )

    def for_evaluation(self) -> "DataCollatorForMaskedDiffusion":
        """The same collator with fixed corruption."""
        return replace(self, evaluation=True)

    def __call__(self, examples: list[dict[str, Any]]) -> dict[str, torch.Tensor]:
        pad_token_id, mask_token_id = self.tokenizer.pad_token_id, self.tokenizer.mask_token_id
        for example in examples:
            if "input_ids" not in example:
                raise ValueError(
                    f"`dataset` must hold rows with `input_ids`, got one with {', '.join(map(repr, example))}: "
                    'encode each text by the model\'s own tokenizer, `{"input_ids": tokenizer(text).input_ids}`.'
                )
        given = [torch.as_tensor(example["input_ids"], dtype=torch.int64) for example in examples]
        rows = given if self.backbone is None else [self.backbone.framed(row) for row in given]
        self._check(rows)
        input_ids = self._pad(rows, 0 if pad_token_id is None else pad_token_id)  # (B, T)
        self._check_known(input_ids)
        attention_mask = padding_attention_mask(input_ids, pad_token_id)
        self._warn_of_foreign_mask(examples, given)
        maskable = attention_mask.bool() & (input_ids != mask_token_id)
        if self.never_masked:
            maskable &= ~torch.isin(input_ids, torch.tensor(self.never_masked))
        if any("protected_mask" in example for example in examples):
            maskable &= self._pad(self._framed_protection(_protected_rows(examples, given), given), 1) == 0
        seeds = self._row_seeds(examples, input_ids)

        length, shifts = input_ids.shape[1], None
        if self.tokenizer.padding_side == "left":
            shifts = torch.tensor([length - len(row) for row in rows])
        draws = RowDraws(seeds, length, shifts)

        noisy = corrupt(input_ids, self._times(seeds), draws.tokens(STREAM_MASK), mask_token_id, maskable)
        batch = {
            "input_ids": noisy.input_ids,
            "attention_mask": attention_mask,
            "labels": noisy.labels,
            "loss_weights": noisy.loss_weights,
        }
        masking = self.masking
        if isinstance(masking, Masking) and not masking.is_diffusion and not self.evaluation:
            self._mask_otherwise(masking, batch, input_ids, maskable, draws, examples)
        if self.critic_regime is not None:
            # Of the supervised positions only those behind a mask: a substituted token is seen, not filled.
            batch["fill_mask"] = fill_positions(
                (batch["labels"] != -100) & (batch["input_ids"] == mask_token_id),
                self.critic_regime,
                draws.rows(STREAM_FILL_SHARE, 2),
                draws.tokens(STREAM_FILL_POSITION),
                self.critic_fill_exponent,
            )
            batch["fill_uniforms"] = draws.tokens(STREAM_FILL_TOKEN)
        if self.joint:
            batch["given_mask"] = given_positions(
                (batch["labels"] != -100) & (batch["input_ids"] == mask_token_id),
                draws.rows(STREAM_GIVEN_SHARE, 1).squeeze(-1),
                draws.tokens(STREAM_GIVEN_POSITION),
            )
        return batch

    def _mask_otherwise(
        self,
        masking: Masking,
        batch: dict[str, torch.Tensor],
        clean: torch.Tensor,
        maskable: torch.Tensor,
        draws: RowDraws,
        examples: list[dict[str, Any]],
    ) -> None:
        """Replaces, in a batch of diffusion, the rows that other strategies mask."""
        epochs = torch.tensor([int(example.get("epoch", 0)) for example in examples])
        chosen = masking.choose(draws, epochs)
        for index, strategy in enumerate(masking.strategies):
            rows = (chosen == index).nonzero().squeeze(-1)
            if isinstance(strategy, DiffusionMasking) or len(rows) == 0:
                continue
            masks = strategy.mask(draws.select(rows), maskable[rows], self._replacements)
            tokens = clean[rows]
            if masks.replacements is not None:
                tokens = torch.where(masks.replacements >= 0, masks.replacements, tokens)
            batch["input_ids"][rows] = tokens.masked_fill(masks.masked, self.tokenizer.mask_token_id)
            batch["labels"][rows] = clean[rows].masked_fill(~masks.supervised, -100)
            batch["loss_weights"][rows] = row_weights(masks.supervised, maskable[rows])
        if not masking.has_weights:
            del batch["loss_weights"]

    @cached_property
    def never_masked(self) -> list[int]:
        """The ids that are never masked: special tokens but for the end of a text, and what frames one."""
        special = set(getattr(self.tokenizer, "all_special_ids", ())) - {self.tokenizer.eos_token_id}
        if self.backbone is not None:
            special |= {*self.backbone.prefix_ids, *self.backbone.suffix_ids}
        return sorted(special - {self.tokenizer.mask_token_id, self.tokenizer.pad_token_id})

    def _framed_protection(self, protected: list[torch.Tensor], rows: list[torch.Tensor]) -> list[torch.Tensor]:
        """What protects rows, as they stand within the frame of the backbone."""
        if self.backbone is None:
            return protected
        parts = [self.backbone.missing_frame(row) for row in rows]
        pairs = zip(parts, protected, strict=True)
        return [torch.cat([torch.ones_like(head), kept, torch.ones_like(tail)]) for (head, tail), kept in pairs]

    @cached_property
    def _replacements(self) -> torch.Tensor:
        """The ids that may take a token's place: all but the special ones."""
        special = set(self.tokenizer.all_special_ids)
        return torch.tensor([token for token in range(len(self.tokenizer)) if token not in special])

    # ---- randomness ----

    def _times(self, seeds: torch.Tensor) -> torch.Tensor:
        if self.evaluation or not self.stratified_times:
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
                # Padding leaves the hash alone, so that it does not depend on the batch.
                padded = column == (-1 if self.tokenizer.pad_token_id is None else self.tokenizer.pad_token_id)
                ids = torch.where(padded, ids, hash_integers(ids, column))
        else:
            return torch.randint(0, 2**62, (len(examples),))
        if self.evaluation:
            return hash_integers(ids, self.seed, _EVALUATION)
        epochs = torch.tensor([int(example.get("epoch", 0)) for example in examples])
        return hash_integers(ids, self.seed, epochs)

    # ---- padding ----

    def _check_known(self, input_ids: torch.Tensor) -> None:
        if self.backbone is None:
            return
        least, most = int(input_ids.min()), int(input_ids.max())
        if least < 0 or most >= self.backbone.vocab_size:
            raise ValueError(
                f"`input_ids` must be ids in [0, vocab_size = {self.backbone.vocab_size}), got some from {least} to "
                f"{most}: encode the data by the model's own tokenizer."
            )

    def _check(self, rows: list[torch.Tensor]) -> None:
        lengths, padded_length = [len(row) for row in rows], self._padded_length(rows)
        if min(lengths) == 0:
            raise ValueError(
                f"`input_ids` must hold at least one token, got none in row {lengths.index(0)} of the batch: "
                "drop empty examples from the data."
            )
        if self.tokenizer.pad_token_id is None and min(lengths) < padded_length:
            raise ValueError(
                f"`tokenizer` must have a padding token to bring {min(lengths)} tokens to {padded_length}, got "
                "one without: add it with `tokenizer.add_special_tokens({'pad_token': '[PAD]'})`."
            )

    def _padded_length(self, rows: list[torch.Tensor]) -> int:
        multiple = self.pad_to_multiple_of or 1
        return -(-max(len(row) for row in rows) // multiple) * multiple

    def _pad(self, rows: list[torch.Tensor], value: int) -> torch.Tensor:
        padded = torch.full((len(rows), self._padded_length(rows)), value, dtype=torch.int64)
        for target, row in zip(padded, rows, strict=True):
            if self.tokenizer.padding_side == "left":
                target[len(target) - len(row) :] = row
            else:
                target[: len(row)] = row
        return padded

    def _warn_of_foreign_mask(self, examples: list[dict[str, Any]], rows: list[torch.Tensor]) -> None:
        for example, row in zip(examples, rows, strict=True):
            if "attention_mask" not in example:
                continue
            hidden = torch.as_tensor(example["attention_mask"]) == 0
            if hidden.shape != row.shape or (hidden & padding_attention_mask(row, self.tokenizer.pad_token_id)).any():
                logger.warning_once(
                    "The data's own `attention_mask` hides tokens and is ignored: only padding is hidden from the "
                    "model, since a critic that cannot see the tokens it judges learns nothing."
                )
                return


def _protected_rows(examples: list[dict[str, Any]], rows: list[torch.Tensor]) -> list[torch.Tensor]:
    """Each example's `protected_mask`; an example without one protects nothing."""
    protected = []
    for index, (example, row) in enumerate(zip(examples, rows, strict=True)):
        mask = torch.as_tensor(example.get("protected_mask", torch.zeros_like(row)), dtype=torch.int64)
        if mask.shape != row.shape:
            raise ValueError(
                f"`protected_mask` must have one entry for each of the {len(row)} tokens of `input_ids`, got "
                f"{len(mask)} in row {index} of the batch: give 1 for a token to keep and 0 for the others."
            )
        protected.append(mask)
    return protected
