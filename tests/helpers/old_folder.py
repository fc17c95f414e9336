# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A model's folder as it was written when the package was flat files, before it had rooms (commit 3cfa86d)."""

import json
import tarfile
from pathlib import Path


# All that `save_pretrained` of that commit wrote, but the weights, for a tiny model with a critic and a joint head:
# `tar --sort=name --owner=0 --group=0 --numeric-owner --mtime=2026-01-01 -cf - * | xz -9e`.
ARCHIVE = Path(__file__).parents[1] / "fixtures" / "folder_of_flat_files.tar.xz"


def config_fields() -> dict:
    """The `config.json` of the archive."""
    with tarfile.open(ARCHIVE) as archive:
        return json.load(archive.extractfile("config.json"))


def write(folder: Path) -> set[str]:
    """Writes the files of the archive; returns the names of those in Python."""
    folder.mkdir(parents=True, exist_ok=True)
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(folder, filter="data")
        return {name for name in archive.getnames() if name.endswith(".py")}
