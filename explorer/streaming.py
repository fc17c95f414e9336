# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A generation as it comes about, in a terminal.

    from critic_gpt.explorer.streaming import TerminalStreamer

    model.generate(ids, num_steps=32, streamer=TerminalStreamer(tokenizer))

`pipeline("critic-diffusion", ...)` takes the same `streamer`, and `scripts/generate.py --stream` makes one.
"""

import time

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text
from transformers import PreTrainedTokenizerBase

from critic_gpt.explorer.drawing import lines_of, sign_of
from critic_gpt.explorer.terminal import style_of
from critic_gpt.explorer.tokens import TokenView
from critic_gpt.generation.streamers import CriticStreamer, StreamedStep


class TerminalStreamer(CriticStreamer):
    """
    Draws all rows of a batch over each other step by step. The background of a token is its P(wrong), green to red;
    [MASK] is dim, what was just drawn and not yet judged is bold, what was just re-masked is struck out. Into a
    file or pipe only the finished rows are written, as plain lines.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): That of the model.
        console ([`~rich.console.Console`], *optional*): Where to draw; stdout by default.
        row_width (`int`, *optional*): Tokens a line, for grids; by default lines end where the text has newlines.
        sleep_time (`float`, *optional*, defaults to 0.0): Seconds to wait after each step, to follow it by eye.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        console: Console | None = None,
        row_width: int | None = None,
        sleep_time: float = 0.0,
    ):
        if row_width is not None and row_width < 1:
            raise ValueError(f"`row_width` must be at least 1, got {row_width}: leave it out for a text.")
        if sleep_time < 0:
            raise ValueError(f"`sleep_time` must be at least 0 seconds, got {sleep_time}: leave it out for none.")
        self.tokenizer = tokenizer
        self.console = console or Console()
        self.row_width = row_width
        self.sleep_time = sleep_time
        self._live: Live | None = None
        self._step: StreamedStep | None = None
        self._num_before = 0  # rows of generations that are done

    def put_step(self, step: StreamedStep) -> None:
        """Draws where the generation stands."""
        self._step = step
        if not self.console.is_terminal:
            return
        if self._live is None:
            self._live = Live(console=self.console, auto_refresh=False)
            self._live.start()
        self._live.update(self.drawing(step), refresh=True)
        if not step.finished:
            time.sleep(self.sleep_time)

    def end(self) -> None:
        """Leaves the last drawing as it is."""
        self.abort()
        if self._step is not None:
            if not self.console.is_terminal:
                self.console.print(self.drawing(self._step), soft_wrap=True)
            self._num_before += len(self._step.sequences)
        self._step = None

    def abort(self) -> None:
        """Gives the terminal back; a file or pipe gets nothing."""
        if self._live is not None:
            self._live.stop()
        self._live = None

    def drawing(self, step: StreamedStep) -> Group:
        """All rows, each under a line that counts."""
        parts = []
        for row in range(len(step.sequences)):
            tokens = step_tokens(step, row, self.tokenizer)
            parts.append(Text(f"{self._num_before + row + 1}: {step_heading(step, row, tokens)}"))
            for line in lines_of(tokens, self.row_width):
                parts.append(Text("  ").append_tokens((sign_of(token), style_of(token)) for token in line))
        return Group(*parts)


def step_heading(step: StreamedStep, row: int, tokens: tuple[TokenView, ...]) -> str:
    """Where a row stands, in numbers."""
    masks = sum(token.masked or token.remasked for token in tokens)
    parts = [f"{masks} masks left"] * (not step.finished) + [f"{int(step.row_passes[row])} forward passes"]
    judged = [token.error_probability for token in tokens if token.error_probability is not None]
    if judged:
        parts.append(f"{sum(judged):.2f} wrong tokens expected")
    return "; ".join(parts)


def step_tokens(step: StreamedStep, row: int, tokenizer: PreTrainedTokenizerBase) -> tuple[TokenView, ...]:
    """The real tokens of a row, those just re-masked as they were before."""
    places = step.attention_mask[row].nonzero().flatten()
    ids = step.filled[row][places].tolist()
    remasked, editable = step.remasked[row][places].tolist(), step.editable[row][places].tolist()
    known = [None] * len(ids)
    if step.error_probabilities is not None:
        known = [None if p != p else p for p in step.error_probabilities[row][places].tolist()]
    return tuple(
        TokenView(
            position=int(places[i]),
            id=ids[i],
            text=tokenizer.decode([ids[i]]),
            masked=ids[i] == tokenizer.mask_token_id,
            filled=editable[i] and ids[i] != tokenizer.mask_token_id,
            remasked=remasked[i],
            error_probability=known[i],
        )
        for i in range(len(ids))
    )
