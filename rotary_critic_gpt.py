# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Rotation of queries and keys by their positions (Su et al., "RoFormer", 2021)."""

import torch


def rotate_half(x: torch.Tensor) -> torch.Tensor:
    """Turns the second half of the last dimension in front of the first, negated."""
    first, second = x.chunk(2, dim=-1)
    return torch.cat((-second, first), dim=-1)


def apply_rotary_pos_emb(q: torch.Tensor, k: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor):
    """Rotates queries and keys (B, heads, T, head_dim) by angles (B, T, head_dim)."""
    cos, sin = cos.unsqueeze(1), sin.unsqueeze(1)
    return q * cos + rotate_half(q) * sin, k * cos + rotate_half(k) * sin
