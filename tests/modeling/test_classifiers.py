# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the classification and scoring heads on the trunk."""

import torch
from tiny_models import LENGTH, build, make_batch
from torch import nn
from transformers import (
    Trainer,
    TrainingArguments,
)

from critic_gpt import (
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
)


# ---- sequence scoring and classification ----


def test_the_scorer_is_a_sigmoid_of_a_scaled_projection_of_position_zero():
    model = build(CriticGPTForSequenceClassification, num_labels=1, regression_scale_init=3.0)
    assert model.score.scale.item() == 3.0 and model.score.shift.item() == 0.0
    with torch.no_grad():
        model.score.shift.fill_(-0.7)
    batch, targets = make_batch(), torch.tensor([0.0, 0.25, 1.0])
    output = model(batch["input_ids"], batch["attention_mask"], labels=targets)
    state = model.model(batch["input_ids"], batch["attention_mask"]).last_hidden_state[:, 0]
    expected = torch.sigmoid(3.0 * (state @ model.score.weight[0]) - 0.7)
    torch.testing.assert_close(output.logits[:, 0], expected)
    assert ((output.logits > 0) & (output.logits < 1)).all()
    torch.testing.assert_close(output.loss, ((expected - targets) ** 2).mean())


def test_scale_and_shift_of_the_scorer_start_neutral_and_learn():
    model = build(CriticGPTForSequenceClassification, num_labels=1).train()
    assert (model.score.scale.item(), model.score.shift.item()) == (1.0, 0.0)
    batch = make_batch()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model(batch["input_ids"], batch["attention_mask"], labels=torch.tensor([0.0, 1.0, 1.0])).loss.backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    assert not [name for name, p in model.named_parameters() if torch.equal(p, before[name])]


def test_sequences_are_classified_into_one_class_or_several():
    model = build(CriticGPTForSequenceClassification, num_labels=3)
    batch = make_batch()
    classes = torch.tensor([0, 2, 1])
    output = model(batch["input_ids"], batch["attention_mask"], labels=classes)
    assert output.logits.shape == (3, 3)
    torch.testing.assert_close(output.loss, nn.functional.cross_entropy(output.logits, classes))
    several = torch.tensor([[1, 0, 1], [0, 0, 0], [1, 1, 1]])
    expected = nn.functional.binary_cross_entropy_with_logits(output.logits, several.float())
    for labels in (several, several.float()):
        output = model(batch["input_ids"], batch["attention_mask"], labels=labels)
        torch.testing.assert_close(output.loss, expected)


def test_the_stock_trainer_divides_by_the_accumulation_steps(tmp_path):
    # With a mean as loss, whoever accepts the Trainer's token count gets gradients that are too large.
    batch = make_batch(batch_size=4)
    rows = [{"input_ids": batch["input_ids"][i], "labels": torch.arange(LENGTH) % 3} for i in range(4)]
    fixed = {"max_steps": 1, "learning_rate": 0.5, "optim": "sgd", "max_grad_norm": 0.0, "save_strategy": "no"}
    weights = []
    for accumulation in (1, 4):
        model = build(CriticGPTForTokenClassification, num_labels=3)
        fixed |= {"per_device_train_batch_size": 4 // accumulation, "gradient_accumulation_steps": accumulation}
        arguments = TrainingArguments(tmp_path, report_to="none", use_cpu=True, disable_tqdm=True, **fixed)
        Trainer(model=model, args=arguments, train_dataset=rows).train()
        weights.append(model.state_dict())
    for name, tensor in weights[0].items():
        torch.testing.assert_close(weights[1][name], tensor, atol=1e-5, rtol=1e-4)
