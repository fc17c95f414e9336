# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Numbers of generated text beside those of real text, so that no repetition can win."""

import math
from collections.abc import Mapping, Sequence
from typing import ClassVar

from critic_gpt.evaluation.text_judge import TextJudge
from critic_gpt.tasks import TextTask


class TextFigures:
    """
    A task that judges text as [`TextTask`] does, and by how far it is from real text.

    Args:
        task ([`TextTask`]): Judges words and runs of characters.
        real_texts (`Sequence[str]`): Real text that the model has not seen, at best as much as is generated.
        judge ([`TextJudge`], *optional*): Says how likely a text is.
    """

    name: ClassVar[str] = TextTask.name
    compares_with_real_text: ClassVar[bool] = True
    # How far the entropy of a text may be from that of real text before its known words count for nothing.
    tolerance: ClassVar[float] = 0.03

    def __init__(self, task: TextTask, real_texts: Sequence[str], judge: TextJudge | None = None):
        self.task, self.text_judge = task, judge
        self.figures = {**task.figures, "entropy_deviation": "unigram entropy against real text"}
        self.better = {**task.better, "entropy_deviation": "nearer to real", "bits_per_character": "nearer to real"}
        if judge is not None:
            self.figures["bits_per_character"] = "bits a character of a judge that was trained on other text"
        self.real_entropy = task.judge(real_texts)["unigram_entropy_bits"]
        self.real = self.judge(real_texts)

    @property
    def sequence_length(self) -> int:
        """Tokens of a text."""
        return self.task.sequence_length

    def judge(self, texts: Sequence[str]) -> dict[str, float | int]:
        """
        Figures of [`TextTask.judge`], and two more:

        - `entropy_deviation`: unigram entropy divided by that of real text, minus 1: below 0 where the text is more
          monotonous.
        - `bits_per_character`: of a judge, where there is one; NaN of empty texts.
        """
        figures = self.task.judge(texts)
        deviation = figures["unigram_entropy_bits"] / self.real_entropy - 1.0 if self.real_entropy else 0.0
        more = {"entropy_deviation": deviation}
        if self.text_judge is not None:
            # Documents may all have ended where they began.
            more["bits_per_character"] = self.text_judge.bits_per_character(texts) if any(texts) else math.nan
        return {**figures, **more}

    def score(self, figures: Mapping[str, float]) -> tuple[bool, float]:
        """What to choose settings by: known words among texts as diverse as real ones, else being nearer to those."""
        distance = abs(figures["entropy_deviation"])
        near = distance <= self.tolerance
        return near, figures["known_word_rate"] if near else -distance
