# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/generate.py`, and about how every script ends with an error."""

import json
import re

import pytest
import torch
from sentences import one_sentence
from transformers import pipeline

from critic_gpt import (
    CriticGPTConfig,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticGPTGenerationConfig,
)
from critic_gpt.cli.generation_flags import flag_settings
from critic_gpt.explorer.drawing import visible
from critic_gpt.generation.declarations import SETTINGS as DECLARED
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
    assert lines[-5] == result["generated_text"] and lines[-5][:2] == "ab" and len(lines[-5]) == 5
    assert lines[-4] == f"  [3 forward passes; {result['expected_errors']:.2f} wrong tokens expected]"
    assert lines[-3] == f"  self: mean log-probability {result['self_log_probability']:.3f}"
    quantiles = f"p10 {result['error_p10']:.1%}, p50 {result['error_p50']:.1%}, p90 {result['error_p90']:.1%}"
    assert lines[-2] == f"  critic: P(wrong) mean {result['error_mean']:.1%}, {quantiles}"
    worst = max(range(5), key=lambda i: result["error_probabilities"][i])
    assert lines[-1].startswith(f"  least certain: {result['tokens'][worst]!r} at {worst} (")
    # At most five tokens are named, and given ones never.
    for flags, named in ((("--max_new_tokens", 12), 5), (("--prompt", "abc[MASK]"), 1)):
        run(model_dir, *flags, "--seed", 0)
        assert capsys.readouterr().out.splitlines()[-1].count(" at ") == named


def test_without_a_trained_critic_it_says_so(model_dir, tiny_model, tmp_path, capsys):
    model = tiny_model(add_critic_head=False)
    model.save_pretrained(model_dir)
    (result,) = run(model_dir, "--prompt", "ab[MASK]")
    assert result["expected_errors"] is None
    lines = capsys.readouterr().out.splitlines()
    assert lines[-2] == "  [3 forward passes; no verdict of a critic]"
    assert lines[-1] == f"  self: mean log-probability {result['self_log_probability']:.3f}"


def test_samples_of_a_prompt_differ_and_a_seed_repeats_them(model_dir):
    flags = ("--prompt", "[MASK]" * 20, "a[MASK]", "--num_samples", 3, "--seed", 5)
    first = [result["generated_text"] for result in run(model_dir, *flags)]
    assert len(first) == 6 and len(set(first[:3])) == 3
    assert all(len(text) == 2 and text[0] == "a" for text in first[3:])
    assert [result["generated_text"] for result in run(model_dir, *flags)] == first
    # Any whole number is a seed.
    assert run(model_dir, *flags[:-1], -5)[0]["generated_text"] != first[0]


EVERY_FIELD = [
    {"remasking": "critic", "unmasking": "entropy_bound", "entropy_bound": 0.5, "remask_per_step": 1}
    | {"remask_by": "error", "correction": "replace", "polish_steps": 2, "polish_threshold": 0.3, "num_candidates": 2}
    | {"stop_when_expected_errors_below": 0.5, "remask_selection": "gumbel", "selection_temperature": 2.0}
    | {"temperature": 0.9, "top_k": 5, "top_p": 0.9, "num_steps": 4},
    {"remasking": "none", "unmasking": "confidence_threshold", "confidence_threshold": 0.4},
    {"remasking": "critic", "remask_per_step": 0.3, "remask_by": "alternative", "remask_floor": 0.1},
    {"remasking": "none", "token_draws": "independent"},
    {"remasking": "critic", "block_length": 4, "cache_implementation": "dual", "cache_refresh_interval": 2}
    | {"revision_threshold": 0.5, "num_steps": 4},
    {
        "remasking": "critic",
        "answers": "many",
        "remask_by": "likelihood",
        "remask_exponent": 0.5,
        "temperature_end": 0.5,
    }
    | {"remask_selection": "gumbel", "unmasking": "random", "remasked_first": True},
    {"remasking": "p2", "schedule": "cosine", "randomness_strength": 0.3},
    {"remasking": "critic_full", "start_ratio": 0.9, "end_ratio": 0.1},
    {"remasking": "critic_full", "error_threshold": 0.7},
    {"remasking": "remdm_loop", "remdm_eta": 0.2, "loop_start": 0.3, "loop_end": 0.7, "loop_visible": 0.8},
    {"remasking": "proseco", "corrector_interval": 2, "corrector_steps": 2, "corrector_temperature": 0.5},
    {"max_new_tokens": 6, "seed_placement": "random", "mask_token_id": 1, "pad_token_id": 0, "bos_token_id": 3},
    {"eos_token_id": [4, 5], "suppressed_token_ids": [6, 7], "return_error_probabilities": False},
]


def test_every_field_of_the_configuration_can_be_set(model_dir, tmp_path):
    for fields in EVERY_FIELD:
        flags = ["--prompt", "ab" if "max_new_tokens" in fields else "[MASK]b" * 4]
        for name, value in fields.items():
            values = value if isinstance(value, list) else [value]
            flags += [f"--{'' if value else 'no-'}{name}"] if isinstance(value, bool) else [f"--{name}", *values]
        run(model_dir, *flags, "--save", tmp_path / "results.json")
        document = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
        assert fields.items() <= document["settings"]["generation_config"].items()
    said = {name for fields in EVERY_FIELD for name in fields}
    assert said == {setting.name for setting in flag_settings()}


def test_it_says_in_how_many_passes_a_text_took_part_and_how_good_its_candidates_were(model_dir, capsys):
    case = ("--prompt", "[MASK]" * 9, "--seed", 0)
    (result,) = run(model_dir, *case, "--stop_when_expected_errors_below", 100)
    assert result["row_passes"] == 1 and "  [1 forward passes; " in capsys.readouterr().out
    (result,) = run(model_dir, *case, "--num_candidates", 3)
    expected = result["candidate_expected_errors"]
    assert len(expected) == 3 and result["expected_errors"] == pytest.approx(min(expected), rel=1e-5)
    out = capsys.readouterr().out.splitlines()
    assert any(line.startswith("  [9 forward passes; ") for line in out)
    numbers = ", ".join(f"{number:.2f}" for number in expected)
    assert f"  the best of 3 candidates, by expected errors: {numbers}" in out


def test_the_schedule_is_a_name_or_a_list_of_ratios(model_dir, capsys):
    case = ("--prompt", "[MASK]" * 10, "--remasking", "critic_full", "--seed", 0, "--history")
    run(model_dir, *case, "--schedule", "1.0,0.5,0.2")
    steps = [line for line in capsys.readouterr().out.splitlines() if " -> " in line]
    assert [line.count(",") for line in steps] == [5, 2, 0], "so many are masked again"
    named = run(model_dir, *case, "--schedule", "cosine", "--start_ratio", 0.9, "--end_ratio", 0.1)
    listed = run(model_dir, *case, "--schedule", f"0.9,{0.1 + 0.8 * 0.5**0.5},0.1")
    assert named == listed != run(model_dir, *case, "--schedule", "linear")
    assert run(model_dir, *case, "--schedule", "0.6") == run(model_dir, *case, "--schedule", "root")
    with pytest.raises(SystemExit):
        run(model_dir, "--schedule", "steep")
    said = capsys.readouterr().err
    assert "--schedule: must be linear, quadratic, root, cosine, a number or one ratio a step" in said


def test_how_many_are_remasked_is_a_number_a_share_or_half(model_dir, capsys):
    case = ("--prompt", "[MASK]" * 10, "--remasking", "critic", "--seed", 0, "--num_steps", 5, "--remask_floor", 0)
    many = run(model_dir, *case, "--answers", "many")
    assert many == run(model_dir, *case, "--answers", "many", "--remask_per_step", "half")
    # Half of ten tokens over five steps is one in each.
    assert many == run(model_dir, *case, "--answers", "many", "--remask_per_step", "1")
    with pytest.raises(SystemExit):
        run(model_dir, "--remask_per_step", "halves")
    said = capsys.readouterr().err
    assert "--remask_per_step: must be a whole number, a share as in 0.2, or half, got 'halves'" in said


def test_a_prompt_is_placed_as_the_flags_say_and_without_one_a_sequence_is_made_from_nothing(model_dir, tmp_path):
    case = ("--prompt", "hello", "--max_new_tokens", 30, "--num_samples", 4, "--seed", 0)
    placed = [result["generated_text"] for result in run(model_dir, *case, "--seed_placement", "random")]
    assert all("hello" in text for text in placed) and not all(text.startswith("hello") for text in placed)
    assert all(result["generated_text"].startswith("hello") for result in run(model_dir, *case))
    plain = run(model_dir, *case, "--no-return_error_probabilities")
    assert plain[0]["error_probabilities"] is None and plain[0]["scoring_passes"] == 0
    seeds = set()
    for _ in range(2):  # without a seed one is drawn and saved
        results = run(model_dir, "--num_samples", 2, "--max_new_tokens", 7, "--save", tmp_path / "results.json")
        assert [len(result["tokens"]) for result in results] == [7, 7]
        seeds.add(json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))["settings"]["seed"])
    assert len(seeds) == 2


@pytest.fixture
def judges(tiny_config, tmp_path):
    torch.manual_seed(0)
    CriticGPTForTokenClassification(tiny_config(num_labels=2)).save_pretrained(tmp_path / "tokens")
    CriticGPTForSequenceClassification(tiny_config(num_labels=1)).save_pretrained(tmp_path / "rows")
    return "--remasking_model", tmp_path / "tokens", "--judge_model", tmp_path / "rows"


def test_judges_are_loaded_from_folders_and_their_verdict_is_printed(model_dir, judges, capsys):
    case = ("--prompt", "[MASK]" * 12, "--seed", 0)
    (result,) = run(model_dir, *case, *judges)
    assert f"  judge: wrongness {result['judge_wrongness']:.3f}" in capsys.readouterr().out.splitlines()
    assert result["judge_passes"] == 1
    assert result["token_ids"] != run(model_dir, *case)[0]["token_ids"]
    with pytest.raises(ValueError, match=r"`remasking_model` must be a trained token classifier, got .*model'"):
        run(model_dir, *case, "--remasking_model", model_dir)


def test_the_generation_flags_are_fields_of_the_configuration():
    # The first is said by --history; the second must be the case, since a verdict is printed.
    fields = set(DECLARED) - {"return_history", "return_dict_in_generate"}
    flags = {name.removeprefix("--") for name in generate.generate_parser().format_help().split() if name[:2] == "--"}
    assert fields == {setting.name for setting in flag_settings()}
    assert all(any(flag.startswith(name) for flag in flags) for name in fields)


RESULT = {
    *("generated_text", "tokens", "token_ids", "error_probabilities", "expected_errors", "error_mean", "error_p10"),
    *("error_p50", "error_p90", "self_log_probability", "judge_wrongness", "forward_passes", "scoring_passes"),
    *("judge_passes", "row_passes", "candidate_expected_errors", "history"),
}
SETTINGS = {
    *("model", "fingerprint", "remasking_model", "judge_model", "strategy_module", "prompts", "num_samples"),
    *("batch_size", "seed", "generation_config", "versions"),
}


def test_save_writes_settings_results_and_every_step(model_dir, tmp_path):
    path = tmp_path / "new" / "results.json"
    results = run(model_dir, "--prompt", "[MASK]" * 8, "a[MASK]", "--seed", 0, "--save", path)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert set(document) == {"settings", "results"} and document["results"] == results
    settings = document["settings"]
    assert set(settings) == SETTINGS
    assert (settings["seed"], settings["prompts"], settings["model"]) == (0, ["[MASK]" * 8, "a[MASK]"], str(model_dir))
    assert set(settings["versions"]) == {"critic_gpt", "transformers", "torch", "python"}
    assert set(settings["generation_config"]) == set(DECLARED)
    used = {"num_steps": 3, "remasking": "critic", "schedule": "root", "correction": "auto", "temperature": 1.0}
    assert used.items() <= settings["generation_config"].items()
    for result in results:
        assert set(result) == RESULT and len(result["history"]) == 3
        steps = {"input", "filled", "input_ids", "filled_ids", "remasked"}
        assert all(set(step) == steps for step in result["history"])
        assert result["history"][0]["input"].endswith("[MASK]")
        assert result["history"][-1]["filled"] == result["generated_text"]
    assert [file.name for file in path.parent.iterdir()] == ["results.json"]
    assert "history" not in run(model_dir, "--prompt", "a[MASK]")[0]


@pytest.mark.parametrize(
    "flags",
    [
        ("--remasking", "critic_full", "--schedule", "0.9,0.5,0.1", "--remask_selection", "gumbel"),
        ("--prompt", "abc", "--seed_placement", "random", "--max_new_tokens", 12),
        ("--prompt", "abc", "[MASK][MASK]", "--num_samples", 2, "--temperature", 0.5),
        ("--prompt", "[MASK]" * 9, "--num_candidates", 2, "--polish_steps", 3, "--correction", "replace"),
        ("--prompt", "[MASK]" * 9, "--remasking", "none", "--unmasking", "entropy_bound"),
        ("--prompt", "[MASK]" * 9, "--remasking", "proseco", "--corrector_temperature", 1.0),
    ],
)
def test_what_is_saved_is_enough_to_generate_the_same_again(model_dir, tmp_path, flags):
    results = run(model_dir, *flags, "--save", tmp_path / "results.json")
    document = json.loads((tmp_path / "results.json").read_text(encoding="utf-8"))
    settings = document["settings"]
    again = pipeline("critic-diffusion", model=settings["model"])
    assert again.model.fingerprint() == settings["fingerprint"]
    prompts = [prompt for prompt in settings["prompts"] for _ in range(settings["num_samples"])]
    config = CriticGPTGenerationConfig(**settings["generation_config"])
    repeated = again(prompts, generation_config=config, seed=settings["seed"], batch_size=settings["batch_size"])
    assert repeated == results == document["results"]


def test_the_steps_are_printed_where_asked_for(model_dir, capsys):
    (result,) = run(model_dir, "--prompt", "[MASK]" * 9, "--remasking", "critic_full", "--seed", 0, "--history")
    lines = capsys.readouterr().out.splitlines()
    first = result["history"][0]
    again = ", ".join(map(str, first["remasked"]))
    assert lines[0] == f"  1: {'[MASK]' * 9!r} -> {first['filled']!r}, masked again at {again}"
    assert lines[2] == f"  3: {result['history'][2]['input']!r} -> {result['generated_text']!r}"
    run(model_dir, "--prompt", "[MASK]" * 9, "--seed", 0)
    assert " -> " not in capsys.readouterr().out


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
    with one_sentence("got", *parts):
        run(model_dir, "--save", tmp_path / "results.json", *more)
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


# ---- how a script ends ----


@pytest.mark.parametrize("kind", [ValueError, FileNotFoundError, ImportError])
def test_what_the_user_can_mend_is_one_line(kind):
    def main():
        raise kind("`a` must be\n  b, got c: d.")

    with pytest.raises(SystemExit) as stop:
        run_as_program(main, "act")
    assert stop.value.code == "act: `a` must be b, got c: d."  # Python prints a text and exits with 1


@pytest.mark.parametrize(
    ("fields", "line"), [({"critic_alpha": -1.0}, "act: `critic_alpha` must"), ({"hidden_size": "wide"}, "act: ")]
)
def test_a_wrong_configuration_is_one_line_of_ours(fields, line):
    with pytest.raises(SystemExit) as stop:
        run_as_program(lambda: CriticGPTConfig(**fields), "act")
    assert stop.value.code.startswith(line) and "\n" not in stop.value.code
    assert all(name in stop.value.code and f"{value}" in stop.value.code for name, value in fields.items())


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


def test_an_animation_shows_every_sample_and_changes_no_result(model_dir, tmp_path, capsys):
    flags = ("--prompt", "ab[MASK][MASK]e", "[MASK]" * 9, "--seed", 0, "--batch_size", 1)
    plain = run(model_dir, *flags)
    for more in ((), ("--stream",)):
        assert run(model_dir, *flags, "--animate", tmp_path / "new" / "a.html", "--row_width", 3, *more) == plain
        page = (tmp_path / "new" / "a.html").read_text(encoding="ascii")
        (data,) = re.findall(r'id="data">(.*?)</script>', page)
        content = json.loads(data)
        assert content["weights"] == CriticGPTForMaskedLM.from_pretrained(model_dir).fingerprint()
        for frames, result in zip(content["samples"], plain, strict=True):
            assert len(frames) > 3 and frames[0]["lines"][0] == 3 and sum(frames[0]["lines"]) == len(result["tokens"])
            assert [token["s"] for token in frames[-1]["tokens"]] == [visible(one) for one in result["tokens"]]
    for more, said in (
        (("--animate", "a.gif"), "`animate` must be .html to show several samples, got 'a.gif' for 2"),
        (("--animate", "a.txt"), "`animate` must end in .html or .gif, got 'a.txt'"),
        (("--row_width", 3), "`row_width` is for `stream` and `animate`, got 3 without"),
        (("--animate", "a.html", "--row_width", 0), "`row_width` must be at least 1, got 0"),
    ):
        with pytest.raises(ValueError, match=re.escape(said)):
            run(model_dir, *flags, *more)


def test_a_stream_writes_the_texts_as_they_are_finished_and_changes_no_result(model_dir, capsys):
    flags = ("--prompt", "ab[MASK][MASK]e", "[MASK]" * 9, "--seed", 0)
    plain = run(model_dir, *flags)
    capsys.readouterr()
    assert run(model_dir, *flags, "--stream") == plain
    lines = capsys.readouterr().out.splitlines()
    for number, result in enumerate(plain, start=1):
        at = lines.index(f"{number}: 3 forward passes; {result['expected_errors']:.2f} wrong tokens expected")
        assert lines[at + 1].startswith("  " + result["generated_text"].split("\n")[0])
    with pytest.raises(ValueError, match="`streamer` must be left out with several candidates"):
        run(model_dir, *flags, "--stream", "--num_candidates", 2)
