# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Tiny models, rows and trainers of the classification and scoring heads."""

import torch
from critic_training import LETTERS

from critic_gpt import (
    CriticGPTConfig,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticTrainingArguments,
)
from critic_gpt.training.head_collator import DataCollatorForHeads
from critic_gpt.training.head_trainer import ClassificationTrainer, ScoringTrainer


KINDS = ("hard", "balanced", "soft", "classes", "scores")


def make_rows(num, seed=1, lengths=(3, 14)):
    """Rows with labels of every kind: the class of a token is its id modulo 3, some are ignored."""
    generator = torch.Generator().manual_seed(seed)
    rows = []
    for length in torch.randint(*lengths, (num,), generator=generator).tolist():
        ids = torch.randint(2, 10, (length,), generator=generator)
        classes = ids % 3
        hard = classes.masked_fill(torch.rand(length, generator=generator) < 0.2, -100)
        soft = torch.rand((length, 3), generator=generator).softmax(dim=-1) * (hard != -100)[:, None]
        row = {"input_ids": ids.tolist(), "hard": hard.tolist(), "soft": soft.tolist()}
        rows.append({**row, "score": (classes == 1).float().mean().item(), "label": classes[0].item()})
    return rows


def rows_of(kind, rows):
    return [{**row, "labels": row["soft" if kind == "soft" else "hard"]} for row in rows]


def make_model(kind, num_labels=3, **fields):
    torch.manual_seed(0)
    shape = {"vocab_size": 10, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    special = {"max_position_embeddings": 16, "mask_token_id": 1, "pad_token_id": 0, "initializer_range": 0.2}
    own = {"num_labels": 1 if kind == "scores" else num_labels, "balanced_class_weights": kind == "balanced"}
    tokens = kind in ("hard", "balanced", "soft")
    cls = CriticGPTForTokenClassification if tokens else CriticGPTForSequenceClassification
    return cls(CriticGPTConfig(**{**shape, **special, **own, **fields}))


def make_trainer(folder, kind, rows, eval_rows=None, callbacks=None, num_labels=3, trainer=None, **arguments):
    quiet = {"use_cpu": True, "disable_tqdm": True, "save_strategy": "no", "logging_steps": 1, "max_steps": 1}
    plain = {"lr_scheduler_type": "constant", "max_grad_norm": 0, "train_sampling_strategy": "sequential"}
    column = {"classes": "label", "scores": "score"}.get(kind, "labels")
    own = {} if trainer is None else trainer
    return (ScoringTrainer if kind == "scores" else ClassificationTrainer)(
        make_model(kind, num_labels),
        CriticTrainingArguments(output_dir=str(folder), **{**quiet, **plain, **arguments}),
        DataCollatorForHeads(LETTERS, column),
        processing_class=LETTERS,
        train_dataset=rows_of(kind, rows),
        eval_dataset=None if eval_rows is None else rows_of(kind, eval_rows),
        callbacks=callbacks,
        **own,
    )
