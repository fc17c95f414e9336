# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The task of molecules, as SMILES or SELFIES: one a row, ended and filled up by EOS, so that lengths are learnt."""

import itertools
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from transformers import PreTrainedTokenizerFast
from transformers.utils import logging

from critic_gpt.hub.vocabulary import read_tokenizer
from critic_gpt.tasks.base import Prepared, Task, register_task
from critic_gpt.tasks.infilling import MoleculeInfillings
from critic_gpt.tasks.molecule_source import MoleculeSource
from critic_gpt.tasks.molecules import (
    ChemNetDistance,
    are_molecules,
    canonical_molecules,
    chemistry_version,
    internal_diversity,
)
from critic_gpt.tasks.notations import EOS_TOKEN, TOKEN, Notation, notation_of, tokens_of
from critic_gpt.tasks.prepared import SPLITS
from critic_gpt.tasks.tokenizers import tokenizer_of_pattern


logger = logging.get_logger(__name__)

# By notation, what makes more molecules valid and brings them nearer to real ones (docs/experiments/molecules.md,
# sections 42 and 44).
GENERATION: dict[str, dict[str, Any]] = {
    "smiles": {"remask_exponent": 6.0, "remask_per_step": 4, "temperature": 0.8, "temperature_end": 0.8},
    "selfies": {"remask_exponent": 2.0, "remask_per_step": 4, "temperature": 1.0, "temperature_end": 1.0},
}
# Molecules of the test split that others are compared with.
MOST_COMPARED = 10_000


@dataclass
class SmilesFlags:
    """The flags of `prepare_data.py --task smiles`; see [`SmilesTask`]."""

    _argument_group_name: ClassVar[str] = "with --task smiles"

    source: str | None = field(
        default=None, metadata={"help": "File, folder, pattern of files, or name of a dataset, of SMILES."}
    )
    text_column: str | None = field(
        default=None, metadata={"help": "Column or key that holds the SMILES of tables; SMILES by default."}
    )
    dataset_config: str | None = field(default=None, metadata={"help": "Configuration of a dataset."})
    dataset_split: str = field(default="train", metadata={"help": "Split to train on."})
    notation: str = field(
        default="smiles", metadata={"help": "How molecules are written: smiles, or selfies, always valid."}
    )
    sequence_length: int = field(default=64, metadata={"help": "Most tokens in a molecule, its EOS included."})
    num_train: int | None = field(default=None, metadata={"help": "Most molecules to train on; by default all."})
    validation_share: float = field(default=0.01, metadata={"help": "Share of the molecules, where none are given."})
    test_share: float = field(default=0.01, metadata={"help": "Share of the molecules, where none are given."})

    def __post_init__(self):
        if self.source is None:
            raise ValueError("`source` must name SMILES, got none; give a file of lines or a table of molecules.")
        notation_of(self.notation)
        if self.sequence_length < 2:
            raise ValueError(f"`sequence_length` must be at least 2, got {self.sequence_length}; 64 is usual.")
        if self.num_train is not None and self.num_train < 1:
            raise ValueError(f"`num_train` must be at least 1, got {self.num_train}; leave it out for all.")
        for share in ("validation_share", "test_share"):
            if not 0 < getattr(self, share) < 1:
                raise ValueError(f"`{share}` must be between 0 and 1, got {getattr(self, share)}; 0.01 is usual.")
        if self.validation_share + self.test_share >= 1:
            total = self.validation_share + self.test_share
            raise ValueError(f"`validation_share + test_share` must be below 1, got {total}; leave some to train on.")


def build_smiles_tokenizer(tokens: Iterable[str], model_max_length: int) -> PreTrainedTokenizerFast:
    """
    A tokenizer over some tokens of SMILES or SELFIES, which gives every text back. `[PAD]` is 0, `[MASK]` is 1,
    `[EOS]` is 2; there is no unknown token.

    Args:
        tokens (`Iterable[str]`): Its vocabulary, in any order.
        model_max_length (`int`): Longest sequence in tokens.
    """
    return tokenizer_of_pattern(tokens, TOKEN, model_max_length, EOS_TOKEN)


@register_task
class SmilesTask(Task):
    """
    Molecules, one a row, and what chemists ask of generated ones.

    A row holds a molecule's tokens, an EOS and as many more EOS as fill it: the model learns lengths like anything
    else, and what follows the first EOS is no part of a molecule.

    Args:
        sequence_length (`int`):
            Tokens in a row.
        source (`str`):
            Where the molecules come from.
        folder (`Path`, *optional*):
            The prepared folder, whose molecules generated ones are compared with.
        notation (`str`, *optional*, defaults to `"smiles"`):
            How rows, and so generated texts, are written: `"smiles"` or `"selfies"`.
    """

    name: ClassVar[str] = "smiles"
    Flags: ClassVar[type] = SmilesFlags
    compares_with_real_text: ClassVar[bool] = True
    answers: ClassVar[str] = "many"
    better: ClassVar[dict[str, str]] = {"fcd": "lower", "internal_diversity": "nearer to real"}

    def __init__(self, sequence_length: int, source: str, folder: Path | None = None, notation: str = "smiles"):
        self.sequence_length, self.source, self.folder = sequence_length, source, folder
        self.written_as, self.generation = notation, GENERATION[notation]
        self.figures = {
            "valid_rate": "share of valid molecules",
            "unique_rate": "share of different molecules among valid ones",
            "novel_rate": "share of molecules not trained on among different ones",
            "internal_diversity": "internal diversity of valid molecules",
            **({"fcd": "Fréchet ChemNet distance to test molecules"} if ChemNetDistance.is_installed() else {}),
        }

    # The data

    @classmethod
    def prepare(cls, flags: SmilesFlags, seed: int) -> Prepared:
        """Reads the molecules twice: for their tokens, then row by row while they are written."""
        molecules = MoleculeSource(flags, seed)
        tokenizer = build_smiles_tokenizer(molecules.survey(), flags.sequence_length)
        metadata = {
            "task": cls.name,
            "sequence_length": flags.sequence_length,
            "notation": flags.notation,
            "seed": seed,
            "source": molecules.reader.title,
            "source_sha256": molecules.sha256,
            "vocab_size": len(tokenizer),
            "num_molecules": molecules.counts,
            "left_out": molecules.left_out,
        }
        if any(molecules.left_out.values()):
            logger.warning(f"Left out of {molecules.reader.title}: {molecules.said_of_left_out()}.")
        vocabulary = tokenizer.get_vocab()
        windows = {split: molecules.rows(split, vocabulary) for split in SPLITS}
        return Prepared(windows, tokenizer, metadata)

    @classmethod
    def load(cls, metadata: Mapping[str, Any], folder: Path) -> "SmilesTask":
        """The task of a prepared folder."""
        return cls(metadata["sequence_length"], metadata["source"], folder, metadata.get("notation", "smiles"))

    def load_puzzles(self, folder: Path) -> MoleculeInfillings:
        """Molecules of the test split with a connected third to find."""
        if not self.notation.is_local:
            raise ValueError(
                f"`notation` must be smiles to complete molecules, got {self.notation.name!r}, where what is given "
                "means something else beside each completion; prepare the molecules as smiles, too."
            )
        molecules = [molecule for molecule, _ in self._molecules_compared]
        if not molecules:
            raise ValueError(
                f"`folder` must hold test molecules that RDKit reads, got {str(folder)!r} without: prepare others."
            )
        return MoleculeInfillings(molecules, tokens_of, self.sequence_length)

    # The judge

    @cached_property
    def notation(self) -> Notation:
        """Asked for when texts are read: training works where the package of a notation is not installed."""
        return notation_of(self.written_as)

    def right(self, texts: Sequence[str]) -> np.ndarray:
        """Tells which texts are valid molecules: `(num,)` and type `bool`."""
        return are_molecules(map(self.notation.read, texts))

    def judge(self, texts: Sequence[str]) -> dict[str, float | int]:
        """
        Judges generated molecules.

        Args:
            texts (`Sequence[str]`):
                SMILES, or SELFIES where rows are written so, at least one.

        Returns:
            `dict`:
                - `valid_rate`: share of the texts that RDKit reads as a molecule.
                - `unique_rate`: different canonical SMILES divided by valid ones; 0 without any.
                - `novel_rate`: share of the different ones that are not among the training molecules; 0 without any.
                - `internal_diversity`: see [`~critic_gpt.tasks.molecules.internal_diversity`].
                - `fcd`: Fréchet ChemNet distance of the valid ones to at most 10,000 valid test molecules, NaN of
                  fewer than two; only where the package fcd is installed. It falls as the number of samples grows, so
                  compare equal numbers, and with `fcd` of real molecules.
                - `num_samples`: all texts.

        Raises:
            `ValueError`: If `texts` is empty.
            `ImportError`: If RDKit is not installed.
        """
        if len(texts) == 0:
            raise ValueError("`texts` must hold at least one sample to judge, got none; generate some first.")
        return self._figures(texts)

    def judge_real(self, texts: Sequence[str], num_samples: int) -> dict[str, float | int]:
        """
        The same figures of real molecules, which are not compared with themselves.

        Args:
            texts (`Sequence[str]`): Real molecules; of these the last are judged, at most half.
            num_samples (`int`): How many, at most.
        """
        texts = texts[-min(num_samples, max(1, len(texts) // 2)) :]
        return self._figures(texts, are_real=True)

    def _figures(self, texts: Sequence[str], are_real: bool = False) -> dict[str, float | int]:
        """The figures of texts by test molecules, of which real ones are left out."""
        read = map(self.notation.read, texts)
        valid = [one for one in canonical_molecules(read) if one is not None]
        different = dict.fromkeys(valid)
        figures = {
            "valid_rate": len(valid) / len(texts),
            "unique_rate": len(different) / max(1, len(valid)),
            "novel_rate": len(different.keys() - self._trained_on) / max(1, len(different)),
            "internal_diversity": internal_diversity(valid),
            "num_samples": len(texts),
        }
        if "fcd" in self.figures:
            figures["fcd"] = self._distance(valid, without=different if are_real else ())
        return figures

    @cached_property
    def _trained_on(self) -> frozenset[str]:
        """
        One molecule has many spellings, and RDKit's own differ by version. To spell one takes some 0.3 ms, so this is
        done once and kept beside the rows, where the folder can be written to.
        """
        rows = self._rows("train")
        file = self.folder / "train" / f"canonical-rdkit-{chemistry_version()}.arrow"
        is_kept = os.access(file.parent, os.W_OK)
        spelled = rows.map(
            _canonical_rows,
            fn_kwargs={"vocabulary": self._vocabulary, "notation": self.notation.name},
            batched=True,
            remove_columns=rows.column_names,
            cache_file_name=str(file) if is_kept else None,
            keep_in_memory=not is_kept,
            load_from_cache_file=True,
            desc="Molecules trained on",
        )
        return frozenset(filter(None, spelled["molecule"]))

    @cached_property
    def _distance(self) -> ChemNetDistance:
        # ChemNet reads letters: what is generated comes in RDKit's spelling, and so must they.
        return ChemNetDistance([canonical for _, canonical in self._molecules_compared])

    @cached_property
    def _molecules_compared(self) -> list[tuple[str, str]]:
        """The first molecules of the test split, those that RDKit does not read left out: as written, and as it
        spells them."""
        rows = self._rows("test")
        compared = rows.select(range(min(MOST_COMPARED, len(rows))))
        written = [self.notation.read(_molecule(row, self._vocabulary)) for row in compared["input_ids"]]
        spelled = canonical_molecules(written)
        return [(one, other) for one, other in zip(written, spelled, strict=True) if other is not None]

    def _rows(self, split: str):
        """A split of the prepared folder."""
        import datasets

        if self.folder is None:
            raise ValueError("`folder` must be prepared molecules to compare with, got none; load it by `load_task`.")
        return datasets.load_from_disk(str(self.folder))[split]

    @cached_property
    def _vocabulary(self) -> list[str]:
        """The tokens of the prepared folder, by ids."""
        tokenizer = read_tokenizer(self.folder)
        return tokenizer.convert_ids_to_tokens(range(len(tokenizer)))


def _molecule(row: Sequence[int], vocabulary: Sequence[str]) -> str:
    """The molecule of a row, as it is spelled there."""
    return "".join(itertools.takewhile(EOS_TOKEN.__ne__, map(vocabulary.__getitem__, row)))


def _canonical_rows(batch: Mapping[str, Any], vocabulary: Sequence[str], notation: str) -> dict[str, list[str | None]]:
    """The canonical SMILES of rows: a function of nothing else, by which datasets knows again what it keeps."""
    read = notation_of(notation).read
    return {"molecule": canonical_molecules(read(_molecule(row, vocabulary)) for row in batch["input_ids"])}
