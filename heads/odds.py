# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A critic that sees what the language model thinks of each token, beside the states it thinks with.

Letters: B batch, T positions, V vocabulary, D width of the states, F opinions.
"""

from collections.abc import Collection

import torch
from torch import nn

from critic_gpt.diffusion.corruption import suppress_tokens
from critic_gpt.heads.critic import CriticHead, UnnoticedLinear


# Log-odds beyond this are as good as certain.
_CERTAIN = 12.0
# Brings log-odds to the size of the other inputs.
_SCALE = 4.0
NUM_OPINIONS = 4
# On the output: a head that is trained alone, for a few hundred steps at the rates that people give a model, has to
# get far on small steps of its weights.
_GAIN = 12.0
# Widths within the head: of what it keeps of the states, and of its hidden layer.
_STATE_WIDTH = 16
_HIDDEN_WIDTH = 32


@torch.no_grad()
def token_opinions(
    logits: torch.Tensor,
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    mask_token_id: int | None,
    never_drawn: Collection[int],
) -> torch.Tensor:
    """
    What a language model thinks of the tokens it sees, from the pass that sees them. Nothing is sent back to it.

    Args:
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`): Its predictions.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): What it saw.
        attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): 0 = padding.
        mask_token_id (`int`, *optional*): Id of [MASK].
        never_drawn (collection of `int`): Ids that are no tokens of a text.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, sequence_length, 4)`: log-odds of the present token, log-odds of the
        likeliest other one, both in units of 4 and bounded, the entropy in nats over that of all tokens alike, and
        the share of masks in the row.
    """
    logits = suppress_tokens(logits.to(torch.promote_types(logits.dtype, torch.float32)), list(never_drawn))
    log_probabilities = logits.log_softmax(dim=-1)
    present = input_ids[..., None]
    own = log_probabilities.gather(-1, present).squeeze(-1)
    other = log_probabilities.scatter(-1, present, float("-inf")).amax(dim=-1)
    entropy = -(log_probabilities.exp() * log_probabilities.clamp(min=-1e4)).sum(dim=-1)
    real = torch.ones_like(input_ids) if attention_mask is None else attention_mask.to(input_ids.dtype)
    masks = torch.zeros_like(real) if mask_token_id is None else (input_ids == mask_token_id) * real
    share = masks.sum(dim=-1, keepdim=True) / real.sum(dim=-1, keepdim=True).clamp(min=1)
    size = max(2, logits.shape[-1] - len(never_drawn))
    return torch.stack(
        [
            _log_odds(own) / _SCALE,
            _log_odds(other) / _SCALE,
            entropy / torch.tensor(float(size)).log().to(entropy.device),
            share.expand_as(entropy).to(entropy.dtype),
        ],
        dim=-1,
    )


def _log_odds(log_probability: torch.Tensor) -> torch.Tensor:
    """log p - log (1 - p), bounded."""
    odds = log_probability - torch.log(-torch.expm1(log_probability.clamp(max=-1e-7)))
    return odds.clamp(-_CERTAIN, _CERTAIN)


class CriticOddsHead(nn.Module):
    """
    From states (B, T, D) and opinions (B, T, F) to logits (B, T). The states are normalised and brought to few numbers
    first, or a critic that has seen few rows knows these by heart.
    """

    reads_opinions = True

    def __init__(self, state_size: int):
        super().__init__()
        self.states = UnnoticedLinear(state_size, _STATE_WIDTH)
        self.dense = UnnoticedLinear(_STATE_WIDTH + NUM_OPINIONS, _HIDDEN_WIDTH)
        for layer in (self.states, self.dense):
            layer.initial_std = layer.in_features**-0.5
        self.act_fn = nn.GELU()
        self.output = CriticHead(_HIDDEN_WIDTH)

    def forward(self, hidden_states: torch.Tensor, opinions: torch.Tensor) -> torch.Tensor:
        states = nn.functional.layer_norm(hidden_states, hidden_states.shape[-1:])
        inputs = torch.cat([self.states(states), opinions.to(states.dtype)], dim=-1)
        return _GAIN * self.output(self.act_fn(self.dense(inputs)))

    @property
    def is_trained(self) -> bool:
        """Whether it has learnt anything: the last layer of a fresh head is exactly zero."""
        return self.output.is_trained
