# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Fast-dLLM's loops on a model of ours, as references to compare with: blocks from left to right, tokens by confidence,
and keys and values that are kept while a block is filled.

Written anew after Wu et al., "Fast-dLLM: Training-free Acceleration of Diffusion LLM by Enabling KV Cache and Parallel
Decoding" (2025, arXiv:2505.22618), sections 3.2 and 3.3: the *prefix cache* keeps what stands before the block, the
*dual cache* all around it; both are made anew by the pass over the whole text that each block begins with.
"""

from typing import NamedTuple

import torch
from transformers import DynamicCache

from critic_gpt.generation.block_cache import BlockCache, Places


CACHES = (None, "prefix", "dual")


class Filled(NamedTuple):
    """Tokens (B, T), and how many passes filled them."""

    tokens: torch.Tensor
    passes: int


@torch.no_grad()
def fast_dllm(
    model,
    input_ids: torch.Tensor,
    block_length: int,
    cache: str | None = None,
    threshold: float | None = 0.9,
    per_pass: int = 1,
) -> Filled:
    """
    Fills the masks at the end of rows that are all alike in length, with the likeliest tokens.

    Args:
        model ([`CriticGPTForMaskedLM`]): In evaluation mode.
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): A prompt, then [MASK].
        block_length (`int`): Tokens of a block.
        cache (`str`, *optional*): Of `CACHES`.
        threshold (`float`, *optional*): A pass reveals what is likelier than that, one token at least.
        per_pass (`int`, *optional*, defaults to 1): Without a threshold it reveals so many.
    """
    tokens, passes, mask_id = input_ids.clone(), 0, model.config.mask_token_id
    never = [mask_id, model.config.pad_token_id]
    length, first = tokens.shape[1], int((tokens[0] != mask_id).sum())
    for begin in range(first, length, block_length):
        end = min(begin + block_length, length)
        block, kept = tokens[:, begin:end], DynamicCache() if cache == "prefix" else BlockCache()
        while bool((block == mask_id).any()):
            passes += 1
            if cache is None or passes == 1 or kept.get_seq_length() == 0:
                fields = {} if cache is None else {"past_key_values": kept}
                states = model.model(input_ids=tokens, **fields).last_hidden_state[:, begin:end]
            elif cache == "prefix":
                kept.crop(begin - kept.get_seq_length())  # by so many that stand behind it
                places = torch.arange(begin, length, device=tokens.device)[None]
                states = model.model(input_ids=tokens[:, begin:], position_ids=places, past_key_values=kept)
                states = states.last_hidden_state[:, : end - begin]
            else:
                places = torch.arange(begin, end, device=tokens.device).expand_as(block)
                if kept.places is None:
                    kept.places = Places(places, torch.ones_like(block, dtype=torch.bool))
                states = model.model(input_ids=block, position_ids=places, past_key_values=kept).last_hidden_state
            scores = model.lm_head(states)
            scores[..., never] = float("-inf")
            _reveal(block, scores, mask_id, threshold, per_pass)
    return Filled(tokens, passes)


def _reveal(block: torch.Tensor, scores: torch.Tensor, mask_id: int, threshold: float | None, per_pass: int) -> None:
    """Puts the surest tokens into a block (B, N), in place, by scores (B, N, V)."""
    confidence, likeliest = scores.softmax(dim=-1).max(dim=-1)
    confidence = confidence.masked_fill(block != mask_id, float("-inf"))
    least = confidence.topk(min(per_pass if threshold is None else 1, block.shape[1]), dim=-1).values[:, -1:]
    least = least.clamp(min=torch.finfo(least.dtype).min)  # where fewer masks are left than that
    chosen = confidence >= least
    if threshold is not None:
        chosen |= confidence > threshold
    block.copy_(torch.where(chosen, likeliest, block))
