# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The page as a Space of the Hugging Face Hub: an app of a few lines, this package beside it, samples, a card."""

import shutil
from importlib.metadata import requires
from itertools import islice
from pathlib import Path

import yaml

from critic_gpt.hub.files import replace_file
from critic_gpt.tasks import SPLITS, Prepared, load_prepared, read_metadata, save_prepared


# Of each split, for visitors to look at.
NUM_SAMPLES = 64
SAMPLES = "samples"
APP = '''"""Shows {model} in the explorer of critic_gpt, which lies beside this file."""

import os

from critic_gpt.explorer.web import serve
from critic_gpt.scripts.explore import load_explorer


serve(
    load_explorer({model!r}, {samples!r}),
    host="0.0.0.0",
    port=int(os.environ.get("PORT", 7860)),
    public_name=os.environ.get("SPACE_HOST", "localhost"),
)
'''
DOCKERFILE = """FROM python:3.11-slim
RUN useradd --create-home --uid 1000 user
USER user
ENV HOME=/home/user PATH=/home/user/.local/bin:$PATH
WORKDIR /home/user/app
COPY --chown=user requirements.txt .
RUN pip install --no-cache-dir -r requirements.txt
COPY --chown=user . .
CMD ["python", "app.py"]
"""
CARD = """---
{front}---

# {title}

The explorer of critic_gpt for the model
[{model}](https://huggingface.co/{model}): samples with the critic's verdict on every token, a canvas to denoise by
hand, every strategy step by step.

`app.py` loads the model from the hub and serves the page; the package `critic_gpt` lies beside it. A private model
needs a token that may read it, as the secret `HF_TOKEN` of the Space.
"""


def write_space(folder: Path, model: str, data_dir: str | None = None) -> None:
    """
    Writes the files of a Space.

    Args:
        folder (`Path`): Where to; made if there is none.
        model (`str`): Name of the model on the hub.
        data_dir (`str`, *optional*): Prepared data, of which a few samples go along.
    """
    folder.mkdir(parents=True, exist_ok=True)
    copy_package(folder / "critic_gpt")
    if data_dir is not None:
        _write_samples(folder / SAMPLES, data_dir)
    title = f"{model.split('/')[-1]} · critic_gpt explorer"
    front = {"title": title, "emoji": "🔍", "sdk": "docker", "app_port": 7860, "pinned": False, "models": [model]}
    needed = [line for line in requires("critic_gpt") or () if "extra ==" not in line]
    contents = {
        "app.py": APP.format(model=model, samples=None if data_dir is None else SAMPLES),
        "requirements.txt": "".join(f"{line}\n" for line in needed),
        "Dockerfile": DOCKERFILE,
        "README.md": CARD.format(
            front=yaml.safe_dump(front, sort_keys=False, allow_unicode=True), title=title, model=model
        ),
    }
    for name, content in contents.items():
        replace_file(folder / name, content)


def copy_package(folder: Path) -> None:
    """Copies the package as it runs here: its modules, and the files that they read."""
    root = Path(__file__).parents[1]
    shutil.copytree(root, folder, ignore=_outside_the_package, dirs_exist_ok=True)


def _outside_the_package(folder: str, names: list[str]) -> list[str]:
    """In a clone the package's folder is that of the repository, where much else lies."""
    kept = {".py", ".typed", ".yaml", ".html", ".css", ".js", ".svg"}
    return [
        name
        for name in names
        if not (
            (Path(folder, name).is_file() and Path(name).suffix in kept and name != "setup.py" and name[0] != ".")
            or Path(folder, name, "__init__.py").is_file()
            or (name in ("assets", "configs") and Path(folder, "__init__.py").is_file())
        )
    ]


def _write_samples(folder: Path, data_dir: str) -> None:
    """The first examples of each split, as a folder of prepared data of its own."""
    splits, tokenizer, task = load_prepared(data_dir)
    windows = {name: list(islice(splits[name], NUM_SAMPLES)) for name in SPLITS if name in splits}
    save_prepared(folder, Prepared(windows, tokenizer, read_metadata(data_dir), task.files()), overwrite=True)
