# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What every refusal is: one sentence that names the field, the rule, the value and the way out."""

from contextlib import contextmanager

import pytest


@contextmanager
def one_sentence(*parts, error=ValueError, begins=""):
    """Expects an error whose text is one sentence that holds all `parts`."""
    with pytest.raises(error) as caught:
        yield caught
    text = str(caught.value)
    assert "\n" not in text and text.endswith((".", "?")) and text.startswith(begins), text
    for part in parts:
        assert part in text, text
