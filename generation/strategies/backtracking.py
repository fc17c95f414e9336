# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Backtracking: the critic says whether an answer is right, the record of its generation where it went wrong.

Letters: B batch, T positions, V vocabulary.
"""

from typing import Any, ClassVar

import torch
from transformers.generation import GenerationConfig
from transformers.utils import logging

from critic_gpt.diffusion.selection import select_worst, settle
from critic_gpt.generation.outcomes import NOT_DRAWN, Complete, StepOutcome
from critic_gpt.generation.prediction import Prediction
from critic_gpt.generation.run import DenoisingRun
from critic_gpt.generation.strategies.base import register_strategy
from critic_gpt.generation.strategies.doubts import likeliest_other
from critic_gpt.generation.strategies.unmasking import PlainUnmasking
from critic_gpt.generation.strategy_declarations import ADAPTIVE_UNMASKING


logger = logging.get_logger(__name__)

# When a token came: before the first pass, or not yet.
AT_FIRST, NOT_YET = 0, -1


@register_strategy
class Backtrack(PlainUnmasking):
    """
    Reveals what is sure, and where the complete sequence is not, goes back to the token whose best alternative had the
    best odds against it when it was revealed: that takes its place, and all that was revealed in the same pass or
    later is re-masked. The result is the sequence with the fewest expected errors of all that were complete; what
    the last step fills is judged by the model's own probabilities of it.

    Once a wrong guess has spread, the tokens that follow from it agree with each other, and the critic sees that the
    whole is wrong but not where that began; the probabilities at which tokens were revealed do say it. This is a
    search with few discrepancies from the model's own choices (Harvey and Ginsberg, "Limited Discrepancy Search",
    1995), with the critic as its test.

    A step reveals what the adaptive order of unmasking says and, with n steps left, at least one in n * n masks, hence
    all in the last. Alternatives are the model's own, whatever `top_k` and `top_p` leave to the draws, and each place
    has one: a sequence ends early as well when none is left to try. Tokens of a draft count as revealed before the
    first pass, all at once, with the critic's P(right) as their probability: to go back to one masks the others.
    """

    name, needs_critic, asks_where = "backtrack", True, True
    # Chosen by measurement (docs/experiments/sudoku-9x9.md).
    takes: ClassVar = {
        "unmasking": "confidence_threshold",
        "entropy_bound": 0.1,
        "confidence_threshold": 0.97,
        "token_draws": "independent",
        "stop_when_expected_errors_below": 0.1,
        "revision_threshold": None,
    }

    def __init__(self, run: DenoisingRun):
        super().__init__(run)
        tokens, zeros = run.canvas.input_ids, torch.zeros(self.editable.shape, device=self.editable.device)
        # Of each token when it came, whether it was drawn, its probability then, the best other one with its own.
        self.came, self.drawn = torch.full_like(tokens, NOT_YET), self.nothing
        self.chance, self.other, self.other_chance = zeros, tokens, zeros
        # The best complete sequence so far, and the probability each of its tokens was drawn with.
        self.best, self.best_probability = tokens, zeros
        self.best_errors = torch.full((len(tokens),), float("inf"), device=tokens.device)
        self._say_what_no_sequence_meets()

    @classmethod
    def check(cls, config: GenerationConfig, explicit: set[str], **has) -> None:
        super().check(config, explicit, **has)
        if "unmasking" in explicit and config.unmasking not in ADAPTIVE_UNMASKING:
            raise ValueError(
                f'`unmasking` must be {" or ".join(ADAPTIVE_UNMASKING)} for `remasking="{cls.name}"`, which reveals '
                f"what is sure, got {config.unmasking!r}: choose one of these, or leave it out."
            )

    @classmethod
    def value_of(cls, config: GenerationConfig, name: str) -> Any:
        value = super().value_of(config, name)
        return cls.takes[name] if name == "unmasking" and value not in ADAPTIVE_UNMASKING else value

    @classmethod
    def complete(cls, config: GenerationConfig) -> None:
        if config.unmasking not in ADAPTIVE_UNMASKING:  # of the model's own configuration, for other strategies
            config.unmasking = None
        super().complete(config)

    def _say_what_no_sequence_meets(self) -> None:
        bound = self.run.config.stop_when_expected_errors_below
        surely_right = torch.tensor(float("-inf"), device=self.total.device)
        shortest = int(self.total.min())
        fewest = self.run.calibration.error_probability(surely_right).item() * shortest
        if fewest >= bound:
            logger.warning_once(
                f"`stop_when_expected_errors_below={bound}` ends no sequence early: by the critic's table {shortest} "
                f"tokens have {fewest:.3f} expected errors at least. All `num_steps` are spent, unless you set it "
                "higher."
            )

    def step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        output = self.run.forward(input_ids)
        probabilities = self.run.calibration.error_probability(output.critic_logits)
        masked = self.masked(input_ids)
        prediction = self.predict(input_ids, output.logits, step)
        if step == 0 and bool((draft := self.editable & ~masked).any()):
            self._note(draft, AT_FIRST, prediction, input_ids, 1.0 - probabilities)
        complete = ~masked.any(dim=-1)
        ended = self._compare(input_ids, prediction, masked, probabilities, step)
        revealed = self.revealed(input_ids, prediction, self.nothing, step) & ~ended[:, None]
        self._note(revealed, step + 1, prediction, prediction.tokens, prediction.probability)
        self.drawn = self.drawn | revealed
        filled = torch.where(revealed, prediction.tokens, input_ids)
        doubt = self._doubt()
        branching = complete & ~ended & (doubt > 0).any(dim=-1)
        ended = ended | (complete & ~branching)
        turned, undone = self._turn_back(branching, doubt)
        filled = torch.where(turned, self.other, filled)
        after = filled.masked_fill(undone, self.run.config.mask_token_id)
        at_end = ended[:, None]
        drawn_now = torch.where(turned, self.chance, prediction.probability)
        return StepOutcome(
            filled=torch.where(at_end, self.best, filled),
            remasked=undone,
            after=torch.where(at_end, self.best, after),
            drawn=torch.where(at_end, self.editable, revealed | turned),
            probability=torch.where(at_end, self.best_probability, drawn_now),
            error_probabilities=probabilities,
            finished=ended,
            complete=Complete(self.best, self.best_probability, self.best_errors.isfinite()),
        )

    def predict(self, input_ids: torch.Tensor, logits: torch.Tensor | None, step: int) -> Prediction:
        masked = self.masked(input_ids)
        where = self.editable if step == 0 else masked  # of a draft its rivals are asked for
        prediction = self.run.predict(input_ids, logits, step, where=where, draws=not self.jointly)
        return self._jointly(input_ids, prediction, masked, step)

    def revealed(
        self, input_ids: torch.Tensor, prediction: Prediction, remasked: torch.Tensor, step: int
    ) -> torch.Tensor:
        masked = self.masked(input_ids)
        # Late rather than early: once the first cells are known, whole groups of others are sure at once.
        squared = (self.last_step - step + 1) ** 2
        pace = (masked.sum(dim=-1) + squared - 1) // squared
        eagerness = self.run.eagerness(prediction, prediction.probability, step, where=masked)
        return self.adaptive_reveal(prediction, masked) | select_worst(eagerness, masked, pace)

    def _note(
        self,
        where: torch.Tensor,
        came: int,
        prediction: Prediction,
        tokens: torch.Tensor,
        probability: torch.Tensor,
    ) -> None:
        """Keeps of tokens (B, T) what going back to them takes."""
        share, other = prediction.read(likeliest_other, tokens, where=where)
        self.came = self.came.masked_fill(where, came)
        self.chance = torch.where(where, probability, self.chance)
        self.other = torch.where(where, other, self.other)
        self.other_chance = torch.where(where, share * (1.0 - probability), self.other_chance)

    def _compare(
        self,
        input_ids: torch.Tensor,
        prediction: Prediction,
        masked: torch.Tensor,
        probabilities: torch.Tensor,
        step: int,
    ) -> torch.Tensor:
        """Keeps the sequences that are the best so far, and says which rows (B,) end with them."""
        wrong = torch.where(masked, 1.0 - prediction.probability, probabilities).masked_fill(~self.editable, 0.0)
        expected = wrong.sum(dim=-1).nan_to_num(nan=float("inf"))
        bound = self.run.config.stop_when_expected_errors_below
        complete = ~masked.any(dim=-1)
        ended = complete & (expected < bound) if step < self.last_step else torch.ones_like(complete)
        better = (ended | complete) & ((expected < self.best_errors) | self.best_errors.isinf())
        self.best_errors = torch.where(better, expected, self.best_errors)
        better = better[:, None]
        self.best = torch.where(better, torch.where(masked, prediction.tokens, input_ids), self.best)
        drawn = torch.where(masked, prediction.probability, self.chance.masked_fill(~self.drawn, NOT_DRAWN))
        self.best_probability = torch.where(better, drawn, self.best_probability)
        return ended

    def _doubt(self) -> torch.Tensor:
        """The odds (B, T) of the best other token against the one that came; 0 where there is none."""
        odds = self.other_chance / self.chance.clamp(min=torch.finfo(self.chance.dtype).tiny)
        return settle(odds.masked_fill(self.came == NOT_YET, 0.0).nan_to_num(nan=0.0))

    def _turn_back(self, branching: torch.Tensor, doubt: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Where (B, T) the other token is put, one per row, and where masks again, in the rows (B,) that go back."""
        turned = select_worst(doubt, self.editable & (doubt > 0), branching.long())
        since = self.came.masked_fill(~turned, NOT_YET).amax(dim=-1, keepdim=True)
        undone = self.editable & branching[:, None] & (self.came >= since) & ~turned
        self.came = self.came.masked_fill(undone, NOT_YET)
        self.drawn = (self.drawn | turned) & ~undone
        self.chance = torch.where(turned, self.other_chance, self.chance)
        # It was the last resort here: a third token is not tried.
        self.other_chance = self.other_chance.masked_fill(turned | undone, 0.0)
        return turned, undone
