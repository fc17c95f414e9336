# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import sys

import numpy as np
import pytest

from critic_gpt.evaluation.competitors import SHOOT_OUT
from critic_gpt.evaluation.metrics import reliability_bins
from critic_gpt.evaluation.plots import (
    _looks,
    _spread_out,
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


def test_reliability_plot_is_a_whole_picture_and_leaves_nothing_else_behind(tmp_path):
    path = plot_reliability(tmp_path / "new" / "reliability.png", some_bins(), some_bins(1))
    assert min(size_of_png(path)) > 500
    assert [file.name for file in path.parent.iterdir()] == ["reliability.png"]


def test_quality_plot_is_a_whole_picture_and_leaves_nothing_else_behind(tmp_path):
    path = draw_quality(tmp_path / "quality.png")
    assert min(size_of_png(path)) > 500
    assert [file.name for file in tmp_path.iterdir()] == ["quality.png"]


def test_one_point_is_enough_for_both_plots(tmp_path):
    draw_quality(tmp_path / "quality.png", {"critic": {"9": 0.42}})
    single = reliability_bins([0.3], [1])
    plot_reliability(tmp_path / "reliability.png", single, single)
    assert len(list(tmp_path.iterdir())) == 2


def test_the_order_of_the_keys_does_not_change_the_picture(tmp_path):
    turned = {name: dict(reversed(points.items())) for name, points in TABLE.items()}
    first, second = draw_quality(tmp_path / "a.png"), draw_quality(tmp_path / "b.png", turned)
    assert first.read_bytes() == second.read_bytes()


def test_everybody_fits_into_one_picture_with_a_level_to_compare_with(tmp_path):
    table = {name: {"9": [0.001 * i, 0.002 * i], "18": 0.5} for i, name in enumerate(SHOOT_OUT)}
    plain, full = draw_quality(tmp_path / "plain.png", table), tmp_path / "full.png"
    draw_quality(full, table, emphasised="critic", reference=("real text", 0.95))
    assert min(size_of_png(full)) > 500 and plain.read_bytes() != full.read_bytes()


def test_no_two_lines_look_alike_and_ours_stands_out():
    looks = _looks(list(SHOOT_OUT), "critic")
    assert list(looks) == list(SHOOT_OUT)
    kinds = {(str(look["color"]), look["marker"], str(look.get("linestyle"))) for look in looks.values()}
    assert len(kinds) == len(SHOOT_OUT)
    ours = looks.pop("critic")
    assert all(ours["color"] != look["color"] and ours["linewidth"] > look["linewidth"] for look in looks.values())
    assert set(_looks(["a", "b"], "critic")) == {"a", "b"}


@pytest.mark.parametrize(
    ("heights", "expected"),
    [
        ([], []),
        ([5.0], [5.0]),
        ([5.0, 20.0], [5.0, 20.0]),  # far enough apart already
        ([10.0, 10.0], [9.0, 11.0]),  # moved alike
        ([0.0, 0.0, 0.0], [0.0, 2.0, 4.0]),  # not below the lowest
        ([30.0, 30.0], [28.0, 30.0]),  # not above the highest
        ([1.0, 10.0, 10.5, 11.0, 25.0], [1.0, 8.5, 10.5, 12.5, 25.0]),
    ],
)
def test_names_move_apart_as_little_as_needed(heights, expected):
    assert _spread_out(heights, 2.0, 0.0, 30.0) == pytest.approx(expected)


def test_names_that_cannot_fit_keep_their_distance():
    assert _spread_out([1.0] * 20, 2.0, 0.0, 30.0) == pytest.approx(2.0 * np.arange(20))


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
    with pytest.raises(ValueError) as error:
        draw_quality(tmp_path / name, table)
    assert named in str(error.value) and str(error.value).endswith(".")


def test_bins_without_positions_are_refused(tmp_path):
    empty = {**some_bins(), "count": np.zeros(15, int)}
    with pytest.raises(ValueError, match="`after`"):
        plot_reliability(tmp_path / "reliability.png", some_bins(), empty)


def test_the_plot_of_errors_is_a_whole_picture_even_of_one_sequence(tmp_path):
    generator = np.random.default_rng(0)
    expected = generator.gamma(1.0, 2.0, 300)
    path = plot_expected_errors(tmp_path / "new" / "errors.png", expected, generator.poisson(expected))
    data = path.read_bytes()
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and data.endswith(b"IEND\xaeB`\x82")
    plot_expected_errors(tmp_path / "new" / "one.png", [0.0], [0])
    assert sorted(file.name for file in path.parent.iterdir()) == ["errors.png", "one.png"]


def test_a_picture_that_cannot_be_drawn_is_refused_beforehand(tmp_path):
    assert check_picture(tmp_path / "a.PNG") == tmp_path / "a.PNG"
    with pytest.raises(ValueError, match=r"`path` must end in .png, .svg or .pdf, got .*a.txt; choose one of these\."):
        check_picture(tmp_path / "a.txt")
