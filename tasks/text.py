# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The text task: any corpus, cut into windows of tokens, and a judge of generated text."""

import hashlib
import math
import pydoc_data.topics
import re
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from critic_gpt.tasks.tokenizers import (
    MASK_TOKEN,
    PAD_TOKEN,
    build_character_tokenizer,
    encode_strict,
    is_character_tokenizer,
)


logger = logging.get_logger(__name__)

EMBEDDED_TITLE = "pydoc_data.topics"
CHARACTER = "character"
WINDOWS = ("fixed", "lines")
NGRAM = 6
LINES_PER_BATCH = 2048
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
TEXT_SUFFIXES = {".txt", ".md", ".rst", ".text", ".py", ".tex", ".csv", ".json", ".jsonl", ".html"}


@dataclass(frozen=True)
class Corpus:
    """
    A text and where it came from.

    Args:
        text (`str`): The text.
        title (`str`): Name of the source, without any folder.
        sha256 (`str`): Hash of the file's bytes; for a source that is no file, of the text in UTF-8.
    """

    text: str = field(repr=False)
    title: str
    sha256: str


@dataclass(frozen=True)
class TextTask:
    """
    Windows of tokens from one corpus, split by position, and numbers that judge generated text.

    Args:
        source (`str`, *optional*):
            A UTF-8 file, a folder of a dataset, or the name of a dataset. By default the language reference that every
            CPython carries (`pydoc_data.topics`), about half a million characters, different in each Python.
        text_column (`str`, *optional*, defaults to `"text"`):
            Column of a dataset that holds the text.
        dataset_config (`str`, *optional*):
            Configuration of a dataset that has several.
        dataset_split (`str`, *optional*, defaults to `"train"`):
            The one split of a dataset that is read; it is split anew by position.
        tokenizer_name (`str`, *optional*, defaults to `"character"`):
            `"character"` for one token per character of the corpus, or the name or folder of any tokenizer.
        sequence_length (`int`, *optional*, defaults to 256):
            Most tokens in a window, at least 2.
        window (`str`, *optional*, defaults to `"fixed"`):
            `"fixed"`: consecutive windows of exactly `sequence_length` tokens; the rest of each split is dropped.
            `"lines"`: windows of whole lines, as many as fit; only a line longer than a window is cut.
        validation_share (`float`, *optional*, defaults to 0.05):
            Share of the characters that becomes the validation split, between 0 and 1.
        test_share (`float`, *optional*, defaults to 0.05):
            The same for the test split; both together stay below 1.
        train_words (`frozenset[str]`, *optional*):
            Words of the training split as [`words_of`] gives them; what [`~TextTask.judge`] compares with.

    Raises:
        `ValueError`: If a value is out of its range.
    """

    source: str | None = None
    text_column: str = "text"
    dataset_config: str | None = None
    dataset_split: str = "train"
    tokenizer_name: str = CHARACTER
    sequence_length: int = 256
    window: Literal["fixed", "lines"] = "fixed"
    validation_share: float = 0.05
    test_share: float = 0.05
    train_words: frozenset[str] = field(default=frozenset(), repr=False)

    name: ClassVar[str] = "text"

    def __post_init__(self):
        if self.sequence_length < 2:
            raise ValueError(f"`sequence_length` must be at least 2, got {self.sequence_length}; 256 is a good start.")
        if self.window not in WINDOWS:
            raise ValueError(f"`window` must be 'fixed' or 'lines', got {self.window!r}; choose one of the two.")
        for share in ("validation_share", "test_share"):
            if not 0 < getattr(self, share) < 1:
                raise ValueError(f"`{share}` must be between 0 and 1, got {getattr(self, share)}; 0.05 is usual.")
        if self.validation_share + self.test_share >= 1:
            total = self.validation_share + self.test_share
            raise ValueError(
                f"`validation_share + test_share` must be below 1, got {total}; leave a share for training."
            )

    def read(self) -> Corpus:
        """Reads the whole source into memory; errors are those of [`read_corpus`]."""
        return read_corpus(self.source, self.text_column, self.dataset_config, self.dataset_split)

    def tokenizer(self, text: str) -> PreTrainedTokenizerBase:
        """
        Builds the character tokenizer over the alphabet of `text`, or loads the named one.

        A loaded tokenizer without a mask or padding token gets `[MASK]` or `[PAD]` added, and a warning says so.

        Raises:
            `ValueError`: If the named tokenizer cannot be loaded.
        """
        if self.tokenizer_name == CHARACTER:
            return build_character_tokenizer(text, model_max_length=self.sequence_length)
        try:
            tokenizer = AutoTokenizer.from_pretrained(self.tokenizer_name, model_max_length=self.sequence_length)
        except Exception as error:  # whatever the loader, the network or the files raise
            raise ValueError(
                f"`tokenizer` must be 'character' or the name or folder of a tokenizer, got {self.tokenizer_name!r}, "
                f"which did not load ({_first_line(error)}); check the name or pass 'character'."
            ) from error
        for kind, token in (("mask_token", MASK_TOKEN), ("pad_token", PAD_TOKEN)):
            if getattr(tokenizer, kind) is None:
                tokenizer.add_special_tokens({kind: token})
                token_id = tokenizer.convert_tokens_to_ids(token)
                logger.warning(f"{self.tokenizer_name} has no {kind}: added {token!r} with id {token_id}.")
        return tokenizer

    def split(self, text: str) -> dict[str, str]:
        """
        Cuts a text by position into `train`, `validation` and `test`, which together are the text.

        A cut moves to the next beginning of a line, if there is one before the following cut.

        Raises:
            `ValueError`: If a split would be empty.
        """
        first = round(len(text) * (1 - self.validation_share - self.test_share))
        second = round(len(text) * (1 - self.test_share))
        first, second = _next_line(text, first, second), _next_line(text, second, len(text))
        splits = {"train": text[:first], "validation": text[first:second], "test": text[second:]}
        for split, part in splits.items():
            if not part:
                raise ValueError(
                    f"`source` must be long enough for three splits, got {len(text)} characters, which leave {split} "
                    "empty; take a longer text or larger shares."
                )
        return splits

    def windows(self, text: str, tokenizer: PreTrainedTokenizerBase, split: str = "text") -> list[np.ndarray]:
        """
        Encodes one split and cuts it into windows.

        Args:
            text (`str`):
                The text of the split; a literal `[MASK]` in it stays text.
            tokenizer (`PreTrainedTokenizerBase`):
                The tokenizer.
            split (`str`, *optional*, defaults to `"text"`):
                Name of the split, for messages.

        Returns:
            `list[np.ndarray]`: Token ids (`int32`), at most `sequence_length` in each window, in order of the text.

        Raises:
            `ValueError`: If the split gives no window, or holds characters that a character tokenizer does not know.
        """
        lines = list(_encode_lines(tokenizer, text, split))
        if self.window == "lines":
            windows = pack_lines(lines, self.sequence_length)
        else:
            windows = list(fixed_windows(np.concatenate(lines), self.sequence_length))
        if not windows:
            num_tokens = sum(map(len, lines))
            raise ValueError(
                f"`sequence_length` must be at most the {num_tokens} tokens of the {split} split, got "
                f"{self.sequence_length}; shorten it, enlarge the split's share or take a longer text."
            )
        return windows

    def judge(self, texts: Sequence[str]) -> dict[str, float | int]:
        """
        Judges generated texts by numbers which need no model.

        The same numbers of as many real validation windows say what is reachable. `distinct_6gram_rate` falls as the
        amount of text grows, so compare equal amounts.

        Args:
            texts (`Sequence[str]`):
                Generated texts, at least one.

        Returns:
            `dict`:
                - `known_word_rate`: share of the words that occur in the training split, letter case aside; 0 without
                  words. In fixed windows, words that touch the beginning or end of a text are left out, being cut.
                - `unigram_entropy_bits`: entropy of the characters of all texts together, in bits per character.
                - `distinct_6gram_rate`: different runs of six characters divided by all such runs within the texts;
                  0 without any.
                - `distinct_rate`: different texts divided by all texts.
                - `duplicates`, `num_samples`: texts that repeat an earlier one, and all texts.

        Raises:
            `ValueError`: If `texts` is empty or the task knows no training words.
        """
        if len(texts) == 0:
            raise ValueError("`texts` must hold at least one sample to judge, got none; generate some first.")
        if not self.train_words:
            raise ValueError("`train_words` must hold the training words, got none; load the task by `load_task`.")
        words = Counter(word for text in texts for word in words_of(text, whole_only=self.window == "fixed"))
        known = sum(count for word, count in words.items() if word in self.train_words)
        ngrams = Counter(text[i : i + NGRAM] for text in texts for i in range(len(text) - NGRAM + 1))
        return {
            "known_word_rate": known / max(1, words.total()),
            "unigram_entropy_bits": _entropy_bits(Counter("".join(texts))),
            "distinct_6gram_rate": len(ngrams) / max(1, ngrams.total()),
            "distinct_rate": len(set(texts)) / len(texts),
            "duplicates": len(texts) - len(set(texts)),
            "num_samples": len(texts),
        }


def words_of(text: str, whole_only: bool = False) -> list[str]:
    """
    Lists the words of a text: runs of letters, digits and underscores, with letter case folded.

    Args:
        text (`str`):
            The text.
        whole_only (`bool`, *optional*, defaults to `False`):
            Leave out words that touch the beginning or the end of the text.
    """
    return re.findall(r"(?<=\W)\w+(?=\W)" if whole_only else r"\w+", text.casefold())


def fixed_windows(ids: np.ndarray, sequence_length: int) -> np.ndarray:
    """Cuts ids of shape `(num_tokens,)` into `(num_windows, sequence_length)`; the remainder is dropped."""
    num_windows = len(ids) // sequence_length
    return ids[: num_windows * sequence_length].reshape(num_windows, sequence_length)


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
    windows, parts, room = [], [], sequence_length
    for line in lines:
        if len(line) > room and parts:
            windows.append(np.concatenate(parts))
            parts, room = [], sequence_length
        while len(line) > sequence_length:
            windows.append(line[:sequence_length])
            line = line[sequence_length:]
        if len(line):
            parts.append(line)
            room -= len(line)
    if parts:
        windows.append(np.concatenate(parts))
    return windows


def read_corpus(
    source: str | None = None,
    text_column: str = "text",
    dataset_config: str | None = None,
    dataset_split: str = "train",
) -> Corpus:
    """
    Reads the embedded text, a file, a dataset folder or a named dataset, in this order of attempts.

    The rows of a dataset are joined in order; each ends with a newline, which is added where it is missing.

    Args:
        source, text_column, dataset_config, dataset_split:
            See [`TextTask`].

    Returns:
        `Corpus`: The text and its origin.

    Raises:
        `FileNotFoundError`: If `source` looks like a path and nothing is there.
        `ValueError`: If the file is empty or not UTF-8, or the dataset does not load or lacks the column.
    """
    if source is None:
        topics = pydoc_data.topics.topics
        title = f"{EMBEDDED_TITLE} (Python {sys.version_info.major}.{sys.version_info.minor})"
        text = "\n\n".join(topics[name] for name in sorted(topics))
    elif Path(source).expanduser().is_file():
        return _read_file(Path(source).expanduser())
    else:
        title = Path(source).name
        rows = _read_rows(source, text_column, dataset_config, dataset_split)
        text = "".join(row if row.endswith("\n") else row + "\n" for row in rows)
    if not text.strip():
        raise ValueError(f"`source` must hold text, got {source!r}, which is empty; choose another source or column.")
    return Corpus(text, title, hashlib.sha256(text.encode("utf-8")).hexdigest())


def _read_file(path: Path) -> Corpus:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8")  # not opened as text, which would turn \r\n into \n
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`source` must be a text file in UTF-8, got {path.name!r}, whose byte {error.start} is none; convert the "
            "file to UTF-8."
        ) from error
    if not text.strip():
        raise ValueError(f"`source` must hold text, got {path.name!r}, which is empty; choose another file.")
    return Corpus(text, path.name, hashlib.sha256(content).hexdigest())


def _read_rows(source: str, text_column: str, dataset_config: str | None, dataset_split: str) -> Iterator[str]:
    import datasets  # slow to import, and only this source needs it

    folder = Path(source).expanduser()
    if not folder.is_dir() and (not HUB_NAME.fullmatch(source) or folder.suffix in TEXT_SUFFIXES):
        raise FileNotFoundError(
            f"`source` must be a text file, a folder of a dataset or the name of a dataset, got {source!r}, which "
            "does not exist; check the path or leave the argument out for the embedded text."
        )
    try:
        if (folder / "dataset_dict.json").is_file():
            dataset = datasets.load_from_disk(str(folder))[dataset_split]
        elif (folder / "dataset_info.json").is_file():
            dataset = datasets.load_from_disk(str(folder))
        else:
            dataset = datasets.load_dataset(source, dataset_config, split=dataset_split)
    except Exception as error:  # loaders raise whatever their format or the network raises
        raise ValueError(
            f"`source` must be a text file or a dataset with the split {dataset_split!r}, got {source!r}, which did "
            f"not load ({_first_line(error)}); check the name, the split and the connection."
        ) from error
    if text_column not in dataset.column_names:
        raise ValueError(
            f"`text_column` must be a column of {Path(source).name!r}, got {text_column!r}; choose one of "
            f"{', '.join(dataset.column_names)}."
        )
    for row in dataset.select_columns([text_column]):
        if not isinstance(row[text_column], str):
            raise ValueError(
                f"`text_column` must hold text in every row, got {type(row[text_column]).__name__} in "
                f"{text_column!r}; choose another column or drop such rows."
            )
        yield row[text_column]


def _encode_lines(tokenizer: PreTrainedTokenizerBase, text: str, split: str) -> Iterator[np.ndarray]:
    """Yields the token ids of each line, its newline included; unknown characters are an error or a warning."""
    strict = is_character_tokenizer(tokenizer)
    unknown = total = 0
    lines = re.findall(r"[^\n]*\n|[^\n]+", text)  # splitlines would also split at form feeds
    for start in range(0, len(lines), LINES_PER_BATCH):
        batch = lines[start : start + LINES_PER_BATCH]
        if strict:
            ids = np.array(encode_strict(tokenizer, "".join(batch)), dtype=np.int32)
            yield from np.split(ids, np.cumsum([len(line) for line in batch])[:-1])
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


def _next_line(text: str, position: int, end: int) -> int:
    """The first beginning of a line at or after `position` and before `end`, else `position`."""
    if position == 0:
        return 0
    newline = text.find("\n", position - 1, end - 1)
    return position if newline < 0 else newline + 1


def _entropy_bits(counts: Mapping[str, int]) -> float:
    total = sum(counts.values())
    return sum(count / total * math.log2(total / count) for count in counts.values())


def _first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
