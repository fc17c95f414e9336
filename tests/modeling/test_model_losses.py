# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the losses of the language model with a critic."""

import pytest
import torch
from tiny_models import (
    LENGTH,
    MASK,
    VOCAB,
    build,
    build_with_critic,
    count_trunk_passes,
    each_variant,
    make_batch,
    make_draws,
)

from critic_gpt.diffusion.losses import token_cross_entropy
from critic_gpt.diffusion.second_pass import critic_second_pass


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


SECOND_PASSES = [
    *({"critic_target_scope": scope} for scope in ("masked_only", "masked_and_ignore", "all")),
    {"critic_fill": "argmax"},
    {"critic_head_type": "mlp", "use_bias": True},
    {"mask_token_id": None},
    *({"critic_detach": True, "correction_alpha": alpha} for alpha in (0.0, 0.5)),
    {
        "remaining_alpha": 0.7,
        "critic_regime": "partial",
        "correction_alpha": 0.0,
        "position_embedding_type": "absolute",
    },
]


@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("fields", SECOND_PASSES, ids=str)
def test_forward_ends_with_the_second_pass_of_its_own_trunk_and_heads(fields, training):
    model = build_with_critic(**fields).train(training)
    batch, draws = make_batch(), make_draws()
    batch["labels"][0, 1] = 9  # a substituted visible token, with the truth as its label
    position_ids = torch.arange(3, 3 + LENGTH)[None]

    def encode(ids):
        return model.model(ids, batch["attention_mask"], position_ids=position_ids).last_hidden_state

    output = model(**batch, **draws, position_ids=position_ids)
    ids, labels = batch["input_ids"], batch["labels"]
    tokens = (labels != -100).sum(dim=-1)
    heads, given = (model.lm_head, model.critic_head), (draws["fill_mask"], draws["fill_uniforms"])
    logits = output.logits.detach()
    expected = critic_second_pass(encode, *heads, ids, logits, labels, *given, model.config, num_tokens=tokens)
    for name, value in expected.items():
        torch.testing.assert_close(output[name], value, msg=name)
    assert {"correction_loss", "remaining_loss"} & set(output) == {"correction_loss", "remaining_loss"} & set(expected)
    # `critic_logits` are about the input, not about the filled one.
    plain = model(ids, batch["attention_mask"], position_ids=position_ids)
    torch.testing.assert_close(output.critic_logits, plain.critic_logits)
    # No gradient flows through the filling, nor any other way but the second pass's.
    terms = [name for name in ("critic_loss", "correction_loss", "remaining_loss") if name in expected]
    gradients = [
        torch.autograd.grad(sum(one[name] for name in terms), list(model.parameters()), allow_unused=True)
        for one in (output, expected)
    ]
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(*((x if x is not None else torch.zeros(1)) for x in (one, other)))


@pytest.mark.parametrize("fields", [{}, {"critic_head_type": "mlp", "use_bias": True}], ids=["linear", "mlp"])
def test_a_skipped_critic_pass_leaves_a_zero_gradient_and_the_plain_loss(fields):
    model = build_with_critic(**fields).train()
    output = model(**make_batch(), critic_pass=False)
    assert torch.equal(output.loss, output.lm_loss)
    assert output.critic_loss is None and output.critic_valid is None and output.critic_logits is not None
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


def test_evaluation_with_labels_repeats_itself_and_draws_nothing():
    model = build_with_critic(hidden_dropout=0.3, attention_dropout=0.3)
    state = torch.get_rng_state()
    one, other = model(**make_batch()), model(**make_batch())
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(value, other[name]) for name, value in one.items())


@pytest.mark.parametrize("regime", ["full", "partial", "mixed"])
def test_training_without_a_fill_mask_follows_the_regime_and_the_global_seed(regime):
    model = build_with_critic(critic_regime=regime).train()
    batch = make_batch(batch_size=64)

    def filled(seed, **arguments):
        torch.manual_seed(seed)
        return model(**batch, **arguments).critic_input_ids

    assert torch.equal(filled(0), filled(0)) and not torch.equal(filled(0), filled(1))
    masked = batch["input_ids"] == MASK
    for ids in (filled(3), filled(3, fill_uniforms=torch.rand(64, LENGTH))):
        left = (ids == MASK).sum(dim=-1)
        full_rows = (left == 0).float().mean().item()
        assert ((masked.sum(dim=-1) - left) >= 1).all()
        assert full_rows == 1 if regime == "full" else 0 < full_rows < (0.5 if regime == "partial" else 0.75)


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


@pytest.mark.parametrize(
    "positions", [torch.arange(3, 13)[None], torch.arange(10)[None] + torch.arange(0, 8, 2)[:, None]]
)
def test_position_ids_reach_the_rows_of_a_share(positions):
    model = build_with_critic(position_embedding_type="absolute")
    batch, draws = make_batch(batch_size=4), make_draws(batch_size=4)
    shared = model(**batch, **draws, position_ids=positions, critic_batch_share=0.5)
    whole = model(**batch, **draws, position_ids=positions)
    torch.testing.assert_close(shared.critic_input_logits[[0, 2]], whole.critic_input_logits[[0, 2]])
    assert not torch.allclose(whole.critic_input_logits, model(**batch, **draws).critic_input_logits, atol=1e-3)
