# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Prepared data as scripts/prepare_data.py writes them, and flags as scripts take them."""

from critic_gpt.scripts import prepare_data


def as_flags(**values):
    """`--name value` of each; a list gives several words after the name."""
    words = []
    for name, value in values.items():
        words += [f"--{name}", *map(str, value if isinstance(value, list | tuple) else [value])]
    return words


def prepare_sudoku(folder, size=4, splits=(24, 6, 4), **flags):
    """Grids, so many for training, validation and test."""
    sizes = dict(zip(("num_train", "num_validation", "num_test"), splits, strict=True))
    prepare_data.main(as_flags(task="sudoku", output_dir=folder, size=size, **sizes, **flags))
    return folder


def prepare_text(folder, source, **flags):
    """The text of a file, in windows of 32 tokens."""
    prepare_data.main(as_flags(task="text", output_dir=folder, source=source, **{"sequence_length": 32, **flags}))
    return folder
