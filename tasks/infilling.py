# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Molecules of which a connected part is masked: scaffolds to decorate, linkers to find, and what became of them."""

import hashlib
import math
from collections.abc import Callable, Sequence
from typing import ClassVar

import numpy as np
from transformers import PreTrainedTokenizerBase

from critic_gpt.tasks.molecules import are_molecules, canonical_molecules, chemistry


MASKED_SHARE = 1 / 3
# How often each molecule is completed, so that it shows whether completions differ.
COMPLETIONS = 4


def connected_part(molecule: str, share: float = MASKED_SHARE) -> set[int]:
    """
    Atoms of a molecule that hang together, the first drawn by its text and the others nearest to it.

    Args:
        molecule (`str`): A SMILES that RDKit reads.
        share (`float`, *optional*, defaults to 1 / 3): Of its atoms, rounded up.

    Returns:
        `set[int]`: Which of its atoms, counted from 0 as they are written.
    """
    chem = chemistry()
    as_written = chem.SmilesParserParams()
    as_written.removeHs = False  # atoms that are written count, hydrogens too
    atoms = chem.MolFromSmiles(molecule, as_written).GetAtoms()
    digest = hashlib.blake2b(molecule.encode(), digest_size=8).digest()
    found, wanted = [int.from_bytes(digest, "little") % len(atoms)], math.ceil(share * len(atoms))
    for atom in found:  # grows: breadth first
        found += [near for near in sorted(n.GetIdx() for n in atoms[atom].GetNeighbors()) if near not in found]
        if len(found) >= wanted:
            break
    return set(found[:wanted])


def masked_places(tokens: Sequence[str], masked_atoms: set[int]) -> list[bool]:
    """
    Which tokens of a SMILES are masked: those of some atoms, and the bonds, rings and brackets between two of them.

    Args:
        tokens (`Sequence[str]`): Of one molecule.
        masked_atoms (`set[int]`): Which of its atoms, counted from 0 as they are written.
    """
    is_atom = [token[0] in "[*" or token.isalpha() for token in tokens]
    before = np.cumsum(is_atom) - 1  # the atom at or before each token
    return [
        int(atom) in masked_atoms and (atom_itself or int(atom) + 1 in masked_atoms)
        for atom, atom_itself in zip(before, is_atom, strict=True)
    ]


class MoleculeInfillings:
    """
    Test molecules of which a connected third is masked, each several times; all else, and so the length, is given.

    Args:
        molecules (`Sequence[str]`): Their SMILES, at least one, which RDKit reads.
        tokens_of (`Callable`): How a SMILES is cut into tokens.
        sequence_length (`int`): Tokens of a row.
        num (`int`, *optional*): How many rows, four for each molecule; all of them by default.
    """

    name: ClassVar[str] = "smiles infillings"
    figures: ClassVar[dict[str, str]] = {
        "valid_rate": "share of valid completions",
        "distinct_rate": f"different valid ones among {COMPLETIONS} completions of a molecule",
        "recovered_rate": "share of completions that are the molecule itself",
    }

    def __init__(
        self,
        molecules: Sequence[str],
        tokens_of: Callable[[str], list[str]],
        sequence_length: int,
        num: int | None = None,
    ):
        most = COMPLETIONS * len(molecules)
        self.num = most if num is None else min(num, most)
        self.molecules, self.tokens_of, self.sequence_length = molecules, tokens_of, sequence_length

    def __len__(self) -> int:
        return self.num

    def first(self, num: int) -> "MoleculeInfillings":
        """The first `num` rows, or all where there are fewer."""
        return MoleculeInfillings(self.molecules, self.tokens_of, self.sequence_length, min(num, self.num))

    def _owners(self) -> list[str]:
        """The molecule of each row."""
        return [self.molecules[row // COMPLETIONS] for row in range(self.num)]

    def canvases(self, tokenizer: PreTrainedTokenizerBase) -> np.ndarray:
        """Token ids `(num, sequence_length)`, with [MASK] at what is to be found and EOS behind the molecule."""
        molecules = self.molecules[: math.ceil(self.num / COMPLETIONS)]
        rows = np.full((len(molecules), self.sequence_length), tokenizer.eos_token_id, dtype=np.int64)
        for row, molecule in zip(rows, molecules, strict=True):
            tokens = self.tokens_of(molecule)
            masked = masked_places(tokens, connected_part(molecule))
            ids = tokenizer.convert_tokens_to_ids(tokens)
            row[: len(ids)] = np.where(masked, tokenizer.mask_token_id, ids)
        return rows.repeat(COMPLETIONS, axis=0)[: self.num]

    def right(self, texts: Sequence[str]) -> np.ndarray:
        """Tells which completions are valid molecules: `(num,)` and type `bool`."""
        return are_molecules(texts)

    def judge(self, texts: Sequence[str]) -> dict[str, float | int]:
        """
        Judges one completion of each row, or of the first ones where there are fewer.

        Args:
            texts (`Sequence[str]`): SMILES, at least one.

        Returns:
            `dict`: `valid_rate`; `distinct_rate`, the different valid completions of a molecule divided by all of it;
            `recovered_rate`; `num_samples`.
        """
        owners = self.first(len(texts))._owners()
        if not owners or len(owners) != len(texts):
            raise ValueError(f"`texts` must be completions of the {self.num} rows, got {len(texts)}: one for each.")
        found = canonical_molecules(texts)
        truth = dict(zip(dict.fromkeys(owners), canonical_molecules(dict.fromkeys(owners)), strict=True))
        different = {(owner, one) for owner, one in zip(owners, found, strict=True) if one is not None}
        recovered = sum(one == truth[owner] for owner, one in zip(owners, found, strict=True))
        return {
            "valid_rate": sum(one is not None for one in found) / len(texts),
            "distinct_rate": len(different) / len(texts),
            "recovered_rate": recovered / len(texts),
            "num_samples": len(texts),
        }
