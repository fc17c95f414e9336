# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What proofreading finds, as a page that travels alone: each doubt is accepted or rejected, the text downloaded."""

from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import PurePath
from typing import Any

from critic_gpt.explorer.documents import document, element
from critic_gpt.scripts.findings import Places, Source


KINDS = {"spans": None, "holes": "hole", "unknown": "unknown"}
Found = tuple[Mapping[str, Any], Source]


def proofreading_page(results: Sequence[Mapping[str, Any]], sources: Sequence[Source], warnings: Sequence[str]) -> str:
    """
    Makes the page.

    Args:
        results (sequence of `dict`): Of "critic-proofread".
        sources (sequence of [`Source`]): Where each text comes from; texts of one file follow each other.
        warnings (sequence of `str`): Why not to rely on the results.

    Returns:
        `str`: HTML, in ASCII.
    """
    pairs = list(zip(results, sources, strict=True))
    texts = []
    for _, group in groupby(range(len(pairs)), key=lambda i: _text_of(pairs[i][1], i)):
        texts.append(_text([pairs[i] for i in group]))
    names = list(dict.fromkeys(source.name for source in sources))
    title = f"Proofread: {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else "")
    lead = element(
        "p",
        "Coloured is what is doubtful: P(wrong) from green over yellow to red. Nothing changes before it is accepted.",
        class_="lead",
    )
    notes = [element("p", line, class_="note") for line in warnings]
    return document("proofreading", title, {"texts": texts}, element("div", lead, *notes))


def _text_of(source: Source, number: int) -> Any:
    """What tells the texts of the page apart: lines of one file are one text, rows of JSON one each."""
    return number if source.whole is None else source.name


def _text(found: Sequence[Found]) -> dict[str, Any]:
    """A text of the page: what stands between the doubts, and the doubts."""
    source = found[0][1]
    whole = found[0][0]["text"] if source.whole is None else source.whole
    pieces: list[Any] = []
    done = 0
    for start, end, doubt in (doubt for pair in found for doubt in _doubts(*pair)):
        if start >= done:  # two kinds may share a character
            pieces += [whole[done:start], doubt]
            done = end
    row = source.line is not None and source.whole is None
    name = PurePath(source.name).name.strip("<>")
    return {
        "name": f"{source.name}:{source.line}" if row else source.name,
        "file": f"{name}-{source.line}.txt" if row else name if PurePath(name).suffix else f"{name}.txt",
        "notes": [],
        "pieces": [piece for piece in [*pieces, whole[done:]] if piece != ""],
    }


def _doubts(result: Mapping[str, Any], source: Source) -> Iterator[tuple[int, int, dict[str, Any]]]:
    """Where doubts begin and end in the whole, in order, and what the page is told of each."""
    place = Places(result["text"], source)
    tokens = {(token["start"], token["end"]): token["replacements"] for token in result["tokens"]}
    found = []
    for name, kind in KINDS.items():
        for span in result[name]:
            start, end = span["start"], span["end"]
            line, column = place(start)
            others = [other["text"] for other in tokens.get((start, end), ())]
            if not span["text"].startswith(" "):  # many tokenizers keep the space before a word in its token
                others = [other.removeprefix(" ") for other in others]
            ways = [way for way in dict.fromkeys([span["replacement"], *others]) if way != span["text"]]
            doubt: dict[str, Any] = {"t": span["text"], "r": ways, "at": f"{line}:{column}"}
            doubt |= {"k": kind} if kind else {"p": round(span["max_error_probability"], 4)}
            found.append((start + source.start, end + source.start, doubt))
    return iter(sorted(found, key=lambda one: one[:2]))
