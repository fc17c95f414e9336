# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The critic's own strategy, and PRISM: one pass predicts the masks and judges the visible tokens.

Letters: B batch, T positions, V vocabulary.
"""

from typing import ClassVar

import torch
from transformers.generation import GenerationConfig

from critic_gpt.diffusion.names import HALF
from critic_gpt.diffusion.randomness import STREAM_SAMPLE
from critic_gpt.diffusion.schedules import half_spread, remask_counts
from critic_gpt.diffusion.selection import select_worst, settle, unlikelihood
from critic_gpt.generation.outcomes import StepOutcome
from critic_gpt.generation.prediction import Prediction, probability_of
from critic_gpt.generation.run import DenoisingRun
from critic_gpt.generation.strategies.base import CHOICE_BY_SCORE, register_strategy
from critic_gpt.generation.strategies.doubts import (
    EVEN_ODDS,
    better_alternative,
    default_floor,
    share_of_likeliest_other,
)
from critic_gpt.generation.strategies.still_step import Moment, critic_step
from critic_gpt.generation.strategies.unmasking import PlainUnmasking, Verdict


@register_strategy
class Critic(PlainUnmasking):
    """
    Masks again, or redraws, what the critic holds to be wrong, in the very pass that found it.

    Once the schedule has revealed all, up to `polish_steps` further steps go on as long as anything lies above
    `polish_threshold`. A sequence ends early where so few wrong tokens are expected if all its masks were filled now,
    those of the masks by one minus the probability of the token drawn, that it meets
    `stop_when_expected_errors_below`.
    """

    name, needs_critic, draws_jointly, asks_where = "critic", True, True, True
    # The schedule, the number and the correction chosen by measurement (docs/experiments/sampling-settings.md).
    takes: ClassVar = {
        **PlainUnmasking.takes,
        **CHOICE_BY_SCORE,
        "schedule": "root",
        "remask_per_step": 0.2,
        "remask_by": "alternative",
        "remask_exponent": 1.0,
        "remasked_first": False,
        "remask_floor": None,
        "correction": "auto",
        "polish_steps": 0,
        "polish_threshold": None,
        "stop_when_expected_errors_below": None,
        "revision_threshold": None,
    }
    # Chosen by D on text, at 8 to 64 passes (docs/experiments/text.md).
    takes_for_many: ClassVar = {
        "unmasking": "random",
        "schedule": "root",
        "remask_per_step": HALF,
        "remask_by": "likelihood",
        "remask_selection": "gumbel",
        "remasked_first": True,
        "remask_floor": 0.0,
        "correction": "remask",
        "temperature": 0.8,
        "temperature_end": 0.4,
    }
    harmless: ClassVar = {}
    unused_beside_threshold = ("remask_per_step", "remask_floor")

    def __init__(self, run: DenoisingRun):
        super().__init__(run)
        config = run.config
        self.last_step = self.num_steps - 1 + config.polish_steps
        # A draft without a [MASK] has nothing to reveal, so no schedule limits how much of it is revised.
        self.draft = self.first_visible == self.total
        self.drafts = self.draft.device.type != "cpu" or bool(self.draft.any())  # elsewhere to look would be to wait
        # How many tokens (B, num_steps) each step may leave masked; `None` where an adaptive order sets no limit.
        self.rooms: torch.Tensor | None = None
        if not self.adaptive:
            total = self.total[:, None]
            self.rooms = torch.where(self.draft[:, None], total, total - self.targets)
        self.waiting = self.nothing  # what the last step re-masked
        self.stops_early = config.stop_when_expected_errors_below is not None
        self.floor = default_floor(run.calibration) if config.remask_floor is None else config.remask_floor

    @classmethod
    def forward_passes(cls, num_steps: int, config: GenerationConfig) -> int:
        return super().forward_passes(num_steps + config.polish_steps, config)

    @classmethod
    def complete(cls, config: GenerationConfig) -> None:
        super().complete(config)
        if config.polish_steps and config.polish_threshold is None:
            given = config.error_threshold
            config.polish_threshold = EVEN_ODDS if given is None else given

    def predict(self, input_ids: torch.Tensor, logits: torch.Tensor | None, step: int) -> Prediction:
        masked, replaces = self.masked(input_ids), self._replaces(step)
        prediction = self.run.predict(
            input_ids,
            logits,
            step,
            # Where a token is redrawn it is held to be wrong, and does not come again.
            exclude=input_ids if replaces else None,
            where=masked | self._doubted(step) if self.run.reads_some(input_ids) else None,
            draws=replaces or not self.asks_where or (not self.jointly and masked),
        )
        return self._jointly(input_ids, prediction, masked, step)

    def _doubted(self, step: int) -> torch.Tensor:
        """The tokens (B, T) of which the language model's opinion counts, whatever that is, in this step."""
        config, critic_logits = self.run.config, self.run.critic_logits
        replaces = self._replaces(step)
        if (step == self.last_step and not replaces) or (config.remask_by == "error" and not replaces):
            return self.nothing
        if config.remask_by == "likelihood":  # weighed against that of all others
            return ~self.nothing
        allowed = self._allowed(self.run.calibration.error_probability(critic_logits), step)
        if replaces and self._threshold(step) is None and config.remask_by == "alternative":
            # No other token can make it likelier to be wrong than the critic says.
            return allowed & ~(self.run.calibration.error_log_odds(critic_logits) < 0.0)
        return allowed

    def _allowed(self, probabilities: torch.Tensor, step: int) -> torch.Tensor:
        """Where (B, T) a token may be corrected, by the critic's P(wrong) alone."""
        # At first nothing visible is the model's own, unless it was asked to revise a draft.
        allowed = self.editable & self.draft[:, None] if step == 0 else self.editable
        threshold = self._threshold(step)
        if threshold is None:
            if not self.floor or self._replaces(step):
                return allowed
            threshold = self.floor  # a number alone would mask right tokens again wherever little is wrong
        # Not `probabilities > threshold`: a broken score (NaN) must not pass for a safe one.
        return (probabilities <= threshold).logical_not_().logical_and_(allowed)

    def most_remasked(self, masks: torch.Tensor, step: int) -> torch.Tensor:
        if self._replaces(step) or self._polishes(step):
            return torch.zeros_like(masks)
        return torch.minimum(self._wanted(masks, step), self._room(step))

    def _wanted(self, masks: torch.Tensor, step: int) -> torch.Tensor:
        """How many tokens (B,) are to be corrected: as many as were asked for, else all that deserve it."""
        if self._threshold(step) is not None or step == self.last_step:
            return self.total
        if self.drafts:
            masks = torch.where(self.draft, self.total, masks)
        wanted = self.run.config.remask_per_step
        return half_spread(self.total, step, self.num_steps) if wanted == HALF else remask_counts(masks, wanted)

    def _threshold(self, step: int) -> float | None:
        config = self.run.config
        return config.polish_threshold if self._polishes(step) else config.error_threshold

    def step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        if self.stands_still:
            return self._still_step(input_ids, step)
        output = self.run.forward(input_ids)
        prediction = self.predict(input_ids, output.logits, step)
        verdict = self.judge(input_ids, output, prediction, step)
        outcome = self.act(input_ids, prediction, verdict, step)
        self.waiting = outcome.remasked
        if step < self.last_step and (self.stops_early or self._polishes(step)):
            return self._end_rows(input_ids, prediction.tokens, prediction.probability, verdict, outcome, step)
        return outcome

    def revealed(
        self, input_ids: torch.Tensor, prediction: Prediction, remasked: torch.Tensor, step: int
    ) -> torch.Tensor:
        chosen, config = super().revealed(input_ids, prediction, remasked, step), self.run.config
        if self.adaptive or not config.remasked_first:
            return chosen
        masked = self.masked(input_ids)
        eagerness = self.run.eagerness(prediction, prediction.probability, step, where=masked)
        return select_worst(self.waiting.float(), masked, chosen.sum(dim=-1), eagerness)

    def _replaces(self, step: int) -> bool:
        """Whether a step draws other tokens in place of wrong ones; otherwise it masks them again."""
        correction = self.run.config.correction
        return correction == "replace" or (correction == "auto" and step == self.last_step)

    def _polishes(self, step: int) -> bool:
        return self.run.config.polish_steps > 0 and step >= self.num_steps - 1

    def judge(self, input_ids: torch.Tensor, output, prediction: Prediction, step: int) -> Verdict:
        probabilities = self.run.calibration.error_probability(output.critic_logits)
        last, replaces = step == self.last_step, self._replaces(step)
        if last and not replaces:
            return Verdict(self.nothing, self.nothing, probabilities)
        allowed = self._allowed(probabilities, step) & ~self.masked(input_ids)
        if allowed.device.type == "cpu" and not bool(allowed.any()):  # elsewhere to look would be to wait
            return Verdict(self.nothing, self.nothing, probabilities)
        scores, tie_break = self._scores(input_ids, probabilities, output.critic_logits, prediction, allowed, step)
        wanted = self._wanted(self.num_masked(input_ids), step)
        if replaces and self._threshold(step) is None:
            # A token that is redrawn does not come again: that of a right one would be lost.
            allowed = allowed & ~(scores <= EVEN_ODDS)
        if not replaces and not self._polishes(step):
            # Tokens re-masked must still fit among those the schedule leaves masked.
            wanted = torch.minimum(wanted, self._room(step))
        chosen = self._chosen(input_ids, scores, tie_break, allowed, wanted, step)
        pair = (self.nothing, chosen) if replaces else (chosen, self.nothing)
        return Verdict(*pair, probabilities)

    def _chosen(
        self,
        input_ids: torch.Tensor,
        scores: torch.Tensor,
        tie_break: torch.Tensor,
        allowed: torch.Tensor,
        wanted: torch.Tensor,
        step: int,
    ) -> torch.Tensor:
        """Which (B, T) of the tokens that may be corrected are."""
        config = self.run.config
        if config.remask_by == "alternative" and config.remask_selection == "worst" and not config.randomness_strength:
            return select_worst(tie_break, allowed, wanted)  # with which the scores rise and fall
        how = {"remasking": "critic", "critic_scores": scores, "tie_break": tie_break, "num_remask": wanted}
        return self.run.remask(input_ids, step, **how, error_threshold=None, protected_mask=~allowed)[1]

    def _scores(
        self,
        input_ids: torch.Tensor,
        probabilities: torch.Tensor,
        critic_logits: torch.Tensor,
        prediction: Prediction,
        allowed: torch.Tensor,
        step: int,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """By what tokens are ranked for correction (B, T), in [0, 1], and what orders equal ones."""
        if self.run.config.remask_by == "error":
            return probabilities, settle(critic_logits)
        if self.run.config.remask_by == "likelihood":
            return self._unlikelihood(input_ids, prediction, step)
        alternative = prediction.read(share_of_likeliest_other, input_ids, where=allowed)
        # The odds of the table, of which P(wrong) is the reading, but without its steps: they rank the worst tokens.
        log_odds = settle(better_alternative(self.run.calibration.error_log_odds(critic_logits), alternative))
        return log_odds.sigmoid(), log_odds

    def _unlikelihood(
        self, input_ids: torch.Tensor, prediction: Prediction, step: int
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The weights c ** -g of the visible tokens, c being what the language model gives them; and what orders."""
        likelihood = prediction.read(probability_of, input_ids)
        if self._replaces(step):  # by the odds of any other token
            return 1.0 - likelihood, settle(-likelihood)
        config = self.run.config
        # Of those that may change: a frame or a prompt would outweigh them all, and padding would depend on the batch.
        visible = self.editable & (input_ids != config.mask_token_id)
        log_weight = unlikelihood(likelihood, config.remask_exponent, visible)
        return log_weight.exp(), log_weight

    def _room(self, step: int) -> torch.Tensor:
        """How many tokens (B,) a step may leave masked."""
        if self.rooms is None:
            return self.total
        return self.rooms[:, min(step, self.num_steps - 1)]

    @property
    def stands_still(self) -> bool:
        """Whether a step is compiled as a whole: under the defaults, with tokens drawn each by itself."""
        config, run = self.run.config, self.run
        changed = run.processors or run.own_warpers or type(self) is not Critic
        if run.passes.compiler is None or changed or self.jointly or config.polish_steps:
            return False
        asked = (config.unmasking, config.remask_by, config.remask_selection, config.remasked_first)
        warm = (config.temperature, config.temperature_end, config.top_k, config.top_p or 1.0)
        plain = not config.randomness_strength and config.error_threshold is None and config.remask_per_step != HALF
        return plain and asked == ("confidence", "alternative", "worst", False) and warm == (1.0, None, None, 1.0)

    def _still_step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        """A step whose shapes do not change: what differs between steps goes in as numbers."""
        run, device = self.run, input_ids.device
        replaces, last = self._replaces(step), step == self.last_step
        room = torch.zeros_like(self.total) if last else self._room(step)
        moment = Moment(
            # Each of its own: which inputs are one tensor, and their strides, are part of a graph.
            changeable=self.editable & self.draft[:, None] if step == 0 else self.editable.clone(),
            draw=run.uniforms(STREAM_SAMPLE, step),
            kept_back=torch.empty_like(self.total).copy_(self.total - self.target(step)),
            most=torch.empty_like(self.total).copy_(self.total if replaces else room),
            replaces=torch.full((), replaces, device=device),
            last=torch.full((), last, device=device),
        )
        table = run.calibration.table(device), run.calibration.log_odds(device)
        rule = tuple(run.special_ids), run.config.mask_token_id, self.floor, run.config.remask_per_step
        arguments = (self.editable, self.draft, self.total, table, moment, rule)
        found = run.whole_step(critic_step, input_ids, *arguments, kind=rule)
        outcome = StepOutcome(
            found.filled, found.remasked, found.after, found.drawn, found.probability, found.error_probabilities
        )
        if self.stops_early and not last:
            verdict = Verdict(found.remasked, self.nothing, found.error_probabilities)
            return self._end_rows(input_ids, found.tokens, found.probability, verdict, outcome, step)
        return outcome

    def _end_rows(
        self,
        input_ids: torch.Tensor,
        tokens: torch.Tensor,
        probability: torch.Tensor,
        verdict: Verdict,
        outcome: StepOutcome,
        step: int,
    ) -> StepOutcome:
        """
        Ends the rows in which nothing is left to do, by the tokens (B, T) drawn for the masks and the probability of
        each. The one place where the critic waits for the device.
        """
        masked = self.masked(input_ids)
        ended = torch.zeros_like(self.draft)
        if self._polishes(step):  # judged as a whole, and nothing lies above the threshold
            ended = ~(masked | verdict.remasked | verdict.replaced).any(dim=-1)
        if self.stops_early:
            wrong = torch.where(masked, 1.0 - probability, verdict.error_probabilities)
            expected = wrong.masked_fill(~self.editable, 0.0).sum(dim=-1)
            good = (expected < self.run.config.stop_when_expected_errors_below)[:, None]
            complete = torch.where(masked, tokens, input_ids)
            outcome = outcome._replace(
                filled=torch.where(good, complete, outcome.filled),
                after=torch.where(good, complete, outcome.after),
                remasked=outcome.remasked & ~good,
                drawn=torch.where(good, masked, outcome.drawn),
            )
            ended = ended | good.squeeze(-1)
        return outcome._replace(finished=ended)


@register_strategy
class Prism(Critic):
    """
    Reveals masks in random order and masks the `remask_per_step` tokens again that the critic scores worst (Kim et
    al., "Fine-Tuning Masked Diffusion for Provable Self-Correction", 2025): [`Critic`] without what is ours.
    """

    name, draws_jointly, asks_where, takes_for_many = "prism", False, True, {}
    takes: ClassVar = {
        **PlainUnmasking.takes,
        "unmasking": "random",
        "remask_per_step": 4,
        "revision_threshold": None,
    }
    harmless: ClassVar = {"correction": "remask", "remask_by": "error", "remasked_first": False}
