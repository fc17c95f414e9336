# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
The molecules of MOSES (Polykovskiy et al., "Molecular Sets", 2020) in build/moses/, as `--task smiles` reads them:
1,584,663 to train on and 176,074 to compare with, split as they are published.

    make moses                              # or: python tests/real_models/moses.py
    critic-gpt prepare --task smiles --source build/moses --sequence_length 48 --output_dir runs/moses/data

They are the csv files of the wheel molsets 0.3.1 (MIT).
"""

import shutil
import tempfile
from pathlib import Path

from wheels import unpacked


FOLDER = Path(__file__).parents[2] / "build" / "moses"
FILES = ("train.csv.gz", "test.csv.gz")


def fetch() -> None:
    """Writes the files that are not there yet."""
    if all((FOLDER / name).is_file() for name in FILES):
        return
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        source = unpacked("molsets", Path(temporary)) / "moses" / "dataset" / "data"
        for name in FILES:
            shutil.copyfile(source / name, FOLDER / name)


if __name__ == "__main__":
    fetch()
