# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Reads flags that are fields of dataclasses from the source, since to import it takes seconds."""

import ast
from pathlib import Path
from typing import Any, NamedTuple


PACKAGE = Path(__file__).resolve().parents[1]


class Declared(NamedTuple):
    """What a field says of its flag; the default is `None` where there is none. The kind is its annotation."""

    help: str
    default: Any
    is_required: bool
    kind: str


def declared_fields(module: str, name: str) -> dict[str, Declared]:
    """
    The fields of a dataclass, each written as `field(default=..., metadata={"help": ...})`.

    Args:
        module (`str`): Where it is declared, as in `"tasks.text"`.
        name (`str`): Of the class.
    """
    tree = ast.parse(PACKAGE.joinpath(*module.split(".")).with_suffix(".py").read_text(encoding="utf-8"))
    (cls,) = (node for node in tree.body if isinstance(node, ast.ClassDef) and node.name == name)
    return {
        node.target.id: _declared(node.value, ast.unparse(node.annotation))
        for node in cls.body
        if isinstance(node, ast.AnnAssign) and isinstance(node.value, ast.Call)
    }


def _declared(call: ast.Call, kind: str) -> Declared:
    given = {keyword.arg: keyword.value for keyword in call.keywords}
    said = dict(zip((ast.literal_eval(key) for key in given["metadata"].keys), given["metadata"].values, strict=True))
    default = given.get("default")
    return Declared(
        help=_literal(said["help"]),
        default=None if default is None else _literal(default),
        is_required=default is None,
        kind=kind,
    )


def _literal(node: ast.expr) -> Any:
    """A value that stands there; of a name, and of what is computed, nothing."""
    try:
        return ast.literal_eval(node)
    except ValueError:
        return None
