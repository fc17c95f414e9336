# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a model is trained on and judged by: tasks, and the folders of prepared data that carry them."""

import importlib
import pkgutil

from critic_gpt.tasks.base import TASKS, Prepared, Task, register_task
from critic_gpt.tasks.corpus import Corpus
from critic_gpt.tasks.prepared import (
    SPLITS,
    TASK_FILE,
    check_output_dir,
    generation_for,
    load_data,
    load_prepared,
    load_puzzles,
    load_task,
    read_metadata,
    save_prepared,
    stream_prepared,
)
from critic_gpt.tasks.sudoku import SudokuTask
from critic_gpt.tasks.sudoku_puzzles import SudokuPuzzles
from critic_gpt.tasks.text import TextTask
from critic_gpt.tasks.tokenizers import build_character_tokenizer, encode_strict
from critic_gpt.tasks.words import words_of


__all__ = [
    "Corpus",
    "Prepared",
    "SudokuPuzzles",
    "SudokuTask",
    "Task",
    "TextTask",
    "generation_for",
    "build_character_tokenizer",
    "check_output_dir",
    "encode_strict",
    "SPLITS",
    "TASKS",
    "TASK_FILE",
    "load_data",
    "load_prepared",
    "load_puzzles",
    "load_task",
    "read_metadata",
    "register_task",
    "save_prepared",
    "stream_prepared",
    "words_of",
]

# A module of this room that declares a task registers it when it is imported: a new task is a new file here.
for _module in pkgutil.iter_modules(__path__, f"{__name__}."):
    importlib.import_module(_module.name)
