# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about JSON and YAML from outside: bounded in size, depth and aliases, and read in one place."""

import json
import re
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import critic_gpt
from critic_gpt import CriticGPTForMaskedLM
from critic_gpt.calibration.file import read_document
from critic_gpt.hub.documents import MAX_DEPTH, parse_json, read_json, read_object
from critic_gpt.training.measurements import read_measurements
from critic_gpt.training.settings_files import parse_settings, parse_yaml


ROOT = Path(critic_gpt.__file__).parent
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=20,
)


@given(VALUES)
def test_what_json_can_hold_is_read_as_it_is(value):
    text = json.dumps(value)
    assert parse_json(text) == parse_json(text.encode()) == value


@pytest.mark.parametrize(("begin", "end"), [("[", "]"), ('{"a": ', "}"), ('[{"a": ', "}]")])
def test_depth_is_bounded_to_the_level(begin, end):
    def nested(levels):
        count = levels // len(re.findall(r"[\[{]", begin))
        return begin * count + "1" + end * count

    assert parse_json(nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 2, 1000, 200_000):
        with pytest.raises(ValueError, match=f"must nest at most {MAX_DEPTH}"):
            parse_json(nested(levels))
    with pytest.raises(ValueError, match="must nest at most"):
        parse_json(begin * 200_000)
    assert parse_json(json.dumps("[" * 1000)) == "[" * 1000  # of brackets, not of their signs


@pytest.mark.parametrize("content", [b"\xff\xfe{", b"{", b"", b"9" * 5000, b'{"a": NaN}'])
def test_what_is_no_json_is_a_reason_in_one_line(content):
    with pytest.raises(ValueError) as error:
        parse_json(content, constants=False)
    assert "\n" not in str(error.value) and str(error.value)


def test_size_is_bounded_before_anything_is_parsed(tmp_path):
    path = tmp_path / "a.json"
    with path.open("wb") as file:
        file.truncate(2**34)  # 16 GiB of nothing
    with pytest.raises(ValueError, match="at most 8,388,608 bytes"):
        read_json(path)
    with pytest.raises(ValueError, match=r"`a\.json` must be a readable file.*at most .* bytes.*remove it"):
        read_object(path)
    with pytest.raises(ValueError, match="must be JSON, got it must have"):
        read_document(path)
    for suffix in (".json", ".yaml"):
        settings = tmp_path / f"settings{suffix}"
        settings.write_text("[" * 10**5)
        with pytest.raises(ValueError, match=r"must (nest|have) at most"):
            parse_settings(settings)


@pytest.mark.parametrize("value", ["[]", "{}", "0", '""', "[0]"])
def test_values_are_counted_before_they_are_made(value):
    document = "[" + f"{value}," * (2**23 // (len(value) + 1) - 1) + "0]"
    for data in (document, document.encode()):
        with pytest.raises(ValueError, match="must hold at most 524,288 values"):
            parse_json(data)
    assert len(parse_json("[" + f"{value}," * 200_000 + "0]")) == 200_001


@pytest.mark.parametrize("name", ["config.json", "generation_config.json"])
@pytest.mark.parametrize("content", ["[" * 100_000, "[]", "null", "", "{", "\x00", '{"a": ["' + "x" * 2**23 + '"]}'])
def test_a_damaged_configuration_is_refused_and_not_taken_for_a_missing_one(tiny_model, tmp_path, name, content):
    tiny_model().save_pretrained(tmp_path)
    (tmp_path / name).write_text(content)
    way_out = "mend it, or save the model again" if name == "config.json" else "mend it or remove it"
    words = rf"`{name}` must be a readable file, got .*; {way_out}\."
    with pytest.raises(ValueError, match=words) as error:
        CriticGPTForMaskedLM.from_pretrained(tmp_path)
    assert "\n" not in str(error.value)


LEVELS = "abcdefghijkl"


def bomb(opening: str, closing: str, first: str, begin: str = "") -> str:
    lines = [f"a: &a {first}"]
    for below, name in pairwise(LEVELS):
        lines.append(f"{name}: &{name} {opening}{begin}{', '.join([f'*{below}'] * 9)}{closing}")
    return "\n".join(lines)


@pytest.mark.parametrize(
    "text", [bomb("[", "]", "[x, x]"), bomb("{<<: [", "]}", "{k: 1, l: 2}"), bomb("{k: [", "]}", "{k: 1}")]
)
def test_aliases_do_not_multiply(text):
    with pytest.raises(ValueError, match="at most 100,000 values with its aliases written out"):
        parse_yaml(text)


def test_aliases_that_say_a_thing_twice_are_read():
    text = "base: &base {rate: 1, list: [1, 2]}\none: {<<: *base, rate: 2}\ntwo: *base\n"
    base = {"rate": 1, "list": [1, 2]}
    assert parse_yaml(text) == {"base": base, "one": {"rate": 2, "list": [1, 2]}, "two": base}
    for circle in ("a: &a [*a]", "a: &a {b: {c: *a}}"):
        with pytest.raises(ValueError, match="must not stand within what it names"):
            parse_yaml(circle)


NO_YAML = ["[" * 5000, "- " * 5000, "{a: " * 100 + "1" + "}" * 100, "a: 2001-99-99", "? [a]\n: 1", "a: !!timestamp x"]
NO_YAML += ["!!python/object/apply:os.getcwd []", "a: !!int " + "9" * 5000, "a\x00", "a: [", "a: 1\n---\nb: 2"]


@pytest.mark.parametrize("text", NO_YAML)
def test_what_is_no_plain_yaml_is_a_reason_in_one_line(text):
    with pytest.raises(ValueError) as error:
        parse_yaml(text)
    assert "\n" not in str(error.value) and str(error.value)


@pytest.mark.parametrize("content", ["[]", "1", '{"training": 5}', '{"evaluation": [1]}', "[" * 10**5])
def test_measurements_of_other_types_are_one_sentence(tmp_path, content):
    (tmp_path / "measurements.json").write_text(content)
    with pytest.raises(ValueError, match=r"`measurements\.json` must (be a readable file|hold objects)"):
        read_measurements(tmp_path)


def test_files_from_outside_are_read_in_one_place():
    # The benchmark talks JSON with a process of its own, a table copies its metadata through it, and a text to learn
    # from may be of any size.
    allowed = {
        "tasks/files.py",
        "training/runs.py",
        "hub/documents.py",
        "scripts/benchmark.py",
        "scripts/benchmark_worker.py",
        "calibration/table.py",
    }
    for path in ROOT.glob("**/*.py"):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(("tests/", ".venv/", "build/", "runs/")) and name not in allowed:
            assert not re.search(r"json\.loads?\(|yaml\.\w*load\w*\(", path.read_text(encoding="utf-8")), name
