# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
What it takes to generate a text block by block: the part of scripts/benchmark.py behind `--blocks`.

In each row `no cache` is the same blocks and as many passes, each over the whole text; what stands beside it is
divided by it, both measured one after the other in the same turn of the same process. `Fast-dLLM` are the loops of
scripts/fast_dllm.py over the same weights, which lift as many tokens per pass.
"""

from pathlib import Path
from typing import Any

import numpy as np

from critic_gpt.scripts.benchmark_sampling import measured_in_turns, ratios, write_between


TEXT = {"vocab_size": 67, "batch_size": 1, "hidden_size": 256, "num_hidden_layers": 4, "num_attention_heads": 4}
GRID = {"vocab_size": 8, "batch_size": 1, "hidden_size": 128, "num_hidden_layers": 5, "num_attention_heads": 4}
ROWS = {
    "T 512, blocks of 32, 8 passes each": {**TEXT, "sequence_length": 512, "block_length": 32, "num_steps": 128},
    "T 128, blocks of 32, 8 passes each": {**TEXT, "sequence_length": 128, "block_length": 32, "num_steps": 32},
    "6x6 grid, blocks of 12, 6 passes each": {**GRID, "sequence_length": 36, "block_length": 12, "num_steps": 18},
}
FLOOR = "blocks_none"
COLUMNS = {
    "blocks_prefix": "prefix cache",
    "blocks_dual": "dual cache",
    "blocks_critic": "critic, no cache",
    "blocks_critic_dual": "critic, dual cache",
    "fast_dllm": "Fast-dLLM, no cache",
    "fast_dllm_prefix": "Fast-dLLM, prefix cache",
    "fast_dllm_dual": "Fast-dLLM, dual cache",
}
BEGIN, END = "<!-- blocks: begin -->", "<!-- blocks: end -->"


def measure_row(workers: dict[str, Any], repeats: int) -> dict[str, dict[str, list]]:
    """Of each case the answers, in turns; one call is so many passes that the first needs no warming up."""
    return measured_in_turns(workers, repeats, {"floor": FLOOR, **{case: case for case in COLUMNS}}, warmup=0)


def row_figures(answers: dict[str, list], field: str, settings: dict[str, Any]) -> dict[str, Any]:
    """What a record keeps of a row; `field` is the clock that counts, by pass."""
    seconds = float(np.median([answer[field] for answer in answers["floor"]]))
    return {"floor_seconds": seconds, **{case: ratios(answers, case, field) for case in COLUMNS}}


def render(document: dict[str, Any]) -> str:
    """The table of a record, in Markdown."""
    lines = [["", "a pass, no cache", *COLUMNS.values()], ["---"] * (2 + len(COLUMNS))]
    for row, sides in document["rows"].items():
        figures = sides["current"]
        cells = [f"{1e3 * figures['floor_seconds']:.1f} ms"]
        cells += [f"{f['median']:.2f} ({f['q1']:.2f} to {f['q3']:.2f})" for f in (figures[case] for case in COLUMNS)]
        lines.append([row, *cells])
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def write_page(page: str | Path, document: dict[str, Any]) -> None:
    """Draws the table of a record into a page, between its markers."""
    write_between(page, BEGIN, END, render(document))
