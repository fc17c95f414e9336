# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about a config.json from outside: other types, other sizes, other depths are one sentence, at once."""

import json

import pytest
from huggingface_hub.errors import StrictDataclassError

from critic_gpt import CriticGPTConfig
from critic_gpt.scripts import load_model, one_line


SIZES = ("vocab_size", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")
SIZES += ("max_position_embeddings", "joint_num_heads", "joint_head_dim", "n_layer", "block_size", "num_labels")
OTHER = [-1, 0, 1.5, 10**7, 10**30, "many", [1], {"a": 1}, True, None]
FIELDS = ("rope_parameters", "auto_map", "custom_pipelines", "attention_type", "id2label", "critic_alpha")
FIELDS += ("critic_regime", "mask_token_id", "eos_token_id", "tie_word_embeddings", "hidden_act", "dropout", "mode")


@pytest.fixture
def folder(tiny_model, tmp_path):
    tiny_model().save_pretrained(tmp_path)
    return tmp_path


def refusal(folder, content: str) -> str | None:
    (folder / "config.json").write_text(content)
    try:
        load_model("model", str(folder))
    except (ValueError, StrictDataclassError, OSError) as error:
        return one_line(error)
    return None


@pytest.mark.parametrize("name", [*SIZES, *FIELDS])
def test_values_of_other_types_and_sizes_are_a_sentence_or_harmless(folder, name):
    before = json.loads((folder / "config.json").read_text())
    for value in OTHER:
        said = refusal(folder, json.dumps({**before, name: value}))
        assert said is None or len(said) < 2000
        if name in SIZES and value == 10**30:
            assert said and "must be" in said and "got" in said


@pytest.mark.parametrize("name", [name for name in SIZES if name not in ("num_attention_heads", "joint_head_dim")])
def test_ten_million_of_anything_is_refused_before_it_is_made(folder, name):
    with pytest.raises((ValueError, StrictDataclassError)) as error:
        CriticGPTConfig(**{name: 10**8})
    said = one_line(error.value)
    assert "must" in said and "00,000,000" in said.replace("100000000", "100,000,000")


def test_sizes_that_are_each_possible_and_together_are_not(folder):
    with pytest.raises((ValueError, StrictDataclassError)) as error:
        CriticGPTConfig(hidden_size=2**17, num_hidden_layers=2**10)
    assert "must make at most 1,000,000,000,000 weights, got" in one_line(error.value)


@pytest.mark.parametrize("content", ["[" * 10**5, '{"a":' * 10**5, "[]", "3", "{", "\x00"])
def test_a_configuration_that_is_none_is_a_sentence(folder, content):
    assert "config.json" in refusal(folder, content)
