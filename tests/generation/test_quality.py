# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the numbers that say how good a generated sequence is."""

import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused

from critic_gpt.generation.quality import error_summary, judge_wrongness, mean_log_probability


SEQUENCES = torch.tensor([[5, 6, 7], [8, 9, 0]])
REAL = torch.tensor([[1, 1, 1], [1, 1, 0]])


def test_the_mean_log_probability_counts_what_counts_and_nothing_else():
    probability = torch.tensor([[0.5, 0.25, -1.0], [1.0, 0.1, 0.2], [0.3, 0.3, 0.3]])
    counted = torch.tensor([[1, 1, 0], [0, 1, 0], [0, 0, 0]]).bool()
    found = mean_log_probability(probability, counted).tolist()
    assert found[:2] == pytest.approx([(math.log(0.5) + math.log(0.25)) / 2, math.log(0.1)])
    assert math.isnan(found[2])
    impossible = mean_log_probability(torch.zeros(1, 1), torch.ones(1, 1, dtype=torch.bool))
    assert torch.isfinite(impossible).all() and impossible < -80, "very unlikely, and not infinitely so"


@given(st.lists(st.lists(st.tuples(st.floats(0, 1, width=32), st.booleans()), min_size=5, max_size=5), min_size=1))
@settings(max_examples=60, deadline=None)
def test_mean_and_quantiles_are_those_of_numpy_over_the_counted_tokens(rows):
    values = torch.tensor([[value for value, _ in row] for row in rows])
    counted = torch.tensor([[count for _, count in row] for row in rows])
    summary = error_summary(values, counted)
    assert set(summary) == {"error_mean", "error_p10", "error_p50", "error_p90"}
    for i, row in enumerate(rows):
        kept = [value for value, count in row if count]
        if not kept:
            assert all(math.isnan(number[i]) for number in summary.values())
            continue
        assert summary["error_mean"][i].item() == pytest.approx(np.mean(kept), abs=1e-6)
        for name, quantile in (("error_p10", 0.1), ("error_p50", 0.5), ("error_p90", 0.9)):
            assert summary[name][i].item() == pytest.approx(np.quantile(kept, quantile), abs=1e-6)


def test_a_judge_may_be_a_function_or_a_scorer_and_sees_the_padding():
    seen = []

    def judge(input_ids, attention_mask):
        seen.append((input_ids, attention_mask))
        return torch.tensor([0.25, 1.0], dtype=torch.bfloat16)

    assert judge_wrongness(judge, SEQUENCES, REAL).tolist() == [0.25, 1.0]
    assert torch.equal(seen[0][0], SEQUENCES) and torch.equal(seen[0][1], REAL)
    scorer = judge_wrongness(lambda **_: SimpleNamespace(logits=torch.tensor([[0.25], [1.0]])), SEQUENCES, REAL)
    assert scorer.tolist() == [0.25, 1.0] and scorer.dtype == torch.float32


@pytest.mark.parametrize(
    ("scores", "message"),
    [
        (torch.zeros(2, 2), r"`judge_model` must give one number for each of 2 rows, got the shape \(2, 2\): "),
        (torch.zeros(3), r"`judge_model` must give one number for each of 2 rows, got the shape \(3,\): "),
        (torch.tensor([0.5, 1.5]), r"`judge_model` must give a wrongness in \[0, 1\], got numbers from 0.5 to 1.5: "),
        (torch.tensor([0.5, math.nan]), r"`judge_model` must give a wrongness in \[0, 1\], got "),
    ],
)
def test_a_judge_of_another_kind_is_refused(scores, message):
    with refused(match=message):
        judge_wrongness(lambda **_: scores, SEQUENCES, REAL)


def test_a_broken_score_is_never_averaged_away():
    values = torch.tensor([[0.1, float("nan"), 0.3], [0.1, float("nan"), 0.3]])
    counted = torch.tensor([[True, True, True], [True, False, True]])
    for number in error_summary(values, counted).values():
        assert number.isnan().tolist() == [True, False]
