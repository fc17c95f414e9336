# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
One side of scripts/benchmark.py: a process that imports the package from a given folder, stays alive, and times what
it is asked to. Both sides run this very file and the workloads beside it, so that nothing but the package differs.

    python -P scripts/benchmark_worker.py FOLDER SETTINGS_AS_JSON

It answers each line of JSON on stdin, such as `{"case": "forward", "iterations": 3}`, by one on stdout.
"""

import contextlib
import gc
import importlib.util
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch


def _module(name: str, file: Path, **where: Any):
    """What a file makes of a module of this name, whatever else is called so."""
    spec = importlib.util.spec_from_file_location(name, file, **where)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def load_package(folder: str):
    """
    Imports `critic_gpt` from a folder, whatever is installed.

    Args:
        folder (`str`): Root of a checkout.

    Raises:
        `ImportError`: A part of the package came from somewhere else.
    """
    root = Path(folder).resolve()
    package = _module("critic_gpt", root / "__init__.py", submodule_search_locations=[str(root)])
    for name, module in list(sys.modules.items()):
        path = getattr(module, "__file__", None)
        if name.split(".")[0] == "critic_gpt" and path is not None and root not in Path(path).resolve().parents:
            raise ImportError(f"`{name}` must come from {root}, got {path}: uninstall the package there.")
    return package


class PeakMemory:
    """The most memory a piece of work takes beyond what was taken before it; NaN where the system does not say."""

    def __init__(self, device: torch.device):
        self.device, self.used = device, float("nan")

    def __enter__(self) -> "PeakMemory":
        if self.device.type == "cuda":
            torch.cuda.reset_peak_memory_stats()
            self.before = torch.cuda.memory_allocated()
            return self
        with contextlib.suppress(OSError):
            switch = os.open("/proc/self/clear_refs", os.O_WRONLY)
            os.write(switch, b"5")  # the peak counts from here
            os.close(switch)
        self.before = self._status("VmRSS")
        return self

    def __exit__(self, *error) -> None:
        cuda = self.device.type == "cuda"
        peak = torch.cuda.max_memory_allocated() if cuda else self._status("VmHWM")
        self.used = peak - self.before

    @staticmethod
    def _status(field: str) -> float:
        try:
            lines = Path("/proc/self/status").read_text().splitlines()
        except OSError:
            return float("nan")
        return next((1024.0 * int(line.split()[1]) for line in lines if line.startswith(field)), float("nan"))


class Timer:
    """Makes each of the [`~benchmark_workloads.Workloads`] once, at its first use, and times it."""

    def __init__(self, workloads: Any):
        self.workloads, self.made = workloads, {}

    def measure(self, case: str, iterations: int) -> dict[str, float]:
        """
        Seconds and CPU seconds per unit, over so many iterations; `check` is a number made of the last result, `peak`
        the bytes that all took beyond those taken before; `tokens` what the last result holds, where it is judged.
        """
        if case not in self.made:
            self.made[case] = getattr(self.workloads, case)()
        once = self.made[case]
        units = 0
        gc.collect()
        gc.disable()
        try:
            self._wait()
            with PeakMemory(self.workloads.device) as peak:
                begin, cpu = time.perf_counter(), time.process_time()
                for _ in range(iterations):
                    done, result = once()
                    units += done
                self._wait()
                seconds, cpu = time.perf_counter() - begin, time.process_time() - cpu
        finally:
            gc.enable()
        check = float(result.detach().double().sum())
        found = {"seconds": seconds / units, "cpu_seconds": cpu / units, "total": seconds, "check": check}
        if self.workloads.tells_tokens and not result.is_floating_point():
            found["tokens"] = result.tolist()
        return {**found, "peak": peak.used}

    def _wait(self) -> None:
        if self.workloads.device.type == "cuda":
            torch.cuda.synchronize()


def main() -> None:
    """Answers until stdin ends."""
    folder, settings = sys.argv[1], json.loads(sys.argv[2])
    # Answers go where stdout was; whatever the package prints goes to stderr.
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    torch.set_num_threads(settings["threads"])
    package = load_package(folder)
    name = settings.get("workloads", "benchmark_workloads")
    workloads = _module(name, Path(__file__).with_name(f"{name}.py"))
    timer = Timer(workloads.Workloads(package, settings))
    print(json.dumps({"version": package.__version__, "torch": torch.__version__}), file=answers, flush=True)
    for line in sys.stdin:
        print(json.dumps(timer.measure(**json.loads(line))), file=answers, flush=True)


if __name__ == "__main__":
    main()
