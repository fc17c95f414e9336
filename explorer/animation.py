# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A generation kept step by step, as an HTML file with a time line or as a GIF."""

import importlib.util
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from critic_gpt.explorer.documents import document
from critic_gpt.explorer.drawing import lines_of
from critic_gpt.explorer.page import token_data
from critic_gpt.explorer.streaming import step_heading, step_tokens
from critic_gpt.explorer.tokens import TokenView
from critic_gpt.generation.streamers import CriticStreamer, StreamedStep
from critic_gpt.hub.files import replace_file


# Tokens in all frames of one animation; of a longer one only every second, third, ... step is kept.
MOST_DRAWN = 300_000
SUFFIXES = (".html", ".gif")


def check_animation(path: str | os.PathLike, num_samples: int, field: str = "animate") -> None:
    """
    Refuses, before the work, a file that could not be written.

    Args:
        path (`str` or `os.PathLike`): The file.
        num_samples (`int`): How many it is to show.
        field (`str`, *optional*, defaults to `"animate"`): Name of the argument that holds it, for errors.

    Raises:
        `ImportError`: Pillow, which draws GIFs, is not installed.
        `ValueError`: A suffix that is neither, or a GIF of several samples.
    """
    suffix = Path(path).suffix.lower()
    if suffix not in SUFFIXES:
        raise ValueError(f"`{field}` must end in .html or .gif, got {str(path)!r}: choose one of these.")
    if suffix == ".gif" and num_samples != 1:
        raise ValueError(
            f"`{field}` must be .html to show several samples, got {str(path)!r} for {num_samples}: a GIF shows one."
        )
    if suffix == ".gif" and importlib.util.find_spec("PIL") is None:
        raise ImportError(f"`{field}` needs Pillow to draw a GIF, got none: run `pip install critic_gpt[viz]`.")


class Recorder(CriticStreamer):
    """
    A streamer that keeps what there is to see of every step of every row.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): That of the model.
        row_width (`int`, *optional*): Tokens per line, for grids; by default lines end where the text has newlines.
        follower ([`CriticStreamer`], *optional*): Another streamer that is told the same.
    """

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerBase,
        row_width: int | None = None,
        follower: CriticStreamer | None = None,
    ):
        if row_width is not None and row_width < 1:
            raise ValueError(f"`row_width` must be at least 1, got {row_width}: leave it out for a text.")
        self.tokenizer, self.row_width, self.follower = tokenizer, row_width, follower
        # Of each sample its steps: a heading, and the tokens.
        self.samples: list[list[tuple[str, tuple[TokenView, ...]]]] = []
        self._going: list[list[tuple[str, tuple[TokenView, ...]]]] | None = None
        self._before: torch.Tensor | None = None  # the tokens of the last step: others are new

    def put_step(self, step: StreamedStep) -> None:
        """Keeps where the generation stands."""
        if self._going is None:
            self._going = [[] for _ in step.sequences]
            self.samples += self._going
        for row, steps in enumerate(self._going):
            tokens = step_tokens(step, row, self.tokenizer)
            before = self._before if self._before is None else self._before[row].tolist()
            tokens = tuple(
                replace(token, filled=token.filled and before is not None and before[token.position] != token.id)
                for token in tokens
            )
            said = "finished" if step.finished else f"step {len(steps)}" if steps else "begin"
            steps.append((f"{said}: {step_heading(step, row, tokens)}", tokens))
        self._before = step.sequences
        if self.follower is not None:
            self.follower.put_step(step)

    def end(self) -> None:
        """The next step is of other samples."""
        self._going = self._before = None
        if self.follower is not None:
            self.follower.end()

    def abort(self) -> None:
        self._going = self._before = None
        if self.follower is not None:
            self.follower.abort()

    def save(self, path: str | os.PathLike, title: str, fingerprint: str | None = None) -> Path:
        """
        Writes the animation.

        Args:
            path (`str` or `os.PathLike`): Ends in `.html` or `.gif`; replaced in one step.
            title (`str`): What it is of.
            fingerprint (`str`, *optional*): Of the weights that generated, by which a model's card knows its own.
        """
        check_animation(path, len(self.samples))
        samples = [_thinned(steps, len(self.samples)) for steps in self.samples]
        if Path(path).suffix.lower() == ".html":
            frames = [[self._view(*step) for step in steps] for steps in samples]
            return replace_file(path, document("animation", title, {"samples": frames, "weights": fingerprint}))
        from critic_gpt.explorer.gif import draw_gif  # Pillow comes with an extra

        return replace_file(path, draw_gif(samples[0], self.row_width, title, fingerprint))

    def _view(self, heading: str, tokens: tuple[TokenView, ...]) -> dict[str, Any]:
        """A step as the page draws it."""
        return {
            "headings": [heading],
            "tokens": [token_data(token) for token in tokens],
            "lines": [len(line) for line in lines_of(tokens, self.row_width)],
            "grid": self.row_width is not None,
            "named": [],
            "another": False,
        }


def _thinned(steps: list[Any], num_samples: int) -> list[Any]:
    """As many steps as can be drawn, the last one among them."""
    every = 1 + num_samples * sum(len(tokens) for _, tokens in steps) // MOST_DRAWN
    return [*steps[:-1][::every], steps[-1]]
