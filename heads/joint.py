# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The joint head: what tokens that are drawn in the same forward pass say of each other.

A masked diffusion model predicts each mask by itself, so that two tokens drawn in one pass may contradict each other
though each is likely. Liu et al. ("Discrete Copula Diffusion", 2024) mend that with a second model; here a layer of
linear attention (Katharopoulos et al., "Transformers are RNNs", 2020) beside the LM head does, at no further pass.

Letters: B batch, T positions, V vocabulary, D width, H heads, d width of a head.
"""

from collections.abc import Callable

import torch
from torch import nn
from transformers.models.llama.modeling_llama import apply_rotary_pos_emb

from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.diffusion.losses import token_cross_entropy
from critic_gpt.diffusion.places import Places
from critic_gpt.heads.critic import UnnoticedLinear, ZeroLinear


# What has drawn tokens together is near them: the slowest of the rotations turns once in about 600 positions.
_ROTARY_BASE = 100.0


class JointHead(nn.Module):
    """
    Linear attention from each mask to the tokens drawn before it in the same pass: their keys and values are summed up
    in one matrix a head, which a query reads, and the LM head turns what was read into a shift of the logits.

    Args:
        config ([`CriticGPTConfig`]): `joint_num_heads` heads of width `joint_head_dim`.
    """

    def __init__(self, config: CriticGPTConfig):
        super().__init__()
        self.num_heads, self.head_dim = config.joint_num_heads, config.joint_head_dim
        width = self.num_heads * self.head_dim
        self.query = UnnoticedLinear(config.hidden_size, width, bias=False)
        self.key = UnnoticedLinear(config.hidden_size, width, bias=False)
        self.value = UnnoticedLinear(config.hidden_size, width, bias=False)
        self.output = ZeroLinear(width, config.hidden_size)

    def forward(
        self, hidden_states: torch.Tensor, position_ids: torch.Tensor, position_vectors: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """
        Args:
            hidden_states (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`): Of the trunk.
                Nothing is sent back to it.
            position_ids (`torch.LongTensor` of shape `(1 or batch_size, sequence_length)`): Positions.
            position_vectors (`torch.FloatTensor` of shape `(1 or batch_size, sequence_length, hidden_size)`): Learnt
                ones; `None` turns queries and keys by their positions.

        Returns:
            `tuple`: queries and keys, `(batch_size, joint_num_heads, sequence_length, joint_head_dim)`.
        """
        states = _normalised(hidden_states.detach())
        if position_vectors is not None:
            # The same cell is the same to a trunk on an empty canvas but for its position, which it may forget.
            states = states + _normalised(position_vectors.detach())
        shape = (*states.shape[:-1], self.num_heads, self.head_dim)
        queries, keys = (layer(states).view(shape).transpose(1, 2) for layer in (self.query, self.key))
        if position_vectors is None:
            queries, keys = apply_rotary_pos_emb(queries, keys, *self._angles(position_ids, queries))
        return queries, keys

    def _angles(self, position_ids: torch.Tensor, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        exponent = torch.arange(0, self.head_dim, 2, device=like.device, dtype=torch.float) / self.head_dim
        angles = position_ids[..., None].float() / _ROTARY_BASE**exponent
        angles = torch.cat((angles, angles), dim=-1)
        return angles.cos().to(like.dtype), angles.sin().to(like.dtype)

    def values(self, token_vectors: torch.Tensor) -> torch.Tensor:
        """Values (..., H, d) of tokens by their embeddings (..., D)."""
        values = self.value(_normalised(token_vectors.detach()))
        return values.view(*values.shape[:-1], self.num_heads, self.head_dim)

    def read(self, queries: torch.Tensor, memory: torch.Tensor) -> torch.Tensor:
        """What queries (B, H, N, d) find in the sums (B, H, d, d) of keys times values: (B, N, D), for the LM head."""
        found = (queries.to(memory.dtype) @ memory) / self.head_dim
        return self.output(found.transpose(1, 2).flatten(-2).to(self.output.weight.dtype))

    @property
    def is_trained(self) -> bool:
        """Whether it has learnt anything: the output of a fresh head is exactly zero."""
        return self.output.is_trained


class JointReading:
    """
    From scores and what a joint head read to scores given that. The head's output and the LM head are folded into one
    matrix where it is smaller than that of the latter.

    Args:
        output (`nn.Linear`): Of the joint head.
        lm_head (callable): From states (..., D) to scores (..., V).
        dtype, device (`torch.dtype`, `torch.device`): Of the model.
    """

    def __init__(
        self,
        output: nn.Linear,
        lm_head: Callable[[torch.Tensor], torch.Tensor],
        dtype: torch.dtype,
        device: torch.device,
    ):
        self._output, self._lm_head, self._dtype = output, lm_head, dtype
        self._folded: torch.Tensor | None = None
        self._blocks: torch.Tensor | None = None
        if output.in_features < output.out_features:
            folded = lm_head(output(torch.eye(output.in_features, dtype=dtype, device=device)))
            self._folded = folded.to(torch.promote_types(folded.dtype, torch.float32))

    def __call__(self, scores: torch.Tensor, found: torch.Tensor) -> torch.Tensor:
        """Scores (n, V) given what was read, (n, H * d): in place, where that spares as much again."""
        if self._folded is None:
            return scores + self._lm_head(self._output(found.to(self._dtype)))
        return scores.addmm_(found.to(scores.dtype), self._folded.to(scores.dtype))

    def at(self, block: torch.Tensor, width: int) -> torch.Tensor | None:
        """
        The columns (n, H * d, width) of one block of tokens each (n,), 0 beyond the vocabulary; `None` where nothing
        is folded.
        """
        if self._folded is None:
            return None
        if self._blocks is None:  # padded to whole blocks, in the place of the matrix
            size = self._folded.shape[1]
            whole = nn.functional.pad(self._folded, (0, -size % width))
            self._blocks, self._folded = whole.unflatten(1, (-1, width)), whole[:, :size]
        return self._blocks.index_select(1, block).transpose(0, 1)


def _normalised(states: torch.Tensor) -> torch.Tensor:
    return nn.functional.layer_norm(states, states.shape[-1:])


def joint_memory(keys: torch.Tensor, values: torch.Tensor, given: torch.Tensor) -> torch.Tensor:
    """
    The memory (B, H, d, d) of the tokens that are `given`.

    Args:
        keys (`torch.FloatTensor` of shape `(batch_size, joint_num_heads, sequence_length, joint_head_dim)`): As
            [`JointHead`] gives them.
        values (`torch.FloatTensor` of shape `(batch_size, sequence_length, joint_num_heads, joint_head_dim)`): Of the
            true tokens.
        given (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Masks.
    """
    known = values.transpose(1, 2).masked_fill(~given[:, None, :, None], 0.0)
    return keys.transpose(-1, -2).float() @ known.float()


def joint_token_loss(
    queries: torch.Tensor,
    memory: torch.Tensor,
    read: Callable[[torch.Tensor, torch.Tensor], torch.Tensor],
    logits: torch.Tensor,
    labels: torch.Tensor,
    asked: torch.Tensor,
    mask_token_id: int | None,
    places: Places | None = None,
) -> torch.Tensor:
    """
    Cross-entropy in nats (B, T) of the masks that are `asked` for, once the true tokens of others are known: a lower
    bound on what a pass that draws some tokens knows of the next one, 0 elsewhere.

    Args:
        queries (`torch.FloatTensor` of shape `(batch_size, joint_num_heads, sequence_length, joint_head_dim)`): As
            [`JointHead`] gives them.
        memory (`torch.FloatTensor` of shape `(batch_size, joint_num_heads, joint_head_dim, joint_head_dim)`): Of the
            tokens that are given.
        read (callable): From queries and memory to shifts of the logits.
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`): Predictions, each for
            itself; nothing is sent back to them.
        labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The truth.
        asked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Masks that are not given.
        mask_token_id (`int`, *optional*): Id of [MASK], never a prediction.
        places ([`~diffusion.places.Places`], *optional*): Of which positions logits and shifts are, `(N, vocab_size)`.
    """
    shifted = logits.detach() + read(queries, memory)
    return token_cross_entropy(shifted, labels.masked_fill(~asked, -100), mask_token_id, places=places)
