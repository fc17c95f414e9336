# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Which types the entries of a table's metadata have that are read again: a file from outside may hold anything."""

import math
from collections.abc import Callable, Mapping
from typing import Any

from critic_gpt.calibration.text_score import TEXT_SCORES


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _is_count(value: Any) -> bool:
    return type(value) is int and value >= 0


# In words, and how it is told.
TEXT = ("text", lambda value: isinstance(value, str))
TEXTS = ("a list of texts", lambda value: isinstance(value, list) and all(isinstance(each, str) for each in value))
NUMBER = ("a finite number", _is_number)
SHARE = ("a number in [0, 1]", lambda value: _is_number(value) and 0 <= value <= 1)
COUNT = ("a whole number of at least 0", _is_count)
COUNTS = ("a list of whole numbers", lambda value: isinstance(value, list) and all(map(_is_count, value)))
Kind = tuple[str, Callable[[Any], bool]]

_FIGURES = {"ece": SHARE, "brier": SHARE, "auroc": SHARE}
_QUALITY = {"before": _FIGURES, "after": _FIGURES, "positions": COUNT, "positive_rate": SHARE, "expected_rate": SHARE}
KINDS: dict[str, Any] = {
    **dict.fromkeys(("fingerprint", "method", "source", "task", "dataset", "split", "remasking", "scope"), TEXT),
    "text_score": (f"one of {', '.join(TEXT_SCORES)}", lambda value: value in TEXT_SCORES),
    **dict.fromkeys(("temperature", "top_p"), NUMBER),
    **dict.fromkeys(("num_sequences", "num_steps", "top_k"), COUNT),
    **dict.fromkeys(("counts", "positives"), COUNTS),
    "fingerprints_float16": TEXTS,
    "positive_rate": SHARE,
    "mask_rate": SHARE,
    "planted_rate": SHARE,
    "found_at_one_percent": SHARE,
    "quality": _QUALITY,
}
# Without these a report of quality is none.
_REQUIRED = {
    "quality": ("before", "after", "positions", "positive_rate"),
    "before": tuple(_FIGURES),
    "after": tuple(_FIGURES),
}


def metadata_fault(metadata: Mapping[str, Any], kinds: Mapping[str, Any] = KINDS) -> str | None:
    """
    What keeps an entry of the metadata from being ours, as "`field` must be ..., got ..."; `None` if nothing does.
    Every entry may be `None` or missing, but for the figures of a report; what has another name is not looked at.
    """
    for name, kind in kinds.items():
        value = metadata.get(name)
        if value is None:
            continue
        if isinstance(kind, Mapping):
            if not isinstance(value, Mapping):
                return f"`{name}` must be an object, got {value!r:.60}"
            missing = [key for key in _REQUIRED[name] if key not in value]
            fault = f"`{name}` must hold `{missing[0]}`, got none" if missing else metadata_fault(value, kind)
            if fault:
                return fault
        elif not kind[1](value):
            return f"`{name}` must be {kind[0]}, got {value!r:.60}"
    return None
