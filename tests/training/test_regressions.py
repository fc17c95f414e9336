# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Mistakes about training, each made once somewhere: private seeds, idle heads."""

import ast
import os
import subprocess
import sys

import head_training
import pytest
from critic_training import RECIPE, Gradients, make_model, make_rows, make_trainer
from launching import HELPERS
from sources import ROOT, SOURCES


# ---- seeds made by hash(), which is another function in every process ----

DIGEST = """
import hashlib, sys, torch
sys.path.insert(0, sys.argv[1])
from critic_training import LETTERS, make_model, make_rows, make_trainer
from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.tasks import SudokuTask
digest = hashlib.sha256()
rows = make_rows(12, lengths=(3, 14))
for masking in (None, "random", "bert", "span", "sticky"):
    trainer = make_trainer(sys.argv[2], make_model(), rows, rows, masking=masking, seed=3)
    for loader in (trainer.get_train_dataloader(), trainer.get_eval_dataloader()):
        for batch in loader:
            for name in sorted(batch):
                digest.update(name.encode() + batch[name].numpy().tobytes())
collator = DataCollatorForMaskedDiffusion(LETTERS, evaluation=True)
digest.update(collator(rows)["input_ids"].numpy().tobytes())  # rows without ids
digest.update(make_model().generate(max_new_tokens=8, num_steps=4, seed=5).sequences.numpy().tobytes())
for grids in SudokuTask(4).sample_splits({"train": 20, "validation": 5, "test": 5}, seed=0).values():
    digest.update(grids.tobytes())
print(digest.hexdigest())
"""


@pytest.mark.slow
def test_two_processes_of_other_hash_seeds_draw_the_same(tmp_path):
    command = [sys.executable, "-c", DIGEST, HELPERS, str(tmp_path)]
    runs = [
        subprocess.Popen(command, env={**os.environ, "PYTHONHASHSEED": seed}, stdout=subprocess.PIPE, text=True)
        for seed in ("1", "2")
    ]
    digests = [run.communicate()[0].strip() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert len(digests[0]) == 64 and digests[0] == digests[1]


def test_nothing_but_a_hash_method_calls_the_hash_of_python():
    for path in SOURCES:
        tree = ast.parse(path.read_text(encoding="utf-8"))
        own = {
            id(node)
            for method in ast.walk(tree)
            if isinstance(method, ast.FunctionDef) and method.name == "__hash__"
            for node in ast.walk(method)
        }
        for node in ast.walk(tree):
            if isinstance(node, ast.Call) and ast.unparse(node.func) == "hash":
                assert id(node) in own, f"{path.relative_to(ROOT)}:{node.lineno}"


# ---- heads that took no part in a step, for whose gradient DDP waited ----

STEPS = {
    "both passes": ({}, {}),
    "no weight of the critic yet": ({}, {"critic_warmup_start": 5, "critic_warmup_end": 9}),
    "no second pass yet": ({"correction_alpha": 0.0}, {"critic_warmup_start": 5, "critic_warmup_end": 9}),
    "no weight of the critic ever": ({"critic_alpha": 0.0}, {}),
    "no second pass ever": ({"critic_alpha": 0.0, "correction_alpha": 0.0}, {}),
    "no correction": ({"correction_alpha": 0.0}, {}),
    "an untied head": ({"tie_word_embeddings": False}, {}),
    "learnt positions": ({"position_embedding_type": "absolute", "use_bias": True}, {}),
    "no critic": ({"add_critic_head": False}, {}),
    "every recipe": (RECIPE, {"critic_batch_share": 0.5}),
    "every recipe, warming up": (RECIPE, {"critic_warmup_start": 1, "critic_warmup_end": 2}),
    "a hidden layer, no second pass yet": (
        {"critic_head_type": "mlp", "correction_alpha": 0.0},
        {"critic_warmup_end": 9},
    ),
}


@pytest.mark.parametrize("judged", [True, False], ids=["judged", "nothing-judged"])
@pytest.mark.parametrize("case", STEPS)
def test_every_parameter_gets_a_gradient_in_every_step(tmp_path, case, judged):
    fields, arguments = STEPS[case]
    model, gradients = make_model(**fields), Gradients()  # which needs a gradient of every parameter
    rows = make_rows(8)
    if not judged:
        rows = [{**row, "protected_mask": [1] * len(row["input_ids"])} for row in rows]
    make_trainer(tmp_path, model, rows, callbacks=[gradients], max_steps=2, **arguments).train()
    assert [set(step) for step in gradients.steps] == [{name for name, _ in model.named_parameters()}] * 2


@pytest.mark.parametrize("kind", head_training.KINDS)
@pytest.mark.parametrize("labelled", [True, False], ids=["labelled", "unlabelled"])
def test_every_parameter_of_the_other_heads_gets_a_gradient_in_every_step(tmp_path, kind, labelled):
    rows, gradients = head_training.make_rows(8), Gradients()
    if not labelled:
        rows = [{**row, "hard": [-100] * len(row["hard"]), "soft": [[0.0] * 3] * len(row["soft"])} for row in rows]
    trainer = head_training.make_trainer(tmp_path, kind, rows, callbacks=[gradients], max_steps=2)
    trainer.train()
    assert [set(step) for step in gradients.steps] == [{name for name, _ in trainer.model.named_parameters()}] * 2
