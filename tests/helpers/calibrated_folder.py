# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A tiny saved model to calibrate, and rows to calibrate it on."""

import datasets
import torch

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM


def save_model(folder, critic=True, trained=True, **fields):
    """In float64: the counts of two batch sizes differ in no rounding."""
    torch.manual_seed(0)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.3}
    special = {"vocab_size": 6, "max_position_embeddings": 16, "pad_token_id": 0, "mask_token_id": 1}
    model = CriticGPTForMaskedLM(CriticGPTConfig(**{**shape, **special, "add_critic_head": critic, **fields}))
    if critic and trained:
        torch.nn.init.normal_(model.critic_head.weight)
    model.double().save_pretrained(folder)
    return folder


def corrupted_rows(num=40):
    """Rows of 16 tokens of which some are masked, in the form of data sets that come corrupted."""
    generator = torch.Generator().manual_seed(3)
    clean = torch.randint(2, 6, (num, 16), generator=generator)
    masked = torch.rand((num, 16), generator=generator) < 0.5
    return clean.masked_fill(masked, 1).tolist(), clean.masked_fill(~masked, -100).tolist()


def save_rows(folder, **columns):
    """A folder of a data set of these columns; without any, of corrupted rows."""
    if not columns:
        columns = dict(zip(("x", "y"), corrupted_rows(), strict=True))
    datasets.Dataset.from_dict(columns).save_to_disk(str(folder))
    return folder
