# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about how the data that somebody names are found and loaded."""

import json

import datasets
import pytest
from prepared_folders import prepare_sudoku
from sentences import one_sentence

from critic_gpt.evaluation import load_split, resolve_dataset
from critic_gpt.evaluation.data_sources import PACKAGE_FOLDER, PLACES, DataSource


ROWS = {"input_ids": [[2, 3, 4], [5, 6]]}


def save(folder, splits=("train", "validation")):
    """A small folder of `save_to_disk`."""
    datasets.DatasetDict({name: datasets.Dataset.from_dict(ROWS) for name in splits}).save_to_disk(str(folder))
    return folder


# ---- finding ----


@pytest.mark.parametrize("place", PLACES)
def test_a_name_is_found_in_every_place_below_every_root(tmp_path, place):
    for root in ("first", "second"):
        folder = save(tmp_path / root / place.format(name="letters"))
        source = resolve_dataset("letters", roots=[tmp_path / "first", tmp_path / "second"])
        assert source == DataSource(folder, None)
        (folder / "dataset_dict.json").unlink()
        for file in folder.rglob("*.arrow"):
            file.unlink()


def test_the_earlier_place_wins_and_a_folder_without_data_is_passed_over(tmp_path):
    late = save(tmp_path / "runs" / "letters" / "data")
    (tmp_path / "letters").mkdir()
    (tmp_path / "letters" / "notes.txt").write_text("no data")
    (tmp_path / "runs" / "letters" / "model").mkdir()
    (tmp_path / "runs" / "letters" / "model" / "config.json").write_text("{}")
    assert resolve_dataset("letters", roots=[tmp_path]).folder == late
    early = save(tmp_path / "data" / "letters")
    assert resolve_dataset("letters", roots=[tmp_path]).folder == early


def test_names_are_looked_up_below_the_working_folder_and_below_the_package(tmp_path, monkeypatch):
    folder = save(tmp_path / "data" / "letters")
    for working in (tmp_path, tmp_path / "data"):
        monkeypatch.chdir(working)
        assert resolve_dataset("letters").folder.resolve() == folder
    monkeypatch.chdir("/")
    monkeypatch.setattr("critic_gpt.evaluation.data_sources.PACKAGE_FOLDER", tmp_path)
    assert resolve_dataset("letters").folder == folder
    assert (PACKAGE_FOLDER / "evaluation").is_dir()


@pytest.mark.parametrize("absolute", [True, False])
def test_a_path_is_itself(tmp_path, monkeypatch, absolute):
    folder = save(tmp_path / "some" / "where")
    monkeypatch.chdir(tmp_path)
    assert resolve_dataset(str(folder) if absolute else "some/where").folder.resolve() == folder


@pytest.mark.parametrize(
    ("file", "text"),
    [
        ("train.json", '{"dataset": "letters", "lr": 0.1}'),
        ("train.json", '{"data_dir": "data/letters"}'),
        ("train.yaml", "lr: 0.1\ndataset: letters\n"),
        ("train.yml", "data_dir: letters"),
        ("train.py", 'dataset = "letters"\n'),
        ("train.py", 'dataset: str = "letters"\n'),
        ("train.py", 'dataset = "numbers"\nbatch_size = 2 * 8\ndataset = "letters"\ndata_dir: str\n'),
    ],
)
def test_a_config_names_the_data(tmp_path, file, text):
    folder = save(tmp_path / "data" / "letters")
    (tmp_path / "config").mkdir()
    (tmp_path / "config" / file).write_text(text)
    assert resolve_dataset(str(tmp_path / "config" / file), roots=[tmp_path]).folder.resolve() == folder
    # Without help from the roots as well: a config lies in its repository, or one folder below.
    assert resolve_dataset(str(tmp_path / "config" / file), roots=[]).folder.resolve() == folder


def test_a_python_config_is_read_and_never_run(tmp_path):
    folder, victim = save(tmp_path / "data" / "letters"), tmp_path / "was_run"
    config = tmp_path / "train.py"
    config.write_text(
        f"import pathlib\npathlib.Path({str(victim)!r}).touch()\nraise SystemExit\n"
        f'dataset = "letters"\nother = pathlib.Path({str(victim)!r}).touch()\n'
    )
    assert resolve_dataset(str(config), roots=[tmp_path]).folder == folder
    assert not victim.exists()


@pytest.mark.parametrize(
    ("file", "text", "named"),
    [
        ("a.py", "batch_size = 8\n", "none"),
        ("a.py", 'import os\ndataset = os.environ["HOME"]\n', "none"),
        ("a.py", 'name = "x"\ndataset = "letters"\ndataset += name\n', "none"),
        ("a.py", 'dataset = f"{1}"\n', "none"),
        ("a.py", 'def f():\n    dataset = "letters"\n', "none"),
        ("a.py", "dataset = 5\n", "none"),
        ("a.py", 'dataset = "letters\n', "parses"),
        ("a.json", '{"dataset": "letters", "data_dir": "numbers"}', "'letters' and 'numbers'"),
        ("a.json", '["letters"]', "none"),
        ("a.json", "{broken", "parses"),
        ("a.yaml", "a: [1", "parses"),
        ("a.yaml", "!!python/object/apply:os.system ['true']", "parses"),
        ("a.yaml", "", "none"),
        ("a.py", 'dataset = "no where"\n', "named by"),
    ],
)
def test_a_config_that_names_no_data_in_plain_text_is_refused(tmp_path, file, text, named):
    save(tmp_path / "data" / "letters")
    (tmp_path / file).write_text(text)
    with one_sentence("must", "got", "`dataset`", named):
        resolve_dataset(str(tmp_path / file), roots=[tmp_path])


def test_what_is_not_here_may_be_on_the_hub_if_it_could_be_a_name_there(tmp_path):
    for name in ("letters", "user/letters", "user-1/let.ters_2"):
        assert resolve_dataset(name, roots=[tmp_path]) == DataSource(None, name)
    (tmp_path / "empty").mkdir()
    for name in ("/nowhere/letters", "a/b/c", "", "../letters", "./letters", str(tmp_path / "empty"), "train.py/"):
        with one_sentence("must", "got", "`dataset`", repr(name), str(tmp_path), "prepare_data.py"):
            resolve_dataset(name, roots=[tmp_path])


def test_a_source_is_called_by_its_last_part_and_not_by_the_path_of_a_machine(tmp_path):
    assert DataSource(save(tmp_path / "letters"), None).name == "letters"
    assert DataSource(None, "user/letters").name == "user/letters"


# ---- loading ----


def test_a_prepared_folder_brings_its_tokenizer_and_task(tmp_path):
    loaded = load_split(DataSource(prepare_sudoku(tmp_path / "sudoku", splits=(4, 3, 2)), None), "validation")
    assert len(loaded.dataset) == 3 and loaded.task.name == "sudoku" and loaded.tokenizer.mask_token_id == 1


@pytest.mark.parametrize("split", ["validation", "val", "valid", "dev"])
def test_validation_has_other_names_too(tmp_path, split):
    loaded = load_split(DataSource(save(tmp_path / "letters", ("train", split)), None), "validation")
    assert loaded.dataset[1] == {"input_ids": [5, 6]} and loaded.tokenizer is None and loaded.task is None


def test_data_without_splits_are_train(tmp_path):
    datasets.Dataset.from_dict(ROWS).save_to_disk(str(tmp_path / "letters"))
    source = resolve_dataset("letters", roots=[tmp_path])
    assert list(load_split(source, "train").dataset) == [{"input_ids": [2, 3, 4]}, {"input_ids": [5, 6]}]
    with one_sentence("must", "got", "`split`", "'validation'", "(train)"):
        load_split(source, "validation")


@pytest.mark.parametrize("kind", ["parquet", "jsonl"])
def test_folders_of_plain_files_load(tmp_path, kind, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    (tmp_path / "letters").mkdir()
    for split in ("train", "validation"):
        rows, path = datasets.Dataset.from_dict(ROWS), str(tmp_path / "letters" / f"{split}.{kind}")
        rows.to_parquet(path) if kind == "parquet" else rows.to_json(path)
    source = resolve_dataset("letters", roots=[tmp_path])
    for split in ("train", "validation"):
        assert load_split(source, split).dataset[0] == {"input_ids": [2, 3, 4]}


def test_what_does_not_load_or_is_empty_is_one_sentence(tmp_path, monkeypatch):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "dataset_dict.json").write_text(json.dumps({"splits": ["train"]}))
    for source, named in (
        (DataSource(tmp_path / "broken", None), "broken"),
        (DataSource(None, "user/gone"), "user/gone"),
    ):
        with one_sentence("must", "got", "`dataset`", named, "did not load"):
            load_split(source, "train")
    folder = save(tmp_path / "letters", ("train",))
    monkeypatch.setattr(datasets, "load_from_disk", lambda path: datasets.Dataset.from_dict({"input_ids": []}))
    with one_sentence("must", "got", "`split`", "none"):
        load_split(DataSource(folder, None), "train")
