# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The heads on the trunk that are not a plain linear layer, and what the language model with a critic gives back.

Letters: B batch, T positions, D width.
"""

from dataclasses import dataclass

import torch
from torch import nn
from transformers.activations import ACT2FN
from transformers.modeling_outputs import ModelOutput

from critic_gpt.configuration_critic_gpt import CriticGPTConfig


# --------------------------------------------------------------------------------------------------------------------
# Critic
# --------------------------------------------------------------------------------------------------------------------


class ZeroLinear(nn.Linear):
    """A linear layer without a bias that is exactly zero until it has learnt something."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        # The parent's draws would shift those of every module built later.
        nn.init.zeros_(self.weight)

    @property
    def is_trained(self) -> bool:
        """Whether it has learnt anything."""
        if self.weight.is_meta:
            # Offloaded by a `device_map`: there only while the layer runs, which gives the weights of unit vectors.
            with torch.no_grad():
                return bool(self(torch.eye(self.in_features, dtype=self.weight.dtype)).any())
        return bool(self.weight.detach().any())


class CriticHead(ZeroLinear):
    """One logit a token from the final norm's output: higher = more likely wrong."""

    def __init__(self, hidden_size: int):
        super().__init__(hidden_size, 1)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return super().forward(hidden_states).squeeze(-1)


class UnnoticedLinear(nn.Linear):
    """A layer inside a head; the model draws its weights from [`unnoticed_generator`]."""

    def reset_parameters(self) -> None:
        # The parent's draws would shift those of every module built later.
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class CriticMLPHead(nn.Module):
    """A critic that looks at the final norm's output through a hidden layer: (B, T, D) to logits (B, T)."""

    def __init__(self, config: CriticGPTConfig):
        super().__init__()
        self.dense = UnnoticedLinear(config.hidden_size, config.hidden_size, bias=config.use_bias)
        self.act_fn = ACT2FN[config.hidden_act]
        self.output = CriticHead(config.hidden_size)

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return self.output(self.act_fn(self.dense(hidden_states)))

    @property
    def is_trained(self) -> bool:
        """Whether it has learnt anything: the last layer of a fresh head is exactly zero."""
        return self.output.is_trained


def build_critic_head(config: CriticGPTConfig) -> CriticHead | CriticMLPHead:
    """The head that `critic_head_type` names."""
    return CriticMLPHead(config) if config.critic_head_type == "mlp" else CriticHead(config.hidden_size)


def unnoticed_generator(device: torch.device) -> torch.Generator | None:
    """
    A generator seeded from torch's global one, which stays where it is: whatever is drawn from that one comes out as
    if nothing had been drawn here. `None` on the meta device, where nothing is drawn.
    """
    if device.type == "meta":
        return None
    seed = torch.randint(2**62, (), generator=torch.default_generator.clone_state(), device="cpu")
    return torch.Generator(device).manual_seed(int(seed))


@dataclass
class CriticGPTMaskedLMOutput(ModelOutput):
    """
    Output of [`CriticGPTForMaskedLM`]. Everything about the second pass is `None` where it did not run.

    Args:
        loss (`torch.FloatTensor` of shape `()`): `lm_loss + critic_alpha * critic_loss + correction_alpha *
            correction_loss + remaining_alpha * remaining_loss + joint_alpha * joint_loss`.
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`): Predictions for `input_ids`.
        hidden_states, attentions (`tuple`): Of the first pass, where asked for.
        critic_logits (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): The critic's verdict on
            `input_ids` themselves; higher = more likely wrong.
        lm_loss, critic_loss, correction_loss, remaining_loss, joint_loss (`torch.FloatTensor` of shape `()`): The
            terms.
        lm_token_loss (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Cross-entropy in nats times
            `loss_weights`, 0 at unsupervised positions.
        critic_token_loss (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Binary cross-entropy of the
            critic, 0 where not judged.
        correction_token_loss (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Cross-entropy of the
            second pass's LM head towards the truth at the filled positions, 0 elsewhere.
        remaining_token_loss (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Cross-entropy of the
            second pass's LM head at the masks that are left, over their rate in the row, 0 elsewhere.
        joint_token_loss (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Cross-entropy at the masks,
            given the true tokens of some others; 0 at these and at what is no mask.
        joint_queries, joint_keys (`torch.FloatTensor` of shape `(batch_size, joint_num_heads, sequence_length,
            joint_head_dim)`): By which a joint head relates the tokens that are drawn for `input_ids`.
        critic_input_ids, critic_input_logits, critic_target, critic_valid (`torch.Tensor` of shape `(batch_size,
            sequence_length)`): What the critic judged, its logits, the truth about it and where that counts.
    """

    loss: torch.FloatTensor | None = None
    logits: torch.FloatTensor | None = None
    hidden_states: tuple[torch.FloatTensor, ...] | None = None
    attentions: tuple[torch.FloatTensor, ...] | None = None
    critic_logits: torch.FloatTensor | None = None
    lm_loss: torch.FloatTensor | None = None
    critic_loss: torch.FloatTensor | None = None
    correction_loss: torch.FloatTensor | None = None
    remaining_loss: torch.FloatTensor | None = None
    joint_loss: torch.FloatTensor | None = None
    lm_token_loss: torch.FloatTensor | None = None
    critic_token_loss: torch.FloatTensor | None = None
    correction_token_loss: torch.FloatTensor | None = None
    remaining_token_loss: torch.FloatTensor | None = None
    joint_token_loss: torch.FloatTensor | None = None
    joint_queries: torch.FloatTensor | None = None
    joint_keys: torch.FloatTensor | None = None
    critic_input_ids: torch.LongTensor | None = None
    critic_input_logits: torch.FloatTensor | None = None
    critic_target: torch.FloatTensor | None = None
    critic_valid: torch.BoolTensor | None = None


# --------------------------------------------------------------------------------------------------------------------
# Sequence scoring
# --------------------------------------------------------------------------------------------------------------------


class SequenceScoreHead(nn.Linear):
    """`sigmoid(A * (w . h) + B)` with learnable A and B: a score in (0, 1)."""

    def __init__(self, hidden_size: int):
        super().__init__(hidden_size, 1, bias=False)
        self.scale = nn.Parameter(torch.ones(1))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.scale * super().forward(hidden_states) + self.shift)
