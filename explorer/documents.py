# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""HTML files that travel alone: one file with all in it, drawn by the script that draws the page's tokens.

A document is `assets/NAME.html` within `document.html`, with `tokens.css`, `documents.css`, `tokens.js` and `NAME.js`
in it, and its data as JSON. Its policy lets no script and no style run but these very ones, whatever text of a model
or a file says.
"""

import base64
import hashlib
import json
import re
from collections.abc import Mapping
from html import escape
from importlib import resources
from typing import Any


# Elements that end where they begin.
_EMPTY = ("img",)


def asset(name: str) -> str:
    """A file that browsers get."""
    return (resources.files("critic_gpt.explorer") / "assets" / name).read_text(encoding="utf-8")


def document(name: str, title: str, data: Any, body: str = "") -> str:
    """
    A document as text, all of it ASCII.

    Args:
        name (`str`): Of the asset: `"animation"`, `"proofreading"` or `"report"`.
        title (`str`): Its title and headline.
        data (`Any`): What its script draws: plain values, without NaN.
        body (`str`, *optional*): HTML that its script need not draw, made by [`element`].
    """
    style = asset("tokens.css") + asset("documents.css")
    script = asset("tokens.js") + asset(f"{name}.js")
    policy = (
        f"default-src 'none'; script-src {_digest(script)}; style-src {_digest(style)}; img-src data:; "
        "base-uri 'none'; form-action 'none'; require-trusted-types-for 'script'"
    )
    parts = {
        "POLICY": policy,
        "TITLE": text(title),
        "STYLE": style,
        "BODY": body,
        # No `<` that could end the element, nor begin a comment in it.
        "DATA": json.dumps(data, allow_nan=False).replace("<", "\\u003c"),
        "SCRIPT": script,
    }
    page = asset("document.html").replace("{{PAGE}}", asset(f"{name}.html"))
    return re.sub(r"\{\{(\w+)\}\}", lambda match: parts[match[1]], page)


def _digest(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"


def text(value: Any) -> str:
    """A value as text of HTML, in ASCII."""
    return escape(str(value)).encode("ascii", "xmlcharrefreplace").decode()


class Markup(str):
    """A piece of HTML, in which all text is escaped."""


def element(tag: str, *children: Any, **attributes: Any) -> Markup:
    """
    An element: children that are no [`Markup`] are text. An attribute may end in `_` where Python has its name.
    """
    words = "".join(f' {name.strip("_").replace("_", "-")}="{text(value)}"' for name, value in attributes.items())
    inner = "".join(child if isinstance(child, Markup) else text(child) for child in children)
    return Markup(f"<{tag}{words}>" if tag in _EMPTY else f"<{tag}{words}>{inner}</{tag}>")


def table(caption: str, head: list[str], rows: list[list[Any]]) -> Markup:
    """A table that may be scrolled sideways; the first cell of a row is its heading."""
    top = element("tr", *(element("th", cell, scope="col") for cell in head))
    body = [
        element("tr", element("th", row[0], scope="row"), *(element("td", cell) for cell in row[1:])) for row in rows
    ]
    inner = element("table", element("caption", caption), *([element("thead", top)] if head else []), *body)
    return element("div", inner, class_="wide-table", tabindex="0", role="group", aria_label=caption)


def facts(caption: str, values: Mapping[str, Any]) -> Markup:
    """Names and values, a row each."""
    return table(caption, [], [[name, value] for name, value in values.items()])
