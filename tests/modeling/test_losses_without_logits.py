# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""`forward(return_logits=False)` beside labels: the same losses and gradients, with the LM head at fewer positions."""

import pytest
import torch

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM


PAD, MASK, VOCAB, LENGTH, ROWS = 0, 1, 40, 12, 6
LOSSES = [
    f"{name}_{kind}"
    for name in ("lm", "critic", "correction", "remaining", "joint")
    for kind in ("loss", "token_loss")
]
FILLING = ["critic_input_ids", "critic_input_logits", "critic_target", "critic_valid"]


def build(**fields):
    torch.manual_seed(0)
    shape = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    config = CriticGPTConfig(**shape, max_position_embeddings=LENGTH, mask_token_id=MASK, pad_token_id=PAD, **fields)
    model = CriticGPTForMaskedLM(config).double()
    for head in (model.critic_head, model.joint_head):
        for weight in () if head is None else head.parameters():
            torch.nn.init.normal_(weight)
    return model


def make_batch():
    """Half of the tokens masked; padding, a [MASK] without a truth, and a row without a mask."""
    generator = torch.Generator().manual_seed(0)

    def draw():
        return torch.rand(ROWS, LENGTH, generator=generator)

    clean = torch.randint(2, VOCAB, (ROWS, LENGTH), generator=generator)
    clean[1, -4:] = PAD
    masked = (draw() < 0.5) & (clean != PAD)
    masked[3] = False
    labels, ids = clean.masked_fill(~masked, -100), clean.masked_fill(masked, MASK)
    ids[0, 2], labels[0, 2] = MASK, -100
    return {
        "input_ids": ids,
        "attention_mask": (clean != PAD).long(),
        "labels": labels,
        "loss_weights": draw() * masked,
        "fill_mask": draw() < 0.6,
        "fill_uniforms": draw(),
        "given_mask": draw() < 0.4,
    }


CASES = {
    "language model alone": ({}, {}),
    "critic": ({"add_critic_head": True}, {}),
    "all terms, half of the rows": (
        {"add_critic_head": True, "add_joint_head": True, "remaining_alpha": 0.5, "critic_regime": "partial"},
        {"critic_batch_share": 0.5, "joint_batch_share": 0.3},
    ),
    "every token judged, its own head": (
        {"add_critic_head": True, "critic_target_scope": "all", "tie_word_embeddings": False},
        {"critic_batch_share": 0.4},
    ),
    "masks all filled by argmax": ({"add_critic_head": True}, {"fill_mask": None, "fill_uniforms": None}),
    "no weights, no correction": (
        {"add_critic_head": True, "correction_alpha": 0.0, "critic_detach": True},
        {"loss_weights": None},
    ),
    "a critic that reads the odds": ({"add_critic_head": True, "critic_head_type": "odds"}, {}),
}


@pytest.mark.parametrize(("fields", "changes"), CASES.values(), ids=CASES)
def test_losses_and_gradients_are_those_with_all_logits(fields, changes):
    outputs, gradients = [], []
    for return_logits in (True, False):
        model = build(**fields).eval()
        output = model(**{**make_batch(), **changes}, return_logits=return_logits)
        output.loss.backward()
        outputs.append(output)
        gradients.append({name: weight.grad for name, weight in model.named_parameters()})
    whole, lean = outputs
    assert lean.logits is None and lean.critic_logits is None
    assert {name for name in (*LOSSES, *FILLING) if whole.get(name) is not None} == {
        name for name in (*LOSSES, *FILLING) if lean.get(name) is not None
    }
    for name in ("loss", *LOSSES, *FILLING):
        if whole.get(name) is not None:
            torch.testing.assert_close(lean[name], whole[name], msg=lambda text, name=name: f"{name}: {text}")
    for name, gradient in gradients[0].items():
        assert (gradient is None) == (gradients[1][name] is None), name
        if gradient is not None:
            torch.testing.assert_close(gradients[1][name], gradient, msg=lambda text, name=name: f"{name}: {text}")


def test_the_lm_head_sees_what_the_losses_read_alone():
    model, batch = build(add_critic_head=True, add_joint_head=True), make_batch()
    seen = []
    model.lm_head.register_forward_hook(lambda module, inputs, output: seen.append(output[..., 0].numel()))
    model(**batch, return_logits=False)
    masked = batch["input_ids"] == MASK
    supervised = batch["labels"] != -100
    asked = supervised & ~batch["given_mask"]
    assert seen == [int(one.sum()) for one in (masked | supervised, supervised & batch["fill_mask"], asked)]


def test_a_share_of_the_rows_is_asked_and_the_loss_is_the_mean_over_these():
    model, batch = build(add_joint_head=True), make_batch()
    whole, part = model(**batch), model(**batch, joint_batch_share=0.5)
    rows = [0, 2, 4]
    torch.testing.assert_close(part.joint_token_loss[rows], whole.joint_token_loss[rows])
    assert not part.joint_token_loss[[1, 3, 5]].any()
    torch.testing.assert_close(
        part.joint_loss, whole.joint_token_loss[rows].sum() / (whole.joint_token_loss[rows] != 0).sum()
    )
    with pytest.raises(ValueError, match="share"):
        model(**batch, joint_batch_share=1.5)
