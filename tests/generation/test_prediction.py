# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Over a large canvas logits are made where something is drawn or doubted, and results are what they were."""

import pytest
import torch
from transformers.generation import LogitsProcessorList

from critic_gpt import CriticCalibration, CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.diffusion.randomness import uniforms
from critic_gpt.diffusion.selection import entropy
from critic_gpt.generation.chance import Chance
from critic_gpt.generation.declarations import STRATEGIES
from critic_gpt.generation.prediction import SMALL, draw_some, draw_tokens, probability_of, processed
from critic_gpt.generation.strategies.unmasking import PlainUnmasking


PAD, MASK, VOCAB, LENGTH = 0, 1, 4100, 12
ALONE = sorted(set(STRATEGIES) - {"external"})
ROWS = torch.full((3, LENGTH), MASK)
ROWS[0, 3:6], ROWS[2, 9:] = 7, PAD


@pytest.fixture(scope="module")
def large():
    """A tiny model of many tokens, whose critic doubts some of them."""
    torch.manual_seed(0)
    size = {"vocab_size": VOCAB, "hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1}
    more = {"mask_token_id": MASK, "pad_token_id": PAD, "max_position_embeddings": LENGTH, "initializer_range": 0.6}
    heads = {"add_critic_head": True, "add_joint_head": True, "joint_num_heads": 1, "joint_head_dim": 4}
    model = CriticGPTForMaskedLM(CriticGPTConfig(**size, **more, **heads)).eval()
    torch.nn.init.normal_(model.critic_head.weight, std=0.5)
    torch.nn.init.normal_(model.joint_head.output.weight, std=0.5)
    model.calibration = CriticCalibration([0.05] * 40 + [0.6] * 60)
    assert ROWS.numel() * VOCAB > SMALL
    return model


@pytest.fixture
def head_rows(large):
    """How many rows the LM head made in each of its calls."""
    rows = []
    hook = large.lm_head.register_forward_hook(lambda module, args, out: rows.append(out.numel() // VOCAB))
    yield rows
    hook.remove()


def same(scores_ids, scores):
    """Changes nothing, but sees the scores of the whole canvas."""
    return scores


# ---- where logits are made ----


def test_plain_unmasking_makes_as_many_logits_as_there_are_masks(large, head_rows):
    output = large.generate(ROWS, num_steps=4, remasking="none", seed=0, return_history=True)
    masks = [int((step.input_ids == MASK).sum()) for step in output.history]
    assert head_rows == masks and masks[0] == 30 and masks[-1] < 15


def test_the_critic_makes_logits_at_masks_and_at_what_it_doubts(large, head_rows):
    output = large.generate(
        ROWS, num_steps=4, remasking="critic", seed=0, return_history=True, token_draws="independent"
    )
    floor, expected = 0.1, []
    for number, step in enumerate(output.history):
        masked, given = step.input_ids == MASK, ROWS != MASK
        doubted = large.calibration.error_probability(step.critic_logits) > floor
        if number == 3:  # where it draws another token at once, if that is likelier to be right
            doubted = large.calibration.error_log_odds(step.critic_logits) >= 0
        expected.append(int((masked | (doubted & ~given & (number > 0))).sum()))
    assert head_rows == expected and expected[2] < 30


def test_a_pass_that_judges_makes_none(large, head_rows):
    output = large.generate(ROWS, num_steps=2, remasking="critic_full", seed=0)
    assert output.forward_passes == 3 and output.scoring_passes == 1 and len(head_rows) == 2


def test_who_asks_for_all_of_them_gets_them(large, head_rows):
    large.generate(ROWS, num_steps=2, remasking="none", seed=0, logits_processor=[same])
    large.generate(ROWS, num_steps=2, remasking="none", seed=0, stopping_criteria=[lambda ids, scores: False])
    assert head_rows == [ROWS.numel()] * 4


def test_a_strategy_from_outside_sees_the_whole_canvas_whatever_it_derives_from(large, head_rows, monkeypatch):
    seen = []

    class Mine(PlainUnmasking):
        name = "mine"

        def judge(self, input_ids, output, prediction, step):
            seen.append((output.logits.shape, prediction.probabilities.shape, prediction.tokens.min().item()))
            return super().judge(input_ids, output, prediction, step)

    monkeypatch.setitem(STRATEGIES, "mine", Mine)
    large.generate(ROWS, num_steps=2, remasking="mine", seed=0)
    whole = (*ROWS.shape, VOCAB)
    assert len(seen) == 2 and all(logits == all_ == whole and token > MASK for logits, all_, token in seen)
    assert head_rows == [ROWS.numel()] * 2


@pytest.mark.parametrize("remasking", ALONE)
def test_results_are_those_of_the_whole_canvas(large, remasking):
    fields = {"num_steps": 3, "remasking": remasking, "seed": 1}
    if "token_draws" in STRATEGIES[remasking].takes:
        fields["token_draws"] = "joint"
    some = large.generate(ROWS, **fields)
    everywhere = large.generate(ROWS, **fields, logits_processor=[same])
    assert torch.equal(some.sequences, everywhere.sequences)
    assert torch.allclose(some.self_log_probability, everywhere.self_log_probability, atol=1e-4)


@pytest.mark.parametrize("unmasking", ["margin", "entropy", "entropy_bound", "confidence_threshold", "random"])
@pytest.mark.parametrize("temperature", [0.0, 0.6])
def test_results_are_those_of_the_whole_canvas_in_every_order(large, unmasking, temperature):
    fields = {"num_steps": 3, "remasking": "none", "seed": 1, "unmasking": unmasking, "temperature": temperature}
    some = large.generate(ROWS, **fields, top_k=50)
    assert torch.equal(some.sequences, large.generate(ROWS, **fields, top_k=50, logits_processor=[same]).sequences)


# ---- what is read of them ----


def test_slabs_and_places_give_what_the_whole_gives():
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(2, VOCAB, (4, 50), generator=generator)
    logits, draw = torch.randn(4, 50, VOCAB, generator=generator), torch.rand(ids.shape, generator=generator)
    scores = processed(logits, ids, [PAD, MASK])
    whole = draw_tokens(ids, scores, draw)
    asked, drawn = draw < 0.7, draw < 0.4
    places = asked.flatten().nonzero().squeeze(-1)
    some = draw_some(ids, scores.flatten(0, 1)[places], places, draw, LogitsProcessorList(), None, drawn)
    assert torch.equal(some.tokens[drawn], whole.tokens[drawn]) and not some.tokens[~drawn].any()
    assert torch.equal(some.probability[drawn], whole.probability[drawn])
    for where in (None, drawn):
        here = asked if where is None else where
        for function, beside in ((entropy, ()), (probability_of, (ids,))):
            found = some.read(function, *beside, where=where)
            torch.testing.assert_close(found[here], whole.read(function, *beside)[here])
            assert not found[~here].any()


# ---- random numbers ----


def test_numbers_made_for_several_steps_are_those_of_each():
    seeds, place = torch.tensor([5, 6, 7]), torch.tensor([[0, 0, 1, 2], [0, 1, 2, 3], [0, 1, 2, 2]])
    chance = Chance(seeds, place, padded=True)
    for step in (0, 3, 40, 17):
        expected = uniforms(seeds, 5, step, 4).gather(-1, place)
        assert torch.equal(chance.uniforms(5, step), expected)
    going = torch.tensor([True, False, True])
    chance.keep(going)
    for step in (17, 18, 90):
        assert torch.equal(chance.uniforms(5, step), uniforms(seeds, 5, step, 4).gather(-1, place)[going])
