# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What held-out sequences say of a model: its bound, its critic's figures, and the errors it expects of itself."""

import math
import os
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.evaluation.comparison import steps_within
from critic_gpt.evaluation.competitors import OURS, SHOOT_OUT
from critic_gpt.evaluation.metrics import binned_errors, calibration_report, summary_by_target
from critic_gpt.evaluation.plots import plot_calibration
from critic_gpt.evaluation.row_forms import CollatorForCorruptedRows, SpecialTokens
from critic_gpt.evaluation.scoring import JudgedFillings
from critic_gpt.evaluation.trajectories import ExpectedErrors, expected_errors, judge_trajectories
from critic_gpt.tasks import SudokuPuzzles


def bound_of(judged: JudgedFillings) -> dict[str, float | None]:
    """
    The diffusion bound, in nats and in bits per token; `None` where there was nothing to judge.

    Raises:
        `ValueError`: The bound is not finite.
    """
    if judged.lm_loss is None:
        return {"nats_per_token": None, "bits_per_token": None}
    if not math.isfinite(judged.lm_loss):
        raise ValueError(
            f"`model` must give finite losses, got a bound of {judged.lm_loss}: its training diverged, or its weights "
            "are damaged; train it anew."
        )
    return {"nats_per_token": judged.lm_loss, "bits_per_token": judged.lm_loss / math.log(2)}


def critic_figures(model, judged: JudgedFillings, picture: str | os.PathLike | None = None) -> dict[str, Any]:
    """
    How good the critic is on held-out fillings, by the model's table or, where it has none, the ramp.

    Args:
        model ([`CriticGPTForMaskedLM`]): With a trained critic.
        judged ([`JudgedFillings`]): What it said; at least one position.
        picture (`str` or `os.PathLike`, *optional*): Where a reliability diagram goes.
    """
    calibration = CriticCalibration.or_ramp(model.calibration, warn=False)
    report = calibration_report(judged.critic_logits, judged.critic_target, calibration)
    if picture is not None:
        plot_calibration(picture, judged.critic_logits, judged.critic_target, calibration)
    probability = calibration.error_probability(torch.as_tensor(judged.critic_logits))
    return {
        **report["after"],
        "before": report["before"],
        "calibrated": model.calibration is not None,
        "positions": report["positions"],
        "positive_rate": report["positive_rate"],
        "error_probability_by_target": summary_by_target(probability, judged.critic_target),
    }


def errors_of_fillings(model, judged: JudgedFillings) -> ExpectedErrors:
    """How many of the tokens filled in one shot are wrong in each held-out sequence: expected, and truly."""
    calibration = CriticCalibration.or_ramp(model.calibration, warn=False)
    probability = calibration.error_probability(torch.as_tensor(judged.critic_logits)).double().numpy()
    sequences, place = np.unique(judged.sequence_index, return_inverse=True)
    return ExpectedErrors(
        sequences,
        np.bincount(place, weights=probability, minlength=len(sequences)),
        np.bincount(place, weights=judged.critic_target, minlength=len(sequences)),
    )


def errors_of_answers(
    model,
    puzzles: SudokuPuzzles,
    tokenizer,
    budget: int,
    batch_size: int = 64,
    seed: int = 0,
    accelerator: Accelerator | None = None,
) -> ExpectedErrors:
    """
    How many tokens of each generated answer are wrong: expected, and truly, which only puzzles tell, since anything
    else has more than one right answer.

    Args:
        model ([`CriticGPTForMaskedLM`]): With a trained critic, which guides.
        puzzles ([`SudokuPuzzles`]): What is filled.
        budget (`int`): Forward passes of the trunk per sequence.
        tokenizer, batch_size, seed, accelerator: As for `judge_trajectories`.

    Raises:
        `ValueError`: A budget for not even one step.
    """
    arguments = {"temperature": 1.0, **SHOOT_OUT[OURS]}
    num_steps = steps_within(model, budget, arguments)
    if num_steps is None:
        raise ValueError(f"`forward_passes` must allow one step of {OURS!r}, got {budget}: give more.")
    config = model.config
    collator = CollatorForCorruptedRows(
        SpecialTokens.of(config), model.backbone.vocab_size, config.critic_regime, seed
    )
    arguments["num_steps"] = num_steps
    judged = judge_trajectories(
        model, puzzles.rows(tokenizer), collator, len(puzzles), batch_size, accelerator, seed=seed, **arguments
    )
    table = model.calibration_for(model.resolve_generation_config(**arguments))
    return expected_errors(judged, CriticCalibration.or_ramp(table, warn=False))


def error_figures(errors: ExpectedErrors) -> dict[str, Any]:
    """
    Returns:
        `dict`: `expected`, `actual` (means over the sequences), `sequences`, and `bins`: `binned_errors` as lists.
    """
    bins = binned_errors(errors.expected, errors.actual)
    return {
        "expected": float(errors.expected.mean()),
        "actual": float(errors.actual.mean()),
        "sequences": len(errors.expected),
        "bins": {name: [None if math.isnan(v) else v for v in column.tolist()] for name, column in bins.items()},
    }
