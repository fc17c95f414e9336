# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The canvas of generation and the pure parts of a denoising step, testable on random logits without weights.

Letters: B batch, T positions, V vocabulary.
"""

from typing import Any, NamedTuple

import torch
from transformers.generation import LogitsProcessorList
from transformers.utils import logging

from .diffusion_critic_gpt import padding_attention_mask, sample_inverse_cdf, suppress_tokens
from .generation_configuration_critic_gpt import CriticGPTGenerationConfig
from .remasking_critic_gpt import select_worst, unmasking_order


logger = logging.get_logger(__name__)


class Canvas(NamedTuple):
    """Where generation takes place, all (B, T): tokens with masks, real tokens, positions that may change."""

    input_ids: torch.Tensor
    attention_mask: torch.Tensor
    editable: torch.Tensor


def append_masks(
    input_ids: torch.Tensor, attention_mask: torch.Tensor, count: int, mask_token_id: int, pad_token_id: int | None
) -> torch.Tensor:
    """Appends `count` [MASK] tokens behind the real tokens of each row; padding, wherever it was, goes to the end."""
    batch_size, length = input_ids.shape
    masks = input_ids.new_full((batch_size, count), mask_token_id)
    if pad_token_id is None:
        return torch.cat([input_ids, masks], dim=-1)
    order = attention_mask.argsort(dim=-1, descending=True, stable=True)
    tokens = torch.cat([input_ids.gather(-1, order), masks], dim=-1)
    real = attention_mask.sum(dim=-1, keepdim=True)
    position = torch.arange(length + count, device=input_ids.device)[None, :]
    tokens = torch.where(position >= real, mask_token_id, tokens)
    return torch.where(position >= real + count, pad_token_id, tokens)


def prepare_canvas(
    input_ids: torch.Tensor,
    attention_mask: torch.Tensor | None,
    protected_mask: torch.Tensor | None,
    config: CriticGPTGenerationConfig,
    max_length: int,
) -> Canvas:
    """Turns holes, a prefix or nothing into a canvas; refuses what contradicts itself."""
    mask_id, pad_id = config.mask_token_id, config.pad_token_id
    if attention_mask is None:
        attention_mask = padding_attention_mask(input_ids, pad_id)
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
        input_ids = append_masks(input_ids, attention_mask, config.max_new_tokens, mask_id, pad_id)
        attention_mask = padding_attention_mask(input_ids, pad_id)
    if input_ids.shape[1] > max_length:
        raise ValueError(
            f"`input_ids` and `max_new_tokens` must fit `max_position_embeddings` = {max_length}, got "
            f"{input_ids.shape[1]} tokens: shorten the prompt or generate fewer."
        )
    if protected_mask is None:
        protected_mask = input_ids != mask_id
    elif protected_mask.shape != input_ids.shape:
        raise ValueError(
            f"`protected_mask` must have the shape of `input_ids` {tuple(input_ids.shape)}, got "
            f"{tuple(protected_mask.shape)}: mark every position."
        )
    return Canvas(input_ids, attention_mask, ~protected_mask.bool() & attention_mask.bool())


class Prediction(NamedTuple):
    """What the model would put at each position: `tokens` (B, T), their `probability`, all `probabilities`, logits."""

    tokens: torch.Tensor
    probability: torch.Tensor
    probabilities: torch.Tensor
    logits: torch.Tensor


def predict_tokens(
    input_ids: torch.Tensor,
    logits: torch.Tensor,
    special_ids: list[int],
    processors: LogitsProcessorList,
    draw: torch.Tensor | None,
) -> Prediction:
    """
    Draws a token for every position by inverse CDF, special tokens never among them.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Current tokens.
        logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`): Predictions for them.
        special_ids (`list[int]`): Ids that are never predicted.
        processors ([`~transformers.LogitsProcessorList`]): Applied to `(batch_size * sequence_length, vocab_size)`.
        draw (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): Uniform numbers; `None` takes
            the likeliest token.
    """
    # Warpers compare and sort: at least float32, whatever the model computes in.
    logits = suppress_tokens(logits.to(torch.promote_types(logits.dtype, torch.float32)), special_ids)
    flat = logits.reshape(-1, logits.shape[-1])
    logits = processors(input_ids.reshape(-1, 1), flat).view(logits.shape)
    probabilities = logits.softmax(dim=-1)
    tokens = probabilities.argmax(dim=-1) if draw is None else sample_inverse_cdf(probabilities, draw)
    probability = probabilities.gather(-1, tokens[..., None]).squeeze(-1)
    return Prediction(tokens, probability, probabilities, logits)


def one_pass_step(
    input_ids: torch.Tensor,
    editable: torch.Tensor,
    prediction: Prediction,
    mask_token_id: int,
    target_visible: torch.Tensor,
    unmasking: str,
    reveal_noise: torch.Tensor,
    remasked: torch.Tensor,
) -> torch.Tensor:
    """
    Reveals masks of the input until, with the tokens masked again, `target_visible` are visible. What is masked again
    in a step is not revealed in the same step.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Tokens before the step.
        editable (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Neither given nor padding.
        prediction ([`Prediction`]): Tokens for the masks.
        mask_token_id (`int`): Id of [MASK].
        target_visible (`torch.LongTensor` of shape `(batch_size,)`): Editable tokens to be visible after the step.
        unmasking (`str`): Order of revealing.
        reveal_noise (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Uniform numbers.
        remasked (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Visible tokens to mask again.

    Returns:
        `torch.LongTensor` of shape `(batch_size, sequence_length)`: Tokens after the step.
    """
    masked = editable & (input_ids == mask_token_id)
    num_visible = (editable & ~masked).sum(dim=-1)
    num_reveal = target_visible - num_visible + remasked.sum(dim=-1)
    order = unmasking_order(prediction.logits, prediction.probabilities, unmasking, reveal_noise)
    revealed = select_worst(order, masked, num_reveal)
    return torch.where(revealed, prediction.tokens, input_ids).masked_fill(remasked, mask_token_id)


def cut_after_eos(
    sequences: torch.Tensor, editable: torch.Tensor, eos_token_id: int | list[int], pad_token_id: int
) -> torch.Tensor:
    """Replaces the generated tokens that follow the first generated EOS of each row by padding."""
    eos = torch.as_tensor(eos_token_id, device=sequences.device).reshape(-1)
    ended = editable & torch.isin(sequences, eos)
    after = (ended.long().cumsum(dim=-1) - ended.long()) > 0
    return sequences.masked_fill(after & editable, pad_token_id)


def external_scores(output: Any) -> torch.Tensor:
    """
    Scores (B, T), higher = more likely wrong, from a re-masking model whose own outputs are higher for *better*
    tokens: two classes count by `1 - softmax(logits)[..., 1]`, one logit by `1 - sigmoid(logit)`.
    """
    logits = output if isinstance(output, torch.Tensor) else output.logits
    logits = logits.to(torch.promote_types(logits.dtype, torch.float32))
    if logits.dim() == 3 and logits.shape[-1] == 2:
        return 1.0 - logits.softmax(dim=-1)[..., 1]
    if logits.dim() == 3 and logits.shape[-1] != 1:
        raise ValueError(
            f"`remasking_model` must give one logit or two classes a token, got {logits.shape[-1]}: pass a binary "
            "token classifier."
        )
    return 1.0 - torch.sigmoid(logits.squeeze(-1) if logits.dim() == 3 else logits)
