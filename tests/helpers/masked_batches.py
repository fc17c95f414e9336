# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Rows of letters, as the collator of masked diffusion gets them."""

import copy

import torch
from hypothesis import strategies as st

from critic_gpt.tasks import build_character_tokenizer


LETTERS = build_character_tokenizer("abcdefgh", model_max_length=32)
LEFT = copy.deepcopy(LETTERS)
LEFT.padding_side = "left"
PAD, MASK = LETTERS.pad_token_id, LETTERS.mask_token_id

rows_strategy = st.lists(st.lists(st.integers(2, 9), min_size=1, max_size=12), min_size=1, max_size=6)


def examples_of(rows, first_id=0, epoch=0):
    return [{"input_ids": row, "example_id": first_id + i, "epoch": epoch} for i, row in enumerate(rows)]


def random_rows(num, length):
    return torch.randint(2, 10, (num, length), generator=torch.Generator().manual_seed(0)).tolist()
