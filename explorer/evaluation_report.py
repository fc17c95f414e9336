# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What `evaluate` measured, as one HTML file to pass on: tables, pictures, samples coloured by P(wrong), settings."""

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from critic_gpt.evaluation.report import (
    budgets_of,
    critic_text,
    direction_of,
    format_value,
    table_of_figure,
    too_small_text,
    verifier_text,
    with_costs,
)
from critic_gpt.explorer.denoising import start_from_ids
from critic_gpt.explorer.denoising_views import generation_view
from critic_gpt.explorer.documents import Markup, document, element, facts, table
from critic_gpt.explorer.page import page_data
from critic_gpt.explorer.session import Explorer


REPORT_NAME = "report.html"
NUM_SAMPLES = 6
CAPTIONS = {
    "reliability.png": "Reliability: predicted P(wrong) and the share of tokens that are wrong. On the diagonal, a "
    "token called wrong with 30 % is wrong in 30 % of the cases.",
    "expected_errors.png": "Wrong tokens per sequence: expected by the critic, and true.",
}


def sample_views(explorer: Explorer, canvases: torch.Tensor, num_steps: int, seed: int) -> list[dict[str, Any]]:
    """
    A few samples as the page draws them, made by the model's own strategy.

    Args:
        explorer ([`Explorer`]): The model.
        canvases (`torch.LongTensor` of shape `(num_samples, sequence_length)`): What they are made from.
        num_steps (`int`): Steps for each.
        seed (`int`): Of the first; the others follow.
    """
    views = []
    for number, canvas in enumerate(canvases[:NUM_SAMPLES]):
        state = start_from_ids(explorer, canvas[None].to(explorer.model.device), seed + number)
        view = page_data(generation_view(explorer, state, num_steps=num_steps))
        for token in view["tokens"]:  # nothing of a finished sample is newer than the rest
            token["k"] = token.get("k", "").replace("n", "")
        views.append(view)
    return views


def report_page(
    title: str,
    metrics: Mapping[str, Any],
    figures: Mapping[str, str],
    folder: Path,
    samples: Sequence[Mapping[str, Any]],
    num_steps: int,
    versions: Mapping[str, str],
) -> str:
    """
    Makes the report.

    Args:
        title (`str`): Its headline.
        metrics (`dict`): What metrics.json holds.
        figures (`dict`): The figures of samples by name, in words.
        folder (`Path`): Where the pictures are.
        samples (sequence of `dict`): From [`sample_views`].
        num_steps (`int`): Their steps.
        versions (`dict`): Of the libraries that measured.

    Returns:
        `str`: HTML, in ASCII.
    """
    settings = metrics["settings"]
    parts = [_summary(metrics), _bound(metrics)]
    if "calibration" in metrics:
        parts += [element("h2", "The critic"), element("p", critic_text(metrics["calibration"])), *_critic(metrics)]
    parts += _pictures(folder, [name for name in CAPTIONS if name in metrics["pictures"]], CAPTIONS)
    if samples:
        parts += _samples(settings, num_steps, "calibration" in metrics)
    parts += [element("h2", "Strategies at equal cost"), *_comparison(metrics, figures)]
    words = {f"{name}.png": f"{words}, by forward passes" for name, words in figures.items()}
    parts += _pictures(folder, [name for name in metrics["pictures"] if name not in CAPTIONS], words)
    if "verifier" in metrics:
        parts += [element("h2", "Whole answers"), element("pre", verifier_text(metrics["verifier"]))]
    parts += [
        element("h2", "How it was measured"),
        facts("settings", _settings(settings)),
        facts("versions", versions),
    ]
    return document("report", title, {"samples": list(samples)}, element("div", *parts))


def _summary(metrics: Mapping[str, Any]) -> Markup:
    settings = metrics["settings"]
    rows = {
        "task": settings["task"],
        "data": f"{settings['num_judged']:,} sequences of the split {settings['split']}",
        "parameters": f"{settings['num_parameters']:,} in {settings['dtype']}",
        "weights": settings["fingerprint"],
    }
    return facts("what was measured", rows)


def _bound(metrics: Mapping[str, Any]) -> Markup:
    nats, bits = (metrics["language_model"][f"{unit}_per_token"] for unit in ("nats", "bits"))
    said = "no token to judge" if nats is None else f"{nats:.4f} nats per token ({bits:.4f} bits)"
    return element("p", f"Language model: {said}, an upper bound of the negative log-likelihood. Lower is better.")


def _critic(metrics: Mapping[str, Any]) -> list[Markup]:
    critic = metrics["calibration"]
    rows = []
    for name, part in (("plain sigmoid of the score", critic["before"]), ("P(wrong)", critic)):
        rows.append([name, *(_number(part[figure]) for figure in ("ece", "brier", "auroc"))])
    note = "" if critic["calibrated"] else " The model has no table: P(wrong) is read off a plain ramp."
    caption = f"{critic['positions']:,} judged tokens, {critic['positive_rate']:.1%} of them wrong.{note}"
    return [table(caption, ["", "ECE (lower is better)", "Brier score (lower)", "AUROC (higher)"], rows)]


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.4f}"


def _comparison(metrics: Mapping[str, Any], figures: Mapping[str, str]) -> list[Markup]:
    found, comparison, better = [], metrics["comparison"], metrics["settings"]["better"]
    budgets = [str(budget) for budget in budgets_of(comparison)]
    for figure, words in with_costs(figures).items():
        rows = [[name, *cells] for name, cells in table_of_figure(comparison, figure).items()]
        real = metrics.get("real_text", {})
        if figure in real:
            rows.append(["real text", *[format_value(figure, {"mean": real[figure], "spread": None})] * len(budgets)])
        heading = f"{words}, by forward passes{direction_of(figure, better)}"
        found.append(table(heading, ["strategy", *budgets], rows))
    said = [*([too_small_text(comparison)] if too_small_text(comparison) else [])]
    said += [f"Left out: {name}, since {reason}." for name, reason in metrics["settings"]["left_out"].items()]
    return [*found, *(element("p", line, class_="lead") for line in said)]


def _samples(settings: Mapping[str, Any], num_steps: int, judged: bool) -> list[Markup]:
    said = f"Made by the model's own strategy in {num_steps} steps, seeds from {settings['seeds'][0]}; not chosen. "
    said += (
        "The colour, and the number or underline beneath, is P(wrong): how likely a token is wrong, by the critic."
        if judged
        else "There is no trained critic, so nothing is coloured."
    )
    legend = element("div", id="legend", class_="tokens numbers")
    return [element("h2", "Samples"), element("p", said, class_="lead"), legend, element("div", id="samples")]


def _pictures(folder: Path, names: Sequence[str], words: Mapping[str, str]) -> list[Markup]:
    found = []
    for name in names:
        content = base64.b64encode((folder / name).read_bytes()).decode()
        caption = words.get(name, Path(name).stem.replace("_", " "))
        image = element("img", src=f"data:image/png;base64,{content}", alt=caption)
        found.append(element("figure", image, element("figcaption", caption)))
    return found


def _settings(settings: Mapping[str, Any]) -> dict[str, str]:
    shown = {name: value for name, value in settings.items() if name not in ("left_out", "better", "fingerprint")}
    shown |= {name: ", ".join(map(str, value)) for name, value in shown.items() if isinstance(value, list)}
    shown |= {
        f"strategy {name}": ", ".join(f"{key} {value}" for key, value in fields.items())
        for name, fields in shown.pop("strategies").items()
    }
    return {name.replace("_", " "): str(value) for name, value in shown.items() if value is not None}
