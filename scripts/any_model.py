# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Models of other makes, met by the scripts: which they are, and how one gets a critic from the flags of train.py."""

import os
from typing import Any

from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel

from critic_gpt import AutoModelForMaskedLMWithCritic, CriticConfig, CriticGPTConfig, get_critic_model
from critic_gpt.backbones.description import DESCRIPTION
from critic_gpt.critic_model.document import read_critic_config
from critic_gpt.hub.looking import look_at_folder
from critic_gpt.hub.weights import weights_fault


def is_other_model(path: str) -> bool:
    """
    Whether a path or hub name holds the model of somebody else, or a critic for one.

    Raises:
        `OSError`: There is no configuration.
    """
    look_at_folder(path)
    kind = CriticGPTConfig.get_config_dict(path)[0].get("model_type", CriticGPTConfig.model_type)
    return kind != CriticGPTConfig.model_type


def has_critic(path: str) -> bool:
    """Whether the model of somebody else, or what lies there of one, has a critic already."""
    return (
        read_critic_config(path) is not None
        or getattr(AutoConfig.from_pretrained(path), DESCRIPTION, None) is not None
    )


def load_other_model(field: str, path: str, variant: str | None = None, dtype: str | None = None) -> PreTrainedModel:
    """
    Loads somebody else's model with its critic.

    Args:
        field (`str`): Name of the argument that holds the path, for errors.
        path (`str`): Folder or hub name.
        variant, dtype (`str`, *optional*): As for `from_pretrained`.

    Raises:
        `ValueError`: It has no critic, or did not load.
    """
    given = {} if variant is None else {"variant": variant}
    try:
        if not has_critic(path):
            raise ValueError(
                f"`{field}` must be a model with a critic, got {path!r} without one: give it one with "
                "scripts/train.py --model_name_or_path, --add_critic_head True and --freeze_trunk True."
            )
        return AutoModelForMaskedLMWithCritic.from_pretrained(path, dtype=dtype or "auto", **given)
    except (OSError, SafetensorError) as error:
        raise ValueError(
            f"`{field}` must be the folder of a model, got {path!r}, which did not load "
            f"({' '.join(str(error).split()).rstrip('.')}): save it again."
        ) from error


def with_critic(path: str, fields: dict[str, Any], freeze: bool, untie: bool, tokenizer: Any) -> PreTrainedModel:
    """
    Somebody else's masked language model, with the critic that it has or, of these fields, a fresh one.

    Args:
        path (`str`): Folder or hub name.
        fields (`dict`): What the flags of train.py say of the model.
        freeze (`bool`): Whether the model stays as it is.
        untie (`bool`): Refused.
        tokenizer ([`~transformers.PreTrainedTokenizerBase`]): That of the data.

    Raises:
        `ValueError`: A field that is of CriticGPT alone, or no masked language model.
    """
    wants = fields.pop("add_critic_head", None)
    known = set(CriticConfig().critic_fields())
    foreign = sorted(set(fields) - known)
    if foreign or untie:
        name = foreign[0] if foreign else "untie"
        raise ValueError(
            f"`{name}` must be left out for a model that is not CriticGPT, got {fields.get(name, True)!r} for "
            f"{path!r}: choose among {', '.join(sorted(known))}."
        )
    if has_critic(path):
        model = AutoModelForMaskedLMWithCritic.from_pretrained(path)
        for name, value in fields.items():
            if name == "critic_head_type" and value != model.config.critic_head_type:
                raise ValueError(
                    f"`critic_head_type` must be {model.config.critic_head_type!r} as in {path!r}, got {value!r}: "
                    "leave it out, or begin with the model without a critic."
                )
            setattr(model.config, name, value)
        model.freeze_trunk() if freeze else model.unfreeze_trunk()
        return model
    if not wants:
        raise ValueError(
            f"`add_critic_head` must be True for a model that is not CriticGPT, got {wants} for {path!r}: its "
            "language model alone is for other trainers."
        )
    config = AutoConfig.from_pretrained(path)
    if type(config) not in AutoModelForMaskedLM._model_mapping and "AutoModelForMaskedLM" not in (
        getattr(config, "auto_map", None) or {}
    ):
        raise ValueError(
            f"`model_name_or_path` must be a masked language model, got one of type {config.model_type!r} in {path!r}"
            ": take one that AutoModelForMaskedLM loads."
        )
    stock, info = AutoModelForMaskedLM.from_pretrained(path, output_loading_info=True)
    fault = weights_fault(stock, info["missing_keys"], info["unexpected_keys"])
    if fault is not None:
        raise ValueError(f"`model_name_or_path` {fault} in {path!r}: save the model again where it is whole.")
    return get_critic_model(stock, CriticConfig(freeze=freeze, **fields), tokenizer=tokenizer)


def is_critic_folder(folder: str | os.PathLike) -> bool:
    """Whether a folder holds a critic alone, whose model lies elsewhere."""
    return read_critic_config(folder) is not None
