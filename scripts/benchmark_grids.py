# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
What a single Sudoku grid takes with trained weights, and how many come out valid: the part of scripts/benchmark.py
behind `--grids`.

Grids are made one at a time. The time of one is divided by that of a bare pass of trunk and LM head over one grid,
both measured one after the other in the same turn of the same process. `Fast-dLLM` are the loops of
scripts/fast_dllm.py over the same weights.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import numpy as np

from critic_gpt import CriticGPTForMaskedLM
from critic_gpt.hub.vocabulary import tokenizer_beside
from critic_gpt.scripts import load_model
from critic_gpt.scripts.benchmark_grid_workloads import SIZE
from critic_gpt.scripts.benchmark_sampling import measured_in_turns, ratios, write_between
from critic_gpt.tasks.sudoku import SudokuTask


# By what is given of a grid.
ROWS = {"from nothing": {"first_row": False}, "first row given": {"first_row": True}}
FLOOR = "grid_floor"
COLUMNS = {
    "grid_critic_12": "critic, 12 steps",
    "grid_critic_14": "critic, 14 steps",
    "grid_critic_16": "critic, 16 steps",
    "grid_critic_20": "critic, 20 steps",
    "grid_critic_independent": "critic, independent draws, 20 steps, no early end",
    "grid_critic_compiled_20": "critic, independent draws, compiled, 20 steps",
    "grid_critic_compiled_24": "critic, independent draws, compiled, 24 steps",
    "grid_critic_compiled_28": "critic, independent draws, compiled, 28 steps",
    "grid_fast_dllm_dual": "Fast-dLLM, dual cache",
    "grid_fast_dllm": "Fast-dLLM, no cache",
}
# Of each case at least, over all turns.
LEAST_GRIDS = 400
# Of `torch.compile`; what it takes to compile is in no turn.
BACKEND = "inductor"
BEGIN, END = "<!-- grids: begin -->", "<!-- grids: end -->"


def settings_of(args: argparse.Namespace) -> dict[str, Any]:
    """What a process needs to know beside the settings of all tables."""
    grids_per_turn = math.ceil(LEAST_GRIDS / args.repeats)
    model = {"grids": args.grids, "backend": BACKEND}
    return {"workloads": "benchmark_grid_workloads", "grids_per_turn": grids_per_turn, **model}


def check_model(path: str) -> None:
    """Refuses a model that makes no grids, or that no critic guides."""
    task, model = SudokuTask(SIZE), load_model("grids", path)
    tokenizer = tokenizer_beside(path)
    rule = f"`grids` must be the folder of a CriticGPT of {SIZE}x{SIZE} Sudoku grids"
    way_out = "`make demo` trains one in runs/demo/model."
    if not isinstance(model, CriticGPTForMaskedLM):
        raise ValueError(f"{rule}, got {path!r}, a {type(model).__name__}: {way_out}")
    if tokenizer is None or tokenizer.get_vocab() != task.tokenizer().get_vocab():
        tokens = "without a tokenizer" if tokenizer is None else f"of {len(tokenizer)} other tokens"
        raise ValueError(f"{rule}, got {path!r} {tokens}: {way_out}")
    if (positions := model.config.max_position_embeddings) != task.sequence_length:
        raise ValueError(f"{rule}, got {path!r} for {positions} tokens instead of {task.sequence_length}: {way_out}")
    if not model.has_trained_critic:
        raise ValueError(f"`grids` must be the folder of a model with a trained critic, got {path!r}: {way_out}")


def measure_row(workers: dict[str, Any], repeats: int) -> dict[str, dict[str, list]]:
    """Of each case the answers, in turns."""
    return measured_in_turns(workers, repeats, {"floor": FLOOR, **{case: case for case in COLUMNS}})


def row_figures(answers: dict[str, list], field: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What a record keeps of a row; `field` is the clock that counts. A time is that of a grid over a bare pass."""
    seconds = float(np.median([answer[field] for answer in answers["floor"]]))
    figures: dict[str, Any] = {"floor_seconds": seconds}
    task = SudokuTask(SIZE)
    tokenizer = task.tokenizer()
    for case in COLUMNS:
        grids = tokenizer.batch_decode([row for answer in answers[case] for row in answer["tokens"]])
        judged = task.judge(grids)
        made = {"grids": len(grids), "valid_rate": judged["valid_rate"], "different": len(set(grids))}
        figures[case] = {**ratios(answers, case, field), **made}
    return figures


def render(document: dict[str, Any]) -> str:
    """The table of a record, in Markdown: a line a way, under what was given the time, valid and different grids."""
    rows = {row: sides["current"] for row, sides in document["rows"].items()}
    heads = [head for row in rows for head in (f"{row}: time in bare passes", "valid", "different")]
    lines = [["", *heads], ["---"] * (1 + len(heads))]
    bare = [cell for figures in rows.values() for cell in (f"1 ({1e3 * figures['floor_seconds']:.2f} ms)", "", "")]
    lines.append(["a bare pass", *bare])
    for case, name in COLUMNS.items():
        lines.append([name, *(cell for figures in rows.values() for cell in _cells(figures[case]))])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _cells(found: dict[str, Any]) -> tuple[str, str, str]:
    time = f"{found['median']:.1f} ({found['q1']:.1f} to {found['q3']:.1f})"
    return time, f"{100 * found['valid_rate']:.1f} %", f"{found['different']} of {found['grids']}"


def write_page(page: str | Path, document: dict[str, Any]) -> None:
    """Draws the table of a record into a page, between its markers."""
    write_between(page, BEGIN, END, render(document))
