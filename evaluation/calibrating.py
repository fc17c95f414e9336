# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Measures a calibration table on held-out sequences: what scripts/calibrate.py does, as one call."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
import torch
from accelerate import Accelerator

from critic_gpt.calibration.histogram import CriticHistogram
from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.calibration.text_score import CRITIC, TOGETHER, text_scores
from critic_gpt.diffusion.drawable import never_drawn_ids
from critic_gpt.evaluation.metrics import cross_fitted_report
from critic_gpt.evaluation.planting import plant_errors
from critic_gpt.evaluation.row_forms import SpecialTokens
from critic_gpt.evaluation.scoring import JudgedFillings, judge_fillings, judge_together
from critic_gpt.evaluation.table_choice import best_method, cross_fitted_errors
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion


# One token in fifty is wrong, as in a text that somebody typed without looking.
DEFAULT_PLANTED_RATE = 0.02
# At which scores for texts are compared: more would make nobody read on.
FALSE_ALARMS = 0.01
MEASURED_SOURCES = ("one_shot", "planted")


class JudgedPlanted(NamedTuple):
    """
    As [`JudgedFillings`], of texts in which errors were planted; `critic_logits` are the scores that a text is judged
    by, `text_score` says which, and `found` how many of the errors they find at 1 % false alarms.
    """

    critic_logits: np.ndarray
    critic_target: np.ndarray
    sequence_index: np.ndarray
    histogram: CriticHistogram
    text_score: str
    found: float | None

    def rules(self) -> dict[str, Any]:
        """What the metadata of a table say of it."""
        return {"text_score": self.text_score, "found_at_one_percent": self.found}


def measured_table(
    model: Any,
    dataset: Any,
    num_sequences: int | None = None,
    batch_size: int = 64,
    seed: int = 0,
    method: str = "auto",
    source: str = "one_shot",
    planted_rate: float | None = None,
    accelerator: Accelerator | None = None,
) -> CriticCalibration:
    """
    Fits a table to what a critic says of held-out sequences: of those that its model fills, or of true ones in which
    few tokens were made wrong.

    Args:
        model: With a trained critic.
        dataset: Map-style, with `input_ids`, within or without the frame that the model knows.
        num_sequences (`int`, *optional*): How many of them; all by default.
        batch_size (`int`, *optional*, defaults to 64): Sequences in a pass.
        seed (`int`, *optional*, defaults to 0): Of masks and draws.
        method (`str`, *optional*, defaults to `"auto"`): `"raw"`, `"nearest"`, `"isotonic"`; `"auto"` takes that of
            the least cross-fitted calibration error.
        source (`str`, *optional*, defaults to `"one_shot"`): `"one_shot"`, or `"planted"` for proofreading.
        planted_rate (`float`, *optional*): For `source="planted"`: the share of tokens that are chosen, 0.02 by
            default. Where the model draws the true token again nothing is wrong, so fewer are.
        accelerator ([`~accelerate.Accelerator`], *optional*): Shares the work among its processes.

    Raises:
        `ValueError`: No trained critic, fewer than two sequences with anything to judge, or a value out of range.
    """
    config = model.config
    if not model.has_trained_critic:
        raise ValueError("`model` must have a trained critic to calibrate, got none: train it first.")
    if source not in MEASURED_SOURCES:
        raise ValueError(
            f"`source` must be one of {', '.join(MEASURED_SOURCES)}, got {source!r}: scripts/calibrate.py measures "
            "along trajectories."
        )
    if planted_rate is not None and source != "planted":
        raise ValueError(
            f'`planted_rate` is for `source="planted"`, got {planted_rate} with {source!r}: leave it out.'
        )
    if isinstance(dataset, str) or not (hasattr(dataset, "__len__") and hasattr(dataset, "__getitem__")):
        raise ValueError(
            f"`dataset` must be a list or a Dataset of rows with `input_ids`, got a {type(dataset).__name__}: pass "
            "the rows themselves, a stream as `list(...)`."
        )
    rate = DEFAULT_PLANTED_RATE if planted_rate is None else planted_rate
    collator = DataCollatorForMaskedDiffusion(
        SpecialTokens.of(config),
        critic_regime=config.critic_regime,
        critic_fill_exponent=config.critic_fill_exponent,
        seed=seed,
        backbone=model.backbone,
    )
    count = len(dataset) if num_sequences is None else num_sequences
    if source == "planted":
        judged = judge_planted(model, dataset, collator, count, rate, batch_size, seed, accelerator)
        measured = {**planted_rules(rate), **judged.rules()}
    else:
        judged = judge_fillings(model, dataset, collator, count, batch_size, accelerator)
        measured = one_shot_rules(config, config.critic_regime)
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
            "source": source,
            "num_sequences": count,
            "seed": seed,
            "corrupted_by": "collator",
            **measured,
            "fingerprint": fingerprints[0],
            "fingerprints_float16": fingerprints[1:],
            "quality": quality_of(judged, chosen),
        },
    )


def one_shot_rules(config: Any, regime: str) -> dict[str, Any]:
    """What a table's metadata say of masks that were filled at once, as this configuration and this regime do it."""
    drawn = {"temperature": 1.0 if config.critic_fill == "multinomial" else 0.0, "top_k": None, "top_p": None}
    share = {"regime": regime, "fill_exponent": config.critic_fill_exponent}
    return {"scope": config.critic_target_scope, "fill": config.critic_fill, **share, **drawn}


def planted_rules(rate: float) -> dict[str, Any]:
    """What a table's metadata say of true texts in which this share of the tokens was chosen to be made wrong."""
    return {"scope": "all", "planted_rate": rate}


@torch.no_grad()
def judge_planted(
    model: Any,
    dataset: Any,
    collator: DataCollatorForMaskedDiffusion,
    num_sequences: int,
    rate: float,
    batch_size: int = 64,
    seed: int = 0,
    accelerator: Accelerator | None = None,
    on_step: Callable[[int, CriticHistogram], None] | None = None,
) -> JudgedPlanted:
    """
    What is said of every token of true texts in which a share of the tokens was made wrong: by the critic and the
    language model together ([`text_scores`]), or by the critic alone where that finds more of the errors.

    Args:
        model, dataset, collator, num_sequences, batch_size, accelerator, on_step: As for `judge_fillings`.
        rate (`float`): The share of tokens that are chosen, in (0, 1).
        seed (`int`, *optional*, defaults to 0): Of the errors.
    """

    never = torch.zeros(model.backbone.vocab_size, dtype=torch.bool)
    never[never_drawn_ids(model.config)] = True

    def judge(batch: dict[str, torch.Tensor], own: range) -> Iterator[dict[str, torch.Tensor]]:
        # What the collator has masked is the truth again: all that is wanted of it are rows in their frames.
        clean = torch.where(batch["labels"] != -100, batch["labels"], batch["input_ids"])
        ids = torch.tensor(list(own))
        special = torch.tensor(collator.never_masked, device=clean.device)
        editable = batch["attention_mask"].bool() & ~torch.isin(clean, special)
        planted = plant_errors(model, clean, batch["attention_mask"], editable, ids, rate, seed)
        output = model(input_ids=planted.input_ids, attention_mask=batch["attention_mask"])
        scores = output.critic_logits
        together = text_scores(scores, output.logits, planted.input_ids, never.to(scores.device))
        valid = planted.judged
        yield {
            "critic_logits": together[valid],
            "critic_alone": scores[valid].float(),
            "critic_target": planted.wrong[valid].float(),
            "sequence_index": ids[:, None].expand(valid.shape)[valid.cpu()],
        }

    dtypes = {
        "critic_logits": np.float32,
        "critic_alone": np.float32,
        "critic_target": np.float32,
        "sequence_index": np.int64,
    }
    columns, histogram = judge_together(
        model, dataset, collator.for_evaluation(), num_sequences, batch_size, accelerator, on_step, dtypes, judge
    )
    alone, target = columns.pop("critic_alone"), columns["critic_target"]
    chosen, found = TOGETHER, found_at(columns["critic_logits"], target, FALSE_ALARMS)
    if found is not None and (by_critic := found_at(alone, target, FALSE_ALARMS)) > found:
        chosen, found, columns["critic_logits"] = CRITIC, by_critic, alone
        histogram = CriticHistogram()
        histogram.update(torch.from_numpy(alone), torch.from_numpy(target))
    return JudgedPlanted(**columns, histogram=histogram, text_score=chosen, found=found)


def found_at(scores: np.ndarray, target: np.ndarray, false_alarms: float) -> float | None:
    """
    The share of wrong tokens that score higher than all but this share of the right ones; `None` where all are right
    or all are wrong.

    Args:
        scores, target (`np.ndarray` of shape `(judged,)`): Higher = more likely wrong; 1 = wrong.
        false_alarms (`float`): The share of right tokens that is let through, in (0, 1).
    """
    right, wrong = scores[target == 0], scores[target == 1]
    if not len(right) or not len(wrong):
        return None
    return float((wrong > np.quantile(right, 1.0 - false_alarms, method="higher")).mean())


def quality_of(judged: JudgedFillings | JudgedPlanted, method: str) -> dict[str, Any]:
    """Honest figures of a table: of halves of the sequences, each by the table of the other."""
    return cross_fitted_report(judged.critic_logits, judged.critic_target, judged.sequence_index, method)
