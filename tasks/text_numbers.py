# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Numbers that judge generated text and need no model: known words, how rich it is, how often it repeats itself."""

import math
from collections import Counter
from collections.abc import Collection, Mapping, Sequence

from critic_gpt.tasks.words import words_of


NGRAM = 6


def text_numbers(texts: Sequence[str], known_words: Collection[str], whole_words: bool) -> dict[str, float | int]:
    """
    As [`TextTask.judge`] describes them.

    Args:
        texts (`Sequence[str]`): Generated texts, at least one.
        known_words (`Collection[str]`): Words as [`words_of`] gives them.
        whole_words (`bool`): Whether words that touch the beginning or end of a text are left out, being cut.
    """
    words = Counter(word for text in texts for word in words_of(text, whole_only=whole_words))
    known = sum(count for word, count in words.items() if word in known_words)
    ngrams = Counter(text[i : i + NGRAM] for text in texts for i in range(len(text) - NGRAM + 1))
    return {
        "known_word_rate": known / max(1, words.total()),
        "unigram_entropy_bits": _entropy_bits(Counter("".join(texts))),
        "distinct_6gram_rate": len(ngrams) / max(1, ngrams.total()),
        "distinct_rate": len(set(texts)) / len(texts),
        "duplicates": len(texts) - len(set(texts)),
        "num_samples": len(texts),
    }


def _entropy_bits(counts: Mapping[str, int]) -> float:
    total = sum(counts.values())
    return sum(count / total * math.log2(total / count) for count in counts.values())
