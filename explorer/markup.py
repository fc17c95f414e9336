# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Views as HTML, escaped throughout: nothing that stands in data becomes part of a page."""

from html import escape
from typing import Any

from critic_gpt.explorer.drawing import error_color, headings, lines_of, named, sign_of, visible
from critic_gpt.explorer.views import TokenView


def token_html(token: TokenView) -> str:
    """One token: its colour says P(wrong), underlined is wrong, framed is flagged, struck out is re-masked."""
    style, about = [], [f"{token.position}: {sign_of(token)}"]
    if token.error_probability is not None:
        style += [f"background:{error_color(token.error_probability)}", "color:#000"]
        about.append(f"P(wrong) {token.error_probability:.1%}")
    elif token.filled:
        style += ["background:#cfe2ff", "color:#000"]
    if token.critic_logit is not None:
        about.append(f"logit {token.critic_logit:.3f}")
    if token.truth is not None:
        about.append(f"truth {visible(token.truth)}")
    lines = [name for name, drawn in (("underline", token.wrong), ("line-through", token.remasked)) if drawn]
    if lines:
        style.append(f"text-decoration:{' '.join(lines)}")
    if token.flagged:
        style.append("outline:1px solid #b00020")
    about += [part for part in (token.outcome, "masked again" if token.remasked else None) if part]
    return (
        f'<span style="{escape("; ".join(style))}" title="{escape(", ".join(about))}">{escape(sign_of(token))}</span>'
    )


def view_html(view: Any) -> str:
    """A whole view: its numbers, its tokens in lines, and the remarkable ones by name."""
    grid = "letter-spacing:0.4em; font-size:1.3em; " if view.row_width else ""
    numbers = "".join(f"<p>{escape(line)}</p>" for line in headings(view))
    lines = ["".join(token_html(token) for token in line) for line in lines_of(view.tokens, view.row_width)]
    text = f'<pre style="{grid}white-space:pre-wrap; font-family:monospace">{"<br>".join(lines)}</pre>'
    remarks = "".join(f"<li>{escape(line)}</li>" for line in named(view.tokens))
    return f"<div>{numbers}{text}{f'<ul>{remarks}</ul>' if remarks else ''}</div>"


def error_html(error: Exception) -> str:
    """What went wrong, in one sentence."""
    return f'<p style="color:#b00020">{escape(" ".join(str(error).split()))}</p>'
