# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `logits_processor`: which of Transformers' own work, what they are asked, and which are refused."""

import pytest
import torch
from denoising_steps import MASK, PAD, SEEDS, canvas
from refusals import refused
from transformers import generation as stock
from transformers.models.diffusion_gemma.generation_diffusion_gemma import LinearTemperatureScheduleLogitsProcessor

from critic_gpt.generation.drawing import POSITION_FREE, SINGLE_TOKENS, WARPERS


FAMILIES = ["critic", "confidence", "multinomial"]
WORKING = [
    stock.SuppressTokensLogitsProcessor([5, 6, 7]),
    stock.RepetitionPenaltyLogitsProcessor(3.0),
    stock.InfNanRemoveLogitsProcessor(),
    stock.LogitNormalization(),
    stock.SequenceBiasLogitsProcessor([[[9], 2.0]]),
    stock.NoBadWordsLogitsProcessor([[9], [20]], eos_token_id=None),
    stock.TemperatureLogitsWarper(0.5),
    stock.TopKLogitsWarper(3),
    stock.TopPLogitsWarper(0.5),
    stock.TopHLogitsWarper(0.5),
    stock.MinPLogitsWarper(0.2),
    stock.TypicalLogitsWarper(0.5),
    stock.EpsilonLogitsWarper(0.05),
    stock.EtaLogitsWarper(0.05),
]


@pytest.fixture
def model(unsure):
    return unsure


def generate(model, processors=None, ids=canvas, **fields):
    return model.generate(ids, logits_processor=processors, **{"num_steps": 4, "seed": SEEDS, **fields})


def test_every_stock_processor_that_is_let_in_is_tried_here():
    assert {type(one) for one in WORKING} == {*POSITION_FREE, *SINGLE_TOKENS, *WARPERS}


@pytest.mark.parametrize("processor", WORKING, ids=lambda processor: type(processor).__name__)
def test_a_stock_processor_does_to_a_row_what_it_does_to_the_row_alone(model, processor):
    for strategy in FAMILIES:
        batch = generate(model, stock.LogitsProcessorList([processor]), remasking=strategy)
        assert not torch.isin(batch.sequences[canvas == MASK], torch.tensor([MASK, PAD])).any()
        alone = generate(model, [processor], canvas[:1], remasking=strategy, seed=SEEDS[:1])
        assert torch.equal(alone.sequences[0], batch.sequences[0])
        torch.testing.assert_close(alone.self_log_probability[0], batch.self_log_probability[0])


@pytest.mark.parametrize("strategy", FAMILIES)
def test_forbidden_tokens_are_never_drawn(model, strategy):
    wanted = set(generate(model, remasking=strategy).sequences[canvas == MASK].tolist())
    banned = sorted(wanted)[: len(wanted) // 2]
    for processor in (
        stock.SuppressTokensLogitsProcessor(banned),
        stock.NoBadWordsLogitsProcessor([[token] for token in banned], eos_token_id=None),
    ):
        drawn = generate(model, [processor], remasking=strategy).sequences[canvas == MASK]
        assert not torch.isin(drawn, torch.tensor(banned)).any()


WARPED = [(stock.TemperatureLogitsWarper(0.5), {"temperature": 0.5}), (stock.TopKLogitsWarper(3), {"top_k": 3})]


@pytest.mark.parametrize(("warper", "fields"), WARPED, ids=["temperature", "top_k"])
def test_a_stock_warper_shapes_the_draw_alone_as_the_setting_of_its_name_does(model, warper, fields):
    by_list, by_field = generate(model, [warper]), generate(model, **fields)
    assert torch.equal(by_list.sequences, by_field.sequences)
    assert torch.equal(by_list.self_log_probability, by_field.self_log_probability)
    assert not torch.equal(by_list.sequences, generate(model).sequences)


class Spy(LinearTemperatureScheduleLogitsProcessor):
    """That of the sibling, which wants to know how many steps are left."""

    def __init__(self):
        super().__init__(t_min=0.4, t_max=0.8, max_denoising_steps=5)
        self.asked = []

    def __call__(self, input_ids, scores, cur_step):
        self.asked.append((input_ids, scores.shape, cur_step))
        return super().__call__(input_ids, scores, cur_step)


@pytest.mark.parametrize(
    ("fields", "left"),
    [
        ({"remasking": "critic"}, [4, 3, 2, 1]),
        ({"remasking": "confidence"}, [4, 3, 2, 1]),
        ({"remasking": "proseco", "corrector_interval": 2}, [4, 3, 3, 2, 1, 1]),
    ],
    ids=lambda value: value.get("remasking") if isinstance(value, dict) else "",
)
def test_a_processor_gets_the_other_tokens_of_the_row_of_each_position_and_the_steps_left(model, fields, left):
    spy = Spy()
    history = generate(model, [spy], return_history=True, **fields).history
    assert [cur_step for _, _, cur_step in spy.asked] == left
    asked, shape, _ = spy.asked[1]
    assert shape == (36, 32) and asked.shape == (36, 11)
    others = asked.view(3, 12, 11)
    for row in range(3):
        for place in range(12):
            whole = history[1].input_ids[row].tolist()
            assert others[row, place].tolist() == whole[:place] + whole[place + 1 :]


def test_a_repetition_penalty_spares_the_token_that_stands_there_itself(model):
    plain = generate(model, num_steps=12)
    varied = generate(model, [stock.RepetitionPenaltyLogitsProcessor(1e6)], num_steps=12)
    assert len(varied.sequences[1].unique()) > len(plain.sequences[1].unique())
    # A draft in which nothing comes twice is no reason for a penalty.
    draft = torch.arange(4, 16)[None]
    case = {"ids": draft, "protected_mask": torch.zeros_like(draft), "remasking": "multinomial", "seed": 1}
    case |= {"num_steps": 1, "temperature": 0}
    logits = model(input_ids=draft).logits
    logits[..., [PAD, MASK]] = float("-inf")
    expected, penalty = [], stock.RepetitionPenaltyLogitsProcessor(9.0)
    for place in range(12):
        others = draft[:, torch.arange(12) != place]
        expected.append(
            stock.RepetitionPenaltyLogitsProcessor(9.0)(others, logits[:, place].clone()).argmax(-1).item()
        )
    output = generate(model, [penalty], **case)
    assert output.sequences.tolist() == [expected]


@pytest.mark.parametrize(
    ("processors", "message"),
    [
        ([stock.NoRepeatNGramLogitsProcessor(2)], "must not go by the end or the length of a text, .* NoRepeatNGram"),
        ([stock.MinLengthLogitsProcessor(3, 2)], "must not go by the end or the length of a text, .* MinLength"),
        ([stock.NoBadWordsLogitsProcessor([[9, 8]])], r"must name single tokens in a NoBadWords.*, got \(9, 8\): "),
        (stock.TopKLogitsWarper(3), "must be a list of callables, got <transformers.*: write"),
        ([3], r"must be a list of callables, got \[3\]: write"),
    ],
    ids=lambda value: "" if isinstance(value, str) else type(value[0] if isinstance(value, list) else value).__name__,
)
def test_what_means_nothing_here_is_refused_in_one_sentence(model, processors, message):
    with refused(match=f"`logits_processor` {message}"):
        generate(model, processors)


def test_a_processor_of_ones_own_is_ones_own_affair(model):
    class Mine(stock.NoRepeatNGramLogitsProcessor):
        def __call__(self, input_ids, scores):
            return scores

    assert torch.equal(generate(model, [Mine(2)]).sequences, generate(model).sequences)
