# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Loads models whose repositories bring code that was written for Transformers 4, such as LLaDA and Dream.

What is mended changes no number: arguments and attributes that Transformers has asked for since, and the positions,
which Transformers 5 would leave unset in silence. The code itself stays where it is, and is run as it is.
"""

import functools
import inspect
import os
import sys
from typing import Any

import torch
from transformers import AutoConfig, PreTrainedConfig, PreTrainedModel
from transformers.dynamic_module_utils import TRANSFORMERS_DYNAMIC_MODULE_NAME, get_class_from_dynamic_module


# Set on a model that was loaded here, so that a critic's folder tells how to load it again.
EARLIER_CODE = "_critic_earlier_code"
# Under this name a configuration tells where the code of its model lies, if that is not Transformers' own.
CODE = "critic_code"
# What of a repository's code makes the model, the fittest first.
_MAKERS = ("AutoModelForMaskedLM", "AutoModel", "AutoModelForCausalLM")
_WHERE = ("cache_dir", "force_download", "local_files_only", "proxies", "revision", "subfolder", "token")
_ROPE = "ROPE_INIT_FUNCTIONS"


def load_with_earlier_code(
    pretrained_model_name_or_path: str | os.PathLike, *, trust_remote_code: bool = False, **kwargs: Any
) -> PreTrainedModel:
    """
    Loads a masked language model by code of its own that was written for Transformers 4, mended where Transformers 5
    would refuse it or leave numbers unset.

    Args:
        pretrained_model_name_or_path (`str` or `os.PathLike`): Folder or hub name of a model with code.
        trust_remote_code (`bool`, *optional*, defaults to `False`): Must be `True`: this runs the repository's code.
        kwargs: As for `AutoModel.from_pretrained`.

    Returns:
        [`~transformers.PreTrainedModel`]: In evaluation mode, for [`get_critic_model`].

    Raises:
        `ValueError`: The code is not trusted, there is none, or it holds numbers that nobody here can set.

    Example:

    ```python
    >>> model = load_with_earlier_code("GSAI-ML/LLaDA-8B-Base", trust_remote_code=True, dtype=torch.bfloat16)
    >>> model = get_critic_model(model, CriticConfig(freeze=True), tokenizer=tokenizer)
    ```
    """
    name = os.fspath(pretrained_model_name_or_path)
    if trust_remote_code is not True:
        raise ValueError(
            f"`trust_remote_code` must be True to run the code that comes with a model, got {trust_remote_code!r:.60} "
            f"for {name!r}: read that code, then pass it."
        )
    where = {key: kwargs[key] for key in _WHERE if kwargs.get(key) is not None}
    code_revision = kwargs.pop("code_revision", None)
    config = kwargs.pop("config", None)
    if config is None:
        asked = {"trust_remote_code": trust_remote_code, "code_revision": code_revision}
        config = AutoConfig.from_pretrained(name, **asked, **where)
    maker = earlier_class(config, name, code_revision=code_revision, **where)
    model = maker.from_pretrained(name, config=config, **kwargs)
    if isinstance(model, tuple):
        raise ValueError("`output_loading_info` must be False here, got True: leave it out.")
    set_positions(model)
    setattr(model, EARLIER_CODE, True)
    return model.eval()


def earlier_class(config: PreTrainedConfig, name: str, reference: str | None = None, **where: Any) -> Any:
    """
    The class that a repository's code makes models of, mended, and the configuration with it, in place.

    Args:
        config ([`~transformers.PreTrainedConfig`]): As the repository's code loads it.
        name (`str`): Folder or hub name.
        reference (`str`, *optional*): `"module.Class"` in the repository; by default what `auto_map` names.
        where: As for `get_class_from_dynamic_module`.

    Raises:
        `ValueError`: There is no such code.
    """
    offered = getattr(config, "auto_map", None) or {}
    reference = reference or next((offered[maker] for maker in _MAKERS if maker in offered), None)
    if reference is None:
        raise ValueError(
            f"`pretrained_model_name_or_path` must be a model with code of its own, got {name!r}, whose `auto_map` "
            f"names no {' or '.join(_MAKERS)}: load it with AutoModelForMaskedLM."
        )
    maker = get_class_from_dynamic_module(reference, name, **where)
    _mend_configuration(config)
    _mend_class(maker)
    return maker


def _mend_configuration(config: PreTrainedConfig) -> None:
    """Sets what the code reads and Transformers 5 no longer keeps: a pass that sees both sides keeps no cache."""
    kind: Any = type(config)
    kind.use_cache = False  # where an attempt to save it takes the field away
    config.use_cache = False


def _mend_class(maker: Any) -> None:
    """Gives a class what Transformers 5 asks of every model, in place, once."""
    own = maker.tie_weights
    if not {"missing_keys", "recompute_mapping"} <= inspect.signature(own).parameters.keys():

        @functools.wraps(own)
        def tie_weights(self, *args, missing_keys=None, recompute_mapping=True, **kwargs):
            return own(self, *args, **kwargs)

        # What `inspect` sees is the new signature, so that nothing is wrapped twice.
        del tie_weights.__wrapped__
        maker.tie_weights = tie_weights
    if not hasattr(maker, "all_tied_weights_keys"):  # set by `post_init`, which earlier code need not call
        maker.all_tied_weights_keys = {}
    for cls in maker.__mro__:
        if cls.__module__.startswith(TRANSFORMERS_DYNAMIC_MODULE_NAME) and "from_pretrained" in cls.__dict__:
            del cls.from_pretrained  # which sets up a way of generating that is not used here
        tied = cls.__dict__.get("_tied_weights_keys")
        if isinstance(tied, (list, tuple, set)):
            _mend_tied_names(cls, list(tied))
        module = sys.modules.get(cls.__module__)
        known = getattr(module, _ROPE, None)
        if isinstance(known, dict) and "default" not in known:  # for this module alone
            setattr(module, _ROPE, {**known, "default": default_rope})


def _mend_tied_names(cls: Any, names: list[str]) -> None:
    """Says what names are tied to, which went without saying in Transformers 4: the embeddings of the input."""
    own = cls.post_init
    cls._tied_weights_keys = None

    def post_init(self):
        if self.config.tie_word_embeddings:
            weight = self.get_input_embeddings().weight
            source = next(name for name, known in self.named_parameters() if known is weight)
            self._tied_weights_keys = dict.fromkeys(names, source)
        own(self)

    cls.post_init = post_init


def default_rope(
    config: PreTrainedConfig, device: Any = None, seq_len: int | None = None, **given: Any
) -> tuple[torch.Tensor, float]:
    """
    The frequencies of rotary positions that are not scaled, which Transformers 5 no longer has under a name.

    Args:
        config ([`~transformers.PreTrainedConfig`]): With `rope_theta`, and the size of a head.
        device (`torch.device`, *optional*): Where to.
        seq_len (`int`, *optional*): Means nothing here.
        given: `dim` and `base`, where the code passes these in the place of a configuration.
    """
    dim, base = given.get("dim"), given.get("base")
    if dim is None:
        dim = getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
        dim = int(dim * (getattr(config, "partial_rotary_factor", None) or 1.0))
    if base is None:
        base = getattr(config, "rope_theta", None) or config.rope_parameters["rope_theta"]
    places = torch.arange(0, dim, 2, dtype=torch.int64).to(device=device, dtype=torch.float)
    return 1.0 / (base ** (places / dim)), 1.0


def set_positions(model: PreTrainedModel) -> None:
    """
    Computes the buffers that are in no file. Transformers 5 makes a model without memory first, and so what its code
    computed then is lost.

    Args:
        model ([`~transformers.PreTrainedModel`]): Changed in place.

    Raises:
        `ValueError`: There are others than those of rotary positions, which would be chance numbers.
    """
    for path, module in model.named_modules():
        for name in sorted(module._non_persistent_buffers_set):
            buffer = getattr(module, name, None)
            if buffer is None:
                continue
            place = f"{path}.{name}".lstrip(".")
            if name != "inv_freq" or not callable(getattr(module, "rope_init_fn", None)):
                raise ValueError(
                    f"`pretrained_model_name_or_path` must be a model whose numbers lie in its files, got a "
                    f"{type(model).__name__} that computes `{place}`, which Transformers 5 leaves unset: mend "
                    "its code for Transformers 5."
                )
            found, module.attention_scaling = module.rope_init_fn(
                module.config, buffer.device, **getattr(module, "rope_kwargs", {})
            )
            module.register_buffer(name, found, persistent=False)
            if hasattr(module, "original_inv_freq"):
                module.original_inv_freq = found


__all__ = ["load_with_earlier_code"]
