# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Where a text comes from: documents of a file, a folder or a dataset, read whole or piece by piece."""

import glob
import hashlib
import pydoc_data.topics
import re
import sys
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from transformers.utils import logging

from critic_gpt.hub.documents import cause_of
from critic_gpt.hub.text import lone_surrogate, without_byte_order_mark
from critic_gpt.tasks.files import ROW_SUFFIXES, NoTextColumn, Unreadable, file_documents, is_table, is_text, text_of


logger = logging.get_logger(__name__)

EMBEDDED_TITLE = "pydoc_data.topics"
HUB_NAME = re.compile(r"\w[\w.-]*(/\w[\w.-]*)?")
# A name with one of these is a file that is missing, not a dataset of the hub.
FILE_SUFFIXES = {
    ".txt",
    ".md",
    ".rst",
    ".text",
    ".py",
    ".tex",
    ".html",
    ".smi",
    ".smiles",
    ".gz",
    ".bz2",
    ".xz",
    *ROW_SUFFIXES,
}
SPLIT_NAMES = {
    "train": ("train", "training"),
    "validation": ("validation", "valid", "val", "dev"),
    "test": ("test", "testing"),
}
Documents = Iterable[Iterable[str]]


@dataclass(frozen=True)
class Corpus:
    """
    A text and where it came from.

    Args:
        text (`str`): The text.
        title (`str`): Name of the source, without any folder.
        sha256 (`str`): Hash of the text in UTF-8.
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
        num_characters (`dict[str, int]`): Length of the text of each given split.
        alphabet (`str`): Its distinct characters, in code point order.
    """

    title: str
    sha256: str
    num_characters: dict[str, int]
    alphabet: str = field(repr=False)


class Piece(NamedTuple):
    """A part of a text, and whether a document ends with it."""

    text: str
    ends_document: bool


@dataclass(frozen=True)
class CorpusReader:
    """
    Reads the embedded text, files, a folder, or a dataset of the hub, in this order of attempts.

    Args:
        source, text_column, dataset_config, dataset_split:
            See [`TextTask`].
        end_of_document (`str`, *optional*):
            What stands in the text where a document ends. By default documents are joined: each of several ends with
            a newline, which is added where it is missing.

    Raises:
        `FileNotFoundError`: If `source` looks like a path and nothing is there.
        `ValueError`: If there is no text, or none in the column, or it does not load; while reading, too.
    """

    source: str | None = None
    text_column: str = "text"
    dataset_config: str | None = None
    dataset_split: str = "train"
    end_of_document: str | None = None

    @property
    def title(self) -> str:
        """Name of the source, without any folder."""
        if self.source is None:
            return f"{EMBEDDED_TITLE} (Python {sys.version_info.major}.{sys.version_info.minor})"
        return Path(self.source).expanduser().name

    @property
    def splits(self) -> tuple[str, ...]:
        """
        The given splits to use, by our names: that to train on and, beside one called "train", those for validation
        and test.
        """
        if self.dataset_split != "train":
            return ("train",)
        return tuple(split for split in SPLIT_NAMES if split in self._found)

    def pieces(self, split: str = "train") -> Iterator[Piece]:
        """Yields a split in pieces that joined are its text."""
        name = self.dataset_split if split == "train" else split
        for document in self._found[name]():
            first, written = True, ""
            for text in document:
                if first and text:
                    text, first = without_byte_order_mark(text), False
                if (half := lone_surrogate(text)) is not None:
                    raise ValueError(
                        f"`source` must hold whole characters, got {self.title!r} with {half!r}, half of one (a lone "
                        "surrogate); remove it."
                    )
                if text:
                    yield Piece(text, False)
                    written = text[-1]
            to_join = self.end_of_document is None and not self._is_single and written != "\n"
            yield Piece("\n" if to_join else "", True)

    def documents(self, split: str = "train") -> Iterator[Piece]:
        """As [`~CorpusReader.pieces`]; a document ends at each literal `end_of_document`, too, which is left out."""
        literal, waiting = self.end_of_document, ""
        for text, ends_document in self.pieces(split):
            if literal is None:
                yield Piece(text, ends_document)
                continue
            *done, waiting = (waiting + text).split(literal)
            yield from (Piece(part, True) for part in done)
            if ends_document:
                yield Piece(waiting, True)
                waiting = ""
            elif len(waiting) >= len(literal):  # what may be the beginning of a literal waits
                kept = len(waiting) - len(literal) + 1
                yield Piece(waiting[:kept], False)
                waiting = waiting[kept:]

    def survey(self, on_piece: Callable[[str], None] | None = None) -> CorpusSurvey:
        """Reads all splits once; `on_piece` gets every piece in turn."""
        digest, alphabet, lengths = hashlib.sha256(), set(), {}
        for split in self.splits:
            blank = True
            lengths[split] = 0
            for text, _ in self.documents(split):
                digest.update(text.encode("utf-8"))
                alphabet.update(text)
                lengths[split] += len(text)
                blank = blank and not text.strip()
                if on_piece is not None:
                    on_piece(text)
            if blank:
                where = "" if len(self.splits) == 1 else f" in the split {split}"
                raise ValueError(
                    f"`source` must hold text, got {self.title!r}, which is empty{where}; choose another file, column "
                    "or dataset."
                )
        return CorpusSurvey(self.title, digest.hexdigest(), lengths, "".join(sorted(alphabet)))

    # Where the text is

    @property
    def _is_single(self) -> bool:
        """Whether the source is one document, which is read to the byte."""
        path = None if self.source is None else Path(self.source).expanduser()
        return path is None or (path.is_file() and not is_table(path))

    @cached_property
    def _found(self) -> dict[str, Callable[[], Documents]]:
        """For each split of the source what reads its documents."""
        found = self._look()
        if self.dataset_split not in found:
            raise ValueError(
                f"`dataset_split` must be a split of {self.title!r}, got {self.dataset_split!r}; choose one of "
                f"{', '.join(found)}."
            )
        return found

    def _look(self) -> dict[str, Callable[[], Documents]]:
        if self.source is None:
            topics = pydoc_data.topics.topics
            return {"train": lambda: [["\n\n".join(topics[name] for name in sorted(topics))]]}
        path = Path(self.source).expanduser()
        if path.is_file():
            self._refuse_idle_flags([path])
            return {"train": lambda: self._files([path])}
        if path.is_dir() and self.dataset_config is None:
            if any((path / name).is_file() for name in ("dataset_dict.json", "dataset_info.json")):
                return self._dataset()
            return self._by_split(files_of(self.source), path)
        if not path.is_dir() and glob.has_magic(self.source):
            return self._by_split(files_of(self.source), Path(path.anchor or "."))
        if not path.is_dir() and (not HUB_NAME.fullmatch(self.source) or path.suffix.lower() in FILE_SUFFIXES):
            raise FileNotFoundError(
                "`source` must be a file, a folder, a pattern of files or the name of a dataset, got "
                f"{self.source!r}, which does not exist; check the path or leave it out for the embedded text."
            )
        return self._dataset()

    # Files

    def _by_split(self, paths: list[Path], root: Path) -> dict[str, Callable[[], Documents]]:
        """Files by the split that their names tell; all are to train on where none is called so."""
        tables = [path for path in paths if is_table(path)]
        texts = [path for path in tables or paths if is_text(path)]  # beside tables lie read-me files and the like
        if skipped := len(tables or paths) - len(texts):
            logger.warning(
                f"{skipped} of {len(tables or paths)} files in {self.source} are left out: they are no text."
            )
        if not texts:
            raise FileNotFoundError(
                f"`source` must be files of text, got {self.source!r}, where there are none; check the path or the "
                "pattern."
            )
        self._refuse_idle_flags(texts)
        groups: dict[str, list[Path]] = {}
        for path in texts:
            groups.setdefault(_split_of(path, root), []).append(path)
        if "train" not in groups:
            groups = {"train": texts}
        elif "" in groups:
            groups["train"] = sorted([*groups["train"], *groups.pop("")])
        return {split: (lambda some=some: self._files(some)) for split, some in groups.items()}

    def _files(self, paths: list[Path]) -> Iterator[Iterator[str]]:
        for path in paths:
            try:
                for document in file_documents(path, self.text_column):
                    yield self._guarded(document, path)
            except (Unreadable, NoTextColumn) as error:
                raise _refusal(error, path.name) from error

    def _guarded(self, document: Iterator[str], path: Path) -> Iterator[str]:
        try:
            yield from document
        except (Unreadable, NoTextColumn) as error:
            raise _refusal(error, path.name) from error

    def _refuse_idle_flags(self, paths: list[Path]) -> None:
        """Refuses what would have no effect on files."""
        if self.dataset_config is not None:
            raise ValueError(
                f"`dataset_config` is for datasets of the hub, got {self.dataset_config!r} for {self.title!r}; leave "
                "it out."
            )
        if self.text_column != "text" and not any(map(is_table, paths)):
            raise ValueError(
                f"`text_column` is for tables, got {self.text_column!r} for {self.title!r}, which is plain text; "
                "leave it out."
            )

    # Datasets

    def _dataset(self) -> dict[str, Callable[[], Documents]]:
        import datasets  # slow to import, and only this source needs it

        folder = Path(self.source).expanduser()
        try:
            if folder.is_dir() and self.dataset_config is None:
                loaded = datasets.load_from_disk(str(folder))
            elif self.dataset_split.isidentifier():
                loaded = datasets.load_dataset(self.source, self.dataset_config)
            else:  # a slice, as in train[:10%]
                loaded = datasets.load_dataset(self.source, self.dataset_config, split=self.dataset_split)
        except Exception as error:  # loaders raise whatever their format or the network raises
            raise ValueError(
                f"`source` must be text or a dataset with the split {self.dataset_split!r}, got {self.source!r}, "
                f"which did not load ({cause_of(error)}); check the name, the split and the connection."
            ) from error
        if not isinstance(loaded, dict):
            loaded = {self.dataset_split: loaded}
        names = {name: split for split, names in SPLIT_NAMES.items() for name in names}
        # Names as they are stay valid for `dataset_split`.
        every = {**{names.get(name, name): part for name, part in loaded.items()}, **loaded}
        return {split: (lambda part=part: self._rows(part)) for split, part in every.items()}

    def _rows(self, dataset) -> Iterator[list[str]]:
        if self.text_column not in dataset.column_names:
            raise ValueError(
                f"`text_column` must be a column of {self.title!r}, got {self.text_column!r}; choose one of "
                f"{', '.join(dataset.column_names)}."
            )
        for number, row in enumerate(dataset.select_columns([self.text_column]), start=1):
            try:
                yield [text_of(row, self.text_column, f"row {number}")]
            except NoTextColumn as error:
                raise _refusal(error, self.title) from error


def read_corpus(
    source: str | None = None,
    text_column: str = "text",
    dataset_config: str | None = None,
    dataset_split: str = "train",
) -> Corpus:
    """
    Reads a whole text into memory; arguments and errors are those of [`CorpusReader`].

    Returns:
        `Corpus`: The text and its origin.
    """
    pieces: list[str] = []
    survey = CorpusReader(source, text_column, dataset_config, dataset_split).survey(pieces.append)
    return Corpus("".join(pieces), survey.title, survey.sha256)


def _refusal(error: Exception, name: str) -> ValueError:
    if isinstance(error, NoTextColumn):
        return ValueError(str(error).replace("{name}", repr(name)))
    return ValueError(f"`source` must be text, or a table that holds some, got {name!r}, {error}.")


def files_of(source: str) -> list[Path]:
    """The files that a source names: itself, those below a folder or of a pattern; none of a dataset of the hub."""
    path = Path(source).expanduser()
    if path.is_file():
        return [path]
    if path.is_dir():
        return _files_below(path)
    found = sorted(glob.glob(str(path), recursive=True)) if glob.has_magic(source) else []
    return [Path(name) for name in found if Path(name).is_file()]


def _files_below(folder: Path) -> list[Path]:
    """All files of a folder, in order, hidden ones aside."""
    paths = (path for path in sorted(folder.rglob("*")) if path.is_file())
    return [path for path in paths if not any(part.startswith(".") for part in path.relative_to(folder).parts)]


def _split_of(path: Path, root: Path) -> str:
    """The split that a file's name tells, or "". Of texts only the whole name counts: code has files `test_x.py`."""
    stem, parts = path.name.lower().split(".")[0], [part.lower() for part in path.parent.parts[len(root.parts) :]]
    words = {stem, *parts[:1]} if root.is_dir() else {stem}
    if is_table(path):
        words.add(re.split(r"[-_.]", stem)[0])
    return next((split for split, names in SPLIT_NAMES.items() if words & set(names)), "")
