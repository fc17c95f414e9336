"""Claims about the trainers of the other heads: exact losses and metrics, whatever the batches."""

import json

import pytest
import torch
from critic_training import LETTERS, Gradients, assert_equal_weights, logs_of, weights
from head_training import KINDS, make_model, make_rows, make_trainer, rows_of
from launching import launch_script

from critic_gpt import (
    CriticTrainingArguments,
)
from critic_gpt.diffusion.losses import token_classification_loss
from critic_gpt.training.head_collator import DataCollatorForHeads
from critic_gpt.training.head_trainer import ClassificationTrainer, ScoringTrainer


# ---- the loss ----


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_over_the_whole_batch_is_that_of_the_model(tmp_path, kind):
    trainer = make_trainer(tmp_path, kind, make_rows(6), per_device_train_batch_size=6)
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    loss, outputs = trainer.compute_loss(trainer.model, batch, return_outputs=True)
    torch.testing.assert_close(loss, trainer.model(**batch).loss)
    assert len(outputs["logits"]) == 6
    halves = trainer._get_num_items_in_batch([batch, batch], torch.device("cpu"))
    torch.testing.assert_close(trainer.compute_loss(trainer.model, batch, num_items_in_batch=halves), loss / 2)


@pytest.mark.parametrize("kind", KINDS)
def test_accumulation_changes_neither_gradients_nor_logs(tmp_path, kind):
    rows, results = make_rows(8), []
    for batch_size in (8, 2, 1):
        gradients = Gradients()
        sizes = {"per_device_train_batch_size": batch_size, "gradient_accumulation_steps": 8 // batch_size}
        trainer = make_trainer(tmp_path, kind, rows, callbacks=[gradients], **sizes)
        trainer.train()
        results.append((gradients.steps[0], logs_of(trainer)[0]))
    (whole, log), *others = results
    for gradients, other in others:
        assert_equal_weights(whole, gradients, tolerance=1e-5)
        for name in ("loss", "mae" if kind == "scores" else "accuracy"):
            assert other[name] == pytest.approx(log[name], abs=1e-5)


# ---- evaluation ----


def expected_metrics(kind, model, rows):
    """The metrics, of one row at a time, in plain numbers."""
    collator = DataCollatorForHeads(LETTERS, {"classes": "label", "scores": "score"}.get(kind, "labels"))
    logits, labels = [], []
    with torch.no_grad():
        for row in rows_of(kind, rows):
            batch = collator([row])
            target = batch.pop("labels")
            logits.append(model.eval()(**batch).logits.flatten(0, -2))
            labels.append(target.flatten(0, 1) if kind == "soft" else target.flatten())
    logits, labels = torch.cat(logits), torch.cat(labels)
    if kind == "scores":
        x, y = logits.squeeze(-1).double(), labels.double()
        pearson = ((x - x.mean()) * (y - y.mean())).mean() / (x.std(correction=0) * y.std(correction=0))
        mse = (x - y).square().mean()
        return {"loss": mse, "mse": mse, "mae": (x - y).abs().mean(), "pearson": pearson}
    loss = token_classification_loss(logits[None], labels[None], kind == "balanced")
    classes = labels.argmax(dim=-1).masked_fill(labels.sum(dim=-1) == 0, -100) if kind == "soft" else labels
    valid = classes != -100
    right = (logits.argmax(dim=-1) == classes)[valid].double()
    recalls = [right[classes[valid] == c].mean() for c in range(3) if (classes == c).any()]
    return {"loss": loss, "accuracy": right.mean(), "balanced_accuracy": torch.stack(recalls).mean()}


@pytest.mark.parametrize("kind", KINDS)
def test_metrics_are_those_of_the_whole_set_for_any_batch_size(tmp_path, kind):
    rows = make_rows(7)
    for batch_size in (1, 3, 16):
        trainer = make_trainer(tmp_path, kind, rows, rows, per_device_eval_batch_size=batch_size)
        metrics = trainer.evaluate()
        expected = {f"eval_{k}": float(v) for k, v in expected_metrics(kind, trainer.model, rows).items()}
        assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-5)
        assert trainer.predict(rows_of(kind, rows)).metrics["test_loss"] == pytest.approx(metrics["eval_loss"])


def test_two_classes_have_an_auroc_that_counts_pairs(tmp_path):
    rows = [{**row, "hard": [c if c < 2 else -1 for c in row["hard"]]} for row in make_rows(7)]
    trainer = make_trainer(tmp_path, "hard", rows, rows, num_labels=2, per_device_eval_batch_size=2)
    metrics = trainer.evaluate()
    pairs = []
    with torch.no_grad():
        for row in rows:
            logits = trainer.model(torch.tensor([row["input_ids"]])).logits[0]
            scores = (logits[:, 1] - logits[:, 0]).tolist()
            pairs += [(score, c) for score, c in zip(scores, row["hard"], strict=True) if c >= 0]
    ones, zeros = ([score for score, c in pairs if c == wanted] for wanted in (1, 0))
    wins = sum((a > b) + (a == b) / 2 for a in ones for b in zeros) / len(ones) / len(zeros)
    assert metrics["eval_auroc"] == pytest.approx(wins, abs=1e-6)


# ---- learning ----


@pytest.mark.parametrize("kind", KINDS)
def test_training_learns_and_moves_every_weight(tmp_path, kind):
    rows = make_rows(64)
    arguments = {"max_steps": 40, "per_device_train_batch_size": 16, "learning_rate": 1e-2}
    trainer = make_trainer(tmp_path, kind, rows, rows, **arguments)
    before, first = weights(trainer.model), trainer.evaluate()
    trainer.train()
    last = trainer.evaluate()
    floor = 0.97 if kind == "soft" else 0.6  # soft labels are nearly uniform
    assert last["eval_loss"] < first["eval_loss"] * floor
    assert all(not torch.equal(before[name], tensor) for name, tensor in weights(trainer.model).items())


@pytest.mark.parametrize("kind", ["hard", "scores"])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, kind):
    rows, arguments = make_rows(16), {"max_steps": 4, "save_strategy": "steps", "save_steps": 2}
    arguments.update(per_device_train_batch_size=4, lr_scheduler_type="cosine")
    whole = make_trainer(tmp_path, kind, rows, **arguments)
    whole.train()
    resumed = make_trainer(tmp_path, kind, rows, **arguments)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert_equal_weights(weights(whole.model), weights(resumed.model))


# ---- errors ----


@pytest.mark.parametrize("field", [{"critic_warmup_end": 5}, {"min_mask_rate": 0.1}, {"masking": "bert"}])
def test_arguments_of_the_language_model_are_refused(tmp_path, field):
    (name,) = field
    with pytest.raises(ValueError, match=f"`{name}` must be left out when a classification or scoring head"):
        make_trainer(tmp_path, "hard", make_rows(2), **field)


@pytest.mark.parametrize(("kind", "trainer"), [("scores", ClassificationTrainer), ("classes", ScoringTrainer)])
def test_a_model_of_the_other_kind_is_refused(tmp_path, kind, trainer):
    args = CriticTrainingArguments(str(tmp_path), use_cpu=True)
    with pytest.raises(ValueError, match=f"`num_labels` of the model must be .* for {trainer.__name__}, got "):
        trainer(make_model(kind), args, processing_class=LETTERS)


# ---- two processes ----

SCRIPT = """
import json, sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from critic_gpt.scripts import leave_together
from head_training import make_rows, make_trainer
from critic_training import logs_of
folder, world, kind = Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
trainer = make_trainer(
    folder, kind, make_rows(16), make_rows(7, seed=4), max_steps=3, per_device_train_batch_size=2,
    gradient_accumulation_steps=4 // world, optim="sgd", learning_rate=0.1, per_device_eval_batch_size=2,
)
assert trainer.accelerator.num_processes == world
trainer.train()
metrics = trainer.evaluate()
if trainer.is_world_process_zero():
    torch.save(trainer.model.state_dict(), folder / "weights.pt")
    (folder / "result.json").write_text(json.dumps({"logs": logs_of(trainer), "metrics": metrics}))
leave_together()
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["balanced", "scores"])
def test_two_processes_train_and_evaluate_like_one(tmp_path, kind):
    results = []
    for world in (1, 2):
        folder = launch_script(SCRIPT, tmp_path / str(world), world, kind)
        results.append((json.loads((folder / "result.json").read_text()), torch.load(folder / "weights.pt")))
    (one, weights_of_one), (two, weights_of_two) = results
    assert_equal_weights(weights_of_one, weights_of_two, tolerance=1e-5)
    for log, other in zip(one["logs"], two["logs"], strict=True):
        assert other["loss"] == pytest.approx(log["loss"], abs=1e-5)
    figures = [name for name in one["metrics"] if "second" not in name and "runtime" not in name]
    assert len(figures) >= 4
    for name in figures:
        assert two["metrics"][name] == pytest.approx(one["metrics"][name], abs=1e-5), name
