# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Describes a backbone by running it once on a few tokens: what can be measured is asked of no table."""

from dataclasses import replace
from typing import Any

import torch
from torch import nn
from transformers.utils import logging

from critic_gpt.backbones.description import STATES_FROM, Backbone
from critic_gpt.backbones.exceptions import logit_shift, longest_sequence, states_from
from critic_gpt.critic_model.passes import forward_parameters, pass_of
from critic_gpt.heads.evaluation_mode import evaluation_mode


logger = logging.get_logger(__name__)

# Tokens of a trial text. Some models take multiples of a block alone.
_TRIAL_LENGTHS = (8, 64)


def measured_backbone(model: nn.Module, tokenizer: Any) -> Backbone:
    """
    The description of a masked language model, by a pass over a few tokens.

    Args:
        model ([`~transformers.PreTrainedModel`]): Of the class that it was loaded with.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its own, with a mask token.

    Raises:
        `ValueError`: It is no masked language model, or the tokenizer is not its own.
    """
    _check_knows(model, tokenizer)
    prefix, suffix = frame_of(tokenizer)
    texts = [token for token in range(len(tokenizer)) if token not in set(tokenizer.all_special_ids)] or [0]
    fault = None
    for length in _TRIAL_LENGTHS:
        first, last = texts[0], texts[-1]
        between = (texts * length)[1 : length - 1]
        rows = [[*prefix, a, *between, b, *suffix] for a, b in ((first, first), (first, last), (last, first))]
        input_ids = torch.tensor(rows, device=model.device)
        for source in dict.fromkeys([states_from(model.config), *STATES_FROM]):
            try:
                with torch.no_grad(), evaluation_mode(model):
                    states, given = pass_of(model, type(model).forward, source, {"input_ids": input_ids})[:2]
                _check_states(states, input_ids)
            except Exception as error:  # whatever a model does with what it does not take
                fault = fault or error
            else:
                logits = _checked_logits(model, given, input_ids, tokenizer)
                _check_sees_both_sides(model, logits, len(prefix), len(prefix) + length - 1)
                found = Backbone(
                    vocab_size=logits.shape[-1],
                    max_sequence_length=longest_sequence(model.config),
                    prefix_ids=prefix,
                    suffix_ids=suffix,
                    state_size=states.shape[-1],
                    states_from=source,
                    logit_shift=logit_shift(model.config),
                )
                return _with_its_mask(model, found, input_ids)
    raise ValueError(
        f"`model` must be a masked language model, which makes logits of `input_ids`, got a {type(model).__name__} "
        f"({' '.join(str(fault).split()):.120}): load it with AutoModelForMaskedLM."
    ) from fault


def _with_its_mask(model: nn.Module, backbone: Backbone, input_ids: torch.Tensor) -> Backbone:
    """The description, with the attention mask that a model takes: of tokens, of pairs of them, or none."""
    if "attention_mask" in forward_parameters(model):
        mask = torch.ones_like(input_ids)
        mask[0, -1] = 0
        for kind in (backbone, replace(backbone, mask_of_pairs=True)):
            try:
                with torch.no_grad(), evaluation_mode(model):
                    inputs = {"input_ids": input_ids, "attention_mask": kind.mask_for_model(mask)}
                    pass_of(model, type(model).forward, backbone.states_from, inputs)
            except Exception as error:  # whatever a model does with what it does not take
                logger.debug(f"An attention mask with mask_of_pairs={kind.mask_of_pairs} was refused: {error}")
            else:
                return kind
        logger.warning(
            f"The attention mask of a {type(model).__name__} is neither one of tokens nor one of pairs of tokens, so "
            "padding is seen: batch sequences of one length."
        )
    return replace(backbone, takes_attention_mask=False)


def frame_of(tokenizer: Any) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """
    What a tokenizer puts before and behind a text.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Fast or slow.
    """
    mask_id = tokenizer.mask_token_id
    framed = list(tokenizer(tokenizer.mask_token)["input_ids"])
    place = framed.index(mask_id)
    special = set(tokenizer.all_special_ids)
    prefix, suffix = framed[:place], framed[place + 1 :]
    return tuple(t for t in prefix if t in special), tuple(t for t in suffix if t in special)


def _check_states(states: torch.Tensor, input_ids: torch.Tensor) -> None:
    if states.dim() != 3 or states.shape[:2] != input_ids.shape:
        raise ValueError(f"states of shape {tuple(states.shape)} for input_ids of shape {tuple(input_ids.shape)}")


def _checked_logits(
    model: nn.Module, logits: torch.Tensor | None, input_ids: torch.Tensor, tokenizer: Any
) -> torch.Tensor:
    """The logits (B, T, V), unless they are none of every token, or too few for a tokenizer."""
    name = type(model).__name__
    if logits is None or logits.dim() != 3 or logits.shape[:2] != input_ids.shape:
        shape = None if logits is None else tuple(logits.shape)
        raise ValueError(
            f"`model` must be a masked language model, with logits of every token, got a {name} with logits of shape "
            f"{shape}: load it with AutoModelForMaskedLM."
        )
    if logits.shape[-1] < len(tokenizer):
        raise ValueError(
            f"`model` must be a masked language model, with a logit for each of the {len(tokenizer)} tokens, got a "
            f"{name} with {logits.shape[-1]}: load it with AutoModelForMaskedLM."
        )
    return logits


def _check_knows(model: nn.Module, tokenizer: Any) -> None:
    """Refuses a tokenizer with more tokens than the model's embedding has rows, if it has one that tells."""
    try:
        rows = model.get_input_embeddings().weight.shape[0]
    except (AttributeError, NotImplementedError):
        return
    if rows < len(tokenizer):
        raise ValueError(
            f"`tokenizer` must be that of the model, which has {rows} tokens, got one of {len(tokenizer)}: load it "
            f"from {model.name_or_path!r}, or resize the model's embeddings to it."
        )


def _check_sees_both_sides(model: nn.Module, logits: torch.Tensor, first: int, last: int) -> None:
    """
    Refuses logits (3, T, V), of a text and of the same with its last and with its first token changed, that tell what
    was changed before them and never what was changed behind. A fresh model may tell neither.
    """
    sees_behind = not torch.equal(logits[0, first:last], logits[1, first:last])
    sees_before = not torch.equal(logits[0, first + 1 : last + 1], logits[2, first + 1 : last + 1])
    if sees_before and not sees_behind:
        raise ValueError(
            f"`model` must see what is behind a token too, got a {type(model).__name__}, which is causal: choose a "
            "masked language model."
        )
