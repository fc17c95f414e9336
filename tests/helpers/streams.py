# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Streams of rows in several shards."""

import datasets

from critic_gpt.tasks import build_character_tokenizer


LETTERS = build_character_tokenizer("abcdefgh", model_max_length=32)


def rows_of(num, ragged=False):
    return [{"input_ids": [2 + (i + j) % 8 for j in range(5 + (i % 4 if ragged else 0))]} for i in range(num)]


def sharded(num, num_shards, shuffled=False, **kwargs):
    stream = datasets.Dataset.from_list(rows_of(num, **kwargs)).to_iterable_dataset(num_shards=num_shards)
    return stream.shuffle(seed=3, buffer_size=8) if shuffled else stream
