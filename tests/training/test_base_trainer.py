"""Claims about what the trainers share: modified losses are counted once, and streams come in the same batches."""

import critic_training
import head_training
import pytest
import torch
from critic_training import Gradients, assert_equal_weights, logs_of, make_model, make_rows, make_stream, weights
from launching import one_and_two
from sentences import one_sentence

from critic_gpt.training.modifiers import JudgeWeight, LossModifiers


# ---- loss modifiers ----


class Weighing:
    """A modifier whose weights depend on the data and on the model: what is told of a batch is what it sees."""

    enabled, fills_masks = True, False

    def __init__(self, task="language_model", enabled=True):
        self.task, self.enabled, self.steps, self.device = task, enabled, [], None

    def to(self, device):
        self.device = torch.device(device)
        return self

    def modify_token_loss(self, batch, step):
        self.steps.append(step)
        assert batch.attention_mask is not None and batch.loss_weights is not None
        weights = 1 + (batch.input_ids % 3 == 0) + batch.logits[..., 2].sigmoid()
        return batch.token_loss * weights, {"weighing/weight": (weights.detach().sum(), self._count(weights))}

    def modify_row_loss(self, batch, step):
        self.steps.append(step)
        weights = 1 + batch.targets + batch.predictions
        return batch.row_loss * weights, {"weighing/weight": (weights.detach().sum(), self._count(weights))}

    @staticmethod
    def _count(weights):
        return torch.tensor(float(weights.numel()))


def run(folder, batch_size, modifiers, **fields):
    gradients, model = Gradients(), make_model(**fields)
    trainer = critic_training.make_trainer(
        folder,
        model,
        make_rows(8, lengths=(2, 14)),
        evaluation=True,
        callbacks=[gradients],
        train_sampling_strategy="sequential",
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=8 // batch_size,
        trainer={"loss_modifiers": modifiers},
    )
    trainer.train()
    return trainer, gradients.steps[0], logs_of(trainer)[0]


@pytest.mark.parametrize("fields", [{}, {"add_critic_head": False}])
def test_modified_losses_are_summed_over_micro_batches_and_divided_by_the_global_count(tmp_path, fields):
    results = [run(tmp_path, size, Weighing(), **fields) for size in (8, 4, 1)]
    trainer, gradients, log = results[0]
    # By hand: all rows at once, from the model's own losses.
    model = make_model(**fields).train()
    batch = trainer.data_collator([{**row, "example_id": i} for i, row in enumerate(make_rows(8, lengths=(2, 14)))])
    out = model(**batch)
    weights = 1 + (batch["input_ids"] % 3 == 0) + out.logits[..., 2].sigmoid()
    modified = (out.lm_token_loss * weights).sum() / batch["attention_mask"].sum()
    loss = modified + (out.loss - out.lm_loss)  # the other terms as they are
    loss.backward()
    assert_equal_weights({name: p.grad for name, p in model.named_parameters()}, gradients, tolerance=1e-5)
    assert log["loss"] == pytest.approx(loss.item(), abs=1e-5)
    assert log["lm_loss"] == pytest.approx(out.lm_loss.item(), abs=1e-5)
    for other, other_gradients, other_log in results[1:]:
        assert_equal_weights(gradients, other_gradients, tolerance=1e-5)
        for name in ("loss", "lm_loss", *(["critic_loss", "correction_loss"] if not fields else [])):
            assert other_log[name] == pytest.approx(log[name], abs=1e-5), name
        assert other.loss_modifiers.steps == [0] * len(other.loss_modifiers.steps)
    assert log["weighing/weight"] == pytest.approx(weights.mean().item(), abs=1e-5)
    assert trainer.loss_modifiers.device == torch.device("cpu")


def test_evaluation_is_not_modified(tmp_path):
    rows, results = make_rows(6), []
    for modifiers in (None, Weighing()):
        given = {"loss_modifiers": modifiers}
        trainer = critic_training.make_trainer(tmp_path, make_model(), rows, rows, trainer=given)
        results.append(trainer.evaluate())
    assert modifiers.steps == [] and results[0]["eval_loss"] == results[1]["eval_loss"]


@pytest.mark.parametrize("modifiers", [None, Weighing(enabled=False)])
def test_without_modifiers_nothing_is_computed_and_nothing_changes(tmp_path, modifiers):
    _, gradients, log = run(tmp_path, 4, modifiers)
    _, plain, plain_log = run(tmp_path, 4, None)
    assert_equal_weights(plain, gradients)
    assert {**log, "grad_norm": 0} == {**plain_log, "grad_norm": 0} and not any("/" in name for name in log)


def test_a_scorer_s_row_losses_are_modified_and_counted_once(tmp_path):
    rows, results = head_training.make_rows(8), []
    for size in (8, 2):
        gradients = Gradients()
        sizes = {"per_device_train_batch_size": size, "gradient_accumulation_steps": 8 // size}
        trainer = head_training.make_trainer(
            tmp_path,
            "scores",
            rows,
            rows,
            [gradients],
            trainer={"loss_modifiers": Weighing("sequence_scoring")},
            **sizes,
        )
        trainer.train()
        results.append((gradients.steps[0], logs_of(trainer)[0]))
    model = head_training.make_model("scores").train()
    batch = trainer.data_collator(rows)
    targets = batch.pop("labels")
    predictions = model(**batch).logits.squeeze(-1)
    row_loss = (predictions - targets).square()
    loss = (row_loss * (1 + targets + predictions)).mean()
    loss.backward()
    for gradients, log in results:
        assert_equal_weights({name: p.grad for name, p in model.named_parameters()}, gradients, tolerance=1e-5)
        assert log["loss"] == pytest.approx(loss.item(), abs=1e-5)
        assert log["mse"] == pytest.approx(row_loss.mean().item(), abs=1e-5)
        assert log["weighing/weight"] == pytest.approx((1 + targets + predictions).mean().item(), abs=1e-5)


@pytest.mark.parametrize(
    ("kind", "task", "way_out"),
    [
        ("scores", "language_model", "take some of sequence_scoring"),
        ("hard", "sequence_scoring", "leave them out"),
        (None, "sequence_scoring", "take some of language_model"),
    ],
)
def test_modifiers_of_another_loss_are_refused(tmp_path, kind, task, way_out):
    trainer = {"loss_modifiers": Weighing(task)}
    with one_sentence("must be of the loss that", f"trains, got some of {task}: {way_out}", begins="`loss_modifiers`"):
        if kind is None:
            critic_training.make_trainer(tmp_path, make_model(), make_rows(2), trainer=trainer)
        else:
            head_training.make_trainer(tmp_path, kind, head_training.make_rows(2), trainer=trainer)


@pytest.mark.parametrize("add_critic_head", [False, True])
def test_a_judge_meets_drawn_fillings_with_and_without_a_critic(tmp_path, add_critic_head):
    judge = head_training.make_model("scores")
    seen = []

    class Spy(JudgeWeight):
        def modify(self, batch, step):
            seen.append(batch.fill_uniforms)
            return super().modify(batch, step)

    model = make_model(add_critic_head=add_critic_head)
    given = {"loss_modifiers": LossModifiers([Spy(model=judge)])}
    critic_training.make_trainer(tmp_path, model, make_rows(8), trainer=given).train()
    assert seen and all(uniforms is not None for uniforms in seen)


# ---- evaluation ----


@pytest.mark.parametrize("num_rows", [3, 6])
def test_an_evaluation_is_of_all_rows_whatever_training_drops(tmp_path, num_rows):
    rows, results = make_rows(num_rows), []
    for drop_last in (False, True):
        trainer = critic_training.make_trainer(
            tmp_path, make_model(), rows, rows, per_device_eval_batch_size=4, dataloader_drop_last=drop_last
        )
        results.append(trainer.evaluate()["eval_loss"])
        assert trainer.args.dataloader_drop_last is drop_last
    assert results[0] == results[1]


# ---- streams ----


def train_on_stream(folder, kind="datasets", workers=0, resume=None, **arguments):
    """The weights, and every batch that was trained on."""
    model = make_model(seed=1 if resume else 0)
    stream = make_stream(kind, make_rows(10, lengths=(3, 14)))
    arguments = {"max_steps": 5, "per_device_train_batch_size": 4, "dataloader_num_workers": workers, **arguments}
    trainer = critic_training.make_trainer(folder, model, stream, **arguments)
    batches = []
    model.register_forward_pre_hook(
        lambda module, args, batch: batches.append({k: v for k, v in batch.items() if isinstance(v, torch.Tensor)}),
        with_kwargs=True,
    )
    trainer.train(resume_from_checkpoint=resume)
    return weights(trainer.model), batches


def assert_equal_batches(some, others):
    assert len(some) == len(others)
    for one, other in zip(some, others, strict=True):
        assert one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_a_stream_trains_alike_on_any_number_of_workers_past_its_end(tmp_path):
    # The batches are the same to the bit. Sums over them may be rounded otherwise where tensors of another process lie
    # elsewhere in memory, which Adam would magnify where a gradient is almost zero.
    plain = {"optim": "sgd", "learning_rate": 0.1}
    alone, batches = train_on_stream(tmp_path, **plain)
    assert len(batches) == 5
    for kind, workers in (("torch", 0), ("datasets", 2), ("torch", 2)):
        trained, others = train_on_stream(tmp_path, kind, workers, **plain)
        assert_equal_batches(batches, others)
        assert_equal_weights(alone, trained, tolerance=1e-6)


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("step", [2, 4, None], ids=["in the first epoch", "later", "at the end of a shorter run"])
def test_a_resumed_stream_goes_on_where_it_stood(tmp_path, workers, step):
    saving = {"save_strategy": "steps", "save_steps": 2, "gradient_accumulation_steps": 2}
    saving |= {"optim": "sgd", "learning_rate": 0.1}
    whole, batches = train_on_stream(tmp_path, workers=workers, **saving)
    folder, step = (tmp_path / "short", 4) if step is None else (tmp_path, step)
    if folder != tmp_path:
        train_on_stream(folder, workers=workers, max_steps=4, **saving)
    resumed, others = train_on_stream(folder, workers=workers, resume=str(folder / f"checkpoint-{step}"), **saving)
    assert_equal_batches(batches[2 * step :], others)
    assert_equal_weights(whole, resumed, tolerance=1e-6)


def test_a_stream_can_be_evaluated_and_heads_take_streams_too(tmp_path):
    rows = head_training.rows_of("hard", head_training.make_rows(10))
    metrics = []
    for given in (rows, make_stream("datasets", rows)):
        trainer = head_training.make_trainer(tmp_path, "hard", head_training.make_rows(2))
        trainer.train_dataset = given
        trainer.train()
        metrics.append(trainer.evaluate(given))
    for name in ("eval_loss", "eval_accuracy", "eval_balanced_accuracy"):
        assert metrics[0][name] == pytest.approx(metrics[1][name], abs=1e-6)


SCRIPT = """
from critic_gpt.training.modifiers import LossModifiers, MaskRatioWeight, TargetSmoothing
kind, *flags = arguments
# Modifiers that look at one sequence at a time, so that a micro-batch may be split otherwise.
modifiers = LossModifiers([MaskRatioWeight(), TargetSmoothing(0.2)]) if "modified" in flags else None
trainer = make_trainer(
    folder, make_model(), make_stream(kind, make_rows(10, lengths=(3, 14))), evaluation=True, max_steps=4,
    per_device_train_batch_size=2, gradient_accumulation_steps=4 // world, optim="sgd", learning_rate=0.1,
    dataloader_num_workers=2, trainer={"loss_modifiers": modifiers},
)
trainer.train()
leave(trainer)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("kind", "flags"), [("datasets", ["modified"]), ("torch", [])])
def test_two_processes_read_a_stream_and_modify_losses_like_one(tmp_path, kind, flags):
    one_and_two(SCRIPT, tmp_path, kind, *flags)
