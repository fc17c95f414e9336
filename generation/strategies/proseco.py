# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""ProSeCo: unmasking with corrector passes in between (Schiff et al., 2026).

Letters: B batch, T positions.
"""

from functools import partial
from typing import ClassVar

import torch
from transformers.generation import GenerationConfig

from critic_gpt.diffusion.randomness import STREAM_CORRECT
from critic_gpt.generation.outcomes import StepOutcome
from critic_gpt.generation.prediction import Prediction
from critic_gpt.generation.strategies.base import register_strategy
from critic_gpt.generation.strategies.unmasking import PlainUnmasking, Verdict


@register_strategy
class ProSeCo(PlainUnmasking):
    """
    After every `corrector_interval` steps of unmasking, `corrector_steps` passes of a corrector: the sequence, its
    masks filled with the likeliest tokens, is predicted anew at all positions, and what is visible takes the outcome
    ("Learn from Your Mistakes: Self-Correcting Masked Diffusion Models", 2026, arXiv:2602.11590). The corrector takes
    the likeliest tokens at the `corrector_temperature` 0 and draws them at 1.
    """

    name, family, needs_correction, asks_where = "proseco", "corrector", True, True
    takes: ClassVar = {
        **PlainUnmasking.takes,
        "unmasking": "random",
        "corrector_interval": 4,
        "corrector_steps": 1,
        "corrector_temperature": 0.0,
    }

    @classmethod
    def forward_passes(cls, num_steps: int, config: GenerationConfig) -> int:
        corrections = num_steps // config.corrector_interval * config.corrector_steps
        return (num_steps + corrections) * (config.num_candidates or 1)

    def act(self, input_ids: torch.Tensor, prediction: Prediction, verdict: Verdict, step: int) -> StepOutcome:
        outcome, config = super().act(input_ids, prediction, verdict, step), self.run.config
        if (step + 1) % config.corrector_interval:
            return outcome
        visible = self.editable & (outcome.after != config.mask_token_id)
        likeliest = config.corrector_temperature == 0
        masked = self.masked(input_ids)
        filling = prediction.read(partial(torch.argmax, dim=-1), where=masked) if likeliest else prediction.tokens
        draft = torch.where(self.editable & ~visible, filling, outcome.after)
        for number in range(config.corrector_steps):
            corrected = self._correct(draft, step * config.corrector_steps + number)
            draft = torch.where(self.editable, corrected.tokens, draft)
        after = torch.where(visible, draft, outcome.after)
        return outcome._replace(filled=after, after=after, drawn=visible, probability=corrected.probability)

    def _correct(self, draft: torch.Tensor, number: int) -> Prediction:
        """Predicts a complete sequence (B, T) anew."""
        run, how = self.run, {"stream": STREAM_CORRECT, "temperature": self.run.config.corrector_temperature}
        return run.predict(draft, run.forward(draft).logits, number, where=self.editable, **how)
