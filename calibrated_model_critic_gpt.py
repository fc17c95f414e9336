# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Makes a model carry its calibration tables: loaded, saved and pushed with the weights, chosen for each generation.

A model may have two. `calibration` was measured on masks filled in one shot, as in training; `trajectory_calibration`
along the steps of one sampler, which show the critic other tokens and other errors. Both lie in `calibration.json`.
"""

import os
from collections.abc import Iterator, Mapping
from typing import Any

from transformers.generation import GenerationConfig
from transformers.utils import logging

from .calibration_critic_gpt import DEFAULT_WEIGHTS_NAME, CriticCalibration, weights_fingerprint
from .calibration_table_critic_gpt import find_calibration_file
from .loading_critic_gpt import location_of


logger = logging.get_logger(__name__)

# How a table was measured, and the attribute of the model that holds it.
CALIBRATION_SOURCES = {"one_shot": "calibration", "trajectory": "trajectory_calibration"}
# Settings of generation that move the critic's scores, so that a table made at other values misjudges them.
SHIFTING_SETTINGS = ("temperature", "top_k", "top_p", "correction", "remask_by", "unmasking")
# The number of steps moves them little by little.
TOLERATED_FACTOR = 2
# Fields of a generation configuration that say what goes in and what comes back, and do not shape a trajectory.
_NOT_SAMPLING = ("max_new_tokens", "seed_placement", "transformers_version")
# Arguments of `save_pretrained` that are meant for `push_to_hub`.
_HUB_ARGUMENTS = ("repo_id", "commit_message", "commit_description", "private", "revision", "create_pr", "tags")


def weights_file_name(variant: str | None = None) -> str:
    """Name of the weights' file, the key of their table: `model.safetensors` or `model.VARIANT.safetensors`."""
    if not variant:
        return DEFAULT_WEIGHTS_NAME
    stem, ending = DEFAULT_WEIGHTS_NAME.rsplit(".", 1)
    return f"{stem}.{variant}.{ending}"


def table_key(variant: str | None = None, source: str = "one_shot") -> str:
    """Key of a table in `calibration.json`: the weights' file name, followed by `@trajectory` for that source."""
    name = weights_file_name(variant)
    return name if source == "one_shot" else f"{name}@{source}"


def sampler_settings(generation_config: GenerationConfig) -> dict[str, Any]:
    """
    The settings that shape a trajectory, for a table's metadata.

    Args:
        generation_config ([`CriticGPTGenerationConfig`]): Complete, as `model.resolve_generation_config` gives it.

    Returns:
        `dict`: every field but those about the canvas, the tokens' ids and the output; `None` where one is unset.
    """
    return {
        name: value
        for name, value in generation_config.to_dict().items()
        if name not in _NOT_SAMPLING and not name.startswith(("return_", "_")) and not name.endswith("_token_id")
    }


def shifted_settings(metadata: Mapping, generation_config: GenerationConfig) -> Iterator[tuple[str, Any, Any]]:
    """
    Where a call of `generate` differs from what a table was measured with, in what moves the critic's scores: name,
    value of the table, value of the call. What the metadata do not name is unknown and passes.
    """
    for name in SHIFTING_SETTINGS:
        measured, present = metadata.get(name), getattr(generation_config, name, None)
        if name == "top_p":  # 1 keeps everything, as `None` does
            measured, present = measured or 1.0, present or 1.0
        if name in metadata and measured != present:
            yield name, metadata[name], present
    measured, present = metadata.get("num_steps"), generation_config.num_steps
    if None not in (measured, present) and max(measured, present) > TOLERATED_FACTOR * min(measured, present):
        yield "num_steps", measured, present


class CalibratedModelMixin:
    """
    Gives a model the attributes `calibration` and `trajectory_calibration`: each a [`CriticCalibration`] or `None`. To
    stand before the class whose `from_pretrained` and `save_pretrained` it extends.
    """

    calibration: CriticCalibration | None = None
    trajectory_calibration: CriticCalibration | None = None

    def fingerprint(self) -> str | None:
        """Identifies the present weights ([`weights_fingerprint`])."""
        return weights_fingerprint(self.named_parameters())

    def calibration_for(self, generation_config: GenerationConfig) -> CriticCalibration | None:
        """
        The table that turns the critic's scores into error probabilities during a generation: the one of trajectories
        if it was measured with the same `remasking`, else the one-shot table. Warns, once for each difference, where
        the table was measured with other settings that move the scores.

        Args:
            generation_config ([`CriticGPTGenerationConfig`]): Complete, as `resolve_generation_config` gives it.

        Returns:
            [`CriticCalibration`] or `None`: neither table is there, or only that of another strategy.
        """
        table = self.trajectory_calibration
        if table is None or table.metadata.get("remasking") != generation_config.remasking:
            table = self.calibration
        if table is not None:
            for name, measured, present in shifted_settings(table.metadata, generation_config):
                way_out = f"or leave `{name}` out" if measured is None else f"or generate with `{name}={measured!r}`"
                logger.warning_once(
                    f"`{name}` should be {measured!r}, as where the calibration table was measured, got {present!r}: "
                    "the error probabilities may be off. Calibrate again with the settings of this call "
                    f"(scripts/calibrate.py --source trajectory), {way_out}."
                )
        return table

    def drop_calibration(self) -> None:
        """Takes all tables off the model: of weights that change they say nothing."""
        for attribute in CALIBRATION_SOURCES.values():
            setattr(self, attribute, None)

    def save_calibration(self, folder: str | os.PathLike, variant: str | None = None) -> None:
        """Writes the tables that there are into `folder/calibration.json`, beside others there."""
        for source, attribute in CALIBRATION_SOURCES.items():
            table = getattr(self, attribute)
            if table is not None:
                table.save(folder, key=table_key(variant, source))

    def _load_calibration(self, path: str | os.PathLike, variant: str | None, location: dict[str, Any]) -> None:
        file = find_calibration_file(path, **location)
        if file is None:
            return
        own = self.fingerprint()
        stale = []
        for source, attribute in CALIBRATION_SOURCES.items():
            key = table_key(variant, source)
            table = CriticCalibration.from_file(file, key)
            if table is not None and not table.matches(own):
                stale.append(key)
                table = None
            setattr(self, attribute, table)
        if stale:
            logger.warning(
                f"The calibration of {path} under {' and '.join(stale)} was measured on other weights and is not "
                "used: calibrate again with scripts/calibrate.py."
            )

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        """As the parent's, and loads those tables of the `calibration.json` beside the weights that fit them."""
        location = location_of(kwargs)
        variant = kwargs.get("variant")
        loaded = super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if pretrained_model_name_or_path is not None and model.critic_head is not None:
            model._load_calibration(pretrained_model_name_or_path, variant, location)
        return loaded

    def save_pretrained(
        self, save_directory, is_main_process: bool = True, state_dict=None, push_to_hub: bool = False, **kwargs
    ):
        """As the parent's, and writes `calibration.json` beside the weights where the model has a table."""
        hub = {name: kwargs.pop(name) for name in _HUB_ARGUMENTS if name in kwargs}
        super().save_pretrained(
            save_directory, is_main_process=is_main_process, state_dict=state_dict, push_to_hub=False, **kwargs
        )
        if is_main_process:
            self.save_calibration(save_directory, kwargs.get("variant"))
        if push_to_hub and is_main_process:
            # After everything is written: the parent would push before the table lies there.
            hub.setdefault("repo_id", str(save_directory).rstrip("/\\").replace("\\", "/").rsplit("/", 1)[-1])
            self.push_to_hub(**hub, token=kwargs.get("token"))
