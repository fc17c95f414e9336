# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What is measured, as text to read: tables of figures by forward passes, and sentences about the critic."""

from collections.abc import Mapping
from typing import Any

from critic_gpt.evaluation.comparison import over_seeds


Table = Mapping[str, Mapping[str, Mapping[str, Any] | None]]
# What a valid sample costs where the others are thrown away: derived of a cell, not measured.
VALID, PASSES_PER_VALID = "valid_rate", "passes_per_valid"


def is_share(figure: str) -> bool:
    """Whether a figure, by its name, is a share of something and read in per cent."""
    return figure.endswith(("_rate", "_deviation"))


def format_value(figure: str, value: Mapping[str, Any]) -> str:
    """A figure over its seeds: its mean and, of several, plus or minus the standard deviation; "none" where there was
    nothing to measure by."""
    mean, spread = value["mean"], value["spread"]
    if mean is None:
        return "none"
    sign = "+" if figure.endswith("_deviation") else ""
    if is_share(figure):
        return f"{mean:{sign}.1%}" if spread is None else f"{100 * mean:{sign}.1f} ± {100 * spread:.1f}%"
    digits = 1 if figure == PASSES_PER_VALID else 3
    return f"{mean:.{digits}f}" if spread is None else f"{mean:.{digits}f} ± {spread:.{digits}f}"


def budgets_of(table: Table) -> list[int]:
    """All budgets of a comparison, in ascending order."""
    return sorted({int(budget) for row in table.values() for budget in row})


def table_of_figure(table: Table, figure: str) -> dict[str, list[str]]:
    """One figure of a comparison as cells of text, by strategy, in the order of `budgets_of`: empty where a strategy
    needs more passes, or the figure was not measured, as without a package that others had. `passes_per_valid` is one
    wherever `valid_rate` is."""
    rows = {}
    for name, row in table.items():
        cells = [row.get(str(budget)) for budget in budgets_of(table)]
        values = [None if cell is None else _value(cell, figure) for cell in cells]
        rows[name] = ["" if value is None else format_value(figure, value) for value in values]
    return rows


def with_costs(figures: Mapping[str, str]) -> dict[str, str]:
    """The figures that a report shows, in words: with the cost of a valid sample behind their share."""
    shown = {}
    for figure, words in figures.items():
        shown[figure] = words
        if figure == VALID:
            shown[PASSES_PER_VALID] = "forward passes per valid sample"
    return shown


def direction_of(figure: str, better: Mapping[str, str] | None) -> str:
    """What is better of a figure, in words for a heading; nothing where it is more."""
    way = "lower" if figure == PASSES_PER_VALID else (better or {}).get(figure, "higher")
    return "" if way == "higher" else f"; {way} is better"


def _value(cell: Mapping[str, Any], figure: str) -> Mapping[str, Any] | None:
    """A figure of a cell over its seeds, if there is one."""
    if figure != PASSES_PER_VALID or VALID not in cell["figures"]:
        return cell["figures"].get(figure)
    shares, passes = cell["figures"][VALID]["by_seed"], cell["mean_forward_passes"]
    return over_seeds([passes / share if share else None for share in shares])


def comparison_text(
    table: Table,
    figures: Mapping[str, str],
    real: Mapping[str, float] | None = None,
    better: Mapping[str, str] | None = None,
) -> str:
    """
    One table for each figure, and one for what a valid sample costs.

    Args:
        table (`dict`): From `compare_strategies`.
        figures (`dict`): Figures by name, in words; the first one with the share of distinct samples.
        real (`dict`, *optional*): The same figures of real samples, for a last row.
        better (`dict`, *optional*): What is better of some figures: `"lower"` or `"nearer to real"`; else higher.
    """
    lines, budgets = [], budgets_of(table)
    distinct = [cell["figures"].get("distinct_rate") for row in table.values() for cell in row.values() if cell]
    for number, (figure, words) in enumerate(with_costs(figures).items()):
        rows, note = table_of_figure(table, figure), direction_of(figure, better)
        if number == 0 and distinct and distinct[0] is not None:
            note += " (share of distinct samples in brackets)"
            for name, row in table.items():
                cells = [row.get(str(budget)) for budget in budgets]
                shares = ["" if c is None else f" ({c['figures']['distinct_rate']['mean']:.0%})" for c in cells]
                rows[name] = [text + share for text, share in zip(rows[name], shares, strict=True)]
        if real is not None and figure in real:
            rows["real"] = [format_value(figure, {"mean": real[figure], "spread": None})] * len(budgets)
        width = max(18, *(len(text) + 2 for row in rows.values() for text in row))
        first = max(12, *(len(name) + 1 for name in rows))
        lines += ["", f"{words}, by forward passes{note}", ""]
        lines.append(" " * first + "".join(f"{budget:>{width}}" for budget in budgets))
        lines += [f"{name:{first}}" + "".join(f"{text:>{width}}" for text in row) for name, row in rows.items()]
    return "\n".join([*lines, ""])


def too_small_text(table: Table) -> str | None:
    """Which budgets were too small for which strategies; `None` if none was."""
    names = [f"{name} at {budget}" for name, row in table.items() for budget, cell in row.items() if cell is None]
    return f"Budgets too small for a single step: {', '.join(names)}." if names else None


def critic_text(critic: Mapping[str, Any]) -> str:
    """One line about the critic's figures on held-out data."""
    auroc = "none" if critic["auroc"] is None else f"{critic['auroc']:.4f}"
    return (
        f"Critic on held-out data: ECE {critic['before']['ece']:.4f} -> {critic['ece']:.4f}, AUROC {auroc} over "
        f"{critic['positions']:,} tokens."
    )


def verifier_text(verifier: Mapping[str, Mapping[str, Any]]) -> str:
    """What the critic knows of whole sequences, a block for each budget."""
    lines = []
    for budget, figures in verifier.items():
        auroc = {name: "none" if value is None else f"{value:.4f}" for name, value in figures["auroc"].items()}
        all_right = figures["all_right"]
        lines += [
            f"All right? At {budget} forward passes: AUROC {auroc['all_right']} by P(all right), "
            f"{auroc['expected_errors']} by expected errors, {auroc['self_log_probability']} by the model's own "
            f"probability; P(all right) {all_right['mean']:.1%} on average, truly {all_right['rate']:.1%}.",
        ]
        for name, words in (
            ("single", "one"),
            ("best_of_n", f"best of {figures['num_candidates']}"),
            ("single_at_equal_passes", "one, at as many passes"),
        ):
            part = figures[name]
            lines.append(
                f"    {words}: {format_value('_rate', part['success_rate'])} right in {part['passes']} passes"
            )
    return "\n".join(lines)
