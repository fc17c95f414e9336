# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""From text to tokens, piece by piece: the tokens that the tokenizer makes of each document as a whole.

Many tokenizers put a space before a text, merge over the ends of lines, or look at what comes next, so that a text
encoded in parts has other tokens than the whole, which is what pipelines encode. Hence blocks overlap, and are joined
in the middle of a stretch in which both have the same tokens at the same places.
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from critic_gpt.tasks.corpus import Piece
from critic_gpt.tasks.tokenizers import character_table, check_alphabet, is_character_tokenizer


logger = logging.get_logger(__name__)

# In characters: what a block adds, what it shares with the next one, and what is encoded in one call.
BLOCK, OVERLAP, BATCH = 1 << 16, 1 << 11, 1 << 20
# Tokens that two blocks must have in common to be joined.
LEAST_COMMON = 16
# At most as many first tokens are left out, where as many that follow read as they are written.
LEFT_OUT, READ = 8, 64


class Tokens(NamedTuple):
    """
    Consecutive tokens of a document, N of them.

    All are arrays of shape `(N,)`: ids (`int32`); begins and ends, where in the document they stand; whole, whether no
    character is shared with the token before; lines, whether a line begins there.
    """

    ids: np.ndarray
    begins: np.ndarray
    ends: np.ndarray
    whole: np.ndarray
    lines: np.ndarray

    def part(self, begin: int, end: int | None = None) -> "Tokens":
        """Some of them."""
        return Tokens(*(column[begin:end] for column in self))


class _Block(NamedTuple):
    text: str
    begin: int  # in the document
    ends_document: bool


def encode_documents(
    tokenizer: PreTrainedTokenizerBase, pieces: Iterable[Piece], split: str
) -> Iterator[tuple[Tokens, bool]]:
    """
    Yields the tokens of documents in parts, each with whether its document ends there.

    Args:
        tokenizer (`PreTrainedTokenizerBase`):
            The tokenizer; a literal special token in a text stays text.
        pieces (`Iterable[Piece]`):
            The documents.
        split (`str`):
            Its name, for messages.

    Raises:
        `ValueError`: If there are characters that a character tokenizer does not know.
    """
    table = character_table(tokenizer) if is_character_tokenizer(tokenizer) else None
    if table is not None:
        yield from _encode_characters(tokenizer, table, pieces)
        return
    unknown = total = 0
    begins_document = True
    for tokens, text, ends_document in _joined(tokenizer, _batches(_blocks(pieces, tokenizer.is_fast))):
        if begins_document and text is not None:
            tokens = _from_where_it_reads_as_written(tokenizer, tokens, text)
        unknown += int((tokens.ids == tokenizer.unk_token_id).sum()) if tokenizer.unk_token_id is not None else 0
        total += len(tokens.ids)
        yield tokens, ends_document
        begins_document = ends_document
    if unknown:
        logger.warning(
            f"{unknown} of {total} tokens in {split} are {tokenizer.unk_token}: the tokenizer does not cover the text."
        )


def _encode_characters(
    tokenizer: PreTrainedTokenizerBase, table: np.ndarray, pieces: Iterable[Piece]
) -> Iterator[tuple[Tokens, bool]]:
    """One token per character: no more in memory than a piece, however long a line is."""
    done, after_newline = 0, True
    for text, ends_document in pieces:
        codes = np.frombuffer(text.encode("utf-32-le"), dtype=np.uint32)
        ids = table[codes]
        if (ids < 0).any():
            check_alphabet(tokenizer, text)
        begins = np.arange(done, done + len(codes))
        newline = codes == ord("\n")
        lines = np.concatenate([[after_newline], newline[:-1]]) if len(codes) else newline
        yield Tokens(ids, begins, begins + 1, np.ones(len(codes), dtype=bool), lines), ends_document
        after_newline = ends_document or (bool(newline[-1]) if len(codes) else after_newline)
        done = 0 if ends_document else done + len(codes)


def _blocks(pieces: Iterable[Piece], in_parts: bool) -> Iterator[_Block]:
    """Documents in overlapping blocks."""
    text, begin = "", 0
    waiting: list[str] = []
    room = BLOCK + OVERLAP
    for piece, ends_document in pieces:
        waiting.append(piece)
        room -= len(piece)
        if not ends_document and (not in_parts or room >= 0):
            continue
        text += "".join(waiting)
        waiting = []
        while in_parts and len(text) > BLOCK + OVERLAP:
            yield _Block(text[: BLOCK + OVERLAP], begin, False)
            text, begin = text[BLOCK:], begin + BLOCK
        if ends_document:
            yield _Block(text, begin, True)
            text, begin = "", 0
        room = BLOCK + OVERLAP - len(text)
    if text or waiting:  # a document that is cut off
        yield _Block(text + "".join(waiting), begin, False)


def _batches(blocks: Iterable[_Block]) -> Iterator[list[_Block]]:
    batch: list[_Block] = []
    room = BATCH
    for block in blocks:
        batch.append(block)
        room -= len(block.text) + 256  # short ones take room, too
        if room <= 0:
            yield batch
            batch, room = [], BATCH
    if batch:
        yield batch


def _joined(
    tokenizer: PreTrainedTokenizerBase, batches: Iterable[list[_Block]]
) -> Iterator[tuple[Tokens, str | None, bool]]:
    """Tokens without what blocks share; with the text of a block that begins a document."""
    pending: tuple[_Block, Tokens] | None = None  # of the same document, not given out yet
    first: str | None = None
    for batch in batches:
        for block, tokens in zip(batch, _encode_blocks(tokenizer, batch), strict=True):
            if pending is None:
                first = block.text
            else:
                before, known = pending
                seam = _seam(known, tokens)
                if seam is None:  # nothing in common: as one block
                    text = before.text + block.text[before.begin + len(before.text) - block.begin :]
                    block = _Block(text, before.begin, block.ends_document)
                    (tokens,) = _encode_blocks(tokenizer, [block])
                    tokens = tokens.part(int(np.searchsorted(tokens.begins, known.begins[0])) if len(known.ids) else 0)
                else:
                    yield known.part(0, seam[0]), first, False
                    first, tokens = None, tokens.part(seam[1])
            if block.ends_document:
                yield tokens, first, True
                pending = None
            else:
                pending = (block, tokens)
    if pending is not None:
        yield pending[1], first, False


def _seam(before: Tokens, after: Tokens) -> tuple[int, int] | None:
    """Where to leave one block and enter the next: the middle of the longest run of tokens that both have."""
    start = int(np.searchsorted(before.begins, after.begins[0])) if len(after.ids) else len(before.ids)
    places = {}
    for i in range(start, len(before.ids)):
        places.setdefault((before.begins[i], before.ends[i], before.ids[i]), i)
    best, run, last = (0, 0, 0), 0, -2
    for j in range(len(after.ids)):
        if len(before.ids) == 0 or after.begins[j] > before.begins[-1]:
            break
        i = places.get((after.begins[j], after.ends[j], after.ids[j]), -2)
        run = run + 1 if i >= 0 and i == last + 1 else int(i >= 0)
        last = i
        best = max(best, (run, i, j))
    length, i, j = best
    if length < LEAST_COMMON:
        return None
    for back in range(length // 2, length):
        if before.whole[i - back] and after.whole[j - back]:
            return i - back, j - back
    return None


def _encode_blocks(tokenizer: PreTrainedTokenizerBase, blocks: list[_Block]) -> list[Tokens]:
    if is_character_tokenizer(tokenizer):
        for block in blocks:
            check_alphabet(tokenizer, block.text)
    encoding = tokenizer(
        [block.text for block in blocks], add_special_tokens=False, split_special_tokens=True, verbose=False
    )
    if encoding.encodings is None:
        return [_without_places(tokenizer, ids) for ids in encoding["input_ids"]]
    found = []
    for block, one in zip(blocks, encoding.encodings, strict=True):
        ids = np.array(one.ids, dtype=np.int32)
        places = np.array(one.offsets, dtype=np.int64).reshape(-1, 2)
        begins, ends = places[:, 0], np.maximum.accumulate(places[:, 1])
        previous = np.concatenate([[0], ends[:-1]]) if len(ids) else ends
        newlines = np.flatnonzero(np.frombuffer(block.text.encode("utf-32-le"), dtype=np.uint32) == ord("\n")) + 1
        starts = np.concatenate([[0], newlines])
        # A line begins between the end of a token and the begin of the next one.
        lines = np.searchsorted(starts, begins, side="right") > np.searchsorted(starts, previous, side="left")
        found.append(Tokens(ids, begins + block.begin, ends + block.begin, begins >= previous, lines))
    return found


def _without_places(tokenizer: PreTrainedTokenizerBase, ids: list[int]) -> Tokens:
    """Of tokenizers in Python, which do not say where tokens stand: a line ends with a token that holds its end."""
    places = np.arange(len(ids))
    ends_line = {token: "\n" in tokenizer.decode([token]) for token in set(ids)}
    lines = np.array([True, *(ends_line[token] for token in ids[:-1])][: len(ids)], dtype=bool)
    return Tokens(np.array(ids, dtype=np.int32), places, places + 1, np.ones(len(ids), dtype=bool), lines)


def _from_where_it_reads_as_written(tokenizer: PreTrainedTokenizerBase, tokens: Tokens, text: str) -> Tokens:
    """
    Leaves out the first tokens of a long text where they decode to what does not stand there, as the space that a
    byte-level tokenizer may put before it. Short documents stay whole, and so do all of tokenizers that lose
    characters.
    """
    if not tokenizer.is_fast:
        return tokens
    for first in range(min(LEFT_OUT + 1, len(tokens.ids))):
        last = min(first + READ, len(tokens.ids))
        if first > 0 and last < first + READ:
            break
        while last < len(tokens.ids) and not tokens.whole[last]:
            last += 1
        written = text[tokens.begins[first] : tokens.ends[last - 1]]
        read = tokenizer.decode(tokens.ids[first:last].tolist())
        if tokens.whole[first] and read in (written, written.removeprefix(" ")):
            return tokens.part(first)
    return tokens
