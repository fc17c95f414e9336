# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""An old nanoGPT: its weights under their names, its file, and its forward pass as plain functions."""

import math

import torch


LAYERS, HEADS, WIDTH, POSITIONS, VOCABULARY = 2, 2, 16, 12, 32
ARGS = {"n_layer": LAYERS, "n_head": HEADS, "n_embd": WIDTH, "block_size": POSITIONS, "vocab_size": VOCABULARY}
TRUNK_LINEARS = {"attn.c_attn": (3 * WIDTH, WIDTH), "attn.c_proj": (WIDTH, WIDTH)}
TRUNK_LINEARS |= {"mlp.c_fc": (4 * WIDTH, WIDTH), "mlp.c_proj": (WIDTH, 4 * WIDTH)}


def old_weights(seed=0, bias=True, absolute=True, critic=False, dtype=torch.float32, **heads):
    """Weights under the old names, all of them far from their initial values; `heads` are shapes by name."""
    generator = torch.Generator().manual_seed(seed)

    def draw(*shape, mean=0.0):
        return (mean + 0.3 * torch.randn(shape, generator=generator, dtype=torch.float64)).to(dtype)

    weights = {"transformer.wte.weight": draw(VOCABULARY, WIDTH)}
    if absolute:
        weights["transformer.wpe.weight"] = draw(POSITIONS, WIDTH)
    for layer in [f"transformer.h.{i}" for i in range(LAYERS)]:
        for name, shape in TRUNK_LINEARS.items():
            weights[f"{layer}.{name}.weight"] = draw(*shape)
            if bias:
                weights[f"{layer}.{name}.bias"] = draw(shape[0])
    norms = [f"transformer.h.{i}.ln_{k}" for i in range(LAYERS) for k in (1, 2)] + ["transformer.ln_f"]
    for name in norms:
        weights[f"{name}.weight"] = draw(WIDTH, mean=1.0)
        if bias:
            weights[f"{name}.bias"] = draw(WIDTH)
    weights["lm_head.weight"] = weights["transformer.wte.weight"]
    if critic:
        weights["critic_head.weight"] = draw(1, WIDTH)
    for name, shape in heads.items():
        weights[name.replace("__", ".")] = draw(*shape)
    return weights


def turned(x, interleaved):
    """Rotary positions of (B, heads, T, d), in complex numbers: pair i turns by position * 10000^(-2i/d)."""
    length, width = x.shape[-2:]
    frequencies = 1.0 / (10000 ** (torch.arange(0, width, 2).float() / width))
    angles = torch.outer(torch.arange(length).float(), frequencies)
    turns = torch.complex(angles.cos().to(x.dtype), angles.sin().to(x.dtype))
    if interleaved:
        real, imaginary = x[..., 0::2], x[..., 1::2]
    else:
        real, imaginary = x[..., : width // 2], x[..., width // 2 :]
    result = torch.complex(real.contiguous(), imaginary.contiguous()) * turns
    if interleaved:
        return torch.stack([result.real, result.imag], dim=-1).flatten(-2)
    return torch.cat([result.real, result.imag], dim=-1)


def old_states(weights, ids, causal, rotary=None):
    """The final norm's output (B, T, D) of an old model; `rotary` is None, "halves" or "interleaved"."""

    def linear(x, name):
        y = x @ weights[f"{name}.weight"].T
        return y + weights[f"{name}.bias"] if f"{name}.bias" in weights else y

    def norm(x, name):
        centred = x - x.mean(dim=-1, keepdim=True)
        x = centred / (centred.square().mean(dim=-1, keepdim=True) + 1e-5).sqrt() * weights[f"{name}.weight"]
        return x + weights[f"{name}.bias"] if f"{name}.bias" in weights else x

    x = weights["transformer.wte.weight"][ids]
    batch, length = ids.shape
    if rotary is None:
        x = x + weights["transformer.wpe.weight"][:length]
    for layer in [f"transformer.h.{i}" for i in range(LAYERS)]:
        fused = linear(norm(x, f"{layer}.ln_1"), f"{layer}.attn.c_attn")
        parts = fused.split(WIDTH, dim=-1)
        q, k, v = (part.view(batch, length, HEADS, WIDTH // HEADS).transpose(1, 2) for part in parts)
        if rotary is not None:
            q, k = (turned(part, rotary == "interleaved") for part in (q, k))
        scores = q @ k.transpose(-1, -2) / math.sqrt(WIDTH // HEADS)
        if causal:
            later = torch.ones(length, length, dtype=torch.bool).triu(diagonal=1)
            scores = scores.masked_fill(later, -math.inf)
        attended = (scores.exp() / scores.exp().sum(dim=-1, keepdim=True)) @ v
        x = x + linear(attended.transpose(1, 2).reshape(batch, length, WIDTH), f"{layer}.attn.c_proj")
        inner = linear(norm(x, f"{layer}.ln_2"), f"{layer}.mlp.c_fc")
        inner = 0.5 * inner * (1.0 + torch.erf(inner / math.sqrt(2.0)))  # the exact GELU
        x = x + linear(inner, f"{layer}.mlp.c_proj")
    return norm(x, "transformer.ln_f")


def ids_of(length=POSITIONS - 2):
    return torch.randint(0, VOCABULARY, (3, length), generator=torch.Generator().manual_seed(7))


def write(folder, weights, prefix="", **model_args):
    """An old checkpoint as trainers write it, with what stands beside the weights."""
    folder.mkdir(exist_ok=True)
    content = {
        "model": {f"{prefix}{name}": tensor for name, tensor in weights.items()},
        "model_args": {**ARGS, "bias": "transformer.ln_f.bias" in weights, "dropout": 0.0, **model_args},
        "optimizer": {"state": {}, "param_groups": []},
        "iter_num": 5,
        "best_val_loss": torch.tensor(1.5),
        "config": {"dataset": "letters", "learning_rate": 6e-4},
    }
    torch.save(content, folder / "ckpt.pt")
    return folder / "ckpt.pt"
