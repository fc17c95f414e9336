# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The common tests of Transformers, which its source distribution carries and its wheel does not.

Fetch those of the installed version, once: `make conformance`, or `python tests/conformance/transformers_sources.py`.
"""

import importlib
import importlib.metadata
import os
import shutil
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from types import ModuleType


VERSION = importlib.metadata.version("transformers")
FOLDER = Path(__file__).parents[2] / "build" / f"transformers-{VERSION}"
# Not `tests`: pytest gives that name to our own folder.
PACKAGE = "transformers_common_tests"
# Set by `make`, where missing sources are a failure and not a reason to skip.
REQUIRED = os.environ.get("CRITIC_GPT_REQUIRE_CONFORMANCE") == "1"
HOW_TO_GET_THEM = (
    f"The common tests of Transformers {VERSION} are not there, so conformance is NOT tested. "
    "Fetch and run them with `make conformance`."
)

# Fields that every configuration has, none of them at its default.
COMMON_FIELDS = {
    "return_dict": False,
    "output_hidden_states": True,
    "output_attentions": True,
    "dtype": "float16",
    "chunk_size_feed_forward": 7,
    "is_encoder_decoder": True,
    "architectures": ["CriticGPTModel"],
    "id2label": {0: "right", 1: "wrong", 2: "unsure"},
    "label2id": {"right": 0, "wrong": 1, "unsure": 2},
    "problem_type": "regression",
}
# What the distribution lacks: two mixins whose tests are ours to write, and a dictionary.
STUBS = {
    "exporters.test_export": {"ExportTesterMixin": type("ExportTesterMixin", (), {})},
    "generation.test_utils": {"GenerationTesterMixin": type("GenerationTesterMixin", (), {})},
    "utils.test_configuration_utils": {"config_common_kwargs": COMMON_FIELDS},
}


def are_fetched() -> bool:
    """Whether the common tests of exactly the installed version are there."""
    description = FOLDER / "PKG-INFO"
    return description.is_file() and f"Version: {VERSION}" in description.read_text(encoding="utf-8").splitlines()


def fetch() -> None:
    """Downloads the source distribution of the installed version and keeps its `tests` and its description."""
    if are_fetched():
        return
    with tempfile.TemporaryDirectory() as temporary:
        command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
        # Without isolation, since pip would download and build the tools to build a package that nobody builds.
        command += ["--no-build-isolation", "--dest", temporary, f"transformers=={VERSION}"]
        subprocess.run(command, check=True)
        (archive,) = Path(temporary).glob("*.tar.gz")
        with tarfile.open(archive) as tar:
            root = f"transformers-{VERSION}/"
            wanted = [m for m in tar if m.name.startswith(f"{root}tests/") or m.name == f"{root}PKG-INFO"]
            tar.extractall(temporary, members=wanted, filter="data")
        # The common test of configurations imports "Transformers" from beside itself, and finds the installed one.
        (Path(temporary) / root / "tests" / "__init__.py").touch()
        shutil.rmtree(FOLDER, ignore_errors=True)
        FOLDER.parent.mkdir(exist_ok=True)
        shutil.move(Path(temporary) / root, FOLDER)
    if not are_fetched():
        raise RuntimeError(f"`{FOLDER}` must hold Transformers {VERSION}, got another: delete it and fetch again.")


def load(name: str) -> ModuleType:
    """One module of the common tests, such as `test_modeling_common`; what the distribution lacks is stubbed."""
    if PACKAGE not in sys.modules:
        _module(PACKAGE).__path__ = [str(FOLDER / "tests")]
        for stub, contents in STUBS.items():
            _module(f"{PACKAGE}.{stub.split('.')[0]}").__path__ = []
            vars(_module(f"{PACKAGE}.{stub}")).update(contents)
    return importlib.import_module(f"{PACKAGE}.{name}")


def _module(name: str) -> ModuleType:
    return sys.modules.setdefault(name, ModuleType(name))


if __name__ == "__main__":
    fetch()
