# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the losses of the language model with a critic."""

import pytest
import torch
from tiny_models import (
    LENGTH,
    MASK,
    PAD,
    VOCAB,
    build,
    build_with_critic,
    count_trunk_passes,
    each_variant,
    make_batch,
    make_draws,
)
from torch import nn

from critic_gpt import (
    build_critic_artifacts_from_logits,
)
from critic_gpt.diffusion.losses import token_cross_entropy


@pytest.mark.parametrize(
    ("changes", "arguments", "expected"),
    [
        ({}, {}, 2),
        ({}, {"critic_pass": False}, 1),
        ({}, {"labels": None}, 1),
        ({"add_critic_head": False}, {}, 1),
        ({"critic_alpha": 0}, {}, 2),
    ],
)
@pytest.mark.parametrize("training", [True, False])
def test_the_trunk_runs_exactly_as_often_as_needed(changes, arguments, expected, training):
    model = build(**{"add_critic_head": True, **changes}).train(training)
    passes = count_trunk_passes(model)
    model(**{**make_batch(), **arguments})
    assert len(passes) == expected


@pytest.mark.parametrize("add_critic_head", [True, False])
def test_the_lm_loss_is_the_cross_entropy_with_the_mask_forbidden_and_labels_are_not_shifted(add_critic_head):
    model = build(add_critic_head=add_critic_head)
    batch = make_batch()
    output = model(**batch)
    logits = output.logits.clone()
    logits[..., MASK] = float("-inf")
    where = batch["labels"] != -100
    by_hand = -logits.log_softmax(dim=-1)[where].gather(-1, batch["labels"][where][:, None]).squeeze(-1)
    torch.testing.assert_close(output.lm_token_loss[where], by_hand)
    assert not output.lm_token_loss[~where].any()
    torch.testing.assert_close(output.lm_loss, by_hand.mean())
    assert torch.isfinite(output.logits).all()  # the returned logits are the head's own


def test_with_weights_the_lm_loss_is_the_sum_over_the_number_of_real_tokens():
    model = build(add_critic_head=True)
    batch, weights = make_batch(), torch.rand(3, LENGTH) * 5
    plain, weighted = model(**batch), model(**batch, loss_weights=weights)
    torch.testing.assert_close(weighted.lm_token_loss, plain.lm_token_loss * weights)
    torch.testing.assert_close(weighted.lm_loss, (plain.lm_token_loss * weights).sum() / (3 * LENGTH - 3))
    del batch["attention_mask"]
    plain, weighted = model(**batch), model(**batch, loss_weights=weights)
    torch.testing.assert_close(weighted.lm_loss, (plain.lm_token_loss * weights).sum() / (3 * LENGTH))


@pytest.mark.parametrize(("alpha", "correction_alpha"), [(0.5, 0.5), (2.0, 0.0), (0, 0.25), (0, 0)])
def test_the_loss_is_the_weighted_sum_of_its_terms(alpha, correction_alpha):
    model = build_with_critic(critic_alpha=alpha, correction_alpha=correction_alpha)
    output = model(**make_batch(), **make_draws())
    expected = output.lm_loss + alpha * output.critic_loss
    if correction_alpha:
        expected = expected + correction_alpha * output.correction_loss
    else:
        assert output.correction_loss is None and output.correction_token_loss is None
    torch.testing.assert_close(output.loss, expected)


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("padded", [True, False])
def test_the_remaining_loss_counts_rows_as_the_lm_loss_does_and_joins_the_loss(weighted, padded):
    model = build_with_critic(remaining_alpha=0.7, critic_regime="partial")
    batch, draws = make_batch(), make_draws()
    arguments = {"loss_weights": torch.rand(3, LENGTH)} if weighted else {}
    if not padded:
        del batch["attention_mask"]
    output = model(**batch, **draws, **arguments)
    left = (batch["input_ids"] == MASK) & ~draws["fill_mask"]
    second = model(output.critic_input_ids, batch.get("attention_mask")).logits
    loss = token_cross_entropy(second, batch["labels"].masked_fill(~left, -100), MASK)
    tokens = torch.full((3,), LENGTH)
    if weighted and padded:
        tokens[2] -= 3
    if not weighted:
        tokens = (batch["labels"] != -100).sum(dim=-1)
    expected = loss * (tokens / left.sum(dim=-1).clamp(min=1))[:, None]
    assert left.any(dim=-1).all()
    torch.testing.assert_close(output.remaining_token_loss, expected)
    torch.testing.assert_close(output.remaining_loss, expected.sum() / tokens.sum())
    plain = build_with_critic(critic_regime="partial")(**batch, **draws, **arguments)
    assert plain.remaining_loss is None and plain.remaining_token_loss is None
    torch.testing.assert_close(output.loss, plain.loss + 0.7 * output.remaining_loss)
    for name, value in plain.items():
        if name != "loss":
            assert torch.equal(value, output[name]), name


def test_the_remaining_loss_trains_the_trunk_through_the_second_pass():
    model = build_with_critic(remaining_alpha=0.7, critic_alpha=0.0, correction_alpha=0.0)
    batch, draws = make_batch(), make_draws()
    output = model(**batch, **draws)
    gradients = torch.autograd.grad(output.remaining_loss, list(model.model.parameters()))
    left = (batch["input_ids"] == MASK) & ~draws["fill_mask"]
    second = model(output.critic_input_ids.detach(), batch["attention_mask"]).logits
    loss = token_cross_entropy(second, batch["labels"].masked_fill(~left, -100), MASK).sum(dim=-1)
    tokens = (batch["labels"] != -100).sum(dim=-1)
    by_hand = (loss * tokens / left.sum(dim=-1).clamp(min=1)).sum() / tokens.sum()
    for one, other in zip(gradients, torch.autograd.grad(by_hand, list(model.model.parameters())), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
        assert one.any()


@pytest.mark.parametrize("correction_alpha", [0.0, 1.0])
def test_a_detached_critic_changes_no_number_and_gives_the_trunk_no_gradient(correction_alpha):
    outputs, gradients = [], []
    for detach in (False, True):
        model = build_with_critic(critic_detach=detach, correction_alpha=correction_alpha).train()
        output = model(**make_batch(), **make_draws())
        output.loss.backward()
        outputs.append(output)
        gradients.append({name: parameter.grad for name, parameter in model.named_parameters()})
    for name, value in outputs[0].items():
        assert torch.equal(value, outputs[1][name]), name
    assert torch.equal(gradients[0]["critic_head.weight"], gradients[1]["critic_head.weight"])
    # Without the critic's weight in the loss the trunk's gradient is the same.
    model = build_with_critic(critic_alpha=0.0, correction_alpha=correction_alpha).train()
    model(**make_batch(), **make_draws()).loss.backward()
    for name, parameter in model.model.named_parameters(prefix="model"):
        torch.testing.assert_close(gradients[1][name], parameter.grad, rtol=1e-4, atol=1e-6)
    assert not torch.allclose(gradients[0]["model.norm.weight"], gradients[1]["model.norm.weight"], atol=1e-4)


@pytest.mark.parametrize(("share", "rows"), [(0.5, [0, 2]), (0.25, [0]), (0.75, [0, 1, 2])])
@pytest.mark.parametrize("left_padded", [True, False])
def test_a_share_of_the_batch_is_judged_as_if_it_were_alone(share, rows, left_padded):
    fields = {"position_embedding_type": "absolute", "remaining_alpha": 0.5, "critic_regime": "partial"}
    model = build_with_critic(**fields).train()
    batch, draws = make_batch(batch_size=4), make_draws(batch_size=4)
    if left_padded:
        batch = {name: values.flip(1) for name, values in batch.items()}
    sizes = []
    model.model.register_forward_pre_hook(
        lambda module, args, kwargs: sizes.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    weights = torch.rand(4, LENGTH)
    output = model(**batch, **draws, loss_weights=weights, critic_batch_share=share)
    assert sizes == [4, len(rows)]
    part = {name: values[rows] for name, values in {**batch, **draws, "loss_weights": weights}.items()}
    alone = model(**part)
    others = [row for row in range(4) if row not in rows]
    for name, value in output.items():
        if name in ("critic_loss", "correction_loss", "remaining_loss"):
            torch.testing.assert_close(value, alone[name])
        elif name.startswith(("critic_", "correction_", "remaining_")) and name != "critic_logits":
            torch.testing.assert_close(value[rows], alone[name])
            untouched = batch["input_ids"] if name == "critic_input_ids" else torch.zeros_like(value)
            assert torch.equal(value[others], untouched[others]), name
    assert output.critic_logits.shape == output.critic_valid.shape == (4, LENGTH)
    whole = model(**batch, **draws, loss_weights=weights)
    assert torch.equal(output.lm_loss, whole.lm_loss) and torch.equal(output.logits, whole.logits)
    terms = 0.5 * output.critic_loss + 0.1 * output.correction_loss + 0.5 * output.remaining_loss
    torch.testing.assert_close(output.loss, output.lm_loss + terms)


def test_position_ids_reach_the_rows_of_a_share():
    model = build_with_critic(position_embedding_type="absolute")
    batch, draws = make_batch(batch_size=4), make_draws(batch_size=4)
    positions = torch.arange(LENGTH)[None] + torch.tensor([[0], [2], [4], [6]])
    shared = model(**batch, **draws, position_ids=positions, critic_batch_share=0.5)
    whole = model(**batch, **draws, position_ids=positions)
    torch.testing.assert_close(shared.critic_input_logits[[0, 2]], whole.critic_input_logits[[0, 2]])
    one = torch.arange(3, 3 + LENGTH)[None]  # one row for all
    shared = model(**batch, **draws, position_ids=one, critic_batch_share=0.5)
    whole = model(**batch, **draws, position_ids=one)
    torch.testing.assert_close(shared.critic_input_logits[[0, 2]], whole.critic_input_logits[[0, 2]])


def test_a_share_out_of_range_is_refused():
    with pytest.raises(ValueError, match="`critic_batch_share` must be in"):
        build_with_critic()(**make_batch(), critic_batch_share=0.0)


@pytest.mark.parametrize("scope", ["masked_only", "masked_and_ignore", "all"])
@pytest.mark.parametrize("fill", ["multinomial", "argmax"])
@pytest.mark.parametrize("training", [True, False])
def test_the_second_pass_is_what_the_artifacts_say(scope, fill, training):
    model = build_with_critic(critic_target_scope=scope, critic_fill=fill).train(training)
    batch, draws = make_batch(), make_draws()
    if scope == "all":  # a substituted visible token, with the truth as its label
        batch["labels"][0, 1] = 9
    output = model(**batch, **draws)
    artifacts = build_critic_artifacts_from_logits(
        batch["input_ids"], output.logits, batch["labels"], MASK, pad_token_id=PAD, scope=scope, fill=fill, **draws
    )
    assert torch.equal(output.critic_input_ids, artifacts.critic_input)
    assert torch.equal(output.critic_target, artifacts.critic_target)
    assert torch.equal(output.critic_valid, artifacts.critic_valid)
    second = model(artifacts.critic_input, batch["attention_mask"])
    torch.testing.assert_close(output.critic_input_logits, second.critic_logits)
    probability = torch.sigmoid(second.critic_logits.double())
    target = artifacts.critic_target.double()
    by_hand = -(target * probability.log() + (1 - target) * (1 - probability).log())
    by_hand = torch.where(artifacts.critic_valid, by_hand, 0.0)
    torch.testing.assert_close(output.critic_token_loss.double(), by_hand, atol=1e-5, rtol=1e-5)
    mean = by_hand.sum() / artifacts.critic_valid.sum()
    torch.testing.assert_close(output.critic_loss.double(), mean, atol=1e-5, rtol=1e-5)
    correction = token_cross_entropy(second.logits, batch["labels"].masked_fill(~artifacts.filled, -100), MASK)
    torch.testing.assert_close(output.correction_token_loss, correction)
    torch.testing.assert_close(output.correction_loss, correction.sum() / (correction > 0).sum())


def test_the_critic_sees_and_judges_the_filled_positions_only_and_the_correction_stands_there():
    model = build_with_critic()
    batch, draws = make_batch(), make_draws()
    output = model(**batch, **draws)
    masked = batch["input_ids"] == MASK
    filled = masked & draws["fill_mask"]
    assert filled.any() and (masked & ~filled).any()
    assert torch.equal(output.critic_input_ids[~filled], batch["input_ids"][~filled])
    assert not torch.isin(output.critic_input_ids[filled], torch.tensor([MASK, PAD])).any()
    assert torch.equal(output.critic_valid, filled)
    assert not output.critic_token_loss[~filled].any() and output.critic_token_loss[filled].all()
    assert not output.correction_token_loss[~filled].any() and output.correction_token_loss[filled].all()
    # `critic_logits` are about the input, not about the filled one.
    assert torch.equal(output.critic_logits, model.critic_scores(batch["input_ids"], batch["attention_mask"]))


def test_a_fill_mask_outside_the_masks_fills_nothing():
    model = build_with_critic()
    batch = make_batch()
    visible = batch["input_ids"] != MASK
    output = model(**batch, fill_mask=visible, fill_uniforms=make_draws()["fill_uniforms"])
    assert torch.equal(output.critic_input_ids, batch["input_ids"])
    assert output.critic_loss == 0 and output.correction_loss == 0 and torch.isfinite(output.loss)


def test_the_uniforms_decide_the_filling_exactly():
    model = build_with_critic()
    batch, draws = make_batch(), make_draws()
    for value in (1e-7, 0.5, 1 - 1e-7):
        output = model(**batch, fill_uniforms=torch.full((3, LENGTH), value))
        logits = output.logits.clone()
        logits[..., [PAD, MASK]] = float("-inf")
        cumulative = logits.softmax(dim=-1).cumsum(dim=-1)
        expected = (cumulative <= value * cumulative[..., -1:]).sum(dim=-1).clamp(max=VOCAB - 1)
        masked = batch["input_ids"] == MASK
        assert torch.equal(output.critic_input_ids[masked], expected[masked])
    draws["fill_uniforms"][0, 0] = 1 - draws["fill_uniforms"][0, 0]  # one draw decides one position
    changed = (
        (model(**batch, **make_draws()).critic_input_ids != model(**batch, **draws).critic_input_ids)
        .nonzero()
        .tolist()
    )
    assert changed in ([], [[0, 0]])


def test_no_gradient_flows_through_the_filling():
    model = build_with_critic(correction_alpha=0)
    batch, draws = make_batch(), make_draws()
    output = model(**batch, **draws)
    output.critic_loss.backward()
    through_forward = {name: p.grad.clone() for name, p in model.named_parameters() if p.grad is not None}
    model.zero_grad()
    logits = model(output.critic_input_ids, batch["attention_mask"]).critic_logits
    losses = nn.functional.binary_cross_entropy_with_logits(logits, output.critic_target, reduction="none")
    losses[output.critic_valid].mean().backward()
    assert through_forward.keys() == {name for name, p in model.named_parameters() if p.grad is not None}
    for name, parameter in model.named_parameters():
        if parameter.grad is not None:
            torch.testing.assert_close(through_forward[name], parameter.grad, atol=1e-6, rtol=1e-4)


def test_a_skipped_critic_pass_leaves_a_zero_gradient_and_the_plain_loss():
    model = build_with_critic().train()
    output = model(**make_batch(), critic_pass=False)
    assert torch.equal(output.loss, output.lm_loss)
    assert output.critic_loss is None and output.critic_valid is None and output.critic_logits is not None
    output.loss.backward()
    assert model.critic_head.weight.grad is not None and not model.critic_head.weight.grad.any()


def test_a_skipped_pass_leaves_every_layer_of_an_mlp_critic_a_zero_gradient():
    model = build_with_critic(critic_head_type="mlp", use_bias=True).train()
    output = model(**make_batch(), critic_pass=False)
    assert torch.equal(output.loss, output.lm_loss)
    output.loss.backward()
    assert all(p.grad is not None and not p.grad.any() for p in model.critic_head.parameters())


@each_variant
def test_every_parameter_gets_a_gradient_and_moves_in_one_step(variant):
    model = build(add_critic_head=True, **variant).train()
    before = {name: parameter.detach().clone() for name, parameter in model.named_parameters()}
    model(**make_batch(), **make_draws()).loss.backward()
    torch.optim.SGD(model.parameters(), lr=1.0).step()
    for name, parameter in model.named_parameters():
        assert parameter.grad is not None and torch.isfinite(parameter.grad).all(), name
        assert not torch.equal(parameter, before[name]), name


def test_evaluation_with_labels_repeats_itself_and_fills_every_mask_with_argmax():
    model = build_with_critic(hidden_dropout=0.3, attention_dropout=0.3)
    batch = make_batch()
    state = torch.get_rng_state()
    one, other = model(**batch), model(**batch)
    assert torch.equal(torch.get_rng_state(), state)
    for name, value in one.items():
        assert torch.equal(value, other[name]), name
    logits = one.logits.clone()
    logits[..., [PAD, MASK]] = float("-inf")
    masked = batch["input_ids"] == MASK
    assert torch.equal(one.critic_input_ids[masked], logits.argmax(dim=-1)[masked])


def test_training_draws_follow_the_global_seed():
    model = build_with_critic().train()
    batch = make_batch(batch_size=8)

    def filled(seed):
        torch.manual_seed(seed)
        return model(**batch).critic_input_ids

    assert torch.equal(filled(0), filled(0))
    assert not torch.equal(filled(0), filled(1))


@pytest.mark.parametrize("regime", ["full", "partial", "mixed"])
@pytest.mark.parametrize("uniforms_given", [True, False])
def test_training_without_a_fill_mask_follows_the_regime(regime, uniforms_given):
    model = build_with_critic(critic_regime=regime).train()
    batch = make_batch(batch_size=64)
    arguments = {"fill_uniforms": torch.rand(64, LENGTH)} if uniforms_given else {}
    torch.manual_seed(3)
    output = model(**batch, **arguments)
    masked = batch["input_ids"] == MASK
    left = (output.critic_input_ids == MASK).sum(dim=-1)
    full_rows = (left == 0).float().mean().item()
    assert ((masked.sum(dim=-1) - left) >= 1).all()
    if regime == "full":
        assert full_rows == 1
    else:
        assert 0 < full_rows < (0.5 if regime == "partial" else 0.75)


def test_a_model_without_a_mask_token_treats_the_labelled_positions_as_masked():
    model = build_with_critic(mask_token_id=None)
    batch = make_batch()
    output = model(**batch, fill_uniforms=torch.rand(3, LENGTH))
    assert torch.equal(output.critic_valid, batch["labels"] != -100)
    assert torch.isfinite(output.loss)


def test_a_batch_without_any_label_has_a_finite_loss_of_zero():
    model = build_with_critic().train()
    batch = make_batch()
    batch["labels"] = torch.full_like(batch["labels"], -100)
    output = model(**batch)
    assert output.loss == 0
    output.loss.backward()
    assert all(torch.isfinite(p.grad).all() for p in model.parameters() if p.grad is not None)


def test_embeddings_instead_of_ids_work_but_cannot_train_a_critic():
    model = build_with_critic()
    batch = make_batch()
    embeddings = model.get_input_embeddings()(batch.pop("input_ids"))
    expected = model(**make_batch())
    output = model(inputs_embeds=embeddings, attention_mask=batch["attention_mask"])
    assert torch.equal(output.logits, expected.logits) and torch.equal(output.critic_logits, expected.critic_logits)
    assert torch.equal(model(inputs_embeds=embeddings, **batch, critic_pass=False).lm_loss, expected.lm_loss)
    with pytest.raises(ValueError, match=r"`input_ids` must be given to train the critic, got only .*: .*\.$"):
        model(inputs_embeds=embeddings, **batch)


def test_ids_and_embeddings_exclude_each_other():
    model = build()
    ids = make_batch()["input_ids"]
    for arguments in ({}, {"input_ids": ids, "inputs_embeds": model.get_input_embeddings()(ids)}):
        with pytest.raises(ValueError, match=r"`input_ids` or `inputs_embeds` must be given, one of the two"):
            model(**arguments)


def test_a_sequence_longer_than_the_learnt_positions_is_refused():
    model = build(position_embedding_type="absolute")
    assert model(torch.full((1, 16), 3)).logits.shape == (1, 16, VOCAB)
    with pytest.raises(ValueError, match=r"`input_ids` must be at most `max_position_embeddings` = 16 .*, got 17: .*"):
        model(torch.full((1, 17), 3))


def test_position_ids_reach_both_passes():
    model = build_with_critic(position_embedding_type="absolute")
    batch, draws = make_batch(), make_draws()
    positions = torch.arange(3, 3 + LENGTH)[None].expand(3, -1)
    shifted = model(**batch, **draws, position_ids=positions)
    assert not torch.allclose(shifted.logits, model(**batch, **draws).logits, atol=1e-3)
    second = model(shifted.critic_input_ids, batch["attention_mask"], position_ids=positions)
    torch.testing.assert_close(shifted.critic_input_logits, second.critic_logits)
