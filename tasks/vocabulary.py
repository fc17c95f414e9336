# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Tokenizers of others made ready for training by masks."""

import copy

from transformers import AddedToken, PreTrainedTokenizerBase

from critic_gpt.tasks.tokenizers import MASK_TOKEN, PAD_TOKEN


# Words of the vocabulary by which a tokenizer is tried.
TRIED_WORDS = 2000


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
    shared = shared_padding(tokenizer)
    if tokenizer.pad_token is None or shared is not None:
        why = "has no pad_token" if shared is None else f"has its {shared} {tokenizer.pad_token!r} for a pad_token"
        tokenizer.add_special_tokens({"pad_token": PAD_TOKEN})
        changes.append(f"{why}: added {PAD_TOKEN!r} with id {tokenizer.pad_token_id}")
    return changes


def shared_padding(tokenizer: PreTrainedTokenizerBase) -> str | None:
    """Which other special token a tokenizer has for its padding, `"eos_token"` for instance; `None`: none."""
    kinds = ("mask_token", "eos_token", "bos_token", "unk_token", "sep_token", "cls_token")
    padding = tokenizer.pad_token
    return next((kind for kind in kinds if padding is not None and getattr(tokenizer, kind) == padding), None)


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
