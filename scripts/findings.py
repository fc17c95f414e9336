# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What proofreading finds, as editors, grep and code scanning read it: file, line, column."""

import json
from bisect import bisect_right
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from critic_gpt import __version__
from critic_gpt.explorer.drawing import visible_text


RULE = "probably-wrong"
SARIF_SCHEMA = "https://docs.oasis-open.org/sarif/sarif/v2.1.0/errata01/os/schemas/sarif-schema-2.1.0.json"


@dataclass(frozen=True)
class Source:
    """
    Where a text comes from: a name, and the line (from 1) in which the text stands, if it is not the whole. Of a file
    of text also the `whole`, and which character of it the text starts at.
    """

    name: str
    line: int | None = None
    whole: str | None = None
    start: int = 0


class Places:
    """
    Lines and columns of a text, counted from 1 as editors do; found in no more than the logarithm of its lines.

    Args:
        text (`str`): The text.
        source ([`Source`]): Where it comes from.
    """

    def __init__(self, text: str, source: Source):
        # A text in one line of a file of rows may have lines of its own, which are none of the file.
        ends = [] if source.line is not None else [i for i, character in enumerate(text) if character == "\n"]
        self._starts, self._first = [0, *(end + 1 for end in ends)], source.line or 1

    def __call__(self, offset: int) -> tuple[int, int]:
        """Line and column of a character."""
        line = bisect_right(self._starts, offset) - 1
        return self._first + line, offset - self._starts[line] + 1


def findings(result: Mapping[str, Any], source: Source) -> Iterator[dict[str, Any]]:
    """The doubtful spans of a result of "critic-proofread", as plain values; the end is that of the last character."""
    place = Places(result["text"], source)
    for span in result["spans"]:
        line, column = place(span["start"])
        end_line, end_column = place(span["end"])
        yield {
            "path": source.name,
            "line": line,
            "column": column,
            "end_line": end_line,
            "end_column": end_column,
            "text": span["text"],
            "replacement": span["replacement"],
            "error_probability": span["max_error_probability"],
        }


def as_line(finding: Mapping[str, Any]) -> str:
    """`file:line:col: ...`, on which no terminal acts."""
    change = repr(finding["text"])
    if finding["replacement"] != finding["text"]:
        change += f" -> {finding['replacement']!r}"
    place = f"{finding['path']}:{finding['line']}:{finding['column']}"
    return visible_text(f"{place}: {change} is wrong with probability {finding['error_probability']:.1%}")


def as_sarif(found: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """All findings as one log of SARIF 2.1.0, the format of code scanning."""
    rule = {
        "id": RULE,
        "shortDescription": {"text": "A critic holds what stands here to be probably wrong."},
        "defaultConfiguration": {"level": "warning"},
    }
    driver = {"name": "critic_gpt", "version": __version__, "rules": [rule]}
    run = {
        "tool": {"driver": driver},
        "columnKind": "unicodeCodePoints",
        "results": [_sarif_result(finding) for finding in found],
    }
    return {"$schema": SARIF_SCHEMA, "version": "2.1.0", "runs": [run]}


def _sarif_result(finding: Mapping[str, Any]) -> dict[str, Any]:
    artifact = {"uri": quote(finding["path"])}
    region = {
        "startLine": finding["line"],
        "startColumn": finding["column"],
        "endLine": finding["end_line"],
        "endColumn": finding["end_column"],
    }
    chance = finding["error_probability"]
    result = {
        "ruleId": RULE,
        "ruleIndex": 0,
        "level": "warning",
        "message": {"text": f"{finding['text']!r} is wrong with probability {chance:.1%}"},
        "locations": [{"physicalLocation": {"artifactLocation": artifact, "region": region}}],
        "rank": round(100.0 * chance, 2),
    }
    if finding["replacement"] != finding["text"]:
        replacement = {"deletedRegion": region, "insertedContent": {"text": finding["replacement"]}}
        changes = [{"artifactLocation": artifact, "replacements": [replacement]}]
        result["fixes"] = [{"description": {"text": f"Write {finding['replacement']!r}"}, "artifactChanges": changes}]
    return result


def print_findings(results: Sequence[Mapping[str, Any]], sources: Sequence[Source], form: str) -> None:
    """Prints what was found in texts as `"text"`, `"jsonl"` or `"sarif"`."""
    found = [one for pair in zip(results, sources, strict=True) for one in findings(*pair)]
    if form == "sarif":
        print(json.dumps(as_sarif(found), indent=2))
    for finding in found if form != "sarif" else ():
        print(as_line(finding) if form == "text" else json.dumps(finding))
