# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Pictures of the numbers in `metrics`: PNG, SVG or PDF, as the suffix says. Needs the extra `critic_gpt[viz]`."""

import io
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.evaluation.metrics import binned_errors, calibration_error_of_bins, reliability_bins
from critic_gpt.hub.files import replace_file


# Okabe and Ito's palette (2008), told apart with every kind of colour vision; markers say it a second time.
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
LINES = ("-", (0, (4, 1.5)), (0, (1, 1)), (0, (6, 1.5, 1, 1.5)))
GREY = "#6b6b6b"
# From the end of a line to the left of its name.
LEADER = {"arrowstyle": "-", "linewidth": 0.6, "alpha": 0.6, "shrinkA": 1, "shrinkB": 5, "relpos": (0, 0.5)}


def _new_figure(width: float, height: float):
    """A figure outside pyplot: always Agg, no window, no global state to leak between calls or threads."""
    try:
        from matplotlib.figure import Figure
    except ImportError as error:
        raise ImportError(
            "matplotlib must be installed to draw plots, got none; run `pip install 'critic_gpt[viz]'`."
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
    """Draws into memory first, so that a viewer or a killed run never meets half a picture."""
    path = check_picture(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    picture = io.BytesIO()
    figure.savefig(picture, format=path.suffix[1:].lower())
    return replace_file(path, picture.getvalue())


def _finish(figure, upper, lower, title: str, path: str | os.PathLike) -> Path:
    """Dresses and saves a picture of two parts: points, and beneath them how many of what stand behind each."""
    upper.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=10)
    upper.legend(frameon=False, fontsize=9, loc="upper left")
    lower.set(yscale="log")
    lower.set_ylim(bottom=0.7)
    for axes in (upper, lower):
        _tidy(axes)
    lower.grid(False, axis="x")
    figure.align_ylabels((upper, lower))
    return _save(figure, path)


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
    lower.set(xlabel="predicted probability that the token is wrong", ylabel="positions")
    return _finish(figure, upper, lower, title, path)


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


def _spread_out(heights: Sequence[float], gap: float, low: float, high: float) -> np.ndarray:
    """Moves heights in ascending order as little as needed to be `gap` apart, within `low` and `high` if they fit."""
    blocks: list[tuple[float, int]] = []  # mean and number of heights, of which each gave up its place by its number
    for index, height in enumerate(heights):
        blocks.append((height - index * gap, 1))
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            (mean, count), (other, more) = blocks.pop(-2), blocks.pop()
            blocks.append(((mean * count + other * more) / (count + more), count + more))
    fitted = np.repeat([mean for mean, _ in blocks], [count for _, count in blocks])
    return np.clip(fitted, low, max(low, high - gap * (len(fitted) - 1))) + gap * np.arange(len(fitted))


def _label_ends(figure, axes, ends: Sequence[tuple[str, float, float, str, bool]]) -> None:
    """Writes each name, (name, x, y, colour, bold), at the right of the axes, beside the end of its line."""
    figure.canvas.draw()  # only then is it known how large the axes are
    box = axes.get_window_extent()
    points = [axes.transData.transform((x, y)) for _, x, y, _, _ in ends]
    order = sorted(range(len(ends)), key=lambda index: points[index][1])
    gap = 11.5 * figure.dpi / 72  # a line of text of 8.5 points
    heights = _spread_out([points[index][1] for index in order], gap, box.y0, box.y1)
    for index, height in zip(order, heights, strict=True):
        name, x, y, colour, bold = ends[index]
        axes.annotate(
            name,
            xy=(x, y),
            xytext=(1.05, (height - box.y0) / box.height),
            textcoords=axes.transAxes,
            va="center",
            fontsize=8.5,
            color=colour,
            fontweight="bold" if bold else "normal",
            arrowprops={**LEADER, "color": colour},
            annotation_clip=False,
        )


def plot_quality_by_forward_passes(
    path: str | os.PathLike,
    table: Mapping[str, Mapping[str, float | Sequence[float]]],
    ylabel: str,
    title: str,
    emphasised: str | None = None,
    reference: tuple[str, float] | None = None,
    better: str = "higher",
) -> Path:
    """Quality against the number of forward passes, one line per strategy: the comparison at equal cost.

    Each line bears its name at its right end.

    Args:
        path (`str` or `os.PathLike`): the picture; replaced in one step, its folder is made if missing.
        table (`dict`):
            `{strategy: {forward passes: value}}`, for instance `{"critic": {"9": 0.42}, "confidence": {"9": 0.05}}`.
            A value may be a list, one number per seed: then the line is the mean and the band spans all seeds.
        ylabel (`str`): what is measured, with its unit.
        title (`str`): the headline.
        emphasised (`str`, *optional*): the strategy whose line is thicker and in front, if it is there.
        reference (`tuple[str, float]`, *optional*): name and height of a level to compare with, a dashed line.
        better (`str`, *optional*, defaults to `"higher"`): what is better, said beside the axis where it is something
            else.

    Returns:
        `Path`: where the picture is.

    Raises:
        `ImportError`: matplotlib is not installed.
        `ValueError`: an empty table, a key that is no integer, or a suffix that is no picture.
    """
    if not table:
        raise ValueError("`table` must hold at least one strategy, got none; pass {strategy: {passes: value}}.")
    curves = {name: _curve(name, points) for name, points in table.items()}
    figure = _new_figure(7.6, max(4.4, 0.6 + 0.19 * len(curves)))
    axes = figure.subplots()
    looks = _looks(curves, emphasised)
    for name, (passes, mean, low, high) in curves.items():
        look, front = looks[name], name == emphasised
        axes.plot(passes, mean, zorder=4 if front else 3, clip_on=False, **look)
        if (high > low).any():
            axes.fill_between(passes, low, high, color=look["color"], alpha=0.25 if front else 0.12, linewidth=0)
    _budget_axis(axes, {int(number) for passes, *_ in curves.values() for number in passes})
    ends = [
        (name, passes[-1], mean[-1], looks[name]["color"], name == emphasised)
        for name, (passes, mean, *_) in curves.items()
    ]
    heights = [value for _, _, low, high in curves.values() for value in (*low, *high)]
    if reference is not None:
        axes.axhline(reference[1], color=GREY, linewidth=1, linestyle=(0, (4, 3)))
        ends.append((reference[0], max(passes[-1] for passes, *_ in curves.values()), reference[1], GREY, False))
        heights.append(reference[1])
    if min(heights) >= 0 and max(heights) <= 1:
        # Shares start at zero, or differences look larger than they are.
        axes.set_ylim(0, 1.02 if max(heights) > 0.5 else None)
    axes.set(xlabel="forward passes", ylabel=ylabel if better == "higher" else f"{ylabel}\n({better} is better)")
    axes.set_title(title, loc="left", fontsize=12, fontweight="bold", pad=10)
    _tidy(axes)
    _label_ends(figure, axes, ends)
    return _save(figure, path)


def _budget_axis(axes, budgets: Iterable[int]) -> None:
    """Numbers of passes along the axis, each with its tick, as long as they fit."""
    ticks = sorted(budgets)
    if ticks[0] > 0 and len(ticks) > 1:
        axes.set_xscale("log", base=2)  # budgets are usually doubled
    ticks = ticks[:: -(-len(ticks) // 12)]  # more labels than that run into each other
    axes.set_xticks(ticks, [str(tick) for tick in ticks])
    axes.minorticks_off()


def _looks(names: Iterable[str], emphasised: str | None) -> dict[str, dict[str, Any]]:
    """Colour, marker and kind of line of each name; no two alike, the emphasised one thicker in the first colour."""
    names = list(names)
    others = [name for name in names if name != emphasised]
    first = 1 if emphasised in names else 0
    colours, looks = COLOURS[first:], {}
    for index, name in enumerate(others):
        looks[name] = {
            "color": colours[index % len(colours)],
            "marker": MARKERS[1:][index % (len(MARKERS) - 1)],
            "linestyle": LINES[index // len(colours) % len(LINES)],
            "linewidth": 1.2,
            "markersize": 5,
        }
    if first:
        looks[emphasised] = {"color": COLOURS[0], "marker": MARKERS[0], "linewidth": 3, "markersize": 8}
    return {name: {**looks[name], "markeredgecolor": "white", "markeredgewidth": 0.8} for name in names}


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


def plot_expected_errors(
    path: str | os.PathLike,
    expected,
    actual,
    num_bins: int = 10,
    title: str = "Wrong tokens a sequence: expected and true",
) -> Path:
    """Does the critic know how many mistakes a finished sequence has? On the diagonal, it does.

    Each point is the mean of equally many sequences, with twice the standard error above and below; behind them every
    sequence but for the utmost hundredth, and below how many sequences have how many errors expected (logarithmic).

    Args:
        path (`str` or `os.PathLike`): the picture; replaced in one step, its folder is made if missing.
        expected (array of any shape): expected number of wrong tokens of each sequence (`expected_errors`).
        actual (array of the same shape): their true number.
        num_bins (`int`, *optional*, defaults to 10): how many points.
        title (`str`, *optional*): the headline.

    Returns:
        `Path`: where the picture is.

    Raises:
        `ImportError`: matplotlib is not installed.
        `ValueError`: no sequence, two different numbers of them, or a suffix that is no picture.
    """
    bins = binned_errors(expected, actual, num_bins)
    expected, actual = np.ravel(expected), np.ravel(actual)
    error = np.nan_to_num(2 * bins["standard_error"])  # of a single sequence none is known
    # A few with very many errors must not press all others into a corner.
    outermost = (np.quantile(expected, 0.99), np.quantile(actual, 0.99), bins["expected"].max())
    top = 1.04 * max(*map(float, outermost), float((bins["actual"] + error).max()), 1.0)
    beyond = int(((expected > top) | (actual > top)).sum())
    figure = _new_figure(5.6, 6.4)
    upper, lower = figure.subplots(2, 1, sharex=True, height_ratios=(3.4, 1))
    upper.plot((0, top), (0, top), color=GREY, linewidth=1, linestyle=(0, (4, 3)), label="as many as expected")
    upper.scatter(expected, actual, s=9, color=COLOURS[5], alpha=0.35, linewidths=0)
    upper.collections[-1].set_label(f"a sequence  ({beyond:,} beyond the frame)" if beyond else "a sequence")
    means = f"{expected.mean():.2f} expected, {actual.mean():.2f} true"
    upper.errorbar(
        bins["expected"],
        bins["actual"],
        yerr=error,
        color=COLOURS[0],
        linewidth=1.8,
        marker="o",
        markersize=6,
        markeredgecolor="white",
        markeredgewidth=0.8,
        label=f"mean of {bins['count'].max():,} sequences  (all: {means})",
    )
    upper.set(xlim=(-0.02 * top, top), ylim=(-0.02 * top, top), ylabel="wrong tokens, by the truth")
    lower.hist(expected, bins=40, range=(0, top), color=COLOURS[0])
    lower.set(xlabel="wrong tokens, expected by the critic", ylabel="sequences")
    return _finish(figure, upper, lower, title, path)
