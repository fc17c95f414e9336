# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
What a step of training costs beyond the bare language model's: the part of scripts/benchmark.py behind `--training`.

In each row of the table the floor is a step of trunk and LM head with torch's cross-entropy at every position; what
stands beside it is divided by it, both measured one after the other in the same turn of the same process. Half of the
tokens are masked, all masks are filled, and the optimizer is AdamW.
"""

from pathlib import Path
from typing import Any

import numpy as np

from critic_gpt.scripts.benchmark_sampling import measured_in_turns, operations, ratios, side_name, write_between


SHAPE = {"num_steps": 1, "num_attention_heads": 4}
GRID = {**SHAPE, "vocab_size": 8, "sequence_length": 36, "batch_size": 64, "hidden_size": 128}
GRID |= {"num_hidden_layers": 5, "joint_num_heads": 1}
TEXT = {**SHAPE, "vocab_size": 8_000, "sequence_length": 128, "batch_size": 8, "hidden_size": 256}
TEXT |= {"num_hidden_layers": 4, "joint_num_heads": 4}
ROWS = {"6x6 grids, V 8, batch 64": GRID, "T 128, V 8,000, batch 8": TEXT}
FLOOR = "training_floor"
COLUMNS = {
    "training_lm": "language model",
    "training_critic": "critic",
    "training_critic_half": "critic, share 1/2",
    "training_critic_quarter": "critic, share 1/4",
    "training_joint": "critic and joint head",
    "training_joint_quarter": "both, shares 1/4",
}
BEGIN, END = "<!-- training: begin -->", "<!-- training: end -->"


def measure_row(workers: dict[str, Any], repeats: int) -> dict[str, dict[str, list]]:
    """Of each worker and each case the answers, taken in turns; the floor's as `"floor"`."""
    return measured_in_turns(workers, repeats, {"floor": FLOOR, **{case: case for case in COLUMNS}})


def row_figures(answers: dict[str, list], field: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What a record keeps of one worker in one row; `field` is the clock that counts."""
    tokens = settings["batch_size"] * settings["sequence_length"]
    seconds = float(np.median([answer[field] for answer in answers["floor"]]))
    figures: dict[str, Any] = {
        "floor_seconds": seconds,
        "floor_tflops": 3 * operations(settings) / seconds / 1e12,  # forward once, backward twice
    }
    for case in ("floor", *COLUMNS):
        figures[case] = ratios(answers, case, field)
        figures[case]["tokens_per_second"] = tokens / float(np.median([answer[field] for answer in answers[case]]))
        figures[case]["memory"] = float(np.median([answer["peak"] for answer in answers[case]]))
    return figures


def render(document: dict[str, Any]) -> str:
    """The table of a record, in Markdown; a baseline's figures stand in rows of their own."""
    lines = [["a step of training", "", "the bare language model", *COLUMNS.values()], ["---"] * (3 + len(COLUMNS))]
    for row, figures in document["rows"].items():
        for side in (side for side in ("baseline", "current") if side in document):
            found = figures[side]
            cells = [f"{1e3 * found['floor_seconds']:.0f} ms"]
            for case in COLUMNS:
                cells.append("{median:.2f} ({q1:.2f} to {q3:.2f})".format(**found[case]))
            lines.append([row, side_name(document, side), *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_page(page: str | Path, document: dict[str, Any]) -> None:
    """Draws the table of a record into a page, between its markers."""
    write_between(page, BEGIN, END, render(document))
