# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a critic for somebody else's model is saved as: alone beside the name of a frozen model, else with the weights.

A critic's folder holds `critic_config.json` (the model it belongs to, by name, revision and fingerprint, and what that
is like), `critic_head.safetensors`, and what any model's folder holds but the weights.
"""

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
import transformers
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save
from torch import nn
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING
from transformers.utils import logging
from transformers.utils.hub import cached_file

from critic_gpt.backbones.description import DESCRIPTION, Backbone
from critic_gpt.backbones.earlier_code import CODE, EARLIER_CODE
from critic_gpt.calibration.fingerprint import fingerprints_agree, has_adapters, stored_files, weights_fingerprints
from critic_gpt.critic_model.critic_config import CriticConfig
from critic_gpt.hub.documents import read_object
from critic_gpt.hub.files import replace_file, write_json
from critic_gpt.hub.folder import ANY_MODEL_AUTO_MAP, write_source_files
from critic_gpt.hub.moving import CRITIC_CONFIG_NAME, CRITIC_HEAD_NAME, finish_moving, move_into


logger = logging.get_logger(__name__)

FORMAT_VERSION = 1
_HEAD = "critic_head."
# What loads the model under a critic.
_AUTO_CLASSES = (
    transformers.AutoModelForMaskedLM,
    transformers.AutoModel,
    transformers.AutoModelForCausalLM,
    transformers.AutoModelForSeq2SeqLM,
    transformers.AutoModelForPreTraining,
)
# Where a critic is written before it takes the place of the one before.
_STAGING = ".writing"
# Fields of a configuration that a critic's folder keeps for the model it names.
_SPECIAL_IDS = (
    *("mask_token_id", "pad_token_id", "bos_token_id", "eos_token_id"),
    *("suppressed_token_ids", "drawable_vocab_size"),
)

_CARD = """---
library_name: transformers
tags:
- critic_gpt
- critic-diffusion
- masked-diffusion
- critic
{base_line}---

# A critic for {base}

{what}

```python
import {package}  # pip install {package}
from transformers import pipeline

generate = pipeline("critic-diffusion", model="PATH_OR_NAME")
proofread = pipeline("critic-proofread", model="PATH_OR_NAME")
```
"""


class CriticFolderMixin:
    """Saves a model with a critic. Stands behind the mixin of the calibration and before the class of the model."""

    def remember_base(self, tokenizer: Any, fingerprints: list[str] | None = None) -> None:
        """
        Keeps in mind what a frozen model is known by, and the tokenizer that goes into its folder.

        Args:
            tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): The model's own.
            fingerprints (`list[str]`, *optional*): Of the model's weights; by default of the present ones.
        """
        name, revision = _lasting_name(self.name_or_path), getattr(self.config, "_commit_hash", None)
        if fingerprints is None and name and not _lie_there(self, name, revision):
            logger.warning(
                f"The weights under the critic are not those in {name!r}, resized or changed since they were loaded: "
                "they will be saved with it."
            )
            name = ""
        self.__dict__["_base"] = {
            "base_model_name_or_path": name,
            "revision": revision,
            "fingerprints": self.base_fingerprints() if fingerprints is None else fingerprints,
        }
        self.__dict__["_critic_tokenizer"] = tokenizer

    def offer_critic(self) -> None:
        """
        Makes the configuration name, for whoever trusts the code in the folder, what loads the critic. Where the
        model's own code comes from a repository too, its configuration is loaded from there.
        """
        stock = self.__dict__.get("_stock_auto_map") or {}
        offered = stock.get("AutoConfig")
        if offered is not None and offered not in ANY_MODEL_AUTO_MAP.values():
            made = stock.get(_auto_class_of(self), "")
            places = {"config": offered, "model": made}
            name = _lasting_name(self.name_or_path)
            places = {kind: ref if "--" in ref else f"{name}--{ref}" for kind, ref in places.items()}
            setattr(self.config, CODE, {**places, "earlier": getattr(self, EARLIER_CODE, False)})
        code = getattr(self.config, CODE, None)
        self.config.auto_map = {**ANY_MODEL_AUTO_MAP, **({} if code is None else {"AutoConfig": code["config"]})}

    def base_fingerprints(self) -> list[str] | None:
        """By what the weights under the critic and under any adapter are known again."""
        weights = {name: weight for name, weight in self.named_parameters() if not name.startswith(_HEAD)}
        if has_adapters(self):
            own = {name.replace(".base_layer", ""): weight for name, weight in weights.items() if "lora_" not in name}
            weights = {name: weight for name, weight in own.items() if "modules_to_save" not in name}
        return weights_fingerprints(weights)

    def saved_alone(self) -> bool:
        """Whether the critic is saved without the weights under it: they lie elsewhere, unchanged."""
        base = self.__dict__.get("_base")
        if base is None or not base["base_model_name_or_path"] or not self.config.critic_freeze:
            return False
        present, known = self.base_fingerprints(), base["fingerprints"]
        return bool(present and known) and fingerprints_agree(known, present)

    def save_pretrained(
        self,
        save_directory: str | os.PathLike,
        is_main_process: bool = True,
        state_dict: Mapping[str, torch.Tensor] | None = None,
        **kwargs,
    ):
        """
        Saves the critic alone where the model under it is frozen and has a name, else the whole model.

        Args:
            save_directory (`str` or `os.PathLike`): A folder; made where there is none.
            is_main_process (`bool`, *optional*, defaults to `True`): Whether this process writes.
            state_dict (`dict`, *optional*): The weights to save; by default the present ones.
            kwargs: As for `PreTrainedModel.save_pretrained`.
        """
        if os.path.isfile(save_directory):
            raise ValueError(f"`save_directory` must be a folder, got the file {os.fspath(save_directory)!r}.")
        if self.saved_alone():
            if is_main_process:
                self._save_critic(Path(save_directory), state_dict, kwargs)
        else:
            super().save_pretrained(save_directory, is_main_process=is_main_process, state_dict=state_dict, **kwargs)
            if is_main_process:
                for name in (CRITIC_CONFIG_NAME, CRITIC_HEAD_NAME):  # of an earlier save, which would come first
                    Path(save_directory, name).unlink(missing_ok=True)
        if is_main_process:
            tokenizer = self.__dict__.get("_critic_tokenizer")
            if tokenizer is not None:
                tokenizer.save_pretrained(save_directory)
            write_source_files(save_directory)

    def _save_critic(self, folder: Path, state_dict: Mapping[str, torch.Tensor] | None, kwargs: dict) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        finish_moving(folder)
        staging = folder / _STAGING
        shutil.rmtree(staging, ignore_errors=True)
        staging.mkdir()
        try:
            self._write_critic(staging, state_dict, kwargs)
            base = self.__dict__["_base"]["base_model_name_or_path"]
            if not (folder / "README.md").exists():
                replace_file(staging / "README.md", self._card(base))
            move_into(staging, folder)
        finally:
            shutil.rmtree(staging, ignore_errors=True)

    def _write_critic(self, folder: Path, state_dict: Mapping[str, torch.Tensor] | None, kwargs: dict) -> None:
        if has_adapters(self):
            super().save_pretrained(folder, **kwargs)  # the adapter alone, as PEFT writes it
        weights = self.state_dict() if state_dict is None else state_dict
        head = {name.removeprefix(_HEAD): tensor for name, tensor in weights.items() if name.startswith(_HEAD)}
        replace_file(folder / CRITIC_HEAD_NAME, save({name: tensor.contiguous() for name, tensor in head.items()}))
        base = self.__dict__["_base"]
        write_json(
            folder / CRITIC_CONFIG_NAME,
            {
                "format_version": FORMAT_VERSION,
                **base,
                "auto_class": _auto_class_of(self),
                "earlier_code": getattr(self, EARLIER_CODE, False),
                "backbone": self.backbone.to_dict(),
                "special_ids": {name: getattr(self.config, name, None) for name in _SPECIAL_IDS},
                "critic": critic_config_of(self.config).to_dict(),
            },
        )
        self.config.save_pretrained(folder)
        self.generation_config.save_pretrained(folder)

    @staticmethod
    def _card(base: str) -> str:
        local = os.path.isabs(base)
        name = os.path.basename(base) if local else base
        return _CARD.format(
            package="critic_gpt",
            base=name,
            base_line="" if local else f"base_model: {base}\n",
            what=(
                f"This folder holds a critic head alone, which says of each token how likely it is wrong. The masked "
                f"language model it reads, {name}, is loaded from where it lies and checked by its fingerprint."
            ),
        )

    def load_critic_head(self, folder: str | os.PathLike, **location: Any) -> None:
        """
        Puts the critic head of a folder in the place of the present one.

        Args:
            folder (`str` or `os.PathLike`): Folder or hub name.
            location: What says where files come from, as in `from_pretrained`.

        Raises:
            `OSError`: There is none.
            `ValueError`: It is one for states of another width, or of another kind.
        """
        file = cached_file(os.fspath(folder), CRITIC_HEAD_NAME, **location)
        try:
            head = load_file(file)
        except SafetensorError as error:
            raise ValueError(
                f"`{CRITIC_HEAD_NAME}` must be an intact file of weights, got {file!r}, which did not load ({error}): "
                "save the critic again."
            ) from error
        own = {name: tuple(tensor.shape) for name, tensor in self.critic_head.state_dict().items()}
        found = {name: tuple(tensor.shape) for name, tensor in head.items()}
        if own != found:
            raise ValueError(
                f"`{CRITIC_HEAD_NAME}` must hold the {self.config.critic_head_type!r} head of a model with states of "
                f"width {self.backbone.state_size}, got {found} for {own}: save the critic again, or name the model "
                "it was trained on (`base_model=`)."
            )
        self.critic_head.load_state_dict(head)


def critic_config_of(config: Any) -> CriticConfig:
    """The [`CriticConfig`] that a model's configuration carries."""
    fields = {name: getattr(config, name) for name in CriticConfig().critic_fields()}
    return CriticConfig(freeze=config.critic_freeze, **fields)


def read_critic_config(path: str | os.PathLike, **location: Any) -> dict[str, Any] | None:
    """
    The content of a `critic_config.json`, checked; `None` where there is no such file.

    Args:
        path (`str` or `os.PathLike`): Folder or hub name.
        location: What says where files come from, as in `from_pretrained`.

    Raises:
        `ValueError`: It is not ours, or damaged.
    """
    quiet = {"_raise_exceptions_for_missing_entries": False, **location}
    file = cached_file(os.fspath(path), CRITIC_CONFIG_NAME, **quiet)
    if file is None:
        return None
    content = read_object(file)
    texts = {"base_model_name_or_path": str, "backbone": dict, "special_ids": dict, "critic": dict, "auto_class": str}
    for name, kind in texts.items():
        if not isinstance(content.get(name), kind):
            raise ValueError(
                f"`{name}` must be a {kind.__name__} in {file}, got {content.get(name)!r:.60}: save the critic again."
            )
    if not isinstance(content.get("fingerprints"), (list, type(None))):
        raise ValueError(
            f"`fingerprints` must be a list in {file}, got {content['fingerprints']!r:.60}: save it again."
        )
    version = content.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ValueError(
            f"`format_version` must be from 1 to {FORMAT_VERSION} in {file}, got {version!r:.60}: use a newer "
            "critic_gpt."
        )
    if getattr(transformers, content["auto_class"], None) not in _AUTO_CLASSES:
        raise ValueError(
            f"`auto_class` must be one of {', '.join(one.__name__ for one in _AUTO_CLASSES)} in {file}, got "
            f"{content['auto_class']!r:.60}: save the critic again."
        )
    Backbone.from_dict(content["backbone"])
    CriticConfig.from_dict(content["critic"])
    return content


def write_into_config(config: Any, content: Mapping[str, Any]) -> None:
    """Writes what a `critic_config.json` says into the configuration of the model it names, in place."""
    setattr(config, DESCRIPTION, dict(content["backbone"]))
    for name in _SPECIAL_IDS:
        setattr(config, name, content["special_ids"].get(name))


def check_base(model: Any, content: Mapping[str, Any], name: str) -> None:
    """
    Refuses a model with other weights than those that a critic was trained on.

    Args:
        model ([`CriticFolderMixin`]): With the weights, and any head.
        content (`dict`): Of the `critic_config.json`.
        name (`str`): Where the weights came from.
    """
    own, known = model.base_fingerprints(), content.get("fingerprints")
    if own and known and not fingerprints_agree(known, own):
        raise ValueError(
            f"`base_model` must be the model that the critic was trained on, "
            f"{content['base_model_name_or_path']!r}, got other weights in {name!r}: pass `base_model=` with the "
            "folder or the revision that holds them, or train the critic anew."
        )


def check_widths(model: nn.Module, content: Mapping[str, Any], name: str) -> None:
    """Refuses, before the critic is put on it, a model that its description does not fit."""
    rows = model.get_output_embeddings()
    size = content["backbone"]["vocab_size"]
    weight = getattr(rows, "weight", None)
    if weight is not None and weight.shape[0] != size:
        raise ValueError(
            f"`base_model` must have the {size} rows of logits that the critic knows, got {weight.shape[0]} in "
            f"{name!r}: name the model that the critic was trained on, or resize its embeddings."
        )


def _lie_there(model: Any, name: str, revision: str | None) -> bool:
    """
    Whether a model's weights are, by their shapes and first rows, those under a name, as far as these are at hand.
    """
    if getattr(model, "hf_quantizer", None) is not None:
        return True
    if not _built_alike(model, name, revision):
        return False
    try:
        files = stored_files(name, **({} if revision is None else {"revision": revision}), local_files_only=True)
    except (OSError, ValueError):  # not in safetensors, or not on this machine
        return True
    own = dict(model.named_parameters())
    for file in files:
        with safe_open(file, framework="pt") as weights:
            for key in own.keys() & set(weights.keys()):
                found = weights.get_slice(key)
                if found.get_shape() != list(own[key].shape):
                    return False
                first = own[key].detach()[:1].float().cpu() if own[key].dim() else None
                # In whatever precision either is.
                if first is not None and not torch.allclose(found[:1].float(), first, rtol=0.02, atol=1e-3):
                    return False
    return True


def _built_alike(model: Any, name: str, revision: str | None) -> bool:
    """
    Whether a model has the parameters that the configuration under a name asks for: output weights that were untied,
    or layers left out by an argument, are no longer what its name loads.
    """
    stock = type(model).stock_class
    if has_adapters(model) or not stock.__module__.startswith("transformers."):
        return True
    try:
        config = type(model.config).from_pretrained(name, revision=revision, local_files_only=True)
    except (OSError, ValueError):  # not on this machine
        return True
    with torch.device("meta"):
        fresh = stock(config)
    own = {key: weight.shape for key, weight in model.named_parameters() if not key.startswith(_HEAD)}
    return own == {key: weight.shape for key, weight in fresh.named_parameters()}


def _lasting_name(name: str) -> str:
    """A model's name that also holds elsewhere on this machine."""
    return os.path.abspath(name) if name and os.path.isdir(name) else name


def _auto_class_of(model: Any) -> str:
    """The Auto class that loads the model under a critic."""
    stock = type(model).stock_class
    known = [
        one
        for found in MODEL_FOR_MASKED_LM_MAPPING.values()
        for one in (found if isinstance(found, tuple) else [found])
    ]
    if stock not in known:
        named = model.__dict__.get("_stock_auto_map") or {}
        for name, reference in named.items():
            if str(reference).rpartition(".")[2] == stock.__name__:
                return name
    return "AutoModelForMaskedLM"
