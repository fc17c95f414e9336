# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""D: how far samples are from held-out text, by their n-grams and words, beyond what chance makes of real text.

Known words are won by repetition and variety by garbage; a divergence of distributions by neither.
"""

from collections.abc import Iterator, Sequence

import numpy as np


SIZES = (3, 4, 5, 6)
# Ways to part the held-out sequences, over which the mean is taken; and resamplings for the standard error.
NUM_SPLITS, NUM_RESAMPLINGS = 8, 20
# Held-out sequences: at least so many, and at most so many for each sample, since more make the figure slow and hardly
# surer.
LEAST_HELD_OUT, MOST_HELD_OUT = 4, 8
EXCESS, ERROR = "excess_divergence_bits", "excess_divergence_error_bits"
Ids = Sequence[int]


def jensen_shannon_bits(one: np.ndarray, other: np.ndarray) -> float:
    """
    The Jensen-Shannon divergence of two distributions, in bits: 0 where they are the same, 1 where they have nothing
    in common.

    Args:
        one, other (`np.ndarray` of shape `(num,)`): How often each thing occurs, at least 0. Nothing at all has
            nothing in common with anything.
    """
    if not one.sum() or not other.sum():
        return 1.0
    one, other = one / one.sum(), other / other.sum()
    mixture = entropy_bits((one + other) / 2)
    return max(0.0, mixture - (entropy_bits(one) + entropy_bits(other)) / 2)


def entropy_bits(distribution: np.ndarray) -> float:
    """Entropy of a distribution (num,), in bits."""
    positive = distribution[distribution > 0]
    return float(-(positive * np.log2(positive)).sum())


class _Occurrences:
    """Things of one kind in some sequences: a number for each, and the sequence it occurs in."""

    def __init__(self, numbers: np.ndarray, sequences: np.ndarray):
        self.numbers, self.sequences = numbers, sequences
        self.kinds = int(numbers.max(initial=-1)) + 1

    def counts(self, weights: np.ndarray) -> np.ndarray:
        """How often each occurs (kinds,), every sequence counted so many times (num_sequences,)."""
        return np.bincount(self.numbers, weights=weights[self.sequences], minlength=self.kinds)


def _ngrams(rows: Sequence[Ids]) -> Iterator[_Occurrences]:
    """The n-grams of `SIZES` within each of the sequences."""
    lengths = np.array([len(row) for row in rows], dtype=np.int64)
    tokens = np.concatenate([np.asarray(row, dtype=np.int64) for row in rows]) if lengths.sum() else np.zeros(0, int)
    sequences = np.repeat(np.arange(len(rows)), lengths)
    left = np.repeat(lengths.cumsum(), lengths) - np.arange(
        len(tokens)
    )  # to the end of each sequence, itself included
    _, tokens = np.unique(tokens, return_inverse=True)
    number = int(tokens.max(initial=0)) + 1
    grams = tokens
    for size in range(2, max(SIZES) + 1):
        # What begins at each position; beyond the end of a sequence it is not counted.
        _, grams = np.unique(grams * number + np.append(tokens[size - 1 :], tokens[: size - 1]), return_inverse=True)
        if size in SIZES:
            inside = left >= size
            yield _Occurrences(grams[inside], sequences[inside])


def _words(words: Sequence[Sequence[str]]) -> _Occurrences:
    known: dict[str, int] = {}
    numbers = [known.setdefault(word, len(known)) for some in words for word in some]
    return _Occurrences(np.array(numbers, dtype=int), np.repeat(np.arange(len(words)), [len(some) for some in words]))


class HeldOutDivergence:
    """
    The mean Jensen-Shannon divergence of n-grams of 3 to 6 tokens, and of words, between samples and held-out
    sequences, over that between an equal part of the held-out ones and the rest. In bits: 0 for what cannot be told
    from real sequences, more for repetition, for garbage and for what lacks a part of the real variety; lower is
    better.

    The held-out sequences are parted at random in eight ways, the same for all samples: as many as there are samples
    (at most a half) are compared with the rest, and so are the samples. Of samples that are longer than real sequences
    so many are left out that they hold as many tokens: more text would look nearer by its amount alone.

    Args:
        rows (`Sequence[Sequence[int]]`): Token ids of held-out sequences, without special ones.
        words (`Sequence[Sequence[str]]`, *optional*): The words of each. They count where there are several in a
            sequence, and fewer than tokens.

    Raises:
        `ValueError`: Fewer than four held-out sequences, or none of three tokens.
    """

    def __init__(self, rows: Sequence[Ids], words: Sequence[Sequence[str]] | None = None):
        if len(rows) < LEAST_HELD_OUT:
            raise ValueError(
                f"`rows` must be at least {LEAST_HELD_OUT} held-out sequences to compare with, got {len(rows)}: hold "
                "out more."
            )
        longest = max(len(row) for row in rows)
        if longest < min(SIZES):
            raise ValueError(
                f"`rows` must hold sequences of at least {min(SIZES)} tokens, got {longest} at most: hold out longer "
                "ones."
            )
        self.rows, self.words = list(rows), None if words is None else list(words)
        if self.words is not None and not 2 * len(rows) <= sum(map(len, self.words)) < sum(map(len, self.rows)):
            self.words = None
        self._references: dict[int, _Reference] = {}

    def judge(self, rows: Sequence[Ids], words: Sequence[Sequence[str]] | None = None) -> dict[str, float]:
        """
        Compares samples with the held-out sequences.

        Args:
            rows (`Sequence[Sequence[int]]`): Token ids of samples, at least one, without special ones.
            words (`Sequence[Sequence[str]]`, *optional*): The words of each.

        Returns:
            `dict`: `excess_divergence_bits`, and of it the standard error `excess_divergence_error_bits`, by
            resampling the samples.
        """
        if not len(rows):
            raise ValueError("`rows` must hold at least one sample to judge, got none: generate some first.")
        return self._reference(len(rows)).judge(rows, [()] * len(rows) if words is None else words)

    def of_real(self, num_samples: int) -> dict[str, float]:
        """The same of as many real sequences: 0, and its standard deviation over the partings."""
        return {EXCESS: 0.0, ERROR: float(self._reference(num_samples).floors.std(ddof=1))}

    def floor(self, num_samples: int) -> float:
        """How far as many real sequences are from other real ones, in bits: what D is counted from. At 1, the most
        there is, no sample can be told from them."""
        return float(self._reference(num_samples).floors.mean())

    def _reference(self, num_samples: int) -> "_Reference":
        if num_samples not in self._references:
            self._references[num_samples] = _Reference(self.rows, self.words, num_samples)
        return self._references[num_samples]


class _Reference:
    """Held-out sequences, parted for so many samples, and how far their parts are from each other: the floor."""

    def __init__(self, rows: Sequence[Ids], words: Sequence[Sequence[str]] | None, num_samples: int):
        most = max(LEAST_HELD_OUT, MOST_HELD_OUT * num_samples)
        self.rows, self.words = rows[:most], None if words is None else words[:most]
        self.lengths = np.array([len(row) for row in self.rows])
        self.size = min(num_samples, len(self.rows) // 2)
        generator = np.random.default_rng(0)
        self.splits = [generator.permutation(len(self.rows)) for _ in range(NUM_SPLITS)]
        kinds = self._occurrences(self.rows, self.words)
        self.floors = np.array([_divergence(kinds, *self._parts(split)) for split in self.splits])

    def judge(self, rows: Sequence[Ids], words: Sequence[Sequence[str]]) -> dict[str, float]:
        kinds = self._occurrences([*self.rows, *rows], None if self.words is None else [*self.words, *words])
        lengths = np.array([len(row) for row in rows])
        number = len(rows)
        found, again = [], []
        for index, split in enumerate(self.splits):
            chosen = np.random.default_rng((1, index)).permutation(number)
            found.append(self._from_rest(kinds, lengths, split, chosen))
        for index in range(NUM_RESAMPLINGS):
            chosen = np.random.default_rng((2, index)).integers(number, size=number)
            again.append(self._from_rest(kinds, lengths, self.splits[0], chosen))
        return {EXCESS: float(np.mean(found) - self.floors.mean()), ERROR: float(np.std(again, ddof=1))}

    def _from_rest(self, kinds: Sequence[_Occurrences], lengths: np.ndarray, split: np.ndarray, chosen: np.ndarray):
        """The divergence of the chosen samples, of these lengths, from the rest of one parting."""
        part, rest = self._parts(split, len(lengths))
        chosen = chosen[: self.size]
        # No more tokens than the equal part holds.
        within = lengths[chosen].cumsum() <= self.lengths[split[: self.size]].sum()
        within[0] = True
        samples = np.zeros_like(part)
        np.add.at(samples, len(self.rows) + chosen[within], 1)
        return _divergence(kinds, samples, rest)

    def _parts(self, split: np.ndarray, more: int = 0) -> tuple[np.ndarray, np.ndarray]:
        """How often each held-out sequence counts, and `more` behind them: in the equal part, and in the rest."""
        part, rest = np.zeros((2, len(split) + more))
        part[split[: self.size]] = rest[split[self.size :]] = 1
        return part, rest

    def _occurrences(self, rows: Sequence[Ids], words: Sequence[Sequence[str]] | None) -> list[_Occurrences]:
        """Those of every kind that the held-out sequences have."""
        kinds = [*_ngrams(rows), *([] if words is None else [_words(words)])]
        return [kind for kind in kinds if (kind.sequences < len(self.rows)).any()]


def _divergence(kinds: Sequence[_Occurrences], one: np.ndarray, other: np.ndarray) -> float:
    return float(np.mean([jensen_shannon_bits(kind.counts(one), kind.counts(other)) for kind in kinds]))
