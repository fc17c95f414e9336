# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the second pass: its losses, its rows, and what is filled for it."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn

from critic_gpt import build_critic_artifacts_from_logits
from critic_gpt.diffusion.losses import remaining_token_loss, token_cross_entropy
from critic_gpt.diffusion.masks import draw_fill_mask
from critic_gpt.diffusion.second_pass import critic_second_pass, second_pass_rows


MASK, PAD, VOCAB = 1, 0, 12


# ---- critic_second_pass ----


# All that the second pass asks of a configuration.
RULES = {"vocab_size": VOCAB, "drawable_vocab_size": None, "suppressed_token_ids": None, "mask_token_id": MASK}
RULES |= {"pad_token_id": PAD, "critic_target_scope": "masked_only", "critic_fill": "multinomial"}
RULES |= {"correction_alpha": 0.5, "remaining_alpha": 0.0, "leave_one_out_alpha": 0.0}
RULES["critic_detach"] = False


class Parts:
    """A trunk that is no CriticGPT, two heads and a batch, the last row of which is padded."""

    def __init__(self):
        torch.manual_seed(0)
        self.trunk = nn.Sequential(nn.Embedding(VOCAB, 8), nn.Linear(8, 8), nn.Tanh())
        self.lm_head, self.critic = nn.Linear(8, VOCAB), nn.Linear(8, 1)
        torch.manual_seed(1)
        clean, masked = torch.randint(2, VOCAB, (3, 8)), torch.rand(3, 8) < 0.6
        masked[2, 6:], clean[2, 6:] = False, PAD
        self.batch = {"input_ids": clean.masked_fill(masked, MASK), "labels": clean.masked_fill(~masked, -100)}
        self.batch |= {"fill_mask": torch.rand(3, 8) < 0.5, "fill_uniforms": torch.rand(3, 8)}

    def second_pass(self, encode=None, lm_head=None, correct=True, num_tokens=None, **rules):
        self.logits = self.lm_head(self.trunk(self.batch["input_ids"]))
        heads = lm_head or self.lm_head, lambda states: self.critic(states).squeeze(-1)
        given = {"logits": self.logits, "config": SimpleNamespace(**{**RULES, **rules}), **self.batch}
        return critic_second_pass(encode or self.trunk, *heads, correct=correct, num_tokens=num_tokens, **given)


@pytest.mark.parametrize("scope", ["masked_only", "masked_and_ignore", "all"])
@pytest.mark.parametrize("fill", ["multinomial", "argmax"])
def test_the_second_pass_knows_no_model_class_and_equals_a_hand_computation(scope, fill):
    parts = Parts()
    output = parts.second_pass(critic_target_scope=scope, critic_fill=fill)
    given = {"mask_token_id": MASK, "pad_token_id": PAD, "scope": scope, "fill": fill, **parts.batch}
    artifacts = build_critic_artifacts_from_logits(logits=parts.logits, **given)
    assert torch.equal(output["critic_input_ids"], artifacts.critic_input)
    assert torch.equal(output["critic_target"], artifacts.critic_target)
    assert torch.equal(output["critic_valid"], artifacts.critic_valid)
    states = parts.trunk(artifacts.critic_input)
    probability, target = torch.sigmoid(parts.critic(states).squeeze(-1)), artifacts.critic_target
    by_hand = -(target * probability.log() + (1 - target) * (1 - probability).log()) * artifacts.critic_valid
    torch.testing.assert_close(output["critic_token_loss"], by_hand)
    torch.testing.assert_close(output["critic_loss"], by_hand.sum() / artifacts.critic_valid.sum())
    corrected = artifacts.filled & (parts.batch["labels"] != -100)
    truth = token_cross_entropy(parts.lm_head(states), parts.batch["labels"].masked_fill(~corrected, -100), MASK)
    torch.testing.assert_close(output["correction_token_loss"], truth)
    torch.testing.assert_close(output["correction_loss"], truth.sum() / corrected.sum())


def test_without_uniforms_the_filling_is_argmax_and_outside_of_the_masks_there_is_none():
    parts = Parts()
    ids = parts.batch["input_ids"]
    parts.batch |= {"fill_mask": None, "fill_uniforms": None}
    filled = parts.second_pass()["critic_input_ids"]
    best = parts.logits[..., 2:].argmax(dim=-1) + 2  # neither padding nor [MASK]
    assert torch.equal(filled, torch.where(ids == MASK, best, ids))
    parts.batch["fill_mask"] = ids != MASK
    output = parts.second_pass()
    assert torch.equal(output["critic_input_ids"], ids) and output["critic_loss"] == output["correction_loss"] == 0


@pytest.mark.parametrize(("alpha", "remaining_alpha", "correct"), [(0, 0, True), (0.5, 0, False), (0.5, 0.5, False)])
def test_without_terms_of_its_own_the_lm_head_is_not_asked_a_second_time(alpha, remaining_alpha, correct):
    def refuse(states):
        raise AssertionError("the LM head was called")

    rules = {"correction_alpha": alpha, "remaining_alpha": remaining_alpha}
    output = Parts().second_pass(lm_head=refuse, correct=correct, **rules)
    assert not {name for name in output if name.startswith(("correction", "remaining"))}


@pytest.mark.parametrize("mask_token_id", [MASK, None])
@pytest.mark.parametrize("correction_alpha", [0.0, 0.5])
def test_the_remaining_loss_weighs_the_masks_that_are_left_by_the_inverse_of_their_rate(
    mask_token_id, correction_alpha
):
    parts, num_tokens = Parts(), torch.tensor([8, 8, 6])
    ids, labels, fill_mask = (parts.batch[name] for name in ("input_ids", "labels", "fill_mask"))
    labels[0, int((labels[0] == -100).nonzero()[0])] = 7  # a visible token with a truth is not a mask
    ids[1, 0], labels[1, 0] = MASK, -100  # a mask without one takes no part
    fill_mask[2] = True  # nothing is left in a row that is filled
    rules = {"correction_alpha": correction_alpha, "mask_token_id": mask_token_id}
    output = parts.second_pass(num_tokens=num_tokens, remaining_alpha=0.3, **rules)
    left = (labels != -100 if mask_token_id is None else ids == MASK) & ~fill_mask & (labels != -100)
    assert left[:2].any(dim=1).all() and not left[2].any()
    again = parts.lm_head(parts.trunk(output["critic_input_ids"]))
    loss = token_cross_entropy(again, labels.masked_fill(~left, -100), mask_token_id)
    expected = loss * num_tokens[:, None] / left.sum(dim=-1, keepdim=True).clamp(min=1)
    torch.testing.assert_close(output["remaining_token_loss"], expected)
    torch.testing.assert_close(output["remaining_loss"], expected.sum() / 22)
    # The correction is what it is without the other term.
    alone = parts.second_pass(**rules)
    assert ("correction_loss" in output) is (correction_alpha > 0)
    assert all(torch.equal(output[name], value) for name, value in alone.items())


def test_the_remaining_loss_of_a_uniform_guess_is_the_bound_of_one_whatever_is_left():
    labels = torch.randint(2, VOCAB, (4, 8))
    left = torch.zeros(4, 8, dtype=torch.bool)
    for row, count in enumerate((1, 3, 8, 0)):
        left[row, :count] = True
    loss = remaining_token_loss(torch.zeros(4, 8, VOCAB), labels, left, torch.full((4,), 8), MASK)
    bound = math.log(VOCAB - 1)  # a token is never [MASK]
    assert loss.sum(dim=1).tolist() == pytest.approx([8 * bound, 8 * bound, 8 * bound, 0])


def test_the_leave_one_out_loss_is_the_divergence_of_what_is_said_with_the_token_in_sight():
    parts = Parts()
    output = parts.second_pass(leave_one_out_alpha=0.5, correction_alpha=0.0)
    filled = parts.batch["fill_mask"] & (parts.batch["input_ids"] == MASK) & (parts.batch["labels"] != -100)
    said = parts.lm_head(parts.trunk(output["critic_input_ids"]))
    kept = [token for token in range(VOCAB) if token != MASK]
    said, meant = (torch.distributions.Categorical(logits=logits[..., kept]) for logits in (said, parts.logits))
    divergence = torch.distributions.kl_divergence(meant, said)
    torch.testing.assert_close(output["leave_one_out_token_loss"], divergence * filled)
    torch.testing.assert_close(output["leave_one_out_loss"], (divergence * filled).sum() / filled.sum())
    assert "correction_loss" not in output
    # Whoever says the same of a token in sight as of a hidden one has none of it.
    same = parts.second_pass(lm_head=lambda states: parts.logits, leave_one_out_alpha=0.5)
    assert same["leave_one_out_loss"].abs() < 1e-6


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("correction_alpha", [0.0, 0.5])
def test_a_detached_critic_leaves_the_trunk_to_the_other_terms(detach, correction_alpha):
    parts, graphs = Parts(), []

    def encode(ids):
        graphs.append(torch.is_grad_enabled())
        return parts.trunk(ids)

    output = parts.second_pass(encode, critic_detach=detach, correction_alpha=correction_alpha)
    assert graphs == [not detach or correction_alpha > 0]  # no graph that nothing would use
    weights = [*parts.critic.parameters(), *parts.trunk.parameters()]
    of_critic = torch.autograd.grad(output["critic_loss"], weights, retain_graph=True, allow_unused=True)
    assert all(gradient.any() for gradient in of_critic[:2])
    for gradient in of_critic[2:]:
        assert gradient is None if detach else gradient.any()
    if correction_alpha:
        of_correction = torch.autograd.grad(output["correction_loss"], parts.trunk.parameters())
        assert all(gradient.any() for gradient in of_correction)
    # The numbers are those of an attached critic.
    attached = parts.second_pass(correction_alpha=correction_alpha)
    assert all(torch.equal(output[name], value) for name, value in attached.items())


def test_nothing_to_judge_gives_zero_and_finite_gradients():
    parts = Parts()
    parts.batch |= {"input_ids": torch.full((3, 8), 5), "labels": torch.full((3, 8), -100), "fill_mask": None}
    output = parts.second_pass()
    assert output["critic_loss"] == output["correction_loss"] == 0
    (output["critic_loss"] + output["correction_loss"]).backward()
    assert all(torch.isfinite(p.grad).all() for p in parts.critic.parameters())


# ---- second_pass_rows ----


@pytest.mark.parametrize(
    ("batch_size", "share", "rows"),
    [
        (8, 1.0, [0, 1, 2, 3, 4, 5, 6, 7]),
        (8, 0.5, [0, 2, 4, 6]),
        (8, 0.25, [0, 4]),
        (8, 0.1, [0]),
        (7, 0.5, [0, 1, 3, 5]),
        (1, 0.01, [0]),
        (3, 0.34, [0, 1]),
    ],
)
def test_the_rows_of_the_second_pass_are_a_share_rounded_up_and_spread_evenly(batch_size, share, rows):
    assert second_pass_rows(batch_size, share) == rows


def test_a_share_is_not_rounded_up_past_itself():
    for percent in range(1, 101):
        assert second_pass_rows(100, percent / 100) == sorted(set(second_pass_rows(100, percent / 100)))
        assert len(second_pass_rows(100, percent / 100)) == percent


@pytest.mark.parametrize("share", [0.0, -0.5, 1.01, math.nan])
def test_a_share_out_of_range_is_refused(share):
    with pytest.raises(ValueError, match=r"^`critic_batch_share` must be in \(0, 1\], got .*: .*\.$"):
        second_pass_rows(4, share)


# ---- draw_fill_mask ----


@pytest.mark.parametrize("regime", ["full", "partial", "mixed"])
@pytest.mark.parametrize("mask_token_id", [MASK, None])
def test_positions_to_fill_are_masks_and_all_of_them_only_where_the_regime_says_so(regime, mask_token_id):
    torch.manual_seed(0)
    input_ids = torch.randint(2, VOCAB, (200, 8))
    masked = torch.rand(200, 8) < 0.5
    labels = input_ids.masked_fill(~masked, -100)
    drawn = draw_fill_mask(
        input_ids.masked_fill(masked, MASK),
        labels,
        SimpleNamespace(mask_token_id=mask_token_id, critic_regime=regime, critic_fill_exponent=1.0),
    )
    assert not (drawn & ~masked).any()
    assert drawn.any(dim=-1).equal(masked.any(dim=-1))
    whole = (drawn == masked).all(dim=-1).float().mean().item()
    low, high = {"full": (1, 1), "partial": (0.1, 0.5), "mixed": (0.4, 0.9)}[regime]
    assert low <= whole <= high


def test_drawn_positions_follow_the_exponent_of_the_share():
    input_ids = torch.full((4000, 8), MASK)
    shares = []
    for exponent in (0.25, 1.0, 4.0):
        torch.manual_seed(0)
        config = SimpleNamespace(mask_token_id=MASK, critic_regime="partial", critic_fill_exponent=exponent)
        shares.append(draw_fill_mask(input_ids, input_ids, config).float().mean().item())
    # Rounding up adds half a position of eight where the share is spread evenly, and more where it is small.
    assert shares[0] == pytest.approx(0.8 + 0.05, abs=0.03)
    assert shares[1] == pytest.approx(0.5 + 0.0625, abs=0.02)
    assert shares[2] == pytest.approx(0.2 + 0.085, abs=0.03)
