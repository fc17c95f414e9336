# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Lets a model denoise held-out sequences and its critic judge every step against the truth.

The tokens that stand there in the middle of a generation are not those of masks filled in one shot: they were chosen
by an order of unmasking, some were re-masked, and those that are left are the ones the critic believed. A table is
right where it is used only if it was measured there. Letters: B batch, T positions.
"""

from collections.abc import Callable, Iterator
from dataclasses import fields
from typing import NamedTuple

import numpy as np
import torch
from accelerate import Accelerator

from critic_gpt.calibration.histogram import CriticHistogram
from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.evaluation.mask_rate import CollatorAtMaskRate
from critic_gpt.evaluation.metrics import before_and_after, cross_fitted_probability
from critic_gpt.evaluation.row_forms import CollatorForCorruptedRows
from critic_gpt.evaluation.sampling import without_advice
from critic_gpt.evaluation.scoring import check_numbers, judge_together
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion


# In place of a step's number: the verdict on the finished sequence.
FINAL_STEP = -1
# What is asked of `generate` here, and cannot be asked of it by a caller as well.
_ASKED_FOR = ("return_history", "return_error_probabilities", "return_dict_in_generate")


class JudgedTrajectories(NamedTuple):
    """
    What the critic said of generated tokens while they were generated. The same on any number of processes.

    Arrays with one entry for each verdict on a visible generated token, in the order of the sequences and, within
    one, of the steps: `critic_logits`, `critic_target` (1.0 = wrong), `sequence_index`, and `step`, from 0, or
    `FINAL_STEP` (-1) for the verdict on the finished sequence, which comes last. `histogram` counts them.
    """

    critic_logits: np.ndarray
    critic_target: np.ndarray
    sequence_index: np.ndarray
    step: np.ndarray
    histogram: CriticHistogram


class ExpectedErrors(NamedTuple):
    """
    How many generated tokens of each finished sequence are wrong: `expected` by the critic, and `actual`; float arrays
    with one entry for each of the sequences `sequence_index`.
    """

    sequence_index: np.ndarray
    expected: np.ndarray
    actual: np.ndarray


def _collator_at(collator, mask_rate: float | None):
    """The evaluation form of a collator, at a fixed mask rate if one is given."""
    if mask_rate is None:
        return collator.for_evaluation()
    if not isinstance(collator, DataCollatorForMaskedDiffusion):
        raise ValueError(
            f"`mask_rate` must be left out for rows that are corrupted already, got {mask_rate}: drop their labels to "
            "have them masked, or take their own [MASK]s."
        )
    own = {field.name: getattr(collator, field.name) for field in fields(DataCollatorForMaskedDiffusion)}
    return CollatorAtMaskRate(**{**own, "evaluation": True}, mask_rate=mask_rate)


def _check_settings(model, generate_kwargs: dict) -> None:
    for name in _ASKED_FOR:
        if name in generate_kwargs:
            raise ValueError(
                f"`{name}` must be left to `judge_trajectories`, which needs every step, got "
                f"{generate_kwargs[name]!r}: leave it out."
            )
    candidates = model.resolve_generation_config(**generate_kwargs).num_candidates
    if candidates != 1:
        raise ValueError(
            f"`num_candidates` must be 1 to follow one trajectory a sequence, got {candidates}: set it to 1."
        )


class _Verdict(NamedTuple):
    """The critic's scores (B, T) of the tokens (B, T) at one step."""

    step: int
    tokens: torch.Tensor
    logits: torch.Tensor


def _verdicts(model, output, attention_mask: torch.Tensor, holes: torch.Tensor) -> Iterator[_Verdict]:
    """Those of the steps of a generation, on the CPU, and then the one on what came out."""
    for number, step in enumerate(output.history):
        if step.critic_logits is not None:
            yield _Verdict(number, step.judged_ids, step.critic_logits)
    sequences, pad_id = output.sequences, model.config.pad_token_id
    # What a generated EOS cut off is padding now; no generated token is padding otherwise.
    cut = torch.zeros_like(holes) if pad_id is None else holes & (sequences == pad_id)
    logits = model.critic_scores(sequences, attention_mask=attention_mask.masked_fill(cut, 0))
    yield _Verdict(FINAL_STEP, sequences.cpu(), logits.cpu())


def _refuse_unjudged(model, output, generate_kwargs: dict) -> None:
    if all(step.critic_logits is None for step in output.history):
        remasking = model.resolve_generation_config(**generate_kwargs).remasking
        raise ValueError(
            f"`remasking` must be a strategy in whose steps a critic judges the tokens, got {remasking!r}, in which "
            'none did: choose "critic" or "critic_full", of a model with a critic head.'
        )


def _judge_batch(
    model, batch: dict[str, torch.Tensor], own: range, seed: int, generate_kwargs: dict
) -> Iterator[dict[str, torch.Tensor]]:
    """Denoises a batch; for every step the columns of what was judged, each of shape `(judged,)`, on the CPU."""
    input_ids, labels = batch["input_ids"], batch["labels"].cpu()
    mask_id, pad_id = model.config.mask_token_id, model.config.pad_token_id
    holes = input_ids == mask_id  # (B, T)
    if not holes.any():
        return
    seeds = [seed * 1_000_003 + i for i in own]
    with without_advice():
        output = model.generate(
            input_ids,
            attention_mask=batch["attention_mask"],
            seed=seeds,
            return_history=True,
            return_error_probabilities=False,
            **generate_kwargs,
        )
    _refuse_unjudged(model, output, generate_kwargs)
    hidden = torch.tensor([token for token in (mask_id, pad_id) if token is not None])
    supervised = holes.cpu() & (labels != -100)  # a hole that came with the data has no truth
    rows = torch.tensor(list(own), dtype=torch.int32)[:, None].expand(labels.shape)
    for step, tokens, logits in _verdicts(model, output, batch["attention_mask"], holes):
        going = ~logits.isnan().all(dim=-1, keepdim=True)  # a row that was finished is judged no more
        judged = supervised & ~torch.isin(tokens, hidden) & going
        yield {
            "critic_logits": logits[judged].float(),
            "critic_target": (tokens != labels)[judged].float(),
            "sequence_index": rows[judged],
            "step": torch.full_like(rows[judged], step),
        }


@torch.no_grad()
def judge_trajectories(
    model,
    dataset,
    collator: DataCollatorForMaskedDiffusion | CollatorForCorruptedRows,
    num_sequences: int,
    batch_size: int = 64,
    accelerator: Accelerator | None = None,
    on_step: Callable[[int, CriticHistogram], None] | None = None,
    mask_rate: float | None = None,
    seed: int = 0,
    **generate_kwargs,
) -> JudgedTrajectories:
    """
    Corrupts the first `num_sequences` sequences as in evaluation, lets the model denoise them step by step, and
    compares with the truth every verdict of the critic on a token that was generated and is visible.

    What is masked is to be generated, all else is given and never changes. A token that stays counts at every step
    that judges it: so often is it looked up in a table.

    Args:
        model ([`CriticGPTForMaskedLM`]): Put into eval mode. Its tables guide it as they guide `generate`.
        dataset: Map-style, with the columns that the collator knows.
        collator ([`DataCollatorForMaskedDiffusion`] or [`CollatorForCorruptedRows`]): Its evaluation form is used.
        num_sequences (`int`): Exactly so many sequences in total, over all processes.
        batch_size (`int`, *optional*, defaults to 64): Sequences a step, over all processes.
        accelerator ([`~accelerate.Accelerator`], *optional*): Shares the work among its processes.
        on_step (callable, *optional*): Called on every process after each batch with the number of sequences done and
            the histogram of all processes.
        mask_rate (`float`, *optional*): Masks each token with this probability, in (0, 1], instead of one drawn for
            each sequence. The less is given, the more answers are right beside the truth, and count as wrong.
        seed (`int`, *optional*, defaults to 0): Of the draws of tokens. Each sequence gets a seed made of it and its
            number, so that neither the batch size nor the number of processes changes anything.
        generate_kwargs: Settings of `generate`, as for `model.resolve_generation_config`.

    Returns:
        [`JudgedTrajectories`].

    Raises:
        `ValueError`: Fewer sequences than asked for, a batch of none, a rate out of range or for rows that are
            corrupted already, or settings that `generate` refuses or whose steps no critic judges.
    """
    check_numbers(num_sequences, len(dataset), batch_size)
    _check_settings(model, generate_kwargs)
    dtypes = {"critic_logits": np.float32, "critic_target": np.float32, "sequence_index": np.int32, "step": np.int32}
    columns, histogram = judge_together(
        model,
        dataset,
        _collator_at(collator, mask_rate),
        num_sequences,
        batch_size,
        accelerator,
        on_step,
        dtypes,
        judge=lambda batch, own: _judge_batch(model, batch, own, seed, generate_kwargs),
    )
    return JudgedTrajectories(**columns, histogram=histogram)


def report_by_step(
    judged: JudgedTrajectories, calibration: CriticCalibration | None = None, method: str = "nearest"
) -> dict[int, dict]:
    """
    What a table is worth at each step. One table serves all steps alike, though the same score may mean another risk
    early than late: good figures over all steps do not promise good ones at each.

    Args:
        judged ([`JudgedTrajectories`]): The verdicts.
        calibration ([`CriticCalibration`], *optional*): The table; by default one of the verdicts of all steps on
            other sequences (`cross_fitted_probability`).
        method (`str`, *optional*, defaults to `"nearest"`): How that one is fitted.

    Returns:
        `dict`: `{step: figures}` in the order of the steps, the finished sequence (`FINAL_STEP`) last; the figures are
        those of `before_and_after`, and `expected_rate`, the mean of P(wrong).
    """
    logits = torch.as_tensor(judged.critic_logits)
    if calibration is None:
        probability = cross_fitted_probability(logits, judged.critic_target, judged.sequence_index, method)
    else:
        probability = calibration.error_probability(logits).numpy()
    raw, report = logits.sigmoid().numpy(), {}
    for step in sorted(set(judged.step.tolist()), key=lambda step: (step == FINAL_STEP, step)):
        own = judged.step == step
        figures = before_and_after(raw[own], probability[own], judged.critic_target[own])
        report[step] = {**figures, "expected_rate": float(probability[own].mean(dtype=float))}
    return report


def expected_errors(judged: JudgedTrajectories, calibration: CriticCalibration) -> ExpectedErrors:
    """
    The sum of P(wrong) over the generated tokens of each finished sequence, and how many of them are wrong.

    Args:
        judged ([`JudgedTrajectories`]): Of sequences that the table was not made of; else the figures flatter it.
        calibration ([`CriticCalibration`]): Gives P(wrong).

    Returns:
        [`ExpectedErrors`], without sequences in which nothing was generated.
    """
    final = judged.step == FINAL_STEP
    logits = torch.as_tensor(judged.critic_logits[final], dtype=torch.float64)
    sequences, place = np.unique(judged.sequence_index[final], return_inverse=True)
    return ExpectedErrors(
        sequences,
        np.bincount(place, weights=calibration.error_probability(logits).numpy(), minlength=len(sequences)),
        np.bincount(place, weights=judged.critic_target[final], minlength=len(sequences)),
    )
