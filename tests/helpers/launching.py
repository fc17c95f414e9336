# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Runs a script in one process or in several."""

import os
import socket
import subprocess
import sys
import textwrap


# Where scripts that run in other processes find these helpers.
HELPERS = os.path.dirname(__file__)


def launch_script(script, folder, world, *arguments):
    """Runs a script in one process or several, as `run.py HELPERS FOLDER WORLD ARGUMENTS...`."""
    folder.mkdir()
    (folder / "run.py").write_text(textwrap.dedent(script))
    command = [str(folder / "run.py"), HELPERS, str(folder), str(world), *arguments]
    environment = {**os.environ, "ACCELERATE_USE_CPU": "true", "OMP_NUM_THREADS": "1"}
    prefix = [sys.executable]
    if world > 1:
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = free.getsockname()[1]
        flags = "--multi_gpu --num_machines 1 --mixed_precision no --dynamo_backend no --num_processes {} "
        flags = f"-m accelerate.commands.launch {flags} --main_process_port {port}".format(world)
        prefix += flags.split()
    subprocess.run([*prefix, *command], env=environment, check=True, timeout=300, cwd=folder)
    return folder
