# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from critic_gpt import CriticCalibration
from critic_gpt.evaluation import auroc
from critic_gpt.explorer import (
    Explorer,
    corrupted_view,
    critic_view,
    sample_view,
    score,
    start_from_sample,
    text_view,
    view_data,
)


ROWS = [{"input_ids": [2 + (7 * row + place) % 30 for place in range(20)]} for row in range(4)]


@pytest.fixture
def explorer(unsure_model, tokenizer):
    unsure_model.calibration = CriticCalibration([(i / 99) ** 2 for i in range(100)])
    return Explorer(unsure_model, tokenizer, {"validation": ROWS}, critic_regime="full")


def test_a_sample_is_its_text_and_its_tokens(explorer):
    view = sample_view(explorer, 2)
    assert "".join(token.text for token in view.tokens) == view.text
    assert [token.id for token in view.tokens] == ROWS[2]["input_ids"]
    assert (view.index, view.num_examples, view.split) == (2, 4, "validation")


def test_a_corruption_shows_masks_and_the_truth_beneath(explorer):
    view = corrupted_view(explorer, 1, mask_rate=0.5)
    assert [token.truth_id for token in view.tokens] == ROWS[1]["input_ids"]
    assert 0 < view.num_masked == sum(token.masked for token in view.tokens) < 20
    assert all(token.wrong is None if token.masked else token.wrong is False for token in view.tokens)


@pytest.mark.parametrize("scope", ["masked_only", "all"])
@pytest.mark.parametrize("regime", ["full", "partial"])
def test_the_critic_view_equals_one_call_of_forward_with_labels(explorer, scope, regime):
    explorer = replace(explorer, critic_regime=regime)
    explorer.model.config.critic_target_scope = scope
    view = critic_view(explorer, 3, mask_rate=0.6, threshold=0.25)
    batch = explorer.corrupted(3, "validation", 0.6, 1)
    with torch.no_grad():
        output = explorer.model(**batch)
    valid = output.critic_valid[0]
    assert torch.tensor([token.judged for token in view.tokens]).equal(valid) and view.num_judged == int(valid.sum())
    judged = [token for token in view.tokens if token.judged]
    logits, wrong = output.critic_input_logits[0][valid], output.critic_target[0][valid].bool().tolist()
    assert [token.wrong for token in judged] == wrong
    assert [token.critic_logit for token in judged] == pytest.approx(logits.tolist())
    bucket = (logits.sigmoid() * 100).floor().clamp(max=99)
    probability = ((bucket / 99) ** 2).numpy()
    assert [token.error_probability for token in judged] == pytest.approx(probability.tolist(), abs=1e-6)
    flagged, wrong = probability > 0.25, np.array(wrong)
    assert view.counts == {
        "tp": int((flagged & wrong).sum()),
        "fp": int((flagged & ~wrong).sum()),
        "tn": int((~flagged & ~wrong).sum()),
        "fn": int((~flagged & wrong).sum()),
    }
    assert view.expected_wrong == pytest.approx(float(probability.sum()), abs=1e-4)
    assert view.true_wrong == int(wrong.sum()) and view.auroc == auroc(logits, wrong)
    for name, chosen in (("right", probability[~wrong]), ("wrong", probability[wrong])):
        expected = [chosen.mean(), *np.quantile(chosen, (0.1, 0.5, 0.9))] if len(chosen) else [None] * 4
        expected = dict(zip(("count", "mean", "p10", "p50", "p90"), (len(chosen), *expected), strict=True))
        assert view.scores[name] == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize("threshold", [0.0, 0.3, 1.0])
def test_counts_add_up_and_a_higher_threshold_flags_no_more(explorer, threshold):
    view = critic_view(explorer, 0, mask_rate=0.8, threshold=threshold)
    assert sum(view.counts.values()) == view.num_judged == view.num_filled == view.num_masked
    assert view.counts["tp"] + view.counts["fn"] == view.true_wrong == view.scores["wrong"]["count"]
    lower = critic_view(explorer, 0, mask_rate=0.8, threshold=threshold / 2)
    assert lower.counts["tp"] >= view.counts["tp"] and lower.counts["fp"] >= view.counts["fp"]
    assert view.calibrated and view.forward_passes == 2


def test_partly_filled_masks_stay_masks_without_a_verdict(explorer):
    view = critic_view(replace(explorer, critic_regime="partial"), 1, mask_rate=1.0)
    masks = [token for token in view.tokens if token.masked]
    assert len(masks) == view.num_masked - view.num_filled > 0
    assert all(token.error_probability is None and token.flagged is None and token.wrong is None for token in masks)


def test_a_corruption_without_masks_has_nothing_to_judge(explorer):
    view = critic_view(explorer, 0, mask_rate=1e-6)
    assert view.num_judged == 0 and view.auroc is None and view.expected_wrong == 0.0
    assert view.scores["right"] == {"count": 0, "mean": None, "p10": None, "p50": None, "p90": None}


def test_a_text_is_judged_where_it_is_visible(explorer):
    view = text_view(explorer, "a[MASK]b\n", threshold=0.0)
    ids = explorer.tokenizer("a[MASK]b\n", return_tensors="pt")["input_ids"]
    with torch.no_grad():
        logits = explorer.model.critic_scores(ids)[0]
    assert view.tokens[1].masked and view.tokens[1].critic_logit is None and view.num_masked == 1
    visible = [view.tokens[i] for i in (0, 2, 3)]
    assert [token.critic_logit for token in visible] == pytest.approx(logits[[0, 2, 3]].tolist())
    assert view.expected_wrong == pytest.approx(sum(token.error_probability for token in visible))
    assert view.num_flagged == sum(token.error_probability > 0 for token in visible) and view.judged is None


def test_a_text_is_judged_as_in_proofreading_where_errors_were_planted(explorer):
    explorer.model.planted_calibration = CriticCalibration(
        [i / 99 for i in range(100)], {"source": "planted", "positive_rate": 0.02}
    )
    view = text_view(explorer, "ab[MASK]c")
    (proof,) = explorer.model.proofread(list(explorer.encoded("ab[MASK]c")))
    seen = [token.error_probability or 0.0 for token in view.tokens]
    assert seen == pytest.approx(proof.error_probabilities.tolist()) and view.calibrated


@pytest.mark.parametrize("threshold", [-0.1, 1.1, float("nan")])
def test_a_threshold_out_of_range_is_refused(explorer, threshold):
    for view in (lambda: critic_view(explorer, 0, threshold=threshold), lambda: text_view(explorer, "a", threshold)):
        with pytest.raises(ValueError, match=r"`threshold` must be in \[0, 1\]"):
            view()


def test_every_view_is_strict_json(explorer):
    made = sample_view(explorer, 0), corrupted_view(explorer, 0), critic_view(explorer, 0), text_view(explorer, "abc")
    for view in made:
        data = view_data(view)
        assert json.loads(json.dumps(data, allow_nan=False)) == data and len(data["tokens"]) == len(view.tokens)
    judged = next(token for token in view_data(critic_view(explorer, 0, mask_rate=1.0))["tokens"])
    assert judged["outcome"] in ("TP", "FP", "TN", "FN")


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_broken_critic_is_refused_in_every_view_that_asks_it(unsure_model, tokenizer, value):
    with torch.no_grad():
        unsure_model.critic_head.weight[0, 0] = value
    explorer = Explorer(unsure_model, tokenizer, {"validation": [{"input_ids": list(range(2, 20))}]})
    state = start_from_sample(explorer, 0, mask_rate=0.8)
    for view in (lambda: critic_view(explorer, 0), lambda: text_view(explorer, "abc"), lambda: score(explorer, state)):
        with pytest.raises(ValueError, match="must give finite critic scores"):
            view()
