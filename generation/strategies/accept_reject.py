# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Keeps or takes back what the last pass drew, by chance: the law of the whole is corrected, not its mode sought.

Letters: B batch, T positions, V vocabulary.
"""

from typing import ClassVar

import torch
from transformers.generation import GenerationConfig

from critic_gpt.diffusion.randomness import STREAM_SELECT
from critic_gpt.generation.outcomes import NOT_DRAWN, StepOutcome
from critic_gpt.generation.prediction import Prediction
from critic_gpt.generation.run import DenoisingRun
from critic_gpt.generation.strategies.base import register_strategy
from critic_gpt.generation.strategies.unmasking import PlainUnmasking, Verdict


def at_temperature(probabilities: torch.Tensor, temperature: float | torch.Tensor) -> torch.Tensor:
    """Distributions (B, T, V) at a temperature, one for all or one per row (B,); 0 leaves the likeliest token."""
    if isinstance(temperature, torch.Tensor):
        temperature = temperature[:, None, None]
    elif temperature == 1:
        return probabilities
    elif temperature == 0:
        likeliest = probabilities.argmax(dim=-1, keepdim=True)
        return torch.zeros_like(probabilities).scatter(-1, likeliest, 1.0)
    return (probabilities.log() / temperature).softmax(dim=-1)


@register_strategy
class AcceptReject(PlainUnmasking):
    """
    Reveals masks, and in the next pass, which sees them all, keeps each token drawn in the last one with the
    probability min(1, c / q): q is what it was drawn with, c what it has given all others. What does not fit together
    since it was drawn at once is drawn anew, and nothing is sought that is likelier than the rest. Tokens that were
    kept once are kept.

    c is the language model's probability of the visible token (`remask_by="likelihood"`, the default) or one minus
    the critic's P(wrong) (`"error"`, at the temperature 1). The law is corrected as far as c is the probability of the
    token given all others. A critic trained on fillings among other wrong tokens is no such c, and a language model is
    one at a token that it sees only if it has learnt to be (`leave_one_out_alpha` with `critic_regime="sparse"`); else
    what is drawn is worse than without (docs/experiments/text.md, 27).
    """

    name = "accept_reject"
    takes: ClassVar = {
        **{name: default for name, default in PlainUnmasking.takes.items() if name != "token_draws"},
        "unmasking": "random",
        "schedule": "root",  # what is drawn early can be taken back
        "remask_by": "likelihood",
    }
    harmless: ClassVar = {}

    def __init__(self, run: DenoisingRun):
        super().__init__(run)
        # With which probability (B, T) the tokens were drawn that the last pass drew.
        self.drawn_with = torch.full(self.editable.shape, NOT_DRAWN, device=self.editable.device)

    @classmethod
    def check(cls, config: GenerationConfig, explicit: set[str], *, critic: bool, **at_hand) -> None:
        super().check(config, explicit, critic=critic, **at_hand)
        if config.remask_by == "alternative" and "remask_by" in explicit:
            raise ValueError(
                "`remask_by` must be likelihood or error for `remasking=\"accept_reject\"`, got 'alternative', which "
                "is no probability of the token: leave it out."
            )
        if config.remask_by != "error":
            return
        if not critic:
            raise ValueError(
                "`remask_by` must be likelihood for a model without a critic head, got 'error': leave it out."
            )
        if config.temperature not in (None, 1) or config.temperature_end not in (None, 1):
            raise ValueError(
                f"`temperature` must be 1 beside `remask_by='error'`, whose P(wrong) is of tokens drawn so, got "
                f"{config.temperature}: leave one of the two out."
            )

    @classmethod
    def complete(cls, config: GenerationConfig) -> None:
        if config.remask_by == "alternative":  # of a stored configuration, for another strategy
            config.remask_by = None
        super().complete(config)

    def judge(self, input_ids: torch.Tensor, output, prediction: Prediction, step: int) -> Verdict:
        config, probabilities = self.run.config, None
        if config.remask_by == "error":
            probabilities = self.run.calibration.error_probability(output.critic_logits)
            chance = 1.0 - probabilities
        else:
            chance = self._chances(prediction, input_ids).gather(-1, input_ids[..., None]).squeeze(-1)
        if step == self.last_step:  # a mask could no longer be filled
            return Verdict(self.nothing, self.nothing, probabilities)
        fresh = self.editable & (input_ids != config.mask_token_id) & (self.drawn_with != NOT_DRAWN)
        # Not `noise * q <= chance`: a broken score (NaN) must not pass for a safe one.
        rejected = fresh & ~(self.run.uniforms(STREAM_SELECT, step) * self.drawn_with <= chance)
        return Verdict(rejected, self.nothing, probabilities)

    def act(self, input_ids: torch.Tensor, prediction: Prediction, verdict: Verdict, step: int) -> StepOutcome:
        outcome = super().act(input_ids, prediction, verdict, step)
        chance = self._chances(prediction, input_ids).gather(-1, prediction.tokens[..., None]).squeeze(-1)
        self.drawn_with = torch.where(outcome.drawn, chance, torch.full_like(chance, NOT_DRAWN))
        return outcome

    def _chances(self, prediction: Prediction, input_ids: torch.Tensor) -> torch.Tensor:
        """What tokens are drawn with (B, T, V), top-k and top-p aside."""
        return at_temperature(prediction.probabilities, self.run.temperature_at(input_ids))
