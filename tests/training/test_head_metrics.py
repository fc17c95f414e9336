"""Claims about the numbers that judge a classifier or a scorer."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from critic_gpt.evaluation import auroc
from critic_gpt.training.head_metrics import classification_metrics, ranked_auroc, scoring_metrics


@given(st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1, max_size=30))
def test_auroc_counts_ordered_pairs_and_halves_ties(pairs):
    scores, positive = torch.tensor([float(s) for s, _ in pairs]), torch.tensor([p for _, p in pairs])
    expected = auroc(scores, positive.double())
    if expected is None:
        assert ranked_auroc(scores, positive) is None
    else:
        assert ranked_auroc(scores, positive) == pytest.approx(expected, abs=1e-12)


def test_balanced_accuracy_is_the_mean_over_the_classes_that_occur():
    metrics = classification_metrics(torch.tensor([90.0, 10.0, 0.0]), torch.tensor([90.0, 2.0, 0.0]))
    assert metrics == pytest.approx({"accuracy": 0.92, "balanced_accuracy": 0.6})


@given(st.lists(st.tuples(st.floats(0, 1, width=32), st.floats(0, 1, width=32)), min_size=2, max_size=20))
def test_scoring_metrics_equal_numpy_and_leave_out_an_undefined_correlation(pairs):
    x, y = np.array(pairs).T
    metrics = scoring_metrics(torch.tensor(x), torch.tensor(y))
    assert metrics["mse"] == pytest.approx(((x - y) ** 2).mean())
    assert metrics["mae"] == pytest.approx(np.abs(x - y).mean())
    assert ("pearson" in metrics) == (len(set(x)) > 1 and len(set(y)) > 1)
    if x.std() > 1e-3 and y.std() > 1e-3:
        assert metrics["pearson"] == pytest.approx(np.corrcoef(x, y)[0, 1], abs=1e-6)
