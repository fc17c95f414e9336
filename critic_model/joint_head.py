# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What the joint head adds to the two training passes of a model on our trunk.

Letters: B batch, T positions, V vocabulary, D width.
"""

from typing import Any

import torch
from torch import nn

from critic_gpt.critic_model.two_passes import Reading, TwoPassMixin
from critic_gpt.diffusion.candidate_losses import WHOLE, candidate_losses
from critic_gpt.diffusion.loss_terms import term_losses
from critic_gpt.diffusion.masks import draw_given_mask, given_and_asked
from critic_gpt.diffusion.second_pass import second_pass_rows
from critic_gpt.heads.joint import JointReading, joint_memory, joint_token_loss


class JointHeadMixin(TwoPassMixin):
    """The two passes of a model with our trunk (`model`), an LM head and, if configured, a joint head."""

    model: Any
    lm_head: Any
    joint_head: Any
    dtype: Any
    device: Any

    def joint_outputs(self, reading: Reading, position_ids: torch.LongTensor | None) -> dict[str, torch.Tensor]:
        """Queries and keys of the joint head, if there is one."""
        if self.joint_head is None:
            return {}
        trunk, states = self.model, reading.states
        position_ids = trunk.place(states, reading.attention_mask, position_ids)
        vectors = None if trunk.embed_positions is None else trunk.embed_positions(position_ids)
        queries, keys = self.joint_head(states, position_ids, vectors)
        return {"joint_queries": queries, "joint_keys": keys}

    def joint_losses(
        self,
        reading: Reading,
        labels: torch.Tensor,
        given_mask: torch.Tensor | None,
        batch_share: float,
        joint: dict[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """The joint head's cross-entropy at the masks that are not given, of a share of the rows."""
        input_ids, mask_id = reading.input_ids, self.config.mask_token_id
        if input_ids is None:
            # Of embeddings alone nobody can say where [MASK] stands: where something is to be predicted.
            input_ids, mask_id = labels, None
        if given_mask is None:
            given_mask = draw_given_mask(input_ids, labels, mask_id)
        given, asked = given_and_asked(input_ids, labels, given_mask, mask_id)
        if batch_share != 1.0:
            rows = torch.tensor(second_pass_rows(len(labels), batch_share, "joint_batch_share"), device=labels.device)
            asked = asked & torch.zeros_like(asked).index_fill(0, rows, True)
        values = self.joint_values(labels.clamp(min=0))
        queries, memory = joint["joint_queries"], joint_memory(joint["joint_keys"], values, given)
        if self._asks_candidates():
            token_loss = self._candidate_loss(reading, labels, asked, queries, memory, mask_id)
            return term_losses("joint", token_loss, asked)
        read, logits, places = self.joint_shift, reading.logits, None
        if reading.places is not None:
            places, logits = reading.at(asked)

            def read(queries, memory):
                return self.lm_head(places.take(self.joint_head.read(queries, memory)))

        token_loss = joint_token_loss(queries, memory, read, logits, labels, asked, mask_id, places)
        return term_losses("joint", token_loss, asked)

    def _asks_candidates(self) -> bool:
        """
        Whether the joint head learns by the tokens in question alone: over a large vocabulary, where the LM head is a
        matrix whose rows can be taken. Figures of an evaluation are of all tokens.
        """
        if not self.training or self.config.vocab_size <= WHOLE or torch.compiler.is_compiling():
            return False
        return type(self.lm_head) is nn.Linear and type(self.lm_head.weight) is nn.Parameter

    def _candidate_loss(self, reading: Reading, labels, asked, queries, memory, mask_id) -> torch.Tensor:
        """The loss (B, T) at the masks that are asked for, by candidates."""
        places, logits = reading.at(asked)
        states = places.take(self.joint_head.read(queries, memory))
        rows = places.index // labels.shape[1]
        losses = candidate_losses(states, self.lm_head.weight, logits, places.take(labels), rows, mask_id)
        return places.put(losses)

    def joint_values(self, tokens: torch.LongTensor) -> torch.FloatTensor:
        """The joint head's values (..., joint_num_heads, joint_head_dim) of drawn tokens (...)."""
        return self.joint_head.values(self.model.embed_tokens(tokens))

    def joint_shift(self, queries: torch.FloatTensor, memory: torch.FloatTensor) -> torch.FloatTensor:
        """
        What drawn tokens change about predictions.

        Args:
            queries (`torch.FloatTensor` of shape `(batch_size, joint_num_heads, num_positions, joint_head_dim)`): Of
                the positions to predict.
            memory (`torch.FloatTensor` of shape `(batch_size, joint_num_heads, joint_head_dim, joint_head_dim)`): Of
                the drawn tokens: their keys times their values, added up.

        Returns:
            `torch.FloatTensor` of shape `(batch_size, num_positions, vocab_size)`: to be added to the logits.
        """
        return self.lm_head(self.joint_head.read(queries, memory))

    def joint_reading(self) -> JointReading:
        """From scores (n, vocab_size) and what the joint head read to scores given that."""
        return JointReading(self.joint_head.output, self.lm_head, self.dtype, self.device)
