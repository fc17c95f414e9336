# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Proofreads an existing text: marks what is probably wrong, suggests replacements, and corrects it if asked.

    python scripts/proofread.py --model runs/model letter.txt
    python scripts/proofread.py --model runs/model --correct --output corrected.txt < letter.txt
    python scripts/proofread.py --model runs/demo/model --lines --json grids.txt
    python scripts/proofread.py --model runs/demo/model --text 123456456123...

    python scripts/proofread.py --model runs/model --format sarif docs/*.md > found.sarif
    python scripts/proofread.py --model runs/model --format html letter.txt > letter.html

Texts come from files, from --text, or else from standard input; with --lines each of their lines is a text. Printed
are the text, coloured from green to red where a token is doubtful, and a table of the doubtful spans: file, line and
column, P(wrong) of the worst token, what stands there, and the suggestion. Without colours doubtful spans are written
as [-wrong-]{+right+}. [MASK] in a text is a hole, for which the table has a filling. --format text prints nothing but
lines `file:line:col: ...`, jsonl the same as JSON, sarif a log for code scanning, html a page that travels alone, in
which each doubt is accepted or rejected, by mouse, touch or keys, and the corrected text downloaded. The exit status
is 1 where anything is doubtful, 0 where nothing is, 2 where the command could not be carried out.

What the critic finds are errors such as the model itself makes where it fills masks, and what looks like them. With a
table of planted errors (`calibrate.py --source planted`) critic and language model decide together.

A file .jsonl holds lines of JSON, each a text or an object with the key `text`. --results writes lines of JSON as the
texts are done, instead of printing: `index`, `input` (the line) and the results below. The same command goes on where
it was stopped; FILE.settings.json beside the results says what they were made by. Several processes, on one machine or
on many (`accelerate launch scripts/proofread.py`), share out the texts and write the same file.

--save writes a JSON document:

    settings
        model, fingerprint      folder or hub name, and a hash of the weights
        input, lines            where the texts came from
        batch_size, and every other argument that was given
        versions                of critic_gpt, transformers, torch and python
    results                     one per text, as the pipeline "critic-proofread" gives them
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("proofread")  # before anything is imported that takes long

import argparse
import json
import os
import platform
import sys
from pathlib import Path
from typing import Any

import torch
import transformers
from rich.console import Console
from rich.text import Text
from tqdm import tqdm

from critic_gpt import __version__
from critic_gpt.cli.flags import PROOFREADING_FLAGS, proofread_parser
from critic_gpt.explorer.drawing import error_color, visible_text
from critic_gpt.hub.files import replace_file, write_json
from critic_gpt.scripts import check_at_least, check_output_file, load_pipeline, run_as_program, say
from critic_gpt.scripts.findings import Places, Source, print_findings
from critic_gpt.scripts.json_lines import STANDARD_INPUT, ResultLines, read_rows, text_of
from critic_gpt.scripts.processes import Processes, refuse_to_share
from critic_gpt.scripts.proofreading_page import proofreading_page


# Of an input that is an object: where its text is.
TEXT_KEYS = ("text",)
TEXTS_AT_ONCE = 16


def read_texts(args: argparse.Namespace) -> tuple[list[Any], list[Source]]:
    """The texts of a command line, of lines of JSON the rows that hold them; and where each comes from."""
    if args.text is not None and args.input != [STANDARD_INPUT]:
        raise ValueError(f"`input` and `text` exclude each other, got {args.input} and {args.text!r}: drop one.")
    texts: list[Any] = []
    sources: list[Source] = []
    for name in args.input:
        if name.endswith(".jsonl"):
            if args.lines:
                raise ValueError(f"`lines` must be left out with lines of JSON, got {name!r}: each is a text already.")
            rows = read_rows("input", name, TEXT_KEYS)
            texts += rows
            sources += [Source(name, number) for number in range(1, len(rows) + 1)]
            continue
        whole = args.text if args.text is not None else read_text(name)
        shown = "<text>" if args.text is not None else "<stdin>" if name == STANDARD_INPUT else name
        if not args.lines:
            texts.append(whole)
            sources.append(Source(shown, whole=whole))
            continue
        start = 0
        for number, line in enumerate(whole.split("\n"), 1):
            if text := line.removesuffix("\r"):
                texts.append(text)
                sources.append(Source(shown, number, whole, start))
            start += len(line) + 1
    return texts, sources


def read_text(name: str) -> str:
    """A file, or standard input, as bytes: opened as text, \\r\\n would become \\n and the places move."""
    content = sys.stdin.buffer.read() if name == STANDARD_INPUT else Path(name).read_bytes()
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"`input` must be a text in UTF-8, got {name!r}, whose byte {error.start} is none: convert it."
        ) from error


def draw_text(result: dict[str, Any], colors: bool) -> Text:
    """The text with its doubtful spans and its holes, by colours or by signs."""
    text, spans, holes = result["text"], result["spans"], result["holes"]
    if colors:
        drawn = Text(visible_text(text))  # which has as many characters
        for hole in holes:
            drawn.stylize("bold cyan", hole["start"], hole["end"])
        doubtful = {place for span in spans for place in range(span["start"], span["end"])}
        for token in result["tokens"]:
            if token["start"] in doubtful and token["error_probability"] is not None:
                drawn.stylize(f"black on {error_color(token['error_probability'])}", token["start"], token["end"])
        return drawn
    drawn, done = Text(), 0
    for span in sorted([*spans, *holes], key=lambda span: span["start"]):
        drawn.append(visible_text(text[done : span["start"]]))
        drawn.append(f"[-{visible_text(span['text'])}-]{{+{visible_text(span['replacement'])}+}}")
        done = span["end"]
    return drawn.append(visible_text(text[done:]))


def table(result: dict[str, Any], source: Source) -> list[str]:
    """The doubtful spans, the holes and what is unknown, one per line."""
    rows, place = [], Places(result["text"], source)
    for kind in ("spans", "holes", "unknown"):
        for span in result[kind]:
            line, column = place(span["start"])
            says = f"{span['max_error_probability']:.1%}" if kind == "spans" else kind.removesuffix("s")
            change = f"{span['text']!r}"
            if span["replacement"] != span["text"]:
                change += f" -> {span['replacement']!r}"
            rows.append((span["start"], f"{source.name}:{line}:{column}: {says:>7}  {change}"))
    return [row for _, row in sorted(rows)]


def warnings_of(result: dict[str, Any]) -> list[str]:
    """Why not to rely on a result."""
    ramp = [] if result["calibrated"] else ["not calibrated: P(wrong) is read off a plain ramp (scripts/calibrate.py)"]
    return ramp + ([] if result["weakness"] is None else [result["weakness"]])


def describe(result: dict[str, Any]) -> list[str]:
    """What there is to say of a text as a whole."""
    judged = sum(token["error_probability"] is not None for token in result["tokens"])
    lines = [
        f"  [{result['expected_errors']:.2f} of {judged} tokens expected to be wrong; windows: {result['windows']}, "
        f"forward passes: {result['forward_passes']}]"
    ]
    lines += [f"  {line}" for line in warnings_of(result)]
    if "corrected_text" in result:
        left = "nothing left to replace" if result["settled"] else "not settled"
        lines.append(
            f"  [{len(result['corrections'])} corrections in {result['rounds']} rounds, {left}; "
            f"{result['corrected_expected_errors']:.2f} tokens expected to be wrong]"
        )
    return lines


def draw(result: dict[str, Any], source: Source, console: Console) -> None:
    """Prints one result."""
    console.print(draw_text(result, console.color_system is not None and not console.no_color), soft_wrap=True)
    for line in [*table(result, source), *describe(result)]:
        console.print(visible_text(line), soft_wrap=True, markup=False, highlight=False)
    if "corrected_text" in result:
        console.print(visible_text(result["corrected_text"]), soft_wrap=True, markup=False, highlight=False)


def proofread_all(proofread, texts: list[str], batch_size: int, options: dict[str, Any]) -> list[dict[str, Any]]:
    """The results of all texts; a bar counts them, or the windows of a single one."""
    results: list[dict[str, Any]] = []
    single = len(texts) == 1
    with tqdm(total=None if single else len(texts), unit="windows" if single else "texts", disable=None) as bar:

        def on_windows(done: int, known: int) -> None:
            bar.total = known
            bar.update(done - bar.n)

        counted = {"on_windows": on_windows} if single else {}
        for start in range(0, len(texts), batch_size):
            batch = texts[start : start + batch_size]
            results += proofread(batch, batch_size=batch_size, **options, **counted)
            bar.update(0 if single else len(batch))
    return results


def check_exclusive(args: argparse.Namespace) -> None:
    """Refuses what would write the results elsewhere, and several processes that would all do the same."""
    if args.results is None:
        refuse_to_share("results", "name a file, or start one process")
        return
    for name in ("output", "save", "json", "format"):
        if getattr(args, name):
            raise ValueError(f"`{name}` must be left out beside `results`, got {getattr(args, name)!r}: drop it.")


def write_lines(
    lines: ResultLines,
    proofread,
    args: argparse.Namespace,
    rows: list[Any],
    options: dict[str, Any],
    processes: Processes,
) -> None:
    """Proofreads for `--results`, some texts at a time."""

    def results_of(start: int, end: int) -> list[dict[str, Any]]:
        made = proofread([text_of(row, TEXT_KEYS) for row in rows[start:end]], batch_size=args.batch_size, **options)
        places = zip(range(start, end), rows[start:end], made, strict=True)
        return [{"index": index, "input": row, **result} for index, row, result in places]

    settings = {"model": args.model, "fingerprint": proofread.model.fingerprint(), **options}
    settings["critic_gpt_version"] = __version__
    before = lines.write(settings, rows, TEXTS_AT_ONCE, results_of, "texts", processes)
    there = f", {before} of them there before" if before else ""
    if processes.is_main:
        say(f"{len(rows)} results in {args.results}{there}.")


def main(argv: list[str] | None = None) -> list[dict[str, Any]]:
    """Proofreads; returns the pipeline's results, none where --results writes them."""
    args = proofread_parser().parse_args(argv)
    check_at_least(1, batch_size=args.batch_size)
    if args.output and not args.correct:
        raise ValueError(f"`output` is for the text that --correct makes, got {args.output!r} without: add --correct.")
    check_exclusive(args)
    if args.json and args.format is not None:
        raise ValueError(f"`format` must be left out beside `json`, got {args.format!r}: drop one of the two.")
    if args.correct and args.format == "html":
        raise ValueError("`correct` must be left out with `format` html, got both: each doubt is decided on the page.")
    if args.output and len(args.input) > 1:
        raise ValueError(f"`output` is for one input, got {len(args.input)}: correct one file at a time.")
    processes = Processes()
    lines = None if args.results is None else processes.from_main(lambda: ResultLines("results", args.results))
    rows, sources = processes.from_main(lambda: read_texts(args))
    texts = [text_of(row, TEXT_KEYS) for row in rows]
    options = {name: getattr(args, name) for name in PROOFREADING_FLAGS if getattr(args, name) is not None}
    options |= {"correct": True} if args.correct else {}
    for name, path in (("output", args.output), ("save", args.save)):
        if path:
            check_output_file(name, path)
            os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
    proofread = load_pipeline("critic-proofread", args.model, processes.device)
    if lines is not None:
        write_lines(lines, proofread, args, rows, options, processes)
        return []
    results = proofread_all(proofread, texts, args.batch_size, options)
    if args.output:
        ending = "\n" if args.lines else ""
        content = "".join(result["corrected_text"] + ending for result in results)
        replace_file(args.output, content)
    if args.save:
        versions = {"critic_gpt": __version__, "transformers": transformers.__version__}
        versions |= {"torch": torch.__version__, "python": platform.python_version()}
        settings = {
            "model": args.model,
            "fingerprint": proofread.model.fingerprint(),
            "input": None if args.text is not None else args.input[0] if len(args.input) == 1 else args.input,
            "lines": args.lines,
            "batch_size": args.batch_size,
            **options,
            "versions": versions,
        }
        write_json(args.save, {"settings": settings, "results": results})
    if args.json:
        print(json.dumps(results, indent=2))
    elif args.format not in (None, "marked"):
        warnings = list(dict.fromkeys(line for result in results for line in warnings_of(result)))
        if args.format == "html":
            print(proofreading_page(results, sources, warnings), end="")
        else:
            print_findings(results, sources, args.format)
        for line in warnings:
            print(f"proofread: {visible_text(line)}", file=sys.stderr)
    else:
        # "never" is a terminal without a colour system; by itself rich looks at the terminal and at NO_COLOR.
        system = {"always": "truecolor", "never": None}.get(args.color, "auto")
        console = Console(color_system=system, force_terminal=args.color == "always" or None)
        for result, source in zip(results, sources, strict=True):
            draw(result, source, console)
    return results


def status_of(results: list[dict[str, Any]] | None) -> int:
    """What the command ends with: 1 where anything was found, as linters do."""
    return int(any(result["spans"] for result in results or ()))


if __name__ == "__main__":
    run_as_program(main, "proofread", status_of)
