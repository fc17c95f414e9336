# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import json
from itertools import pairwise
from types import SimpleNamespace

import pytest
import torch
from transformers import GenerationConfig
from transformers.generation import LogitsProcessor, LogitsProcessorList

from critic_gpt import (
    CriticCalibration,
    CriticGPTConfig,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticGPTGenerationConfig,
)
from critic_gpt.diffusion.selection import resolve_remasking
from critic_gpt.generation import canvas as denoising
from critic_gpt.generation import configuration as generation_configuration
from critic_gpt.generation import run as denoising_run
from critic_gpt.generation import settings as generation_settings
from critic_gpt.generation.strategies.registry import STRATEGIES as STRATEGY_CLASSES


PAD, MASK, EOS, VOCAB, POSITIONS = 0, 1, 2, 12, 24
M, P = MASK, PAD
STRATEGIES = list(STRATEGY_CLASSES)
# Two families of the registry, and one or more strategies of each of its modules.
ONE_PASS, FILL_ALL = ["critic", "none"], ["external", "critic_full", "confidence", "random"]
EACH_KIND = [*ONE_PASS, *FILL_ALL, "multinomial", "remdm_conf", "proseco"]
QUALITY = ["expected_errors", "error_mean", "error_p10", "error_p50", "error_p90", "self_log_probability"]


def config(**fields):
    size = {"vocab_size": VOCAB, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
    tokens = {"mask_token_id": MASK, "pad_token_id": PAD}
    # Large weights, so that an untrained model has opinions.
    return CriticGPTConfig(
        **{**size, **tokens, "max_position_embeddings": POSITIONS, "initializer_range": 0.4, **fields}
    )


def build(critic=True, trained=True, dtype=torch.float64, **fields):
    torch.manual_seed(0)
    model = CriticGPTForMaskedLM(config(add_critic_head=critic, **fields)).to(dtype).eval()
    if critic and trained:
        torch.nn.init.normal_(model.critic_head.weight, std=1.0)
    return model


@pytest.fixture(scope="module")
def model():
    """With a trained critic, in float64, where batches of any size give the same numbers."""
    return build()


@pytest.fixture
def warnings(monkeypatch):
    """What the modules of generation warn about in this test."""
    messages = []
    recorder = SimpleNamespace(warning_once=messages.append, warning=messages.append, info=lambda message: None)
    for module in (generation_settings, denoising, denoising_run, generation_configuration):
        monkeypatch.setattr(module, "logger", recorder)
    return messages


def judge(input_ids, attention_mask):
    """An external re-masking model: some tokens are better than others."""
    return torch.sin(3.0 * input_ids.double()) + 0.01 * torch.arange(input_ids.shape[1])


def arguments(strategy):
    return {"remasking": strategy, **({"remasking_model": judge} if strategy == "external" else {})}


canvas = torch.tensor([[5, M, M, 6, M, M, M, 7, M, M, M, M], [M] * 12])
mixed = [
    [5, M, M, 6, M, M, M, 7],
    [M] * 11,
    [4, 5, 6],
    [M, 9, 9],
    [3, M, M, M, M, 5, M, M, M, M, M, 7],
]
every_strategy = pytest.mark.parametrize("strategy", STRATEGIES)
every_kind = pytest.mark.parametrize("strategy", EACH_KIND)


def padded(rows):
    longest = max(map(len, rows))
    return torch.tensor([row + [PAD] * (longest - len(row)) for row in rows])


# ---- what every strategy keeps to ----


@every_strategy
@pytest.mark.parametrize("num_steps", [1, 2, 5, 15])
def test_every_strategy_fills_every_mask_and_leaves_given_tokens_alone(model, strategy, num_steps):
    before = canvas.clone()
    output = model.generate(canvas, num_steps=num_steps, seed=3, **arguments(strategy))
    assert torch.equal(canvas, before)
    assert not torch.isin(output.sequences[canvas == MASK], torch.tensor([MASK, PAD])).any()
    assert torch.equal(output.sequences[canvas != MASK], canvas[canvas != MASK])


@every_strategy
@pytest.mark.parametrize("num_steps", [1, 6])
def test_the_reported_forward_passes_are_those_a_hook_counts(model, strategy, num_steps):
    calls = []
    hook = model.model.register_forward_hook(lambda *_: calls.append(1))
    try:
        for judged in (False, True):
            calls.clear()
            output = model.generate(
                canvas, num_steps=num_steps, seed=3, return_error_probabilities=judged, **arguments(strategy)
            )
            twice = strategy in ("critic_full", "token_critic")
            corrections = num_steps // 4 if strategy == "proseco" else 0
            assert output.forward_passes == (2 * num_steps - 1 if twice else num_steps + corrections)
            assert output.scoring_passes == int(judged)
            assert len(calls) == output.forward_passes + output.scoring_passes
    finally:
        hook.remove()


batch_cases = [{"remasking": name} for name in STRATEGIES] + [
    {"remasking": "critic", "remask_per_step": 3, "unmasking": "entropy"},
    {"remasking": "critic", "error_threshold": 0.6, "unmasking": "margin"},
    {"remasking": "critic", "randomness_strength": 0.5, "unmasking": "random"},
    {"remasking": "critic_full", "error_threshold": 0.6},
    {"remasking": "confidence", "randomness_strength": 0.3, "top_p": 0.9, "temperature": 0.7},
    {"remasking": "none", "unmasking": "left_to_right", "top_k": 3, "schedule": "cosine"},
    {"remasking": "critic", "remask_selection": "gumbel"},
    {"remasking": "confidence", "remask_selection": "gumbel", "selection_temperature": 0.5},
]


@pytest.mark.parametrize("side", ["left", "right"])
@pytest.mark.parametrize("case", batch_cases, ids=lambda case: "-".join(map(str, case.values())))
def test_a_batch_equals_its_rows_one_by_one(model, case, side):
    case = {**case, **arguments(case["remasking"]), "num_steps": 6}
    numbers = [10, 20, 30, 40, 50]
    ids = padded(mixed)
    # Stable: the padding moves to the front and the tokens keep their order.
    order = (ids != PAD).long().argsort(dim=-1, descending=side == "right", stable=True)
    batch = model.generate(ids.gather(-1, order), seed=numbers, **case)
    back = (batch.sequences == PAD).long().argsort(dim=-1, stable=True)
    batch.sequences = batch.sequences.gather(-1, back)
    batch.error_probabilities = batch.error_probabilities.gather(-1, back)
    for i, row in enumerate(mixed):
        ids = torch.tensor([row])
        # The row without a [MASK] would be refused alone, unless it says so.
        alone = model.generate(ids, seed=[numbers[i]], protected_mask=ids != MASK, **case)
        assert torch.equal(alone.sequences[0], batch.sequences[i, : len(row)])
        assert torch.equal(alone.error_probabilities[0], batch.error_probabilities[i, : len(row)])
        for name in QUALITY:
            torch.testing.assert_close(alone[name][0], batch[name][i], equal_nan=True)
        assert (batch.sequences[i, len(row) :] == PAD).all()
        assert not batch.error_probabilities[i, len(row) :].any()


@every_kind
@pytest.mark.parametrize("side", ["left", "right"])
def test_prefixes_of_different_lengths_are_continued_as_they_would_be_alone(model, strategy, side):
    rows = [[5, 6, 7, 8], [9, 4]]
    ids = padded(rows) if side == "right" else torch.tensor([rows[0], [PAD, PAD, *rows[1]]])
    case = {"max_new_tokens": 5, "num_steps": 4, **arguments(strategy)}
    batch = model.generate(ids, seed=[1, 2], **case).sequences
    for i, row in enumerate(rows):
        alone = model.generate(torch.tensor([row]), seed=[i + 1], **case).sequences[0]
        assert alone[: len(row)].tolist() == row and len(alone) == len(row) + 5
        assert torch.equal(alone, batch[i, : len(alone)])
        assert (batch[i, len(alone) :] == PAD).all()


@every_strategy
def test_the_same_seed_gives_the_same_result_and_another_another(model, strategy):
    def sequences(**source):
        return model.generate(canvas, num_steps=4, **source, **arguments(strategy)).sequences

    assert torch.equal(sequences(seed=1), sequences(seed=1))
    assert not torch.equal(sequences(seed=1), sequences(seed=2))
    drawn = [sequences(generator=torch.Generator().manual_seed(number)) for number in (7, 7, 8)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    torch.manual_seed(4)
    first = sequences()
    assert not torch.equal(sequences(), first)
    torch.manual_seed(4)
    assert torch.equal(sequences(), first)


@every_strategy
def test_rows_of_one_seed_differ_and_rows_of_equal_seeds_agree(model, strategy):
    ids = torch.full((2, 12), MASK)
    one, two = model.generate(ids, seed=5, num_steps=4, **arguments(strategy)).sequences
    assert not torch.equal(one, two)
    one, two = model.generate(ids, seed=[5, 5], num_steps=4, **arguments(strategy)).sequences
    assert torch.equal(one, two)


@every_strategy
def test_protected_positions_never_change_and_drafts_are_revised_elsewhere(model, strategy):
    draft = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 3, 4, 5], [5, M, M, M, 9, 10, 11, 3, 4, 5]])
    protected = torch.zeros_like(draft, dtype=torch.bool)
    protected[:, [0, 4, 9]] = True
    output = model.generate(
        draft, protected_mask=protected, num_steps=8, seed=0, return_history=True, **arguments(strategy)
    )
    assert torch.equal(output.sequences[protected], draft[protected])
    assert not (output.sequences == MASK).any()
    for step in output.history:
        assert torch.equal(step.input_ids[protected], draft[protected])
        assert not (step.remasked & protected).any()
    touched = torch.stack([step.remasked for step in output.history]).any(dim=0)
    # The first takes what the model says where it stands, the second masks by chance, of which little is left at the
    # default rate and so few steps.
    revises = strategy not in ("none", "multinomial", "proseco", "remdm_loop")
    assert bool(touched[0].any()) == revises, "a draft without a [MASK] is revised as well"
    if strategy in ("multinomial", "proseco"):
        assert not torch.equal(output.sequences[0], draft[0])


@every_strategy
def test_a_canvas_where_nothing_may_change_comes_back_as_it_is(model, strategy):
    everything = torch.ones_like(canvas, dtype=torch.bool)
    output = model.generate(canvas, protected_mask=everything, num_steps=3, seed=0, **arguments(strategy))
    assert torch.equal(output.sequences, canvas)
    assert output.expected_errors.tolist() == [0, 0]


@every_kind
def test_a_model_without_padding_generates(strategy):
    model = build(pad_token_id=None)
    output = model.generate(canvas, num_steps=3, seed=0, **arguments(strategy))
    assert not (output.sequences == MASK).any()
    ids, attention_mask = torch.tensor([[9, 9, 5], [6, 7, 8]]), torch.tensor([[0, 0, 1], [1, 1, 1]])
    case = {"max_new_tokens": 4, "num_steps": 3, **arguments(strategy)}
    batch = model.generate(ids, attention_mask=attention_mask, seed=[1, 2], **case).sequences
    assert torch.equal(batch[0, :5], model.generate(torch.tensor([[5]]), seed=[1], **case).sequences[0])


@every_kind
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32])
def test_every_precision_generates(strategy, dtype):
    output = build(dtype=dtype).generate(
        canvas, num_steps=4, seed=0, top_p=0.9, temperature=0.8, **arguments(strategy)
    )
    assert not torch.isin(output.sequences, torch.tensor([MASK, PAD])).any()
    assert output.error_probabilities.dtype == torch.float32


@pytest.mark.parametrize("strategy", ["critic", "critic_full"])
def test_a_row_of_padding_alone_does_no_harm(model, strategy):
    ids = torch.cat([canvas, torch.full((1, 12), PAD)])
    output = model.generate(ids, num_steps=4, seed=[1, 2, 3], remasking=strategy)
    assert (output.sequences[2] == PAD).all()
    assert torch.equal(output.sequences[:2], model.generate(canvas, num_steps=4, seed=[1, 2], remasking=strategy)[0])


# ---- history ----


@every_strategy
def test_the_history_tells_what_happened(model, strategy):
    num_steps = 7
    output = model.generate(canvas, num_steps=num_steps, seed=3, return_history=True, **arguments(strategy))
    history = output.history
    assert len(history) == num_steps
    assert torch.equal(history[0].input_ids, canvas)
    assert torch.equal(history[-1].filled, output.sequences)
    assert not history[-1].remasked.any()
    for now, after in pairwise(history):
        assert (after.input_ids[now.remasked] == MASK).all()
        assert torch.equal(after.input_ids, now.filled.masked_fill(now.remasked, MASK))
        assert not (now.remasked & (canvas != MASK)).any(), "given tokens"
    if strategy in (*ONE_PASS, "prism", "proseco", "backtrack") or strategy.startswith("remdm"):
        assert not history[0].remasked.any()
        for now in history:
            assert not (now.remasked & (now.input_ids == MASK)).any(), "only visible tokens are judged"
            assert torch.equal(now.filled[now.remasked], now.input_ids[now.remasked])
    else:
        assert not any((now.filled == MASK).any() for now in history)
    judged = [now.error_probabilities is not None for now in history]
    guided = {name: [True] * 7 for name in ("critic", "prism", "backtrack")}
    guided |= {name: [True] * 6 + [False] for name in ("critic_full", "token_critic")}
    assert judged == guided.get(strategy, [False] * 7)


def test_a_one_pass_step_masks_exactly_k_tokens_again_where_there_is_room(model):
    ids = torch.full((1, 20), MASK)
    for k in (0, 1, 3):
        settings = {"remask_per_step": k, "schedule": "linear"}
        history = model.generate(
            ids, remasking="critic", num_steps=10, seed=0, return_history=True, **settings
        ).history
        for step, now in enumerate(history):
            # After each step 2 more tokens are visible; the tokens masked again count among those that are not.
            room = 20 - 2 * (step + 1)
            assert now.remasked.sum() == (0 if step in (0, 9) else min(k, room, 2 * step))
            assert (now.input_ids != MASK).sum() == 2 * step


def test_the_critic_reveals_early_by_default_and_masks_a_share_of_the_masks_again_and_plain_unmasking_is_linear(model):
    ids = torch.full((2, 20), MASK)

    def generate(**arguments):
        return model.generate(ids, num_steps=6, seed=0, **arguments).sequences

    own = generate(remasking="critic", remask_per_step=0.2, schedule="root", remask_by="alternative")
    assert torch.equal(generate(remasking="critic"), own)
    assert not torch.equal(generate(remasking="critic", schedule="linear"), own)
    assert torch.equal(generate(remasking="none"), generate(remasking="none", schedule="linear"))


def test_a_one_pass_step_masks_the_worst_visible_tokens_again(model):
    history = model.generate(
        canvas, remasking="critic", num_steps=6, remask_per_step=2, remask_by="error", seed=0, return_history=True
    ).history
    for now in history[1:-1]:
        visible = (canvas == MASK) & (now.input_ids != MASK)
        worst = now.error_probabilities.masked_fill(~now.remasked, 2).amin(-1)
        spared = now.error_probabilities.masked_fill(~visible | now.remasked, -1).amax(-1)
        assert (worst >= spared).all()


@pytest.mark.parametrize("strategy", FILL_ALL)
def test_a_fill_all_step_masks_the_scheduled_share_again(model, strategy):
    ids = torch.tensor([[5, 6] + [M] * 18])
    history = model.generate(
        ids, num_steps=4, schedule=[1.0, 0.5, 0.29, 0.1], seed=0, return_history=True, **arguments(strategy)
    ).history
    assert [int(now.remasked.sum()) for now in history] == [9, 5, 1, 0]


def test_more_steps_than_masks_run_exactly_so_many_passes(model):
    ids = torch.tensor([[5, M, 6, M]])
    for strategy in ONE_PASS:
        output = model.generate(ids, remasking=strategy, num_steps=9, seed=0, return_history=True)
        assert output.forward_passes == len(output.history) == 9
        assert not (output.sequences == MASK).any()


# ---- thresholds ----


def graded(model, wrong):
    """The model with a table that calls scores of the upper half wrong with this probability."""
    model.calibration = CriticCalibration([0.0] * 50 + [wrong] * 50)
    return model


def test_a_one_pass_threshold_masks_every_visible_token_above_it_again():
    model = graded(build(), 0.8)
    ids = torch.full((3, 20), MASK)
    history = model.generate(
        ids, remasking="critic", num_steps=6, error_threshold=0.5, schedule="linear", seed=0, return_history=True
    ).history
    seen = 0
    for step, now in enumerate(history[1:-1], start=1):
        bad = (now.input_ids != MASK) & (now.error_probabilities > 0.5)
        room = 20 - 20 * (step + 1) // 6
        assert torch.equal(now.remasked.sum(-1), bad.sum(-1).clamp(max=room))
        assert not (now.remasked & ~bad).any()
        seen += int(bad.sum())
    assert seen > 0


def test_a_fill_all_threshold_stops_early_once_nothing_lies_above():
    model = graded(build(), 0.8)
    output = model.generate(canvas, remasking="critic_full", num_steps=50, error_threshold=0.9, seed=0)
    assert output.forward_passes == 2, "one pass to fill, one to judge"
    output = model.generate(
        canvas, remasking="critic_full", num_steps=50, error_threshold=0.5, seed=0, return_history=True
    )
    assert output.forward_passes == 2 * len(output.history) - (len(output.history) == 50)
    for now in output.history[:-1]:
        bad = (now.error_probabilities > 0.5) & (canvas == MASK)
        assert torch.equal(now.remasked, bad)
    assert not (output.sequences == MASK).any()


def test_a_threshold_of_the_models_own_means_nothing_to_chance(model):
    plain = model.generate(canvas, remasking="random", num_steps=4, seed=0)
    model = build()
    model.generation_config.error_threshold = 0.5
    assert torch.equal(model.generate(canvas, remasking="random", num_steps=4, seed=0).sequences, plain.sequences)


# ---- who judges ----


@pytest.mark.parametrize(
    ("ids", "found"),
    [
        (torch.full((1, 4), 1000), "torch.int64 from 1000 to 1000"),
        (torch.tensor([[MASK, -1]]), "torch.int64 from -1 to "),
        (torch.full((1, 4), float(MASK)), "torch.float32 from "),
    ],
)
def test_ids_that_are_none_of_the_models_are_refused(model, ids, found):
    with pytest.raises(ValueError, match=rf"`input_ids` must be whole numbers in \[0, vocab_size .*, got {found}"):
        model.generate(ids, max_new_tokens=2)


@pytest.mark.parametrize("field", [{"schedule": "cosine"}, {"start_ratio": 0.5}, {"end_ratio": 0.1}])
def test_a_schedule_beside_a_threshold_is_refused_where_all_masks_are_filled(model, field):
    name = next(iter(field))
    with pytest.raises(ValueError, match=f"`{name}` has no meaning beside `error_threshold=0.5`"):
        model.generate(canvas, remasking="critic_full", error_threshold=0.5, **field)


def strategy_of(model, monkeypatch, **given_arguments):
    """The strategy that `auto` comes down to, seen where it is decided, and the output."""
    names = []

    def record(*args, **kwargs):
        names.append(resolve_remasking(*args, **kwargs))
        return names[-1]

    monkeypatch.setattr(generation_settings, "resolve_remasking", record)
    output = model.generate(canvas, num_steps=2, seed=0, **given_arguments)
    return names[0], output


def test_auto_takes_external_then_a_trained_critic_then_confidence(monkeypatch):
    name, output = strategy_of(build(), monkeypatch, remasking_model=judge)
    assert name == "external" and output.error_probabilities is not None
    assert strategy_of(build(), monkeypatch)[0] == "critic"
    for model in (build(trained=False), build(critic=False)):
        name, output = strategy_of(model, monkeypatch)
        assert name == "confidence"
        assert output.error_probabilities is None and output.expected_errors is None
        assert output.scoring_passes == 0


def test_a_token_classifier_judges_as_external_model(model):
    torch.manual_seed(1)
    classifier = CriticGPTForTokenClassification(config(num_labels=2)).double().eval()
    output = model.generate(canvas, remasking_model=classifier, num_steps=4, seed=0)
    assert output.forward_passes == 4 and not (output.sequences == MASK).any()


def test_confidence_judges_the_tokens_of_a_draft_and_not_others(model):
    draft = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 3, 4, 5]])
    protected = torch.zeros_like(draft)
    history = model.generate(
        draft,
        protected_mask=protected,
        remasking="confidence",
        num_steps=2,
        end_ratio=0.3,
        seed=0,
        return_history=True,
    ).history
    logits = model(input_ids=draft).logits
    logits[..., [PAD, MASK]] = float("-inf")
    confidence = logits.softmax(-1).gather(-1, draft[..., None])[0, :, 0]
    assert set(history[0].remasked[0].nonzero().flatten().tolist()) == set(confidence.argsort()[:3].tolist())


def test_a_critic_without_a_table_or_without_training_is_warned_about(warnings):
    build(trained=False).generate(canvas, num_steps=2, seed=0)
    assert len(warnings) == 1 and "has not been trained" in warnings.pop()
    for case in ({}, {"remasking": "critic_full"}, {"remasking": "none"}):
        build().generate(canvas, num_steps=2, seed=0, **case)
        assert len(warnings) == 1 and "not calibrated" in warnings.pop()
    build().generate(canvas, num_steps=2, seed=0, remasking="none", return_error_probabilities=False)
    graded(build(), 0.5).generate(canvas, num_steps=2, seed=0)
    build(critic=False).generate(canvas, num_steps=2, seed=0)
    assert warnings == []


@every_kind
def test_error_probabilities_come_from_the_models_table_and_add_up(strategy):
    table = [i / 200 for i in range(100)]
    model = build()
    model.calibration = CriticCalibration(table)
    output = model.generate(canvas, num_steps=4, seed=0, **arguments(strategy))
    logits = model(input_ids=output.sequences).critic_logits
    expected = model.calibration.error_probability(logits).masked_fill(canvas != MASK, 0.0)
    assert torch.equal(output.error_probabilities, expected)
    assert not output.error_probabilities[canvas != MASK].any()
    assert set(output.error_probabilities.flatten().tolist()) <= set(table)
    torch.testing.assert_close(output.expected_errors, output.error_probabilities.sum(-1))


# ---- how good a row is ----


@pytest.mark.parametrize("strategy", [name for name in STRATEGIES if name not in ("proseco", "backtrack")])
def test_the_self_number_is_the_mean_logarithm_of_each_token_when_it_was_last_drawn(model, strategy):
    draft = torch.tensor([[5, M, M, 9, 10, M, 11, M], [M] * 8])
    protected = torch.zeros_like(draft, dtype=torch.bool)
    protected[0, 0] = True
    output = model.generate(
        draft, protected_mask=protected, num_steps=5, seed=2, return_history=True, **arguments(strategy)
    )
    last = torch.full(draft.shape, float("nan"), dtype=torch.float64)
    for now in output.history:
        logits = model(input_ids=now.input_ids).logits
        logits[..., [PAD, MASK]] = float("-inf")
        probability = logits.softmax(-1).gather(-1, now.filled[..., None]).squeeze(-1).log()
        # A token that is drawn in place of another differs from it.
        drawn = now.filled != now.input_ids
        last = torch.where(~protected if strategy == "multinomial" else drawn, probability, last)
    torch.testing.assert_close(output.self_log_probability, last.nanmean(-1))


def test_the_self_number_is_that_of_the_model_before_temperature_and_truncation(model):
    ids = torch.tensor([[5, M, 6]])
    output = model.generate(ids, num_steps=1, temperature=0.3, top_k=1, seed=0)
    logits = model(input_ids=ids).logits[0, 1]
    logits[[PAD, MASK]] = float("-inf")
    assert output.self_log_probability.item() == pytest.approx(logits.log_softmax(-1).max().item())


@every_kind
def test_the_critics_numbers_are_those_of_the_generated_tokens_alone(model, strategy):
    output = model.generate(canvas, num_steps=4, seed=0, **arguments(strategy))
    for row in range(2):
        generated = output.error_probabilities[row][canvas[row] == MASK]
        assert output.error_mean[row].item() == pytest.approx(generated.mean().item())
        assert output.expected_errors[row].item() == pytest.approx(generated.sum().item())
        for name, quantile in (("error_p10", 0.1), ("error_p50", 0.5), ("error_p90", 0.9)):
            assert output[name][row].item() == pytest.approx(generated.quantile(quantile).item())
    assert all(output[name].shape == (2,) for name in QUALITY)


def test_without_a_critic_or_a_judge_there_are_none_of_their_numbers():
    for model in (build(critic=False), build(trained=False)):
        output = model.generate(canvas, num_steps=2, seed=0)
        assert all(getattr(output, name) is None for name in QUALITY[:-1]) and output.judge_wrongness is None
        assert output.self_log_probability.shape == (2,) and output.judge_passes == 0


def test_a_row_without_generated_tokens_has_sums_of_zero_and_no_means(model):
    ids = torch.tensor([[5, M, M], [6, 7, 8]])
    output = model.generate(ids, num_steps=2, seed=0)
    assert output.expected_errors[1] == 0
    assert all(output[name].isnan().tolist() == [False, True] for name in QUALITY[1:])


def test_a_judge_sees_the_finished_sequences_once_and_its_pass_is_counted_apart(model):
    seen = []

    def judge_rows(input_ids, attention_mask):
        seen.append((input_ids, attention_mask))
        return (input_ids * attention_mask).sum(-1) / 1000

    ids = padded([[5, 6], [7]])
    output = model.generate(ids, max_new_tokens=3, num_steps=2, seed=0, judge_model=judge_rows)
    assert len(seen) == output.judge_passes == 1 and output.forward_passes == 2
    assert torch.equal(seen[0][0], output.sequences) and seen[0][1].tolist() == [[1] * 5, [1] * 4 + [0]]
    assert output.judge_wrongness.tolist() == pytest.approx((output.sequences.sum(-1) / 1000).tolist())


def test_a_sequence_scorer_judges(model):
    torch.manual_seed(2)
    scorer = CriticGPTForSequenceClassification(config(num_labels=1)).eval()
    output = model.generate(canvas, num_steps=2, seed=0, judge_model=scorer)
    expected = scorer(input_ids=output.sequences, attention_mask=torch.ones_like(canvas)).logits.squeeze(-1)
    assert torch.equal(output.judge_wrongness, expected) and (expected > 0).all() and (expected < 1).all()


def test_a_judge_changes_nothing_of_what_is_generated(model):
    plain = model.generate(canvas, num_steps=3, seed=0)
    judged = model.generate(canvas, num_steps=3, seed=0, judge_model=lambda input_ids, attention_mask: torch.ones(2))
    assert torch.equal(plain.sequences, judged.sequences) and judged.judge_wrongness.tolist() == [1, 1]


def test_without_a_dictionary_the_sequences_alone_come_back_and_nothing_is_judged(model):
    calls = []
    hook = model.model.register_forward_hook(lambda *_: calls.append(1))
    sequences = model.generate(canvas, num_steps=3, seed=0, return_dict_in_generate=False)
    hook.remove()
    assert isinstance(sequences, torch.Tensor) and len(calls) == 3
    assert torch.equal(sequences, model.generate(canvas, num_steps=3, seed=0).sequences)


# ---- where given text stands ----


@every_kind
def test_a_block_at_a_random_place_stays_whole_and_is_neither_changed_nor_counted(model, strategy):
    rows, num_new = [[5, 6, 7], [8, 9]], 9
    case = {"max_new_tokens": num_new, "seed_placement": "random", "num_steps": 5, "return_history": True}
    output = model.generate(padded(rows), seed=[3, 4], **case, **arguments(strategy))
    for i, row in enumerate(rows):
        length = len(row) + num_new
        first = output.history[0].input_ids[i].tolist()
        places = [j for j, token in enumerate(first[:length]) if token != MASK]
        offset = places[0]
        assert places == list(range(offset, offset + len(row))) and [first[j] for j in places] == row
        assert first[length:] == [PAD] * (len(first) - length)
        for step in output.history:
            assert step.input_ids[i, places].tolist() == step.filled[i, places].tolist() == row
            assert not step.remasked[i, places].any()
        if strategy in FILL_ALL:
            # The schedule falls from 0.95 to 0.05 of what may change, the block not among it.
            expected = [int(num_new * ratio + 1e-9) for ratio in (0.725, 0.5, 0.275, 0.05)]
            assert [int(step.remasked[i].sum()) for step in output.history[:-1]] == expected
        assert output.sequences[i, places].tolist() == row
        assert not output.error_probabilities[i, places].any()


@every_kind
@pytest.mark.parametrize("side", ["left", "right"])
def test_blocks_at_random_places_do_not_depend_on_the_batch(model, strategy, side):
    rows = [[5, 6, 7, 8], [9, 4]]
    ids = padded(rows) if side == "right" else torch.tensor([rows[0], [PAD, PAD, *rows[1]]])
    case = {"max_new_tokens": 5, "num_steps": 4, "seed_placement": "random", **arguments(strategy)}
    batch = model.generate(ids, seed=[1, 2], **case).sequences
    for i, row in enumerate(rows):
        alone = model.generate(torch.tensor([row]), seed=[i + 1], **case).sequences[0]
        assert torch.equal(alone, batch[i, : len(alone)]) and (batch[i, len(alone) :] == PAD).all()


def test_every_offset_is_equally_likely_and_placing_a_canvas_gives_the_same(model):
    num_rows, num_new = 3000, 4
    ids, seeds = torch.full((num_rows, 2), 7), list(range(num_rows))
    placed = model.generate(
        ids,
        max_new_tokens=num_new,
        seed_placement="random",
        num_steps=1,
        seed=seeds,
        return_history=True,
        return_error_probabilities=False,
    )
    first = placed.history[0].input_ids
    counts = (first == 7).long().argmax(-1).bincount(minlength=num_new + 1)
    deviation = (num_rows * 0.2 * 0.8) ** 0.5
    # z = 5: one false alarm in 300 000 runs.
    assert len(counts) == 5 and ((counts - num_rows / 5).abs() <= 5 * deviation).all()
    complete = torch.cat([ids, torch.full((num_rows, num_new), MASK)], dim=-1)
    number = torch.full((num_rows,), num_new)
    assert torch.equal(model.place_seed_text(complete, torch.ones_like(complete), number, seeds), first)


def test_a_prefix_is_where_text_stands_by_default_and_a_placement_of_the_models_own_is_meant_for_prefixes():
    model = build()
    case = {"max_new_tokens": 8, "num_steps": 2, "seed": 1}
    ids = torch.tensor([[5, 6, 7]])
    plain = model.generate(ids, **case).sequences
    assert torch.equal(plain, model.generate(ids, seed_placement="prefix", **case).sequences)
    assert plain[0, :3].tolist() == [5, 6, 7]
    holes = model.generate(canvas, num_steps=2, seed=1).sequences
    model.generation_config.seed_placement = "random"
    assert torch.equal(model.generate(canvas, num_steps=2, seed=1).sequences, holes)
    assert not torch.equal(model.generate(ids, **case).sequences, plain)


def test_from_nothing_a_placement_changes_nothing(model):
    case = {"max_new_tokens": 8, "num_steps": 3, "seed": 1}
    assert torch.equal(model.generate(**case).sequences, model.generate(seed_placement="random", **case).sequences)


# ---- prediction ----


@pytest.mark.parametrize("strategy", ["critic", "none", "external", "critic_full", "confidence"])
def test_temperature_zero_is_deterministic_and_top_k_of_one_is_the_same(model, strategy):
    greedy = [
        model.generate(canvas, temperature=0, num_steps=5, seed=seed, **arguments(strategy)).sequences
        for seed in (1, 2)
    ]
    assert torch.equal(*greedy)
    single = model.generate(canvas, top_k=1, num_steps=5, seed=3, **arguments(strategy)).sequences
    assert torch.equal(single, greedy[0])


class Only(LogitsProcessor):
    """Forbids all tokens but one."""

    def __call__(self, input_ids, scores):
        return torch.full_like(scores, float("-inf")).index_fill(-1, torch.tensor([7]), 0.0)


@every_kind
def test_a_logits_processor_is_applied(model, strategy):
    output = model.generate(
        canvas, logits_processor=LogitsProcessorList([Only()]), num_steps=4, seed=0, **arguments(strategy)
    )
    assert (output.sequences[canvas == MASK] == 7).all()


@every_strategy
def test_generated_are_the_tokens_that_were_not_given_and_not_cut(model, strategy):
    rows = padded(mixed)
    protected = (rows != MASK) | (torch.arange(rows.shape[1]) == 1)  # a protected [MASK] stays, and is not generated
    output = model.generate(rows, protected_mask=protected, num_steps=3, seed=3, **arguments(strategy))
    assert output.generated_mask.dtype == torch.bool
    assert torch.equal(output.generated_mask, ~protected & (rows != PAD))
    several = {"num_candidates": 3, "eos_token_id": list(range(2, 7)), "max_new_tokens": 9, "seed_placement": "random"}
    output = model.generate(torch.tensor([[9, 8, 7]] * 4), num_steps=3, seed=3, **several, **arguments(strategy))
    cut = output.sequences == PAD
    assert cut.any() and not (output.generated_mask & cut).any()
    assert torch.equal((~output.generated_mask & ~cut).sum(dim=-1), torch.full((4,), 3))
    assert torch.equal(output.tokens_per_forward, output.generated_mask.sum(dim=-1) / output.row_passes)


def test_a_generated_eos_cuts_and_what_follows_is_not_judged():
    model = build(eos_token_id=EOS)

    class EndAtThree(LogitsProcessor):
        def __call__(self, input_ids, scores):
            scores = scores.index_fill(-1, torch.tensor([EOS]), float("-inf")).view(-1, 8, VOCAB).clone()
            scores[:, 4] = float("-inf")
            scores[:, 4, EOS] = 0.0
            return scores.view(-1, VOCAB)

    ids = torch.tensor([[5, EOS]])
    output = model.generate(
        ids, max_new_tokens=6, num_steps=3, seed=0, logits_processor=LogitsProcessorList([EndAtThree()])
    )
    assert output.sequences[0, :2].tolist() == [5, EOS], "a given EOS ends nothing"
    assert output.sequences[0, 4:].tolist() == [EOS, PAD, PAD, PAD]
    assert not output.error_probabilities[0, 5:].any() and output.error_probabilities[0, 2:5].all()
    alone = model(input_ids=output.sequences[:, :5]).critic_logits
    expected = CriticCalibration.ramp().error_probability(alone)
    assert torch.equal(output.error_probabilities[0, 2:5], expected[0, 2:])


# ---- streaming ----


class RecordingStreamer:
    def __init__(self):
        self.pieces, self.ended = [], 0

    def put(self, value):
        self.pieces.append(value)

    def end(self):
        self.ended += 1


class DraftStreamer(RecordingStreamer):
    def __init__(self):
        super().__init__()
        self.drafts = []

    def put_draft(self, value):
        self.drafts.append(value)


@every_kind
def test_a_streamer_gets_every_draft_and_the_end(model, strategy):
    streamer = DraftStreamer()
    output = model.generate(canvas, num_steps=4, seed=0, streamer=streamer, return_history=True, **arguments(strategy))
    assert len(streamer.drafts) == 4 and streamer.ended == 1
    for draft, following in zip(streamer.drafts, output.history[1:], strict=False):
        assert torch.equal(draft, following.input_ids)
    assert torch.equal(streamer.drafts[-1], output.sequences)
    # A prompt comes first, as with Transformers' own models; here it is empty.
    assert [piece.shape[1] for piece in streamer.pieces] == [0, 12]
    assert torch.equal(streamer.pieces[1], output.sequences)


@pytest.mark.parametrize("prompt", [[[5, 6, 7]], [[PAD, 6, 7]], [[5, 6, 7], [8, PAD, PAD]]])
def test_the_pieces_a_streamer_gets_make_up_the_sequences(model, prompt):
    streamer = RecordingStreamer()
    output = model.generate(torch.tensor(prompt), max_new_tokens=4, num_steps=2, seed=0, streamer=streamer)
    assert len(streamer.pieces) == 2 and streamer.ended == 1
    assert torch.equal(torch.cat(streamer.pieces, dim=-1), output.sequences)
    # What all rows have of a prompt, and padding is none of it.
    assert streamer.pieces[0].shape[1] == min(sum(token != PAD for token in row) for row in prompt)


@pytest.mark.parametrize("seed", [0, 1, 2, 3])
def test_a_block_at_a_random_place_is_a_prompt_only_where_nothing_is_generated_ahead_of_it(model, seed):
    streamer = DraftStreamer()
    case = {"max_new_tokens": 2, "num_steps": 2, "seed_placement": "random", "return_history": True}
    output = model.generate(torch.tensor([[5, 6]]), seed=seed, streamer=streamer, **case)
    ahead = 2 if output.history[0].input_ids[0, 0] == 5 else 0
    assert [piece.shape[1] for piece in streamer.pieces] == [ahead, 4 - ahead]
    assert torch.equal(torch.cat(streamer.pieces, dim=-1), output.sequences)
    assert [draft.shape[1] for draft in streamer.drafts] == [4 - ahead] * 2 and streamer.ended == 1
    assert torch.equal(streamer.drafts[-1], streamer.pieces[1])


# ---- settings ----


def test_the_generation_configuration_travels_with_the_model(tmp_path, model):
    model = build()
    fields = {
        "num_steps": 5,
        "remasking": "critic",
        "unmasking": "margin",
        "schedule": [0.9, 0.7, 0.4, 0.2, 0.1],
        "remask_per_step": 2,
        "temperature": 0.5,
        "top_k": 50,
        "top_p": 0.9,
        "return_dict_in_generate": False,
        "return_error_probabilities": False,
        "max_new_tokens": 8,
    }
    model.generation_config = CriticGPTGenerationConfig(**fields)
    model.save_pretrained(tmp_path)
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path, dtype=torch.float64)
    assert type(loaded.generation_config) is CriticGPTGenerationConfig
    assert {name: getattr(loaded.generation_config, name) for name in fields} == fields
    assert torch.equal(loaded.generate(canvas, seed=0), model.generate(canvas, seed=0))
    passed = CriticGPTForMaskedLM.from_pretrained(tmp_path, generation_config=CriticGPTGenerationConfig(num_steps=3))
    assert passed.generation_config.num_steps == 3 and passed.generation_config.remasking is None


def test_a_stored_configuration_of_another_kind_is_read_with_a_warning(tmp_path, warnings):
    build().save_pretrained(tmp_path)
    (tmp_path / "generation_config.json").write_text(json.dumps({"num_steps": 3, "num_beam": 4, "max_length": None}))
    loaded = CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert loaded.generation_config.num_steps == 3
    assert len(warnings) == 1 and warnings[0].startswith("`num_beam` is not an argument of generation, got 4: ")
    (tmp_path / "generation_config.json").unlink()
    assert CriticGPTForMaskedLM.from_pretrained(tmp_path).generation_config.num_steps is None


def test_a_function_is_a_schedule_for_a_call_and_cannot_be_saved(tmp_path, model):
    for strategy in ("critic", "critic_full"):
        by_function = model.generate(canvas, num_steps=4, seed=0, remasking=strategy, schedule=lambda p: 1 - p**2)
        masked = [1 - p**2 for p in ([0.25, 0.5, 0.75, 1] if strategy == "critic" else [0, 1 / 3, 2 / 3, 1])]
        by_list = model.generate(canvas, num_steps=4, seed=0, remasking=strategy, schedule=masked)
        assert torch.equal(by_function.sequences, by_list.sequences)
    settings = CriticGPTGenerationConfig(schedule=abs)
    assert "built-in function abs" in repr(settings)
    with pytest.raises(
        ValueError, match="`schedule` must be a name or a list to be saved, got <built-in function abs>"
    ):
        settings.save_pretrained(tmp_path)


def test_the_call_beats_the_passed_configuration_which_takes_the_place_of_the_models_own():
    model = build()
    model.generation_config = CriticGPTGenerationConfig(num_steps=7, temperature=0.0, error_threshold=0.5)
    assert model.generate(canvas, seed=0).forward_passes == 7
    assert model.generate(canvas, seed=0, num_steps=2).forward_passes == 2
    passed = CriticGPTGenerationConfig(num_steps=3)
    assert model.generate(canvas, seed=0, generation_config=passed).forward_passes == 3
    assert model.generate(canvas, seed=0, generation_config=passed, num_steps=4).forward_passes == 4
    assert passed.num_steps == 3 and passed.mask_token_id is None, "left alone"
    # A number in the call takes the place of the threshold in the model's own configuration.
    assert model.generate(canvas, seed=0, remask_per_step=2).forward_passes == 7
    assert model.generation_config.error_threshold == 0.5


def test_a_number_of_new_tokens_of_the_models_own_is_meant_for_prefixes(model):
    model = build()
    model.generation_config.max_new_tokens = 4
    assert model.generate(torch.tensor([[5]]), num_steps=2, seed=0).sequences.shape == (1, 5)
    assert model.generate(num_steps=2, seed=0).sequences.shape == (1, 4)
    assert model.generate(canvas, num_steps=2, seed=0).sequences.shape == canvas.shape
    draft = torch.tensor([[5, 6, 7]])
    output = model.generate(draft, protected_mask=torch.zeros_like(draft), num_steps=2, seed=0)
    assert output.sequences.shape == (1, 3)


@pytest.mark.parametrize(
    ("ids", "given_arguments", "message"),
    [
        (canvas, {"num_step": 3}, "`num_step` is not an argument of generation, got 3: did you mean `num_steps`?"),
        (
            canvas,
            {"stop_criteria": 3},
            "`stop_criteria` is not an argument of generation, got 3: did you mean `stopping_",
        ),
        (canvas, {"inputs": canvas}, "`inputs` is not an argument of generation, got tensor([[5, 1, 1, 6, 1, 1, 1, 7"),
        (canvas, {"do_sample": True}, "`do_sample` is not an argument of generation, got True: `temperature=0` takes"),
        (canvas, {"max_time": 3}, "`max_time` is not an argument of generation, got 3: put a `MaxTimeCriteria` into"),
        (canvas, {"eos_token_id": "2"}, "`eos_token_id` must be a whole number or a list of them, got '2': "),
        (canvas, {"eos_token_id": []}, "`eos_token_id` must be a whole number or a list of them, got []: "),
        (canvas, {"mask_token_id": 1.0}, "`mask_token_id` must be a whole number, got 1.0: "),
        (canvas, {"qqqq": 3}, "`qqqq` is not an argument of generation, got 3: known are max_new_tokens, "),
        (
            canvas,
            {"max_new_tokens": 3},
            "`max_new_tokens` is for inputs without [MASK], got 3 for an input that holds",
        ),
        (
            torch.tensor([[5]]),
            {},
            "`input_ids` must hold [MASK] tokens, or `max_new_tokens` must be given, got neither: ",
        ),
        (None, {}, "`input_ids` must hold [MASK] tokens, or `max_new_tokens` must be given, got neither: "),
        (
            canvas,
            {"unmasking": "margin", "remasking": "critic_full"},
            "`unmasking` has no meaning for `remasking='critic_full'`, a fill-all strategy, got 'margin': ",
        ),
        (
            canvas,
            {"remask_per_step": 2, "remasking": "confidence"},
            "`remask_per_step` has no meaning for `remasking='confidence'`, a fill-all strategy, got 2: ",
        ),
        (
            canvas,
            {"start_ratio": 0.9, "remasking": "critic"},
            "`start_ratio` has no meaning for `remasking='critic'`, a one-pass strategy, got 0.9: ",
        ),
        (
            canvas,
            {"end_ratio": 0.1, "remasking": "none"},
            "`end_ratio` has no meaning for `remasking='none'`, a one-pass strategy, got 0.1: ",
        ),
        (
            canvas,
            {"error_threshold": 0.5, "remask_per_step": 1},
            "`error_threshold` and `remask_per_step` exclude each other, got 0.5 and 1: ",
        ),
        (
            canvas,
            {"error_threshold": 0.5, "remasking": "none"},
            "`error_threshold` has no meaning for `remasking='none'`",
        ),
        (
            canvas,
            {"error_threshold": 0.5, "remasking": "random"},
            "`error_threshold` has no meaning for `remasking='random'`, a fill-all strategy, got 0.5: ",
        ),
        (canvas, {"remasking": "external"}, '`remasking_model` must be given for `remasking="external"`, got None: '),
        (
            canvas,
            {"remasking": "critic", "remasking_model": judge},
            "`remasking_model` is for `remasking=\"external\"`, got 'critic': ",
        ),
        (
            canvas,
            {"remasking_model": lambda input_ids, attention_mask: torch.zeros(2, 1)},
            "`external_scores` must have the shape of `input_ids` (2, 12), got (2, 1): ",
        ),
        (canvas, {"mask_token_id": VOCAB}, "`mask_token_id` must be in [0, vocab_size = 12), got 12: "),
        (canvas, {"pad_token_id": -1}, "`pad_token_id` must be in [0, vocab_size = 12), got -1: "),
        (
            torch.full((1, 20), 5),
            {"max_new_tokens": 5},
            "`input_ids` and `max_new_tokens` must fit `max_position_embeddings` = 24, got 25 tokens: ",
        ),
        (
            torch.full((1, 25), MASK),
            {},
            "`input_ids` and `max_new_tokens` must fit `max_position_embeddings` = 24, got 25",
        ),
        (canvas, {"num_steps": 0}, "`num_steps` must be a whole number of at least 1, got 0: "),
        (canvas, {"num_steps": True}, "`num_steps` must be a whole number of at least 1, got True: "),
        (canvas, {"temperature": -1.0}, "`temperature` must be at least 0 and finite, got -1.0: "),
        (canvas, {"temperature": float("inf")}, "`temperature` must be at least 0 and finite, got inf: "),
        (canvas, {"top_p": 0.0}, "`top_p` must be in (0, 1], got 0.0: "),
        (canvas, {"unmasking": "best"}, "`unmasking` must be one of confidence, margin, "),
        (canvas, {"remasking": "best"}, "`remasking` must be one of auto, critic, none, external, "),
        (
            canvas,
            {"schedule": "steep"},
            "`schedule` must be linear, quadratic, root, cosine, a number above 0, a list of ratios or a function, "
            "got 'steep': ",
        ),
        (canvas, {"schedule": [0.5]}, "`schedule` must hold one ratio for each of the 64 steps, got 1: "),
        (canvas, {"randomness_strength": 2}, "`randomness_strength` must be in [0, 1], got 2: "),
        (
            canvas,
            {"generation_config": GenerationConfig(do_sample=True)},
            "`generation_config` must be a CriticGPTGenerationConfig, got a GenerationConfig: ",
        ),
        (
            canvas,
            {"seed_placement": "random"},
            "`seed_placement` is for inputs without [MASK], got 'random' for an input that says itself ",
        ),
        (canvas, {"seed_placement": "suffix"}, "`seed_placement` must be one of prefix, random, got 'suffix': "),
        (
            canvas,
            {"remask_selection": "gumbel", "randomness_strength": 0.5},
            '`randomness_strength` must be 0 beside `remask_selection="gumbel"`, which draws by chance',
        ),
        (
            canvas,
            {"judge_model": judge, "return_dict_in_generate": False},
            "`judge_model` needs `return_dict_in_generate=True` for its verdict, got False: ",
        ),
        (canvas, {"seed": [1, 2, 3]}, "`seed` must be one number or one for each of 2 rows, got 3: "),
    ],
    ids=lambda value: next(iter(value), "nothing") if isinstance(value, dict) else "",
)
def test_bad_input_is_refused_in_one_sentence(model, ids, given_arguments, message):
    with pytest.raises(ValueError) as error:
        model.generate(ids, **given_arguments)
    text = str(error.value)
    assert text.startswith(message)
    assert "\n" not in text and text.endswith((".", "?"))


@pytest.mark.parametrize("strategy", ["critic", "critic_full"])
def test_a_critic_strategy_without_a_critic_is_refused(strategy):
    with pytest.raises(ValueError, match=f"`remasking` must not be '{strategy}' for a model without a critic head"):
        build(critic=False).generate(canvas, remasking=strategy)


def test_a_model_without_a_mask_token_is_refused():
    with pytest.raises(ValueError, match="`mask_token_id` must be set to generate, got None: "):
        build(mask_token_id=None).generate(canvas)


def test_arguments_of_the_other_family_in_the_models_own_configuration_give_way(model):
    model = build()
    model.generation_config = CriticGPTGenerationConfig(unmasking="margin", remask_per_step=2, start_ratio=0.8)
    for strategy in STRATEGIES:
        output = model.generate(canvas, num_steps=3, seed=0, **arguments(strategy))
        assert not (output.sequences == MASK).any()
