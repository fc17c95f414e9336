# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st

from critic_gpt.explorer import TextView, TokenView
from critic_gpt.explorer.drawing import visible
from critic_gpt.explorer.markup import error_html, token_html, view_html


class Seen(HTMLParser):
    """What a browser would make of it."""

    def __init__(self, html):
        super().__init__()
        self.tags, self.attributes, self.text = [], [], ""
        self.feed(html)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attributes += attrs

    def handle_data(self, data):
        self.text += data


NASTY = st.sampled_from(["<script>alert(1)</script>", '" onmouseover="x', "'", "&lt;", "</pre>", "<img src=x>"])


@given(st.text() | NASTY, st.text() | NASTY)
def test_no_token_becomes_part_of_the_page(text, truth):
    token = TokenView(
        3, 5, text, truth=truth, truth_id=6, wrong=True, judged=True, error_probability=0.5, flagged=True
    )
    seen = Seen(token_html(token))
    assert seen.tags == ["span"] and [name for name, _ in seen.attributes] == ["style", "title"]
    assert seen.text == visible(text) and visible(truth) in dict(seen.attributes)["title"]


@given(st.text() | NASTY)
def test_no_text_and_no_error_becomes_part_of_the_page(text):
    token = TokenView(0, 5, text, truth=text, wrong=True)
    view = TextView(text, (token,), None, 0.5, True, 0, 0, 0.0, {text: 0.5}, 1)
    assert set(Seen(view_html(view)).tags) <= {"div", "p", "pre", "span", "br", "ul", "li"}
    assert Seen(error_html(ValueError(text))).tags == ["p"]


def test_colour_underline_frame_and_strike_say_what_they_should():
    plain = token_html(TokenView(0, 5, "a"))
    assert 'style=""' in plain
    assert "background:#" in token_html(TokenView(0, 5, "a", error_probability=0.1))
    assert "text-decoration:underline" in token_html(TokenView(0, 5, "a", wrong=True))
    assert "text-decoration:line-through" in token_html(TokenView(0, 5, "a", remasked=True))
    assert "outline" in token_html(TokenView(0, 5, "a", flagged=True))


def test_a_grid_has_a_break_a_row():
    tokens = tuple(TokenView(i, 5, "1") for i in range(9))
    assert Seen(view_html(TextView("1" * 9, tokens, 3, 0.5, True, 0, 0, 0.0, None, 1))).tags.count("br") == 2
