# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What makes a model's folder complete: the classes and pipelines it offers, and the source files they stand in.

Whoever writes a `config.json` writes these files beside it, so that the folder loads where this package is not
installed (`trust_remote_code=True`), whatever wrote it, and can be saved again from there.
"""

import os
import re
import shutil
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_imports
from transformers.utils.hub import TRANSFORMERS_DYNAMIC_MODULE_NAME


# What a folder offers, one line each: a class, and the Auto class that loads it, or the task of a pipeline and the
# Auto class of its model. The form is that of an import although nothing is imported here: the loader of Transformers
# follows such lines in any text, so that with any one of the files all of them are fetched, the pipelines' included,
# and a model that came from the hub with somebody's token has everything at hand when it is saved again.
_OFFERS = """
    from .configuration_critic_gpt import CriticGPTConfig  # AutoConfig
    from .modeling_critic_gpt import CriticGPTModel  # AutoModel
    from .modeling_critic_gpt import CriticGPTForMaskedLM  # AutoModelForMaskedLM
    from .modeling_critic_gpt import CriticGPTForTokenClassification  # AutoModelForTokenClassification
    from .modeling_critic_gpt import CriticGPTForSequenceClassification  # AutoModelForSequenceClassification
    from .critic_diffusion import CriticDiffusionPipeline  # critic-diffusion with AutoModelForMaskedLM
    from .critic_proofread import CriticProofreadPipeline  # critic-proofread with AutoModelForMaskedLM
"""
_OFFER = r"from \.(\w+) import (\w+)  # (\S+)(?: with (\w+))?"

# As in config.json: Auto class -> "module.Class".
AUTO_MAP = {name: f"{file}.{cls}" for file, cls, name, model in re.findall(_OFFER, _OFFERS) if not model}
# As in config.json: task -> "module.Class" of the pipeline and the Auto classes of its model.
PIPELINES = {
    task: {"impl": f"{file}.{cls}", "pt": [model], "type": "text"}
    for file, cls, task, model in re.findall(_OFFER, _OFFERS)
    if model
}


def is_remote_code() -> bool:
    """Whether this code was loaded from a model's folder, and not from the installed package."""
    return __name__.split(".")[0] == TRANSFORMERS_DYNAMIC_MODULE_NAME


def complete_auto_map(present: Mapping[str, Any] | None) -> dict[str, Any]:
    """The whole `auto_map`: ours, under what others registered for classes of their own."""
    own = {reference.rpartition(".")[2] for reference in AUTO_MAP.values()}
    others = {name: ref for name, ref in (present or {}).items() if str(ref).rpartition(".")[2] not in own}
    return {**AUTO_MAP, **others}


def complete_pipelines(present: Mapping[str, Any] | None) -> dict[str, Any]:
    """The whole `custom_pipelines`: all of ours, whichever task wrote the folder, and those of others."""
    return {**(present or {}), **{task: dict(info) for task, info in PIPELINES.items()}}


def other_pipelines(present: Mapping[str, Any] | None) -> dict[str, Any]:
    """Of `custom_pipelines` those of others: ours are registered where the package is, and need no trust there."""
    return {task: info for task, info in (present or {}).items() if task not in PIPELINES}


def source_files() -> list[Path]:
    """The files that every model's folder holds, beginning with this one: all that their texts import, in any form."""
    folder = Path(__file__).parent
    found: dict[str, Path] = {}
    todo = [Path(__file__).stem]
    while todo:
        name = todo.pop()
        if name not in found:
            path = folder / f"{name}.py"
            # In the package the pipelines have a folder of their own, in a model's folder all files lie side by side.
            found[name] = path if path.exists() else folder / "pipelines" / path.name
            todo += get_relative_imports(found[name])
    return list(found.values())


def write_source_files(folder: str | os.PathLike) -> list[str]:
    """
    Puts copies of the source files into a model's folder. Each is replaced in one step, since several processes may
    save at the same time.

    Args:
        folder (`str` or `os.PathLike`): Where `config.json` is.

    Returns:
        `list[str]`: Their names.

    Raises:
        `OSError`: A file cannot be read or written.
    """
    names = []
    for source in source_files():
        target = Path(folder, source.name)
        if not (target.exists() and target.samefile(source)):
            # The underscore keeps what a killed writer leaves behind from being pushed by the Trainer.
            temporary = target.with_name(f"_{source.name}.{uuid.uuid4().hex}.tmp")
            try:
                shutil.copyfile(source, temporary)
                os.replace(temporary, target)
            finally:
                temporary.unlink(missing_ok=True)
        names.append(source.name)
    return names


class NamedInEveryFolder:
    """For classes that every `auto_map` names anyway. Stands before the class whose registration it refines."""

    @classmethod
    def register_for_auto_class(cls, *args, **kwargs):
        """
        As the parent's for a subclass that stands in a file of its own. For ours nothing is left to register, and the
        parent would have their files copied a second time, by rules that do not know the folder of the pipelines.
        """
        if cls.__module__.rpartition(".")[0] != __name__.rpartition(".")[0]:
            super().register_for_auto_class(*args, **kwargs)
