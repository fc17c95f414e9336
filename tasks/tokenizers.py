# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Tokenizers for the tasks: one token per character, and strict encoding which never loses a character silently."""

import copy

import numpy as np
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers
from transformers import AddedToken, PreTrainedTokenizerBase, PreTrainedTokenizerFast


PAD_TOKEN = "[PAD]"
MASK_TOKEN = "[MASK]"
# Words of the vocabulary by which a tokenizer is tried.
TRIED_WORDS = 2000


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
    vocabulary = {token: i for i, token in enumerate([PAD_TOKEN, MASK_TOKEN, *sorted(set(text_or_alphabet))])}
    backend = Tokenizer(models.WordLevel(vocabulary))
    # "." would lose newlines, and without the fusing decoder spaces would appear between the characters.
    backend.pre_tokenizer = pre_tokenizers.Split(Regex(r"[\s\S]"), "isolated")
    backend.decoder = decoders.Fuse()
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD_TOKEN,
        mask_token=MASK_TOKEN,
        model_max_length=model_max_length,
        clean_up_tokenization_spaces=False,
    )


def make_ready(tokenizer: PreTrainedTokenizerBase) -> list[str]:
    """
    Gives a tokenizer what training by masks needs: a mask token, a padding token that is no other token, and decoding
    to what is written. In place; call it before a model is made.

    Returns:
        `list[str]`: What was changed, each as the end of a sentence that begins with the tokenizer's name.
    """
    changes = []
    tokenizer.clean_up_tokenization_spaces = False  # which would leave out spaces of the text
    if tokenizer.mask_token is None:
        tokenizer.add_special_tokens({"mask_token": _mask_token_for(tokenizer)})
        changes.append(f"has no mask_token: added {tokenizer.mask_token!r} with id {tokenizer.mask_token_id}")
    others = {
        kind: token
        for kind in ("mask_token", "eos_token", "bos_token", "unk_token", "sep_token", "cls_token")
        if (token := getattr(tokenizer, kind)) is not None
    }
    shared = next((kind for kind, token in others.items() if token == tokenizer.pad_token), None)
    if tokenizer.pad_token is None or shared is not None:
        why = "has no pad_token" if shared is None else f"has its {shared} {tokenizer.pad_token!r} for a pad_token"
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
        changes.append(f"{why}: added {PAD_TOKEN!r} with id {tokenizer.pad_token_id}")
    return changes


def _mask_token_for(tokenizer: PreTrainedTokenizerBase) -> AddedToken:
    """
    The mask token as this tokenizer needs it, found by trying: where the token of a word takes the space before it
    along, so must the mask, or that space would stand there as a token of its own and again in what fills the mask.
    The same holds behind it for tokenizers that put a space before each part of a text.
    """
    letters = {"".join(filter(str.isalpha, token)) for token in tokenizer.get_vocab()}
    words = sorted(word for word in letters if word)[:TRIED_WORDS]

    def ids_of(one: PreTrainedTokenizerBase, texts: list[str]) -> list[list[int]]:
        return one(texts, add_special_tokens=False, verbose=False)["input_ids"] if texts else []

    # Words of which " word" is one token: in "word word word" two of these come last.
    alone, thrice = (ids_of(tokenizer, [" ".join([word] * times) for word in words]) for times in (1, 3))
    suited = [
        (word, ids)
        for word, head, ids in zip(words, alone, thrice, strict=True)
        if len(ids) == len(head) + 2 and ids[: len(head)] == head
    ]
    best, most = AddedToken(MASK_TOKEN, special=True, normalized=False), -1
    for lstrip, rstrip in ((False, False), (True, False), (False, True), (True, True)):
        tried = copy.deepcopy(tokenizer)
        mask = AddedToken(MASK_TOKEN, lstrip=lstrip, rstrip=rstrip, special=True, normalized=False)
        tried.add_special_tokens({"mask_token": mask})
        wanted = [[*ids[:-2], tried.mask_token_id, ids[-1]] for _, ids in suited]
        found = ids_of(tried, [f"{word} {MASK_TOKEN} {word}" for word, _ in suited])
        right = sum(a == b for a, b in zip(found, wanted, strict=True))
        if right > most:
            best, most = mask, right
    return best


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
    encoding = tokenizer(
        text,
        add_special_tokens=False,
        split_special_tokens=split_special_tokens,
        return_offsets_mapping=tokenizer.is_fast,
        verbose=False,  # a corpus is longer than the model's window on purpose
    )
    ids = encoding["input_ids"]
    # Byte-level tokenizers name their end-of-text token as the unknown one too, but never use it for that.
    if tokenizer.unk_token_id is not None and tokenizer.unk_token_id in ids:
        # Tokenizers which are not fast have no offsets: then every token names the text as a whole.
        spans = encoding.get("offset_mapping", [(0, len(text))] * len(ids))
        pieces = {text[a:b] for (a, b), token in zip(spans, ids, strict=True) if token == tokenizer.unk_token_id}
        raise ValueError(_unknown("pieces", sorted(pieces), max_named, "choose a tokenizer which covers the text"))
    return ids


def check_alphabet(
    tokenizer: PreTrainedTokenizerBase, text: str, split_special_tokens: bool = True, max_named: int = 10
) -> None:
    """Refuses characters that a character tokenizer does not know, after its own normalisation; as `encode_strict`."""
    if not split_special_tokens:
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
