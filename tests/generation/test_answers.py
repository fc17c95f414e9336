# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what processors, criteria, judges and streamers of somebody else's may give back."""

import pytest
import torch
from generation_cases import MASK, build, canvas
from refusals import refused
from transformers import LogitsProcessor, TopKLogitsWarper


INFINITE, NAN = float("inf"), float("nan")
OTHER_KINDS = {
    "nothing": lambda scores: None,
    "list": lambda scores: scores.tolist(),
    "array": lambda scores: scores.numpy(),
    "fewer tokens": lambda scores: scores[:, :5],
    "fewer rows": lambda scores: scores[:3],
    "turned": lambda scores: scores.T.contiguous(),
    "flat": lambda scores: scores.flatten(),
    "whole numbers": lambda scores: scores.long(),
    "no numbers": lambda scores: scores.to("meta"),
    "sparse": lambda scores: scores.to_sparse(),
}
NOTHING_TO_DRAW = {
    "NaN": lambda scores: scores * NAN,
    "one NaN": lambda scores: scores.index_fill(1, torch.tensor([4]), NAN),
    "infinite": lambda scores: scores.index_fill(1, torch.tensor([4]), INFINITE),
    "impossible": lambda scores: torch.full_like(scores, -INFINITE),
    "special tokens only": lambda scores: torch.full_like(scores, -INFINITE).index_fill(1, torch.tensor([0, MASK]), 1),
}


@pytest.fixture(scope="module")
def model():
    return build(dtype=torch.float32, add_joint_head=True)


def generate(model, **fields):
    return model.generate(canvas, **{"num_steps": 3, "seed": 0, **fields})


def processor(answer, base):
    return type("Mine", (base,), {"__call__": lambda self, input_ids, scores: answer(scores)})(*[3][: base is WARPER])


WARPER = TopKLogitsWarper
each_base = pytest.mark.parametrize("base", [LogitsProcessor, WARPER], ids=["processor", "warper"])
each_draw = pytest.mark.parametrize("draws", ["independent", "joint"])


@each_base
@each_draw
@pytest.mark.parametrize("kind", OTHER_KINDS)
def test_a_processor_that_gives_no_scores_is_refused_in_one_sentence(model, kind, base, draws):
    with refused(match=r"`logits_processor` must return scores of shape \(24, 12\) on cpu, got .* from Mine: return"):
        generate(model, logits_processor=[processor(OTHER_KINDS[kind], base)], token_draws=draws)


@each_base
@each_draw
@pytest.mark.parametrize("kind", NOTHING_TO_DRAW)
def test_scores_that_leave_nothing_to_draw_are_refused_and_the_processor_is_blamed(model, kind, base, draws):
    with refused(start="`logits_processor` must leave a token possible at each place"):
        generate(model, logits_processor=[processor(NOTHING_TO_DRAW[kind], base)], token_draws=draws)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float64])
def test_another_precision_of_scores_is_taken(model, dtype):
    output = generate(model, logits_processor=[processor(lambda scores: scores.to(dtype), LogitsProcessor)])
    assert output.self_log_probability.dtype == torch.float32 and not (output.sequences == MASK).any()


@pytest.mark.parametrize(
    "said", [None, "yes", 0.3, {}, torch.tensor([0.3, 0.9]), torch.tensor([NAN, NAN]), [None, None]], ids=str
)
def test_a_criterion_that_says_neither_yes_nor_no_is_refused(model, said):
    with refused(start="`stopping_criteria` must return truth values, got"):
        generate(model, stopping_criteria=[lambda ids, scores: said])


@pytest.mark.parametrize("said", [True, [True, True], torch.tensor(True), torch.tensor([True, True])], ids=str)
def test_a_criterion_may_say_it_of_all_rows_or_of_each(model, said):
    output = generate(model, stopping_criteria=[lambda ids, scores: said])
    assert output.forward_passes == 1 and not (output.sequences == MASK).any()


@pytest.mark.parametrize(
    "answer", [None, "good", {}, [0.5], torch.ones(2, 12, device="meta")], ids=lambda a: str(a)[:9]
)
@pytest.mark.parametrize("name", ["remasking_model", "judge_model"])
def test_a_judge_that_gives_no_numbers_is_refused(model, name, answer):
    with refused(match=f"`{name}` must return a tensor of numbers, or an output with `logits`, got "):
        generate(model, **{name: lambda input_ids, attention_mask: answer})


def test_a_judge_of_tokens_that_gives_nan_is_refused(model):
    with refused(start="`remasking_model` must give numbers, got NaN"):
        generate(model, remasking_model=lambda input_ids, attention_mask: torch.full(input_ids.shape, NAN))


@pytest.mark.parametrize("name", ["remasking_model", "judge_model", "streamer"])
def test_what_could_not_be_asked_is_refused_before_the_work(model, name):
    with refused(start=f"`{name}` must "):
        generate(model, **{name: 3})


class Breaking:
    """A streamer that breaks at one of its calls."""

    def __init__(self, at, abort_breaks=False):
        self.at, self.abort_breaks, self.calls = at, abort_breaks, []

    def call(self, name):
        self.calls.append(name)
        if len(self.calls) == self.at:
            raise RuntimeError("broken streamer")

    def put(self, tokens):
        self.call("put")

    def put_step(self, step):
        self.call("put_step")

    def end(self):
        self.call("end")

    def abort(self):
        self.calls.append("abort")
        if self.abort_breaks:
            raise KeyError("broken too")


@pytest.mark.parametrize("abort_breaks", [False, True])
def test_a_streamer_that_breaks_is_aborted_wherever_it_does_and_its_own_error_is_raised(model, abort_breaks):
    whole = Breaking(at=None)
    generate(model, streamer=whole)
    assert whole.calls[-1] == "end" and "abort" not in whole.calls
    for at in range(1, len(whole.calls) + 1):
        streamer = Breaking(at, abort_breaks)
        with pytest.raises(RuntimeError, match="broken streamer"):
            generate(model.train(), streamer=streamer)
        assert streamer.calls == [*whole.calls[:at], "abort"] and model.training
    model.eval()
