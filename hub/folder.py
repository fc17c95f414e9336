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
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from transformers.utils.hub import TRANSFORMERS_DYNAMIC_MODULE_NAME

from critic_gpt.hub.files import replace_file


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
# What the folder of somebody else's model with a critic offers: its configuration stays of its own class, and its
# pipelines are learnt of where that is loaded.
_OFFERS_OF_ANY_MODEL = """
from critic_gpt.critic_model.any_config import AnyConfigWithCritic  # AutoConfig
from critic_gpt.critic_model.auto import AutoModelForMaskedLMWithCritic  # AutoModelForMaskedLM
"""
# In the package the lines begin as above, in a model's folder with `from .`.
_OFFER = r"from (?:critic_gpt)?\.([\w.]+) import (\w+)  # (\S+)(?: with (\w+))?"
# The one form of an import of ours, and what it becomes in a model's folder, as the loader of Transformers reads it.
_IMPORT = re.compile(r"^(\s*from )critic_gpt\.([\w.]+)(?= import )", re.MULTILINE)
_SIBLING = re.compile(r"^\s*from\s+\.(\S+)\s+import", re.MULTILINE)
# The first line of every file of ours, here and in a model's folder.
_OWNERS = "# Copyright 2026 the critic_gpt developers."


def folder_name(module: str) -> str:
    """
    What a module is called in a model's folder, where all files lie side by side.

    Args:
        module (`str`): Its name within the package, such as `"generation.run"`; the room `pipelines` is left out.
    """
    return module.removeprefix("pipelines.").replace(".", "_")


def flattened(text: str) -> str:
    """The text of a module, of as many lines, with the imports that it has in a model's folder."""
    return _IMPORT.sub(lambda match: f"{match[1]}.{folder_name(match[2])}", text)


def _auto_map(offers: str) -> dict[str, str]:
    """As in config.json: Auto class -> "module.Class"."""
    found = re.findall(_OFFER, offers)
    return {name: f"{folder_name(module)}.{cls}" for module, cls, name, model in found if not model}


AUTO_MAP = _auto_map(_OFFERS)
ANY_MODEL_AUTO_MAP = _auto_map(_OFFERS_OF_ANY_MODEL)
# As in config.json: task -> "module.Class" of the pipeline and the Auto classes of its model.
PIPELINES: dict[str, dict[str, Any]] = {
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


def _closure(
    modules: Iterable[str], text_of: Callable[[str], str | None], imported: Callable[[str], Iterable[str]]
) -> dict[str, str]:
    """Texts by module: of these and of all that they import, but for those that `text_of` does not find."""
    found: dict[str, str] = {}
    todo = list(modules)
    while todo:
        module = todo.pop()
        if module not in found and (text := text_of(module)) is not None:
            found[module] = text
            todo += imported(text)
    return found


def source_files() -> dict[str, str]:
    """
    The files that every model's folder holds: this one and all that it imports, in code or in text.

    Returns:
        `dict[str, str]`: Their texts by their names.

    Raises:
        `OSError`: A file cannot be read.
    """
    here = Path(__file__)
    if is_remote_code():  # side by side already
        found = _closure([here.stem], lambda name: _read(here.with_name(f"{name}.py")), _SIBLING.findall)
        return {f"{name}.py": text for name, text in found.items()}
    root = here.parent.parent
    found = _closure(
        [__name__.partition(".")[2]],
        lambda module: _read(root.joinpath(*module.split(".")).with_suffix(".py")),
        lambda text: [module for _, module in _IMPORT.findall(text)],
    )
    return {f"{folder_name(module)}.py": flattened(text) for module, text in found.items()}


def write_source_files(folder: str | os.PathLike) -> list[str]:
    """
    Puts the source files into a model's folder. Each is replaced in one step, since several processes may save at the
    same time. Where files of an earlier version lie there, those that nothing imports any more go away.

    Args:
        folder (`str` or `os.PathLike`): Where `config.json` is.

    Returns:
        `list[str]`: Their names.

    Raises:
        `OSError`: A file cannot be read or written.
    """
    folder, files = Path(folder), source_files()
    present = {name: _read(folder / name) for name in files if (folder / name).is_file()}
    changed = {name: text for name, text in files.items() if present.get(name) != text}
    earlier = _brought_by(folder, present) if changed.keys() & present.keys() else {}
    for name, text in changed.items():
        replace_file(folder / name, text)
    _remove_left_over(folder, earlier.keys() - files.keys(), earlier)
    return list(files)


def _read(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def _brought_by(folder: Path, names: Iterable[str]) -> dict[str, str]:
    """Texts by name: of files in a folder, and of all there that they import."""

    def text_of(module: str) -> str | None:
        try:
            return _read(folder / f"{module}.py")
        except FileNotFoundError:  # somebody's mistake, or just removed by another process
            return None

    found = _closure([name.removesuffix(".py") for name in names], text_of, _SIBLING.findall)
    return {f"{module}.py": text for module, text in found.items()}


def _remove_left_over(folder: Path, names: Iterable[str], texts: Mapping[str, str]) -> None:
    """
    Removes those files that nothing in the folder imports any more. What does not begin as our files do is somebody
    else's and stays.
    """
    left_over = {name for name in names if texts[name].startswith(_OWNERS)}
    if left_over:
        others = [path.name for path in folder.glob("*.py") if path.name not in left_over]
        for name in left_over - _brought_by(folder, others).keys():
            (folder / name).unlink(missing_ok=True)


def _is_offered(cls: type) -> bool:
    """Whether every `auto_map` names this very class, in whichever file it is written."""
    package = __name__.rpartition(".")[0] if is_remote_code() else __name__.partition(".")[0]
    places = (reference.rpartition(".") for reference in AUTO_MAP.values())
    return any(getattr(sys.modules.get(f"{package}.{home}"), name, None) is cls for home, _, name in places)


class NamedInEveryFolder:
    """For classes that every `auto_map` names anyway. Stands before the class whose registration it refines."""

    @classmethod
    def register_for_auto_class(cls, *args, **kwargs):
        """
        As the parent's for a subclass in a file of its own, also one that lies beside ours in a model's folder. For
        ours nothing is left to register, and the parent would copy their files as they stand in the package.
        """
        if not _is_offered(cls):
            super().register_for_auto_class(*args, **kwargs)  # type: ignore[misc]
