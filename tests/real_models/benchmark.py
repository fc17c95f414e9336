# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Measures what a critic on the frozen model of heavy chains is worth, and records it in docs/results/.

    make real-models && python tests/real_models/benchmark.py --output build/heavy.json && make results

Each strategy chooses its settings at each budget, by other chains, with half of the residues masked. Those that need
no critic are measured with three sampling seeds, each with chains and masks of its own, the others with these for each
of three training seeds. What is measured is kept in the output file, and a run that was stopped goes on from there.
"""

import argparse
import datetime
import importlib.metadata
import itertools
import json
import statistics
import time
from pathlib import Path
from typing import Any

import heavy_critic
import real_models
import torch

from critic_gpt.backbones.description import Backbone
from critic_gpt.evaluation.comparison import over_seeds, steps_within
from critic_gpt.evaluation.metrics import calibration_report
from critic_gpt.evaluation.row_forms import SpecialTokens
from critic_gpt.evaluation.scoring import judge_fillings
from critic_gpt.evaluation.trajectories import judge_trajectories
from critic_gpt.training.collator import DataCollatorForMaskedDiffusion


RESULTS = Path(__file__).parents[2] / "docs" / "results"
BUDGETS = (4, 8, 16)
MASK_RATES = (0.3, 0.5, 0.7)
TUNED_AT = 0.5
SEEDS = (1, 2, 3)
TUNING_SEED = 0
STEPS = 60


def _grid(**choices) -> list[dict[str, Any]]:
    return [dict(zip(choices, values, strict=True)) for values in itertools.product(*choices.values())]


_COLD = {"temperature": (0.0, 0.5)}
STRATEGIES: dict[str, list[dict[str, Any]]] = {
    "random": _grid(unmasking=("random",), remasking=("none",), **_COLD),
    "confidence": _grid(unmasking=("confidence",), remasking=("none",), schedule=("cosine", "linear"), **_COLD),
    "p2": _grid(remasking=("p2",), schedule=("cosine", "linear"), **_COLD),
    "ReMDM": [
        {"temperature": 0.0, **kind}
        for kind in (
            {"remasking": "remdm_cap", "remdm_eta": 0.02},
            {"remasking": "remdm_rescale", "remdm_eta": 0.08},
            {"remasking": "remdm_conf"},
            {"remasking": "remdm_loop", "remdm_eta": 0.02},
        )
    ],
    "token_critic": _grid(remasking=("token_critic",), schedule=("cosine", "linear"), **_COLD),
    "prism": _grid(
        remasking=("prism",), remask_per_step=(1, 4), unmasking=("confidence", "random"), temperature=(0.0,)
    ),
    "critic": _grid(remasking=("critic",), schedule=("root", "linear"), **_COLD),
}
# The same at temperature 1, at which a model's own distribution is drawn from.
DRAWN = {
    name: list({json.dumps({**one, "temperature": 1.0}): {**one, "temperature": 1.0} for one in candidates}.values())
    for name, candidates in STRATEGIES.items()
}
WITHOUT_CRITIC = ("random", "confidence", "p2", "ReMDM")


class Kept:
    """Figures by name in a file, each measured once."""

    def __init__(self, path: Path):
        self.path = path
        self.figures = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}

    def get(self, name: str, measure):
        if name not in self.figures:
            begin = time.process_time()
            self.figures[name] = measure()
            print(f"{name}: {self.figures[name]} ({time.process_time() - begin:.0f} s)", flush=True)
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.figures, indent=1) + "\n", encoding="utf-8")
        return self.figures[name]


def critic_of(seed: int, folder: Path, **settings: Any):
    """A critic trained with a seed and calibrated, trained once."""
    name = folder / f"critic-{seed}{'-linear' if settings else ''}.pt"
    if name.is_file():
        model = heavy_critic.fresh_critic(**settings)
        model.critic_head.load_state_dict(torch.load(name, weights_only=True))
    else:
        model = heavy_critic.trained_critic(folder / "training", STEPS, seed, **settings)
        torch.save(model.critic_head.state_dict(), name)
    model.calibrate(heavy_critic.rows("validation"), num_sequences=300)
    return model.eval()


def compare(
    kept: Kept,
    models: dict[int, Any],
    num_samples: int,
    budgets: list[int],
    strategies: dict[str, list[dict[str, Any]]],
) -> dict[float, dict]:
    """Share of right residues of all strategies, by mask rate."""
    tables: dict[float, dict] = {rate: {name: {} for name in strategies} for rate in MASK_RATES}
    tuning = heavy_critic.canvases("validation", 300, num_samples, TUNED_AT, TUNING_SEED)
    first = models[SEEDS[0]]
    for budget, (name, candidates) in itertools.product(budgets, strategies.items()):
        scores = [
            kept.get(
                f"{num_samples} chains, tuning {budget} {json.dumps(one)}",
                lambda one=one, budget=budget: heavy_critic.right_share(first, tuning, budget, one, TUNING_SEED),
            )
            for one in candidates
        ]
        best = candidates[max(range(len(scores)), key=lambda place: (scores[place] or 0.0, -place))]
        steps = steps_within(first, budget, best)
        for rate in MASK_RATES:
            values = []
            for training, sampling in itertools.product(SEEDS[:1] if name in WITHOUT_CRITIC else SEEDS, SEEDS):

                def measure(model=models[training], rate=rate, seed=sampling, budget=budget, best=best):
                    canvas = heavy_critic.canvases("test", (seed - 1) * num_samples, num_samples, rate, seed)
                    return heavy_critic.right_share(model, canvas, budget, best, seed)

                seeds = f"training {training} sampling {sampling}"
                cell = f"{num_samples} chains, {name} {json.dumps(best)} {budget} {rate} {seeds}"
                values.append(kept.get(cell, measure))
            tables[rate][name][str(budget)] = {
                "num_steps": steps,
                "forward_passes": budget,
                "mean_forward_passes": budget,
                "arguments": best,
                "figures": {"right_rate": over_seeds(values)},
            }
    return tables


def calibration(kept: Kept, models: dict[int, Any], count: int = 64) -> dict[str, Any]:
    """ECE and AUROC on test chains: of masks filled in one pass, and of tokens in the middle of a generation."""
    figures: dict[str, dict[str, Any]] = {}
    for seed, model in models.items():
        collator = DataCollatorForMaskedDiffusion(
            SpecialTokens.of(model.config), seed=seed, backbone=Backbone.of(model.config)
        )

        def one_shot(model=model, collator=collator):
            judged = judge_fillings(model, heavy_critic.rows("test"), collator, 3 * count)
            return calibration_report(judged.critic_logits, judged.critic_target, model.calibration)

        def in_the_loop(model=model, collator=collator, seed=seed):
            settings = {"remasking": "critic", "num_steps": 8, "temperature": 1.0, "seed": seed}
            measured = judge_trajectories(model, heavy_critic.rows("validation")[500:], collator, count, **settings)
            judged = judge_trajectories(model, heavy_critic.rows("test"), collator, count, **settings)
            report = calibration_report(judged.critic_logits, judged.critic_target, measured.histogram.fit("isotonic"))
            shot = calibration_report(judged.critic_logits, judged.critic_target, model.calibration)
            return {**report, "by_the_one_shot_table": shot["after"]}

        figures[str(seed)] = {
            "one_shot": kept.get(f"calibration one shot {seed}", one_shot),
            "in_the_loop": kept.get(f"calibration in the loop {seed}", in_the_loop),
        }
    return figures


def heads(kept: Kept, folder: Path) -> dict[str, Any]:
    """AUROC and ECE on test chains by kind of head and by training rows, and what a pass costs."""
    figures: dict[str, Any] = {}
    for kind, num_rows in itertools.product(("odds", "linear"), (64, None)):

        def measure(kind=kind, num_rows=num_rows):
            model = heavy_critic.trained_critic(folder / "training", STEPS, 1, num_rows, critic_head_type=kind)
            collator = DataCollatorForMaskedDiffusion(
                SpecialTokens.of(model.config), seed=1, backbone=Backbone.of(model.config)
            )
            judged = judge_fillings(model, heavy_critic.rows("test"), collator, 200)
            model.calibrate(heavy_critic.rows("validation"), num_sequences=300)
            return calibration_report(judged.critic_logits, judged.critic_target, model.calibration)

        name = f"{kind}, {num_rows or 6000} training chains"
        figures[name] = kept.get(f"head {name}", measure)
    figures["time"] = kept.get("head time", time_per_pass)
    return figures


@torch.no_grad()
def time_per_pass(repeats: int = 40) -> dict[str, float]:
    """Milliseconds of processor time of a pass over 16 chains, taken in turns: medians, and of the pairs' ratios."""
    models = {kind: heavy_critic.fresh_critic(critic_head_type=kind).eval() for kind in ("odds", "linear")}
    stock = real_models.load("heavy")[0]
    ids = heavy_critic.canvases("test", 0, 16, 0.5, 0)
    passes = {"none": lambda: stock(input_ids=ids.input_ids, attention_mask=ids.attention_mask)}
    passes |= {
        kind: lambda model=model: model(input_ids=ids.input_ids, attention_mask=ids.attention_mask)
        for kind, model in models.items()
    }
    times: dict[str, list[float]] = {kind: [] for kind in passes}
    for _ in range(repeats):
        for kind, run in passes.items():
            begin = time.process_time()
            run()
            times[kind].append(1000 * (time.process_time() - begin))
    ratios = {k: statistics.median(map(lambda a, b: a / b, v, times["none"])) for k, v in times.items() if k != "none"}
    return {"milliseconds": {k: statistics.median(v) for k, v in times.items()}, "ratio_to_none": ratios}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", required=True, type=Path, help="JSON file of all single figures")
    parser.add_argument("--num_samples", type=int, default=32, help="chains for each sampling seed")
    parser.add_argument("--budgets", type=int, nargs="+", default=list(BUDGETS), help="forward passes per chain")
    parser.add_argument("--heads", action="store_true", help="compare kinds of heads as well")
    parser.add_argument("--drawn", action="store_true", help="at temperature 1, recorded apart")
    parser.add_argument("--machine", default="unnamed", help="what to call it in the record")
    args = parser.parse_args()
    kept, folder = Kept(args.output), args.output.parent
    folder.mkdir(parents=True, exist_ok=True)
    models = {seed: critic_of(seed, folder) for seed in SEEDS}
    judged = calibration(kept, models)
    tables = compare(kept, models, args.num_samples, args.budgets, DRAWN if args.drawn else STRATEGIES)
    comparison_of_heads = heads(kept, folder) if args.heads else {}
    for rate, table in tables.items():
        record = {
            "date": datetime.date.today().isoformat(),
            "versions": {name: importlib.metadata.version(name) for name in ("torch", "transformers")},
            "notes": {"machine": args.machine, "command": "python tests/real_models/benchmark.py"},
            "settings": {
                "task": f"heavy chains, {rate:.0%} of the residues masked",
                "num_samples": args.num_samples,
                "seeds": list(SEEDS),
                "training_seeds": list(SEEDS),
                "tuning_seed": TUNING_SEED,
                "tuned": list(STRATEGIES),
                "num_parameters": sum(weight.numel() for weight in models[SEEDS[0]].parameters()),
                "training_steps": STEPS,
            },
            "calibration": judged,
            "heads": comparison_of_heads,
            "comparison": table,
        }
        path = RESULTS / f"heavy-chains-{round(100 * rate)}{'-drawn' if args.drawn else ''}.json"
        path.write_text(json.dumps(record, indent=2, sort_keys=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
