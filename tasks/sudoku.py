# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The Sudoku task: grids of 4x4, 6x6 and 9x9 as lines of digits, puzzles, and an exact judge."""

# N grids, S side of a grid (digits 1..S)

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from transformers import PreTrainedTokenizerFast

from critic_gpt.tasks.base import Prepared, Task, register_task
from critic_gpt.tasks.prepared import PREPARE, SPLITS
from critic_gpt.tasks.sudoku_grids import SudokuGrids, distinct_grids
from critic_gpt.tasks.sudoku_puzzles import SudokuPuzzles
from critic_gpt.tasks.tokenizers import MASK_TOKEN, build_character_tokenizer


PUZZLES_FILE = "puzzles.txt"
# 51 blanks are the benchmark of PRISM (Kim et al., 2025); smaller grids keep somewhat more of their cells.
DEFAULT_BLANKS = {4: 8, 6: 20, 9: 51}


@dataclass
class SudokuFlags:
    """The flags of `prepare_data.py --task sudoku`."""

    _argument_group_name: ClassVar[str] = "with --task sudoku"

    size: int = field(default=6, metadata={"help": "Side of the grid: 4, 6 or 9."})
    num_train: int = field(default=90_000, metadata={"help": "Grids to train on."})
    num_validation: int = field(default=4096, metadata={"help": "Grids to validate on."})
    num_test: int = field(default=4096, metadata={"help": "Grids to test on."})
    grids_per_base: int = field(default=32, metadata={"help": "9x9: grids made by symmetry from each base grid."})
    num_puzzles: int = field(default=0, metadata={"help": "Puzzles with one solution each, beside the splits."})
    blanks: int | None = field(default=None, metadata={"help": "Blanks in each puzzle; 9x9: 51, 6x6: 20, 4x4: 8."})

    def __post_init__(self):
        for split in SPLITS:
            if getattr(self, f"num_{split}") < 1:
                num = getattr(self, f"num_{split}")
                raise ValueError(f"`num_{split}` must be at least 1, got {num}; ask for one grid or more.")
        if self.num_puzzles == 0 and self.blanks is not None:
            raise ValueError(
                f"`blanks` needs `num_puzzles`, got {self.blanks} and 0 puzzles; ask for some, or drop it."
            )
        if self.num_puzzles < 0:
            raise ValueError(f"`num_puzzles` must be at least 0, got {self.num_puzzles}; 1000 is usual.")


@register_task
class SudokuTask(SudokuGrids, Task):
    """
    Complete Sudoku grids, written as one line of `size * size` digits, and the exact rule that judges them.

    Args:
        size (`int`, *optional*, defaults to 6):
            Side of the grid: 4 (boxes of 2x2), 6 (boxes of 2 rows by 3 columns) or 9 (boxes of 3x3).

    Raises:
        `ValueError`: If `size` is none of these.
    """

    name: ClassVar[str] = "sudoku"
    figures: ClassVar[dict[str, str]] = {"valid_rate": "share of valid grids"}
    Flags: ClassVar[type] = SudokuFlags
    exact: ClassVar[bool] = True
    answers: ClassVar[str] = "one"

    # The data

    @classmethod
    def prepare(cls, flags: SudokuFlags, seed: int) -> Prepared:
        """Draws grids, none of which occurs twice, and puzzles apart from them."""
        task = cls(flags.size)
        grids = task.sample_splits(
            {split: getattr(flags, f"num_{split}") for split in SPLITS}, seed, flags.grids_per_base
        )
        tokenizer, files, extra = task.tokenizer(), {}, {}
        if flags.num_puzzles:
            blanks = DEFAULT_BLANKS[task.size] if flags.blanks is None else flags.blanks
            everywhere = np.concatenate(list(grids.values()))
            puzzles = SudokuPuzzles.draw(task, flags.num_puzzles, blanks, seed, apart_from=everywhere)
            files = {PUZZLES_FILE: lambda: "\n".join(puzzles.to_lines()) + "\n"}
            extra = {"num_puzzles": flags.num_puzzles, "blanks": blanks}
        metadata = {
            "task": task.name,
            "size": task.size,
            "sequence_length": task.sequence_length,
            "seed": seed,
            "source": f"sudoku {task.size}x{task.size}",
            **({"grids_per_base": flags.grids_per_base} if task.size == 9 else {}),
            **extra,
            "vocab_size": len(tokenizer),
        }
        windows = {split: task.to_input_ids(part, tokenizer) for split, part in grids.items()}
        return Prepared(windows, tokenizer, metadata, files)

    @classmethod
    def load(cls, metadata: Mapping[str, Any], folder: Path) -> "SudokuTask":
        """The task of a prepared folder."""
        return cls(size=metadata["size"])

    def load_puzzles(self, folder: Path) -> SudokuPuzzles:
        """The puzzles of a prepared folder; errors are those of `critic_gpt.tasks.load_puzzles`."""
        path = folder / PUZZLES_FILE
        if not path.is_file():
            raise FileNotFoundError(
                f"`folder` must hold {PUZZLES_FILE}, got {str(folder)!r}, which does not; prepare it anew by "
                f"`{PREPARE.replace('TASK', 'sudoku --num_puzzles 1000')} {folder} --overwrite`."
            )
        try:
            return SudokuPuzzles.from_lines(self, path.read_text(encoding="utf-8").splitlines())
        except ValueError as error:
            raise ValueError(
                f"`folder` must hold an intact {PUZZLES_FILE}, got {str(path)!r}, which is not ({error}); prepare "
                "it anew."
            ) from error

    @property
    def row_width(self) -> int:
        """Tokens per line of a grid: `size`."""
        return self.size

    def tokenizer(self) -> PreTrainedTokenizerFast:
        """A character tokenizer over the digits; `[PAD]` is 0, `[MASK]` is 1, digit d is d + 1."""
        return build_character_tokenizer(self.digits, model_max_length=self.sequence_length)

    # Lines of text

    def from_line(self, line: str) -> np.ndarray:
        """
        Reads a line of `size * size` digits from 1 to size into a grid, whether it obeys the rules or not.

        Returns:
            `np.ndarray` of shape `(size, size)` and type `uint8`.

        Raises:
            `ValueError`: If the line has another length or holds anything else.
        """
        if not self._is_line(line):
            raise ValueError(
                f"`line` must hold just {self.sequence_length} digits from 1 to {self.size}, got {line!r}; "
                "such lines are written by `to_line`."
            )
        return np.array([int(digit) for digit in line], dtype=np.uint8).reshape(self.size, self.size)

    def to_input_ids(self, grids: np.ndarray, tokenizer: PreTrainedTokenizerFast) -> np.ndarray:
        """Looks up the token ids of grids of shape `(num, size, size)`: an `int32` array `(num, size * size)`."""
        ids = np.array(tokenizer.convert_tokens_to_ids(list(self.digits)), dtype=np.int32)
        return ids[self.check_grids(grids).reshape(-1, self.sequence_length).astype(np.int64) - 1]

    def puzzle_to_prompt(self, puzzle: np.ndarray) -> str:
        """Writes a puzzle of shape `(size, size)` as one line, with the literal `[MASK]` at each blank (0)."""
        (puzzle,) = self.check_grids(np.asarray(puzzle)[None])
        return "".join(str(digit) if digit else MASK_TOKEN for digit in puzzle.flatten().tolist())

    # The judge

    def valid_rate(self, lines_or_grids: Sequence[str] | np.ndarray) -> float:
        """Share, from 0 to 1, of lines or grids `(num, size, size)` that are valid; malformed lines are invalid."""
        num = _count(lines_or_grids)
        is_text = isinstance(lines_or_grids[0], str)
        return int((self.right if is_text else self.is_valid)(lines_or_grids).sum()) / num

    def right(self, lines: Sequence[str]) -> np.ndarray:
        """Tells which lines are valid grids: `(num,)` and type `bool`."""
        right = np.array([self._is_line(line) for line in lines], dtype=bool)
        text = "".join(itertools.compress(lines, right))
        digits = np.frombuffer(text.encode("ascii"), dtype=np.uint8) - ord("0")
        right[right] = self.is_valid(digits.reshape(-1, self.size, self.size))
        return right

    def distinct_rate(self, lines_or_grids: Sequence[str] | np.ndarray) -> float:
        """Number of different lines or grids divided by the number of all of them, valid or not: from above 0 to 1."""
        num = _count(lines_or_grids)
        if isinstance(lines_or_grids[0], str):
            return len(set(lines_or_grids)) / num
        return len(distinct_grids(self.check_grids(lines_or_grids))) / num

    def judge(self, texts: Sequence[str]) -> dict[str, float | int]:
        """
        Judges generated texts exactly.

        Args:
            texts (`Sequence[str]`):
                Generated lines, at least one. A text of the wrong length or with other characters is simply invalid.

        Returns:
            `dict`: `valid_rate`, `distinct_rate` (shares from 0 to 1), `duplicates` (texts that repeat an earlier one)
            and `num_samples`.

        Raises:
            `ValueError`: If `texts` is empty.
        """
        return {
            "valid_rate": self.valid_rate(list(texts)),
            "distinct_rate": self.distinct_rate(list(texts)),
            "duplicates": len(texts) - len(set(texts)),
            "num_samples": len(texts),
        }

    def _is_line(self, line: str) -> bool:
        return len(line) == self.sequence_length and set(line) <= set(self.digits)


def _count(items: Sequence) -> int:
    if len(items) == 0:
        raise ValueError("`texts` must hold at least one sample to judge, got none; generate some first.")
    return len(items)
