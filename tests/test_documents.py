# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The documents say what is so: links lead somewhere, commands have these flags, Python and notebooks run."""

import json
import os
import re
import shlex
from functools import cache
from pathlib import Path
from typing import Any

import notebooks
import pytest
import torch
import yaml
from act_parsers import full_parser
from prepared_folders import prepare_sudoku
from sources import ROOT

import critic_gpt
from critic_gpt.cli.acts import ACTS


DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *DOCS.rglob("*.ipynb")])
# Beside the site, what a visitor of the repository reads.
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *PAGES]
NOTEBOOKS = sorted(notebooks.NOTEBOOKS.glob("*.ipynb"))
BLOCK = re.compile(r"^( *)```(\w*)\n(.*?)^\1```", re.DOTALL | re.MULTILINE)

pytestmark = pytest.mark.skipif(not DOCS.is_dir(), reason="the package is installed without its documents")


def name_of(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


@cache
def text_of(path: Path) -> str:
    """A page in Markdown; of a notebook what stands between its cells of code."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".ipynb":
        return text
    return "\n\n".join(
        "".join(cell["source"]) for cell in json.loads(text)["cells"] if cell["cell_type"] == "markdown"
    )


@cache
def anchors(path: Path) -> frozenset[str]:
    """The anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", BLOCK.sub("", text_of(path)), re.MULTILINE)
    return frozenset(re.sub(r"[^\w\- ]", "", heading.strip().lower()).replace(" ", "-") for heading in headings)


@cache
def site() -> dict[str, Any]:
    """mkdocs.yml, without what its tags would call."""

    class Plain(yaml.SafeLoader):
        pass

    Plain.add_multi_constructor("tag:yaml.org,2002:python/", lambda loader, suffix, node: suffix)
    return yaml.load((ROOT / "mkdocs.yml").read_text(encoding="utf-8"), Loader=Plain)


def pages_in(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]
    return [page for part in (nav.values() if isinstance(nav, dict) else nav) for page in pages_in(part)]


# ---- pages and links ----


@pytest.mark.parametrize("document", DOCUMENTS, ids=name_of)
def test_links_and_anchors_lead_somewhere(document):
    text = re.sub(r"`[^`\n]*`", "", BLOCK.sub("", text_of(document)))
    for link in re.findall(r"\]\(([^)\s]+)\)", text):
        if re.match(r"https?:", link):
            continue
        path, _, anchor = link.partition("#")
        target = document if not path else (document.parent / path).resolve()
        assert target.exists(), f"{link} leads nowhere"
        assert not anchor or anchor in anchors(target), f"{link} names no heading of {name_of(target)}"
        if document in PAGES:
            assert target.is_file() and target.is_relative_to(DOCS), f"{link} leads out of the site"


def test_the_site_names_every_page_once_and_nothing_else():
    assert sorted(pages_in(site()["nav"])) == sorted(page.relative_to(DOCS).as_posix() for page in PAGES)


def test_every_page_has_one_title():
    for page in PAGES:
        assert re.search(r"\A# \S", text_of(page)), name_of(page)
        assert len(re.findall(r"^# ", BLOCK.sub("", text_of(page)), re.MULTILINE)) == 1, name_of(page)


def test_the_reference_documents_every_public_name_once():
    text = "".join(page.read_text(encoding="utf-8") for page in sorted((DOCS / "reference").glob("*.md")))
    documented = re.findall(r"^::: critic_gpt\.(\w+)$", text, re.MULTILINE)
    assert sorted(documented) == sorted(critic_gpt.__all__)


def test_every_picture_is_shown():
    shown = "".join(text_of(document) for document in DOCUMENTS)
    for picture in (DOCS / "images").iterdir():
        assert f"images/{picture.name})" in shown, picture.name


# ---- commands ----


def commands(document: Path) -> list[tuple[str, str]]:
    """(act, its flags) of every command line of a page; with `...` or a reader's file of flags it is none."""
    text = "\n".join(block for _, kind, block in BLOCK.findall(text_of(document)) if kind in ("", "bash"))
    text += "\n".join(re.findall(r"^ {4}(.+)$", text_of(document), re.MULTILINE))
    text = re.sub(r"\\\n|\n(?=[^\n\"]*\" -)", " ", text)  # a line goes on; a prompt has several
    found = {}
    for line in text.splitlines():
        line = re.sub(r"\s+#.*| [>|] .*", "", line)
        match = re.search(r"(?:critic-gpt|scripts/)\s*(\w+)(?:\.py)?\s(.*)", line)
        theirs = r"\.\.\.|my_strategies|--help|--print-config|--config (?!scripts/)"
        if match and not re.search(theirs, line):
            found[match[1], match[2].strip()] = None
    return list(found)


@cache
def parser_of(act: str):
    return full_parser(act)


def test_every_command_has_the_flags_that_a_page_gives_it(monkeypatch, capsys):
    monkeypatch.chdir(ROOT)
    acts, wrong, tried = {act.script: name for name, act in ACTS.items()}, [], 0
    for document in DOCUMENTS:
        for act, flags in commands(document):
            tried += 1
            try:
                parser_of(acts.get(act, act)).parse_args(shlex.split(flags))
            except SystemExit:
                wrong.append(f"{name_of(document)}: {act} {flags}: {capsys.readouterr().err}")
    assert tried > 80 and not wrong, "\n".join(wrong)


# ---- blocks of Python ----


def test_blocks_of_python_are_python():
    for document in DOCUMENTS:
        for _, kind, block in BLOCK.findall(text_of(document)):
            if kind == "python":
                compile(block, name_of(document), "exec")


@pytest.fixture(scope="module")
def workplace(tmp_path_factory) -> Path:
    """The folders that the pages name, with tiny models of nothing."""
    folder = tmp_path_factory.mktemp("documents")
    for name, size in (("demo", 6), ("small", 4)):
        data = prepare_sudoku(folder / "runs" / name / "data", size=size, splits=(24, 6, 6))
        tokenizer = critic_gpt.tasks.load_prepared(data)[1]
        torch.manual_seed(0)
        shape = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "add_critic_head": True}
        special = {"vocab_size": len(tokenizer), "pad_token_id": 0, "mask_token_id": 1}
        config = critic_gpt.CriticGPTConfig(**shape, **special, max_position_embeddings=64)
        model = critic_gpt.CriticGPTForMaskedLM(config)
        torch.nn.init.normal_(model.critic_head.weight)
        model.save_pretrained(folder / "runs" / name / "model")
        tokenizer.save_pretrained(folder / "runs" / name / "model")
    for name, target in (("data", "demo/data"), ("lm", "demo/model"), ("model", "demo/model")):
        (folder / "runs" / name).symlink_to(folder / "runs" / target)
    return folder


def with_names(folder: Path) -> dict[str, Any]:
    """What a page takes as given."""
    model = critic_gpt.CriticGPTForMaskedLM.from_pretrained(folder / "runs/demo/model")
    return {"critic_gpt": critic_gpt, "model": model, "input_ids": torch.ones((2, 36), dtype=torch.long)}


@pytest.mark.parametrize(
    "page", ["README.md", *(f"docs/{name}.md" for name in ("quickstart", "EXPLORER", "WHICH_SETTINGS", "TRAINING"))]
)
def test_blocks_of_python_run(page, workplace, monkeypatch):
    monkeypatch.chdir(workplace)
    names = with_names(workplace)
    for _, kind, block in BLOCK.findall(text_of(ROOT / page)):
        if kind == "python":
            exec(compile(block, page, "exec"), names)


# ---- notebooks ----


@pytest.mark.parametrize("notebook", NOTEBOOKS, ids=name_of)
def test_a_notebook_is_small(notebook):
    assert os.path.getsize(notebook) < 100_000


@pytest.fixture
def quiet(monkeypatch):
    """No window, no bar, and threads as in the other tests."""
    matplotlib = pytest.importorskip("matplotlib", reason="a notebook draws: install the extra `viz`")
    matplotlib.use("agg")


@pytest.mark.slow
def test_the_quickstart_runs_and_its_critic_helps(tmp_path, quiet):
    names, _ = notebooks.run(notebooks.NOTEBOOKS / "quickstart.ipynb", tmp_path)
    assert names["quality"]["after"]["ece"] < 0.05
    assert names["valid"]["critic"] > names["valid"]["confidence order"]
    assert names["doubts"].index(max(names["doubts"])) == names["place"]


@pytest.mark.slow
def test_the_comparison_of_strategies_runs(tmp_path, quiet):
    names, results = notebooks.run(notebooks.NOTEBOOKS / "strategies.ipynb", tmp_path)
    assert all(
        cell["forward_passes"] <= int(budget) for row in names["compared"].values() for budget, cell in row.items()
    )
    assert len([picture for _, pictures in results for picture in pictures]) == 1


@pytest.mark.slow
def test_the_critic_of_a_real_model_finds_planted_errors(tmp_path):
    models = ROOT / "build" / "real_models"
    if not (models / "heavy" / "source.json").is_file() or not (models / "sequences" / "source.json").is_file():
        pytest.skip("The real models are not there. Fetch them with `make real-models`.")
    (tmp_path / "build").mkdir()
    (tmp_path / "build" / "real_models").symlink_to(models)
    names, _ = notebooks.run(notebooks.NOTEBOOKS / "real_model.ipynb", tmp_path)
    assert names["right"] >= 20
    assert len({span["start"] for span in names["found"]} & {19, 36, 81}) >= 2
