# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Tokenizers of the kinds people bring along, trained here on a few lines."""

import functools
import json

from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers
from transformers import PreTrainedTokenizerFast

from critic_gpt.tasks.tokenizers import build_character_tokenizer


TEXT = "".join(
    f"the cat {i % 7} sat on the mat, and  the dog\tof café {i % 3} is in the house.\n"
    + ("\n" if i % 5 == 0 else "")
    + (f"    def run_{i}(x):  # naïve 😀👩\u200d👧 {i}\n" if i % 4 == 0 else "")
    + ("is it? no; it's    not\r\n" if i % 6 == 0 else "")
    for i in range(60)
)
BYTES = [f"<0x{byte:02X}>" for byte in range(256)]


def _trained(model, trainer, pre_tokenizer=None, decoder=None, normalizer=None, **names) -> PreTrainedTokenizerFast:
    backend = Tokenizer(model)
    for part, value in (("pre_tokenizer", pre_tokenizer), ("decoder", decoder), ("normalizer", normalizer)):
        if value is not None:
            setattr(backend, part, value)
    backend.train_from_iterator(TEXT.splitlines(keepends=True), trainer)
    return PreTrainedTokenizerFast(tokenizer_object=backend, clean_up_tokenization_spaces=False, **names)


def _bytes(add_prefix_space=False, normalizer=None, **names):
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(
        vocab_size=400, initial_alphabet=alphabet, special_tokens=["<|endoftext|>"], show_progress=False
    )
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=add_prefix_space)
    return _trained(models.BPE(), trainer, byte_level, decoders.ByteLevel(), normalizer, **names)


def _unigram(prepend_scheme):
    trainer = trainers.UnigramTrainer(
        vocab_size=120,
        special_tokens=["<unk>", "</s>"],
        unk_token="<unk>",
        show_progress=False,
        initial_alphabet=sorted(set(TEXT)),
    )
    space = {"prepend_scheme": prepend_scheme}
    names = {"unk_token": "<unk>", "eos_token": "</s>"}
    return _trained(models.Unigram(), trainer, pre_tokenizers.Metaspace(**space), decoders.Metaspace(**space), **names)


def _llama():
    """As Llama 2: a normalizer puts "▁" before the text and for each space, bytes for what is unknown."""
    trainer = trainers.BpeTrainer(
        vocab_size=400,
        special_tokens=["<unk>", "<s>", "</s>", *BYTES],
        show_progress=False,
        initial_alphabet=sorted(set(TEXT) - set("😀👩👧\u200d")),
        limit_alphabet=60,
    )
    normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    decoder = decoders.Sequence(
        [decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse(), decoders.Strip(" ", 1, 0)]
    )
    # Words for the training only: in use there is no pre-tokenizer.
    trained = _trained(
        models.BPE(unk_token="<unk>", fuse_unk=True, byte_fallback=True),
        trainer,
        pre_tokenizers.Split(Regex("(?=▁)"), "isolated"),
        decoder,
        normalizer,
    ).backend_tokenizer
    description = json.loads(trained.to_str())
    description["pre_tokenizer"] = None
    for token in description["added_tokens"]:
        token["special"] = token["content"] in ("<unk>", "<s>", "</s>")
    description["added_tokens"] = [token for token in description["added_tokens"] if token["special"]]
    backend = Tokenizer.from_str(json.dumps(description))
    return PreTrainedTokenizerFast(
        tokenizer_object=backend,
        clean_up_tokenization_spaces=False,
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
    )


def _wordpiece():
    trainer = trainers.WordPieceTrainer(
        vocab_size=300, special_tokens=["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"], show_progress=False
    )
    return _trained(
        models.WordPiece(unk_token="[UNK]"),
        trainer,
        pre_tokenizers.BertPreTokenizer(),
        decoders.WordPiece(),
        normalizers.BertNormalizer(lowercase=True),
        unk_token="[UNK]",
        mask_token="[MASK]",
        pad_token="[PAD]",
        cls_token="[CLS]",
        sep_token="[SEP]",
    )


MAKERS = {
    "characters": lambda: build_character_tokenizer(TEXT, model_max_length=64),
    "byte-level BPE": lambda: _bytes(eos_token="<|endoftext|>", unk_token="<|endoftext|>"),
    "byte-level BPE with a space before": lambda: _bytes(True, eos_token="<|endoftext|>"),
    "Unigram, space before": lambda: _unigram("always"),
    "Unigram, space first": lambda: _unigram("first"),
    "Unigram, space never": lambda: _unigram("never"),
    "BPE as Llama 2": _llama,
}
LOSSY = {
    "WordPiece": _wordpiece,
    "byte-level BPE, composed": lambda: _bytes(normalizer=normalizers.NFC(), eos_token="<|endoftext|>"),
}


@functools.cache
def tiny_tokenizer(kind: str) -> PreTrainedTokenizerFast:
    """A tokenizer of a kind, made once; take a copy to change it."""
    return {**MAKERS, **LOSSY}[kind]()
