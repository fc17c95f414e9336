# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""From tokens to windows, in order: nothing here holds more than some windows or lines.

A window never begins or ends within a character, of which byte-level tokens may be parts: decoded by itself it reads
as the text does. A character of more tokens than a window is left out.
"""

from collections.abc import Generator, Iterable, Iterator, Sequence

import numpy as np
from transformers.utils import logging

from critic_gpt.tasks.encoding import Tokens


logger = logging.get_logger(__name__)


def fixed_windows(ids: np.ndarray, sequence_length: int) -> np.ndarray:
    """Cuts ids of shape `(num_tokens,)` into `(num_windows, sequence_length)`; the remainder is dropped."""
    num_windows = len(ids) // sequence_length
    return ids[: num_windows * sequence_length].reshape(num_windows, sequence_length)


def iterate_fixed_windows(
    parts: Iterable[Tokens], sequence_length: int, keep_rest: bool = False
) -> Iterator[np.ndarray]:
    """
    The rows of [`fixed_windows`] of tokens that come in parts; a window is shorter where it would end within a
    character.

    Args:
        parts (`Iterable[Tokens]`):
            Consecutive tokens.
        sequence_length (`int`):
            Most tokens in a window.
        keep_rest (`bool`, *optional*, defaults to `False`):
            Whether the last window may be shorter. By default that rest is dropped.
    """
    ids, whole = np.empty(0, dtype=np.int32), np.empty(0, dtype=bool)
    for part in parts:
        ids, whole = np.concatenate([ids, part.ids]), np.concatenate([whole, part.whole])
        done = yield from _cut(ids, whole, sequence_length)
        ids, whole = ids[done:], whole[done:]
    if len(ids) == sequence_length or (keep_rest and 0 < len(ids) <= sequence_length):
        yield ids


def _cut(ids: np.ndarray, whole: np.ndarray, sequence_length: int) -> Generator[np.ndarray, None, int]:
    """
    Windows as long as there is a token behind them, which says whether they may end there; returns where the rest
    begins.
    """
    begin, num_tokens = 0, len(ids)
    if whole.all():
        num_windows = max(num_tokens - 1, 0) // sequence_length
        yield from fixed_windows(ids[: num_windows * sequence_length], sequence_length)
        return num_windows * sequence_length
    while num_tokens - begin > sequence_length:
        end = begin + sequence_length
        while end > begin and not whole[end]:
            end -= 1
        if end == begin:
            following = np.flatnonzero(whole[begin + 1 :])
            if len(following) == 0:
                break
            logger.warning_once(
                f"Characters of more than {sequence_length} tokens are left out: no window can hold one."
            )
            begin += 1 + int(following[0])
        else:
            yield ids[begin:end]
            begin = end
    return begin


def pack_lines(lines: Sequence[np.ndarray], sequence_length: int) -> list[np.ndarray]:
    """
    Packs whole lines into windows while they fit; nothing is lost or reordered.

    A line longer than `sequence_length` begins a window of its own and is cut; what is left of it begins the next one.

    Args:
        lines (`Sequence[np.ndarray]`):
            Token ids of the lines, each of shape `(line_length,)`.
        sequence_length (`int`):
            Most tokens in a window.

    Returns:
        `list[np.ndarray]`: Windows of 1 to `sequence_length` tokens; joined they are the joined lines.
    """
    return list(_packed(((line, np.ones(len(line), dtype=bool)) for line in lines), sequence_length))


def iterate_packed_lines(parts: Iterable[Tokens], sequence_length: int) -> Iterator[np.ndarray]:
    """The windows of [`pack_lines`], one by one, of tokens that come in parts."""
    return _packed(_lines(parts), sequence_length)


def _lines(parts: Iterable[Tokens]) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """The tokens of each line; lines that share a token are one."""
    begun: list[Tokens] = []
    for part in parts:
        begin = 0
        for end in np.flatnonzero(part.lines).tolist():
            begun.append(part.part(begin, end))
            begin = end
            if sum(len(each.ids) for each in begun):
                yield np.concatenate([each.ids for each in begun]), np.concatenate([each.whole for each in begun])
            begun = []
        begun.append(part.part(begin))
    if begun:
        yield np.concatenate([each.ids for each in begun]), np.concatenate([each.whole for each in begun])


def _packed(lines: Iterable[tuple[np.ndarray, np.ndarray]], sequence_length: int) -> Iterator[np.ndarray]:
    parts: list[np.ndarray] = []
    room = sequence_length
    for line, whole in lines:
        if len(line) > room and parts:
            yield np.concatenate(parts)
            parts, room = [], sequence_length
        if len(line) > sequence_length:
            done = yield from _cut(line, whole, sequence_length)
            line = line[done:]
        if 0 < len(line) <= sequence_length:
            parts.append(line)
            room -= len(line)
    if parts:
        yield np.concatenate(parts)
