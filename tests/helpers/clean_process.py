# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Python in a process of its own, with this package or as where it is not installed."""

import json
import os
import subprocess
import sys
from typing import Any


_HIDE = """
import sys

class Absent:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "critic_gpt":
            raise ModuleNotFoundError(f"No module named {name!r}")

sys.meta_path.insert(0, Absent())
try:
    import critic_gpt
except ModuleNotFoundError:
    pass
else:
    raise SystemExit("the package is there")
"""
_PRINT = """
import json
print("\\n" + json.dumps(result))
"""


def run(code: str, *arguments: str, package: bool, environment: dict[str, str] | None = None) -> Any:
    """
    Runs `code`, which leaves something that JSON can hold in the variable `result`, and returns that.

    Args:
        code (`str`): Finds `arguments` in `sys.argv[1:]`.
        package (`bool`): Whether `critic_gpt` can be imported; it is imported by nobody here.
        environment (`dict`, *optional*): Variables beside those of this process.
    """
    command = [sys.executable, "-c", ("" if package else _HIDE) + code + _PRINT, *map(str, arguments)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1", **(environment or {})}
    done = subprocess.run(command, capture_output=True, text=True, env=variables)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])
