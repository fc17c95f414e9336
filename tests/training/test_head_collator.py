"""Claims about batches for the classification and scoring heads."""

import pytest
import torch

from critic_gpt.tasks import build_character_tokenizer
from critic_gpt.training.head_collator import DataCollatorForHeads


ROWS = [
    {"input_ids": [2, 3, 4], "labels": [0, -100, 1], "score": 0.25, "label": 2},
    {"input_ids": [5], "labels": [1], "score": 1, "label": 0},
]


def make_tokenizer(side="right", **changes):
    tokenizer = build_character_tokenizer("abcdefgh", model_max_length=8)
    tokenizer.padding_side = side
    for name, value in changes.items():
        setattr(tokenizer, name, value)
    return tokenizer


def test_padding_is_hidden_and_has_no_label_on_either_side():
    right, left = (DataCollatorForHeads(make_tokenizer(side), "labels")(ROWS) for side in ("right", "left"))
    assert right["input_ids"].tolist() == [[2, 3, 4], [5, 0, 0]] and left["input_ids"][1].tolist() == [0, 0, 5]
    assert right["attention_mask"].tolist() == [[1, 1, 1], [1, 0, 0]] and left["attention_mask"][1].tolist() == [
        0,
        0,
        1,
    ]
    assert right["labels"].tolist() == [[0, -100, 1], [1, -100, -100]]
    assert left["labels"][1].tolist() == [-100, -100, 1] and left["labels"].dtype == torch.int64


def test_probabilities_are_padded_with_zeros():
    rows = [{**row, "labels": [[0.25, 0.75]] * len(row["input_ids"])} for row in ROWS]
    labels = DataCollatorForHeads(make_tokenizer(), "labels")(rows)["labels"]
    assert labels.shape == (2, 3, 2) and labels.dtype == torch.float32
    assert labels[1].tolist() == [[0.25, 0.75], [0, 0], [0, 0]]


@pytest.mark.parametrize(
    ("column", "dtype", "values"), [("score", torch.float32, [0.25, 1]), ("label", torch.int64, [2, 0])]
)
def test_a_sequence_has_one_label(column, dtype, values):
    labels = DataCollatorForHeads(make_tokenizer(), column)(ROWS)["labels"]
    assert labels.dtype == dtype and labels.tolist() == values


@pytest.mark.parametrize(
    ("tokenizer", "column", "rows", "message"),
    [
        ({}, "scores", ROWS, "`column` must be one of labels, score, label, got 'scores'"),
        ({}, "labels", [{"input_ids": [2, 3], "labels": [0]}], "each of the 2 tokens of `input_ids`, got 1 in row 0"),
        ({"pad_token": None}, "score", ROWS, "`tokenizer` must have a padding token to bring 1 tokens to 3"),
    ],
)
def test_what_makes_no_batch_is_refused(tokenizer, column, rows, message):
    with pytest.raises(ValueError, match=message):
        DataCollatorForHeads(make_tokenizer(**tokenizer), column)(rows)
