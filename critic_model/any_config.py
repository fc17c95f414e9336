# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How a folder of somebody else's model with a critic offers its pipelines where this package is not installed."""

import os
from typing import Any

from transformers import CONFIG_MAPPING, PreTrainedConfig

from critic_gpt.hub.folder import complete_pipelines


class AnyConfigWithCritic:
    """
    Loads the configuration of a model with a critic by the class that Transformers has for it. Only code that came
    with a folder, and is trusted, asks for it: it learns here of the pipelines too.
    """

    @classmethod
    def register_for_auto_class(cls, auto_class: Any = None) -> None:
        """Nothing is left to do: the folder names this class."""

    @classmethod
    def from_pretrained(cls, pretrained_model_name_or_path: str | os.PathLike, **kwargs) -> Any:
        """As that of the configuration's own class."""
        content = PreTrainedConfig.get_config_dict(pretrained_model_name_or_path, **kwargs)[0]
        kind = content.get("model_type")
        if kind not in CONFIG_MAPPING:
            raise ValueError(
                f"`model_type` must be one that Transformers knows, got {kind!r} in "
                f"{os.fspath(pretrained_model_name_or_path)!r}: install critic_gpt to load it."
            )
        loaded = CONFIG_MAPPING[kind].from_pretrained(pretrained_model_name_or_path, **kwargs)
        config = loaded[0] if isinstance(loaded, tuple) else loaded
        config.custom_pipelines = complete_pipelines(None)
        return loaded
