# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Three rows of 24 tokens, and an explorer of them."""

import pytest

from critic_gpt.explorer import Explorer


@pytest.fixture
def rows():
    return [{"input_ids": [2 + (7 * row + place) % 30 for place in range(24)]} for row in range(3)]


@pytest.fixture
def explorer(unsure_model, tokenizer, rows):
    return Explorer(unsure_model, tokenizer, {"validation": rows, "test": rows[:1]})
