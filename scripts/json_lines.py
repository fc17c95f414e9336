# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Texts from lines of JSON, and results as such lines, written as they come: a run that was stopped goes on."""

import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tqdm import tqdm

from critic_gpt.hub.documents import parse_json, read_object
from critic_gpt.hub.files import locked, write_json
from critic_gpt.scripts import check_output_file
from critic_gpt.scripts.processes import Processes


STANDARD_INPUT = "-"


def read_rows(field: str, path: str, keys: Sequence[str], may_be_null: bool = False) -> list[Any]:
    """
    The rows of a file of JSON Lines, empty lines left out.

    Args:
        field (`str`): Name of the flag, for errors.
        path (`str`): The file; `"-"` is standard input.
        keys (`Sequence[str]`): Under which an object may have its text.
        may_be_null (`bool`, *optional*, defaults to `False`): Whether `null` is a row: no text.

    Raises:
        `OSError`: It cannot be read.
        `ValueError`: A line that is no JSON, or neither a text nor an object with one; no row at all.
    """
    data = sys.stdin.buffer.read() if path == STANDARD_INPUT else Path(path).read_bytes()
    rows = []
    for number, line in enumerate(data.split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = parse_json(line)
        except ValueError as error:
            raise ValueError(
                f"`{field}` must hold JSON, a line each, got {path!r}, whose line {number} is none: {error}."
            ) from error
        text = text_of(row, keys)
        if not isinstance(text, str) and not (may_be_null and row is None):
            raise ValueError(
                f"`{field}` must hold texts or objects with the key {' or '.join(keys)}, got {path!r}, whose line "
                f"{number} is {row!r:.60}: correct it."
            )
        rows.append(row)
    if not rows:
        raise ValueError(f"`{field}` must hold at least one line of JSON, got {path!r} with none: name another file.")
    return rows


def text_of(row: Any, keys: Sequence[str]) -> Any:
    """What a row has for a text."""
    return next((row[key] for key in keys if key in row), None) if isinstance(row, dict) else row


class ResultLines:
    """
    A file of results, one line of JSON each, and beside it `FILE.settings.json`, what they were made by.

    Args:
        field (`str`): Name of the flag, for errors.
        path (`str`): The file.
    """

    def __init__(self, field: str, path: str):
        check_output_file(field, path)
        self.field, self.path, self.settings_path = field, Path(path), Path(f"{path}.settings.json")
        if self.path.exists() and not self.path.is_file():
            raise ValueError(
                f"`{field}` must be a regular file, which a run that goes on can read, got {path!r}: name a file."
            )
        self.earlier = self._read_settings()

    def _read_settings(self) -> dict[str, Any]:
        """What results that are there were made by."""
        if not self.path.exists() or not self.path.stat().st_size:
            return {}
        if not self.settings_path.is_file():
            raise ValueError(
                f"`{self.field}` must be a new file or one of this command, got {str(self.path)!r} without "
                f"{self.settings_path.name} beside it: name another file."
            )
        return read_object(self.settings_path)

    def write(
        self,
        settings: dict[str, Any],
        inputs: Sequence[Any],
        batch_size: int,
        results_of: Callable[[int, int], Sequence[dict[str, Any]]],
        unit: str,
        processes: Processes | None = None,
    ) -> int:
        """
        Writes the results that are missing, batch by batch. Several processes take turns at the batches, and the main
        one writes, so that the file is the same for any number of them.

        Args:
            settings (`dict[str, Any]`): What the results depend on, beside the inputs.
            inputs (`Sequence`): What there are results of, one each.
            batch_size (`int`): How many are made at once. Only whole batches of an earlier run count as done, so that
                all batches are those of a run that was never stopped.
            results_of (callable): Makes the results from one place of the inputs up to another.
            unit (`str`): What the inputs are called on the bar, which stands on stderr where that is a terminal.
            processes ([`Processes`], *optional*): Those that share out the work; this one alone by default.

        Returns:
            `int`: How many results were there before.

        Raises:
            `TimeoutError`: Another process is writing the file.
        """
        processes = processes or Processes()
        with ExitStack() as stack:
            done = processes.from_main(lambda: self._begin(settings, inputs, batch_size, stack))
            starts = range(done, len(inputs), batch_size)
            file = stack.enter_context(open(self.path, "ab")) if processes.is_main else None
            bar = tqdm(total=len(inputs), initial=done, unit=unit, disable=None if processes.is_main else True)
            stack.enter_context(bar)
            for turn in range(0, len(starts), processes.count):
                ours = starts[turn + processes.index :][:1]
                lines = [json.dumps(one) for at in ours for one in results_of(at, min(at + batch_size, len(inputs)))]
                parts = processes.gathered("".join(f"{line}\n" for line in lines).encode())
                if file is not None:
                    file.write(b"".join(parts))
                    file.flush()
                    os.fsync(file.fileno())
                last = min(turn + processes.count, len(starts)) - 1
                bar.update(min(starts[last] + batch_size, len(inputs)) - bar.n)
        return done

    def _begin(self, settings: dict[str, Any], inputs: Sequence[Any], batch_size: int, stack: ExitStack) -> int:
        """Takes the file for this run; how many results stay in it."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        stack.enter_context(locked(self.path, timeout=0))
        self.earlier = self._read_settings()  # which another process may have written since
        digest = hashlib.sha256(json.dumps(list(inputs)).encode()).hexdigest()
        settings = parse_json(json.dumps({**settings, "inputs": digest}))
        for name in settings.keys() | self.earlier.keys() if self.earlier else ():
            before, now = self.earlier.get(name), settings.get(name)
            if before != now:
                raise ValueError(
                    f"`{self.field}` must be a new file or one of the same run, got {str(self.path)!r}, of which "
                    f"`{name}` is {before!r:.40} and not {now!r:.40}: name another file, or remove it."
                )
        write_json(self.settings_path, settings)
        ends = list(self._ends())[: len(inputs)]
        done = len(ends) if len(ends) == len(inputs) else len(ends) - len(ends) % batch_size
        with open(self.path, "ab") as file:
            file.truncate(ends[done - 1] if done else 0)
        return done

    def _ends(self) -> Iterator[int]:
        """Where the whole lines end; what a killed run left half written is none."""
        if not self.path.exists():
            return
        end = 0
        with open(self.path, "rb") as file:
            for line in file:
                end += len(line)
                if line.endswith(b"\n"):
                    yield end
