# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The file `calibration.json`: read it, check it, merge into it, replace it in one step. Knows nothing of models.

{"model.safetensors": [100 floats], ..., "__metadata__": {"format_version": 1, "entries": {key: {...}}}}
"""

import json
import re
from collections.abc import Iterable, Mapping
from numbers import Real
from pathlib import Path

from critic_gpt.calibration.metadata import metadata_fault
from critic_gpt.hub.documents import read_json
from critic_gpt.hub.files import LOCK_SECONDS, locked, replace_file


NUM_BUCKETS = 100
CALIBRATION_NAME = "calibration.json"
METADATA_KEY = "__metadata__"  # the reserved key of safetensors, for the same purpose
FORMAT_VERSION = 1
MAX_BYTES = 4 * 2**20  # a thousand tables


def table_fault(values) -> str | None:
    """What keeps `values` from being a table, as "must ..., got ..."; `None` if nothing does."""
    if not isinstance(values, Iterable) or isinstance(values, (str, Mapping)):
        return f"must be a list of {NUM_BUCKETS} numbers, got {values!r:.60}"
    values = list(values)
    if len(values) != NUM_BUCKETS:
        return f"must hold {NUM_BUCKETS} numbers, got {len(values)}"
    for index, value in enumerate(values):
        if (
            not isinstance(value, Real) or isinstance(value, bool) or not 0.0 <= float(value) <= 1.0
        ):  # NaN is never between
            return f"must hold finite numbers in [0, 1], got {value!r:.60} at index {index}"
    return None


def _document_fault(document) -> str | None:
    """What keeps a parsed `calibration.json` from being ours; `None` if nothing does."""
    if not isinstance(document, dict):
        return f"must be a JSON object, got {type(document).__name__}"
    metadata = document.get(METADATA_KEY, {})  # absent in old files
    if not isinstance(metadata, dict):
        return f"`{METADATA_KEY}` must be an object, got {metadata!r:.60}"
    version = metadata.get("format_version", FORMAT_VERSION)
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        return f"`format_version` must be between 1 and {FORMAT_VERSION}, got {version!r:.60} (newer software?)"
    entries = metadata.get("entries", {})
    if not isinstance(entries, dict) or not all(isinstance(value, dict) for value in entries.values()):
        return f"`{METADATA_KEY}` must hold an object of objects in `entries`, got {entries!r:.60}"
    faults = [(key, table_fault(values)) for key, values in document.items() if key != METADATA_KEY]
    faults += [(key, metadata_fault(entry)) for key, entry in entries.items()]
    return next((f"entry `{key:.60}` {fault}" for key, fault in faults if fault), None)


def read_document(path: Path) -> dict:
    """The parsed file, `{}` if there is none; `ValueError` if it is not ours. Never writes."""
    try:
        document = read_json(path, constants=False, max_bytes=MAX_BYTES)
        fault = _document_fault(document)
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except ValueError as error:
        fault = f"must be JSON, got {error}"
    if fault:
        raise ValueError(f"{path}: {fault}; the file is left as it is, move it away and calibrate again.")
    return document


def entry_name(key: str) -> str:
    """The name under which a table is kept: the last part of `key`, whichever slash separates the parts."""
    name = re.split(r"[\\/]", key.rstrip("\\/"))[-1]
    if name in ("", METADATA_KEY):
        raise ValueError(
            f"`key` must be the file name of the weights, got {key!r}; pass for instance `model.safetensors`."
        )
    return name


def find_entry(document: dict, key: str, path: Path) -> str | None:
    """The entry that `key` means: an exact match, else the one with the same last path part; `None` without one."""
    name = entry_name(key)
    exact = [entry for entry in (key, name) if entry in document]
    similar = [entry for entry in document if entry != METADATA_KEY and entry_name(entry) == name]
    if not exact and len(similar) > 1:
        raise ValueError(f"`key` must mean one entry of {path}, got {key!r} for {similar}; pass one of them in full.")
    return next(iter(exact + similar), None)


def merge_entry(document: dict, key: str, probabilities: Iterable[float], entry_metadata: dict) -> dict:
    """The document with one table added or replaced, and what is known about it."""
    metadata = {**document.get(METADATA_KEY, {}), "format_version": FORMAT_VERSION}
    metadata["entries"] = {**metadata.get("entries", {}), key: entry_metadata}
    return {**document, key: list(probabilities), METADATA_KEY: metadata}


def render_document(document: dict) -> str:
    """One line per table, keys sorted, metadata last: the same tables give the same bytes, and a diff can be read."""
    keys = sorted(document, key=lambda key: (key == METADATA_KEY, key))
    lines = [f"  {json.dumps(key)}: {json.dumps(document[key], sort_keys=True, allow_nan=False)}" for key in keys]
    return "{\n" + ",\n".join(lines) + "\n}\n"


def update_file(
    path: Path, key: str, probabilities: Iterable[float], entry_metadata: dict, timeout: float = LOCK_SECONDS
) -> None:
    """
    Adds one table to the file, under a lock beside it, so that writers lose nothing.

    Raises:
        `TimeoutError`: Another writer holds the lock for longer than `timeout` seconds; the message says which.
        `OSError`: The file cannot be written.
        `ValueError`: It is not ours.
    """
    with locked(path, timeout):
        for stale in path.parent.glob(f"_{path.name}.*.tmp"):  # of a killed writer: no other one is at it now
            stale.unlink(missing_ok=True)
        replace_file(path, render_document(merge_entry(read_document(path), key, probabilities, entry_metadata)))
