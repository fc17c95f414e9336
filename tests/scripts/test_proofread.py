# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/proofread.py`."""

import io
import json
import re
import sys
import time
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
import yaml
from hypothesis import given
from hypothesis import strategies as st
from transformers import pipeline

from critic_gpt import CriticCalibration
from critic_gpt.cli.flags import proofread_parser
from critic_gpt.scripts import proofread, run_as_program
from critic_gpt.scripts.findings import Places, Source, findings


ROOT = Path(__file__).parents[2]

TEXT = "the quick\nbrown [MASK]ox is\tHere"


@pytest.fixture
def model_dir(tiny_model, tokenizer, tmp_path):
    model = tiny_model()
    with torch.no_grad():
        model.critic_head.weight.mul_(0.5)
    model.calibration = CriticCalibration([(i / 99) ** 0.5 for i in range(100)], {"fingerprint": model.fingerprint()})
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def run(model_dir, *more):
    return proofread.main(["--model", str(model_dir), *map(str, more)])


def test_it_prints_the_text_a_table_of_doubtful_spans_and_what_to_expect(model_dir, capsys):
    (result,) = run(model_dir, "--text", TEXT)
    assert result == pipeline("critic-proofread", model=str(model_dir))(TEXT)
    out = capsys.readouterr().out
    assert "\x1b" not in out and "\t" not in out, "no terminal acts on a text"
    marked = TEXT.replace("\t", "\N{SYMBOL FOR HORIZONTAL TABULATION}")
    for span in sorted([*result["spans"], *result["holes"]], key=lambda span: -span["start"]):
        signs = f"[-{span['text']}-]{{+{span['replacement']}+}}"
        marked = marked[: span["start"]] + signs + marked[span["end"] :]
    assert out.startswith(marked.split("\n")[0] + "\n")
    lines = out.splitlines()
    for span in result["spans"]:
        line, column = TEXT[: span["start"]].count("\n") + 1, span["start"] - TEXT[: span["start"]].rfind("\n")
        shown = f"{span['max_error_probability']:.1%}"
        assert f"<text>:{line}:{column}: {shown:>7}  {span['text']!r} -> {span['replacement']!r}" in lines
    assert any("<text>:2:7:    hole  '[MASK]' -> " in line for line in lines)
    assert any(f"unknown  {chr(9) + 'H'!r}" in line for line in lines)
    judged = sum(token["error_probability"] is not None for token in result["tokens"])
    expected = f"  [{result['expected_errors']:.2f} of {judged} tokens expected to be wrong; "
    assert lines[-1] == f"{expected}windows: 1, forward passes: 1]"


def test_colours_are_those_of_the_error_probabilities(model_dir, capsys):
    (result,) = run(model_dir, "--text", TEXT, "--color", "always", "--threshold", "0.3")
    out = capsys.readouterr().out
    worst = max((t for t in result["tokens"] if t["error_probability"]), key=lambda t: t["error_probability"])
    red, green, blue = bytes.fromhex(proofread.error_color(worst["error_probability"])[1:])
    assert f"\x1b[30;48;2;{red};{green};{blue}m" in out and "[-" not in out
    assert "\x1b[1;36m[MASK]\x1b[0m" in out
    run(model_dir, "--text", TEXT, "--color", "never")
    assert "\x1b" not in capsys.readouterr().out


def test_a_file_and_standard_input_are_read_as_they_are(model_dir, tmp_path, monkeypatch, capsys):
    file = tmp_path / "text.txt"
    file.write_bytes(b"one\r\ntwo\n\nthree\n")
    (whole,) = run(model_dir, file, "--json")
    assert whole["text"] == "one\r\ntwo\n\nthree\n" and json.loads(capsys.readouterr().out) == [whole]
    lines = run(model_dir, file, "--lines")
    assert [result["text"] for result in lines] == ["one", "two", "three"]
    for name in ((), ("-",)):
        monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(file.read_bytes())))
        assert run(model_dir, *name) == [whole]


def test_every_flag_reaches_the_pipeline(model_dir):
    flags = {"threshold": 0.4, "top_k": 2, "suggest_by": "masked", "window": 10, "stride": 3, "max_rounds": 2}
    assert set(flags) == set(proofread.PROOFREADING_FLAGS)
    given = [part for name, value in flags.items() for part in (f"--{name}", value)]
    (result,) = run(model_dir, "--text", TEXT, "--correct", *given)
    assert result == pipeline("critic-proofread", model=str(model_dir))(TEXT, correct=True, batch_size=8, **flags)


def test_a_corrected_text_is_shown_written_and_saved_with_all_that_made_it(model_dir, tmp_path, capsys):
    file, output, save = tmp_path / "text.txt", tmp_path / "new" / "text.txt", tmp_path / "new" / "results.json"
    file.write_bytes(b"the quick\nbrown fox")
    (result,) = run(model_dir, file, "--correct", "--threshold", 0.5, "--output", output, "--save", save)
    assert result["corrections"] and output.read_bytes().decode() == result["corrected_text"]
    out = capsys.readouterr().out
    assert out.endswith(result["corrected_text"] + "\n")
    assert f"[{len(result['corrections'])} corrections in {result['rounds']} rounds, " in out
    document = json.loads(save.read_text(encoding="utf-8"))
    assert document["results"] == [result]
    settings, versions = document["settings"], {"critic_gpt", "transformers", "torch", "python"}
    assert settings.pop("fingerprint") and set(settings.pop("versions")) == versions
    given = {"input": str(file), "lines": False, "batch_size": 8, "threshold": 0.5, "correct": True}
    assert settings == {"model": str(model_dir), **given}
    results = run(model_dir, file, "--lines", "--correct", "--output", output)
    assert output.read_text(encoding="utf-8").split("\n") == [r["corrected_text"] for r in results] + [""]


def test_a_missing_table_is_told(model_dir, capsys):
    (model_dir / "calibration.json").unlink()
    run(model_dir, "--text", "abc")
    said = capsys.readouterr().out
    assert said.endswith("not calibrated: P(wrong) is read off a plain ramp (scripts/calibrate.py)\n")


def test_what_cannot_be_meant_is_one_line(model_dir, tiny_model, tmp_path):
    odd = tmp_path / "odd.txt"
    odd.write_bytes(b"a\xffb")
    tiny_model(add_critic_head=False).save_pretrained(tmp_path / "plain")
    pipeline("critic-proofread", model=str(model_dir)).tokenizer.save_pretrained(tmp_path / "plain")
    cases = [
        ((odd,), "`input` must be a text in UTF-8, got"),
        ((odd, "--text", "a"), "`input` and `text` exclude each other"),
        (("--text", "a", "--output", odd), "`output` is for the text that --correct makes"),
        (("--text", "a", "--batch_size", 0), "`batch_size` must be at least 1, got 0"),
        (("--text", "a", "--max_rounds", 3), "`max_rounds` is for `correct=True`"),
        (("--text", "a", "--model", tmp_path / "nowhere"), "`model` must be the folder or hub name of a model"),
        (("--text", "a", "--model", tmp_path / "plain"), "`model` must have a trained critic to proofread"),
    ]
    for flags, part in cases:
        with pytest.raises(ValueError) as error:
            run(model_dir, *flags)
        assert part in str(error.value) and "\n" not in str(error.value)
    with pytest.raises(FileNotFoundError):
        run(model_dir, tmp_path / "nothing.txt")


FOUND = {"path", "line", "column", "end_line", "end_column", "text", "replacement", "error_probability"}


def test_findings_are_lines_of_file_line_and_column_of_every_file(model_dir, tmp_path, capsys):
    files = [tmp_path / "one.txt", tmp_path / "two words.txt"]
    for file, text in zip(files, ("the quick\nbrown", "\nfox is\n\nhere"), strict=True):
        file.write_text(text, encoding="utf-8")
    results = run(model_dir, *files, "--format", "text", "--threshold", 0.2)
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == sum(len(result["spans"]) for result in results) >= 2
    assert all(re.fullmatch(r".*\.txt:\d+:\d+: '.*' is wrong with probability [\d.]+%", line) for line in lines)
    assert {line.split(":")[0] for line in lines} == {str(file) for file in files}
    run(model_dir, *files, "--format", "jsonl", "--threshold", 0.2)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len(found) == len(lines) and all(set(one) == FOUND for one in found)
    for one in found:
        rows = Path(one["path"]).read_bytes().decode().split("\n")
        rows = [f"{row}\n" for row in rows]
        start = sum(map(len, rows[: one["line"] - 1])) + one["column"] - 1
        end = sum(map(len, rows[: one["end_line"] - 1])) + one["end_column"] - 1
        assert "".join(rows)[start:end] == one["text"]


def test_each_line_as_a_text_is_found_by_its_line_of_the_file(model_dir, tmp_path, capsys):
    file = tmp_path / "lines.txt"
    file.write_bytes(b"the quick\r\n\n\nfox is here\n")
    results = run(model_dir, file, "--lines", "--format", "jsonl", "--threshold", 0.0)
    found = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [result["text"] for result in results] == ["the quick", "fox is here"]
    assert {one["line"] for one in found} == {1, 4} and min(one["column"] for one in found) == 1


def test_the_page_holds_every_doubt_of_every_text_and_the_text_to_the_byte(model_dir, tmp_path, capsys):
    file = tmp_path / "lines.txt"
    file.write_bytes(b"the [MASK]uick\r\n\n\nfox is here\n")
    for more in ((), ("--lines",)):
        results = run(model_dir, file, "--format", "html", "--threshold", 0.1, *more)
        page = capsys.readouterr().out
        assert page.isascii() and page.count("<script") == 2
        ((data,),) = [re.findall(r'id="data">(.*?)</script>', page)]
        (text,) = json.loads(data)["texts"]
        said = "".join(piece if isinstance(piece, str) else piece["t"] for piece in text["pieces"])
        assert said.encode() == file.read_bytes() and text["file"] == "lines.txt"
        doubts = [piece for piece in text["pieces"] if not isinstance(piece, str)]
        assert (
            len(doubts) == sum(len(result[kind]) for result in results for kind in ("spans", "holes", "unknown")) > 1
        )
        assert {"1:5"} <= {doubt["at"] for doubt in doubts if doubt.get("k") == "hole"}
    with pytest.raises(ValueError, match=r"^`correct` must be left out with `format` html"):
        run(model_dir, file, "--format", "html", "--correct")


def test_the_log_for_code_scanning_has_all_that_its_schema_requires(model_dir, tmp_path, capsys):
    file = tmp_path / "a text.txt"
    file.write_text("the quick\nbrown", encoding="utf-8")
    (result,) = run(model_dir, file, "--format", "sarif", "--threshold", 0.2)
    log = json.loads(capsys.readouterr().out)
    (scan,) = log["runs"]
    rules = scan["tool"]["driver"]["rules"]
    assert log["version"] == "2.1.0" and scan["columnKind"] == "unicodeCodePoints" and len(rules) == 1
    assert len(scan["results"]) == len(result["spans"]) > 0
    for one in scan["results"]:
        assert one["ruleId"] == rules[one["ruleIndex"]]["id"] and one["message"]["text"] and 0 <= one["rank"] <= 100
        (place,) = one["locations"]
        assert place["physicalLocation"]["artifactLocation"]["uri"].endswith("/a%20text.txt")
        region = place["physicalLocation"]["region"]
        assert all(region[name] >= 1 for name in ("startLine", "startColumn", "endLine", "endColumn"))
        for fix in one.get("fixes", ()):
            (change,) = fix["artifactChanges"]
            assert set(change) == {"artifactLocation", "replacements"}
            assert all(r["deletedRegion"] == region and "text" in r["insertedContent"] for r in change["replacements"])
    run(model_dir, file, "--format", "sarif", "--threshold", 1.0)
    assert json.loads(capsys.readouterr().out)["runs"][0]["results"] == []


@given(st.text(alphabet="ab\n", max_size=30), st.data())
def test_line_and_column_are_those_of_counting(text, data):
    offset = data.draw(st.integers(0, len(text)))
    before = text[:offset]
    assert Places(text, Source("a"))(offset) == (before.count("\n") + 1, offset - before.rfind("\n"))
    assert Places(text, Source("a", 7))(offset) == (7, offset + 1)


def test_places_take_no_longer_for_each_finding_of_a_long_text():
    def seconds(size):
        text = "a\n" * size
        spans = [{"start": 2 * i, "end": 2 * i + 1, "text": "a", "replacement": "b"} for i in range(size)]
        result = {"text": text, "spans": [{**span, "max_error_probability": 0.9} for span in spans]}
        begin = time.process_time()
        assert sum(1 for _ in findings(result, Source("a"))) == size
        return time.process_time() - begin

    seconds(100)
    assert seconds(40_000) < 40 * seconds(4_000) + 0.1, "ten times the text; by counting lines anew a hundred times"


def test_the_exit_status_is_that_of_a_linter(model_dir, monkeypatch, capsys):
    status = {}
    for name, flags in (("found", ["--threshold", "0.0"]), ("clean", ["--threshold", "1.0"]), ("wrong", ["--json"])):
        argv = ["proofread", "--model", str(model_dir), "--text", "abc", "--format", "text", *flags]
        status[name] = 0
        try:
            run_as_program(partial(proofread.main, argv[1:]), "proofread", proofread.status_of)
        except SystemExit as end:
            status[name] = end.code
    assert status == {"found": 1, "clean": 0, "wrong": 2}
    assert "proofread: `format` must be left out beside `json`" in capsys.readouterr().err


def test_the_hook_for_the_repositories_of_others_calls_a_command_that_there_is():
    hook = yaml.safe_load((ROOT / ".pre-commit-hooks.yaml").read_text(encoding="utf-8"))
    ((command, act, *flags),) = [one["entry"].split() for one in hook]
    assert (command, act) == ("critic-gpt", "proofread")
    assert proofread_parser().parse_args([*flags, "--model", "m", "a.txt", "b.txt"]).input == ["a.txt", "b.txt"]
