# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/benchmark.py --grids`: the same canvases for every way, judged, beside a bare pass."""

import json

import pytest
import torch
from sentences import one_sentence

import critic_gpt
from critic_gpt.scripts import benchmark, benchmark_grids
from critic_gpt.scripts.benchmark_grid_workloads import Workloads
from critic_gpt.tasks.sudoku import SudokuTask


SUDOKU = SudokuTask(6)
# The digit at (row, column) of a valid grid: by boxes of 2 rows by 3 columns.
VALID = "".join(str(1 + (3 * (row % 2) + row // 2 + column) % 6) for row in range(6) for column in range(6))


def save_model(folder, tokenizer=None, trained=True, **fields):
    """A tiny untrained model whose critic head counts as trained, and its tokenizer."""
    torch.manual_seed(0)
    shape = {"vocab_size": 8, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    special = {"max_position_embeddings": 36, "pad_token_id": 0, "mask_token_id": 1, "add_critic_head": True}
    model = critic_gpt.CriticGPTForMaskedLM(critic_gpt.CriticGPTConfig(**{**shape, **special, **fields}))
    if trained:
        torch.nn.init.normal_(model.critic_head.weight)
    model.save_pretrained(folder)
    if tokenizer is not None:
        tokenizer.save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_model(tmp_path_factory.mktemp("model"), SUDOKU.tokenizer())


def test_every_way_fills_the_same_canvases_another_one_for_each_grid(folder):
    settings = {"grids": folder, "first_row": True, "grids_per_turn": 2, "backend": "eager"}
    settings |= {"dtype": "float32", "device": "cpu"}
    workloads = Workloads(critic_gpt, settings)
    grids = {}
    for case in benchmark_grids.COLUMNS:
        once = getattr(workloads, case)()
        turns = [once() for _ in range(2)]
        assert [units for units, _ in turns] == [2, 2]
        grids[case] = torch.cat([made for _, made in turns])
        assert grids[case].shape == (4, 36) and (grids[case] > 1).all()
    rows = {case: made[:, :6].tolist() for case, made in grids.items()}
    first = rows["grid_fast_dllm"]
    assert all(found == first for found in rows.values()) and len(set(map(tuple, first))) > 1
    assert all(sorted(row) == [2, 3, 4, 5, 6, 7] for row in first)
    workloads.settings["first_row"] = False
    assert (workloads.canvas(0) == 1).all()
    units, scores = getattr(workloads, benchmark_grids.FLOOR)()()
    assert scores.shape == (1, 36, 8) and units % 2 == 0


def test_a_grid_is_divided_by_a_bare_pass_of_the_same_turn_judged_and_drawn_into_its_page(tmp_path):
    def answers(seconds, *lines):
        tokens = SUDOKU.tokenizer()(list(lines))["input_ids"]
        return [{"cpu_seconds": one, "tokens": tokens} for one in seconds]

    wrong = VALID[::-1][:-1] + "6"
    assert SUDOKU.judge([VALID, wrong])["valid_rate"] == 0.5
    turns = {case: answers((2.0, 4.0), VALID, VALID, wrong, wrong[1:] + "1") for case in benchmark_grids.COLUMNS}
    turns |= {"grid_fast_dllm": answers((3.0, 3.0), VALID), "floor": answers((0.001, 0.002), VALID)}
    figures = benchmark_grids.row_figures(turns, "cpu_seconds", {})
    found = figures["grid_critic_12"]
    assert (found["samples"], found["grids"], found["valid_rate"], found["different"]) == ([2000, 2000], 8, 0.5, 3)
    record, page = tmp_path / "record.json", tmp_path / "page.md"
    rows = {row: {"current": figures} for row in benchmark_grids.ROWS}
    record.write_text(json.dumps({"table": "grids", "rows": rows}))
    page.write_text(f"before\n{benchmark_grids.BEGIN}\nold\n{benchmark_grids.END}\nafter\n")
    benchmark.main(["--draw", str(page), str(record)])
    text = page.read_text()
    cells = "| 2250.0 (1875.0 to 2625.0) | 100.0 % | 1 of 2 "
    assert f"| Fast-dLLM, no cache {2 * cells}|" in text and "old" not in text
    assert text.startswith(f"before\n{benchmark_grids.BEGIN}\n|  | from nothing: time in bare passes | valid |")


def test_what_cannot_be_measured_is_refused_before_the_work_in_one_sentence(folder, tmp_path):
    with one_sentence("without `grids`, got both", begins="`blocks` must be given"):
        benchmark.main(["--grids", folder, "--blocks"])
    with one_sentence("beside `grids`, got ", begins="`baseline` must be left out"):
        benchmark.main(["--grids", folder, "--baseline", critic_gpt.__path__[0]])
    with one_sentence("with --grids", begins="`rows` must be of the table"):
        benchmark.main(["--grids", folder, "--rows", "last row given"])
    with one_sentence(begins="`grids` must be the folder or hub name of a model"):
        benchmark.main(["--grids", str(tmp_path / "none")])
    models = {
        "a trained critic": save_model(tmp_path / "untrained", SUDOKU.tokenizer(), trained=False),
        "without a tokenizer": save_model(tmp_path / "bare"),
        "of 11 other tokens": save_model(tmp_path / "nine", SudokuTask(9).tokenizer(), vocab_size=11),
        "for 64 tokens": save_model(tmp_path / "long", SUDOKU.tokenizer(), max_position_embeddings=64),
    }
    for part, model in models.items():
        with one_sentence(part, model, "make demo", begins="`grids` must be the folder of a "):
            benchmark.main(["--grids", model])


@pytest.mark.slow
def test_a_row_is_measured_in_a_process_and_written(folder, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(benchmark_grids, "LEAST_GRIDS", 4)
    monkeypatch.setattr(benchmark_grids, "BACKEND", "eager")
    output = tmp_path / "new" / "grids.json"
    flags = ["--grids", folder, "--rows", "first row given", "--repeats", "3", "--threads", "1"]
    document = benchmark.main([*flags, "--output", str(output)])
    assert json.loads(output.read_text()) == document
    figures = document["rows"]["first row given"]["current"]
    assert all(figures[case]["grids"] == 6 for case in benchmark_grids.COLUMNS)
    assert figures["grid_fast_dllm"]["median"] > 1
    assert benchmark_grids.render(document) in capsys.readouterr().out
