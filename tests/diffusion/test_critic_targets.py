# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what the critic judges and what it should say there."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_gpt.diffusion.critic_targets import build_critic_artifacts_from_logits, judged_positions


scopes = st.sampled_from(["masked_only", "masked_and_ignore", "all"])
MASK, PAD, IGNORE = 1, 0, -100


def known_case():
    ids = torch.tensor([[99, 2, 99, 5, 6, 7]])
    labels = torch.tensor([[1, -100, 3, 4, -100, -100]])
    logits = torch.full((1, 6, 100), -30.0)
    logits[0, 0, 1] = logits[0, 2, 8] = 30.0
    return ids, logits, labels


@pytest.mark.parametrize("fill", ["multinomial", "argmax"])
@pytest.mark.parametrize(
    ("scope", "valid", "target"),
    [
        ("masked_only", [1, 0, 1, 0, 0, 0], {0: 0, 2: 1}),
        ("masked_and_ignore", [1, 1, 1, 0, 1, 1], {0: 0, 1: 0, 2: 1, 4: 0, 5: 0}),
        ("all", [1, 1, 1, 1, 1, 1], {0: 0, 1: 0, 2: 1, 3: 1, 4: 0, 5: 0}),
    ],
)
def test_the_known_artifacts_come_out_in_every_scope(scope, valid, target, fill):
    ids, logits, labels = known_case()
    artifacts = build_critic_artifacts_from_logits(ids, logits, labels, 99, scope=scope, fill=fill)
    assert artifacts.critic_input.tolist() == [[1, 2, 8, 5, 6, 7]]
    assert artifacts.critic_valid.int().tolist() == [valid]
    assert artifacts.filled.int().tolist() == [[1, 0, 1, 0, 0, 0]]
    assert artifacts.critic_target.dtype == torch.float32
    assert {i: artifacts.critic_target[0, i].item() for i in target} == target


def test_without_a_mask_id_the_supervised_positions_count_as_masked():
    ids, logits, labels = known_case()
    logits[0, 3, 9] = 60.0
    artifacts = build_critic_artifacts_from_logits(ids, logits, labels, None)
    assert artifacts.filled.int().tolist() == [[1, 0, 1, 1, 0, 0]]
    assert artifacts.critic_input.tolist() == [[1, 2, 8, 9, 6, 7]]


def random_case(seed, batch_size=3, length=12, vocab_size=8):
    generator = torch.Generator().manual_seed(seed)
    ids = torch.randint(0, vocab_size, (batch_size, length), generator=generator)
    ids[torch.rand(ids.shape, generator=generator) < 0.4] = MASK
    labels = torch.randint(2, vocab_size, ids.shape, generator=generator)
    labels[torch.rand(ids.shape, generator=generator) < 0.4] = IGNORE
    logits = 3 * torch.randn(batch_size, length, vocab_size, generator=generator)
    return ids, logits, labels, torch.rand(ids.shape, generator=generator) < 0.5


@given(
    st.integers(0, 2**32),
    scopes,
    st.sampled_from(["multinomial", "argmax"]),
    st.booleans(),
    st.booleans(),
    st.sampled_from([torch.bfloat16, torch.float16, torch.float32, torch.float64]),
)
@settings(max_examples=150, deadline=None)
def test_artifacts_obey_their_laws_and_judged_positions_agree(seed, scope, fill, partial, has_mask_id, dtype):
    ids, logits, labels, some = random_case(seed)
    logits[..., [MASK, PAD]] += 20
    logits = logits.to(dtype)
    mask_id = MASK if has_mask_id else None
    masked = ids == MASK if has_mask_id else labels != IGNORE
    fill_mask = some if partial else None
    generator = torch.Generator().manual_seed(seed)
    arguments = {"pad_token_id": PAD, "scope": scope, "fill": fill, "fill_mask": fill_mask, "generator": generator}
    artifacts = build_critic_artifacts_from_logits(ids, logits, labels, mask_id, **arguments)
    filled = artifacts.filled
    assert torch.equal(filled, masked & some if partial else masked)
    assert torch.equal(artifacts.critic_input[~filled], ids[~filled])
    specials = [PAD, MASK] if has_mask_id else [PAD]
    assert not torch.isin(artifacts.critic_input[filled], torch.tensor(specials)).any()
    assert not (artifacts.critic_valid & (ids == PAD)).any()
    assert not (artifacts.critic_valid & masked & ~filled).any()
    agreed = judged_positions(ids, labels, filled, masked, scope, IGNORE, PAD)
    assert torch.equal(agreed, artifacts.critic_valid)
    supervised = labels != IGNORE
    assert torch.equal(artifacts.critic_target, ((artifacts.critic_input != labels) & supervised).float())
    expected = filled & supervised
    if scope == "masked_and_ignore":
        expected = expected | (~masked & ~supervised)
        assert not artifacts.critic_target[artifacts.critic_valid & ~supervised].any()
    if scope == "all":
        expected = expected | ~masked
    assert torch.equal(artifacts.critic_valid, expected & (ids != PAD))


def test_no_gradient_flows_through_the_filling():
    ids, logits, labels, _ = random_case(3)
    logits.requires_grad_(True)
    for artifact in build_critic_artifacts_from_logits(ids, logits, labels, MASK):
        assert not artifact.requires_grad


def test_a_generator_or_given_uniforms_make_the_filling_reproducible():
    ids, logits, labels, _ = random_case(4)
    draws = [
        build_critic_artifacts_from_logits(ids, logits, labels, MASK, generator=torch.Generator().manual_seed(9))
        for _ in range(2)
    ]
    assert torch.equal(draws[0].critic_input, draws[1].critic_input)
    given_uniforms = torch.rand(ids.shape, generator=torch.Generator().manual_seed(9))
    again = build_critic_artifacts_from_logits(ids, logits, labels, MASK, fill_uniforms=given_uniforms)
    assert torch.equal(draws[0].critic_input, again.critic_input)


def test_unknown_scopes_and_fills_are_refused():
    ids, logits, labels = known_case()
    with pytest.raises(ValueError, match="`scope` must be masked_only, masked_and_ignore or all, got 'everything': "):
        build_critic_artifacts_from_logits(ids, logits, labels, 99, scope="everything")
    with pytest.raises(ValueError, match="`fill` must be multinomial or argmax, got 'beam': "):
        build_critic_artifacts_from_logits(ids, logits, labels, 99, fill="beam")
