# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The parser of acts whose flags are fields of dataclasses. Imports Transformers, so only a running act makes one."""

from transformers import HfArgumentParser

from critic_gpt.cli.parser import ActParsing


class DataclassActParser(ActParsing, HfArgumentParser):
    """[`~transformers.HfArgumentParser`] of an act; the `_argument_group_name` of a dataclass is its group."""
