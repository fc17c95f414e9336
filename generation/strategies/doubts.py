# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What speaks against a token: the critic's odds, and what the language model would put in its place.

Letters: B batch, T positions, V vocabulary.
"""

import torch

from critic_gpt.calibration.table import CriticCalibration


# Above it a token is wrong more likely than not, or another one right more likely than it.
EVEN_ODDS = 0.5
# At or below it a token is too probably right to be re-masked; and how many times as often as any token along
# generations it must be wrong, since a critic that knows no more of it masks at random
# (docs/experiments/sampling-settings.md).
LOWEST_FLOOR, LIFT = 0.1, 2.0


def likeliest_other(probabilities: torch.Tensor, input_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """
    The likeliest token other than the one that stands there, and its probability, given that it is another one.

    Args:
        probabilities (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`): The predictions.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): What stands there.

    Returns:
        `tuple`: the probabilities, in [0, 1], 0 where no other token is possible, and the tokens, both of shape
        `(batch_size, sequence_length)`.
    """
    others = probabilities.scatter(-1, input_ids[..., None], 0.0)
    likeliest = others.max(dim=-1)
    return _share(likeliest.values, others), likeliest.indices


def share_of_likeliest_other(probabilities: torch.Tensor, input_ids: torch.Tensor) -> torch.Tensor:
    """The first of both: to find out which token it is takes ten times as long."""
    others = probabilities.scatter(-1, input_ids[..., None], 0.0)
    return _share(others.amax(dim=-1), others)


def _share(likeliest: torch.Tensor, others: torch.Tensor) -> torch.Tensor:
    return likeliest / others.sum(dim=-1).clamp_(min=torch.finfo(others.dtype).tiny)


def better_alternative(critic_logits: torch.Tensor, alternative: torch.Tensor) -> torch.Tensor:
    """
    The critic says how likely a token is wrong, the language model what else might stand there: log-odds of the
    likeliest other token being right rather than the present one, `log(P q / (1 - P))`.

    A token of which nothing better is known scores low however uncertain it is, as the first ones on an empty canvas
    do: masking it again would only bring another guess.

    Args:
        critic_logits (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Log-odds of P = P(wrong).
        alternative (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): q, the probability of the likeliest
            other token, given that the present one is wrong.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, sequence_length)`.
    """
    return critic_logits + alternative.clamp(min=torch.finfo(alternative.dtype).tiny).log_()


def default_floor(calibration: CriticCalibration) -> float:
    """
    The P(wrong) up to which tokens are left alone: 0.1 or, with a table of trajectories, twice the share of tokens
    that were wrong there, where that is more; 0.5 at most.
    """
    metadata = calibration.metadata
    rate = metadata.get("positive_rate") if metadata.get("source") == "trajectory" else None
    return LOWEST_FLOOR if rate is None else min(max(LOWEST_FLOOR, LIFT * rate), EVEN_ODDS)
