# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The block of a text that is being generated, as a strategy sees it, and the passes that read it in its context.

A strategy works on the places of a block and on no others, (B, N). What it asks of a pass is read off one over the
window around them, (B, W), or off one over few places beside kept keys and values, (B, M).

Letters: A all rows, B rows at work, T positions of the whole text, W of a window, N of a block, M that a pass reads.
"""

from collections.abc import Callable

import torch

from critic_gpt.diffusion.selection import check_one_per_token
from critic_gpt.generation.block_cache import BlockCache, Places
from critic_gpt.generation.canvas import Canvas, external_scores
from critic_gpt.generation.pass_output import PassOutput
from critic_gpt.generation.passes import Passes, Sight


# The kinds of places of a window: what may change, what is read anew with it, and all else.
_ACTIVE, _BEHIND, _KEPT = 0, 1, 2


class OpenBlock:
    """
    A block of a text, in a window.

    Args:
        passes ([`Passes`]): Of the call.
        text ([`Canvas`]): The rows at work, whole: tokens, real ones, and where this block is (B, T).
        window (`torch.LongTensor` of shape `(B, W)`): Which columns a pass sees, in the order of the text.
        cache (`str`, *optional*): What is read anew between passes over the window: `"dual"`, the block; `"prefix"`,
            the block and all behind its first place. `None` reads the window in every pass.
        refresh_interval (`int`, *optional*): How many passes there are from one over the window to the next; by
            default the first one alone sees it all.
    """

    def __init__(
        self,
        passes: Passes,
        text: Canvas,
        window: torch.Tensor,
        cache: str | None = None,
        refresh_interval: int | None = None,
    ):
        self._passes, self.window = passes, window
        self.context, self.mask, self._own = (part.gather(1, window) for part in text)
        self._lengths = self.mask.long().sum(dim=-1)
        self._over = Sight(self.mask, not bool(self.mask.all()))
        self._beside: Sight | None = None
        self._kind, self._interval = cache, refresh_interval
        self._cache: BlockCache | None = None if cache is None else BlockCache()
        self._writes: Places | None = None
        self._number = 0
        self._first: PassOutput | None = None
        self.active = self._own
        self._settle()

    def look(self) -> torch.Tensor:
        """The critic's logits (B, W) of the first pass, which is made now and serves the first step as it is."""
        output = self._first = self._over_window(self.context)
        return output.critic_logits

    def take_up(self, again: torch.Tensor) -> None:
        """Opens further places (B, W) before the first step."""
        self.active = self._own | again
        self._settle()

    def _settle(self) -> None:
        """Which places a strategy sees, the active ones first, and which a pass beside kept ones reads."""
        kinds = torch.full_like(self.context, _KEPT)
        if self._kind == "prefix":
            place = torch.arange(kinds.shape[1], device=kinds.device)
            begin = self._own.long().argmax(dim=-1, keepdim=True)
            kinds = kinds.masked_fill(self.mask.bool() & (place > begin), _BEHIND)
        kinds = kinds.masked_fill(self.active, _ACTIVE)
        kinds, ranked = kinds.sort(dim=-1, stable=True)
        # A row that has fewer places than others is filled up with some that stay what they are.
        size = int((kinds == _ACTIVE).sum(dim=-1).max())
        self.places, self.counted = ranked[:, :size], kinds[:, :size] == _ACTIVE
        if self._cache is not None:
            read = int((kinds < _KEPT).sum(dim=-1).max())
            self._writes = Places(ranked[:, :read], kinds[:, :read] < _KEPT)
            self._beside = Sight(self.mask, self._over.padded, self._writes.places)

    def canvas(self) -> Canvas:
        """What a strategy works on, (B, N)."""
        tokens, real = self.context.gather(1, self.places), self.mask.gather(1, self.places)
        return Canvas(tokens, real, self.counted)

    @property
    def columns(self) -> torch.Tensor:
        """The columns (B, N) of the text that a strategy works on."""
        return self.window.gather(1, self.places)

    def whole(self, input_ids: torch.Tensor) -> torch.Tensor:
        """The window (B, W) with tokens (B, N) in the block."""
        return self.context.scatter(1, self.places, input_ids)

    def read(self, input_ids: torch.Tensor) -> tuple[PassOutput, torch.Tensor]:
        """
        One pass, and the logits of a model that makes them unasked.

        Args:
            input_ids (`torch.LongTensor` of shape `(B, N)`): Tokens of the block.

        Returns:
            `tuple`: what it says of the block, and how many tokens of each row (B,) went through the trunk.
        """
        tokens, self._number = self.whole(input_ids), self._number + 1
        if self._is_due():
            output, self._first = self._first, None
            output = self._over_window(tokens) if output is None else output
            return output.at(self.places), self._lengths
        writes, cache, beside = self._writes, self._cache, self._beside
        assert writes is not None and cache is not None and beside is not None
        cache.places = writes
        output = self._read(tokens.gather(1, writes.places), beside, cache)
        size = self.places.shape[1]  # which come first among those that are read
        some = PassOutput(*(part if part is None else part[:, :size] for part in output[:3]))
        joint = (part if part is None else part[:, :, :size] for part in output[3:])
        return PassOutput(*some[:3], *joint), writes.counted.sum(dim=-1)

    def _is_due(self) -> bool:
        """Whether the present pass sees the whole window."""
        if self._cache is None or self._number == 1:
            return True
        return self._interval is not None and (self._number - 1) % self._interval == 0

    def _over_window(self, tokens: torch.Tensor) -> PassOutput:
        if self._cache is not None:
            self._cache = BlockCache()  # an empty one, which takes over what this pass makes
        return self._read(tokens, self._over, self._cache)

    def _read(self, tokens: torch.Tensor, sight: Sight, cache: BlockCache | None) -> PassOutput:
        output = self._passes.read(tokens, sight, False, cache)
        return PassOutput(*(getattr(output, name, None) for name in PassOutput._fields))

    def judged_by(self, judge: Callable, input_ids: torch.Tensor) -> torch.Tensor:
        """Scores (B, N), higher = more likely wrong, of somebody else's judge, who sees the window."""
        window = self.whole(input_ids)
        scores = external_scores(judge(input_ids=window, attention_mask=self.mask))
        check_one_per_token("external_scores", scores, window)
        return scores.gather(1, self.places)

    def keep(self, going: torch.Tensor) -> None:
        """Goes on with the rows where `going` (B,) alone."""
        for name, value in vars(self).items():
            if isinstance(value, torch.Tensor):
                setattr(self, name, value[going])
        self._over = Sight(self.mask, self._over.padded)
        if self._cache is not None and self._writes is not None:
            self._cache.keep(going)
            self._writes = self._writes.rows(going)
            self._beside = Sight(self.mask, self._over.padded, self._writes.places)
