# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Models whose repositories bring code for Transformers 4 are loaded by one call, with the numbers that were meant."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from tiny_masked_lms import framed_tokenizer
from transformers import AutoConfig, AutoModel

from critic_gpt import (
    AutoModelForMaskedLMWithCritic,
    CriticConfig,
    CriticTrainer,
    CriticTrainingArguments,
    get_critic_model,
)
from critic_gpt.backbones.earlier_code import earlier_class, load_with_earlier_code


CODE = Path(__file__).parents[1] / "helpers" / "earlier_code"
TOKENIZER = framed_tokenizer()
INPUTS = dict(TOKENIZER(["w1 w2 [MASK] [MASK] w5", "w1 w2 [MASK]"], return_tensors="pt", padding=True))
ROWS = [{"input_ids": TOKENIZER(f"w{i} w{i + 1} w{i + 2}")["input_ids"]} for i in range(16)]


def folder_of(place, model, **fields):
    """A repository with code, and weights of a model that was made by hand."""
    shutil.copytree(CODE, place, ignore=shutil.ignore_patterns("__pycache__"))
    auto_map = {"AutoConfig": "configuration_earlier.EarlierConfig", "AutoModel": f"modeling_earlier.{model}"}
    content = {"model_type": "earlier_code_stand_in", "architectures": [model], "auto_map": auto_map, **fields}
    (place / "config.json").write_text(json.dumps({"tie_word_embeddings": False, "use_cache": True, **content}))
    TOKENIZER.save_pretrained(place)
    config = AutoConfig.from_pretrained(place, trust_remote_code=True)
    torch.manual_seed(0)
    meant = earlier_class(config, str(place))(config).eval()
    for weight in meant.parameters():
        torch.nn.init.normal_(weight, 0.0, 0.5)
    weights = {name: weight.detach().contiguous() for name, weight in meant.named_parameters()}
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    return meant


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("model", ["WithPositions", "WithoutPostInit"])
def test_earlier_code_gets_a_critic_with_the_numbers_it_was_made_with(model, tied, tmp_path):
    if tied and model == "WithoutPostInit":
        pytest.skip("ties by its own method alone")
    meant = folder_of(tmp_path / "base", model, tie_word_embeddings=tied)
    loaded = load_with_earlier_code(tmp_path / "base", trust_remote_code=True)
    ids = INPUTS["input_ids"]
    assert torch.equal(loaded(ids).logits, meant(ids).logits)

    model = get_critic_model(loaded, tokenizer=TOKENIZER)
    assert model.backbone.mask_of_pairs
    args = CriticTrainingArguments(
        str(tmp_path / "training"),
        max_steps=4,
        learning_rate=1e-2,
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
        save_strategy="no",
    )
    CriticTrainer(model, args, train_dataset=ROWS, processing_class=TOKENIZER).train()
    model.eval()
    alone = dict(TOKENIZER("w1 w2 [MASK]", return_tensors="pt"))
    padded = model(**INPUTS).critic_logits[1, : alone["input_ids"].shape[1]]
    torch.testing.assert_close(padded, model(**alone).critic_logits[0])
    sequences = model.generate(**INPUTS, remasking="critic", num_steps=2, seed=0).sequences
    assert not (sequences == TOKENIZER.mask_token_id).any()

    model.save_pretrained(tmp_path / "critic")
    again = AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path / "critic", trust_remote_code=True)
    assert torch.equal(again(**INPUTS).critic_logits, model(**INPUTS).critic_logits)
    assert not list((tmp_path / "critic").glob("model*.safetensors"))


@pytest.mark.parametrize("model", ["WithPositions", "WithoutPostInit"])
def test_earlier_code_that_learns_is_saved_whole_and_loads_again(model, tmp_path):
    folder_of(tmp_path / "base", model)
    loaded = load_with_earlier_code(tmp_path / "base", trust_remote_code=True)
    model = get_critic_model(loaded, CriticConfig(freeze=False), tokenizer=TOKENIZER).eval()
    model.save_pretrained(tmp_path / "whole")
    again = AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path / "whole", trust_remote_code=True).eval()
    assert torch.equal(again(**INPUTS).logits, model(**INPUTS).logits)


def test_without_that_call_such_a_model_does_not_load(tmp_path):
    shutil.copytree(CODE, tmp_path / "base", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "base" / "fresh.txt").touch()
    # Code that nobody has mended: a name of its own makes a module of its own.
    text = (tmp_path / "base" / "modeling_earlier.py").read_text() + "\n# untouched\n"
    (tmp_path / "base" / "modeling_earlier.py").write_text(text)
    auto_map = {
        "AutoConfig": "configuration_earlier.EarlierConfig",
        "AutoModel": "modeling_earlier.WithPositions",
    }
    content = {"model_type": "earlier_code_stand_in", "auto_map": auto_map}
    (tmp_path / "base" / "config.json").write_text(json.dumps(content))
    config = AutoConfig.from_pretrained(tmp_path / "base", trust_remote_code=True)
    with pytest.raises(KeyError, match="default"):
        AutoModel.from_config(config, trust_remote_code=True)


def test_what_is_refused_is_one_sentence(tmp_path):
    folder_of(tmp_path / "base", "WithOtherNumbers")
    with pytest.raises(ValueError, match="`trust_remote_code` must be True to run the code that comes with a model"):
        load_with_earlier_code(tmp_path / "base")
    with pytest.raises(ValueError, match=r"that computes `slopes`, which Transformers 5 leaves unset"):
        load_with_earlier_code(tmp_path / "base", trust_remote_code=True)
