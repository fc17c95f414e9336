# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the strategies: what they declare, what they keep to, and that they do what they always did."""

import pytest
import torch
from generation_cases import MASK, PAD, arguments, build, canvas, every_strategy
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from refusals import refused

from critic_gpt import CriticGPTGenerationConfig
from critic_gpt.evaluation.sampling import ForwardCounter
from critic_gpt.generation.declarations import strategy_settings
from critic_gpt.generation.strategies.registry import STRATEGIES


# Those that mask a share between two ratios again, and those that choose by scores.
BY_RATIO = [name for name, strategy in STRATEGIES.items() if "start_ratio" in strategy.takes]
SCORED = [name for name, strategy in STRATEGIES.items() if "remask_selection" in strategy.takes]


@pytest.fixture(scope="module")
def model():
    return build()


@pytest.fixture(scope="module")
def joint():
    return build(add_joint_head=True)


# What the critic did before it could do anything else.
PLAIN_CRITIC = {"correction": "remask", "remask_by": "error", "remask_floor": 0.0, "remask_per_step": 2}
PLAIN_CRITIC |= {"schedule": "quadratic"}
# Tokens as hexadecimal digits, and how many were masked again at each step; written down before strategies were
# classes.
RECORDED = [
    ("critic", PLAIN_CRITIC, "5776b777778b b9b4a67466bb", "022110 022210"),
    ("none", {"unmasking": "margin", "schedule": "cosine"}, "5b364bb779b6 7338b797bb73", "000000 000000"),
    ("external", {"randomness_strength": 0.4}, "5a36b5777bb7 9997bb76b3b7", "653200 974200"),
    ("critic_full", {"schedule": [1.0, 0.6, 0.5, 0.3, 0.2, 0.1]}, "566676674b56 774477786487", "542100 763210"),
    ("confidence", {"temperature": 0.7, "top_p": 0.9}, "5776bb777bbb 877784477777", "653200 974200"),
    ("random", {"start_ratio": 0.7, "end_ratio": 0.2}, "5836b4774b97 9aa7644abb57", "543210 764320"),
]


@pytest.mark.parametrize(("strategy", "fields", "tokens", "remasked"), RECORDED, ids=lambda value: str(value)[:11])
def test_a_strategy_gives_what_was_recorded(model, strategy, fields, tokens, remasked):
    output = model.generate(canvas, num_steps=6, seed=5, return_history=True, **arguments(strategy), **fields)
    assert " ".join("".join(f"{i:x}" for i in row) for row in output.sequences.tolist()) == tokens
    counts = torch.stack([step.remasked.sum(-1) for step in output.history], dim=-1)
    assert " ".join("".join(map(str, row)) for row in counts.tolist()) == remasked


# ---- what every strategy keeps to ----


@st.composite
def canvases(draw):
    """Tokens, masks and padding, with some of the positions protected, masks among them."""
    batch_size, length = draw(st.integers(1, 2)), draw(st.integers(1, 8))
    rows = [[draw(st.sampled_from([MASK, MASK, 5, 6, 9])) for _ in range(length)] for _ in range(batch_size)]
    for row in rows:
        real = draw(st.integers(0, length))
        row[real:] = [PAD] * (length - real)
    protected = [[draw(st.booleans()) for _ in range(length)] for _ in range(batch_size)]
    return torch.tensor(rows), torch.tensor(protected)


selections = st.sampled_from([{}, {"remask_selection": "gumbel"}, {"randomness_strength": 0.5}])


@every_strategy
@example((canvas, canvas != MASK), {}, 15, 3)
@example((canvas, canvas == canvas), {}, 3, 0)
@given(canvases(), selections, st.integers(1, 4), st.integers(0, 2**20))
@settings(max_examples=12, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_protected_positions_are_never_touched_nor_counted(model, strategy, drawn_canvas, selection, num_steps, seed):
    ids, protected = drawn_canvas
    if strategy not in SCORED:
        selection = {}
    before, case = ids.clone(), {"return_history": True, "return_error_probabilities": False, **selection}
    case |= {"protected_mask": protected, "num_steps": num_steps, "seed": seed, **arguments(strategy)}
    output = model.generate(ids, **case)
    fixed = protected | (ids == PAD)
    assert torch.equal(ids, before)
    assert torch.equal(output.sequences[fixed], ids[fixed])
    assert not torch.isin(output.sequences[~fixed], torch.tensor([MASK, PAD])).any()
    for number, step in enumerate(output.history):
        assert torch.equal(step.input_ids[fixed], ids[fixed]) and torch.equal(step.filled[fixed], ids[fixed])
        assert not (step.remasked & fixed).any()
        if strategy in BY_RATIO and number < num_steps - 1:
            ratio = 0.95 - (number + 1) / (num_steps - 1) * 0.9
            expected = [int(count * ratio + 1e-9) for count in (~fixed).sum(-1).tolist()]
            assert step.remasked.sum(-1).tolist() == expected, "exactly k of those that may change"


@pytest.mark.parametrize("strategy", SCORED)
def test_a_weighted_draw_masks_as_many_again_as_the_worst_would_and_others(model, strategy):
    ids = torch.full((4, 20), MASK)
    case = {"num_steps": 6, "seed": 0, "return_history": True, **arguments(strategy)}
    worst = model.generate(ids, **case).history
    drawn = model.generate(ids, remask_selection="gumbel", **case).history
    for one, other in zip(worst, drawn, strict=True):
        assert torch.equal(one.remasked.sum(-1), other.remasked.sum(-1))
    assert any(not torch.equal(one.remasked, other.remasked) for one, other in zip(worst, drawn, strict=True))


def test_a_cold_draw_is_the_choice_of_the_worst(model):
    """Of scores among which none are equal: ties are for chance to break."""
    case = {"num_steps": 5, "seed": 0, **arguments("external")}
    cold = model.generate(canvas, remask_selection="gumbel", selection_temperature=1e-6, **case).sequences
    assert torch.equal(cold, model.generate(canvas, **case).sequences)


def test_a_draw_is_made_anew_at_each_step(model):
    """Of the same scores: a judge that finds all tokens equally bad leaves the choice to the draw."""
    case = {"remasking_model": lambda input_ids, attention_mask: torch.zeros(input_ids.shape), "seed": 0}
    case |= {"remask_selection": "gumbel", "schedule": [0.5] * 6, "num_steps": 6, "return_history": True}
    history = model.generate(torch.full((1, 20), MASK), **case).history
    assert len({tuple(step.remasked[0].tolist()) for step in history[:-1]}) == 5


# ---- what strategies declare ----


@every_strategy
def test_the_declared_passes_are_those_that_run(model, strategy):
    for num_steps, judged, more in ((1, True, {}), (2, False, {}), (5, True, {}), (5, False, {"num_candidates": 3})):
        case = {"num_steps": num_steps, "return_error_probabilities": judged, **more, **arguments(strategy)}
        with ForwardCounter(model) as counter:
            output = model.generate(canvas, seed=0, **case)
        passes = STRATEGIES[strategy].forward_passes(num_steps, model.resolve_generation_config(**case))
        assert output.row_passes.tolist() == [passes] * 2
        # Several candidates make one batch, and must be judged to choose among them.
        assert output.forward_passes == passes // more.get("num_candidates", 1)
        assert output.scoring_passes == (judged or bool(more))
        assert counter.passes == output.forward_passes + output.scoring_passes


def test_the_passes_of_each_family_are_these(model):
    """One per step; two where the judge takes a pass of its own, except in the last; and those of the corrector."""
    for strategy in STRATEGIES:
        config = model.resolve_generation_config(**arguments(strategy))
        expected = {"critic_full": 11, "token_critic": 11, "proseco": 7}.get(strategy, 6)
        assert STRATEGIES[strategy].forward_passes(6, config) == expected


COSTS = [
    *((strategy, fields) for strategy in STRATEGIES for fields in ({}, {"num_candidates": 3})),
    ("critic", {"polish_steps": 4}),
    *(("proseco", {"corrector_interval": n, "corrector_steps": k}) for n, k in ((1, 2), (3, 1), (2, 5))),
]


@pytest.mark.parametrize(("strategy", "fields"), COSTS)
def test_the_steps_within_a_budget_are_as_many_as_fit(model, strategy, fields):
    cls, config = STRATEGIES[strategy], model.resolve_generation_config(**arguments(strategy), **fields)
    for budget in range(40):
        fitting = [n for n in range(1, 45) if cls.forward_passes(n, config) <= budget]
        assert cls.steps_within(budget, config) == (max(fitting) if fitting else None)


VALUES = {
    "unmasking": "margin",
    "schedule": "cosine",
    "entropy_bound": 0.5,
    "confidence_threshold": 0.6,
    "token_draws": "joint",
    "remask_per_step": 3,
    "remask_by": "alternative",
    "remask_exponent": 0.5,
    "remasked_first": True,
    "remask_floor": 0.1,
    "error_threshold": 0.5,
    "start_ratio": 0.9,
    "end_ratio": 0.1,
    "randomness_strength": 0.5,
    "remask_selection": "gumbel",
    "selection_temperature": 2.0,
    "correction": "replace",
    "polish_steps": 2,
    "polish_threshold": 0.3,
    "stop_when_expected_errors_below": 1.5,
    "remdm_eta": 0.3,
    "loop_start": 0.3,
    "loop_end": 0.7,
    "loop_visible": 0.5,
    "corrector_interval": 2,
    "corrector_steps": 3,
    "corrector_temperature": 0.5,
    "revision_threshold": 0.5,
}
# What some arguments mean something beside only.
BESIDE = {
    "selection_temperature": {"remask_selection": "gumbel"},
    "entropy_bound": {"unmasking": "entropy_bound"},
    "confidence_threshold": {"unmasking": "confidence_threshold"},
    "polish_threshold": {"polish_steps": 2},
    "remask_exponent": {"remask_by": "likelihood"},
    "revision_threshold": {"block_length": 4},
}


# Values that a strategy takes where it refuses those that others take.
OWN_VALUES = {("backtrack", "unmasking"): "entropy_bound", ("accept_reject", "remask_by"): "likelihood"}


@every_strategy
def test_an_argument_is_accepted_exactly_where_it_means_something(model, joint, strategy):
    taken = STRATEGIES[strategy].takes
    for name in strategy_settings():
        asked = joint if name == "token_draws" else model
        case = {name: OWN_VALUES.get((strategy, name), VALUES[name]), **arguments(strategy)}
        case |= {"num_steps": 6, "seed": 5, "return_error_probabilities": False}
        if name in taken:
            assert not (asked.generate(canvas, **case, **BESIDE.get(name, {})).sequences == MASK).any(), name
        else:
            kind = f"`remasking={strategy!r}`, a {STRATEGIES[strategy].family} strategy"
            with refused(start=f"`{name}` has no meaning for {kind}, got {VALUES[name]!r}: "):
                asked.generate(canvas, **case)


def test_what_is_the_case_anyway_may_be_said():
    said = {"randomness_strength": 0.0, "remask_selection": "worst", "selection_temperature": 1.0}
    for name, more in (("none", {"remask_per_step": 0}), ("multinomial", {"remask_per_step": 0}), ("critic", {})):
        config = CriticGPTGenerationConfig(**said, **more)
        STRATEGIES[name].check(config, {*said, *more}, critic=True, external=False)


@pytest.mark.parametrize("strategy", SCORED)
def test_what_chance_has_no_part_in_is_refused(model, strategy):
    with refused(match=r"`selection_temperature` has no meaning where the worst .*, got 2\.0: "):
        model.generate(canvas, selection_temperature=2.0, **arguments(strategy))
    for name, value in {"remask_selection": "gumbel", "randomness_strength": 0.5}.items():
        case = {"error_threshold": 0.5, name: value, **arguments(strategy)}
        if strategy == "critic":
            # One pass per step leaves a choice: no more than the schedule leaves masked.
            assert not (model.generate(canvas, num_steps=4, **case).sequences == MASK).any()
        elif "error_threshold" in STRATEGIES[strategy].takes:
            with refused(start=f"`{name}` has no meaning beside `error_threshold=0.5`"):
                model.generate(canvas, **case)
