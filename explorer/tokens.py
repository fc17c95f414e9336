# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""One token under the explorer's eyes: what every view is made of, as plain data."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch

from critic_gpt.explorer.session import Explorer


@dataclass(frozen=True)
class TokenView:
    """
    One token.

    Args:
        position, id (`int`), text (`str`): Place in the sequence, id, and what it looks like.
        truth (`str`, *optional*), truth_id (`int`, *optional*): What stands there in the data.
        masked, filled, remasked (`bool`): Whether it is [MASK]; came from the model; was re-masked.
        judged (`bool`): Whether the critic's verdict on it counts.
        wrong (`bool`, *optional*): Whether it differs from the truth; `None` at masks and without a truth.
        error_probability (`float`, *optional*): Calibrated P(wrong) in [0, 1].
        critic_logit (`float`, *optional*): The raw score behind it.
        flagged (`bool`, *optional*): The verdict, where it counts: P(wrong) is above the threshold, or no number.
    """

    position: int
    id: int
    text: str
    truth: str | None = None
    truth_id: int | None = None
    masked: bool = False
    filled: bool = False
    remasked: bool = False
    judged: bool = False
    wrong: bool | None = None
    error_probability: float | None = None
    critic_logit: float | None = None
    flagged: bool | None = None

    @property
    def outcome(self) -> str | None:
        """`"TP"` (wrong, flagged), `"FN"`, `"FP"` or `"TN"` of a judged token with a truth, else `None`."""
        if not self.judged or self.wrong is None or self.flagged is None:
            return None
        return ("TP" if self.flagged else "FN") if self.wrong else ("FP" if self.flagged else "TN")


def plain(value: float) -> float | None:
    """A number as JSON knows it: NaN and infinities become `None`."""
    return float(value) if math.isfinite(value) else None


def token_views(
    explorer: Explorer,
    ids: Sequence[int],
    *,
    truth: Sequence[int | None] | None = None,
    filled: set[int] | None = None,
    remasked: set[int] | None = None,
    judged: set[int] | None = None,
    error_probabilities: Sequence[float | None] | None = None,
    critic_logits: Sequence[float] | None = None,
    threshold: float | None = None,
) -> tuple[TokenView, ...]:
    """
    Puts together what is known of each token. Lists have one entry a token, sets hold positions; at masks there is no
    verdict.
    """
    mask_id, views = explorer.model.config.mask_token_id, []
    for position, token in enumerate(ids):
        true_id = None if truth is None else truth[position]
        masked = token == mask_id
        probability = None if masked or error_probabilities is None else error_probabilities[position]
        flagged = None
        verdict_counts = judged is None or position in judged
        if probability is not None and threshold is not None and verdict_counts:
            flagged = not probability <= threshold  # a broken score (NaN) must not pass for a safe one
        views.append(
            TokenView(
                position=position,
                id=token,
                text=explorer.text_of(token),
                truth=None if true_id is None else explorer.text_of(true_id),
                truth_id=true_id,
                masked=masked,
                filled=position in (filled or ()),
                remasked=position in (remasked or ()),
                judged=position in (judged or ()),
                wrong=None if masked or true_id is None else token != true_id,
                error_probability=None if probability is None else plain(probability),
                critic_logit=None if masked or critic_logits is None else plain(critic_logits[position]),
                flagged=flagged,
            )
        )
    return tuple(views)


def positions_of(mask: torch.Tensor) -> set[int]:
    """Where a mask of shape `(1, sequence_length)` is true."""
    return set(mask[0].nonzero().flatten().tolist())


def another_right(explorer: Explorer, tokens: Sequence[TokenView]) -> bool:
    """Whether finished tokens differ from the truth and the task says that they are right nevertheless."""
    if any(token.masked for token in tokens) or not any(token.wrong for token in tokens):
        return False
    return explorer.right(explorer.tokenizer.decode([token.id for token in tokens]))
