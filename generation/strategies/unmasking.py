# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Plain unmasking: one forward pass per step, nothing is re-masked. The base of all one-pass strategies.

Letters: B batch, T positions, V vocabulary.
"""

from typing import ClassVar, NamedTuple

import torch
from transformers.utils import logging

from critic_gpt.diffusion.schedules import reveal_shares, share_of
from critic_gpt.diffusion.selection import entropy, select_worst
from critic_gpt.generation.canvas import confidence_threshold_reveal, entropy_bound_reveal
from critic_gpt.generation.outcomes import StepOutcome
from critic_gpt.generation.prediction import Prediction
from critic_gpt.generation.run import DenoisingRun
from critic_gpt.generation.strategies.base import Strategy, register_strategy
from critic_gpt.generation.strategy_declarations import ADAPTIVE_UNMASKING


logger = logging.get_logger(__name__)
# Of the tokens drawn for all masks a step reveals the surest; how many for each are drawn one after the other before
# the others are drawn at once (docs/experiments/joint-draws.md).
DRAWS_PER_REVEAL = 2


class Verdict(NamedTuple):
    """What a step makes of the visible tokens, all (B, T): masks them again, redraws them, their P(wrong)."""

    remasked: torch.Tensor
    replaced: torch.Tensor
    error_probabilities: torch.Tensor | None = None


@register_strategy
class PlainUnmasking(Strategy):
    """Reveals masks and re-masks nothing."""

    name, family, asks_where = "none", "one-pass", True
    takes: ClassVar = {
        "unmasking": "confidence",
        "schedule": "linear",
        "entropy_bound": 0.1,
        "confidence_threshold": 0.9,
        "token_draws": "independent",
    }
    harmless: ClassVar = {"remask_per_step": 0}

    def __init__(self, run: DenoisingRun):
        super().__init__(run)
        config = run.config
        self.first_visible = (self.editable & (run.canvas.input_ids != config.mask_token_id)).sum(dim=-1)
        self.adaptive = config.unmasking in ADAPTIVE_UNMASKING
        self.lifted = self.nothing  # by an adaptive order
        self.targets: torch.Tensor | None = None  # (B, num_steps); an adaptive order has none
        if not self.adaptive:
            shares = reveal_shares(config.schedule, self.num_steps)
            later = [self.first_visible + share_of(self.total - self.first_visible, share) for share in shares[:-1]]
            self.targets = torch.stack([*later, self.total], dim=-1)
        # Tokens, where masks are left among them, and how many.
        self._seen: tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None = None

    def step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        output = self.run.forward(input_ids)
        prediction = self.predict(input_ids, output.logits, step)
        outcome = self.act(input_ids, prediction, self.judge(input_ids, output, prediction, step), step)
        return outcome._replace(finished=self.finished(outcome.after)) if self.adaptive else outcome

    def finished(self, after: torch.Tensor) -> torch.Tensor:
        """The rows (B,) without a mask. With an adaptive order generation waits for the device here."""
        return ~self.masked(after).any(dim=-1)

    def masked(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Where (B, T) masks are left."""
        return self._looked_at(input_ids)[1]

    def num_masked(self, input_ids: torch.Tensor) -> torch.Tensor:
        """How many (B,) masks are left."""
        return self._looked_at(input_ids)[2]

    def _looked_at(self, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Tokens, where masks are left, and how many: looked at once a step."""
        seen = self._seen
        if seen is None or seen[0] is not input_ids:
            masked = (input_ids == self.run.config.mask_token_id).logical_and_(self.editable)
            self._seen = seen = input_ids, masked, masked.sum(dim=-1)
        return seen

    @property
    def jointly(self) -> bool:
        """Whether the tokens of the masks are drawn in the light of each other."""
        return self.run.config.token_draws == "joint"

    def predict(self, input_ids: torch.Tensor, logits: torch.Tensor | None, step: int) -> Prediction:
        """Draws a token for every mask at least."""
        masked = self.masked(input_ids)
        # What is drawn here at the masks is drawn again; a subclass may look at the others.
        draws = not (self.jointly and self.asks_where)
        prediction = self.run.predict(input_ids, logits, step, where=masked, draws=draws)
        return self._jointly(input_ids, prediction, masked, step)

    def _jointly(self, input_ids: torch.Tensor, prediction: Prediction, masked: torch.Tensor, step: int) -> Prediction:
        """The same prediction with the tokens of the masks drawn in the light of each other, where asked for."""
        if not self.jointly:
            return prediction
        masks = count = self.num_masked(input_ids)
        if not self.adaptive:
            revealed = self.target(step) - (self.total - masks) + self.most_remasked(masks, step)
            count = torch.minimum(count, DRAWS_PER_REVEAL * revealed)
        # Here generation waits for the device, as the rounds of draws that follow do one for the other.
        return self.run.draw_jointly(input_ids, prediction, masked, int(count.max()), step)

    def most_remasked(self, masks: torch.Tensor, step: int) -> torch.Tensor:
        """At most how many tokens (B,) a step re-masks, of the number of masks (B,)."""
        return torch.zeros_like(masks)

    def judge(self, input_ids: torch.Tensor, output, prediction: Prediction, step: int) -> Verdict:
        """What becomes of the visible tokens."""
        return Verdict(self.nothing, self.nothing)

    def act(self, input_ids: torch.Tensor, prediction: Prediction, verdict: Verdict, step: int) -> StepOutcome:
        """Reveals, redraws and re-masks, all at once."""
        mask_id = self.run.config.mask_token_id
        revealed = self.revealed(input_ids, prediction, verdict.remasked, step)
        drawn = revealed if verdict.replaced is self.nothing else revealed | verdict.replaced
        filled = torch.where(drawn, prediction.tokens, input_ids)
        after = filled if verdict.remasked is self.nothing else filled.masked_fill(verdict.remasked, mask_id)
        return StepOutcome(filled, verdict.remasked, after, drawn, prediction.probability, verdict.error_probabilities)

    def target(self, step: int) -> torch.Tensor:
        """How many tokens (B,) are to be visible after a step."""
        if step >= self.num_steps - 1:
            return self.total
        assert self.targets is not None  # an adaptive order has no target to ask for
        return self.targets[:, step]

    def revealed(
        self, input_ids: torch.Tensor, prediction: Prediction, remasked: torch.Tensor, step: int
    ) -> torch.Tensor:
        """Which masks (B, T) are lifted."""
        if self.adaptive:
            masked = self.masked(input_ids)
            chosen = self.adaptive_reveal(prediction, masked)
            if step < self.last_step:
                self.lifted = self.lifted | chosen
                return chosen
            # What was lifted before is a mask again because somebody asked for it, whatever the number of steps.
            self._say_what_was_forced(masked & ~chosen & ~self.lifted)
            return masked
        eagerness = self.run.eagerness(prediction, prediction.probability, step)
        masked, masks = self._looked_at(input_ids)[1:]
        # As `scheduled_reveal`, which looks itself what is visible.
        count = self.target(step) - self.total + masks
        return select_worst(eagerness, masked, count if remasked is self.nothing else count + remasked.sum(dim=-1))

    def adaptive_reveal(self, prediction: Prediction, masked: torch.Tensor) -> torch.Tensor:
        """Which masks (B, T) an order lifts that decides itself how many."""
        config = self.run.config
        if config.unmasking == "entropy_bound":
            return entropy_bound_reveal(prediction.read(entropy, where=masked), masked, config.entropy_bound)
        return confidence_threshold_reveal(prediction.probability, masked, config.confidence_threshold)

    def _say_what_was_forced(self, forced: torch.Tensor) -> None:
        count, rows = int(forced.sum()), int(forced.any(dim=-1).sum())
        if count:
            logger.warning(
                f"`num_steps={self.num_steps}` was too small for `unmasking={self.run.config.unmasking!r}`: the last "
                f"step revealed {count} tokens of {rows} sequences that the order would have kept back. Raise "
                "`num_steps` for a better result."
            )
