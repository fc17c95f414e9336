# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The rows of one call of `generate`: which go on, what they have cost, and what is kept of their steps.

Letters: A all rows, B rows that go on, T positions, N places of an open block.
"""

import torch
from transformers.generation import GenerationConfig

from critic_gpt.generation.canvas import Canvas
from critic_gpt.generation.chance import Chance
from critic_gpt.generation.open_block import OpenBlock
from critic_gpt.generation.outcomes import NOT_DRAWN, History, StepOutcome
from critic_gpt.generation.passes import Sight


class PresentRows:
    """
    Finished sequences leave the batch: `canvas` and `chance` are those of the rows that go on (B), while `sequences`,
    `drawn_probability`, `row_passes` and the history are of all rows (A). While a block of the text is open, `canvas`
    and `chance` are those of its places alone.

    Args:
        canvas ([`Canvas`]): Where generation takes place.
        config ([`CriticGPTGenerationConfig`]): Complete.
        seeds (`torch.LongTensor` of shape `(batch_size,)`): One a row.
    """

    def __init__(self, canvas: Canvas, config: GenerationConfig, seeds: torch.Tensor):
        self.canvas, self.config = canvas, config
        # The one place where a run waits for the device before its first step.
        self.padded = not bool(canvas.attention_mask.all())
        place = (canvas.attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)
        self.chance = Chance(seeds.to(canvas.input_ids.device), place, self.padded)
        # Places (B,) of the present rows among all; `None` as long as all are there.
        self.rows: torch.Tensor | None = None
        self.sequences = canvas.input_ids
        self.forward_passes = 0
        self.row_passes = torch.zeros(len(canvas.input_ids), dtype=torch.long, device=canvas.input_ids.device)
        self.history = History() if config.return_history else None
        # What the critic said in the last pass, and of which tokens (B, T).
        self.judged_ids: torch.Tensor | None = None
        self.critic_logits: torch.Tensor | None = None
        # The probability each token was last drawn with; kept only for an output that reports it.
        self.drawn_probability: torch.Tensor | None = None
        # The part of the text at which the strategy works, if not all of it, and its columns (B, N) there.
        self.block: OpenBlock | None = None
        self.columns: torch.Tensor | None = None
        self._whole, self._whole_config = canvas, config
        self._in_blocks, self._block_tokens = False, torch.zeros_like(self.row_passes)
        self._sight = Sight(canvas.attention_mask, self.padded)

    def keep(self, going: torch.Tensor) -> None:
        """Goes on with the rows where `going` (B,) alone."""
        rows = torch.arange(len(going), device=going.device) if self.rows is None else self.rows
        self.rows = rows[going]
        self.chance.keep(going)
        self.canvas = Canvas(*(part[going] for part in self.canvas))
        self._sight = Sight(self.canvas.attention_mask, self.padded)
        if self.block is not None:
            self.block.keep(going)
            self.columns = self.block.columns

    def open(self, block: OpenBlock, rows: torch.Tensor, chance: Chance, config: GenerationConfig) -> None:
        """Goes on with a block of some of all rows (B,), under settings of its own."""
        self._in_blocks, self.block, self.columns, self.rows = True, block, block.columns, rows
        self.canvas, self.chance, self.config = block.canvas(), chance, config

    def close(self) -> None:
        """Leaves the last block."""
        self.block = self.columns = self.rows = None
        self.canvas, self.config = self._whole, self._whole_config
        if self.drawn_probability is None:  # nothing may change anywhere, hence there was no block
            self.drawn_probability = torch.full(self.sequences.shape, NOT_DRAWN, device=self.sequences.device)

    @property
    def trunk_tokens(self) -> torch.Tensor:
        """How many tokens of each row (A,) went through the trunk so far, padding not counted."""
        if self._in_blocks:
            return self._block_tokens
        return self.row_passes * self._whole.attention_mask.long().sum(dim=-1)

    def count_pass(self) -> None:
        """Adds a pass of the present rows."""
        self.forward_passes += 1
        if self.rows is None:
            self.row_passes += 1
        else:
            self.row_passes[self.rows] += 1

    def make_plain(self) -> None:
        """Makes plain tensors of what was made in `torch.inference_mode`."""
        self.sequences, self.row_passes = self.sequences.clone(), self.row_passes.clone()
        self._block_tokens = self._block_tokens.clone()
        if self.drawn_probability is not None:
            self.drawn_probability = self.drawn_probability.clone()
        if self.history is not None:
            self.history.clone()

    def record(self, input_ids: torch.Tensor, outcome: StepOutcome) -> None:
        """Keeps what the output wants of a step that began with `input_ids`."""
        before, self.sequences = self.sequences, self.of_all(outcome.after, self.sequences)
        if self.config.return_dict_in_generate:
            if self.drawn_probability is None:
                self.drawn_probability = outcome.probability.new_full(self.sequences.shape, NOT_DRAWN)
            known = self.present(self.drawn_probability)
            drawn = torch.where(outcome.drawn, outcome.probability, known)
            self.drawn_probability = self.of_all(drawn, self.drawn_probability)
        if self.history is not None:
            critic_logits = self.critic_logits
            judged = None if critic_logits is None else self.judged_ids
            unknown = torch.full(before.shape, float("nan"), device=before.device)
            present = (outcome.filled, outcome.remasked, outcome.error_probabilities, judged, critic_logits)
            otherwise = (before, torch.zeros_like(before, dtype=torch.bool), unknown, before, unknown)
            self.history.add(before, *(self.of_all(*pair) for pair in zip(present, otherwise, strict=True)))

    def present(self, rows: torch.Tensor) -> torch.Tensor:
        """Those of all rows (A,) that go on; of what stands at places (A, T), the block that is open."""
        rows = rows if self.rows is None else rows[self.rows]
        return rows if self.columns is None or rows.dim() == 1 else rows.gather(1, self.columns)

    def of_all(self, present: torch.Tensor | None, otherwise: torch.Tensor) -> torch.Tensor | None:
        """The present rows (B, T) among all (A, T), with what the finished ones and all else have `otherwise`."""
        if present is None or self.rows is None:
            return present
        otherwise = otherwise.to(present.dtype)
        if self.columns is not None:
            rows = otherwise[self.rows]
            index = self.columns.view(*self.columns.shape, *[1] * (rows.dim() - 2)).expand(present.shape)
            present = rows.scatter(1, index, present)
        return otherwise.index_copy(0, self.rows, present)
