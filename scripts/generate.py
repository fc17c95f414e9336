# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Generates text, and says of every token how likely it is wrong.

    python scripts/generate.py --model runs/model --num_samples 4 --num_steps 36 --seed 0
    python scripts/generate.py --model runs/model --prompt "12[MASK]456" --num_steps 8
    python scripts/generate.py --model runs/model --remasking critic_full --schedule 0.9,0.5,0.1 --num_steps 3
    python scripts/generate.py --model runs/model --num_steps 18 --polish_steps 8 --stop_when_expected_errors_below 0.5
    python scripts/generate.py --model runs/model --num_steps 9 --num_candidates 4
    python scripts/generate.py --model runs/model --num_steps 18 --stream
    python scripts/generate.py --model runs/model --remasking none --unmasking entropy_bound --entropy_bound 0.5

Prompts may hold [MASK] holes or be prefixes; without a prompt, sequences are made from nothing. Every field of the
generation configuration has a flag; what a flag leaves out is that of the model. Printed are the text, in how many
forward passes it took part, its numbers (by the model itself, by its critic, by a judge where one is given) and the
least certain tokens with their error probability. Without --seed one is drawn. --stream draws every step in the
terminal while it happens, coloured by error probability; into a file or pipe it writes the finished texts alone.

--save writes a JSON document, `null` where there is no such number:

    settings
        model, fingerprint      folder or hub name, and a hash of the weights
        remasking_model, judge_model
        prompts                 as given; null = from nothing
        num_samples, batch_size, seed
        generation_config       every field as it was used; `remasking` is the strategy that "auto" came down to
        versions                of critic_gpt, transformers, torch and python
    results                     `num_samples` a prompt, in the order of the prompts
        generated_text, tokens, token_ids
        error_probabilities     P(wrong) of each token, 0 for given ones
        expected_errors, error_mean, error_p10, error_p50, error_p90
        self_log_probability    mean natural logarithm, of each generated token when it was last drawn
        judge_wrongness         in [0, 1]
        forward_passes, scoring_passes, judge_passes    of the batch
        row_passes              in how many of the forward passes it took part, all its candidates together
        candidate_expected_errors       of each candidate, where there are several
        history                 one entry a step of the batch:
            input, input_ids    what went in, masks included
            filled, filled_ids  what stood there once masks were filled
            remasked            positions that were masked again, counted from 0
"""

import argparse
import platform
import secrets
from typing import Any

import torch
import transformers
from safetensors import SafetensorError
from transformers import pipeline

from critic_gpt import __version__
from critic_gpt.diffusion.selection import REMASK_SELECTION
from critic_gpt.explorer.streaming import TerminalStreamer
from critic_gpt.generation.configuration import (
    CORRECTION,
    REMASK_BY,
    REMASKING,
    SCHEDULES,
    SEED_PLACEMENT,
    TOKEN_DRAWS,
    UNMASKING,
)
from critic_gpt.hub.files import check_target, write_json
from critic_gpt.scripts import check_at_least, one_line, run_as_program


def number(text: str) -> int | float:
    """Reads a count or, with a decimal point, a share."""
    return float(text) if "." in text else int(text)


def schedule(text: str) -> str | float | list[float]:
    """The name of a schedule, an exponent of progress, or ratios separated by commas."""
    if text in SCHEDULES:
        return text
    try:
        return [float(ratio) for ratio in text.split(",")] if "," in text else float(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"must be {', '.join(SCHEDULES)}, a number or one ratio a step, as in 0.9,0.5,0.1, got {text!r}"
        ) from None


# Flags handed to `generate` where given: every field of its configuration but for what --history says, and for
# `return_dict_in_generate`, since there is a verdict to print.
GENERATION_FLAGS: dict[str, dict[str, Any]] = {
    "num_steps": {"type": int, "help": "denoising steps"},
    "max_new_tokens": {"type": int, "help": "length of what is generated, for prompts without [MASK]"},
    "seed_placement": {"choices": SEED_PLACEMENT, "help": "where a prompt without [MASK] stands in it"},
    "unmasking": {"choices": UNMASKING, "help": "order of revealing"},
    "entropy_bound": {"type": float, "help": "nats that a step of --unmasking entropy_bound may take on at once"},
    "confidence_threshold": {"type": float, "help": "above it --unmasking confidence_threshold reveals"},
    "token_draws": {"choices": TOKEN_DRAWS, "help": "tokens of one pass each by itself, or agreeing with each other"},
    "remasking": {"choices": REMASKING, "help": "who decides what is masked again"},
    "schedule": {"type": schedule, "help": f"{', '.join(SCHEDULES)}, a number or one ratio a step, as in 0.9,0.5,0.1"},
    "start_ratio": {"type": float, "help": "share masked again at first, where all masks are filled"},
    "end_ratio": {"type": float, "help": "share masked again at last"},
    "remask_per_step": {
        "type": number,
        "help": "tokens masked again a step, or as in 0.2 a share of the masks",
    },
    "remask_by": {"choices": REMASK_BY, "help": "rank by P(wrong), or by how likely another token is right instead"},
    "remask_floor": {"type": float, "help": "leave tokens alone that are wrong with no higher probability than that"},
    "error_threshold": {"type": float, "help": "mask again what is wrong with a higher probability"},
    "correction": {"choices": CORRECTION, "help": "mask wrong tokens again, or draw others in their place at once"},
    "polish_steps": {"type": int, "help": "further steps at most, as long as anything seems wrong"},
    "polish_threshold": {"type": float, "help": "P(wrong) above which something does"},
    "stop_when_expected_errors_below": {"type": float, "help": "end a sequence that is expected to be so good"},
    "num_candidates": {"type": int, "help": "generate so many, keep the one with the fewest expected errors"},
    "randomness_strength": {"type": float, "help": "share of chance in the choice, in [0, 1]"},
    "remask_selection": {"choices": REMASK_SELECTION, "help": "the worst tokens, or a weighted draw among them"},
    "selection_temperature": {"type": float, "help": "of that draw, above 0"},
    "remdm_eta": {"type": float, "help": "how much ReMDM masks again, in [0, 1]"},
    "loop_start": {"type": float, "help": "share of the steps after which remdm_loop begins to mask again"},
    "loop_end": {"type": float, "help": "share of the steps after which it ends"},
    "loop_visible": {"type": float, "help": "share of visible tokens that it holds in between"},
    "corrector_interval": {"type": int, "help": "steps of proseco between its corrections"},
    "corrector_steps": {"type": int, "help": "passes of each correction"},
    "corrector_temperature": {"type": float, "help": "of the tokens that they draw; 0 takes the likeliest"},
    "temperature": {"type": float, "help": "0 takes the likeliest token"},
    "top_k": {"type": int, "help": "draw among so many likeliest tokens"},
    "top_p": {"type": float, "help": "draw among the likeliest tokens of this total probability"},
    "return_error_probabilities": {
        "action": argparse.BooleanOptionalAction,
        "help": "judge the finished text by the critic, in one more pass",
    },
    **{
        f"{name}_token_id": {"type": int, "nargs": count, "help": "that of the model's configuration by default"}
        for name, count in (("mask", None), ("pad", None), ("bos", None), ("eos", "+"))
    },
    "remasking_model": {"help": "folder or hub name of a token classifier that decides what is masked again"},
    "judge_model": {"help": "folder or hub name of a sequence scorer that judges the finished text"},
}
LEAST_CERTAIN = 5


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or hub name of a model")
    parser.add_argument("--prompt", nargs="*", default=None, help="one or more prompts")
    parser.add_argument("--num_samples", type=int, default=1, help="samples a prompt")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=None, help="repeats a run; drawn where not given")
    parser.add_argument("--history", action="store_true", help="print every step as well")
    parser.add_argument("--stream", action="store_true", help="draw every step in the terminal while it happens")
    parser.add_argument("--save", help="write settings, results and every step to this JSON file")
    for name, options in GENERATION_FLAGS.items():
        parser.add_argument(f"--{name}", default=None, **options)
    return parser


def describe(result: dict[str, Any]) -> str:
    """One result as text for the terminal."""
    lines = [f"  {number}: {describe_step(step)}" for number, step in enumerate(result.get("history", []), start=1)]
    lines.append(result["generated_text"])
    judged = result["error_probabilities"] is not None
    verdict = f"{result['expected_errors']:.2f} wrong tokens expected" if judged else "no verdict of a critic"
    lines.append(f"  [{result['row_passes']} forward passes; {verdict}]")
    if result["candidate_expected_errors"] is not None:
        expected = ", ".join(f"{number:.2f}" for number in result["candidate_expected_errors"])
        lines.append(
            f"  the best of {len(result['candidate_expected_errors'])} candidates, by expected errors: {expected}"
        )
    lines += [f"  {line}" for line in describe_quality(result)]
    if judged:
        worst = sorted(enumerate(result["error_probabilities"]), key=lambda pair: -pair[1])[:LEAST_CERTAIN]
        named = ", ".join(f"{result['tokens'][i]!r} at {i} ({p:.1%})" for i, p in worst if p > 0)
        lines.append(f"  least certain: {named or 'none'}")
    return "\n".join(lines)


def describe_quality(result: dict[str, Any]) -> list[str]:
    """The numbers of a result, as far as there are any."""
    lines = []
    if result["self_log_probability"] is not None:
        lines.append(f"self: mean log-probability {result['self_log_probability']:.3f}")
    if result["error_mean"] is not None:
        quantiles = ", ".join(f"p{q} {result[f'error_p{q}']:.1%}" for q in (10, 50, 90))
        lines.append(f"critic: P(wrong) mean {result['error_mean']:.1%}, {quantiles}")
    if result["judge_wrongness"] is not None:
        lines.append(f"judge: wrongness {result['judge_wrongness']:.3f}")
    return lines


def describe_step(step: dict[str, Any]) -> str:
    """One step of a history on one line."""
    again = ", ".join(map(str, step["remasked"]))
    return f"{step['input']!r} -> {step['filled']!r}" + (f", masked again at {again}" if again else "")


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Generates; returns the pipeline's results."""
    args = build_parser().parse_args(argv)
    check_at_least(1, num_samples=args.num_samples, batch_size=args.batch_size)
    options = {name: getattr(args, name) for name in GENERATION_FLAGS if getattr(args, name) is not None}
    prompts = args.prompt or [None]
    seed = secrets.randbits(30) if args.seed is None else args.seed
    if args.save or args.history:
        options["return_history"] = True
    if args.save:
        check_target("save", args.save)
    try:
        generate = pipeline("critic-diffusion", model=args.model)
    except (OSError, SafetensorError) as error:  # missing, or damaged
        raise ValueError(
            f"`model` must be the folder or hub name of a model, got {args.model!r}, which did not load "
            f"({one_line(error).rstrip('.')}): train one with scripts/train.py."
        ) from error
    repeated = [prompt for prompt in prompts for _ in range(args.num_samples)]
    stream = {"streamer": TerminalStreamer(generate.tokenizer)} if args.stream else {}
    results = generate(repeated, batch_size=args.batch_size, seed=seed, **options, **stream)
    if args.save:  # before a word is printed, which a terminal may refuse
        settings = {
            "model": args.model,
            "fingerprint": generate.model.fingerprint(),
            "remasking_model": args.remasking_model,
            "judge_model": args.judge_model,
            "prompts": prompts,
            "num_samples": args.num_samples,
            "batch_size": args.batch_size,
            "seed": seed,
            "generation_config": resolved(generate.model, options),
            "versions": {
                "critic_gpt": __version__,
                "transformers": transformers.__version__,
                "torch": torch.__version__,
                "python": platform.python_version(),
            },
        }
        write_json(args.save, {"settings": settings, "results": results})
    for result in results:
        print(describe(result if args.history else {**result, "history": []}))
    return results


def resolved(model, options: dict[str, Any]) -> dict[str, Any]:
    """Every field of the generation configuration as the call used it."""
    given = {name: value for name, value in options.items() if name != "judge_model"}
    config = model.resolve_generation_config(**given)
    return {name: getattr(config, name) for name in sorted(config._FIELDS)}


if __name__ == "__main__":
    run_as_program(main, "generate")
