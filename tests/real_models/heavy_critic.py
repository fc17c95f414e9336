# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A critic on the frozen model of heavy chains: training, canvases with some residues masked, share of right ones."""

import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import real_models
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer

from critic_gpt import CriticConfig, CriticTrainer, CriticTrainingArguments, get_critic_model
from critic_gpt.evaluation.comparison import steps_within


# A head of 3,000 parameters on a model that does not move takes more than the usual 1e-3: trained for 60 steps, its
# cross-entropy on test chains is 0.15.
LEARNING_RATE = 3e-2
BATCH_SIZE = 32


@functools.cache
def tokenizer():
    """That of the chains."""
    return AutoTokenizer.from_pretrained(real_models.FOLDER / "heavy")


def rows(split: str) -> list[dict[str, list[int]]]:
    """The chains of a split as ids."""
    return [{"input_ids": tokenizer()(chain).input_ids} for chain in real_models.sequences(split)]


def fresh_critic(**settings: Any):
    """The frozen model with a critic that has not been trained."""
    model = AutoModelForMaskedLM.from_pretrained(real_models.FOLDER / "heavy")
    return get_critic_model(model, CriticConfig(freeze=True, **settings), tokenizer=tokenizer())


def trained_critic(output_dir: Path, steps: int, seed: int = 0, num_rows: int | None = None, **settings: Any):
    """The same after some steps of [`CriticTrainer`] on the first `num_rows` training chains, all by default."""
    torch.manual_seed(seed)
    model = fresh_critic(**settings)
    arguments = CriticTrainingArguments(
        str(output_dir),
        max_steps=steps,
        per_device_train_batch_size=BATCH_SIZE,
        learning_rate=LEARNING_RATE,
        seed=seed,
        use_cpu=True,
        save_strategy="no",
        report_to=[],
        disable_tqdm=True,
    )
    data = rows("train")[:num_rows]
    CriticTrainer(model, arguments, train_dataset=data, processing_class=tokenizer()).train()
    return model.eval()


class Canvases(NamedTuple):
    """Chains (N, T), their attention masks, and what is masked of them."""

    truth: torch.Tensor
    attention_mask: torch.Tensor
    masked: torch.Tensor

    @property
    def input_ids(self) -> torch.Tensor:
        return self.truth.masked_fill(self.masked, tokenizer().mask_token_id)


def canvases(split: str, first: int, count: int, mask_rate: float, seed: int) -> Canvases:
    """Some chains, of each of which exactly a share of the residues is masked, at random."""
    texts = real_models.sequences(split)[first : first + count]
    batch = tokenizer()(texts, return_tensors="pt", padding=True)
    ids = batch["input_ids"]
    special = torch.isin(ids, torch.tensor(tokenizer().all_special_ids))
    noise = torch.rand(ids.shape, generator=torch.Generator().manual_seed(seed)).masked_fill(special, 2.0)
    ranks = noise.argsort(dim=-1).argsort(dim=-1)
    return Canvases(ids, batch["attention_mask"], ranks < ((~special).sum(dim=-1, keepdim=True) * mask_rate).round())


def right_share(model, canvas: Canvases, budget: int, arguments: Mapping[str, Any], seed: int) -> float | None:
    """Share of the masked residues that come out right within a budget of forward passes."""
    num_steps = steps_within(model, budget, arguments)
    if num_steps is None:
        return None
    output = model.generate(
        canvas.input_ids,
        canvas.attention_mask,
        **{"return_dict_in_generate": True, "seed": seed, "num_steps": num_steps, **arguments},
    )
    if output.forward_passes > budget:
        raise RuntimeError(f"{arguments} took {output.forward_passes} forward passes of a budget of {budget}")
    return (output.sequences == canvas.truth)[canvas.masked].float().mean().item()
