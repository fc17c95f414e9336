# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Measures how often the critic's verdicts come true, and writes `calibration.json` beside the weights.

    python scripts/calibrate.py runs/data runs/model --split validation
    accelerate launch scripts/calibrate.py runs/data runs/model 1024 --split validation --verbose
    python scripts/calibrate.py config/train_char_diffusion.py runs/model/model.safetensors 1024
    python scripts/calibrate.py runs/data runs/model 1024 --split validation --source trajectory --num_steps 18

The model fills masked sequences of the data as in training; for each of 100 buckets of the critic's score the share of
wrong tokens becomes the error probability. `from_pretrained` then loads the table with the weights.

With `--source planted` true texts are judged in which few tokens were made wrong: the table that proofreading prefers.

With `--source trajectory` the masked sequences are generated step by step, and every verdict of the critic on a
visible generated token counts: a table for generating with that sampler, beside the other one in the same file.
`generate` uses it where `remasking` is the same. The one-shot table guides these generations, so make it first.

--method auto takes whichever of the nearest buckets, isotonic regression and the score as it is has the smallest
cross-fitted ECE, and says so. A better table of the same weights, measured on many more tokens for instance, stays
unless --overwrite is given.

The data set is a folder; a name, looked up as NAME, data/NAME, runs/NAME and runs/NAME/data below the working folder,
then below the folder of this package; a config file that names it: .json or .yaml with the key `dataset` or
`data_dir`, or .py with a line `dataset = "..."` (read, never run; names in it are looked up below the file's folder
and the one above it, too); else a data set that `datasets.load_dataset` knows.

Data are folders of scripts/prepare_data.py, or whatever the library `datasets` reads whose rows have token ids in
`input_ids`, `input` or `x`. With the truth beside them (`labels`, `target` or `y`; -100 and -1 ignored) a row counts
as corrupted already: its [MASK]s are filled and no others made. An `attention_mask` of the data is ignored.
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("calibrate")  # before anything is imported that takes long

import argparse
import math
import sys
from pathlib import Path
from typing import Any

from accelerate import Accelerator

import critic_gpt
from critic_gpt import DataCollatorForMaskedDiffusion
from critic_gpt.calibration.file import CALIBRATION_NAME
from critic_gpt.calibration.fingerprint import has_adapters
from critic_gpt.calibration.model import sampler_settings, table_key
from critic_gpt.cli.flags import MOST_CALIBRATED, VERBOSE_EVERY, calibrate_parser
from critic_gpt.cli.generation_flags import import_strategies
from critic_gpt.evaluation.calibrating import (
    DEFAULT_PLANTED_RATE,
    JudgedPlanted,
    judge_planted,
    one_shot_rules,
    planted_rules,
)
from critic_gpt.evaluation.data_sources import DataSource, load_split, resolve_dataset
from critic_gpt.evaluation.metrics import cross_fitted_report
from critic_gpt.evaluation.plots import check_picture, plot_calibration
from critic_gpt.evaluation.row_forms import CollatorForCorruptedRows, SpecialTokens, uniform_rows
from critic_gpt.evaluation.scoring import JudgedFillings, judge_fillings
from critic_gpt.evaluation.table_choice import best_method, cross_fitted_errors, reason_to_keep
from critic_gpt.evaluation.trajectories import FINAL_STEP, JudgedTrajectories, judge_trajectories, report_by_step
from critic_gpt.hub.documents import parse_json
from critic_gpt.hub.vocabulary import check_same_vocabulary, tokenizer_beside
from critic_gpt.scripts import (
    check_at_least,
    check_fits,
    check_judged,
    check_output_dir,
    check_split,
    load_model,
    progress_bar,
    run_as_program,
    say,
    start_accelerator,
)
from critic_gpt.scripts.checkpoints import resolve_checkpoint
from critic_gpt.tasks.own_data import with_own_padding
from critic_gpt.training.model_card import refresh_model_card


# Flags that mean something to one source only.
SOURCE_FLAGS = {
    "one_shot": ("scope", "regime"),
    "trajectory": ("remasking", "num_steps", "temperature", "generation", "mask_rate"),
    "planted": ("planted_rate",),
}


def check_critic(path: str, model) -> None:
    """Refuses a model whose critic cannot be measured."""
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
    """Refuses up front what would fail in the end."""
    check_at_least(1, batch_size=args.batch_size)
    # Two: the figures are taken on sequences that the table was not made of.
    if args.num_sequences is not None:
        check_at_least(2, num_sequences=args.num_sequences)
    if args.plot:
        check_picture(args.plot, field="plot")
    for source, names in SOURCE_FLAGS.items():
        for name in names if source != args.source else ():
            if getattr(args, name) is not None:
                raise ValueError(
                    f"`{name}` must be left out with `--source {args.source}`, got {getattr(args, name)!r}: it is for "
                    f"`--source {source}`."
                )


def generation_settings(args: argparse.Namespace) -> dict[str, Any]:
    """
    What the flags say of generation, as arguments of `generate`.

    Raises:
        `ValueError`: No `KEY=VALUE`, two values of one setting, a setting that does not exist or a wrong value.
    """
    settings = {name: getattr(args, name) for name in ("remasking", "num_steps", "temperature")}
    settings = {name: value for name, value in settings.items() if value is not None}
    for pair in args.generation or ():
        name, equals, text = pair.partition("=")
        if not (name and equals):
            raise ValueError(f"`generation` must be given as KEY=VALUE, got {pair!r}: write for instance top_k=5.")
        if name in settings:
            raise ValueError(f"`{name}` must be given once, got {settings[name]!r} and {text!r}: drop one of the two.")
        try:
            settings[name] = parse_json(text)
        except ValueError:
            settings[name] = text
        if settings[name] is None:
            raise ValueError(f"`{name}` must have a value, got {text}: leave it out for the model's own setting.")
    critic_gpt.CriticGPTGenerationConfig(**settings)  # refuses what is wrong before any work
    return settings


def source_metadata(args: argparse.Namespace, model, settings: dict[str, Any], regime: str) -> dict[str, Any]:
    """What a table's metadata say of how the tokens it was measured on came about."""
    if args.source == "one_shot":
        return one_shot_rules(model.config, regime)
    if args.source == "planted":
        return planted_rules(planted_rate(args))
    return {
        "scope": "generated",
        **dict.fromkeys(("fill", "regime", "fill_exponent")),  # nothing is filled at once
        "mask_rate": args.mask_rate,
        "guided_by": "ramp" if model.calibration is None else "one_shot",
        **sampler_settings(model.resolve_generation_config(**settings)),
    }


def planted_rate(args: argparse.Namespace) -> float:
    """The share of tokens that `--source planted` chooses."""
    return DEFAULT_PLANTED_RATE if args.planted_rate is None else args.planted_rate


def load_rows(source: DataSource, split: str, model, regime: str, args: argparse.Namespace):
    """
    The rows to judge, the collator that makes batches of them, and the task's name (`None` for data of others). How
    many they are stands in `args` from here on.
    """
    loaded, config, own = load_split(source, split), model.config, None
    if args.num_sequences is None:
        check_split(split, loaded.dataset, least=2)
        args.num_sequences = min(MOST_CALIBRATED, len(loaded.dataset))
    if loaded.task is not None:
        check_fits("checkpoint", model, loaded.tokenizer, loaded.task.sequence_length)
    elif (own := tokenizer_beside(source.folder or source.hub_name)) is not None:
        check_same_vocabulary("checkpoint", model.name_or_path, own)
    rows, corrupted = uniform_rows(loaded.dataset, config, args.num_sequences)
    if own is not None:
        rows = with_own_padding(rows, own, config.pad_token_id)
    fill = {"critic_regime": regime, "critic_fill_exponent": config.critic_fill_exponent, "seed": args.seed}
    if corrupted and args.source == "planted":
        raise ValueError(
            f"`source` must be one_shot or trajectory for data that come with labels, got 'planted' for "
            f"{source.name!r}: errors are planted in true texts, so give rows without labels."
        )
    if corrupted:
        collator = CollatorForCorruptedRows(SpecialTokens.of(config), model.backbone.vocab_size, **fill)
    else:
        tokenizer = loaded.tokenizer or SpecialTokens.of(config)
        collator = DataCollatorForMaskedDiffusion(tokenizer, **fill, backbone=model.backbone)
    return rows, collator, getattr(loaded.task, "name", None)


def judge(
    model, rows, collator, args: argparse.Namespace, settings: dict[str, Any], accelerator: Accelerator
) -> JudgedFillings | JudgedPlanted | JudgedTrajectories:
    """Fills and judges the sequences, with the verbose table every hundred of them."""
    counted = {"batch_size": steps_of(args.batch_size, args.verbose), "accelerator": accelerator}
    with progress_bar(args.num_sequences, "sequences", accelerator) as bar:

        def report(done: int, histogram) -> None:
            bar.update(done - bar.n)
            due = done % VERBOSE_EVERY == 0 or done == args.num_sequences
            if args.verbose and due and accelerator.is_main_process:
                title = f"after {done} sequences: bucket, count, count of target 1, probability"
                bar.write(f"{title}\n{histogram.format_table()}", file=sys.stdout)

        counted["on_step"] = report
        if args.source == "one_shot":
            return judge_fillings(model, rows, collator, args.num_sequences, **counted)
        if args.source == "planted":
            rate = planted_rate(args)
            return judge_planted(model, rows, collator, args.num_sequences, rate, seed=args.seed, **counted)
        sampler = {"mask_rate": args.mask_rate, "seed": args.seed, **settings}
        return judge_trajectories(model, rows, collator, args.num_sequences, **counted, **sampler)


def steps_of(batch_size: int, verbose: bool) -> int:
    """Sequences per step: with --verbose the largest number up to `batch_size` whose steps meet every hundred."""
    if not verbose:
        return batch_size
    return max(size for size in range(1, min(batch_size, VERBOSE_EVERY) + 1) if VERBOSE_EVERY % size == 0)


def quality_of(judged: JudgedFillings | JudgedPlanted | JudgedTrajectories, method: str) -> dict[str, Any]:
    """Cross-fitted figures; of trajectories over all steps and, under `final`, of the finished sequences alone."""
    quality = cross_fitted_report(judged.critic_logits, judged.critic_target, judged.sequence_index, method=method)
    if isinstance(judged, JudgedTrajectories):
        quality["final"] = report_by_step(judged, method=method).get(FINAL_STEP)
    return quality


def closing_rates(
    judged: JudgedFillings | JudgedPlanted | JudgedTrajectories, calibration: critic_gpt.CriticCalibration
) -> tuple[float, float]:
    """
    The share of wrong tokens, counted position by position, and the same as the table and the counts of its buckets
    give it. Both ways must agree, or the table is not that of these tokens.

    Raises:
        `RuntimeError`: They differ by more than rounding; nothing must be saved then.
    """
    plain = float(judged.critic_target.mean(dtype=float))
    # A raw table is not made of the counts, which the rates of the buckets still are.
    table = judged.histogram.fit() if calibration.metadata["method"] == "raw" else calibration
    from_buckets = judged.histogram.positive_rate_from_buckets(table.probabilities)
    if not math.isclose(plain, from_buckets, rel_tol=1e-9, abs_tol=1e-12):
        raise RuntimeError(
            f"the share of wrong tokens is {plain!r} by positions and {from_buckets!r} by the buckets: the buckets "
            "were not filled with the tokens that were judged, and no table is saved"
        )
    return plain, from_buckets


def print_summary(
    folder: Path, key: str, rates: tuple[float, float], calibration, num_processes: int, kept: str | None = None
) -> None:
    """What the user wants to know in the end: which table it is, both closing rates, and what it is worth."""
    metadata = calibration.metadata
    before, after = metadata["quality"]["before"], metadata["quality"]["after"]
    # A critic that was judged on right or on wrong tokens alone has no AUROC.
    auroc = "none" if after["auroc"] is None else f"{after['auroc']:.4f}"
    shared = f", by {num_processes} processes" if num_processes > 1 else ""
    positions = metadata["quality"]["positions"]
    path = folder / CALIBRATION_NAME
    done = f"Saved {path}" if kept is None else f"Kept the table in {path}, not the new one"
    say(f"{done} from {metadata['num_sequences']} sequences, {positions:,} judged tokens{shared}.")
    if kept is not None:
        print(f"The one there is better: {kept}. Give --overwrite to replace it all the same.")
    say(f"Table {key}: {measured_on(metadata)}.")
    print(f"Share of wrong tokens:   {rates[0]:.6f}")
    print(f"The same by the buckets: {rates[1]:.6f}")
    print(f"ECE {before['ece']:.4f} -> {after['ece']:.4f}, AUROC {auroc} (cross-fitted)")
    final = metadata["quality"].get("final")
    if final is not None:
        rates = f"{final['expected_rate']:.6f} of the tokens expected wrong, {final['positive_rate']:.6f} are"
        print(f"Of finished sequences:   ECE {final['after']['ece']:.4f}, {rates}")


def measured_on(metadata: dict[str, Any]) -> str:
    """In words, the tokens that a table was measured on."""
    if metadata["source"] == "one_shot":
        return f"masks filled at once, temperature={metadata['temperature']}"
    if metadata["source"] == "planted":
        found, by = metadata["found_at_one_percent"], metadata["text_score"].replace("_", " ")
        share = "" if found is None else f"; at 1 % false alarms {found:.0%} of the errors are found, by {by}"
        rate = metadata["planted_rate"]
        return f"true texts in which a share of {rate} of the tokens was chosen to be made wrong{share}"
    rate = "various mask rates" if metadata["mask_rate"] is None else f"mask_rate={metadata['mask_rate']}"
    names = sampler_settings(critic_gpt.CriticGPTGenerationConfig())
    settings = (f"{name}={metadata[name]}" for name in names if metadata[name] is not None)
    return f"generations with {', '.join(settings)}, at {rate}"


def main(argv: list[str] | None = None) -> critic_gpt.CriticCalibration:
    """Runs one calibration; returns the table."""
    import_strategies(argv)
    args = calibrate_parser().parse_args(argv)
    check_arguments(args)
    settings = generation_settings(args)
    checkpoint, source = resolve_checkpoint(args.checkpoint), resolve_dataset(args.dataset)
    check_output_dir("checkpoint", checkpoint.folder)
    split = {"val": "validation"}.get(args.split, args.split)
    accelerator = start_accelerator()
    model = load_model("checkpoint", str(checkpoint.folder), variant=checkpoint.variant).to(accelerator.device)
    check_critic(args.checkpoint, model)
    model.trajectory_calibration = None  # what an earlier run measured does not guide this one
    if args.scope is not None:
        model.config.critic_target_scope = args.scope
    regime = args.regime or model.config.critic_regime
    measured = source_metadata(args, model, settings, regime)
    rows, collator, task = load_rows(source, split, model, regime, args)
    judged = judge(model, rows, collator, args, settings, accelerator)
    if isinstance(judged, JudgedPlanted):
        measured |= judged.rules()
    check_judged("num_sequences", args.num_sequences, judged.sequence_index, least=2)
    fitted = (judged.critic_logits, judged.critic_target, judged.sequence_index)
    errors = cross_fitted_errors(*fitted) if args.method == "auto" else {}
    method = best_method(errors) if errors else args.method
    calibration = judged.histogram.fit(
        method,
        metadata={
            "source": args.source,
            "task": task,
            "dataset": source.name,
            "split": split,
            "corrupted_by": "dataset" if isinstance(collator, CollatorForCorruptedRows) else "collator",
            "num_sequences": args.num_sequences,
            "seed": args.seed,
            **measured,
            "fingerprint": model.fingerprint(),
            "fingerprints_float16": (model.fingerprints() or [None])[1:],
            "critic_gpt_version": critic_gpt.__version__,
            "quality": quality_of(judged, method),
        },
    )
    rates = closing_rates(judged, calibration)
    if accelerator.is_main_process:
        key = table_key(checkpoint.variant, args.source, adapter=has_adapters(model))
        old = None if args.overwrite else critic_gpt.CriticCalibration.load(checkpoint.folder, key)
        kept = None
        if old is not None and old.metadata.get("fingerprint") and old.fits(model.fingerprints()):
            kept = reason_to_keep(old, calibration, *fitted[:2], measured)
        if kept is None:
            calibration.save(checkpoint.folder, key=key)
            refresh_model_card(checkpoint.folder)
        if args.verbose:
            print("the table as saved: bucket, count, count of target 1, probability, saved")
            print(judged.histogram.format_table(calibration.probabilities))
        if args.plot:
            plot_calibration(args.plot, judged.critic_logits, judged.critic_target, calibration)
        print_summary(checkpoint.folder, key, rates, calibration, accelerator.num_processes, kept)
        if errors:
            named = ", ".join(f"{name} {error:.4f}" for name, error in errors.items())
            print(f"Method {method}, the best by cross-fitted ECE: {named}.")
        if kept is not None:
            calibration = old
    return calibration


if __name__ == "__main__":
    run_as_program(main, "calibrate")
