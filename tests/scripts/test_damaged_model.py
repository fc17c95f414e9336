# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what every act says of a model whose config.json is damaged, or is not there."""

import pytest
from prepared_folders import as_flags, prepare_sudoku
from sentences import one_sentence
from tiny_models import build_with_critic
from transformers import AutoTokenizer

from critic_gpt import AutoModelForMaskedLMWithCritic, CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.scripts import calibrate, evaluate, generate, proofread, push_to_hub, train


@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    return str(prepare_sudoku(tmp_path_factory.mktemp("prepared") / "sudoku"))


@pytest.fixture(scope="module")
def model_dir(data_dir, tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    tokenizer = AutoTokenizer.from_pretrained(data_dir)
    build_with_critic(vocab_size=len(tokenizer)).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def acts(model, data, out):
    """All that load a model; each is given what else it needs, so that the model is what it refuses."""
    return {
        "generate": lambda: generate.main(as_flags(model=model, num_samples=1)),
        "proofread": lambda: proofread.main(as_flags(model=model, text="1234")),
        "push": lambda: push_to_hub.main(as_flags(model=model, repo_id="me/model")),
        "evaluate": lambda: evaluate.main(as_flags(model=model, data_dir=data, output_dir=out)),
        "calibrate": lambda: calibrate.main([data, model, "2"]),
        "train": lambda: train.main(as_flags(model_name_or_path=model, data_dir=data, output_dir=out, use_cpu=True)),
        "our Auto class": lambda: AutoModelForMaskedLMWithCritic.from_pretrained(model),
        "our class": lambda: CriticGPTForMaskedLM.from_pretrained(model),
        "our configuration": lambda: CriticGPTConfig.from_pretrained(model),
    }


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b'{"vocab_size": 6, "hidd', "Unterminated string"),
        (b"[6, 16]", "it must hold a JSON object, and holds a list"),
        (b"\x93NUMPY\x01\x00", "it must be JSON text, and its byte 0 is of no text"),
        (b"", "Expecting value"),
    ],
    ids=["truncated", "a list", "binary", "empty"],
)
def test_a_damaged_configuration_is_named_with_its_fault_and_the_way_out(
    model_dir, data_dir, tmp_path, content, fault
):
    file = model_dir / "config.json"
    before = file.read_bytes()
    file.write_bytes(content)
    try:
        for act in acts(str(model_dir), data_dir, str(tmp_path / "out")).values():
            with one_sentence(str(file), fault, "; mend it, or save the model again.", begins="`config.json` must be"):
                act()
    finally:
        file.write_bytes(before)
    assert not list(tmp_path.iterdir())


def test_a_folder_without_a_configuration_is_no_model_of_the_defaults(model_dir, data_dir, tmp_path):
    file = model_dir / "config.json"
    moved = file.rename(tmp_path / "config.json")
    try:
        for name, act in acts(str(model_dir), data_dir, str(tmp_path / "out")).items():
            with one_sentence("config.json", str(model_dir), error=(OSError, ValueError)) as caught:
                act()
            assert "shapes" not in str(caught.value), name
    finally:
        moved.rename(file)
    assert not list(tmp_path.iterdir())
