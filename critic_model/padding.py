# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Padding where a model was made with another id than its tokenizer has.

Some types count their positions from behind `pad_token_id` when they are made, so that the id which a configuration is
saved with must be the one the model was made with, while texts are padded by the tokenizer's.
"""

import copy
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any


# In memory: the id that a model was made with. In a file: the tokenizer's.
_STOCK, _OWN = "critic_stock_padding", "critic_own_padding"


def keep_stock_padding(config: Any, pad_token_id: int | None) -> None:
    """Remembers, in place, the id that a model was made with, where its tokenizer pads with another one."""
    made_with = getattr(config, "pad_token_id", None)
    if made_with != pad_token_id:
        setattr(config, _STOCK, {"pad_token_id": made_with})


def with_own_padding(config: Any) -> Any:
    """The configuration of a model that was just made from a file, with the padding of its tokenizer."""
    if not hasattr(config, _OWN):
        return config
    config = copy.deepcopy(config)  # from which a model may be made again
    keep_stock_padding(config, getattr(config, _OWN)["pad_token_id"])
    config.pad_token_id = getattr(config, _OWN)["pad_token_id"]
    delattr(config, _OWN)
    return config


@contextmanager
def saved_with_stock_padding(config: Any) -> Iterator[None]:
    """Within it a configuration is what it has to be in a file."""
    if not hasattr(config, _STOCK):
        yield
        return
    own, stock = config.pad_token_id, getattr(config, _STOCK)
    delattr(config, _STOCK)
    setattr(config, _OWN, {"pad_token_id": own})
    config.pad_token_id = stock["pad_token_id"]
    try:
        yield
    finally:
        delattr(config, _OWN)
        setattr(config, _STOCK, stock)
        config.pad_token_id = own
