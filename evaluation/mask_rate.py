# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Corruption at a mask rate of one's own choice, for looking and for calibrating."""

from dataclasses import dataclass

import torch

from critic_gpt.training.collator import DataCollatorForMaskedDiffusion


@dataclass
class CollatorAtMaskRate(DataCollatorForMaskedDiffusion):
    """
    The collator with the mask rate chosen by hand. A position is masked by the same random number at every rate, so
    that a higher rate adds masks and moves none.

    Args:
        mask_rate (`float`, *optional*): In (0, 1]; `None` draws one for each row, as the parent does.
    """

    mask_rate: float | None = None

    def __post_init__(self):
        super().__post_init__()
        if self.mask_rate is not None and not 0.0 < self.mask_rate <= 1.0:
            raise ValueError(
                f"`mask_rate` must be in (0, 1], got {self.mask_rate}: for no masks look at the clean sample, for a "
                "rate drawn as in evaluation leave it out."
            )

    def _times(self, seeds: torch.Tensor) -> torch.Tensor:
        if self.mask_rate is None:
            return super()._times(seeds)
        return torch.full((len(seeds),), float(self.mask_rate))
