# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Molecules of files and datasets: what of them becomes rows, and of which split."""

import hashlib
import itertools
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

from critic_gpt.tasks.corpus import CorpusReader, files_of
from critic_gpt.tasks.files import is_table
from critic_gpt.tasks.notations import EOS_TOKEN, NOT_SPECIAL, notation_of, tokens_of
from critic_gpt.tasks.prepared import SPLITS


if TYPE_CHECKING:
    from critic_gpt.tasks.smiles import SmilesFlags

# What a SMILES may hold outside of brackets, the arrows of dialects and reactions included, and how it begins.
WRITTEN_AS_SMILES = re.compile(
    rf"(?=[\[(*BCNOPSFIbcnops])(?:\[{NOT_SPECIAL}[^\[\]]+\]|Br|Cl|[BCNOPSFIbcnops*0-9%()=#$:/\\.~<>-])+"
)
# As any system writes it.
LINE_END = re.compile(r"\r\n?|\n")
# Why a molecule is left out.
NO_SMILES, UNWRITABLE, TOO_LONG = "that are no SMILES", "that this notation cannot express", "too long"
UNKNOWN = "with tokens that are not trained on"


class MoleculeSource:
    """The molecules of a source by split: read anew for each pass."""

    def __init__(self, flags: "SmilesFlags", seed: int):
        self.flags, self.seed = flags, seed
        self.reader, self.notation = _reader(flags), notation_of(flags.notation)
        self.counts = dict.fromkeys(SPLITS, 0)
        self.left_out = dict.fromkeys([NO_SMILES, UNWRITABLE, TOO_LONG, UNKNOWN], 0)
        self.sha256 = ""

    def survey(self) -> set[str]:
        """Counts, and gives the tokens that are trained on."""
        digest = hashlib.sha256()
        tokens: set[str] = set()
        for split in SPLITS:  # training first
            for molecule in self._of(split):
                digest.update(molecule.encode() + b"\n")
                found = self._tokens(molecule)
                if isinstance(found, str):
                    self.left_out[found] += 1
                elif split != "train" and not tokens.issuperset(found):
                    self.left_out[UNKNOWN] += 1
                else:
                    self.counts[split] += 1
                    if split == "train":
                        tokens.update(found)
        self.sha256 = digest.hexdigest()
        for split, count in self.counts.items():
            if not count:
                raise ValueError(
                    f"`source` must hold molecules of at most {self.flags.sequence_length - 1} tokens for each split, "
                    f"got {self.reader.title!r}, which leaves {split} empty ({self.said_of_left_out()}); take more "
                    "molecules, a longer `sequence_length` or larger shares, and of lines see that the SMILES stand "
                    "first."
                )
        return tokens

    def said_of_left_out(self) -> str:
        """How many were left out and why, in words."""
        return ", ".join(f"{count} {reason}" for reason, count in self.left_out.items() if count) or "none left out"

    def rows(self, split: str, vocabulary: Mapping[str, int]) -> Iterator[np.ndarray]:
        """Token ids of shape `(sequence_length,)`."""
        length, end = self.flags.sequence_length, vocabulary[EOS_TOKEN]
        for molecule in self._of(split):
            found = self._tokens(molecule)
            if not isinstance(found, str) and vocabulary.keys() >= set(found):
                ids = [vocabulary[token] for token in found]
                yield np.array(ids + [end] * (length - len(ids)), dtype=np.int32)

    def _tokens(self, molecule: str) -> list[str] | str:
        """The tokens of a molecule as rows are written, or why it has no row."""
        if not WRITTEN_AS_SMILES.fullmatch(molecule):  # the head of a column, a number, another format
            return NO_SMILES
        written = self.notation.write(molecule)
        if written is None:
            return UNWRITABLE
        found = tokens_of(written)
        return found if len(found) < self.flags.sequence_length else TOO_LONG

    def _of(self, split: str) -> Iterator[str]:
        """Of one split, at most `num_train` to train on. A molecule that occurs twice is in one split."""
        given = self.reader.splits
        cuts = [
            self.flags.validation_share * ("validation" not in given),
            self.flags.test_share * ("test" not in given),
        ]
        origin = split if split in given else "train"
        found = (
            molecule
            for molecule in _lines(self.reader, origin)
            if origin == split != "train" or _place(molecule, self.seed, cuts) == split
        )
        return itertools.islice(found, self.flags.num_train if split == "train" else None)


def _reader(flags: "SmilesFlags") -> CorpusReader:
    """As for text; tables have their molecules in the column SMILES unless another one is named."""
    files = files_of(flags.source)
    of_text = files and not any(map(is_table, files))
    column = flags.text_column or ("text" if of_text else "SMILES")
    return CorpusReader(flags.source, column, flags.dataset_config, flags.dataset_split)


def _lines(reader: CorpusReader, split: str) -> Iterator[str]:
    """The first word of every line: what follows in `.smi` files is a name."""
    waiting = ""
    for text, _ in reader.pieces(split):
        *lines, waiting = LINE_END.split(waiting + text)
        yield from (words[0] for line in lines if (words := line.split()))
    if words := waiting.split():
        yield words[0]


def _place(molecule: str, seed: int, cuts: Sequence[float]) -> str:
    """The split of a molecule, drawn by its text."""
    digest = hashlib.blake2b(molecule.encode(), digest_size=8, salt=(seed % 2**64).to_bytes(8, "little")).digest()
    drawn = int.from_bytes(digest, "little") / 2**64
    return "validation" if drawn < cuts[0] else "test" if drawn < sum(cuts) else "train"
