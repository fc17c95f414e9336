# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The two training passes of a masked language model with a critic, whatever its backbone.

Letters: B batch, T positions, V vocabulary, D width of the states.
"""

from dataclasses import dataclass
from typing import Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from critic_gpt.diffusion.drawable import never_drawn_ids
from critic_gpt.diffusion.loss_terms import CriticGPTMaskedLMOutput, corrects, term_losses, weighted_sum
from critic_gpt.diffusion.losses import token_cross_entropy
from critic_gpt.diffusion.masks import draw_fill_mask, masked_positions
from critic_gpt.diffusion.places import Places
from critic_gpt.diffusion.second_pass import critic_second_pass, second_pass_rows
from critic_gpt.heads.evaluation_mode import evaluation_mode
from critic_gpt.heads.odds import token_opinions


@dataclass
class Reading:
    """
    What a pass of a backbone gives.

    Args:
        model ([`TwoPassMixin`]): Whose pass it is.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): What it saw; `None` for
            embeddings alone.
        attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): 0 = padding.
        states (`torch.FloatTensor` of shape `(batch_size, sequence_length, state_size)`): One per token.
        hidden_states, attentions (`tuple`, *optional*): Where asked for.
        given_logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`, *optional*): Of a model
            that always computes them; else they are made when somebody asks.
        places ([`~diffusion.places.Places`], *optional*): Where alone they are made, `(N, vocab_size)`.
    """

    model: Any
    input_ids: torch.Tensor | None
    attention_mask: torch.Tensor | None
    states: torch.Tensor
    hidden_states: tuple | None = None
    attentions: tuple | None = None
    given_logits: torch.Tensor | None = None
    places: Places | None = None

    @property
    def logits(self) -> torch.Tensor:
        """The language model's predictions (B, T, V), or those at `places` (N, V), made once."""
        if self.given_logits is None:  # no `cached_property`, whose lock torch.compile does not know
            states = self.states if self.places is None else self.places.take(self.states)
            self.given_logits = self.model.lm_logits(states)
        return self.given_logits

    def at(self, mask: torch.Tensor) -> tuple[Places, torch.Tensor]:
        """Of the positions that have predictions those where a mask (B, T) is set, and their predictions (N, V)."""
        if self.places is None:
            places = Places.where(mask)
            return places, places.take(self.logits)
        places, kept = self.places.among(mask)
        return places, self.logits[kept]

    def verdict(self, states: torch.Tensor | None = None) -> torch.Tensor:
        """The critic's logits (B, T), by these states where others are given, such as detached ones."""
        model, head = self.model, self.model.critic_head
        states = self.states if states is None else states
        if not head.reads_opinions:
            return head(states)
        if self.input_ids is None:
            raise ValueError(
                "`input_ids` must be given to a critic that reads the odds of tokens, got only `inputs_embeds`: pass "
                "the ids."
            )
        config = model.config
        seen = (self.logits.detach(), self.input_ids, self.attention_mask)
        return head(states, token_opinions(*seen, config.mask_token_id, never_drawn_ids(config)))


class TwoPassMixin:
    """
    The losses of a masked language model with a critic. What a backbone has to say is `read`, `lm_logits` where a
    reading does not bring its logits along, and `language_model_learns`.
    """

    # Of the model that it is a part of.
    config: PreTrainedConfig
    training: bool
    critic_head: nn.Module | None
    joint_head: nn.Module | None

    def read(self, input_ids: torch.Tensor | None, attention_mask: torch.Tensor | None, **inputs: Any) -> Reading:
        """One pass of the backbone."""
        raise NotImplementedError

    def lm_logits(self, states: torch.Tensor) -> torch.Tensor:
        """Predictions (..., V) by states (..., D)."""
        raise NotImplementedError

    def language_model_learns(self) -> bool:
        """Whether a term of the language model reaches a trainable weight."""
        raise NotImplementedError

    def joint_outputs(self, reading: Reading, position_ids: torch.Tensor | None) -> dict[str, torch.Tensor]:
        """Fields of the output by which tokens drawn together take account of each other; none by default."""
        return {}

    def joint_losses(
        self,
        reading: Reading,
        labels: torch.Tensor,
        given_mask: torch.Tensor | None,
        batch_share: float,
        joint: dict[str, torch.Tensor],
    ) -> dict[str, torch.Tensor]:
        """The loss of what [`TwoPassMixin.joint_outputs`] gives, here `joint`, of a share of the rows."""
        return {}

    def judged(self, reading: Reading, position_ids: torch.Tensor | None) -> CriticGPTMaskedLMOutput:
        """What `forward` gives of a pass whose logits are made later, if nobody asked for them before."""
        return CriticGPTMaskedLMOutput(
            critic_logits=None if self.critic_head is None else reading.verdict(),
            last_hidden_state=reading.states,
            logits=reading.given_logits,
            hidden_states=reading.hidden_states,
            attentions=reading.attentions,
            **self.joint_outputs(reading, position_ids),
        )

    def both_passes(
        self,
        reading: Reading,
        labels: torch.Tensor | None,
        loss_weights: torch.Tensor | None,
        fill: dict[str, torch.Tensor | None],
        given_mask: torch.Tensor | None,
        critic_pass: bool,
        critic_batch_share: float,
        inputs: dict[str, Any],
        joint_batch_share: float = 1.0,
        return_logits: bool = True,
    ) -> CriticGPTMaskedLMOutput:
        """
        What `forward` gives once the first pass is read.

        Args:
            reading ([`Reading`]): The first pass.
            labels, loss_weights, given_mask, critic_pass, critic_batch_share, joint_batch_share, return_logits: As for
                `forward`.
            fill (`dict`): Its `fill_mask` and `fill_uniforms`.
            inputs (`dict`): What else the backbone was given, `position_ids` among it.
        """
        input_ids, attention_mask = reading.input_ids, reading.attention_mask
        if not return_logits:
            self._choose_places(reading, labels)
        logits = reading.logits  # (B, T, V), or (N, V)
        losses, joint = {}, self.joint_outputs(reading, inputs.get("position_ids"))
        if labels is not None:
            num_tokens = _num_tokens(labels, loss_weights, attention_mask)
            losses = self._lm_losses(reading, labels, loss_weights, num_tokens)
            if self.critic_head is not None and critic_pass:
                batch = {"input_ids": input_ids, "attention_mask": attention_mask}
                batch |= {"logits": logits.detach(), "labels": labels, "num_tokens": num_tokens, **fill}
                losses |= self._critic_losses(batch, critic_batch_share, inputs, reading.places)
            if joint and (given_mask is not None or self.training):
                losses |= self.joint_losses(reading, labels, given_mask, joint_batch_share, joint)
            losses["loss"] = self._combine(losses)
        # Built once and complete: the order of a tuple made of it is that of the fields, the loss first.
        return CriticGPTMaskedLMOutput(
            logits=logits if return_logits else None,
            hidden_states=reading.hidden_states,
            attentions=reading.attentions,
            critic_logits=reading.verdict() if return_logits and self.critic_head is not None else None,
            **losses,
            **joint,
        )

    def _choose_places(self, reading: Reading, labels: torch.Tensor) -> None:
        """
        Leaves it at predictions where a loss or a draw reads them. How many these are the data say, which takes a look
        at the device, and is not for a compiled graph; a critic that reads opinions wants them of every token.
        """
        reads_all = self.critic_head is not None and self.critic_head.reads_opinions
        if reads_all or reading.given_logits is not None or torch.compiler.is_compiling():
            return
        where = labels != -100
        if reading.input_ids is not None:  # a [MASK] without a truth may be filled as well
            where = where | masked_positions(reading.input_ids, labels, self.config.mask_token_id)
        reading.places = Places.where(where)

    def _lm_losses(self, reading, labels, loss_weights, num_tokens) -> dict[str, torch.Tensor]:
        """The language model's loss, each cross-entropy computed once."""
        token_loss = token_cross_entropy(reading.logits, labels, self.config.mask_token_id, places=reading.places)
        if loss_weights is not None:
            token_loss = token_loss * loss_weights
        return term_losses("lm", token_loss, num_tokens)

    def _critic_losses(
        self,
        batch: dict[str, torch.Tensor | None],
        share: float,
        inputs: dict[str, Any],
        places: Places | None,
    ) -> dict[str, torch.Tensor | None]:
        """
        The second pass, of a share of the rows: the critic, and the LM where masks were filled and where not. The
        logits of the first pass are those at `places`, if these are given.
        """
        input_ids = batch["input_ids"]
        if input_ids is None:
            raise ValueError(
                "`input_ids` must be given to train the critic, got only `inputs_embeds`: pass the ids, or "
                "`critic_pass=False`."
            )
        if self.training:
            # Without a collator's draws: from torch's global generator.
            if batch["fill_mask"] is None:
                batch["fill_mask"] = draw_fill_mask(input_ids, batch["labels"], self.config)
            if batch["fill_uniforms"] is None:
                batch["fill_uniforms"] = torch.rand(input_ids.shape, device=input_ids.device)
        rows = None
        # What stands one per row is taken along; all else the backbone gets as it was.
        of_rows = {name: value for name, value in inputs.items() if isinstance(value, torch.Tensor)}
        batch |= of_rows
        if share != 1.0:
            rows = torch.tensor(second_pass_rows(len(input_ids), share), device=input_ids.device)
        if places is not None:
            places, batch["logits"] = self._predictions_to_fill(batch, rows, places)
        if rows is not None:
            packed = {"logits": batch.pop("logits")} if places is not None else {}
            batch = {name: _rows_of(values, rows, len(input_ids)) for name, values in batch.items()} | packed
        # The same call as in the first pass on other ids; what it records would be thrown away.
        encoding = {**inputs, "output_hidden_states": False, "output_attentions": False, "inputs_embeds": None}
        encoding |= {name: batch.pop(name) for name in ("attention_mask", *of_rows)}
        second = _SecondReading(self, encoding)
        losses = critic_second_pass(
            second.encode,
            second.lm_head,
            second.critic_head,
            **batch,
            config=self.config,
            correct=self.correction_trains or not self.training,
            places=places,
        )
        if rows is None:
            return losses
        whole = {}
        for name, values in losses.items():
            if values.dim() > 0:
                untouched = input_ids if name == "critic_input_ids" else values.new_zeros(input_ids.shape)
                values = untouched.index_copy(0, rows, values)
            whole[name] = values
        return whole

    def _predictions_to_fill(self, batch, rows: torch.Tensor | None, places: Places) -> tuple[Places, torch.Tensor]:
        """Of predictions at some places those of masks that are filled, as they stand in a batch of these rows."""
        filled = masked_positions(batch["input_ids"], batch["labels"], self.config.mask_token_id)
        if batch["fill_mask"] is not None:
            filled = filled & batch["fill_mask"].bool()
        if rows is not None:
            filled = filled & torch.zeros_like(filled).index_fill(0, rows, True)
        at, kept = places.among(filled)
        return at if rows is None else at.of_rows(rows), batch["logits"][kept]

    def _combine(self, losses: dict[str, torch.Tensor]) -> torch.Tensor:
        """One number, for people without our Trainer."""
        loss = weighted_sum(losses, self.config)
        if self.critic_head is not None and "critic_loss" not in losses:
            # The head still takes part, so that no process of a distributed run waits for its gradient.
            loss = loss + 0.0 * sum(parameter.sum() for parameter in self.critic_head.parameters())
        return loss

    @torch.no_grad()
    def critic_scores(
        self, input_ids: torch.LongTensor, attention_mask: torch.Tensor | None = None, **inputs: Any
    ) -> torch.FloatTensor:
        """
        The critic's verdict on the tokens of `input_ids`, in one forward pass of the backbone.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Tokens to judge.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`, *optional*): 0 = padding.
            inputs: What else the backbone takes, such as `token_type_ids`.

        Returns:
            `torch.FloatTensor` of shape `(batch_size, sequence_length)`: logits, higher = more likely wrong. Turn them
            into error probabilities with `model.calibration.error_probability(logits)`.

        Raises:
            `ValueError`: The model has no critic head.
        """
        if self.critic_head is None:
            raise ValueError(
                "`add_critic_head` must be True for critic scores, got False: load the model with "
                "`add_critic_head=True` and train the critic."
            )
        with evaluation_mode(self):
            return self.read(input_ids, attention_mask, **inputs).verdict()

    @property
    def correction_trains(self) -> bool:
        """
        Whether there are LM terms in the second pass that reach a trainable weight. With a frozen backbone and a tied
        LM head they do not, and are left out in training; evaluation reports them.
        """
        if not corrects(self.config):  # a statement, since torch.compile may hold the weights as symbols
            return False
        return self.language_model_learns()

    @property
    def has_trained_critic(self) -> bool:
        """Whether there is a critic that has learnt anything: a fresh one says exactly zero."""
        return self.critic_head is not None and self.critic_head.is_trained

    @property
    def has_trained_joint_head(self) -> bool:
        """Whether there is a joint head that has learnt anything: a fresh one changes nothing."""
        return self.joint_head is not None and self.joint_head.is_trained


class _SecondReading:
    """The second pass as functions of the ids and of the states, for [`critic_second_pass`]."""

    def __init__(self, model: TwoPassMixin, encoding: dict[str, Any]):
        self.model, self.encoding = model, encoding

    def encode(self, ids: torch.Tensor) -> torch.Tensor:
        self.reading = self.model.read(ids, **self.encoding)
        return self.reading.states

    def lm_head(self, states: torch.Tensor) -> torch.Tensor:
        return self.reading.logits if states is self.reading.states else self.model.lm_logits(states)

    def critic_head(self, states: torch.Tensor) -> torch.Tensor:
        return self.reading.verdict(states)


def _num_tokens(labels, loss_weights, attention_mask) -> torch.Tensor:
    """What each row (B,) counts in the language model's loss: its real tokens, without weights its labels."""
    if loss_weights is None:
        return (labels != -100).sum(dim=-1)
    return (torch.ones_like(labels) if attention_mask is None else attention_mask).sum(dim=-1)


def _rows_of(values: torch.Tensor | None, rows: torch.Tensor, batch_size: int) -> torch.Tensor | None:
    """Some rows of a tensor; one that has a single row for all of them stays."""
    return values if values is None or len(values) != batch_size else values[rows]
