# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How molecules are written in rows: as SMILES, or as SELFIES, of which every sequence of tokens is a molecule."""

import re
from collections.abc import Callable
from dataclasses import dataclass

from critic_gpt.tasks.molecules import INSTALL


EOS_TOKEN = "[EOS]"
# Behind a bracket: special tokens are no atoms.
NOT_SPECIAL = r"(?!MASK\]|PAD\]|EOS\])"
# What stands in brackets, atoms of two letters and ring bonds of two digits are one token each: so all of SELFIES is.
TOKEN = rf"\[{NOT_SPECIAL}[^\[\]]*\]|Br|Cl|%\d\d|[\s\S]"
_TOKEN = re.compile(TOKEN)


def tokens_of(molecule: str) -> list[str]:
    """The tokens of a SMILES or SELFIES, which joined are that text."""
    return _TOKEN.findall(molecule)


@dataclass(frozen=True)
class Notation:
    """
    How molecules are written.

    Args:
        name (`str`): What `--notation` calls it.
        write (`Callable[[str], str | None]`): Writes a SMILES so; `None` where it cannot be.
        read (`Callable[[str], str]`): The SMILES of what is written so, empty where it is nothing.
        is_local (`bool`): Whether a token means the same whatever stands elsewhere, so that a part can be exchanged.
    """

    name: str
    write: Callable[[str], str | None]
    read: Callable[[str], str]
    is_local: bool


def notation_of(name: str) -> Notation:
    """
    The notation of a name.

    Raises:
        `ValueError`: If there is none of this name.
        `ImportError`: If what reads and writes it is not installed.
    """
    if name not in NOTATIONS:
        raise ValueError(f"`notation` must be one of {', '.join(NOTATIONS)}, got {name!r}; smiles is usual.")
    return NOTATIONS[name]()


def _smiles() -> Notation:
    def unchanged(text: str) -> str:
        return text

    return Notation("smiles", write=unchanged, read=unchanged, is_local=True)


def _selfies() -> Notation:
    """SELFIES (Krenn et al., 2020, "Self-referencing embedded strings"), by the package of their authors."""
    try:
        import selfies
    except ImportError as error:
        raise ImportError(
            f"`selfies` must be installed to write molecules so, got an environment without it: {INSTALL}."
        ) from error

    def write(smiles: str) -> str | None:
        try:
            return selfies.encoder(smiles) or None
        # Atoms of any kind, more bonds than an atom may have, what is no SMILES; on some of that (C44, CBr:C) its
        # encoder breaks off with errors of its own.
        except (selfies.EncoderError, IndexError, KeyError):
            return None

    def read(text: str) -> str:
        try:
            return selfies.decoder(text.strip())
        except selfies.DecoderError:  # a token of another notation
            return ""

    # A branch and a ring say by the tokens behind them how far they reach.
    return Notation("selfies", write, read, is_local=False)


NOTATIONS: dict[str, Callable[[], Notation]] = {"smiles": _smiles, "selfies": _selfies}
