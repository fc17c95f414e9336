# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A model's own fillings with the truth about them: what external re-masking models and judges are trained on."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import torch

from critic_gpt.diffusion.critic_targets import build_critic_artifacts_from_logits
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion


def labelled_fillings(
    model, dataset, tokenizer, num_sequences: int | None = None, batch_size: int = 64, seed: int = 0
) -> Iterator[dict[str, Any]]:
    """
    Masks sequences as in evaluation, lets a model fill all masks by draws from its own distribution, and says where
    it is right.

    Args:
        model ([`CriticGPTForMaskedLM`]): Put into eval mode. It needs no critic.
        dataset: Map-style, with `input_ids` and optionally `protected_mask`.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The model's.
        num_sequences (`int`, *optional*): How many; all by default. With more than there are, the data come again
            under other masks and draws.
        batch_size (`int`, *optional*, defaults to 64): Sequences in a pass.
        seed (`int`, *optional*, defaults to 0): Of masks and draws.

    Returns:
        `Iterator[dict]`: For each sequence `input_ids` (the filled tokens), `labels` (1 = right and 0 = wrong where
        the model filled, -100 elsewhere), both of shape `(length,)`, and `score` (share of wrong tokens in [0, 1]).

    Raises:
        `ValueError`: There is no sequence, or fewer than one is asked for.
    """
    num_sequences = len(dataset) if num_sequences is None else num_sequences
    for name, value in (("dataset", len(dataset)), ("num_sequences", num_sequences), ("batch_size", batch_size)):
        if value < 1:
            raise ValueError(f"`{name}` must be at least 1 (sequences), got {value}: give one or more.")
    backbone = model.backbone
    collator = DataCollatorForMaskedDiffusion(
        tokenizer, critic_regime="full", seed=seed, evaluation=True, backbone=backbone
    )
    model.eval()
    for first in range(0, num_sequences, batch_size):
        numbers = range(first, min(first + batch_size, num_sequences))
        batch = collator([{**dataset[i % len(dataset)], "example_id": i} for i in numbers])
        batch = {name: value.to(model.device) for name, value in batch.items()}
        with torch.no_grad():
            logits = model(input_ids=batch["input_ids"], attention_mask=batch["attention_mask"]).logits
        artifacts = build_critic_artifacts_from_logits(
            batch["input_ids"],
            logits,
            batch["labels"],
            tokenizer.mask_token_id,
            pad_token_id=tokenizer.pad_token_id,
            fill_mask=batch["fill_mask"],
            fill_uniforms=batch["fill_uniforms"],
        )
        wrong = artifacts.critic_target.bool() & artifacts.critic_valid
        labels = (~wrong).long().masked_fill(~artifacts.critic_valid, -100)
        real = batch["attention_mask"].bool()
        parts = (part.cpu().numpy() for part in (artifacts.critic_input, labels, wrong, real))
        for tokens, verdicts, errors, mask in zip(*parts, strict=True):
            yield {
                "input_ids": tokens[mask].astype(np.int32),
                "labels": verdicts[mask],
                "score": float(errors[mask].mean()),
            }
