# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""`torch.compile` and `torch.export` of every model class, at any batch size and length. The training of the language
model is compiled in tests/modeling/test_modeling.py."""

import pytest
import torch
from torch.export import Dim

from critic_gpt import (
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticGPTModel,
)


# B batch, T positions
MASK, VOCAB = 1, 32
CLASSES = [CriticGPTModel, CriticGPTForMaskedLM, CriticGPTForTokenClassification, CriticGPTForSequenceClassification]
each_class = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: cls.__name__)
each_position = pytest.mark.parametrize("position", ["rotary", "absolute", "both"])


@pytest.fixture
def build(tiny_config):
    def make(cls=CriticGPTForMaskedLM, **fields):
        torch.manual_seed(0)
        model = cls(tiny_config(**{"add_critic_head": True, "num_labels": 3, **fields})).eval()
        if cls is CriticGPTForMaskedLM:
            torch.nn.init.normal_(model.critic_head.weight)
        return model

    return make


def make_batch(batch_size, length):
    """Ids with [MASK] among them, padded on either side."""
    generator = torch.Generator().manual_seed(batch_size)
    input_ids = torch.randint(2, VOCAB, (batch_size, length), generator=generator)
    input_ids[:, ::3] = MASK
    attention_mask = torch.ones_like(input_ids)
    attention_mask[0, :2] = attention_mask[-1, -3:] = 0
    return {"input_ids": input_ids, "attention_mask": attention_mask}


def make_training_batch(batch_size, length):
    """With labels, weights and the draws of the second pass."""
    batch = make_batch(batch_size, length)
    generator = torch.Generator().manual_seed(length)
    truth = torch.randint(2, VOCAB, (batch_size, length), generator=generator)
    hidden = (batch["input_ids"] != MASK) | (batch["attention_mask"] == 0)
    return {
        **batch,
        "labels": truth.masked_fill(hidden, -100),
        "loss_weights": torch.rand(hidden.shape, generator=generator),
        "fill_mask": torch.rand(hidden.shape, generator=generator) < 0.6,
        "fill_uniforms": torch.rand(hidden.shape, generator=generator),
        "given_mask": torch.rand(hidden.shape, generator=generator) < 0.4,
    }


def assert_same(output, expected):
    assert list(output) == list(expected)
    for name, value in expected.items():
        torch.testing.assert_close(output[name], value, atol=1e-5, rtol=1e-5, msg=name)


@pytest.mark.parametrize(
    ("cls", "position"), [*((cls, "rotary") for cls in CLASSES), (CriticGPTForMaskedLM, "absolute")]
)
def test_every_class_compiles_into_one_graph_that_serves_all_sizes(build, cls, position):
    model = build(cls, position_embedding_type=position)
    torch.compiler.reset()
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph

    compiled = torch.compile(model, fullgraph=True, dynamic=True, backend=backend)
    for sizes in ((3, 10), (2, 17), (5, 7)):
        batch = make_batch(*sizes)
        assert_same(compiled(**batch), model(**batch))
    assert len(graphs) == 1


def export(model, make, sizes=(2, 10)):
    """A program for any batch size and length."""
    arguments = make(*sizes)
    batch_size, length = Dim("batch_size", min=1, max=64), Dim("length", min=2, max=48)
    shapes = {name: {0: batch_size, 1: length} for name in arguments}
    return torch.export.export(model, (), arguments, dynamic_shapes=shapes)


@each_class
@each_position
def test_every_class_is_exported_for_all_sizes(build, cls, position):
    model = build(cls, position_embedding_type=position)
    program = export(model, make_batch).module()
    for sizes in ((1, 10), (5, 17), (3, 48)):
        batch = make_batch(*sizes)
        assert_same(program(**batch), model(**batch))


def test_an_exported_program_survives_its_file(build, tmp_path):
    model = build()
    torch.export.save(export(model, make_batch), tmp_path / "model.pt2")
    batch = make_batch(4, 12)
    assert_same(torch.export.load(tmp_path / "model.pt2").module()(**batch), model(**batch))


def test_the_losses_of_both_passes_are_exported_too(build):
    model = build(remaining_alpha=0.5, critic_regime="partial", add_joint_head=True)
    program = export(model, make_training_batch).module()
    batch = make_training_batch(5, 17)
    assert_same(program(**batch), model(**batch))
