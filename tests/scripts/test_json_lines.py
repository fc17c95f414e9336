# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Many texts in, results out as lines of JSON: the same as in one call, and a stopped run goes on."""

import io
import json
import os
import sys
from types import SimpleNamespace

import pytest

from critic_gpt.hub.files import locked
from critic_gpt.scripts import generate, proofread
from critic_gpt.scripts.json_lines import ResultLines


PROMPTS = ["ab[MASK][MASK]e", {"prompt": "[MASK]a", "id": 7}, {"text": "xy[MASK]"}, "[MASK][MASK][MASK]", "q[MASK]"]


@pytest.fixture
def model_dir(tiny_model, tokenizer, tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture
def prompts(tmp_path):
    path = tmp_path / "prompts.jsonl"
    path.write_text("\n\n".join(map(json.dumps, PROMPTS)) + "\n")
    return path


def generated(model_dir, *more):
    return generate.main(["--model", str(model_dir), "--num_steps", "3", *map(str, more)])


def lines_of(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_results_are_those_of_one_call_with_the_line_they_belong_to(model_dir, prompts, tmp_path, capsys):
    many = ("--prompts", prompts, "--num_samples", 2, "--seed", 5)
    whole = generated(model_dir, *many)
    assert generated(model_dir, *many, "--results", tmp_path / "new" / "r.jsonl", "--batch_size", 3) == []
    lines = lines_of(tmp_path / "new" / "r.jsonl")
    assert [(line["index"], line["input"], line["sample"]) for line in lines] == [
        (2 * i + j, prompt, j) for i, prompt in enumerate(PROMPTS) for j in range(2)
    ]
    for line, result in zip(lines, whole, strict=True):
        assert (line["token_ids"], line["generated_text"]) == (result["token_ids"], result["generated_text"])
        assert line["error_probabilities"] == pytest.approx(result["error_probabilities"], abs=1e-6)
    assert "10 results in " in capsys.readouterr().out


@pytest.mark.parametrize("kept", [1, 6, 10])
def test_a_run_that_was_stopped_anywhere_ends_as_one_that_was_not(model_dir, prompts, tmp_path, capsys, kept):
    many = ("--prompts", prompts, "--num_samples", 2, "--batch_size", 3, "--results")
    generated(model_dir, *many, tmp_path / "r.jsonl")  # with a seed that is drawn
    whole = (tmp_path / "r.jsonl").read_bytes()
    lines = whole.splitlines(keepends=True)
    torn = lines[kept][: len(lines[kept]) // 2] if kept < len(lines) else b""
    (tmp_path / "r.jsonl").write_bytes(b"".join(lines[:kept]) + torn)
    capsys.readouterr()
    generated(model_dir, *many, tmp_path / "r.jsonl")
    assert (tmp_path / "r.jsonl").read_bytes() == whole
    there = kept if kept == 10 else kept - kept % 3
    assert (f"{there} of them there before" in capsys.readouterr().out) == bool(there)


def test_results_of_another_run_are_refused_and_stay(model_dir, prompts, tmp_path):
    results = tmp_path / "r.jsonl"
    generated(model_dir, "--prompts", prompts, "--seed", 1, "--results", results)
    before = results.read_bytes()
    for more, field in ((["--seed", 2], "seed"), (["--temperature", 0.5], "generation_config")):
        with pytest.raises(ValueError, match=rf"`results` must be a new file or one of the same run, .* `{field}` is"):
            generated(model_dir, "--prompts", prompts, "--seed", 1, "--results", results, *more)
    prompts.write_text('"[MASK]"\n')
    with pytest.raises(ValueError, match="of which `inputs` is"):
        generated(model_dir, "--prompts", prompts, "--seed", 1, "--results", results)
    (tmp_path / "r.jsonl.settings.json").unlink()
    with pytest.raises(ValueError, match=r"got '.*r.jsonl' without r.jsonl.settings.json beside it"):
        generated(model_dir, "--prompts", prompts, "--seed", 1, "--results", results)
    assert results.read_bytes() == before


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "must hold at least one line of JSON, got"),
        ('"a"\n{"prompt": \n', "whose line 2 is none"),
        ('{"other": "a"}\n', "with the key prompt or text, got .* whose line 1 is"),
        ("3\n", "whose line 1 is 3"),
    ],
)
def test_what_is_no_file_of_prompts_is_refused(model_dir, tmp_path, content, said):
    (tmp_path / "p.jsonl").write_text(content)
    with pytest.raises(ValueError, match=f"`prompts` must hold .*{said}|`prompts` {said}"):
        generated(model_dir, "--prompts", tmp_path / "p.jsonl")


@pytest.mark.parametrize(
    ("more", "field"),
    [
        (["--prompt", "a", "--prompts", "p.jsonl"], "prompt"),
        (["--results", "r.jsonl", "--save", "s.json"], "save"),
        (["--results", "r.jsonl", "--history"], "history"),
        (["--results", "r.jsonl", "--stream"], "stream"),
    ],
)
def test_flags_that_exclude_each_other_are_refused(more, field):
    with pytest.raises(ValueError, match=f"^`{field}` must be left out beside "):
        generated("nowhere", *more)


def test_standard_input_is_read(model_dir, prompts, monkeypatch):
    monkeypatch.setattr(sys, "stdin", SimpleNamespace(buffer=io.BytesIO(prompts.read_bytes())))
    assert len(generated(model_dir, "--prompts", "-")) == len(PROMPTS)


def test_a_bar_is_shown_at_a_terminal_alone(tmp_path, monkeypatch, capsys):
    def write(name):
        ResultLines("results", tmp_path / name).write({}, range(4), 2, lambda i, j: [{}] * (j - i), "texts")
        return capsys.readouterr().err

    assert write("a") == ""
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    assert "4/4" in write("b")


# ---- prompts typed in a shell ----


@pytest.mark.parametrize(
    ("prompt", "meant"),
    [
        ("a[MASK]*3b", "a[MASK][MASK][MASK]b"),
        ("[MASK]*0", ""),
        ("[MASK]*2[MASK]*1", "[MASK][MASK][MASK]"),
        ("<mask>*2 [MASK]*2", "<mask><mask> [MASK][MASK]"),
        ("[MASK]* 3 * 4 *", "[MASK]* 3 * 4 *"),
        (None, None),
    ],
)
def test_a_mask_times_a_number_is_so_many_masks(prompt, meant):
    assert generate.written_out(prompt, "<mask>") == meant


def test_masks_without_end_are_refused():
    for number in ("1048577", "9" * 5000):
        with pytest.raises(ValueError, match=r"^`prompt` must hold at most 1,048,576 masks, got "):
            generate.written_out(f"[MASK]*{number}", "[MASK]")


def test_masks_are_written_out_where_a_prompt_is_typed(model_dir):
    short, long = ("ab[MASK]*9", "ab" + "[MASK]" * 9)
    assert generated(model_dir, "--prompt", short, "--seed", 0) == generated(model_dir, "--prompt", long, "--seed", 0)


# ---- proofreading ----


def test_texts_are_proofread_line_by_line_and_a_stopped_run_goes_on(model_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(proofread, "TEXTS_AT_ONCE", 2)
    rows = ["the quick", {"text": "brown fox", "id": 1}, "jumps over", "the lazy", "dog"]
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, rows)))
    words = ["--model", str(model_dir), str(tmp_path / "t.jsonl")]
    whole = proofread.main([*words, "--json"])
    results = tmp_path / "r.jsonl"
    assert proofread.main([*words, "--results", str(results)]) == []
    lines = lines_of(results)
    assert [(line.pop("index"), line.pop("input")) for line in lines] == list(enumerate(rows))
    for line, result in zip(lines, whole, strict=True):
        assert line.keys() == result.keys() and line["text"] == result["text"]
        assert line["expected_errors"] == pytest.approx(result["expected_errors"], abs=1e-5)
    done = results.read_bytes()
    results.write_bytes(b"".join(done.splitlines(keepends=True)[:3]) + b'{"ind')
    proofread.main([*words, "--results", str(results)])
    assert results.read_bytes() == done
    with pytest.raises(ValueError, match=r"^`lines` must be left out with lines of JSON"):
        proofread.main([*words, "--lines"])


def test_a_file_that_another_process_writes_is_left_to_it(model_dir, prompts, tmp_path):
    results = tmp_path / "r.jsonl"
    with locked(results), pytest.raises(TimeoutError, match=r"must be free to be written, got a lock held by process"):
        generated(model_dir, "--prompts", prompts, "--results", results)
    assert not results.exists()
    generated(model_dir, "--prompts", prompts, "--results", results)
    assert len(lines_of(results)) == len(PROMPTS) and not list(tmp_path.glob("_*"))


def test_what_a_run_that_goes_on_could_not_read_is_refused_before_the_work(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    for target in (tmp_path / "pipe", "/dev/null"):
        with pytest.raises(ValueError, match="`results` must be a regular file"):
            generate.main(["--model", "nowhere", "--results", str(target)])
