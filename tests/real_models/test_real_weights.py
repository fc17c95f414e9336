# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The trained models of Python wheels, as Transformers folders, know what they knew: they were converted rightly."""

import sys
from pathlib import Path

import pytest
import torch
from transformers import AlbertForMaskedLM, RobertaForMaskedLM


sys.path.insert(0, str(Path(__file__).parent))
import real_models


real_models.skip_without_them()

# The variable regions of adalimumab, a human antibody, as they are published.
HEAVY = (
    "EVQLVESGGGLVQPGRSLRLSCAASGFTFDDYAMHWVRQAPGKGLEWVSAITWNSGHIDY"
    "ADSVEGRFTISRDNAKNSLYLQMNSLRAEDTAVYYCAKVSYLSTASSLDYWGQGTLVTVSS"
)
LIGHT = "DIQMTQSPSSLSASVGDRVTITCRASQGIRNYLAWYQQKPGKAPKLLIYAASTLQSGVPSRFSGSGSGTDFTLTISSLQPEDVATYYCQRYNRAPYTFGQGTKVEIK"
REACTION = "CC(C)S.CN(C)C=O.Fc1cccnc1F.O=C([O-])[O-].[K+].[K+]>>CC(C)Sc1ncccc1F"


@torch.no_grad()
def one_by_one(name: str, text: str) -> float:
    """Share of the tokens of a text that are the model's first choice where they alone are masked."""
    model, tokenizer = real_models.load(name)
    ids = torch.tensor(tokenizer(text).input_ids)
    places = torch.arange(1, len(ids) - 1)
    rows = ids.repeat(len(places), 1)
    rows[torch.arange(len(places)), places] = tokenizer.mask_token_id
    choices = model(input_ids=rows).logits.argmax(dim=-1)
    return (choices[torch.arange(len(places)), places] == ids[places]).float().mean().item()


@pytest.mark.parametrize(
    ("name", "cls", "text", "least"),
    [
        ("heavy", RobertaForMaskedLM, HEAVY, 0.85),
        ("light", RobertaForMaskedLM, LIGHT, 0.85),
        ("reactions", AlbertForMaskedLM, REACTION, 0.95),
    ],
)
def test_a_converted_model_restores_real_texts(name, cls, text, least):
    model, tokenizer = real_models.load(name)
    ids = tokenizer(text).input_ids
    assert type(model) is cls
    assert tokenizer.decode(ids, skip_special_tokens=True) == text
    assert [ids[0], ids[-1]] == [tokenizer.cls_token_id, tokenizer.sep_token_id]
    assert one_by_one(name, text) >= least


def test_simulated_chains_are_new_to_each_other_and_the_model_restores_half_of_each():
    splits = {name: real_models.sequences(name) for name in ("train", "validation", "test")}
    chains = [chain for split in splits.values() for chain in split]
    assert [len(split) for split in splits.values()] == [6000, 1000, 500]
    assert len(set(chains)) == len(chains)
    model, tokenizer = real_models.load("heavy")
    batch = tokenizer(splits["test"][:64], return_tensors="pt", padding=True)
    masked = torch.rand(batch["input_ids"].shape, generator=torch.Generator().manual_seed(0)) < 0.5
    masked &= batch["input_ids"] > tokenizer.unk_token_id
    holes = batch["input_ids"].masked_fill(masked, tokenizer.mask_token_id)
    with torch.no_grad():
        choices = model(input_ids=holes, attention_mask=batch["attention_mask"]).logits.argmax(dim=-1)
    assert (choices == batch["input_ids"])[masked].float().mean() > 0.88
