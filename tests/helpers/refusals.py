# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What every refusal keeps to."""

from collections.abc import Iterator
from contextlib import contextmanager

import pytest


@contextmanager
def refused(*parts: str, start: str = "", match: str | None = None, error: type[Exception] = ValueError) -> Iterator:
    """What is done within is refused in one sentence, which has the `parts`; `start` and `match` say how it begins."""
    with pytest.raises(error) as caught:
        yield
    text = str(caught.value)
    assert "\n" not in text and text.endswith((".", "?")), text
    assert text.startswith(start) and all(part in text for part in parts), text
    assert match is None or caught.match(f"^{match}")
