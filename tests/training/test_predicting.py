"""Claims about predictions and metrics: they are there for every trainer, and the same with predictions as without."""

import numpy as np
import pytest
import torch

from critic_gpt import (
    ClassificationTrainer,
    CriticGPTConfig,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticTrainer,
    CriticTrainingArguments,
    ScoringTrainer,
)
from critic_gpt.evaluation.held_out import bound_of
from critic_gpt.evaluation.scoring import judge_fillings
from critic_gpt.tasks import build_character_tokenizer
from critic_gpt.training.head_collator import DataCollatorForHeads


LETTERS = build_character_tokenizer("abcdefgh", model_max_length=16)
COLUMNS = {"tokens": "labels", "sequences": "label", "scores": "score"}


def rows(num=10):
    generator = torch.Generator().manual_seed(3)
    made = []
    for index in range(num):
        ids = torch.randint(2, 10, (6 + index % 3,), generator=generator).tolist()
        made.append({"input_ids": ids, "labels": [one % 2 for one in ids], "label": index % 2, "score": index / num})
    return made


def trainer_of(kind, folder, num_labels=2, fields=None, **given):
    config = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "vocab_size": 10}
    config |= {"max_position_embeddings": 16, "mask_token_id": 1, "pad_token_id": 0, **(fields or {})}
    torch.manual_seed(0)
    arguments = {"use_cpu": True, "disable_tqdm": True, "report_to": "none", "max_steps": 2, "save_strategy": "no"}
    arguments |= {"per_device_eval_batch_size": 4, **given.pop("arguments", {})}
    common = {"args": CriticTrainingArguments(output_dir=str(folder), **arguments), "processing_class": LETTERS}
    common |= {"train_dataset": rows(), "eval_dataset": rows(), **given}
    if kind == "language model":
        return CriticTrainer(CriticGPTForMaskedLM(CriticGPTConfig(**config, add_critic_head=True)), **common)
    labels = {"num_labels": 1 if kind == "scores" else num_labels}
    cls = CriticGPTForTokenClassification if kind == "tokens" else CriticGPTForSequenceClassification
    trainer = ScoringTrainer if kind == "scores" else ClassificationTrainer
    collator = DataCollatorForHeads(LETTERS, COLUMNS[kind])
    return trainer(cls(CriticGPTConfig(**config, **labels)), data_collator=collator, **common)


KINDS = ["language model", *COLUMNS]


def figures(metrics, prefix):
    timed = ("runtime", "samples_per_second", "steps_per_second", "model_preparation_time")
    return {
        name.removeprefix(f"{prefix}_"): value
        for name, value in metrics.items()
        if not name.endswith(timed) and name != "epoch"
    }


@pytest.mark.parametrize("kind", KINDS)
def test_predict_gives_a_prediction_per_row_and_the_metrics_of_evaluate(kind, tmp_path):
    trainer = trainer_of(kind, tmp_path)
    output = trainer.predict(rows())
    first = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
    assert isinstance(first, np.ndarray) and len(first) == 10 and len(output.label_ids) == 10
    assert figures(output.metrics, "test") == figures(trainer.evaluate(), "eval")


@pytest.mark.parametrize("kind", KINDS)
def test_compute_metrics_adds_to_the_metrics_and_takes_none_away(kind, tmp_path):
    plain = figures(trainer_of(kind, tmp_path).evaluate(), "eval")
    more = trainer_of(kind, tmp_path, compute_metrics=lambda given: {"rows": len(given.label_ids)})
    assert figures(more.evaluate(), "eval") == {**plain, "rows": 10}


def test_an_evaluation_without_the_metric_of_the_best_model_is_passed_over(tmp_path, monkeypatch):
    best = {"metric_for_best_model": "critic_auroc", "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    best |= {"save_strategy": "steps", "load_best_model_at_end": True}
    trainer = trainer_of("language model", tmp_path, arguments=best)
    evaluate = trainer.evaluate
    monkeypatch.setattr(
        trainer,
        "evaluate",
        lambda *args, **kwargs: {n: v for n, v in evaluate(*args, **kwargs).items() if n != "eval_critic_auroc"},
    )
    assert trainer.train().global_step == 2
    assert trainer.state.best_metric is None


def test_a_metric_that_never_exists_is_a_sentence(tmp_path):
    best = {"metric_for_best_model": "quality", "eval_strategy": "steps", "eval_steps": 1, "save_steps": 1}
    best |= {"save_strategy": "steps", "load_best_model_at_end": True}
    with pytest.raises(ValueError, match="`metric_for_best_model` must be a metric of evaluation, got 'quality'"):
        trainer_of("language model", tmp_path, arguments=best).train()


HOLES = [{"input_ids": [1] * 6, "labels": [-100] * 6}] * 3  # masks without a truth, tokens without a class


@pytest.mark.parametrize("kind", ["language model", "tokens"])
def test_where_nothing_could_be_judged_there_is_no_number(kind, tmp_path):
    trainer = trainer_of(kind, tmp_path, train_dataset=HOLES, eval_dataset=HOLES, arguments={"logging_steps": 1})
    assert figures(trainer.evaluate(), "eval") == figures(trainer.predict(HOLES).metrics, "test") == {}
    if kind == "language model":
        judged = judge_fillings(trainer.model, HOLES, trainer.data_collator, 3)
        assert bound_of(judged) == {"nats_per_token": None, "bits_per_token": None}
    trainer.train()
    logged = {name for entry in trainer.state.log_history for name in entry}
    assert not logged & {"critic_loss", "critic_accuracy", "error_rate", "accuracy", "eval_loss"}
