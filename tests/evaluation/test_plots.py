# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import sys
from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.axes import Axes
from sentences import one_sentence

from critic_gpt.evaluation.competitors import SHOOT_OUT
from critic_gpt.evaluation.metrics import reliability_bins
from critic_gpt.evaluation.plots import (
    check_picture,
    plot_expected_errors,
    plot_quality_by_forward_passes,
    plot_reliability,
)


TABLE = {"critic": {"9": 0.42, "18": 0.85, "36": 0.97}, "confidence": {"9": [0.04, 0.06], "36": 0.9, "18": 0.1}}


def some_bins(seed=0):
    generator = np.random.default_rng(seed)
    probability = generator.random(500) ** 2
    return reliability_bins(probability, generator.random(500) < probability)


def draw_quality(path, table=TABLE, **kwargs):
    return plot_quality_by_forward_passes(path, table, ylabel="valid grids (share)", title="Sudoku", **kwargs)


def size_of_png(path):
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")
    return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")


def draw_errors(path, num=300):
    generator = np.random.default_rng(0)
    expected = generator.gamma(1.0, 2.0, num) if num > 1 else np.zeros(1)
    return plot_expected_errors(path, expected, generator.poisson(expected))


SINGLE = reliability_bins([0.3], [1])


@pytest.mark.parametrize(
    "draw",
    [
        lambda path: plot_reliability(path, some_bins(), some_bins(1)),
        lambda path: plot_reliability(path, SINGLE, SINGLE),  # one point is enough
        draw_quality,
        lambda path: draw_quality(path, {"critic": {"9": 0.42}}),
        draw_errors,
        lambda path: draw_errors(path, 1),
    ],
)
def test_a_plot_is_a_whole_picture_and_leaves_nothing_else_behind(tmp_path, draw):
    path = draw(tmp_path / "new" / "picture.png")
    assert min(size_of_png(path)) > 500
    assert [file.name for file in path.parent.iterdir()] == ["picture.png"]


@pytest.fixture
def drawn(monkeypatch):
    """How lines were drawn, and of each name the height of its line's end, its own, and a line of text's."""
    seen, plot, annotate = SimpleNamespace(lines=[], names={}), Axes.plot, Axes.annotate

    def watch_lines(axes, *values, **look):
        seen.lines.append(look)
        return plot(axes, *values, **look)

    def watch_names(axes, name, xy, xytext, **look):
        end = axes.transAxes.inverted().transform(axes.transData.transform(xy))[1]
        line = 11.5 * axes.figure.dpi / 72 / axes.get_window_extent().height
        seen.names[name] = (end, xytext[1], line)
        return annotate(axes, name, xy=xy, xytext=xytext, **look)

    monkeypatch.setattr(Axes, "plot", watch_lines)
    monkeypatch.setattr(Axes, "annotate", watch_names)
    return seen


def test_everybody_fits_into_one_picture_with_a_level_to_compare_with(tmp_path):
    table = {name: {"9": [0.001 * i, 0.002 * i], "18": 0.5} for i, name in enumerate(SHOOT_OUT)}
    plain, full = draw_quality(tmp_path / "plain.png", table), tmp_path / "full.png"
    draw_quality(full, table, emphasised="critic", reference=("real text", 0.95))
    assert min(size_of_png(full)) > 500 and plain.read_bytes() != full.read_bytes()
    # The order of the budgets changes nothing.
    turned = {name: dict(reversed(points.items())) for name, points in table.items()}
    assert draw_quality(tmp_path / "turned.png", turned).read_bytes() == plain.read_bytes()


def test_no_two_lines_look_alike_and_ours_stands_out(tmp_path, drawn):
    draw_quality(tmp_path / "all.png", {name: {"9": 0.5} for name in SHOOT_OUT}, emphasised="critic")
    assert list(drawn.names) and set(drawn.names) == set(SHOOT_OUT)
    kinds = {(str(look["color"]), look["marker"], str(look.get("linestyle"))) for look in drawn.lines}
    assert len(kinds) == len(drawn.lines) == len(SHOOT_OUT)
    ours = drawn.lines.pop(list(SHOOT_OUT).index("critic"))
    assert all(ours["color"] != look["color"] and ours["linewidth"] > look["linewidth"] for look in drawn.lines)
    draw_quality(tmp_path / "two.png", {"a": {"9": 0.1}, "b": {"9": 0.2}}, emphasised="critic")
    assert len({str(look["color"]) for look in drawn.lines[-2:]}) == 2


@pytest.mark.parametrize(
    "ends", [[0.5], [0.2, 0.8], [0.5, 0.5], [0.0] * 3, [1.02, 1.02, 1.0], [0.1, 0.5, 0.51, 0.52, 0.9], [0.5] * 40]
)
def test_names_move_apart_as_little_as_needed(tmp_path, drawn, ends):
    draw_quality(tmp_path / "quality.png", {f"line {i}": {"9": end} for i, end in enumerate(ends)})
    own, places, lines = map(np.array, zip(*drawn.names.values(), strict=True))
    assert (np.diff(np.sort(places)) >= lines[0] - 1e-9).all() and (np.argsort(places) == np.argsort(own)).all()
    assert places.min() >= -1e-9 and (places.max() <= 1 + 1e-9 or len(ends) * lines[0] > 1)
    if own.min() > 0 and own.max() < 1 and len(ends) < 40:
        assert places.mean() == pytest.approx(own.mean()), "moved alike"
    far = [i for i, end in enumerate(own) if np.abs(np.delete(own, i) - end).min(initial=1) > 3 * lines[0]]
    assert places[far] == pytest.approx(own[far])


def test_a_failing_draw_leaves_the_old_picture(tmp_path, monkeypatch):
    path = draw_quality(tmp_path / "quality.png")
    before = path.read_bytes()

    def breaks(self, target, **kwargs):
        target.write(b"half")
        raise OSError("disk full")

    monkeypatch.setattr("matplotlib.figure.Figure.savefig", breaks)
    with pytest.raises(OSError, match="disk full"):
        draw_quality(path, {"critic": {"9": 0.1}})
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["quality.png"]


def test_without_matplotlib_one_sentence_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(ImportError, match=r"critic_gpt\[viz\]"):
        draw_quality(tmp_path / "quality.png")
    with pytest.raises(ImportError, match=r"critic_gpt\[viz\]"):
        plot_reliability(tmp_path / "reliability.png", some_bins(), some_bins())
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("name", "table", "named"),
    [
        ("quality.png", {}, "`table`"),
        ("quality.png", {"critic": {}}, "'critic'"),
        ("quality.png", {"critic": {"nine": 0.4}}, "nine"),
        ("quality.txt", TABLE, "quality.txt"),
    ],
)
def test_user_errors_are_one_sentence_with_field_and_value(tmp_path, name, table, named):
    with one_sentence(named):
        draw_quality(tmp_path / name, table)
    with one_sentence("`after`"):
        plot_reliability(tmp_path / name, some_bins(), {**some_bins(), "count": np.zeros(15, int)})
    assert check_picture(tmp_path / "a.PNG") == tmp_path / "a.PNG"
    with one_sentence("a.txt; choose one of these.", begins="`path` must end in .png, .svg or .pdf, got "):
        check_picture(tmp_path / "a.txt")
