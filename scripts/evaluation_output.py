# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What `scripts/evaluate.py` leaves: metrics.json, plots, a page with a few samples, and tables on the terminal."""

import argparse
import platform
from pathlib import Path
from typing import Any

import torch
import transformers

import critic_gpt
from critic_gpt.evaluation.comparison import figures_of
from critic_gpt.evaluation.competitors import OURS
from critic_gpt.evaluation.held_out_figures import HIGHER, OwnSequences
from critic_gpt.evaluation.plots import plot_quality_by_forward_passes
from critic_gpt.evaluation.report import Table, comparison_text, critic_text, too_small_text, verifier_text
from critic_gpt.explorer.evaluation_report import REPORT_NAME, report_page, sample_views
from critic_gpt.explorer.session import Explorer
from critic_gpt.hub.files import replace_file, write_json
from critic_gpt.scripts import say


def samples_of(model, tokenizer, task, args: argparse.Namespace, canvases: torch.Tensor) -> tuple[list, int]:
    """A few samples for the page, and in how many steps they were made."""
    steps = sorted(args.forward_passes)[len(args.forward_passes) // 2]
    explorer = Explorer(model, tokenizer, task=None if isinstance(task, OwnSequences) else task)
    return sample_views(explorer, canvases, steps, args.seeds[0]), steps


def write_page(report_dir: Path, metrics: dict[str, Any], subject, samples: tuple[list, int]) -> None:
    """Writes report.html, which travels alone."""
    title = f"{subject.name}: what the model can, and what its critic knows"
    versions = {"critic_gpt": critic_gpt.__version__, "transformers": transformers.__version__}
    versions |= {"torch": torch.__version__, "python": platform.python_version()}
    page = report_page(title, metrics, subject.figures, report_dir, *samples, versions)
    replace_file(report_dir / REPORT_NAME, page)


def curves_of(table: Table) -> dict[str, dict[str, dict[str, list[float]]]]:
    """What there is to draw of each figure: `{figure: {strategy: {budget: one number per seed}}}`."""
    return {
        figure: {
            name: points
            for name, row in rows.items()
            if (points := {budget: values for budget, values in row.items() if None not in values})
        }
        for figure, rows in figures_of(table, "by_seed").items()
    }


def write_report(
    report_dir: Path, metrics: dict[str, Any], subject, every_picture: bool, samples: tuple[list, int]
) -> None:
    """Writes metrics.json, plots and page, and prints what is in them, in this order: nothing is lost."""
    table, real = metrics["comparison"], metrics.get("real_text", {})
    curves, better = curves_of(table), metrics["settings"]["better"]
    wanted = list(subject.figures)[: None if every_picture else 1]
    drawn = {figure: subject.figures[figure] for figure in wanted if curves.get(figure)}
    names = [*("reliability",) * ("calibration" in metrics), *("expected_errors",) * ("expected_errors" in metrics)]
    # An earlier report in the same folder may have others, perhaps of another model.
    metrics["pictures"] = sorted(f"{name}.png" for name in [*names, *drawn])
    write_json(report_dir / "metrics.json", metrics)
    for figure, words in drawn.items():
        plot_quality_by_forward_passes(
            report_dir / f"{figure}.png",
            curves[figure],
            words,
            f"{subject.name}: {words}",
            emphasised=OURS,
            better=better.get(figure, HIGHER),
            reference=("real", real[figure]) if real.get(figure) is not None else None,
        )
    write_page(report_dir, metrics, subject, samples)
    print(comparison_text(table, subject.figures, real, better))
    for name, reason in metrics["settings"]["left_out"].items():
        print(f"Left out: {name}, since {reason}.")
    if (text := too_small_text(table)) is not None:
        print(text)
    if metrics["language_model"]["nats_per_token"] is None:
        print("No bound of the language model: there was no token to judge.")
    if "calibration" in metrics:
        print(critic_text(metrics["calibration"]))
    if "verifier" in metrics:
        print(verifier_text(metrics["verifier"]))
    say(f"Report in {report_dir}: {', '.join(sorted(file.name for file in report_dir.iterdir()))}")
