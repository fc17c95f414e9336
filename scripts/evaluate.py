# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Measures a model: the language model bound, the critic's calibration on held-out data, and samples at equal cost.

    python scripts/evaluate.py --model runs/model --data_dir runs/data --output_dir runs/report
    accelerate launch scripts/evaluate.py --model runs/model --data_dir runs/data --output_dir runs/report

    # every strategy there is, each at its best, with the spread over seeds
    python scripts/evaluate.py ... --strategies all --tune --seeds 1 2 3
    # a strategy of your own beside the critic's (docs/GENERATION.md)
    python scripts/evaluate.py ... --strategy_module my_strategies.py --strategies critic mine
    # puzzles instead of grids from nothing (of molecules: a third to find), and what the critic knows of whole answers
    python scripts/evaluate.py ... --puzzles --forward_passes 13 26 51 102 --verifier 26
    # text, judged by a model that was trained on the part of the text kept for it
    python scripts/evaluate.py ... --forward_passes 32 64 128 256 --train_judge --plot
    # every strategy at its best by D, temperature and all; and MAUVE by any model (pip install critic_gpt[mauve])
    python scripts/evaluate.py ... --forward_passes 16 32 --strategies all --tune --mauve gpt2-large

Prints tables and writes metrics.json, a reliability diagram, a plot of quality by forward passes and report.html, one
file to pass on with all of it and a few samples coloured by P(wrong). The corruption
is fixed by --seed, and no figure but `seconds` depends on the batch size or the number of processes. In metrics.json:

    language_model.nats_per_token, .bits_per_token       the diffusion bound; null: no token to judge
    calibration.auroc, .ece, .brier                      of P(wrong) by the model's table (the ramp where it has none)
    calibration.before.auroc, .ece, .brier               of plain sigmoid(critic logit)
    calibration.calibrated, .positions, .positive_rate   table or ramp; judged tokens; the share of wrong ones
    calibration.error_probability_by_target.right, .wrong    each count, mean, p10, p90 of P(wrong)
    FIGURE.STRATEGY.BUDGET                               of samples: the figures of the task, and `seconds`; the mean
    excess_divergence_bits                               where many answers are right: D, how far n-grams and words
                                                         are from held-out sequences beyond as many real ones; with
                                                         its standard error; lower is better
    comparison.STRATEGY.BUDGET                           the steps taken, the passes counted, the settings, and
        .figures.FIGURE.mean, .spread, .by_seed          standard deviation and each seed; null: no step fits, or there
                                                         is nothing to measure by (fcd without valid molecules)
        .tuning                                          with --tune what each setting reached on the tuning seed
    real_text.FIGURE                                     the same figures of held-out text
    verifier.BUDGET                                      with --verifier: see `critic_gpt.evaluation.verify`
    expected_errors                                      with --plot: wrong tokens per sequence, expected and true: of
                                                         held-out fillings, with --puzzles of answers
    settings                                             what was asked for

A budget is a number of forward passes of the trunk per sequence; each strategy takes as many steps as fit.
`calibration` is there where the model has a trained critic.
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("evaluate")  # before anything is imported that takes long

import argparse
import functools
import math
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator

import critic_gpt
from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.cli.flags import evaluate_parser
from critic_gpt.cli.generation_flags import import_strategies
from critic_gpt.evaluation.comparison import Tuning, compare_strategies, figures_of
from critic_gpt.evaluation.competitors import named, select_strategies
from critic_gpt.evaluation.divergence import LEAST_HELD_OUT, MOST_HELD_OUT
from critic_gpt.evaluation.held_out import (
    bound_of,
    critic_figures,
    error_figures,
    errors_of_answers,
    errors_of_fillings,
)
from critic_gpt.evaluation.held_out_figures import HeldOutFigures, OwnSequences, canvases_like, score_by
from critic_gpt.evaluation.mauve import Mauve, check_mauve
from critic_gpt.evaluation.plots import check_picture, plot_expected_errors
from critic_gpt.evaluation.sampling import blank_canvases
from critic_gpt.evaluation.scoring import JudgedFillings, judge_fillings
from critic_gpt.evaluation.text_figures import TextFigures
from critic_gpt.evaluation.text_judge import TextJudge
from critic_gpt.evaluation.verifier import verify
from critic_gpt.hub.vocabulary import check_same_vocabulary
from critic_gpt.scripts import (
    check_at_least,
    check_judged,
    check_output_dir,
    check_split,
    load_model,
    progress_bar,
    run_as_program,
    start_accelerator,
)
from critic_gpt.scripts.evaluation_output import samples_of, write_report
from critic_gpt.tasks import TASK_FILE, SudokuPuzzles, TextTask, load_data, load_prepared, load_puzzles


def check_arguments(args: argparse.Namespace) -> None:
    """Refuses what cannot be, before anything is loaded."""
    for name in ("num_judged", "num_samples", "batch_size", "tuning_samples", "judge_steps"):
        check_at_least(1, **{name: getattr(args, name)})
    check_at_least(1, forward_passes=min(args.forward_passes))
    if args.verifier is not None:
        check_at_least(1, verifier=min(args.verifier))
    if any(not (0.0 <= temperature < math.inf) for temperature in args.tuning_temperatures):
        raise ValueError(
            f"`tuning_temperatures` must be at least 0 and finite, got {args.tuning_temperatures}: 1 is plain."
        )
    if args.tuned_by is not None and not args.tune:
        raise ValueError(f"`tuned_by` needs `tune`, got {args.tuned_by!r} without: give --tune, or leave it out.")
    if args.mauve is not None:
        check_mauve()
        tuned = {"tuning_samples": args.tuning_samples} if args.tune else {}
        check_at_least(2, num_samples=args.num_samples, **tuned)  # it compares distributions
    args.split = {"val": "validation"}.get(args.split, args.split)
    args.seeds = [args.seed] if args.seeds is None else args.seeds
    if len(set(args.seeds)) < len(args.seeds):
        raise ValueError(f"`seeds` must all be different, got {args.seeds}: the same samples say nothing new.")
    if args.tune and args.tuning_seed in args.seeds:
        raise ValueError(
            f"`tuning_seed` must not be among the reported seeds, got {args.tuning_seed} and {args.seeds}: choose "
            "another one."
        )


def check_verifier(model, task) -> None:
    """Refuses to ask a critic that is none, or about what is neither right nor wrong."""
    if not model.has_trained_critic:
        raise ValueError("`verifier` needs a trained critic, got a model without: leave it out, or train a critic.")
    if not hasattr(task, "right"):
        raise ValueError(f"`verifier` needs sequences that are right or wrong, got {task.name}: leave it out.")


def load_subject(folder: str):
    """Splits, tokenizer and task of prepared data, or of a folder of one's own."""
    if (Path(folder) / TASK_FILE).is_file() or not (Path(folder) / "dataset_dict.json").is_file():
        return load_prepared(folder)
    dataset, tokenizer, sequence_length = load_data(folder)
    return dataset, tokenizer, OwnSequences(sequence_length)


def judge_held_out(
    model, tokenizer, dataset, args, accelerator: Accelerator, report_dir: Path
) -> tuple[dict[str, Any], JudgedFillings]:
    """The language model bound and, with a trained critic, its figures and the reliability diagram."""
    regime, exponent = model.config.critic_regime, model.config.critic_fill_exponent
    collator = DataCollatorForMaskedDiffusion(
        tokenizer,
        critic_regime=regime,
        critic_fill_exponent=exponent,
        seed=args.seed,
        backbone=model.backbone,
    )
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
    metrics = {"language_model": bound_of(judged)}
    if model.has_trained_critic:
        check_judged("num_judged", count, judged.sequence_index, least=1)
        picture = report_dir / "reliability.png" if accelerator.is_main_process else None
        metrics["calibration"] = critic_figures(model, judged, picture)
    return metrics, judged


def subject_of(args, task, dataset, tokenizer, backbone, accelerator: Accelerator):
    """What judges the samples, and the canvases (N, T) they are made from."""
    if args.puzzles:
        puzzles = load_puzzles(args.data_dir).first(args.num_samples)
        canvases = torch.as_tensor(puzzles.canvases(tokenizer)).long()
        return puzzles, torch.stack([backbone.framed(canvas) for canvas in canvases])
    for name, given in (("judge", args.judge is not None or args.train_judge), ("mauve", args.mauve is not None)):
        if given and task.exact:
            raise ValueError(f"`{name}` must be for text, got data of grids, which have an exact judge: leave it out.")
    canvases = blank_canvases(tokenizer, args.num_samples, task.sequence_length, backbone)
    if task.exact:
        return task, canvases
    check_split(args.split, dataset[args.split], LEAST_HELD_OUT)
    rows = dataset[args.split]["input_ids"][: MOST_HELD_OUT * args.num_samples]
    words = {"whole_words": task.window == "fixed", "has_words": True} if isinstance(task, TextTask) else {}
    if isinstance(task, OwnSequences):
        canvases = canvases_like(rows, args.num_samples, tokenizer, backbone)
    if isinstance(task, TextTask):
        judge = text_judge(args, dataset, tokenizer, task.sequence_length, accelerator)
        real = [tokenizer.decode(row, skip_special_tokens=True) for row in rows[: args.num_samples]]
        task = TextFigures(task, real, judge)
    elif args.judge is not None or args.train_judge:
        raise ValueError(f"`judge` must be for prepared text, got {task.name}: leave it out.")
    mauve = None if args.mauve is None else Mauve(args.mauve, accelerator.device)
    return HeldOutFigures(task, rows, tokenizer, args.num_samples, **words, mauve=mauve), canvases


def judge_folder(args: argparse.Namespace) -> Path:
    """Where the judge of text is, or goes."""
    return Path(args.judge or Path(args.output_dir) / "judge")


def text_judge(args, dataset, tokenizer, sequence_length: int, accelerator: Accelerator) -> TextJudge | None:
    """The judge of text that was asked for, trained first if need be."""
    folder = judge_folder(args)
    if args.train_judge:
        if "judge" not in dataset:
            raise ValueError(
                f"`data_dir` must hold the split judge to train one, got {', '.join(dataset)} in {args.data_dir!r}: "
                "prepare the data with --judge_share 0.5, and train the model on those."
            )
        if accelerator.is_main_process:
            rows = dataset["judge"]["input_ids"]
            settings = {"num_steps": args.judge_steps, "device": accelerator.device}
            with progress_bar(args.judge_steps, "steps of the judge", accelerator) as bar:
                judge = TextJudge.train(rows, tokenizer, sequence_length, **settings, on_step=bar.update)
            judge.save_pretrained(folder)
        accelerator.wait_for_everyone()
    elif args.judge is None:
        return None
    judge = TextJudge.from_pretrained(folder)
    check_same_vocabulary("judge", folder, tokenizer)
    return TextJudge(judge.model.to(accelerator.device), tokenizer)


def expected_error_report(model, subject, judged, tokenizer, args, accelerator: Accelerator) -> dict[str, Any]:
    """Wrong tokens per sequence, expected and true: of answers to Sudoku puzzles, or of held-out fillings."""
    if isinstance(subject, SudokuPuzzles):  # which alone know of each token whether it is right
        budget = sorted(args.forward_passes)[len(args.forward_passes) // 2]
        errors = errors_of_answers(
            model, subject, tokenizer, budget, args.batch_size, args.seeds[0], accelerator=accelerator
        )
        title = f"Wrong tokens an answer, at {budget} forward passes"
    else:
        errors = errors_of_fillings(model, judged)
        title = "Wrong tokens a held-out sequence, filled in one shot"
    if accelerator.is_main_process:
        plot_expected_errors(
            Path(args.output_dir) / "expected_errors.png", errors.expected, errors.actual, title=title
        )
    return error_figures(errors)


def score_of(subject, figure: str, figures: dict[str, float]) -> Any:
    """How good figures are by one of them: the larger the better, whatever is better of the figure itself."""
    if isinstance(subject, HeldOutFigures):
        return subject.score(figures, figure)
    return score_by(figures, figure, getattr(subject, "better", {}))


# What figures ask for that are not always measured.
WAYS_TO_MEASURE = {"fcd": "it needs molecules and `pip install critic_gpt[molecules]`", "mauve": "give --mauve MODEL"}


def check_tuned_by(figure: str | None, subject) -> None:
    """Refuses to choose settings by what is not measured."""
    if figure is not None and figure not in subject.figures:
        way_out = WAYS_TO_MEASURE.get(figure, "choose one of these")
        raise ValueError(f"`tuned_by` must be one of {', '.join(subject.figures)}, got {figure!r}: {way_out}.")


def compare(model, tokenizer, subject, canvases, args, accelerator: Accelerator) -> tuple[dict, dict[str, str]]:
    """The table of the comparison, and why strategies that nobody named are not in it."""
    strategies, reasons = select_strategies(model, args.strategies, args.tune)
    tuning = None
    if args.tune:
        score = functools.partial(score_of, subject, args.tuned_by or next(iter(subject.figures)))
        tuning = Tuning(args.tuning_seed, args.tuning_samples, score, args.tuning_temperatures)
    total = len(strategies) * len(args.forward_passes)
    with progress_bar(total, "cells", accelerator) as bar:
        table = compare_strategies(
            model,
            tokenizer,
            subject,
            args.forward_passes,
            strategies,
            batch_size=args.batch_size,
            seeds=args.seeds,
            accelerator=accelerator,
            tuning=tuning,
            canvases=canvases,
            on_cell=lambda *_: bar.update(),
        )
    return table, reasons


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Runs one evaluation; returns what metrics.json holds."""
    import_strategies(argv)
    args = evaluate_parser().parse_args(argv)
    check_arguments(args)
    check_output_dir("output_dir", args.output_dir)
    if args.train_judge:
        check_output_dir("judge", judge_folder(args))
    dataset, tokenizer, task = load_subject(args.data_dir)
    if args.split not in dataset:
        raise ValueError(f"`split` must be one of {', '.join(dataset)}, got {args.split!r}: choose one of these.")
    check_split(args.split, dataset[args.split])
    accelerator = start_accelerator()
    model = load_model("model", args.model, tokenizer, task.sequence_length, dtype=args.dtype)
    model = model.to(accelerator.device).eval()
    select_strategies(model, args.strategies)  # refuses before the work
    if args.verifier is not None:
        check_verifier(model, task)
    report_dir = Path(args.output_dir)
    check_picture(report_dir / "reliability.png")
    subject, canvases = subject_of(args, task, dataset, tokenizer, model.backbone, accelerator)
    check_tuned_by(args.tuned_by, subject)
    if accelerator.is_main_process:
        report_dir.mkdir(parents=True, exist_ok=True)
    metrics, judged = judge_held_out(model, tokenizer, dataset[args.split], args, accelerator, report_dir)
    table, reasons = compare(model, tokenizer, subject, canvases, args, accelerator)
    metrics |= figures_of(table)
    metrics["seconds"] = {n: {b: c["seconds"] for b, c in row.items() if c is not None} for n, row in table.items()}
    metrics["comparison"] = table
    if isinstance(subject, HeldOutFigures):
        metrics["real_text"] = subject.real
    if args.verifier is not None:
        more = {"seeds": args.seeds, "batch_size": args.batch_size, "accelerator": accelerator}
        metrics["verifier"] = {}
        with progress_bar(len(args.verifier), "budgets", accelerator) as bar:
            for budget in args.verifier:
                metrics["verifier"][str(budget)] = verify(model, tokenizer, subject, canvases, budget, **more)
                bar.update()
    if args.plot and model.has_trained_critic:
        metrics["expected_errors"] = expected_error_report(model, subject, judged, tokenizer, args, accelerator)
    metrics["settings"] = {
        "task": subject.name,
        "split": args.split,
        "num_judged": min(args.num_judged, len(dataset[args.split])),
        "num_samples": len(canvases),
        "seed": args.seed,
        "seeds": args.seeds,
        "tuning_seed": args.tuning_seed if args.tune else None,
        "tuning_temperatures": args.tuning_temperatures if args.tune else None,
        "tuned_by": (args.tuned_by or next(iter(subject.figures))) if args.tune else None,
        "better": dict(getattr(subject, "better", {})),
        "forward_passes": args.forward_passes,
        "dtype": str(model.dtype).removeprefix("torch."),
        "strategies": {name: dict(named()[name]) for name in table},
        "left_out": reasons,
        "num_parameters": model.num_parameters(),
        "fingerprint": model.fingerprint(),
        "critic_gpt_version": critic_gpt.__version__,
    }
    if accelerator.is_main_process:
        write_report(report_dir, metrics, subject, args.plot, samples_of(model, tokenizer, task, args, canvases))
    return metrics


if __name__ == "__main__":
    run_as_program(main, "evaluate")
