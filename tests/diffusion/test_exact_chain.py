# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What laws of correction leave of a distribution that is known exactly, by count."""

import pytest
import torch
from exact_chain import LAW, SEQUENCES, chain_of_corrections, distance, drawn_from, likelihood_of, shares, sharpened

from critic_gpt.diffusion.selection import unlikelihood


ROWS = 6000


@pytest.mark.parametrize(("exponent", "redraw"), [(1.0, 1.0), (0.5, 1.0), (1.0, 0.5), (0.0, 1.0)])
def test_weights_by_unlikelihood_leave_the_law_to_the_sum_of_both_exponents(exponent, redraw):
    # One step a time changes the state at a rate of the weights' sum: it lasts as long as that is small.
    rate = (likelihood_of(SEQUENCES) ** -exponent).sum(dim=-1)
    kept = sharpened(exponent + redraw) * rate
    begin = drawn_from(kept, ROWS)
    after = shares(chain_of_corrections(begin, 12, exponent=exponent, redraw=redraw)) / rate
    # What stays where it began by itself would prove nothing: the law of the redraws alone moves towards it.
    other = drawn_from(sharpened(exponent + redraw + 0.7) * rate, ROWS)
    moved = shares(chain_of_corrections(other, 12, exponent=exponent, redraw=redraw)) / rate
    target = sharpened(exponent + redraw)
    first = distance(sharpened(exponent + redraw + 0.7), target)
    assert distance(after / after.sum(), target) < 0.07
    assert distance(moved / moved.sum(), target) < 0.8 * first


def test_masking_the_worst_seeks_the_mode_even_where_every_probability_is_true():
    after = shares(chain_of_corrections(drawn_from(LAW, ROWS), 24, selection="worst"))
    assert after.max() > 4 * LAW.max() and after.argmax() == LAW.argmax()
    assert (after > 0).sum() < 0.4 * len(LAW)


def test_unlikelihood_is_a_power_of_the_probability_and_nothing_where_nothing_stands():
    probability, visible = torch.tensor([[0.5, 0.1, 0.0, 0.9]]), torch.tensor([[True, True, True, False]])
    weights = unlikelihood(probability, 2.0, visible)
    assert weights[0, 0] - weights[0, 1] == pytest.approx(-2 * torch.tensor(5.0).log().item(), abs=1e-4)
    assert weights[0, 2] == 0.0 and weights[0, 3] == float("-inf") and weights.max() == 0.0
    assert torch.equal(unlikelihood(probability, 0.0, visible)[0, :3], torch.zeros(3))
    assert (unlikelihood(probability, 1.0, torch.zeros_like(visible)) == float("-inf")).all()
