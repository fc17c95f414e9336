# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Reads settings from files: YAML or JSON, as plain values; nothing in them is run."""

import json
from pathlib import Path
from typing import Any

import yaml


SETTINGS_SUFFIXES = (".yaml", ".yml", ".json")


def parse_settings(path: Path) -> Any:
    """
    The content of a YAML or JSON file, by its ending.

    Args:
        path (`Path`): A file with one of `SETTINGS_SUFFIXES`.

    Raises:
        `OSError`: It cannot be read.
        `ValueError`: It does not parse, or is not UTF-8; the reason in one line, for the caller's own sentence.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return json.loads(text) if path.suffix.lower() == ".json" else yaml.safe_load(text)
    except (ValueError, yaml.YAMLError) as error:
        raise ValueError(" ".join(str(error).split()).rstrip(".")) from error
