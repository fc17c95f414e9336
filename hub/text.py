# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How a text becomes tokens, the same for prepared data and for prompts."""

import re


BYTE_ORDER_MARK = "\ufeff"
_SURROGATES = re.compile("[\ud800-\udfff]")


def without_byte_order_mark(text: str) -> str:
    """A text without the mark of a file's encoding, which is no character of the text."""
    return text.removeprefix(BYTE_ORDER_MARK)


def lone_surrogate(text: str) -> str | None:
    """The first half of a character that stands alone and is none, if any."""
    found = _SURROGATES.search(text)
    return None if found is None else found.group()
