# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Recorded results, small JSON files, and the tables of documents that are written from them and never by hand.

A table stands between two comments, of which the first says what it shows:

    <!-- results: sudoku-6x6 valid_rate random confidence prism critic -->
    <!-- end of results -->

that is, a recorded file, a figure, and the strategies in their order, all of them where none is named. The figure
`verifier` shows what the critic knows of whole sequences, `passes_per_valid` what a valid sample costs where the
others are thrown away.
"""

import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from critic_gpt.evaluation.competitors import OWN, SHOOT_OUT, TITLES
from critic_gpt.evaluation.report import (
    PASSES_PER_VALID,
    VALID,
    budgets_of,
    direction_of,
    format_value,
    table_of_figure,
)
from critic_gpt.hub.documents import read_json


KEPT = ("settings", "language_model", "calibration", "real_text", "verifier", "expected_errors")
# In what the settings of two parts of one comparison may differ; a temperature stood in earlier ones, whatever the
# cells said.
MAY_DIFFER = ("strategies", "forward_passes", "left_out", "num_judged", "temperature")
# What says how settings were chosen, `None` in a part where none were.
OF_TUNING = ("tuning_seed", "tuning_temperatures", "tuned_by")
CELL = ("num_steps", "forward_passes", "mean_forward_passes", "arguments", "figures")
MARKER = re.compile(r"(<!-- results: *(?P<what>[^>]*?) *-->\n)(?P<table>.*?)(<!-- end of results -->)", re.DOTALL)
VERIFIER = "verifier"


def record_of(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """
    What is worth recording of a `metrics.json`: figures and settings. Times, and what settings reached that were not
    chosen, stay behind.
    """
    record = {name: metrics[name] for name in KEPT if name in metrics}
    rows = {name: [cell for cell in row.values() if cell] for name, row in metrics["comparison"].items()}
    tuned = [name for name, cells in rows.items() if any("tuning" in cell for cell in cells)]
    record["settings"] = {**metrics["settings"], "tuned": tuned}
    record["comparison"] = {
        name: {budget: cell and {key: cell[key] for key in CELL} for budget, cell in row.items()}
        for name, row in metrics["comparison"].items()
    }
    return record


def merge_metrics(parts: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """
    One comparison out of several, each of other strategies or other budgets of the same model and data: a long one
    may be run in pieces, or on several machines.

    Args:
        parts (`list[dict]`): What each `metrics.json` holds. The first that has a figure beside the comparison counts.

    Returns:
        `dict`: as a single one; strategies in the order of `SHOOT_OUT`.

    Raises:
        `ValueError`: No comparison, settings that differ in anything else, two seeds of tuning, or a cell that two of
            them hold.
    """
    for part in parts:
        if not isinstance(part.get("settings"), Mapping) or not isinstance(part.get("comparison"), Mapping):
            raise ValueError(
                f"`report` must hold settings and a comparison, got {', '.join(part) or 'nothing'} in metrics.json: "
                "measure with evaluate.py."
            )
    merged = {name: value for part in reversed(parts) for name, value in part.items()}
    mine = dict(parts[0]["settings"])
    for name in OF_TUNING:
        if name != "tuning_seed" and all(name not in part["settings"] for part in parts):
            continue  # recorded before there were such
        given = [part["settings"].get(name) for part in parts]
        mine[name] = next((value for value in given if value is not None), None)
    rows: dict[str, dict[str, Any]] = {}
    for part in parts:
        for name, value in part["settings"].items():
            # Some may have their defaults, but those that are tuned are tuned alike.
            untuned = name in OF_TUNING and value is None
            if name not in MAY_DIFFER and not untuned and value != mine.get(name):
                raise ValueError(
                    f"`report` must be of one comparison, got {name}={mine.get(name)!r} and "
                    f"{value!r}: record them apart."
                )
        for strategy, row in part["comparison"].items():
            for budget, cell in row.items():
                if budget in rows.setdefault(strategy, {}):
                    raise ValueError(
                        f"`report` must hold each strategy at each budget once, got {strategy} at {budget} forward "
                        "passes twice: leave one out."
                    )
                rows[strategy][budget] = cell
    order = [name for name in SHOOT_OUT if name in rows] + [name for name in rows if name not in SHOOT_OUT]
    merged["comparison"] = {name: dict(sorted(rows[name].items(), key=lambda cell: int(cell[0]))) for name in order}
    every = [part["settings"] for part in parts]
    merged["settings"] = {
        **mine,
        "forward_passes": sorted({budget for settings in every for budget in settings["forward_passes"]}),
        "strategies": {name: s["strategies"][name] for name in order for s in every if name in s["strategies"]},
        "left_out": {name: reason for s in every for name, reason in s["left_out"].items() if name not in rows},
    }
    return merged


def read_record(folder: str | os.PathLike, name: str) -> dict[str, Any]:
    """Reads `NAME.json` of a folder of results.

    Raises:
        `ValueError`: There is none, or it is none.
    """
    path = Path(folder) / f"{name}.json"
    try:
        return read_json(path)
    except (OSError, ValueError) as error:
        known = sorted(file.stem for file in Path(folder).glob("*.json"))
        raise ValueError(
            f"`results` must name a recorded file, got {name!r}, which does not read; there are "
            f"{', '.join(known) or 'none'}: record it by scripts/record_results.py."
        ) from error


def rendered(text: str, folder: str | os.PathLike) -> str:
    """
    A document with its tables as the records have them.

    Args:
        text (`str`): The document; what stands outside of the comments is not touched.
        folder (`str` or `os.PathLike`): Where the records are.

    Raises:
        `ValueError`: A comment without its end, or one that names what is not recorded.
    """
    begun, ended = text.count("<!-- results:"), len(MARKER.findall(text))
    if begun != ended:
        raise ValueError(
            f"`results` must end with `<!-- end of results -->`, each, got {begun} beginnings of which {ended} end: "
            "close the others."
        )
    return MARKER.sub(lambda match: f"{match[1]}{_table(match['what'], folder)}{match[4]}", text)


def _table(what: str, folder: str | os.PathLike) -> str:
    name, _, rest = what.partition(" ")
    figure, *strategies = rest.split() or [""]
    record = read_record(folder, name)
    if figure == VERIFIER and VERIFIER in record:
        return f"\n{_verifier_table(record[VERIFIER])}\n{_caption(record, list(record['comparison']))}\n\n"
    table = record["comparison"]
    strategies = strategies or list(table)
    cells = [cell for row in table.values() for cell in row.values() if cell is not None]
    figures = dict.fromkeys(name for cell in cells for name in cell["figures"])
    measured = VALID if figure == PASSES_PER_VALID else figure
    if not set(strategies) <= set(table) or measured not in figures:
        raise ValueError(
            f"`results` must name a figure and strategies of {name}, got {rest!r}: figures are "
            f"{', '.join(figures) or 'none'}, strategies {', '.join(table)}."
        )
    rows = table_of_figure({strategy: table[strategy] for strategy in strategies}, figure)
    titles = {strategy: TITLES.get(strategy, strategy) for strategy in rows}
    lines = [(titles[strategy], [text or "-" for text in row], strategy in OWN) for strategy, row in rows.items()]
    if figure in record.get("real_text", {}):
        real = format_value(figure, {"mean": record["real_text"][figure], "spread": None})
        lines.append(("real", [real] * len(budgets_of(table)), False))
    return f"\n{_markdown('forward passes', budgets_of(table), lines)}\n{_caption(record, strategies, figure)}\n\n"


def _markdown(corner: str, heads: Sequence[Any], rows: Sequence[tuple[str, Sequence[str], bool]]) -> str:
    lines = [f"| {corner} | {' | '.join(map(str, heads))} |", "|---" * (len(heads) + 1) + "|"]
    for title, cells, bold in rows:
        shown = [f"**{text}**" for text in (title, *cells)] if bold else [title, *cells]
        lines.append(f"| {' | '.join(shown)} |")
    return "\n".join(lines) + "\n"


def _verifier_table(verifier: Mapping[str, Mapping[str, Any]]) -> str:
    """Whole sequences: how they are told apart, and what choosing among candidates is worth."""
    first = next(iter(verifier.values()))
    titles = {
        "single": "right, of one",
        "best_of_n": f"right, best of {first['num_candidates']} by expected errors",
        "single_at_equal_passes": "right, of one at as many passes",
    }
    rows = []
    for name, title in (
        ("all_right", "AUROC of P(all right)"),
        ("expected_errors", "AUROC of expected errors"),
        ("self_log_probability", "AUROC of the model's own probability"),
    ):
        values = [part["auroc"][name] for part in verifier.values()]
        rows.append((title, ["-" if value is None else f"{value:.3f}" for value in values], False))
    for name, title in titles.items():
        cells = [
            f"{format_value('success_rate', part[name]['success_rate'])} ({part[name]['passes']} passes)"
            for part in verifier.values()
        ]
        rows.append((title, cells, name == "best_of_n"))
    return _markdown("forward passes", list(verifier), rows)


def _caption(record: Mapping[str, Any], strategies: Sequence[str], figure: str = "") -> str:
    settings = record["settings"]
    seeds = settings["seeds"]
    named = f"{', '.join(map(str, seeds[:-1]))} and {seeds[-1]}" if len(seeds) > 1 else str(seeds[0])
    several = f"for each of the seeds {named}: mean ± standard deviation" if len(seeds) > 1 else f"of the seed {named}"
    chosen = ""
    if settings["tuning_seed"] is not None and (tuned := settings.get("tuned")):
        rest = [TITLES.get(name, name) for name in strategies if name not in tuned]
        whose = f"; the defaults of {', '.join(rest)}" if rest else ""
        chosen = f" Settings chosen at each budget on the seed {settings['tuning_seed']}{whose}."
    dtype = settings.get("dtype", "float32")
    precision = "" if dtype == "float32" else f" in {dtype}"
    way = direction_of(figure, settings.get("better")).removeprefix("; ")
    direction = way and f" {way[0].upper()}{way[1:]}."
    parameters = f"{settings['num_parameters']:,} parameters{precision}"
    return f"{settings['num_samples']:,} samples {several}; {parameters}.{direction}{chosen}"
