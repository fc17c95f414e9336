# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What is explored: a model, its tokenizer, prepared data; and how one of its examples is corrupted."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from transformers import PreTrainedTokenizerBase

from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.configuration_critic_gpt import CRITIC_REGIMES
from critic_gpt.diffusion.corruption import padding_attention_mask
from critic_gpt.evaluation.mask_rate import CollatorAtMaskRate
from critic_gpt.heads.numbers import check_finite
from critic_gpt.hub.vocabulary import check_tokenizer
from critic_gpt.tasks import encode_strict


@dataclass(frozen=True)
class Explorer:
    """
    What every view looks at. The model is put into eval mode.

    Args:
        model: Anything whose forward pass gives `logits` and, where there is a critic, `critic_logits`; with
            `generate` as in [`CriticGPTForMaskedLM`] for the views that denoise.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): The one the model was trained with.
        splits (mapping of `str` to datasets, *optional*): Map-style, each row with `input_ids`; without them only
            texts and generation can be looked at.
        task ([`Task`], *optional*): Judges finished texts, and says how they are laid out.
        critic_regime (`str`, *optional*): How many masks are filled for the critic, `"full"`, `"partial"`,
            `"mixed"` or `"sparse"`; by default as the model was trained.
        name (`str`, *optional*): What the model is called.

    Raises:
        `ValueError`: A tokenizer of another model, or an unknown regime.
    """

    model: Any
    tokenizer: PreTrainedTokenizerBase
    splits: Mapping[str, Sequence[Mapping[str, Any]]] | None = None
    task: Any = None
    critic_regime: str | None = None
    name: str | None = None

    def __post_init__(self):
        check_tokenizer(self.model, self.tokenizer)
        if self.critic_regime is not None and self.critic_regime not in CRITIC_REGIMES:
            raise ValueError(
                f"`critic_regime` must be one of {', '.join(CRITIC_REGIMES)}, got {self.critic_regime!r}: leave it "
                "out for that of the model."
            )
        self.model.eval()

    @property
    def row_width(self) -> int | None:
        """Tokens a line where the text is a grid, else `None`."""
        return None if self.task is None else self.task.row_width

    @property
    def calibration(self) -> CriticCalibration:
        """The model's table, or the plain ramp in place of a missing one."""
        return CriticCalibration.or_ramp(self.model.calibration, warn=False)

    def split_names(self) -> list[str]:
        """The splits that hold at least one example."""
        return [name for name, rows in (self.splits or {}).items() if len(rows)]

    def size(self, split: str) -> int:
        """How many examples a split holds."""
        if self.splits is None:
            raise ValueError("`data_dir` must be given to look at samples, got none: pass a folder of prepared data.")
        if split not in self.split_names():
            raise ValueError(
                f"`split` must be one of {', '.join(self.split_names())}, got {split!r}: choose one with examples."
            )
        return len(self.splits[split])

    def example(self, index: int, split: str) -> list[int]:
        """The token ids of an example, counted from 0."""
        size = self.size(split)
        if not 0 <= index < size:
            raise ValueError(f"`index` must be in [0, {size}) for the split {split!r}, got {index}: choose another.")
        return [int(token) for token in self.splits[split][index]["input_ids"]]

    def corrupted(self, index: int, split: str, mask_rate: float | None, seed: int) -> dict[str, torch.Tensor]:
        """
        A batch of one example, corrupted as evaluation does it: with `mask_rate=None` and the seed of
        `scripts/evaluate.py` the very masks on which the critic is judged there.
        """
        collator = CollatorAtMaskRate(
            self.tokenizer,
            critic_regime=self.critic_regime or self.model.config.critic_regime,
            critic_fill_exponent=self.model.config.critic_fill_exponent,
            seed=seed,
            evaluation=True,
            mask_rate=mask_rate,
            backbone=self.model.backbone,
        )
        batch = collator([{"input_ids": self.example(index, split), "example_id": index}])
        return {name: value.to(self.model.device) for name, value in batch.items()}

    def encoded(self, text: str) -> torch.Tensor:
        """A text of the user's as ids of shape `(1, sequence_length)`; a literal `[MASK]` is a hole."""
        ids = encode_strict(self.tokenizer, text, split_special_tokens=False)
        backbone = self.model.backbone
        longest = backbone.max_text_length
        if not ids or (longest is not None and len(ids) > longest):
            raise ValueError(f"`text` must have 1 to {longest} tokens, got {len(ids)}: lengthen or shorten it.")
        return backbone.framed(torch.tensor(ids, device=self.model.device))[None]

    def attention_mask(self, input_ids: torch.Tensor) -> torch.Tensor:
        """1 at real tokens, 0 at padding."""
        return padding_attention_mask(input_ids, self.model.config.pad_token_id)

    @torch.no_grad()
    def forward(self, input_ids: torch.Tensor):
        """One pass of the model over `(1, sequence_length)` tokens."""
        return self.model(input_ids=input_ids, attention_mask=self.attention_mask(input_ids), return_dict=True)

    def critic_logits(self, input_ids: torch.Tensor) -> torch.Tensor:
        """The critic's raw verdict on `(1, sequence_length)` tokens, in one pass; higher = more likely wrong."""
        if not self.model.has_trained_critic:
            raise ValueError(
                "`model` must have a trained critic to judge tokens, got one without: train it with "
                "`--add_critic_head True`."
            )
        logits = self.forward(input_ids).critic_logits
        check_finite("critic scores", logits[self.attention_mask(input_ids).bool()])
        return logits

    def text_of(self, token_id: int) -> str:
        """What a token looks like; ids that the tokenizer does not know stand in angle brackets."""
        return self.tokenizer.decode([token_id]) if token_id < len(self.tokenizer) else f"<{token_id}>"

    def judged(self, text: str) -> dict[str, float | int] | None:
        """What the task says of a finished text; `None` without a task."""
        return None if self.task is None else self.task.judge([text])

    def right(self, text: str) -> bool:
        """Whether the task says that a finished text is right; `False` without a task that can tell."""
        return self.task is not None and self.task.exact and bool(self.task.right([text])[0])
