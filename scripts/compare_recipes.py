# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Trains one model by each recipe and seed, measures all of them alike, and says what every recipe costs and brings.

    python scripts/compare_recipes.py --recipes scripts/configs/critic_recipes.yaml --data_dir runs/demo/data \\
        --output_dir runs/recipes

A file of recipes is YAML or JSON: `base`, flags of scripts/train.py that all have; `seeds`; and `recipes`, for each
name the flags that make it another one. `after: NAME` begins with the model of that recipe and seed.

Prints a table and writes recipes.json after every model, so that a run that was stopped goes on where it was: for each
recipe and seed the language model bound (nats per token), the critic's AUROC and ECE on held-out data, seconds per
step of training, and for every number of forward passes the figure of the task, of samples by the critic where there
is one.
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("compare")  # before anything is imported that takes long

import argparse
import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from critic_gpt.cli.flags import compare_parser
from critic_gpt.explorer.drawing import visible_text
from critic_gpt.hub.documents import read_object
from critic_gpt.hub.files import write_json
from critic_gpt.scripts import check_at_least, check_output_dir, evaluate, load_model, run_as_program, train
from critic_gpt.tasks import load_task
from critic_gpt.training.checkpoints import MAX_STATE_BYTES
from critic_gpt.training.settings_files import parse_settings


KNOWN = ("base", "seeds", "recipes")


def read_recipes(path: str, only: list[str] | None) -> tuple[dict[str, Any], list[int], dict[str, dict[str, Any]]]:
    """
    Reads a file of recipes.

    Returns:
        `tuple`: the common flags, the seeds, and the flags of each recipe by name, those that others begin with first.

    Raises:
        `ValueError`: What is there is no such file, or names a recipe that is none.
    """
    content = parse_settings(Path(path))
    unknown = sorted(set(content) - set(KNOWN)) if isinstance(content, Mapping) else None
    if unknown is None or unknown or not isinstance(content.get("recipes"), Mapping) or not content["recipes"]:
        raise ValueError(
            f"`recipes` must be a file with `recipes` by name and, where wanted, {KNOWN[0]} and {KNOWN[1]}, got "
            f"{path!r}{'' if not unknown else ' with ' + ', '.join(map(str, unknown))}: see the head of this script."
        )
    recipes = {name: dict(flags or {}) for name, flags in content["recipes"].items()}
    chosen = list(recipes) if only is None else only
    for name in [*chosen, *(flags["after"] for flags in recipes.values() if "after" in flags)]:
        if name not in recipes:
            raise ValueError(f"`recipes` must hold what is asked for, got {name!r}: it holds {', '.join(recipes)}.")
    needed = [recipes[name]["after"] for name in chosen if "after" in recipes[name]]
    ordered = dict.fromkeys([*needed, *chosen])
    for name in ordered:
        if name in needed and "after" in recipes[name]:
            raise ValueError(f"`after` must name a recipe without one, got {name!r}: train longer chains one by one.")
    return dict(content.get("base") or {}), list(content.get("seeds") or [0]), {n: recipes[n] for n in ordered}


def train_flags(
    flags: Mapping[str, Any], data_dir: str, folder: Path, begin_with: Path | None, seed: int
) -> list[str]:
    """The command line of scripts/train.py for one model."""
    given = {"data_dir": data_dir, "output_dir": folder, "seed": seed, "save_strategy": "no", **flags}
    given["overwrite_output_dir"] = True  # of a run that was interrupted before it was measured
    given.pop("after", None)
    if begin_with is not None:
        given["model_name_or_path"] = begin_with
    return [word for name, value in given.items() if value is not None for word in (f"--{name}", str(value))]


def measure(args: argparse.Namespace, folder: Path, figure: str) -> dict[str, Any]:
    """What one trained model is worth, and what a step of its training took."""
    paths = {"model": folder, "data_dir": args.data_dir, "output_dir": folder / "report"}
    numbers = {name: getattr(args, name) for name in ("num_judged", "num_samples", "batch_size")}
    words = [word for name, value in {**paths, **numbers}.items() for word in (f"--{name}", str(value))]
    if args.dtype is not None:
        words += ["--dtype", args.dtype]
    strategy = "critic" if load_model("output_dir", str(folder)).has_trained_critic else "confidence"
    report = evaluate.main([*words, "--strategies", strategy, "--forward_passes", *map(str, args.forward_passes)])
    state = read_object(folder / "trainer_state.json", MAX_STATE_BYTES)
    runtime = next(entry["train_runtime"] for entry in reversed(state["log_history"]) if "train_runtime" in entry)
    critic = report.get("calibration", {}).get("before", {})
    return {
        "bound": report["language_model"]["nats_per_token"],
        "auroc": critic.get("auroc"),
        "ece": critic.get("ece"),
        "seconds_per_step": runtime / state["global_step"],
        "num_parameters": report["settings"]["num_parameters"],
        figure: report[figure][strategy],
    }


def summary_text(results: Mapping[str, Mapping[str, dict]], figure: str, passes: list[int]) -> str:
    """The table: means over the seeds, with the range of the samples' figure."""
    lines = [f"{'recipe':24}{'bound':>8}{'AUROC':>8}{'ECE':>8}{'s/step':>8}" + "".join(f"{p:>24}" for p in passes)]
    for name, by_seed in results.items():
        cells = [f"{name:24}"]
        for key, form in (("bound", ".4f"), ("auroc", ".4f"), ("ece", ".4f"), ("seconds_per_step", ".3f")):
            values = [row[key] for row in by_seed.values() if row[key] is not None]
            cells.append(f"{format(statistics.mean(values), form) if values else '':>8}")
        for budget in passes:
            values = [row[figure][str(budget)] for row in by_seed.values() if row[figure].get(str(budget)) is not None]
            spread = f" ({min(values):.1%} to {max(values):.1%})" if len(values) > 1 else ""
            cells.append(f"{f'{statistics.mean(values):.1%}{spread}' if values else '':>24}")
        lines.append("".join(cells))
    return "\n".join(lines)


def main(argv: list[str] | None = None) -> dict[str, Any]:
    """Runs all recipes; returns what recipes.json holds."""
    args = compare_parser().parse_args(argv)
    check_at_least(1, num_judged=args.num_judged, num_samples=args.num_samples, batch_size=args.batch_size)
    check_output_dir("output_dir", args.output_dir)
    base, seeds, recipes = read_recipes(args.recipes, args.only)
    figure = next(iter(load_task(args.data_dir).figures))  # the first one says most
    output, path = Path(args.output_dir), Path(args.output_dir, "recipes.json")
    output.mkdir(parents=True, exist_ok=True)
    asked = {"base": base, "seeds": seeds, "recipes": recipes, "num_samples": args.num_samples}
    done = read_object(path)["results"] if path.is_file() else {}
    for seed in seeds:
        for name, flags in recipes.items():
            if str(seed) in done.get(name, {}):
                continue
            folder = output / name.replace(" ", "_") / f"seed{seed}"
            after = flags.get("after")
            begin_with = None if after is None else output / after.replace(" ", "_") / f"seed{seed}"
            train.main(train_flags({**base, **flags}, args.data_dir, folder, begin_with, seed))
            done.setdefault(name, {})[str(seed)] = measure(args, folder, figure)
            write_json(path, {"settings": asked, "results": done})
    results = {name: done[name] for name in recipes}
    # Recipes have their names from a file.
    print(visible_text(f"\n{summary_text(results, figure, args.forward_passes)}\n\nWritten to {path}."))
    return {"settings": asked, "results": results}


if __name__ == "__main__":
    run_as_program(main, "compare_recipes")
