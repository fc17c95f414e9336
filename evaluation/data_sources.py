# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Finds the data that somebody means: a folder, a name, a config file that names it, or a data set of the hub."""

import ast
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from transformers import PreTrainedTokenizerBase

from critic_gpt.tasks import TASK_FILE, load_prepared
from critic_gpt.tasks.prepared import repair_prepared
from critic_gpt.training.settings_files import SETTINGS_SUFFIXES, parse_settings


PACKAGE_FOLDER = Path(__file__).resolve().parent.parent
# Where a NAME is looked up below each root, in this order.
PLACES = ("{name}", "data/{name}", "runs/{name}", "runs/{name}/data")
CONFIG_KEYS = ("dataset", "data_dir")
CONFIG_SUFFIXES = (*SETTINGS_SUFFIXES, ".py")
# What folders of `datasets` hold: written by `save_to_disk`, or files that `load_dataset` reads.
_SAVED_FILES = ("dataset_dict.json", "state.json")
_DATA_SUFFIXES = (".parquet", ".jsonl", ".arrow", ".csv")
# Other names of a split, as people write them.
_SPLIT_NAMES = {"validation": ("validation", "val", "valid", "dev")}


class DataSource(NamedTuple):
    """Where data lies: `folder`, or `hub_name` if it is to be fetched; the other one is `None`."""

    folder: Path | None
    hub_name: str | None

    @property
    def name(self) -> str:
        """What to call it: the hub's name, or the folder's own without the path, which is a machine's matter."""
        return self.hub_name or self.folder.resolve().name


class LoadedSplit(NamedTuple):
    """One split (`dataset`, map-style); `tokenizer` and `task` are `None` unless the folder was prepared by us."""

    dataset: Any
    tokenizer: PreTrainedTokenizerBase | None
    task: Any


def resolve_dataset(name: str, roots: Sequence[str | Path] | None = None) -> DataSource:
    """
    Finds the data that `name` means. Reads configs, runs nothing, touches no network.

    Args:
        name (`str`): A folder, a name, a config file, or a hub name; `scripts/calibrate.py` says in which order.
        roots (sequence of paths, *optional*): Folders below which names are looked up; the working folder and the
            folder of this package by default.

    Returns:
        [`DataSource`].

    Raises:
        `ValueError`: Nothing there, or a config that does not name one data set in plain text.
    """
    roots = [Path.cwd(), PACKAGE_FOLDER] if roots is None else [Path(root) for root in roots]
    given = Path(name)
    if given.suffix in CONFIG_SUFFIXES and given.is_file():
        above = [given.resolve().parent, given.resolve().parent.parent]
        return _find(_named_by_config(given), [*roots, *above], f" (named by {name})")
    return _find(name, roots, "")


def _find(name: str, roots: Sequence[Path], origin: str) -> DataSource:
    """The first place that holds data, else the hub if the name could be one of its."""
    for root in roots:
        for place in PLACES if name else ():
            folder = root / place.format(name=name)  # an absolute name stays what it is
            if _holds_data(folder):
                return DataSource(folder, None)
    if not Path(name).exists() and re.fullmatch(r"[\w-][\w.-]*(/[\w-][\w.-]*)?", name):
        return DataSource(None, name)
    where = ", ".join(dict.fromkeys(str(root) for root in roots))
    raise ValueError(
        f"`dataset` must be a folder of data, its name or a config file, got {name!r}{origin}, where there is no data "
        f"(looked below {where}, also in data/ and runs/): prepare some with scripts/prepare_data.py."
    )


def _holds_data(folder: Path) -> bool:
    repair_prepared(folder)
    if not folder.is_dir():
        return False
    if any((folder / name).is_file() for name in (TASK_FILE, *_SAVED_FILES)):
        return True
    return any(path.suffix in _DATA_SUFFIXES for pattern in ("*", "*/*") for path in folder.glob(pattern))


def _named_by_config(path: Path) -> str:
    """The data set that a config file names."""
    try:
        if path.suffix == ".py":
            entries = _plain_assignments(path.read_text(encoding="utf-8"), CONFIG_KEYS)
        else:
            entries = parse_settings(path)
    except (SyntaxError, ValueError) as error:  # ValueError: broken settings, UTF-8, or null bytes
        reason = " ".join(str(error).split()).rstrip(".")
        raise ValueError(
            f"`dataset` must be a config file that parses, got {str(path)!r} ({reason}): mend it, or give the folder "
            "of the data."
        ) from error
    entries = entries if isinstance(entries, Mapping) else {}
    named = list(dict.fromkeys(str(entries[key]) for key in CONFIG_KEYS if isinstance(entries.get(key), str)))
    if len(named) != 1 or not named[0]:
        found = " and ".join(map(repr, named)) or "none"
        raise ValueError(
            f"`dataset` must be a config file that names one data set as plain text (`dataset` or `data_dir`), got "
            f"{str(path)!r} with {found}: name one, or give the folder of the data."
        )
    return named[0]


def _plain_assignments(source: str, names: Sequence[str]) -> dict[str, Any]:
    """Top-level `name = literal` of Python source, from its syntax tree; the last one counts, nothing is run."""
    found = {}
    for node in ast.parse(source).body:
        targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
        value = getattr(node, "value", None)
        for target in targets:
            if isinstance(target, ast.Name) and target.id in names and value is not None:
                # What is computed cannot be known without running it, and counts as not named.
                literal = isinstance(value, ast.Constant) and not isinstance(node, ast.AugAssign)
                found[target.id] = value.value if literal else None
    return found


def load_split(source: DataSource, split: str) -> LoadedSplit:
    """
    Loads one split, without any row in memory.

    Args:
        source ([`DataSource`]): From [`resolve_dataset`].
        split (`str`): `"train"`, `"validation"` (also called `val`, `valid`, `dev`) or `"test"`. Data without splits
            are `"train"`.

    Returns:
        [`LoadedSplit`].

    Raises:
        `ValueError`: What is there does not load, or has no such split or no sequence in it.
        `FileNotFoundError`: A file of a prepared folder is missing.
    """
    tokenizer = task = None
    if source.folder is not None and (source.folder / TASK_FILE).is_file():
        splits, tokenizer, task = load_prepared(source.folder)
    else:
        splits = _load_foreign(source)
    splits = splits if isinstance(splits, Mapping) else {"train": splits}
    key = next((name for name in _SPLIT_NAMES.get(split, (split,)) if name in splits), None)
    if key is None or len(splits[key]) == 0:
        state = "does not" if key is None else "holds none"
        raise ValueError(
            f"`split` must exist and hold at least one sequence, got {split!r}, which {state} in {source.name!r} "
            f"({', '.join(map(str, splits))}): choose another one."
        )
    return LoadedSplit(splits[key].with_format(None), tokenizer, task)


def _load_foreign(source: DataSource):
    """Data that `datasets` reads: a folder of `save_to_disk`, a folder of files, or a data set of the hub."""
    import datasets  # slow to import

    try:
        if source.folder is not None and any((source.folder / name).is_file() for name in _SAVED_FILES):
            return datasets.load_from_disk(str(source.folder))
        return datasets.load_dataset(source.hub_name or str(source.folder))
    except Exception as error:  # of the network, of every file format, of the hub
        reason = " ".join(str(error).split()).rstrip(".")
        where = "lies in no folder looked at and did not load from the hub" if source.hub_name else "did not load"
        raise ValueError(
            f"`dataset` must be data that exist here or on the hub, got {source.name!r}, which {where} "
            f"({type(error).__name__}: {reason:.300}): give the folder of the data, or prepare some with "
            "scripts/prepare_data.py."
        ) from error
