# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Times the forward pass, training steps and generation, alone or against another checkout of the package.

    python scripts/benchmark.py --output runs/benchmark.json
    git worktree add ../base COMMIT && python scripts/benchmark.py --baseline ../base --output runs/benchmark.json

With --baseline both packages are measured in the same run, in two processes that stay alive, one after the other in
turns (A B A B ...), so that whatever else the machine does meets both alike. Quoted are medians with the quartiles
around them, their ratio, and the ratios of neighbouring pairs: their median, quartiles, and an interval that holds
their true median in at least 95 of 100 runs whatever the distribution (order statistics). Where 1 lies inside of it,
no difference was shown. Pointed at this checkout itself, --baseline shows how far the machine's noise alone goes.

Cases: `forward` (no gradients), `train_step` and `train_step_critic` (forward, backward, AdamW; without and with a
critic), `generate` and `generate_critic` (by forward pass; without and with re-masking by the critic).

    python scripts/benchmark.py --sampling --repeats 5 --threads 1 --baseline ../base --output runs/sampling-cpu.json
    python scripts/benchmark.py --sampling --repeats 20 --device cuda --dtype bfloat16 --output runs/sampling-gpu.json
    python scripts/benchmark.py --training --repeats 5 --threads 1 --baseline ../base --output runs/training-cpu.json
    python scripts/benchmark.py --draw docs/PERFORMANCE.md runs/sampling-cpu.json

    python scripts/benchmark.py --blocks --repeats 5 --threads 1 --output runs/blocks-cpu.json
    python scripts/benchmark.py --grids runs/demo/model --repeats 20 --threads 1 --output runs/grids-cpu.json

--sampling measures what the steps of generation cost beyond the bare passes they are made of, over several shapes,
with the peak of memory, tokens and floating-point operations per second (and those of a large product of matrices, to
compare with); --training measures what steps of training cost beyond those of a bare language model; --blocks what
generation block by block takes with and without kept keys and values, beside Fast-dLLM's loops over the same weights;
--grids what one 6x6 Sudoku grid at a time takes with the trained weights of a folder, from nothing and with its first
row given, how many are valid and how many differ, beside the same loops: of each at least 400 grids over all repeats.
--draw writes the table of such a record into a page.
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("benchmark")  # before anything is imported that takes long

import argparse
import json
import math
import os
import platform
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import torch
import transformers

import critic_gpt
from critic_gpt.cli.flags import LEAST_REPEATS, LEAST_TURNS, SHAPE, benchmark_parser
from critic_gpt.hub.documents import read_object
from critic_gpt.hub.files import write_json
from critic_gpt.scripts import (
    benchmark_blocks,
    benchmark_grids,
    benchmark_sampling,
    benchmark_training,
    benchmark_worker,
    benchmark_workloads,
    check_at_least,
    check_output_file,
    run_as_program,
)


UNITS = {"forward": "forward pass", "train_step": "step", "train_step_critic": "step"}
CONFIDENCE = 0.95
# The tables by rows of shapes, by their flags.
TABLES = {
    "sampling": benchmark_sampling,
    "training": benchmark_training,
    "blocks": benchmark_blocks,
    "grids": benchmark_grids,
}


def check_arguments(args: argparse.Namespace) -> None:
    """Refuses before the work what would fail in it."""
    args.threads = torch.get_num_threads() if args.threads is None else args.threads
    table = table_asked(args)
    check_at_least(LEAST_TURNS if table else LEAST_REPEATS, repeats=args.repeats)
    for row in args.rows or ():
        if table is None or row not in TABLES[table].ROWS:
            asked = "without a table" if table is None else f"with --{table}"
            raise ValueError(f"`rows` must be of the table that is measured, got {row!r} {asked}: leave it out.")
    check_at_least(1, warmup=args.warmup, threads=args.threads)
    check_at_least(1, **{name: getattr(args, name) for name in SHAPE if name != "vocab_size"})
    check_at_least(3, vocab_size=args.vocab_size)
    if not 0.0 <= args.min_seconds < math.inf:
        raise ValueError(f"`min_seconds` must be a finite number of at least 0, got {args.min_seconds}: 0.2 is usual.")
    if args.baseline is not None and not Path(args.baseline, "modeling_critic_gpt.py").is_file():
        raise ValueError(
            f"`baseline` must be the root of a checkout of this package, got {args.baseline!r}: make one with "
            "git worktree add."
        )
    for alone, name in (("blocks", "baseline"), ("blocks", "rows"), ("grids", "baseline")):
        if table == alone and getattr(args, name):
            raise ValueError(f"`{name}` must be left out beside `{alone}`, got {getattr(args, name)!r}: drop it.")
    if table == "grids":
        benchmark_grids.check_model(args.grids)
    if args.output is not None:
        check_output_file("output", args.output)
    if args.device == "cuda" and not torch.cuda.is_available():
        raise ValueError("`device` must be one that torch finds, got cuda without a GPU: use cpu.")


# --------------------------------------------------------------------------------------------------------------------
# Measuring
# --------------------------------------------------------------------------------------------------------------------


class Worker:
    """One process with the package of one folder; idle, it waits for its next line and takes no processor."""

    def __init__(self, folder: Path, settings: dict[str, Any]):
        command = [sys.executable, "-P", benchmark_worker.__file__, str(folder), json.dumps(settings)]
        # Threads that are done would otherwise spin for a while, on the other process's time.
        environment = {**os.environ, "OMP_WAIT_POLICY": "passive", "KMP_BLOCKTIME": "0"}
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment
        )
        self._folder = folder
        self.about = self._answer()

    def measure(self, case: str, iterations: int) -> dict[str, float]:
        """Seconds and CPU seconds per unit, over so many iterations."""
        print(json.dumps({"case": case, "iterations": iterations}), file=self._process.stdin, flush=True)
        return self._answer()

    def _answer(self) -> dict[str, Any]:
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"the process that measures {self._folder} ended; its error stands above")
        return json.loads(line)

    def close(self) -> None:
        """Lets the process end, and waits for it."""
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


def measure_alternately(workers: dict[str, Worker], case: str, args: argparse.Namespace) -> dict[str, list]:
    """
    Warms up, settles the number of iterations a repeat, and measures in turns.

    Returns:
        `dict`: for each worker its answers, in the order of time; the one at index i of each belongs to one pair.
    """
    warm = [worker.measure(case, 1) for _ in range(args.warmup) for worker in workers.values()]
    fastest = min(answer["total"] for answer in warm)
    # The same number for all.
    iterations = max(1, math.ceil(args.min_seconds / fastest))
    answers = {name: [] for name in workers}
    for _ in range(args.repeats):
        for name, worker in workers.items():
            answers[name].append(worker.measure(case, iterations))
    return {**answers, "iterations": iterations, "first": warm[: len(workers)]}


# --------------------------------------------------------------------------------------------------------------------
# Figures
# --------------------------------------------------------------------------------------------------------------------


def spread(values: list[float]) -> dict[str, Any]:
    """Median, quartiles, their distance, and the values themselves."""
    q1, median, q3 = (float(q) for q in np.percentile(values, [25, 50, 75]))
    return {"median": median, "q1": q1, "q3": q3, "iqr": q3 - q1, "samples": list(values)}


def median_interval(values: list[float]) -> tuple[float, float]:
    """
    The narrowest pair of symmetric order statistics that holds the median of the distribution with a probability of
    at least 0.95; no assumption about the distribution (sign test).
    """
    ordered, num = sorted(values), len(values)
    rank, below = 0, 0.0
    while below + math.comb(num, rank) / 2**num <= (1 - CONFIDENCE) / 2:
        below += math.comb(num, rank) / 2**num
        rank += 1
    if rank == 0:
        raise ValueError(f"`values` must be at least 6 for such an interval, got {num}: repeat more often.")
    return ordered[rank - 1], ordered[num - rank]


def compare(current: list[float], baseline: list[float]) -> dict[str, Any]:
    """Ratios of the present package to the baseline, above 1 = slower."""
    pairs = spread([ours / theirs for ours, theirs in zip(current, baseline, strict=True)])
    low, high = median_interval(pairs["samples"])
    return {
        "ratio_of_medians": float(np.median(current) / np.median(baseline)),
        "paired": {**pairs, "interval": [low, high]},
        "verdict": "no difference shown" if low <= 1.0 <= high else "slower" if low > 1.0 else "faster",
    }


def figures(case: str, answers: dict[str, list], names: list[str]) -> dict[str, Any]:
    """Everything about one case."""
    entry = {"unit": f"seconds a {UNITS.get(case, 'forward pass')}", "iterations": answers["iterations"]}
    for name in names:
        seconds = spread([answer["seconds"] for answer in answers[name]])
        entry[name] = {**seconds, "cpu_median": float(np.median([answer["cpu_seconds"] for answer in answers[name]]))}
    if len(names) == 2:
        entry.update(compare(*(entry[name]["samples"] for name in names)))
        checks = [answer["check"] for answer in answers["first"]]
        entry["same_result"] = math.isclose(*checks, rel_tol=1e-4, abs_tol=1e-4)
    return entry


def describe(case: str, entry: dict[str, Any]) -> str:
    """One case on a line or two."""

    def times(name: str) -> str:
        return f"{1e3 * entry[name]['median']:.3f} ms (IQR {1e3 * entry[name]['iqr']:.3f})"

    text = f"{case:18} {times('current')} a {entry['unit'].removeprefix('seconds a ')}"
    if "baseline" not in entry:
        return text
    paired = entry["paired"]
    low, high = paired["interval"]
    text += f"; baseline {times('baseline')}\n{'':18} ratio of medians {entry['ratio_of_medians']:.3f}, of pairs "
    text += f"{paired['median']:.3f} (IQR {paired['iqr']:.3f}, 95 % interval {low:.3f} to {high:.3f}): "
    text += entry["verdict"]
    return text if entry["same_result"] else f"{text}; THE RESULTS DIFFER, so the work may not be the same"


def checkout(folder: Path) -> dict[str, Any]:
    """The commit of a folder and whether files differ from it; `None` where there is no git."""

    def git(*arguments: str) -> str | None:
        try:
            run = subprocess.run(["git", "-C", str(folder), *arguments], capture_output=True, text=True)
        except FileNotFoundError:
            return None
        return run.stdout.strip() if run.returncode == 0 else None

    status = git("status", "--porcelain")
    return {"commit": git("rev-parse", "HEAD"), "modified": None if status is None else bool(status)}


def machine() -> dict[str, Any]:
    """What the figures depend on."""
    return {
        "processor": torch.backends.cpu.get_cpu_capability() + " " + platform.machine(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "system": platform.platform(),
    }


def table_asked(args: argparse.Namespace) -> str | None:
    """Which of `TABLES` is to be measured; `None` for the cases."""
    asked = [name for name in TABLES if getattr(args, name)]
    if len(asked) > 1:
        raise ValueError(f"`{asked[0]}` must be given without `{asked[1]}`, got both: measure one after the other.")
    return asked[0] if asked else None


def load() -> list[float] | None:
    """Processes that want a processor, over 1, 5 and 15 minutes; `None` where the system does not say."""
    return list(os.getloadavg()) if hasattr(os, "getloadavg") else None


def measure_table(args: argparse.Namespace, folders: dict[str, Path], name: str) -> dict[str, Any]:
    """The document of a table: each of its rows, by one pair of processes."""
    table = TABLES[name]
    kept = {name: getattr(args, name) for name in ("threads", "device", "dtype", "repeats")}
    if table is benchmark_grids:
        kept |= benchmark_grids.settings_of(args)
    told = kept | ({"grids": Path(args.grids).name} if args.grids else {})  # a record names no machine's folders
    # Beside other work the processor's own time tells more than the clock does; a GPU's time only the clock tells.
    field = "cpu_seconds" if args.device == "cpu" else "seconds"
    document: dict[str, Any] = {"table": name, "settings": {**told, "clock": field}, "machine": machine()}
    document["load_before"] = load()
    document |= {side: checkout(folder) for side, folder in folders.items()} | {"rows": {}}
    for row in args.rows or table.ROWS:
        workers: dict[str, Worker] = {}
        try:
            for side, folder in folders.items():
                workers[side] = Worker(folder, {**kept, **table.ROWS[row]})
            answers = table.measure_row(workers, args.repeats)
            document["matmul_tflops"] = 1.0 / workers["current"].measure("matmul", 4)[field]
        finally:
            for worker in workers.values():
                worker.close()
        document["rows"][row] = {side: table.row_figures(answers[side], field, table.ROWS[row]) for side in folders}
        if args.output:
            write_json(args.output, document)
        print(f"{row} done", flush=True)
    print(table.render(document))
    return document


def draw(page: str, record: str) -> None:
    """Writes the table of a record into a page."""
    for file in (page, record):
        if not Path(file).is_file():
            raise ValueError(f"`draw` must name a page and a record that are there, got {file!r}: mend the path.")
    document = read_object(record)
    name, rows = document.get("table", "sampling"), document.get("rows")
    try:
        if not rows:
            raise KeyError("rows")
        TABLES[name].write_page(page, document)
    except (AttributeError, KeyError, TypeError) as error:
        raise ValueError(
            f"`draw` must name a record of {', '.join(f'--{table}' for table in TABLES)}, got {record!r}, which is "
            "none or a damaged one: measure it again with one of them and --output."
        ) from error


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Runs the benchmark; returns the document of --output."""
    args = benchmark_parser().parse_args(argv)
    if args.draw is not None:
        draw(*args.draw)
        return {}
    check_arguments(args)
    names = (*SHAPE, "threads", "device", "dtype", "repeats", "warmup", "min_seconds")
    settings = {name: getattr(args, name) for name in names}
    folders = {"current": Path(critic_gpt.__file__).resolve().parent}
    if args.baseline is not None:
        folders["baseline"] = Path(args.baseline).resolve()
    if args.output:
        Path(args.output).parent.mkdir(parents=True, exist_ok=True)
    table = table_asked(args)
    if table is not None:
        return measure_table(args, folders, table)
    document = {"settings": settings, "machine": machine(), "load_before": load(), "cases": {}}
    workers: dict[str, Worker] = {}
    try:
        for name, folder in folders.items():
            workers[name] = Worker(folder, settings)
            document[name] = {**checkout(folder), "version": workers[name].about["version"]}
        for case in args.cases or benchmark_workloads.Workloads.CASES:
            entry = figures(case, measure_alternately(workers, case, args), list(folders))
            document["cases"][case] = entry
            if args.output:
                write_json(args.output, document)
            print(describe(case, entry), flush=True)
    finally:
        for worker in workers.values():
            worker.close()
    document["load_after"] = load()
    if args.output:
        write_json(args.output, document)
    return document


if __name__ == "__main__":
    run_as_program(main, "benchmark")
