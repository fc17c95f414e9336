# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentences import one_sentence
from sklearn.metrics import brier_score_loss, roc_auc_score

from critic_gpt.calibration.histogram import CriticHistogram
from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.evaluation.metrics import (
    auroc,
    binned_errors,
    brier_score,
    calibration_report,
    calibration_shift,
    cross_fitted_report,
    expected_calibration_error,
    reliability_bins,
    summary_by_target,
)


# Few distinct values, so that ties and bin edges are the rule.
judged = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 1)), min_size=1, max_size=60)


def split(pairs):
    return np.array([value / 20 for value, _ in pairs]), np.array([target for _, target in pairs])


def overconfident_critic(sequences=200, length=25):
    """Logits twice as large as the truth, so that a table has something to repair."""
    generator = torch.Generator().manual_seed(3)
    honest = torch.randn(sequences, length, generator=generator) - 1
    target = (torch.rand(sequences, length, generator=generator) < honest.sigmoid()).long()
    return 2 * honest, target, torch.arange(sequences)[:, None].expand(sequences, length)


@given(judged)
@settings(max_examples=60, deadline=None)
def test_auroc_equals_scikit_learn_with_ties(pairs):
    scores, target = split(pairs)
    if len(set(target)) < 2:
        assert auroc(scores, target) is None
    else:
        assert auroc(scores, target) == pytest.approx(roc_auc_score(target, scores), abs=1e-12)


@given(judged)
@settings(max_examples=60, deadline=None)
def test_brier_score_equals_scikit_learn(pairs):
    probability, target = split(pairs)
    expected = brier_score_loss(target, probability, labels=[0, 1])
    assert brier_score(probability, target) == pytest.approx(expected, abs=1e-12)


def test_expected_calibration_error_is_right_by_hand():
    # Bins of width 0.5: {0.1, 0.3} with targets {0, 1} and {0.9, 1.0} with targets {1, 1}.
    error = expected_calibration_error([0.1, 0.3, 0.9, 1.0], [0, 1, 1, 1], num_bins=2)
    assert error == pytest.approx(0.5 * abs(0.2 - 0.5) + 0.5 * abs(0.95 - 1.0))
    assert reliability_bins([1.0, 0.0], [1, 0], num_bins=4)["count"].tolist() == [1, 0, 0, 1]


@given(judged, st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_expected_calibration_error_equals_its_definition_bin_by_bin(pairs, num_bins):
    probability, target = split(pairs)
    edges, total = np.linspace(0, 1, num_bins + 1), 0.0
    for index in range(num_bins):
        last = index == num_bins - 1
        inside = (probability >= edges[index]) & ((probability < edges[index + 1]) | last)
        if inside.any():
            total += inside.mean() * abs(probability[inside].mean() - target[inside].mean())
    assert expected_calibration_error(probability, target, num_bins) == pytest.approx(total, abs=1e-12)
    bins = reliability_bins(probability, target, num_bins)
    assert bins["count"].sum() == len(pairs) and np.nansum(bins["rate"] * bins["count"]) == pytest.approx(target.sum())


def test_summary_separates_right_and_wrong_tokens():
    summary = summary_by_target(torch.tensor([[0.0, 1.0, 2.0], [5.0, 7.0, 9.0]]), torch.tensor([[0, 0, 0], [1, 1, 1]]))
    assert summary["right"] == pytest.approx({"count": 3, "mean": 1.0, "p10": 0.2, "p90": 1.8})
    assert summary["wrong"] == pytest.approx({"count": 3, "mean": 7.0, "p10": 5.4, "p90": 8.6})
    absent = {"count": 0, "mean": None, "p10": None, "p90": None}
    assert summary_by_target([0.5], [0])["wrong"] == absent  # and not NaN


def test_numbers_are_the_same_for_tensors_arrays_lists_and_any_shape():
    logits, target, _ = overconfident_critic(10, 6)
    probability = logits.sigmoid()
    as_array = probability.double().numpy().ravel(), target.numpy().ravel()
    for measure in (expected_calibration_error, brier_score, auroc):
        expected = measure(*as_array)
        assert measure(probability, target) == expected
        assert measure(as_array[0].tolist(), as_array[1].tolist()) == expected
        assert measure(probability.T, target.bool().T) == pytest.approx(expected, abs=1e-12)


def test_calibration_report_compares_sigmoid_and_table():
    logits, target, _ = overconfident_critic()
    histogram = CriticHistogram()
    histogram.update(logits, target)
    table = histogram.fit()
    report = calibration_report(logits, target, table)
    assert report["before"]["brier"] == brier_score(logits.sigmoid(), target)
    assert report["after"]["auroc"] == auroc(table.error_probability(logits), target)
    assert report["after"]["ece"] < 0.01 < report["before"]["ece"]
    assert report["positions"] == logits.numel()
    assert report["positive_rate"] == pytest.approx(histogram.positive_rate)


@pytest.mark.parametrize("method", ["nearest", "isotonic"])
def test_cross_fitted_report_judges_each_half_by_the_table_of_the_other(method):
    logits, target, sequence = overconfident_critic(40, 10)
    probability = torch.empty_like(logits)
    for fold in (0, 1):
        histogram = CriticHistogram()
        histogram.update(logits[1 - fold :: 2], target[1 - fold :: 2])
        probability[fold::2] = histogram.fit(method).error_probability(logits[fold::2])
    report = cross_fitted_report(logits, target, sequence, method)
    assert report["after"]["brier"] == pytest.approx(brier_score(probability, target))
    assert report["after"]["ece"] == pytest.approx(expected_calibration_error(probability, target))
    assert (report["sequences"], report["method"], report["positions"]) == (40, method, 400)
    assert cross_fitted_report(logits, target, 2 * sequence, method) == report, "halves, though all indices are even"
    histogram = CriticHistogram()
    histogram.update(logits, target)
    own = calibration_report(logits, target, histogram.fit(method))
    assert own["before"] == report["before"] and own["after"]["brier"] < report["after"]["brier"]


@pytest.mark.parametrize(
    ("call", "named"),
    [
        (lambda: brier_score([0.5], [0, 1]), ["`probability`", "`target`", "1", "2"]),
        (lambda: brier_score([], []), ["`probability`", "0"]),
        (lambda: brier_score([1.5], [1]), ["`probability`", "[0, 1]", "1.5"]),
        (lambda: brier_score([float("nan")], [1]), ["`probability`", "nan"]),
        (lambda: auroc([float("nan")], [1]), ["`scores`", "finite"]),
        (lambda: auroc([0.5], [-100]), ["`target`", "-100"]),
        (lambda: expected_calibration_error([0.5], [1], 0), ["`num_bins`", "0"]),
        (lambda: cross_fitted_report([0.5, 1.0], [1, 0], [7, 7]), ["`sequence_index`", "1 sequences"]),
        (lambda: cross_fitted_report([0.5, 1.0], [1, 0], [7]), ["`sequence_index`", "2 positions"]),
        (lambda: cross_fitted_report([0.5, 1.0], [1, 0], [7, 8], "cubic"), ["`method`", "cubic"]),
        (lambda: calibration_report([0.5], [2], CriticCalibration.ramp()), ["`target`", "2"]),
        (lambda: binned_errors([], []), ["`expected` and `actual`", "got 0 and 0"]),
        (lambda: binned_errors([1.0], [1, 2]), ["same number", "got 1 and 2"]),
        (lambda: binned_errors([float("nan")], [1]), ["finite", "got NaN"]),
        (lambda: binned_errors([1.0], [1], 0), ["`num_bins`", "got 0"]),
    ],
)
def test_user_errors_are_one_sentence_with_field_and_value(call, named):
    with one_sentence(*named):
        call()


def test_the_shift_of_a_table_is_its_error_elsewhere_beside_that_of_a_table_made_there():
    scores, target, sequence = overconfident_critic(400, 10)
    histogram = CriticHistogram()
    histogram.update(scores / 2, target)  # a table of an honest critic
    table = histogram.fit("isotonic")
    scores = 1.5 * scores
    shift = calibration_shift(scores, target, sequence, table, method="isotonic")
    honest = cross_fitted_report(scores, target, sequence, method="isotonic")
    probability = table.error_probability(scores)
    assert shift["table"]["ece"] == pytest.approx(expected_calibration_error(probability, target))
    assert shift["table"]["brier"] == pytest.approx(brier_score(probability, target))
    assert (shift["raw"], shift["own"]) == (honest["before"], honest["after"])
    assert shift["table"]["ece"] > 0.1 > 3 * shift["own"]["ece"] and shift["own"]["brier"] < shift["table"]["brier"]
    assert (shift["positions"], shift["sequences"], shift["method"]) == (4000, 400, "isotonic")


def test_bins_of_errors_are_means_of_equally_many_sequences_in_the_order_of_expectation():
    expected, actual = np.array([3.0, 1.0, 2.0, 9.0, 0.0]), np.array([4.0, 0.0, 3.0, 7.0, 2.0])
    bins = binned_errors(expected, actual, num_bins=2)
    assert bins["count"].tolist() == [3, 2]
    assert bins["expected"].tolist() == [1.0, 6.0] and bins["actual"].tolist() == pytest.approx([5 / 3, 5.5])
    spread = [np.array([2.0, 0.0, 3.0]).std(ddof=1) / np.sqrt(3), np.array([4.0, 7.0]).std(ddof=1) / np.sqrt(2)]
    np.testing.assert_allclose(bins["standard_error"], spread)
    single = binned_errors([1.0, 2.0], [0, 3], num_bins=10)
    assert single["count"].tolist() == [1, 1] and np.isnan(single["standard_error"]).all()
