# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Documents in files of any kind: text in UTF-8, 16 or 32, JSON, JSON Lines, CSV, TSV, Parquet, compressed or not."""

import bz2
import codecs
import contextlib
import csv
import gzip
import io
import json
import lzma
import sys
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO

import pyarrow
import pyarrow.parquet


# Bytes of a file in memory at once.
BLOCK_BYTES = 1 << 20
ENCODINGS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before UTF-16, whose mark it begins with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
COMPRESSED: tuple[tuple[bytes, Callable], ...] = (
    (b"\x1f\x8b", gzip.open),
    (b"BZh", bz2.open),
    (b"\xfd7zXZ\x00", lzma.open),
)
PARQUET = b"PAR1"
# What is known by its first bytes and cannot be read.
FOREIGN = {
    b"PK\x03\x04": "a ZIP archive",
    b"(\xb5/\xfd": "compressed by Zstandard",
    b"%PDF": "a PDF",
    b"\x89PNG": "a picture",
    b"ARROW1": "an Arrow file: give its folder",
}
ROW_SUFFIXES = {".json", ".jsonl", ".ndjson", ".csv", ".tsv", ".parquet"}
COMPRESSED_SUFFIXES = {".gz", ".bz2", ".xz"}


class Unreadable(ValueError):
    """Why a file gives no text, as the end of a sentence, and the way out."""

    def __init__(self, why: str, way_out: str = "mend or replace the file"):
        super().__init__(f"{why}; {way_out}")


class NoTextColumn(ValueError):
    """Why a table gives no text: a sentence with `{name}` where the table's name belongs."""


def suffix_of(path: Path) -> str:
    """The suffix that tells what a file holds: `.jsonl` of `a.jsonl.gz`."""
    name = Path(path.name.lower())
    return Path(name.stem).suffix if name.suffix in COMPRESSED_SUFFIXES else name.suffix


def is_table(path: Path) -> bool:
    """Whether a file holds rows rather than one text."""
    if suffix_of(path) in ROW_SUFFIXES:
        return True
    return _begin(path, len(PARQUET)) == PARQUET


def is_text(path: Path) -> bool:
    """Whether a file looks like one that [`file_documents`] can read, by its first bytes."""
    begin = _begin(path, 4096)
    if begin.startswith(PARQUET) or any(begin.startswith(mark) for mark, _ in ENCODINGS):
        return True
    return b"\0" not in begin and not any(begin.startswith(mark) for mark in FOREIGN)


def _begin(path: Path, length: int) -> bytes:
    """The first bytes of a file; none where it is torn there, which is said when it is read."""
    try:
        with _opened(path) as file:
            return file.read(length)
    except (EOFError, zlib.error, lzma.LZMAError, OSError):
        return b""


def file_documents(path: Path, text_column: str) -> Iterator[Iterator[str]]:
    """
    Yields the documents of a file, each in pieces: the rows of a table, or the text as a whole.

    Args:
        path (`Path`): The file.
        text_column (`str`): Column of a table, or key of JSON objects, that holds the text.

    Raises:
        `Unreadable`, `NoTextColumn`: What is wrong with the file, and where.
    """
    with _readable(), _opened(path) as file:
        magic = file.read(8)
        file.seek(0)
        if magic.startswith(PARQUET):
            yield from map(_whole, _parquet_rows(file, text_column))
            return
        for mark, kind in FOREIGN.items():
            if magic.startswith(mark):
                raise Unreadable(f"which is {kind}")
        read = {
            ".json": _json_rows,
            ".jsonl": _json_lines,
            ".ndjson": _json_lines,
            ".csv": lambda pieces, column: _table_rows(pieces, column, ","),
            ".tsv": lambda pieces, column: _table_rows(pieces, column, "\t"),
        }.get(suffix_of(path))
        if read is None:
            yield _decoded(file)
        else:
            yield from map(_whole, read(_decoded(file), text_column))


@contextlib.contextmanager
def _readable() -> Iterator[None]:
    """Says of what a file's reader cannot read what the user can mend."""
    try:
        yield
    except (EOFError, zlib.error, lzma.LZMAError, pyarrow.ArrowException) as error:
        raise Unreadable(f"which is torn or damaged ({str(error).splitlines()[0].rstrip('.')})") from error
    except OSError as error:
        raise Unreadable(f"which cannot be read ({error.strerror or error})") from error


def _whole(text: str) -> Iterator[str]:
    yield text


def _opened(path: Path) -> BinaryIO:
    with path.open("rb") as file:
        magic = file.read(8)
    opener = next((opener for mark, opener in COMPRESSED if magic.startswith(mark)), None)
    return path.open("rb") if opener is None else opener(path, "rb")


def _decoded(file: BinaryIO) -> Iterator[str]:
    """The text of a file in pieces: UTF-8 or what its byte order mark says, without that mark, else to the byte."""
    begin = file.read(4)
    file.seek(0)
    encoding = next((name for mark, name in ENCODINGS if begin.startswith(mark)), "utf-8")
    decoder = codecs.getincrementaldecoder("utf-8-sig" if encoding == "utf-8" else encoding)()
    done = 0
    while True:  # not read as text, which would turn \r\n into \n
        with _readable():  # whoever asks for the next piece stands outside of what opened the file
            block = file.read(BLOCK_BYTES)
        waiting = decoder.getstate()[0]  # a character may stand on two blocks
        first = done - len(waiting if isinstance(waiting, bytes) else b"")
        try:
            piece = decoder.decode(block, final=not block)
        except UnicodeDecodeError as error:
            if encoding == "utf-8" and b"\0" in block:
                raise _no_text() from error
            where = f"whose byte {first + error.start} is none"
            raise Unreadable(
                where if encoding == "utf-8" else f"{where} of {encoding.upper()}", "convert the file to UTF-8"
            ) from error
        # One or two may be somebody's; of UTF-16 every other byte is 0, or nearly.
        if encoding == "utf-8" and piece.count("\0") * 4 > len(piece):
            raise _no_text()
        if piece:
            yield piece
        if not block:
            return
        done += len(block)


def _no_text() -> Unreadable:
    why = "which is no text: it holds bytes of 0, as UTF-16 without a byte order mark does"
    return Unreadable(why, "convert the file to UTF-8, or replace it")


def _lines(pieces: Iterator[str]) -> Iterator[str]:
    """Lines with their ends; only \\n ends one, since JSON may hold U+2028."""
    begun: list[str] = []
    for piece in pieces:
        *lines, rest = piece.split("\n")
        for line in lines:
            yield "".join([*begun, line, "\n"])
            begun = []
        begun.append(rest)
    if any(begun):
        yield "".join(begun)


def _json_lines(pieces: Iterator[str], text_column: str) -> Iterator[str]:
    for number, line in enumerate(_lines(pieces), start=1):
        if line.strip():
            yield text_of(_parsed(line, f"line {number}"), text_column, f"line {number}")


def _json_rows(pieces: Iterator[str], text_column: str) -> Iterator[str]:
    text = "".join(pieces)
    try:
        content = json.loads(text)
    except (ValueError, RecursionError) as error:
        lines = [line for line in text.split("\n") if line.strip()]
        if len(lines) > 1 and lines[0].lstrip().startswith("{") and lines[0].rstrip().endswith("}"):
            yield from _json_lines(iter([text]), text_column)  # JSON Lines by another name
            return
        raise Unreadable(f"which is no JSON ({_reason(error)})") from error
    if isinstance(content, dict) and len(content) == 1 and text_column not in content:
        (rows,) = content.values()  # as {"data": [...]}
        content = rows if isinstance(rows, list) and all(isinstance(row, dict) for row in rows) else content
    if isinstance(content, dict) and isinstance(content.get(text_column), list):
        content = [{text_column: row} for row in content[text_column]]
    for number, row in enumerate(content if isinstance(content, list) else [content], start=1):
        yield text_of(row, text_column, f"row {number}")


def _parsed(line: str, where: str) -> Any:
    try:
        return json.loads(line)
    except (ValueError, RecursionError) as error:
        raise Unreadable(f"whose {where} is no JSON ({_reason(error)})") from error


def _reason(error: Exception) -> str:
    return error.msg if isinstance(error, json.JSONDecodeError) else (str(error) or type(error).__name__)


def _table_rows(pieces: Iterator[str], text_column: str, delimiter: str) -> Iterator[str]:
    csv.field_size_limit(min(sys.maxsize, 2**31 - 1))  # the default of 128 KiB is less than a document
    reader = csv.DictReader(_lines(pieces), delimiter=delimiter, strict=True)
    try:
        reader.fieldnames = next((row for row in reader.reader if row), [])  # blank lines may stand above
        if reader.fieldnames:
            _check_column(text_column, reader.fieldnames)
        for row in reader:
            yield text_of(row, text_column, f"line {reader.line_num}")
    except csv.Error as error:
        raise Unreadable(f"whose line {reader.line_num} is no row of a table ({error})") from error


def _parquet_rows(file: BinaryIO, text_column: str) -> Iterator[str]:
    # Footers stand at the end: a compressed file has to be unpacked first.
    table = pyarrow.parquet.ParquetFile(io.BytesIO(file.read()) if not hasattr(file, "raw") else file)
    _check_column(text_column, table.schema_arrow.names)
    number = 0
    for batch in table.iter_batches(batch_size=1024, columns=[text_column]):
        for value in batch.column(0).to_pylist():
            number += 1
            yield text_of({text_column: value}, text_column, f"row {number}")


def text_of(row: Any, text_column: str, where: str) -> str:
    """The text of one row."""
    if isinstance(row, str):
        return row
    if not isinstance(row, dict):
        raise Unreadable(f"whose {where} is neither an object nor a text")
    _check_column(text_column, list(row))
    value = row[text_column]
    if not isinstance(value, str):
        raise NoTextColumn(
            f"`text_column` must hold text in every row, got {type(value).__name__} in {text_column!r} in {where} of "
            "{name}; choose another column or drop such rows."
        )
    return value


def _check_column(text_column: str, names: list) -> None:
    if text_column not in names:
        found = ", ".join(str(name) for name in names if name is not None) or "none"
        raise NoTextColumn(f"`text_column` must be a column of {{name}}, got {text_column!r}; choose one of {found}.")
    if (times := list(names).count(text_column)) > 1:
        raise NoTextColumn(
            f"`text_column` must be one column of {{name}}, got {text_column!r}, the name of {times}; rename others."
        )
