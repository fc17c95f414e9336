# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Measures how often the critic's verdicts come true, and writes `calibration.json` beside the weights.

    python scripts/calibrate.py runs/data runs/model 1024 --split validation
    accelerate launch scripts/calibrate.py runs/data runs/model 1024 --split validation --verbose
    python scripts/calibrate.py config/train_char_diffusion.py runs/model/model.safetensors 1024

The model fills masked sequences of the data as in training; for each of 100 buckets of the critic's score the share of
wrong tokens becomes the error probability. From then on `from_pretrained` loads the table with the weights.

Data are folders of scripts/prepare_data.py, or whatever the library `datasets` reads whose rows have token ids in
`input_ids`, `input` or `x`. With the truth beside them (`labels`, `target` or `y`; -100 and -1 ignored) a row counts
as corrupted already: its [MASK]s are filled and no others made. An `attention_mask` of the data is ignored.
"""

import argparse
import math
import re
import sys
from pathlib import Path
from typing import NamedTuple

from accelerate import Accelerator

import critic_gpt
from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.calibrated_model_critic_gpt import weights_file_name
from critic_gpt.configuration_critic_gpt import CRITIC_REGIMES, CRITIC_TARGET_SCOPES
from critic_gpt.evaluation.data_sources import LOOKUP_HELP, DataSource, load_split, resolve_dataset
from critic_gpt.evaluation.metrics import cross_fitted_report
from critic_gpt.evaluation.plots import check_picture, plot_calibration
from critic_gpt.evaluation.row_forms import CollatorForCorruptedRows, SpecialTokens, uniform_rows
from critic_gpt.evaluation.scoring import JudgedFillings, judge_fillings
from critic_gpt.scripts import (
    check_at_least,
    check_fits,
    check_judged,
    load_model,
    progress_bar,
    run_as_program,
    start_accelerator,
)


VERBOSE_EVERY = 100
# Files of weights in a model's folder: whole, the index of shards, a shard; each with or without a variant.
_WEIGHTS = re.compile(
    r"model(?:\.(?P<a>\w+))?\.safetensors|model\.safetensors\.index(?:\.(?P<b>\w+))?\.json"
    r"|model(?:\.(?P<c>\w+))?-\d{5}-of-\d{5}\.safetensors"
)


class Checkpoint(NamedTuple):
    """A model's `folder` and the `variant` of its weights, `None` for the plain ones."""

    folder: Path
    variant: str | None


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", metavar="DATASET_OR_CONFIG", help=LOOKUP_HELP)
    parser.add_argument(
        "checkpoint",
        metavar="CHECKPOINT",
        help="folder of a model with a trained critic head (a checkpoint-N of a training, too), or the file of "
        "weights in it",
    )
    parser.add_argument(
        "num_sequences", metavar="NUM_SEQUENCES", type=int, help="how many sequences to judge, over all processes"
    )
    parser.add_argument("--split", default="train", choices=["train", "val", "validation", "test"])
    parser.add_argument("--scope", choices=CRITIC_TARGET_SCOPES, help="positions judged; default: the model's own")
    parser.add_argument("--regime", choices=CRITIC_REGIMES, help="share of masks filled; default: the model's own")
    parser.add_argument("--method", default="nearest", choices=["nearest", "isotonic"], help="how to fill buckets")
    parser.add_argument("--batch_size", type=int, default=64, help="sequences a step, over all processes")
    parser.add_argument("--seed", type=int, default=0, help="of masks and fillings")
    parser.add_argument("--plot", help="write a reliability diagram to this PNG")
    parser.add_argument("--verbose", action="store_true", help=f"print the table every {VERBOSE_EVERY} sequences")
    return parser


def resolve_checkpoint(path: str) -> Checkpoint:
    """
    Finds the model that `path` means: a folder, or the file of weights in one.

    Args:
        path (`str`): Folder, or `model.safetensors`, `model.VARIANT.safetensors`, the index of shards or a shard.

    Raises:
        `ValueError`: Nothing there, or a file of another kind.
    """
    given = Path(path)
    if given.suffix in (".pt", ".pth", ".bin"):
        raise ValueError(
            f"`checkpoint` must be safetensors, got {path!r}, whose format can carry code: convert it with "
            "scripts/convert_nanogpt_checkpoint.py and calibrate the folder that it writes."
        )
    if given.is_dir():
        _check_folder(given)
        return Checkpoint(given, None)
    match = _WEIGHTS.fullmatch(given.name)
    if match is None or not given.is_file():
        raise ValueError(
            f"`checkpoint` must be the folder of a model, beside whose weights the table goes, or its file of "
            f"weights, got {path!r}: train one with scripts/train.py, or download it first."
        )
    variant = next((name for name in match.groups() if name), None)
    whole = given.with_name(weights_file_name(variant))
    if whole.is_file() and whole.name != given.name:
        raise ValueError(
            f"`checkpoint` must be the weights that are loaded, got {path!r} beside {whole.name}, which would be "
            "taken instead: remove one of the two."
        )
    return Checkpoint(given.parent, variant)


def _check_folder(folder: Path) -> None:
    """Points from the folder of a training, where it holds no model itself, to its checkpoints."""
    inside = sorted(path.name for path in folder.glob("checkpoint-*") if (path / "config.json").is_file())
    if inside and not (folder / "config.json").is_file():
        raise ValueError(
            f"`checkpoint` must be the folder of a model, got {str(folder)!r}, which holds {', '.join(inside)}: pass "
            "one of these."
        )


def check_critic(path: str, model) -> None:
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
    if model.config.mask_token_id is None:
        raise ValueError(
            f"`checkpoint` must know its mask token, got {path!r} without `mask_token_id` in config.json: write the "
            "id of [MASK] in its tokenizer there."
        )


def check_arguments(args: argparse.Namespace) -> None:
    """Refuses before the work what would fail after it."""
    check_at_least(1, batch_size=args.batch_size)
    # Two: the figures are taken on sequences that the table was not made of.
    check_at_least(2, num_sequences=args.num_sequences)
    if args.plot:
        check_picture(args.plot, field="plot")


def load_rows(source: DataSource, split: str, model, regime: str, args: argparse.Namespace):
    """The rows to judge, the collator that makes batches of them, and the task's name (`None` for data of others)."""
    loaded, config = load_split(source, split), model.config
    if loaded.task is not None:
        check_fits("checkpoint", model, loaded.tokenizer, loaded.task.sequence_length)
    rows, corrupted = uniform_rows(loaded.dataset, config, args.num_sequences)
    if corrupted:
        collator = CollatorForCorruptedRows(SpecialTokens.of(config), config.vocab_size, regime, args.seed)
    else:
        tokenizer = loaded.tokenizer or SpecialTokens.of(config)
        collator = DataCollatorForMaskedDiffusion(tokenizer, critic_regime=regime, seed=args.seed)
    return rows, collator, getattr(loaded.task, "name", None)


def judge(model, rows, collator, args: argparse.Namespace, accelerator: Accelerator) -> JudgedFillings:
    """Fills and judges the sequences, with the verbose table every hundred of them."""
    with progress_bar(args.num_sequences, "sequences", accelerator) as bar:

        def report(done: int, histogram) -> None:
            bar.update(done - bar.n)
            due = done % VERBOSE_EVERY == 0 or done == args.num_sequences
            if args.verbose and due and accelerator.is_main_process:
                title = f"after {done} sequences: bucket, count, count of target 1, probability"
                bar.write(f"{title}\n{histogram.format_table()}", file=sys.stdout)

        return judge_fillings(
            model,
            rows,
            collator,
            args.num_sequences,
            batch_size=steps_of(args.batch_size, args.verbose),
            accelerator=accelerator,
            on_step=report,
        )


def steps_of(batch_size: int, verbose: bool) -> int:
    """Sequences a step: with --verbose the largest number up to `batch_size` whose steps meet every hundred."""
    if not verbose:
        return batch_size
    return max(size for size in range(1, min(batch_size, VERBOSE_EVERY) + 1) if VERBOSE_EVERY % size == 0)


def closing_rates(judged: JudgedFillings, calibration: critic_gpt.CriticCalibration) -> tuple[float, float]:
    """
    The share of wrong tokens, counted position by position, and the same as the table and the counts of its buckets
    give it. Both ways must agree, or the table is not that of these tokens.

    Raises:
        `RuntimeError`: They differ by more than rounding; nothing must be saved then.
    """
    plain = float(judged.critic_target.mean(dtype=float))
    from_buckets = judged.histogram.positive_rate_from_buckets(calibration.probabilities)
    if not math.isclose(plain, from_buckets, rel_tol=1e-9, abs_tol=1e-12):
        raise RuntimeError(
            f"the share of wrong tokens is {plain!r} by positions and {from_buckets!r} by the buckets: the buckets "
            "were not filled with the tokens that were judged, and no table is saved"
        )
    return plain, from_buckets


def print_summary(path, rates: tuple[float, float], calibration, num_processes: int) -> None:
    """What the user wants to know in the end: both closing rates, and what the table is worth."""
    metadata = calibration.metadata
    before, after = metadata["quality"]["before"], metadata["quality"]["after"]
    # A critic that was judged on right or on wrong tokens alone has no AUROC.
    auroc = "none" if after["auroc"] is None else f"{after['auroc']:.4f}"
    shared = f", by {num_processes} processes" if num_processes > 1 else ""
    positions = metadata["quality"]["positions"]
    print(f"Saved {path} from {metadata['num_sequences']} sequences, {positions:,} judged tokens{shared}.")
    print(f"Share of wrong tokens:   {rates[0]:.6f}")
    print(f"The same by the buckets: {rates[1]:.6f}")
    print(f"ECE {before['ece']:.4f} -> {after['ece']:.4f}, AUROC {auroc} (cross-fitted)")


def main(argv: list[str] | None = None) -> critic_gpt.CriticCalibration:
    """Runs one calibration; returns the table."""
    args = build_parser().parse_args(argv)
    check_arguments(args)
    checkpoint, source = resolve_checkpoint(args.checkpoint), resolve_dataset(args.dataset)
    split = {"val": "validation"}.get(args.split, args.split)
    accelerator = start_accelerator()
    model = load_model("checkpoint", str(checkpoint.folder), variant=checkpoint.variant).to(accelerator.device)
    check_critic(args.checkpoint, model)
    if args.scope is not None:
        model.config.critic_target_scope = args.scope
    regime = args.regime or model.config.critic_regime
    rows, collator, task = load_rows(source, split, model, regime, args)
    judged = judge(model, rows, collator, args, accelerator)
    check_judged("num_sequences", args.num_sequences, judged.sequence_index, least=2)
    quality = cross_fitted_report(
        judged.critic_logits, judged.critic_target, judged.sequence_index, method=args.method
    )
    calibration = judged.histogram.fit(
        args.method,
        metadata={
            "source": "one_shot",
            "task": task,
            "dataset": source.name,
            "split": split,
            "corrupted_by": "dataset" if isinstance(collator, CollatorForCorruptedRows) else "collator",
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
    rates = closing_rates(judged, calibration)
    if accelerator.is_main_process:
        path = calibration.save(checkpoint.folder, key=weights_file_name(checkpoint.variant))
        if args.verbose:
            print("the table as saved: bucket, count, count of target 1, probability, saved")
            print(judged.histogram.format_table(calibration.probabilities))
        if args.plot:
            plot_calibration(args.plot, judged.critic_logits, judged.critic_target, calibration)
        print_summary(path, rates, calibration, accelerator.num_processes)
    return calibration


if __name__ == "__main__":
    run_as_program(main, "calibrate")
