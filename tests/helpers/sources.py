# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The files of the package in Python."""

from pathlib import Path

import critic_gpt


ROOT = Path(critic_gpt.__file__).parent
SOURCES = sorted(
    path
    for path in ROOT.rglob("*.py")
    if not {"tests", "build", "runs"} & set(path.relative_to(ROOT).parts)
    and not any(part.startswith(".") for part in path.relative_to(ROOT).parts)
)
