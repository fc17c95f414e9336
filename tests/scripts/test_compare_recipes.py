# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the comparison of recipes of training."""

import json

import pytest
import yaml
from prepared_folders import as_flags, prepare_sudoku

from critic_gpt import CriticGPTConfig
from critic_gpt.scripts import compare_recipes
from critic_gpt.scripts.compare_recipes import read_recipes, summary_text, train_flags


BASE = {"add_critic_head": True, "hidden_size": 16, "num_attention_heads": 2, "num_hidden_layers": 1, "max_steps": 2}
BASE |= {"per_device_train_batch_size": 4, "use_cpu": True}
RECIPES = {
    "default": {},
    "language model": {"add_critic_head": False},
    "frozen trunk": {"after": "language model", "freeze_trunk": True},
}
FROZEN = {"num_attention_heads": None, "num_hidden_layers": None, "hidden_size": None}


@pytest.fixture
def write(tmp_path):
    def write(content):
        path = tmp_path / "recipes.yaml"
        path.write_text(yaml.safe_dump(content, sort_keys=False), encoding="utf-8")
        return str(path)

    return write


def test_what_a_recipe_begins_with_is_trained_before_it(write):
    path = write({"base": BASE, "seeds": [3], "recipes": RECIPES})
    base, seeds, recipes = read_recipes(path, ["frozen trunk"])
    assert (base, seeds, list(recipes)) == (BASE, [3], ["language model", "frozen trunk"])
    assert next(iter(read_recipes(path, None)[2])) == "language model" and len(read_recipes(path, None)[2]) == 3


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"recipe": {}}, "`recipes` must be a file with `recipes` by name"),
        ([1], "`recipes` must be a file with `recipes` by name"),
        ({"recipes": {"one": {"after": "two"}}}, "`recipes` must hold what is asked for, got 'two': it holds one."),
        (
            {"recipes": {"one": {"after": "two"}, "two": {"after": "three"}, "three": {}}},
            "`after` must name a recipe without one, got 'two'",
        ),
    ],
)
def test_a_file_that_is_none_is_refused(write, content, message):
    with pytest.raises(ValueError) as error:
        read_recipes(write(content), None)
    assert str(error.value).startswith(message) and "\n" not in str(error.value)


def test_flags_of_a_recipe_take_the_place_of_the_common_ones_and_none_takes_one_out(tmp_path):
    flags = train_flags({"max_steps": 2, "hidden_size": None, "after": "x"}, "data", tmp_path, tmp_path / "lm", 5)
    pairs = dict(zip(flags[::2], flags[1::2], strict=True))
    assert pairs["--max_steps"] == "2" and pairs["--seed"] == "5" and pairs["--data_dir"] == "data"
    assert pairs["--model_name_or_path"] == str(tmp_path / "lm")
    assert "--hidden_size" not in pairs and "--after" not in pairs


def test_the_table_shows_means_and_the_range_over_seeds():
    rows = {
        "1": {"bound": 0.5, "auroc": None, "ece": 0.1, "seconds_per_step": 0.25, "valid_rate": {"9": 0.2}},
        "2": {"bound": 0.7, "auroc": None, "ece": 0.3, "seconds_per_step": 0.35, "valid_rate": {"9": 0.4}},
    }
    text = summary_text({"plain": rows}, "valid_rate", [9])
    assert text.splitlines()[1].split() == ["plain", "0.6000", "0.2000", "0.300", "30.0%", "(20.0%", "to", "40.0%)"]


@pytest.mark.slow
def test_recipes_are_trained_measured_and_not_done_twice(tmp_path, write, capsys):
    data, output = prepare_sudoku(tmp_path / "data", splits=(40, 20, 20)), tmp_path / "runs"
    recipes = {**RECIPES, "frozen trunk": {**RECIPES["frozen trunk"], **FROZEN}}
    argv = as_flags(recipes=write({"base": BASE, "recipes": recipes}), data_dir=data, output_dir=output)
    argv += as_flags(num_samples=4, num_judged=8, forward_passes=2)
    found = compare_recipes.main(argv)["results"]
    assert list(found) == ["language model", "default", "frozen trunk"]
    for name, rows in found.items():
        assert rows["0"]["bound"] > 0 and rows["0"]["seconds_per_step"] > 0 and set(rows["0"]["valid_rate"]) == {"2"}
        assert (rows["0"]["auroc"] is None) == (name == "language model")
    frozen, before = (output / name / "seed0" for name in ("frozen_trunk", "language_model"))
    assert CriticGPTConfig.from_pretrained(frozen).add_critic_head
    assert found["frozen trunk"]["0"]["bound"] == pytest.approx(found["language model"]["0"]["bound"])
    assert (before / "model.safetensors").is_file()
    capsys.readouterr()
    times = {path: path.stat().st_mtime_ns for path in output.glob("*/seed0/model.safetensors")}
    assert compare_recipes.main(argv)["results"] == found
    assert times == {path: path.stat().st_mtime_ns for path in output.glob("*/seed0/model.safetensors")}
    assert json.loads((output / "recipes.json").read_text(encoding="utf-8"))["results"] == found
