# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `generate(compile=...)`: one graph for all steps, the tokens of a call that compiles nothing."""

import copy
import pickle

import pytest
import torch
from sentences import one_sentence
from tiny_models import MASK, build_with_critic
from transformers import LogitsProcessorList, StoppingCriteriaList

from critic_gpt import CriticCalibration


HOLES = torch.tensor([[5, MASK, MASK, 6, MASK, MASK, MASK, 7, MASK, MASK], [MASK] * 10])
REVISED = torch.tensor([[5, 9, MASK, 6, MASK, 8, 4, MASK, 11, 3]])


@pytest.fixture(scope="module")
def model():
    made = build_with_critic(add_joint_head=True)
    torch.nn.init.normal_(made.joint_head.output.weight)
    made.calibration = CriticCalibration([0.05] * 40 + [0.6] * 10 + [0.99] * 50)
    return made


def counted(call):
    """What a call gives, how many graphs it compiled, and what broke them."""
    counters = torch._dynamo.utils.counters
    counters.clear()
    result = call()
    return result, counters["stats"]["unique_graphs"], dict(counters["graph_break"])


WHOLE = {"remasking": "critic", "token_draws": "independent"}


@pytest.mark.parametrize(
    "settings",
    [
        {**WHOLE, "input_ids": HOLES.masked_fill(HOLES == 7, 0), "num_candidates": 2},  # padded
        {**WHOLE, "input_ids": REVISED, "protected_mask": REVISED == 5, "correction": "replace", "remask_per_step": 2},
        {**WHOLE, "correction": "remask", "remask_floor": 0.0, "schedule": "linear"},
        {"remasking": "critic", "temperature": 0.7, "unmasking": "margin"},
    ],
    ids=lambda settings: "-".join(f"{value}" for value in settings.values() if isinstance(value, (str, float))),
)
def test_all_steps_run_in_one_graph_and_give_the_tokens_of_a_plain_call(model, settings):
    torch._dynamo.reset()
    model.__dict__.pop("_compiled_functions", None)
    arguments = {"input_ids": HOLES, "num_steps": 6, "seed": 3, "return_history": True, **settings}
    plain = model.generate(**arguments)
    compiled, graphs, breaks = counted(lambda: model.generate(**arguments, compile="eager"))
    assert (graphs, breaks) == (1, {})
    assert torch.equal(compiled.sequences, plain.sequences) and compiled.forward_passes == plain.forward_passes
    torch.testing.assert_close(compiled.self_log_probability, plain.self_log_probability)
    corrected = 0
    for one, other in zip(compiled.history, plain.history, strict=True):
        assert torch.equal(one.filled, other.filled) and torch.equal(one.remasked, other.remasked)
        torch.testing.assert_close(one.error_probabilities, other.error_probabilities)
        corrected += int((one.remasked | ((one.filled != one.input_ids) & (one.input_ids != MASK))).sum())
    assert corrected, "the critic corrects something, or nothing was compared of it"
    again, graphs, _ = counted(lambda: model.generate(**{**arguments, "num_steps": 9, "seed": 4}, compile="eager"))
    assert graphs == 0, "another number of steps needs no other graph"
    assert torch.equal(again.sequences, model.generate(**{**arguments, "num_steps": 9, "seed": 4}).sequences)


def test_graphs_follow_the_weights_and_stay_behind_when_a_model_is_copied(model):
    arguments = {"input_ids": HOLES, "num_steps": 4, "seed": 1, "token_draws": "independent"}
    first = model.generate(**arguments, compile="aot_eager").sequences
    other = copy.deepcopy(pickle.loads(pickle.dumps(model)))
    with torch.no_grad():
        other.lm_head.weight.mul_(-1.0)
    changed = other.generate(**arguments, compile="aot_eager").sequences
    assert torch.equal(changed, other.generate(**arguments).sequences) and not torch.equal(changed, first)
    assert torch.equal(model.generate(**arguments, compile="aot_eager").sequences, first)


def test_a_model_that_changes_again_and_again_is_compiled_again_and_a_part_of_a_tensor_once(model):
    torch._dynamo.reset()
    changing = build_with_critic()
    arguments = {"input_ids": HOLES[:, :6], "num_steps": 3, "seed": 1, "token_draws": "independent"}
    _, graphs, _ = counted(lambda: changing.generate(**arguments, compile="eager"))
    assert graphs == 1, "whatever the strides"
    for size in range(20, 20 + torch._dynamo.config.recompile_limit):
        changing.resize_token_embeddings(size)
        compiled = changing.generate(**arguments, compile="eager").sequences
        assert torch.equal(compiled, changing.generate(**arguments).sequences)


@pytest.mark.parametrize(
    "settings",
    [
        {**WHOLE, "stop_when_expected_errors_below": 4.5},
        {"remasking": "critic", "token_draws": "joint", "stop_when_expected_errors_below": 3.0},
        {"remasking": "critic", "token_draws": "independent", "polish_steps": 4, "polish_threshold": 0.995},
    ],
    ids=["whole steps", "passes", "polish"],
)
def test_a_single_sequence_may_end_early(model, settings):
    passes = []
    for seed in range(6):
        arguments = {"input_ids": HOLES[:1], "num_steps": 8, "seed": seed, "return_history": True, **settings}
        plain, compiled = model.generate(**arguments), model.generate(**arguments, compile="eager")
        assert torch.equal(compiled.sequences, plain.sequences) and compiled.forward_passes == plain.forward_passes
        torch.testing.assert_close(compiled.self_log_probability, plain.self_log_probability)
        for one, other in zip(compiled.history, plain.history, strict=True):
            assert torch.equal(one.filled, other.filled) and torch.equal(one.remasked, other.remasked)
        passes.append(plain.forward_passes)
    assert min(passes) < 8 + settings.get("polish_steps", 0), "some end early, or nothing was compared of it"


@pytest.mark.parametrize(
    ("compile", "settings", "named"),
    [
        ("no such backend", {}, "compile"),
        (3, {}, "compile"),
        ("eager", {"stopping_criteria": StoppingCriteriaList([lambda ids, scores: False])}, "stopping_criteria"),
        ("eager", {"unmasking": "entropy_bound"}, "unmasking"),
        ("eager", {"polish_steps": 2}, "polish_steps"),
        ("eager", {"stop_when_expected_errors_below": 1.0}, "stop_when_expected_errors_below"),
        ("eager", {"remasking": "accept_reject"}, "accept_reject"),
    ],
)
def test_what_cannot_be_compiled_is_refused_in_one_sentence(model, compile, settings, named):
    with one_sentence(named):
        model.generate(HOLES, num_steps=3, compile=compile, **settings)


def test_a_hooked_model_is_not_compiled_past_its_hooks(model):
    handle = model.lm_head.register_forward_hook(lambda *_: None)
    with pytest.raises(ValueError, match="hooks"):
        model.generate(HOLES, num_steps=3, compile="eager")
    handle.remove()


def test_processors_apply_between_compiled_passes(model):
    def only_nines(input_ids, scores):
        return torch.full_like(scores, float("-inf")).index_fill(1, torch.tensor([9]), 0.0)

    arguments = {"input_ids": HOLES, "num_steps": 3, "seed": 0, "logits_processor": LogitsProcessorList([only_nines])}
    found, graphs, _ = counted(lambda: model.generate(**arguments, compile="eager").sequences)
    assert graphs <= 1 and (found[HOLES == MASK] == 9).all()


def test_a_backend_that_fails_says_so_in_one_sentence(model, monkeypatch):
    def failing(graph, inputs):
        raise OSError("no compiler\nanywhere")

    monkeypatch.setattr(torch.compiler, "list_backends", lambda **_: ["failing"])
    torch._dynamo.register_backend(failing, name="failing")
    with one_sentence("got 'failing'", "no compiler", error=RuntimeError, begins="`compile` needs a backend"):
        model.generate(HOLES, num_steps=3, seed=0, compile="failing")


def test_what_generation_gives_can_be_trained_on(model):
    """Outputs are plain tensors though nothing is kept account of while they are made."""
    output = model.generate(HOLES, num_steps=3, seed=0, return_history=True)
    tensors = [value for value in output.values() if isinstance(value, torch.Tensor)]
    tensors += [part for step in output.history for part in step if part is not None]
    assert tensors and not any(tensor.is_inference() for tensor in tensors)
    model(input_ids=output.sequences, labels=output.sequences).lm_loss.backward()
    model.zero_grad()
