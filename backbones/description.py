# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""One description of a backbone: all that training, generation and proofreading ask of the model under a critic."""

from dataclasses import asdict, dataclass, fields
from typing import Any

import torch

from critic_gpt.backbones.exceptions import longest_sequence, takes_cache


# Under this name a configuration carries the description of a backbone that is not ours.
DESCRIPTION = "critic_backbone"
STATES_FROM = ("base_model", "hidden_states", "base_logits")


@dataclass(frozen=True)
class Backbone:
    """
    A masked language model as the rest of the package sees it.

    Args:
        vocab_size (`int`): Rows of its logits, those without a token included.
        max_sequence_length (`int`, *optional*): Longest sequence it takes, frame included; `None` where there is no
            bound.
        prefix_ids, suffix_ids (`tuple[int]`): The frame that its tokenizer builds, such as [CLS] and [SEP].
        state_size (`int`, *optional*): Width of its states; `None` where the configuration says it.
        states_from (`str`): `"base_model"` (what the base model gives last), `"hidden_states"` (the last of those that
            are given on request, for models that call past hooks), `"base_logits"` (what the base model calls logits).
        logit_shift (`int`): How many positions ahead its logits speak: 0, or 1 for a model made from a causal one.
        takes_attention_mask (`bool`): Whether its forward pass has an `attention_mask`.
        mask_of_pairs (`bool`): Whether that is one of pairs of tokens, and not of tokens.
        takes_cache (`bool`): Whether its forward pass reads some places beside kept keys and values of all others
            (`past_key_values`, with `position_ids`).
    """

    vocab_size: int
    max_sequence_length: int | None = None
    prefix_ids: tuple[int, ...] = ()
    suffix_ids: tuple[int, ...] = ()
    state_size: int | None = None
    states_from: str = "base_model"
    logit_shift: int = 0
    takes_attention_mask: bool = True
    mask_of_pairs: bool = False
    takes_cache: bool = False

    def __post_init__(self):
        for name in ("prefix_ids", "suffix_ids"):
            given = getattr(self, name)
            if isinstance(given, list):  # as JSON has it
                object.__setattr__(self, name, tuple(given))
            elif not isinstance(given, tuple):
                raise ValueError(f"`{name}` must be a list of ids, got {given!r:.60}: mend the file.")
        if self.states_from not in STATES_FROM:
            raise ValueError(
                f"`states_from` must be one of {', '.join(STATES_FROM)}, got {self.states_from!r:.60}: mend the file."
            )
        for name in ("vocab_size", "max_sequence_length", "state_size", "logit_shift", "prefix_ids", "suffix_ids"):
            given = getattr(self, name)
            for value in given if isinstance(given, tuple) else (0 if given is None else given,):
                if type(value) is not int or value < 0:
                    raise ValueError(
                        f"`{name}` must be whole numbers of at least 0, got {given!r:.60}: mend the file."
                    )
        for name in ("takes_attention_mask", "mask_of_pairs", "takes_cache"):
            if not isinstance(getattr(self, name), bool):
                raise ValueError(f"`{name}` must be true or false, got {getattr(self, name)!r:.60}: mend the file.")
        foreign = [token for token in (*self.prefix_ids, *self.suffix_ids) if token >= self.vocab_size]
        if foreign or (self.max_text_length is not None and self.max_text_length < 1):
            raise ValueError(
                f"`prefix_ids` and `suffix_ids` must be ids below `vocab_size` = {self.vocab_size} that leave room in "
                f"`max_sequence_length` = {self.max_sequence_length}, got {self.prefix_ids} and {self.suffix_ids}: "
                "mend the file."
            )

    @classmethod
    def of(cls, config: Any) -> "Backbone":
        """
        The description of the model that a configuration belongs to.

        Args:
            config ([`~transformers.PreTrainedConfig`]): With the description under `critic_backbone`; without, the
                configuration speaks for itself, as that of CriticGPT does.
        """
        described = getattr(config, DESCRIPTION, None)
        if described is None:
            return cls(config.vocab_size, longest_sequence(config), takes_cache=takes_cache(config))
        return cls.from_dict(described)

    @classmethod
    def from_dict(cls, content: Any) -> "Backbone":
        """
        A description as [`Backbone.to_dict`] gives it.

        Raises:
            `ValueError`: It is none.
        """
        known = {field.name for field in fields(cls)}
        if not isinstance(content, dict) or not known >= content.keys() or "vocab_size" not in content:
            raise ValueError(
                f"`{DESCRIPTION}` must be the description of a backbone, got {content!r:.60}: save the model again."
            )
        return cls(**content)

    def to_dict(self) -> dict[str, Any]:
        """As plain values for JSON."""
        content = asdict(self)
        return {**content, "prefix_ids": list(self.prefix_ids), "suffix_ids": list(self.suffix_ids)}

    # ---- the frame ----

    @property
    def frame_size(self) -> int:
        """How many positions the frame takes."""
        return len(self.prefix_ids) + len(self.suffix_ids)

    @property
    def max_text_length(self) -> int | None:
        """Longest text, without the frame."""
        return None if self.max_sequence_length is None else self.max_sequence_length - self.frame_size

    def longest(self, length: int) -> int:
        """How much of a sequence of so many tokens the model takes at once."""
        return length if self.max_sequence_length is None else min(length, self.max_sequence_length)

    def missing_frame(self, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The parts of the frame (P,) and (S,) that a sequence (T,) does not bring along itself."""
        starts, ends = ids[: len(self.prefix_ids)].tolist(), ids[max(0, len(ids) - len(self.suffix_ids)) :].tolist()
        prefix = () if tuple(starts) == self.prefix_ids else self.prefix_ids
        suffix = () if tuple(ends) == self.suffix_ids else self.suffix_ids
        return ids.new_tensor(prefix), ids.new_tensor(suffix)

    def framed(self, ids: torch.Tensor) -> torch.Tensor:
        """A sequence (T,) within its frame, whether it brings that along or not."""
        prefix, suffix = self.missing_frame(ids)
        return torch.cat([prefix, ids, suffix]) if len(prefix) + len(suffix) else ids

    # ---- the attention mask ----

    def mask_for_model(self, attention_mask: torch.Tensor | None) -> torch.Tensor | None:
        """A mask (B, T) as the model takes it, which may be of pairs (B, 1, T, T)."""
        if not self.takes_attention_mask or attention_mask is None:
            return None
        if not self.mask_of_pairs:
            return attention_mask
        return attention_mask.bool()[:, None, None, :].expand(-1, 1, attention_mask.shape[1], -1)

    # ---- the logits ----

    def aligned(self, logits: torch.Tensor) -> torch.Tensor:
        """Logits (B, T, V) at the positions they speak of; the first position keeps its own."""
        if not self.logit_shift:
            return logits
        return torch.cat([logits[:, : self.logit_shift], logits[:, : -self.logit_shift]], dim=1)
