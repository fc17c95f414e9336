# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The score by which finished texts are proofread: critic and language model together, from one pass."""

import torch


# What a table of planted errors was measured on, and is looked up by.
CRITIC, TOGETHER = "critic", "critic_and_language_model"
TEXT_SCORES = (CRITIC, TOGETHER)
# Log-odds beyond it tell nothing more.
_MOST = 30.0


def text_scores(
    critic_logits: torch.Tensor, logits: torch.Tensor, input_ids: torch.Tensor, never: torch.Tensor
) -> torch.Tensor:
    """
    The mean of two log-odds of a token being wrong: the critic's, and those of the language model, that its best other
    token stands there rather than the present one. Either sees what the other does not: the critic, what does not go
    together; the language model, what nobody writes.

    Args:
        critic_logits (`torch.Tensor` of shape `(batch_size, sequence_length)`): The critic's scores.
        logits (`torch.Tensor` of shape `(batch_size, sequence_length, vocab_size)`): The language model's, of the same
            pass, in which all tokens are visible.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The tokens.
        never (`torch.BoolTensor` of shape `(vocab_size,)`): What stands for no token of a text.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, sequence_length)`: Higher = more likely wrong.
    """
    logits = logits.float()
    present = logits.gather(-1, input_ids[..., None])[..., 0]
    best, which = logits.masked_fill(never, float("-inf")).topk(min(2, logits.shape[-1]), dim=-1)
    other = torch.where(which[..., 0] == input_ids, best[..., -1], best[..., 0])
    return (critic_logits.float() + (other - present).clamp(-_MOST, _MOST)) / 2
