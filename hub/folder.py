# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What makes a model's folder complete: the classes and pipelines it offers, and the source files they stand in.

Whoever writes a `config.json` writes these files beside it, so that the folder loads where this package is not
installed (`trust_remote_code=True`), whatever wrote it, and can be saved again from there.

The package has rooms, a model's folder has none: the loader of Transformers follows `from .sibling import name` only.
So every import of ours is absolute, `from critic_gpt.room.module import name`, and becomes `from .room_module import
name` on its way into a folder, line by line, so that a traceback points to the same line in both.
"""

import os
import re
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from transformers.dynamic_module_utils import get_relative_imports
from transformers.utils.hub import TRANSFORMERS_DYNAMIC_MODULE_NAME


# Arguments of `from_pretrained` that decide where files come from: what is loaded beside the weights is looked for
# where they are.
LOCATION_ARGUMENTS = ("subfolder", "revision", "token", "cache_dir", "local_files_only", "force_download")

# What a folder offers, one line each: a class, and the Auto class that loads it, or the task of a pipeline and the
# Auto class of its model. The form is that of an import although nothing is imported here: the loader of Transformers
# follows such lines in any text, so that with any one of the files all of them are fetched, the pipelines' included,
# and a model that came from the hub with somebody's token has everything at hand when it is saved again.
_OFFERS = """
from critic_gpt.configuration_critic_gpt import CriticGPTConfig  # AutoConfig
from critic_gpt.modeling_critic_gpt import CriticGPTModel  # AutoModel
from critic_gpt.modeling_critic_gpt import CriticGPTForMaskedLM  # AutoModelForMaskedLM
from critic_gpt.modeling_critic_gpt import CriticGPTForTokenClassification  # AutoModelForTokenClassification
from critic_gpt.modeling_critic_gpt import CriticGPTForSequenceClassification  # AutoModelForSequenceClassification
from critic_gpt.pipelines.critic_diffusion import CriticDiffusionPipeline  # critic-diffusion with AutoModelForMaskedLM
from critic_gpt.pipelines.critic_proofread import CriticProofreadPipeline  # critic-proofread with AutoModelForMaskedLM
"""
# In the package the lines begin as above, in a model's folder `from .`.
_OFFER = r"from (?:critic_gpt)?\.([\w.]+) import (\w+)  # (\S+)(?: with (\w+))?"
_OURS = re.compile(r"^(\s*from )critic_gpt\.([\w.]+)(?= import)", re.MULTILINE)


def folder_name(module: str) -> str:
    """
    What a module is called in a model's folder, where all files lie side by side.

    Args:
        module (`str`): Its name within the package, such as `"generation.run"`; a pipeline's room is left out.
    """
    return module.removeprefix("pipelines.").replace(".", "_")


def flattened(text: str) -> str:
    """The text of a module with the imports that it has in a model's folder; as many lines as before."""
    return _OURS.sub(lambda match: f"{match[1]}.{folder_name(match[2])}", text)


# As in config.json: Auto class -> "module.Class".
AUTO_MAP = {
    name: f"{folder_name(module)}.{cls}" for module, cls, name, model in re.findall(_OFFER, _OFFERS) if not model
}
# As in config.json: task -> "module.Class" of the pipeline and the Auto classes of its model.
PIPELINES = {
    task: {"impl": f"{folder_name(module)}.{cls}", "pt": [model], "type": "text"}
    for module, cls, task, model in re.findall(_OFFER, _OFFERS)
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


def location_of(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Those arguments of a `from_pretrained` call that say where files come from, as far as they are set."""
    return {name: kwargs[name] for name in LOCATION_ARGUMENTS if kwargs.get(name) is not None}


def source_files() -> dict[str, str]:
    """
    The files that every model's folder holds, beginning with this one: all that their texts import, in any form.

    Returns:
        `dict[str, str]`: their texts by their names.
    """
    here = Path(__file__)
    found: dict[str, str] = {}
    if is_remote_code():  # side by side already
        todo = [here.stem]
        while todo:
            name = todo.pop()
            if f"{name}.py" not in found:
                path = here.with_name(f"{name}.py")
                found[path.name] = path.read_text(encoding="utf-8")
                todo += get_relative_imports(path)
        return found
    todo = [__name__.partition(".")[2]]
    while todo:
        module = todo.pop()
        name = f"{folder_name(module)}.py"
        if name not in found:
            path = here.parent.parent.joinpath(*module.split(".")).with_suffix(".py")
            text = path.read_text(encoding="utf-8")
            found[name] = flattened(text)
            todo += [imported for _, imported in _OURS.findall(text)]
    return found


def write_source_files(folder: str | os.PathLike) -> list[str]:
    """
    Puts the source files into a model's folder. Each is replaced in one step, since several processes may save at the
    same time.

    Args:
        folder (`str` or `os.PathLike`): Where `config.json` is.

    Returns:
        `list[str]`: Their names.

    Raises:
        `OSError`: A file cannot be read or written.
    """
    files = source_files()
    for name, text in files.items():
        target = Path(folder, name)
        if target.exists() and target.read_text(encoding="utf-8") == text:
            continue
        # The underscore keeps what a killed writer leaves behind from being pushed by the Trainer.
        temporary = target.with_name(f"_{name}.{uuid.uuid4().hex}.tmp")
        try:
            temporary.write_text(text, encoding="utf-8")
            os.replace(temporary, target)
        finally:
            temporary.unlink(missing_ok=True)
    return list(files)


class NamedInEveryFolder:
    """For classes that every `auto_map` names anyway. Stands before the class whose registration it refines."""

    @classmethod
    def register_for_auto_class(cls, *args, **kwargs):
        """
        As the parent's for a subclass that stands in a file of its own. For ours nothing is left to register, and the
        parent would have their files copied a second time, by rules that do not know the folder of the pipelines.
        """
        # All of the package is ours, and all that lies beside this file in a model's folder.
        ours = __name__.rpartition(".")[0] if is_remote_code() else __name__.partition(".")[0]
        if not cls.__module__.startswith(f"{ours}."):
            super().register_for_auto_class(*args, **kwargs)
