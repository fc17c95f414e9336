# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about folders of prepared data that were being replaced, and about models and data of other vocabularies."""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
import torch
from prepared_folders import as_flags, prepare_sudoku
from refusals import refused
from transformers import AutoTokenizer, pipeline

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM, CriticTrainer, CriticTrainingArguments
from critic_gpt.evaluation.data_sources import resolve_dataset
from critic_gpt.explorer import Explorer
from critic_gpt.hub.vocabulary import check_same_vocabulary
from critic_gpt.scripts import calibrate, evaluate, generate, proofread, train
from critic_gpt.scripts.prepare_data import main
from critic_gpt.tasks import build_character_tokenizer, load_task
from critic_gpt.tasks.prepared import repair_prepared


def sudoku(folder, size):
    return prepare_sudoku(folder, size, splits=(40, 8, 8))


KILLED = """
import os, pathlib, sys
from critic_gpt.scripts.prepare_data import main

rename, done = pathlib.Path.rename, 0

def killed(self, target):
    global done
    if done == int(sys.argv[2]):
        os._exit(9)
    done += 1
    return rename(self, target)

pathlib.Path.rename = killed
sizes = ["--num_train", "40", "--num_validation", "8", "--num_test", "8"]
main(["--task", "sudoku", "--size", "6", "--overwrite", *sizes, "--output_dir", sys.argv[1]])
"""


@pytest.fixture(scope="module", params=[0, 1])
def killed(request, tmp_path_factory):
    """A place where the replacement of 4x4 grids by 6x6 ones was killed after so many of its renames."""
    place = tmp_path_factory.mktemp("killed")
    folder = sudoku(place / "data [1]", 4)
    command = [sys.executable, "-c", KILLED, str(folder), str(request.param)]
    run = subprocess.run(command, capture_output=True, text=True)
    assert run.returncode == 9, run.stderr
    return place, request.param


@pytest.mark.parametrize("by", ["loading", "looking", "preparing"])
def test_a_folder_whose_replacement_was_killed_is_there_again_whoever_comes_next(tmp_path, killed, by):
    place, renames = killed
    folder = shutil.copytree(place, tmp_path / "place") / "data [1]"
    if by == "looking":
        assert resolve_dataset(str(folder)).folder == folder
    if by == "preparing":
        with pytest.raises(ValueError, match="or pass --overwrite"):
            sudoku(folder, 4)
    assert load_task(folder).size == (4 if renames == 0 else 6)
    if renames == 1:
        assert os.listdir(folder.parent) == [folder.name]


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("at", [0, 1, 2])
def test_ctrl_c_while_prepared_data_are_replaced_loses_nothing(tmp_path, monkeypatch, at, times):
    folder, rename, done = sudoku(tmp_path / "data", 4), Path.rename, []

    def interrupted(self, target):
        done.append(target)
        if at <= len(done) - 1 < at + times:
            raise KeyboardInterrupt
        return rename(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", interrupted)
        sizes = as_flags(num_train=40, num_validation=8, num_test=8)
        with suppress(KeyboardInterrupt):
            main(["--task", "sudoku", "--size", "6", "--overwrite", *sizes, "--output_dir", str(folder)])
    repair_prepared(folder)
    assert load_task(folder).size in (4, 6)
    assert at < 2 or load_task(folder).size == 6


@pytest.fixture
def text_model(tmp_path):
    """A model of as many tokens as 6x6 grids have, with the same [MASK], and other characters."""
    tokenizer = build_character_tokenizer("abcdef", model_max_length=36)
    sizes = {"vocab_size": 8, "n_embd": 8, "n_head": 1, "n_layer": 1, "block_size": 36}
    model = CriticGPTForMaskedLM(CriticGPTConfig(**sizes, mask_token_id=1, pad_token_id=0, add_critic_head=True))
    torch.nn.init.normal_(model.critic_head.weight)
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    return tmp_path / "model"


def test_a_model_meets_only_data_of_its_own_vocabulary(tmp_path, text_model):
    data = sudoku(tmp_path / "data", 6)
    message = "must know the data's tokens by the same ids, got .*whose token 2 is 'a' where that of the data is '1'"
    fixed = as_flags(data_dir=data, output_dir=tmp_path / "out")
    for act, flags in (
        (calibrate.main, [str(data), str(text_model), "8"]),
        (evaluate.main, [*fixed, *as_flags(model=text_model)]),
        (train.main, [*fixed, *as_flags(model_name_or_path=text_model)]),
        (main, [*fixed, *as_flags(task="fillings", model=text_model)]),
    ):
        with pytest.raises(ValueError, match=message):
            act(flags)
    (data / "task.json").unlink()  # data of one's own
    with pytest.raises(ValueError, match=message):
        calibrate.main([str(data), str(text_model), "8"])


def test_a_model_that_knows_more_tokens_or_has_no_tokenizer_is_no_other(tmp_path, text_model):
    check_same_vocabulary("model", text_model, build_character_tokenizer("abc", 8))
    with pytest.raises(ValueError, match=r"`model` must .*whose token 8 is none .*'g' \(1 of 9 are others\)"):
        check_same_vocabulary("model", text_model, build_character_tokenizer("abcdefg", 8))
    check_same_vocabulary("model", tmp_path, build_character_tokenizer("xyz", 8))
    (text_model / "tokenizer.json").write_text("{")
    with pytest.raises(ValueError, match="must hold an intact tokenizer or none"):
        check_same_vocabulary("model", text_model, build_character_tokenizer("abc", 8))


@pytest.mark.parametrize("content", ["", '{"a": [', "[1]"])
@pytest.mark.parametrize("name", ["tokenizer.json", "tokenizer_config.json"])
def test_every_act_names_a_damaged_file_of_a_tokenizer(tmp_path, text_model, name, content):
    data = sudoku(tmp_path / "data", 6)
    intact = (text_model / name).read_bytes()
    fixed = as_flags(data_dir=data, output_dir=tmp_path / "out")
    of_both = [
        (calibrate.main, [str(data), str(text_model), "8"]),
        (evaluate.main, [*fixed, *as_flags(model=text_model)]),
        (train.main, [*fixed, *as_flags(model_name_or_path=text_model)]),
    ]
    of_models = [
        (generate.main, as_flags(model=text_model)),
        (proofread.main, as_flags(model=text_model, text="abc")),
    ]
    for folder, acts in ((text_model, [*of_both, *of_models]), (data, of_both)):
        (text_model / name).write_bytes(intact)
        (folder / name).write_text(content)
        for act, flags in acts:
            with refused(f"`{name}` must", str(folder / name)):
                act(flags)


def test_a_tokenizer_passed_by_hand_is_compared_too(tmp_path, text_model):
    own = AutoTokenizer.from_pretrained(text_model)
    longer = build_character_tokenizer("abcdef", model_max_length=36)
    longer.add_tokens(["added"])
    resized = CriticGPTForMaskedLM.from_pretrained(text_model)
    resized.resize_token_embeddings(len(longer))
    arguments = CriticTrainingArguments(output_dir=str(tmp_path), use_cpu=True, report_to="none")
    for meet in (
        lambda model, tokenizer: pipeline("critic-diffusion", model=model, tokenizer=tokenizer),
        lambda model, tokenizer: pipeline("critic-proofread", model=model, tokenizer=tokenizer),
        Explorer,
        lambda model, tokenizer: CriticTrainer(model, arguments, processing_class=tokenizer, train_dataset=[{}]),
    ):
        with pytest.raises(ValueError, match=r"must be the .*, got one whose token 2 is '1' where that of .* is 'a'"):
            meet(CriticGPTForMaskedLM.from_pretrained(text_model), build_character_tokenizer("123456", 36))
        meet(CriticGPTForMaskedLM.from_pretrained(text_model), own)
        meet(resized, longer)
