# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The command reaches the script of each act, and importing the package costs nothing until Transformers is there."""

import importlib
import subprocess
import sys

import pytest
from sources import ROOT

import critic_gpt
from critic_gpt.cli.acts import ACTS
from critic_gpt.cli.command import main
from critic_gpt.registration import Registrar


def test_an_act_is_its_script(monkeypatch):
    for act in ACTS.values():
        asked = []
        module = importlib.import_module(f"critic_gpt.scripts.{act.script}")
        monkeypatch.setattr(module, "main", asked.append)
        main([act.name, "--some", "words"])
        main([act.script, "--some-other"])
        assert asked == [["--some", "words"], ["--some-other"]]


@pytest.mark.parametrize(
    ("word", "way_out"),
    [("trian", "did you mean train?"), ("--qqq", "see critic-gpt --help."), ("", "see critic-gpt")],
)
def test_an_unknown_act_ends_with_one_sentence_and_status_2(word, way_out, capsys):
    with pytest.raises(SystemExit) as stop:
        main([word])
    assert stop.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(f"critic-gpt: {word!r} is no command: {way_out}")


def test_what_fails_in_an_act_is_one_line_and_status_1():
    with pytest.raises(SystemExit, match=r"^convert: `checkpoint` must be .*none\.pt") as stop:
        main(["convert", "none.pt", "nowhere"])
    assert stop.value.code != 0 and isinstance(stop.value.code, str)  # printed, and status 1


def test_the_version_is_that_of_the_package(capsys):
    main(["--version"])
    assert capsys.readouterr().out == f"critic_gpt {critic_gpt.__version__}\n"


def test_setup_installs_the_command():
    (line,) = (line for line in (ROOT / "setup.py").read_text().splitlines() if "console_scripts" in line)
    assert '"critic-gpt = critic_gpt.cli.command:main"' in line


# ---- importing the package ----


def test_importing_the_package_imports_nothing_that_takes_long():
    code = "import sys, critic_gpt; print(sorted({'torch', 'transformers', 'numpy'} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "[]"


KNOWN = (
    "from transformers import AutoConfig, AutoModelForMaskedLM\n"
    "from transformers.pipelines import PIPELINE_REGISTRY\n"
    "config = AutoConfig.for_model('critic_gpt', vocab_size=8, n_embd=4, n_head=1, n_layer=1)\n"
    "print(type(AutoModelForMaskedLM.from_config(config)).__name__)\n"
    "print([task for task in PIPELINE_REGISTRY.get_supported_tasks() if task.startswith('critic-')])\n"
    "print([finder for finder in sys.meta_path if type(finder).__name__ == 'Registrar'])"
)


@pytest.mark.slow
@pytest.mark.parametrize(
    "first",
    [
        "import critic_gpt",
        "import transformers.pipelines, critic_gpt",
        "import critic_gpt, peft",
        "import critic_gpt, accelerate, datasets",
        "import critic_gpt.training.trainer",
        "from critic_gpt.pipelines.critic_diffusion import CriticDiffusionPipeline",
        "import critic_gpt.cli.command; from critic_gpt import CriticGPTForMaskedLM",
    ],
)
def test_transformers_knows_the_model_and_its_tasks_in_whatever_order_things_are_imported(first):
    if "peft" in first:
        pytest.importorskip("peft")
    run = subprocess.run([sys.executable, "-c", f"import sys\n{first}\n{KNOWN}"], capture_output=True, text=True)
    assert run.returncode == 0, run.stderr[-2000:]
    assert run.stdout.splitlines() == ["CriticGPTForMaskedLM", "['critic-diffusion', 'critic-proofread']", "[]"]


def test_a_registration_waits_until_nothing_of_ours_is_half_imported(tmp_path, monkeypatch):
    (tmp_path / "registered_into.py").write_text("complete = True\n")
    (tmp_path / "half_imported.py").write_text("import registered_into\nwhole = True\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(critic_gpt, "__path__", [*critic_gpt.__path__, str(tmp_path)])
    seen = []

    def register():
        ours = sys.modules["critic_gpt.half_imported"]
        seen.append((sys.modules["registered_into"].complete, ours.whole))

    registrar = Registrar({"registered_into": register})
    monkeypatch.setattr(sys, "meta_path", [registrar, *sys.meta_path])
    importlib.import_module("critic_gpt.half_imported")
    assert seen == [(True, True)] and registrar not in sys.meta_path
    for name in ("registered_into", "critic_gpt.half_imported"):
        del sys.modules[name]


def test_public_names_and_rooms_are_there_and_nothing_else():
    assert critic_gpt.CriticGPTConfig is importlib.import_module("critic_gpt.configuration_critic_gpt").CriticGPTConfig
    assert critic_gpt.evaluation.__name__ == "critic_gpt.evaluation"
    for name in ("setup", "nothing", "README.md", "__wrapped__"):
        assert not hasattr(critic_gpt, name)
