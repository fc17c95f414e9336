# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the two families of defaults, and about the laws that do not seek the mode."""

from itertools import pairwise

import pytest
import torch
from generation_cases import MASK, VOCAB, build, canvas
from refusals import refused

from critic_gpt import CriticGPTGenerationConfig
from critic_gpt.generation.declarations import SETTINGS, strategy_settings
from critic_gpt.generation.strategies.critic import Critic
from critic_gpt.generation.strategies.registry import STRATEGIES


SEEDS = list(range(40))
BLANK = torch.full((len(SEEDS), 12), MASK)


def same(model, one, other, ids=BLANK):
    """Whether two sets of settings give the same tokens."""
    outputs = [model.generate(ids, seed=SEEDS[: len(ids)], **fields).sequences for fields in (one, other)]
    return torch.equal(*outputs)


# ---- families of defaults ----


def test_without_an_answer_all_is_as_where_one_is_right(model):
    assert model.generation_config.answers is None
    for name in STRATEGIES:
        if name != "external":
            plain = model.resolve_generation_config(remasking=name)
            assert plain.answers == "one" and plain.temperature == 1.0 and plain.temperature_end is None
            assert plain.to_dict() == model.resolve_generation_config(remasking=name, answers="one").to_dict()


def test_where_many_are_right_ours_draws_by_weights_and_what_is_said_beside_counts(model):
    many = model.resolve_generation_config(remasking="critic", answers="many")
    assert {name: getattr(many, name) for name in Critic.takes_for_many} == Critic.takes_for_many
    assert many.remask_selection == "gumbel" and many.temperature < 1
    said = {"temperature": 0.9, "remask_selection": "worst", "remask_per_step": 3, "remask_floor": 0.2}
    resolved = model.resolve_generation_config(remasking="critic", answers="many", **said)
    assert {name: getattr(resolved, name) for name in said} == said
    # Complete, they give the same result again, whatever family is asked for then.
    again = CriticGPTGenerationConfig.from_dict({**many.to_dict(), "answers": "one"})
    assert model.resolve_generation_config(again).to_dict() == {**many.to_dict(), "answers": "one"}
    # The methods of others stay what they are.
    for name in ("p2", "prism", "remdm_loop", "proseco", "token_critic", "confidence"):
        assert STRATEGIES[name].takes_for_many == {}


def test_the_family_is_stored_with_the_model_and_a_call_may_choose_the_other(model, tmp_path):
    config = CriticGPTGenerationConfig(answers="many")
    config.save_pretrained(tmp_path)
    stored = CriticGPTGenerationConfig.from_pretrained(tmp_path)
    assert stored.answers == "many"
    fields = {"remasking": "critic", "num_steps": 6}
    assert same(model, {**fields, "generation_config": stored}, {**fields, "answers": "many"})
    assert same(model, {**fields, "generation_config": stored, "answers": "one"}, fields)
    assert not same(model, {**fields, "answers": "many"}, fields)


def test_the_defaults_of_a_family_are_values_that_the_strategy_takes():
    for strategy in STRATEGIES.values():
        for name, value in strategy.takes_for_many.items():
            assert name in strategy.takes or name in ("temperature", "temperature_end")
            SETTINGS[name].check(value)
    assert "temperature" not in strategy_settings()


# ---- a temperature that moves ----


@pytest.mark.parametrize(("shown", "temperature"), [(0, 1.0), (6, 0.75), (12, 0.5)])
def test_the_temperature_moves_with_the_share_that_is_visible_of_what_may_change(model, shown, temperature):
    torch.manual_seed(1)
    ids = torch.randint(3, VOCAB, BLANK.shape)
    ids[:, shown:] = MASK
    # What is given, and padding, count for nothing.
    ids = torch.cat([ids, torch.full((len(ids), 3), 5), torch.zeros(len(ids), 2, dtype=torch.long)], dim=1)
    protected = torch.zeros_like(ids, dtype=torch.bool)
    protected[:, 12:] = True
    fields = {"remasking": "multinomial", "num_steps": 1, "protected_mask": protected}
    moving = {**fields, "temperature": 1.0, "temperature_end": 0.5}
    assert same(model, moving, {**fields, "temperature": temperature}, ids)


@pytest.mark.parametrize("strategy", ["critic", "none", "p2", "remdm_loop", "proseco", "accept_reject"])
def test_a_temperature_that_moves_nowhere_is_a_constant_one(model, strategy):
    fields = {"remasking": strategy, "num_steps": 5, "temperature": 0.5}
    assert same(model, {**fields, "temperature_end": 0.5}, fields)
    assert not same(model, {**fields, "temperature_end": 5.0}, fields)


def test_joint_draws_take_a_step_that_reveals_nothing_in_any_precision():
    holes = torch.full((1, 10), MASK)
    case = {"answers": "many", "token_draws": "joint", "num_steps": 40, "protected_mask": torch.zeros_like(holes) > 0}
    for dtype in (torch.float64, torch.float32, torch.bfloat16):
        output = build(add_joint_head=True, dtype=dtype).generate(holes, remasking="critic", seed=3, **case)
        assert not (output.sequences == MASK).any()


def test_joint_draws_and_rows_that_differ_keep_to_it():
    model = build(add_joint_head=True)
    fields = {"remasking": "critic", "token_draws": "joint", "num_steps": 4, "temperature": 0.5}
    assert same(model, {**fields, "temperature_end": 0.5}, fields)
    # A row goes by its own visible share, whatever the batch around it.
    moving = {**fields, "temperature_end": 2.0}
    together = model.generate(canvas, seed=[1, 2], **moving).sequences
    for row, seed in enumerate((1, 2)):
        alone = model.generate(canvas[row : row + 1], seed=[seed], **moving).sequences
        assert torch.equal(together[row : row + 1], alone)


def test_a_call_that_says_a_temperature_sets_a_stored_end_aside(model):
    stored = CriticGPTGenerationConfig(temperature=1.0, temperature_end=0.4)
    model.generation_config, before = stored, model.generation_config
    try:
        assert model.resolve_generation_config(temperature=0.7).temperature_end is None
        assert model.resolve_generation_config(temperature=0).temperature_end is None
        assert model.resolve_generation_config().temperature_end == 0.4
    finally:
        model.generation_config = before
    with refused(start="`temperature_end` must be left out at `temperature=0`"):
        model.generate(canvas, temperature=0, temperature_end=0.4)


# ---- what is re-masked, and when it comes back ----


def test_what_was_remasked_is_revealed_first(model):
    fields = {"remasking": "critic", "unmasking": "random", "remask_per_step": 2, "remask_floor": 0.0, "num_steps": 8}
    fields |= {"correction": "remask", "seed": SEEDS, "return_history": True}
    history = model.generate(BLANK, remasked_first=True, **fields).history
    for before, step in pairwise(history):
        assert (step.filled[before.remasked] != MASK).all()
    plain = model.generate(BLANK, **fields).history
    assert any((step.filled[before.remasked] == MASK).any() for before, step in pairwise(plain))
    # As many are visible after each step.
    for one, other in zip(history, plain, strict=True):
        assert torch.equal((one.filled == MASK).sum(-1), (other.filled == MASK).sum(-1))


@pytest.mark.parametrize("num_steps", [3, 6, 16, 40])
def test_half_of_all_tokens_is_remasked_evenly_over_the_steps(model, num_steps):
    fields = {"remasking": "critic", "answers": "many", "num_steps": num_steps, "return_history": True}
    history = model.generate(BLANK, seed=SEEDS, **fields).history
    counts = torch.stack([step.remasked.sum(dim=-1) for step in history], dim=1)  # (40, num_steps)
    assert (counts == counts[:1]).all() and (counts[:, -1] == 0).all()
    # Nothing is there to re-mask in the first step, and nothing is re-masked in the last one.
    per_step = BLANK.shape[1] / (2 * num_steps)
    assert all(abs(count - per_step) < 1 for count in counts[0, 1:-1].tolist())
    assert abs(int(counts[0].sum()) - per_step * (num_steps - 2)) <= 1
    # A draft has as many, and a prompt does not count.
    ids = torch.cat([torch.full_like(BLANK[:, :6], 5), BLANK], dim=1)
    protected = (ids == 5).long().cumprod(dim=-1).bool()
    prompted = model.generate(ids, protected_mask=protected, seed=SEEDS, **fields).history
    assert torch.equal(torch.stack([step.remasked.sum(dim=-1) for step in prompted], dim=1), counts)


def test_the_least_likely_are_remasked_whatever_the_critic_says(model):
    fields = {"remasking": "critic", "remask_by": "likelihood", "remask_per_step": 1, "remask_floor": 0.0}
    fields |= {"num_steps": 6, "correction": "remask", "seed": SEEDS, "return_history": True}
    history = model.generate(BLANK, **fields).history
    for step in history[1:-1]:
        logits = model(input_ids=step.input_ids).logits
        logits[..., [0, MASK]] = float("-inf")
        likelihood = logits.softmax(-1).gather(-1, step.input_ids[..., None]).squeeze(-1)
        likelihood = likelihood.masked_fill(step.input_ids == MASK, 2.0)
        chosen = likelihood[step.remasked]
        assert torch.allclose(chosen, likelihood.min(-1).values[step.remasked.any(-1)], atol=1e-6)
    # By chance, a weight of 0 in the exponent makes all alike.
    drawn = {**fields, "remask_selection": "gumbel"}
    flat = model.generate(BLANK, remask_exponent=0.0, **drawn).sequences
    assert not torch.equal(flat, model.generate(BLANK, remask_exponent=3.0, **drawn).sequences)


def test_padding_beside_a_row_outweighs_none_of_its_tokens(model):
    fields = {"remasking": "critic", "remask_by": "likelihood", "remask_selection": "gumbel", "remask_floor": 0.0}
    fields |= {"remask_exponent": 2.0, "remask_per_step": 2, "num_steps": 6, "correction": "remask", "seed": SEEDS}
    padded = torch.cat([BLANK, torch.zeros_like(BLANK[:, :3])], dim=1)
    mask = (padded != 0).long()
    alone = model.generate(BLANK, **fields).sequences
    assert torch.equal(model.generate(padded, attention_mask=mask, **fields).sequences[:, : BLANK.shape[1]], alone)


def test_the_exponent_means_nothing_without_it(model):
    with refused(start="`remask_exponent` has no meaning where tokens are not ranked by the language model's"):
        model.generate(canvas, remasking="critic", remask_by="error", remask_exponent=0.5)
    with refused(start="`remasked_first` has no meaning beside an `unmasking` that itself decides"):
        model.generate(canvas, remasking="critic", unmasking="entropy_bound", remasked_first=True)
