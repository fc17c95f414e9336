# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
What the site needs beyond mkdocs: notebooks as pages, and the links in docstrings of the Transformers grammar.

mkdocs calls the functions named `on_...` (`hooks` in mkdocs.yml); griffe, which reads docstrings, takes the class.
"""

import re
from functools import cache
from pathlib import Path
from typing import Any

import griffe
from mkdocs.structure.files import File

from critic_gpt.hub.documents import parse_json


class NotebookPage(File):
    """A notebook among the pages."""

    def is_documentation_page(self) -> bool:
        return True


def on_files(files: Any, config: Any) -> Any:
    """Makes each notebook a page, so that its links are checked like those of all others."""
    for file in [file for file in files if file.src_uri.endswith(".ipynb")]:
        files.remove(file)
        dest = file.src_uri.removesuffix(".ipynb") + ".html"
        files.append(NotebookPage(file.src_uri, file.src_dir, file.dest_dir, use_directory_urls=False, dest_uri=dest))
    return files


def on_page_read_source(page: Any, config: Any) -> str | None:
    """The Markdown of a notebook; `None`: mkdocs reads the page itself."""
    if not page.file.src_uri.endswith(".ipynb"):
        return None
    return (
        as_markdown(page.file.content_string) + f"\nThis notebook is `docs/{page.file.src_uri}` in the repository.\n"
    )


def as_markdown(notebook: str) -> str:
    """The cells of a notebook, with what they printed and drew."""
    parts = []
    for cell in parse_json(notebook)["cells"]:
        source = "".join(cell["source"])
        parts.append(source if cell["cell_type"] == "markdown" else f"```python\n{source}\n```")
        for output in cell.get("outputs", []):
            data = output.get("data", {})
            if "image/png" in data:
                parts.append(f"![What the cell draws](data:image/png;base64,{data['image/png'].strip()})")
            elif "text" in output or "text/plain" in data:
                printed = "".join(output.get("text", data.get("text/plain")))
                parts.append(f"```text\n{printed.rstrip()}\n```")
    return "\n\n".join(parts) + "\n"


@cache
def documented() -> dict[str, str]:
    """What the pages of the reference document, by its last name."""
    pages = sorted((Path(__file__).parent / "reference").glob("*.md"))
    names = [name for page in pages for name in re.findall(r"^::: (\S+)", page.read_text("utf-8"), re.MULTILINE)]
    return {name.rsplit(".", 1)[-1]: name for name in names}


def linked(match: re.Match) -> str:
    """[`Name`], or the name alone where the reference has no page on it."""
    name = match[1].rsplit(".", 1)[-1]
    return f"[`{name}`][{documented()[name]}]" if name in documented() else f"`{name}`"


def bare(match: re.Match) -> str:
    """An argument with its type alone; the signature above says what is optional, and its default."""
    kind = re.sub(r",? ?(\*optional\*|defaults to .*)", "", match["kind"])
    kind = re.sub(r"\[`~?([\w.]+)`\]", r"\1", kind).replace("`", "")
    return f"{match['names']} ({kind}):"


class DocstringsOfTransformers(griffe.Extension):
    """Docstrings in the grammar of Transformers, for a reader of that of Google: links, types, errors."""

    def on_object(self, *, obj: Any, **kwargs: Any) -> None:
        if obj.docstring:
            text = re.sub(r"^(?P<names>\s+[\w, ]+) \((?P<kind>.+)\):", bare, obj.docstring.value, flags=re.MULTILINE)
            text = re.sub(r"^(\s+)`(\w+)`:", r"\1\2:", text, flags=re.MULTILINE)
            obj.docstring.value = re.sub(r"\[`~?([\w.]+)`\]", linked, text)
