# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What every model class may see and what must not matter to it: both directions, padding, the batch around a row, the
kind of attention, checkpoints of activations. `test_modeling.py` asks more of the language model alone."""

import shutil

import pytest
import torch

from critic_gpt import (
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticGPTModel,
)
from critic_gpt.diffusion.losses import token_classification_loss
from critic_gpt.modeling_critic_gpt import CriticGPTMLP


# B batch, T positions, V vocabulary
PAD, MASK, VOCAB = 0, 1, 32
CLASSES = [CriticGPTModel, CriticGPTForMaskedLM, CriticGPTForTokenClassification, CriticGPTForSequenceClassification]
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
each_position = pytest.mark.parametrize("position", ["rotary", "absolute", "both"])
TERMS = ("loss", "lm_loss", "critic_loss", "correction_loss", "remaining_loss")


@pytest.fixture
def build(tiny_config):
    """Makes a tiny model of any class, whose heads and biases have opinions."""

    def make(cls=CriticGPTForMaskedLM, **fields):
        torch.manual_seed(0)
        fields = {"add_critic_head": True, "use_bias": True, "num_labels": 3, **fields}
        model = cls(tiny_config(**fields)).eval()
        with torch.no_grad():
            for name, parameter in model.named_parameters():
                if "critic_head" in name or name.endswith("bias"):
                    parameter.normal_(std=0.3)
        return model

    return make


def make_batch(batch_size=3, length=10, seed=1):
    """Masked ids, their truth and the draws of the second pass; nothing padded."""
    generator = torch.Generator().manual_seed(seed)
    shape = (batch_size, length)
    clean = torch.randint(2, VOCAB, shape, generator=generator)
    masked = torch.rand(shape, generator=generator) < 0.5
    masked[:, 0], masked[:, 1] = True, False
    return {
        "input_ids": clean.masked_fill(masked, MASK),
        "attention_mask": torch.ones_like(clean),
        "labels": clean.masked_fill(~masked, -100),
        "loss_weights": torch.rand(shape, generator=generator) + 0.5,
        "fill_mask": torch.rand(shape, generator=generator) < 0.6,
        "fill_uniforms": torch.rand(shape, generator=generator),
    }


def padded(batch, left, right):
    """The batch with so many positions of padding on either side."""
    values = {"input_ids": PAD, "attention_mask": 0, "labels": -100, "loss_weights": 0.7}
    values |= {"fill_mask": True, "fill_uniforms": 0.5}
    return {name: torch.nn.functional.pad(tensor, (left, right), value=values[name]) for name, tensor in batch.items()}


def verdict(output):
    """What a class says, whatever it is called: states, logits."""
    return output[0] if "logits" not in output else output.logits


def assert_same_training(one, other, atol=1e-5):
    """Two outputs with the parameters behind them: the same losses and gradients."""
    (output, parameters), (same, others) = one[:2], other[:2]
    for name in TERMS:
        torch.testing.assert_close(same[name], output[name], msg=name)
    for name, parameter in parameters.items():
        torch.testing.assert_close(others[name].grad, parameter.grad, atol=atol, rtol=1e-4, msg=name)


# ---- what the common tests of Transformers do not notice ----


@each_class
@each_position
def test_every_class_sees_both_directions(build, cls, position):
    model = build(cls, position_embedding_type=position)
    ids = make_batch()["input_ids"]
    first = verdict(model(ids)) if cls is CriticGPTForSequenceClassification else verdict(model(ids))[:, 0]
    changed = ids.clone()
    changed[:, -1] = torch.where(ids[:, -1] == 5, 6, 5)
    other = verdict(model(changed)) if cls is CriticGPTForSequenceClassification else verdict(model(changed))[:, 0]
    assert (first - other).abs().amax(dim=-1).min() > 1e-4


@each_class
@each_position
@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(("left", "right"), [(4, 0), (0, 4), (2, 3)])
def test_padding_on_any_side_is_invisible_to_every_class(build, cls, position, causal, left, right):
    model = build(cls, position_embedding_type=position, is_causal=causal)
    batch = {name: make_batch()[name] for name in ("input_ids", "attention_mask")}
    plain, other = verdict(model(**batch)), verdict(model(**padded(batch, left, right)))
    if cls is not CriticGPTForSequenceClassification:
        other = other[:, left : left + 10]
    torch.testing.assert_close(other, plain, atol=1e-5, rtol=0)


def test_learnt_and_rotary_positions_together_tell_places_apart_where_rotary_ones_alone_do_not(build):
    empty = torch.full((1, 8), MASK)
    alike = {kind: build(position_embedding_type=kind) for kind in ("rotary", "both")}
    spread = {kind: verdict(model(empty)).std(dim=1).max() for kind, model in alike.items()}
    assert spread["rotary"] < 1e-5 < 1e-3 < spread["both"]
    rotary, both = alike.values()
    both.load_state_dict({**both.state_dict(), **rotary.state_dict()})
    torch.nn.init.zeros_(both.model.embed_positions.weight)
    ids = make_batch()["input_ids"]
    torch.testing.assert_close(verdict(both(ids)), verdict(rotary(ids)), atol=0, rtol=0)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize(("left", "right"), [(4, 0), (0, 4), (2, 3)])
@each_position
def test_padding_on_any_side_changes_no_loss_and_no_gradient(build, position, left, right, weighted):
    results = []
    for sides in ((0, 0), (left, right)):
        model = build(position_embedding_type=position, remaining_alpha=0.5, critic_regime="partial").train()
        batch = padded(make_batch(), *sides)
        if not weighted:
            del batch["loss_weights"]
        output = model(**batch)
        output.loss.backward()
        results.append((output, dict(model.named_parameters())))
    assert_same_training(*results)


@pytest.mark.parametrize("kind", ["hard", "balanced", "soft"])
def test_the_labels_of_tokens_are_not_shifted(build, kind):
    model = build(CriticGPTForTokenClassification, balanced_class_weights=kind == "balanced")
    ids, generator = make_batch()["input_ids"], torch.Generator().manual_seed(3)
    labels = torch.randint(0, 2, ids.shape, generator=generator)  # the last class is absent
    labels[0, :4], labels[1, 5:] = -100, -1
    if kind == "soft":
        labels = torch.rand(*ids.shape, 3, generator=generator).softmax(dim=-1)
    output = model(ids, labels=labels)
    assert output.logits.shape == (*ids.shape, 3)
    torch.testing.assert_close(output.loss, token_classification_loss(output.logits, labels, kind == "balanced"))


# ---- a row does not depend on the batch around it ----


@each_class
@each_position
def test_a_batch_of_many_is_many_batches_of_one(build, cls, position):
    model = build(cls, position_embedding_type=position)
    batch = padded(make_batch(), 2, 1)
    batch["input_ids"][0, :4], batch["attention_mask"][0, :4] = PAD, 0
    arguments = {name: batch[name] for name in ("input_ids", "attention_mask")}
    together = verdict(model(**arguments))
    for row in range(3):
        alone = verdict(model(**{name: tensor[row : row + 1] for name, tensor in arguments.items()}))
        torch.testing.assert_close(together[row], alone[0], atol=1e-5, rtol=0)


def test_the_losses_of_a_batch_are_those_of_its_rows(build):
    model = build(remaining_alpha=0.5, critic_regime="partial")
    batch = make_batch()
    together = model(**batch)
    for row in range(3):
        alone = model(**{name: tensor[row : row + 1] for name, tensor in batch.items()})
        for name in (name for name in together if name.endswith("token_loss") or name.startswith("critic_input")):
            torch.testing.assert_close(together[name][row], alone[name][0], atol=1e-5, rtol=1e-5, msg=name)


# ---- kinds of attention ----


@pytest.mark.parametrize("causal", [False, True])
@each_position
def test_eager_attention_and_sdpa_give_the_same_losses_and_gradients(build, position, causal):
    fields = {"position_embedding_type": position, "is_causal": causal}
    results = []
    for attention in ("eager", "sdpa"):
        model = build(remaining_alpha=0.5, critic_regime="partial", **fields).train()
        model.set_attn_implementation(attention)
        output = model(**padded(make_batch(), 2, 3))
        output.loss.backward()
        results.append((output, dict(model.named_parameters())))
    assert_same_training(*results)


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("c++") is None, reason="flex attention is compiled, which needs a C++ compiler")
def test_flex_attention_gives_the_logits_of_eager_attention(build):
    model = build()
    batch = padded(make_batch(), 2, 3)
    arguments = {name: batch[name] for name in ("input_ids", "attention_mask")}
    outputs = []
    for attention in ("eager", "flex_attention"):
        model.set_attn_implementation(attention)
        assert model.model.config._attn_implementation == attention
        with torch.no_grad():  # on a CPU it has no backward pass
            outputs.append(model(**arguments))
    where = batch["attention_mask"].bool()
    for name in ("logits", "critic_logits"):
        torch.testing.assert_close(outputs[1][name][where], outputs[0][name][where], atol=1e-4, rtol=0, msg=name)


def test_attentions_are_shares_that_leave_the_padding_out(build):
    model = build()
    model.set_attn_implementation("eager")
    batch = padded(make_batch(), 2, 3)
    output = model(**batch, output_attentions=True, output_hidden_states=True)
    assert len(output.attentions) == 2 and [states.shape for states in output.hidden_states] == [(3, 15, 16)] * 3
    torch.testing.assert_close(output.hidden_states[0], model.model.embed_tokens(batch["input_ids"]))
    for weights in output.attentions:
        assert weights.shape == (3, 2, 15, 15)
        real = weights[:, :, 2:12]
        torch.testing.assert_close(real.sum(dim=-1), torch.ones(3, 2, 10))
        assert not real[..., :2].any() and not real[..., 12:].any() and (real[..., 2:12] > 0).all()
    torch.testing.assert_close(model.lm_head(output.hidden_states[-1]), output.logits)


# ---- activations that are computed again ----


@pytest.mark.parametrize("reentrant", [False, True])
def test_gradient_checkpointing_runs_both_passes_again_and_changes_nothing(build, reentrant, monkeypatch):
    runs, inner = [], CriticGPTMLP.forward  # a part of the layer, whose own `forward` Transformers wraps
    monkeypatch.setattr(CriticGPTMLP, "forward", lambda self, states: (runs.append(1), inner(self, states))[1])
    results = []
    for checkpointing in (False, True):
        model = build(hidden_dropout=0.2, attention_dropout=0.1, remaining_alpha=0.5, critic_regime="partial").train()
        if checkpointing:
            model.activation_checkpointing_enable({"use_reentrant": reentrant})
        runs.clear()
        torch.manual_seed(4)
        output = model(**make_batch())
        output.loss.backward()
        results.append((output, dict(model.named_parameters()), len(runs)))
    assert [runs for *_, runs in results] == [4, 8]
    assert_same_training(*results)
