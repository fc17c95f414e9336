# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a word is, in scripts with and without spaces between words."""

import itertools
from collections.abc import Iterable, Iterator

import regex


# `\w` of `re` knows no marks and cuts Hindi at every vowel sign. Joiners stand within Indic and Persian words.
_UNSPACED = r"\p{Han}\p{Hiragana}\p{Katakana}\p{Bopomofo}\p{Line_Break=Complex_Context}ー"
_WORD_CHARACTER = regex.compile(r"[\w\p{N}\p{M}\p{Join_Control}]")
_WORD = regex.compile(
    rf"(?P<unspaced>[{_UNSPACED}][{_UNSPACED}\p{{M}}\p{{Join_Control}}]*)"
    rf"|(?P<word>[[\w\p{{N}}]--[{_UNSPACED}\p{{M}}]][[\w\p{{N}}\p{{M}}\p{{Join_Control}}]--[{_UNSPACED}]]*)",
    regex.V1,
)
_GRAPHEME = regex.compile(r"\X")


def words_of(text: str, whole_only: bool = False) -> list[str]:
    """
    Lists the words of a text, with letter case folded.

    A word is a run of letters with their marks, digits and underscores. Where a script puts no spaces between words
    (Chinese, Japanese, Thai, Lao, Khmer, Burmese), every pair of neighbouring characters stands for one, as in the
    indices of search engines: real text has pairs that are known, shuffled text has not.

    Args:
        text (`str`):
            The text.
        whole_only (`bool`, *optional*, defaults to `False`):
            Leave out words that touch the beginning or the end of the text.
    """
    text = text.casefold()
    words = []
    for match in _WORD.finditer(text):
        found = [match[0]] if match["unspaced"] is None else _pairs(match[0])
        if whole_only:
            found = found[match.start() == 0 : len(found) - (match.end() == len(text))]
        words += found
    return words


def _pairs(run: str) -> list[str]:
    """Neighbouring characters two by two, each with its marks; one character alone is a word."""
    characters = _GRAPHEME.findall(run)
    return ["".join(pair) for pair in itertools.pairwise(characters)] or characters


def iterate_words(pieces: Iterable[str]) -> Iterator[list[str]]:
    """The words of a text in pieces, as [`words_of`] gives those of the whole; a word may stand on several pieces."""
    tail: list[str] = []
    for piece in pieces:
        piece = piece.casefold()
        end = len(piece)
        while end and _WORD_CHARACTER.match(piece, end - 1):
            end -= 1
        if end == 0:
            tail.append(piece)
            continue
        yield words_of("".join([*tail, piece[:end]]))
        tail = [piece[end:]]
    yield words_of("".join(tail))
