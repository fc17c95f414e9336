# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Where a text comes from: read whole or piece by piece, so that a text larger than memory can be prepared."""

import codecs
import hashlib
import pydoc_data.topics
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path


EMBEDDED_TITLE = "pydoc_data.topics"
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
TEXT_SUFFIXES = {".txt", ".md", ".rst", ".text", ".py", ".tex", ".csv", ".json", ".jsonl", ".html"}
# Bytes of a file in memory at once.
BLOCK_BYTES = 1 << 20


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
class CorpusSurvey:
    """
    What one pass over a text tells.

    Args:
        title (`str`): As for [`Corpus`].
        sha256 (`str`): As for [`Corpus`].
        num_characters (`int`): Length of the text.
        alphabet (`str`): Its distinct characters, in code point order.
    """

    title: str
    sha256: str
    num_characters: int
    alphabet: str = field(repr=False)


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
    pieces: list[str] = []
    survey = survey_corpus(source, text_column, dataset_config, dataset_split, pieces.append)
    return Corpus("".join(pieces), survey.title, survey.sha256)


def survey_corpus(
    source: str | None = None,
    text_column: str = "text",
    dataset_config: str | None = None,
    dataset_split: str = "train",
    on_piece: Callable[[str], None] | None = None,
) -> CorpusSurvey:
    """
    Reads a text once, piece by piece; errors are those of [`read_corpus`].

    Args:
        source, text_column, dataset_config, dataset_split:
            See [`TextTask`].
        on_piece (callable, *optional*):
            Called with each piece in turn.
    """
    digest, alphabet, length, blank = hashlib.sha256(), set(), 0, True
    for piece in corpus_pieces(source, text_column, dataset_config, dataset_split):
        digest.update(piece.encode("utf-8"))
        alphabet.update(piece)
        length += len(piece)
        blank = blank and not piece.strip()
        if on_piece is not None:
            on_piece(piece)
    if blank:
        is_file = source is not None and Path(source).expanduser().is_file()
        name, way_out = (Path(source).name, "file") if is_file else (source, "source or column")
        raise ValueError(f"`source` must hold text, got {name!r}, which is empty; choose another {way_out}.")
    return CorpusSurvey(_title(source), digest.hexdigest(), length, "".join(sorted(alphabet)))


def corpus_pieces(
    source: str | None = None,
    text_column: str = "text",
    dataset_config: str | None = None,
    dataset_split: str = "train",
) -> Iterator[str]:
    """Yields a text in pieces that joined are the text; arguments and errors are those of [`read_corpus`]."""
    if source is None:
        topics = pydoc_data.topics.topics
        yield "\n\n".join(topics[name] for name in sorted(topics))
    elif Path(source).expanduser().is_file():
        yield from _file_pieces(Path(source).expanduser())
    else:
        for row in _read_rows(source, text_column, dataset_config, dataset_split):
            yield row if row.endswith("\n") else row + "\n"


def _title(source: str | None) -> str:
    if source is None:
        return f"{EMBEDDED_TITLE} (Python {sys.version_info.major}.{sys.version_info.minor})"
    return Path(source).expanduser().name


def _file_pieces(path: Path) -> Iterator[str]:
    decoder = codecs.getincrementaldecoder("utf-8")()
    done = 0
    with path.open("rb") as file:  # not opened as text, which would turn \r\n into \n
        while True:
            block = file.read(BLOCK_BYTES)
            begin = done - len(decoder.getstate()[0])  # a character may stand on two blocks
            try:
                piece = decoder.decode(block, final=not block)
            except UnicodeDecodeError as error:
                raise ValueError(
                    f"`source` must be a text file in UTF-8, got {path.name!r}, whose byte {begin + error.start} is "
                    "none; convert the file to UTF-8."
                ) from error
            if piece:
                yield piece
            if not block:
                return
            done += len(block)


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
            f"not load ({first_line(error)}); check the name, the split and the connection."
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


def first_line(error: Exception) -> str:
    return (str(error).strip() or type(error).__name__).splitlines()[0].rstrip(".")
