# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The text task: any corpus, cut into windows of tokens, and a judge of generated text."""

import functools
import itertools
import operator
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
from transformers import AutoTokenizer, PreTrainedTokenizerBase
from transformers.utils import logging

from critic_gpt.hub.documents import cause_of
from critic_gpt.tasks.base import Prepared, Task, register_task
from critic_gpt.tasks.corpus import CorpusReader, Piece
from critic_gpt.tasks.documents import beginnings, by_document, part_of, with_ends
from critic_gpt.tasks.encoding import Tokens, encode_documents
from critic_gpt.tasks.prepared import SPLITS, existing_file
from critic_gpt.tasks.text_numbers import text_numbers
from critic_gpt.tasks.tokenizers import build_character_tokenizer
from critic_gpt.tasks.vocabulary import make_ready
from critic_gpt.tasks.windows import iterate_fixed_windows, iterate_packed_lines
from critic_gpt.tasks.words import iterate_words


logger = logging.get_logger(__name__)

CHARACTER = "character"
WINDOWS = ("fixed", "lines")
WORDS_FILE = "train_words.txt"


@dataclass
class TextFlags:
    """The flags of `prepare_data.py --task text`; see [`TextTask`]."""

    _argument_group_name: ClassVar[str] = "with --task text"

    source: str | None = field(
        default=None,
        metadata={
            "help": "File, folder, pattern of files, or name of a dataset; left out: Python's reference.",
        },
    )
    text_column: str = field(default="text", metadata={"help": "Column or key that holds the text."})
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of a dataset."})
    dataset_split: str = field(default="train", metadata={"help": "Split to train on."})
    tokenizer: str = field(default=CHARACTER, metadata={"help": "'character', or name or folder of a tokenizer."})
    sequence_length: int = field(default=256, metadata={"help": "Most tokens in a window."})
    window: Literal["fixed", "lines"] = field(
        default="fixed",
        metadata={"help": "'fixed': equal windows; 'lines': whole lines while they fit."},
    )
    validation_share: float = field(default=0.05, metadata={"help": "Share of the characters."})
    test_share: float = field(default=0.05, metadata={"help": "Share of the characters."})
    judge_share: float = field(default=0.0, metadata={"help": "Share kept from the model, to train a judge on."})
    end_documents: bool | None = field(
        default=None,
        metadata={"help": "Teach where a document ends, one a window; by default where the tokenizer has an EOS."},
    )


@register_task
@dataclass(frozen=True)
class TextTask(Task):
    """
    Windows of tokens from one corpus, split by position, and numbers that judge generated text.

    Args:
        source (`str`, *optional*):
            A file, a folder, a pattern (`"data/*.jsonl"`), or the name of a dataset. A file is text in UTF-8, or in
            UTF-16 or 32 with their mark, or rows of JSON, JSON Lines, CSV, TSV or Parquet; each may be compressed by
            gzip, bzip2 or xz. Of a folder all files count, or only tables where there are any. By default the language
            reference that every CPython carries (`pydoc_data.topics`), about half a million characters, different in
            each Python.
        text_column (`str`, *optional*, defaults to `"text"`):
            Column, or key of JSON objects, that holds the text.
        dataset_config (`str`, *optional*):
            Configuration of a dataset that has several.
        dataset_split (`str`, *optional*, defaults to `"train"`):
            The split to train on. Beside one called train, splits for validation and test stay what they are; what is
            not given is cut from it by position.
        tokenizer_name (`str`, *optional*, defaults to `"character"`):
            `"character"` for one token per character of the corpus, or the name or folder of any tokenizer.
        sequence_length (`int`, *optional*, defaults to 256):
            Most tokens in a window, at least 2.
        window (`str`, *optional*, defaults to `"fixed"`):
            `"fixed"`: consecutive windows of `sequence_length` tokens, or of one or two less where a window would end
            within a character; the rest of each split is dropped.
            `"lines"`: windows of whole lines, as many as fit; only a line longer than a window is cut.
        validation_share (`float`, *optional*, defaults to 0.05):
            Share of the characters that becomes the validation split, between 0 and 1.
        test_share (`float`, *optional*, defaults to 0.05):
            The same for the test split.
        judge_share (`float`, *optional*, defaults to 0.0):
            The same for a split "judge", at the end of the text, on which a judge of generated text can be trained
            that shares no text with the model; 0: there is no such split. All shares together stay below 1.
        end_documents (`bool`, *optional*):
            Whether documents (files, rows, what a literal EOS divides) end with the tokenizer's EOS and lengths are
            learnt: a window holds tokens of one document, and behind its EOS stand masks, which the model sees, as it
            does in generation, and is not taught to fill. By default where the tokenizer has an EOS.
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
    end_documents: bool | None = None
    train_words: frozenset[str] = field(default=frozenset(), repr=False)

    name: ClassVar[str] = "text"
    figures: ClassVar[dict[str, str]] = {
        "known_word_rate": "share of words known from the training text",
        "unigram_entropy_bits": "unigram entropy, bits a character",
        "distinct_6gram_rate": "share of different runs of six characters",
    }
    Flags: ClassVar[type] = TextFlags
    compares_with_real_text: ClassVar[bool] = True
    better: ClassVar[dict[str, str]] = {
        "unigram_entropy_bits": "nearer to real",
        "distinct_6gram_rate": "nearer to real",
    }

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
        tokenizer = None if task.tokenizer_name == CHARACTER else task.tokenizer()
        reader = task.reader(tokenizer)
        survey = reader.survey()
        tokenizer = task.tokenizer(survey.alphabet) if tokenizer is None else tokenizer
        bounds = task.bounds(survey.num_characters["train"], reader.documents(), reader.splits)
        given = {split: (0, survey.num_characters[split]) for split in reader.splits[1:]}
        bounds = {split: (bounds | given)[split] for split in (*SPLITS, *bounds) if split in bounds | given}
        words: set[str] = set()

        def part(split: str) -> Iterator[Piece]:
            return part_of(reader.documents(split if split in given else "train"), bounds[split])

        def windows_of(split: str) -> Iterator[np.ndarray]:
            if split == "train":
                for some in iterate_words(text for text, _ in part(split)):
                    words.update(some)
            # A judge reads on from window to window.
            ends = reader.end_of_document is not None and split != "judge"
            yield from task.iterate_windows(part(split), tokenizer, split, end_documents=ends)

        metadata = {
            "task": task.name,
            "sequence_length": task.sequence_length,
            "window": task.window,
            "validation_share": task.validation_share,
            "test_share": task.test_share,
            **({"judge_share": task.judge_share} if task.judge_share else {}),
            **({"end_documents": True} if reader.end_of_document is not None else {}),
            **({"given_splits": list(given)} if given else {}),
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

    def reader(self, tokenizer: PreTrainedTokenizerBase | None = None) -> CorpusReader:
        """What reads the source; documents end in it as `end_documents` and the tokenizer say."""
        ends = self.end_documents
        eos = None if tokenizer is None else tokenizer.eos_token
        if ends and eos is None:
            raise ValueError(
                f"`end_documents` needs a tokenizer with an EOS, got {self.tokenizer_name!r}, which has none; take "
                "another one, or leave it out."
            )
        origin = (self.source, self.text_column, self.dataset_config, self.dataset_split)
        return CorpusReader(*origin, end_of_document=None if ends is False else eos)

    def tokenizer(self, text: str = "") -> PreTrainedTokenizerBase:
        """
        Builds the character tokenizer over the alphabet of `text`, or loads the named one, ready for this training:
        see [`make_ready`].

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
                f"which did not load ({cause_of(error)}); check the name or pass 'character'."
            ) from error
        for change in make_ready(tokenizer):
            logger.warning(f"{self.tokenizer_name} {change}.")
        return tokenizer

    def split(self, text: str) -> dict[str, str]:
        """
        Cuts a text by position into train, validation, test and perhaps judge, at the beginnings of lines where there
        are any.

        Raises:
            `ValueError`: If a split would be empty.
        """
        bounds = self.bounds(len(text), [Piece(text, True)])
        return {split: text[first:end] for split, (first, end) in bounds.items()}

    def bounds(
        self, num_characters: int, pieces: Iterable[Piece], given: Collection[str] = ()
    ) -> dict[str, tuple[int, int]]:
        """
        Where the splits begin and end, in characters.

        Args:
            num_characters (`int`):
                Length of the text.
            pieces (`Iterable[Piece]`):
                The text, read up to the last cut.
            given (`Collection[str]`, *optional*):
                Splits that need not be cut from it.

        Raises:
            `ValueError`: If a split would be empty.
        """
        shares = {"validation": self.validation_share, "test": self.test_share, "judge": self.judge_share}
        shares = {split: share for split, share in shares.items() if share and split not in given}
        behind = [list(shares.values())[i:] for i in range(len(shares))]
        cuts = [round(num_characters * functools.reduce(operator.sub, parts, 1)) for parts in behind]
        cuts = [0, *beginnings(pieces, list(itertools.pairwise([*cuts, num_characters]))), num_characters]
        bounds = dict(zip(("train", *shares), itertools.pairwise(cuts), strict=True))
        for split, (begin, end) in bounds.items():
            if begin >= end:
                raise ValueError(
                    f"`source` must be long enough for {len(bounds)} splits, got {num_characters} characters, which "
                    f"leave {split} empty; take a longer text or larger shares."
                )
        return bounds

    def windows(self, text: str, tokenizer: PreTrainedTokenizerBase, split: str = "text") -> list[np.ndarray]:
        """As [`~TextTask.iterate_windows`], of a text in memory and all at once."""
        return list(self.iterate_windows([Piece(text, True)], tokenizer, split))

    def iterate_windows(
        self,
        pieces: Iterable[Piece],
        tokenizer: PreTrainedTokenizerBase,
        split: str = "text",
        end_documents: bool = False,
    ) -> Iterator[np.ndarray]:
        """
        Encodes one split and cuts it into windows, with no more than some pieces, lines or windows in memory.

        Args:
            pieces (`Iterable[Piece]`):
                The text of the split, in pieces; a literal `[MASK]` in it stays text.
            tokenizer (`PreTrainedTokenizerBase`):
                The tokenizer.
            split (`str`, *optional*, defaults to `"text"`):
                Name of the split, for messages.
            end_documents (`bool`, *optional*, defaults to `False`):
                See [`TextTask`].

        Returns:
            `Iterator[np.ndarray]`: Token ids (`int32`), at most `sequence_length` in each window, in order of the
            text.

        Raises:
            `ValueError`: If the split gives no window, or holds characters that a character tokenizer does not know.
        """
        num_tokens = num_windows = 0

        def counted(parts: Iterable[Tokens]) -> Iterator[Tokens]:
            nonlocal num_tokens
            for part in parts:
                num_tokens += len(part.ids)
                yield part

        if not end_documents:  # all documents are one text
            pieces = itertools.chain((Piece(text, False) for text, _ in pieces), [Piece("", True)])
        parts = encode_documents(tokenizer, pieces, split)
        parts = with_ends(parts, tokenizer.eos_token_id) if end_documents else parts
        for document in by_document(parts):
            if self.window == "lines":
                windows = iterate_packed_lines(counted(document), self.sequence_length)
            else:
                windows = iterate_fixed_windows(counted(document), self.sequence_length, keep_rest=end_documents)
            for window in windows:
                num_windows += 1
                if end_documents and window[-1] == tokenizer.eos_token_id:
                    window = _filled_up(window, self.sequence_length, tokenizer.mask_token_id)
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
        return text_numbers(texts, self.train_words, whole_words=self.window == "fixed")


def _words_file(words: Collection[str]) -> dict[str, Callable[[], str]]:
    return {WORDS_FILE: lambda: "\n".join(sorted(words))}


def _filled_up(window: np.ndarray, length: int, mask_token_id: int) -> np.ndarray:
    """Masks behind the end of a document, as they stand there in generation; they are no truth to learn."""
    return np.concatenate([window, np.full(length - len(window), mask_token_id, dtype=window.dtype)])
