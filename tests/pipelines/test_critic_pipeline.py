# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what both pipelines share: inputs, tokenizers, folders."""

import json

import datasets
import pytest
from refusals import refused
from torch.utils.data import Dataset, IterableDataset
from transformers import pipeline

import critic_gpt
from critic_gpt import CriticCalibration


TASKS = {
    "critic-diffusion": (critic_gpt.CriticDiffusionPipeline, {"seed": 2, "num_steps": 4}),
    "critic-proofread": (critic_gpt.CriticProofreadPipeline, {"correct": True}),
}
TEXTS = ["ab[MASK]de[MASK][MASK]h", "the ", "[MASK]" * 12, "x[MASK]", ""]


class Texts(Dataset):
    def __init__(self, texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def __getitem__(self, index):
        return self.texts[index]


class Stream(IterableDataset):
    """Tells its length, and is to be read as a stream all the same."""

    def __init__(self, texts):
        self.texts = texts

    def __len__(self):
        return len(self.texts)

    def __iter__(self):
        return iter(self.texts)


@pytest.fixture(params=TASKS)
def task(request):
    return request.param


@pytest.fixture
def model(tiny_model):
    """
    In float64: what a batch around a row does to the last digits decides nothing. With absolute positions, as with
    rotary ones all positions of an empty canvas look alike, and rounding alone would tell which come first.
    """
    model = tiny_model(position_embedding_type="absolute").double()
    model.calibration = CriticCalibration([(i / 99) ** 0.5 for i in range(100)])
    return model


@pytest.fixture
def call(task, model, tokenizer):
    """The pipeline, with settings that make it do all that it can."""
    cls, settings = TASKS[task]
    made = cls(model=model, tokenizer=tokenizer)
    return lambda inputs, **more: made(inputs, **settings, **more)


def test_the_task_name_and_a_folder_are_enough(task, call, model, tokenizer, tmp_path):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    cls, settings = TASKS[task]
    found = pipeline(task, model=str(tmp_path), batch_size=4, **settings)
    assert type(found) is cls and cls.__name__ in repr(found)
    assert type(found.model) is critic_gpt.CriticGPTForMaskedLM
    assert found(TEXTS[0]) == call(TEXTS[0])


def test_lists_datasets_and_generators_give_the_same_and_json_holds_it(call):
    expected = call(TEXTS)
    assert json.loads(json.dumps(expected, allow_nan=False)) == expected
    kinds = [
        tuple(TEXTS),
        Texts(TEXTS),
        Stream(TEXTS),
        (text for text in TEXTS),
        iter(TEXTS),
        datasets.Dataset.from_dict({"text": TEXTS, "label": [0] * len(TEXTS)}),
        datasets.Dataset.from_dict({"text": TEXTS})["text"],
        datasets.Dataset.from_dict({"text": TEXTS}).to_iterable_dataset(),
    ]
    for inputs in kinds:
        assert list(call(inputs)) == expected, type(inputs)
    batched = list(call((text for text in TEXTS), batch_size=3))
    text = "generated_text" if "generated_text" in expected[0] else "corrected_text"
    assert [result[text] for result in batched] == [result[text] for result in expected]
    assert call(TEXTS[0]) == call({"text": TEXTS[0]}) == expected[0]
    assert call([]) == [] == list(call(iter([])))


@pytest.mark.parametrize(
    ("inputs", "parts"),
    [
        (5, ("got 5: pass one of these",)),
        ([5], ("got 5: pass a text",)),
        ([[TEXTS[0]]], ("must be texts", "got ['ab[MASK]")),
        ({"sentence": "a"}, ("must have the key", "`text`", "got the keys 'sentence'")),
        ({}, ("got the keys of an empty one",)),
    ],
)
def test_what_is_no_text_is_refused_in_one_sentence(call, inputs, parts):
    with refused(*parts, start="`inputs` must"):
        call(inputs)


@pytest.mark.parametrize("fields", [{"vocab_size": 31}, {"mask_token_id": 2}, {"mask_token_id": None}, None])
def test_the_tokenizer_of_another_model_is_refused(task, tiny_model, tokenizer, fields):
    got = "got none that loads" if fields is None else "got 32 tokens with [MASK] 1"
    with refused(got, start="`tokenizer` must be the one the model was trained with"):
        TASKS[task][0](model=tiny_model(**(fields or {})), tokenizer=None if fields is None else tokenizer)


@pytest.mark.parametrize("content", ["", '{"a": [', "[1]", "null"])
@pytest.mark.parametrize(
    "name", ["tokenizer.json", "tokenizer_config.json", "generation_config.json", "calibration.json"]
)
def test_a_damaged_file_of_the_folder_is_named_in_one_sentence(task, model, tokenizer, tmp_path, name, content):
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    (tmp_path / name).write_text(content)
    with refused(name, str(tmp_path)):
        pipeline(task, model=str(tmp_path))
