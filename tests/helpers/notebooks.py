# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""
Runs the notebooks of docs/notebooks/ cell by cell in this process, without Jupyter.

`python tests/helpers/notebooks.py` runs all, in the repository, and writes what they printed and drew into them.
"""

import base64
import contextlib
import io
import json
import os
import sys
import time
from pathlib import Path
from typing import Any


NOTEBOOKS = Path(__file__).parents[2] / "docs" / "notebooks"


def run(path: Path, folder: Path) -> tuple[dict[str, Any], list[tuple[str, list[str]]]]:
    """What a notebook has made in `folder`, by name; and of each cell of code what it printed and drew (PNG)."""
    names: dict[str, Any] = {"__name__": path.stem}
    results, before = [], Path.cwd()
    os.chdir(folder)
    try:
        for cell in json.loads(path.read_text(encoding="utf-8"))["cells"]:
            if cell["cell_type"] == "code":
                with contextlib.redirect_stdout(io.StringIO()) as printed:
                    exec(compile("".join(cell["source"]), f"{path.name}, {cell['id']}", "exec"), names)
                results.append((printed.getvalue(), pictures()))
    finally:
        os.chdir(before)
    return names, results


def pictures() -> list[str]:
    """What pyplot has drawn since the last cell, in base64."""
    if "matplotlib.pyplot" not in sys.modules:
        return []
    pyplot, found = sys.modules["matplotlib.pyplot"], []
    for number in pyplot.get_fignums():
        picture = io.BytesIO()
        pyplot.figure(number).savefig(picture, format="png", dpi=80, bbox_inches="tight")
        found.append(base64.b64encode(picture.getvalue()).decode())
    pyplot.close("all")
    return found


def write_outputs(path: Path, folder: Path) -> None:
    """Runs a notebook and writes what came out into it."""
    notebook = json.loads(path.read_text(encoding="utf-8"))
    _, results = run(path, folder)
    cells = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
    for number, (cell, (printed, drawn)) in enumerate(zip(cells, results, strict=True), start=1):
        # How long training took on this machine is of no use to others.
        lines = [line for line in printed.splitlines(keepends=True) if not line.startswith("{'train_runtime'")]
        stream = {"name": "stdout", "output_type": "stream", "text": lines}
        plots = [{"output_type": "display_data", "metadata": {}, "data": {"image/png": one}} for one in drawn]
        cell |= {"execution_count": number, "outputs": [*([stream] if lines else []), *plots]}
    path.write_text(json.dumps(notebook, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    import matplotlib
    import torch

    matplotlib.use("agg")
    torch.set_num_threads(1)
    for chosen in sys.argv[1:] or sorted(map(str, NOTEBOOKS.glob("*.ipynb"))):
        begin = time.process_time()
        write_outputs(Path(chosen), NOTEBOOKS.parents[1])
        print(f"{chosen}: {time.process_time() - begin:.1f} s of processor time", file=sys.stderr)
