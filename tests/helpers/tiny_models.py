# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Tiny models, masked batches for them, and the draws of a second pass.

Letters: B batch, T positions, V vocabulary.
"""

import pytest
import torch

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM


PAD, MASK, VOCAB, LENGTH = 0, 1, 32, 10
TINY = {
    "vocab_size": VOCAB,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "max_position_embeddings": 16,
    "mask_token_id": MASK,
    "pad_token_id": PAD,
    # Large initial weights, or everything would agree to 1e-5 for want of any signal.
    "initializer_range": 0.3,
}
VARIANTS = [
    {"position_embedding_type": position, "use_bias": bias, "is_causal": causal}
    for position in ("rotary", "absolute")
    for bias in (False, True)
    for causal in (False, True)
]
each_variant = pytest.mark.parametrize(
    "variant", VARIANTS, ids=lambda v: f"{v['position_embedding_type']}-bias{v['use_bias']:d}-causal{v['is_causal']:d}"
)


def make_config(**changes) -> CriticGPTConfig:
    return CriticGPTConfig(**{**TINY, **changes})


def build(cls=CriticGPTForMaskedLM, seed=0, **changes):
    torch.manual_seed(seed)
    return cls(make_config(**changes)).eval()


def build_with_critic(seed=0, **changes) -> CriticGPTForMaskedLM:
    """A model whose critic head and biases are no longer zero."""
    model = build(seed=seed, add_critic_head=True, **changes)
    with torch.no_grad():
        for parameter in model.critic_head.parameters():
            parameter.normal_()
        for name, parameter in model.named_parameters():
            if name.endswith("bias"):
                parameter.normal_(std=0.3)
    return model


def make_batch(seed=1, batch_size=3, length=LENGTH) -> dict[str, torch.Tensor]:
    """Masked ids and labels; the last row ends in padding."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(2, VOCAB, (batch_size, length), generator=generator)
    masked = torch.rand(clean.shape, generator=generator) < 0.5
    masked[:, 0], masked[:, 1] = True, False
    attention_mask = torch.ones_like(clean)
    attention_mask[-1, -3:] = 0
    masked &= attention_mask.bool()
    input_ids = clean.masked_fill(masked, MASK).masked_fill(attention_mask == 0, PAD)
    return {
        "input_ids": input_ids,
        "attention_mask": attention_mask,
        "labels": clean.masked_fill(~masked, -100),
    }


def make_draws(seed=2, batch_size=3, length=LENGTH) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (batch_size, length)
    return {
        "fill_mask": torch.rand(shape, generator=generator) < 0.6,
        "fill_uniforms": torch.rand(shape, generator=generator),
    }


def count_trunk_passes(model) -> list:
    passes = []
    model.model.register_forward_hook(lambda *args: passes.append(1))
    return passes
