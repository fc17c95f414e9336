# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Tiny models, canvases and arguments that the tests of generation share."""

import pytest
import torch

from critic_gpt import CriticCalibration, CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.generation.strategies.registry import STRATEGIES


PAD, MASK, EOS, VOCAB, POSITIONS = 0, 1, 2, 12, 24
M, P = MASK, PAD
# Two families of the registry, and one or more strategies of each of its modules.
ONE_PASS, FILL_ALL = ["critic", "none"], ["external", "critic_full", "confidence", "random"]
EACH_KIND = [*ONE_PASS, *FILL_ALL, "multinomial", "remdm_conf", "proseco"]
QUALITY = ["expected_errors", "error_mean", "error_p10", "error_p50", "error_p90", "self_log_probability"]


def config(**fields):
    size = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"mask_token_id": MASK, "pad_token_id": PAD}
    # Large weights, so that an untrained model has opinions.
    return CriticGPTConfig(
        **{**size, **tokens, "max_position_embeddings": POSITIONS, "initializer_range": 0.4, **fields}
    )


def build(critic=True, trained=True, dtype=torch.float64, **fields):
    torch.manual_seed(0)
    model = CriticGPTForMaskedLM(config(add_critic_head=critic, **fields)).to(dtype).eval()
    if critic and trained:
        torch.nn.init.normal_(model.critic_head.weight, std=1.0)
    if model.joint_head is not None:
        torch.nn.init.normal_(model.joint_head.output.weight, std=1.0)
    return model


def judge(input_ids, attention_mask):
    """An external re-masking model: some tokens are better than others."""
    return torch.sin(3.0 * input_ids.double()) + 0.01 * torch.arange(input_ids.shape[1])


def arguments(strategy):
    return {"remasking": strategy, **({"remasking_model": judge} if strategy == "external" else {})}


canvas = torch.tensor([[5, M, M, 6, M, M, M, 7, M, M, M, M], [M] * 12])
mixed = [[5, M, M, 6, M, M, M, 7], [M] * 11, [4, 5, 6], [M, 9, 9], [3, M, M, M, M, 5, M, M, M, M, M, 7]]
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)
every_kind = pytest.mark.parametrize("strategy", EACH_KIND)


def padded(rows, side="right"):
    pads = [[PAD] * (max(map(len, rows)) - len(row)) for row in rows]
    return torch.tensor([row + pad if side == "right" else pad + row for row, pad in zip(rows, pads, strict=True)])


def graded(model, wrong):
    """The model with a table that calls scores of the upper half wrong with this probability."""
    model.calibration = CriticCalibration([0.0] * 50 + [wrong] * 50)
    return model
