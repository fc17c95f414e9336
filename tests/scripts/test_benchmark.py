# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/benchmark.py`: what is measured, in which order, and which figures are made of it."""

import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from prepared_folders import as_flags
from sentences import one_sentence

import critic_gpt
from critic_gpt.scripts import benchmark, benchmark_blocks, benchmark_training, benchmark_worker, benchmark_workloads
from critic_gpt.scripts.benchmark_sampling import BEGIN, END, ROWS, operations, row_figures


ROOT = Path(critic_gpt.__file__).parent
TINY = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
TINY |= {"sequence_length": 12, "batch_size": 2, "num_steps": 3}
FLAGS = as_flags(**TINY)
QUICK = as_flags(repeats=10, warmup=1, min_seconds=0, threads=1)


# ---- workloads ----


@pytest.fixture
def workloads():
    settings = {**TINY, "joint_num_heads": 2, "dtype": "float32", "device": "cpu", "threads": 1}
    return benchmark_workloads.Workloads(critic_gpt, settings)


@pytest.mark.parametrize(
    ("case", "passes", "units"),
    [
        ("forward", 1, 1),
        ("train_step", 1, 1),
        ("train_step_critic", 2, 1),
        ("generate", 3, 3),
        ("generate_critic", 3, 3),
        ("floor", 3, 3),
        ("critic_joint", 3, 3),
        ("critic_independent", 3, 3),
        ("training_floor", 1, 1),
        ("training_lm", 1, 1),
        ("training_critic", 2, 1),
        ("training_critic_half", 2, 1),
        ("training_critic_quarter", 2, 1),
        ("training_joint", 2, 1),
        ("training_joint_quarter", 2, 1),
        *((case, 3, 3) for case in (benchmark_blocks.FLOOR, *benchmark_blocks.COLUMNS)),
    ],
)
def test_a_case_runs_the_trunk_as_often_as_it_says(workloads, case, passes, units, monkeypatch):
    calls, inner = [], critic_gpt.CriticGPTModel.forward
    monkeypatch.setattr(
        critic_gpt.CriticGPTModel, "forward", lambda *args, **kwargs: calls.append(1) or inner(*args, **kwargs)
    )
    workloads.settings["block_length"] = 4
    once = getattr(workloads, case)()
    assert once()[0] == units and len(calls) == passes
    known = benchmark_workloads.Workloads
    blocks = {benchmark_blocks.FLOOR, *benchmark_blocks.COLUMNS}
    assert {*known.CASES, *known.SAMPLING, *known.TRAINING, *blocks} >= {case}


def test_a_training_step_trains_and_a_forward_pass_does_not(workloads, monkeypatch):
    made, inner = [], critic_gpt.CriticGPTForMaskedLM.__init__
    monkeypatch.setattr(
        critic_gpt.CriticGPTForMaskedLM, "__init__", lambda model, *args: (made.append(model), inner(model, *args))[1]
    )
    for case in ("forward", "train_step", "train_step_critic"):
        once = getattr(workloads, case)()
        before = {name: tensor.clone() for name, tensor in made[-1].state_dict().items()}
        once()
        moved = {name for name, tensor in made[-1].state_dict().items() if not torch.equal(tensor, before[name])}
        assert moved == (set() if case == "forward" else set(before))


def test_both_sides_are_checked_by_a_number_that_repeats(workloads):
    one, other = (benchmark_worker.Timer(workloads) for _ in range(2))
    for case in benchmark_workloads.Workloads.CASES:
        first, again = one.measure(case, 1), other.measure(case, 1)
        assert first["check"] == again["check"] and math.isfinite(first["check"])
        assert first["seconds"] > 0 and set(first) == {"seconds", "cpu_seconds", "total", "check", "peak"}


# ---- order ----


class FakeWorker:
    """Answers without working, and notes when it was asked."""

    def __init__(self, name, order):
        self.name, self.order = name, order

    def measure(self, case, iterations):
        self.order.append((self.name, iterations))
        return {"seconds": 0.01, "cpu_seconds": 0.01, "total": 0.01, "check": 1.0}


def test_the_two_sides_take_turns_with_the_same_number_of_iterations():
    order = []
    workers = {name: FakeWorker(name, order) for name in ("current", "baseline")}
    args = benchmark.benchmark_parser().parse_args(["--repeats", "10", "--warmup", "2", "--min_seconds", "0.05"])
    answers = benchmark.measure_alternately(workers, "forward", args)
    assert order == [("current", 1), ("baseline", 1)] * 2 + [("current", 5), ("baseline", 5)] * 10
    assert [len(answers[name]) for name in workers] == [10, 10] and answers["iterations"] == 5


# ---- figures ----


def test_the_spread_is_median_and_quartiles():
    found = benchmark.spread([4.0, 1.0, 3.0, 2.0, 5.0])
    assert {name: found[name] for name in ("median", "q1", "q3", "iqr")} == {"median": 3, "q1": 2, "q3": 4, "iqr": 2}
    assert found["samples"] == [4.0, 1.0, 3.0, 2.0, 5.0]


@pytest.mark.parametrize(("num", "rank"), [(6, 1), (10, 2), (20, 6), (30, 10)])
def test_the_interval_of_a_median_is_that_of_the_sign_test(num, rank):
    # The ranks of the tables of the sign test.
    assert benchmark.median_interval([float(i) for i in range(1, num + 1)]) == (rank, num + 1 - rank)
    with pytest.raises(ValueError, match="`values` must be at least 6"):
        benchmark.median_interval([1.0] * 5)


def test_the_interval_holds_the_true_median_as_often_as_promised():
    draws = np.random.default_rng(0).exponential(size=(2000, 15))
    hits = [low <= math.log(2) <= high for low, high in map(benchmark.median_interval, draws.tolist())]
    assert 0.95 <= np.mean(hits) <= 0.99


@given(st.lists(st.floats(0.001, 1000), min_size=10, max_size=40), st.floats(0.1, 10))
def test_a_side_that_takes_a_constant_factor_longer_is_found_whatever_the_noise_both_share(noise, factor):
    found = benchmark.compare([factor * value for value in noise], noise)
    assert found["paired"]["median"] == pytest.approx(factor)
    assert found["ratio_of_medians"] == pytest.approx(factor)
    if abs(factor - 1) > 1e-6:
        assert found["verdict"] == ("slower" if factor > 1 else "faster")
    low, high = benchmark.compare(*np.random.default_rng(1).lognormal(size=(2, 30)).tolist())["paired"]["interval"]
    assert low <= 1 <= high, "what does not differ is not called different"
    same = benchmark.compare(*np.random.default_rng(1).lognormal(size=(2, 30)).tolist())
    assert same["verdict"] == "no difference shown"


def test_sides_that_compute_something_else_are_called_out():
    def answers(check):
        return [{"seconds": 1.0, "cpu_seconds": 1.0, "total": 1.0, "check": check}] * 10

    run = {"current": answers(1.0), "baseline": answers(2.0), "iterations": 1}
    run["first"] = [run["current"][0], run["baseline"][0]]
    entry = benchmark.figures("forward", run, ["current", "baseline"])
    assert not entry["same_result"] and "THE RESULTS DIFFER" in benchmark.describe("forward", entry)
    run["first"] = [run["current"][0]] * 2
    assert "DIFFER" not in benchmark.describe("forward", benchmark.figures("forward", run, ["current", "baseline"]))


# ---- the program ----


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--repeats", "9"], "`repeats` must be at least 10, got 9"),
        (["--warmup", "0"], "`warmup` must be at least 1, got 0"),
        (["--batch_size", "0"], "`batch_size` must be at least 1, got 0"),
        (["--vocab_size", "2"], "`vocab_size` must be at least 3, got 2"),
        (["--min_seconds", "-1"], "`min_seconds` must be a finite number of at least 0, got -1.0"),
        (["--baseline", "/no/such/folder"], "`baseline` must be the root of a checkout"),
        (["--sampling", "--training"], "`sampling` must be given without `training`"),
        (["--rows", "6x6 grids, V 8, batch 64"], "`rows` must be of the table that is measured"),
        (["--sampling", "--rows", "6x6 grids, V 8, batch 64"], "`rows` must be of the table that is measured"),
    ],
)
def test_wrong_flags_are_one_sentence(flags, message):
    with one_sentence(begins=message):
        benchmark.main(flags)


def copy_of_the_package(folder: Path) -> Path:
    """Another checkout, with a version of its own."""
    hidden = shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "docs", "runs", "tests")
    shutil.copytree(ROOT, folder, ignore=hidden)
    face = folder / "__init__.py"
    text = face.read_text(encoding="utf-8")
    face.write_text(
        text.replace(f'__version__ = "{critic_gpt.__version__}"', '__version__ = "9.9.9"'), encoding="utf-8"
    )
    return folder


@pytest.mark.slow
def test_another_checkout_is_measured_beside_this_one_and_all_of_it_is_written(tmp_path, capsys):
    other = copy_of_the_package(tmp_path / "other")
    output = tmp_path / "new" / "benchmark.json"
    cases = ["forward", "generate_critic"]
    document = benchmark.main([*FLAGS, *QUICK, "--cases", *cases, "--baseline", str(other), "--output", str(output)])
    assert json.loads(output.read_text()) == document
    assert (document["current"]["version"], document["baseline"]["version"]) == (critic_gpt.__version__, "9.9.9")
    assert document["settings"] == {**document["settings"], **TINY, "repeats": 10, "threads": 1}
    assert list(document["cases"]) == cases
    for entry in document["cases"].values():
        assert entry["same_result"]
        assert len(entry["current"]["samples"]) == len(entry["baseline"]["samples"]) == 10
        assert len(entry["paired"]["samples"]) == 10 and min(entry["paired"]["samples"]) > 0
    said = capsys.readouterr().out
    assert all(case in said for case in cases) and "ratio of medians" in said


@pytest.mark.slow
def test_a_side_that_cannot_be_measured_ends_the_run_with_its_folder(tmp_path):
    other = copy_of_the_package(tmp_path / "other")
    (other / "modeling_critic_gpt.py").write_text("raise RuntimeError('broken on purpose')\n")
    run = subprocess.run(
        [sys.executable, benchmark.__file__, *FLAGS, *QUICK, "--baseline", str(other)], capture_output=True, text=True
    )
    assert run.returncode != 0 and "broken on purpose" in run.stderr and str(other) in run.stderr


# ---- what sampling costs beyond its passes ----


def answer(seconds, peak=2e6):
    return {"seconds": seconds, "cpu_seconds": seconds / 2, "peak": peak}


def test_a_row_is_divided_by_the_floor_of_the_same_turn_and_drawn_into_its_page(tmp_path):
    floor, joint, alone = (1.0, 2.0, 4.0), (3.0, 3.0, 4.0), (2.0, 4.0, 8.0)
    answers = {"floor": floor, "critic_joint": joint, "critic_independent": alone}
    answers = {case: [answer(seconds) for seconds in times] for case, times in answers.items()}
    rows = {"T 128, V 67, batch 1, 16 steps": None, "V 32,000, T 512, batch 4": None}
    rows = {row: {"current": row_figures(answers, "cpu_seconds", ROWS[row])} for row in rows}
    figures = rows["T 128, V 67, batch 1, 16 steps"]["current"]
    assert figures["critic_joint"]["samples"] == [3.0, 1.5, 1.0] and figures["floor_seconds"] == 1.0
    assert figures["critic_independent"]["median"] == 2.0 and figures["floor_tokens_per_second"] == 128
    record, page = tmp_path / "record.json", tmp_path / "page.md"
    record.write_text(json.dumps({"current": {"commit": "abc"}, "rows": rows}))
    page.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    benchmark.main(["--draw", str(page), str(record)])
    text = page.read_text()
    assert text.startswith(f"before\n{BEGIN}\n| ") and text.endswith(f" |\n{END}\nafter\n") and "old" not in text
    assert "| T 128, V 67, batch 1, 16 steps | 1000.0 ms | 1.50 (1.25 to 2.25) | 2.00 (2.00 to 2.00) |" in text
    assert "| peak memory beyond the model, V 32,000, T 512, batch 4 | 2 MB | 2 MB | 2 MB |" in text
    (tmp_path / "bare.md").write_text("nothing")
    with pytest.raises(ValueError, match=r"^`page` must hold "):
        benchmark.main(["--draw", str(tmp_path / "bare.md"), str(record)])


def test_a_training_step_is_divided_by_the_bare_one_and_drawn_into_its_page(tmp_path):
    row = "6x6 grids, V 8, batch 64"
    answers = {case: [answer(4.0), answer(2.0), answer(2.0)] for case in benchmark_training.COLUMNS}
    answers |= {"floor": [answer(1.0), answer(2.0), answer(4.0)]}
    figures = benchmark_training.row_figures(answers, "seconds", benchmark_training.ROWS[row])
    assert figures["training_lm"]["samples"] == [4.0, 1.0, 0.5] and figures["floor_seconds"] == 2.0
    assert figures["training_lm"]["tokens_per_second"] == 64 * 36 / 2.0
    record, page = tmp_path / "record.json", tmp_path / "page.md"
    document = {"table": "training", "current": {"commit": "abcdefghi"}, "rows": {row: {"current": figures}}}
    record.write_text(json.dumps(document))
    page.write_text(f"{benchmark_training.BEGIN}\n{benchmark_training.END}\n{BEGIN}\nkept\n{END}\n")
    benchmark.main(["--draw", str(page), str(record)])
    text = page.read_text()
    assert f"| {row} | abcdefg | 2000 ms | 1.00 (0.75 to 2.50) |" in text and "kept" in text


def test_a_bare_step_has_the_loss_of_the_language_model(workloads):
    # But for [MASK], which the bare one may predict.
    bare, ours = (getattr(workloads, case)()()[1].item() for case in ("training_floor", "training_lm"))
    assert ours < bare < ours + 0.1


def test_the_operations_of_a_pass_are_those_that_are_known():
    assert operations(ROWS["6x6 grid, batch 1, 18 steps"]) == 36 * (2 * (12 * 128**2 * 5 + 8 * 128) + 4 * 36 * 128 * 5)


@pytest.mark.parametrize("table", benchmark.TABLES)
def test_the_table_of_the_page_is_that_of_its_record(table):
    text = (ROOT / "docs/PERFORMANCE.md").read_text(encoding="utf-8")
    record = json.loads((ROOT / f"docs/performance/{table}-cpu.json").read_text(encoding="utf-8"))
    module = benchmark.TABLES[table]
    assert f"{module.BEGIN}\n{module.render(record)}\n{module.END}" in text


def test_the_peak_of_memory_is_that_of_the_work():
    with benchmark_worker.PeakMemory(torch.device("cpu")) as small:
        torch.ones(10)
    with benchmark_worker.PeakMemory(torch.device("cpu")) as large:
        torch.ones(16_000_000).sum()
    assert math.isnan(large.used) or (large.used > 6e7 and small.used < 3e7)


@pytest.mark.parametrize(
    "document",
    [{"cases": {}}, {"table": "blocks", "rows": {}}, {"table": ["x"], "rows": {"a": 1}}, {"rows": {"a": 1}}],
)
def test_what_is_no_record_of_a_table_draws_nothing_and_is_named(tmp_path, document):
    page, record = tmp_path / "page.md", tmp_path / "record.json"
    text = "<!-- blocks: begin -->\n<!-- blocks: end -->\n<!-- sampling: begin -->\n<!-- sampling: end -->\n"
    page.write_text(text)
    record.write_text(json.dumps(document))
    with pytest.raises(ValueError, match="`draw` must name a record of --sampling, --training, --blocks, --grids, "):
        benchmark.main(["--draw", str(page), str(record)])
    with pytest.raises(ValueError, match=r"`draw` must name a page and a record that are there, got '.*none.md'"):
        benchmark.main(["--draw", str(tmp_path / "none.md"), str(record)])
    assert page.read_text() == text
