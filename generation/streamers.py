# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a streamer gets to see of a generation, step by step. Letters: A all rows, T positions.

`generate` calls, on the CPU and without a forward pass of its own, whichever of these a streamer has:

- `put(prompt)`: first, the tokens `(batch_size, num_given)` ahead of the first place that may change in any row, none
  perhaps; and in the end the rest of the finished sequences. Together they make up the sequences.
- `put_draft(rest)`: after each step, the rest as it is then: what Transformers' `TextDiffusionStreamer` draws.
- `put_step(step)`: a [`StreamedStep`] before the first step, after each, and once more for the finished sequences.
- `end()`, when all is done, or `abort()`, where an error or a key breaks the generation off.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers.generation.streamers import BaseStreamer

from critic_gpt.generation.outcomes import StepOutcome
from critic_gpt.generation.run import DenoisingRun


class StreamedStep(NamedTuple):
    """
    Where a generation stands, all rows together, on the CPU.

    Args:
        sequences (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens, [MASK] among them.
        filled (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The same before a step masked some again.
        remasked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Where it did.
        error_probabilities (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): Calibrated
            P(wrong) of the tokens `filled`; NaN at given tokens, masks, and tokens that no pass has seen yet. `None`
            without a trained critic.
        attention_mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): `False` = padding.
        editable (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Neither given nor padding.
        row_passes (`torch.LongTensor` of shape `(batch_size,)`): In how many forward passes each row took part.
        finished (`bool`): Whether these are the finished sequences.
    """

    sequences: torch.Tensor
    filled: torch.Tensor
    remasked: torch.Tensor
    error_probabilities: torch.Tensor | None
    attention_mask: torch.Tensor
    editable: torch.Tensor
    row_passes: torch.Tensor
    finished: bool


class CriticStreamer(BaseStreamer):
    """A streamer that sees whole steps of whole batches, the critic's verdicts included: a base class."""

    def put(self, value: torch.Tensor) -> None:
        """Gets tokens that will not change any more; `put_step` tells more."""

    def put_step(self, step: StreamedStep) -> None:
        """Gets where the generation stands."""
        raise NotImplementedError

    def end(self) -> None:
        """The sequences are finished; another generation may follow."""

    def abort(self) -> None:
        """The generation broke off; another one may follow."""
        self.end()


class Stream:
    """
    Tells the streamer of one call, if there is one, what happens in its run. A context, which ends with it.

    Args:
        streamer (*optional*): As passed to `generate`.
        run ([`DenoisingRun`]): Before its first step.
    """

    def __init__(self, streamer: Any | None, run: DenoisingRun):
        self.streamer, self.run = streamer, run
        self.canvas = run.canvas  # of all rows
        self._put_step: Callable[[StreamedStep], None] | None = getattr(streamer, "put_step", None)
        self.detailed = self._put_step is not None
        self.verdicts: torch.Tensor | None = None
        if self.detailed and run.model.has_trained_critic:
            self.verdicts = torch.full(self.canvas.input_ids.shape, float("nan"), device=self.canvas.input_ids.device)

    def __enter__(self) -> "Stream":
        if self.streamer is None:
            return self
        given = ~self.canvas.editable.any(dim=0)
        self.num_given = int(given.long().cumprod(dim=0).sum())
        try:
            self.streamer.put(self.canvas.input_ids[:, : self.num_given].cpu())
            self._tell(self.canvas.input_ids, self.canvas.input_ids, torch.zeros_like(self.canvas.editable))
        except BaseException as error:  # `__exit__` is for what has been entered
            self._abort(error)
            raise
        return self

    def __exit__(self, kind, error, trace) -> None:
        if error is not None:
            self._abort(error)

    def _abort(self, error: BaseException) -> None:
        abort = getattr(self.streamer, "abort", None)
        if abort is None:
            return
        try:
            abort()
        except Exception as another:  # the first one says what happened
            error.add_note(f"`abort` of the streamer failed too: {another!r}")

    def step(self, outcome: StepOutcome) -> None:
        """Tells of a step that the run has recorded."""
        run = self.run
        put_draft = getattr(self.streamer, "put_draft", None)
        if put_draft is not None:
            put_draft(run.sequences[:, self.num_given :].cpu())
        if not self.detailed:
            return
        if self.verdicts is not None:
            # Every pass judges what went in, for nothing; a token drawn after it is unknown until the next one.
            seen = run.canvas.editable & (run.judged_ids == outcome.filled)
            seen &= outcome.filled != run.config.mask_token_id
            verdict = run.calibration.error_probability(run.critic_logits)
            self.verdicts = run.of_all(verdict.masked_fill(~seen, float("nan")), self.verdicts)
        nothing = torch.zeros_like(self.canvas.editable)
        self._tell(run.sequences, run.of_all(outcome.filled, run.sequences), run.of_all(outcome.remasked, nothing))

    def put_rest(self, sequences: torch.Tensor) -> None:
        """Hands over the finished sequences (A, T)."""
        if self.streamer is not None:
            self.streamer.put(sequences[:, self.num_given :].cpu())

    def end(
        self,
        sequences: torch.Tensor,
        attention_mask: torch.Tensor,
        editable: torch.Tensor,
        error_probabilities: torch.Tensor | None,
    ) -> None:
        """Tells of the finished sequences and of the last verdict, where somebody asked for one, and ends."""
        if self.streamer is None:
            return
        if error_probabilities is not None:
            self.verdicts = error_probabilities
        if self.verdicts is not None:
            self.verdicts = self.verdicts.masked_fill(~editable, float("nan"))
        self.canvas = self.canvas._replace(attention_mask=attention_mask, editable=editable)
        self._tell(sequences, sequences, torch.zeros_like(editable), finished=True)
        self.streamer.end()

    def _tell(
        self, sequences: torch.Tensor, filled: torch.Tensor, remasked: torch.Tensor, finished: bool = False
    ) -> None:
        if self._put_step is None:
            return
        self._put_step(
            StreamedStep(
                sequences=sequences.cpu(),
                filled=filled.cpu(),
                remasked=remasked.cpu(),
                error_probabilities=None if self.verdicts is None else self.verdicts.cpu(),
                attention_mask=self.canvas.attention_mask.bool().cpu(),
                editable=self.canvas.editable.bool().cpu(),
                row_passes=self.run.row_passes.clone().cpu(),  # which goes on counting
                finished=finished,
            )
        )


__all__ = ["CriticStreamer", "StreamedStep"]
