# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what all scripts share: what they print arrives, and targets are checked before the work."""

import io
import runpy
import sys

import launching
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
        (check_output_dir, "link"),
        (check_output_dir, "link/deep"),
        (check_output_file, "link/x"),
    ],
)
def test_a_target_that_cannot_be_written_is_refused(tmp_path, check, target):
    (tmp_path / "file").write_text("")
    (tmp_path / "link").symlink_to(tmp_path / "nothing")
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


WRONG = {
    "benchmark": ("repeats", ["--repeats", "1"]),
    "calibrate": ("checkpoint", ["x", "nowhere", "5"]),
    "compare_recipes": ("num_samples", "--recipes x --data_dir x --output_dir x --num_samples 0"),
    "convert_nanogpt_checkpoint": ("checkpoint", ["no.pt", "no"]),
    "evaluate": ("num_samples", "--data_dir x --output_dir x --num_samples 0 --model x"),
    "explore": ("json", ["--model", "x", "--json"]),
    "generate": ("num_samples", ["--model", "x", "--num_samples", "0"]),
    "train": ("folder", ["--data_dir", "nowhere", "--output_dir", "out"]),
}


@pytest.mark.parametrize("script", WRONG)
def test_as_a_program_an_error_is_one_line(tmp_path, monkeypatch, script):
    field, flags = WRONG[script]
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", [script, *(flags.split() if isinstance(flags, str) else flags)])
    with pytest.raises(SystemExit) as stop:
        runpy.run_module(f"critic_gpt.scripts.{script}", run_name="__main__")
    # Python prints a text and exits with 1.
    assert stop.value.code.startswith(f"{script}: `{field}` must ") and "\n" not in stop.value.code
    assert not list(tmp_path.iterdir())


@pytest.mark.slow
def test_a_process_prints_that_line_alone_and_exits_with_1():
    failed = launching.run([sys.executable, "-m", "critic_gpt.scripts.explore", "--model", "x", "--json"])
    assert failed.returncode == 1 and "Traceback" not in failed.stderr
    assert failed.stderr.splitlines()[-1].startswith("explore: `json` must ")
