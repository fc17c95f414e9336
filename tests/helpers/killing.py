# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A process that is killed while files move."""

import os
from collections.abc import Callable


class Killed(BaseException):
    """What no handler of errors catches."""


def killed_after(moves: int) -> Callable[[str, str], None]:
    """`os.replace`, which at its call number `moves`, counted from 0, and ever after is killed before it moves."""
    done, replace = [], os.replace

    def kill(source, target):
        if len(done) == moves:
            raise Killed
        done.append(target)
        replace(source, target)

    return kill
