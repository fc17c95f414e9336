# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Writes the tables of docs/GENERATION.md from the declarations of settings and strategies.

    python scripts/document_settings.py

A test compares the page with the declarations.
"""

from critic_gpt.cli.command import answer_help


if __name__ == "__main__":
    answer_help("document")  # before anything is imported that takes long

import re
from pathlib import Path

from critic_gpt.cli.flags import document_parser
from critic_gpt.generation.declarations import SETTINGS
from critic_gpt.generation.strategies.base import Strategy
from critic_gpt.generation.strategies.registry import STRATEGIES
from critic_gpt.generation.values import Setting, default_in_words, in_code
from critic_gpt.hub.files import replace_file
from critic_gpt.scripts import run_as_program


PAGE = "docs/GENERATION.md"


def table(head: tuple[str, ...], rows: list[tuple[str, ...]]) -> str:
    """A table in Markdown."""
    lines = [head, ("---",) * len(head), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def settings_table() -> str:
    """One row for each setting."""
    rows = [
        (f"`{s.name}`", values_of(s), default_in_words(s, STRATEGIES).removeprefix("defaults to "), meaning_of(s))
        for s in SETTINGS.values()
    ]
    return table(("setting", "values", "default", "meaning"), rows)


def values_of(setting: Setting) -> str:
    if setting.name == "remasking":
        return '`"auto"` or a strategy (below)'
    if setting.values.choices is not None:
        return ", ".join(in_code(name) for name in setting.values.choices())
    return setting.values.words()


def meaning_of(setting: Setting) -> str:
    words = setting.summary
    if setting.condition is not None:
        words += f"; no meaning {setting.condition.otherwise}"
    if setting.clash is not None and setting.clash.replaces:
        words += f"; excludes `{setting.clash.other}`"
    return words


def strategies_table() -> str:
    """One row for each strategy."""
    rows = [(f"`{name}`", cls.family, needs_of(cls), takes_of(cls)) for name, cls in sorted(STRATEGIES.items())]
    return table(("strategy", "family", "needs", "takes"), rows)


def needs_of(strategy: type[Strategy]) -> str:
    needs = {
        "a critic": strategy.needs_critic,
        "`remasking_model`": strategy.needs_external,
        "training with `correction_alpha`": strategy.needs_correction,
    }
    return ", ".join(words for words, needed in needs.items() if needed) or "nothing"


def takes_of(strategy: type[Strategy]) -> str:
    return ", ".join(f"`{name}`" for name in SETTINGS if name in strategy.takes) or "none of them"


def rendered(page: str) -> str:
    """The text of the page with its tables written anew, each between two comments."""
    for name, text in (("settings", settings_table()), ("strategies", strategies_table())):
        block = re.compile(rf"(<!-- {name} -->\n).*?(<!-- end -->)", re.DOTALL)
        page, count = block.subn(lambda match, text=text: f"{match[1]}{text}\n{match[2]}", page)
        if count != 1:
            raise ValueError(f"`{PAGE}` must hold one block `<!-- {name} -->` ... `<!-- end -->`, got {count}.")
    return page


def main(argv: list[str] | None = None) -> None:
    """Writes the page."""
    page = Path(document_parser().parse_args(argv).root, PAGE)
    replace_file(page, rendered(page.read_text(encoding="utf-8")))
    print(f"Written: {page}.")


if __name__ == "__main__":
    run_as_program(main, "document_settings")
