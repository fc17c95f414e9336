# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about `scripts/explore.py`."""

import json
import subprocess
import sys

import pytest
import torch
from prepared_folders import prepare_sudoku

from critic_gpt.cli.flags import VIEWS
from critic_gpt.explorer import critic_view, view_data
from critic_gpt.scripts import explore
from critic_gpt.tasks import SudokuTask


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return prepare_sudoku(tmp_path_factory.mktemp("explore") / "data", splits=(16, 4, 4), seed=0)


@pytest.fixture
def model_dir(tiny_model, tmp_path):
    tiny_model().save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def run(model_dir, data_dir, *more):
    data = [] if data_dir is None else ["--data_dir", str(data_dir)]
    return explore.main(["--model", str(model_dir), *data, *map(str, more)])


def test_one_view_is_printed_as_json(model_dir, data_dir, capsys):
    run(model_dir, data_dir, "--view", "critic", "--index", 3, "--mask_rate", 0.6, "--threshold", 0.8, "--json")
    explorer = explore.load_explorer(str(model_dir), str(data_dir))
    expected = view_data(critic_view(explorer, 3, mask_rate=0.6, threshold=0.8))
    assert json.loads(capsys.readouterr().out) == expected


@pytest.mark.parametrize("view", VIEWS)
def test_every_view_is_drawn_and_is_json(model_dir, data_dir, view, capsys):
    text = ["--text", "1234[MASK]"] if view == "text" else []
    run(model_dir, data_dir, "--view", view, *text)
    assert "token" in capsys.readouterr().out
    run(model_dir, data_dir, "--view", view, *text, "--json")
    assert json.loads(capsys.readouterr().out)["row_width"] == 4


def test_the_regime_and_the_strategy_reach_the_view(model_dir, data_dir):
    view = run(model_dir, data_dir, "--view", "critic", "--critic_regime", "full", "--mask_rate", 1)
    assert view.num_filled == view.num_masked == 16
    view = run(model_dir, data_dir, "--view", "generate", "--remasking", "critic_full", "--num_steps", 3)
    assert view.strategy == "critic_full" and len(view.steps) == 3


def test_without_data_the_model_brings_its_tokenizer(model_dir, capsys):
    with pytest.raises(ValueError, match="`model` must have its tokenizer beside it"):
        run(model_dir, None, "--view", "text", "--text", "12")
    SudokuTask(size=4).tokenizer().save_pretrained(model_dir)
    assert len(run(model_dir, None, "--view", "text", "--text", "12").tokens) == 2


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (["--json"], "`json` must go with a view"),
        (["--web", "--view", "critic"], "`web` must stand without --view"),
        (["--view", "critic", "--text", "12"], "`text` is for the views text and generate"),
        (["--view", "text"], "`text` must be given"),
        (["--num_steps", 3], "`num_steps` is for --view generate"),
        (["--view", "sample", "--index", 99], r"`index` must be in \[0, 4\)"),
        (["--view", "sample", "--split", "dev"], "`split` must be one of"),
    ],
)
def test_flags_that_make_no_sense_are_refused(model_dir, data_dir, flags, message):
    with pytest.raises(ValueError, match=message):
        run(model_dir, data_dir, *flags)


def test_web_serves_the_page_at_host_and_port(model_dir, data_dir, monkeypatch):
    served = {}
    monkeypatch.setattr(explore, "serve", lambda explorer, **settings: served.update(settings, name=explorer.name))
    run(model_dir, data_dir, "--web", "--port", 8000, "--index", 2)
    begin = {"split": "validation", "index": 2, "mask_rate": None, "seed": 1, "threshold": 0.5}
    assert served == {"host": "127.0.0.1", "port": 8000, **begin, "name": f"{model_dir.parent.name}/model"}


@pytest.mark.slow
def test_a_piped_session_is_a_transcript_without_colour(model_dir, data_dir):
    torch.manual_seed(0)
    command = [sys.executable, explore.__file__, "--model", model_dir, "--data_dir", data_dir]
    script = "n\nm 0.5\nc\nf\ns\nr 2\nhop\ng 3\nq\nn\n"
    done = subprocess.run(command, input=script, capture_output=True, text=True, timeout=120, encoding="utf-8")
    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout and "Traceback" not in done.stderr
    expected = [
        "validation 0 of 4, 16 tokens",
        "validation 1 of 4, 16 tokens",
        "validation 1 of 4, mask rate 0.5, seed 1",
        "judged at threshold 0.5",
        "step 0, fill: 0 masks left, 1 forward passes",
        "step 0, score: 0 masks left, 2 forward passes",
        "step 1, remask: 2 masks left, 2 forward passes",
        "`hop` must be a command",
        "validation 3 of 4, 16 tokens",
    ]
    places = [done.stdout.index(line) for line in expected]
    assert places == sorted(places) and "2 of 4" not in done.stdout, "q ends it"
