# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a task is, and the registry of all tasks.

A task is one module: a class that declares its name, its flags, how its data are made, and its judge.

    @register_task
    @dataclass(frozen=True)
    class Parity(Task):
        name = "parity"
        figures = {"even_rate": "share of lines with an even number of ones"}
        Flags = ParityFlags  # a dataclass; its fields become flags of prepare_data.py

        @classmethod
        def prepare(cls, flags, seed) -> Prepared: ...

        @classmethod
        def load(cls, metadata, folder) -> "Parity": ...

        def judge(self, texts) -> dict: ...

Modules of this room are imported by `critic_gpt.tasks` and register themselves, so a new task is one new file.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, TypeVar

import numpy as np
from transformers import PreTrainedTokenizerBase


@dataclass(frozen=True)
class Prepared:
    """
    What a task hands over to be written as a folder of prepared data.

    Args:
        windows (`Mapping[str, Iterable]`):
            For each split its examples, read once, in order, and written as they come, so that they need not fit into
            memory. An example is its token ids of shape `(length,)`, or its columns by name: arrays and numbers.
        tokenizer (`PreTrainedTokenizerBase`):
            The tokenizer.
        metadata (`Mapping[str, Any]`):
            Contents of `task.json`. `"task"` is the name of a registered task, `"sequence_length"` the most tokens in
            an example, `"source"` where the data come from.
        files (`Mapping[str, Callable[[], str]]`, *optional*):
            Texts to write beside the data, by file name. Called after `windows` were read, so they may grow with them.
    """

    windows: Mapping[str, Iterable[np.ndarray | Mapping[str, Any]]]
    tokenizer: PreTrainedTokenizerBase
    metadata: Mapping[str, Any]
    files: Mapping[str, Callable[[], str]] = field(default_factory=dict)


class Task(ABC):
    """
    Data, and a judge of generated texts.

    Class attributes:
        name (`str`): What `--task` and `task.json` call it.
        figures (`dict[str, str]`): The figures of `judge` that reports show, in words; the first one counts.
        Flags (`type`): A dataclass. Its fields are the task's flags, each with `metadata={"help": ...}`.
        exact (`bool`): Whether being right is all that is asked of a text. `right(texts)` tells which are, of shape
            `(num,)`; other tasks may have it, too.
        compares_with_real_text (`bool`): Whether the figures mean something only beside those of held-out text.
        better (`dict[str, str]`): What is better of a figure, `"lower"` or `"nearer to real"`, where it is not higher.
        answers (`str`): How many answers are right, `"one"` or `"many"`: which defaults of generation training writes.
        generation (`dict`): Settings of generation that it writes beside that, where they were measured to be better.
    """

    name: ClassVar[str]
    figures: ClassVar[Mapping[str, str]]
    Flags: ClassVar[type]
    exact: ClassVar[bool] = False
    compares_with_real_text: ClassVar[bool] = False
    better: ClassVar[Mapping[str, str]] = {}
    answers: ClassVar[str] = "many"
    generation: Mapping[str, Any] = {}
    # The most tokens in an example.
    sequence_length: int

    @classmethod
    @abstractmethod
    def prepare(cls, flags: Any, seed: int) -> Prepared:
        """Makes the data that `flags`, an instance of `Flags`, ask for; the same seed makes the same data."""

    @classmethod
    @abstractmethod
    def load(cls, metadata: Mapping[str, Any], folder: Path) -> "Task":
        """Makes the task from what `task.json` and the files of a prepared folder hold."""

    @abstractmethod
    def judge(self, texts: Sequence[str]) -> dict[str, float | int]:
        """Judges generated texts, at least one."""

    def judge_real(self, texts: Sequence[str], num_samples: int) -> dict[str, float | int]:
        """Judges at most so many of some real texts, the first ones. Where `judge` compares with these, a task says
        here what to leave out, so that none is compared with itself."""
        return self.judge(texts[:num_samples])

    @property
    def row_width(self) -> int | None:
        """Tokens per line where a text is a grid, else `None`."""
        return None

    def files(self) -> dict[str, Callable[[], str]]:
        """What lies beside any data of this task, as in [`Prepared`]."""
        return {}

    def load_puzzles(self, folder: Path) -> Any:
        """The puzzles of a prepared folder, with `canvases(tokenizer)`, `judge(texts)`, `first(num)` and `figures`."""
        raise ValueError(
            f"`folder` must hold grids or molecules to have puzzles, got {str(folder)!r} of the task {self.name!r}; "
            "give one that `python -m critic_gpt.scripts.prepare_data --task sudoku --num_puzzles 1000 --output_dir "
            f"{folder}` made."
        )


TASKS: dict[str, type[Task]] = {}
_TaskClass = TypeVar("_TaskClass", bound=type[Task])


def register_task(cls: _TaskClass) -> _TaskClass:
    """
    Makes a task known by its name; a class decorator.

    Raises:
        `ValueError`: If the name is taken by another class.
    """
    known = TASKS.setdefault(cls.name, cls)
    if known is not cls:
        raise ValueError(f"`name` must be new, got {cls.name!r}, the name of {known.__qualname__}; choose another.")
    return cls
