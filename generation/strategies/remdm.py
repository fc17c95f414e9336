# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""ReMDM: re-masking by the posterior of a process that may mask a token again, without any training (Wang et al.,
"Remasking Discrete Diffusion Models with Inference-Time Scaling", 2025, arXiv:2503.00307).

Letters: B batch, T positions.
"""

from typing import ClassVar

import torch
from transformers.generation import GenerationConfig

from critic_gpt.diffusion.randomness import STREAM_REMASK, STREAM_REVEAL
from critic_gpt.generation.outcomes import StepOutcome
from critic_gpt.generation.prediction import probability_of
from critic_gpt.generation.run import DenoisingRun
from critic_gpt.generation.strategies.base import Strategy, register_strategy


def largest_sigma(alpha_t: float, alpha_s: float) -> float:
    """The largest probability of masking a token again for which the posterior exists (eq. 8), in [0, 1]."""
    return 1.0 if alpha_t == 0.0 else min(1.0, (1.0 - alpha_s) / alpha_t)


def reveal_probability(sigma: torch.Tensor | float, alpha_t: float, alpha_s: float) -> torch.Tensor | float:
    """
    With which probability a mask is lifted (eq. 6): `(alpha_s - (1 - sigma) * alpha_t) / (1 - alpha_t)`.

    Args:
        sigma (`torch.FloatTensor` or `float`): Probability of masking a token again, at most `largest_sigma`.
        alpha_t, alpha_s (`float`): Expected shares of visible tokens before and after the step.
    """
    return (alpha_s - (1.0 - sigma) * alpha_t) / (1.0 - alpha_t)


class ReMDM(Strategy):
    """
    Every visible token is re-masked with the probability sigma, and every mask lifted with the one that keeps the
    expected share of visible tokens on its way, `alpha = 1 - t`, from 0 to 1. Each decision is a draw of its own, so
    that a step has no fixed number of tokens; the last one lifts all masks that are left.
    """

    family, places_by_chance = "ReMDM", True
    takes: ClassVar = {"remdm_eta": 0.04}

    def __init__(self, run: DenoisingRun):
        super().__init__(run)
        self.alphas = self.visible_shares(run.config)
        # The probability with which each visible token was drawn.
        self.confidence: torch.Tensor | None = None

    @classmethod
    def visible_shares(cls, config: GenerationConfig) -> list[float]:
        """Expected share of visible tokens before each step and after the last: `num_steps + 1` numbers."""
        return [i / config.num_steps for i in range(config.num_steps + 1)]

    def sigma(self, step: int, visible: torch.Tensor) -> torch.Tensor | float:
        """Probability of re-masking: one number, or one per position (B, T)."""
        raise NotImplementedError

    def step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        run, mask_id = self.run, self.run.config.mask_token_id
        masked = self.editable & (input_ids == mask_id)
        where = self.editable if self.confidence is None else masked
        prediction = run.predict(input_ids, run.forward(input_ids).logits, step, where=where)
        visible = self.editable & ~masked
        if self.confidence is None:
            # Of a draft nothing else is known.
            self.confidence = prediction.read(probability_of, input_ids)
        if step == self.last_step:
            revealed, remasked = masked, self.nothing
        else:
            sigma = self.sigma(step, visible)
            lifted = reveal_probability(sigma, self.alphas[step], self.alphas[step + 1])
            revealed = masked & (run.uniforms(STREAM_REVEAL, step) < lifted)
            remasked = visible & (run.uniforms(STREAM_REMASK, step) < sigma)
        self.confidence = torch.where(revealed, prediction.probability, self.confidence)
        filled = torch.where(revealed, prediction.tokens, input_ids)
        after = filled.masked_fill(remasked, mask_id)
        return StepOutcome(filled, remasked, after, revealed, prediction.probability)

    def _largest_sigma(self, step: int) -> float:
        return largest_sigma(self.alphas[step], self.alphas[step + 1])


@register_strategy
class ReMDMCap(ReMDM):
    """`sigma = min(eta, sigma_max)`."""

    name, asks_where = "remdm_cap", True

    def sigma(self, step, visible):
        return min(self.run.config.remdm_eta, self._largest_sigma(step))


@register_strategy
class ReMDMRescale(ReMDM):
    """`sigma = eta * sigma_max`."""

    name, asks_where = "remdm_rescale", True

    def sigma(self, step, visible):
        return self.run.config.remdm_eta * self._largest_sigma(step)


@register_strategy
class ReMDMConf(ReMDM):
    """
    `sigma = sigma_max * softmax(-confidence)` over the visible tokens of a sequence, where the confidence of a token
    is the probability with which it was drawn: about one token a step in expectation.
    """

    name, asks_where = "remdm_conf", True
    takes: ClassVar = {}

    def sigma(self, step, visible):
        confidence = self.confidence
        assert confidence is not None  # known once the first pass has drawn
        weights = (-confidence).masked_fill(~visible, float("-inf")).softmax(dim=-1)
        return self._largest_sigma(step) * torch.where(visible, weights, 0.0)


@register_strategy
class ReMDMLoop(ReMDM):
    """
    Three phases: plain unmasking until the share `loop_visible` is visible, at the progress `loop_start`; then that
    share is held and visible tokens are re-masked with probability eta; from `loop_end` on plain unmasking again.
    """

    name, asks_where = "remdm_loop", True
    # The paper's: t_on = 0.55, t_off = 0.05, alpha_on = 0.9.
    takes: ClassVar = {"remdm_eta": 0.04, "loop_start": 0.45, "loop_end": 0.95, "loop_visible": 0.9}

    @classmethod
    def visible_shares(cls, config: GenerationConfig) -> list[float]:
        start, end, held = config.loop_start, config.loop_end, config.loop_visible
        shares = []
        for i in range(config.num_steps):
            progress = i / config.num_steps
            if progress < start:
                shares.append(held * progress / start)
            elif progress < end:
                shares.append(held)
            else:
                shares.append(held + (1.0 - held) * (progress - end) / (1.0 - end))
        return [*shares, 1.0]

    def sigma(self, step, visible):
        holds = self.alphas[step] == self.alphas[step + 1]
        return min(self.run.config.remdm_eta, self._largest_sigma(step)) if holds else 0.0
