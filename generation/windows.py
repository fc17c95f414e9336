# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a model is shown of a text that is longer than it takes: columns of the text, in order, within the frame.

Letters: A all rows, B rows at work, T positions of the text, W of a window.
"""

from typing import NamedTuple

import torch

from critic_gpt.backbones.description import Backbone
from critic_gpt.diffusion.windows import owned_ranges, window_starts


class Row(NamedTuple):
    """The columns of one row: those of a frame before its text, of the text, and of the frame behind it."""

    before: list[int]
    text: list[int]
    behind: list[int]

    def shown(self, begin: int, size: int) -> list[int]:
        """A part of the text within the frame."""
        return self.before + self.text[begin : begin + size] + self.behind


def row_of(tokens: torch.Tensor, attention_mask: torch.Tensor, backbone: Backbone) -> Row:
    """The columns of a row (T,), without padding; a frame is one where the tokens say so."""
    columns = attention_mask.bool().nonzero().squeeze(-1)
    ids, columns = tokens[columns].tolist(), columns.tolist()
    first, last = len(backbone.prefix_ids), len(ids) - len(backbone.suffix_ids)
    first = first if tuple(ids[:first]) == backbone.prefix_ids else 0
    last = last if last >= first and tuple(ids[last:]) == backbone.suffix_ids else len(ids)
    return Row(columns[:first], columns[first:last], columns[last:])


def windows_around(
    tokens: torch.Tensor, attention_mask: torch.Tensor, block: torch.Tensor, mask_token_id: int, backbone: Backbone
) -> torch.Tensor:
    """
    What is shown of each row around a block.

    A row that fits is shown whole. Of another one the window holds the block, behind it as much as there is up to the
    last token that stands there, half of the rest at most, and before it all that is left: where a text grows to the
    right that is the past. Padding, which fills shorter rows, comes last.

    Args:
        tokens, attention_mask (`torch.LongTensor` of shape `(B, T)`): The rows, whole.
        block (`torch.BoolTensor` of shape `(B, T)`): Where the block is.
        mask_token_id (`int`): Id of [MASK].
        backbone ([`Backbone`]): Of the model.

    Returns:
        `torch.LongTensor` of shape `(B, W)`: columns.
    """
    lengths = attention_mask.bool().sum(dim=-1)
    longest, size = backbone.max_sequence_length, int(lengths.max())
    order = attention_mask.bool().logical_not().long().argsort(dim=-1, stable=True)
    if longest is None or size <= longest:
        return order[:, :size]
    order = order.tolist()
    for number, length in enumerate(lengths.tolist()):
        if length <= longest:
            continue
        row = row_of(tokens[number], attention_mask[number], backbone)
        at_work = block[number, row.text].nonzero().squeeze(-1).tolist()
        stands = (tokens[number, row.text] != mask_token_id).nonzero().squeeze(-1).tolist()
        begin = _begin(at_work[0], at_work[-1], stands[-1] if stands else 0, len(row.text), longest - _frame(row))
        order[number] = row.shown(begin, longest - _frame(row))
    return torch.tensor([columns[:longest] for columns in order], device=tokens.device)


def _begin(first: int, last: int, stands: int, length: int, size: int) -> int:
    """Where a window of `size` places begins in a text that has a block from `first` to `last`."""
    room = size - (last + 1 - first)
    behind = min(max(stands - last, 0), room // 2)
    return max(0, min(last + 1 + behind, length) - size)


def _frame(row: Row) -> int:
    return len(row.before) + len(row.behind)


def windows_over(
    tokens: torch.Tensor, attention_mask: torch.Tensor, backbone: Backbone
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """
    Windows that cover all rows, each half of the one before.

    Args:
        tokens, attention_mask (`torch.LongTensor` of shape `(A, T)`): The rows, whole.
        backbone ([`Backbone`]): Of the model, with a longest sequence.

    Returns:
        `tuple`: of each window (N,) the row, (N, W) the columns with padding last, as -1, and (N, W) which of them it
        speaks for: those that no other window shows with more context.
    """
    shown, rows = [], []
    for number in range(len(tokens)):
        row = row_of(tokens[number], attention_mask[number], backbone)
        length = len(row.text)
        size = backbone.longest(length + _frame(row)) - _frame(row)
        starts = window_starts(length, size, size // 2)
        for start, (begin, end) in zip(starts, owned_ranges(starts, length, size), strict=True):
            columns = row.shown(start, size)
            speaks = [False] * len(row.before) + [begin <= start + i < end for i in range(min(size, length))]
            shown.append((columns, speaks + [False] * len(row.behind)))
            rows.append(number)
    width = max(len(columns) for columns, _ in shown)
    columns = torch.tensor([columns + [-1] * (width - len(columns)) for columns, _ in shown])
    speaks = torch.tensor([speaks + [False] * (width - len(speaks)) for _, speaks in shown])
    return torch.tensor(rows), columns, speaks
