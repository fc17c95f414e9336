# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The one way in which JSON from outside is read: size and depth are bounded before anything is made of it."""

import gc
import json
import os
from pathlib import Path
from typing import Any


MAX_BYTES = 8 * 2**20
# Levels of lists and objects: what people write has a few, and recursion over thousands ends a program.
MAX_DEPTH = 64
# At most one value in so many bytes, which what people write does not come near: each value costs time.
BYTES_PER_VALUE = 16
# What to do about a damaged file, as the end of a sentence: any, and one without which there is no model.
MEND_OR_REMOVE, SAVE_AGAIN = "mend it or remove it", "mend it, or save the model again"


def read_bytes(path: str | os.PathLike, max_bytes: int = MAX_BYTES) -> bytes:
    """
    The content of a file of bounded size.

    Raises:
        `OSError`: It cannot be read.
        `ValueError`: It is larger.
    """
    with open(path, "rb") as file:
        data = file.read(max_bytes + 1)
    if len(data) > max_bytes:
        raise ValueError(f"it must have at most {max_bytes:,} bytes, and has more")
    return data


def parse_json(data: str | bytes, constants: bool = True) -> Any:
    """
    The value of a JSON document.

    Args:
        data (`str` or `bytes`): The document.
        constants (`bool`, *optional*, defaults to `True`): Whether NaN and Infinity, which Python writes and JSON does
            not have, are read.

    Raises:
        `ValueError`: It is none, of too many values, or nested too deeply; the reason in one line, for the caller's
            own sentence.
    """
    _check_count(data)
    collects = gc.isenabled()
    gc.disable()  # it would look through all values again and again while they are made
    try:
        value = json.loads(data, parse_constant=None if constants else _refuse, object_pairs_hook=_object)
        _check_depth(value)
        return value
    except RecursionError as error:
        raise ValueError(_too_deep()) from error
    except UnicodeDecodeError as error:
        raise ValueError(f"it must be JSON text, and its byte {error.start} is of no text") from error
    except ValueError as error:
        raise ValueError(" ".join(str(error).split()).rstrip(".")) from error
    finally:
        if collects:
            gc.enable()


def read_json(path: str | os.PathLike, constants: bool = True, max_bytes: int = MAX_BYTES) -> Any:
    """
    [`parse_json`] of a file.

    Raises:
        `OSError`: It cannot be read.
        `ValueError`: As [`parse_json`], and a file that is too large.
    """
    return parse_json(read_bytes(path, max_bytes), constants)


def read_object(path: str | os.PathLike, max_bytes: int = MAX_BYTES, way_out: str = MEND_OR_REMOVE) -> dict[str, Any]:
    """
    [`read_json`] of a file that holds an object.

    Args:
        path (`str` or `os.PathLike`): The file.
        max_bytes (`int`, *optional*): As for [`read_bytes`].
        way_out (`str`, *optional*): What to do where it is damaged, as the end of the sentence.

    Raises:
        `OSError`, `ValueError`: As [`read_json`], and for any other value; the sentence is complete.
    """
    try:
        content = read_json(path, max_bytes=max_bytes)
        fault = None if isinstance(content, dict) else f"it must hold a JSON object, and holds {_kind(content)}"
    except ValueError as error:
        fault = str(error)
    if fault:
        raise ValueError(f"`{Path(path).name}` must be a readable file, got {str(path)!r}: {fault}; {way_out}.")
    return content


def cause_of(error: BaseException) -> str:
    """What an error says, in one line, and what the first of its causes says where that is more."""
    chain = [error]
    while (cause := _cause(chain[-1])) is not None and cause not in chain:
        chain.append(cause)
    said = []
    for one in (chain[0], chain[-1]):
        line = " ".join((str(one).strip() or type(one).__name__).splitlines()[0].split()).rstrip(".")
        said += [line] if line not in said else []
    return ": ".join(said)


def _cause(error: BaseException) -> BaseException | None:
    return error.__cause__ or (None if error.__suppress_context__ else error.__context__)


def _kind(value: Any) -> str:
    return "null" if value is None else f"a {type(value).__name__}"


def _check_count(data: str | bytes) -> None:
    """By what stands between values, some of it perhaps in strings: quick, and far above what people write."""
    most = max(MAX_BYTES, len(data)) // BYTES_PER_VALUE
    text = data if isinstance(data, str) else data.decode("latin-1")  # of bytes, each a character
    count = sum(text.count(sign) for sign in ",[{")
    if count > most:
        raise ValueError(f"it must hold at most {most:,} values, and has {count:,} commas and opening brackets")


def _check_depth(value: Any) -> None:
    """Level by level, since recursion over what is nested too deeply is what this keeps away."""
    level: list[Any] = [[value]]
    for _ in range(MAX_DEPTH + 1):
        level = [
            inner
            for outer in level
            for inner in (outer.values() if isinstance(outer, dict) else outer)
            if isinstance(inner, (dict, list))
        ]
        if not level:
            return
    raise ValueError(_too_deep())


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"it must name every key once, and has {next(k for k in keys if keys.count(k) > 1)!r} twice")
    return made


def _too_deep() -> str:
    return f"it must nest at most {MAX_DEPTH} levels of lists and objects, and nests more"


def _refuse(constant: str) -> None:
    raise ValueError(f"the constant {constant}")
