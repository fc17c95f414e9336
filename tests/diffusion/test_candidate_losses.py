# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the joint head's loss over a large vocabulary, which reads the tokens in question alone."""

import pytest
import torch

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.diffusion.candidate_losses import WHOLE, candidate_losses


PAD, MASK, LENGTH = 0, 1, 12
VOCAB, WIDTH, POSITIONS = 40, 6, 30


def predictions():
    """Predictions at positions of the rows 0, 2, 5 and 6, and what a joint head read there, in double precision."""
    generator = torch.Generator().manual_seed(0)
    rows = torch.tensor([0, 2, 5, 6])[torch.randint(4, (POSITIONS,), generator=generator).sort().values]
    found = {
        "states": torch.randn(POSITIONS, WIDTH, generator=generator),
        "weight": torch.randn(VOCAB, WIDTH, generator=generator),
        "logits": 2.0 * torch.randn(POSITIONS, VOCAB, generator=generator),
    }
    found = {name: value.double() for name, value in found.items()}
    return found | {"labels": torch.randint(2, VOCAB, (POSITIONS,), generator=generator), "rows": rows}


def over_all_tokens(states, weight, logits, labels, rows):
    shifted = logits + states @ weight.T
    shifted[:, MASK] = float("-inf")
    return torch.nn.functional.cross_entropy(shifted, labels, reduction="none")


def by_candidates(numbers, states, weight, logits, labels, rows):
    return candidate_losses(states, weight, logits.clone(), labels, rows, MASK, *numbers)


def with_gradients(loss, given):
    given = {**given, "states": given["states"].requires_grad_(), "weight": given["weight"].requires_grad_()}
    losses = loss(**given)
    return losses, *torch.autograd.grad(losses.sum(), (given["states"], given["weight"]))


def test_losses_and_gradients_are_exact_where_every_token_is_a_candidate():
    whole = with_gradients(over_all_tokens, predictions())
    part = with_gradients(lambda **given: by_candidates((VOCAB, 3), **given), predictions())
    for found, expected in zip(part, whole, strict=True):
        torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("numbers", [(0, 1), (2, 3), (10, 5)])
def test_tokens_that_are_shifted_alike_stand_for_each_other(numbers):
    given = predictions()
    assert not torch.allclose(by_candidates(numbers, **given), over_all_tokens(**given))
    # One shift for all tokens changes no prediction.
    given["weight"] = given["weight"][:1].expand(VOCAB, WIDTH)
    torch.testing.assert_close(by_candidates(numbers, **given), over_all_tokens(**given))


def test_what_is_drawn_stands_for_all_others_the_better_the_more_it_is():
    """One prediction in rows whose true tokens differ, and with them what is drawn."""
    given = predictions()
    labels = torch.randint(2, VOCAB, (400,), generator=torch.Generator().manual_seed(1))
    given |= {name: given[name][:1].expand(400, -1) for name in ("states", "logits")}
    given |= {"labels": labels, "rows": torch.arange(400)}
    exact = over_all_tokens(**given)
    few, some, many = (by_candidates((2, number), **given) - exact for number in (4, 16, 64))
    assert many.std() < 0.5 * some.std() < 0.25 * few.std() < 0.25
    assert abs(some.mean()) < 0.02 and abs(many.mean()) < 0.02


def test_a_loss_depends_on_its_own_row_alone():
    given = predictions()
    together = by_candidates((5, 4), **given)
    for row in given["rows"].unique():
        of_row = {name: value if name == "weight" else value[given["rows"] == row] for name, value in given.items()}
        torch.testing.assert_close(by_candidates((5, 4), **of_row), together[given["rows"] == row])


def test_nothing_is_asked_of_no_position():
    none = {name: value if name == "weight" else value[:0] for name, value in predictions().items()}
    assert by_candidates((5, 4), **none).shape == (0,)


def model_and_batch(vocab_size):
    torch.manual_seed(0)
    shape = {"vocab_size": vocab_size, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    shape |= {"max_position_embeddings": LENGTH, "initializer_range": 0.5, "pad_token_id": PAD, "mask_token_id": MASK}
    model = CriticGPTForMaskedLM(CriticGPTConfig(**shape, add_joint_head=True))
    torch.nn.init.normal_(model.joint_head.output.weight, std=0.005)
    labels = torch.randint(2, vocab_size, (4, LENGTH))
    ids = torch.full_like(labels, MASK)
    given = torch.rand(labels.shape) < 0.3
    given[2] = True  # a row of which nothing is asked
    return model, {"input_ids": ids, "labels": labels, "given_mask": given}


@pytest.mark.parametrize("return_logits", [True, False])
def test_a_model_learns_by_candidates_over_large_vocabularies_and_is_judged_by_all_tokens(return_logits):
    for vocab_size in (WHOLE, WHOLE + 1):
        model, batch = model_and_batch(vocab_size)
        judged, learns = (
            getattr(model, mode)()(**batch, return_logits=return_logits).joint_token_loss for mode in ("eval", "train")
        )
        assert torch.equal(judged, learns) is (vocab_size == WHOLE)
        assert not learns[2].any() and not learns[batch["given_mask"]].any()
        torch.testing.assert_close(learns, judged, rtol=0.0, atol=0.05)
