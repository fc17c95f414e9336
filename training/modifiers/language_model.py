# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Modifiers of the language model's loss: a softer target, and weights of sequences. Letters: B batch, T positions,
V vocabulary.
"""

import os
from dataclasses import dataclass
from typing import ClassVar, NamedTuple

import torch
from transformers import AutoModelForSequenceClassification, PreTrainedModel

from critic_gpt.diffusion.corruption import suppress_tokens
from critic_gpt.diffusion.critic_targets import build_critic_artifacts_from_logits
from critic_gpt.hub.looking import look_at_folder
from critic_gpt.training.modifiers.base import EPSILON, LossModifier, at_least_float32, mean_over, scalar


MAX_ENTROPY_WEIGHT = 1000.0


class TokenLossBatch(NamedTuple):
    """
    What a modifier of the language model's loss may look at: `token_loss` (B, T), the cross-entropy times
    `loss_weights` (B, T, or `None` for ones), 0 where unsupervised; `logits` (B, T, V); `labels` (B, T), -100 where
    unsupervised; `input_ids` (B, T), corrupted; `attention_mask` (B, T) or `None`; `fill_uniforms` (B, T) or `None`,
    the numbers that fill masks; the ids of [MASK] and of the padding.
    """

    token_loss: torch.Tensor
    logits: torch.Tensor
    labels: torch.Tensor
    input_ids: torch.Tensor
    attention_mask: torch.Tensor | None = None
    loss_weights: torch.Tensor | None = None
    fill_uniforms: torch.Tensor | None = None
    mask_token_id: int | None = None
    pad_token_id: int | None = None

    @property
    def supervised(self) -> torch.Tensor:
        return self.labels != -100

    @property
    def special_ids(self) -> list[int]:
        return sorted({i for i in (self.mask_token_id, self.pad_token_id) if i is not None})

    def mask_ratio(self) -> torch.Tensor:
        """Share of each sequence's real tokens that is supervised (B,)."""
        real = torch.ones_like(self.labels) if self.attention_mask is None else self.attention_mask
        supervised = at_least_float32(self.supervised.sum(dim=-1).to(self.token_loss.dtype))
        return supervised / real.sum(dim=-1).clamp(min=1)


@dataclass(frozen=True)
class TargetSmoothing(LossModifier):
    """
    Cross-entropy against `1 - smoothing` on the true token, the rest spread evenly over the other ordinary tokens
    (Szegedy et al., "Rethinking the Inception Architecture", 2016). Nothing is spread on [MASK] and padding, which are
    never predicted; where one of them is the truth the target stays one-hot.
    """

    smoothing: float = 0.1
    name: ClassVar[str] = "target_smoothing"

    def __post_init__(self):
        super().__post_init__()
        self._check("smoothing", 0.0 <= self.smoothing < 1.0, "in [0, 1)")

    def modify(self, batch: TokenLossBatch, step: int):
        mask_ids = [] if batch.mask_token_id is None else [batch.mask_token_id]
        log_probabilities = suppress_tokens(at_least_float32(batch.logits), mask_ids).log_softmax(dim=-1)
        true_token = batch.labels.clamp(min=0)
        plain = -log_probabilities.gather(-1, true_token[..., None]).squeeze(-1)  # (B, T)
        ordinary = torch.ones(batch.logits.shape[-1], dtype=torch.bool, device=batch.logits.device)
        for token_id in batch.special_ids:
            ordinary[token_id] = False
        total = -log_probabilities.masked_fill(~ordinary, 0.0).sum(dim=-1)
        others = max(batch.logits.shape[-1] - len(batch.special_ids) - 1, 1)
        smoothed = (1.0 - self.smoothing) * plain + self.smoothing * (total - plain) / others
        soft = batch.supervised & ordinary[true_token]
        cross_entropy = torch.where(soft, smoothed, plain.masked_fill(~batch.supervised, 0.0))
        gain = (smoothed - plain).masked_fill(~soft, 0.0)
        return cross_entropy, None, {"loss_change": mean_over(gain, batch.supervised)}


@dataclass(frozen=True)
class EntropyWeight(LossModifier):
    """
    Weighs sequences by how sharply the model's mass off the true token is aimed: a confident mistake weighs more than
    an even doubt. Sequences without a supervised token take no part.
    """

    weight: float = 1.0
    threshold: float = 0.1
    name: ClassVar[str] = "entropy"

    def __post_init__(self):
        super().__post_init__()
        self._check("weight", self.weight > 0, "above 0")
        self._check("threshold", self.threshold >= 0, "at least 0")

    def modify(self, batch: TokenLossBatch, step: int):
        with torch.no_grad():
            supervised, true_token = batch.supervised, batch.labels.clamp(min=0)
            logits = suppress_tokens(at_least_float32(batch.logits), batch.special_ids)
            rest = logits.scatter(-1, true_token[..., None], float("-inf")).softmax(dim=-1)
            # A vocabulary of the true token alone leaves nothing: NaN of an empty softmax.
            rest = rest.nan_to_num(0.0)
            count = (rest > EPSILON).sum(dim=-1)
            # A single likely token has the entropy 0, of which ln 1 = 0 would make 0 / 0.
            entropy = -torch.special.xlogy(rest, rest).sum(dim=-1) / count.clamp(min=2).log()
            entropy = entropy.masked_fill(~supervised, 0.0).sum(dim=-1) / supervised.sum(dim=-1).clamp(min=1)  # (B,)
            weights = (self.weight / (entropy.clamp(min=self.threshold) + EPSILON)).clamp(EPSILON, MAX_ENTROPY_WEIGHT)
            taking_part = supervised.any(dim=-1)
            # Before the rescaling, after which their mean is 1 whatever the model does.
            metrics = {"entropy": mean_over(entropy, taking_part), "weight": mean_over(weights, taking_part)}
            weights = weights * taking_part
            weights = weights * taking_part.sum() / weights.sum().clamp(min=EPSILON)
        return None, weights[:, None], metrics | {"max_weight": scalar(weights.amax())}


@dataclass(frozen=True)
class MaskRatioWeight(LossModifier):
    """Weighs sequences with few masks more, by a falling power of their share of supervised tokens."""

    power: float = 0.5
    min_weight: float = 0.1
    max_weight: float = 10.0
    name: ClassVar[str] = "mask_ratio_weight"

    def __post_init__(self):
        super().__post_init__()
        self._check("power", self.power >= 0, "at least 0")
        self._check_range(self.min_weight, self.max_weight)

    def modify(self, batch: TokenLossBatch, step: int):
        weights = (batch.mask_ratio() + EPSILON).pow(-self.power).clamp(self.min_weight, self.max_weight)
        return None, weights[:, None], {"weight": mean_over(weights, batch.supervised.any(dim=-1))}


def expected_wrongness(mask_ratio: torch.Tensor) -> torch.Tensor:
    """`r^4 - 2 r^3 + 2 r`: how wrong a filling is expected to be at a mask rate in [0, 1]; from 0 to 1, concave."""
    return mask_ratio**4 - 2.0 * mask_ratio**3 + 2.0 * mask_ratio


def _load_scorer(name: str | os.PathLike) -> PreTrainedModel:
    """A scorer from a folder or the hub, refused where its head would be a fresh one."""
    try:
        look_at_folder(name)
        scorer, report = AutoModelForSequenceClassification.from_pretrained(name, output_loading_info=True)
    except (OSError, ValueError) as error:
        raise ValueError(
            f"`model` of judge_weight must be the folder or hub name of a scorer, got {str(name)!r}, which did not "
            f"load ({str(error).splitlines()[0]}): train one with scripts/train.py --task sequence_scoring."
        ) from error
    if report["missing_keys"]:
        raise ValueError(
            f"`model` of judge_weight must be a trained scorer, got {str(name)!r}, which lacks "
            f"{', '.join(sorted(report['missing_keys']))}: train one with scripts/train.py --task sequence_scoring."
        )
    return scorer


@dataclass(frozen=True)
class JudgeWeight(LossModifier):
    """
    Weighs sequences by a frozen scorer's verdict on the model's own filling of all masks, drawn from its distribution,
    against what is expected at that mask rate.

    Args:
        model (`str` or [`CriticGPTForSequenceClassification`]): The scorer, `num_labels=1`, for the same tokens; its
            scores in [0, 1] say how wrong a sequence is. It is frozen and never saved or trained with a model.
        exponent (`float`, *optional*, defaults to 1.0): e of the formula.
        ramp_start, ramp_end (`int`, *optional*, default to 0): Optimizer steps between which e rises from 0 to
            `exponent`; an end not after the start means a constant e.
        min_weight, max_weight (`float`, *optional*, default to 0.1 and 10): Bounds of the weight.
    """

    model: str | PreTrainedModel = ""
    exponent: float = 1.0
    ramp_start: int = 0
    ramp_end: int = 0
    min_weight: float = 0.1
    max_weight: float = 10.0
    name: ClassVar[str] = "judge_weight"
    fills_masks: ClassVar[bool] = True

    def __post_init__(self):
        super().__post_init__()
        self._check("exponent", self.exponent >= 0, "at least 0")
        self._check("ramp_start", self.ramp_start >= 0, "at least 0")
        self._check("ramp_end", self.ramp_end >= 0, "at least 0")
        self._check_range(self.min_weight, self.max_weight)
        scorer = self.model if isinstance(self.model, PreTrainedModel) else _load_scorer(self.model)
        if scorer.config.num_labels != 1:
            raise ValueError(
                f"`model` of judge_weight must give one score a sequence, got one of {scorer.config.num_labels} "
                "labels: train it with --task sequence_scoring."
            )
        self.__dict__["scorer"] = scorer.eval().requires_grad_(False)  # no field: neither compared nor written

    @property
    def _scorer(self) -> PreTrainedModel:
        return self.__dict__["scorer"]

    def to(self, device: torch.device | str) -> None:
        self._scorer.to(device)

    def exponent_at(self, step: int) -> float:
        """e at an optimizer step."""
        if self.ramp_end <= self.ramp_start:
            return self.exponent
        return self.exponent * min(max((step - self.ramp_start) / (self.ramp_end - self.ramp_start), 0.0), 1.0)

    def modify(self, batch: TokenLossBatch, step: int):
        if self._scorer.config.vocab_size < batch.logits.shape[-1]:
            raise ValueError(
                f"`model` of judge_weight must know all {batch.logits.shape[-1]} tokens of the model it judges, got "
                f"one for {self._scorer.config.vocab_size}: train it with the same tokenizer."
            )
        longest = getattr(self._scorer.config, "max_position_embeddings", None)
        if longest is not None and longest < batch.labels.shape[1]:
            raise ValueError(
                f"`model` of judge_weight must take the sequences of the model it judges, of {batch.labels.shape[1]} "
                f"tokens, got one for {longest}: train it on the same data."
            )
        uniforms = batch.fill_uniforms
        if uniforms is None:  # a collator without draws: from torch's global generator, as for the critic
            uniforms = torch.rand(batch.input_ids.shape, device=batch.input_ids.device)
        with torch.no_grad():
            filling = build_critic_artifacts_from_logits(
                batch.input_ids,
                batch.logits,
                batch.labels,
                batch.mask_token_id,
                pad_token_id=batch.pad_token_id,
                fill_uniforms=uniforms,
            )
            try:
                output = self._scorer(input_ids=filling.critic_input, attention_mask=batch.attention_mask)
            except ValueError as error:
                raise ValueError(
                    f"`model` of judge_weight must take the sequences of the model it judges, got one that refuses "
                    f"them ({str(error).rstrip('.')}): train it on the same data."
                ) from error
            # A scorer without a sigmoid may leave [0, 1], and a negative base has no fractional power.
            wrong = at_least_float32(output.logits).squeeze(-1).clamp(0.0, 1.0)  # (B,)
            expected = expected_wrongness(batch.mask_ratio())
            exponent = self.exponent_at(step)
            weights = (wrong / expected.clamp(min=EPSILON)).pow(exponent).clamp(self.min_weight, self.max_weight)
            taking_part = expected > 0
            weights = torch.where(taking_part, weights, 1.0)
        metrics = {
            "wrongness": mean_over(wrong, taking_part),
            "expected_wrongness": mean_over(expected, taking_part),
            "weight": mean_over(weights, taking_part),
            "exponent": scalar(weights.new_full((), exponent)),
        }
        return None, weights[:, None], metrics
