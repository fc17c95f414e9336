# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Lets a model carry its calibration tables: loaded, saved and pushed with the weights, chosen per generation.

A model may have three. `calibration` was measured on masks filled in one shot, as in training;
`trajectory_calibration` along the steps of one sampler, which show the critic other tokens and other errors;
`planted_calibration` on texts in which few tokens were made wrong, as proofreading meets them. All lie in
`calibration.json`.
"""

import importlib
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from transformers.generation import GenerationConfig
from transformers.utils import logging
from transformers.utils.hub import create_and_tag_model_card, hf_api

from critic_gpt.calibration.fingerprint import (
    ADAPTER_WEIGHTS_NAME,
    effective_weights,
    fingerprints_agree,
    has_adapters,
    stored_fingerprint,
    stored_fingerprints,
    weights_fingerprint,
    weights_fingerprints,
)
from critic_gpt.calibration.table import DEFAULT_WEIGHTS_NAME, CriticCalibration, find_calibration_file
from critic_gpt.hub.folder import location_of


logger = logging.get_logger(__name__)
# How a table was measured, and the attribute of the model that holds it.
CALIBRATION_SOURCES = {
    "one_shot": "calibration",
    "trajectory": "trajectory_calibration",
    "planted": "planted_calibration",
}
# Settings of generation that move the critic's scores, so that a table made at other values misjudges them.
SHIFTING_SETTINGS = ("temperature", "top_k", "top_p", "correction", "remask_by", "unmasking", "token_draws")
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


def table_key(variant: str | None = None, source: str = "one_shot", adapter: bool = False) -> str:
    """
    Key of a table in `calibration.json`: the weights' file name, followed by `@trajectory` for that source. A table
    that was measured with an adapter lies beside it, under the name of its weights.
    """
    name = ADAPTER_WEIGHTS_NAME if adapter else weights_file_name(variant)
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
    Gives a model the attributes `calibration` and `trajectory_calibration`, each a [`CriticCalibration`] or `None`;
    loads, saves and chooses these tables. To stand before the class whose `from_pretrained`, `load_adapter` and
    `save_pretrained` it extends, on a model with `critic_head`.

    A table belongs to the weights that were there when it was set. Where adapters are exchanged, disabled or merged,
    the attributes follow: they give the table of the weights that the model then computes with, which after merging
    an adapter is the adapter's, and `None` for weights without a measurement.
    """

    # What the class of the model beside this one has.
    dtype: torch.dtype
    critic_head: Any
    model_tags: list[str] | None
    _get_files_timestamps: Callable[..., dict[str, float]]
    _upload_modified_files: Callable[..., Any]

    # ---- the tables of the present weights ----

    def fingerprint(self, adapted: bool = True) -> str | None:
        """
        Identifies the present weights ([`weights_fingerprint`]), as merging the active adapters would leave them.

        Args:
            adapted (`bool`, *optional*, defaults to `True`): `False` looks at the weights below the adapters.
        """
        return weights_fingerprint(effective_weights(self, adapted))

    def fingerprints(self, adapted: bool = True) -> list[str] | None:
        """As [`fingerprint`], and by what the same weights are known once they are rounded to float16."""
        return weights_fingerprints(effective_weights(self, adapted))

    @property
    def calibration(self) -> CriticCalibration | None:
        """The table measured on masks filled in one shot."""
        return self._present_table("one_shot")

    @calibration.setter
    def calibration(self, table: CriticCalibration | None) -> None:
        self._set_table("one_shot", table)

    @property
    def trajectory_calibration(self) -> CriticCalibration | None:
        """The table measured along the steps of one sampler."""
        return self._present_table("trajectory")

    @trajectory_calibration.setter
    def trajectory_calibration(self, table: CriticCalibration | None) -> None:
        self._set_table("trajectory", table)

    @property
    def planted_calibration(self) -> CriticCalibration | None:
        """The table measured on texts with few errors."""
        return self._present_table("planted")

    @planted_calibration.setter
    def planted_calibration(self, table: CriticCalibration | None) -> None:
        self._set_table("planted", table)

    def drop_calibration(self) -> None:
        """Takes all tables off the model: they say nothing about weights that have changed."""
        self.__dict__.pop("_calibration_tables", None)

    @contextmanager
    def without_calibration(self) -> Iterator[None]:
        """Within it the model has no tables."""
        kept = self.__dict__.pop("_calibration_tables", {})
        try:
            yield
        finally:
            self.__dict__["_calibration_tables"] = kept

    def _tables(self, source: str) -> dict[tuple[str, ...] | None, CriticCalibration]:
        """The tables of a source by all fingerprints of their weights; by `None` where these are not known."""
        return self.__dict__.setdefault("_calibration_tables", {}).setdefault(source, {})

    def _present_table(self, source: str) -> CriticCalibration | None:
        tables = self._tables(source)
        return tables.get(self._present_key(tables)) if tables else None

    def _present_key(self, tables: dict[tuple[str, ...] | None, CriticCalibration]) -> tuple[str, ...] | None:
        """Under which of these a table of the present weights stands; one that is no key where there is none."""
        present, none = self.fingerprint(), ("",)
        if present is None or None in tables:  # of weights that are not at hand nothing is known
            return next(iter(tables)) if len(tables) == 1 and not has_adapters(self) else none
        known = [key for key in tables if key is not None]
        exact = next((key for key in known if key[0] == present), None)
        if exact is not None:
            return exact
        rounded = self.fingerprints() or [present]
        return next((key for key in known if fingerprints_agree(key, rounded)), none)

    def _set_table(self, source: str, table: CriticCalibration | None) -> None:
        tables = self._tables(source)
        if not has_adapters(self):
            tables.clear()
        if table is None and not tables:
            return
        present = self.fingerprints()
        for key in [key for key in tables if key and present and key[0] == present[0]]:
            del tables[key]
        if table is not None:
            tables[tuple(present) if present else None] = table

    def calibrate(self, held_out: Any, **settings: Any) -> CriticCalibration:
        """
        Measures the table of the present weights on held-out sequences, and takes it. `save_pretrained` writes it.

        Args:
            held_out: Sequences that the model was not trained on: map-style, with `input_ids`.
            settings: As for [`~evaluation.calibrating.measured_table`]: `source` (`"one_shot"` by default,
                `"planted"` for proofreading), `planted_rate`, `num_sequences`, `batch_size`, `seed`, `method`.

        Returns:
            [`CriticCalibration`]: The table, now `self.calibration` or `self.planted_calibration`.

        Raises:
            `ImportError`: The package is not installed: a model's folder brings nothing that measures.
            `ValueError`: No trained critic, or too little to judge.
        """
        try:
            # By name: what measures stands above the model and does not travel with it.
            measuring = importlib.import_module("critic_gpt.evaluation.calibrating")
        except ImportError as error:
            raise ImportError("`calibrate` needs the package itself: pip install critic_gpt.") from error
        table = measuring.measured_table(self, held_out, **settings)
        setattr(self, CALIBRATION_SOURCES[table.metadata["source"]], table)
        return table

    # ---- chosen for a generation ----

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

    # ---- kept beside the weights ----

    def save_calibration(self, folder: str | os.PathLike, variant: str | None = None) -> None:
        """
        Writes the tables of the present weights into `folder/calibration.json`, beside others there. For a model with
        adapters, `folder` is the adapter's.
        """
        adapted = has_adapters(self)
        for source in CALIBRATION_SOURCES:
            table = self._present_table(source)
            if table is None and not adapted:
                # Measured before the weights were changed by hand: refused, and told of, where they are loaded.
                table = next(iter(self._tables(source).values()), None)
            if table is not None:
                table = self._named_by_present_weights(source, table)
                table.save(folder, key=table_key(variant, source, adapted))

    def _named_by_present_weights(self, source: str, table: CriticCalibration) -> CriticCalibration:
        """A table whose weights have been rounded to float16 since says so where it is saved beside them."""
        own = self.fingerprint()
        key = self._present_key(self._tables(source))
        if own is None or not key or key[0] in ("", own) or table.metadata.get("fingerprint") != key[0]:
            return table
        return table.with_metadata(fingerprint=own)

    def load_calibration(self, path: str | os.PathLike, variant: str | None = None, **location) -> None:
        """
        Loads those tables of a `calibration.json` that fit the present weights. `from_pretrained` and `load_adapter`
        of the model do so themselves; `PeftModel.from_pretrained(model, path)` knows only the adapter in `path`, so
        call `load_calibration(path)` after it.

        Args:
            path (`str` or `os.PathLike`): Folder or hub name: the adapter's where the model has one, else its own.
            variant (`str`, *optional*): Of the weights' file.
            location: What says where files come from, as in `from_pretrained`.
        """
        self._load_tables(path, variant, location, adapted=has_adapters(self))

    def _load_tables(
        self, path: str | os.PathLike, variant: str | None, location: dict[str, Any], adapted: bool
    ) -> None:
        file = find_calibration_file(path, **location)
        if file is None:
            return
        own, stale = self.fingerprints(adapted), []
        for source in CALIBRATION_SOURCES:
            key = table_key(variant, source, adapted)
            table = CriticCalibration.from_file(file, key)
            if table is None:
                continue
            # Transformers sets `hf_quantizer` where it quantised the weights.
            if own and not table.matches(own[0]) and getattr(self, "hf_quantizer", None) is not None:
                table = self._taken_over(table, own[0], stored_fingerprint(path, variant, **location))
            fits = table.fits(own)
            if not fits and self.dtype == torch.float16 and not adapted:  # rounded as it was loaded
                stored = stored_fingerprints(path, variant, **location)
                fits = stored is not None and table.fits(stored) and own is not None and own[0] == stored[2]
            if fits:
                self._tables(source)[tuple(own) if own else None] = table
            else:
                stale.append(key)
        if stale:
            logger.warning(
                f"The calibration of {path} under {' and '.join(stale)} was measured on other weights and is not "
                "used: calibrate again with scripts/calibrate.py."
            )

    @staticmethod
    def _taken_over(table: CriticCalibration, own: str | None, stored: str | None) -> CriticCalibration:
        """A table of weights that were quantised as they were loaded: it is theirs, and its metadata say so."""
        if stored is None or not table.matches(stored):
            return table
        return table.with_metadata(fingerprint=own, measured_before_quantisation=stored)

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path, *model_args, **kwargs):
        """As the parent's, and loads those tables of the `calibration.json` beside the weights that fit them."""
        location = location_of(kwargs)
        variant = kwargs.get("variant")
        loaded = super().from_pretrained(pretrained_model_name_or_path, *model_args, **kwargs)  # type: ignore[misc]
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if pretrained_model_name_or_path is not None and model.critic_head is not None:
            # Those of an adapter were loaded with it.
            model._load_tables(pretrained_model_name_or_path, variant, location, adapted=False)
        return loaded

    def load_adapter(self, peft_model_id=None, *args, **kwargs):
        """As the parent's, and loads those tables of the `calibration.json` beside the adapter that fit it."""
        loaded = super().load_adapter(peft_model_id, *args, **kwargs)  # type: ignore[misc]
        if peft_model_id is not None and self.critic_head is not None:
            location = location_of({**kwargs, **(kwargs.get("adapter_kwargs") or {})})
            self._load_tables(peft_model_id, None, location, adapted=True)
        return loaded

    def save_pretrained(
        self, save_directory, is_main_process: bool = True, state_dict=None, push_to_hub: bool = False, **kwargs
    ):
        """
        As the parent's, and writes `calibration.json` beside the weights where the model has a table. `push_to_hub`
        takes the arguments of the method of that name, and uploads the table with the rest in one commit.
        """
        hub = {name: kwargs.pop(name) for name in _HUB_ARGUMENTS if name in kwargs}
        push = push_to_hub and is_main_process
        if push:
            # The parent would push before the table lies there. Before it writes: a refused token costs no waiting.
            repo_id, unchanged = self._open_repository(save_directory, kwargs.get("token"), hub)
        super().save_pretrained(  # type: ignore[misc]
            save_directory, is_main_process=is_main_process, state_dict=state_dict, push_to_hub=False, **kwargs
        )
        if is_main_process:
            self.save_calibration(save_directory, kwargs.get("variant"))
        if push:
            self._push_written(save_directory, repo_id, unchanged, kwargs.get("token"), hub)

    def _open_repository(self, folder: str | os.PathLike, token, hub: dict) -> tuple[str, dict[str, float]]:
        """The repository to push to, made if missing, and when the files that lie in the folder were written."""
        os.makedirs(folder, exist_ok=True)
        repo_id = hub.pop("repo_id", None) or os.path.basename(os.path.abspath(folder))
        repo_id = hf_api().create_repo(repo_id, private=hub.pop("private", None), token=token, exist_ok=True).repo_id
        return repo_id, self._get_files_timestamps(folder)

    def _push_written(self, folder: str | os.PathLike, repo_id: str, unchanged: dict, token, hub: dict) -> None:
        """Uploads what was written since, with the model card that lies there, else as the parent makes one."""
        tags = hub.pop("tags", None) or self.model_tags
        card = Path(folder, "README.md")
        if not card.exists():
            create_and_tag_model_card(repo_id, tags, token=token).save(card)
        unchanged.pop(card.name, None)
        self._upload_modified_files(folder, repo_id, unchanged, token=token, **hub)
