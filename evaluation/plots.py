# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Pictures of the numbers in `metrics`: PNG, SVG or PDF, as the suffix says. Needs the extra `critic_gpt[viz]`."""

import os
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch

from critic_gpt.calibration_critic_gpt import CriticCalibration
from critic_gpt.evaluation.metrics import calibration_error_of_bins, reliability_bins


# Okabe and Ito's palette (2008), told apart with every kind of colour vision; markers say it a second time.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
GREY = "#6b6b6b"


def _new_figure(width: float, height: float):
    """A figure outside pyplot: always Agg, no window, no global state to leak between calls or threads."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "matplotlib must be installed to draw plots, got none; run `pip install critic_gpt[viz]`."
        ) from error
    return Figure(figsize=(width, height), dpi=150, layout="constrained", facecolor="white")


def check_picture(path: str | os.PathLike, field: str = "path") -> Path:
    """The path of a picture that can be drawn; to ask before hours of work whose result it is to show.

    `field` is the name of the argument that holds it, for errors.

    Raises:
        `ImportError`: matplotlib is not installed.
        `ValueError`: a suffix that is no picture.
    """
    path = Path(path)
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise ValueError(f"`{field}` must end in .png, .svg or .pdf, got {path}; choose one of these.")
    _new_figure(1, 1)
    return path


def _tidy(axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(True, color="#e4e4e4", linewidth=0.8)
    axes.set_axisbelow(True)
    axes.tick_params(labelsize=9)


def _save(figure, path: str | os.PathLike) -> Path:
    """Draws into a hidden neighbour first, so that a viewer or a killed run never meets half a picture."""
    path = check_picture(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f"_{uuid.uuid4().hex}{path.suffix}")
    try:
        figure.savefig(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    return path


def plot_reliability(
    path: str | os.PathLike,
    before: Mapping[str, np.ndarray],
    after: Mapping[str, np.ndarray],
    title: str = "Critic: predicted and observed errors",
    labels: tuple[str, str] = ("raw score", "calibrated"),
) -> Path:
    """Reliability diagram: on the diagonal, a token called wrong with 30 % is wrong in 30 % of the cases.

    Below it, how many positions each bin holds (logarithmic): a point that few positions stand behind says little.
    After Guo et al., ICML 2017, fig. 1.

    Args:
        path (`str` or `os.PathLike`): the picture; replaced in one step, its folder is made if missing.
        before (`dict`): `reliability_bins` of the raw score's sigmoid.
        after (`dict`): `reliability_bins` of the calibrated probability.
        title (`str`, *optional*): the headline.
        labels (`tuple` of two `str`, *optional*, defaults to `("raw score", "calibrated")`): names in the legend.

    Returns:
        `Path`: where the picture is.

    Raises:
        `ImportError`: matplotlib is not installed.
        `ValueError`: no position in the bins, or a suffix that is no picture.
    """
    for name, bins in (("before", before), ("after", after)):
        if np.sum(bins["count"]) == 0:
            raise ValueError(f"`{name}` must hold at least one position, got 0; pass `reliability_bins` of some.")
    figure = _new_figure(5.6, 6.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    upper.plot((0, 1), (0, 1), color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="perfectly calibrated")
    styles = zip((before, after), labels, (COLOURS[1], COLOURS[0]), ("s", "o"), (-1, 1), strict=True)
    for bins, label, colour, marker, side in styles:
        filled = bins["count"] > 0
        name = f"{label}  (ECE {100 * calibration_error_of_bins(bins):.1f} %)"
        upper.plot(bins["probability"][filled], bins["rate"][filled], color=colour, linewidth=1.8, label=name)
        upper.lines[-1].set(marker=marker, markersize=6, markeredgecolor="white", markeredgewidth=0.8, clip_on=False)
        width = np.diff(bins["edges"])
        centre = bins["edges"][:-1] + width / 2 + side * 0.21 * width
        lower.bar(centre[filled], bins["count"][filled], width=0.4 * width[filled], color=colour)
    upper.set(xlim=(0, 1), ylim=(0, 1), ylabel="observed share of wrong tokens")
    upper.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=10)
    upper.legend(frameon=False, fontsize=9, loc="upper left")
    lower.set(yscale="log", xlabel="predicted probability that the token is wrong", ylabel="positions")
    lower.set_ylim(bottom=0.7)
    for axes in (upper, lower):
        _tidy(axes)
    lower.grid(False, axis="x")
    figure.align_ylabels((upper, lower))
    return _save(figure, path)


def _curve(name: str, points: Mapping[str, float | Sequence[float]]):
    """Passes, mean, lowest and highest value of one strategy, in ascending order of passes."""
    if not points:
        raise ValueError(f"`table` must hold at least one point per strategy, got none for {name!r}; leave it out.")
    try:
        order = sorted((int(passes), np.atleast_1d(np.asarray(value, float))) for passes, value in points.items())
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"`table` must map forward passes to a number or to one number per seed, got {dict(points)!r:.80} for "
            f"{name!r}; give integers as keys."
        ) from error
    passes = np.array([number for number, _ in order])
    return passes, *(np.array([function(values) for _, values in order]) for function in (np.mean, np.min, np.max))


def plot_quality_by_forward_passes(
    path: str | os.PathLike,
    table: Mapping[str, Mapping[str, float | Sequence[float]]],
    ylabel: str,
    title: str,
) -> Path:
    """Quality against the number of forward passes, one line per strategy: the comparison at equal cost.

    Args:
        path (`str` or `os.PathLike`): the picture; replaced in one step, its folder is made if missing.
        table (`dict`):
            `{strategy: {forward passes: value}}`, for instance `{"critic": {"9": 0.42}, "confidence": {"9": 0.05}}`.
            A value may be a list, one number per seed: then the line is the mean and the band spans all seeds.
        ylabel (`str`): what is measured, with its unit.
        title (`str`): the headline.

    Returns:
        `Path`: where the picture is.

    Raises:
        `ImportError`: matplotlib is not installed.
        `ValueError`: an empty table, a key that is no integer, or a suffix that is no picture.
    """
    if not table:
        raise ValueError("`table` must hold at least one strategy, got none; pass {strategy: {passes: value}}.")
    curves = {name: _curve(name, points) for name, points in table.items()}
    figure = _new_figure(6.8, 4.4)
    axes = figure.subplots()
    for index, (name, (passes, mean, low, high)) in enumerate(curves.items()):
        colour, marker = COLOURS[index % len(COLOURS)], MARKERS[index % len(MARKERS)]
        line = "-" if index < len(COLOURS) else "--"
        axes.plot(passes, mean, color=colour, linewidth=2, linestyle=line, label=name)
        axes.lines[-1].set(marker=marker, markersize=7, markeredgecolor="white", markeredgewidth=0.9, clip_on=False)
        if (high > low).any():
            axes.fill_between(passes, low, high, color=colour, alpha=0.15, linewidth=0)
    ticks = sorted({int(number) for passes, *_ in curves.values() for number in passes})
    if ticks[0] > 0 and len(ticks) > 1:
        axes.set_xscale("log", base=2)  # budgets are usually doubled
    ticks = ticks[:: -(-len(ticks) // 12)]  # more labels than that run into each other
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()
    highest = max(float(high.max()) for *_, high in curves.values())
    lowest = min(float(low.min()) for _, _, low, _ in curves.values())
    if lowest >= 0 and highest <= 1:
        # Shares start at zero, or differences look larger than they are.
        axes.set_ylim(0, 1.02 if highest > 0.5 else None)
    axes.set(xlabel="forward passes", ylabel=ylabel)
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=10)
    _tidy(axes)
    axes.legend(frameon=False, fontsize=9, loc="best")
    return _save(figure, path)


def plot_calibration(path: str | os.PathLike, critic_logits, target, calibration: CriticCalibration) -> Path:
    """`plot_reliability` of a table: the plain sigmoid of the scores against the table's probabilities.

    Args:
        path (`str` or `os.PathLike`): the picture.
        critic_logits (array of any shape): raw scores.
        target (array of the same shape): 1 wrong, 0 right.
        calibration (`CriticCalibration`): the table.
    """
    logits = torch.as_tensor(critic_logits)
    before = reliability_bins(logits.sigmoid(), target)
    return plot_reliability(path, before, reliability_bins(calibration.error_probability(logits), target))
