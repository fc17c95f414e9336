# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Tokenizers for the tasks: one token per character, and strict encoding which never loses a character silently."""

from collections.abc import Iterable

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import PreTrainedTokenizerBase, PreTrainedTokenizerFast

from critic_gpt.hub.text import placed_tokens, without_byte_order_mark


PAD_TOKEN = "[PAD]"
MASK_TOKEN = "[MASK]"


def build_character_tokenizer(text_or_alphabet: str, model_max_length: int) -> PreTrainedTokenizerFast:
    """
    Builds a tokenizer with one token per character, which gives every character back, newlines and spaces included.

    `[PAD]` has id 0, `[MASK]` id 1, the characters follow in code point order. Nothing is added at the beginning or
    the end of a text. There is no unknown token: a foreign character raises instead of vanishing, and
    [`encode_strict`] says which one it was. The literal `[MASK]` in a prompt is the mask; in a corpus it must stay six
    characters, hence corpora are encoded by [`encode_strict`] or with `split_special_tokens=True`.

    Args:
        text_or_alphabet (`str`):
            Any text; its distinct characters become the alphabet.
        model_max_length (`int`):
            Longest sequence in tokens that the model will see, at least 1.

    Returns:
        `PreTrainedTokenizerFast`: A tokenizer which `AutoTokenizer.from_pretrained` loads without remote code.

    Raises:
        `ValueError`: If the alphabet is empty or `model_max_length` is below 1.
    """
    if not text_or_alphabet:
        raise ValueError("`text_or_alphabet` must hold at least one character, got ''; pass the training text.")
    if model_max_length < 1:
        raise ValueError(f"`model_max_length` must be at least 1, got {model_max_length}; pass the sequence length.")
    # "." would lose newlines.
    return tokenizer_of_pattern(text_or_alphabet, r"[\s\S]", model_max_length)


def tokenizer_of_pattern(
    tokens: Iterable[str], pattern: str, model_max_length: int, eos_token: str | None = None
) -> PreTrainedTokenizerFast:
    """
    Builds a tokenizer whose tokens are the matches of a pattern that matches all of a text. `[PAD]` has id 0, `[MASK]`
    id 1, an EOS id 2; the others follow in code point order. There is no unknown token.

    Args:
        tokens (`Iterable[str]`):
            The vocabulary.
        pattern (`str`):
            A regular expression.
        model_max_length (`int`):
            Longest sequence in tokens.
        eos_token (`str`, *optional*):
            What ends a text.
    """
    special = {"pad_token": PAD_TOKEN, "mask_token": MASK_TOKEN, **({"eos_token": eos_token} if eos_token else {})}
    vocabulary = {token: i for i, token in enumerate([*special.values(), *sorted(set(tokens))])}
    backend = Tokenizer(models.WordLevel(vocabulary))
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(pattern), "isolated")
    backend.decoder = decoders.Fuse()  # others would put spaces between tokens
    return PreTrainedTokenizerFast(
        tokenizer_object=backend, model_max_length=model_max_length, clean_up_tokenization_spaces=False, **special
    )


def is_character_tokenizer(tokenizer: PreTrainedTokenizerBase) -> bool:
    """Whether every token of `tokenizer`, special ones aside, is one character and none stands for unknown ones."""
    special = set(tokenizer.all_special_tokens)
    return tokenizer.unk_token is None and all(len(t) == 1 for t in tokenizer.get_vocab() if t not in special)


def character_table(tokenizer: PreTrainedTokenizerBase) -> np.ndarray | None:
    """
    The ids of a character tokenizer by code point (`int32`, -1 for none), for encoding some hundred times faster than
    by the tokenizer; `None` for one of somebody else that normalises and encodes by itself.
    """
    if tokenizer.is_fast and tokenizer.backend_tokenizer.normalizer is not None:
        return None
    special = set(tokenizer.all_special_tokens)
    vocabulary = {token: i for token, i in tokenizer.get_vocab().items() if token not in special}
    alphabet = "".join(sorted(vocabulary))
    if encode_strict(tokenizer, alphabet) != [vocabulary[character] for character in alphabet]:
        return None
    table = np.full(0x110000, -1, dtype=np.int32)
    table[[ord(character) for character in alphabet]] = [vocabulary[character] for character in alphabet]
    return table


def encode_strict(
    tokenizer: PreTrainedTokenizerBase, text: str, *, split_special_tokens: bool = True, max_named: int = 10
) -> list[int]:
    """
    Encodes a text without adding special tokens and refuses what the tokenizer does not know.

    Args:
        tokenizer (`PreTrainedTokenizerBase`):
            A character tokenizer or any other one.
        text (`str`):
            The text; it may be longer than `tokenizer.model_max_length`.
        split_special_tokens (`bool`, *optional*, defaults to `True`):
            `True` for corpora: a literal `[MASK]` stays text. `False` for prompts: a literal `[MASK]` is a hole.
        max_named (`int`, *optional*, defaults to 10):
            How many unknown characters or pieces an error names.

    Returns:
        `list[int]`: The token ids.

    Raises:
        `ValueError`: If the text holds characters (for other tokenizers: pieces) which the tokenizer does not know.
    """
    if is_character_tokenizer(tokenizer):
        check_alphabet(tokenizer, text, split_special_tokens, max_named)
    options = {"add_special_tokens": False, "split_special_tokens": split_special_tokens}
    if tokenizer.is_fast and not split_special_tokens:
        placed = list(placed_tokens(tokenizer, text))
    elif tokenizer.is_fast:
        # A corpus is longer than the model's window on purpose.
        encoding = tokenizer(text, **options, return_offsets_mapping=True, verbose=False)
        placed = [(t, *place) for t, place in zip(encoding["input_ids"], encoding["offset_mapping"], strict=True)]
    else:  # which tells no places: then every token names the text as a whole
        placed = [(token, 0, len(text)) for token in tokenizer(text, **options, verbose=False)["input_ids"]]
    # Byte-level tokenizers name their end-of-text token as the unknown one too, but never use it for that.
    unknown = {text[a:b] for token, a, b in placed if token is None or token == tokenizer.unk_token_id}
    if unknown:
        raise ValueError(_unknown("pieces", sorted(unknown), max_named, "choose a tokenizer which covers the text"))
    return [token for token, _, _ in placed]


def check_alphabet(
    tokenizer: PreTrainedTokenizerBase, text: str, split_special_tokens: bool = True, max_named: int = 10
) -> None:
    """Refuses characters that a character tokenizer does not know, after its own normalisation; as `encode_strict`."""
    if not split_special_tokens:
        text = without_byte_order_mark(text)
        for token in tokenizer.all_special_tokens:
            text = text.replace(token, "")
    unknown = set(text) - tokenizer.get_vocab().keys()
    normalizer = tokenizer.backend_tokenizer.normalizer if unknown and tokenizer.is_fast else None
    if normalizer is not None:
        unknown = set(normalizer.normalize_str(text)) - tokenizer.get_vocab().keys()
    if unknown:
        way_out = "remove them or build the tokenizer from a text that contains them"
        raise ValueError(_unknown("characters", sorted(unknown), max_named, way_out))


def _unknown(kind: str, unknown: list[str], max_named: int, way_out: str) -> str:
    named = ", ".join(repr(piece) for piece in unknown[:max_named])
    more = f" and {len(unknown) - max_named} more" if len(unknown) > max_named else ""
    return f"`text` must hold only {kind} which the tokenizer knows, got the unknown {kind} {named}{more}; {way_out}."
