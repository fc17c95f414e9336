# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a critic for somebody else's model is saved as: alone beside the name of a frozen model, else with the weights.

A critic's folder holds `critic_config.json` (the model it belongs to, by name, revision and fingerprint, and what that
is like), `critic_head.safetensors`, and what any model's folder holds but the weights.
"""

import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save
from transformers import GenerationConfig, PreTrainedConfig, PreTrainedModel
from transformers.utils import logging
from transformers.utils.hub import cached_file

from critic_gpt.backbones.description import Backbone
from critic_gpt.backbones.earlier_code import CODE, EARLIER_CODE
from critic_gpt.calibration.fingerprint import fingerprints_agree, has_adapters, weights_fingerprints
from critic_gpt.critic_model.document import critic_document
from critic_gpt.critic_model.naming import HEAD_PREFIX, auto_class_of, commit_of, lasting_name, lies_under
from critic_gpt.critic_model.padding import saved_with_stock_padding
from critic_gpt.hub.files import replace_file, write_json
from critic_gpt.hub.folder import ANY_MODEL_AUTO_MAP, write_source_files
from critic_gpt.hub.moving import CRITIC_CONFIG_NAME, CRITIC_HEAD_NAME, finish_moving, move_into
from critic_gpt.hub.weights import check_heads_finite


logger = logging.get_logger(__name__)

# Where a critic is written before it takes the place of the one before.
_STAGING = ".writing"

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

    # Of the model that it is a part of.
    config: PreTrainedConfig
    generation_config: GenerationConfig
    name_or_path: str
    stock_class: type[PreTrainedModel]
    critic_head: Any
    named_parameters: Callable[[], Iterator[tuple[str, torch.nn.Parameter]]]
    state_dict: Callable[[], dict[str, torch.Tensor]]

    def remember_base(self, tokenizer: Any, known: Mapping[str, Any] | None = None) -> None:
        """
        Keeps in mind what a frozen model is known by, and the tokenizer that goes into its folder.

        Args:
            tokenizer ([`~transformers.PreTrainedTokenizerBase`], *optional*): The model's own.
            known (`dict`, *optional*): What a `critic_config.json` says of it; by default what can be found out.
        """
        name, known = lasting_name(self.name_or_path), known or {}
        revision = known.get("revision") if known.get("base_model_name_or_path") == name else commit_of(self, name)
        if not known and name and not lies_under(self, name, revision):
            logger.warning(
                f"The weights under the critic are not what {name!r} alone loads, but resized, changed, of a variant "
                "or of a subfolder: they will be saved with it."
            )
            name = ""
        self.__dict__["_base"] = {
            "base_model_name_or_path": name,
            "revision": revision,
            "fingerprints": known.get("fingerprints") or self.base_fingerprints(),
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
            made = stock.get(auto_class_of(self), "")
            places = {"config": offered, "model": made}
            name = lasting_name(self.name_or_path)
            places = {kind: ref if "--" in ref else f"{name}--{ref}" for kind, ref in places.items()}
            setattr(self.config, CODE, {**places, "earlier": getattr(self, EARLIER_CODE, False)})
        code = getattr(self.config, CODE, None)
        self.config.auto_map = {**ANY_MODEL_AUTO_MAP, **({} if code is None else {"AutoConfig": code["config"]})}

    def base_fingerprints(self) -> list[str] | None:
        """By what the weights under the critic and under any adapter are known again."""
        weights = {name: weight for name, weight in self.named_parameters() if not name.startswith(HEAD_PREFIX)}
        if has_adapters(self):
            own = {name.replace(".base_layer", ""): weight for name, weight in weights.items() if "lora_" not in name}
            weights = {name: weight for name, weight in own.items() if "modules_to_save" not in name}
        return weights_fingerprints(weights)

    @property
    def base_revision(self) -> str | None:
        """The commit of the hub at which the name of the model under the critic means these weights."""
        return self.__dict__.get("_base", {}).get("revision")

    def saved_alone(self, adapted: bool | None = None) -> bool:
        """
        Whether the critic is saved without the weights under it: they lie elsewhere, unchanged.

        Args:
            adapted (`bool`, *optional*): Whether it has an adapter, which keeps them as they are; by default as it is.
        """
        base = self.__dict__.get("_base")
        adapted = has_adapters(self) if adapted is None else adapted
        if base is None or not base["base_model_name_or_path"] or not (self.config.critic_freeze or adapted):
            return False
        present, known = self.base_fingerprints(), base["fingerprints"]
        return bool(present and known and fingerprints_agree(known, present))

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
        elif has_adapters(self):  # of which the parent would save nothing else
            raise ValueError(
                f"the model under an adapter must be one that its name alone loads, got a {type(self).__name__} "
                "without a name, or changed: save the model without critic and adapter, load it from there, and give "
                "it both."
            )
        else:
            with saved_with_stock_padding(self.config):
                super().save_pretrained(  # type: ignore[misc]
                    save_directory, is_main_process=is_main_process, state_dict=state_dict, **kwargs
                )
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
            super().save_pretrained(folder, **kwargs)  # type: ignore[misc]  # the adapter alone, as PEFT writes it
        weights = self.state_dict() if state_dict is None else state_dict
        head = {
            name.removeprefix(HEAD_PREFIX): tensor for name, tensor in weights.items() if name.startswith(HEAD_PREFIX)
        }
        replace_file(folder / CRITIC_HEAD_NAME, save({name: tensor.contiguous() for name, tensor in head.items()}))
        base = self.__dict__["_base"]
        write_json(
            folder / CRITIC_CONFIG_NAME,
            critic_document(
                self.config,
                Backbone.of(self.config),
                {
                    **base,
                    "auto_class": auto_class_of(self),
                    "base_class": type(self).stock_class.__name__,
                    "earlier_code": getattr(self, EARLIER_CODE, False),
                },
            ),
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
            `ValueError`: It is one for states of another width, of another kind, or holds no finite numbers.
        """
        file = cached_file(os.fspath(folder), CRITIC_HEAD_NAME, **location)
        try:
            head = load_file(file)
        except SafetensorError as error:
            raise ValueError(
                f"`{CRITIC_HEAD_NAME}` must be an intact file of weights, got {file!r}, which did not load ({error}): "
                "save the critic again."
            ) from error
        own = {name: tuple(tensor.shape) for name, tensor in sorted(self.critic_head.state_dict().items())}
        found = {name: tuple(tensor.shape) for name, tensor in sorted(head.items())}
        width = Backbone.of(self.config).state_size
        if own != found or not all(tensor.is_floating_point() for tensor in head.values()):
            raise ValueError(
                f"`{CRITIC_HEAD_NAME}` must hold the {self.config.critic_head_type!r} head of a model with states of "
                f"width {width}, got {found} for {own}: save the critic again, or name the model "
                "it was trained on (`base_model=`)."
            )
        self.critic_head.load_state_dict(head)
        check_heads_finite(self, folder)
