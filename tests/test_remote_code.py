# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about a model's folder where the package is not installed."""

import os
import subprocess
import sys

import pytest


SAVE = """
import sys
import torch
from critic_gpt import CriticCalibration, CriticGPTConfig, CriticGPTForMaskedLM

CriticGPTConfig.register_for_auto_class()
CriticGPTForMaskedLM.register_for_auto_class("AutoModelForMaskedLM")
torch.manual_seed(0)
sizes = dict(vocab_size=32, hidden_size=16, num_hidden_layers=2, num_attention_heads=2, max_position_embeddings=48)
config = CriticGPTConfig(**sizes, pad_token_id=0, mask_token_id=1, add_critic_head=True, initializer_range=0.3)
model = CriticGPTForMaskedLM(config).eval()
torch.nn.init.normal_(model.critic_head.weight)
table = [(i / 99) ** 2 for i in range(100)]
model.calibration = CriticCalibration(table, {"fingerprint": model.fingerprint()})
model.save_pretrained(sys.argv[1])
"""
LOAD = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "critic_gpt":
            raise ModuleNotFoundError(f"No module named {name!r}")

if "absent" in sys.argv:
    sys.meta_path.insert(0, Absent())
    try:
        import critic_gpt
    except ModuleNotFoundError:
        pass
    else:
        raise SystemExit("the package is there")
else:
    import critic_gpt
from transformers import AutoModelForMaskedLM

model = AutoModelForMaskedLM.from_pretrained(sys.argv[1], trust_remote_code="absent" in sys.argv)
for name in ("auto", "none", "critic_full", "confidence", "random", "multinomial"):
    output = model.generate(max_new_tokens=12, num_steps=4, seed=3, remasking=name)
    print(name, output.sequences.tolist(), output.error_probabilities.mul(1000).round().tolist())
"""


def run(code: str, *arguments: str, **environment: str) -> str:
    command = [sys.executable, "-c", code, *arguments]
    return subprocess.run(
        command, capture_output=True, text=True, check=True, env={**os.environ, **environment}
    ).stdout


@pytest.mark.slow
def test_a_saved_folder_generates_the_same_where_the_package_cannot_be_imported(tmp_path):
    folder, modules = str(tmp_path / "model"), str(tmp_path / "modules")
    run(SAVE, folder)
    here = run(LOAD, folder)
    assert here.count("\n") == 6
    assert run(LOAD, folder, "absent", HF_MODULES_CACHE=modules) == here
