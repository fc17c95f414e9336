# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Mistakes about what may be seen, each made once somewhere; and passes of the trunk that nobody asked for."""

import datasets
import pytest
import torch
from critic_training import make_model, make_rows, make_trainer

from critic_gpt import CriticGPTModel
from critic_gpt.diffusion.corruption import padding_attention_mask
from critic_gpt.evaluation.sampling import ForwardCounter
from critic_gpt.generation.strategies.registry import STRATEGIES
from critic_gpt.scripts import calibrate


PAD, MASK = 0, 1


# ---- an inverted mask: all ones hid everything ----


@pytest.mark.parametrize("attention", ["eager", "sdpa"])
def test_a_mask_of_ones_hides_nothing_and_zeros_hide(tiny_model, attention):
    model = tiny_model()
    model.set_attn_implementation(attention)
    ids = torch.randint(2, 32, (1, 8), generator=torch.Generator().manual_seed(0))
    other = ids.clone()
    other[0, -1] = (ids[0, -1] - 1) % 30 + 2
    assert ids[0, -1] != other[0, -1]
    ones, hidden = torch.ones_like(ids), torch.ones_like(ids)
    hidden[0, -1] = 0
    seen, changed = (model(one, attention_mask=ones).logits[0, 0] for one in (ids, other))
    assert torch.equal(seen, model(ids).logits[0, 0])
    assert (seen - changed).abs().max() > 1e-3
    unseen, unchanged = (model(one, attention_mask=hidden).logits[0, 0] for one in (ids, other))
    assert torch.equal(unseen, unchanged) and (seen - unseen).abs().max() > 1e-3


def external(strategy):
    """What a strategy needs besides its name."""
    judge = {"remasking_model": lambda input_ids, attention_mask: input_ids.double()}
    return {"remasking": strategy, **(judge if strategy == "external" else {})}


# ---- another mask in training than in calibration or in sampling ----


@pytest.fixture
def received(monkeypatch):
    """Tokens and mask of every call that reaches a trunk, in order."""
    calls, inner = [], CriticGPTModel.forward

    def forward(self, *args, **kwargs):
        calls.append((kwargs["input_ids"].clone(), kwargs["attention_mask"].clone()))
        return inner(self, *args, **kwargs)

    monkeypatch.setattr(CriticGPTModel, "forward", forward)
    return calls


def rows_with_a_misleading_mask():
    """Rows of several lengths, whose own mask hides every other token."""
    rows = make_rows(8, lengths=(3, 14))
    return [{**row, "attention_mask": [i % 2 for i in range(len(row["input_ids"]))]} for row in rows]


def train(folder, model):
    make_trainer(folder, model, rows_with_a_misleading_mask(), rows_with_a_misleading_mask()).train()


def evaluate(folder, model):
    make_trainer(folder, model, make_rows(4), rows_with_a_misleading_mask()).evaluate()


def measure(folder, model):
    model.save_pretrained(folder / "model")
    rows = datasets.Dataset.from_list(rows_with_a_misleading_mask())
    rows.save_to_disk(str(folder / "letters"))
    calibrate.main([str(folder / "letters"), str(folder / "model"), "8", "--batch_size", "4"])


def sample(folder, model):
    canvas = torch.tensor([[5, MASK, MASK, 6, MASK, 7, MASK], [5, MASK, 6, MASK, PAD, PAD, PAD]])
    for strategy in STRATEGIES:
        model.eval().generate(canvas, num_steps=3, seed=0, **external(strategy))


@pytest.mark.parametrize("act", [train, evaluate, measure, sample])
def test_the_trunk_gets_the_same_mask_in_training_evaluation_calibration_and_sampling(tmp_path, received, act):
    act(tmp_path, make_model(critic_regime="full"))
    assert any((ids == PAD).any() for ids, _ in received) and any((ids == MASK).any() for ids, _ in received)
    # The second pass and the verdict see sequences without a [MASK].
    assert any(not (ids == MASK).any() for ids, _ in received)
    for ids, mask in received:
        assert torch.equal(mask, padding_attention_mask(ids, PAD)) and torch.equal(mask == 0, ids == PAD)


# ---- labels made up by the sampler, by which the critic's loss ran at every step ----


@pytest.mark.parametrize("strategy", STRATEGIES)
def test_sampling_runs_the_trunk_as_often_as_the_strategy_needs_and_no_loss(tiny_model, strategy, monkeypatch):
    model = tiny_model()
    labelled, inner = [], type(model).forward

    def forward(self, *args, labels=None, **kwargs):
        labelled.append(labels)
        return inner(self, *args, labels=labels, **kwargs)

    monkeypatch.setattr(type(model), "forward", forward)
    with ForwardCounter(model) as counter:
        output = model.generate(
            torch.full((2, 40), MASK),
            num_steps=15,
            seed=0,
            return_error_probabilities=False,
            **external(strategy),
        )
    # Two a step but for the last: 29, where a loss beside each step would make 44; a correction in every fourth step.
    needed = {"critic_full": 29, "token_critic": 29, "proseco": 18}.get(strategy, 15)
    assert counter.passes == output.forward_passes == needed
    assert len(labelled) == counter.passes and all(labels is None for labels in labelled)
