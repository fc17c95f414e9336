# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What is drawn is a token: no special token, no row without a token, and nothing out of broken numbers."""

import copy

import pytest
import torch
from refusals import refused
from transformers import LogitsProcessor, LogitsProcessorList, TopKLogitsWarper, pipeline

from critic_gpt import (
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticTrainer,
    CriticTrainingArguments,
    build_critic_artifacts_from_logits,
)
from critic_gpt.generation.declarations import STRATEGIES


UNKNOWN, OPENING, CLOSING = 2, 3, 4
MASK, PAD = 1, 0
ALONE = sorted(set(STRATEGIES) - {"external"})


NEVER = {PAD, MASK, UNKNOWN, OPENING, CLOSING}


@pytest.fixture
def drawn(tiny_model):
    """The tokens in 40 texts of 12 that a model generates from nothing; it likes what is never drawn."""

    def make(model=None, **settings):
        model = model or tiny_model(correction_alpha=0.1, suppressed_token_ids=[UNKNOWN, OPENING, CLOSING])
        with torch.no_grad():
            model.lm_head.weight = torch.nn.Parameter(model.lm_head.weight.clone())
            model.lm_head.weight[[UNKNOWN, OPENING, CLOSING]] *= 5.0
        canvas = torch.full((40, 12), MASK)
        return set(model.generate(canvas, **{"num_steps": 4, "seed": 0, **settings}).sequences.flatten().tolist())

    return make


class Overwriting(LogitsProcessor):
    """Knows nothing of special tokens: all scores are new, the highest at [MASK] and padding."""

    def __call__(self, input_ids, scores):
        scores = torch.zeros_like(scores)
        scores[:, [PAD, MASK]] = 9.0
        return scores


class OverwritingWarper(TopKLogitsWarper):
    """The same for what shapes the draw alone."""

    def __call__(self, input_ids, scores):
        return Overwriting()(input_ids, scores)


@pytest.mark.parametrize("remasking", ALONE)
def test_no_strategy_draws_a_special_token(drawn, remasking):
    assert drawn(remasking=remasking).isdisjoint(NEVER)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("processor", [Overwriting(), OverwritingWarper(3)], ids=["processor", "warper"])
@pytest.mark.parametrize("joint", [False, True], ids=["independent", "joint"])
def test_whatever_a_processor_makes_of_the_scores_no_special_token_is_drawn(
    drawn, tiny_model, temperature, processor, joint
):
    model = tiny_model(add_joint_head=joint, suppressed_token_ids=[UNKNOWN, OPENING, CLOSING])
    draws = {"token_draws": "joint" if joint else "independent"}
    settings = {"logits_processor": LogitsProcessorList([processor]), "temperature": temperature, **draws}
    assert drawn(model, remasking="critic", **settings).isdisjoint(NEVER)


def test_rows_beyond_the_vocabulary_are_never_drawn_filled_or_suggested(tiny_model):
    model = tiny_model()
    model.resize_token_embeddings(pad_to_multiple_of=64)
    assert (model.config.vocab_size, model.config.drawable_vocab_size) == (64, 32)
    with torch.no_grad():
        model.lm_head.weight[32:] = 5.0 * model.lm_head.weight[:32]
    sequences = model.generate(torch.full((40, 12), MASK), num_steps=4, seed=0).sequences
    assert sequences.max() < 32
    labels = torch.randint(2, 32, (8, 12))
    masked = torch.full_like(labels, MASK)
    fillings = model.train()(input_ids=masked, labels=labels).critic_input_ids
    assert fillings.max() < 32
    (proof,) = model.proofread([sequences[0]], top_k=20)
    assert proof.candidate_ids.max() < 32


def test_rows_that_become_tokens_are_drawn_again(tiny_model):
    model = tiny_model()
    model.resize_token_embeddings(30 + 3, pad_to_multiple_of=64)
    assert model.config.drawable_vocab_size == 33
    model.resize_token_embeddings(64)
    assert model.config.drawable_vocab_size is None
    assert model.generate(torch.full((40, 12), MASK), num_steps=4, seed=0).sequences.max() >= 33


def test_the_call_may_say_which_special_tokens_are_drawn(drawn):
    tokens = drawn(remasking="none", suppressed_token_ids=[UNKNOWN])
    assert OPENING in tokens and UNKNOWN not in tokens


def test_the_trainer_learns_from_the_tokenizer_what_is_never_drawn(tmp_path, tiny_model, tokenizer):
    other = copy.deepcopy(tokenizer)
    other.add_special_tokens({"unk_token": "a", "cls_token": "b", "eos_token": "c"})
    model = tiny_model(vocab_size=40)
    args = CriticTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    CriticTrainer(model, args, processing_class=other, train_dataset=[{"input_ids": [5, 6, 7]}])
    assert model.config.suppressed_token_ids == sorted([other.unk_token_id, other.cls_token_id])
    assert model.config.drawable_vocab_size == len(other)


def test_a_pipeline_knows_it_from_the_tokenizer_where_the_model_does_not(tiny_model, tokenizer):
    other = copy.deepcopy(tokenizer)
    other.add_special_tokens({"unk_token": "a", "cls_token": "b"})
    model = tiny_model(vocab_size=64)
    generate = pipeline("critic-diffusion", model=model, tokenizer=other)
    for result in generate([None] * 20, max_new_tokens=12, seed=0, num_steps=2):
        assert not {"a", "b"} & set(result["generated_text"])


def test_a_filling_leaves_out_what_it_is_told_to():
    logits = torch.zeros(1, 50, 8)
    logits[..., 5] = 9.0
    ids, labels = torch.full((1, 50), MASK), torch.full((1, 50), 6)
    filled = build_critic_artifacts_from_logits(ids, logits, labels, MASK, suppressed_token_ids=[5]).critic_input
    assert 5 not in filled and MASK not in filled


# ---- broken numbers ----


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
@pytest.mark.parametrize("remasking", ["none", "critic", "p2", "backtrack", "remdm_cap"])
def test_broken_logits_are_refused_in_one_sentence(tiny_model, value, temperature, remasking):
    model = tiny_model()
    with torch.no_grad():
        model.lm_head.weight[7] = value
    with pytest.raises(ValueError, match="`model` must give finite logits, got NaN"):
        model.generate(torch.full((2, 6), MASK), num_steps=3, seed=0, temperature=temperature, remasking=remasking)


BROKEN = [{"remasking": name} for name in ("none", "critic_full", "backtrack", "prism")]
BROKEN += [{}, {"correction": "replace"}, {"error_threshold": 0.5}, {"remask_by": "error"}]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("fields", BROKEN)
def test_a_broken_critic_is_refused_in_one_sentence(tiny_model, fields, value):
    model = tiny_model()
    with torch.no_grad():
        model.critic_head.weight[0, 0] = value
    judged = fields.get("remasking") == "none"
    with refused(start="`model` must give finite critic scores, got NaN"):
        model.generate(torch.full((2, 6), MASK), num_steps=3, seed=0, return_error_probabilities=judged, **fields)


def test_a_processor_that_leaves_nothing_possible_is_refused(tiny_model):
    def nothing(input_ids, scores):
        return torch.full_like(scores, float("-inf"))

    with pytest.raises(ValueError, match="leave a token possible"):
        tiny_model().generate(torch.full((2, 6), MASK), num_steps=3, seed=0, logits_processor=[nothing])


# ---- dropout ----


def test_dropout_is_off_while_a_model_is_asked_and_on_again_afterwards(tiny_model):
    model = tiny_model(hidden_dropout=0.5)
    canvas = torch.full((4, 12), MASK)
    expected = model.generate(canvas, num_steps=4, seed=0)
    scores, (proof,) = model.critic_scores(expected.sequences), model.proofread([expected.sequences[0]])
    model.train()
    model.model.layers[0].eval()
    for _ in range(2):
        output = model.generate(canvas, num_steps=4, seed=0)
        assert torch.equal(output.sequences, expected.sequences)
        assert torch.equal(output.error_probabilities, expected.error_probabilities)
    assert torch.equal(model.critic_scores(expected.sequences), scores)
    (again,) = model.proofread([expected.sequences[0]])
    assert torch.equal(again.error_probabilities, proof.error_probabilities)
    assert model.training and model.model.layers[1].training and not model.model.layers[0].training


def test_judges_are_asked_without_dropout_too(tiny_model, tiny_config):
    torch.manual_seed(1)
    judge = CriticGPTForSequenceClassification(tiny_config(num_labels=1, hidden_dropout=0.5)).train()
    external = CriticGPTForTokenClassification(tiny_config(num_labels=2, hidden_dropout=0.5)).train()
    settings = {"judge_model": judge, "remasking_model": external, "num_steps": 4, "seed": 0}
    first, second = (tiny_model().generate(torch.full((4, 12), MASK), **settings) for _ in range(2))
    assert torch.equal(first.sequences, second.sequences)
    assert torch.equal(first.judge_wrongness, second.judge_wrongness)
