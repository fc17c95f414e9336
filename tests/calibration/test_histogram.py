# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about counting critic scores, and fitting a table to the counts."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from refusals import refused
from sklearn.isotonic import IsotonicRegression

from critic_gpt.calibration.file import NUM_BUCKETS
from critic_gpt.calibration.histogram import CriticHistogram, bucket_sums, figures_from_buckets, fill_isotonic
from critic_gpt.calibration.table import score_buckets
from critic_gpt.evaluation.metrics import auroc, brier_score, expected_calibration_error


few = settings(max_examples=50, deadline=None)
# Per bucket (right, wrong) tokens; mostly empty, as in life.
bucket = st.one_of(st.just((0, 0)), st.just((0, 0)), st.tuples(st.integers(0, 50), st.integers(0, 50)))
observations = st.lists(bucket, min_size=100, max_size=100).filter(lambda pairs: any(map(sum, pairs)))
logit_lists = st.lists(st.floats(-200, 200, width=32), min_size=1, max_size=40)


def histogram_of(pairs):
    right, wrong = torch.tensor(pairs).T
    return CriticHistogram(right + wrong, wrong)


def observed(rates, count=10):
    """A histogram that saw these rates, as {bucket: rate}."""
    counts, positives = torch.zeros(2, NUM_BUCKETS, dtype=torch.int64)
    for index, rate in rates.items():
        counts[index], positives[index] = count, round(rate * count)
    return CriticHistogram(counts, positives)


# --- counting --------------------------------------------------------------------------------------------------------


@given(logit_lists)
@few
def test_bucket_is_the_hundredth_part_of_the_score(logits):
    logits = torch.tensor(logits, dtype=torch.float32)
    expected = [min(99, math.floor(100 * p)) for p in torch.sigmoid(logits).numpy()]  # numpy keeps float32
    assert score_buckets(logits).tolist() == expected


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.float16])
def test_infinite_logits_and_every_precision_have_a_bucket(dtype):
    logits = torch.tensor([-math.inf, -20.0, 0.0, 20.0, math.inf], dtype=dtype)
    assert score_buckets(logits).tolist() == [0, 0, 50, 99, 99]


@given(logit_lists, logit_lists)
@few
def test_histogram_is_additive(first, second):
    def counted(*batches):
        histogram = CriticHistogram()
        for batch in batches:
            logits = torch.tensor(batch)
            histogram.update(logits, (logits > 1).float())
        return histogram

    merged, at_once = counted(first).merge(counted(second)), counted(first + second)
    assert torch.equal(merged.counts, at_once.counts) and merged.counts.sum() == len(first) + len(second)
    assert torch.equal(merged.positives, at_once.positives)
    assert torch.equal(counted(first, second).counts, at_once.counts)


def test_only_judged_positions_are_counted_and_others_may_hold_anything():
    logits = torch.tensor([[0.0, math.nan], [3.0, 9.0]])
    target = torch.tensor([[1, -100], [0, 7]])
    histogram = CriticHistogram()
    histogram.update(logits, target, torch.tensor([[True, False], [True, False]]))
    assert histogram.counts.nonzero().flatten().tolist() == [50, 95]
    assert histogram.positives.nonzero().flatten().tolist() == [50]
    assert histogram.counts.dtype == histogram.positives.dtype == torch.int64


def test_nan_logits_foreign_targets_and_other_shapes_are_refused_and_nothing_is_counted():
    histogram = CriticHistogram()
    with refused("`critic_logits`", "finite"):
        histogram.update(torch.tensor([math.nan, 1.0]), torch.tensor([0, 1]))
    for target in ([0.0, 0.5], [0, -100], [0.0, math.nan]):
        with refused("`critic_target`", str(target[1])):
            histogram.update(torch.tensor([0.0, 1.0]), torch.tensor(target))
    for name, arguments in (("critic_target", [torch.zeros(3)]), ("critic_valid", [torch.zeros(2), torch.ones(2, 1)])):
        with refused(f"`{name}`", "(2,)"):
            histogram.update(torch.zeros(2), *arguments)
    assert histogram.counts.sum() == 0


def test_histogram_of_given_counts_is_checked():
    ones = torch.ones(NUM_BUCKETS, dtype=torch.int64)
    with refused("`positives`", "2 of 1", "bucket 0"):
        CriticHistogram(ones, 2 * ones)
    with refused("`counts`", "(9,)"):
        CriticHistogram(ones[:9], ones)


def test_counts_cannot_be_changed_from_outside():
    histogram = observed({10: 0.2})
    histogram.counts.zero_()
    histogram.positives.zero_()
    assert histogram.positive_rate == pytest.approx(0.2)


def test_an_empty_histogram_is_refused_with_one_sentence():
    for method in ("nearest", "isotonic"):
        with refused("`counts`", "0"):
            CriticHistogram().fit(method)
    with pytest.raises(ValueError):
        print(CriticHistogram().positive_rate)


# --- fitting ---------------------------------------------------------------------------------------------------------


def test_nearest_fill_looks_towards_the_middle():
    table = observed({10: 0.2, 60: 0.7}).fit().probabilities
    assert table == (0.2,) * 10 + (0.2,) + (0.7,) * 49 + (0.7,) * 40
    assert observed({80: 0.9}).fit().probabilities == (0.9,) * 100
    assert observed({10: 0.2}).fit().probabilities == (0.2,) * 100


def test_nearest_fill_is_in_place_so_that_a_filled_bucket_serves_the_next():
    table = observed({10: 0.2, 45: 0.4, 90: 0.9}).fit().probabilities
    assert table[46:50] == (0.9,) * 4  # nothing between 46 and 89 is observed, so these look all the way up
    assert table[50:90] == (0.9,) * 40  # and these look down at what 49 has just got, not at bucket 45


@given(observations)
@few
def test_isotonic_is_monotone_and_equals_scikit_learn(pairs):
    histogram = histogram_of(pairs)
    nearest, table = (histogram.fit(method).probabilities for method in ("nearest", "isotonic"))
    for fitted in (nearest, table):
        assert len(fitted) == 100 and all(0.0 <= value <= 1.0 for value in fitted)
        assert histogram.positive_rate_from_buckets(fitted) == pytest.approx(histogram.positive_rate, abs=1e-12)
    # The one keeps every observed rate, the other makes them rise.
    assert all(nearest[i] == wrong / (right + wrong) for i, (right, wrong) in enumerate(pairs) if right + wrong)
    assert list(table) == sorted(table)
    counts, positives = histogram.counts.double().numpy(), histogram.positives.double().numpy()
    seen = counts.nonzero()[0]
    twin = IsotonicRegression(out_of_bounds="clip")
    twin.fit(seen, positives[seen] / counts[seen], sample_weight=counts[seen])
    assert np.allclose(table, twin.predict(np.arange(NUM_BUCKETS)), rtol=0, atol=1e-9)


def test_isotonic_pools_by_count_and_interpolates():
    assert fill_isotonic([4, 0, 1, 0, 0, 1], [2, 0, 0, 0, 0, 1]) == pytest.approx([0.4, 0.4, 0.4, 0.6, 0.8, 1.0])


def test_fit_records_where_the_table_comes_from():
    histogram = observed({10: 0.2, 60: 0.7})
    metadata = histogram.fit("isotonic", metadata={"dataset": "sudoku", "fill": "multinomial"}).metadata
    assert set(metadata) == {"method", "counts", "positives", "positive_rate", "dataset", "fill"}
    assert metadata["method"] == "isotonic" and metadata["counts"] == histogram.counts.tolist()
    with refused("`method`", "spline", "isotonic"):
        histogram.fit("spline")


def test_verbose_table_shows_each_bucket_and_the_saved_value_beside_it():
    histogram = observed({10: 0.2, 60: 0.7})
    lines = histogram.format_table().splitlines()
    assert len(lines) == 100
    assert lines[10].split() == ["bucket", "10", "count", "10", "target1", "2", "probability", "0.200000"]
    assert lines[11].split()[-1] == "0.000000"
    beside = histogram.format_table(histogram.fit().probabilities).splitlines()
    assert beside[11].split()[-2:] == ["saved", "0.700000"]
    assert len(CriticHistogram().format_table().splitlines()) == 100


# --- figures from buckets --------------------------------------------------------------------------------------------


def test_figures_from_buckets_are_those_of_the_positions_however_the_rows_are_split():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(12, 50, generator=generator) * 2
    target = (torch.rand(12, 50, generator=generator) < torch.sigmoid(logits * 0.7)).float()
    valid = torch.rand(12, 50, generator=generator) < 0.6
    logits[~valid], target[~valid] = math.nan, -100.0
    sums = bucket_sums(logits, target, valid)
    assert sums.shape == (12, 4, 100)
    split = [bucket_sums(logits[i : i + 5], target[i : i + 5], valid[i : i + 5]) for i in range(0, 12, 5)]
    assert torch.equal(torch.cat(split)[:, :2], sums[:, :2])  # counts
    torch.testing.assert_close(torch.cat(split), sums)

    found = figures_from_buckets(sums.double().sum(dim=0))
    score, wrong = torch.sigmoid(logits[valid]), target[valid]
    assert found["brier"] == pytest.approx(brier_score(score, wrong), rel=1e-5)
    assert found["ece"] == pytest.approx(expected_calibration_error(score, wrong, num_bins=100), rel=1e-4)
    assert found["auroc"] == pytest.approx(auroc(score_buckets(logits[valid]), wrong), rel=1e-12)
    assert found["auroc"] == pytest.approx(auroc(score, wrong), abs=0.005)


def test_figures_without_both_kinds_of_tokens_are_none():
    logits, valid = torch.tensor([[1.0, -1.0]]), torch.tensor([[True, True]])
    nothing = figures_from_buckets(bucket_sums(logits, torch.ones(1, 2), ~valid).sum(dim=0))
    assert nothing == {"auroc": None, "ece": None, "brier": None}
    right = figures_from_buckets(bucket_sums(logits, torch.zeros(1, 2), valid).sum(dim=0))
    assert right["auroc"] is None and right["brier"] > 0
