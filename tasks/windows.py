# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""From text to windows of tokens, piece by piece: nothing here holds more than some lines or windows."""

import re
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from critic_gpt.tasks.tokenizers import character_encoder, is_character_tokenizer


logger = logging.get_logger(__name__)

LINES_PER_BATCH = 2048


def fixed_windows(ids: np.ndarray, sequence_length: int) -> np.ndarray:
    """Cuts ids of shape `(num_tokens,)` into `(num_windows, sequence_length)`; the remainder is dropped."""
    num_windows = len(ids) // sequence_length
    return ids[: num_windows * sequence_length].reshape(num_windows, sequence_length)


def iterate_fixed_windows(parts: Iterable[np.ndarray], sequence_length: int) -> Iterator[np.ndarray]:
    """The rows of [`fixed_windows`] of ids that come in parts."""
    rest: list[np.ndarray] = []
    num_rest = 0
    for part in parts:
        rest.append(part)
        num_rest += len(part)
        if num_rest >= sequence_length:
            ids = np.concatenate(rest)
            yield from fixed_windows(ids, sequence_length)
            num_rest = len(ids) % sequence_length
            rest = [ids[len(ids) - num_rest :]]


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
    return list(iterate_packed_lines(lines, sequence_length))


def iterate_packed_lines(lines: Iterable[np.ndarray], sequence_length: int) -> Iterator[np.ndarray]:
    """The windows of [`pack_lines`], one by one."""
    parts: list[np.ndarray] = []
    room = sequence_length
    for line in lines:
        if len(line) > room and parts:
            yield np.concatenate(parts)
            parts, room = [], sequence_length
        while len(line) > sequence_length:
            yield line[:sequence_length]
            line = line[sequence_length:]
        if len(line):
            parts.append(line)
            room -= len(line)
    if parts:
        yield np.concatenate(parts)


def encode_pieces(tokenizer: PreTrainedTokenizerBase, pieces: Iterable[str], split: str) -> Iterator[np.ndarray]:
    """
    Yields the token ids of a text in parts of any length, where lines do not matter: a text in one line of any length
    takes no more memory with a character tokenizer. Other tokenizers get whole lines.
    """
    if is_character_tokenizer(tokenizer):
        return map(character_encoder(tokenizer), pieces)
    return encode_lines(tokenizer, pieces, split)


def encode_lines(tokenizer: PreTrainedTokenizerBase, pieces: Iterable[str], split: str) -> Iterator[np.ndarray]:
    """Yields the token ids of each line, its newline included; unknown characters are an error or a warning."""
    encode = character_encoder(tokenizer) if is_character_tokenizer(tokenizer) else None
    unknown = total = 0
    for batch in _batches_of_lines(pieces):
        if encode is not None:
            yield from np.split(encode("".join(batch)), np.cumsum([len(line) for line in batch])[:-1])
            continue
        encoding = tokenizer(batch, add_special_tokens=False, split_special_tokens=True, verbose=False)
        for ids in encoding["input_ids"]:
            unknown += ids.count(tokenizer.unk_token_id)
            total += len(ids)
            yield np.array(ids, dtype=np.int32)
    if unknown:
        logger.warning(
            f"{unknown} of {total} tokens in {split} are {tokenizer.unk_token}: the tokenizer does not cover the text."
        )


def _batches_of_lines(pieces: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    begun: list[str] = []  # parts of a line whose end has not come yet
    for piece in pieces:
        for line in re.findall(r"[^\n]*\n|[^\n]+", piece):  # splitlines would also split at form feeds
            begun.append(line)
            if line.endswith("\n"):
                batch.append("".join(begun))
                begun = []
            if len(batch) == LINES_PER_BATCH:
                yield batch
                batch = []
    if begun:
        batch.append("".join(begun))
    if batch:
        yield batch
