# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Measures a model: the language model bound, the critic's calibration on held-out data, and samples at equal cost.

    python scripts/evaluate.py --model runs/model --data_dir runs/data --output_dir runs/report
    accelerate launch scripts/evaluate.py --model runs/model --data_dir runs/data --output_dir runs/report

Prints a table and writes metrics.json, a reliability diagram and a plot of quality by forward passes. The corruption
is fixed by --seed, and no figure but `seconds` depends on the batch size or the number of processes. In metrics.json:

    language_model.nats_per_token, .bits_per_token       the diffusion bound
    calibration.auroc, .ece, .brier                      of P(wrong) by the model's table (the ramp where it has none)
    calibration.before.auroc, .ece, .brier               of plain sigmoid(critic logit)
    calibration.calibrated, .positions, .positive_rate   table or ramp; judged tokens; the share of wrong ones
    calibration.error_probability_by_target.right, .wrong    each count, mean, p10, p90 of P(wrong)
    FIGURE.STRATEGY.PASSES                               of samples: the figures of the task, and `seconds`
    settings                                             what was asked for

`calibration` is there where the model has a trained critic.
"""

import argparse
import math
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

import critic_gpt
from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.evaluation.comparison import STRATEGIES, compare_strategies
from critic_gpt.evaluation.metrics import calibration_report, summary_by_target
from critic_gpt.evaluation.plots import check_picture, plot_calibration, plot_quality_by_forward_passes
from critic_gpt.evaluation.scoring import judge_fillings
from critic_gpt.scripts import (
    check_at_least,
    check_judged,
    check_split,
    load_model,
    progress_bar,
    run_as_program,
    start_accelerator,
    write_json,
)
from critic_gpt.tasks import load_prepared


# The figure of each task that the table shows: its name in the judge's answer, and in words.
HEADLINES = {
    "sudoku": ("valid_rate", "share of valid grids"),
    "text": ("known_word_rate", "share of words known from the training text"),
}


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder of a model")
    parser.add_argument("--data_dir", required=True, help="folder written by scripts/prepare_data.py")
    parser.add_argument("--output_dir", required=True, help="where the report goes")
    parser.add_argument("--split", default="test", choices=["train", "val", "validation", "test"])
    parser.add_argument("--num_judged", type=int, default=4096, help="held-out sequences for the critic's figures")
    parser.add_argument("--num_samples", type=int, default=1000, help="samples for each strategy and budget")
    parser.add_argument("--forward_passes", type=int, nargs="+", default=[9, 18, 36], help="budgets to compare at")
    parser.add_argument("--batch_size", type=int, default=250)
    parser.add_argument("--seed", type=int, default=1)
    return parser


def judge_held_out(model, tokenizer, dataset, args, accelerator: Accelerator, report_dir: Path) -> dict[str, Any]:
    """The language model bound and, with a trained critic, its figures and the reliability diagram."""
    collator = DataCollatorForMaskedDiffusion(tokenizer, critic_regime=model.config.critic_regime, seed=args.seed)
    count = min(args.num_judged, len(dataset))
    with progress_bar(count, "sequences", accelerator) as bar:
        judged = judge_fillings(
            model,
            dataset,
            collator,
            count,
            args.batch_size,
            accelerator,
            on_step=lambda done, _: bar.update(done - bar.n),
        )
    metrics = {"language_model": {"nats_per_token": judged.lm_loss, "bits_per_token": judged.lm_loss / math.log(2)}}
    if not model.has_trained_critic:
        return metrics
    check_judged("num_judged", count, judged.sequence_index, least=1)
    calibration = model.calibration or critic_gpt.CriticCalibration.ramp()
    report = calibration_report(judged.critic_logits, judged.critic_target, calibration)
    if accelerator.is_main_process:
        plot_calibration(report_dir / "reliability.png", judged.critic_logits, judged.critic_target, calibration)
    probability = calibration.error_probability(torch.as_tensor(judged.critic_logits))
    metrics["calibration"] = {
        **report["after"],
        "before": report["before"],
        "calibrated": model.calibration is not None,
        "positions": report["positions"],
        "positive_rate": report["positive_rate"],
        "error_probability_by_target": summary_by_target(probability, judged.critic_target),
    }
    return metrics


def print_table(table: dict[str, dict[str, dict[str, float]]], figure: str, words: str) -> None:
    """The figure of every strategy by forward passes, in per cent, with the share of distinct samples."""
    budgets = sorted({int(passes) for row in table.values() for passes in row})
    print(f"\n{words}, by forward passes (share of distinct samples in brackets)\n")
    print(f"{'':12}" + "".join(f"{budget:>18}" for budget in budgets))
    for name, row in table.items():
        cells = []
        for budget in budgets:
            cell = row.get(str(budget))
            cells.append("" if cell is None else f"{cell[figure]:.1%} ({cell['distinct_rate']:.0%})")
        print(f"{name:12}" + "".join(f"{cell:>18}" for cell in cells))
    print()


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Runs one evaluation; returns what metrics.json holds."""
    args = build_parser().parse_args(argv)
    check_at_least(1, num_judged=args.num_judged, num_samples=args.num_samples, batch_size=args.batch_size)
    check_at_least(1, forward_passes=min(args.forward_passes))
    split = {"val": "validation"}.get(args.split, args.split)
    dataset, tokenizer, task = load_prepared(args.data_dir)
    check_split(split, dataset[split])
    accelerator = start_accelerator()
    model = load_model("model", args.model, tokenizer, task.sequence_length).to(accelerator.device).eval()
    report_dir = Path(args.output_dir)
    check_picture(report_dir / "reliability.png")
    if accelerator.is_main_process:
        report_dir.mkdir(parents=True, exist_ok=True)
    metrics = judge_held_out(model, tokenizer, dataset[split], args, accelerator, report_dir)
    has_critic = "calibration" in metrics
    strategies = {name: arguments for name, arguments in STRATEGIES.items() if has_critic or name != "critic"}
    table = compare_strategies(
        model,
        tokenizer,
        task,
        args.forward_passes,
        strategies,
        num_samples=args.num_samples,
        batch_size=args.batch_size,
        seed=args.seed,
        accelerator=accelerator,
    )
    for key in next(iter(next(iter(table.values())).values())):
        metrics[key] = {name: {passes: cell[key] for passes, cell in row.items()} for name, row in table.items()}
    metrics["settings"] = {
        "task": task.name,
        "split": split,
        "num_judged": min(args.num_judged, len(dataset[split])),
        "num_samples": args.num_samples,
        "seed": args.seed,
        "temperature": 1.0,
        "strategies": strategies,
        "num_parameters": model.num_parameters(),
        "critic_gpt_version": critic_gpt.__version__,
    }
    if accelerator.is_main_process:
        write_report(report_dir, metrics, table, task)
    return metrics


def write_report(report_dir: Path, metrics: dict[str, Any], table: dict, task) -> None:
    """Writes metrics.json and the plot of quality, and prints what is in them."""
    figure, words = HEADLINES[task.name]
    plot_quality_by_forward_passes(report_dir / f"{figure}.png", metrics[figure], words, f"{task.name}: {words}")
    write_json(report_dir / "metrics.json", metrics)
    print_table(table, figure, words)
    if "calibration" in metrics:
        critic = metrics["calibration"]
        print(f"Critic on held-out data: ECE {critic['before']['ece']:.4f} -> {critic['ece']:.4f}, ", end="")
        auroc = "none" if critic["auroc"] is None else f"{critic['auroc']:.4f}"
        print(f"AUROC {auroc} over {critic['positions']:,} tokens.")
    print(f"Report in {report_dir}: {', '.join(sorted(file.name for file in report_dir.iterdir()))}")


if __name__ == "__main__":
    run_as_program(main, "evaluate")
