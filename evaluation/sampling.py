# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Lets a model fill canvases on any number of processes, and counts by a hook what that costs.

Letters: N canvases, T positions.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any, NamedTuple

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from critic_gpt.backbones.description import Backbone
from critic_gpt.calibration.model import CalibratedModelMixin
from critic_gpt.evaluation.scoring import shared_batches
from critic_gpt.generation.strategies.registry import STRATEGIES
from critic_gpt.generation.windows import row_of


class ForwardCounter:
    """
    Counts how often a trunk really runs, whatever the code that calls it reports.

    Attributes:
        passes (`int`): Calls of the trunk.
        row_passes (`int`): Sequences that went through it, over all calls: fewer than `passes` times the batch where
            finished ones leave it, more where there are several candidates of each.
    """

    def __init__(self, model):
        self.passes = self.row_passes = 0
        self._handle = model.base_model.register_forward_hook(self._count)

    def _count(self, module, args, output) -> None:
        self.passes += 1
        self.row_passes += len(output[0])  # (B, T, D)

    def __enter__(self) -> "ForwardCounter":
        return self

    def __exit__(self, *exception) -> None:
        self._handle.remove()


class Samples(NamedTuple):
    """
    Filled canvases, the same on any number of processes.

    Args:
        texts (`list[str]`): In the order of the canvases, without padding and the frame of the model.
        forward_passes (`int`): Passes of the trunk that the sequence took which took most.
        mean_forward_passes (`float`): The same over all sequences: fewer where some stop early.
        measured (`list`, *optional*): What `measure` said of each, in the order of the canvases.
        rows (`list[list[int]]`): Their token ids, without padding, EOS and the frame.
    """

    texts: list[str]
    forward_passes: int
    mean_forward_passes: float
    measured: list | None = None
    rows: list[list[int]] | None = None


class FilledBatch(NamedTuple):
    """What one call of `generate` made of the canvases `rows`: its output, and what the hook counted."""

    rows: range
    output: Any
    counter: ForwardCounter


def blank_canvases(tokenizer, num_samples: int, length: int, backbone: Backbone) -> torch.Tensor:
    """Nothing but `length` times [MASK], within the frame of the model where it has one: `(num_samples, T)`."""
    return backbone.framed(torch.full((length,), tokenizer.mask_token_id)).repeat(num_samples, 1)


def fill_batches(
    model,
    canvases: torch.Tensor,
    batch_size: int,
    seed: int,
    accelerator: Accelerator | None = None,
    **generate_kwargs,
) -> Iterator[FilledBatch]:
    """
    Fills this process's share of some canvases, batch by batch.

    Args:
        model: With `generate` and a `base_model`.
        canvases (`torch.LongTensor` of shape `(num_samples, sequence_length)`): Tokens with [MASK] holes.
        batch_size (`int`): How many at a time, over all processes.
        seed (`int`): Each canvas gets a seed made of it and its place, so that neither the batch size nor the number
            of processes changes anything.
        accelerator ([`~accelerate.Accelerator`], *optional*): Shares the work among its processes.
        generate_kwargs: Arguments of `generate`.

    Raises:
        `ValueError`: No canvas, or batches of none.
        `RuntimeError`: `generate` reported other passes than ran, which is no mistake of the caller.
    """
    for name, value in (("num_samples", len(canvases)), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}: give 1 or more.")
    for _, rows in shared_batches(len(canvases), batch_size, accelerator or Accelerator()):
        if not len(rows):
            continue
        with ForwardCounter(model) as counter:
            output = model.generate(
                canvases[rows.start : rows.stop].to(model.device),
                seed=[seed * 1_000_003 + row for row in rows],
                **generate_kwargs,
            )
        reported = output.forward_passes + output.scoring_passes
        if counter.passes != reported:
            raise RuntimeError(f"generate reported {reported} passes where {counter.passes} ran")
        yield FilledBatch(rows, output, counter)


def sample_texts(
    model,
    tokenizer,
    canvases: torch.Tensor,
    batch_size: int,
    seed: int,
    accelerator: Accelerator | None = None,
    measure: Callable[[Any], Sequence] | None = None,
    **generate_kwargs,
) -> Samples:
    """
    Fills canvases.

    Args:
        tokenizer: Decodes.
        measure (callable, *optional*): From the output of `generate` to something for each of its rows.
        model, canvases, batch_size, seed, accelerator, generate_kwargs: As for [`fill_batches`].

    Returns:
        [`Samples`].
    """
    backbone = Backbone.of(model.config)
    padding = [one for one in (tokenizer.pad_token_id, model.config.pad_token_id) if one is not None]
    left_out = {*padding, tokenizer.eos_token_id}
    found, most, total = [], 0, 0
    generate_kwargs = {"return_error_probabilities": False, **generate_kwargs}
    for rows, output, counter in fill_batches(model, canvases, batch_size, seed, accelerator, **generate_kwargs):
        tokens = output.sequences.cpu()
        is_real = torch.isin(tokens, torch.tensor(padding, dtype=tokens.dtype), invert=True)
        inside = [row[row_of(row, real, backbone).text].tolist() for row, real in zip(tokens, is_real, strict=True)]
        # A generated EOS is no part of a text, nor is what was cut after it, which is padding.
        kept = [[token for token in ids if token not in left_out] for ids in inside]
        decoded = map(tokenizer.decode, kept)
        found += zip(rows, decoded, kept, [None] * len(rows) if measure is None else measure(output), strict=True)
        # Several candidates of a sequence may share a pass, and each counts.
        most = max(most, counter.passes, -(-counter.row_passes // len(rows)))
        total += counter.row_passes
    parts = gather_object([(found, most, total)])
    _, texts, kept, measured = zip(
        *sorted((one for part, _, _ in parts for one in part), key=lambda one: one[0]), strict=True
    )
    return Samples(
        list(texts),
        max(most for _, most, _ in parts),
        sum(total for _, _, total in parts) / len(canvases),
        None if measure is None else list(measured),
        list(kept),
    )


@contextlib.contextmanager
def without_advice() -> Iterator[None]:
    """Keeps strategies from saying that a budget is small, and models that a temperature is not that of their table:
    that is what is being measured."""
    advice = [logging.getLogger(kind.__module__) for kind in (STRATEGIES["none"], CalibratedModelMixin)]
    levels = [one.level for one in advice]
    for one in advice:
        one.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for one, level in zip(advice, levels, strict=True):
            one.setLevel(level)
