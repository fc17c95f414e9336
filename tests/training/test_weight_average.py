# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the moving average of the weights: it is judged and published, and training goes on beside it."""

import head_training
import pytest
import torch
from critic_training import (
    JUDGING,
    Watch,
    assert_equal_weights,
    assert_resumes,
    frozen_model,
    logs_of,
    make_model,
    make_rows,
    make_trainer,
    weights,
)
from safetensors.torch import load_file
from transformers import TrainerCallback

from critic_gpt import CriticGPTForMaskedLM
from critic_gpt.training.callbacks import UnfreezeCallback
from critic_gpt.training.weight_average import TRAINING_WEIGHTS_NAME, load_training_weights


SAVING = {"max_steps": 5, "save_strategy": "steps", "save_steps": 1, "lr_scheduler_type": "cosine"}


def averaging_trainer(folder, rows=None, eval_rows=None, seed=0, **arguments):
    rows = make_rows(16, lengths=(3, 14)) if rows is None else rows
    fixed = {"ema_decay": 0.7, "learning_rate": 1e-2, "max_steps": 5}
    return make_trainer(folder, make_model(seed, hidden_dropout=0.1), rows, eval_rows, **{**fixed, **arguments})


def averaged_by_hand(weights, steps, decay, start=0):
    """The average after each of several steps: d of it stays, where d = (1 + n) / (10 + n) rises up to the decay."""
    averages = [weights]
    for number, present in enumerate(steps, start):
        d = min(decay, (1 + number) / (10 + number))
        averages.append({name: d * value + (1 - d) * present[name] for name, value in averages[-1].items()})
    return averages[1:]


# ---- what it is ----


@pytest.mark.parametrize("decay", [0.15, 0.7])
def test_it_follows_its_formula_and_is_what_training_leaves_and_saves(tmp_path, decay):
    watch = Watch()
    trainer = averaging_trainer(tmp_path, ema_decay=decay, callbacks=[watch])
    start = weights(trainer.model)
    trainer.train()
    expected = averaged_by_hand(start, watch.weights, decay)[-1]
    assert_equal_weights(expected, weights(trainer.model), tolerance=1e-6)
    assert (expected["model.embed_tokens.weight"] - watch.weights[-1]["model.embed_tokens.weight"]).abs().max() > 1e-3
    trainer.save_model()
    assert_equal_weights(weights(trainer.model), weights(CriticGPTForMaskedLM.from_pretrained(tmp_path)))
    assert not (tmp_path / TRAINING_WEIGHTS_NAME).exists()


def test_training_beside_it_is_that_without_it(tmp_path):
    runs = []
    for decay in (0.0, 0.9):
        watch, arguments = Watch(), {**SAVING, **JUDGING, "ema_decay": decay}
        trainer = averaging_trainer(tmp_path / str(decay), eval_rows=make_rows(4), callbacks=[watch], **arguments)
        trainer.train()
        runs.append((watch.weights, [log["loss"] for log in logs_of(trainer)]))
    (plain, losses), (beside, others) = runs
    assert losses == others
    for one, other in zip(plain, beside, strict=True):
        assert_equal_weights(one, other)
    assert not list((tmp_path / "0.0").rglob(TRAINING_WEIGHTS_NAME)), "without it nothing more is written"


def test_evaluations_are_of_the_average(tmp_path):
    rows = make_rows(6, seed=3)
    trainer = averaging_trainer(tmp_path, eval_rows=rows, **SAVING, **JUDGING)
    trainer.train()
    losses = [log["eval_loss"] for log in logs_of(trainer, "eval_loss")]
    assert len(set(losses)) == 5
    for number, loss in enumerate(losses, start=1):
        model = CriticGPTForMaskedLM.from_pretrained(tmp_path / f"checkpoint-{number}")
        assert make_trainer(tmp_path / "other", model, rows, rows).evaluate()["eval_loss"] == loss
    assert trainer.evaluate()["eval_loss"] == trainer.predict(rows).metrics["test_loss"] == losses[-1]


def test_the_best_model_is_the_average_of_its_step(tmp_path):
    arguments = {**SAVING, **JUDGING, "load_best_model_at_end": True, "metric_for_best_model": "eval_loss"}
    arguments["greater_is_better"] = True  # the first, before anything learns
    trainer = averaging_trainer(tmp_path, eval_rows=make_rows(6, seed=3), **arguments)
    trainer.train()
    losses = [log["eval_loss"] for log in logs_of(trainer, "eval_loss")]
    best = losses.index(max(losses)) + 1
    assert best < 5
    saved = CriticGPTForMaskedLM.from_pretrained(tmp_path / f"checkpoint-{best}")
    assert_equal_weights(weights(saved), weights(trainer.model))
    assert trainer.evaluate()["eval_loss"] == max(losses)


def test_a_frozen_trunk_is_not_kept_twice_and_weights_of_another_model_are_refused(tmp_path):
    trainer = make_trainer(tmp_path, frozen_model(), make_rows(8), ema_decay=0.5, **{**SAVING, "max_steps": 1})
    trainer.train()
    stored = load_file(tmp_path / "checkpoint-1" / TRAINING_WEIGHTS_NAME)
    assert set(stored) == {"lm_head.weight", "critic_head.weight"}
    with pytest.raises(ValueError, match="`resume_from_checkpoint` must be of the model that is trained, got "):
        load_training_weights(make_model(hidden_size=8), tmp_path / "checkpoint-1")


def test_the_other_heads_are_averaged_too(tmp_path):
    watch = Watch()
    rows = head_training.make_rows(8)
    trainer = head_training.make_trainer(tmp_path, "hard", rows, callbacks=[watch], ema_decay=0.7, max_steps=4)
    start = weights(trainer.model)
    trainer.train()
    expected = averaged_by_hand(start, watch.weights, 0.7)[-1]
    assert_equal_weights(expected, weights(trainer.model), tolerance=1e-6)


# ---- resuming ----


def test_a_checkpoint_holds_the_average_as_its_model_and_the_training_weights_beside_the_optimizer(tmp_path):
    class Save(TrainerCallback):
        def on_step_end(self, args, state, control, **kwargs):
            trainer.save_model(str(tmp_path / f"middle-{state.global_step}"))

    watch = Watch()
    trainer = averaging_trainer(tmp_path, callbacks=[watch, Save()], **SAVING)
    start = weights(trainer.model)
    trainer.train()
    for number, expected in enumerate(averaged_by_hand(start, watch.weights, 0.7), start=1):
        folder = tmp_path / f"checkpoint-{number}"
        for place in (folder, tmp_path / f"middle-{number}"):  # a model saved in the middle is the average too
            saved = weights(CriticGPTForMaskedLM.from_pretrained(place))
            assert_equal_weights(expected, saved, tolerance=1e-6)
        stored = load_file(folder / TRAINING_WEIGHTS_NAME)
        assert set(stored) == {name for name, _ in trainer.model.named_parameters()}
        assert_equal_weights(stored, watch.weights[number - 1])


@pytest.mark.parametrize("arguments", [{}, {"muon_learning_rate": 0.02, "gradient_accumulation_steps": 2}])
def test_a_resumed_run_ends_with_the_same_average_and_training_weights(tmp_path, arguments):
    assert_resumes(lambda folder, seed: averaging_trainer(folder, seed=seed, **SAVING, **arguments), tmp_path, 1, 3)
    whole, *resumed = (
        load_file(tmp_path / name / "checkpoint-5" / TRAINING_WEIGHTS_NAME) for name in ("whole", "from-1", "from-3")
    )
    for stored in resumed:
        assert_equal_weights(whole, stored)


def test_a_run_resumed_around_an_unfreezing_ends_with_the_same_average(tmp_path):
    def make(folder, seed):
        arguments = {**SAVING, "ema_decay": 0.6, "learning_rate": 1e-2}
        return make_trainer(
            folder, frozen_model(seed=seed), make_rows(8), callbacks=[UnfreezeCallback(2)], **arguments
        )

    assert_resumes(make, tmp_path, 1, 3)


def test_a_run_resumed_without_an_average_goes_on_with_the_training_weights(tmp_path):
    short = {**SAVING, "max_steps": 3, "save_steps": 2}
    averaging_trainer(tmp_path, **short).train()
    plain = averaging_trainer(tmp_path / "plain", ema_decay=0.0, **short)
    plain.train()
    resumed = averaging_trainer(tmp_path / "resumed", seed=3, ema_decay=0.0, **short)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-2"))
    assert_equal_weights(weights(plain.model), weights(resumed.model))
    # A checkpoint that is written over an averaged one has no training weights of the old run.
    averaging_trainer(tmp_path, ema_decay=0.0, **short).train()
    assert not list(tmp_path.glob(f"checkpoint-*/{TRAINING_WEIGHTS_NAME}"))


def test_an_average_that_begins_in_the_middle_begins_at_the_weights_there(tmp_path):
    plain = Watch()
    averaging_trainer(tmp_path, ema_decay=0.0, callbacks=[plain], **SAVING).train()
    resumed = averaging_trainer(tmp_path / "resumed", seed=3, **SAVING)
    resumed.train(resume_from_checkpoint=str(tmp_path / "checkpoint-3"))
    average = averaged_by_hand(plain.weights[2], plain.weights[3:], 0.7, start=3)[-1]
    assert_equal_weights(average, weights(resumed.model), tolerance=1e-6)


# ---- errors ----


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_weights_in_half_precision_are_refused(tmp_path, dtype):
    trainer = make_trainer(tmp_path, make_model().to(dtype), make_rows(4), ema_decay=0.9)
    with pytest.raises(
        ValueError, match=r"`ema_decay` must be 0 for weights in half precision.* got 0\.9 and .*: load"
    ):
        trainer.train()
