# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Records what evaluate.py measured, and writes the tables of README.md and docs/experiments/ from the records.

    python scripts/record_results.py                                        # the tables alone; also `make results`
    python scripts/record_results.py --report runs/demo/report --name sudoku-6x6 --note machine="two CPU cores"

A record is docs/results/NAME.json: figures and settings. Where a document shows one, and which figure of it, stands in
a comment there: see `critic_gpt.evaluation.results`. A test compares the documents with the records.
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("record")  # before anything is imported that takes long

import argparse
import datetime
import importlib.metadata
import re
from pathlib import Path

from critic_gpt.cli.flags import record_parser
from critic_gpt.evaluation.results import merge_metrics, record_of, rendered
from critic_gpt.hub.documents import read_object
from critic_gpt.hub.files import replace_file, write_json
from critic_gpt.scripts import run_as_program


INDEX = "docs/experiments/README.md"
RESULTS = "docs/results"
# Whose versions a record names.
LIBRARIES = ("torch", "transformers")


def documents(root: Path) -> list[Path]:
    """The documents that may show tables: README.md, and all experiments."""
    return [root / "README.md", *sorted((root / INDEX).parent.glob("*.md"))]


def record(args: argparse.Namespace, folder: Path) -> Path:
    """Writes the record of a report, or of several in one."""
    paths = [Path(report) / "metrics.json" for report in args.report]
    for path in paths:
        if not path.is_file():
            raise FileNotFoundError(
                f"`report` must hold metrics.json, got {str(path.parent)!r}: measure with evaluate.py first."
            )
    metrics = merge_metrics([read_object(path) for path in paths])
    pairs = [note.partition("=") for note in args.note]
    for key, sign, _ in pairs:
        if not key or not sign:
            raise ValueError(f'`note` must be KEY=VALUE, got {key + sign!r}: write machine="two CPU cores".')
    content = {
        "date": datetime.date.today().isoformat(),
        "versions": {name: importlib.metadata.version(name) for name in LIBRARIES},
        "notes": {key: value for key, _, value in pairs},
        **record_of(metrics),
    }
    folder.mkdir(parents=True, exist_ok=True)
    write_json(folder / f"{args.name}.json", content)
    return folder / f"{args.name}.json"


def main(argv: list[str] | None = None) -> list[Path]:
    """Records and writes; returns the files that changed."""
    args = record_parser().parse_args(argv)
    root = Path(args.root)
    if (args.report is None) != (args.name is None):
        raise ValueError(f"`report` and `name` must go together, got {args.report!r} and {args.name!r}: give both.")
    if args.name is not None and not re.fullmatch(r"\w[\w.-]*", args.name):
        raise ValueError(
            f"`name` must be one word of letters, digits, _, . and -, by which tables name the record, got "
            f"{args.name!r}: write for instance sudoku-6x6."
        )
    missing = [name for name in ("README.md", INDEX) if not (root / name).is_file()]
    if missing:
        raise FileNotFoundError(f"`root` must hold {missing[0]}, got {args.root!r}: run it in the repository.")
    changed = [] if args.report is None else [record(args, root / RESULTS)]
    for document in documents(root):
        before = document.read_text(encoding="utf-8")
        after = rendered(before, root / RESULTS)
        if after != before:
            replace_file(document, after)
            changed.append(document)
    print(f"Written: {', '.join(str(path) for path in changed) or 'nothing, all tables are as recorded'}.")
    return changed


if __name__ == "__main__":
    run_as_program(main, "record_results")
