# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A model of somebody else's with its critic, pushed to a hub and loaded where this package is not installed."""

import json

import clean_process
import pytest
import torch
from loopback_hub import LoopbackHub
from tiny_masked_lms import WORDS, framed_tokenizer, tiny_masked_lm
from transformers import AutoModelForMaskedLM

from critic_gpt import CriticConfig, get_critic_model


TOKENIZER = framed_tokenizer()
TEXT = "w1 w2 [MASK] [MASK] w5"
PUSH = """
import json, sys
from critic_gpt.scripts import push_to_hub
result = [push_to_hub.main(["--model", folder, "--repo_id", repo]) for folder, repo in json.loads(sys.argv[1])]
"""
LOOK = """
import sys
from transformers import AutoModelForMaskedLM, pipeline

trust = {"trust_remote_code": True}
model = AutoModelForMaskedLM.from_pretrained(sys.argv[1], **trust).eval()
generate = pipeline("critic-diffusion", model=sys.argv[1], **trust)
answer = generate(sys.argv[2], num_steps=2, seed=0)
proof = pipeline("critic-proofread", model=sys.argv[1], **trust)(sys.argv[2].replace("[MASK]", "w9"))
result = [type(model).__name__, answer["generated_text"], answer["error_probabilities"], proof["calibrated"]]
"""


def trained(base, freeze):
    model = AutoModelForMaskedLM.from_pretrained(base)
    model = get_critic_model(model, CriticConfig(freeze=freeze), tokenizer=TOKENIZER)
    torch.manual_seed(0)
    torch.nn.init.normal_(model.critic_head.output.weight, std=0.1)
    rows = [{"input_ids": TOKENIZER(" ".join(WORDS[i : i + 6]))["input_ids"]} for i in range(20)]
    model.calibrate(rows)
    return model


@pytest.mark.slow
def test_it_loads_from_a_hub_with_and_without_the_package(tmp_path):
    tiny_masked_lm("bert").save_pretrained(tmp_path / "base")
    TOKENIZER.save_pretrained(tmp_path / "base")
    trained(tmp_path / "base", freeze=False).save_pretrained(tmp_path / "whole")
    trained(tmp_path / "base", freeze=True).save_pretrained(tmp_path / "alone")
    assert not (tmp_path / "alone" / "model.safetensors").exists()
    with LoopbackHub() as hub:
        environment = {**hub.environment(tmp_path / "home"), "HF_TOKEN": "writer"}
        pushed = [(str(tmp_path / name), f"me/{name}") for name in ("whole", "alone")]
        clean_process.run(PUSH, json.dumps(pushed), package=True, environment=environment)
        assert {"critic_config.json", "critic_head.safetensors"} <= set(hub.repositories["me/alone"].files())
        assert "model.safetensors" in hub.repositories["me/whole"].files()
        looks = {
            (name, package): clean_process.run(LOOK, f"me/{name}", TEXT, package=package, environment=environment)
            for name in ("whole", "alone")
            for package in (True, False)
        }
    assert all(look[0] == "BertForMaskedLMWithCritic" and look[3] for look in looks.values())
    # Equal answers: the package changes nothing.
    for name in ("whole", "alone"):
        assert looks[name, True] == looks[name, False]
