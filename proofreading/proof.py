# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What proofreading says about one sequence, and what it knows of it while it goes on."""

from dataclasses import dataclass, field, replace
from typing import NamedTuple

import torch


# A model is too weak that finds less than this share of planted errors at 1 % false alarms; and for a text, of enough
# tokens to tell, that it expects to be wrong in more than this share.
LEAST_FOUND, LEAST_JUDGED, MOST_WRONG = 0.5, 100, 0.2


@dataclass
class Proof:
    """
    What [`ProofreadingMixin.proofread`] says about one sequence, on the CPU.

    Args:
        error_probabilities (`torch.FloatTensor` of shape `(sequence_length,)`): Calibrated P(wrong) of each judged
            token; 0 where nothing was judged.
        doubtful (`torch.BoolTensor` of shape `(sequence_length,)`): Where that is above the threshold.
        candidate_ids (`torch.LongTensor` of shape `(sequence_length, top_k)`): Other tokens that might stand there,
            the likeliest first.
        candidate_probabilities (`torch.FloatTensor` of shape `(sequence_length, top_k)`): The probability of each,
            given that the present token is wrong; 0 where there is no such candidate. At a [MASK] that of filling it.
        windows (`int`): How many windows the sequence makes.
        forward_passes (`int`): How many windows of this sequence went through the model, all passes together.
        calibrated (`bool`): Whether the probabilities come from a measured table; otherwise from a plain ramp.
        weakness (`str`, *optional*): Why the model is too weak to rely on for this text, if it is.
        corrected_ids (`torch.LongTensor` of shape `(sequence_length,)`, *optional*): The tokens after correction.
            This and what follows is `None` where no correction was asked for.
        corrected_expected_errors (`float`, *optional*): The sum of P(wrong) over them.
        rounds (`int`, *optional*): How often tokens were replaced.
        settled (`bool`, *optional*): Whether nothing is left that would be replaced in `corrected_ids`.
    """

    error_probabilities: torch.Tensor
    doubtful: torch.Tensor
    candidate_ids: torch.Tensor
    candidate_probabilities: torch.Tensor
    windows: int
    forward_passes: int
    calibrated: bool
    weakness: str | None = None
    corrected_ids: torch.Tensor | None = None
    corrected_expected_errors: float | None = None
    rounds: int | None = None
    settled: bool | None = None


@dataclass(eq=False)
class TextInProgress:
    """A sequence in progress, all on the CPU: its present tokens and what is known about them."""

    ids: torch.Tensor  # (T,)
    judged: torch.Tensor  # (T,) whether the critic is asked
    starts: list[int]
    owned: list[tuple[int, int]]
    scores: torch.Tensor  # (T,) by which it is judged
    candidate_ids: torch.Tensor  # (T, K)
    candidates: torch.Tensor  # (T, K) their probabilities
    changed: torch.Tensor  # (T,) since the model saw it last
    errors: torch.Tensor  # (T,) P(wrong), 0 where not judged
    doubtful: torch.Tensor  # (T,)
    passes: int = 0
    rounds: int = 0
    seen: set[bytes] = field(default_factory=set)
    best: "State | None" = None  # of those that correction went through

    def weakness(self, planted: bool, found: float | None) -> str | None:
        """Why not to rely on what is said of it, if there is a reason."""
        share = float(self.errors.sum()) / max(1, int(self.judged.sum()))
        if int(self.judged.sum()) >= LEAST_JUDGED and share > MOST_WRONG:
            expected = f"{share:.0%} of the tokens are expected to be wrong: "
            if planted:
                return f"{expected}the model knows no such texts; train it on texts of this kind."
            return f"{expected}the table is of the model's own fillings; calibrate.py --source planted."
        if found is not None and found < LEAST_FOUND:
            return f"the model is weak: at 1 % false alarms it finds {found:.0%} of planted errors; train it longer."
        return None

    def corrected(self, proof: Proof) -> Proof:
        """Its proof from before correction, with what came of that."""
        assert self.best is not None  # the state that correction began with, if no better one was found
        ids, expected_errors, settled = self.best
        found = {"corrected_ids": ids, "corrected_expected_errors": expected_errors, "settled": settled}
        return replace(proof, forward_passes=self.passes, rounds=self.rounds, **found)


class State(NamedTuple):
    """A state that correction reached: tokens (T,), how many seem wrong, whether none is left to replace."""

    ids: torch.Tensor
    expected_errors: float
    settled: bool


class Window(NamedTuple):
    """A window in progress: whose it is, what it shows, where it begins, and which tokens it speaks for."""

    text: TextInProgress
    ids: torch.Tensor
    start: int
    begin: int
    end: int
