# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Reads settings from files: YAML or JSON, as plain values; nothing in them is run."""

from pathlib import Path
from typing import Any

import yaml

from critic_gpt.hub.documents import MAX_DEPTH, read_bytes, read_json


SETTINGS_SUFFIXES = (".yaml", ".yml", ".json")
# Of a YAML file, which somebody writes by hand and whose parser is slow.
MAX_BYTES = 2**15
# Of a YAML file whose aliases are written out.
MAX_VALUES = 100_000


class _BoundedLoader(yaml.SafeLoader):
    """Plain values, as `yaml.safe_load` gives them, of bounded depth; not more of them than aliases may stand for."""

    depth = 0

    def compose_node(self, parent, index):
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise ValueError(f"it must nest at most {MAX_DEPTH} levels of lists and objects, and nests more")
        node = super().compose_node(parent, index)
        self.depth -= 1
        return node

    def get_single_node(self):
        node = super().get_single_node()
        if node is not None:
            _written_out(node, {})
        return node


def _written_out(node: yaml.Node, known: dict[int, int | None]) -> int:
    """How many values a node stands for, refused where they are too many or without end."""
    if id(node) in known:
        count = known[id(node)]
        if count is None:
            raise ValueError("an alias must not stand within what it names, and one does")
        return count
    known[id(node)] = None
    count = 1
    if isinstance(node, yaml.CollectionNode):
        for value in node.value:
            for part in value if isinstance(value, tuple) else (value,):
                count += _written_out(part, known)
    if count > MAX_VALUES:
        raise ValueError(f"it must hold at most {MAX_VALUES:,} values with its aliases written out, and holds more")
    known[id(node)] = count
    return count


def parse_yaml(text: str) -> Any:
    """
    The value of a YAML document.

    Raises:
        `ValueError`: It does not parse, is nested too deeply, or its aliases stand for too much; the reason in one
            line, for the caller's own sentence.
    """
    try:
        return _BoundedLoader(text).get_single_data()
    except RecursionError as error:
        raise ValueError(f"it must nest at most {MAX_DEPTH} levels of lists and objects, and nests more") from error
    except (ValueError, TypeError, LookupError, AttributeError, ArithmeticError, yaml.YAMLError) as error:
        # The parser has errors of its own for values that are no date, no number or no key.
        raise ValueError(" ".join(str(error).split()).rstrip(".")) from error


def parse_settings(path: Path) -> Any:
    """
    The content of a YAML or JSON file, by its ending.

    Args:
        path (`Path`): A file with one of `SETTINGS_SUFFIXES`.

    Raises:
        `OSError`: It cannot be read.
        `ValueError`: It does not parse, is not UTF-8, too large or nested too deeply; the reason in one line, for the
            caller's own sentence.
    """
    if path.suffix.lower() == ".json":
        return read_json(path)
    return parse_yaml(read_bytes(path, MAX_BYTES).decode("utf-8"))
