# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""docs/REFERENCE.md, docs/HUGGING_FACE.md and docs/RELIABILITY.md name places and tests that exist."""

import ast
import re
from functools import cache
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs" / "REFERENCE.md"
BEHAVIOURS = (ROOT / "docs" / "HUGGING_FACE.md", ROOT / "docs" / "RELIABILITY.md")
# `file.py::name` or `file.py::Class.name`
PLACE = re.compile(r"`([\w/]+\.py)::([\w.]+)`")


@cache
def names_in(path: str) -> frozenset[str]:
    """Functions, classes, their methods and fields, and assigned names of a file."""
    names = set()
    for node in ast.parse((ROOT / path).read_text(encoding="utf-8")).body:
        names |= own_names(node)
        if isinstance(node, ast.ClassDef):
            names |= {f"{node.name}.{name}" for inner in node.body for name in own_names(inner)}
    return frozenset(names)


def own_names(node: ast.stmt) -> set[str]:
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return {node.name}
    targets = []
    if isinstance(node, ast.Assign):
        targets = node.targets
    elif isinstance(node, ast.AnnAssign):
        targets = [node.target]
    return {target.id for target in targets if isinstance(target, ast.Name)}


def rows(page: Path = PAGE) -> list[list[str]]:
    """The cells of every row of every table, without the heads."""
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if line.startswith("|")]
    cells = [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]
    return [row for row in cells if not row[0].startswith("---") and row[0] not in ("what", "behaviour", "kind")]


@pytest.mark.parametrize("row", rows(), ids=lambda row: row[0][:60])
def test_a_row_names_a_place_and_a_test_that_exist(row):
    what, places, tests = row
    assert what
    assert PLACE.search(places) and PLACE.search(tests), "a row needs a place in the code and a test"
    for path, name in PLACE.findall(places) + PLACE.findall(tests):
        assert (ROOT / path).is_file(), f"{path} does not exist"
        assert name in names_in(path), f"{path} has no {name}"
    for path, name in PLACE.findall(tests):
        assert path.startswith("tests/") and Path(path).name.startswith("test_") and name.startswith("test_"), (
            f"{path}::{name} is no test"
        )


@pytest.mark.parametrize("row", [row for page in BEHAVIOURS for row in rows(page)], ids=lambda row: row[0][:60])
def test_a_behaviour_names_tests_that_exist(row):
    tests = PLACE.findall(row[-1])
    assert len(row) in (3, 4) and tests
    for path, name in tests:
        assert path.startswith("tests/") and name.startswith(("test_", "Rotary", "Absolute"))
        assert (ROOT / path).is_file() and name in names_in(path), f"{path} has no {name}"
