"""Claims about the trainers of the other heads: exact losses and metrics, whatever the batches."""

import numpy as np
import pytest
import torch
from critic_training import LETTERS, SAVING, Gradients, assert_equal_weights, assert_resumes, logs_of
from head_training import KINDS, make_model, make_rows, make_trainer, rows_of
from launching import one_and_two
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    mean_absolute_error,
    mean_squared_error,
    roc_auc_score,
)

from critic_gpt import CriticTrainingArguments
from critic_gpt.diffusion.losses import token_classification_loss
from critic_gpt.training.head_collator import DataCollatorForHeads
from critic_gpt.training.head_trainer import ClassificationTrainer, ScoringTrainer


# ---- the loss ----


@pytest.mark.parametrize("kind", KINDS)
def test_the_loss_over_the_whole_batch_is_that_of_the_model_and_the_mean_of_its_parts(tmp_path, kind, monkeypatch):
    trainer = make_trainer(tmp_path, kind, make_rows(6), per_device_train_batch_size=6)
    batch = next(iter(trainer.get_train_dataloader()))
    trainer.model.train()
    loss, outputs = trainer.compute_loss(trainer.model, batch, return_outputs=True)
    torch.testing.assert_close(loss, trainer.model(**batch).loss)
    assert len(outputs["logits"]) == 6
    _, twice = trainer.get_batch_samples(iter([batch, batch]), 2, torch.device("cpu"))
    torch.testing.assert_close(trainer.compute_loss(trainer.model, batch, num_items_in_batch=twice), loss / 2)
    # Two processes, each with a part: what is averaged over them is the loss of the whole.
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", 2)
    parts = [{name: values[rows] for name, values in batch.items()} for rows in (slice(4), slice(4, 6))]
    both = [trainer.compute_loss(trainer.model, part, num_items_in_batch=twice / 2) for part in parts]
    torch.testing.assert_close(sum(both) / 2, loss)


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
    """The metrics by scikit-learn and NumPy, of logits that were computed row by row."""
    collator = DataCollatorForHeads(LETTERS, {"classes": "label", "scores": "score"}.get(kind, "labels"))
    logits, labels = [], []
    for row in rows_of(kind, rows):
        batch = collator([row])
        target = batch.pop("labels")
        with torch.no_grad():
            logits.append(model.eval()(**batch).logits.flatten(0, -2))
        labels.append(target.flatten(0, 1) if kind == "soft" else target.flatten())
    logits, labels = torch.cat(logits), torch.cat(labels)
    if kind == "scores":
        x, y = logits.squeeze(-1).double(), labels.double()
        mse, mae = mean_squared_error(y, x), mean_absolute_error(y, x)
        return {"loss": mse, "mse": mse, "mae": mae, "pearson": np.corrcoef(x, y)[0, 1]}
    loss = token_classification_loss(logits[None], labels[None], kind == "balanced").item()
    valid = labels.sum(dim=-1) > 0 if kind == "soft" else labels >= 0
    true, said = (labels.argmax(dim=-1) if kind == "soft" else labels)[valid], logits.argmax(dim=-1)[valid]
    metrics = {"accuracy": accuracy_score(true, said), "balanced_accuracy": balanced_accuracy_score(true, said)}
    if logits.shape[-1] == 2:
        metrics["auroc"] = roc_auc_score(true, (logits[:, 1] - logits[:, 0])[valid])
    return {"loss": loss, **metrics}


@pytest.mark.parametrize("kind", [*KINDS, "two classes"])
def test_metrics_are_those_of_the_whole_set_for_any_batch_size(tmp_path, kind):
    rows, num_labels = make_rows(7), 3
    if kind == "two classes":
        kind, num_labels = "hard", 2
        rows = [{**row, "hard": [c if c < 2 else -1 for c in row["hard"]]} for row in rows]
    for batch_size in (1, 3, 16):
        arguments = {"num_labels": num_labels, "per_device_eval_batch_size": batch_size}
        trainer = make_trainer(tmp_path, kind, rows, rows, **arguments)
        metrics = trainer.evaluate()
        expected = {f"eval_{name}": value for name, value in expected_metrics(kind, trainer.model, rows).items()}
        assert {name: metrics[name] for name in expected} == pytest.approx(expected, abs=1e-5)
        assert trainer.predict(rows_of(kind, rows)).metrics["test_loss"] == pytest.approx(metrics["eval_loss"])


# ---- learning ----


@pytest.mark.parametrize("kind", ["hard", "scores"])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, kind):
    arguments = {**SAVING, "max_steps": 4, "per_device_train_batch_size": 4, "lr_scheduler_type": "cosine"}
    assert_resumes(lambda folder, seed: make_trainer(folder, kind, make_rows(16), **arguments), tmp_path, 2)


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
from head_training import make_rows, make_trainer
trainer = make_trainer(
    folder, arguments[0], make_rows(16), make_rows(7, seed=4), max_steps=3, per_device_train_batch_size=2,
    gradient_accumulation_steps=4 // world, optim="sgd", learning_rate=0.1, per_device_eval_batch_size=2,
)
trainer.train()
leave(trainer, metrics=trainer.evaluate())
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["balanced", "scores"])
def test_two_processes_train_and_evaluate_like_one(tmp_path, kind):
    (one, two), _ = one_and_two(SCRIPT, tmp_path, kind)
    figures = {name: one["metrics"][name] for name in one["metrics"] if "second" not in name and "runtime" not in name}
    assert len(figures) >= 4 and {name: two["metrics"][name] for name in figures} == pytest.approx(figures, abs=1e-5)
