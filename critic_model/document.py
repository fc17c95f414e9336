# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""`critic_config.json`: which model a critic belongs to, and what that and the critic are like."""

import os
from collections.abc import Mapping
from typing import Any

import transformers
from torch import nn
from transformers.utils.hub import cached_file

from critic_gpt.backbones.description import DESCRIPTION, Backbone
from critic_gpt.calibration.fingerprint import fingerprints_agree
from critic_gpt.critic_model.critic_config import CriticConfig
from critic_gpt.critic_model.naming import AUTO_CLASSES
from critic_gpt.hub.documents import SAVE_AGAIN, read_object
from critic_gpt.hub.moving import CRITIC_CONFIG_NAME


FORMAT_VERSION = 1
# Fields of a configuration that a critic's folder keeps for the model it names.
_IDS = ("mask_token_id", "pad_token_id", "bos_token_id", "eos_token_id", "drawable_vocab_size")
_SPECIAL_IDS = (*_IDS, "suppressed_token_ids")
# Of what kind each field is; what is not named here may be absent.
_KINDS: dict[str, tuple[type, ...]] = {
    "base_model_name_or_path": (str,),
    "revision": (str, type(None)),
    "fingerprints": (list, type(None)),
    "auto_class": (str,),
    "backbone": (dict,),
    "special_ids": (dict,),
    "critic": (dict,),
}


def critic_document(config: Any, backbone: Backbone, base: Mapping[str, Any]) -> dict[str, Any]:
    """
    The content of a `critic_config.json`.

    Args:
        config ([`~transformers.PreTrainedConfig`]): Of the model with the critic.
        backbone ([`~backbones.description.Backbone`]): The model under it.
        base (`dict`): By what that is found and known again.
    """
    return {
        "format_version": FORMAT_VERSION,
        **base,
        "backbone": backbone.to_dict(),
        "special_ids": {name: getattr(config, name, None) for name in _SPECIAL_IDS},
        "critic": critic_config_of(config).to_dict(),
    }


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
    content = read_object(file, way_out=SAVE_AGAIN)
    for name, kinds in _KINDS.items():
        if name not in content or not isinstance(content[name], kinds):
            raise ValueError(
                f"`{name}` must be a {kinds[0].__name__} in {file}, got {content.get(name)!r:.60}: save the critic "
                "again."
            )
    if not all(isinstance(one, str) for one in content["fingerprints"] or ()):
        raise ValueError(
            f"`fingerprints` must be a list of texts in {file}, got {content['fingerprints']!r:.60}: save it again."
        )
    version = content.get("format_version")
    if type(version) is not int or not 1 <= version <= FORMAT_VERSION:
        raise ValueError(
            f"`format_version` must be from 1 to {FORMAT_VERSION} in {file}, got {version!r:.60}: use a newer "
            "critic_gpt."
        )
    if getattr(transformers, content["auto_class"], None) not in AUTO_CLASSES:
        raise ValueError(
            f"`auto_class` must be one of {', '.join(one.__name__ for one in AUTO_CLASSES)} in {file}, got "
            f"{content['auto_class']!r:.60}: save the critic again."
        )
    _check_ids(content["special_ids"], Backbone.from_dict(content["backbone"]).vocab_size, file)
    CriticConfig.from_dict(content["critic"])
    return content


def _check_ids(ids: Mapping[str, Any], vocab_size: int, file: str) -> None:
    if ids.get("mask_token_id") is None:
        raise ValueError(f"`mask_token_id` must be set in {file}, got None: save the critic again.")
    suppressed = ids.get("suppressed_token_ids")
    given: dict[str, list[Any] | None] = {name: [ids[name]] for name in _IDS if ids.get(name) is not None}
    given["suppressed_token_ids"] = suppressed if isinstance(suppressed, (list, type(None))) else [suppressed]
    for name, values in given.items():
        for value in values or ():
            # How many are drawable is a number of ids, and may be that of all.
            if type(value) is not int or not 0 <= value < vocab_size + (name == "drawable_vocab_size"):
                raise ValueError(
                    f"`{name}` must be ids in [0, vocab_size = {vocab_size}) in {file}, got {value!r:.60}: save the "
                    "critic again."
                )


def write_into_config(config: Any, content: Mapping[str, Any]) -> None:
    """Writes what a `critic_config.json` says into the configuration of the model it names, in place."""
    setattr(config, DESCRIPTION, dict(content["backbone"]))
    for name in _SPECIAL_IDS:
        setattr(config, name, content["special_ids"].get(name))


def check_class(model: Any, content: Mapping[str, Any], name: str) -> None:
    """Refuses a model of another class than the critic was trained on, whose numbers may be others."""
    wanted, found = content.get("base_class"), type(model).__name__
    if wanted not in (None, found):
        raise ValueError(
            f"`base_model` must be a {wanted}, as the critic was trained on one, got a {found} from {name!r}: load "
            f"the model by its own class and pass it as `base_model=`."
        )


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
