# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about hostile documents of a model's folder: every way in refuses them in one sentence, before the work."""

import json

import pytest
import torch
from huggingface_hub.errors import StrictDataclassError
from tiny_masked_lms import framed_tokenizer, tiny_masked_lm
from tiny_models import build_with_critic
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForMaskedLM, pipeline

from critic_gpt import AutoModelForMaskedLMWithCritic, CriticConfig, get_critic_model
from critic_gpt.hub.documents import parse_json
from critic_gpt.hub.looking import look_at_folder
from critic_gpt.scripts import load_model, load_pipeline, one_line
from critic_gpt.tasks import build_character_tokenizer


DEEP = "[" * 10**5 + "]" * 10**5


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model of ours, and one of somebody else's with a critic."""
    place = tmp_path_factory.mktemp("folders")
    tokenizer = build_character_tokenizer("abcdefgh", model_max_length=16)
    ids = {"mask_token_id": tokenizer.mask_token_id, "pad_token_id": tokenizer.pad_token_id}
    build_with_critic(vocab_size=len(tokenizer), **ids).save_pretrained(place / "own")
    tokenizer.save_pretrained(place / "own")
    framed = framed_tokenizer()
    tiny_masked_lm("bert").save_pretrained(place / "stock")
    model = AutoModelForMaskedLM.from_pretrained(place / "stock")
    get_critic_model(model, CriticConfig(freeze=False), tokenizer=framed).save_pretrained(place / "other")
    return place


@pytest.fixture(params=["own", "other"])
def folder(request, folders):
    """A folder whose files come back after the test."""
    folder = folders / request.param
    before = {path: path.read_bytes() for path in folder.iterdir() if path.suffix == ".json"}
    yield folder
    for path, content in before.items():
        path.write_bytes(content)


class Largest(TorchDispatchMode):
    """How many numbers the largest tensor has that is made within."""

    numel = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.device.type != "meta":
            self.numel = max(self.numel, made.numel())
        return made


def refusal(action):
    with Largest() as largest, pytest.raises((ValueError, OSError, StrictDataclassError)) as error:
        action()
    assert largest.numel < 10**6
    said = one_line(error.value)
    assert len(said) < 1500 and "Traceback" not in said
    return said


def ways_in(folder):
    path = str(folder)
    return {
        "auto": lambda: AutoModelForMaskedLMWithCritic.from_pretrained(path),
        "script": lambda: load_model("model", path),
        "pipeline of a script": lambda: load_pipeline("critic-diffusion", path),
    }


@pytest.mark.parametrize("content", [DEEP, '{"zz": ' + DEEP + "}", "[]", "null", "", '{"a": 1, "a": 2}', "\ufeff{"])
@pytest.mark.parametrize("name", ["config.json", "generation_config.json", "tokenizer_config.json"])
def test_a_document_that_is_none_is_a_sentence_wherever_a_model_is_loaded(folder, name, content):
    (folder / name).write_text(content)
    for action in ways_in(folder).values():
        assert name in refusal(action)


HUGE = {"vocab_size": 10**7, "hidden_size": 10**7, "num_hidden_layers": 10**7, "intermediate_size": 10**7}
HUGE |= {"num_attention_heads": 10**7, "num_labels": 10**7}


@pytest.mark.parametrize("name", HUGE)
def test_ten_million_of_anything_is_refused_before_it_is_made_wherever_a_model_is_loaded(folder, name):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, name: HUGE[name]}))
    for action in ways_in(folder).values():
        said = refusal(action)
        assert name in said and "must" in said


def test_the_pipeline_of_transformers_makes_nothing_of_ten_million_tokens_either(folders, folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "vocab_size": 10**7}))
    with Largest() as largest, pytest.raises(ValueError, match=r"shapes that its config\.json describes"):
        pipeline("critic-diffusion", model=str(folder))
    assert largest.numel < 10**6


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(("model_type", value) for value in (7, ["a"], {})),
        *(("architectures", value) for value in (7, [1], {"a": 1})),
        *(("auto_map", value) for value in (7, None, {"AutoConfig": 3})),
        *(("dtype", value) for value in (7, "../x", [1])),
        *(("attn_implementation", value) for value in (7, [1])),
        ("quantization_config", "x"),
    ],
)
def test_values_of_other_kinds_are_a_sentence(folder, name, value):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, name: value}))
    assert "must be" in refusal(lambda: AutoModelForMaskedLMWithCritic.from_pretrained(folder))


def test_a_sound_folder_passes_also_with_more_positions_than_weights(folders, tmp_path):
    for name in ("own", "stock", "other"):
        look_at_folder(folders / name)
    model = build_with_critic(max_position_embeddings=2**20)  # rotary positions have no weights
    model.save_pretrained(tmp_path)
    loaded = AutoModelForMaskedLMWithCritic.from_pretrained(tmp_path)
    assert torch.equal(loaded.lm_head.weight, model.lm_head.weight)


def test_a_key_that_stands_twice_is_refused_at_any_depth():
    assert parse_json('{"a": {"b": 1}, "c": [{"b": 2}]}') == {"a": {"b": 1}, "c": [{"b": 2}]}
    with pytest.raises(ValueError, match="must name every key once, and has 'b' twice"):
        parse_json('{"a": [{"b": 1, "b": 1}]}')
