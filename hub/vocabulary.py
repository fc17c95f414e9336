# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Whether the tokens of a model are those of a tokenizer, of data or one that was passed by hand."""

import os
from typing import Any

from transformers import AutoTokenizer, PreTrainedTokenizerBase

from critic_gpt.backbones.description import Backbone
from critic_gpt.hub.documents import cause_of, read_object
from critic_gpt.hub.folder import location_of
from critic_gpt.hub.looking import file_if_any, look_at_folder


# Bytes of a `tokenizer.json`, far above any there is.
_MOST_RULES = 2**28


def tokenizer_beside(path: str | os.PathLike, **given: Any) -> PreTrainedTokenizerBase | None:
    """
    The tokenizer in the folder, or the repository of the hub, of a model or of data; `None` where there is none.

    Args:
        path (`str` or `os.PathLike`): The folder, or a hub name.
        given: As for `AutoTokenizer.from_pretrained`, whose code runs only where the caller trusts it.

    Raises:
        `ValueError`: If its files do not load.
    """
    if not any(file_if_any(path, name, **location_of(given)) for name in ("tokenizer.json", "tokenizer_config.json")):
        return None
    return read_tokenizer(path, **given)


def read_tokenizer(path: str | os.PathLike, **given: Any) -> PreTrainedTokenizerBase:
    """
    The tokenizer in a folder or a repository of the hub.

    Args:
        path (`str` or `os.PathLike`): The folder, or a hub name.
        given: As for `AutoTokenizer.from_pretrained`.

    Raises:
        `ValueError`: There is none, or its files do not load.
    """
    try:
        look_at_folder(path, **location_of(given))
        return AutoTokenizer.from_pretrained(
            path, **{"trust_remote_code": False, **given}
        )  # else it asks on the terminal
    except Exception as error:  # readers of tokenizer files each have their own errors
        raise ValueError(
            f"the folder of a model or of data must hold an intact tokenizer or none, got {os.fspath(path)!r}, whose "
            f"files did not load ({_damage(path, **location_of(given)) or cause_of(error)}); save the tokenizer there "
            "anew."
        ) from error


def _damage(path: str | os.PathLike, **location: Any) -> str | None:
    """What is wrong with the rules of a tokenizer, if they are no JSON object: their reader does not say where."""
    file = file_if_any(path, "tokenizer.json", **location)
    try:
        if file is not None:
            read_object(file, max_bytes=_MOST_RULES)
    except (OSError, ValueError) as error:
        return str(error).rstrip(".")
    return None


def check_same_vocabulary(field: str, path: str | os.PathLike, tokenizer: PreTrainedTokenizerBase) -> None:
    """
    Refuses a model whose tokens are others than those of data, whatever their number.

    Args:
        field (`str`):
            Name of the argument that holds the model, for the message.
        path (`str` or `os.PathLike`):
            Folder or hub name of the model. One without a tokenizer beside it cannot be told by it.
        tokenizer (`PreTrainedTokenizerBase`):
            That of the data.

    Raises:
        `ValueError`: If a token of the data has another id in the model, or none.
    """
    own = tokenizer_beside(path)
    different = [] if own is None else _differences(own, tokenizer)
    if different:
        index, there, token = different[0]
        raise ValueError(
            f"`{field}` must know the data's tokens by the same ids, got {os.fspath(path)!r}, whose token {index} is "
            f"{'none' if there is None else repr(there)} where that of the data is {token!r} ({len(different)} of "
            f"{len(tokenizer.get_vocab())} are others): take the data it was trained on, or prepare data with its own "
            "tokenizer (--tokenizer)."
        )


def check_tokenizer(model: Any, tokenizer: PreTrainedTokenizerBase | None) -> None:
    """
    Refuses the tokenizer of another model. Tokens that were added to it, with rows of the embedding for them, pass.

    Args:
        model ([`~transformers.PreTrainedModel`]):
            The model. One that was loaded from where no tokenizer lies is told by number and [MASK] alone.
        tokenizer (`PreTrainedTokenizerBase`, *optional*):
            What is to go with it.

    Raises:
        `ValueError`: If it has no or another [MASK], more tokens, or other tokens than the one beside the model; or
            there is none, and the one beside the model does not load.
    """
    config, mask_id = model.config, getattr(tokenizer, "mask_token_id", None)
    size = 0 if tokenizer is None else len(tokenizer)
    rows, fault = Backbone.of(config).vocab_size, None
    if tokenizer is None:
        if model.name_or_path:
            tokenizer_beside(model.name_or_path, **_revision(model))  # which says why, where it is damaged
        fault = "none that loads"
    elif mask_id is None or mask_id != config.mask_token_id or size > rows:
        fault = f"{size} tokens with [MASK] {mask_id}"
    elif size <= len(set(tokenizer.all_special_ids)):
        # What Transformers makes where there is no file of one.
        fault = "one without a token of text"
    else:
        fault = other_tokens(model, tokenizer)
    if fault is not None:
        raise ValueError(
            f"`tokenizer` must be the one the model was trained with, of at most {rows} tokens with "
            f"[MASK] {config.mask_token_id}, got {fault}: take the one that was saved beside the model."
        )


def other_tokens(model: Any, tokenizer: PreTrainedTokenizerBase) -> str | None:
    """What tells a tokenizer from the one beside a model, as the end of a sentence; `None` where nothing does."""
    path = model.name_or_path
    own = None
    if path and getattr(tokenizer, "name_or_path", path) != path:
        own = tokenizer_beside(path, **_revision(model))
    if own is None:
        return None
    different = [one for one in _differences(own, tokenizer) if one[1] is not None]
    if not different:
        same = own.mask_token in (None, tokenizer.mask_token)
        return None if same else f"one whose mask is {tokenizer.mask_token!r} where theirs is {own.mask_token!r}"
    index, there, token = different[0]
    return f"one whose token {index} is {token!r} where that of {os.fspath(path)!r} is {there!r}"


def _revision(model: Any) -> dict[str, str]:
    """Where in its repository a model was loaded from."""
    commit = getattr(model, "base_revision", None)
    return {} if commit is None else {"revision": commit}


def _differences(own: PreTrainedTokenizerBase, other: PreTrainedTokenizerBase) -> list[tuple[int, str | None, str]]:
    """Where a token of `other` has another id in `own`: the id, what stands there in `own`, and in `other`."""
    known, wanted = own.get_vocab(), other.get_vocab()
    names = {index: token for token, index in known.items()}
    return sorted((index, names.get(index), token) for token, index in wanted.items() if known.get(token) != index)
