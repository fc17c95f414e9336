# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a run leaves: its sequences, which of their tokens were generated, and the numbers of the output that follow.

Letters: B batch, T positions.
"""

from typing import Any, NamedTuple

import torch

from critic_gpt.generation.canvas import Canvas, cut_after, cut_after_eos
from critic_gpt.generation.outcomes import NOT_DRAWN
from critic_gpt.generation.quality import error_summary, mean_log_probability
from critic_gpt.generation.run import DenoisingRun
from critic_gpt.generation.stopping import Stopping


class FinishedSequences(NamedTuple):
    """
    What a run leaves, all (B, T): the tokens, which of them were `generated`, where they are no padding, and once they
    were judged P(wrong) of every token, given ones included; and how many passes that took.
    """

    sequences: torch.Tensor
    generated: torch.Tensor
    attention_mask: torch.Tensor
    error_probabilities: torch.Tensor | None = None
    scoring_passes: int = 0

    def rows(self, chosen: torch.Tensor) -> "FinishedSequences":
        errors = self.error_probabilities
        return self._replace(
            sequences=self.sequences[chosen],
            generated=self.generated[chosen],
            attention_mask=self.attention_mask[chosen],
            error_probabilities=None if errors is None else errors[chosen],
        )

    def expected_errors(self) -> torch.Tensor:
        """How many generated tokens of each row (B,) are expected to be wrong."""
        return self._generated_errors().sum(dim=-1)

    def _generated_errors(self) -> torch.Tensor:
        """P(wrong) (B, T) of the generated tokens, once they were judged; given ones are taken as true."""
        assert self.error_probabilities is not None
        return self.error_probabilities.masked_fill(~self.generated, 0.0)

    def summary(self, run: DenoisingRun, best: torch.Tensor | None, reports: bool) -> dict[str, Any]:
        """
        The fields of [`CriticGPTGenerationOutput`] that follow from the result and its run.

        Args:
            run ([`DenoisingRun`]): Of all candidates.
            best (`torch.LongTensor` of shape `(batch_size,)`, *optional*): Which rows of it these are, if not all.
            reports (`bool`): Whether the critic's numbers are among them.
        """
        drawn_probability = run.drawn_probability
        assert drawn_probability is not None  # kept by every run whose output reports it
        if best is not None:
            drawn_probability = drawn_probability[best]
        drawn = self.generated & (drawn_probability != NOT_DRAWN)
        row_passes, trunk_tokens = (
            count.view(-1, run.config.num_candidates).sum(dim=-1) for count in (run.row_passes, run.trunk_tokens)
        )
        fields = {
            "sequences": self.sequences,
            "self_log_probability": mean_log_probability(drawn_probability, drawn),
            "forward_passes": run.forward_passes,
            "row_passes": row_passes,
            "trunk_tokens": trunk_tokens,
            "tokens_per_forward": self.generated.sum(dim=-1) / row_passes,
            "history": None if run.history is None else run.history.of(best),
            "generated_mask": self.generated,
        }
        if reports:
            fields["error_probabilities"] = self._generated_errors()
            fields["expected_errors"] = self.expected_errors()
            fields |= error_summary(self.error_probabilities, self.generated)
        return fields


def cut_off(run: DenoisingRun, canvas: Canvas, stopping: Stopping) -> FinishedSequences:
    """The sequences of a run without what was generated behind an end, which becomes padding."""
    config, sequences = run.config, run.sequences
    editable, attention_mask = canvas.editable, canvas.attention_mask
    if config.pad_token_id is None or (config.eos_token_id is None and not stopping):
        return FinishedSequences(sequences, editable, attention_mask)
    sequences = cut_after(sequences, editable, stopping.ends(sequences), config.pad_token_id)
    if config.eos_token_id is not None:
        sequences = cut_after_eos(sequences, editable, config.eos_token_id, config.pad_token_id)
    cut = editable & (sequences == config.pad_token_id)
    return FinishedSequences(sequences, editable & ~cut, attention_mask.masked_fill(cut, 0))
