# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What chemists ask of generated molecules: validity, variety, novelty, and the distance to real ones.

By RDKit and, for the Fréchet ChemNet distance, by the package fcd: both come with `pip install critic_gpt[molecules]`.
"""

from collections.abc import Collection, Iterable, Sequence
from functools import cached_property
from typing import Any

import numpy as np


INSTALL = "pip install critic_gpt[molecules]"
# Morgan fingerprints as MOSES (Polykovskiy et al., 2020) compares molecules: radius, bits.
RADIUS, BITS = 2, 1024
# Most molecules whose fingerprints are compared pair by pair.
MOST_COMPARED = 5000


def chemistry() -> Any:
    """
    RDKit, silent about what it does not read.

    Raises:
        `ImportError`: If it is not installed.
    """
    try:
        from rdkit import Chem, RDLogger
    except ImportError as error:
        raise ImportError(
            f"`rdkit` must be installed to read molecules, got an environment without it: {INSTALL}."
        ) from error
    RDLogger.DisableLog("rdApp.*")
    return Chem


def chemistry_version() -> str:
    """The version of RDKit, which decides how it spells a molecule."""
    chemistry()
    import rdkit

    return rdkit.__version__


def canonical_molecules(texts: Iterable[str]) -> list[str | None]:
    """The canonical SMILES of each text, `None` where a text is no molecule that RDKit reads and can exist."""
    chem = chemistry()
    found = []
    for text in texts:
        molecule = chem.MolFromSmiles(text.strip()) if text.strip() else None
        found.append(None if molecule is None or not molecule.GetNumAtoms() else chem.MolToSmiles(molecule))
    return found


def are_molecules(texts: Iterable[str]) -> np.ndarray:
    """Which texts are molecules that RDKit reads and can exist: `(num,)` and type `bool`."""
    return np.array([one is not None for one in canonical_molecules(texts)], dtype=bool)


def internal_diversity(molecules: Sequence[str]) -> float:
    """
    One less the mean Tanimoto similarity of all pairs of molecules, each with itself included (`IntDiv1` of MOSES,
    Polykovskiy et al., 2020), of at most the first 5,000.

    Args:
        molecules (`Sequence[str]`): SMILES that RDKit reads.

    Returns:
        `float`: From 0 to 1; 0 without any.
    """
    if not molecules:
        return 0.0
    chem = chemistry()
    from rdkit.Chem import rdFingerprintGenerator

    generator = rdFingerprintGenerator.GetMorganGenerator(radius=RADIUS, fpSize=BITS)
    read = [chem.MolFromSmiles(one) for one in molecules[:MOST_COMPARED]]
    bits = np.stack([generator.GetFingerprintAsNumPy(molecule) for molecule in read]).astype(np.float32)
    counts, total = bits.sum(axis=1), 0.0
    for begin in range(0, len(bits), 512):
        common = bits[begin : begin + 512] @ bits.T
        either = counts[begin : begin + 512, None] + counts - common
        total += float((common / np.maximum(either, 1.0)).sum())
    return 1.0 - total / len(bits) ** 2


class ChemNetDistance:
    """
    The Fréchet ChemNet distance (Preuer et al., 2018) to fixed molecules, by the package fcd and the network it ships.

    Args:
        reference (`Sequence[str]`): Canonical SMILES of real molecules, as [`canonical_molecules`] spells them.
    """

    def __init__(self, reference: Sequence[str]):
        self._reference = list(reference)

    @staticmethod
    def is_installed() -> bool:
        """Whether the package fcd is there."""
        import importlib.util

        return importlib.util.find_spec("fcd") is not None

    def __call__(self, molecules: Sequence[str], without: Collection[str] = ()) -> float:
        """
        The distance, at least 0. It falls as the number of molecules grows.

        Args:
            molecules (`Sequence[str]`): Canonical SMILES.
            without (`Collection[str]`, *optional*): Which of the fixed molecules are left out.

        Returns:
            `float`: NaN of fewer than two, or to fewer than two.
        """
        import fcd

        kept = [place for place, one in enumerate(self._reference) if one not in without]
        if len(molecules) < 2 or len(kept) < 2:
            return float("nan")
        mean, covariance = _moments(self._activations(molecules))
        all_kept = len(kept) == len(self._reference)
        real_mean, real_covariance = self._real_moments if all_kept else _moments(self._real_activations[kept])
        distance = fcd.calculate_frechet_distance(mu1=mean, sigma1=covariance, mu2=real_mean, sigma2=real_covariance)
        return max(float(distance), 0.0)

    @cached_property
    def _network(self) -> Any:
        import fcd

        return fcd.load_ref_model()

    @cached_property
    def _real_activations(self) -> np.ndarray:
        return self._activations(self._reference)

    @cached_property
    def _real_moments(self) -> tuple[np.ndarray, np.ndarray]:
        return _moments(self._real_activations)

    def _activations(self, molecules: Sequence[str]) -> np.ndarray:
        """What the network makes of each molecule (num, D)."""
        import fcd

        return fcd.get_predictions(self._network, list(molecules), device="cpu")


def _moments(activations: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return np.mean(activations, axis=0), np.cov(activations.T)
