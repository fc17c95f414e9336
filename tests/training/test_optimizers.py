# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about Muon for the matrices of the blocks beside AdamW for everything else."""

import head_training
import pytest
import torch
from critic_training import (
    SAVING,
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
from torch import nn

from critic_gpt.training.callbacks import UnfreezeCallback
from critic_gpt.training.optimizers import MuonAdamW, parameter_groups


# ---- the optimizer ----


def make_network(seed=0):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 8), nn.Linear(8, 8, bias=False), nn.Linear(8, 3))


def make_optimizer(network, **changes):
    named = dict(network.named_parameters())
    decayed = {name for name, one in named.items() if one.dim() == 2}
    groups = parameter_groups(named, decayed, 0.1, 1e-2, {"1.weight"}, 0.05)
    return MuonAdamW(groups, lr=1e-2, muon_lr=0.05, **{"betas": (0.8, 0.95), "fused": True, **changes})


def step(network, *optimizers, seed=0):
    generator = torch.Generator().manual_seed(seed)
    for parameter in network.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=generator)
    for optimizer in optimizers:
        optimizer.step()


def test_it_steps_as_muon_and_adamw_apart():
    one, other = make_network(), make_network()
    together = make_optimizer(one)
    named = dict(other.named_parameters())
    decayed = {"params": [named["0.weight"], named["2.weight"]], "weight_decay": 0.1}
    others = {"params": [named["0.bias"], named["2.bias"]], "weight_decay": 0.0}
    adamw = torch.optim.AdamW([decayed, others], lr=1e-2, betas=(0.8, 0.95))
    muon = torch.optim.Muon([named["1.weight"]], lr=0.05, weight_decay=0.1)
    start = {name: parameter.detach().clone() for name, parameter in one.named_parameters()}
    optimizers = (together, adamw, muon)
    schedules = [torch.optim.lr_scheduler.LambdaLR(optimizer, lambda n: 1 / (n + 1)) for optimizer in optimizers]
    for number in range(4):
        step(one, together, seed=number)
        step(other, adamw, muon, seed=number)
        for schedule in schedules:
            schedule.step()
    for name, parameter in one.named_parameters():
        # torch rounds Muon's updates to bfloat16: some thousandths of a step.
        apart = 4 * 0.05 * 0.02 if name == "1.weight" else 1e-7
        torch.testing.assert_close(parameter, named[name], rtol=1e-6, atol=apart, msg=name)
        assert not torch.equal(parameter, start[name])


@pytest.mark.parametrize("shape", [(8, 8), (4, 16), (16, 4)])
def test_muon_steps_by_nearly_orthogonal_matrices_in_all_digits(shape):
    torch.manual_seed(3)
    matrix = nn.Parameter(torch.randn(shape))
    before = matrix.detach().clone()
    matrix.grad = torch.randn(shape)
    MuonAdamW([{"params": [matrix], "muon": True, "weight_decay": 0.0}], lr=1.0, muon_lr=0.5).step()
    step = (before - matrix.detach()) / (0.5 * max(1, shape[0] / shape[1]) ** 0.5)
    u, _, v = torch.linalg.svd(matrix.grad, full_matrices=False)
    core = u.T @ step @ v.T
    assert core.diagonal().min() > 0.6 and core.diagonal().max() < 1.3
    # The directions are those of the gradient, to more digits than bfloat16 has.
    assert (core - core.diagonal().diag()).abs().max() < 1e-4


def test_parameters_without_a_gradient_are_passed_over_and_a_closure_is_called_once():
    network, calls = make_network(), []
    optimizer = make_optimizer(network)
    before = [parameter.detach().clone() for parameter in network.parameters()]
    optimizer.step()  # weight decay included
    assert all(torch.equal(a, b) for a, b in zip(before, network.parameters(), strict=True))

    def closure():
        calls.append(torch.is_grad_enabled())
        loss = network(torch.ones(2, 6)).square().mean()
        loss.backward()
        return loss

    with torch.no_grad():
        loss = optimizer.step(closure)
    assert calls == [True] and loss > network(torch.ones(2, 6)).square().mean()


def test_groups_hold_each_parameter_once_by_kind_and_decay():
    named = dict(make_network().named_parameters())
    groups = parameter_groups(named, {"0.weight", "1.weight"}, 0.3, 1e-3, {"1.weight", "2.weight"}, 0.02)
    names = [[name for name, one in named.items() if any(one is p for p in group["params"])] for group in groups]
    assert names == [["0.weight"], ["0.bias", "2.bias"], ["1.weight"], ["2.weight"]]
    assert [group["weight_decay"] for group in groups] == [0.3, 0.0, 0.3, 0.0]
    assert [group["lr"] for group in groups] == [1e-3, 1e-3, 0.02, 0.02]
    assert [group.get("muon") for group in groups] == [None, None, True, True]
    plain = parameter_groups(named, set(named), 0.3, 1e-3)
    assert [len(group["params"]) for group in plain] == [5, 0] and not any("muon" in group for group in plain)


# ---- in training ----


def muon_trainer(folder, model, rows, **arguments):
    fixed = {"muon_learning_rate": 0.02, "learning_rate": 1e-2, "weight_decay": 0.1, "adam_beta2": 0.95}
    return make_trainer(folder, model, rows, **{**fixed, **arguments})


@pytest.mark.parametrize("optim", ["adamw_torch_fused", "adamw_torch"])
def test_the_matrices_of_the_blocks_are_muons_and_all_else_is_adamws(tmp_path, optim):
    model = make_model(use_bias=True)
    trainer = muon_trainer(tmp_path, model, make_rows(8), optim=optim, max_steps=2)
    trainer.train()
    muons = {id(p) for group in trainer.optimizer.param_groups if group["muon"] for p in group["params"]}
    held = [id(p) for group in trainer.optimizer.param_groups for p in group["params"]]
    assert len(held) == len(set(held)) == len(list(model.parameters()))
    assert len(muons) == 2 * 6
    # Matrices and embeddings decay, biases and norms do not.
    decay = {id(p): group["weight_decay"] for group in trainer.optimizer.param_groups for p in group["params"]}
    for name, parameter in model.named_parameters():
        assert (id(parameter) in muons) is (".layers." in name and parameter.dim() == 2), name
        assert decay[id(parameter)] == (0.1 if parameter.dim() == 2 else 0.0), name
    states = {name: set(trainer.optimizer.state[p]) for name, p in model.named_parameters()}
    assert states["model.layers.0.mlp.up_proj.weight"] == {"momentum_buffer"}
    assert states["model.embed_tokens.weight"] == {"step", "exp_avg", "exp_avg_sq"}


def test_both_rates_follow_one_schedule_and_the_log_shows_adamws(tmp_path):
    rates = []

    class Rates(Watch):
        def on_step_begin(self, args, state, control, optimizer=None, **kwargs):
            rates.append([(group["muon"], group["lr"]) for group in optimizer.param_groups])

    arguments = {"max_steps": 4, "lr_scheduler_type": "linear", "warmup_steps": 1}
    trainer = muon_trainer(tmp_path, make_model(), make_rows(16), callbacks=[Rates()], **arguments)
    trainer.train()
    for number, groups in enumerate(rates):
        factor = [0.0, 1.0, 2 / 3, 1 / 3][number]
        for muon, rate in groups:
            assert rate == pytest.approx((0.02 if muon else 1e-2) * factor)
    assert [log["learning_rate"] for log in logs_of(trainer)] == pytest.approx([0.0, 1e-2, 2e-2 / 3, 1e-2 / 3])


def test_without_it_the_optimizer_is_the_one_that_transformers_makes(tmp_path):
    trainer = make_trainer(tmp_path, make_model(), make_rows(4))
    optimizer = trainer.create_optimizer()
    assert type(optimizer) is torch.optim.AdamW and len(optimizer.param_groups) == 2
    assert not any("muon" in group for group in optimizer.param_groups)


@pytest.mark.parametrize("frozen", [False, True], ids=["trained", "unfrozen after step 3"])
def test_a_resumed_run_ends_with_the_same_weights(tmp_path, frozen):
    arguments = {**SAVING, "max_steps": 5, "lr_scheduler_type": "cosine", "max_grad_norm": 1.0}
    arguments |= {"gradient_accumulation_steps": 2}

    def make(folder, seed):
        model = frozen_model(seed=seed) if frozen else make_model(seed=seed, hidden_dropout=0.1)
        callbacks = [UnfreezeCallback(3, 0.3)] if frozen else None
        return muon_trainer(folder, model, make_rows(16, lengths=(3, 14)), callbacks=callbacks, **arguments)

    assert_resumes(make, tmp_path, 2, 4)


def test_a_trunk_that_is_unfrozen_gets_muon_with_the_multiplied_rate(tmp_path):
    model, watch = frozen_model(), Watch()
    start = weights(model)
    callbacks = [UnfreezeCallback(2, lr_multiplier=0.5), watch]
    trainer = muon_trainer(tmp_path, model, make_rows(16), callbacks=callbacks, max_steps=4)
    trainer.train()
    groups = trainer.optimizer.param_groups
    adamw = [(False, rate, decay) for rate in (1e-2, 5e-3) for decay in (0.1, 0.0)]
    assert [(g["muon"], g["lr"], g["weight_decay"]) for g in groups] == [*adamw, (True, 1e-2, 0.1)]
    assert len(groups[4]["params"]) == 2 * 6
    assert not any(is_trunk(name) for name in moved(start, watch.weights[1]))
    assert moved(watch.weights[1], watch.weights[2]) == set(start)


def test_the_other_heads_are_trained_with_it_too(tmp_path):
    trainer = head_training.make_trainer(
        tmp_path, "hard", head_training.make_rows(8), muon_learning_rate=0.02, max_steps=2
    )
    start = weights(trainer.model)
    trainer.train()
    assert sum(len(group["params"]) for group in trainer.optimizer.param_groups if group["muon"]) == 2 * 6
    assert moved(start, weights(trainer.model)) == set(start)


# ---- errors ----


def test_a_trunk_that_stays_frozen_is_refused(tmp_path):
    trainer = muon_trainer(tmp_path, frozen_model(), make_rows(4))
    with pytest.raises(ValueError, match="`muon_learning_rate` must be left out where no matrix of the blocks is"):
        trainer.train()


@pytest.mark.parametrize("kind", ["optimizers", "optimizer_cls_and_kwargs"])
def test_an_optimizer_of_your_own_beside_it_is_refused(tmp_path, kind):
    model = make_model()
    own = {
        "optimizers": (torch.optim.SGD(model.parameters(), lr=0.1), None),
        "optimizer_cls_and_kwargs": (torch.optim.SGD, {"lr": 0.1}),
    }
    trainer = muon_trainer(tmp_path, model, make_rows(4))
    with pytest.raises(ValueError, match="`muon_learning_rate` must be left out beside an optimizer of your own, got"):
        type(trainer)(model, trainer.args, trainer.data_collator, train_dataset=make_rows(4), **{kind: own[kind]})


# ---- two processes ----

SCRIPT = """
rows = make_rows(16, lengths=(3, 14))
# Large gradients, so that Muon's half precision and Adam magnify no rounding.
trainer = make_trainer(
    folder, make_model(initializer_range=0.3), rows, rows[:7], evaluation=True, max_steps=3, learning_rate=1e-3,
    muon_learning_rate=1e-3, ema_decay=0.6, per_device_train_batch_size=2, gradient_accumulation_steps=4 // world,
    train_sampling_strategy="sequential", save_strategy="steps", save_steps=3,
)
trainer.train()
leave(trainer, loss=trainer.evaluate()["eval_loss"])
"""


@pytest.mark.slow
def test_two_processes_train_with_muon_and_average_like_one(tmp_path):
    (one, two), _ = one_and_two(SCRIPT, tmp_path, tolerance=1e-4)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
