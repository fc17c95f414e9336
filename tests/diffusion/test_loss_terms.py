# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the table of loss terms: what reads it is complete, and adds them up as it says."""

from dataclasses import fields

import pytest
import torch
from huggingface_hub.errors import StrictDataclassClassValidationError
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_gpt import CriticGPTConfig
from critic_gpt.diffusion.loss_terms import (
    LOSS_TERMS,
    CriticGPTMaskedLMOutput,
    counted_positions,
    term_losses,
    weighted_sum,
)


WEIGHED = [term for term in LOSS_TERMS if term.alpha is not None]


@pytest.mark.parametrize("term", LOSS_TERMS, ids=lambda term: term.name)
def test_every_term_has_its_fields_and_what_it_is_divided_by(term):
    output = {field.name for field in fields(CriticGPTMaskedLMOutput)}
    assert {term.mean_field, term.token_field} <= output & set(CriticGPTConfig.keys_to_ignore_at_inference)
    batch = {"input_ids": torch.tensor([[1, 1, 3]]), "labels": torch.tensor([[2, 3, -100]])}
    assert counted_positions(batch, CriticGPTConfig(mask_token_id=1))[term.counts].shape == (1, 3)
    losses = term_losses(term.name, torch.tensor([[1.0, 2.0]]), torch.tensor([[True, True]]))
    assert {name: value.sum().item() for name, value in losses.items()} == {term.token_field: 3, term.mean_field: 1.5}


@pytest.mark.parametrize("term", WEIGHED, ids=lambda term: term.name)
def test_every_weight_is_checked_by_the_configuration(term):
    with pytest.raises(
        StrictDataclassClassValidationError, match=f"`{term.alpha}` must be a finite number of at least 0, got -1"
    ):
        CriticGPTConfig(**{term.alpha: -1.0})


@given(st.data(), st.sets(st.sampled_from([term.mean_field for term in WEIGHED])))
@settings(max_examples=40, deadline=None)
def test_the_loss_is_the_weighted_sum_of_the_terms_that_are_there(data, there):
    number = st.integers(0, 8)
    alphas = {term.alpha: data.draw(number) / 4 for term in WEIGHED}
    config = CriticGPTConfig(critic_regime="partial", **alphas)
    values = {name: float(data.draw(number)) for name in ["lm_loss", *sorted(there)]}
    weights = {"lm_loss": 1.0} | {term.mean_field: alphas[term.alpha] for term in WEIGHED}
    expected = sum(weights[name] * value for name, value in values.items())
    assert weighted_sum(values, config) == expected
    counts = torch.tensor([2.0] * len(LOSS_TERMS))
    assert float(weighted_sum({name: torch.tensor(v) for name, v in values.items()}, config, counts)) == expected / 2
    warm = weighted_sum(values, config, critic_alpha=0.0)
    assert warm == expected - weights["critic_loss"] * values.get("critic_loss", 0.0)


def test_a_term_exists_with_the_head_that_it_needs():
    def names(**changes):
        return [term.name for term in LOSS_TERMS if term.exists(CriticGPTConfig(**changes))]

    assert names() == ["lm"]
    assert names(add_critic_head=True) == ["lm", "critic", "correction", "remaining", "leave_one_out"]
    assert names(add_joint_head=True) == ["lm", "joint"]
