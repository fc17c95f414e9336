# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Compares ways of generating at equal forward passes, counted by a hook on the trunk."""

import time
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.utils import gather_object

from critic_gpt.evaluation.scoring import shared_batches


# What is compared by default: the order of unmasking alone, and the critic on top of it.
STRATEGIES: dict[str, dict[str, Any]] = {
    "random": {"unmasking": "random", "remasking": "none"},
    "confidence": {"unmasking": "confidence", "remasking": "none"},
    "critic": {"remasking": "critic"},
}


class ForwardCounter:
    """Counts how often a trunk really runs, whatever the code that calls it reports."""

    def __init__(self, model):
        self.passes = 0
        self._handle = model.base_model.register_forward_hook(self._count)

    def _count(self, module, args, output) -> None:
        self.passes += 1

    def __enter__(self) -> "ForwardCounter":
        return self

    def __exit__(self, *exception) -> None:
        self._handle.remove()


def sample_texts(
    model,
    tokenizer,
    length: int,
    num_samples: int,
    batch_size: int,
    seed: int,
    accelerator: Accelerator | None = None,
    **generate_kwargs,
) -> tuple[list[str], int]:
    """
    Generates sequences from nothing but [MASK].

    Args:
        model: With `generate` and a `base_model`.
        tokenizer: Gives the mask token and decodes.
        length (`int`): Tokens a sequence.
        num_samples, batch_size (`int`): How many sequences, and how many at a time, over all processes; at least 1.
        seed (`int`): Each sequence gets a seed made of it and its place, so that neither the batch size nor the number
            of processes changes anything.
        accelerator ([`~accelerate.Accelerator`], *optional*): Shares the work among its processes, which all get all.
        generate_kwargs: Arguments of `generate`.

    Returns:
        `tuple[list[str], int]`: the texts in the order of their places, and the forward passes of one batch as counted
        by a hook (the most of any batch, where a strategy stops early).
    """
    for name, value in (("num_samples", num_samples), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1, got {value}: give 1 or more.")
    padding = {tokenizer.pad_token_id, model.config.pad_token_id}
    texts, passes = [], [0]
    for _, rows in shared_batches(num_samples, batch_size, accelerator or Accelerator()):
        if not len(rows):
            continue
        canvas = torch.full((len(rows), length), tokenizer.mask_token_id, device=model.device)
        with ForwardCounter(model) as counter:
            output = model.generate(
                canvas,
                seed=[seed * 1_000_003 + row for row in rows],
                return_error_probabilities=False,
                **generate_kwargs,
            )
        if counter.passes != output.forward_passes:
            raise RuntimeError(f"generate reported {output.forward_passes} passes where {counter.passes} ran")
        passes.append(counter.passes)
        # What was cut after a generated EOS is padding, and no part of a text.
        decoded = (tokenizer.decode([i for i in ids if i not in padding]) for ids in output.sequences.tolist())
        texts += zip(rows, decoded, strict=True)
    parts = gather_object([(texts, max(passes))])
    ordered = sorted(pair for part, _ in parts for pair in part)
    return [text for _, text in ordered], max(most for _, most in parts)


def compare_strategies(
    model,
    tokenizer,
    task,
    budgets: Sequence[int],
    strategies: Mapping[str, Mapping[str, Any]] = STRATEGIES,
    num_samples: int = 1000,
    batch_size: int = 250,
    seed: int = 0,
    accelerator: Accelerator | None = None,
) -> dict[str, dict[str, dict[str, float]]]:
    """
    Judges samples of every strategy at every budget.

    Args:
        model, tokenizer: What generates.
        task: With `sequence_length` and `judge(texts) -> dict`.
        budgets (`list[int]`): Numbers of denoising steps.
        strategies (`dict`, *optional*): `{name: arguments of generate}`; temperature 1 unless they say otherwise.
        num_samples, batch_size, seed (`int`, *optional*), accelerator (*optional*): As for `sample_texts`.

    Returns:
        `dict`: `{strategy: {forward passes as counted: {figures of the judge and "seconds"}}}`.
    """
    table: dict[str, dict[str, dict[str, float]]] = {}
    for name, arguments in strategies.items():
        table[name] = {}
        for budget in budgets:
            begin = time.perf_counter()
            texts, passes = sample_texts(
                model,
                tokenizer,
                task.sequence_length,
                num_samples,
                batch_size,
                seed,
                accelerator,
                **{"temperature": 1.0, **arguments, "num_steps": budget},
            )
            table[name][str(passes)] = {**task.judge(texts), "seconds": time.perf_counter() - begin}
    return table
