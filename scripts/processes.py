# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The processes that share out a work whose results are one file: those of `accelerate launch`, or one alone."""

import sys
from collections.abc import Callable
from typing import Any

from accelerate.utils import broadcast_object_list, gather_object

from critic_gpt.scripts import start_accelerator
from critic_gpt.training.launching import launched_processes


class Processes:
    """One of several processes, on one machine or on many; it meets the others when it is made."""

    def __init__(self):
        self.count = launched_processes()
        accelerator = start_accelerator() if self.count > 1 else None
        self.index = 0 if accelerator is None else accelerator.process_index
        # Where its model works; alone it is left to Transformers.
        self.device = None if accelerator is None else accelerator.device

    @property
    def is_main(self) -> bool:
        """Whether it reads, writes and speaks for all."""
        return self.index == 0

    def from_main(self, make: Callable[[], Any]) -> Any:
        """What the main process makes, for all of them. Where it fails, the others end without a word."""
        if self.count == 1:
            return make()
        made: list[Any] = [None, None]
        try:
            if self.is_main:
                made = [make(), True]
        finally:
            broadcast_object_list(made)
        if not made[1]:
            sys.exit(1)
        return made[0]

    def gathered(self, part: bytes) -> list[bytes]:
        """The parts of all processes, in their order."""
        return [part] if self.count == 1 else gather_object([part])


def refuse_to_share(flag: str, way_out: str) -> None:
    """Refuses a work that several processes would all do."""
    count = launched_processes()
    if count > 1:
        raise ValueError(f"`{flag}` must be given where several processes work, got none for {count}: {way_out}.")
