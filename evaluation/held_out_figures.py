# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How near samples of any kind of sequence are to held-out ones, beside what their task says of them."""

import functools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase
from transformers.utils import logging

from critic_gpt.backbones.description import Backbone
from critic_gpt.evaluation.comparison import measured
from critic_gpt.evaluation.divergence import EXCESS, HeldOutDivergence
from critic_gpt.evaluation.mauve import MAUVE, Mauve
from critic_gpt.evaluation.sampling import Samples
from critic_gpt.tasks import words_of


logger = logging.get_logger(__name__)

# In bits: from here on D, which is counted from the floor, has little room below 1.
HIGH_FLOOR = 0.9
# What is better of a figure that a subject says nothing about.
HIGHER, LOWER, NEARER = "higher", "lower", "nearer to real"


class OwnSequences:
    """
    Sequences that no task judges, as those of a folder of one's own.

    Args:
        sequence_length (`int`): The most tokens in one.
    """

    name, exact, compares_with_real_text = "own data", False, True
    figures: Mapping[str, str] = {}
    better: Mapping[str, str] = {}

    def __init__(self, sequence_length: int):
        self.sequence_length = sequence_length

    def judge(self, texts: Sequence[str]) -> dict[str, float | int]:
        """How many different ones there are."""
        different = len(set(texts))
        counts = {"duplicates": len(texts) - different, "num_samples": len(texts)}
        return {"distinct_rate": different / len(texts), **counts}

    def judge_real(self, texts: Sequence[str], num_samples: int) -> dict[str, float | int]:
        """The same of the first real ones."""
        return self.judge(texts[:num_samples])


class HeldOutFigures:
    """
    A task that also says how near its samples are to held-out sequences ([`HeldOutDivergence`], [`Mauve`]).

    Args:
        task: With `judge(texts)`, `figures`, `sequence_length`, perhaps `better`, and `real` or `judge_real`.
        rows (`Sequence[Sequence[int]]`): Held-out sequences, token ids.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): That of these and of the samples.
        num_samples (`int`): How many samples are reported, for what `real` says of as many real sequences.
        whole_words (`bool`, *optional*, defaults to `False`): Whether words at the ends of a sequence are cut.
        has_words (`bool`, *optional*): Whether there are words to compare; by default where there is white space in
            most of the held-out sequences, since a protein or a molecule is one word.
        mauve ([`Mauve`], *optional*): Measured as well.
    """

    def __init__(
        self,
        task: Any,
        rows: Sequence[Sequence[int]],
        tokenizer: PreTrainedTokenizerBase,
        num_samples: int,
        whole_words: bool = False,
        has_words: bool | None = None,
        mauve: Mauve | None = None,
    ):
        self.task, self.tokenizer, self.mauve = task, tokenizer, mauve
        self.words_of = functools.partial(words_of, whole_only=whole_words)
        self.special_ids = {*tokenizer.all_special_ids} - {None}
        rows, self.real_texts = self._read(rows)
        if has_words is None:
            has_words = 2 * sum(len(text.split()) > 1 for text in self.real_texts) > len(self.real_texts)
        words = [self.words_of(text) for text in self.real_texts] if has_words else None
        self.divergence = HeldOutDivergence(rows, words)
        if (floor := self.divergence.floor(num_samples)) > HIGH_FLOOR:
            logger.warning(
                f"D can tell little here: real sequences are {floor:.2f} bits from other real ones, of at most 1 bit, "
                "so that even garbage is hardly farther. Hold out more or longer sequences, or generate more."
            )
        self.figures = {EXCESS: "D: excess divergence of n-grams and words from held-out text, bits", **task.figures}
        self.better = {EXCESS: LOWER, **getattr(task, "better", {})}
        real = getattr(task, "real", None)
        if real is None and task.compares_with_real_text:
            real = task.judge_real(self.real_texts, num_samples)
        self.real = measured({**self.divergence.of_real(num_samples), **(real or {})})
        if mauve is not None:
            self.figures[MAUVE] = f"MAUVE by {mauve.name}"
            half = min(num_samples, len(self.real_texts) // 2)
            self.real[MAUVE] = mauve.judge(self.real_texts[:half], self.real_texts[half : 2 * half])

    @property
    def name(self) -> str:
        """That of the task."""
        return self.task.name

    @property
    def sequence_length(self) -> int:
        """The most tokens in a sequence."""
        return self.task.sequence_length

    def _read(self, rows: Sequence[Sequence[int]]) -> tuple[list[list[int]], list[str]]:
        """Sequences without special tokens, and their texts."""
        kept = [[token for token in row if token not in self.special_ids] for row in rows]
        return kept, [self.tokenizer.decode(row) for row in kept]

    def judge_samples(self, samples: Samples) -> dict[str, float | int]:
        """The figures of some samples."""
        rows, texts = self._read(samples.rows)
        found = self.divergence.judge(rows, [self.words_of(text) for text in texts])
        found |= self.task.judge(samples.texts)
        if self.mauve is not None:
            found[MAUVE] = self.mauve.judge(texts, self.real_texts[: max(2, len(texts))])
        return found

    def right(self, texts: Sequence[str]) -> Any:
        """Which texts are right, where the task can tell, as of molecules."""
        return self.task.right(texts)

    def score(self, figures: Mapping[str, float], figure: str = EXCESS) -> Any:
        """What to choose settings by, the larger the better: `figure`, as it is better or nearer to real sequences."""
        if figure == "known_word_rate" and hasattr(self.task, "score"):
            return self.task.score(figures)  # which repetition does not win
        return score_by(figures, figure, self.better, self.real)


def score_by(
    figures: Mapping[str, float | None],
    figure: str,
    better: Mapping[str, str],
    real: Mapping[str, float | None] | None = None,
) -> float:
    """A figure as a number of which more is better."""
    way, value = better.get(figure, HIGHER), figures[figure]
    if value is None:  # nothing to measure by, as of molecules of which none is valid
        return -math.inf
    if way == NEARER:
        return -abs(value - ((real or {}).get(figure) or 0.0))
    return -value if way == LOWER else value


def canvases_like(
    rows: Sequence[Sequence[int]], num_samples: int, tokenizer: PreTrainedTokenizerBase, backbone: Backbone
) -> torch.Tensor:
    """
    Canvases of nothing but [MASK], within the frame of the model where it has one, each as long as one of some
    held-out sequences, taken evenly from all of them; padding behind. Where sequences end in an EOS that is no part of
    the frame, the model says itself where one ends, and all canvases are as long as the longest of them.

    Args:
        rows (`Sequence[Sequence[int]]`): Held-out sequences, token ids.
        num_samples (`int`): How many canvases.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): With [MASK] and, where lengths differ, padding.
        backbone ([`Backbone`]): Of the model that fills them.

    Returns:
        `torch.LongTensor` of shape `(num_samples, sequence_length)`.
    """
    padding, eos, frame = tokenizer.pad_token_id, tokenizer.eos_token_id, {*backbone.prefix_ids, *backbone.suffix_ids}
    sequences = [[token for token in row if token != padding] for row in rows]
    lengths = [len(backbone.framed(torch.tensor(row))) for row in sequences]
    # Of a row of nothing but padding, or a frame, there would be nothing to fill.
    lengths = [length for length in lengths if length > backbone.frame_size]
    if not lengths:
        raise ValueError("`rows` must hold sequences of tokens, got nothing but padding: hold out others.")
    longest = max(lengths)
    if eos is not None and eos not in frame and any(row[-1:] == [eos] for row in sequences):
        lengths = [longest]
    if len(set(lengths)) > 1 and padding is None:
        raise ValueError(
            "`tokenizer` must have a padding token where sequences differ in length, got none: give it one."
        )
    canvases = torch.full((num_samples, longest), 0 if padding is None else padding)
    for index in range(num_samples):
        length = lengths[index * len(lengths) // num_samples]  # not the first ones: rows may stand in order of length
        masks = torch.full((length - backbone.frame_size,), tokenizer.mask_token_id)
        canvases[index, :length] = backbone.framed(masks)
    return canvases
