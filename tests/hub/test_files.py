# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about how files are written: whole or not at all, and by one writer at a time."""

import errno
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import critic_gpt
from critic_gpt import CriticGPTConfig, CriticGPTGenerationConfig
from critic_gpt.hub.files import locked, replace_file, write_json


ROOT = Path(critic_gpt.__file__).parent
NOTES = "notes of a user, many of them\n" * 50


@pytest.mark.parametrize("step", ["fsync", "replace"])
def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, step):
    path = tmp_path / "README.md"
    path.write_text(NOTES)
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, step, lambda *arguments: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match=r"No space left.*as it was.*README\.md"):
        replace_file(path, "half of a new one")
    assert path.read_text() == NOTES and list(tmp_path.iterdir()) == [path]


@pytest.mark.parametrize("kind", [CriticGPTConfig, CriticGPTGenerationConfig])
def test_a_full_disk_leaves_the_old_configuration(tmp_path, monkeypatch, kind):
    kind().save_pretrained(tmp_path)
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    monkeypatch.setattr(os, "fsync", lambda *arguments: (_ for _ in ()).throw(full))
    with pytest.raises(OSError, match="No space left"):
        (kind(num_hidden_layers=3) if kind is CriticGPTConfig else kind(num_steps=3)).save_pretrained(tmp_path)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_text_that_is_none_leaves_the_old_file(tmp_path):
    path = tmp_path / "results.json"
    path.write_text(NOTES)
    with pytest.raises(UnicodeEncodeError):
        replace_file(path, "a surrogate \ud800 alone")
    assert path.read_text() == NOTES and list(tmp_path.iterdir()) == [path]


def test_text_and_bytes_are_written_as_they_are(tmp_path):
    assert replace_file(tmp_path / "text", "é\r\n\n").read_bytes() == b"\xc3\xa9\r\n\n"
    assert replace_file(tmp_path / "bytes", b"\x00\xff").read_bytes() == b"\x00\xff"
    assert write_json(tmp_path / "a.json", {"a": [1]}).read_text() == '{\n  "a": [\n    1\n  ]\n}\n'
    long = tmp_path / ("é" * 120 + ".json")
    assert replace_file(long, "x").read_text() == "x"


@pytest.mark.skipif(os.name != "posix", reason="modes of files")
def test_a_new_file_has_the_mode_of_the_umask_and_an_old_one_keeps_its_own(tmp_path):
    before = os.umask(0o027)
    try:
        replace_file(tmp_path / "new", "x")
    finally:
        os.umask(before)
    private = tmp_path / "private"
    private.touch(mode=0o600)
    replace_file(private, "x")
    modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("new", "private")]
    assert modes == [0o640, 0o600]


@pytest.mark.skipif(os.name != "posix", reason="links")
def test_a_link_into_a_cache_is_replaced_and_what_it_points_to_stays(tmp_path):
    blob, link = tmp_path / "blob", tmp_path / "calibration.json"
    blob.write_text("shared")
    link.symlink_to(blob)
    replace_file(link, "own")
    assert (blob.read_text(), link.read_text(), link.is_symlink()) == ("shared", "own", False)
    replace_file("/dev/null", "gone")
    assert stat.S_ISCHR(os.stat("/dev/null").st_mode)


def test_many_writers_of_one_file_never_meet(tmp_path):
    path, contents = tmp_path / "task.json", [f"{number}\n" * 20_000 for number in range(6)]
    threads = [threading.Thread(target=replace_file, args=(path, content)) for content in contents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert path.read_text() in contents and list(tmp_path.iterdir()) == [path]


def test_what_a_killed_writer_left_goes_with_the_next_write_and_what_is_being_written_stays(tmp_path):
    old, young = (tmp_path / f"_a.json.{sign * 32}.tmp" for sign in "ab")
    for path in (old, young):
        path.touch()
    os.utime(old, (0, 0))
    replace_file(tmp_path / "a.json", "x")
    assert not old.exists() and young.exists()


HOLDER = """
import sys, types
package = sys.modules["critic_gpt"] = types.ModuleType("critic_gpt")
package.__path__ = [sys.argv[1]]
from critic_gpt.hub.files import locked
with locked(sys.argv[2]):
    print("held", flush=True)
    sys.stdin.readline()
"""


def test_a_lock_names_its_holder_to_whoever_waits_in_vain_and_is_gone_afterwards(tmp_path):
    path = tmp_path / "calibration.json"
    command = [sys.executable, "-c", HOLDER, str(ROOT), str(path)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert holder.stdout.readline() == "held\n"
    names = [file.name for file in tmp_path.iterdir()]
    assert names and all(name.startswith("_") for name in names)  # beside the file, and not pushed
    named = rf"process {holder.pid} on \S+ since \d{{4}}-\d\d-\d\dT[\d:]+Z"
    with pytest.raises(TimeoutError, match=named), locked(path, timeout=0.05):
        pass
    holder.kill()
    holder.communicate()
    with locked(path, timeout=0):  # free, though its holder had no time to say so
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.skipif(not Path("/proc/self").is_dir(), reason="a folder that nobody can write to")
def test_a_folder_that_cannot_be_written_is_said_to_be_one():
    with pytest.raises(OSError, match="must be a folder that can be written"), locked("/proc/self/calibration.json"):
        pass


def test_every_file_of_the_package_is_written_by_the_one_writer():
    wrong = re.compile(
        r"\.write_(text|bytes)\(|json\.dump\(|open\([^)]*[\"'][wx]b?\+?[\"']|os\.replace\(|\.savefig\((?!picture)"
    )
    allowed = {
        "hub/files.py",
        "hub/moving.py",  # moves what others wrote
        "tasks/rows.py",  # row by row, into a folder that is renamed when it is whole
    }
    for path in ROOT.glob("**/*.py"):
        name = path.relative_to(ROOT).as_posix()
        if not name.startswith(("tests/", ".venv/", "build/", "runs/")) and name not in allowed:
            assert not wrong.search(path.read_text(encoding="utf-8")), name
