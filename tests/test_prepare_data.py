"""Claims about prepared folders and the script which writes them."""

import dataclasses
import json

import datasets
import pytest
from transformers import AutoTokenizer

import critic_gpt.tasks as tasks
from critic_gpt.scripts import prepare_data
from critic_gpt.scripts.prepare_data import PrepareDataArguments, main
from critic_gpt.tasks import SudokuTask, TextTask, load_prepared, load_task


TEXT = "".join(f"line {i} of the corpus with a [MASK] in it\n" for i in range(60))


def prepare_sudoku(folder, **flags):
    flags = {"size": 4, "num_train": 40, "num_validation": 8, "num_test": 8, **flags}
    main(["--task", "sudoku", "--output_dir", str(folder), *flatten(flags)])
    return folder


def prepare_text(folder, source, **flags):
    flags = {"sequence_length": 32, **flags}
    main(["--task", "text", "--source", str(source), "--output_dir", str(folder), *flatten(flags)])
    return folder


def flatten(flags):
    return [part for flag, value in flags.items() for part in (f"--{flag}", str(value))]


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_flags_are_frozen():
    assert {field.name for field in dataclasses.fields(PrepareDataArguments)} == {
        *("task", "output_dir", "overwrite", "seed"),
        *("size", "num_train", "num_validation", "num_test", "grids_per_base"),
        *("source", "text_column", "dataset_config", "dataset_split", "tokenizer", "sequence_length", "window"),
        *("validation_share", "test_share"),
    }
    assert set(prepare_data.OWNERS) < {field.name for field in dataclasses.fields(PrepareDataArguments)}


@pytest.mark.parametrize("size", [4, 6, 9])
def test_prepared_grids_are_valid_disjoint_and_judged_so(tmp_path, size):
    folder = prepare_sudoku(tmp_path / "data", size=size)
    splits, tokenizer, task = load_prepared(folder)
    assert {split: len(part) for split, part in splits.items()} == {"train": 40, "validation": 8, "test": 8}
    assert all(part.column_names == ["input_ids"] for part in splits.values())
    assert (task, task.name, task.sequence_length) == (SudokuTask(size), "sudoku", size * size)
    lines = [tokenizer.decode(ids) for part in splits.values() for ids in part["input_ids"]]
    assert task.judge(lines) == {"valid_rate": 1.0, "distinct_rate": 1.0, "duplicates": 0, "num_samples": 56}


def test_task_json_of_sudoku_is_frozen(tmp_path):
    folder = prepare_sudoku(tmp_path / "data", seed=3)
    assert json.loads((folder / "task.json").read_text()) == {
        "task": "sudoku",
        "size": 4,
        "sequence_length": 16,
        "seed": 3,
        "source": "sudoku 4x4",
        "vocab_size": 6,
        "num_examples": {"train": 40, "validation": 8, "test": 8},
        "num_tokens": {"train": 640, "validation": 128, "test": 128},
    }


def test_the_same_seed_prepares_the_same_grids_and_another_seed_others(tmp_path):
    same = [load_prepared(prepare_sudoku(tmp_path / name, size=6))[0]["train"]["input_ids"][:] for name in "ab"]
    other = load_prepared(prepare_sudoku(tmp_path / "c", size=6, seed=1))[0]["train"]["input_ids"][:]
    assert same[0] == same[1] != other


@pytest.mark.parametrize("window", ["fixed", "lines"])
def test_prepared_text_decodes_to_its_source_and_keeps_a_literal_mask(tmp_path, source, window):
    folder = prepare_text(tmp_path / "data", source, window=window)
    splits, tokenizer, task = load_prepared(folder)
    decoded = {split: [tokenizer.decode(ids) for ids in part["input_ids"]] for split, part in splits.items()}
    if window == "lines":
        assert "".join("".join(texts) for texts in decoded.values()) == TEXT
    assert TEXT.startswith("".join(decoded["train"]))
    assert all(len(ids) <= 32 for part in splits.values() for ids in part["input_ids"])
    assert all(tokenizer.mask_token_id not in ids for part in splits.values() for ids in part["input_ids"])
    assert isinstance(task, TextTask) and (task.name, task.sequence_length, task.window) == ("text", 32, window)
    assert task.judge(decoded["train"])["known_word_rate"] > 0.6  # cut words aside, all are known
    assert task.judge([TEXT[:400]])["known_word_rate"] > 0.9


def test_task_json_of_text_has_counts_and_hash_but_no_folder(tmp_path, source):
    folder = prepare_text(tmp_path / "data", source, tokenizer="character")
    metadata = json.loads((folder / "task.json").read_text())
    assert set(metadata) == {
        *("task", "sequence_length", "window", "validation_share", "test_share", "seed", "source", "source_sha256"),
        *("tokenizer", "vocab_size", "num_characters", "num_examples", "num_tokens"),
    }
    assert metadata["source"] == "corpus.txt" and len(metadata["source_sha256"]) == 64
    assert sum(metadata["num_characters"].values()) == len(TEXT)
    for path in folder.rglob("*"):
        assert path.is_dir() or str(tmp_path).encode() not in path.read_bytes()


def test_a_prepared_tokenizer_can_prepare_again(tmp_path, source):
    first = prepare_text(tmp_path / "first", source)
    second = prepare_text(tmp_path / "second", source, tokenizer=first, sequence_length=16)
    tokenizer = AutoTokenizer.from_pretrained(second)
    assert tokenizer.get_vocab() == AutoTokenizer.from_pretrained(first).get_vocab()
    assert tokenizer.model_max_length == 16
    assert json.loads((second / "task.json").read_text())["tokenizer"] == "first"
    foreign = tmp_path / "foreign.txt"
    foreign.write_text(TEXT.upper())
    with pytest.raises(ValueError, match=r"unknown characters 'C'"):
        prepare_text(tmp_path / "third", foreign, tokenizer=first)


def test_taken_places_are_refused_and_untouched(tmp_path, source):
    prepared = prepare_sudoku(tmp_path / "data")
    before = (prepared / "task.json").read_bytes()
    with pytest.raises(ValueError, match=r"`output_dir` must be new or empty, .*or pass --overwrite"):
        prepare_sudoku(prepared, seed=1)
    assert (prepared / "task.json").read_bytes() == before
    with pytest.raises(ValueError, match=r"`output_dir` must be a folder, got the file"):
        prepare_sudoku(source)


def test_overwrite_replaces_prepared_data_and_nothing_else(tmp_path, source):
    folder = prepare_text(tmp_path / "data", source)
    flags = {"size": 4, "num_train": 9, "num_validation": 1, "num_test": 1, "output_dir": folder}
    main(["--task", "sudoku", "--overwrite", *flatten(flags)])
    assert isinstance(load_task(folder), SudokuTask) and not (folder / "train_words.txt").exists()
    (folder / "config.json").write_text("{}")  # a model was saved here
    for other in (folder, tmp_path):
        before = contents(other)
        with pytest.raises(ValueError, match=r"which holds other files; choose another folder"):
            main(["--task", "sudoku", "--size", "4", "--overwrite", "--output_dir", str(other)])
        assert contents(other) == before


def test_an_empty_folder_and_missing_parents_are_fine(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "deep" / "er"):
        assert load_task(prepare_sudoku(folder)) == SudokuTask(4)


def test_an_interruption_leaves_no_half_written_folder(tmp_path, monkeypatch):
    old = prepare_sudoku(tmp_path / "old")
    before = contents(tmp_path)

    def interrupt(path, *args, **kwargs):
        assert (path.parent / "tokenizer.json").exists() and (path.parent / "train").exists()
        raise KeyboardInterrupt

    monkeypatch.setattr(tasks.Path, "write_text", interrupt)  # comes after the data and the tokenizer
    for folder, flags in ((tmp_path / "new", []), (old, ["--overwrite"])):
        with pytest.raises(KeyboardInterrupt):
            main(["--task", "text", "--output_dir", str(folder), *flags])
    monkeypatch.undo()
    assert contents(tmp_path) == before
    assert load_task(old) == SudokuTask(4)


@pytest.mark.parametrize(
    ("flags", "message"),
    [
        (
            ["--task", "sudoku", "--source", "x"],
            "`source` belongs to the task 'text' only, got 'x' with --task sudoku",
        ),
        (["--task", "text", "--num_train", "5"], "`num_train` belongs to the task 'sudoku' only, got 5"),
        (["--task", "sudoku", "--size", "5"], "`size` must be 4, 6 or 9, got 5"),
        (["--task", "sudoku", "--size", "4"], "must be at most 288"),
        (["--task", "sudoku", "--num_test", "0"], "`num_test` must be at least 1, got 0"),
        (["--task", "sudoku", "--seed", "-1"], "`seed` must be at least 0, got -1"),
        (["--task", "text", "--sequence_length", "1"], "`sequence_length` must be at least 2, got 1"),
    ],
)
def test_wrong_flags_are_one_sentence_and_write_nothing(tmp_path, flags, message):
    with pytest.raises(ValueError, match=message) as error:
        main([*flags, "--output_dir", str(tmp_path / "data")])
    assert str(error.value).endswith(".") and "\n" not in str(error.value)
    assert contents(tmp_path) == []


def test_missing_and_corrupt_folders_are_one_sentence(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"`folder` must be a folder of prepared data, .*does not exist; make"):
        load_prepared(tmp_path / "none")
    with pytest.raises(FileNotFoundError, match=r"`folder` must hold task.json, .*prepare the data again"):
        load_prepared(tmp_path)
    folder = prepare_sudoku(tmp_path / "data")
    good = json.loads((folder / "task.json").read_text())
    for bad in ("{", "[]", "{}", '{"task": "chess"}', '{"task": "sudoku"}', json.dumps({**good, "size": 7}), "\xff"):
        (folder / "task.json").write_text(bad, encoding="latin-1")
        with pytest.raises(ValueError, match=r"`folder` must hold an intact task.json, .*prepare it anew") as error:
            load_task(folder)
        assert "\n" not in str(error.value)
    (folder / "task.json").write_text(json.dumps(good))
    (folder / "dataset_dict.json").write_text("{")
    with pytest.raises(ValueError, match=r"`folder` must hold intact data"):
        load_prepared(folder)
    (folder / "tokenizer.json").unlink()
    with pytest.raises(FileNotFoundError, match=r"`folder` must hold tokenizer.json"):
        load_prepared(folder)


def test_prepared_data_reads_as_a_plain_dataset_and_tokenizer(tmp_path):
    folder = prepare_sudoku(tmp_path / "data")
    assert set(datasets.load_from_disk(str(folder))) == {"train", "validation", "test"}
    assert AutoTokenizer.from_pretrained(folder).mask_token == "[MASK]"
