# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Text block by block, from left to right: semi-autoregressive generation, of any strategy.

A block is `block_length` of the places that may change, counted in each row from the left (Nie et al., "Large Language
Diffusion Models", 2025, arXiv:2502.09992). The strategy works on one after the other as if it were all there is; what
stands around it is its context: the whole text where the model takes it, else a window (`windows`).

Letters: A all rows, B rows at work, T positions, W of a window.
"""

import copy
from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers.generation import GenerationConfig

from critic_gpt.backbones.description import Backbone
from critic_gpt.diffusion.selection import select_worst, settle
from critic_gpt.generation.canvas import Canvas
from critic_gpt.generation.open_block import OpenBlock
from critic_gpt.generation.run import DenoisingRun
from critic_gpt.generation.stopping import Stopping
from critic_gpt.generation.strategies.base import Strategy
from critic_gpt.generation.streamers import Stream
from critic_gpt.generation.windows import windows_around, windows_over


NO_BLOCK = -1
# The settings that count something of the whole text, and are spread over its blocks.
SPREAD = ("num_steps", "polish_steps")


def in_blocks(config: GenerationConfig) -> bool:
    """Whether a text is generated in parts of any kind: blocks, or beside kept keys and values."""
    return config.block_length is not None or config.cache_implementation is not None


def block_numbers(editable: torch.Tensor, block_length: int, longest: int | None = None) -> torch.Tensor:
    """
    In which block each place is.

    Args:
        editable (`torch.BoolTensor` of shape `(A, T)`): What may change.
        block_length (`int`): Places of a block; the last one may have fewer.
        longest (`int`, *optional*): Of a text that a model is shown in windows of so many tokens: where holes are far
            between, a block also ends where it would take up more than half of one.

    Returns:
        `torch.LongTensor` of shape `(A, T)`: from 0 on; `NO_BLOCK` where nothing may change.
    """
    if longest is None:
        return ((editable.long().cumsum(dim=-1) - 1) // block_length).masked_fill(~editable, NO_BLOCK)
    numbers, span = torch.full(editable.shape, NO_BLOCK), max(block_length, longest // 2)
    for row, places in zip(numbers, (part.nonzero().flatten().tolist() for part in editable.cpu()), strict=True):
        number, first, count = -1, 0, block_length
        for place in places:
            if count == block_length or place - first >= span:
                number, first, count = number + 1, place, 0
            row[place], count = number, count + 1
    return numbers.to(editable.device)


def spread(total: int, parts: int) -> list[int]:
    """A number in so many parts, as equal as they can be, the larger ones first."""
    return [total // parts + (part < total % parts) for part in range(parts)]


def denoise_in_blocks(
    run: DenoisingRun, strategy: type[Strategy], stopping: Stopping, stream: Stream, denoise: Callable[..., None]
) -> None:
    """
    The steps of a run, block by block. A row ends with the block in which an EOS is generated, or in which a stopping
    criterion ends it; what it has not begun by then is left out.

    Args:
        run ([`DenoisingRun`]): Before its first step.
        strategy (`type[Strategy]`): Makes the steps of each block.
        stopping, stream: Of the call.
        denoise (callable): The steps of one strategy: called with the run, the strategy, and the two.
    """
    blocks, canvas, chance = Blocks(run), run.canvas, run.chance
    if blocks.is_one:
        denoise(run, strategy(run), stopping, stream)
        return
    ended = torch.zeros_like(blocks.counts, dtype=torch.bool)
    for number in range(blocks.most):
        at_work = (blocks.counts > number) & ~ended
        # Rows of as many blocks have as many steps in each of them.
        for count in blocks.counts[at_work].unique().tolist():
            rows = (at_work & (blocks.counts == count)).nonzero().squeeze(-1)
            steps, block = blocks.steps(number, count), blocks.opened(number, rows)
            run.open(block, rows, chance.of_block(rows, block.columns, steps.before), steps.config)
            run.steps_beyond = steps.beyond
            denoise(run, strategy(run), stopping, stream)
        ended = ended | stopping.stopped | has_ended(run.sequences, canvas.editable, blocks.config)
    run.close()
    if blocks.config.pad_token_id is not None:
        unbegun = canvas.editable & (run.sequences == blocks.config.mask_token_id) & ended[:, None]
        run.sequences = run.sequences.masked_fill(unbegun, blocks.config.pad_token_id)


class Steps(NamedTuple):
    """Of one block: its settings, and how many steps there are before and behind it."""

    config: GenerationConfig
    before: int
    beyond: int


class Blocks:
    """
    The blocks of one call.

    Args:
        run ([`DenoisingRun`]): Before its first step.
    """

    def __init__(self, run: DenoisingRun):
        self.run, self.config, self.text = run, run.config, run.canvas
        self.backbone = Backbone.of(run.model.config)
        lengths, longest = self.text.attention_mask.bool().sum(dim=-1), self.backbone.max_sequence_length
        longer = torch.zeros_like(lengths, dtype=torch.bool) if longest is None else lengths > longest
        self.fits, width = not bool(longer.any()), self.text.input_ids.shape[1]
        # A row that fits may stand in more columns than the model takes, padded beside longer ones or by the caller.
        self.seen_whole = self.fits and width <= self.backbone.longest(width)
        self.block_length = self.config.block_length or width
        self._check_length()
        self.numbers = block_numbers(self.text.editable, self.block_length)
        if not self.fits:
            self.numbers[longer] = block_numbers(self.text.editable[longer], self.block_length, longest)
        self.counts = self.numbers.amax(dim=-1) + 1  # (A,)
        self.most = int(self.counts.max())
        self._check_steps()

    @property
    def is_one(self) -> bool:
        """Whether all is one block, in one window, of which nothing is kept: the text as it is."""
        return self.seen_whole and self.most <= 1 and self.config.cache_implementation is None

    def _check_length(self) -> None:
        most = None if self.fits else self.backbone.max_text_length
        if most is not None and self.block_length > most:
            raise ValueError(
                f"`block_length` must fit the model, which takes {most} tokens at once, got {self.block_length} for a "
                "longer text: choose a shorter block."
            )

    def _check_steps(self) -> None:
        steps, schedule = spread(self.config.num_steps, max(self.most, 1)), self.config.schedule
        if steps[-1] == 0:
            raise ValueError(
                f"`num_steps` must be at least the number of blocks, {self.most}, since each takes one, got "
                f"{self.config.num_steps}: raise it, or `block_length`."
            )
        if isinstance(schedule, (list, tuple)) and self.most > 1 and {*steps} != {len(schedule)}:
            raise ValueError(
                f"`schedule` must hold one ratio for each step of a block, got {len(schedule)} for blocks of "
                f"{' and '.join(map(str, sorted({*steps})))} steps: change `num_steps` or the list."
            )

    def steps(self, number: int, count: int) -> Steps:
        """Of a block, in rows of so many."""
        config, parts = (
            copy.copy(self.config),
            {name: spread(getattr(self.config, name) or 0, count) for name in SPREAD},
        )
        for name in SPREAD:
            if getattr(config, name) is not None:
                setattr(config, name, parts[name][number])
        before = sum(sum(part[:number]) for part in parts.values())
        return Steps(config, before, sum(sum(part[number + 1 :]) for part in parts.values()))

    def opened(self, number: int, rows: torch.Tensor) -> OpenBlock:
        """A block of some rows (B,), with the tokens behind it that the critic doubts by now."""
        config, numbers = self.config, self.numbers[rows]
        tokens, real = self.run.sequences[rows], self.text.attention_mask[rows]
        text = Canvas(tokens, real, numbers == number)
        window = windows_around(*text, config.mask_token_id, self.backbone)
        cache = config.cache_implementation
        block = OpenBlock(self.run.passes, text, window, cache, config.cache_refresh_interval)
        if number and config.revision_threshold is not None:
            logits = block.look()
            wrong = self.run.calibration.error_probability(logits)
            finished = (numbers > NO_BLOCK) & (numbers < number) & (tokens != config.mask_token_id)
            # Not `wrong > threshold`: a broken score (NaN) must not pass for a safe one.
            doubted = finished.gather(1, window) & ~(wrong <= config.revision_threshold)
            most = torch.full_like(rows, self.block_length)
            block.take_up(select_worst(settle(logits), doubted, most))
        return block


def has_ended(sequences: torch.Tensor, editable: torch.Tensor, config: GenerationConfig) -> torch.Tensor:
    """Whether an EOS was generated in each row (A,), behind which all is cut; nothing is cut without padding."""
    if config.eos_token_id is None or config.pad_token_id is None:
        return torch.zeros(len(sequences), dtype=torch.bool, device=sequences.device)
    eos = torch.as_tensor(config.eos_token_id, device=sequences.device).reshape(-1)
    return (editable & torch.isin(sequences, eos)).any(dim=-1)


def critic_logits_in_windows(
    model: Any, sequences: torch.Tensor, attention_mask: torch.Tensor, fields: dict[str, Any]
) -> tuple[torch.Tensor, int]:
    """
    The critic's logits (A, T) of texts longer than the model, of each token in the window that shows most around it.

    Args:
        model: With `forward`.
        sequences, attention_mask (`torch.LongTensor` of shape `(A, T)`): The texts.
        fields (`dict`): Further arguments of its `forward`.

    Returns:
        `tuple`: the logits, and how many passes they took, each over as many windows as there are texts.
    """
    rows, columns, speaks = windows_over(sequences, attention_mask, Backbone.of(model.config))
    found, passes = torch.zeros(sequences.shape, device=sequences.device), 0
    for part in torch.arange(len(rows)).split(len(sequences)):
        row, shown = rows[part].to(sequences.device)[:, None], columns[part].to(sequences.device)
        mask, shown = (shown >= 0).long(), shown.clamp(min=0)
        output = model(input_ids=sequences[row, shown], attention_mask=mask, return_dict=True, **fields)
        spoken = speaks[part].to(sequences.device)
        found = found.to(output.critic_logits.dtype)
        found[row.expand_as(shown)[spoken], shown[spoken]] = output.critic_logits[spoken]
        passes += 1
    return found, passes
