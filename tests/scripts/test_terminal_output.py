# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what all scripts share: what they print arrives, and targets are checked before the work."""

import io
import subprocess
import sys

import pytest

from critic_gpt.scripts import (
    benchmark,
    check_output_dir,
    check_output_file,
    compare_recipes,
    convert_nanogpt_checkpoint,
    evaluate,
    one_line,
    run_as_program,
)


@pytest.mark.parametrize("encoding", ["ascii", "cp1252", "utf-8"])
def test_printing_ends_nothing_whatever_the_terminal_can_show(monkeypatch, encoding):
    sink, text = io.BytesIO(), "± ▁ 中 \ud800"
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(sink, encoding=encoding))
    run_as_program(lambda: print(text), "name")
    sys.stdout.flush()
    assert sink.getvalue().strip() == text.encode(encoding, errors="backslashreplace")


def test_an_error_that_quotes_a_file_carries_no_escape_sequence_to_the_terminal(capsys):
    def main():
        raise ValueError("got 'a\x1b[2J\x9b31m\u202eb'")

    with pytest.raises(SystemExit) as stop:
        run_as_program(main, "name")
    assert stop.value.code == "name: got 'a␛[2J�31m�b'" and one_line(OSError("a\n b")) == "a b"


def test_a_folder_or_file_to_be_made_is_taken(tmp_path):
    (tmp_path / "file").write_text("")
    check_output_dir("save", tmp_path / "new" / "deep")
    for target in (tmp_path / "new" / "file.json", tmp_path / "file", "name.json"):
        check_output_file("save", target)


@pytest.mark.parametrize(
    ("check", "target"),
    [
        (check_output_dir, "file"),
        (check_output_dir, "file/deep"),
        (check_output_file, "."),
        (check_output_file, "file/x"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused(tmp_path, check, target):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"^`save` must be a (folder|file) .* got .*: \w+ a.*\.$"):
        check("save", tmp_path / target)


@pytest.mark.parametrize(
    ("main", "flags"),
    [
        (benchmark.main, ["--output"]),
        (evaluate.main, ["--model", "none", "--data_dir", "none", "--output_dir"]),
        (compare_recipes.main, ["--recipes", "none", "--data_dir", "none", "--output_dir"]),
        (convert_nanogpt_checkpoint.main, ["none"]),
    ],
    ids=["benchmark", "evaluate", "compare_recipes", "convert_nanogpt_checkpoint"],
)
def test_scripts_refuse_their_target_before_anything_is_loaded(tmp_path, main, flags):
    (tmp_path / "file").write_text("")
    with pytest.raises(ValueError, match=r"^`output(_dir)?` must be a folder"):
        main([*flags, str(tmp_path / "file" / "deep")])


NOWHERE = ["--data_dir", "x", "--output_dir", "x", "--num_samples", "0"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("script", "flags", "field"),
    [
        ("benchmark", ["--repeats", "1"], "repeats"),
        (
            "compare_recipes",
            ["--recipes", "x", "--data_dir", "x", "--output_dir", "x", "--num_samples", "0"],
            "num_samples",
        ),
        ("convert_nanogpt_checkpoint", ["no.pt", "no"], "checkpoint"),
        ("evaluate", [*NOWHERE, "--model", "x"], "num_samples"),
        ("explore", ["--model", "x", "--json"], "json"),
    ],
)
def test_as_a_program_an_error_is_one_line_and_exit_status_1(tmp_path, script, flags, field):
    command = [sys.executable, "-m", f"critic_gpt.scripts.{script}", *flags]
    failed = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path)
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith(f"{script}: `{field}` must ")
    assert not list(tmp_path.iterdir())
