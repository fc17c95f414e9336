# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The explorer in a terminal: one command a line, from a keyboard or a pipe."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import closing
from typing import Any

from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

from critic_gpt.explorer import denoising, denoising_views, views
from critic_gpt.explorer.command_line import typed_lines
from critic_gpt.explorer.drawing import error_color, headings, lines_of, mark_of, named, sign_of, visible_text
from critic_gpt.explorer.session import Explorer
from critic_gpt.explorer.tokens import TokenView
from critic_gpt.explorer.views import view_data
from critic_gpt.generation.declarations import remasking_names


HELP = """\
n, p, g INDEX       next, previous, given sample
split NAME          another split
m [RATE]            mask the sample: a share in (0, 1], or drawn as in evaluation
seed NUMBER         seed of masks and draws
c                   critic view: the model fills the masks, the critic judges them
t THRESHOLD         above this P(wrong) a token is flagged
f                   fill all masks
s                   score what is visible
r COUNT             mask the worst tokens again; also: r threshold [P], r random COUNT, r at POSITION ...
u COUNT             unmask so many as the model draws them; also: u at POSITION ...
truth POSITION ...  put what stands in the data
back                undo the last act
gen [STRATEGY] [STEPS]   finish by generate(), every step shown
x TEXT              score a text; [MASK] is a hole
d TEXT              denoise a text with [MASK] by hand
json                the data of the last view
help, q             this list, the end
At a keyboard Tab completes, the arrows bring back what was typed, this time or earlier.
Colour: P(wrong), green to red. Underlined: differs from the truth. Without colour a line of marks beneath:
+ wrong and flagged, x wrong and not flagged, ! flagged though right or unknown, ~ re-masked."""


def style_of(token: TokenView) -> str:
    style = []
    if token.error_probability is not None:
        style.append(f"black on {error_color(token.error_probability)}")
    elif token.filled:
        style.append("bold cyan")
    elif token.masked:
        style.append("dim")
    style += [name for name, drawn in (("underline", token.wrong), ("strike", token.remasked)) if drawn]
    return " ".join(style)


def draw(view: Any, console: Console) -> None:
    """Draws a view: its numbers, its tokens, the remarkable ones by name; a generation step by step."""
    if isinstance(view, denoising_views.GenerationView):
        for step in view.steps:
            _draw_text(step, console)
    _draw_text(view, console)
    for line in named(view.tokens, getattr(view, "another_right", False)):
        _say(f"    {line}", console)


def _draw_text(view: Any, console: Console) -> None:
    for line in headings(view):
        _say(line, console)
    for line in lines_of(view.tokens, view.row_width):
        text, marks = Text("  "), "  "
        for token in line:
            text.append(sign_of(token), style=style_of(token))
            marks += mark_of(token, getattr(view, "another_right", False)) * max(1, cell_len(sign_of(token)))
        console.print(text, soft_wrap=True, highlight=False)
        if console.color_system is None and marks.strip():
            _say(marks.rstrip(), console)


def _say(line: str, console: Console) -> None:
    console.print(visible_text(line), markup=False, highlight=False, emoji=False, soft_wrap=True)


def _one(words: list[str], kind: type, what: str) -> Any:
    """The one number that a command takes."""
    (number,) = _numbers(words, kind, what) if len(words) == 1 else (None,)
    if number is None:
        raise ValueError(f"`{what}` must be given as one number, got {' '.join(words) or 'nothing'}: see help.")
    return number


def _numbers(words: list[str], kind: type, what: str) -> list[Any]:
    try:
        return [kind(word) for word in words]
    except ValueError:
        name = "whole numbers" if kind is int else "numbers"
        raise ValueError(f"`{what}` must be given in {name}, got {' '.join(words)}: see help.") from None


class TerminalSession:
    """
    What somebody at a terminal is looking at.

    Args:
        explorer ([`Explorer`]): What is explored.
        console ([`~rich.console.Console`], *optional*): Where to draw; stdout by default, in colour if a terminal.
        split, index, mask_rate, seed, threshold: Where to begin.
    """

    def __init__(
        self,
        explorer: Explorer,
        console: Console | None = None,
        split: str = "validation",
        index: int = 0,
        mask_rate: float | None = None,
        seed: int = 1,
        threshold: float = 0.5,
    ):
        self.explorer = explorer
        self.console = console or Console()
        self.split, self.index, self.mask_rate = split, index, mask_rate
        self.seed, self.threshold = seed, threshold
        self.states: list[denoising.DenoisingState] = []  # the acts since the beginning, the last one now
        self.view: Any = None

    def run(self, lines: Iterable[str] | None = None) -> None:
        """Reads commands until `q` or the end: of the lines given, else of stdin."""
        if self.explorer.splits is None:
            _say("No data: `x TEXT` scores a text, `d TEXT` denoises one, `help` lists the rest.", self.console)
        else:
            self.handle(f"g {self.index}")
        if lines is None and sys.stdin.isatty():
            with closing(typed_lines(self.words)) as typed:
                self._follow(typed)
        else:
            self._follow(iter(sys.stdin if lines is None else lines))

    def _follow(self, lines: Iterator[str]) -> None:
        while True:
            try:
                line = next(lines, None)
            except KeyboardInterrupt:
                line = None
            if line is None or not self.handle(line):
                return

    def words(self, line: str) -> list[str]:
        """What the last word of a line might be: a command, a split, a strategy, or what `r` goes by."""
        name, blank, rest = line.lstrip().partition(" ")
        if not blank:
            return [*self.COMMANDS, "q"]
        if " " in rest.lstrip():
            return []
        splits = self.explorer.split_names() if name == "split" else []
        known = {"gen": remasking_names, "split": lambda: splits, "r": lambda: ("threshold", "random", "at")}
        return [*known[name]()] if name in known else ["at"] if name == "u" else []

    def handle(self, line: str) -> bool:
        """Carries out one command; `False` if it was the last. A bad one is answered by one sentence."""
        # Blanks at the end may be part of a text.
        name, _, rest = line.rstrip("\r\n").lstrip().partition(" ")
        if not name.strip():
            return True
        if name in ("q", "quit", "exit"):
            return False
        try:
            command = self.COMMANDS.get(name)
            if command is None:
                raise ValueError(f"`{name[:20]}` must be a command, got none of that name: type help for the list.")
            before = self.view
            command(self, rest if name in ("x", "d") else rest.split())
            if self.view is not before:
                draw(self.view, self.console)
        except (ValueError, OSError) as error:
            _say(" ".join(str(error).split()), self.console)
        return True

    # ---- walking ----

    def _go(self, index: int) -> None:
        self.view = views.sample_view(self.explorer, index, self.split)
        self.index, self.states = index, []

    def _next(self, words: list[str]) -> None:
        self._go(self.index + 1)

    def _previous(self, words: list[str]) -> None:
        self._go(self.index - 1)

    def _given(self, words: list[str]) -> None:
        self._go(_one(words, int, "index"))

    def _split(self, words: list[str]) -> None:
        before, self.split = self.split, " ".join(words)
        try:
            self._go(0)
        except ValueError:
            self.split = before
            raise

    def _set_seed(self, words: list[str]) -> None:
        self.seed, self.states = _one(words, int, "seed"), []

    def _set_threshold(self, words: list[str]) -> None:
        threshold = _one(words, float, "threshold")
        views.check_threshold(threshold)
        self.threshold = threshold
        if isinstance(self.view, views.CriticView):
            self._critic([])
        elif isinstance(self.view, denoising_views.DenoisingView):
            self.view = denoising_views.denoising_view(self.explorer, self.states[-1], threshold)
        elif isinstance(self.view, views.TextView):
            self._text(self.view.text)

    # ---- views ----

    def _place(self) -> tuple:
        return self.index, self.split, self.mask_rate, self.seed

    def _mask(self, words: list[str]) -> None:
        before, self.mask_rate = self.mask_rate, _one(words, float, "mask rate") if words else None
        try:
            self.view = views.corrupted_view(self.explorer, *self._place())
        except ValueError:
            self.mask_rate = before
            raise
        self.states = []

    def _critic(self, words: list[str]) -> None:
        self.view = views.critic_view(self.explorer, *self._place(), self.threshold)

    def _text(self, text: str) -> None:
        self.view = views.text_view(self.explorer, text, self.threshold)

    def _json(self, words: list[str]) -> None:
        if self.view is None:
            raise ValueError("`json` must follow a view, got none yet: look at something first.")
        _say(json.dumps(view_data(self.view), allow_nan=False), self.console)

    def _help(self, words: list[str]) -> None:
        _say(HELP, self.console)

    # ---- by hand ----

    def _state(self) -> denoising.DenoisingState:
        if not self.states:
            self.states = [denoising.start_from_sample(self.explorer, *self._place())]
        return self.states[-1]

    def _show(self, state: denoising.DenoisingState) -> None:
        self.states.append(state)
        self.view = denoising_views.denoising_view(self.explorer, state, self.threshold)

    def _denoise(self, text: str) -> None:
        state = denoising.start_from_text(self.explorer, text, self.seed)
        self.states = []
        self._show(state)

    def _fill(self, words: list[str]) -> None:
        self._show(denoising.fill(self.explorer, self._state()))

    def _score(self, words: list[str]) -> None:
        self._show(denoising.score(self.explorer, self._state()))

    def _remask(self, words: list[str]) -> None:
        by, rest = (words[0], words[1:]) if words else ("", [])
        how = {"by": "critic"}
        if by == "threshold":
            how = {"by": by, "threshold": _one(rest, float, "threshold") if rest else self.threshold}
        elif by == "random":
            how = {"by": by, "count": _one(rest, int, "count")}
        elif by == "at":
            how = {"by": "positions", "positions": _numbers(rest, int, "positions")}
        else:
            how["count"] = _one(words, int, "count")
        self._show(denoising.remask(self.explorer, self._state(), **how))

    def _unmask(self, words: list[str]) -> None:
        if words and words[0] == "at":
            how = {"positions": _numbers(words[1:], int, "positions")}
        else:
            how = {"count": _one(words, int, "count")}
        self._show(denoising.unmask(self.explorer, self._state(), **how))

    def _truth(self, words: list[str]) -> None:
        positions = _numbers(words, int, "positions")
        self._show(denoising.reveal_truth(self.explorer, self._state(), positions))

    def _back(self, words: list[str]) -> None:
        if len(self.states) < 2:
            raise ValueError("`back` must follow an act, got none to undo: fill, score or mask something first.")
        self.states.pop()
        self.view = denoising_views.denoising_view(self.explorer, self.states[-1], self.threshold)

    def _generate(self, words: list[str]) -> None:
        names = [word for word in words if not word.isdigit()]
        options: dict[str, Any] = {"remasking": names[0]} if names else {}
        steps = [int(word) for word in words if word.isdigit()]
        if len(names) > 1 or len(steps) > 1:
            raise ValueError(f"`gen` must be followed by a strategy and a number at most, got {words}: see help.")
        if steps:
            options["num_steps"] = steps[0]
        self.view = denoising_views.generation_view(self.explorer, self._state(), self.threshold, **options)

    COMMANDS = {
        "n": _next,
        "p": _previous,
        "g": _given,
        "split": _split,
        "m": _mask,
        "seed": _set_seed,
        "c": _critic,
        "t": _set_threshold,
        "f": _fill,
        "s": _score,
        "r": _remask,
        "u": _unmask,
        "truth": _truth,
        "back": _back,
        "gen": _generate,
        "x": _text,
        "d": _denoise,
        "json": _json,
        "help": _help,
    }
