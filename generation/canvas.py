# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The canvas of generation and the pure parts of a denoising step, testable on random logits without weights.

Letters: B batch, T positions, V vocabulary.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
from transformers.generation import GenerationConfig
from transformers.utils import logging

from critic_gpt.diffusion.corruption import padding_attention_mask
from critic_gpt.diffusion.selection import select_worst, settle
from critic_gpt.generation.answers import scores_of


logger = logging.get_logger(__name__)


class Canvas(NamedTuple):
    """Where generation takes place, all (B, T): tokens with masks, real tokens, positions that may change."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    editable: torch.Tensor


def append_masks(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor,
    count: int,
    mask_token_id: int,
    pad_token_id: int | None,
    suffix_ids: Sequence[int] = (),
) -> torch.Tensor:
    """
    Appends `count` [MASK] tokens behind the real tokens of each row, before the end of its frame (`suffix_ids`) where
    it has one; padding, wherever it was, goes to the end.
    """
    masks = input_ids.new_full((len(input_ids), count), mask_token_id)
    real = torch.cat([attention_mask.bool(), torch.ones_like(masks, dtype=torch.bool)], dim=-1)
    order = real.long().argsort(dim=-1, descending=True, stable=True)
    tokens = torch.cat([input_ids, masks], dim=-1).gather(-1, order)
    if suffix_ids:
        tokens = _suffix_moved(tokens, real.sum(dim=-1), count, suffix_ids)
    return tokens if pad_token_id is None else tokens.masked_fill(~real.gather(-1, order), pad_token_id)


def _suffix_moved(tokens: torch.Tensor, lengths: torch.Tensor, count: int, suffix_ids: Sequence[int]) -> torch.Tensor:
    """Rows (B, T) of these lengths (B,) that end in masks, with what closes a frame before these put behind them."""
    tokens, size = tokens.clone(), len(suffix_ids)
    for row, length in zip(tokens, lengths.tolist(), strict=True):
        begin = length - count - size
        if begin >= 0 and row[begin : begin + size].tolist() == list(suffix_ids):
            row[begin:length] = row[begin:length].roll(-size)
    return tokens


def prepare_canvas(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    protected_mask: torch.Tensor | None,
    config: GenerationConfig,
    max_length: int | None,
    suffix_ids: Sequence[int] = (),
) -> Canvas:
    """
    Turns holes, a prefix or nothing into a canvas; refuses what contradicts itself. A [MASK] that is protected stays
    one: it is left for another call.
    """
    mask_id, pad_id = config.mask_token_id, config.pad_token_id
    if input_ids.dim() != 2:
        raise ValueError(
            f"`input_ids` must have the shape (batch_size, sequence_length), got {tuple(input_ids.shape)}: write "
            "`input_ids[None]` for a single sequence."
        )
    if not len(input_ids):
        raise ValueError(
            f"`input_ids` must hold one sequence at least, got the shape {tuple(input_ids.shape)}: make no call for "
            "an empty batch."
        )
    if attention_mask is None:
        attention_mask = padding_attention_mask(input_ids, pad_id)
    for name, given in (("attention_mask", attention_mask), ("protected_mask", protected_mask)):
        if given is not None and given.shape != input_ids.shape:
            raise ValueError(
                f"`{name}` must have the shape of `input_ids` {tuple(input_ids.shape)}, got {tuple(given.shape)}: "
                "mark every position."
            )
    hidden_masks = (input_ids == mask_id) & (attention_mask == 0)
    if hidden_masks.any():
        logger.warning_once(
            "`attention_mask` hides [MASK] tokens, which the model must see to predict them: it is ignored there."
        )
        attention_mask = attention_mask.masked_fill(hidden_masks, 1)
    if bool((input_ids == mask_id).any()):
        if config.max_new_tokens is not None:
            raise ValueError(
                f"`max_new_tokens` is for inputs without [MASK], got {config.max_new_tokens} for an input that holds "
                "some: leave it out, or write the masks yourself."
            )
    elif protected_mask is None or config.max_new_tokens is not None:
        if config.max_new_tokens is None:
            raise ValueError(
                "`input_ids` must hold [MASK] tokens, or `max_new_tokens` must be given, got neither: write "
                "`max_new_tokens=64` to continue a text."
            )
        if protected_mask is not None:
            raise ValueError(
                "`protected_mask` needs [MASK] tokens or a draft to revise, got it with `max_new_tokens`: drop one."
            )
        input_ids = append_masks(input_ids, attention_mask, config.max_new_tokens, mask_id, pad_id, suffix_ids)
        # Counted, not read off the tokens: without a padding id they do not tell, and a prompt may hold that id.
        num_real = (attention_mask != 0).sum(dim=-1, keepdim=True) + config.max_new_tokens
        attention_mask = (torch.arange(input_ids.shape[1], device=input_ids.device) < num_real).long()
    if max_length is not None and input_ids.shape[1] > max_length and config.block_length is None:
        raise ValueError(
            f"`input_ids` and `max_new_tokens` must fit `max_position_embeddings` = {max_length}, got "
            f"{input_ids.shape[1]} tokens: shorten the prompt, generate fewer, or set `block_length`."
        )
    if protected_mask is None:
        protected_mask = input_ids != mask_id
    return Canvas(input_ids, attention_mask, ~protected_mask.bool() & attention_mask.bool())


def shift_seed_text(
    input_ids: torch.Tensor, attention_mask: torch.Tensor, num_new: torch.Tensor, draw: torch.Tensor
) -> torch.Tensor:
    """
    Moves the given tokens of each row, as one block, from before its masks to a random place among them.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Given tokens, then masks, then
            padding.
        attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`): 0 = padding.
        num_new (`torch.LongTensor` of shape `(batch_size,)`): How many masks there are; where 0, the row stays.
        draw (`torch.FloatTensor` of shape `(batch_size,)`): Uniform numbers in (0, 1). All `num_new + 1` offsets, from
            before all masks to behind all, are equally likely.

    Returns:
        `torch.LongTensor` of shape `(batch_size, sequence_length)`.
    """
    # Masks are all alike, so that a row turned round by the offset is the block among them.
    offset = torch.minimum((draw * (num_new + 1)).long(), num_new)[:, None]
    length = attention_mask.long().sum(dim=-1, keepdim=True)
    position = torch.arange(input_ids.shape[1], device=input_ids.device)
    source = torch.where(position < length, (position - offset) % length.clamp(min=1), position)
    return input_ids.gather(-1, source)


def scheduled_reveal(
    input_ids: torch.Tensor,
    editable: torch.Tensor,
    eagerness: torch.Tensor,
    mask_token_id: int,
    target_visible: torch.Tensor,
    remasked: torch.Tensor,
) -> torch.Tensor:
    """
    Which masks of the input a step reveals so that, with the tokens re-masked, `target_visible` are visible. What
    is re-masked in a step is not revealed in the same step.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Tokens before the step.
        editable (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Neither given nor padding.
        eagerness (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): The highest is revealed first.
        mask_token_id (`int`): Id of [MASK].
        target_visible (`torch.LongTensor` of shape `(batch_size,)`): Editable tokens to be visible after the step.
        remasked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Visible tokens to re-mask.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, sequence_length)`.
    """
    masked = editable & (input_ids == mask_token_id)
    num_visible = (editable & ~masked).sum(dim=-1)
    num_reveal = target_visible - num_visible + remasked.sum(dim=-1)
    return select_worst(eagerness, masked, num_reveal)


def entropy_bound_reveal(entropy: torch.Tensor, masked: torch.Tensor, bound: float) -> torch.Tensor:
    """
    Which masks a step reveals so that their joint dependence is bounded: in ascending order of entropy as long as the
    sum of all entropies but the largest is at most `bound`, hence one mask at least in every row that has any
    (Ben-Hamu et al., "Accelerated Sampling from Masked Diffusion Models via Entropy Bounded Unmasking", 2025).

    Args:
        entropy (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Of the predictions, in nats.
        masked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Where masks may be lifted.
        bound (`float`): In nats, at least 0.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, sequence_length)`.
    """
    entropy = settle(entropy).clamp(min=0.0)
    ascending, ranking = entropy.masked_fill(~masked, float("inf")).sort(dim=-1, stable=True)
    before = ascending.cumsum(dim=-1).roll(1, dims=-1)  # the sum of all but the largest, which is the last one
    before[..., 0] = 0.0
    accepted = (before <= bound) & masked.gather(-1, ranking)
    return torch.zeros_like(masked).scatter(-1, ranking, accepted)


def confidence_threshold_reveal(probability: torch.Tensor, masked: torch.Tensor, threshold: float) -> torch.Tensor:
    """
    Which masks a step reveals: all whose token, as drawn, has a probability above `threshold`, and the most confident
    one in every row (Wu et al., "Fast-dLLM: Training-free Acceleration of Diffusion LLM", 2025).

    Args:
        probability (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Those of the tokens drawn.
        masked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Where masks may be lifted.
        threshold (`float`): In [0, 1].

    Returns:
        `torch.BoolTensor` of shape `(batch_size, sequence_length)`.
    """
    confidence = settle(probability)
    return select_worst(confidence, masked, 1) | (masked & (confidence > threshold))


def cut_after_eos(
    sequences: torch.Tensor, editable: torch.Tensor, eos_token_id: int | list[int], pad_token_id: int
) -> torch.Tensor:
    """Replaces the generated tokens that follow the first generated EOS of each row by padding."""
    eos = torch.as_tensor(eos_token_id, device=sequences.device).reshape(-1)
    return cut_after(sequences, editable, editable & torch.isin(sequences, eos), pad_token_id)


def cut_after(sequences: torch.Tensor, editable: torch.Tensor, ended: torch.Tensor, pad_token_id: int) -> torch.Tensor:
    """Replaces the generated tokens that follow the first place where a row `ended` (B, T) by padding."""
    after = (ended.long().cumsum(dim=-1) - ended.long()) > 0
    return sequences.masked_fill(after & editable, pad_token_id)


def external_scores(output: Any) -> torch.Tensor:
    """
    Scores (B, T), higher = more likely wrong, from a re-masking model whose own outputs are higher for *better*
    tokens: two classes count by `1 - softmax(logits)[..., 1]`, one logit by `1 - sigmoid(logit)`.
    """
    logits = scores_of("remasking_model", output)
    if bool(logits.isnan().any()):
        raise ValueError("`remasking_model` must give numbers, got NaN: correct it, or load it in another dtype.")
    if logits.dim() == 3 and logits.shape[-1] == 2:
        return 1.0 - logits.softmax(dim=-1)[..., 1]
    if logits.dim() == 3 and logits.shape[-1] != 1:
        raise ValueError(
            f"`remasking_model` must give one logit or two classes per token, got {logits.shape[-1]}: pass a binary "
            "token classifier."
        )
    return 1.0 - torch.sigmoid(logits.squeeze(-1) if logits.dim() == 3 else logits)
