# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The terms of the loss of a masked diffusion model with a critic: one table, read by the model, its trainer, the logs
and the model card.

A new term is a row of `LOSS_TERMS` with the function that computes it, and two fields of the output, all here; and its
weight in the configuration. Letters: B batch, T positions, V vocabulary.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers.modeling_outputs import ModelOutput

from critic_gpt.configuration_critic_gpt import CriticGPTConfig
from critic_gpt.diffusion.critic_targets import CriticArtifacts, judged_positions
from critic_gpt.diffusion.losses import remaining_token_loss, token_cross_entropy, token_divergence
from critic_gpt.diffusion.masks import given_and_asked, masked_positions
from critic_gpt.diffusion.places import Places


@dataclass
class SecondPass:
    """
    What the terms of the second pass are computed from.

    Args:
        input_ids, labels (`torch.LongTensor` of shape `(batch_size, sequence_length)`): The corrupted batch.
        artifacts ([`~diffusion.critic_targets.CriticArtifacts`]): What was filled and judged.
        critic_logits (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): The critic's verdict.
        num_tokens (`torch.LongTensor` of shape `(batch_size,)`, *optional*): What each row counts in the language
            model's loss.
        config ([`CriticGPTConfig`]): The rules.
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`, *optional*): The LM head's
            predictions for the filled input, where a term needs them.
        places ([`~diffusion.places.Places`], *optional*): Of which positions the logits are, `(N, vocab_size)`.
        first_logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`, *optional*): The
            predictions of the first pass, from which the fillings were drawn.
        first_places ([`~diffusion.places.Places`], *optional*): Of which positions these are, `(N, vocab_size)`.
    """

    input_ids: torch.Tensor
    labels: torch.Tensor
    artifacts: CriticArtifacts
    critic_logits: torch.Tensor
    num_tokens: torch.Tensor | None
    config: CriticGPTConfig
    logits: torch.Tensor | None = None
    places: Places | None = None
    first_logits: torch.Tensor | None = None
    first_places: Places | None = None

    @property
    def filled(self) -> torch.Tensor:
        """Where (B, T) the model filled and there is a truth."""
        return self.artifacts.filled & (self.labels != -100)

    @property
    def left(self) -> torch.Tensor:
        """Where (B, T) [MASK] still stands and there is a truth."""
        masked = masked_positions(self.input_ids, self.labels, self.config.mask_token_id)
        return masked & ~self.artifacts.filled & (self.labels != -100)

    def predicted(self) -> Places:
        """The positions at which a term that weighs something reads predictions."""
        where = torch.zeros_like(self.artifacts.filled)
        for term in _CORRECTIONS:
            if term.weight_in(self.config) > 0:
                assert term.reads is not None  # a term of the LM head
                where = where | term.reads(self)
        return Places.where(where)


def _critic_token_loss(judged: SecondPass) -> torch.Tensor:
    target = judged.artifacts.critic_target.to(judged.critic_logits.dtype)
    token_loss = nn.functional.binary_cross_entropy_with_logits(judged.critic_logits, target, reduction="none")
    return token_loss.masked_fill(~judged.artifacts.critic_valid, 0.0)


def _correction_token_loss(judged: SecondPass) -> torch.Tensor:
    labels = judged.labels.masked_fill(~judged.artifacts.filled, -100)
    return token_cross_entropy(judged.logits, labels, judged.config.mask_token_id, places=judged.places)


def _remaining_token_loss(judged: SecondPass) -> torch.Tensor:
    mask_token_id, places = judged.config.mask_token_id, judged.places
    return remaining_token_loss(judged.logits, judged.labels, judged.left, judged.num_tokens, mask_token_id, places)


def _leave_one_out_token_loss(judged: SecondPass) -> torch.Tensor:
    mask_token_id, filled = judged.config.mask_token_id, judged.filled
    assert judged.logits is not None and judged.first_logits is not None  # a term of the LM head
    if judged.places is None or judged.first_places is None:
        return token_divergence(judged.logits, judged.first_logits, mask_token_id).masked_fill(~filled, 0.0)
    at, kept = judged.places.among(filled)
    said, meant = judged.logits[kept], judged.first_logits[judged.first_places.among(filled)[1]]
    return at.put(token_divergence(said, meant, mask_token_id))


@dataclass(frozen=True)
class LossTerm:
    """
    A term of the loss: a sum over tokens, divided by the number of tokens it counts.

    Args:
        name (`str`): `{name}_loss` and `{name}_token_loss` are its fields in the output, the first also in the logs.
        alpha (`str`, *optional*): Field of the configuration that weighs it; `None` weighs it 1.
        counts (`str`): The positions that it is divided by: one of those of [`counted_positions`].
        head (`str`): Whose predictions it trains: `"lm"`, `"critic"` or `"joint"`.
        token_loss (callable, *optional*): Computes a term of the second pass, per token, 0 where it does not count;
            `None` for a term of the first pass, which the model computes.
        reads (callable, *optional*): Where (B, T) such a term of the LM head reads its predictions.
    """

    name: str
    alpha: str | None
    counts: str
    head: str
    token_loss: Callable[[SecondPass], torch.Tensor] | None = None
    reads: Callable[[SecondPass], torch.Tensor] | None = None

    @property
    def mean_field(self) -> str:
        """Its mean: field of the output, and name in the logs."""
        return f"{self.name}_loss"

    @property
    def token_field(self) -> str:
        """Its loss per token: field of the output."""
        return f"{self.name}_token_loss"

    @property
    def second_pass(self) -> bool:
        """Whether only rows with a second pass count."""
        return self.token_loss is not None

    def weight_in(self, config: CriticGPTConfig) -> float:
        """What it weighs in the loss."""
        return 1.0 if self.alpha is None else getattr(config, self.alpha)

    def exists(self, config: CriticGPTConfig) -> bool:
        """Whether a model of this configuration can have it, whatever it weighs."""
        if self.second_pass and not config.add_critic_head:
            return False
        return self.head != "joint" or config.add_joint_head


LOSS_TERMS = (
    LossTerm("lm", None, "real", "lm"),
    LossTerm("critic", "critic_alpha", "judged", "critic", _critic_token_loss),
    LossTerm("correction", "correction_alpha", "filled", "lm", _correction_token_loss, lambda judged: judged.filled),
    LossTerm("remaining", "remaining_alpha", "real", "lm", _remaining_token_loss, lambda judged: judged.left),
    LossTerm(
        "leave_one_out",
        "leave_one_out_alpha",
        "filled",
        "lm",
        _leave_one_out_token_loss,
        lambda judged: judged.filled,
    ),
    LossTerm("joint", "joint_alpha", "asked", "joint"),
)
# Computed for every second pass; and those that need the LM head once more, and are left out where they weigh nothing.
_JUDGEMENTS = tuple(term for term in LOSS_TERMS if term.second_pass and term.head == "critic")
_CORRECTIONS = tuple(term for term in LOSS_TERMS if term.second_pass and term.head == "lm")


def corrects(config: CriticGPTConfig) -> bool:
    """Whether a term of the LM head in the second pass weighs something."""
    # Statements, not one expression: torch.compile may hold the weights as symbols, which it compares only in an `if`.
    found = False
    for term in _CORRECTIONS:
        if term.weight_in(config) > 0:
            found = True
    return found


def second_pass_losses(judged: SecondPass) -> dict[str, torch.Tensor]:
    """The terms of a second pass, per token and as means; those of the LM head where `judged` has its logits."""
    terms = list(_JUDGEMENTS)
    if judged.logits is not None:
        for term in _CORRECTIONS:
            if term.weight_in(judged.config) > 0:
                terms.append(term)
    counted = {"real": judged.num_tokens, "judged": judged.artifacts.critic_valid, "filled": judged.filled}
    losses: dict[str, torch.Tensor] = {}
    for term in terms:
        assert term.token_loss is not None  # a term of the second pass
        losses |= term_losses(term.name, term.token_loss(judged), counted[term.counts])
    return losses


def term_losses(name: str, token_loss: torch.Tensor, counted: torch.Tensor) -> dict[str, torch.Tensor]:
    """A term's fields of the output: its loss per token (B, T) and, by what is counted, its mean."""
    return {f"{name}_token_loss": token_loss, f"{name}_loss": token_loss.sum() / counted.sum().clamp(min=1)}


def counted_positions(batch: Mapping[str, Any], config: CriticGPTConfig) -> dict[str, torch.Tensor]:
    """
    The positions (B, T) that terms are divided by, known before any forward pass: `"real"` tokens (the labels, in a
    batch without weights), those that the critic has `"judged"` and the model has `"filled"`, and those that the joint
    head is `"asked"` for.
    """
    labels, input_ids = batch["labels"], batch["input_ids"]
    real = supervised = labels != -100
    if "loss_weights" in batch:
        real = batch["attention_mask"] if "attention_mask" in batch else torch.ones_like(labels)
    masked = masked_positions(input_ids, labels, config.mask_token_id)
    fill_mask = batch["fill_mask"] if batch.get("fill_mask") is not None else masked
    judged = judged_positions(
        input_ids, labels, fill_mask, masked, config.critic_target_scope, pad_token_id=config.pad_token_id
    )
    asked = torch.zeros_like(masked)
    if batch.get("given_mask") is not None:
        asked = given_and_asked(input_ids, labels, batch["given_mask"], config.mask_token_id)[1]
    return {"real": real, "judged": judged, "filled": fill_mask.bool() & masked & supervised, "asked": asked}


def weighted_sum(values: Mapping[str, Any], config: CriticGPTConfig, counts=None, critic_alpha: float | None = None):
    """
    The loss, of the terms that `values` holds.

    Args:
        values (`Mapping[str, torch.Tensor or float]`): By `mean_field` the means; with `counts` the sums.
        config ([`CriticGPTConfig`]): Has the weights.
        counts (`torch.Tensor`, *optional*): What the sums are divided by, in the order of `LOSS_TERMS`.
        critic_alpha (`float`, *optional*): Weight of the critic's term, as it is in a warm-up.
    """
    loss = None
    for index, term in enumerate(LOSS_TERMS):
        value = values.get(term.mean_field)
        if value is None:
            continue
        if term.name == "critic" and critic_alpha is not None:
            value = critic_alpha * value
        elif term.alpha is not None:
            value = getattr(config, term.alpha) * value
        if counts is not None:
            value = value / counts[index]
        loss = value if loss is None else loss + value
    return loss


@dataclass
class CriticGPTMaskedLMOutput(ModelOutput):
    """
    Output of [`CriticGPTForMaskedLM`]. Everything about the second pass is `None` where it did not run.

    Args:
        loss (`torch.FloatTensor` of shape `()`): `lm_loss + critic_alpha * critic_loss + correction_alpha *
            correction_loss + remaining_alpha * remaining_loss + leave_one_out_alpha * leave_one_out_loss +
            joint_alpha * joint_loss`.
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`): Predictions for `input_ids`.
        hidden_states, attentions (`tuple`): Of the first pass, where asked for.
        critic_logits (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): The critic's verdict on
            `input_ids` themselves; higher = more likely wrong.
        lm_loss, critic_loss, correction_loss, remaining_loss, leave_one_out_loss, joint_loss (`torch.FloatTensor` of
            shape `()`): The terms.
        lm_token_loss (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Cross-entropy in nats times
            `loss_weights`, 0 at unsupervised positions.
        critic_token_loss (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Binary cross-entropy of the
            critic, 0 where not judged.
        correction_token_loss (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Cross-entropy of the
            second pass's LM head towards the truth at the filled positions, 0 elsewhere.
        remaining_token_loss (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Cross-entropy of the
            second pass's LM head at the masks that are left, over their rate in the row, 0 elsewhere.
        leave_one_out_token_loss (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Divergence of the
            second pass's predictions from those of the first at the filled positions, 0 elsewhere.
        joint_token_loss (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Cross-entropy at the masks,
            given the true tokens of some others; 0 at these and at what is no mask.
        joint_queries, joint_keys (`torch.FloatTensor` of shape `(batch_size, joint_num_heads, sequence_length,
            joint_head_dim)`): By which a joint head relates the tokens that are drawn for `input_ids`.
        critic_input_ids, critic_input_logits, critic_target, critic_valid (`torch.Tensor` of shape `(batch_size,
            sequence_length)`): What the critic judged, its logits, the truth about it and where that counts.
        last_hidden_state (`torch.FloatTensor` of shape `(batch_size, sequence_length, hidden_size)`): Of the trunk;
            with `return_logits=False` and without labels, in place of the logits.
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
    leave_one_out_loss: torch.FloatTensor | None = None
    joint_loss: torch.FloatTensor | None = None
    lm_token_loss: torch.FloatTensor | None = None
    critic_token_loss: torch.FloatTensor | None = None
    correction_token_loss: torch.FloatTensor | None = None
    remaining_token_loss: torch.FloatTensor | None = None
    leave_one_out_token_loss: torch.FloatTensor | None = None
    joint_token_loss: torch.FloatTensor | None = None
    joint_queries: torch.FloatTensor | None = None
    joint_keys: torch.FloatTensor | None = None
    critic_input_ids: torch.LongTensor | None = None
    critic_input_logits: torch.FloatTensor | None = None
    critic_target: torch.FloatTensor | None = None
    critic_valid: torch.BoolTensor | None = None
    last_hidden_state: torch.FloatTensor | None = None
