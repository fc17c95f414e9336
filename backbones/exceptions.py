# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What model types do otherwise than the rest, by `model_type`. Whatever a short run can measure is not here."""

from typing import Any


# Their learnt positions begin behind the padding id, and so many fewer tokens fit.
_POSITIONS_BEHIND_PADDING = {
    *("roberta", "xlm-roberta", "xlm-roberta-xl", "camembert", "xmod", "roberta-prelayernorm", "data2vec-text"),
    *("ibert", "longformer", "mpnet", "luke"),
}
# Their positions are relative: any length will do, whatever their configuration says.
_NO_LONGEST = {"funnel", "perceiver_relative"}
# Other names of the longest sequence.
_LONGEST = ("max_position_embeddings", "max_sequence_length", "max_seq_len", "n_positions")
# What the base model gives last is not one state per token there.
_STATES_FROM = {"perceiver": "base_logits"}
# Their forward pass reads some places beside kept keys and values of all others.
_TAKES_CACHE = {"critic_gpt"}
# Their logits at a position speak of the next one.
_LOGIT_SHIFT = {"Dream": 1, "dream": 1}


def longest_sequence(config: Any) -> int | None:
    """The longest sequence that a model takes, by its configuration; `None` where there is no bound."""
    kind = getattr(config, "model_type", None)
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    if kind in _NO_LONGEST:
        return None
    longest = next((value for name in _LONGEST if (value := getattr(config, name, None)) is not None), None)
    learnt = kind == "esm" and getattr(config, "position_embedding_type", None) == "absolute"
    if longest is not None and (kind in _POSITIONS_BEHIND_PADDING or learnt):
        longest -= (1 if config.pad_token_id is None else config.pad_token_id) + 1
    return longest


def states_from(config: Any) -> str:
    """Where the states of a model type come from, as [`Backbone`] says it."""
    return _STATES_FROM.get(config.model_type, "base_model")


def logit_shift(config: Any) -> int:
    """How many positions ahead the logits of a model type speak."""
    return _LOGIT_SHIFT.get(config.model_type, 0)


def takes_cache(config: Any) -> bool:
    """Whether a model reads some places beside kept keys and values; a causal one would see what comes later."""
    return getattr(config, "model_type", None) in _TAKES_CACHE and not config.is_causal
