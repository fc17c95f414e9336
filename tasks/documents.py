# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Where the documents of a text begin and end, while it is read in pieces."""

from collections.abc import Iterable, Iterator, Sequence

import numpy as np

from critic_gpt.tasks.corpus import Piece
from critic_gpt.tasks.encoding import Tokens


def part_of(pieces: Iterable[Piece], bounds: tuple[int, int]) -> Iterator[Piece]:
    """The part of a text between two positions; what is cut off behind it ends no document."""
    position, (begin, end) = 0, bounds
    for text, ends_document in pieces:
        part = text[max(begin - position, 0) : max(end - position, 0)]
        position += len(text)
        if part or (ends_document and begin < position <= end):
            yield Piece(part, ends_document and position <= end)
        if position > end or (position == end and ends_document):
            break


def by_document(parts: Iterable[tuple[Tokens, bool]]) -> Iterator[Iterator[Tokens]]:
    """Groups parts by the documents that they end; each is to be read before the next."""
    parts = iter(parts)

    def document(part: Tokens, ends: bool) -> Iterator[Tokens]:
        yield part
        while not ends:
            found = next(parts, None)
            if found is None:
                return
            part, ends = found
            yield part

    for part, ends in parts:
        current = document(part, ends)
        yield current
        for _ in current:  # what was not read
            pass


def with_ends(parts: Iterable[tuple[Tokens, bool]], eos_token_id: int) -> Iterator[tuple[Tokens, bool]]:
    """Documents with a token behind them, which belongs to their last line; empty ones get none."""
    is_empty = True
    for part, ends in parts:
        is_empty = is_empty and len(part.ids) == 0
        if ends and not is_empty:
            place = part.ends[-1:] if len(part.ends) else np.zeros(1, dtype=np.int64)
            end = Tokens(np.array([eos_token_id], dtype=np.int32), place, place, np.array([True]), np.array([False]))
            part = Tokens(*map(np.concatenate, zip(part, end, strict=True)))
        yield part, ends
        is_empty = is_empty or ends


def beginnings(pieces: Iterable[Piece], ranges: Sequence[tuple[int, int]]) -> list[int]:
    """
    For each range: the first beginning of a document at or after its begin and before its end, else of a line, else
    its begin.
    """
    lines: list[int | None] = [None] * len(ranges)
    documents: list[int | None] = [None] * len(ranges)
    position = 0
    for text, ends_document in pieces:
        following = position + len(text)
        for i, (begin, end) in enumerate(ranges):
            if lines[i] is None:
                newline = text.find("\n", max(begin - 1 - position, 0), max(end - 1 - position, 0))
                lines[i] = None if newline < 0 else position + newline + 1
            if ends_document and documents[i] is None and begin <= following < end:
                documents[i] = following
        position = following
        if position >= ranges[-1][1] or None not in documents:
            break
    first = [0 if begin == 0 else None for begin, _ in ranges]
    return [
        next(place for place in places if place is not None)
        for places in zip(first, documents, lines, [begin for begin, _ in ranges], strict=True)
    ]
