# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import ast
import copy
import dataclasses
import json
import logging
import math
from pathlib import Path

import pytest
from huggingface_hub.errors import StrictDataclassClassValidationError, StrictDataclassFieldValidationError
from transformers import AutoConfig, PretrainedConfig

import critic_gpt.configuration_critic_gpt as configuration
from critic_gpt import CriticGPTConfig
from critic_gpt.hub import legacy_keys


TINY = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}
TINY |= {"max_position_embeddings": 16, "mask_token_id": 1, "pad_token_id": 0}


def make_config(**changes) -> CriticGPTConfig:
    return CriticGPTConfig(**{**TINY, **changes})


def fields_of(config) -> dict:
    """Everything a config carries, but what the act of saving adds."""
    noise = ("transformers_version", "_name_or_path", "dtype", "architectures")
    return {name: value for name, value in config.to_dict().items() if name not in noise}


@pytest.fixture
def warnings_seen(monkeypatch):
    """Texts of the warnings about older keys."""
    seen = []
    monkeypatch.setattr(legacy_keys.logger, "warning", lambda text, *args: seen.append(text % args if args else text))
    return seen


# ---- defaults ----


def test_a_configuration_without_arguments_is_a_gpt2_sized_model_without_a_critic():
    config = CriticGPTConfig()
    assert config.add_critic_head is False
    assert config.is_causal is False
    assert config.tie_word_embeddings is True
    assert (config.critic_alpha, config.critic_target_scope) == (0.5, "masked_only")
    assert (config.hidden_size, config.num_hidden_layers, config.num_attention_heads) == (768, 12, 12)
    assert config.intermediate_size == 4 * 768
    assert config.head_dim == 64
    assert config.mask_token_id is None and config.pad_token_id is None
    assert config.rope_parameters["rope_theta"] == 10000.0
    # The width of the MLP follows that of the model, by whatever name it goes.
    config = CriticGPTConfig(n_embd=64, n_head=4)
    assert (config.intermediate_size, config.head_dim) == (256, 16)
    assert CriticGPTConfig(n_embd=64, n_head=4, intermediate_size=100).intermediate_size == 100
    assert make_config(hidden_size=6, position_embedding_type="absolute").head_dim == 3


def test_every_own_field_is_documented_with_its_default():
    inherited = {"bos_token_id", "eos_token_id", "tie_word_embeddings"}  # in every configuration of Transformers
    documented = CriticGPTConfig.__doc__
    own = {name for name in CriticGPTConfig.__annotations__ if name not in inherited}
    for field in dataclasses.fields(CriticGPTConfig):
        if field.name in own:
            entry = documented.split(f"{field.name} (`", 1)
            assert len(entry) == 2, f"{field.name} is not documented"
            if field.default is not None:
                default = f'"{field.default}"' if isinstance(field.default, str) else str(field.default)
                signature = entry[1].split("):", 1)[0].replace("1e-5", "1e-05")
                assert f"`{default}`" in signature or f"defaults to {default}" in signature, field.name


def test_the_configuration_file_imports_no_torch():
    tree = ast.parse(Path(configuration.__file__).read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        modules = []
        if isinstance(node, ast.Import):
            modules = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            modules = [node.module or ""]
        assert not any(module.split(".")[0] == "torch" for module in modules)


# ---- aliases ----


@pytest.mark.parametrize(
    ("alias", "name", "value"),
    [
        ("n_layer", "num_hidden_layers", 3),
        ("n_head", "num_attention_heads", 4),
        ("n_embd", "hidden_size", 24),
        ("block_size", "max_position_embeddings", 7),
        ("bias", "use_bias", True),
    ],
)
def test_an_alias_is_the_same_field_in_every_way(alias, name, value):
    config, other = make_config(**{alias: value}), make_config()
    assert getattr(config, name) == getattr(config, alias) == value
    assert config.to_dict()[name] == value and alias not in config.to_dict()
    setattr(other, alias, value)
    assert getattr(other, name) == value


# ---- older configurations ----


def old_gpt_keys(**changes) -> dict:
    shape = {"vocab_size": 20, "n_layer": 2, "n_head": 2, "n_embd": 8, "block_size": 12}
    return {"model_type": "critic_gpt", **shape, "bias": True, "dropout": 0.1, **changes}


def test_an_older_configuration_without_critic_fields_loads_with_the_critic_off(tmp_path, warnings_seen):
    (tmp_path / "config.json").write_text(json.dumps(old_gpt_keys()))
    config = CriticGPTConfig.from_pretrained(tmp_path)
    assert config.add_critic_head is False
    assert (config.critic_alpha, config.critic_target_scope, config.mask_token_id) == (0.5, "masked_only", None)
    assert (config.hidden_size, config.intermediate_size, config.use_bias) == (8, 32, True)
    assert config.hidden_dropout == config.attention_dropout == 0.1
    assert not warnings_seen


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ({"attention_type": "causal"}, {"is_causal": True}),
        ({"attention_type": "bidirectional"}, {"is_causal": False}),
        ({"position_encoding": "rotary"}, {"position_embedding_type": "rotary"}),
        ({"position_encoding": "absolute"}, {"position_embedding_type": "absolute"}),
        ({"num_token_classes": 5}, {"num_labels": 5}),
        ({"num_token_classes": 5, "binary_classification": True}, {"num_labels": 2}),
        ({"num_token_classes": 5, "binary_classification": False}, {"num_labels": 5}),
        ({"num_token_classes": None}, {"num_labels": 2}),
        ({"dropout": 0.25}, {"hidden_dropout": 0.25, "attention_dropout": 0.25}),
        ({"dropout": 0}, {"hidden_dropout": 0, "attention_dropout": 0}),
        ({"some_new_field": 7}, {"some_new_field": 7}),  # kept for who understands it
    ],
)
def test_older_keys_are_understood_silently_and_not_kept(old, new, warnings_seen):
    config = CriticGPTConfig.from_dict(old_gpt_keys(**old))
    for name, value in new.items():
        assert getattr(config, name) == value
    assert not (set(old) - set(new)) & set(config.to_dict()) and not warnings_seen
    assert fields_of(CriticGPTConfig.from_dict(config.to_dict())) == fields_of(config)


@pytest.mark.parametrize(
    ("mode", "name"),
    [
        ("language_model", "CriticGPTForMaskedLM"),
        ("token_classifier", "CriticGPTForTokenClassification"),
        ("sequence_scorer", "CriticGPTForSequenceClassification"),
        ("ModelMode.SEQUENCE_SCORER", "CriticGPTForSequenceClassification"),
        ("never heard of", "CriticGPTForMaskedLM, CriticGPTForTokenClassification"),
    ],
)
def test_an_older_mode_is_named_in_one_warning_with_the_class_to_use(mode, name, warnings_seen):
    config = CriticGPTConfig.from_dict(old_gpt_keys(mode=mode))
    assert len(warnings_seen) == 1
    assert "`mode=" in warnings_seen[0] and name in warnings_seen[0]
    assert "mode" not in config.to_dict() and (config.num_labels == 1) == (name.endswith("SequenceClassification"))


# ---- errors ----

ERRORS = [
    ({"vocab_size": 0}, "`vocab_size` must be at least 1, got 0"),
    ({"hidden_size": 0}, "`hidden_size` must be at least 1, got 0"),
    ({"intermediate_size": -4}, "`intermediate_size` must be at least 1, got -4"),
    ({"num_hidden_layers": 0}, "`num_hidden_layers` must be at least 1, got 0"),
    ({"num_attention_heads": 0}, "`num_attention_heads` must be at least 1, got 0"),
    ({"max_position_embeddings": 0}, "`max_position_embeddings` must be at least 1, got 0"),
    ({"num_attention_heads": 3}, "`hidden_size` must be a multiple of `num_attention_heads` (3), got 16"),
    ({"n_embd": 6, "n_head": 2}, "`hidden_size / num_attention_heads` must be even for rotary positions, got 3"),
    ({"mask_token_id": 32}, "`mask_token_id` must be in [0, vocab_size = 32), got 32"),
    ({"mask_token_id": -1}, "`mask_token_id` must be in [0, vocab_size = 32), got -1"),
    ({"pad_token_id": 99}, "`pad_token_id` must be in [0, vocab_size = 32), got 99"),
    ({"eos_token_id": 32}, "`eos_token_id` must be in [0, vocab_size = 32), got 32"),
    ({"eos_token_id": [3, 40]}, "`eos_token_id` must be in [0, vocab_size = 32), got [3, 40]"),
    ({"bos_token_id": -5}, "`bos_token_id` must be in [0, vocab_size = 32), got -5"),
    ({"pad_token_id": 1}, "`pad_token_id` must differ from `mask_token_id`, got 1 for both"),
    ({"critic_regime": "half"}, "`critic_regime` must be one of full, partial, mixed, sparse, got 'half'"),
    ({"critic_target_scope": "some"}, "`critic_target_scope` must be one of masked_only, masked_and_ignore, all, got"),
    ({"critic_fill": "beam"}, "`critic_fill` must be one of multinomial, argmax, got 'beam'"),
    ({"position_embedding_type": "alibi"}, "`position_embedding_type` must be one of rotary, absolute, both, got"),
    ({"critic_alpha": -0.5}, "`critic_alpha` must be a finite number of at least 0, got -0.5"),
    ({"critic_alpha": math.nan}, "`critic_alpha` must be a finite number of at least 0, got nan"),
    ({"correction_alpha": -1}, "`correction_alpha` must be a finite number of at least 0, got -1"),
    ({"correction_alpha": math.inf}, "`correction_alpha` must be a finite number of at least 0, got inf"),
    ({"remaining_alpha": -0.1}, "`remaining_alpha` must be a finite number of at least 0, got -0.1"),
    ({"critic_fill_exponent": 0}, "`critic_fill_exponent` must be a finite number above 0, got 0"),
    ({"critic_fill_exponent": math.nan}, "`critic_fill_exponent` must be a finite number above 0, got nan"),
    ({"critic_head_type": "deep"}, "`critic_head_type` must be one of linear, mlp, odds, got 'deep'"),
    (
        {"critic_regime": "full", "remaining_alpha": 0.5},
        '`remaining_alpha` must be 0 with `critic_regime="full"`, which fills every mask, got 0.5',
    ),
    (
        {"critic_regime": "full", "critic_fill_exponent": 2},
        '`critic_fill_exponent` must be 1 with `critic_regime="full"`, which fills every mask, got 2',
    ),
    ({"hidden_dropout": 1.0}, "`hidden_dropout` must be in [0, 1), got 1.0"),
    ({"attention_dropout": -0.1}, "`attention_dropout` must be in [0, 1), got -0.1"),
    ({"dropout": 2}, "`hidden_dropout` must be in [0, 1), got 2"),
    ({"layer_norm_eps": 0.0}, "`layer_norm_eps` must be in (0, 1], got 0.0"),
    ({"layer_norm_eps": 1.5}, "`layer_norm_eps` must be in (0, 1], got 1.5"),
    ({"initializer_range": -0.02}, "`initializer_range` must be a finite number of at least 0, got -0.02"),
]


@pytest.mark.parametrize(("changes", "message"), ERRORS, ids=[str(changes) for changes, _ in ERRORS])
def test_an_error_names_field_rule_value_and_a_way_out_in_one_sentence(changes, message):
    with pytest.raises(StrictDataclassClassValidationError) as caught:
        make_config(**changes)
    text = str(caught.value.__cause__)
    assert isinstance(caught.value.__cause__, ValueError)
    assert text.startswith(message)
    way_out = text[len(message) :].split(": ", 1)[1]
    assert len(way_out) > 10 and text.endswith(".") and "\n" not in text


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"hidden_size": "16"}, "hidden_size"),
        ({"n_embd": "16"}, "hidden_size"),
        ({"add_critic_head": "yes"}, "add_critic_head"),
        ({"critic_alpha": "much"}, "critic_alpha"),
        ({"mask_token_id": 1.5}, "mask_token_id"),
    ],
)
def test_a_value_of_a_wrong_type_is_refused_by_field(changes, name):
    with pytest.raises(StrictDataclassFieldValidationError, match=f"'{name}'"):
        make_config(**changes)


def test_arguments_that_override_a_saved_configuration_are_checked_too_and_so_are_changes(tmp_path):
    config = make_config()
    config.save_pretrained(tmp_path)
    config.mask_token_id = 99
    with pytest.raises(StrictDataclassClassValidationError, match="`mask_token_id` must be in"):
        config.save_pretrained(tmp_path)
    assert CriticGPTConfig.from_pretrained(tmp_path, add_critic_head=True, critic_alpha=2).critic_alpha == 2
    with pytest.raises(StrictDataclassClassValidationError, match="`mask_token_id` must be in"):
        CriticGPTConfig.from_pretrained(tmp_path, mask_token_id=999)
    with pytest.raises(StrictDataclassClassValidationError, match="`critic_alpha` must be"):
        CriticGPTConfig.from_pretrained(tmp_path, critic_alpha=-1, return_unused_kwargs=True)
    for key, value in (("attention_type", "sideways"), ("position_encoding", "sinusoidal")):
        with pytest.raises(ValueError, match=rf"`{key}` must be one of .*, got '{value}'"):
            make_config(**{key: value})


# ---- what every configuration of Transformers can do ----


def test_a_configuration_survives_json_and_saving(tmp_path):
    config = make_config(add_critic_head=True, critic_fill="argmax", eos_token_id=[3, 4], num_labels=5, use_bias=True)
    config.to_json_file(tmp_path / "own.json")
    assert json.loads(config.to_json_string())["critic_fill"] == "argmax"
    assert fields_of(CriticGPTConfig.from_json_file(tmp_path / "own.json")) == fields_of(config)
    config.save_pretrained(tmp_path / "deeper" / "still")
    assert fields_of(CriticGPTConfig.from_pretrained(tmp_path / "deeper" / "still")) == fields_of(config)
    assert fields_of(CriticGPTConfig.from_pretrained(tmp_path, subfolder="deeper/still")) == fields_of(config)
    assert fields_of(copy.deepcopy(config)) == fields_of(config)


def test_auto_config_finds_the_class(tmp_path):
    make_config().save_pretrained(tmp_path)
    loaded = AutoConfig.from_pretrained(tmp_path)
    assert type(loaded) is CriticGPTConfig
    assert fields_of(loaded) == fields_of(make_config())
    assert type(AutoConfig.for_model("critic_gpt")) is CriticGPTConfig


def test_the_number_of_labels_brings_names_along():
    config = make_config(num_labels=5)
    assert len(config.id2label) == len(config.label2id) == 5
    config.num_labels = 3
    assert len(config.id2label) == len(config.label2id) == 3


def test_common_arguments_of_every_configuration_are_taken():
    common = {
        "return_dict": False,
        "output_hidden_states": True,
        "dtype": "float32",
        "chunk_size_feed_forward": 5,
        "architectures": ["CriticGPTModel"],
        "id2label": {0: "right", 1: "wrong"},
        "label2id": {"right": 0, "wrong": 1},
        "problem_type": "regression",
    }
    config = make_config(**common)
    for name, value in common.items():
        found = getattr(config, name)
        assert str(found).removeprefix("torch.") == str(value), name
    assert isinstance(config, PretrainedConfig)
    for name in ("hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size"):
        setattr(config, name, 48)
        assert getattr(config, name) == 48


def test_importing_and_building_say_nothing(caplog):
    with caplog.at_level(logging.WARNING):
        make_config(add_critic_head=True)
    assert not caplog.records
