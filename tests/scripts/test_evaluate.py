# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/evaluate.py`."""

import base64
import importlib
import io
import json
import math
import re
import sys

import numpy as np
import pytest
import torch
from launching import launch
from prepared_folders import as_flags, prepare_sudoku, prepare_text
from sentences import one_sentence
from transformers import AutoTokenizer

from critic_gpt import (
    CriticCalibration,
    CriticGPTConfig,
    CriticGPTForMaskedLM,
    CriticGPTForSequenceClassification,
    CriticGPTForTokenClassification,
    CriticTrainer,
    CriticTrainingArguments,
)
from critic_gpt.evaluation import GRIDS, SHOOT_OUT, TextFigures
from critic_gpt.scripts import evaluate, evaluation_output
from critic_gpt.tasks import load_prepared


competitors = importlib.import_module("critic_gpt.evaluation.competitors")  # the room exports a function of that name


@pytest.fixture(scope="module")
def sudoku_dir(tmp_path_factory):
    return prepare_sudoku(tmp_path_factory.mktemp("prepared") / "sudoku", splits=(24, 6, 10), num_puzzles=8)


@pytest.fixture(scope="module")
def text_dir(tmp_path_factory):
    folder = tmp_path_factory.mktemp("prepared")
    (folder / "corpus.txt").write_text("".join(f"line {i} of a tiny text\n" for i in range(60)), encoding="utf-8")
    return prepare_text(folder / "text", folder / "corpus.txt", sequence_length=16, judge_share=0.5)


def save_model(folder, data_dir, critic=True, trained=True, **fields):
    torch.manual_seed(0)
    tokenizer = AutoTokenizer.from_pretrained(data_dir)
    shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "initializer_range": 0.3}
    special = {"vocab_size": len(tokenizer), "max_position_embeddings": 16, "pad_token_id": 0, "mask_token_id": 1}
    model = CriticGPTForMaskedLM(CriticGPTConfig(**{**shape, **special, "add_critic_head": critic, **fields}))
    if critic and trained:
        torch.nn.init.normal_(model.critic_head.weight)
    if model.joint_head is not None:
        torch.nn.init.normal_(model.joint_head.output.weight)
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model_dir(tmp_path_factory, sudoku_dir):
    return save_model(tmp_path_factory.mktemp("models") / "critic", sudoku_dir)


def run(model_dir, data_dir, output_dir, *more):
    small = ["--num_samples", "6", "--forward_passes", "2", "4", "--batch_size", "4"]
    flags = ["--model", model_dir, "--data_dir", data_dir, "--output_dir", output_dir, *small, *more]
    return evaluate.main([str(flag) for flag in flags])


def contents(folder):
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture(scope="module")
def report(tmp_path_factory, model_dir, sudoku_dir):
    folder = tmp_path_factory.mktemp("reports") / "deep" / "report"
    return folder, run(model_dir, sudoku_dir, folder)


# ---- the report ----


def test_a_report_is_figures_and_two_pictures(report):
    folder, metrics = report
    assert contents(folder) == ["metrics.json", "reliability.png", "report.html", "valid_rate.png"]
    assert json.loads((folder / "metrics.json").read_text()) == metrics
    for name in ("reliability.png", "valid_rate.png"):
        assert (folder / name).read_bytes().startswith(b"\x89PNG")
    bound = metrics["language_model"]
    assert bound["bits_per_token"] == pytest.approx(bound["nats_per_token"] / math.log(2))
    assert 0 < bound["nats_per_token"] < 10 and metrics["num_samples"]["critic"] == {"2": 6, "4": 6}
    assert all(0 <= value <= 1 for row in metrics["valid_rate"].values() for value in row.values())
    assert metrics["settings"]["split"] == "test" and metrics["settings"]["num_judged"] == 10
    assert metrics["calibration"]["calibrated"] is False
    judged = metrics["calibration"]["error_probability_by_target"]
    assert judged["right"]["count"] + judged["wrong"]["count"] == metrics["calibration"]["positions"] > 0


def test_a_report_is_one_page_to_pass_on_with_pictures_tables_samples_settings_and_versions(report):
    folder, metrics = report
    page = (folder / "report.html").read_text(encoding="ascii")
    for name in metrics["pictures"]:
        assert base64.b64encode((folder / name).read_bytes()).decode() in page
    for strategy, row in metrics["valid_rate"].items():
        cells = "".join(f"<td>{value:.1%}</td>" for value in row.values())
        assert f'<tr><th scope="row">{strategy}</th>{cells}</tr>' in page
    (data,) = re.findall(r'id="data">(.*?)</script>', page)
    samples = json.loads(data)["samples"]
    assert [len(sample["tokens"]) for sample in samples] == [16] * 6 and samples[0]["grid"]
    assert all("p" in token for token in samples[0]["tokens"])
    assert f"{metrics['calibration']['ece']:.4f}" in page and metrics["settings"]["fingerprint"] in page
    assert f'<th scope="row">torch</th><td>{torch.__version__}</td>' in page and "num samples" in page


def test_the_keys_of_the_figures_are_frozen(report):
    metrics = report[1]
    judged = {"valid_rate", "distinct_rate", "duplicates", "num_samples", "seconds"}
    assert set(metrics) == {"language_model", "calibration", "comparison", "settings", "pictures", *judged}
    by_strategy = {name: {"2", "4"} for name in ("random", "confidence", "critic")}
    for name in judged:
        assert {strategy: set(row) for strategy, row in metrics[name].items()} == by_strategy
    assert set(metrics["language_model"]) == {"nats_per_token", "bits_per_token"}
    figures, critic = {"ece", "brier", "auroc"}, metrics["calibration"]
    more = {"before", "calibrated", "positions", "positive_rate", "error_probability_by_target"}
    assert set(critic) == figures | more and set(critic["before"]) == figures
    by_target = {row: set(value) for row, value in critic["error_probability_by_target"].items()}
    assert set(by_target) == {"right", "wrong"}
    assert all(keys == {"count", "mean", "p10", "p90"} for keys in by_target.values())
    assert set(metrics["settings"]) == {
        *("task", "split", "num_judged", "num_samples", "seed", "seeds", "tuning_seed", "forward_passes"),
        *("tuning_temperatures", "tuned_by", "better"),
        *("dtype", "strategies", "left_out", "num_parameters", "fingerprint", "critic_gpt_version"),
    }
    assert metrics["settings"]["seeds"] == [1] and metrics["settings"]["tuning_seed"] is None
    cell = metrics["comparison"]["critic"]["4"]
    rate = metrics["valid_rate"]["critic"]["4"]
    assert cell["figures"]["valid_rate"] == {"mean": rate, "spread": None, "by_seed": [rate]}
    assert (cell["num_steps"], cell["forward_passes"], cell["seconds"]) == (4, 4, metrics["seconds"]["critic"]["4"])


def test_it_prints_a_table_and_names_the_report(model_dir, sudoku_dir, tmp_path, capsys):
    metrics = run(model_dir, sudoku_dir, tmp_path, "--split", "val", "--num_judged", 3)
    out = capsys.readouterr().out
    assert metrics["settings"]["split"] == "validation" and metrics["settings"]["num_judged"] == 3
    assert "share of valid grids, by forward passes" in out and "metrics.json" in out
    assert {line.split()[0] for line in out.splitlines() if "%" in line} == {"random", "confidence", "critic"}
    assert f"over {metrics['calibration']['positions']:,} tokens" in out


def test_the_same_command_measures_the_same_and_another_seed_something_else(report, model_dir, sudoku_dir, tmp_path):
    def without_times(metrics):
        return {name: value for name, value in figures(metrics).items() if not name.endswith(".seconds")}

    again = run(model_dir, sudoku_dir, tmp_path)
    assert without_times(again) == without_times(report[1])
    other = run(model_dir, sudoku_dir, tmp_path, "--seed", 2)
    assert other["language_model"] != again["language_model"]
    assert contents(tmp_path) == ["metrics.json", "reliability.png", "report.html", "valid_rate.png"]


def figures(metrics):
    """All numbers but times, flat, so that they can be compared one by one."""

    def flat(value, name):
        if isinstance(value, list):
            value = dict(enumerate(value))
        if isinstance(value, dict):
            return {key: leaf for part in value for key, leaf in flat(value[part], f"{name}.{part}").items()}
        return {name: value} if isinstance(value, int | float) else {}

    kept = {name: value for name, value in metrics.items() if name not in ("seconds", "settings")}
    return {name: value for name, value in flat(kept, "").items() if not name.endswith(".seconds")}


def test_no_figure_depends_on_the_batch_size(model_dir, sudoku_dir, tmp_path):
    folder = in_double(model_dir, tmp_path / "model")
    few, all_of_them = (
        figures(run(folder, sudoku_dir, tmp_path / str(size), "--batch_size", size)) for size in (3, 50)
    )
    assert few == pytest.approx(all_of_them, rel=1e-9)
    assert {".calibration.before.brier", ".calibration.error_probability_by_target.wrong.p90"} <= set(few)


def in_double(model_dir, folder):
    """A copy of the model in float64 and with absolute positions, so that rounding decides nothing."""
    config = CriticGPTConfig.from_pretrained(model_dir, position_embedding_type="absolute")
    torch.manual_seed(1)
    model = CriticGPTForMaskedLM(config)
    torch.nn.init.normal_(model.critic_head.weight)
    model.double().save_pretrained(folder)
    return folder


def test_the_bound_is_that_of_the_trainer_with_the_same_seed(report, model_dir, sudoku_dir, tmp_path):
    dataset, tokenizer, _ = load_prepared(sudoku_dir)
    arguments = CriticTrainingArguments(output_dir=str(tmp_path), use_cpu=True, disable_tqdm=True, seed=1)
    model = CriticGPTForMaskedLM.from_pretrained(model_dir)
    trainer = CriticTrainer(model=model, args=arguments, processing_class=tokenizer, eval_dataset=dataset["test"])
    metrics, measured = trainer.evaluate(), report[1]
    assert metrics["eval_lm_loss"] == pytest.approx(measured["language_model"]["nats_per_token"], rel=1e-5)
    assert metrics["eval_bits_per_token"] == pytest.approx(measured["language_model"]["bits_per_token"], rel=1e-5)
    assert metrics["eval_error_rate"] == pytest.approx(measured["calibration"]["positive_rate"], rel=1e-5)


def test_the_table_of_the_model_is_used(model_dir, sudoku_dir, tmp_path):
    model = CriticGPTForMaskedLM.from_pretrained(model_dir)
    model.calibration = CriticCalibration([0.25] * 100, {"fingerprint": model.fingerprint()})
    model.save_pretrained(tmp_path / "model")
    calibration = run(tmp_path / "model", sudoku_dir, tmp_path / "report")["calibration"]
    assert calibration["calibrated"] is True
    assert calibration["auroc"] in (0.5, None)  # one probability for all tells nothing apart
    assert calibration["error_probability_by_target"]["wrong"]["mean"] == pytest.approx(0.25)


@pytest.mark.parametrize("trained", [None, False])
def test_without_a_trained_critic_there_is_no_critic_in_the_report(sudoku_dir, tmp_path, trained, capsys):
    folder = save_model(tmp_path / "plain", sudoku_dir, critic=trained is not None, trained=False)
    metrics = run(folder, sudoku_dir, tmp_path / "report")
    assert contents(tmp_path / "report") == ["metrics.json", "report.html", "valid_rate.png"]
    assert "calibration" not in metrics and metrics["language_model"]["nats_per_token"] > 0
    assert set(metrics["valid_rate"]) == set(metrics["settings"]["strategies"]) == {"random", "confidence"}
    assert metrics["settings"]["left_out"] == {"critic": "the model has no trained critic"}
    assert "Left out: critic, since the model has no trained critic." in capsys.readouterr().out


# ---- what else can be asked ----


def test_everybody_competes_with_a_spread_over_seeds_and_settings_chosen_by_another(
    sudoku_dir, tmp_path, capsys, monkeypatch
):
    model_dir = save_model(tmp_path / "model", sudoku_dir, add_joint_head=True)
    few = {"prism": GRIDS["prism"][:2], "p2": GRIDS["p2"][:2]}
    monkeypatch.setattr(competitors, "GRIDS", few)
    flags = ("--strategies", "all", "--seeds", 1, 2, "--tune", "--tuning_seed", 5, "--tuning_samples", 3)
    flags += ("--tuning_temperatures",)  # none
    monkeypatch.setitem(competitors.SHOOT_OUT, "two", {"remasking": "critic", "polish_steps": 2})
    metrics = run(model_dir, sudoku_dir, tmp_path, *flags)
    assert metrics["comparison"]["two"].pop("2") is None and list(metrics["valid_rate"]["two"]) == ["4"]
    assert list(metrics["comparison"]) == list(metrics["settings"]["strategies"]) == list(SHOOT_OUT)
    assert metrics["settings"]["seeds"] == [1, 2] and metrics["settings"]["tuning_seed"] == 5
    for name, row in metrics["comparison"].items():
        for budget, cell in row.items():
            assert cell["forward_passes"] <= int(budget)
            assert len(cell["figures"]["valid_rate"]["by_seed"]) == 2 and cell["figures"]["valid_rate"]["spread"] >= 0
            assert ("tuning" in cell) == (name in few)
    out = capsys.readouterr().out
    assert {line.split()[0] for line in out.splitlines() if "±" in line} == set(SHOOT_OUT)
    assert "Budgets too small for a single step: two at 2." in out


@pytest.mark.parametrize("more", [(), ("--puzzles",)])
def test_puzzles_may_be_filled_and_the_critic_verifies(model_dir, sudoku_dir, tmp_path, capsys, more):
    flags = ("--strategies", "critic", "--verifier", 3, 5, "--num_samples", 50, *more)
    metrics = run(model_dir, sudoku_dir, tmp_path, *flags)
    assert set(metrics["verifier"]) == {"3", "5"}
    part = metrics["verifier"]["5"]
    assert part["single"]["passes"] == 6 and part["best_of_n"]["passes"] == 24
    assert part["single_at_equal_passes"]["passes"] == part["single_at_equal_passes"]["num_steps"] == 24
    out = capsys.readouterr().out
    assert "All right? At 5 forward passes: AUROC" in out and "best of 4: " in out
    if more:
        assert (metrics["settings"]["task"], metrics["settings"]["num_samples"]) == ("sudoku puzzles", 8)
        assert set(metrics["success_rate"]["critic"]) == set(metrics["right_cell_rate"]["critic"]) == {"2", "4"}
        assert "success_rate.png" in contents(tmp_path) and "share of solved puzzles, by forward passes" in out


def test_every_figure_has_a_picture_if_asked_for(model_dir, sudoku_dir, tmp_path):
    metrics = run(model_dir, sudoku_dir, tmp_path, "--puzzles", "--strategies", "critic", "--plot")
    pictures = ["expected_errors.png", "reliability.png", "right_cell_rate.png", "success_rate.png"]
    assert contents(tmp_path) == sorted([*pictures, "metrics.json", "report.html"])
    errors = metrics["expected_errors"]
    assert errors["sequences"] == 6 and 0 <= errors["actual"] <= 8
    grids = run(model_dir, sudoku_dir, tmp_path / "grids", "--plot", "--num_judged", 7)
    errors, critic = grids["expected_errors"], grids["calibration"]
    assert errors["sequences"] * errors["actual"] == pytest.approx(critic["positions"] * critic["positive_rate"])
    mean = {name: part["count"] * part["mean"] for name, part in critic["error_probability_by_target"].items()}
    assert errors["sequences"] * errors["expected"] == pytest.approx(sum(mean.values()))


def test_text_is_measured_beside_real_text(text_dir, tmp_path, capsys):
    metrics = run(save_model(tmp_path / "model", text_dir), text_dir, tmp_path / "report")
    assert contents(tmp_path / "report") == [
        "excess_divergence_bits.png",
        "metrics.json",
        "reliability.png",
        "report.html",
    ]
    assert set(metrics["known_word_rate"]) == {"random", "confidence", "critic"}
    assert metrics["settings"]["task"] == "text"
    real = metrics["real_text"]
    assert real["entropy_deviation"] == 0.0 and "bits_per_character" not in real
    assert metrics["entropy_deviation"]["critic"]["4"] == pytest.approx(
        metrics["unigram_entropy_bits"]["critic"]["4"] / real["unigram_entropy_bits"] - 1
    )
    assert capsys.readouterr().out.count("\nreal ") == 5


def test_a_judge_of_text_is_trained_once_and_used_again(text_dir, tmp_path, capsys):
    model = save_model(tmp_path / "model", text_dir)
    flags = ("--strategies", "critic", "--judge", tmp_path / "judge")
    first = run(model, text_dir, tmp_path / "first", *flags, "--train_judge", "--judge_steps", 3, "--plot")
    again = run(model, text_dir, tmp_path / "again", *flags)
    assert first["bits_per_character"] == again["bits_per_character"]
    assert 0 < first["real_text"]["bits_per_character"] == again["real_text"]["bits_per_character"] < 10
    assert "bits_per_character.png" in contents(tmp_path / "first")
    assert "bits a character" in capsys.readouterr().out


def test_a_judge_of_other_tokens_is_refused_even_if_there_are_as_many(text_dir, tmp_path):
    text = "".join(f"line {i} of a tiny text\n" for i in range(60))
    (tmp_path / "upper.txt").write_text(text.upper(), encoding="utf-8")
    other = prepare_text(tmp_path / "upper", tmp_path / "upper.txt", sequence_length=16, judge_share=0.5)
    flags = ("--strategies", "random", "--judge", tmp_path / "judge")
    model = save_model(tmp_path / "other", other)
    run(model, other, tmp_path / "first", *flags, "--train_judge", "--judge_steps", 1)
    with one_sentence("`judge` must know the data's tokens by the same ids", "'A'"):
        run(save_model(tmp_path / "model", text_dir), text_dir, tmp_path / "again", *flags)


def test_settings_of_text_are_chosen_among_those_as_diverse_as_real_text(text_dir, tmp_path):
    flags = ("--strategies", "confidence", "--tune", "--tuning_samples", 4, "--tuned_by", "known_word_rate")
    metrics = run(save_model(tmp_path / "model", text_dir), text_dir, tmp_path / "report", *flags)
    cell = metrics["comparison"]["confidence"]["4"]
    best = max((one["figures"] for one in cell["tuning"]["tried"]), key=TextFigures.score.__get__(TextFigures))
    chosen = next(one for one in cell["tuning"]["tried"] if one["arguments"] == cell["arguments"])
    assert chosen["figures"] == best


def test_a_report_is_saved_before_it_is_printed(model_dir, sudoku_dir, tmp_path, monkeypatch):
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="ascii"))
    monkeypatch.setattr(evaluation_output, "comparison_text", lambda *_: "±")
    with pytest.raises(UnicodeEncodeError):
        run(model_dir, sudoku_dir, tmp_path)
    assert contents(tmp_path) == ["metrics.json", "reliability.png", "report.html", "valid_rate.png"]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda judged: judged._replace(critic_target=np.ones_like(judged.critic_target)), "AUROC none over"),
        (lambda judged: judged._replace(lm_loss=None), "No bound of the language model: there was no token to judge."),
    ],
    ids=["only wrong tokens", "nothing to judge"],
)
def test_a_figure_that_there_is_not_is_no_number(model_dir, sudoku_dir, tmp_path, capsys, monkeypatch, change, said):
    inner = evaluate.judge_fillings
    monkeypatch.setattr(evaluate, "judge_fillings", lambda *args, **kwargs: change(inner(*args, **kwargs)))
    metrics = run(model_dir, sudoku_dir, tmp_path)
    figures = {"AUROC": metrics["calibration"]["auroc"], "No bound": metrics["language_model"]["bits_per_token"]}
    assert [value for name, value in figures.items() if said.startswith(name)] == [None]
    assert said in capsys.readouterr().out


# ---- what it refuses ----


@pytest.mark.parametrize(
    ("more", "parts"),
    [
        (("--num_samples", 0), ("`num_samples`", "got 0")),
        (("--num_judged", 0), ("`num_judged`", "got 0")),
        (("--batch_size", 0), ("`batch_size`", "got 0")),
        (("--forward_passes", 4, 0), ("`forward_passes`", "got 0")),
        (("--seeds", 1, 1), ("`seeds`", "different", "[1, 1]")),
        (("--tune", "--tuning_seed", 1), ("`tuning_seed`", "got 1 and [1]")),
        (("--tuning_samples", 0), ("`tuning_samples`", "got 0")),
        (("--verifier", 0), ("`verifier`", "got 0")),
        (("--strategies", "best"), ("`strategies`", "got 'best'")),
        (("--judge", "folder"), ("`judge`", "data of grids")),
        (("--model", "no/such/model"), ("`model`", "no/such/model", "did not load")),
        (("--data_dir", "nowhere"), ("`folder`", "nowhere")),
    ],
)
def test_wrong_flags_are_one_sentence_and_write_nothing(model_dir, sudoku_dir, tmp_path, more, parts):
    with one_sentence("must", "got", *parts, error=(ValueError, FileNotFoundError)):
        run(model_dir, sudoku_dir, tmp_path / "report", *more)
    assert contents(tmp_path) == []


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("other", r"`model` must know the data's \d+ tokens .* a model of 6 tokens"),
        (CriticGPTForTokenClassification, r"`model` must be .* a CriticGPTForTokenClassification: scripts"),
        (CriticGPTForSequenceClassification, r"`model` must be .* a CriticGPTForSequenceClassification: scripts"),
        ("diverged", r"`model` must give finite losses, got a bound of nan: .*"),
    ],
)
def test_a_model_that_cannot_be_measured_on_the_data_is_refused(model_dir, sudoku_dir, text_dir, tmp_path, kind, said):
    if kind == "other":
        save_model(tmp_path / "other", sudoku_dir)
    elif kind == "diverged":
        model = CriticGPTForMaskedLM.from_pretrained(save_model(tmp_path / "plain", sudoku_dir, critic=False))
        torch.nn.init.constant_(model.model.norm.weight, math.nan)
        model.save_pretrained(tmp_path / "other")
    else:
        kind(CriticGPTConfig.from_pretrained(model_dir, num_labels=1)).save_pretrained(tmp_path / "other")
    with pytest.raises(ValueError, match=rf"{said}.*\.$"):
        run(tmp_path / "other", text_dir if kind == "other" else sudoku_dir, tmp_path / "report")
    assert not (tmp_path / "report" / "metrics.json").exists()


def test_what_is_asked_needs_its_data_and_a_critic(model_dir, sudoku_dir, text_dir, tmp_path):
    text, plain = save_model(tmp_path / "text", text_dir), save_model(tmp_path / "plain", sudoku_dir, critic=False)
    prepare_text(tmp_path / "whole", text_dir.parent / "corpus.txt", sequence_length=8)
    for model, data, asked, said in (
        (plain, sudoku_dir, ("--verifier", 4), r"`verifier` needs a trained critic, got a model without: "),
        (text, text_dir, ("--verifier", 4), r"`verifier` needs sequences that are right or wrong, got text: "),
        (text, text_dir, ("--puzzles",), r"`folder` must hold grids or molecules to have puzzles"),
        (text, text_dir, ("--judge", text), r"`judge` must be the folder of a judge, got 'text' \(a model of type"),
        (text, tmp_path / "whole", ("--train_judge",), r"`data_dir` must hold the split judge .*--judge_share 0.5"),
    ):
        with pytest.raises(ValueError, match=rf"{said}.*\.$"):
            run(model, data, tmp_path / "report", *asked)
    assert not (tmp_path / "report").exists()


def test_without_matplotlib_it_stops_before_the_work(model_dir, sudoku_dir, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"critic_gpt\[viz\]"):
        run(model_dir, sudoku_dir, tmp_path / "report")
    assert contents(tmp_path) == []


@pytest.mark.slow
def test_two_processes_measure_the_same_as_one_and_the_main_one_reports(model_dir, sudoku_dir, tmp_path):
    folder = in_double(model_dir, tmp_path / "model")
    flags = as_flags(num_judged=9, num_samples=7, batch_size=4)
    alone = run(folder, sudoku_dir, tmp_path / "alone", *flags)
    flags += as_flags(model=folder, data_dir=sudoku_dir, output_dir=tmp_path / "together", forward_passes=[2, 4])
    printed, _ = launch(["-m", "critic_gpt.scripts.evaluate", *flags], 2, tmp_path)
    together = json.loads((tmp_path / "together" / "metrics.json").read_text())
    assert figures(together) == pytest.approx(figures(alone), rel=1e-9)
    assert together["settings"] == alone["settings"]
    assert printed.count("Report in") == printed.count("by forward passes (") == 1
    assert contents(tmp_path / "together") == contents(tmp_path / "alone")
