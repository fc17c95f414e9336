"""Claims about the trainer: exact losses, resuming, logs, evaluation, checkpoints."""

import logging
import time

import pytest
import torch
from critic_training import (
    JOINT,
    JUDGING,
    LETTERS,
    RECIPE,
    SAVING,
    TERMS,
    Gradients,
    Passes,
    assert_equal_weights,
    assert_resumes,
    logs_of,
    make_model,
    make_rows,
    make_trainer,
    weights,
)
from launching import one_and_two
from sentences import one_sentence
from transformers import TrainerCallback, TrainingArguments

from critic_gpt import (
    CriticCalibration,
    CriticGPTForMaskedLM,
    CriticTrainer,
    CriticTrainingArguments,
    DataCollatorForMaskedDiffusion,
)
from critic_gpt.evaluation.metrics import auroc


# ---- the loss ----


@pytest.mark.parametrize("scope", ["masked_only", "all"])
@pytest.mark.parametrize(("remaining_alpha", "leave_one_out_alpha"), [(0.0, 0.2), (0.6, 0.0)])
def test_compute_loss_is_the_hand_computed_combination(tmp_path, scope, remaining_alpha, leave_one_out_alpha):
    fields = {"critic_alpha": 0.3, "correction_alpha": 0.7, "remaining_alpha": remaining_alpha}
    fields |= {"add_joint_head": True, "joint_alpha": 0.9, "leave_one_out_alpha": leave_one_out_alpha}
    model = make_model(critic_target_scope=scope, **fields)
    trainer = make_trainer(tmp_path, model, make_rows(6, lengths=(3, 12)), evaluation=True)
    batch = next(iter(trainer.get_train_dataloader()))
    model.train()
    loss, out = trainer.compute_loss(model, batch, return_outputs=True)
    real, filled = (batch["input_ids"] != 0).sum(), batch["fill_mask"].sum()
    expected = out.lm_token_loss.sum() / real
    expected = expected + 0.3 * out.critic_token_loss.sum() / out.critic_valid.sum()
    expected = expected + 0.7 * out.correction_token_loss.sum() / filled
    if remaining_alpha:
        expected = expected + 0.6 * out.remaining_token_loss.sum() / real
    if leave_one_out_alpha:
        expected = expected + 0.2 * out.leave_one_out_token_loss.sum() / filled
    asked = ((batch["input_ids"] == 1) & ~batch["given_mask"]).sum()
    expected = expected + 0.9 * out.joint_token_loss.sum() / asked
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(loss, out.loss)
    _, counts = trainer.get_batch_samples(iter([batch, batch]), 2, torch.device("cpu"))
    assert counts.tolist() == [2 * real, 2 * out.critic_valid.sum(), 2 * filled, 2 * real, 2 * filled, 2 * asked]
    torch.testing.assert_close(trainer.compute_loss(model, batch, num_items_in_batch=counts), expected / 2)


@pytest.mark.parametrize("fields", [{}, {"add_critic_head": False}, RECIPE, JOINT])
def test_what_is_averaged_over_processes_is_the_loss_of_the_whole_batch(tmp_path, fields, monkeypatch):
    model = make_model(**fields).train()
    arguments = {"evaluation": True, "per_device_train_batch_size": 6, "train_sampling_strategy": "sequential"}
    trainer = make_trainer(tmp_path, model, make_rows(6, lengths=(5, 14)), **arguments)
    (batch,), counts = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 1, torch.device("cpu"))
    whole = trainer.compute_loss(model, batch, num_items_in_batch=counts)
    # Each of three processes has a part of the rows and the counts of all.
    monkeypatch.setattr(type(trainer.accelerator), "num_processes", 3)
    parts = []
    for rows in (slice(0, 1), slice(1, 3), slice(3, 6)):
        part = {name: value[rows] if isinstance(value, torch.Tensor) else value for name, value in batch.items()}
        parts.append(trainer.compute_loss(model, part, num_items_in_batch=counts))
    torch.testing.assert_close(sum(parts) / 3, whole)


def test_without_a_second_pass_the_joint_head_counts_once(tmp_path):
    model = make_model(critic_alpha=0.0, correction_alpha=0.0, add_joint_head=True, joint_alpha=0.9).train()
    trainer = make_trainer(tmp_path, model, make_rows(6), evaluation=True)
    batch = next(iter(trainer.get_train_dataloader()))
    loss, out = trainer.compute_loss(model, batch, return_outputs=True)
    assert out.critic_loss is None and out.joint_loss > 0
    torch.testing.assert_close(loss, out.lm_loss + 0.9 * out.joint_loss)
    loss.backward()
    assert all(parameter.grad is not None for parameter in model.parameters())


def accumulated(folder, rows, batch_size, critic_batch_share=1.0, joint_batch_share=1.0, **fields):
    gradients = Gradients()
    trainer = make_trainer(
        folder,
        make_model(**fields),
        rows,
        evaluation=True,
        callbacks=[gradients],
        train_sampling_strategy="sequential",
        per_device_train_batch_size=batch_size,
        gradient_accumulation_steps=8 // batch_size,
        critic_batch_share=critic_batch_share,
        joint_batch_share=joint_batch_share,
    )
    trainer.train()
    return logs_of(trainer)[0], gradients.steps[0]


@pytest.mark.parametrize("kind", ["equal", "ragged", "nothing judged"])
@pytest.mark.parametrize("fields", [{}, {"critic_target_scope": "all"}, {"add_critic_head": False}, RECIPE, JOINT])
def test_accumulation_changes_neither_gradients_nor_logs(tmp_path, kind, fields):
    rows = make_rows(8, lengths=(8, 9) if kind == "equal" else (2, 14))
    if kind == "nothing judged":  # one micro-batch of two, and another single row, without any mask
        rows = [{**row, "protected_mask": [int(i in (2, 3, 7))] * len(row["input_ids"])} for i, row in enumerate(rows)]
    log, gradients = accumulated(tmp_path, rows, 8, **fields)
    for batch_size in (2, 1):
        other_log, other_gradients = accumulated(tmp_path, rows, batch_size, **fields)
        assert_equal_weights(gradients, other_gradients, tolerance=1e-5)
        for name in ("loss", *(TERMS if "critic_loss" in log else ["lm_loss"])):
            assert other_log[name] == pytest.approx(log[name], abs=1e-5), name
        for name, has_it in (("remaining_loss", RECIPE), ("joint_loss", JOINT)):
            assert (name in log) is (fields == has_it)
            assert other_log.get(name, 0.0) == pytest.approx(log.get(name, 0.0), abs=1e-5), name


@pytest.mark.parametrize("share", [0.5, 0.25])
def test_a_share_of_the_second_pass_has_normalisers_of_its_own(tmp_path, share):
    rows, every = make_rows(8, lengths=(2, 14)), round(1 / share)
    log, gradients = accumulated(tmp_path, rows, 8, share, remaining_alpha=0.6)
    # By hand: the language model learns from all rows, the second pass's terms are means over theirs.
    model = make_model(remaining_alpha=0.6).train()
    examples = [{**row, "example_id": i} for i, row in enumerate(rows)]
    batch = DataCollatorForMaskedDiffusion(LETTERS, evaluation=True)(examples)
    out = model(**batch)
    second = model(**{name: values[::every] for name, values in batch.items()})
    assert (model.config.critic_alpha, model.config.correction_alpha) == (0.5, 0.1)
    terms = 0.5 * second.critic_loss + 0.1 * second.correction_loss + 0.6 * second.remaining_loss
    (out.lm_loss + terms).backward()
    assert_equal_weights({name: p.grad for name, p in model.named_parameters()}, gradients, tolerance=1e-5)
    for name in ("critic_loss", "correction_loss", "remaining_loss"):
        assert log[name] == pytest.approx(second[name].item(), abs=1e-5), name
    assert log["lm_loss"] == pytest.approx(out.lm_loss.item(), abs=1e-5)
    assert log["error_rate"] == pytest.approx(second.critic_target[second.critic_valid].mean().item(), abs=1e-5)
    # A share of each micro-batch: the same rows wherever it divides them.
    for batch_size in (4, every):
        other_log, other_gradients = accumulated(tmp_path, rows, batch_size, share, remaining_alpha=0.6)
        assert_equal_weights(gradients, other_gradients, tolerance=1e-5)
        for name in ("loss", "remaining_loss", *TERMS):
            assert other_log[name] == pytest.approx(log[name], abs=1e-5), name


def test_a_share_saves_the_trunk_work_in_training_alone(tmp_path):
    model, rows = make_model(), make_rows(8)
    trainer = make_trainer(tmp_path, model, rows, rows, critic_batch_share=0.25, per_device_eval_batch_size=8)
    plain = make_trainer(tmp_path, model, rows, rows, per_device_eval_batch_size=8).evaluate()
    sizes = []
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    metrics = trainer.evaluate()
    assert sizes == [8, 8] and metrics["eval_loss"] == plain["eval_loss"]
    trainer.train()
    assert sizes[2:] == [4, 1]


def test_a_share_of_the_joint_head_has_a_normaliser_of_its_own(tmp_path):
    rows, fields = make_rows(8, lengths=(2, 14)), {**JOINT, "hidden_dropout": 0.0}
    examples = [{**row, "example_id": i} for i, row in enumerate(rows)]
    batch = DataCollatorForMaskedDiffusion(LETTERS, None, evaluation=True, joint=True)(examples)
    model = make_model(**fields).train()
    out = model(**batch)
    asked = model(**{name: values[::4] for name, values in batch.items()})
    (out.lm_loss + 0.4 * asked.joint_loss).backward()
    for batch_size in (8, 4):
        log, gradients = accumulated(tmp_path, rows, batch_size, joint_batch_share=0.25, **fields)
        assert_equal_weights({name: p.grad for name, p in model.named_parameters()}, gradients, tolerance=1e-5)
        assert log["joint_loss"] == pytest.approx(asked.joint_loss.item(), abs=1e-5)
    with one_sentence("`joint_batch_share`", "0.5"):
        make_trainer(tmp_path, make_model(), rows, joint_batch_share=0.5)


def test_of_a_large_vocabulary_the_lm_head_sees_what_the_losses_read_and_training_is_the_same(tmp_path):
    sizes, losses, gradients = {}, {}, {}
    for outputs in (True, False):
        model = make_model(vocab_size=3000, add_joint_head=True).train()
        trainer = make_trainer(tmp_path, model, make_rows(4, lengths=(12, 13)), evaluation=True)
        ((batch,), counts) = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 1, torch.device("cpu"))
        sizes[outputs] = []
        model.lm_head.register_forward_hook(
            lambda module, inputs, output, to=sizes[outputs]: to.append(output[..., 0].numel())
        )
        found = trainer.compute_loss(model, batch, return_outputs=outputs, num_items_in_batch=counts)
        losses[outputs] = found[0] if outputs else found
        losses[outputs].backward()
        gradients[outputs] = {name: parameter.grad for name, parameter in model.named_parameters()}
    torch.testing.assert_close(losses[True], losses[False])
    assert_equal_weights(gradients[True], gradients[False], tolerance=1e-5)
    masked = batch["input_ids"] == 1
    # The joint head reads candidates alone, whatever else is read.
    assert sizes == {True: [4 * 12] * 2, False: [int(one.sum()) for one in (masked, batch["fill_mask"])]}


@pytest.mark.parametrize("regime", ["full", "partial", "mixed"])
def test_a_batch_without_fill_positions_gets_them_before_it_is_counted(tmp_path, regime):
    model = make_model(critic_regime=regime)
    trainer = make_trainer(tmp_path, model, make_rows(8))
    trainer.data_collator = DataCollatorForMaskedDiffusion(LETTERS, critic_regime=None)
    (batch,), counts = trainer.get_batch_samples(iter(trainer.get_train_dataloader()), 1, torch.device("cpu"))
    masked = batch["input_ids"] == 1
    assert not (batch["fill_mask"] & ~masked).any()
    assert torch.equal(batch["fill_mask"], masked) or regime != "full"
    outputs = model.train()(**batch)
    assert counts[1] == outputs.critic_valid.sum()
    assert torch.equal(batch["fill_mask"], outputs.critic_valid)


# ---- warm-up ----


@pytest.mark.parametrize("correction_alpha", [0.0, 0.5])
def test_warm_up_reaches_every_micro_step_and_skips_the_second_pass_while_it_is_zero(tmp_path, correction_alpha):
    model = make_model(correction_alpha=correction_alpha)
    passes, gradients = Passes(model), Gradients()
    arguments = {"max_steps": 5, "critic_warmup_start": 1, "critic_warmup_end": 3, "gradient_accumulation_steps": 2}
    trainer = make_trainer(tmp_path, model, make_rows(40), callbacks=[passes, gradients], **arguments)
    trainer.train()
    assert [log["critic_alpha"] for log in logs_of(trainer)] == [0.0, 0.0, 0.25, 0.5, 0.5]
    first = 2 if correction_alpha == 0 else 4
    assert passes.steps == [first, first, 4, 4, 4]
    for log in logs_of(trainer):
        parts = [log["critic_alpha"], correction_alpha]
        terms = [log.get(name, 0.0) for name in ("critic_loss", "correction_loss")]
        expected = log["lm_loss"] + sum(part * term for part, term in zip(parts, terms, strict=True))
        assert log["loss"] == pytest.approx(expected, abs=1e-5)
    # While alpha is zero the head has a gradient, of zero.
    heads = [bool(step["critic_head.weight"].any()) for step in gradients.steps]
    assert heads == [False, False, True, True, True]


def test_the_remaining_term_keeps_the_second_pass_while_the_critic_weighs_nothing(tmp_path):
    for remaining_alpha, passes_of_step in ((0.0, 1), (0.5, 2)):
        model = make_model(correction_alpha=0.0, remaining_alpha=remaining_alpha)
        passes = Passes(model)
        make_trainer(tmp_path, model, make_rows(4), callbacks=[passes], critic_warmup_end=10).train()
        assert passes.steps == [passes_of_step]


# ---- logs ----


def test_logs_are_plain_floats_with_the_right_values(tmp_path):
    model = make_model()
    before = weights(model)
    collator = DataCollatorForMaskedDiffusion(LETTERS, seed=42)
    rows = make_rows(4)
    trainer = make_trainer(tmp_path, model, rows, train_sampling_strategy="sequential")
    trainer.train()
    (log,) = logs_of(trainer)
    assert all(type(log[name]) is float for name in ("loss", "critic_alpha", *TERMS))
    model.load_state_dict(before)
    batch = collator([{**row, "example_id": i, "epoch": 0} for i, row in enumerate(rows)])
    out = model.train()(**batch)
    valid = out.critic_valid
    expected = {
        "loss": out.loss,
        "lm_loss": out.lm_loss,
        "critic_loss": out.critic_loss,
        "correction_loss": out.correction_loss,
        "critic_accuracy": ((out.critic_input_logits > 0) == (out.critic_target == 1))[valid].float().mean(),
        "error_rate": out.critic_target[valid].mean(),
        "critic_alpha": torch.tensor(0.5),
    }
    assert {name: log[name] for name in expected} == pytest.approx({k: v.item() for k, v in expected.items()}, 1e-5)


def test_logs_are_means_over_all_steps_since_the_last(tmp_path):
    every = make_trainer(tmp_path, make_model(), make_rows(16), max_steps=4)
    every.train()
    pairs = make_trainer(tmp_path, make_model(), make_rows(16), max_steps=4, logging_steps=2)
    pairs.train()
    single, double = logs_of(every), logs_of(pairs)
    # Every row has as many real tokens.
    for i, log in enumerate(double):
        for name in ("loss", "lm_loss"):
            assert log[name] == pytest.approx((single[2 * i][name] + single[2 * i + 1][name]) / 2, abs=1e-5)


def test_without_a_critic_a_plain_language_model_is_trained(tmp_path):
    trainer = make_trainer(tmp_path, make_model(add_critic_head=False), make_rows(8), make_rows(5, seed=2))
    trainer.train()
    (log,) = logs_of(trainer)
    assert log["loss"] == pytest.approx(log["lm_loss"], abs=1e-6)
    metrics = trainer.evaluate()
    assert metrics["eval_loss"] == metrics["eval_lm_loss"]
    assert not [name for name in {**log, **metrics} if "critic" in name or "correction" in name]


@pytest.mark.parametrize("peak", [None, 1e-6, 0.0])
def test_logs_say_how_fast_it_is_and_what_share_of_the_device_that_takes(tmp_path, peak):
    model = make_model(add_joint_head=True)
    rows, share = make_rows(8, lengths=(8, 9)), {"critic_batch_share": 0.5, "peak_tflops": peak}
    trainer = make_trainer(tmp_path, model, rows, rows, max_steps=2, eval_strategy="steps", eval_steps=1, **share)
    batches = []
    model.register_forward_pre_hook(
        lambda module, args, kwargs: batches.append(kwargs) if module.training else None, with_kwargs=True
    )
    begin = time.perf_counter()
    trainer.train()
    seconds = time.perf_counter() - begin
    logs = [log for log in trainer.state.log_history if "loss" in log]
    assert all(log["tokens_per_second"] > 4 * 8 / seconds for log in logs)
    assert all(("mfu" in log) is (peak is not None) for log in logs)
    if not peak:
        return
    # Two layers of four 16 x 16 and two 16 x 32 matrices, and attention; a second pass of half of the rows.
    trunk = 2 * (4 * 16 * 16 + 2 * 16 * 32) + 2 * 2 * 8 * 16
    for log, batch in zip(logs, batches, strict=True):
        masked = batch["labels"] != -100
        head = masked.sum() + batch["fill_mask"][::2].sum() + (masked & ~batch["given_mask"]).sum()
        operations = 6 * (32 * 1.5 * trunk + int(head) * 10 * 16)
        assert log["mfu"] / log["tokens_per_second"] == pytest.approx(operations / 32 / (peak * 1e12), rel=1e-5)


# ---- evaluation ----


def test_evaluation_numbers_do_not_depend_on_the_batch_size(tmp_path):
    model = make_model(critic_alpha=0.3, correction_alpha=0.7, remaining_alpha=0.6)
    rows, results = make_rows(7, lengths=(2, 14)), []
    for batch_size in (1, 2, 3, 7, 16):
        trainer = make_trainer(tmp_path, model, rows, rows, per_device_eval_batch_size=batch_size)
        metrics = {k: v for k, v in trainer.evaluate().items() if "second" not in k and "runtime" not in k}
        again = trainer.evaluate()
        assert metrics == {name: again[name] for name in metrics}
        assert trainer.predict(rows).metrics["test_loss"] == metrics["eval_loss"]
        results.append(metrics)
    first = results[0]
    for other in results[1:]:
        assert other == pytest.approx(first, abs=1e-6)
    assert {f"eval_{name}" for name in ("loss", "bits_per_token", "remaining_loss", *TERMS)} <= set(first)
    assert first["eval_bits_per_token"] == pytest.approx(first["eval_lm_loss"] / 0.693147181)
    # The sum of the terms with their full weights, divided by nothing.
    expected = first["eval_lm_loss"] + 0.3 * first["eval_critic_loss"] + 0.7 * first["eval_correction_loss"]
    expected += 0.6 * first["eval_remaining_loss"]
    assert first["eval_loss"] == pytest.approx(expected)
    batch = DataCollatorForMaskedDiffusion(LETTERS, seed=42, evaluation=True)(
        [{**row, "example_id": i} for i, row in enumerate(rows)]
    )
    with torch.no_grad():
        output = model.eval()(**batch)
    assert output.loss.item() == pytest.approx(first["eval_loss"], abs=1e-5)
    # The critic's figures are those of its raw scores, of bucket middles where positions share a bucket.
    target = output.critic_target[output.critic_valid]
    scores = output.critic_input_logits[output.critic_valid].sigmoid()
    assert first["eval_critic_brier"] == pytest.approx((scores - target).square().mean().item(), abs=1e-5)
    assert first["eval_critic_auroc"] == pytest.approx(auroc((100 * scores).floor(), target), abs=1e-6)
    assert 0.0 <= first["eval_critic_ece"] <= 1.0


def test_evaluation_uses_the_full_alpha_during_the_warm_up(tmp_path):
    model, rows = make_model(), make_rows(5)
    plain, warming = (
        make_trainer(tmp_path, model, rows, rows, critic_warmup_end=end).evaluate()["eval_loss"] for end in (0, 100)
    )
    assert plain == warming


@pytest.mark.parametrize("arguments", [{}, {"dataloader_num_workers": 1, "dataloader_persistent_workers": True}])
def test_each_of_several_evaluation_sets_is_used(tmp_path, arguments):
    one, other = make_rows(5, seed=5), make_rows(4, seed=6)
    trainer = make_trainer(tmp_path, make_model(), one, {"one": one, "other": other}, **arguments)
    metrics = trainer.evaluate()
    for name, rows in (("one", one), ("other", other)):
        alone = make_trainer(tmp_path, trainer.model, rows, rows).evaluate()
        assert metrics[f"eval_{name}_loss"] == pytest.approx(alone["eval_loss"], abs=1e-6)


# ---- resuming ----


@pytest.mark.parametrize("regime", ["full", "mixed"])
@pytest.mark.parametrize(
    ("accumulation", "workers", "sampling"),
    [
        (1, 0, "sequential"),
        (2, 0, "sequential"),
        (2, 2, "sequential"),
        (2, 0, "random"),
        (2, 0, "group_by_length"),
        (2, 0, "batch_rebalance"),
    ],
)
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, accumulation, workers, sampling, regime):
    arguments = {
        **SAVING,
        "train_sampling_strategy": sampling,
        "save_steps": 3,
        "max_steps": 5,
        "lr_scheduler_type": "cosine",
        "critic_warmup_start": 1,
    }
    arguments |= {"critic_warmup_end": 7, "gradient_accumulation_steps": accumulation}
    # Two steps an epoch: the checkpoint lies in the middle of the second one.
    rows = make_rows(8 * accumulation, lengths=(3, 14))

    def make(folder, seed):
        model = make_model(seed=seed, critic_regime=regime, hidden_dropout=0.1)
        return make_trainer(folder, model, rows, dataloader_num_workers=workers, **arguments)

    assert_resumes(make, tmp_path, 3)


def test_every_epoch_draws_anew(tmp_path):
    seen = []
    trainer = make_trainer(tmp_path, make_model(), make_rows(4), max_steps=3)
    collator = trainer.data_collator
    trainer.data_collator = lambda examples: seen.append({row["epoch"] for row in examples}) or collator(examples)
    trainer.train()
    assert seen == [{0}, {1}, {2}]


# ---- learning ----


@pytest.mark.parametrize("regime", ["full", "partial", "mixed"])
def test_training_learns_a_trivial_corpus_and_moves_every_weight(tmp_path, regime):
    rows = [{"input_ids": [2, 3, 4, 5, 6, 7, 8, 9]}] * 32
    # On a canvas of nothing but masks only absolute positions differ.
    model = make_model(critic_regime=regime, position_embedding_type="absolute")
    before = weights(model)
    trainer = make_trainer(
        tmp_path, model, rows, rows[:8], max_steps=60, per_device_train_batch_size=16, learning_rate=1e-2
    )
    first = trainer.evaluate()
    trainer.train()
    last = trainer.evaluate()
    assert last["eval_lm_loss"] < first["eval_lm_loss"] / 3
    assert last["eval_critic_loss"] < first["eval_critic_loss"] / 2
    assert all(not torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())


# ---- checkpoints ----


def test_the_calibration_table_is_dropped_at_the_first_step_and_not_saved(tmp_path):
    model = make_model()
    model.calibration = CriticCalibration([0.5] * 100)
    present = []

    class Watch(TrainerCallback):
        def on_pre_optimizer_step(self, args, state, control, model=None, **kwargs):
            present.append(model.calibration is not None)

    trainer = make_trainer(tmp_path, model, make_rows(8), callbacks=[Watch()], max_steps=2, **SAVING)
    trainer.evaluate(make_rows(3))
    assert model.calibration is not None
    trainer.train()
    assert present == [True, False] and model.calibration is None
    assert not list(tmp_path.rglob("calibration.json"))


def test_saving_a_calibrated_model_merges_its_table_into_the_file(tmp_path):
    model, other = make_model(), CriticCalibration([0.25] * 100)
    trainer = make_trainer(tmp_path, model, make_rows(4))
    other.save(tmp_path, key="model.safetensors@trajectory")
    model.calibration = CriticCalibration([0.5] * 100)
    trainer.save_model()
    assert CriticCalibration.load(tmp_path) == model.calibration == CriticCalibration([0.5] * 100)
    assert CriticCalibration.load(tmp_path, key="model.safetensors@trajectory") == other
    (tmp_path / "calibration.json").write_text("not ours")
    with pytest.raises(ValueError, match="the file is left as it is"):
        trainer.save_model()
    assert (tmp_path / "calibration.json").read_text() == "not ours" and model.calibration is not None


def test_a_checkpoint_is_a_complete_model(tmp_path):
    trainer = make_trainer(tmp_path, make_model(), make_rows(8), **SAVING)
    trainer.train()
    folder = tmp_path / "checkpoint-1"
    expected = {"model.safetensors", "config.json", "generation_config.json", "tokenizer.json", "trainer_state.json"}
    assert expected <= {path.name for path in folder.iterdir()}
    loaded, info = CriticGPTForMaskedLM.from_pretrained(folder, output_loading_info=True)
    assert not any(info[name] for name in ("missing_keys", "unexpected_keys", "mismatched_keys"))
    assert_equal_weights(weights(trainer.model), weights(loaded))
    assert loaded.config.mask_token_id == LETTERS.mask_token_id and loaded.calibration is None


@pytest.fixture
def library_warnings(caplog):
    logger = logging.getLogger("transformers")  # keeps its records to itself
    logger.addHandler(caplog.handler)
    yield caplog
    logger.removeHandler(caplog.handler)


def test_training_aligns_no_token_and_warns_of_nothing(tmp_path, library_warnings, recwarn):
    model = make_model()
    before = model.config.to_dict()
    arguments, rows = {**SAVING, **JUDGING, "max_steps": 2, "load_best_model_at_end": True}, make_rows(8)
    make_trainer(tmp_path, model, rows, rows, **arguments).train()
    resumed = make_trainer(tmp_path, model, rows, rows, **{**arguments, "max_steps": 3})
    resumed.train(resume_from_checkpoint=True)
    after = model.config.to_dict()
    written_by_the_library = ("architectures", "dtype", "use_cache")
    assert {**before, **{name: after[name] for name in written_by_the_library}} == after
    messages = [record.getMessage() for record in library_warnings.records if record.levelno >= logging.WARNING]
    assert messages == []
    assert [str(warning.message) for warning in recwarn if "critic_gpt" in str(warning.filename)] == []


# ---- two processes ----


@pytest.mark.parametrize(
    ("given", "parts"),
    [
        ({"train_dataset": []}, ("`train_dataset`", "at least one example")),
        ({"eval_dataset": []}, ("`eval_dataset`", "at least one example")),
        ({"eval_dataset": {"one": []}}, ("`eval_dataset`", "at least one example")),
        ({"processing_class": None}, ("`processing_class`", "data_collator", "tokenizer")),
        ({"args": TrainingArguments}, ("`args`", "CriticTrainingArguments", "got TrainingArguments")),
        ({"masking": "bert", "data_collator": DataCollatorForMaskedDiffusion(LETTERS)}, ("`masking`", "got 'bert'")),
        ({"model": {"add_critic_head": False}, "critic_batch_share": 0.5}, ("`critic_batch_share`", "got 0.5")),
        ({"model": {"mask_token_id": 5}}, ("`mask_token_id`", "got 5")),
    ],
)
def test_what_cannot_be_trained_is_refused(tmp_path, given, parts):
    given = {"train_dataset": make_rows(2), "processing_class": LETTERS, **given}
    model, cls = make_model(**given.pop("model", {})), given.pop("args", CriticTrainingArguments)
    own = {name: given.pop(name) for name in ("masking", "critic_batch_share") if name in given}
    with one_sentence("must", *parts, begins=parts[0]):
        CriticTrainer(model, cls(str(tmp_path), use_cpu=True, **own), **given)


# ---- two processes ----

SCRIPT = """
kind, seen = arguments[0], []
fields = {"plain": {"add_critic_head": False}, "warm-up": {"correction_alpha": 0.0}, "recipe": RECIPE}.get(kind, {})
trainer = make_trainer(
    folder, make_model(**fields), make_rows(16, lengths=(3, 14)), make_rows(7, seed=4, lengths=(3, 14)),
    evaluation=True, max_steps=3, per_device_train_batch_size=2, gradient_accumulation_steps=4 // world,
    optim="sgd", train_sampling_strategy="sequential", critic_warmup_end=4 if kind == "warm-up" else 0,
    per_device_eval_batch_size=2, critic_batch_share=0.5 if kind == "recipe" else 1.0,
)
collator = trainer.data_collator
trainer.data_collator = lambda rows: seen.append(max(row["epoch"] for row in rows)) or collator(rows)
trainer.train()
trainer.data_collator = collator
leave(trainer, metrics=trainer.evaluate(), epochs=seen)
"""


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["critic", "warm-up", "plain", "recipe"])
def test_two_processes_train_and_evaluate_like_one(tmp_path, kind):
    (one, two), _ = one_and_two(SCRIPT, tmp_path, kind)
    for log, other in zip(one["logs"], two["logs"], strict=True):
        for name in ("loss", "remaining_loss", *TERMS):
            assert log.get(name) == pytest.approx(other.get(name), abs=1e-5), name
    metrics = {name: value for name, value in one["metrics"].items() if "second" not in name and "runtime" not in name}
    assert {name: two["metrics"][name] for name in metrics} == pytest.approx(metrics, abs=1e-5)
    # Two steps an epoch; the second process pulls one batch ahead at most.
    assert max(one["epochs"]) == max(two["epochs"]) == 1
