# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Generates text, and says of every token how likely it is wrong.

    python scripts/generate.py --model runs/model --num_samples 4 --num_steps 36 --seed 0
    python scripts/generate.py --model runs/model --prompt "12[MASK]456" --num_steps 8

Prompts may hold [MASK] holes or be prefixes; without a prompt, sequences are made from nothing. The least certain
tokens are printed with their error probability.
"""

import argparse
import os
from typing import Any

from safetensors import SafetensorError
from transformers import pipeline

from critic_gpt.generation_configuration_critic_gpt import REMASKING, UNMASKING
from critic_gpt.scripts import check_at_least, one_line, run_as_program, write_json


# Flags handed to `generate` where given.
GENERATION_FLAGS: dict[str, dict[str, Any]] = {
    "num_steps": {"type": int, "help": "denoising steps"},
    "max_new_tokens": {"type": int, "help": "length of what is generated, for prompts without [MASK]"},
    "unmasking": {"choices": UNMASKING, "help": "order of revealing"},
    "remasking": {"choices": REMASKING, "help": "who decides what is masked again"},
    "remask_per_step": {"type": int, "help": "tokens masked again at each step"},
    "error_threshold": {"type": float, "help": "mask again what is wrong with a higher probability"},
    "randomness_strength": {"type": float, "help": "share of chance in the choice, in [0, 1]"},
    "temperature": {"type": float, "help": "0 takes the likeliest token"},
    "top_k": {"type": int, "help": "draw among so many likeliest tokens"},
    "top_p": {"type": float, "help": "draw among the likeliest tokens of this total probability"},
}
LEAST_CERTAIN = 5


def build_parser() -> argparse.ArgumentParser:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or hub name of a model")
    parser.add_argument("--prompt", nargs="*", default=None, help="one or more prompts")
    parser.add_argument("--num_samples", type=int, default=1, help="samples a prompt")
    parser.add_argument("--batch_size", type=int, default=16)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--save", help="write settings, results and every step to this JSON file")
    for name, options in GENERATION_FLAGS.items():
        parser.add_argument(f"--{name}", default=None, **options)
    return parser


def describe(result: dict[str, Any]) -> str:
    """One result as text for the terminal."""
    lines = [result["generated_text"]]
    passes = f"{result['forward_passes']} forward passes"
    if result["error_probabilities"] is None:
        return "\n".join([*lines, f"  [{passes}; no trained critic]"])
    lines.append(f"  [{passes}; {result['expected_errors']:.2f} wrong tokens expected]")
    worst = sorted(enumerate(result["error_probabilities"]), key=lambda pair: -pair[1])[:LEAST_CERTAIN]
    named = ", ".join(f"{result['tokens'][i]!r} at {i} ({p:.1%})" for i, p in worst if p > 0)
    return "\n".join([*lines, f"  least certain: {named or 'none'}"])


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Generates; returns the pipeline's results."""
    args = build_parser().parse_args(argv)
    check_at_least(1, num_samples=args.num_samples, batch_size=args.batch_size)
    options = {name: getattr(args, name) for name in GENERATION_FLAGS if getattr(args, name) is not None}
    prompts = [prompt for prompt in (args.prompt or [None]) for _ in range(args.num_samples)]
    if args.save:
        options["return_history"] = True
        os.makedirs(os.path.dirname(os.path.abspath(args.save)), exist_ok=True)
    try:
        generate = pipeline("critic-diffusion", model=args.model)
    except (OSError, SafetensorError) as error:  # missing, or damaged
        raise ValueError(
            f"`model` must be the folder or hub name of a model, got {args.model!r}, which did not load "
            f"({one_line(error).rstrip('.')}): train one with scripts/train.py."
        ) from error
    results = generate(prompts, batch_size=args.batch_size, seed=args.seed, **options)
    for result in results:
        print(describe(result))
    if args.save:
        write_json(args.save, {"settings": vars(args), "results": results})
    return results


if __name__ == "__main__":
    run_as_program(main, "generate")
