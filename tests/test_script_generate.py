# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/generate.py`, and about how every script ends with an error."""

import json
import os
import subprocess
import sys

import pytest
import torch

from critic_gpt import CriticGPTConfig
from critic_gpt.scripts import generate, run_as_program


@pytest.fixture
def model_dir(tiny_model, tokenizer, tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def run(model_dir, *more):
    return generate.main(["--model", str(model_dir), "--num_steps", "3", *map(str, more)])


def test_it_prints_text_expected_errors_and_the_least_certain_tokens(model_dir, capsys):
    (result,) = run(model_dir, "--prompt", "ab[MASK][MASK]e", "--seed", 0)
    lines = capsys.readouterr().out.splitlines()
    assert lines[-3] == result["generated_text"] and lines[-3][:2] == "ab" and len(lines[-3]) == 5
    assert lines[-2] == f"  [3 forward passes; {result['expected_errors']:.2f} wrong tokens expected]"
    worst = max(range(5), key=lambda i: result["error_probabilities"][i])
    assert lines[-1].startswith(f"  least certain: {result['tokens'][worst]!r} at {worst} (")


def test_at_most_five_tokens_are_named_and_given_ones_never(model_dir, capsys):
    run(model_dir, "--max_new_tokens", 12, "--seed", 0)
    assert capsys.readouterr().out.splitlines()[-1].count(" at ") == 5
    run(model_dir, "--prompt", "abc[MASK]", "--seed", 0)
    assert capsys.readouterr().out.splitlines()[-1].count(" at ") == 1


def test_without_a_trained_critic_it_says_so(model_dir, tiny_model, tmp_path, capsys):
    model = tiny_model(add_critic_head=False)
    model.save_pretrained(model_dir)
    (result,) = run(model_dir, "--prompt", "ab[MASK]")
    assert result["expected_errors"] is None
    assert capsys.readouterr().out.splitlines()[-1] == "  [3 forward passes; no trained critic]"


def test_samples_of_a_prompt_differ_and_a_seed_repeats_them(model_dir):
    flags = ("--prompt", "[MASK]" * 20, "a[MASK]", "--num_samples", 3, "--seed", 5)
    first = [result["generated_text"] for result in run(model_dir, *flags)]
    assert len(first) == 6 and len(set(first[:3])) == 3
    assert all(len(text) == 2 and text[0] == "a" for text in first[3:])
    assert [result["generated_text"] for result in run(model_dir, *flags)] == first
    # Any whole number is a seed.
    assert run(model_dir, *flags[:-1], -5)[0]["generated_text"] != first[0]


def test_without_a_prompt_sequences_are_made_from_nothing(model_dir):
    results = run(model_dir, "--num_samples", 2, "--max_new_tokens", 7)
    assert [len(result["tokens"]) for result in results] == [7, 7]


def test_every_flag_reaches_generate(model_dir):
    assert run(model_dir, "--remasking", "critic_full", "--prompt", "[MASK]a")[0]["forward_passes"] == 5
    cold = ("--temperature", 0, "--remasking", "none", "--unmasking", "left_to_right", "--prompt", "[MASK]" * 9)
    assert run(model_dir, *cold, "--seed", 0)[0]["token_ids"] == run(model_dir, *cold, "--seed", 1)[0]["token_ids"]
    more = ("--top_k", 3, "--top_p", 0.5, "--remask_per_step", 2, "--randomness_strength", 0.5)
    assert len(run(model_dir, *more, "--prompt", "[MASK]" * 9)[0]["tokens"]) == 9
    assert run(model_dir, "--error_threshold", 0.5, "--prompt", "[MASK]a")[0]["forward_passes"] == 3


def test_the_generation_flags_are_fields_of_the_configuration():
    assert set(generate.GENERATION_FLAGS) == {
        *("num_steps", "max_new_tokens", "unmasking", "remasking", "remask_per_step", "error_threshold"),
        *("randomness_strength", "temperature", "top_k", "top_p"),
    }


def test_save_writes_settings_results_and_every_step(model_dir, tmp_path):
    path = tmp_path / "new" / "results.json"
    results = run(model_dir, "--prompt", "[MASK]" * 8, "a[MASK]", "--seed", 0, "--save", path)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert set(document) == {"settings", "results"} and document["results"] == results
    assert document["settings"]["seed"] == 0 and document["settings"]["num_steps"] == 3
    for result in results:
        assert len(result["history"]) == 3
        assert all(set(step) == {"input", "filled", "remasked"} for step in result["history"])
        assert result["history"][-1]["filled"] == result["generated_text"]
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
    assert "history" not in run(model_dir, "--prompt", "a[MASK]")[0]


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--num_samples", 0), ("`num_samples`", "got 0")),
        (("--batch_size", 0), ("`batch_size`", "got 0")),
        (("--num_steps", 0), ("`num_steps`", "got 0")),
        (("--prompt", "aB[MASK]"), ("`inputs`", "'B'")),
        (("--prompt", "a[MASK]", "--max_new_tokens", 3), ("`max_new_tokens`", "without [MASK]")),
        (("--model", "no/such/model"), ("`model`", "no/such/model", "did not load")),
    ],
)
def test_errors_are_one_sentence_and_save_nothing(model_dir, tmp_path, more, parts):
    with pytest.raises(ValueError) as error:
        run(model_dir, "--save", tmp_path / "results.json", *more)
    text = str(error.value)
    assert "\n" not in text and text.endswith(".")
    for part in ("got", *parts):
        assert part in text, text
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# ---- how a script ends ----


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError, ImportError])
def test_what_the_user_can_mend_is_one_line(kind):
    def main():
        raise kind("`a` must be\n  b, got c: d.")

    with pytest.raises(SystemExit) as stop:
        run_as_program(main, "act")
    assert stop.value.code == "act: `a` must be b, got c: d."  # Python prints a text and exits with 1


def test_a_wrong_field_of_a_configuration_is_our_sentence_alone():
    with pytest.raises(SystemExit) as stop:
        run_as_program(lambda: CriticGPTConfig(critic_alpha=-1.0), "act")
    assert stop.value.code.startswith("act: `critic_alpha` must") and "\n" not in stop.value.code


def test_a_configuration_of_a_wrong_type_is_one_line():
    with pytest.raises(SystemExit) as stop:
        run_as_program(lambda: CriticGPTConfig(hidden_size="wide"), "act")
    assert "hidden_size" in stop.value.code and "'wide'" in stop.value.code and "\n" not in stop.value.code


def test_damaged_weights_are_one_sentence(tiny_model, tokenizer, tmp_path):
    tiny_model().save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    path = tmp_path / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(ValueError, match=r"`model` must be .*, which did not load \(.*\): train one"):
        run(tmp_path)


def test_what_is_wrong_with_the_program_itself_keeps_its_traceback():
    with pytest.raises(RuntimeError):
        run_as_program(lambda: torch.zeros(2) @ torch.zeros(3), "act")


@pytest.mark.slow
def test_as_a_program_an_error_is_one_line(model_dir):
    command = [sys.executable, "-m", "critic_gpt.scripts.generate", "--model", str(model_dir), "--prompt", "aB[MASK]"]
    failed = subprocess.run(command, capture_output=True, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})
    assert failed.returncode == 1
    assert failed.stderr.splitlines()[-1].startswith("generate: `inputs`") and "Traceback" not in failed.stderr
