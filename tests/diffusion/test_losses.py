# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about losses per token and their means."""

import math

import pytest
import torch
from torch import nn

from critic_gpt.diffusion.losses import (
    class_counts,
    mean_over_classes,
    token_classes,
    token_classification_loss,
    token_classification_losses,
    token_cross_entropy,
)


MASK, PAD, VOCAB = 1, 0, 12


# ---- token_cross_entropy ----


def test_token_cross_entropy_equals_torch_where_nothing_is_special():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, VOCAB), torch.randint(0, VOCAB, (2, 5))
    labels[0, 1] = -100
    expected = nn.functional.cross_entropy(logits.transpose(1, 2), labels, reduction="none")
    torch.testing.assert_close(token_cross_entropy(logits, labels, None), expected)


def test_the_mask_is_never_a_prediction():
    torch.manual_seed(0)
    logits, labels = torch.randn(2, 5, VOCAB), torch.randint(2, VOCAB, (2, 5))
    kept = [token for token in range(VOCAB) if token != MASK]
    expected = -logits[..., kept].log_softmax(dim=-1).gather(-1, (labels - 1)[..., None]).squeeze(-1)
    torch.testing.assert_close(token_cross_entropy(logits, labels, MASK), expected)
    # A model that is sure of [MASK] loses nothing by it.
    shouting = logits.clone()
    shouting[..., MASK] = 1e4
    torch.testing.assert_close(token_cross_entropy(shouting, labels, MASK), expected)


def test_token_cross_entropy_leaves_its_input_alone_and_gives_the_mask_no_gradient():
    logits = torch.randn(1, 3, VOCAB, requires_grad=True)
    before = logits.detach().clone()
    token_cross_entropy(logits, torch.tensor([[2, 3, -100]]), MASK).sum().backward()
    assert torch.equal(logits.detach(), before)
    assert not logits.grad[..., MASK].any()
    assert not logits.grad[0, 2].any()
    assert logits.grad[0, :2, 2:].all()


def test_token_cross_entropy_computes_in_float32_and_keeps_float64():
    logits, labels = torch.randn(1, 3, VOCAB), torch.tensor([[2, 3, 4]])
    assert token_cross_entropy(logits.bfloat16(), labels, MASK).dtype == torch.float32
    assert token_cross_entropy(logits.double(), labels, MASK).dtype == torch.float64


def test_another_ignore_index_is_honoured():
    losses = token_cross_entropy(torch.randn(1, 3, VOCAB), torch.tensor([[2, -1, 4]]), MASK, ignore_index=-1)
    assert losses[0, 1] == 0 and losses[0, 0] > 0 and losses[0, 2] > 0


# ---- token_classification_loss ----


def classified(num_classes: int = 4):
    torch.manual_seed(2)
    return torch.randn(3, 6, num_classes), torch.randint(0, num_classes - 1, (3, 6))  # the last class is absent


def test_hard_labels_equal_torch_and_both_ignore_values_count_for_nothing():
    logits, labels = classified()
    labels[0, :3], labels[1, 2:] = -100, -1
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), labels.masked_fill(labels == -1, -100).flatten())
    torch.testing.assert_close(token_classification_loss(logits, labels, balanced=False), expected)


def test_balanced_weights_equal_torchs_weighted_cross_entropy_with_an_absent_class():
    logits, labels = classified()
    labels[0, :3] = -100
    valid = labels[labels != -100]
    counts = torch.bincount(valid, minlength=4)
    assert counts[3] == 0
    weights = torch.where(counts > 0, len(valid) / (4 * counts.clamp(min=1)), 0.0)
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), labels.flatten(), weight=weights)
    torch.testing.assert_close(token_classification_loss(logits, labels, balanced=True), expected)


def test_balanced_weights_make_a_rare_class_as_heavy_as_a_frequent_one():
    logits = torch.zeros(1, 10, 2)
    logits[..., 1] = math.log(3)  # P(class 1) = 3/4 everywhere
    labels = torch.tensor([[1] * 9 + [0]])
    loss = token_classification_loss(logits, labels, balanced=True)
    assert loss.item() == pytest.approx(0.5 * math.log(4) + 0.5 * math.log(4 / 3), abs=1e-6)


def test_soft_labels_equal_torch_and_generalise_hard_ones():
    logits, labels = classified()
    soft = torch.rand(3, 6, 4).softmax(dim=-1)
    expected = nn.functional.cross_entropy(logits.flatten(0, 1), soft.flatten(0, 1))
    torch.testing.assert_close(token_classification_loss(logits, soft, balanced=False), expected)
    one_hot = nn.functional.one_hot(labels, 4)
    torch.testing.assert_close(
        token_classification_loss(logits, one_hot, balanced=False),
        token_classification_loss(logits, labels, balanced=False),
    )


def test_soft_labels_of_zeros_are_ignored():
    logits, _ = classified()
    soft = torch.rand(3, 6, 4).softmax(dim=-1)
    soft[1:] = 0.0
    expected = nn.functional.cross_entropy(logits[0], soft[0])
    torch.testing.assert_close(token_classification_loss(logits, soft, balanced=False), expected)


@pytest.mark.parametrize("balanced", [False, True])
def test_nothing_but_ignored_labels_gives_zero_and_no_gradient(balanced):
    logits, labels = classified()
    logits.requires_grad_()
    loss = token_classification_loss(logits, torch.full_like(labels, -100), balanced)
    loss.backward()
    assert loss == 0 and not logits.grad.any()


@pytest.mark.parametrize("balanced", [False, True])
def test_the_means_of_parts_by_the_counts_of_the_whole_add_up(balanced):
    logits, labels = classified()
    labels[0, :3], labels[1, 2:4] = -100, -1
    classes = token_classes(labels)
    losses, counts = token_classification_losses(logits, labels), class_counts(classes, 4)
    assert counts.tolist() == [torch.bincount(row[row >= 0], minlength=4).tolist() for row in labels]
    parts = [mean_over_classes(losses[i : i + 1], classes[i : i + 1], counts.sum(dim=0), balanced) for i in range(3)]
    torch.testing.assert_close(sum(parts), token_classification_loss(logits, labels, balanced))


def test_balanced_weights_are_refused_with_soft_labels():
    logits, labels = classified()
    with pytest.raises(ValueError, match="`balanced_class_weights` must be False with soft labels, got True"):
        token_classification_loss(logits, nn.functional.one_hot(labels, 4).float(), balanced=True)
