# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What every folder of a model has to hold."""

import json
from pathlib import Path

from critic_gpt.hub.folder import AUTO_MAP, PIPELINES, source_files


def assert_complete(
    folder: Path, model_class: str = "CriticGPTForMaskedLM", tokenizer: bool = False, calibration: bool = False
) -> None:
    """All that a folder needs, nothing of an earlier version, and nothing half-written."""
    config = json.loads((folder / "config.json").read_text())
    assert config["auto_map"] == AUTO_MAP
    assert config["custom_pipelines"] == PIPELINES
    assert config["architectures"] == [model_class]
    assert {path.name: path.read_text(encoding="utf-8") for path in folder.glob("*.py")} == source_files()
    assert list(folder.glob("*.safetensors"))
    assert (folder / "generation_config.json").exists() == (model_class == "CriticGPTForMaskedLM")
    assert (folder / "tokenizer.json").exists() == tokenizer
    assert (folder / "calibration.json").exists() == calibration
    assert not list(folder.glob("_*"))
