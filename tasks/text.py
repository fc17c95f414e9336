# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The text task: any corpus, cut into windows of tokens, and a judge of generated text."""

import functools
import itertools
import math
import operator
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from critic_gpt.tasks.base import Prepared, Task, register_task
from critic_gpt.tasks.corpus import Corpus, CorpusSurvey, corpus_pieces, first_line, read_corpus, survey_corpus
from critic_gpt.tasks.prepared import existing_file
from critic_gpt.tasks.tokenizers import MASK_TOKEN, PAD_TOKEN, build_character_tokenizer
from critic_gpt.tasks.windows import encode_lines, encode_pieces, iterate_fixed_windows, iterate_packed_lines


logger = logging.get_logger(__name__)

CHARACTER = "character"
WINDOWS = ("fixed", "lines")
NGRAM = 6
WORDS_FILE = "train_words.txt"


@dataclass
class TextFlags:
    """The flags of `prepare_data.py --task text`; see [`TextTask`]."""

    source: str | None = field(
        default=None,
        metadata={
            "help": "A UTF-8 file, a dataset folder or a dataset name; left out: Python's reference.",
        },
    )
    text_column: str = field(default="text", metadata={"help": "Column of a dataset."})
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of a dataset."})
    dataset_split: str = field(default="train", metadata={"help": "Split of a dataset to read."})
    tokenizer: str = field(default=CHARACTER, metadata={"help": "'character', or name or folder of a tokenizer."})
    sequence_length: int = field(default=256, metadata={"help": "Most tokens in a window."})
    window: Literal["fixed", "lines"] = field(
        default="fixed",
        metadata={"help": "'fixed': equal windows; 'lines': whole lines while they fit."},
    )
    validation_share: float = field(default=0.05, metadata={"help": "Share of the characters."})
    test_share: float = field(default=0.05, metadata={"help": "Share of the characters."})
    judge_share: float = field(default=0.0, metadata={"help": "Share kept from the model, to train a judge on."})


@register_task
@dataclass(frozen=True)
class TextTask(Task):
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
            The same for the test split.
        judge_share (`float`, *optional*, defaults to 0.0):
            The same for a split "judge", at the end of the text, on which a judge of generated text can be trained
            that shares no text with the model; 0: there is no such split. All shares together stay below 1.
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
    judge_share: float = 0.0
    train_words: frozenset[str] = field(default=frozenset(), repr=False)

    name: ClassVar[str] = "text"
    figures: ClassVar[dict[str, str]] = {
        "known_word_rate": "share of words known from the training text",
        "unigram_entropy_bits": "unigram entropy, bits a character",
        "distinct_6gram_rate": "share of different runs of six characters",
    }
    Flags: ClassVar[type] = TextFlags
    compares_with_real_text: ClassVar[bool] = True

    def __post_init__(self):
        if self.sequence_length < 2:
            raise ValueError(f"`sequence_length` must be at least 2, got {self.sequence_length}; 256 is a good start.")
        if self.window not in WINDOWS:
            raise ValueError(f"`window` must be 'fixed' or 'lines', got {self.window!r}; choose one of the two.")
        for share in ("validation_share", "test_share"):
            if not 0 < getattr(self, share) < 1:
                raise ValueError(f"`{share}` must be between 0 and 1, got {getattr(self, share)}; 0.05 is usual.")
        if not 0 <= self.judge_share < 1:
            raise ValueError(f"`judge_share` must be in [0, 1), got {self.judge_share}; 0.5 leaves a half to a judge.")
        total = self.validation_share + self.test_share + self.judge_share
        if total >= 1:
            raise ValueError(
                f"`validation_share + test_share + judge_share` must be below 1, got {total}; leave a share for "
                "training."
            )

    # The data

    @classmethod
    def prepare(cls, flags: TextFlags, seed: int) -> Prepared:
        """Surveys the corpus; it is read, encoded and cut piece by piece while it is written."""
        settings = asdict(flags)
        task = cls(tokenizer_name=settings.pop("tokenizer"), **settings)
        survey = task.survey()
        bounds = task.bounds(survey.num_characters)
        tokenizer = task.tokenizer(survey.alphabet)
        words: set[str] = set()

        def windows_of(split: str) -> Iterator[np.ndarray]:
            if split == "train":
                for some in iterate_words(task.pieces(bounds[split])):
                    words.update(some)
            yield from task.iterate_windows(task.pieces(bounds[split]), tokenizer, split)

        metadata = {
            "task": task.name,
            "sequence_length": task.sequence_length,
            "window": task.window,
            "validation_share": task.validation_share,
            "test_share": task.test_share,
            **({"judge_share": task.judge_share} if task.judge_share else {}),
            "seed": seed,
            "source": survey.title,
            "source_sha256": survey.sha256,
            "tokenizer": flags.tokenizer.rstrip("/").rpartition("/")[2],  # no folder of this machine in what is shared
            "vocab_size": len(tokenizer),
            "num_characters": {split: end - begin for split, (begin, end) in bounds.items()},
        }
        windows = {split: windows_of(split) for split in bounds}
        return Prepared(windows, tokenizer, metadata, _words_file(words))

    @classmethod
    def load(cls, metadata: Mapping[str, Any], folder: Path) -> "TextTask":
        """The task of a prepared folder, with the words of its training split."""
        words = frozenset(existing_file(folder, WORDS_FILE).read_text(encoding="utf-8").split("\n"))
        keys = ("sequence_length", "window", "validation_share", "test_share", "source")
        # Folders prepared before there were judges have no share for them.
        judge_share = metadata.get("judge_share", 0.0)
        return cls(**{key: metadata[key] for key in keys}, judge_share=judge_share, train_words=words)

    def files(self) -> dict[str, Callable[[], str]]:
        """The words of the training split."""
        return _words_file(self.train_words)

    def read(self) -> Corpus:
        """Reads the whole source into memory; errors are those of [`read_corpus`]."""
        return read_corpus(*self._origin)

    def survey(self) -> CorpusSurvey:
        """Reads the source once, piece by piece: its length, alphabet and hash; errors are those of `read`."""
        return survey_corpus(*self._origin)

    @property
    def _origin(self) -> tuple[str | None, str, str | None, str]:
        return self.source, self.text_column, self.dataset_config, self.dataset_split

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
                f"which did not load ({first_line(error)}); check the name or pass 'character'."
            ) from error
        for kind, token in (("mask_token", MASK_TOKEN), ("pad_token", PAD_TOKEN)):
            if getattr(tokenizer, kind) is None:
                tokenizer.add_special_tokens({kind: token})
                token_id = tokenizer.convert_tokens_to_ids(token)
                logger.warning(f"{self.tokenizer_name} has no {kind}: added {token!r} with id {token_id}.")
        return tokenizer

    def split(self, text: str) -> dict[str, str]:
        """
        Cuts a text by position into train, validation, test and perhaps judge, at the beginnings of lines where there
        are any.

        Raises:
            `ValueError`: If a split would be empty.
        """
        return {split: text[first:end] for split, (first, end) in self.bounds(len(text), [text]).items()}

    def bounds(self, num_characters: int, pieces: Iterable[str] | None = None) -> dict[str, tuple[int, int]]:
        """
        Where the splits begin and end, in characters.

        Args:
            num_characters (`int`):
                Length of the text.
            pieces (`Iterable[str]`, *optional*):
                The text; by default the source, which is read once more up to the last cut.

        Raises:
            `ValueError`: If a split would be empty.
        """
        shares = {"validation": self.validation_share, "test": self.test_share, "judge": self.judge_share}
        shares = {split: share for split, share in shares.items() if share}
        behind = [list(shares.values())[i:] for i in range(len(shares))]
        cuts = [round(num_characters * functools.reduce(operator.sub, parts, 1)) for parts in behind]
        pieces = corpus_pieces(*self._origin) if pieces is None else pieces
        cuts = [0, *_line_beginnings(pieces, list(itertools.pairwise([*cuts, num_characters]))), num_characters]
        bounds = dict(zip(("train", *shares), itertools.pairwise(cuts), strict=True))
        for split, (begin, end) in bounds.items():
            if begin >= end:
                raise ValueError(
                    f"`source` must be long enough for {len(bounds)} splits, got {num_characters} characters, which "
                    f"leave {split} empty; take a longer text or larger shares."
                )
        return bounds

    def pieces(self, bounds: tuple[int, int]) -> Iterator[str]:
        """Reads the part of the source between two positions, piece by piece."""
        position, (begin, end) = 0, bounds
        for piece in corpus_pieces(*self._origin):
            part = piece[max(begin - position, 0) : max(end - position, 0)]
            if part:
                yield part
            position += len(piece)
            if position >= end:
                return

    def windows(self, text: str, tokenizer: PreTrainedTokenizerBase, split: str = "text") -> list[np.ndarray]:
        """As [`~TextTask.iterate_windows`], of a text in memory and all at once."""
        return list(self.iterate_windows([text], tokenizer, split))

    def iterate_windows(
        self, pieces: Iterable[str], tokenizer: PreTrainedTokenizerBase, split: str = "text"
    ) -> Iterator[np.ndarray]:
        """
        Encodes one split and cuts it into windows, with no more than some pieces, lines or windows in memory.

        Args:
            pieces (`Iterable[str]`):
                The text of the split, in pieces; a literal `[MASK]` in it stays text.
            tokenizer (`PreTrainedTokenizerBase`):
                The tokenizer.
            split (`str`, *optional*, defaults to `"text"`):
                Name of the split, for messages.

        Returns:
            `Iterator[np.ndarray]`: Token ids (`int32`), at most `sequence_length` in each window, in order of the
            text.

        Raises:
            `ValueError`: If the split gives no window, or holds characters that a character tokenizer does not know.
        """
        num_tokens = num_windows = 0

        def counted(parts: Iterator[np.ndarray]) -> Iterator[np.ndarray]:
            nonlocal num_tokens
            for part in parts:
                num_tokens += len(part)
                yield part

        if self.window == "lines":
            windows = iterate_packed_lines(counted(encode_lines(tokenizer, pieces, split)), self.sequence_length)
        else:
            windows = iterate_fixed_windows(counted(encode_pieces(tokenizer, pieces, split)), self.sequence_length)
        for window in windows:
            num_windows += 1
            yield window
        if not num_windows:
            raise ValueError(
                f"`sequence_length` must be at most the {num_tokens} tokens of the {split} split, got "
                f"{self.sequence_length}; shorten it, enlarge the split's share or take a longer text."
            )

    # The judge

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


def _words_file(words: Collection[str]) -> dict[str, Callable[[], str]]:
    return {WORDS_FILE: lambda: "\n".join(sorted(words))}


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


_WORD_CHARACTER = re.compile(r"\w")


def _line_beginnings(pieces: Iterable[str], ranges: Sequence[tuple[int, int]]) -> list[int]:
    """For each range: the first beginning of a line at or after its begin and before its end, else its begin."""
    found: list[int | None] = [0 if begin == 0 else None for begin, _ in ranges]
    position = 0
    for piece in pieces:
        for i, (begin, end) in enumerate(ranges):
            if found[i] is None:
                newline = piece.find("\n", max(begin - 1 - position, 0), max(end - 1 - position, 0))
                found[i] = None if newline < 0 else position + newline + 1
        position += len(piece)
        if None not in found:
            break
    return [begin if place is None else place for place, (begin, _) in zip(found, ranges, strict=True)]


def _entropy_bits(counts: Mapping[str, int]) -> float:
    total = sum(counts.values())
    return sum(count / total * math.log2(total / count) for count in counts.values())
