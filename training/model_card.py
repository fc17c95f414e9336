# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The card of a model, `README.md` in its folder: every number comes from a file there, and none where none was
measured. The same files give the same card."""

import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from huggingface_hub import ModelCard, ModelCardData
from huggingface_hub.errors import HFValidationError
from huggingface_hub.utils import validate_repo_id

from critic_gpt.hub.files import replace_file
from critic_gpt.training.measurements import record_data, record_report
from critic_gpt.training.model_card_facts import DIFFUSION, CardFacts
from critic_gpt.training.model_card_template import BEGIN, END, TEMPLATE


CARD_NAME = "README.md"
# Lines that others put into the hub's form without being asked.
_OF_THE_FORM = re.compile(r"### Framework versions|- PEFT [\w.+]+|.*automatically generated\.")
_REPO = re.compile(r'pipeline\("[\w-]+", model="([^"]+)"')


def write_model_card(
    folder: str | os.PathLike,
    *,
    report_dir: str | os.PathLike | None = None,
    data_dir: str | os.PathLike | None = None,
    repo_id: str | None = None,
    model_name: str | None = None,
    license: str | None = None,
    language: str | Sequence[str] | None = None,
    tags: str | Sequence[str] | None = None,
    datasets: str | Sequence[str] | None = None,
    base_model: str | None = None,
    pipeline_tag: str | None = None,
) -> Path:
    """
    Writes `README.md` into a model's folder, or brings the one there up to date. What somebody wrote outside of the
    two comments around our text stays, and so do entries of its metadata; an argument left out changes nothing there.

    Args:
        folder (`str` or `os.PathLike`): Of a saved model, or of an adapter of PEFT.
        report_dir (`str` or `os.PathLike`, *optional*): Output of scripts/evaluate.py on this model. Its figures are
            kept in `measurements.json` and its pictures in `figures/`, for later cards too.
        data_dir (`str` or `os.PathLike`, *optional*): Data of scripts/prepare_data.py that the model was trained on.
        repo_id (`str`, *optional*): Where users find the model; by default what the card said before, else the
            folder's name.
        model_name (`str`, *optional*): Its title, by default the last part of `repo_id`.
        license, language, tags, datasets, base_model, pipeline_tag (*optional*): Metadata of the hub.

    Returns:
        `Path`: of the card.

    Raises:
        `ValueError`: No model in the folder, or a report on other weights.
    """
    folder = Path(folder)
    if report_dir is not None:
        record_report(folder, report_dir)
    if data_dir is not None:
        record_data(folder, data_dir)
    facts = CardFacts(folder)
    path = folder / CARD_NAME
    old = ModelCard.load(path, ignore_metadata_errors=True) if path.is_file() else None
    if repo_id is None:
        said = None if old is None else _REPO.search(old.text)
        repo_id = said[1] if said else folder.resolve().name
    title = model_name or repo_id.rstrip("/").rpartition("/")[2]
    data = _metadata(
        facts,
        {} if old is None else old.data.to_dict(),
        title,
        {"license": license, "language": language, "base_model": base_model, "pipeline_tag": pipeline_tag},
        {"tags": tags, "datasets": datasets},
    )
    template = f"---\n{{{{ card_data }}}}\n---\n\n{TEMPLATE}"
    card = ModelCard.from_template(data, template_str=template, **facts.texts(repo_id, title))
    ours = card.text.strip()
    card.text = ours if old is None else _replaced(old.text, ours)
    return replace_file(path, str(card))


def refresh_model_card(folder: str | os.PathLike) -> None:
    """Brings a card that we wrote up to date with the files beside it; without one nothing happens."""
    path = Path(folder, CARD_NAME)
    if path.is_file() and BEGIN in path.read_text(encoding="utf-8"):
        write_model_card(folder)


def _metadata(
    facts: CardFacts, known: dict[str, Any], title: str, given: dict[str, Any], lists: dict[str, Any]
) -> ModelCardData:
    """The metadata: what the card had, under what we know better, under what was asked for."""
    tags = ["critic_gpt", "critic-diffusion", "masked-diffusion"] if facts.kind == DIFFUSION else ["critic_gpt"]
    tags += ["critic"] * facts.has_critic + ["calibration"] * bool(facts.tables)
    ours: dict[str, Any] = {"library_name": "peft" if facts.adapter else "transformers"}
    ours["pipeline_tag"] = known.get("pipeline_tag", facts.hub_task)
    base = facts.adapter.get("base_model_name_or_path")
    if base is not None and "base_model" not in known and _is_on_the_hub(base):
        ours["base_model"] = base
    ours |= {name: value for name, value in given.items() if value is not None}
    wanted = {"tags": [*tags, *_listed(lists["tags"])], "datasets": _listed(lists["datasets"])}
    for name, values in wanted.items():
        values = list(dict.fromkeys([*values, *_listed(known.get(name))]))
        if values:
            ours[name] = values
    kept = {name: value for name, value in known.items() if name not in ("model-index", "model_name")}
    results = facts.results()
    index = {"eval_results": results, "model_name": title} if results else {}
    return ModelCardData(**{**kept, **ours, **index})


def _listed(values: str | Sequence[str] | None) -> list[str]:
    return [values] if isinstance(values, str) else list(values or ())


def _is_on_the_hub(name: str) -> bool:
    """Whether a model's name may be one of the hub's, and is no folder of this machine."""
    try:
        validate_repo_id(name)
    except HFValidationError:
        return False
    return not Path(name).exists()


def _replaced(text: str, ours: str) -> str:
    """A card's text with ours in the place of what we wrote there before, else in front of it."""
    begin, end = text.find(BEGIN), text.find(END)
    if 0 <= begin < end:
        return text[:begin] + ours + text[end + len(END) :]
    rest = "" if _is_blank_form(text) else text.strip()
    return f"{ours}\n\n{rest}".strip()


def _is_blank_form(text: str) -> bool:
    """Whether a card is the hub's form that nobody filled in, as PEFT and `push_to_hub` leave it."""
    form = set(ModelCard.from_template(ModelCardData()).text.splitlines())
    own = [line for line in text.splitlines() if line.strip() and line not in form]
    return all(_OF_THE_FORM.fullmatch(line) for line in own)
