# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How a text becomes tokens, the same for prepared data and for prompts."""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from typing import Any


BYTE_ORDER_MARK = "\ufeff"
_SURROGATES = re.compile("[\ud800-\udfff]")
# How a tokenizer is asked for tokens and their places in a text.
OFFSETS = {"add_special_tokens": False, "return_offsets_mapping": True, "verbose": False}


def without_byte_order_mark(text: str) -> str:
    """A text without the mark of a file's encoding, which is no character of the text."""
    return text.removeprefix(BYTE_ORDER_MARK)


def lone_surrogate(text: str) -> str | None:
    """Half of a character that stands alone and is none, if there is any."""
    found = _SURROGATES.search(text)
    return None if found is None else found.group()


def placed_tokens(tokenizer: Any, text: str) -> Iterator[tuple[int | None, int, int]]:
    """
    Tokens of a text with their places, as the tokenizer makes them of the whole text, with these exceptions:

    - A byte order mark at the beginning has no token.
    - Half of a character has the token `None`.
    - Around a mask nothing is lost and nothing added: the space that belongs to the mask is part of its place, other
      white space stays, and no space is put before what follows.

    Args:
        tokenizer (`PreTrainedTokenizerFast`):
            The tokenizer.
        text (`str`):
            The text; the literals of special tokens in it are these tokens.
    """
    done = begin = len(text) - len(without_byte_order_mark(text))
    mask, mask_id = tokenizer.mask_token, tokenizer.mask_token_id
    masks = [] if mask is None else [found.span() for found in re.finditer(re.escape(mask), text)]
    takes_space = bool(masks) and tokenizer.added_tokens_decoder[mask_id].lstrip
    puts_space = bool(masks) and _puts_a_space_before(tokenizer)
    for start, end in masks:
        # One space is the mask's, where it takes any.
        start -= takes_space and text.endswith(" ", done, start)
        yield from _part(tokenizer, text, done, start, done > begin and puts_space)
        yield mask_id, start, end
        done = end
    yield from _part(tokenizer, text, done, len(text), done > begin and puts_space)


def _part(tokenizer: Any, text: str, begin: int, end: int, within: bool) -> Iterator[tuple[int | None, int, int]]:
    """Tokens of a part of a text without masks; `within`: as one that does not begin there."""
    for stretch in re.finditer("[\ud800-\udfff]|[^\ud800-\udfff]+", text[begin:end]):
        start = begin + stretch.start()
        if lone_surrogate(stretch.group()) is not None:
            yield None, start, start + 1
        else:
            yield from (_encoded_within if within else _encoded)(tokenizer, stretch.group(), start)


def _encoded(tokenizer: Any, text: str, begin: int) -> Iterator[tuple[int, int, int]]:
    encoding = tokenizer(text, **OFFSETS)
    for token, (start, end) in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True):
        yield token, begin + start, begin + end


def _encoded_within(tokenizer: Any, text: str, begin: int) -> Iterator[tuple[int, int, int]]:
    """Tokens of a text that does not begin there: those behind a character with which they share no token."""
    for character in "\na.":
        placed = list(_encoded(tokenizer, character + text, begin - 1))
        own = [token for token in placed if token[1] >= begin]
        if all(token[2] <= begin for token in placed[: len(placed) - len(own)]):
            return iter(own)
    return _encoded(tokenizer, text, begin)


def leaves_a_space_before(tokenizer: Any) -> bool:
    """Whether the tokenizer puts a space before each text that its decoding does not take away again."""
    try:
        ids = tokenizer("a", add_special_tokens=False, verbose=False)["input_ids"]
    except Exception:  # as below
        return False
    return tokenizer.decode(ids, clean_up_tokenization_spaces=False) == " a"


def _puts_a_space_before(tokenizer: Any) -> bool:
    """Whether the tokenizer puts a space before each text, and before each part of it behind a special token."""
    try:
        alone, within = (list(encoded(tokenizer, "a", 1)) for encoded in (_encoded, _encoded_within))
    except Exception:  # what a tokenizer of few characters without an unknown token raises has no class of its own
        return False
    return [token for token, _, _ in alone] != [token for token, _, _ in within]


def uncovered(tokenizer: Any, text: str, tokens: Sequence[tuple[int | None, int, int]]) -> list[bool]:
    """
    Which characters (one entry each) no token stands for. White space, which tokenizers drop as they like, a byte
    order mark and accents that the tokenizer composes with their letter are none of these.
    """
    covered = bytearray(len(text))
    for _, start, end in tokens:
        covered[start:end] = b"\1" * (end - start)
    lost = [
        not seen and not character.isspace() and not (place == 0 and character == BYTE_ORDER_MARK)
        for place, (seen, character) in enumerate(zip(covered, text, strict=True))
    ]
    if any(lost) and tokenizer.is_fast and any(unicodedata.combining(character) for character in text):
        composed = unicodedata.normalize("NFC", text)
        if [token for token, _, _ in placed_tokens(tokenizer, composed)] == [token for token, _, _ in tokens]:
            return [gone and not unicodedata.combining(character) for gone, character in zip(lost, text, strict=True)]
    return lost
