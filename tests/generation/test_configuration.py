# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the configuration of generation as such."""

import json
import math

import pytest
from refusals import refused

from critic_gpt import CriticGPTGenerationConfig
from critic_gpt.generation.declarations import SETTINGS, remasking_names, strategy_settings
from critic_gpt.generation.strategies.registry import STRATEGIES
from critic_gpt.generation.strategy_declarations import UNMASKING


# Accepted fields that may be left unset: instead of something else, or not at all.
OPTIONAL = {"remask_floor", "error_threshold", "polish_threshold", "stop_when_expected_errors_below"}
OPTIONAL |= {"revision_threshold"}


def test_the_fields_are_frozen():
    assert set(CriticGPTGenerationConfig._FIELDS) == {
        *("max_new_tokens", "seed_placement", "num_steps", "unmasking", "remasking", "schedule", "token_draws"),
        *("remask_per_step", "entropy_bound", "confidence_threshold", "error_threshold", "start_ratio", "end_ratio"),
        *("remask_by", "remask_floor", "correction", "polish_steps", "polish_threshold"),
        *("stop_when_expected_errors_below", "num_candidates"),
        *("randomness_strength", "remask_selection", "selection_temperature"),
        *("remdm_eta", "loop_start", "loop_end", "loop_visible"),
        *("corrector_interval", "corrector_steps", "corrector_temperature"),
        *("temperature", "top_k", "top_p", "return_error_probabilities", "return_history"),
        *("return_dict_in_generate", "mask_token_id", "pad_token_id", "bos_token_id", "eos_token_id"),
        *("suppressed_token_ids", "answers", "remask_exponent", "remasked_first", "temperature_end"),
        *("block_length", "cache_implementation", "cache_refresh_interval", "revision_threshold"),
    }


def test_every_strategy_has_its_name_and_declares_known_fields():
    assert list(remasking_names()) == ["auto", *STRATEGIES]
    for name, strategy in STRATEGIES.items():
        assert strategy.name == name and strategy.family
        assert {*strategy.harmless, *strategy.unused_beside_threshold, *strategy.takes} <= set(strategy_settings())
        assert {setting for setting, default in strategy.takes.items() if default is None} <= OPTIONAL
    taken = {setting for strategy in STRATEGIES.values() for setting in strategy.takes}
    assert taken == set(strategy_settings()), "no setting is declared that no strategy takes"


def test_every_default_is_a_value_of_its_setting_and_stands_in_the_docstring():
    for name, setting in SETTINGS.items():
        defaults = [setting.default, setting.harmless, *(cls.takes.get(name) for cls in STRATEGIES.values())]
        for default in defaults:
            setting.check(default)
        assert f"\n        {name} ({setting.values.types}, *optional*" in CriticGPTGenerationConfig.__doc__
        # A condition or clash ties two settings of strategies to each other, or two that all strategies know.
        ties = [setting.condition and setting.condition.setting, setting.clash and setting.clash.other]
        others = {other for other in ties if other is not None}
        assert len({one in strategy_settings() for one in (name, *others)}) == 1
    assert 'defaults to 0.9, 0.97 under `"backtrack"`' in CriticGPTGenerationConfig.__doc__
    assert max(map(len, CriticGPTGenerationConfig.__doc__.splitlines())) <= 119


def test_settings_survive_saving_and_loading(tmp_path):
    fields = {"seed_placement": "random", "remasking": "critic_full", "schedule": [0.9, 0.5, 0.1], "num_steps": 3}
    fields |= {"remask_selection": "gumbel", "selection_temperature": 0.5, "start_ratio": 0.9, "num_candidates": 2}
    fields |= {"stop_when_expected_errors_below": 0.5}
    CriticGPTGenerationConfig(**fields).save_pretrained(tmp_path)
    loaded = CriticGPTGenerationConfig.from_pretrained(tmp_path)
    assert {name: getattr(loaded, name) for name in fields} == fields
    stored = json.loads((tmp_path / "generation_config.json").read_text(encoding="utf-8"))
    assert {name for name, value in stored.items() if value is not None} - {"transformers_version"} == set(fields)


# What a setting must be, and values that are not.
RULES = {
    "one of worst, gumbel": [("remask_selection", "best")],
    "one of prefix, random": [("seed_placement", "suffix")],
    "one of auto, remask, replace": [("correction", "erase")],
    "one of alternative, error, likelihood": [("remask_by", "score")],
    "true or false": [("remasked_first", "no"), ("remasked_first", 1)],
    "one of one, many": [("answers", "two"), ("answers", 1)],
    f"one of {', '.join(UNMASKING)}": [("unmasking", "best")],
    "linear, quadratic, root, cosine, a number above 0, a list of ratios or a function": [("schedule", "steep")],
    "in [0, 1]": [
        ("confidence_threshold", 1.1),
        ("polish_threshold", 2),
        ("remdm_eta", 1.5),
        ("randomness_strength", 2),
    ],
    "in (0, 1]": [("top_p", 0.0)],
    "in [0, 1)": [("remask_floor", 1.0)],
    "in (0, 1)": [("loop_start", 0.0), ("loop_visible", 1)],
    "above 0 and finite": [
        *(("temperature_end", value) for value in (0, -0.5, math.inf, math.nan, True, "0.5")),
        *(("selection_temperature", value) for value in (0, math.inf, True)),
        ("stop_when_expected_errors_below", 0),
    ],
    "at least 0 and finite": [
        *((name, value) for name in ("temperature", "remask_exponent") for value in (-1.0, math.inf)),
        *(("entropy_bound", -0.1), ("corrector_temperature", -1)),
    ],
    "a whole number of at least 0": [("polish_steps", -1)],
    "a whole number of at least 1": [
        *((name, value) for name in ("num_steps", "num_candidates") for value in (0, 1.5, True)),
        *(("corrector_interval", 0), ("corrector_steps", 1.5)),
    ],
    "a whole number of at least 0, a share in (0, 1) or half": [
        *(("remask_per_step", value) for value in (-1, 1.0, 0.0, 2.5, True))
    ],
}
WRONG = [
    *(
        ({name: value}, f"`{name}` must be {rule}, got {value!r}: ")
        for rule, bad in RULES.items()
        for name, value in bad
    ),
    (
        {"remask_selection": "gumbel", "randomness_strength": 0.1},
        '`randomness_strength` must be 0 beside `remask_selection="gumbel"`, which draws by chance',
    ),
    ({"temperature": 0, "temperature_end": 0.3}, "`temperature_end` must be left out at `temperature=0`, which takes"),
    ({"loop_start": 0.7, "loop_end": 0.3}, "`loop_start` must lie below `loop_end`, got 0.7 and 0.3: "),
    ({"remask_slection": "worst"}, "`remask_slection` is not an argument of generation, got 'worst': did you mean "),
]


@pytest.mark.parametrize(("fields", "message"), WRONG)
def test_a_wrong_field_is_refused_in_one_sentence(fields, message):
    with refused(start=message):
        CriticGPTGenerationConfig(**fields)


def test_a_draw_without_randomness_is_allowed():
    for selection, strength in (("gumbel", 0.0), ("worst", 0.5)):
        config = CriticGPTGenerationConfig(remask_selection=selection, randomness_strength=strength)
        assert (config.remask_selection, config.randomness_strength) == (selection, strength)
