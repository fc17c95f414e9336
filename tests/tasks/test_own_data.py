# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about folders of one's own data: what they must hold, and what is said where it is missing."""

import copy

import pytest
from datasets import Dataset, DatasetDict, Features, LargeList, List, Value
from tiny_tokenizers import tiny_tokenizer

from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.tasks import build_character_tokenizer, load_data, stream_prepared


ROWS = [{"input_ids": [2, 3, 4]}, {"input_ids": [5] * 7}, {"input_ids": [2]}]


def save(folder, splits=None, tokenizer=True):
    splits = DatasetDict({"train": Dataset.from_list(ROWS)}) if splits is None else splits
    splits.save_to_disk(str(folder))
    if tokenizer:
        build_character_tokenizer("abcd", model_max_length=8).save_pretrained(str(folder))
    return folder


def test_the_longest_row_says_how_long_sequences_are(tmp_path):
    splits = DatasetDict({"train": Dataset.from_list(ROWS), "validation": Dataset.from_list([{"input_ids": [2] * 9}])})
    loaded, tokenizer, length = load_data(save(tmp_path / "data", splits))
    assert loaded["train"].to_list() == ROWS and len(tokenizer) == 6 and length == 9
    assert [row["input_ids"] for row in stream_prepared(tmp_path / "data", buffer_size=1)] == [
        row["input_ids"] for row in ROWS
    ]


@pytest.mark.parametrize(
    "feature", [List(Value("int16")), LargeList(Value("int64")), List(Value("uint8"), length=3)], ids=str
)
def test_any_list_of_whole_numbers_will_do(tmp_path, feature):
    data = Dataset.from_list([{"input_ids": [2, 3, 4]}] * 2, features=Features({"input_ids": feature}))
    assert load_data(save(tmp_path / "data", DatasetDict({"train": data})))[2] == 3


def rows_of(*ids):
    return DatasetDict({"train": Dataset.from_dict({"input_ids": list(ids)})})


@pytest.mark.parametrize(
    ("splits", "tokenizer", "words"),
    [
        (Dataset.from_list(ROWS), True, "got '.*' with a single `Dataset` without splits; .*DatasetDict\\("),
        (None, False, "`folder` must hold the files of a tokenizer.*tokenizer.save_pretrained"),
        (DatasetDict({"test": Dataset.from_list(ROWS)}), True, "`folder` must hold the split train, got test in"),
        (DatasetDict({"train": Dataset.from_list([{"ids": [2]}])}), True, "the column `input_ids`, got ids in train;"),
        (rows_of("ab"), True, "`input_ids` must hold lists of token ids, got string in train"),
        (rows_of([0.5]), True, "`input_ids` must hold lists of token ids, got list.*double"),
        (rows_of([2], []), True, "`input_ids` must hold at least one token in every row, got none"),
        (rows_of([2], None), True, "`input_ids` must hold at least one token in every row, got none"),
        (rows_of([2], [6]), True, "below the 6 of the tokenizer and at least 0, got 2 to 6 in train"),
        (rows_of([2], [-1]), True, "below the 6 of the tokenizer and at least 0, got -1 to 2 in train"),
    ],
)
def test_what_is_missing_or_wrong_is_said_in_one_sentence(tmp_path, splits, tokenizer, words):
    save(tmp_path / "data", splits, tokenizer)
    with pytest.raises((ValueError, FileNotFoundError), match=words) as error:
        load_data(tmp_path / "data")
    assert "\n" not in str(error.value)


def test_a_missing_or_an_empty_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match="which does not exist"):
        load_data(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(FileNotFoundError, match="with neither"):
        load_data(tmp_path / "empty")


@pytest.fixture
def shared(tmp_path):
    """Saves rows with a tokenizer whose padding is its end of text, 0; gives what training reads."""

    def read(rows, side="right", **columns):
        tokenizer = copy.deepcopy(tiny_tokenizer("byte-level BPE"))
        tokenizer.pad_token, tokenizer.padding_side = tokenizer.eos_token, side
        splits = DatasetDict({"train": Dataset.from_dict({"input_ids": rows, **columns})})
        splits.save_to_disk(str(tmp_path / "data"))
        tokenizer.save_pretrained(tmp_path / "data")
        return load_data(tmp_path / "data")

    return read


@pytest.mark.parametrize(
    ("side", "rows", "masks", "expected"),
    [
        ("right", [[7, 0], [7, 8], [0]], None, [[7, 0], [7, 8], [0]]),
        ("right", [[7, 0, 8], [7, 0, 0], [0, 0, 0]], None, [[7, 0, 8], [7, 0, "P"], [0, "P", "P"]]),
        ("right", [[7, 8, 0], [7, 0, 0]], [[1, 1, 0], [1, 1, 0]], [[7, 8, "P"], [7, 0, "P"]]),
        ("right", [[7, 0, 0]], [[1, 1, 1]], [[7, 0, 0]]),
        ("left", [[0, 7, 0], [0, 0, 7]], None, [[0, 7, 0], ["P", "P", 7]]),
        ("left", [[0, 0, 7]], [[0, 1, 1]], [["P", 0, 7]]),
    ],
)
def test_padding_that_is_the_end_of_a_text_is_told_from_it(shared, side, rows, masks, expected):
    splits, tokenizer, _ = shared(rows, side, **({} if masks is None else {"attention_mask": masks}))
    padding = tokenizer.pad_token_id
    assert tokenizer.eos_token_id == 0 != padding and tokenizer.mask_token_id is not None
    found = [["P" if token == padding else token for token in row] for row in splits["train"]["input_ids"]]
    assert found == expected
    batch = DataCollatorForMaskedDiffusion(tokenizer, min_mask_rate=1.0)(list(splits["train"]))
    real = [[token != "P" for token in row] for row in expected]
    assert batch["attention_mask"].bool().tolist() == [
        row + [False] * (max(map(len, real)) - len(row)) if side == "right" else row for row in real
    ]
    assert ((batch["labels"] != -100) == batch["attention_mask"].bool()).all()  # the end of a text is learnt
