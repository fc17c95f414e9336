# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Does the critic know when a whole sequence is right? As a verdict, and as a choice among candidates."""

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator

from critic_gpt.evaluation.comparison import over_seeds, own_warmth, steps_within
from critic_gpt.evaluation.competitors import OURS, SHOOT_OUT, Arguments
from critic_gpt.evaluation.metrics import auroc, brier_score, expected_calibration_error
from critic_gpt.evaluation.sampling import sample_texts


def _verdicts(output) -> list[dict[str, float]]:
    """What the critic says of each finished sequence, and beside it what the model itself held of its tokens."""
    probabilities = output.error_probabilities.cpu().double()  # (B, T), 0 at given tokens
    log_right = torch.log1p(-probabilities.clamp(max=1 - 1e-12)).sum(dim=-1)
    columns = {
        "all_right": log_right.exp().tolist(),
        "log_all_right": log_right.tolist(),
        "expected_errors": output.expected_errors.tolist(),
        "self_log_probability": output.self_log_probability.tolist(),
    }
    return [dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True)]


def verify(
    model,
    tokenizer,
    task,
    canvases: torch.Tensor,
    budget: int,
    seeds: Sequence[int] = (0,),
    num_candidates: int = 4,
    batch_size: int = 250,
    accelerator: Accelerator | None = None,
    arguments: Arguments = SHOOT_OUT[OURS],
) -> dict[str, Any]:
    """
    Compares the critic's verdict on whole sequences with the truth, and lets it choose among candidates.

    Args:
        model, tokenizer: What generates; with a trained critic.
        task: With `right(texts)`, one truth for each canvas.
        canvases (`torch.LongTensor` of shape `(num_samples, sequence_length)`): What is filled, once per seed.
        budget (`int`): Forward passes of a single candidate.
        seeds (`list[int]`, *optional*), batch_size, accelerator (*optional*): As for `compare_strategies`.
        num_candidates (`int`, *optional*, defaults to 4): Among how many the critic chooses.
        arguments (`dict`, *optional*): Arguments of `generate` otherwise; by default our strategy.

    Returns:
        `dict`:
            - `auroc`: how well right sequences are told from wrong ones by `all_right` (the product of 1 - P(wrong)
              over the generated tokens), by minus the `expected_errors`, and by `self_log_probability`, what the model
              without a critic would have to go by; `None` where all are right or all wrong.
            - `all_right`: that product as a probability: `mean`, `rate` (the observed share), `ece` and `brier`.
            - `single`, `best_of_n`, `single_at_equal_passes`: share of right sequences (`success_rate`, each with
              `mean`, `spread`, `by_seed`), `num_steps` and `passes` a sequence as counted, verdicts included.
            - `budget`, `num_candidates`, `sequences`.

    Raises:
        `ValueError`: No trained critic, or a budget for not even one step.
    """
    if not model.has_trained_critic:
        raise ValueError("`model` must have a trained critic to be a verifier, got one without: train a critic first.")
    arguments = {**own_warmth(model, arguments), **arguments}  # as in the comparison
    sample = partial(sample_texts, model, tokenizer, canvases, batch_size, accelerator=accelerator, **arguments)
    steps = _steps(model, budget, arguments)
    more = {"num_steps": steps, "measure": _verdicts, "return_error_probabilities": True}
    singles = [sample(seed, **more) for seed in seeds]
    chosen = [sample(seed, num_steps=steps, num_candidates=num_candidates) for seed in seeds]
    # As many passes for one sequence as all candidates and the verdicts on them took.
    most = _steps(model, max(run.forward_passes for run in chosen), arguments)
    longer = [sample(seed, num_steps=most) for seed in seeds]
    truth = np.concatenate([task.right(run.texts) for run in singles])
    verdicts = [one for run in singles for one in run.measured]
    return {
        **_figures(verdicts, truth),
        "single": _rates(task, singles, steps),
        "best_of_n": _rates(task, chosen, steps),
        "single_at_equal_passes": _rates(task, longer, most),
        "budget": budget,
        "num_candidates": num_candidates,
        "sequences": len(truth),
    }


def _rates(task, runs, steps: int) -> dict[str, Any]:
    success = over_seeds([float(np.mean(task.right(run.texts))) for run in runs])
    return {"success_rate": success, "num_steps": steps, "passes": max(run.forward_passes for run in runs)}


def _steps(model, budget: int, arguments: Arguments) -> int:
    steps = steps_within(model, budget, arguments)
    if steps is None:
        raise ValueError(f"`budget` must allow one step of {dict(arguments)}, got {budget} forward passes: give more.")
    return steps


def _figures(verdicts: list[dict[str, float]], truth: np.ndarray) -> dict[str, Any]:
    columns = {name: np.array([one[name] for one in verdicts]) for name in verdicts[0]}
    wrong, all_right = ~truth, columns["all_right"]
    # Of the logarithm, which does not run into 0 where many tokens are doubtful.
    doubts = {
        "all_right": -columns["log_all_right"],
        "expected_errors": columns["expected_errors"],
        "self_log_probability": -columns["self_log_probability"],
    }
    return {
        "auroc": {name: auroc(doubt, wrong) for name, doubt in doubts.items()},
        "all_right": {
            "mean": float(all_right.mean()),
            "rate": float(truth.mean()),
            "ece": expected_calibration_error(all_right, truth),
            "brier": brier_score(all_right, truth),
        },
    }
