# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Strategies that make the sequence whole at every step: fill every mask, score, mask a share again; or redraw all.

Letters: B batch, T positions.
"""

from typing import ClassVar

import torch
from transformers.generation import GenerationConfig

from critic_gpt.diffusion.schedules import remask_ratios, reveal_shares, share_of
from critic_gpt.diffusion.selection import settle
from critic_gpt.generation.outcomes import StepOutcome
from critic_gpt.generation.prediction import probability_of
from critic_gpt.generation.run import DenoisingRun
from critic_gpt.generation.strategies.base import CHOICE_BY_SCORE, Strategy, register_strategy


# As `CHOICE_BY_SCORE`, by a number and never by a threshold.
BY_SCORE_ALONE = {name: default for name, default in CHOICE_BY_SCORE.items() if name != "error_threshold"}


def shares_left_masked(config: GenerationConfig) -> list[float]:
    """The share masked after each step of a schedule of unmasking, which ends without a mask."""
    return [1.0 - share for share in reveal_shares(config.schedule, config.num_steps)]


class FillAll(Strategy):
    """Fills every mask, scores the complete sequence and masks its worst share again (Lezama et al., "Improved Masked
    Image Generation with Token-Critic", 2022); with a threshold until nothing lies above it."""

    family = "fill-all"
    takes: ClassVar = {**CHOICE_BY_SCORE, "start_ratio": 0.95, "end_ratio": 0.05, "schedule": "linear"}
    # All that lies above is masked, so that no order among the tokens decides.
    unused_beside_threshold: ClassVar[tuple[str, ...]] = (
        "schedule",
        "start_ratio",
        "end_ratio",
        "remask_selection",
        "selection_temperature",
        "randomness_strength",
    )

    def __init__(self, run: DenoisingRun):
        super().__init__(run)
        config = run.config
        # The share re-masked after each step but the last; `None` where a threshold decides.
        self.ratios = None if config.error_threshold is not None else self.masked_shares(config)

    def masked_shares(self, config: GenerationConfig) -> list[float]:
        """The share of the sequence re-masked after each step but the last."""
        return remask_ratios(config.schedule, config.num_steps, config.start_ratio, config.end_ratio)[1:]

    def step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        run = self.run
        masked = self.editable & (input_ids == run.config.mask_token_id)
        prediction = run.predict(input_ids, run.forward(input_ids).logits, step, where=self.wanted(masked))
        filled = torch.where(masked, prediction.tokens, input_ids)
        if step == self.last_step:
            return StepOutcome(filled, self.nothing, filled, masked, prediction.probability)
        scores, probabilities = self.scores(filled, masked, prediction)
        num_remask = None if self.ratios is None else share_of(self.total, self.ratios[step])
        after, remasked = run.remask(filled, step, num_remask=num_remask, remasking=self.source, **scores)
        finished = None if self.ratios is not None else ~remasked.any(dim=-1)
        return StepOutcome(filled, remasked, after, masked, prediction.probability, probabilities, finished)

    def wanted(self, masked: torch.Tensor) -> torch.Tensor:
        """Where (B, T) predictions are needed."""
        return masked

    # What the scores are called where they are applied.
    source: ClassVar[str]

    def scores(self, filled, masked, prediction) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """The scores of the complete sequence, as arguments of `apply_remasking_step`; and the critic's P(wrong)."""
        raise NotImplementedError


@register_strategy
class External(FillAll):
    """Judged by a model or function of the user's."""

    name, source, needs_external, asks_where = "external", "external", True, True

    def scores(self, filled, masked, prediction):
        judge = self.run.remasking_model
        assert judge is not None  # without one the settings are refused
        return {"external_scores": self.run.judged_by(judge, filled)}, None


@register_strategy
class CriticFull(FillAll):
    """Judged by the critic, in a pass of its own over the complete sequence."""

    name, source, needs_critic, passes_per_step, asks_where = "critic_full", "critic", True, 2, True
    takes: ClassVar = {**FillAll.takes, "revision_threshold": None}

    def scores(self, filled, masked, prediction):
        logits = self.run.forward(filled).critic_logits
        probabilities = self.run.calibration.error_probability(logits)
        return {"critic_scores": probabilities, "tie_break": settle(logits)}, probabilities


@register_strategy
class TokenCritic(CriticFull):
    """
    As the paper has it: the share of masks falls from one to zero along a quarter cosine wave, and the critic's best
    tokens stay, blended with noise where asked for (Lezama et al., "Improved Masked Image Generation with
    Token-Critic", 2022, algorithm 2).
    """

    name, asks_where = "token_critic", True
    takes: ClassVar = {**BY_SCORE_ALONE, "schedule": "cosine", "revision_threshold": None}
    unused_beside_threshold = ()

    def masked_shares(self, config: GenerationConfig) -> list[float]:
        return shares_left_masked(config)


@register_strategy
class Confidence(FillAll):
    """Judged by the probability with which each token was drawn (MaskGIT: Chang et al., "MaskGIT: Masked Generative
    Image Transformer", 2022)."""

    name, source, asks_where = "confidence", "confidence", True

    def __init__(self, run: DenoisingRun):
        super().__init__(run)
        self.confidence: torch.Tensor | None = None

    def wanted(self, masked):
        return self.editable if self.confidence is None else masked

    def scores(self, filled, masked, prediction):
        if self.confidence is None:
            # Of a draft nothing else is known.
            self.confidence = prediction.read(probability_of, filled)
        # A token keeps the probability it was drawn with: a model is not trained to judge its visible tokens.
        self.confidence = torch.where(masked, prediction.probability, self.confidence)
        return {"confidence": settle(self.confidence)}, None


@register_strategy
class P2(FillAll):
    """
    Keeps the most confident tokens, those that were clean before included: a visible token counts by the probability
    that the model gives it now (self-planning of Peng et al., "Path Planning for Masked Diffusion Model Sampling",
    2025, algorithm 1).
    """

    name, source, asks_where = "p2", "confidence", True
    takes: ClassVar = {**BY_SCORE_ALONE, "schedule": "linear"}
    unused_beside_threshold = ()

    def masked_shares(self, config: GenerationConfig) -> list[float]:
        return shares_left_masked(config)

    def wanted(self, masked):
        return self.editable

    def scores(self, filled, masked, prediction):
        return {"confidence": settle(prediction.read(probability_of, filled))}, None


@register_strategy
class Chance(FillAll):
    """Masks a random share again."""

    name, source, places_by_chance, asks_where = "random", "random", True, True
    # A threshold means nothing to chance.
    takes: ClassVar = {**BY_SCORE_ALONE, "start_ratio": 0.95, "end_ratio": 0.05, "schedule": "linear"}

    def scores(self, filled, masked, prediction):
        return {}, None


# --------------------------------------------------------------------------------------------------------------------
# Redraw all: no masks after the first step
# --------------------------------------------------------------------------------------------------------------------


@register_strategy
class Multinomial(Strategy):
    """
    Draws every position that may change anew at each step, masked or not, from the model's prediction for the
    complete sequence of the step before: a Markov chain over sequences that are whole from the first step on, with
    all positions drawn at once and independently (as the sampler of Savinov et al., "Step-unrolled Denoising
    Autoencoders for Text Generation", 2022). It relies on predictions at *visible* tokens, to which a plain masked
    diffusion loss gives no training: it is meant for models trained to correct their own fillings
    (`correction_alpha`). There is no schedule, and a step has no memory but the tokens.
    """

    name, family, asks_where = "multinomial", "redraw-all", True
    harmless: ClassVar = {"remask_per_step": 0}

    def step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        logits = self.run.forward(input_ids).logits
        prediction = self.run.predict(input_ids, logits, step, where=self.editable)
        after = torch.where(self.editable, prediction.tokens, input_ids)
        return StepOutcome(after, self.nothing, after, self.editable, prediction.probability)
