# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Loss modifiers: values known by hand, laws alone and one after another, and their files."""

import json
import math
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from sentences import one_sentence
from torch.nn.functional import pad
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


VOCAB, MASK, PAD = 6, 5, 4
TOKEN_MODIFIERS = [name for name, kind in MODIFIERS.items() if kind.task == "language_model"]
# Of the four ordinary tokens and the padding; what a model says of [MASK] never counts.
HALVES = (1 / 2, 1 / 4, 1 / 8, 1 / 16, 1 / 16)
EVEN = (1 / 5,) * 5
CERTAIN = (1e-300, 1.0, 1e-300, 1e-300, 1e-300)


def float64(values):
    return torch.tensor(values, dtype=torch.float64)


def hand_batch(*rows, loss_weights=None, fill_uniforms=None):
    """Rows of (label, probabilities) at masks, of `None` at visible tokens, and of nothing at the padding behind."""
    length = max(map(len, rows))
    labels, logits = torch.full((len(rows), length), -100), torch.zeros(len(rows), length, VOCAB, dtype=torch.float64)
    input_ids, attention_mask = torch.full_like(labels, PAD), torch.zeros_like(labels)
    for i, row in enumerate(rows):
        for t, position in enumerate(row):
            attention_mask[i, t], input_ids[i, t] = 1, 0 if position is None else MASK
            if position is not None:
                labels[i, t], logits[i, t] = position[0], float64([*position[1], 7.0]).log()
    logits.requires_grad_()
    loss = token_cross_entropy(logits, labels, MASK)
    if loss_weights is not None:
        loss_weights = float64(loss_weights)
        loss = loss * loss_weights
    uniforms = None if fill_uniforms is None else torch.tensor(fill_uniforms)
    return TokenLossBatch(loss, logits, labels, input_ids, attention_mask, loss_weights, uniforms, MASK, PAD)


def token_batch(seed=0, rows=4, length=6, weighted=True, dtype=torch.float64, padding=1, scale=2.0):
    """Random sequences, the last `padding` positions of the last row padding, with the gradient of the logits on."""
    generator = torch.Generator().manual_seed(seed)
    clean = torch.randint(0, PAD, (rows, length), generator=generator)
    attention_mask = torch.ones_like(clean)
    if padding:
        clean[-1, -padding:], attention_mask[-1, -padding:] = PAD, 0
    masked = (torch.rand((rows, length), generator=generator) < 0.6) & attention_mask.bool()
    masked[:, 0] = True
    logits = (scale * torch.randn((rows, length, VOCAB), generator=generator, dtype=dtype)).requires_grad_()
    labels = clean.masked_fill(~masked, -100)
    loss_weights = masked / torch.rand((rows, 1), generator=generator).to(dtype).clamp(0.2) if weighted else None
    loss = token_cross_entropy(logits, labels, MASK)
    loss = loss if loss_weights is None else loss * loss_weights
    uniforms = torch.rand((rows, length), generator=generator)
    input_ids = clean.masked_fill(masked, MASK)
    return TokenLossBatch(loss, logits, labels, input_ids, attention_mask, loss_weights, uniforms, MASK, PAD)


class KnownScorer(CriticGPTForSequenceClassification):
    """Says what it was told to, which may lie outside of [0, 1], and remembers what it saw."""

    def forward(self, input_ids, attention_mask=None):
        self.seen = input_ids
        return SequenceClassifierOutput(logits=float64(self.scores)[:, None])


def scorer_config(**changes):
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "max_position_embeddings": 16}
    special = {"vocab_size": VOCAB, "num_labels": 1, "pad_token_id": PAD, "initializer_range": 0.5}
    return CriticGPTConfig(**{**shape, **special, **changes})


def known_judge(*scores, **fields):
    scorer = KnownScorer(scorer_config())
    scorer.scores = scores
    return JudgeWeight(model=scorer, **fields)


@pytest.fixture(scope="module")
def scorer():
    torch.manual_seed(3)
    return CriticGPTForSequenceClassification(scorer_config()).double()


def build(name, scorer):
    return JudgeWeight(model=scorer) if name == "judge_weight" else MODIFIERS[name]()


def gradient(loss, of):
    return torch.autograd.grad(loss.sum(), of, retain_graph=True)[0]


def means(metrics):
    return {name: (total / count).item() for name, (total, count) in metrics.items()}


# ---- known values: of the language model's modifiers ----


@pytest.mark.parametrize("weight", [None, 3.0])
def test_smoothing_spreads_its_share_over_the_other_ordinary_tokens(weight):
    rows = [(0, HALVES), (PAD, HALVES)]  # the padding as a truth keeps its one-hot target
    batch = hand_batch(rows, loss_weights=None if weight is None else [[weight] * 2])
    loss, metrics = LossModifiers([TargetSmoothing(0.3)]).modify_token_loss(batch, step=0)
    # 0.7 * ln 2 + 0.3 * (2 + 3 + 4) / 3 * ln 2
    bits = float64([[1.6, 4.0]]) * (weight or 1.0)
    torch.testing.assert_close(loss, bits * math.log(2))
    # Probability minus target; [MASK] has no part.
    expected = float64([0.5 - 0.7, 0.25 - 0.1, 0.125 - 0.1, 0.0625 - 0.1, 0.0625, 0.0])
    torch.testing.assert_close(gradient(loss, batch.logits)[0, 0], expected * (weight or 1.0))
    assert means(metrics) == pytest.approx({"target_smoothing/loss_change": 0.6 * math.log(2) / 2})


# Entropies off the true token, as shares of the largest: 1, 0, and 1 and 0 on average.
DOUBTS = ([(0, EVEN)], [(0, CERTAIN)], [(0, EVEN), None, (0, CERTAIN)])


def test_a_confident_mistake_weighs_more_than_an_even_doubt():
    batch = hand_batch(*DOUBTS)
    _, weights, metrics = EntropyWeight().modify(batch, 0)
    # 1 / 1, 1 / 0.1 and 1 / 0.5, then rescaled to the mean 1.
    torch.testing.assert_close(weights[:, 0], float64([1.0, 10.0, 2.0]) * 3 / 13)
    assert means(metrics) == pytest.approx({"entropy": 0.5, "weight": 13 / 3, "max_weight": 30 / 13})
    _, _, metrics = EntropyWeight().modify(hand_batch([(0, (0.1, 0.4, 0.2, 0.2, 0.1))]), 0)
    assert means(metrics)["entropy"] == pytest.approx(1.5 * math.log(2) / math.log(3))  # of 1/2, 1/4, 1/4


@pytest.mark.parametrize(
    ("weight", "threshold", "held"),
    [(3.0, 0.5, [3.0, 6.0, 6.0]), (500.0, 0.0, [500.0, 1000.0, 1000.0]), (1e-9, 0.1, [1e-8, 1e-8, 1e-8])],
)
def test_threshold_and_bounds_hold_back_the_weights_of_entropy(weight, threshold, held):
    _, weights, metrics = EntropyWeight(weight, threshold).modify(hand_batch(*DOUBTS), 0)
    assert means(metrics)["weight"] == pytest.approx(sum(held) / 3)
    torch.testing.assert_close(weights[:, 0], float64(held) * 3 / sum(held))


QUARTER, WHOLE, HALF = [(0, EVEN), None, None, None], [(0, EVEN)] * 4, [(0, EVEN), None]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, [2.0, 1.0, math.sqrt(2)]),
        ({"power": 1.0}, [4.0, 1.0, 2.0]),
        ({"power": 1.0, "min_weight": 1.5, "max_weight": 3.0}, [3.0, 1.5, 2.0]),
    ],
)
def test_the_mask_ratio_weight_falls_by_its_power_within_its_bounds(fields, expected):
    _, weights, metrics = MaskRatioWeight(**fields).modify(hand_batch(QUARTER, WHOLE, HALF), 0)
    torch.testing.assert_close(weights[:, 0], float64(expected))
    assert means(metrics)["weight"] == pytest.approx(sum(expected) / 3)


def test_the_expected_wrongness_has_its_known_values():
    known = float64([0.0, 0.198, 0.473, 0.8125, 0.973, 1.0])
    ratios = float64([0.0, 0.1, 0.25, 0.5, 0.75, 1.0])
    torch.testing.assert_close(expected_wrongness(ratios), known, atol=5e-4, rtol=0)


def test_a_judge_weighs_its_verdict_on_the_filling_against_what_is_expected():
    rows = [[(0, HALVES), None]] * 4
    batch = hand_batch(*rows, fill_uniforms=[[0.5, 0.0], [0.6, 0.0], [0.9, 0.0], [0.95, 0.0]])
    judge = known_judge(0.8125, 0.40625, 0.1625, 1.0)
    _, weights, metrics = judge.modify(batch, 0)
    torch.testing.assert_close(weights[:, 0], float64([1.0, 0.5, 0.2, 1 / 0.8125]))
    # 8/15, 4/15, 2/15 and 1/15 without padding and [MASK]: by inverse CDF each number draws another token.
    assert judge.model.seen.tolist() == [[0, 0], [1, 0], [2, 0], [3, 0]]
    wrongness = (0.8125 + 0.40625 + 0.1625 + 1.0) / 4
    figures = {"wrongness": wrongness, "expected_wrongness": 0.8125, "exponent": 1.0}
    assert means(metrics) == pytest.approx({**figures, "weight": wrongness / 0.8125})
    # A scorer without a sigmoid may say anything; the weight keeps within its bounds.
    _, weights, metrics = known_judge(-3.0, 3.0, 0.0, 0.5, exponent=0.5).modify(batch, 0)
    torch.testing.assert_close(weights[:, 0], float64([0.1, 0.8125**-0.5, 0.1, (0.5 / 0.8125) ** 0.5]))
    assert metrics["wrongness"][0] == 1.5


def test_the_judges_exponent_rises_between_two_steps_and_is_constant_without_them():
    ramp = known_judge(0.40625, exponent=2.0, ramp_start=10, ramp_end=20)
    assert [ramp.exponent_at(step) for step in (0, 10, 15, 20, 99)] == [0.0, 0.0, 1.0, 2.0, 2.0]
    assert known_judge(exponent=2.0).exponent_at(0) == 2.0
    batch = hand_batch([(0, HALVES), None])
    losses = [LossModifiers([ramp]).modify_token_loss(batch, step)[0] for step in (5, 15, 20)]
    assert [(loss / batch.token_loss)[0, 0].item() for loss in losses] == pytest.approx([1.0, 0.5, 0.25])


# ---- known values: of the scorer's modifiers ----


def row_batch(predictions, targets):
    predictions, targets = float64(predictions).requires_grad_(), float64(targets)
    return RowLossBatch((predictions - targets) ** 2, predictions, targets)


NARROW, WIDE = [0.6, 0.4, 0.5], [0.4, 0.3, 0.8]  # a ratio of variances of 7, and no correlation
SEVENFOLD = 2 - math.exp(-1.5 * 6)


@pytest.mark.parametrize(
    ("modifier", "predictions", "targets", "figure", "factor"),
    [
        (SequenceVariance(), NARROW, WIDE, 7.0, SEVENFOLD),
        (SequenceVariance(3.0, 0.1), NARROW, WIDE, 7.0, 3 - 2 * math.exp(-0.6)),
        (SequenceVariance(), WIDE, NARROW, 1 / 7, 1.0),  # scores that vary more than the targets are left alone
        (SequenceCorrelation(), [0.1, 0.5, 0.9], [0.1, 0.5, 0.9], 1.0, 1.0),
        (SequenceCorrelation(), [0.1, 0.5, 0.9], [0.9, 0.5, 0.1], -1.0, 4.0),
        (SequenceCorrelation(), [0.5, 0.1, 0.5], [0.1, 0.5, 0.9], 0.0, 2.0),
        (SequenceCorrelation(), [0.1, 0.3, 0.2], [0.0, 0.5, 1.0], 0.5, 1.375),  # 0.5 r^2 - 1.5 r + 2
        (SequenceCorrelation(9.0), [0.5, 0.1, 0.5], [0.1, 0.5, 0.9], 0.0, 3.0),
    ],
    ids=lambda one: one.name if hasattr(one, "name") else None,
)
def test_a_factor_on_the_scorers_loss_has_its_known_value_and_is_a_number(
    modifier, predictions, targets, figure, factor
):
    batch = row_batch(predictions, targets)
    loss, metrics = LossModifiers([modifier]).modify_row_loss(batch, step=0)
    torch.testing.assert_close(loss, batch.row_loss * factor)
    name = "variance_ratio" if modifier.name == "sequence_variance" else "correlation"
    known = {f"{modifier.name}/{name}": figure, f"{modifier.name}/factor": factor}
    assert means(metrics) == pytest.approx(known, abs=1e-9)
    plain = gradient(batch.row_loss, batch.predictions)
    torch.testing.assert_close(gradient(loss, batch.predictions), plain * factor)


@pytest.mark.parametrize("order", [1, -1])
def test_factors_on_the_scorers_loss_are_multiplied(order):
    batch = row_batch(NARROW, WIDE)
    modifiers = LossModifiers([SequenceVariance(), SequenceCorrelation()][::order])
    loss, metrics = modifiers.modify_row_loss(batch, step=0)
    correlation = means(metrics)["sequence_correlation/correlation"]
    torch.testing.assert_close(loss, batch.row_loss * SEVENFOLD * (0.5 * correlation**2 - 1.5 * correlation + 2))
    assert len(metrics) == 4


@pytest.mark.parametrize("constant", ["predictions", "targets", "both", "a single row"])
def test_scores_or_targets_that_do_not_vary_divide_nothing_by_zero(constant):
    flat, rising = [0.7] * 1000, torch.linspace(0, 1, 1000).tolist()  # equal, but no round number
    predictions = rising if constant == "targets" else flat
    targets = rising if constant == "predictions" else flat
    num = 1 if constant == "a single row" else 1000
    batch = RowLossBatch(torch.ones(num), torch.tensor(predictions[:num]), torch.tensor(targets[:num]))
    for modifier, figure in ((SequenceVariance(), "variance_ratio"), (SequenceCorrelation(), "correlation")):
        loss, metrics = LossModifiers([modifier]).modify_row_loss(batch, step=0)
        # A ratio of variances is immense, or zero.
        factor = 2.0 if constant == "predictions" and figure == "variance_ratio" else 1.0
        torch.testing.assert_close(loss, batch.row_loss * factor)
        assert metrics[f"{modifier.name}/factor"][0].item() == pytest.approx(factor)
        if num == 1:
            assert metrics[f"{modifier.name}/{figure}"][1] == 0


@pytest.mark.parametrize("scale", [1e-30, 1e-6, 1.0])
def test_the_correlation_does_not_depend_on_how_far_scores_spread(scale):
    batch = RowLossBatch(torch.ones(3), scale * torch.tensor([1.0, 3.0, 2.0]), torch.tensor([0.0, 0.5, 1.0]))
    _, metrics = LossModifiers([SequenceCorrelation()]).modify_row_loss(batch, step=0)
    assert metrics["sequence_correlation/correlation"][0].item() == pytest.approx(0.5, rel=1e-5)


# ---- laws ----


@given(st.lists(st.sampled_from(TOKEN_MODIFIERS), unique=True, min_size=1), st.booleans(), st.integers(0, 99))
@settings(max_examples=60, deadline=None)
def test_modifiers_compose_in_every_order_and_none_is_lost(scorer, names, weighted, seed):
    batch = token_batch(seed, weighted=weighted)
    modifiers = [build(name, scorer) for name in names]
    loss, metrics = LossModifiers(modifiers).modify_token_loss(batch, step=0)
    # The softer target, if any, times the weights that each gives alone: numbers, as far as the gradient goes.
    alone = [one.modify(batch, 0) for one in modifiers]
    token_losses = [one for one, _, _ in alone if one is not None]
    expected = batch.token_loss
    if token_losses:
        expected = token_losses[0] * (1.0 if batch.loss_weights is None else batch.loss_weights)
    for _, weights, _ in alone:
        if weights is not None:
            assert weights.std() > 0 and not weights.requires_grad
            expected = expected * weights
    torch.testing.assert_close(loss, expected)
    torch.testing.assert_close(gradient(loss, batch.logits), gradient(expected, batch.logits))
    assert {key.split("/")[0] for key in metrics} == set(names), "each reports its own figures"


@given(seed=st.integers(0, 1000), rows=st.integers(1, 5), scale=st.sampled_from([0.0, 1.0, 30.0, 300.0]))
@settings(max_examples=60, deadline=None)
def test_weights_are_finite_keep_within_their_bounds_and_those_of_entropy_have_the_mean_one(scorer, seed, rows, scale):
    batch = token_batch(seed, rows, scale=scale, dtype=torch.float32)
    for name in ("entropy", "mask_ratio_weight", "target_smoothing"):
        modified, metrics = LossModifiers([MODIFIERS[name]()]).modify_token_loss(batch, step=0)
        slope = gradient(modified, batch.logits)
        assert modified.isfinite().all() and slope.isfinite().all() and not slope[..., MASK].any()
        assert all(total.isfinite() and count.isfinite() for total, count in metrics.values())
        assert not modified[batch.labels == -100].any()
    _, weights, _ = EntropyWeight().modify(batch, 0)
    torch.testing.assert_close(weights.sum(), torch.tensor(float(rows)))
    for modifier in (MaskRatioWeight(4.0, 0.5, 2.0), JudgeWeight(scorer, 3.0, min_weight=0.5, max_weight=2.0)):
        _, weights, _ = modifier.modify(batch, 0)
        assert weights.amin() >= 0.5 and weights.amax() <= 2.0


def test_a_single_sequence_is_left_alone_by_statistics_of_a_batch():
    batch = token_batch(rows=1, padding=0)
    modified, _ = LossModifiers([EntropyWeight()]).modify_token_loss(batch, step=0)
    torch.testing.assert_close(modified, batch.token_loss)


def test_a_sequence_without_a_supervised_token_changes_no_other_and_has_no_loss(scorer):
    batch = token_batch()
    empty = {"labels": -100, "input_ids": 0, "logits": 1, "token_loss": 0, "attention_mask": 1, "loss_weights": 0}
    row = {name: torch.full_like(getattr(batch, name)[:1], value) for name, value in empty.items()}
    row["fill_uniforms"] = batch.fill_uniforms[:1]
    longer = batch._replace(**{name: torch.cat([getattr(batch, name), added]) for name, added in row.items()})
    for name in TOKEN_MODIFIERS:
        modifiers = LossModifiers([build(name, scorer)])
        with_it, metrics = modifiers.modify_token_loss(longer, step=0)
        without, own = modifiers.modify_token_loss(batch, step=0)
        torch.testing.assert_close(with_it[:-1], without)
        assert not with_it[-1].any() and means(metrics) == pytest.approx(means(own))
        if name == "judge_weight":  # a ratio of 0, at which nothing wrong is expected
            assert modifiers.modifiers[0].modify(longer, 0)[1][-1] == 1


def test_padding_changes_no_loss(scorer):
    batch = token_batch(padding=0)
    values = {"labels": -100, "input_ids": PAD, "token_loss": 0, "attention_mask": 0, "loss_weights": 0}
    wide = {name: pad(getattr(batch, name), (0, 2), value=value) for name, value in values.items()}
    wide |= {"logits": pad(batch.logits, (0, 0, 0, 2)), "fill_uniforms": pad(batch.fill_uniforms, (0, 2), value=0.5)}
    modifiers = LossModifiers([build(name, scorer) for name in TOKEN_MODIFIERS])
    padded, plain = (modifiers.modify_token_loss(one, step=0)[0] for one in (batch._replace(**wide), batch))
    torch.testing.assert_close(padded[:, :-2], plain, rtol=1e-9, atol=1e-9)


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
    slopes = [gradient(loss, one.logits) for loss, one in zip(losses, (batch, moved), strict=True)]
    torch.testing.assert_close(slopes[0][..., order], slopes[1])


@pytest.mark.parametrize("rows", [1, 3])
def test_no_figure_depends_on_the_data_for_its_existence_and_no_number_is_read_back(scorer, rows):
    """Tensors without data: reading one, or branching on one, is an error. Processes add figures up by their names."""
    judge = CriticGPTForSequenceClassification(scorer.config).to("meta")
    batch = token_batch(rows=rows, dtype=torch.float32)
    batch = TokenLossBatch(*(x.detach().to("meta") if isinstance(x, torch.Tensor) else x for x in batch))
    metrics = {}
    for name in TOKEN_MODIFIERS:
        # With padding, Transformers' own attention reads the mask back, in the judge as in the model that is trained.
        given_mask = batch._replace(attention_mask=None) if name == "judge_weight" else batch
        modified, own = LossModifiers([build(name, judge)]).modify_token_loss(given_mask, step=0)
        assert modified.shape == batch.labels.shape
        metrics |= own
    scores = RowLossBatch(*(torch.rand(rows).to("meta") for _ in range(3)))
    _, own = LossModifiers([SequenceVariance(), SequenceCorrelation()]).modify_row_loss(scores, step=0)
    assert (len(metrics), len(own)) == (9, 4)
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


# ---- the judge ----


def test_the_judge_is_frozen_in_evaluation_mode_and_goes_where_it_is_sent():
    judge = CriticGPTForSequenceClassification(scorer_config()).train()
    modifiers = LossModifiers([EntropyWeight(), JudgeWeight(model=judge)])
    assert not judge.training and not any(parameter.requires_grad for parameter in judge.parameters())
    assert not isinstance(modifiers, torch.nn.Module), "or a model could save or train it"
    assert modifiers.to("meta") is modifiers
    assert {parameter.device.type for parameter in judge.parameters()} == {"meta"}


def test_without_draws_in_the_batch_a_judge_meets_fillings_from_the_global_generator(scorer):
    batch, judge = token_batch(), JudgeWeight(model=scorer)
    torch.manual_seed(5)
    drawn = judge.modify(batch._replace(fill_uniforms=torch.rand(batch.labels.shape)), 0)[1]
    torch.manual_seed(5)
    assert torch.equal(judge.modify(batch._replace(fill_uniforms=None), 0)[1], drawn)
    assert not torch.equal(judge.modify(batch._replace(fill_uniforms=None), 0)[1], drawn)


def test_a_judge_that_cannot_judge_is_refused(tmp_path):
    def judge(cls=CriticGPTForSequenceClassification, **changes):
        return JudgeWeight(model=cls(scorer_config(**changes)).double())

    with one_sentence("one score a sequence, got one of 3 labels"):
        judge(num_labels=3)
    with one_sentence("must know all 6 tokens", "one for 5"):
        judge(vocab_size=VOCAB - 1).modify(token_batch(), 0)
    with one_sentence("`model` of judge_weight must take the sequences of the model it judges"):
        judge(max_position_embeddings=5).modify(token_batch(), 0)
    CriticGPTForTokenClassification(scorer_config()).save_pretrained(tmp_path / "tokens")
    with one_sentence("must be a trained scorer, got", "tokens', which lacks score"):
        JudgeWeight(model=str(tmp_path / "tokens"))


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


def test_a_file_is_one_of_the_language_model_unless_told_otherwise(tmp_path):
    (tmp_path / "a.json").write_text(json.dumps({"modifiers": [{"name": "sequence_variance"}]}))
    with pytest.raises(ValueError, match=r"task language_model, got sequence_variance.*choose among target_smoothing"):
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
