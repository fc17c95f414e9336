# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Both spellings, near misses, and files of flags, in every act."""

import dataclasses
import json
import shlex

import pytest
import yaml
from act_parsers import full_parser

from critic_gpt.cli.acts import ACTS
from critic_gpt.cli.flags import generate_parser
from critic_gpt.cli.generation_flags import import_strategies
from critic_gpt.scripts import prepare_data, train


# For each act a command line with what it needs, and some more.
LINES = {
    "prepare": "--task text --output_dir o --sequence_length 64 --overwrite True --window lines",
    "train": "--data_dir d --output_dir o --add_critic_head True --learning_rate 3e-3 --save_strategy no",
    "calibrate": "d m 100 --split validation --generation top_k=5 unmasking=random --overwrite",
    "generate": "--model m --prompt a[MASK] b --schedule 0.9,0.5,0.1 --num_steps 3 --eos_token_id 1 2 "
    "--no-return_error_probabilities --temperature 0.5",
    "evaluate": "--model m --data_dir d --output_dir o --forward_passes 3 6 --tune --dtype bfloat16",
    "proofread": "letter.txt --model m --threshold 0.25 --correct",
    "explore": "--model m --view critic --mask_rate 0.5 --json",
    "push": "--model m --repo_id me/it --private --commit_message 'Two words'",
    "convert": "c.pt o --mask_token_id 5 --attention_type causal",
    "compare": "--recipes r.yaml --data_dir d --output_dir o --only 'no correction' default",
    "benchmark": "--repeats 12 --cases forward generate",
    "record": "--report a b --name n --note machine=x",
    "document": "--root there",
}


def settings(name: str, words: list[str]) -> dict:
    return vars(full_parser(name).parse_args(words))


def stopped(capsys, call, *arguments) -> str:
    """The one line that a wrong command line ends with."""
    with pytest.raises(SystemExit) as stop:
        call(*arguments)
    captured = capsys.readouterr()
    assert stop.value.code == 2 and captured.out == ""
    (line,) = captured.err.splitlines()
    return line


def printed(capsys, call, *arguments) -> str:
    """What a call prints before it ends the program."""
    with pytest.raises(SystemExit) as stop:
        call(*arguments)
    assert stop.value.code == 0
    return capsys.readouterr().out


def test_every_act_has_a_line_here():
    assert set(LINES) == set(ACTS)


@pytest.mark.parametrize("name", ACTS)
def test_every_flag_is_taken_in_both_spellings(name):
    parser = full_parser(name)
    for action in parser._actions:
        for option in action.option_strings:
            if option.startswith("--") and action.dest not in ("config", "print_config"):
                plain = option[2:].replace("-", "_")
                under, hyphen = (parser.words([f"--{word}=1"]) for word in (plain, plain.replace("_", "-")))
                for word in (*under, *hyphen):
                    assert parser._option_string_actions[word.partition("=")[0]].dest == action.dest


@pytest.mark.parametrize("name", ACTS)
def test_the_same_settings_come_out_of_both_spellings(name):
    words = shlex.split(LINES[name])
    hyphens = [word.replace("_", "-") if word.startswith("--") else word for word in words]
    assert settings(name, hyphens) == settings(name, words)


@pytest.mark.parametrize("name", ACTS)
def test_a_near_miss_is_named(name, capsys):
    words = shlex.split(LINES[name])
    flag = next(word for word in words if word.startswith("--") and len(word) > 5)
    wrong = [word if word != flag else f"{flag[:-2]}{flag[-1]}{flag[-2]}x" for word in words]
    line = stopped(capsys, full_parser(name).parse_args, wrong)
    assert f"is no flag of {name}: did you mean {flag}?" in line


def test_prepare_names_a_near_miss_and_the_task_of_a_flag_of_another(capsys):
    words = ["--task", "text", "--output_dir", "o"]
    line = stopped(capsys, prepare_data.parse_flags, [*words, "--sequence_lenght", "64"])
    assert line.endswith("`sequence_lenght` is no flag of prepare: did you mean --sequence_length?")
    with pytest.raises(ValueError, match=r"`num_train` belongs to the task 'sudoku' only"):
        prepare_data.parse_flags([*words, "--num-train", "5"])


def test_what_is_far_from_everything_is_sent_to_the_help(capsys):
    line = stopped(capsys, generate_parser().parse_args, ["--model", "m", "--qqqqqqqq"])
    assert line == "critic-gpt generate: `qqqqqqqq` is no flag of generate: see --help-all."


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "the following arguments are required: --model."),
        (["--model", "m", "--num_steps", "many"], "argument --num_steps: must be a whole number, got 'many'."),
        (["--model", "m", "--temperature", "hot"], "argument --temperature: must be a number, got 'hot'."),
        (["--model", "m", "lonely"], "lonely cannot be placed: every value stands behind its flag."),
        (["--model", "m", "--correcti", "x"], "argument --correction: invalid choice: 'x' (choose from "),
        (["--model", "m", "--stop", "1", "--s", "2"], "`--s` must be one flag, got what "),
        (["--config"], "`config` must be followed by a file of flags, got nothing: name one."),
    ],
)
def test_a_wrong_command_line_ends_with_one_sentence_and_status_2(words, said, capsys):
    assert stopped(capsys, generate_parser().parse_args, words).startswith(f"critic-gpt generate: {said}")


# ---- files ----


@pytest.mark.parametrize("suffix", ["yaml", "json"])
@pytest.mark.parametrize("name", ACTS)
def test_settings_that_are_printed_and_fed_back_are_the_same(name, suffix, tmp_path, capsys):
    words = shlex.split(LINES[name])
    parser = full_parser(name)
    text = printed(capsys, parser.parse_args, [*words, "--print-config"])
    assert parser.parse_args(words)  # which prints and ends no more
    file = tmp_path / f"run.{suffix}"
    file.write_text(text if suffix == "yaml" else json.dumps(yaml.safe_load(text)), encoding="utf-8")
    assert settings(name, ["--config", str(file)]) == settings(name, words)
    again = printed(capsys, full_parser(name).parse_args, ["--config", str(file), "--print-config"])
    assert yaml.safe_load(again) == yaml.safe_load(text)


def test_train_and_prepare_read_a_file_as_their_flags(tmp_path, capsys):
    file = tmp_path / "run.yaml"
    words = [*shlex.split(LINES["train"]), "--output_dir", str(tmp_path / "out"), "--use_cpu", "True"]
    file.write_text(printed(capsys, train.parse, [*words, "--print-config"]), encoding="utf-8")
    for read, plain in zip(train.parse(["--config", str(file)]), train.parse(words), strict=True):
        left, right = dataclasses.asdict(read), dataclasses.asdict(plain)
        assert {**left, "logging_dir": None} == {**right, "logging_dir": None}
    words = shlex.split(LINES["prepare"])
    file.write_text(printed(capsys, prepare_data.parse_flags, [*words, "--print-config"]), encoding="utf-8")
    assert prepare_data.parse_flags(["--config", str(file)]) == prepare_data.parse_flags(words)


def test_the_command_line_goes_before_the_file_in_any_order_and_spelling(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text(
        "model: m\nnum-steps: 5\nprompt: [a, b]\nreturn_error_probabilities: false\nseed: null\nstream: no\n"
    )
    read = settings("generate", ["--config", str(file)])
    assert (read["model"], read["num_steps"], read["prompt"], read["seed"]) == ("m", 5, ["a", "b"], None)
    assert read["return_error_probabilities"] is False and read["stream"] is False
    for words in (["--num-steps", "9", "--config", str(file)], [f"--config={file}", "--num_st=9"]):
        assert settings("generate", words) == {**read, "num_steps": 9}
    with_verdict = settings("generate", ["--config", str(file), "--return-error-probabilities"])
    assert with_verdict == {**read, "return_error_probabilities": True}


def test_positional_arguments_may_stand_in_a_file(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("dataset: d\ncheckpoint: m\nnum_sequences: 100\n")
    assert settings("calibrate", ["--config", str(file)]) == settings("calibrate", ["d", "m", "100"])
    assert settings("calibrate", ["e", "--config", str(file)]) == settings("calibrate", ["e", "m", "100"])


def test_a_value_that_yaml_reads_as_false_may_be_the_word_no(tmp_path):
    (tmp_path / "run.yaml").write_text("data_dir: d\noutput_dir: o\nsave_strategy: no\nlearning_rate: 3e-3\n")
    read = settings("train", ["--config", str(tmp_path / "run.yaml")])
    assert read["save_strategy"] == "no" and read["learning_rate"] == 3e-3


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("run.yaml", "modle: m\n", "`modle` in '{}' is no flag of generate: did you mean model?"),
        ("run.yaml", '"\\e[31mred": 1\n', "`\\x1b[31mred` in '{}' is no flag of generate: "),
        ("run.yaml", "config: other.yaml\n", "`config` in '{}' is no flag of generate: "),
        ("run.yaml", "num-steps: 1\nnum_steps: 2\n", "`num_steps` must stand once in '{}', got it in two spellings"),
        ("run.yaml", "- model\n", "`config` must hold flags by name, got '{}' with none: "),
        ("run.yaml", "a: [1\n", "`config` must be a readable file of flags, got '{}': "),
        ("run.yaml", "model: m\nstream: maybe\n", "`stream` must be true or false, got 'maybe': correct the file."),
        ("run.yaml", "model: m\nnum_steps: many\n", "argument --num_steps: must be a whole number, got 'many'."),
        ("run.txt", "model: m\n", "`config` must be a .yaml or .json file, got '{}': rename or convert it."),
        ("none.yaml", None, "`config` must be a readable file of flags, got '{}': No such file or directory."),
    ],
)
def test_a_file_that_is_wrong_ends_with_one_sentence_and_status_2(name, text, said, tmp_path, capsys):
    file = tmp_path / name
    if text is not None:
        file.write_text(text)
    line = stopped(capsys, generate_parser().parse_args, ["--config", str(file)])
    assert line.startswith(f"critic-gpt generate: {said.format(file)}")


def test_a_token_is_never_printed(capsys):
    words = ["--model", "m", "--repo_id", "r", "--token", "hf_secret", "--print-config"]
    assert "secret" not in printed(capsys, full_parser("push").parse_args, words)


def test_strategies_of_a_user_are_found_in_a_file_and_in_both_spellings(tmp_path):
    (tmp_path / "run.yaml").write_text("model: m\nunknown: 1\nstrategy-module: [none_of_these]\n")
    for words in (["--config", str(tmp_path / "run.yaml")], ["--strategy-module", "none_of_these", "--print-config"]):
        with pytest.raises(ValueError, match=r"`strategy_module` must be a file or module, got 'none_of_these'"):
            import_strategies(words)
