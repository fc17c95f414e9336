# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Loss modifiers: each against a reference in plain loops, alone and one after another."""

import itertools
import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from modified_losses import (
    EPS,
    MASK,
    PAD,
    VOCAB,
    reference,
    reference_entropies,
    reference_entropy_weights,
    reference_expected,
    reference_judge_weights,
    reference_ratio_weights,
    reference_ratios,
    reference_wrongness,
    token_batch,
)
from transformers.modeling_outputs import SequenceClassifierOutput

from critic_gpt import CriticGPTConfig, CriticGPTForSequenceClassification, CriticGPTForTokenClassification
from critic_gpt.diffusion.losses import token_cross_entropy
from critic_gpt.training.modifiers import (
    MODIFIERS,
    EntropyWeight,
    JudgeWeight,
    LossModifiers,
    MaskRatioWeight,
    RowLossBatch,
    SequenceCorrelation,
    SequenceVariance,
    TargetSmoothing,
    TokenLossBatch,
    expected_wrongness,
)


@pytest.fixture(scope="module")
def scorer():
    torch.manual_seed(3)
    config = CriticGPTConfig(
        vocab_size=VOCAB,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=16,
        num_labels=1,
        pad_token_id=PAD,
        initializer_range=0.5,
    )
    return CriticGPTForSequenceClassification(config).double()


# ---- references in plain loops: the plain cross-entropy of a token, and the weight of a sequence ----


def build(name, scorer):
    return JudgeWeight(model=scorer) if name == "judge_weight" else MODIFIERS[name]()


TOKEN_MODIFIERS = [name for name, kind in MODIFIERS.items() if kind.task == "language_model"]


# ---- equal to the references ----


@pytest.mark.parametrize("weighted", [True, False])
@pytest.mark.parametrize("name", TOKEN_MODIFIERS)
def test_a_modifier_equals_its_reference_in_value_and_gradient(name, weighted, scorer):
    batch = token_batch(weighted=weighted)
    modified, _ = LossModifiers([build(name, scorer)]).modify_token_loss(batch, step=0)
    expected = reference(batch, {name}, scorer)
    torch.testing.assert_close(modified, expected)
    gradients = [torch.autograd.grad(loss.sum(), batch.logits, retain_graph=True)[0] for loss in (modified, expected)]
    torch.testing.assert_close(*gradients)
    assert not torch.allclose(modified, batch.token_loss), "the modifier did nothing"


@pytest.mark.parametrize(
    "names", [order for n in (2, 3, 4) for order in itertools.permutations(TOKEN_MODIFIERS, n)], ids="-".join
)
def test_modifiers_compose_in_every_order_and_none_is_lost(names, scorer):
    batch = token_batch(seed=1, rows=3, length=4)
    modified, metrics = LossModifiers([build(name, scorer) for name in names]).modify_token_loss(batch, step=0)
    torch.testing.assert_close(modified, reference(batch, set(names), scorer))
    assert {key.split("/")[0] for key in metrics} == set(names), "each reports its own figures"


def row_batch(seed=0, rows=6):
    generator = torch.Generator().manual_seed(seed)
    targets = torch.rand(rows, generator=generator, dtype=torch.float64)
    predictions = (0.3 * torch.rand(rows, generator=generator, dtype=torch.float64) + 0.4).requires_grad_()
    return RowLossBatch((predictions - targets) ** 2, predictions, targets)


def reference_variance_factor(batch, scale=2.0, sharpness=1.5):
    def variance(values):
        mean = sum(values) / len(values)
        return sum((x - mean) ** 2 for x in values) / len(values)

    ratio = variance(batch.targets.tolist()) / variance(batch.predictions.tolist())
    return 1 + (scale - 1) * (1 - math.exp(-sharpness * max(ratio - 1, 0)))


def reference_correlation_factor(batch, a=4.0):
    correlation = float(torch.corrcoef(torch.stack([batch.predictions.detach(), batch.targets]))[0, 1])
    # The parabola through three points, by Lagrange.
    points = [(1.0, 1.0), (0.0, math.sqrt(a)), (-1.0, a)]
    value = 0.0
    for i, (x, y) in enumerate(points):
        for j, (other, _) in enumerate(points):
            if i != j:
                y *= (correlation - other) / (x - other)
        value += y
    return value


def test_the_scorers_modifiers_equal_their_references_and_compose():
    batch = row_batch()
    variance, correlation = reference_variance_factor(batch), reference_correlation_factor(batch)
    assert variance > 1.1 and correlation > 1.1
    for modifiers, factor in (
        ([SequenceVariance()], variance),
        ([SequenceCorrelation()], correlation),
        ([SequenceVariance(), SequenceCorrelation()], variance * correlation),
        ([SequenceCorrelation(), SequenceVariance()], variance * correlation),
    ):
        modified, metrics = LossModifiers(modifiers).modify_row_loss(batch, step=0)
        torch.testing.assert_close(modified, batch.row_loss * factor)
        # The factor is a number: the gradient is that of the plain loss, so many times.
        gradient = torch.autograd.grad(modified.sum(), batch.predictions, retain_graph=True)[0]
        plain = torch.autograd.grad(batch.row_loss.sum(), batch.predictions, retain_graph=True)[0]
        torch.testing.assert_close(gradient, plain * factor)
        assert {key.split("/")[0] for key in metrics} == {one.name for one in modifiers}


# ---- known values ----


def test_the_expected_wrongness_has_its_known_values():
    ratios = torch.tensor([0.0, 0.1, 0.25, 0.5, 0.75, 1.0], dtype=torch.float64)
    known = torch.tensor([0.0, 0.198, 0.473, 0.8125, 0.973, 1.0], dtype=torch.float64)
    torch.testing.assert_close(expected_wrongness(ratios), known, atol=5e-4, rtol=0)


@pytest.mark.parametrize(
    ("predictions", "factor"), [([0.1, 0.5, 0.9], 1.0), ([0.9, 0.5, 0.1], 4.0), ([0.5, 0.1, 0.5], 2.0)]
)
def test_the_correlation_factor_is_one_two_and_four_at_its_three_points(predictions, factor):
    targets = torch.tensor([0.1, 0.5, 0.9], dtype=torch.float64)
    batch = RowLossBatch(torch.ones(3, dtype=torch.float64), torch.tensor(predictions, dtype=torch.float64), targets)
    modified, _ = LossModifiers([SequenceCorrelation()]).modify_row_loss(batch, step=0)
    torch.testing.assert_close(modified, torch.full((3,), factor, dtype=torch.float64))


def test_scores_that_vary_more_than_the_targets_are_left_alone():
    targets = torch.tensor([0.4, 0.5, 0.6])
    batch = RowLossBatch(torch.ones(3), torch.tensor([0.1, 0.5, 0.9]), targets)
    modified, _ = LossModifiers([SequenceVariance()]).modify_row_loss(batch, step=0)
    torch.testing.assert_close(modified, torch.ones(3))


def test_the_judges_exponent_rises_between_two_steps_and_is_constant_without_them(scorer):
    ramp = JudgeWeight(model=scorer, exponent=2.0, ramp_start=10, ramp_end=20)
    assert [ramp.exponent_at(step) for step in (0, 10, 15, 20, 99)] == [0.0, 0.0, 1.0, 2.0, 2.0]
    assert JudgeWeight(model=scorer, exponent=2.0).exponent_at(0) == 2.0
    batch = token_batch()
    before, _ = LossModifiers([ramp]).modify_token_loss(batch, step=5)
    torch.testing.assert_close(before, batch.token_loss, rtol=0, atol=0)  # anything to the power 0 is 1
    after, _ = LossModifiers([ramp]).modify_token_loss(batch, step=20)
    factors = torch.tensor(reference_judge_weights(batch, scorer, exponent=2.0), dtype=torch.float64)[:, None]
    torch.testing.assert_close(after, batch.token_loss * factors)


def test_the_mask_ratio_weight_falls_by_its_power_within_its_bounds():
    batch = token_batch()
    _, weights, _ = MaskRatioWeight(power=2.0, min_weight=1.5, max_weight=3.0).modify(batch, 0)
    expected = [min(max((r + EPS) ** -2.0, 1.5), 3.0) for r in reference_ratios(batch)]
    torch.testing.assert_close(weights[:, 0], torch.tensor(expected, dtype=torch.float64))
    assert len(set(expected)) > 1


@pytest.mark.parametrize(("weight", "threshold"), [(1.0, 0.9), (3.0, 0.5), (500.0, 0.0), (1e-9, 0.1)])
def test_threshold_and_bounds_hold_back_the_weights_of_entropy(weight, threshold):
    batch = token_batch(scale=5.0)
    _, weights, metrics = EntropyWeight(weight, threshold).modify(batch, 0)
    expected = torch.tensor(reference_entropy_weights(batch, weight, threshold), dtype=torch.float64)
    torch.testing.assert_close(weights[:, 0], expected)
    entropies = torch.tensor(reference_entropies(batch))
    held = (weight / (entropies.clamp(min=threshold) + EPS)).clamp(EPS, 1000.0)
    assert (held != weight / (entropies + EPS)).any(), "nothing to hold back"
    torch.testing.assert_close(metrics["weight"][0], held.sum().double(), rtol=1e-5, atol=1e-12)


# ---- laws ----


@given(seed=st.integers(0, 1000), rows=st.integers(1, 5), scale=st.sampled_from([0.0, 1.0, 30.0, 300.0]))
@settings(max_examples=60, deadline=None)
def test_every_weight_is_finite_and_the_entropy_weights_have_the_mean_one(seed, rows, scale):
    batch = token_batch(seed=seed, rows=rows, scale=scale, dtype=torch.float32)
    for name in ("entropy", "mask_ratio_weight", "target_smoothing"):
        modified, metrics = LossModifiers([MODIFIERS[name]()]).modify_token_loss(batch, step=0)
        assert modified.isfinite().all()
        assert all(total.isfinite() and count.isfinite() for total, count in metrics.values())
        gradient = torch.autograd.grad(modified.sum(), batch.logits, retain_graph=True)[0]
        assert gradient.isfinite().all() and not gradient[..., MASK].any()
        assert not modified[batch.labels == -100].any()
    _, weights, _ = EntropyWeight().modify(batch, 0)
    torch.testing.assert_close(weights.sum(), torch.tensor(float(rows)))


def test_a_single_sequence_is_left_alone_by_statistics_of_a_batch():
    batch = token_batch(rows=1, padding=0)
    modified, _ = LossModifiers([EntropyWeight()]).modify_token_loss(batch, step=0)
    torch.testing.assert_close(modified, batch.token_loss)
    row = row_batch(rows=1)
    modified, metrics = LossModifiers([SequenceVariance(), SequenceCorrelation()]).modify_row_loss(row, step=0)
    torch.testing.assert_close(modified, row.row_loss)
    assert metrics["sequence_variance/variance_ratio"][1] == metrics["sequence_correlation/correlation"][1] == 0
    assert metrics["sequence_variance/factor"] == metrics["sequence_correlation/factor"] == (1, 1)


@pytest.mark.parametrize("constant", ["predictions", "targets", "both"])
def test_scores_or_targets_that_do_not_vary_divide_nothing_by_zero(constant):
    batch = row_batch()
    flat = torch.full((6,), 0.5, dtype=torch.float64)
    batch = batch._replace(
        predictions=flat if constant in ("predictions", "both") else batch.predictions,
        targets=flat if constant in ("targets", "both") else batch.targets,
    )
    modified, _ = LossModifiers([SequenceCorrelation()]).modify_row_loss(batch, step=0)
    torch.testing.assert_close(modified, batch.row_loss)
    modified, _ = LossModifiers([SequenceVariance()]).modify_row_loss(batch, step=0)
    factor = 2.0 if constant == "predictions" else 1.0  # the ratio is immense, or zero
    torch.testing.assert_close(modified, batch.row_loss * factor)


def test_a_sequence_without_a_supervised_token_changes_no_other_and_has_no_loss(scorer):
    batch = token_batch()
    empty = batch._replace(
        labels=torch.cat([batch.labels, torch.full_like(batch.labels[:1], -100)]),
        input_ids=torch.cat([batch.input_ids, torch.zeros_like(batch.input_ids[:1])]),
        logits=torch.cat([batch.logits, batch.logits[:1]]),
        token_loss=torch.cat([batch.token_loss, torch.zeros_like(batch.token_loss[:1])]),
        attention_mask=torch.cat([batch.attention_mask, torch.ones_like(batch.attention_mask[:1])]),
        loss_weights=torch.cat([batch.loss_weights, torch.zeros_like(batch.loss_weights[:1])]),
        fill_uniforms=torch.cat([batch.fill_uniforms, batch.fill_uniforms[:1]]),
    )
    for name in TOKEN_MODIFIERS:
        modifiers = LossModifiers([build(name, scorer)])
        with_it, metrics = modifiers.modify_token_loss(empty, step=0)
        without, own = modifiers.modify_token_loss(batch, step=0)
        torch.testing.assert_close(with_it[:-1], without)
        assert not with_it[-1].any()
        if name == "judge_weight":  # a ratio of 0, at which nothing wrong is expected
            assert modifiers.modifiers[0].modify(empty, 0)[1][-1] == 1
        for key, (total, count) in own.items():
            torch.testing.assert_close(metrics[key][0] / metrics[key][1], total / count, msg=key)


@pytest.mark.parametrize("modifier", [SequenceVariance(), SequenceCorrelation()])
def test_scores_that_are_equal_but_not_round_do_not_pass_for_varying_ones(modifier):
    targets = torch.rand(1000, generator=torch.Generator().manual_seed(0))
    batch = RowLossBatch(torch.ones(1000), torch.full((1000,), 0.7), targets)
    _, metrics = LossModifiers([modifier]).modify_row_loss(batch, step=0)
    factor = 2.0 if modifier.name == "sequence_variance" else 1.0
    assert metrics[f"{modifier.name}/factor"][0].item() == pytest.approx(factor)


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0])
def test_the_correlation_does_not_depend_on_how_far_scores_spread(scale):
    batch = RowLossBatch(torch.ones(3), scale * torch.tensor([1.0, 3.0, 2.0]), torch.tensor([0.0, 0.5, 1.0]))
    _, metrics = LossModifiers([SequenceCorrelation()]).modify_row_loss(batch, step=0)
    assert metrics["sequence_correlation/correlation"][0].item() == pytest.approx(0.5, rel=1e-5)


def test_padding_changes_no_loss(scorer):
    batch = token_batch(padding=0)
    wide = batch._replace(
        labels=torch.nn.functional.pad(batch.labels, (0, 2), value=-100),
        input_ids=torch.nn.functional.pad(batch.input_ids, (0, 2), value=PAD),
        logits=torch.nn.functional.pad(batch.logits, (0, 0, 0, 2)),
        token_loss=torch.nn.functional.pad(batch.token_loss, (0, 2)),
        attention_mask=torch.nn.functional.pad(batch.attention_mask, (0, 2)),
        loss_weights=torch.nn.functional.pad(batch.loss_weights, (0, 2)),
        fill_uniforms=torch.nn.functional.pad(batch.fill_uniforms, (0, 2), value=0.5),
    )
    modifiers = LossModifiers([build(name, scorer) for name in TOKEN_MODIFIERS])
    padded, plain = (modifiers.modify_token_loss(one, step=0)[0] for one in (wide, batch))
    torch.testing.assert_close(padded[:, :-2], plain, rtol=1e-9, atol=1e-9)


def test_a_special_true_token_keeps_its_one_hot_target():
    batch = token_batch(padding=0)
    labels = batch.labels.clone()
    labels[0, 0] = PAD
    batch = batch._replace(
        labels=labels, token_loss=token_cross_entropy(batch.logits, labels, MASK), loss_weights=None
    )
    modified, _ = LossModifiers([TargetSmoothing(0.3)]).modify_token_loss(batch, step=0)
    torch.testing.assert_close(modified[0, 0], batch.token_loss[0, 0])
    assert not torch.isclose(modified[1, 0], batch.token_loss[1, 0])


@given(seed=st.integers(0, 1000), rows=st.integers(1, 4), scale=st.sampled_from([0.0, 1.0, 300.0]))
@settings(max_examples=25, deadline=None)
def test_weights_keep_within_their_bounds(scorer, seed, rows, scale):
    batch = token_batch(seed=seed, rows=rows, scale=scale)
    for modifier in (MaskRatioWeight(4.0, 0.5, 2.0), JudgeWeight(scorer, 3.0, min_weight=0.5, max_weight=2.0)):
        _, weights, _ = modifier.modify(batch, 0)
        assert weights.amin() >= 0.5 and weights.amax() <= 2.0


def test_a_special_token_with_the_id_zero_is_like_any_other():
    """Where nothing is supervised a label of 0 stands in, which then is [MASK] and has no finite loss."""
    batch = token_batch()
    order = torch.tensor([MASK, *range(MASK)])  # token v + 1 is what v was, and [MASK] is 0

    def renamed(ids):
        return torch.where(ids == MASK, 0, ids + 1)

    moved = batch._replace(
        logits=batch.logits.detach()[..., order].requires_grad_(),
        labels=torch.where(batch.labels == -100, -100, renamed(batch.labels)),
        input_ids=renamed(batch.input_ids),
        mask_token_id=0,
        pad_token_id=PAD + 1,
    )
    modifiers = LossModifiers([TargetSmoothing(), EntropyWeight(), MaskRatioWeight()])
    losses = [modifiers.modify_token_loss(one, step=0)[0] for one in (batch, moved)]
    torch.testing.assert_close(*losses)
    gradients = [torch.autograd.grad(loss.sum(), x.logits)[0] for loss, x in zip(losses, (batch, moved), strict=True)]
    torch.testing.assert_close(gradients[0][..., order], gradients[1])


def test_the_figures_are_what_their_names_say(scorer):
    batch = token_batch()
    modifiers = LossModifiers([build(name, scorer) for name in TOKEN_MODIFIERS])
    _, metrics = modifiers.modify_token_loss(batch, step=0)
    figures = {name: (total / count).item() for name, (total, count) in metrics.items()}
    supervised, rows = (batch.labels != -100).sum(), len(batch.labels)
    bare = batch._replace(loss_weights=None)
    smoothed, plain = (reference(bare, names).sum() for names in ({"target_smoothing"}, set()))
    entropies = reference_entropies(batch)
    expected = {
        "target_smoothing/loss_change": ((smoothed - plain) / supervised).item(),
        "entropy/entropy": sum(entropies) / rows,
        "entropy/weight": sum(1 / (h + EPS) for h in entropies) / rows,
        "entropy/max_weight": max(reference_entropy_weights(batch)),
        "mask_ratio_weight/weight": sum(reference_ratio_weights(batch)) / rows,
        "judge_weight/wrongness": sum(reference_wrongness(batch, scorer)) / rows,
        "judge_weight/expected_wrongness": sum(reference_expected(r) for r in reference_ratios(batch)) / rows,
        "judge_weight/weight": sum(reference_judge_weights(batch, scorer)) / rows,
        "judge_weight/exponent": 1.0,
    }
    assert figures == pytest.approx(expected)
    rows_given = row_batch()
    _, metrics = LossModifiers([SequenceVariance(), SequenceCorrelation()]).modify_row_loss(rows_given, step=0)
    figures = {name: (total / count).item() for name, (total, count) in metrics.items()}
    predictions, targets = rows_given.predictions.detach(), rows_given.targets
    assert figures == pytest.approx(
        {
            "sequence_variance/variance_ratio": (targets.var() / predictions.var()).item(),
            "sequence_variance/factor": reference_variance_factor(rows_given),
            "sequence_correlation/correlation": torch.corrcoef(torch.stack([predictions, targets]))[0, 1].item(),
            "sequence_correlation/factor": reference_correlation_factor(rows_given),
        }
    )


@pytest.mark.parametrize("rows", [1, 3])
def test_no_figure_depends_on_the_data_for_its_existence_and_no_number_is_read_back(scorer, rows):
    """Tensors without data: reading one, or branching on one, is an error. Processes add figures up by their names."""
    judge = CriticGPTForSequenceClassification(scorer.config).to("meta")
    batch = token_batch(rows=rows, dtype=torch.float32)
    batch = TokenLossBatch(*(x.detach().to("meta") if isinstance(x, torch.Tensor) else x for x in batch))
    metrics = {}
    for name in TOKEN_MODIFIERS:
        # With padding, Transformers' own attention reads the mask back, in the judge as in the model that is trained.
        given = batch._replace(attention_mask=None) if name == "judge_weight" else batch
        modified, own = LossModifiers([build(name, judge)]).modify_token_loss(given, step=0)
        assert modified.shape == batch.labels.shape
        metrics |= own
    assert len(metrics) == 9
    scores = RowLossBatch(*(x.detach().to("meta") for x in row_batch(rows=rows)))
    _, own = LossModifiers([SequenceVariance(), SequenceCorrelation()]).modify_row_loss(scores, step=0)
    assert len(own) == 4
    for total, count in (metrics | own).values():
        assert total.dim() == count.dim() == 0 and total.dtype == count.dtype and not total.requires_grad


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype, scorer):
    batch = token_batch(dtype=torch.float32)
    half = batch._replace(logits=batch.logits.detach().to(dtype))
    full = half._replace(logits=half.logits.float())
    modifiers = LossModifiers([build(name, scorer) for name in TOKEN_MODIFIERS])
    losses = [modifiers.modify_token_loss(one, step=0)[0] for one in (half, full)]
    torch.testing.assert_close(*losses, rtol=0, atol=0)
    assert losses[0].dtype == torch.float32 and losses[0].isfinite().all()


def test_the_judge_is_frozen_in_evaluation_mode_and_never_sees_a_mask(scorer):
    seen = []
    scorer.train().requires_grad_(True)
    handle = scorer.register_forward_pre_hook(
        lambda m, args, kwargs: seen.append(kwargs["input_ids"]), with_kwargs=True
    )
    modifiers = LossModifiers([JudgeWeight(model=scorer)])
    modifiers.modify_token_loss(token_batch(), step=0)
    handle.remove()
    assert not scorer.training and not any(p.requires_grad for p in scorer.parameters())
    assert len(seen) == 1 and not (seen[0] == MASK).any()
    assert not isinstance(modifiers, torch.nn.Module), "or a model could save or train it"


def test_a_judge_goes_to_the_device_it_is_sent_to(scorer):
    judge = CriticGPTForSequenceClassification(scorer.config)
    modifiers = LossModifiers([EntropyWeight(), JudgeWeight(model=judge)])
    assert modifiers.to("meta") is modifiers
    assert {parameter.device.type for parameter in judge.parameters()} == {"meta"}


# ---- the master switch and files ----


def test_the_master_switch_off_returns_the_very_loss():
    batch = token_batch()
    modified, metrics = LossModifiers([TargetSmoothing()], enabled=False).modify_token_loss(batch, step=0)
    assert modified is batch.token_loss and metrics == {}


CONTENT = {
    "enabled": True,
    "modifiers": [
        {"name": "target_smoothing", "smoothing": 0.2},
        {"name": "entropy", "weight": 2.0, "threshold": 0.05},
        {"name": "mask_ratio_weight", "power": 0.5, "min_weight": 0.1, "max_weight": 10.0},
    ],
}
YAML = """
modifiers:
  - name: target_smoothing
    smoothing: 0.2
  - name: entropy
    weight: 2
    threshold: 0.05
  - name: mask_ratio_weight
"""


def test_yaml_json_and_dictionaries_give_the_same_and_come_back(tmp_path, scorer):
    (tmp_path / "a.yaml").write_text(YAML)
    (tmp_path / "a.json").write_text(json.dumps(CONTENT))
    for path in ("a.yaml", "a.json"):
        modifiers = LossModifiers.from_file(tmp_path / path, task="language_model")
        assert modifiers.to_dict() == CONTENT
        assert modifiers.modifiers == [TargetSmoothing(0.2), EntropyWeight(2, 0.05), MaskRatioWeight()]
        assert repr(modifiers) == "LossModifiers(target_smoothing, entropy, mask_ratio_weight; enabled=True)"
    scorer.save_pretrained(tmp_path / "judge")
    entry = {"name": "judge_weight", "model": str(tmp_path / "judge"), "ramp_end": 5}
    judged = LossModifiers.from_dict({"modifiers": [entry]})
    assert LossModifiers([JudgeWeight(tmp_path / "judge", ramp_end=5)]).to_dict() == judged.to_dict()
    again = LossModifiers.from_dict(judged.to_dict())
    assert again.to_dict() == judged.to_dict()
    losses = [one.modify_token_loss(token_batch(), step=9)[0] for one in (judged, again)]
    torch.testing.assert_close(*losses)


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ([], "`loss_modifiers` must be a mapping"),
        ({"modifiers": {}}, "`loss_modifiers` must be a mapping"),
        ({"modifiers": []}, "must hold at least one"),
        ({"modifiers": [{"name": "entropy"}], "enable": False}, "did you mean 'enabled'"),
        ({"modifiers": [{"name": "entropy"}], "enabled": "no"}, "`enabled` must be true or false"),
        ({"modifiers": ["entropy"]}, "with a `name`"),
        ({"modifiers": [{"name": "entropi"}]}, "did you mean 'entropy'"),
        ({"modifiers": [{"name": "entropy", "treshold": 1}]}, "did you mean 'threshold'"),
        ({"modifiers": [{"name": "entropy", "threshold": "high"}]}, "`threshold` of entropy must be a finite number"),
        ({"modifiers": [{"name": "entropy", "weight": math.inf}]}, "must be a finite number"),
        ({"modifiers": [{"name": "entropy", "weight": math.nan}]}, "must be a finite number"),
        ({"modifiers": [{"name": "entropy", "weight": True}]}, "must be a finite number"),
        ({"modifiers": [{"name": ["entropy"]}]}, "`name` knows"),
        ({"modifiers": [{"name": "judge_weight", "model": "no/where", "ramp_start": -1}]}, "must be at least 0"),
        ({"modifiers": [{"name": "entropy", "threshold": -1}]}, "must be at least 0, got -1"),
        ({"modifiers": [{"name": "entropy", "weight": 0}]}, "must be above 0"),
        ({"modifiers": [{"name": "target_smoothing", "smoothing": 1.0}]}, "must be in \\[0, 1\\)"),
        ({"modifiers": [{"name": "mask_ratio_weight", "min_weight": 0}]}, "must be above 0"),
        ({"modifiers": [{"name": "mask_ratio_weight", "max_weight": 0.01}]}, "must be at least min_weight = 0.1"),
        ({"modifiers": [{"name": "judge_weight"}]}, "`model` of judge_weight"),
        ({"modifiers": [{"name": "judge_weight", "model": 3}]}, "must be a path or hub name"),
        ({"modifiers": [{"name": "judge_weight", "model": "no/where", "ramp_end": 1.5}]}, "must be a whole number"),
        ({"modifiers": [{"name": "sequence_variance", "scale": 0.5}]}, "must be at least 1"),
        ({"modifiers": [{"name": "sequence_correlation", "max_factor": 0}]}, "must be at least 1"),
        ({"modifiers": [{"name": "entropy"}, {"name": "entropy"}]}, "each kind once"),
        ({"modifiers": [{"name": "entropy"}, {"name": "sequence_variance"}]}, "must be of one task"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(content, words):
    with pytest.raises(ValueError, match=words) as error:
        LossModifiers.from_dict(content)
    assert "\n" not in str(error.value)


def test_modifiers_of_another_task_are_refused_with_the_right_ones():
    content = {"modifiers": [{"name": "sequence_variance"}]}
    with pytest.raises(ValueError, match=r"task language_model, got sequence_variance.*choose among target_smoothing"):
        LossModifiers.from_dict(content, task="language_model")


def test_a_file_is_one_of_the_language_model_unless_told_otherwise(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"modifiers": [{"name": "sequence_variance"}]}))
    with pytest.raises(ValueError, match="must be of the task language_model"):
        LossModifiers.from_file(tmp_path / "a.json")
    assert LossModifiers.from_file(tmp_path / "a.json", task="sequence_scoring").task == "sequence_scoring"
    assert LossModifiers.from_file(tmp_path / "a.json", task=None).task == "sequence_scoring"


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.txt", "", "a .yaml or .json file"),
        ("a.yaml", "modifiers: [", "does not parse"),
        ("a.json", "{", "does not parse"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "does not parse"),
        ("a.yaml", None, "an existing file"),
        ("a.yaml", Path, "an existing file"),
    ],
)
def test_a_file_that_cannot_be_read_is_one_sentence(tmp_path, name, text, words):
    if text is Path:
        (tmp_path / name).mkdir()
    elif text is not None:
        (tmp_path / name).write_text(text)
    with pytest.raises(ValueError, match=words) as error:
        LossModifiers.from_file(tmp_path / name)
    assert "\n" not in str(error.value)


def test_a_judge_for_shorter_sequences_says_whose_fault_it_is(scorer):
    batch = token_batch()
    short = CriticGPTConfig(**{**scorer.config.to_dict(), "max_position_embeddings": batch.labels.shape[1] - 1})
    judge = JudgeWeight(model=CriticGPTForSequenceClassification(short).double())
    with pytest.raises(ValueError, match="`model` of judge_weight must take the sequences of the model it judges"):
        judge.modify(batch, 0)


def test_without_draws_in_the_batch_a_judge_meets_fillings_from_the_global_generator(scorer):
    batch, judge = token_batch(), JudgeWeight(model=scorer)
    torch.manual_seed(5)
    drawn = judge.modify(batch._replace(fill_uniforms=torch.rand(batch.labels.shape)), 0)[1]
    torch.manual_seed(5)
    assert torch.equal(judge.modify(batch._replace(fill_uniforms=None), 0)[1], drawn)
    assert not torch.equal(judge.modify(batch._replace(fill_uniforms=None), 0)[1], drawn)


def test_a_judge_that_cannot_judge_is_refused(scorer, tmp_path):
    classifier = CriticGPTForSequenceClassification(CriticGPTConfig(**{**scorer.config.to_dict(), "num_labels": 3}))
    with pytest.raises(ValueError, match="one score a sequence, got one of 3 labels"):
        JudgeWeight(model=classifier)
    small = CriticGPTForSequenceClassification(CriticGPTConfig(**{**scorer.config.to_dict(), "vocab_size": VOCAB - 1}))
    with pytest.raises(ValueError, match=r"must know all 9 tokens .* one for 8"):
        LossModifiers([JudgeWeight(model=small)]).modify_token_loss(token_batch(), step=0)


def test_a_judge_whose_head_would_be_a_fresh_one_is_refused(scorer, tmp_path):
    config = CriticGPTConfig(**scorer.config.to_dict())
    CriticGPTForTokenClassification(config).save_pretrained(tmp_path / "tokens")
    with pytest.raises(ValueError, match=r"must be a trained scorer, got .*tokens', which lacks score"):
        JudgeWeight(model=str(tmp_path / "tokens"))


class Unbounded(torch.nn.Module):
    """What a scorer without a sigmoid may say."""

    def forward(self, input_ids, attention_mask=None):
        scores = torch.linspace(-3.0, 3.0, len(input_ids), dtype=torch.float64)
        return SequenceClassifierOutput(logits=scores[:, None])


def test_scores_outside_of_their_range_are_held_in_it(scorer):
    judge = JudgeWeight(model=scorer, exponent=0.5)
    unbounded = Unbounded()
    unbounded.config = scorer.config
    object.__setattr__(judge, "_scorer", unbounded)
    batch = token_batch()
    _, weights, metrics = judge.modify(batch, 0)
    assert weights.isfinite().all()
    torch.testing.assert_close(metrics["wrongness"][0], torch.tensor(2.0, dtype=torch.float64))
