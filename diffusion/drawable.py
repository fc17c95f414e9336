# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Which ids may never be drawn: the one answer for filling, generation, joint draws and proofreading."""

from collections.abc import Iterable
from typing import Any

from critic_gpt.backbones.description import Backbone
from critic_gpt.configuration_critic_gpt import CriticGPTConfig


def never_drawn_ids(
    config: CriticGPTConfig,
    suppressed_token_ids: Iterable[int] | None = None,
    mask_token_id: int | None = None,
    pad_token_id: int | None = None,
) -> list[int]:
    """
    Lists the ids that stand for no token of a text: [MASK], padding, other special tokens, and the rows of an
    embedding that is larger than its vocabulary.

    Args:
        config ([`CriticGPTConfig`]): Of the model.
        suppressed_token_ids (iterable of `int`, *optional*): Take the place of `config.suppressed_token_ids`. What the
            model has no logits for is left out.
        mask_token_id, pad_token_id (`int`, *optional*): Suppressed beside those of `config`, where they are others.

    Returns:
        `list[int]`: in ascending order.
    """
    special = config.suppressed_token_ids if suppressed_token_ids is None else suppressed_token_ids
    ids = (config.mask_token_id, config.pad_token_id, mask_token_id, pad_token_id, *(special or ()))
    size = Backbone.of(config).vocab_size
    known = {token for token in ids if token is not None and token < size}
    return sorted(known | set(range(config.drawable_vocab_size or size, size)))


def adopt_tokenizer(config: CriticGPTConfig, tokenizer: Any) -> None:
    """
    Sets what a configuration does not say yet of the ids that are never drawn, in place.

    Args:
        config ([`CriticGPTConfig`]): Of a model that is trained with the tokenizer.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): Its tokenizer.
    """
    size = Backbone.of(config).vocab_size
    if config.suppressed_token_ids is None:
        others = sorted(_special_ids(tokenizer) - {config.mask_token_id, config.pad_token_id})
        config.suppressed_token_ids = [token for token in others if token < size] or None
    if config.drawable_vocab_size is None and len(tokenizer) < size:
        config.drawable_vocab_size = len(tokenizer)


def ids_without_text(tokenizer: Any, backbone: Backbone) -> list[int]:
    """
    The ids that stand for no token of a text, as a tokenizer knows them: its special tokens but for the one that ends
    a text, what frames a text, and the rows beyond it.

    Args:
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): That of the model.
        backbone ([`~backbones.description.Backbone`]): The model's.
    """
    special = _special_ids(tokenizer) | {*backbone.prefix_ids, *backbone.suffix_ids}
    return sorted(special | set(range(len(tokenizer), backbone.vocab_size)))


def _special_ids(tokenizer: Any) -> set[int]:
    return set(tokenizer.all_special_ids) - {tokenizer.eos_token_id}
