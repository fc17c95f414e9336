# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Modifiers in order, read from a file and applied to a micro-batch."""

import dataclasses
import difflib
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from transformers import PreTrainedModel

from critic_gpt.training.modifiers.base import LossModifier, Metrics
from critic_gpt.training.modifiers.language_model import (
    EntropyWeight,
    JudgeWeight,
    MaskRatioWeight,
    TargetSmoothing,
    TokenLossBatch,
)
from critic_gpt.training.modifiers.sequence_scoring import RowLossBatch, SequenceCorrelation, SequenceVariance
from critic_gpt.training.settings_files import SETTINGS_SUFFIXES, parse_settings


MODIFIERS = {
    kind.name: kind
    for kind in (
        TargetSmoothing,
        EntropyWeight,
        MaskRatioWeight,
        JudgeWeight,
        SequenceVariance,
        SequenceCorrelation,
    )
}


class LossModifiers:
    """
    Modifiers in order, each working on the result of the one before.

    Args:
        modifiers (`list[LossModifier]`): At least one, each kind once, all of the same task.
        enabled (`bool`, *optional*, defaults to `True`): The master switch.
    """

    def __init__(self, modifiers: list[LossModifier], enabled: bool = True):
        self.modifiers, self.enabled = list(modifiers), enabled
        names, tasks = [one.name for one in self.modifiers], {one.task for one in self.modifiers}
        if not names:
            raise ValueError(
                "`modifiers` must hold at least one loss modifier, got none: leave the whole out instead."
            )
        if len(set(names)) < len(names):
            raise ValueError(f"`modifiers` must hold each kind once, got {', '.join(names)}: drop the repetition.")
        if len(tasks) > 1:
            raise ValueError(
                f"`modifiers` must be of one task, got {', '.join(names)} of {' and '.join(sorted(tasks))}: use a "
                "file for each task."
            )
        self.task = tasks.pop()

    @classmethod
    def from_dict(cls, content: Mapping[str, Any], task: str | None = None) -> "LossModifiers":
        """
        Builds the modifiers of `{"enabled": bool, "modifiers": [{"name": ..., field: value, ...}, ...]}`.

        Args:
            content (`Mapping`): As written by [`~LossModifiers.to_dict`]; `enabled` may be left out.
            task (`str`, *optional*): `"language_model"` or `"sequence_scoring"`, where only one of them will do.

        Raises:
            `ValueError`: Unknown names or fields, values out of range, or modifiers of another task.
        """
        if not isinstance(content, Mapping) or not isinstance(content.get("modifiers"), list):
            raise ValueError(
                f"`loss_modifiers` must be a mapping with a list `modifiers`, got {content!r}: write `modifiers:` and "
                "below it one `- name: ...` for each."
            )
        _refuse_unknown("loss_modifiers", content, ("enabled", "modifiers"))
        enabled = content.get("enabled", True)
        if not isinstance(enabled, bool):
            raise ValueError(f"`enabled` must be true or false, got {enabled!r}: choose one.")
        built = cls([_build(entry) for entry in content["modifiers"]], enabled)
        if task is not None and built.task != task:
            known = ", ".join(name for name, kind in MODIFIERS.items() if kind.task == task)
            raise ValueError(
                f"`loss_modifiers` must be of the task {task}, got {built.modifiers[0].name}, which is of "
                f"{built.task}: choose among {known}, or train that task."
            )
        return built

    @classmethod
    def from_file(cls, path: str | os.PathLike, task: str | None = "language_model") -> "LossModifiers":
        """Reads a `.yaml`, `.yml` or `.json` file; see [`~LossModifiers.from_dict`]. `task=None` takes any."""
        path = Path(path)
        if path.suffix not in SETTINGS_SUFFIXES:
            raise ValueError(
                f"`loss_modifiers` must be a .yaml or .json file, got {str(path)!r}: rename or convert it."
            )
        try:
            content = parse_settings(path)
        except OSError as error:
            raise ValueError(
                f"`loss_modifiers` must be an existing file, got {str(path)!r} ({error.strerror}): check the path."
            ) from error
        except ValueError as error:
            raise ValueError(
                f"`loss_modifiers` must be readable, got {str(path)!r}, which does not parse ({error}): correct it."
            ) from error
        return cls.from_dict(content, task)

    def to_dict(self) -> dict[str, Any]:
        """What [`~LossModifiers.from_dict`] reads; a judge given as an object is written by its name or folder."""
        entries = []
        for one in self.modifiers:
            # Not `asdict`, which would copy a judge.
            fields = {field.name: getattr(one, field.name) for field in dataclasses.fields(one)}
            if isinstance(one, JudgeWeight) and isinstance(one.model, PreTrainedModel):
                fields["model"] = one.model.name_or_path
            elif isinstance(one, JudgeWeight):
                fields["model"] = os.fspath(one.model)
            entries.append({"name": one.name, **fields})
        return {"enabled": self.enabled, "modifiers": entries}

    def __repr__(self) -> str:
        return f"LossModifiers({', '.join(one.name for one in self.modifiers)}; enabled={self.enabled})"

    @property
    def fills_masks(self) -> bool:
        """Whether one of them looks at the model's own filling, for which a batch should bring `fill_uniforms`."""
        return self.enabled and any(one.fills_masks for one in self.modifiers)

    def to(self, device: torch.device | str) -> "LossModifiers":
        """Moves a judge to a device."""
        for one in self.modifiers:
            one.to(device)
        return self

    def modify_token_loss(self, batch: TokenLossBatch, step: int) -> tuple[torch.Tensor, Metrics]:
        """
        The modified loss per token (B, T), to be divided by the same count as the plain one, and the metrics.

        Args:
            batch ([`TokenLossBatch`]): One micro-batch.
            step (`int`): Optimizer steps done so far.
        """
        token_loss, factors = batch.token_loss, []
        metrics: Metrics = {}
        for one in self.modifiers if self.enabled else ():
            cross_entropy, factor, own = one.modify(batch, step)
            if cross_entropy is not None:
                token_loss = cross_entropy if batch.loss_weights is None else cross_entropy * batch.loss_weights
            if factor is not None:
                factors.append(factor)
            metrics |= {f"{one.name}/{figure}": pair for figure, pair in own.items()}
        for factor in factors:
            token_loss = token_loss * factor.to(token_loss.dtype)
        return token_loss, metrics

    def modify_row_loss(self, batch: RowLossBatch, step: int) -> tuple[torch.Tensor, Metrics]:
        """As `modify_token_loss`, for the scorer's loss per sequence (B,)."""
        row_loss = batch.row_loss
        metrics: Metrics = {}
        for one in self.modifiers if self.enabled else ():
            factor, own = one.modify(batch, step)
            row_loss = row_loss * factor
            metrics |= {f"{one.name}/{figure}": pair for figure, pair in own.items()}
        return row_loss, metrics


def _build(entry: Any) -> LossModifier:
    if not isinstance(entry, Mapping) or "name" not in entry:
        raise ValueError(f"`modifiers` must hold mappings with a `name`, got {entry!r}: write `- name: entropy`.")
    _refuse_unknown("name", [entry["name"]], MODIFIERS)
    kind = MODIFIERS[entry["name"]]
    fields = {key: value for key, value in entry.items() if key != "name"}
    _refuse_unknown(kind.name, fields, [field.name for field in dataclasses.fields(kind)])
    return kind(**fields)


def _refuse_unknown(what: str, given, known) -> None:
    for name in given:
        if name not in list(known):  # what is given may not be hashable
            near = difflib.get_close_matches(str(name), list(known), n=1)
            hint = f"did you mean {near[0]!r}?" if near else "choose one of these."
            raise ValueError(f"`{what}` knows {', '.join(known)}, got {name!r}: {hint}")
