"""Claims about freezing the trunk, and unfreezing it in the middle of a run."""

import json

import pytest
import torch
from accelerate.utils import DistributedType
from critic_training import (
    LETTERS,
    Passes,
    Watch,
    assert_equal_weights,
    frozen_model,
    is_trunk,
    logs_of,
    make_model,
    make_rows,
    make_trainer,
    moved,
    weights,
)
from launching import launch_script
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
    model, passes = frozen_model(untie=False), None
    passes = Passes(model)
    graphs = []
    model.model.register_forward_hook(lambda module, args, output: graphs.append(output[0].requires_grad))
    arguments = {"max_steps": 3, "critic_warmup_start": 1, "critic_warmup_end": 2}
    rows = make_rows(8)
    trainer = make_trainer(tmp_path, model, rows, rows, callbacks=[passes], **arguments)
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


@pytest.mark.parametrize("step", [2, 3, 4], ids=["before", "at", "after"])
@pytest.mark.parametrize("untie", [False, True])
def test_a_run_resumed_around_the_unfreezing_ends_with_the_same_weights(tmp_path, untie, step):
    rows, arguments = make_rows(8, lengths=(3, 14)), {"max_steps": 6, "save_strategy": "steps", "save_steps": 1}
    arguments.update(gradient_accumulation_steps=2, per_device_train_batch_size=2, lr_scheduler_type="cosine")
    arguments.update(weight_decay=0.1, max_grad_norm=1.0)
    whole = make_trainer(tmp_path, frozen_model(untie), rows, callbacks=[UnfreezeCallback(3, 0.3)], **arguments)
    whole.train()
    other = frozen_model(untie, seed=3)
    resumed = make_trainer(tmp_path, other, rows, callbacks=[UnfreezeCallback(3, 0.3)], **arguments)
    resumed.train(resume_from_checkpoint=str(tmp_path / f"checkpoint-{step}"))
    assert_equal_weights(weights(whole.model), weights(resumed.model))
    assert (other.lm_head.weight is other.model.embed_tokens.weight) is not untie


# ---- errors ----


@pytest.mark.parametrize(("arguments", "field"), [((0,), "step"), ((1, 0.0), "lr_multiplier")])
def test_numbers_out_of_range_are_refused(arguments, field):
    with pytest.raises(ValueError, match=f"`{field}` must be .* got 0"):
        UnfreezeCallback(*arguments)


def test_a_trunk_that_is_not_frozen_is_refused(tmp_path):
    trainer = make_trainer(tmp_path, make_model(), make_rows(4), callbacks=[UnfreezeCallback(1)])
    with pytest.raises(ValueError, match="`UnfreezeCallback` must be given with a frozen trunk"):
        trainer.train()


def test_a_step_that_the_training_never_comes_to_is_refused(tmp_path):
    trainer = make_trainer(tmp_path, frozen_model(), make_rows(4), callbacks=[UnfreezeCallback(3)], max_steps=3)
    with pytest.raises(ValueError, match="`step` must be below the 3 steps of this training, got 3: "):
        trainer.train()


def test_two_of_them_are_refused(tmp_path):
    trainer = make_trainer(tmp_path, frozen_model(), make_rows(4), callbacks=[UnfreezeCallback(1)])
    trainer.add_callback(UnfreezeCallback(2))
    with pytest.raises(ValueError, match="one UnfreezeCallback at most, got 2"):
        trainer.train()


@pytest.mark.parametrize("kind", [DistributedType.FSDP, DistributedType.DEEPSPEED])
def test_sharded_parameters_are_refused(tmp_path, monkeypatch, kind):
    trainer = make_trainer(tmp_path, frozen_model(), make_rows(4), callbacks=[UnfreezeCallback(1)])
    monkeypatch.setattr(type(trainer.accelerator), "distributed_type", kind)
    with pytest.raises(ValueError, match=f"must be left out with sharded parameters, got it with {kind.value}"):
        trainer.create_optimizer()


def test_an_optimizer_without_the_trunk_is_refused(tmp_path):
    collator = DataCollatorForMaskedDiffusion(LETTERS)
    args = TrainingArguments(str(tmp_path), use_cpu=True, max_steps=1, remove_unused_columns=False, report_to="none")
    data = {"data_collator": collator, "train_dataset": make_rows(4)}
    trainer = Trainer(frozen_model(), args, callbacks=[UnfreezeCallback(1)], **data)
    with pytest.raises(ValueError, match="`optimizer` must hold the frozen trunk from the start"):
        trainer.train()


# ---- two processes ----

SCRIPT = """
import json, sys, torch
from pathlib import Path
torch.set_num_threads(1)
sys.path.insert(0, sys.argv[1])
from critic_gpt.scripts import leave_together
from critic_gpt.training.callbacks import UnfreezeCallback
from critic_training import frozen_model
from critic_training import make_rows, make_trainer, logs_of
folder, world, kind = Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4]
trainer = make_trainer(
    folder, frozen_model(untie=kind == "untied"), make_rows(16, lengths=(3, 14)), evaluation=True, max_steps=4,
    per_device_train_batch_size=2, gradient_accumulation_steps=4 // world, train_sampling_strategy="sequential",
    callbacks=[UnfreezeCallback(2, 0.5)], optim="sgd", learning_rate=0.1, max_grad_norm=0.5,
)
assert trainer.accelerator.num_processes == world
trainer.train()
torch.save(trainer.model.state_dict(), folder / f"weights-{trainer.args.process_index}.pt")
if trainer.is_world_process_zero():
    (folder / "result.json").write_text(json.dumps(logs_of(trainer)))
leave_together()
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["tied", "untied"])
def test_two_processes_unfreeze_like_one(tmp_path, kind):
    one, two = (launch_script(SCRIPT, tmp_path / str(world), world, kind) for world in (1, 2))
    first, second = (torch.load(two / f"weights-{rank}.pt") for rank in (0, 1))
    assert_equal_weights(first, second)
    assert_equal_weights(torch.load(one / "weights-0.pt"), first, tolerance=1e-5)
    start = weights(frozen_model(untie=kind == "untied"))
    assert moved(start, first) == set(start)
    logs = [json.loads((folder / "result.json").read_text()) for folder in (one, two)]
    for log, other in zip(*logs, strict=True):
        assert other["grad_norm"] == pytest.approx(log["grad_norm"], rel=1e-4)
