# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Configuration of generation: how a masked diffusion model with a critic fills its masks."""

import difflib
import os
import textwrap
from typing import Any

from transformers.generation import GenerationConfig
from transformers.utils import logging

from critic_gpt.generation.declarations import SETTINGS
from critic_gpt.generation.strategies.registry import STRATEGIES
from critic_gpt.generation.values import Setting, default_in_words
from critic_gpt.hub.documents import read_object
from critic_gpt.hub.files import replace_file


logger = logging.get_logger(__name__)

# Arguments of Transformers' own `generate`, and what does the same here.
ELSEWHERE = {
    "do_sample": "`temperature=0` takes the likeliest token.",
    "max_length": "`max_new_tokens` says how many tokens are added.",
    "num_beams": "`num_candidates` keeps the best of several.",
    "num_return_sequences": "repeat the rows of `input_ids`, or keep the best of `num_candidates`.",
    "use_cache": "`cache_implementation` says which keys and values are kept.",
    "min_p": "put a `MinPLogitsWarper` into `logits_processor`.",
    "typical_p": "put a `TypicalLogitsWarper` into `logits_processor`.",
    "repetition_penalty": "put a `RepetitionPenaltyLogitsProcessor` into `logits_processor`.",
    "suppress_tokens": "put a `SuppressTokensLogitsProcessor` into `logits_processor`.",
    "bad_words_ids": "put a `NoBadWordsLogitsProcessor` into `logits_processor`.",
    "max_time": "put a `MaxTimeCriteria` into `stopping_criteria`.",
    "stop_strings": "put a `StopStringCriteria` into `stopping_criteria`.",
}


def _argument(setting: Setting) -> str:
    """What the docstring says of a setting."""
    default = default_in_words(setting, STRATEGIES)
    head = f"{setting.name} ({setting.values.types}, *optional*{f', {default}' if default else ''}): "
    text = setting.details or f"{setting.summary[0].upper()}{setting.summary[1:]}."
    if setting.values.types == "`float`":
        words = setting.values.words()
        text += f" {words[0].upper()}{words[1:]}."
    indents: dict[str, Any] = {"initial_indent": "    " * 2, "subsequent_indent": "    " * 3}
    return textwrap.fill(head + text, 119, break_on_hyphens=False, break_long_words=False, **indents)


class CriticGPTGenerationConfig(GenerationConfig):
    __doc__ = f"""
    How a masked diffusion model generates. A field left at `None` takes the default named here. Which strategies take
    which fields stands in docs/GENERATION.md.

    Args:
{chr(10).join(_argument(setting) for setting in SETTINGS.values())}
    """

    # A view: what a strategy from outside declares is there too.
    _FIELDS = SETTINGS.keys()

    def __init__(self, **kwargs):
        # The parent's constructor is left out on purpose: most of its fields mean nothing here.
        for name in self._FIELDS:
            setattr(self, name, kwargs.pop(name, None))
        self._commit_hash = kwargs.pop("_commit_hash", None)
        self._from_model_config = kwargs.pop("_from_model_config", None)
        self.transformers_version = kwargs.pop("transformers_version", None)
        self.refuse_unknown(kwargs)
        self.validate()

    @classmethod
    def refuse_unknown(cls, kwargs: dict, also: tuple[str, ...] = ()) -> None:
        """Raises a `ValueError` that names the nearest of our fields and of what is known `also`."""
        for name in kwargs:
            raise ValueError(cls._unknown(name, kwargs[name], also))

    @classmethod
    def _unknown(cls, name: str, value: Any, also: tuple[str, ...] = ()) -> str:
        got = " ".join(repr(value).split())[:80]  # of a tensor several lines
        if name in ELSEWHERE:
            return f"`{name}` is not an argument of generation, got {got}: {ELSEWHERE[name]}"
        near = difflib.get_close_matches(name, (*cls._FIELDS, *also), n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(cls._FIELDS)}."
        return f"`{name}` is not an argument of generation, got {got}: {hint}"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs) -> "CriticGPTGenerationConfig":
        """As the parent's; what a stored file holds beyond our fields is named in a warning and left out."""
        known = {}
        for name, value in config_dict.items():
            if name in cls._FIELDS or name in ("_commit_hash", "_from_model_config", "transformers_version"):
                known[name] = value
            elif value is not None:
                logger.warning(cls._unknown(name, value))
        return super().from_dict(known, **kwargs)

    @classmethod
    def _dict_from_json_file(cls, json_file: str | os.PathLike) -> dict[str, Any]:
        """As the parent's, of bounded size and depth; a damaged file is refused and not taken for a missing one."""
        return read_object(json_file)

    def to_json_file(self, json_file_path: str | os.PathLike, *args, **kwargs) -> None:
        """As the parent's, in one step."""
        replace_file(json_file_path, self.to_json_string(*args, **kwargs))

    def to_dict(self) -> dict[str, Any]:
        """As the parent's; a schedule that is a function is written by its name, to be looked at only."""
        output = super().to_dict()
        if callable(output["schedule"]):
            output["schedule"] = repr(output["schedule"])
        return output

    @staticmethod
    def _get_default_generation_params() -> dict[str, Any]:
        # What depends on the strategy stands there.
        return {name: setting.default for name, setting in SETTINGS.items() if setting.default is not None}

    def validate(self, strict: bool = False, **unused):
        """
        Checks every field that is set; raises a `ValueError` that names field, rule and value. `strict` is what the
        parent asks for before it saves.
        """
        if strict and callable(self.schedule):
            raise ValueError(
                f"`schedule` must be a name or a list to be saved, got {self.schedule!r}: write a list of ratios, or "
                "give the function to each call."
            )
        for name, setting in SETTINGS.items():
            setting.check(getattr(self, name))
        for name, setting in SETTINGS.items():
            if setting.clash is not None:
                mine, other = getattr(self, name), getattr(self, setting.clash.other)
                if None not in (mine, other) and setting.clash.clashes(mine, other):
                    raise ValueError(setting.clash.message.format(mine=mine, other=other))

    def __getattr__(self, name: str) -> Any:
        # Of a setting that was declared after this configuration was made.
        if name in SETTINGS:
            return None
        raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")

    def get_generation_mode(self, *args, **kwargs):
        raise NotImplementedError("`get_generation_mode` has no meaning for masked diffusion.")

    @classmethod
    def from_model_config(cls, *args, **kwargs):
        # Transformers then builds the plain configuration, which is what we want.
        raise NotImplementedError("`from_model_config` has no meaning for masked diffusion.")


__all__ = ["CriticGPTGenerationConfig"]
