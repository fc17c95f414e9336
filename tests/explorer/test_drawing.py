# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_gpt.explorer import TokenView
from critic_gpt.explorer.drawing import error_color, headings, lines_of, mark_of, named, visible, visible_text


@given(st.floats(0, 1), st.floats(0, 1))
def test_more_danger_is_never_greener_and_never_less_red(low, high):
    low, high = sorted((low, high))
    (r0, g0), (r1, g1) = ((int(c[1:3], 16), int(c[3:5], 16)) for c in (error_color(low), error_color(high)))
    assert r0 <= r1 and g0 >= g1


def test_the_ends_of_the_colours_are_green_and_red():
    (red, green), (red1, green1) = ((int(c[1:3], 16), int(c[3:5], 16)) for c in (error_color(0.0), error_color(1.0)))
    assert green > red and red1 > green1


@given(st.text())
def test_no_control_character_survives(text):
    shown = visible(text)
    assert len(shown) == len(text)
    assert not set(shown) & {chr(code) for code in (*range(32), 127, *range(128, 160), 0x202E, 0x2028)}


@given(st.text())
@settings(deadline=None)
def test_a_text_of_several_lines_keeps_them_and_no_other_control_character_survives(text):
    shown = visible_text(text)
    assert len(shown) == len(text)
    assert not set(shown) & {chr(code) for code in (*range(9), 11, 12, *range(13, 32), *range(127, 160), 0x202E)}
    kept = [(a, b) for a, b in zip(text, shown, strict=True) if a in "\n\t\u200c\u200d" or a.isalnum()]
    assert all(a == b for a, b in kept)


def test_newlines_are_seen_and_break_the_line():
    tokens = tuple(TokenView(i, i, text) for i, text in enumerate("ab\nc\n"))
    lines = lines_of(tokens, None)
    assert ["".join(visible(token.text) for token in line) for line in lines] == ["ab↵", "c↵"]


@pytest.mark.parametrize("width", [2, 3, 6])
def test_a_grid_is_drawn_by_its_width(width):
    tokens = tuple(TokenView(i, i, "1") for i in range(6))
    lines = lines_of(tokens, width)
    assert [len(line) for line in lines] == [width] * (6 // width)
    assert [token.position for line in lines for token in line] == list(range(6))


def test_marks_tell_the_outcomes_apart():
    cases = {"+": (True, True), "x": (True, False), "!": (False, True), " ": (False, False)}
    for mark, (wrong, flagged) in cases.items():
        assert mark_of(TokenView(0, 0, "a", wrong=wrong, flagged=flagged)) == mark
    assert mark_of(TokenView(0, 0, "a", remasked=True, wrong=True)) == "~"


def test_remarkable_tokens_are_named_worst_first_and_not_endlessly():
    tokens = [TokenView(0, 5, "a", truth="b", judged=True, wrong=True, error_probability=0.2, flagged=False)]
    tokens += [TokenView(i, 5, "\n", judged=True, error_probability=0.9, flagged=True) for i in range(1, 14)]
    lines = named((tokens[0], *tokens[1:3]))
    assert lines[0] == "1: '↵', P(wrong) 90.0%" and lines[-1] == "0: 'a', truth 'b', P(wrong) 20.0%, FN"
    assert len(named(tuple(tokens))) == 13 and named(tuple(tokens))[-1] == "and 2 more"


def test_what_is_no_view_has_no_headings():
    with pytest.raises(TypeError, match="`view` must be one of this package's views"):
        headings(3)
