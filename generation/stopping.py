# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Stopping criteria: they are asked after every step which rows are done, and those leave the batch.

Letters: A all rows, B rows that go on, T positions, V vocabulary.
"""

from typing import Any

import torch
from torch.nn import functional as F
from transformers.generation import (
    EosTokenCriteria,
    GenerationConfig,
    MaxTimeCriteria,
    StoppingCriteriaList,
    StopStringCriteria,
)

from critic_gpt.generation.answers import truth_values
from critic_gpt.generation.canvas import Canvas
from critic_gpt.generation.drawing import checked_list, is_stock
from critic_gpt.generation.outcomes import StepOutcome
from critic_gpt.generation.run import DenoisingRun


# They look for something at the end of a text, hence at every place where it might end.
ENDINGS = (EosTokenCriteria, StopStringCriteria)
# No token of any vocabulary; `pad` takes it through a float.
NO_TOKEN = torch.iinfo(torch.int32).max


def check_criteria(given: Any, config: GenerationConfig) -> StoppingCriteriaList:
    """The criteria of a call as a list; raises a `ValueError` for one that cannot be met."""
    criteria = StoppingCriteriaList(checked_list("stopping_criteria", given))
    if criteria and config.block_length is not None and config.pad_token_id is None:
        raise ValueError(
            "`stopping_criteria` need a `pad_token_id` beside `block_length`, by which the blocks that a row has not "
            f"begun are replaced, got {len(criteria)} without one: give `pad_token_id`, or leave one of the two out."
        )
    for criterion in criteria:
        if is_stock(criterion, "stopping_criteria") and not isinstance(criterion, (MaxTimeCriteria, *ENDINGS)):
            raise ValueError(
                "`stopping_criteria` must not go by the length of a text, which is all there from the beginning, or "
                f"by a single score, got a {type(criterion).__name__}: set `max_new_tokens`, or write one of your own."
            )
        if isinstance(criterion, ENDINGS) and config.pad_token_id is None:
            raise ValueError(
                "`stopping_criteria` need a `pad_token_id`, by which all that follows an end is replaced, got a "
                f"{type(criterion).__name__} without one: give `pad_token_id`, or leave it out."
            )
    return criteria


class Stopping:
    """
    What the criteria of one call make of its rows.

    `EosTokenCriteria` and `StopStringCriteria` end a row where a *generated* token completes what they wait for and no
    mask is left before it; what was generated behind is cut. All others are called, as in Transformers, with the
    tokens of all rows (A, T) and with scores, and give one truth value per row (A,).

    Args:
        criteria ([`~transformers.StoppingCriteriaList`]): Checked.
        canvas ([`Canvas`]): That of all rows.
        mask_token_id (`int`): Id of [MASK].
    """

    def __init__(self, criteria: StoppingCriteriaList, canvas: Canvas, mask_token_id: int):
        self.endings = [criterion for criterion in criteria if isinstance(criterion, ENDINGS)]
        self.others = [criterion for criterion in criteria if not isinstance(criterion, ENDINGS)]
        self.canvas = canvas
        self.mask_token_id = mask_token_id
        # The rows (A,) that some criterion has ended.
        self.stopped = torch.zeros(len(canvas.input_ids), dtype=torch.bool, device=canvas.input_ids.device)

    def __bool__(self) -> bool:
        return bool(self.endings or self.others)

    def ends(self, sequences: torch.Tensor) -> torch.Tensor:
        """Where (A, T) a generated token with no mask before it ends a text, by one of the criteria of the end."""
        masked = sequences == self.mask_token_id
        visible = self.canvas.attention_mask.bool() & ~masked
        tokens = sequences.masked_fill(~visible, NO_TOKEN)
        found = torch.zeros_like(masked)
        for criterion in self.endings:
            width = getattr(criterion, "maximum_token_len", 1)
            windows = F.pad(tokens, (width - 1, 0), value=NO_TOKEN).unfold(-1, width, 1)  # (A, T, width)
            found |= criterion(windows.reshape(-1, width), None).view(masked.shape)
        open_before = (masked & self.canvas.editable).cumsum(dim=-1) > 0
        return found & self.canvas.editable & ~open_before

    def done(self, sequences: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        """The rows (A,) that some criterion ends; `sequences` (A, T), `scores` (A, T, V)."""
        done = self.ends(sequences).any(dim=-1)
        for criterion in self.others:
            done = done | truth_values("stopping_criteria", criterion(sequences, (scores,)), done)
        return done

    def applied(self, run: DenoisingRun, outcome: StepOutcome) -> StepOutcome:
        """
        A step's outcome once the criteria were asked. A row that is done is finished in this very step, without a
        further pass: a token that was to be re-masked stays, and every mask takes the token drawn for it; or it
        ends with the best complete sequence, where the strategy has one and would not have been done.
        """
        prediction, run.prediction = run.prediction, None  # before the next pass needs its room
        if prediction is None:  # of a strategy from outside that draws in a way of its own
            raise ValueError(
                "`stopping_criteria` need the predictions of each step, got none from "
                f"`remasking={run.config.remasking!r}`: let its `step` draw by `self.run.predict`, or leave them out."
            )
        scores = prediction.probabilities.log()
        unknown = scores.new_full((), float("nan")).expand(*run.sequences.shape, scores.shape[-1])
        scores = run.of_all(scores, unknown)
        done = self.done(run.of_all(outcome.after, run.sequences), scores)
        self.stopped = self.stopped | done
        done = run.present(done)[:, None]
        left = done & run.canvas.editable & (outcome.filled == self.mask_token_id)
        filled = torch.where(left, prediction.tokens, outcome.filled)
        drawn, probability = outcome.drawn | left, outcome.probability
        if outcome.complete is not None:
            open_still = (run.canvas.editable & (outcome.after == self.mask_token_id)).any(dim=-1)
            takes = done & (outcome.complete.known & open_still)[:, None]
            filled = torch.where(takes, outcome.complete.tokens, filled)
            drawn = drawn | (takes & run.canvas.editable)
            probability = torch.where(takes, outcome.complete.probability, probability)
        finished = done.squeeze(-1) if outcome.finished is None else done.squeeze(-1) | outcome.finished
        return outcome._replace(
            filled=filled,
            after=torch.where(done, filled, outcome.after),
            remasked=outcome.remasked & ~done,
            drawn=drawn,
            probability=probability,
            finished=finished,
        )
