# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The parser of each act with all its flags."""

from critic_gpt.cli import flags
from critic_gpt.scripts import prepare_data, train


def full_parser(name: str):
    """The parser that the act itself uses."""
    if name == "train":
        return train.flag_parser()
    return prepare_data.flag_parser() if name == "prepare" else getattr(flags, f"{name}_parser")()
