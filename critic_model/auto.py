# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Loads a masked language model with its critic, whatever it is saved as."""

import os
from typing import Any

import transformers
from transformers import AutoConfig, AutoModelForMaskedLM, PreTrainedModel
from transformers.dynamic_module_utils import get_class_from_dynamic_module
from transformers.models.auto.modeling_auto import MODEL_FOR_MASKED_LM_MAPPING
from transformers.utils.peft_utils import find_adapter_config_file

from critic_gpt.backbones.description import DESCRIPTION
from critic_gpt.backbones.earlier_code import (
    CODE,
    EARLIER_CODE,
    earlier_class,
    load_with_earlier_code,
    set_positions,
)
from critic_gpt.critic_model.any_masked_lm import CLASS_SUFFIX, attach_critic, critic_class
from critic_gpt.critic_model.arguments import check_takes_critic
from critic_gpt.critic_model.critic_config import CriticConfig
from critic_gpt.critic_model.document import (
    check_base,
    check_class,
    check_widths,
    read_critic_config,
    write_into_config,
)
from critic_gpt.hub.folder import location_of
from critic_gpt.hub.looking import look_at_folder
from critic_gpt.hub.vocabulary import tokenizer_beside


# What only an Auto class or a pipeline passes on.
_PASSED_BY = ("config", "adapter_kwargs", "_from_auto", "_from_pipeline", "code_revision", "subfolder")


class Refused:
    """
    Stands in the place of a model that was refused, until the pipeline is made, which says why: `pipeline` itself
    would put the one sentence between all lines of a traceback.

    Args:
        error (`Exception`): The refusal.
    """

    def __init__(self, error: Exception):
        self.refusal = error


class AutoModelForMaskedLMWithCritic:
    """
    Loads a masked language model that has a critic: CriticGPT, any other model that was saved whole with its critic,
    and a critic's folder, whose model is then loaded from where it lies.

    Example:

    ```python
    >>> model = AutoModelForMaskedLMWithCritic.from_pretrained("mb-critic")
    ```
    """

    def __init__(self):
        raise OSError(
            "`AutoModelForMaskedLMWithCritic` must be used by its method: write "
            "`AutoModelForMaskedLMWithCritic.from_pretrained(folder)`."
        )

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = None) -> None:
        """Nothing is left to do: every folder names this class."""

    @classmethod
    def from_pretrained(
        cls,
        pretrained_model_name_or_path: str | os.PathLike,
        *model_args,
        base_model: str | os.PathLike | PreTrainedModel | None = None,
        **kwargs,
    ) -> PreTrainedModel:
        """
        Args:
            pretrained_model_name_or_path (`str` or `os.PathLike`): Folder or hub name.
            base_model (`str`, `os.PathLike` or [`~transformers.PreTrainedModel`], *optional*): For a critic's folder:
                the model it belongs to, where that does not lie where it did.
            model_args, kwargs: As for `AutoModelForMaskedLM.from_pretrained`.

        Returns:
            [`~transformers.PreTrainedModel`]: With `critic_head`, `generate`, `proofread` and `calibration`.

        Raises:
            `OSError`: There is no such folder.
            `ValueError`: It has no critic, or names a model whose weights are others by now.
        """
        try:
            return cls._load(pretrained_model_name_or_path, model_args, base_model, kwargs)
        except (OSError, ValueError) as error:
            if "_from_pipeline" not in kwargs:
                raise
            return Refused(error)

    @classmethod
    def _load(cls, pretrained_model_name_or_path: Any, model_args: tuple, base_model: Any, kwargs: dict) -> Any:
        path, location = os.fspath(pretrained_model_name_or_path), location_of(kwargs)
        look_at_folder(path, **location)
        content = read_critic_config(path, **location)
        if content is not None:
            return _load_critic_folder(path, content, base_model, location, kwargs)
        if base_model is not None:
            raise ValueError(
                f"`base_model` is for a critic's folder, got {base_model!r:.60} for {path!r}, which holds its weights "
                "itself: leave it out."
            )
        if _is_adapter(path, location):  # of CriticGPT, which its weights lead to
            return AutoModelForMaskedLM.from_pretrained(path, *model_args, **kwargs)
        config = kwargs.get("config") or AutoConfig.from_pretrained(path, **_for_config(kwargs, location))
        described = getattr(config, DESCRIPTION, None) is not None
        stock = _stock_class(config, path, location, kwargs) if described else None
        if stock is None or hasattr(stock, "critic_scores"):
            loaded = AutoModelForMaskedLM.from_pretrained(path, *model_args, **kwargs)
            model, _ = _model_and_info(loaded)
            if not hasattr(model, "critic_scores"):
                raise ValueError(
                    f"`pretrained_model_name_or_path` must be a model with a critic, got {path!r}, a "
                    f"{type(model).__name__}: give it one with `get_critic_model`."
                )
            return loaded
        asked = _for_config(kwargs, location)
        kwargs = {name: value for name, value in kwargs.items() if name not in ("code_revision", "trust_remote_code")}
        loaded = critic_class(stock).from_pretrained(path, *model_args, **{**kwargs, "config": config})
        model, _ = _model_and_info(loaded)
        code = getattr(config, CODE, None)
        if code is not None and code["earlier"]:
            set_positions(model)
            setattr(model, EARLIER_CODE, True)
        model.__dict__["_critic_tokenizer"] = tokenizer_beside(path, **asked)
        return loaded


def _model_and_info(loaded: Any) -> tuple[PreTrainedModel, dict[str, Any] | None]:
    """What `from_pretrained` gives: a model, and with `output_loading_info=True` what was missing in its file."""
    return loaded if isinstance(loaded, tuple) else (loaded, None)


def _for_config(kwargs: dict[str, Any], location: dict[str, Any]) -> dict[str, Any]:
    return {**location, **{name: kwargs[name] for name in ("trust_remote_code", "code_revision") if name in kwargs}}


def _is_adapter(path: str, location: dict[str, Any]) -> bool:
    """Whether a folder holds an adapter of PEFT, and no configuration of a model."""
    return not os.path.isfile(os.path.join(path, "config.json")) and bool(_adapter_config(path, location))


def _adapter_config(path: str, location: dict[str, Any]) -> str | None:
    """The configuration of an adapter of PEFT in a folder, where there is one."""
    known = {name: value for name, value in location.items() if name in ("revision", "token")}
    return find_adapter_config_file(path, **known)


def _stock_class(config: Any, path: str, location: dict[str, Any], kwargs: dict[str, Any]) -> type[PreTrainedModel]:
    """The class that a configuration belongs to: of Transformers, or by the code that it names and that is trusted."""
    code = getattr(config, CODE, None)
    if code is not None:
        if kwargs.get("trust_remote_code") is not True:
            raise ValueError(
                f"`trust_remote_code` must be True for {path!r}, whose model is made by the code in "
                f"{code['model']!r}, got {kwargs.get('trust_remote_code')!r:.60}: read that code, then pass it."
            )
        where = {name: value for name, value in location.items() if name not in ("revision", "subfolder")}
        load = earlier_class if code["earlier"] else _class_by_code
        return load(config, path, code["model"], **where)
    kind = next((one for one in type(config).__mro__ if one in MODEL_FOR_MASKED_LM_MAPPING), None)
    if kind is None:
        raise ValueError(
            f"`config` must be that of a masked language model of Transformers, got the type {config.model_type!r}: "
            "load the model itself and give it the critic's folder (`base_model=`)."
        )
    found = MODEL_FOR_MASKED_LM_MAPPING[kind]
    found = found[0] if isinstance(found, tuple) else found
    saved = [name.removesuffix(CLASS_SUFFIX) for name in config.architectures or () if name.endswith(CLASS_SUFFIX)]
    if not saved or found.__name__ in saved:
        return found
    other = getattr(transformers, saved[0], None)
    if not (isinstance(other, type) and issubclass(other, PreTrainedModel)):
        raise ValueError(
            f"`architectures` must name a class that Transformers has, got {saved[0]!r} in {path!r}: load it by the "
            f"class that is made of your own, `critic_class({saved[0]}).from_pretrained(...)`."
        )
    return other


def _class_by_code(config: Any, path: str, reference: str, **where: Any) -> type[PreTrainedModel]:
    return get_class_from_dynamic_module(reference, path, **where)


def _load_critic_folder(
    path: str,
    content: dict[str, Any],
    base_model: str | os.PathLike | PreTrainedModel | None,
    location: dict[str, Any],
    kwargs: dict[str, Any],
) -> Any:
    info = None
    if base_model is not None and not isinstance(base_model, (str, os.PathLike)):
        check_takes_critic("base_model", base_model)
        model = base_model
    else:
        name = content["base_model_name_or_path"] if base_model is None else os.fspath(base_model)
        revision = content.get("revision") if base_model is None and not os.path.isdir(name) else None
        of_base = {key: value for key, value in kwargs.items() if key not in (*_PASSED_BY, "revision")}
        wanted = getattr(transformers, content["auto_class"], AutoModelForMaskedLM).from_pretrained
        if content.get("earlier_code"):
            wanted = load_with_earlier_code
        try:
            if os.path.isabs(name) and not os.path.isdir(name):
                raise OSError("there is no such folder")
            loaded = wanted(name, revision=revision, **of_base)
        except OSError as error:
            raise ValueError(
                f"`base_model` must be the model that the critic was trained on, got {name!r}, which did not load "
                f"({' '.join(str(error).split()).rstrip('.'):.200}): pass `base_model=` with the folder or hub name "
                "it has now."
            ) from error
        model, info = _model_and_info(loaded)
    name = model.name_or_path
    check_class(model, content, name)
    check_widths(model, content, name)
    write_into_config(model.config, content)
    attach_critic(model, CriticConfig.from_dict(content["critic"]))
    check_base(model, content, name)
    model.load_critic_head(path, **location)
    tokenizer = tokenizer_beside(path, **_for_config(kwargs, location))
    model.remember_base(tokenizer, content)
    model.adjust_generation_fn(None, False, None, path, **location)
    if _adapter_config(path, location):
        model.load_adapter(path)
    else:
        model.load_calibration(path, **location)
    model.eval()
    return model if info is None else (model, info)


__all__ = ["AutoModelForMaskedLMWithCritic"]
