# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about how rows of any data set become rows that a critic is judged on."""

import datasets
import numpy as np
import pytest
import torch
from sentences import one_sentence

from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.evaluation import CollatorForCorruptedRows, SpecialTokens, judge_fillings, uniform_rows
from critic_gpt.evaluation.held_out import bound_of
from critic_gpt.training.collator import logger as collator_logger


PAD, MASK, IGNORED = 0, 1, -100
TOKENS = [[MASK, 5, MASK, 7], [8, MASK], [9, 10, MASK, MASK, 13]]
TRUTH = [[4, IGNORED, 6, IGNORED], [IGNORED, 3], [IGNORED, IGNORED, 11, IGNORED, IGNORED]]


def dataset(**columns):
    return datasets.Dataset.from_dict(columns)


def uniform(config, **columns):
    rows = dataset(**columns)
    return uniform_rows(rows, config, len(rows))


@pytest.fixture
def collate(tiny_config):
    config = tiny_config()

    def make(regime="full", seed=0):
        return CollatorForCorruptedRows(SpecialTokens.of(config), config.vocab_size, regime, seed)

    return make


def examples(tokens=TOKENS, truth=TRUTH, **more):
    rows = [{"input_ids": a, "labels": b, "example_id": i} for i, (a, b) in enumerate(zip(tokens, truth, strict=True))]
    return [{**row, **{name: column[i] for name, column in more.items()}} for i, row in enumerate(rows)]


# ---- names of columns ----


@pytest.mark.parametrize("names", [("input_ids", "labels"), ("input", "target"), ("x", "y")])
def test_tokens_and_truth_go_by_three_pairs_of_names(tiny_config, names):
    tokens, truth = names
    rows, corrupted = uniform(tiny_config(), **{tokens: TOKENS, truth: TRUTH, "text": ["a", "b", "c"]})
    assert corrupted and list(rows) == [{"input_ids": a, "labels": b} for a, b in zip(TOKENS, TRUTH, strict=True)]
    clean, corrupted = uniform(tiny_config(), **{tokens: [[2, 3], [4]], "id": [1, 2]})
    assert not corrupted and list(clean) == [{"input_ids": [2, 3]}, {"input_ids": [4]}]


def test_what_the_collator_knows_is_passed_on(tiny_config):
    more = {"attention_mask": [[1, 1]], "protected_mask": [[0, 1]]}
    rows, _ = uniform(tiny_config(), x=[[2, 3]], **more)
    assert rows[0] == {"input_ids": [2, 3], **{name: column[0] for name, column in more.items()}}


@pytest.mark.parametrize(
    ("columns", "parts"),
    [
        ({"text": ["a"]}, ("`input_ids` or `input` or `x`", "columns text", "prepare_data.py")),
        ({"input": ["a"], "target": ["b"]}, ("lists of token ids", "columns input, target")),
        ({"x": [[[2, 3], [4, 5]]]}, ("lists of token ids",)),
        ({"x": [[2.5, 3.0]]}, ("lists of token ids",)),
        ({"input_ids": [[2, 3]], "score": [0.5]}, ("'score'", "scorers")),
        ({"input_ids": [[2, MASK]], "labels": [[-100, 3]], "score": [0.5]}, ("'score'", "scorers")),
        ({"input_ids": [[2, 3]], "label": [1]}, ("'label'", "scorers")),
        ({"x": [[2, 3]], "y": [0.25]}, ("'y'", "scorers")),
        ({"input_ids": [[2, 3]], "labels": [[[0.5, 0.5], [1.0, 0.0]]]}, ("'labels'", "token classes")),
        ({"input_ids": [[2, 3]], "labels": [[0, 1]]}, ("[MASK] (id 1)", "classes of tokens")),
        ({"input_ids": [[2, 32]]}, ("between 0 and 31", "got 32 in row 0")),
        ({"input_ids": [[2, 3], [-4, 3]]}, ("between 0 and 31", "got -4 in row 1")),
        ({"input_ids": [[2] * 49]}, ("at most 48 tokens", "got 49 in row 0")),
    ],
)
def test_what_no_critic_can_be_judged_on_is_one_sentence(tiny_config, columns, parts):
    with one_sentence("`dataset` must", "got", *parts):
        uniform(tiny_config(), **columns)


# ---- rows that are corrupted already ----


def test_the_masks_stay_where_they_are_and_no_others_are_made(collate):
    batch = collate()(examples())
    for row, tokens, truth in zip(range(3), TOKENS, TRUTH, strict=True):
        size = len(tokens)
        assert batch["input_ids"][row].tolist() == tokens + [PAD] * (5 - size)
        assert batch["labels"][row].tolist() == truth + [IGNORED] * (5 - size)
        assert batch["attention_mask"][row].tolist() == [1] * size + [0] * (5 - size)
    assert torch.equal(batch["fill_mask"], batch["input_ids"] == MASK)
    assert "loss_weights" not in batch


def test_minus_one_and_padding_are_ignored_as_minus_a_hundred_is(collate):
    old = [[value if value != IGNORED else -1 for value in row] for row in TRUTH]
    new, same = collate()(examples()), collate()(examples(truth=old))
    assert all(torch.equal(new[name], same[name]) for name in new)
    padded = collate()(examples([[MASK, 5, PAD, PAD]], [[4, IGNORED, 7, PAD]]))
    assert padded["labels"].tolist() == [[4, IGNORED, IGNORED, IGNORED]]


def test_a_partial_regime_fills_some_masks_only(collate):
    tokens, truth = [[MASK] * 20] * 30, [[5] * 20] * 30
    shares = collate("partial")(examples(tokens, truth))["fill_mask"].float().mean(dim=1)
    assert shares.min() < 0.3 and shares.max() > 0.7 and (shares > 0).all()


def test_a_row_is_filled_the_same_whatever_the_batch_around_it_and_other_seeds_fill_otherwise(collate):
    rows = examples()
    together = collate("partial")(rows)
    for index, row in enumerate(rows):
        alone, size = collate("partial").for_evaluation()([row]), len(TOKENS[index])
        for name in ("fill_mask", "fill_uniforms"):
            assert torch.equal(alone[name][0], together[name][index, :size])
    assert not torch.equal(collate(seed=1)(rows)["fill_uniforms"], together["fill_uniforms"])
    assert len(together["fill_uniforms"].unique()) == 15


def test_a_misleading_attention_mask_changes_no_number_and_is_warned_of_once(tiny_model, collate, caplog):
    collator_logger.warning_once.cache_clear()
    hiding = [[int(token != MASK) for token in row] for row in TOKENS]
    with caplog.at_level("WARNING", logger=collator_logger.name):
        plain, hidden = (
            judge_fillings(tiny_model(), rows, collate(), 3, batch_size=1)
            for rows in (examples(), examples(attention_mask=hiding))
        )
    assert [record.getMessage()[:30] for record in caplog.records] == ["The data's own `attention_mask"]
    np.testing.assert_array_equal(plain.critic_logits, hidden.critic_logits)
    np.testing.assert_array_equal(plain.critic_target, hidden.critic_target)
    assert plain.lm_loss == hidden.lm_loss


def test_judging_is_forward_on_the_rows_as_they_are(tiny_model, collate):
    model = tiny_model(critic_target_scope="masked_and_ignore")
    judged = judge_fillings(model, examples(), collate(), 3, batch_size=3)
    with torch.no_grad():
        output = model(**collate()(examples()))
    np.testing.assert_array_equal(judged.critic_logits, output.critic_input_logits[output.critic_valid].numpy())
    np.testing.assert_array_equal(judged.critic_target, output.critic_target[output.critic_valid].numpy())
    assert judged.lm_loss == pytest.approx(output.lm_loss.item(), rel=1e-6)


def test_where_no_token_has_a_truth_there_is_no_bound_rather_than_one_of_nothing(tiny_model, collate):
    judged = judge_fillings(tiny_model(), examples(TOKENS, [[IGNORED] * len(row) for row in TOKENS]), collate(), 3)
    assert judged.lm_loss is None and bound_of(judged) == {"nats_per_token": None, "bits_per_token": None}


@pytest.mark.parametrize(
    ("truth", "parts"),
    [
        ([4, IGNORED, 6], ("one entry for each of the 4 tokens", "(3,)", "row 0")),
        ([4, IGNORED, 32, IGNORED], ("between 0 and 31", "got 32 in row 0")),
        ([4, IGNORED, -7, IGNORED], ("got -7 in row 0",)),
        ([1, IGNORED, 5, IGNORED], ("not [MASK]", "got 1 in row 0", "token classes")),
    ],
)
def test_labels_that_are_no_truth_are_one_sentence(collate, truth, parts):
    with one_sentence("`labels` must", *parts):
        collate()(examples(TOKENS[:1], [truth]))


# ---- clean rows without a tokenizer ----


def test_the_special_tokens_of_a_model_stand_in_for_a_tokenizer(tiny_config, tokenizer):
    stand_in = SpecialTokens.of(tiny_config())
    rows = [{"input_ids": [4, 5, 6, 7, 8], "example_id": 0}, {"input_ids": [9, 10], "example_id": 1}]
    collators = (DataCollatorForMaskedDiffusion(special, seed=3).for_evaluation() for special in (tokenizer, stand_in))
    expected, found = (collator(rows) for collator in collators)
    assert set(found) == set(expected) and all(torch.equal(found[name], expected[name]) for name in expected)


def test_every_row_that_will_be_judged_is_looked_at_and_no_other(tiny_config):
    rows = dataset(input_ids=[*([[2, 3]] * 1200), [2, 32], [2, 3]])
    with pytest.raises(ValueError, match="between 0 and 31, got 32 in row 1200"):
        uniform_rows(rows, tiny_config(), 1201)
    assert not uniform_rows(rows, tiny_config(), 1200)[1]
    late = dataset(x=[*([[2, 3]] * 1200), [MASK, 3]], y=[*([[2, 3]] * 1200), [2, IGNORED]])
    assert uniform_rows(late, tiny_config(), 1201)[1]
