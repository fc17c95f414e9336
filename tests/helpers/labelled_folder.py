# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Prepared data with labels of every kind."""

import json

import torch
from datasets import Dataset, DatasetDict

from critic_gpt.tasks import build_character_tokenizer


LENGTH = 8


def make_rows(num, seed):
    """Letters; a token is of class 1 where it is one of the later letters, and its soft label leans that way."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in torch.randint(4, LENGTH + 1, (num,), generator=generator).tolist():
        ids = torch.randint(2, 10, (length,), generator=generator)
        late = ids > 5
        soft = torch.where(late[:, None], torch.tensor([0.1, 0.9]), torch.tensor([0.9, 0.1]))
        ignored = torch.rand(length, generator=generator) < 0.2
        hard = late.long().masked_fill(ignored, -100)
        row = {"input_ids": ids.tolist(), "hard": hard.tolist(), "soft": soft.tolist()}
        rows.append({**row, "score": late.float().mean().item(), "label": int(ids[0]) % 3})
    return rows


def make_folder(folder, num=96, labels="hard", columns=("score", "label"), change=None):
    """A prepared folder whose splits have labels."""
    splits = {}
    for seed, split in enumerate(("train", "validation", "test")):
        rows = [
            {"input_ids": row["input_ids"], **{name: row[name] for name in columns}, "labels": row[labels]}
            for row in make_rows(num if split == "train" else 24, seed)
        ]
        splits[split] = Dataset.from_list([change(row) if change else row for row in rows])
    DatasetDict(splits).save_to_disk(str(folder))
    build_character_tokenizer("abcdefgh", model_max_length=LENGTH).save_pretrained(str(folder))
    keys = {"sequence_length": LENGTH, "window": "lines", "validation_share": 0.1, "test_share": 0.1, "source": "test"}
    (folder / "task.json").write_text(json.dumps({"task": "text", **keys}))
    (folder / "train_words.txt").write_text("a\nb")
    return folder
