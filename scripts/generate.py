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
    python scripts/generate.py --model runs/model --strategy_module my_strategies.py --remasking mine

Prompts may hold [MASK] holes or be prefixes; without a prompt, sequences are made from nothing. Every field of the
generation configuration has a flag; what a flag leaves out is that of the model. Printed are the text, in how many
forward passes it took part, its numbers (by the model itself, by its critic, by a judge where one is given) and the
least certain tokens with their error probability. Without --seed one is drawn. --stream draws every step in the
terminal while it happens, coloured by error probability; into a file or pipe it writes the finished texts alone.
In --prompt, [MASK]*30 stands for thirty [MASK]. --animate writes every step into one file that travels alone: .html
with a time line, for all samples, or a .gif of one; --row_width says how many tokens make a line of a grid.

    python scripts/generate.py --model runs/demo/model --num_steps 12 --animate denoising.html --row_width 6

For many prompts: --prompts reads lines of JSON, each a text, null or an object with the key `prompt` or `text`;
--results writes lines of JSON as the batches are done, instead of printing: `index`, `input` (the line), `sample` and
what is listed below under results. The same command goes on where it was stopped, with the same results as if it had
not been; FILE.settings.json beside the results says what they were made by. Several processes, on one machine or on
many, share out the batches and write the same file; a stopped run may go on with another number of them.

    python scripts/generate.py --model runs/model --prompts prompts.jsonl --results results.jsonl --num_samples 4
    accelerate launch scripts/generate.py --model runs/model --prompts prompts.jsonl --results results.jsonl

--save writes a JSON document, `null` where there is no such number:

    settings
        model, fingerprint      folder or hub name, and a hash of the weights
        remasking_model, judge_model, strategy_module
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
            remasked            positions that were re-masked, counted from 0
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("generate")  # before anything is imported that takes long

import argparse
import os
import platform
import re
import secrets
from pathlib import Path
from typing import Any

import torch
import transformers
from tqdm import tqdm

from critic_gpt import __version__
from critic_gpt.cli.flags import JUDGES, generate_parser
from critic_gpt.cli.generation_flags import (
    flag_settings,
    import_strategies,
)
from critic_gpt.explorer.animation import Recorder, check_animation
from critic_gpt.explorer.drawing import visible_text
from critic_gpt.explorer.streaming import TerminalStreamer
from critic_gpt.generation.streamers import CriticStreamer
from critic_gpt.hub.files import write_json
from critic_gpt.scripts import check_at_least, check_output_file, load_pipeline, run_as_program, say
from critic_gpt.scripts.json_lines import ResultLines, read_rows, text_of
from critic_gpt.scripts.processes import Processes, refuse_to_share


LEAST_CERTAIN = 5
# Of an input that is an object: where its prompt is.
PROMPT_KEYS = ("prompt", "text")
MOST_MASKS = 2**20


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
    """Generates; returns the pipeline's results, none where --results writes them."""
    import_strategies(argv)
    args = generate_parser().parse_args(argv)
    check_at_least(1, num_samples=args.num_samples, batch_size=args.batch_size)
    names = [*(setting.name for setting in flag_settings()), *JUDGES]
    options = {name: getattr(args, name) for name in names if getattr(args, name) is not None}
    check_exclusive(args)
    processes = Processes()
    lines = None if args.results is None else processes.from_main(lambda: ResultLines("results", args.results))
    prompts = processes.from_main(lambda: read_prompts(args))
    if args.save or args.history:
        options["return_history"] = True
    if args.animate:
        check_animation(args.animate, len(prompts) * args.num_samples)
    for name in ("save", "animate"):
        if path := getattr(args, name):
            check_output_file(name, path)
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    if args.row_width is not None and not (args.stream or args.animate):
        raise ValueError(f"`row_width` is for `stream` and `animate`, got {args.row_width} without: leave it out.")
    generate = load_pipeline("critic-diffusion", args.model, processes.device)
    if args.prompts is None:
        prompts = [written_out(prompt, generate.tokenizer.mask_token) for prompt in prompts]
    if lines is not None:
        write_lines(lines, generate, args, prompts, options, processes)
        return []
    seed = secrets.randbits(30) if args.seed is None else args.seed
    repeated = [prompt for prompt in prompts for _ in range(args.num_samples)]
    streamer = TerminalStreamer(generate.tokenizer, row_width=args.row_width) if args.stream else None
    if args.animate:
        streamer = recorder = Recorder(generate.tokenizer, args.row_width, streamer)
    results = generated(generate, repeated, args.batch_size, seed, options, streamer)
    if args.save:
        settings = {**made_by(generate.model, args, seed, options), "prompts": prompts, "batch_size": args.batch_size}
        settings["versions"] = {
            "critic_gpt": __version__,
            "transformers": transformers.__version__,
            "torch": torch.__version__,
            "python": platform.python_version(),
        }
        write_json(args.save, {"settings": settings, "results": results})
    for result in results:
        print(visible_text(describe(result if args.history else {**result, "history": []})))
    if args.animate:  # last, since a text may turn out too long for a GIF
        name = Path(args.model).resolve().name if Path(args.model).exists() else args.model
        recorder.save(args.animate, f"{name}, denoising with seed {seed}", generate.model.fingerprint())
    return results


def generated(
    generate, prompts: list[Any], batch_size: int, seed: int, options: dict[str, Any], streamer: CriticStreamer | None
) -> list[dict[str, Any]]:
    """The results of all prompts, batch by batch; a bar counts them where nothing else is drawn."""
    stream = {} if streamer is None else {"streamer": streamer}
    silent = True if isinstance(streamer, TerminalStreamer) or len(prompts) <= batch_size else None
    results: list[dict[str, Any]] = []
    with tqdm(total=len(prompts), unit="samples", disable=silent) as bar:
        for start in range(0, len(prompts), batch_size):
            batch = prompts[start : start + batch_size]
            results += generate(batch, batch_size=batch_size, seed=seed, first_index=start, **options, **stream)
            bar.update(len(batch))
    return results


def written_out(prompt: str | None, mask: str) -> str | None:
    """A prompt with each [MASK]*30, or that of the tokenizer's own mask, as thirty of them."""

    def repeated(match: re.Match) -> str:
        if len(match[2]) > 7 or int(match[2]) > MOST_MASKS:
            raise ValueError(f"`prompt` must hold at most {MOST_MASKS:,} masks, got {match[0]!r:.40}: ask for fewer.")
        return match[1] * int(match[2])

    return prompt and re.sub(rf"({re.escape(mask)}|\[MASK\])\*(\d+)", repeated, prompt)


def read_prompts(args: argparse.Namespace) -> list[Any]:
    """The prompts of a command line: `None` is from nothing, of lines of JSON the rows that hold them."""
    if args.prompts is None:
        return args.prompt or [None]
    return read_rows("prompts", args.prompts, PROMPT_KEYS, True)


def check_exclusive(args: argparse.Namespace) -> None:
    """Refuses flags that exclude each other, and several processes that would all do the same."""
    if args.prompt is not None and args.prompts is not None:
        raise ValueError(f"`prompt` must be left out beside `prompts`, got {args.prompt!r:.60}: drop one of the two.")
    if args.results is None:
        refuse_to_share("results", "name a file, or start one process")
        return
    for name in ("save", "history", "stream", "animate"):
        if getattr(args, name):
            raise ValueError(f"`{name}` must be left out beside `results`, got {getattr(args, name)!r}: drop it.")


def write_lines(
    lines: ResultLines,
    generate,
    args: argparse.Namespace,
    prompts: list[Any],
    options: dict[str, Any],
    processes: Processes,
) -> None:
    """Generates for `--results`; without `--seed` a run that goes on keeps the one that it drew."""
    drawn = processes.from_main(lambda: lines.earlier.get("seed", secrets.randbits(30)))
    seed = drawn if args.seed is None else args.seed
    repeated = [(prompt, sample) for prompt in prompts for sample in range(args.num_samples)]

    def results_of(start: int, end: int) -> list[dict[str, Any]]:
        given = [text_of(prompt, PROMPT_KEYS) for prompt, _ in repeated[start:end]]
        made = generate(given, batch_size=args.batch_size, seed=seed, first_index=start, **options)
        places = zip(range(start, end), repeated[start:end], made, strict=True)
        return [{"index": i, "input": prompt, "sample": sample, **result} for i, (prompt, sample), result in places]

    settings = {**made_by(generate.model, args, seed, options), "critic_gpt_version": __version__}
    before = lines.write(settings, repeated, args.batch_size, results_of, "samples", processes)
    there = f", {before} of them there before" if before else ""
    if processes.is_main:
        say(f"{len(repeated)} results in {args.results}{there}.")


def made_by(model, args: argparse.Namespace, seed: int, options: dict[str, Any]) -> dict[str, Any]:
    """What results depend on, beside the prompts."""
    return {
        "model": args.model,
        "fingerprint": model.fingerprint(),
        "remasking_model": args.remasking_model,
        "judge_model": args.judge_model,
        "strategy_module": args.strategy_module,
        "num_samples": args.num_samples,
        "seed": seed,
        "generation_config": resolved(model, options),
    }


def resolved(model, options: dict[str, Any]) -> dict[str, Any]:
    """Every field of the generation configuration as the call used it."""
    given = {name: value for name, value in options.items() if name != "judge_model"}
    config = model.resolve_generation_config(**given)
    return {name: getattr(config, name) for name in sorted(config._FIELDS)}


if __name__ == "__main__":
    run_as_program(main, "generate")
