"""Claims about predictions and metrics: they are there for every trainer, and the same with predictions as without."""

import head_training
import numpy as np
import pytest
from critic_training import JUDGING, SAVING, make_model, make_rows, make_trainer

from critic_gpt.evaluation.held_out import bound_of
from critic_gpt.evaluation.scoring import judge_fillings


KINDS = ["language model", "hard", "classes", "scores"]


def trainer_of(kind, folder, rows=None, compute_metrics=None, **arguments):
    given = {"trainer": {"compute_metrics": compute_metrics}, "per_device_eval_batch_size": 4, "max_steps": 2}
    if kind == "language model":
        rows = rows or make_rows(10, lengths=(6, 9))
        return make_trainer(folder, make_model(), rows, rows, **given, **arguments)
    rows = rows or head_training.make_rows(10)
    return head_training.make_trainer(folder, kind, rows, rows, **given, **arguments)


BEST = {**SAVING, **JUDGING, "load_best_model_at_end": True}


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
    output = trainer.predict(trainer.eval_dataset)
    first = output.predictions[0] if isinstance(output.predictions, tuple) else output.predictions
    assert isinstance(first, np.ndarray) and len(first) == 10 and len(output.label_ids) == 10
    assert figures(output.metrics, "test") == figures(trainer.evaluate(), "eval")


@pytest.mark.parametrize("kind", KINDS)
def test_compute_metrics_adds_to_the_metrics_and_takes_none_away(kind, tmp_path):
    plain = figures(trainer_of(kind, tmp_path).evaluate(), "eval")
    more = trainer_of(kind, tmp_path, compute_metrics=lambda given: {"rows": len(given.label_ids)})
    assert figures(more.evaluate(), "eval") == {**plain, "rows": 10}


def test_an_evaluation_without_the_metric_of_the_best_model_is_passed_over(tmp_path, monkeypatch):
    trainer = trainer_of("language model", tmp_path, metric_for_best_model="critic_auroc", **BEST)
    evaluate = trainer.evaluate

    def without_it(*args, **kwargs):
        return {name: value for name, value in evaluate(*args, **kwargs).items() if name != "eval_critic_auroc"}

    monkeypatch.setattr(trainer, "evaluate", without_it)
    assert trainer.train().global_step == 2
    assert trainer.state.best_metric is None


def test_a_metric_that_never_exists_is_a_sentence(tmp_path):
    with pytest.raises(ValueError, match="`metric_for_best_model` must be a metric of evaluation, got 'quality'"):
        trainer_of("language model", tmp_path, metric_for_best_model="quality", **BEST).train()


HOLES = [{"input_ids": [1] * 6, "labels": [-100] * 6}] * 3  # masks without a truth, tokens without a class


@pytest.mark.parametrize("kind", ["language model", "hard"])
def test_where_nothing_could_be_judged_there_is_no_number(kind, tmp_path):
    rows = HOLES if kind == "language model" else [{**row, "hard": row["labels"]} for row in HOLES]
    trainer = trainer_of(kind, tmp_path, rows, logging_steps=1)
    assert figures(trainer.evaluate(), "eval") == figures(trainer.predict(HOLES).metrics, "test") == {}
    if kind == "language model":
        judged = judge_fillings(trainer.model, HOLES, trainer.data_collator, 3)
        assert bound_of(judged) == {"nats_per_token": None, "bits_per_token": None}
    trainer.train()
    logged = {name for entry in trainer.state.log_history for name in entry}
    assert not logged & {"critic_loss", "critic_accuracy", "error_rate", "accuracy", "eval_loss"}
