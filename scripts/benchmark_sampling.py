# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
What sampling costs beyond the bare passes it is made of: the part of scripts/benchmark.py behind `--sampling`.

In each row of the table `floor` is as many bare passes of trunk and LM head over the same shapes; what stands beside
it is divided by it, both measured one after the other in the same turn of the same process.
"""

import math
import re
from pathlib import Path
from typing import Any

import numpy as np

from critic_gpt.hub.files import replace_file


GRID = {"vocab_size": 8, "sequence_length": 36, "num_steps": 18, "hidden_size": 128, "num_hidden_layers": 5}
GRID |= {"num_attention_heads": 4, "joint_num_heads": 1}
TEXT = {"sequence_length": 128, "batch_size": 1, "num_steps": 16, "hidden_size": 256, "num_hidden_layers": 4}
TEXT |= {"num_attention_heads": 4, "joint_num_heads": 4}
LONG = {**TEXT, "vocab_size": 32_000, "sequence_length": 512, "batch_size": 4, "num_steps": 2}
ROWS = {
    "6x6 grid, batch 1, 18 steps": {**GRID, "batch_size": 1},
    "6x6 grid, batch 16, 18 steps": {**GRID, "batch_size": 16},
    "T 128, V 67, batch 1, 16 steps": {**TEXT, "vocab_size": 67},
    "T 128, V 8,000, batch 1, 16 steps": {**TEXT, "vocab_size": 8_000},
    "T 128, V 32,000, batch 1, 16 steps": {**TEXT, "vocab_size": 32_000},
    "V 32,000, T 512, batch 4": LONG,
}
# The rows whose memory counts, rather than their time.
MEMORY = ("V 32,000, T 512, batch 4",)
COLUMNS = {"critic_joint": "critic, joint draws (default)", "critic_independent": "critic, independent draws"}
BEGIN, END = "<!-- sampling: begin -->", "<!-- sampling: end -->"


def measure_row(workers: dict[str, Any], repeats: int) -> dict[str, dict[str, list]]:
    """Of each worker and each case the answers, taken in turns."""
    return measured_in_turns(workers, repeats, {case: case for case in ("floor", *COLUMNS)})


def measured_in_turns(
    workers: dict[str, Any], repeats: int, cases: dict[str, str], warmup: int = 1
) -> dict[str, dict[str, list]]:
    """Of each worker the answers to cases, under a name each, taken in turns after some that warm up."""
    answers: dict[str, dict[str, list]] = {name: {case: [] for case in cases} for name in workers}
    for turn in range(warmup + repeats):
        for name, worker in workers.items():
            for case, method in cases.items():
                answer = worker.measure(method, 1)
                if turn >= warmup:
                    answers[name][case].append(answer)
    return answers


def ratios(answers: dict[str, list], case: str, field: str) -> dict[str, Any]:
    """Median and quartiles of a case over the floor of the same turn."""
    pairs = [a[field] / floor[field] for a, floor in zip(answers[case], answers["floor"], strict=True)]
    q1, median, q3 = (float(q) for q in np.percentile(pairs, [25, 50, 75]))
    return {"median": median, "q1": q1, "q3": q3, "samples": pairs}


def row_figures(answers: dict[str, list], field: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What a record keeps of one worker in one row; `field` is the clock that counts."""
    tokens = settings["batch_size"] * settings["sequence_length"]
    seconds = float(np.median([answer[field] for answer in answers["floor"]]))
    figures: dict[str, Any] = {
        "floor_seconds": seconds,
        "floor_tokens_per_second": tokens / seconds,
        "floor_tflops": operations(settings) / seconds / 1e12,
    }
    for case in COLUMNS:
        figures[case] = ratios(answers, case, field)
        figures[case]["memory"] = float(np.median([answer["peak"] for answer in answers[case]]))
    figures["floor_memory"] = float(np.median([answer["peak"] for answer in answers["floor"]]))
    return figures


def operations(settings: dict[str, Any]) -> float:
    """Floating-point operations of a bare pass: two for each weight of a matrix and token, and attention."""
    width, length = settings["hidden_size"], settings["sequence_length"]
    weights = 12 * width**2 * settings["num_hidden_layers"] + settings["vocab_size"] * width
    attention = 4 * length * width * settings["num_hidden_layers"]
    return float(settings["batch_size"] * length * (2 * weights + attention))


def render(document: dict[str, Any]) -> str:
    """The table of a record, in Markdown; a baseline's figures stand before those of the present commit."""
    sides = [side for side in ("baseline", "current") if side in document]
    names = [
        f"{COLUMNS[case]}{'' if len(sides) == 1 else ', ' + side_name(document, side)}"
        for case in COLUMNS
        for side in sides
    ]
    lines = [["", "a bare pass", *names], ["---"] * (2 + len(names))]
    for row, figures in document["rows"].items():
        if row in MEMORY:
            cells = [_size(figures["current"]["floor_memory"])]
            cells += [_size(figures[side][case]["memory"]) for case in COLUMNS for side in sides]
            lines.append([f"peak memory beyond the model, {row}", *cells])
            continue
        cells = [f"{1e3 * figures['current']['floor_seconds']:.1f} ms"]
        for case in COLUMNS:
            for side in sides:
                found = figures[side][case]
                cells.append(f"{found['median']:.2f} ({found['q1']:.2f} to {found['q3']:.2f})")
        lines.append([row, *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def side_name(document: dict[str, Any], side: str) -> str:
    """The commit that was measured, short."""
    return (document[side]["commit"] or side)[:7]


def _size(number: float) -> str:
    return "unknown" if math.isnan(number) else f"{number / 1e6:.0f} MB"


def write_page(page: str | Path, document: dict[str, Any]) -> None:
    """Draws the table of a record into a page, between its markers."""
    write_between(page, BEGIN, END, render(document))


def write_between(page: str | Path, begin: str, end: str, table: str) -> None:
    """Puts a table between two markers of a page."""
    text = Path(page).read_text(encoding="utf-8")
    pattern = re.compile(f"{re.escape(begin)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(text):
        raise ValueError(f"`page` must hold {begin} and {end}, got {page}: write both on lines of their own.")
    replace_file(page, pattern.sub(lambda _: f"{begin}\n{table}\n{end}", text))
