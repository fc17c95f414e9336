"""Claims about freezing the trunk, and unfreezing it in the middle of a run."""

import pytest
import torch
from critic_training import (
    LETTERS,
    SAVING,
    Passes,
    Watch,
    assert_resumes,
    frozen_model,
    is_trunk,
    logs_of,
    make_model,
    make_rows,
    make_trainer,
    moved,
    weights,
)
from launching import one_and_two
from transformers import Trainer, TrainingArguments

from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.training.callbacks import UnfreezeCallback


# ---- what moves when ----


@pytest.mark.parametrize("untie", [False, True])
def test_a_frozen_trunk_stays_whatever_the_weight_decay_and_then_moves_as_a_whole(tmp_path, untie):
    model, watch = frozen_model(untie), Watch()
    start = weights(model)
    heads = {"critic_head.weight"} | ({"lm_head.weight"} if untie else set())
    unfreezing = UnfreezeCallback(2, lr_multiplier=0.1)
    arguments = {"max_steps": 4, "weight_decay": 0.5, "learning_rate": 1e-2, "lr_scheduler_type": "linear"}
    trainer = make_trainer(tmp_path, model, make_rows(16), callbacks=[unfreezing, watch], **arguments)
    trainer.train()
    assert moved(start, watch.weights[1]) == heads
    assert moved(watch.weights[1], watch.weights[2]) == set(start)
    # The schedule has moved on by one step when a step ends.
    for step, (head_rates, trunk_rates) in enumerate(watch.rates, start=1):
        assert [*head_rates] == pytest.approx([1e-2 * (1 - step / 4)])
        assert [*trunk_rates] == pytest.approx([1e-3 * (1 - step / 4)])
    decays = [group["weight_decay"] for group in trainer.optimizer.param_groups]
    norms = [p for p in model.parameters() if p.dim() == 1]
    assert decays == [0.5, 0.0, 0.5, 0.0] and len(trainer.optimizer.param_groups[3]["params"]) == len(norms)
    assert logs_of(trainer)[0]["learning_rate"] == 1e-2


def test_the_multiplier_scales_the_first_step_of_the_trunk(tmp_path):
    steps = []
    for multiplier in (1.0, 0.25):
        watch = Watch()
        callbacks = [UnfreezeCallback(1, multiplier), watch]
        arguments = {"max_steps": 2, "optim": "sgd", "weight_decay": 0.0, "learning_rate": 0.1}
        make_trainer(tmp_path, frozen_model(), make_rows(8), callbacks=callbacks, **arguments).train()
        steps.append({name: watch.weights[1][name] - watch.weights[0][name] for name in watch.weights[0]})
    whole, quarter = steps
    for name in whole:
        factor = 0.25 if is_trunk(name) else 1.0
        torch.testing.assert_close(quarter[name], factor * whole[name], rtol=1e-3, atol=1e-6, msg=name)


# ---- nothing is computed in vain ----


def test_a_frozen_trunk_takes_no_gradient_and_no_correction_that_trains_nothing(tmp_path):
    model, graphs = frozen_model(untie=False), []
    passes = Passes(model)
    model.model.register_forward_hook(lambda module, args, output: graphs.append(output[0].requires_grad))
    rows, warm_up = make_rows(8), {"critic_warmup_start": 1, "critic_warmup_end": 2}
    trainer = make_trainer(tmp_path, model, rows, rows, callbacks=[passes], max_steps=3, **warm_up)
    trainer.train()
    assert graphs and not any(graphs)
    assert passes.steps == [1, 1, 2]  # no second pass while the critic weighs nothing
    assert all("correction_loss" not in log for log in logs_of(trainer))
    assert "eval_correction_loss" in trainer.evaluate()


def test_with_a_head_of_its_own_the_correction_is_trained(tmp_path):
    trainer = make_trainer(tmp_path, frozen_model(critic_alpha=0.0), make_rows(8))
    trainer.train()
    assert logs_of(trainer)[0]["correction_loss"] > 0


# ---- resuming ----


@pytest.mark.parametrize("untie", [False, True])
def test_a_run_resumed_around_the_unfreezing_ends_with_the_same_weights(tmp_path, untie):
    arguments = {**SAVING, "max_steps": 6, "gradient_accumulation_steps": 2, "per_device_train_batch_size": 2}
    arguments |= {"lr_scheduler_type": "cosine", "weight_decay": 0.1, "max_grad_norm": 1.0}

    def make(folder, seed):
        model = frozen_model(untie, seed=seed)
        rows, callbacks = make_rows(8, lengths=(3, 14)), [UnfreezeCallback(3, 0.3)]
        return make_trainer(folder, model, rows, callbacks=callbacks, **arguments)

    whole = assert_resumes(make, tmp_path, 2, 3, 4)  # before, at, after
    assert (whole.model.lm_head.weight is whole.model.model.embed_tokens.weight) is not untie


# ---- errors ----


@pytest.mark.parametrize(("arguments", "field"), [((0,), "step"), ((1, 0.0), "lr_multiplier")])
def test_numbers_out_of_range_are_refused(arguments, field):
    with pytest.raises(ValueError, match=f"`{field}` must be .* got 0"):
        UnfreezeCallback(*arguments)


@pytest.mark.parametrize(
    ("model", "callbacks", "message"),
    [
        (make_model, [1], "`UnfreezeCallback` must be given with a frozen trunk"),
        (frozen_model, [3], "`step` must be below the 3 steps of this training, got 3: "),
        (frozen_model, [1, 2], "one UnfreezeCallback at most, got 2"),
    ],
)
def test_what_cannot_be_unfrozen_is_refused(tmp_path, model, callbacks, message):
    trainer = make_trainer(tmp_path, model(), make_rows(4), max_steps=3)
    for step in callbacks:
        trainer.add_callback(UnfreezeCallback(step))
    with pytest.raises(ValueError, match=message):
        trainer.train()


def test_an_optimizer_without_the_trunk_is_refused(tmp_path):
    collator = DataCollatorForMaskedDiffusion(LETTERS)
    args = TrainingArguments(str(tmp_path), use_cpu=True, max_steps=1, remove_unused_columns=False, report_to="none")
    data = {"data_collator": collator, "train_dataset": make_rows(4)}
    trainer = Trainer(frozen_model(), args, callbacks=[UnfreezeCallback(1)], **data)
    with pytest.raises(ValueError, match="`optimizer` must hold the frozen trunk from the start"):
        trainer.train()


# ---- two processes ----

SCRIPT = """
from critic_gpt.training.callbacks import UnfreezeCallback
trainer = make_trainer(
    folder, frozen_model(untie="untied" in arguments), make_rows(16, lengths=(3, 14)), evaluation=True, max_steps=4,
    per_device_train_batch_size=2, gradient_accumulation_steps=4 // world, train_sampling_strategy="sequential",
    callbacks=[UnfreezeCallback(2, 0.5)], optim="sgd", learning_rate=0.1, max_grad_norm=0.5,
)
trainer.train()
leave(trainer)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_two_processes_unfreeze_like_one(tmp_path, kind):
    results, trained = one_and_two(SCRIPT, tmp_path, kind)
    start = weights(frozen_model(untie=kind == "untied"))
    assert moved(start, trained) == set(start)
    for log, other in zip(*(result["logs"] for result in results), strict=True):
        assert other["grad_norm"] == pytest.approx(log["grad_norm"], rel=1e-4)
