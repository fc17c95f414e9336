# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Measures how often the critic's verdicts come true, and writes `calibration.json` beside the weights.

    python scripts/calibrate.py runs/data runs/model 1024 --split validation
    accelerate launch scripts/calibrate.py runs/data runs/model 1024 --split validation --verbose

The model fills masked sequences of the prepared data as in training; for each of 100 buckets of the critic's score the
share of wrong tokens becomes the error probability. From then on `from_pretrained` loads the table with the weights.
"""

import argparse
import os

from accelerate import Accelerator

import critic_gpt
from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.calibrated_model_critic_gpt import weights_file_name
from critic_gpt.configuration_critic_gpt import CRITIC_REGIMES, CRITIC_TARGET_SCOPES
from critic_gpt.evaluation.metrics import cross_fitted_report
from critic_gpt.evaluation.plots import check_picture, plot_calibration
from critic_gpt.evaluation.scoring import judge_fillings
from critic_gpt.scripts import check_at_least, check_split, load_model, run_as_program
from critic_gpt.tasks import load_prepared


VERBOSE_EVERY = 100


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", help="folder written by scripts/prepare_data.py")
    parser.add_argument("checkpoint", help="folder of a model with a trained critic head")
    parser.add_argument("num_sequences", type=int, help="how many sequences to judge, over all processes")
    parser.add_argument("--split", default="train", choices=["train", "val", "validation", "test"])
    parser.add_argument("--scope", choices=CRITIC_TARGET_SCOPES, help="positions judged; default: the model's own")
    parser.add_argument("--regime", choices=CRITIC_REGIMES, help="share of masks filled; default: the model's own")
    parser.add_argument("--method", default="nearest", choices=["nearest", "isotonic"], help="how to fill buckets")
    parser.add_argument("--batch_size", type=int, default=64, help="sequences a step, over all processes")
    parser.add_argument("--seed", type=int, default=0, help="of masks and fillings")
    parser.add_argument("--plot", help="write a reliability diagram to this PNG")
    parser.add_argument("--verbose", action="store_true", help=f"print the table every {VERBOSE_EVERY} sequences")
    return parser


def check_checkpoint(path: str, model) -> None:
    """Refuses a model whose critic there is nothing to measure of."""
    if model.critic_head is None:
        raise ValueError(
            f"`checkpoint` must have a critic head to calibrate, got {path!r} without one: train it with "
            "`scripts/train.py --add_critic_head True`."
        )
    if not model.has_trained_critic:
        raise ValueError(
            f"`checkpoint` must have a trained critic to calibrate, got {path!r} whose critic head is all zeros, as "
            "it was made: train it with scripts/train.py."
        )


def check_arguments(args: argparse.Namespace) -> None:
    """Refuses before the work what would fail after it."""
    check_at_least(1, batch_size=args.batch_size)
    # Two: the figures are taken on sequences that the table was not made of.
    check_at_least(2, num_sequences=args.num_sequences)
    if args.plot:
        check_picture(args.plot, field="plot")
    if not os.path.isdir(args.checkpoint):
        raise ValueError(
            f"`checkpoint` must be the folder of a model, beside whose weights the table goes, got "
            f"{args.checkpoint!r}: train one with scripts/train.py, or download it first."
        )


def steps_of(batch_size: int, verbose: bool) -> int:
    """Sequences a step: with --verbose the largest number up to `batch_size` whose steps meet every hundred."""
    if not verbose:
        return batch_size
    return max(size for size in range(1, min(batch_size, VERBOSE_EVERY) + 1) if VERBOSE_EVERY % size == 0)


def print_summary(path, judged, calibration, num_processes: int) -> None:
    """What the user wants to know in the end: both closing rates, and what the table is worth."""
    histogram, quality = judged.histogram, calibration.metadata["quality"]
    before, after = quality["before"], quality["after"]
    # A critic that was judged on right or on wrong tokens alone has no AUROC.
    auroc = "none" if after["auroc"] is None else f"{after['auroc']:.4f}"
    num_sequences = calibration.metadata["num_sequences"]
    shared = f", by {num_processes} processes" if num_processes > 1 else ""
    print(f"Saved {path} from {num_sequences} sequences, {len(judged.critic_target):,} judged tokens{shared}.")
    print(f"Share of wrong tokens:   {histogram.positive_rate:.6f}")
    print(f"The same by the buckets: {histogram.positive_rate_from_buckets(calibration.probabilities):.6f}")
    print(f"ECE {before['ece']:.4f} -> {after['ece']:.4f}, AUROC {auroc} (cross-fitted)")


def main(argv: list[str] | None = None) -> critic_gpt.CriticCalibration:
    """Runs one calibration; returns the table."""
    args = build_parser().parse_args(argv)
    check_arguments(args)
    split = {"val": "validation"}.get(args.split, args.split)
    accelerator = Accelerator()
    dataset, tokenizer, task = load_prepared(args.dataset)
    check_split(split, dataset[split])
    model = load_model("checkpoint", args.checkpoint, tokenizer, task.sequence_length).to(accelerator.device)
    check_checkpoint(args.checkpoint, model)
    if args.scope is not None:
        model.config.critic_target_scope = args.scope
    regime = args.regime or model.config.critic_regime
    collator = DataCollatorForMaskedDiffusion(tokenizer, critic_regime=regime, seed=args.seed)

    def report(done: int, histogram) -> None:
        due = done % VERBOSE_EVERY == 0 or done == args.num_sequences
        if args.verbose and due and accelerator.is_main_process:
            print(f"after {done} sequences: bucket, count, count of target 1, probability")
            print(histogram.format_table())

    judged = judge_fillings(
        model,
        dataset[split],
        collator,
        args.num_sequences,
        batch_size=steps_of(args.batch_size, args.verbose),
        accelerator=accelerator,
        on_step=report,
    )
    histogram = judged.histogram
    quality = cross_fitted_report(
        judged.critic_logits, judged.critic_target, judged.sequence_index, method=args.method
    )
    calibration = histogram.fit(
        args.method,
        metadata={
            "source": "one_shot",
            "task": task.name,
            "split": split,
            "num_sequences": args.num_sequences,
            "seed": args.seed,
            "scope": model.config.critic_target_scope,
            "fill": model.config.critic_fill,
            "regime": regime,
            "fingerprint": model.fingerprint(),
            "critic_gpt_version": critic_gpt.__version__,
            "quality": quality,
        },
    )
    if accelerator.is_main_process:
        path = calibration.save(args.checkpoint, key=weights_file_name())
        if args.verbose:
            print("the table as saved: bucket, count, count of target 1, probability, saved")
            print(histogram.format_table(calibration.probabilities))
        if args.plot:
            plot_calibration(args.plot, judged.critic_logits, judged.critic_target, calibration)
        print_summary(path, judged, calibration, accelerator.num_processes)
    return calibration


if __name__ == "__main__":
    run_as_program(main, "calibrate")
