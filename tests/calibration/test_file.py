# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `calibration.json` under several writers, some of which are killed."""

import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

import critic_gpt
from critic_gpt.calibration.file import CALIBRATION_NAME, METADATA_KEY, read_document, update_file
from critic_gpt.hub.files import locked


# Takes the package without what it imports, so that a writer starts in a moment. Says which tables are finished. With
# `dies_at`, the writer kills itself in the middle of writing that table.
WRITER = """
import os, signal, sys, types
from pathlib import Path
package = sys.modules["critic_gpt"] = types.ModuleType("critic_gpt")
package.__path__ = [sys.argv[1]]
from critic_gpt.calibration import file as module
path, name, saves, dies_at = Path(sys.argv[2]), sys.argv[3], int(sys.argv[4]), int(sys.argv[5])
for turn in range(saves):
    if turn == dies_at:
        where = "replace" if name.endswith("1") else "fsync"  # before the rename, or before the last byte is down
        setattr(os, where, lambda *arguments: os.kill(os.getpid(), signal.SIGKILL))
    module.update_file(path, f"{name}_{turn}.safetensors", [turn / 1000] * 100, {"turn": turn})
    print(f"{name}_{turn}.safetensors", flush=True)
"""


def start(path: Path, name: str, saves: int, dies_at: int = -1) -> subprocess.Popen:
    root = str(Path(critic_gpt.__file__).parent)
    command = [sys.executable, "-c", WRITER, root, str(path), name, str(saves), str(dies_at)]
    # A temporary folder of their own: jobs of a cluster share the model's folder and not that one.
    environment = {**os.environ, "TMPDIR": tempfile.mkdtemp(dir=path.parent.parent)}
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)


def watch(path: Path, writers: list[subprocess.Popen], killed: list[subprocess.Popen], seed: int) -> int:
    """Reads the file until all writers are done, and kills some at random moments. Returns how often it was there."""
    generator = random.Random(seed)
    doom = {writer: time.monotonic() + 0.15 + 0.25 * generator.random() for writer in killed}
    seen, keys = 0, set()
    while any(writer.poll() is None for writer in writers):
        for writer in [writer for writer in doom if time.monotonic() > doom[writer]]:
            del doom[writer]
            writer.kill()
        document = read_document(path)  # raises on half a file
        assert keys <= set(document)  # what was there once stays
        keys, seen = set(document), seen + bool(document)
        time.sleep(0.001)
    return seen


@pytest.mark.skipif(os.name != "posix", reason="kills processes by signals")
def test_writers_lose_nothing_though_some_are_killed_in_the_middle_of_writing(tmp_path):
    path = tmp_path / "model" / CALIBRATION_NAME
    path.parent.mkdir()
    update_file(path, "old.safetensors", [0.5] * 100, {})
    steady = [start(path, f"steady{i}", 12) for i in range(3)]
    dying = [start(path, f"dying{i}", 12, dies_at=3 + i) for i in range(2)]
    killed = [start(path, f"killed{i}", 100_000) for i in range(2)]
    writers = steady + dying + killed
    seen = watch(path, writers, killed, seed=os.getpid())
    finished = [line for writer in writers for line in writer.communicate()[0].split()]

    assert [writer.returncode for writer in steady] == [0] * 3
    assert [writer.returncode for writer in dying + killed] == [-signal.SIGKILL] * 4
    assert seen > 0 and len(finished) >= 3 * 12 + 3 + 4
    document = json.loads(path.read_text())
    assert set(finished) | {"old.safetensors"} <= set(document)
    # Beside the finished tables at most one of each killed writer, which had no time to say so.
    assert len(document) - 1 <= len(finished) + 1 + len(killed)
    turns = {key: value["turn"] for key, value in document[METADATA_KEY]["entries"].items() if "turn" in value}
    assert all(document[key] == [turn / 1000] * 100 for key, turn in turns.items())

    with locked(path, timeout=0):  # free, though its holders died
        pass
    update_file(path, "last.safetensors", [0.5] * 100, {})
    assert [file.name for file in path.parent.iterdir()] == [CALIBRATION_NAME]  # nothing half-written stays
    assert set(read_document(path)) == {*document, "last.safetensors"}
