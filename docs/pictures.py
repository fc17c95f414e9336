# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Draws the pictures of the pages on concepts from the records in docs/pictures/.

    python docs/pictures.py                                         # the pictures alone, in docs/images/
    python docs/pictures.py --record runs/demo/model runs/demo/data     # measures both records anew first: a minute

`p_wrong.png`: P(wrong) against what came true, where the table was measured and where it was not. `remasking.png`: one
grid, step by step. (`exact_chain.png` is drawn by tests/helpers/exact_chain.py, `step.svg` by hand.)
"""

import argparse
import datetime
import importlib.metadata
import random
from pathlib import Path
from typing import Any

from critic_gpt.evaluation.plots import COLOURS, GREY, MARKERS, _new_figure
from critic_gpt.hub.documents import read_object
from critic_gpt.hub.files import replace_file, write_json


HERE = Path(__file__).parent
RECORDS, IMAGES = HERE / "pictures", HERE / "images"
NUM_GRIDS, NUM_WRONG, NUM_CALIBRATION = 1000, 4, 2000
PROMPT, SETTINGS = "123456" + "[MASK]" * 30, {"num_steps": 9, "seed": 3}


def about(model: str) -> dict[str, Any]:
    """What every record says of itself."""
    versions = {name: importlib.metadata.version(name) for name in ("torch", "transformers")}
    return {"date": datetime.date.today().isoformat(), "versions": versions, "model": model}


# ---- measuring ----


def record_p_wrong(folder: str, data: str) -> dict[str, Any]:
    """Predicted and observed shares of wrong tokens: fillings, then grids with some wrong cells by either table."""
    import numpy as np
    import torch
    from transformers import pipeline

    from critic_gpt import DataCollatorForMaskedDiffusion
    from critic_gpt.backbones.description import Backbone
    from critic_gpt.evaluation import SpecialTokens, judge_fillings, reliability_bins
    from critic_gpt.tasks import load_prepared

    splits, tokenizer, task = load_prepared(data)
    proofread = pipeline("critic-proofread", model=folder)
    model = proofread.model
    collator = DataCollatorForMaskedDiffusion(
        SpecialTokens.of(model.config), seed=1, backbone=Backbone.of(model.config)
    )
    judged = judge_fillings(model, splits["test"], collator, NUM_GRIDS)
    chance = random.Random(0)
    truths = ["".join(tokenizer.convert_ids_to_tokens(row)) for row in splits["test"][:NUM_GRIDS]["input_ids"]]
    texts, wrong = [], np.zeros((NUM_GRIDS, task.sequence_length), dtype=bool)
    for row, line in enumerate(truths):
        digits = list(line)
        for place in chance.sample(range(len(line)), NUM_WRONG):
            digits[place] = chance.choice([digit for digit in task.digits if digit != line[place]])
            wrong[row, place] = True
        texts.append("".join(digits))

    def curve(probabilities: torch.Tensor, target: torch.Tensor) -> dict[str, Any]:
        bins = reliability_bins(probabilities, target, num_bins=10)
        rows = zip(bins["probability"], bins["rate"], bins["count"], strict=True)
        points = [[round(float(p), 4), round(float(o), 4), int(n)] for p, o, n in rows if n]
        return {"wrong": round(float(torch.as_tensor(target).float().mean()), 4), "points": points}

    def planted() -> dict[str, Any]:
        said = [
            [token["error_probability"] for token in result["tokens"]] for result in proofread(texts, batch_size=64)
        ]
        return curve(torch.tensor(said).flatten(), torch.from_numpy(wrong).flatten())

    curves = {
        "fillings": curve(
            model.calibration.error_probability(torch.as_tensor(judged.critic_logits)), judged.critic_target
        )
    }
    model.planted_calibration = None
    curves["four wrong cells, the same table"] = planted()
    model.calibrate(splits["validation"], source="planted", num_sequences=NUM_CALIBRATION)
    curves["four wrong cells, a table of planted errors"] = planted()
    return {**about("make demo"), "grids": NUM_GRIDS, "calibration_grids": NUM_CALIBRATION, "curves": curves}


def record_denoising(folder: str) -> dict[str, Any]:
    """The steps of one generation: what each pass saw, P(wrong) of it, and what was re-masked."""
    from transformers import pipeline

    run = pipeline("critic-diffusion", model=folder)
    ids = run.tokenizer(PROMPT, return_tensors="pt").input_ids
    output = run.model.generate(ids, return_history=True, **SETTINGS)

    def text(row) -> str:
        return "".join("." if token == run.tokenizer.mask_token else token for token in row)

    def seen(step) -> dict[str, Any]:
        said = [None] * ids.shape[1] if step.error_probabilities is None else step.error_probabilities[0].tolist()
        tokens = text(run.tokenizer.convert_ids_to_tokens(step.input_ids[0]))
        pairs = zip(said, tokens, strict=True)
        known = [None if p is None or p != p or token == "." else round(p, 3) for p, token in pairs]
        return {"tokens": tokens, "p_wrong": known, "remasked": step.remasked[0].nonzero().flatten().tolist()}

    final = text(run.tokenizer.convert_ids_to_tokens(output.sequences[0]))
    last = {"tokens": final, "p_wrong": [round(p, 3) for p in output.error_probabilities[0].tolist()], "remasked": []}
    return {
        **about("make demo"),
        "prompt": PROMPT,
        "settings": SETTINGS,
        "expected_errors": round(float(output.expected_errors[0]), 3),
        "steps": [*map(seen, output.history), last],
    }


# ---- drawing ----


def save(figure, name: str) -> None:
    """Beside the others, in one step."""
    import io

    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=110, metadata={"Software": None})
    replace_file(IMAGES / name, picture.getvalue())


def draw_p_wrong(record: dict[str, Any]) -> None:
    """Three curves beside the diagonal."""
    figure = _new_figure(6.6, 4.6)
    axes = figure.subplots()
    axes.plot((0, 1), (0, 1), linestyle="--", color=GREY, linewidth=1.2, label="what is said comes true")
    for (name, curve), colour, marker in zip(record["curves"].items(), COLOURS, MARKERS, strict=False):
        # Of a handful of tokens nothing can be read off.
        points = [point for point in curve["points"] if point[2] >= 30]
        said, seen, counts = zip(*points, strict=True)
        total = sum(count for _, _, count in curve["points"])
        expected = sum(chance * count for chance, _, count in curve["points"]) / total
        label = f"{name}: {expected:.1%} expected to be wrong, {curve['wrong']:.1%} are"
        axes.plot(said, seen, color=colour, linewidth=1.2, alpha=0.6)
        sizes = [8 + 220 * (count / total) ** 0.5 for count in counts]
        axes.scatter(
            said, seen, sizes, color=colour, marker=marker, label=label, alpha=0.85, edgecolor="white", zorder=3
        )
    axes.set(
        xlabel="P(wrong) that was said",
        ylabel="share that was wrong",
        xlim=(-0.02, 1.02),
        ylim=(-0.04, 1.3),
        yticks=[0, 0.2, 0.4, 0.6, 0.8, 1.0],
    )
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color=GREY, alpha=0.25)
    legend = axes.legend(frameon=False, fontsize=8, loc="upper left")
    for handle in legend.legend_handles[1:]:
        handle.set_sizes([30])
    save(figure, "p_wrong.png")


def draw_denoising(record: dict[str, Any]) -> None:
    """One grid per step, coloured by P(wrong), with a frame around what is re-masked."""
    from matplotlib import colormaps
    from matplotlib.patches import Rectangle

    steps, side, given = record["steps"], 6, record["prompt"].replace("[MASK]", ".")
    figure = _new_figure(9.2, 4.3)
    palette = colormaps["Reds"]
    for number, (axes, step) in enumerate(zip(figure.subplots(2, len(steps) // 2).flat, steps, strict=True)):
        for place, (token, chance) in enumerate(zip(step["tokens"], step["p_wrong"], strict=True)):
            row, column = divmod(place, side)
            is_given = given[place] != "."
            colour = "#e9e9e9" if token == "." else "white" if is_given or chance is None else palette(0.75 * chance)
            axes.add_patch(Rectangle((column, -row), 1, 1, facecolor=colour, edgecolor="#c9c9c9", linewidth=0.6))
            weight = "bold" if is_given else "normal"
            shown = "" if token == "." else token
            axes.text(column + 0.5, 0.48 - row, shown, ha="center", va="center", fontsize=10, weight=weight)
        for place in step["remasked"]:
            row, column = divmod(place, side)
            frame = Rectangle((column, -row), 1, 1, fill=False, edgecolor=COLOURS[0], linewidth=2.2, zorder=3)
            axes.add_patch(frame)
        axes.set(xlim=(-0.1, side + 0.1), ylim=(0.9 - side, 1.1), aspect="equal")
        axes.axis("off")
        axes.set_title("finished" if number == len(steps) - 1 else f"pass {number + 1} sees", fontsize=9.5)
    save(figure, "remasking.png")


def main(argv: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--record", nargs=2, metavar=("MODEL", "DATA"), help="measure both records anew by these")
    args = parser.parse_args(argv)
    if args.record:
        write_json(RECORDS / "p_wrong.json", record_p_wrong(*args.record))
        write_json(RECORDS / "denoising.json", record_denoising(args.record[0]))
    draw_p_wrong(read_object(RECORDS / "p_wrong.json"))
    draw_denoising(read_object(RECORDS / "denoising.json"))


if __name__ == "__main__":
    main()
