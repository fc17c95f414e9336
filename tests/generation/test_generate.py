# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `generate` that hold for every strategy."""

import pytest
import torch
from generation_cases import MASK, PAD, QUALITY, arguments, build, canvas, every_kind, every_strategy, mixed, padded

from critic_gpt.generation.strategies.registry import STRATEGIES


# ---- what every strategy keeps to ----


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


@pytest.mark.parametrize("case", batch_cases, ids=lambda case: "-".join(map(str, case.values())))
def test_a_batch_equals_its_rows_one_by_one(model, case):
    case = {**case, **arguments(case["remasking"]), "num_steps": 6}
    seeds, ids = [10, 20, 30, 40, 50], padded(mixed)
    # Padding on the right, and on the left.
    right = model.generate(ids, seed=seeds, **case)
    left = model.generate(padded(mixed, "left"), seed=seeds, **case)
    for i, row in enumerate(mixed):
        # The row without a [MASK] would be refused alone, unless it says so.
        one = torch.tensor([row])
        alone = model.generate(one, seed=[seeds[i]], protected_mask=one != MASK, **case)
        for batch, real in ((right, slice(len(row))), (left, slice(ids.shape[1] - len(row), None))):
            assert torch.equal(alone.sequences[0], batch.sequences[i, real])
            assert torch.equal(alone.error_probabilities[0], batch.error_probabilities[i, real])
            assert (batch.sequences[i] == PAD).sum() == ids.shape[1] - len(row)
            assert not batch.error_probabilities[i][batch.sequences[i] == PAD].any()
            for name in QUALITY:
                torch.testing.assert_close(alone[name][0], batch[name][i], equal_nan=True)


@every_kind
@pytest.mark.parametrize(("side", "placement"), [("left", "prefix"), ("right", "random"), ("left", "random")])
def test_prefixes_of_different_lengths_are_continued_as_they_would_be_alone(model, strategy, side, placement):
    rows = [[5, 6, 7, 8], [9, 4]]
    case = {"max_new_tokens": 5, "num_steps": 4, "seed_placement": placement, **arguments(strategy)}
    batch = model.generate(padded(rows, side), seed=[1, 2], **case).sequences
    for i, row in enumerate(rows):
        alone = model.generate(torch.tensor([row]), seed=[i + 1], **case).sequences[0]
        assert len(alone) == len(row) + 5 and (placement == "random" or alone[: len(row)].tolist() == row)
        assert torch.equal(alone, batch[i, : len(alone)])
        assert (batch[i, len(alone) :] == PAD).all()


@every_strategy
def test_the_same_seed_gives_the_same_result_and_another_another(model, strategy):
    def sequences(ids=canvas, **source):
        return model.generate(ids, num_steps=4, **source, **arguments(strategy)).sequences

    assert torch.equal(sequences(seed=1), sequences(seed=1))
    assert not torch.equal(sequences(seed=1), sequences(seed=2))
    drawn = [sequences(generator=torch.Generator().manual_seed(number)) for number in (7, 7, 8)]
    assert torch.equal(drawn[0], drawn[1]) and not torch.equal(drawn[0], drawn[2])
    torch.manual_seed(4)
    first = sequences()
    assert not torch.equal(sequences(), first)
    torch.manual_seed(4)
    assert torch.equal(sequences(), first)
    # Rows of one seed differ, and rows of equal seeds agree.
    for seed, agree in ((5, False), ([5, 5], True)):
        one, two = sequences(torch.full((2, 12), MASK), seed=seed)
        assert torch.equal(one, two) is agree


@every_strategy
def test_drafts_are_revised_where_they_are_not_protected(model, strategy):
    draft = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 3, 4, 5]])
    protected = torch.zeros_like(draft, dtype=torch.bool)
    protected[:, [0, 4, 9]] = True
    case = {"protected_mask": protected, "num_steps": 8, "seed": 0, "return_history": True, **arguments(strategy)}
    output = model.generate(draft, **case)
    # Some take what the model says where it stands, accept_reject takes back its own draws alone, and remdm_loop masks
    # by chance, of which little is left at the default rate and so few steps.
    revises = strategy not in ("none", "multinomial", "proseco", "remdm_loop", "accept_reject")
    assert any(step.remasked.any() for step in output.history) == revises
    if strategy in ("multinomial", "proseco"):
        assert not torch.equal(output.sequences, draft)


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


# ---- prediction ----


@pytest.mark.parametrize("strategy", ["critic", "none", "external", "critic_full", "confidence"])
def test_temperature_zero_is_deterministic_and_top_k_of_one_is_the_same(model, strategy):
    greedy, again, single = (
        model.generate(canvas, num_steps=5, seed=seed, **more, **arguments(strategy)).sequences
        for seed, more in ((1, {"temperature": 0}), (2, {"temperature": 0}), (3, {"top_k": 1}))
    )
    assert torch.equal(greedy, again) and torch.equal(greedy, single)


@every_kind
def test_a_logits_processor_is_applied(model, strategy):
    def only_seven(input_ids, scores):
        return torch.full_like(scores, float("-inf")).index_fill(-1, torch.tensor([7]), 0.0)

    output = model.generate(canvas, logits_processor=[only_seven], num_steps=4, seed=0, **arguments(strategy))
    assert (output.sequences[canvas == MASK] == 7).all()
