# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Measures a calibration table on held-out sequences: what scripts/calibrate.py does, as one call."""

from typing import Any

from accelerate import Accelerator

from critic_gpt.backbones.description import Backbone
from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.evaluation.metrics import cross_fitted_report
from critic_gpt.evaluation.row_forms import SpecialTokens
from critic_gpt.evaluation.scoring import JudgedFillings, judge_fillings
from critic_gpt.evaluation.table_choice import best_method, cross_fitted_errors
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion


def measured_table(
    model: Any,
    dataset: Any,
    num_sequences: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    method: str = "auto",
    accelerator: Accelerator | None = None,
) -> CriticCalibration:
    """
    Lets a model fill held-out sequences and its critic judge them, and fits a table to that.

    Args:
        model: With a trained critic.
        dataset: Map-style, with `input_ids`, within or without the frame that the model knows.
        num_sequences (`int`, *optional*): How many of them; all by default.
        batch_size (`int`, *optional*, defaults to 64): Sequences in a pass.
        seed (`int`, *optional*, defaults to 0): Of masks and draws.
        method (`str`, *optional*, defaults to `"auto"`): `"raw"`, `"nearest"`, `"isotonic"`; `"auto"` takes that of the
            least cross-fitted calibration error.
        accelerator ([`~accelerate.Accelerator`], *optional*): Shares the work among its processes.

    Raises:
        `ValueError`: No trained critic, fewer than two sequences with anything to judge, or a number out of range.
    """
    config = model.config
    if not model.has_trained_critic:
        raise ValueError("`model` must have a trained critic to calibrate, got none: train it first.")
    collator = DataCollatorForMaskedDiffusion(
        SpecialTokens.of(config),
        critic_regime=config.critic_regime,
        critic_fill_exponent=config.critic_fill_exponent,
        seed=seed,
        backbone=Backbone.of(config),
    )
    count = len(dataset) if num_sequences is None else num_sequences
    judged = judge_fillings(model, dataset, collator, count, batch_size, accelerator)
    if len(set(judged.sequence_index.tolist())) < 2:
        raise ValueError(
            f"`dataset` must hold at least 2 sequences with tokens for the critic to judge, got {count} sequences: "
            "give more."
        )
    fitted = judged.critic_logits, judged.critic_target, judged.sequence_index
    chosen = best_method(cross_fitted_errors(*fitted)) if method == "auto" else method
    fingerprints = model.fingerprints() or [None]
    return judged.histogram.fit(
        chosen,
        metadata={
            "source": "one_shot",
            "num_sequences": count,
            "seed": seed,
            "scope": config.critic_target_scope,
            "fill": config.critic_fill,
            "regime": config.critic_regime,
            "fill_exponent": config.critic_fill_exponent,
            "temperature": 1.0 if config.critic_fill == "multinomial" else 0.0,
            "top_k": None,
            "top_p": None,
            "corrupted_by": "collator",
            "fingerprint": fingerprints[0],
            "fingerprints_float16": fingerprints[1:],
            "quality": quality_of(judged, chosen),
        },
    )


def quality_of(judged: JudgedFillings, method: str) -> dict[str, Any]:
    """Honest figures of a table: of halves of the sequences, each by the table of the other."""
    return cross_fitted_report(judged.critic_logits, judged.critic_target, judged.sequence_index, method)
