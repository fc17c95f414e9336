"""Claims about prepared folders and the script which writes them."""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import datasets
import pytest
import torch
from prepared_folders import as_flags, prepare_text
from prepared_folders import prepare_sudoku as prepare
from sentences import one_sentence
from transformers import AutoTokenizer

import critic_gpt.tasks as tasks
from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.scripts import prepare_data
from critic_gpt.scripts.prepare_data import PrepareDataArguments, main
from critic_gpt.tasks import (
    SudokuTask,
    TextTask,
    files,
    load_prepared,
    load_puzzles,
    load_task,
    rows,
    stream_prepared,
    words_of,
)
from critic_gpt.tasks.sudoku import DEFAULT_BLANKS


TEXT = "".join(f"line {i} of the corpus with a [MASK] in it\n" for i in range(60))


def prepare_sudoku(folder, **flags):
    return prepare(folder, splits=(40, 8, 8), **flags)


def contents(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "corpus.txt"
    path.write_text(TEXT, encoding="utf-8")
    return path


def test_flags_are_frozen():
    def names(flags):
        return {field.name for field in dataclasses.fields(flags)}

    assert names(PrepareDataArguments) == {"task", "output_dir", "overwrite", "seed"}
    assert {task: names(preparation.Flags) for task, preparation in prepare_data.preparations().items()} == {
        "sudoku": {"size", "num_train", "num_validation", "num_test", "grids_per_base", "num_puzzles", "blanks"},
        "text": {
            *("source", "text_column", "dataset_config", "dataset_split", "tokenizer", "sequence_length", "window"),
            *("validation_share", "test_share", "judge_share", "end_documents"),
        },
        "smiles": {
            *("source", "text_column", "dataset_config", "dataset_split", "notation", "sequence_length", "num_train"),
            *("validation_share", "test_share"),
        },
        "fillings": {"model", "data_dir", "num_sequences", "batch_size"},
    }


PARITY = """
from dataclasses import dataclass, field

import numpy as np

from critic_gpt.tasks.base import Prepared, Task, register_task
from critic_gpt.tasks.tokenizers import build_character_tokenizer


@dataclass
class ParityFlags:
    length: int = field(default=8, metadata={"help": "Bits in a line."})


@register_task
@dataclass(frozen=True)
class Parity(Task):
    sequence_length: int

    name = "parity"
    figures = {"even_rate": "share of lines with an even number of ones"}
    Flags = ParityFlags

    @classmethod
    def prepare(cls, flags, seed):
        tokenizer = build_character_tokenizer("01", model_max_length=flags.length)
        rng = np.random.default_rng(seed)
        windows = {split: rng.integers(2, 4, (5, flags.length)) for split in ("train", "validation", "test")}
        metadata = {"task": cls.name, "sequence_length": flags.length, "source": "bits", "seed": seed}
        return Prepared(windows, tokenizer, metadata)

    @classmethod
    def load(cls, metadata, folder):
        return cls(metadata["sequence_length"])

    def judge(self, texts):
        return {"even_rate": sum(text.count("1") % 2 == 0 for text in texts) / len(texts), "num_samples": len(texts)}
"""
RUN_PARITY = """
import sys
import critic_gpt.tasks
from critic_gpt.scripts.prepare_data import main
main(["--task", "parity", "--length", "12", "--output_dir", sys.argv[1]])
splits, tokenizer, task = critic_gpt.tasks.load_prepared(sys.argv[1])
print(task, len(splits["train"]), task.judge([tokenizer.decode(splits["train"][0]["input_ids"])])["num_samples"])
try:
    main(["--task", "parity", "--size", "4", "--output_dir", "unused"])
except ValueError as error:
    print(error)
"""


def test_a_new_task_is_one_new_file(tmp_path):
    package = tmp_path / "critic_gpt"
    (package / "tasks").mkdir(parents=True)
    root = Path(tasks.__file__).parent.parent
    for path in [*root.glob("*"), *(root / "tasks").glob("*.py")]:
        if path != root / "tasks":
            (package / path.relative_to(root)).symlink_to(path)
    (package / "tasks" / "parity.py").write_text(PARITY)
    command = [sys.executable, "-c", RUN_PARITY, str(tmp_path / "data")]
    environment = {**os.environ, "PYTHONPATH": str(tmp_path)}
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    assert "Parity(sequence_length=12) 5 1" in run.stdout
    with pytest.raises(ValueError, match="`name` must be new, got 'text', the name of TextTask"):
        tasks.register_task(type("Other", (TextTask,), {}))
    assert "`size` belongs to the task 'sudoku' only, got 4 with --task parity" in run.stdout


@pytest.mark.parametrize("size", [4, 6, 9])
def test_prepared_grids_are_valid_disjoint_and_judged_so(tmp_path, size):
    folder = prepare_sudoku(tmp_path / "data", size=size)
    splits, tokenizer, task = load_prepared(folder)
    assert {split: len(part) for split, part in splits.items()} == {"train": 40, "validation": 8, "test": 8}
    assert all(part.column_names == ["input_ids"] for part in splits.values())
    assert (task, task.name, task.sequence_length) == (SudokuTask(size), "sudoku", size * size)
    lines = [tokenizer.decode(ids) for part in splits.values() for ids in part["input_ids"]]
    assert task.judge(lines) == {"valid_rate": 1.0, "distinct_rate": 1.0, "duplicates": 0, "num_samples": 56}
    # The same seed prepares the same grids, another one others; the number of blanks suits the size.
    same = prepare_sudoku(tmp_path / "same", size=size, num_puzzles=2)
    other = prepare_sudoku(tmp_path / "other", size=size, seed=1)
    train = [load_prepared(one)[0]["train"]["input_ids"][:] for one in (folder, same, other)]
    assert train[0] == train[1] != train[2]
    assert ((load_puzzles(same).puzzles == 0).sum(axis=(1, 2)) == DEFAULT_BLANKS[size]).all()


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
    prepare(folder, splits=(9, 1, 1), overwrite=True)
    assert isinstance(load_task(folder), SudokuTask) and not (folder / "train_words.txt").exists()
    (folder / "config.json").write_text("{}")  # a model was saved here
    for other in (folder, tmp_path):
        before = contents(other)
        with pytest.raises(ValueError, match=r"which holds other files; choose another folder"):
            main(["--task", "sudoku", "--size", "4", "--overwrite", "--output_dir", str(other)])
        assert contents(other) == before


@pytest.mark.parametrize("is_there", [False, True])
def test_data_go_where_a_link_leads_and_the_link_stays(tmp_path, is_there):
    there, link = tmp_path / "other disk" / "data", tmp_path / "data"
    if is_there:
        there.mkdir(parents=True)
    link.symlink_to(there)
    for flags in ({}, {"overwrite": True, "seed": 1}):
        prepare_sudoku(link, **flags)
        assert link.is_symlink() and isinstance(load_task(there), SudokuTask)
        assert sorted(path.name for path in tmp_path.iterdir()) == ["data", "other disk"]
    assert json.loads((there / "task.json").read_text())["seed"] == 1


def test_an_empty_folder_and_missing_parents_are_fine_and_the_data_plain(tmp_path):
    (tmp_path / "empty").mkdir()
    for folder in (tmp_path / "empty", tmp_path / "deep" / "er"):
        assert load_task(prepare_sudoku(folder)) == SudokuTask(4)
    assert set(datasets.load_from_disk(str(folder))) == {"train", "validation", "test"}
    assert AutoTokenizer.from_pretrained(folder).mask_token == "[MASK]"


def test_an_interruption_leaves_no_half_written_folder(tmp_path, monkeypatch):
    old = prepare_sudoku(tmp_path / "old")
    before = contents(tmp_path)

    def interrupt(descriptor):
        assert list(tmp_path.glob("**/tokenizer.json")) and list(tmp_path.glob("**/train"))
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupt)  # comes after the data and the tokenizer
    for folder, flags in ((tmp_path / "new", []), (old, ["--overwrite"])):
        with pytest.raises(KeyboardInterrupt):
            main(["--task", "text", "--output_dir", str(folder), *flags])
    monkeypatch.undo()
    assert contents(tmp_path) == before
    assert load_task(old) == SudokuTask(4)


FULL = {"size": 4, "num_train": 272, "num_validation": 8, "num_test": 7, "num_puzzles": 2}


@pytest.mark.parametrize(
    ("task", "flags", "message"),
    [
        ("sudoku", {"source": "x"}, "`source` belongs to the task 'text' only, got 'x' with --task sudoku"),
        ("text", {"num_train": 5}, "`num_train` belongs to the task 'sudoku' only, got 5"),
        ("sudoku", {"size": 5}, "`size` must be 4, 6 or 9, got 5"),
        ("sudoku", {"size": 4}, "must be at most 288"),
        ("sudoku", {"num_test": 0}, "`num_test` must be at least 1, got 0"),
        ("sudoku", {"seed": -1}, "`seed` must be at least 0, got -1"),
        ("text", {"sequence_length": 1}, "`sequence_length` must be at least 2, got 1"),
        ("text", {"judge_share": 1}, r"`judge_share` must be in \[0, 1\), got 1.0"),
        ("text", {"judge_share": 0.9}, r"`validation_share \+ test_share \+ judge_share` must be below 1"),
        ("text", {"num_puzzles": 5}, "`num_puzzles` belongs to the task 'sudoku' only, got 5"),
        ("sudoku", {"blanks": 5}, "`blanks` needs `num_puzzles`, got 5 and 0 puzzles"),
        ("sudoku", {"num_puzzles": -1}, "`num_puzzles` must be at least 0, got -1"),
        ("sudoku", FULL, "`num_puzzles` must .* leave room beside the 287 grids .* among the 288 of 4x4, got 2"),
    ],
)
def test_wrong_flags_are_one_sentence_and_write_nothing(tmp_path, task, flags, message):
    with one_sentence() as error:
        main(as_flags(task=task, output_dir=tmp_path / "data", **flags))
    assert re.search(message, str(error.value)) and contents(tmp_path) == []


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


# ---- puzzles and the judge's part ----


@pytest.mark.parametrize("size", [4, 9])
def test_puzzles_lie_beside_the_splits_and_change_nothing_in_them(tmp_path, size, capsys):
    plain = prepare_sudoku(tmp_path / "plain", size=size)
    with pytest.raises(FileNotFoundError, match=r"`folder` must hold puzzles.txt, .*--num_puzzles 1000"):
        load_puzzles(plain)
    folder = prepare_sudoku(tmp_path / "puzzles", size=size, num_puzzles=6, blanks=9)
    assert "test 8 examples, 6 puzzles of 9 blanks" in capsys.readouterr().out
    puzzles, splits = load_puzzles(folder), load_prepared(folder)[0]
    assert (len(puzzles), puzzles.task) == (6, SudokuTask(size))
    assert ((puzzles.puzzles == 0).sum(axis=(1, 2)) == 9).all()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    lines = {tokenizer.decode(ids) for part in splits.values() for ids in part["input_ids"]}
    assert not lines & {puzzles.task.to_line(solution) for solution in puzzles.solutions}
    for split, part in load_prepared(plain)[0].items():
        assert part["input_ids"][:] == splits[split]["input_ids"][:]
    old, new = (json.loads((path / "task.json").read_text()) for path in (plain, folder))
    assert new == {**old, "num_puzzles": 6, "blanks": 9}


def test_broken_puzzles_and_those_of_a_text_are_one_sentence(tmp_path, source):
    folder = prepare_sudoku(tmp_path / "data", num_puzzles=2)
    (folder / "puzzles.txt").write_text("1234")
    with pytest.raises(ValueError, match=r"`folder` must hold an intact puzzles.txt, .*; prepare it anew\.$"):
        load_puzzles(folder)
    with pytest.raises(
        ValueError, match=r"`folder` must hold grids or molecules to have puzzles, got .* of the task 'text'; give"
    ):
        load_puzzles(prepare_text(tmp_path / "text", source))


@pytest.mark.parametrize("window", ["fixed", "lines"])
def test_a_judge_gets_the_end_of_the_text_and_the_other_splits_the_rest(tmp_path, source, window):
    folder = prepare_text(tmp_path / "data", source, window=window, judge_share=0.5)
    splits, tokenizer, task = load_prepared(folder)
    assert list(splits) == ["train", "validation", "test", "judge"]
    assert task.judge_share == 0.5
    decoded = {split: "".join(tokenizer.decode(ids) for ids in part["input_ids"]) for split, part in splits.items()}
    metadata = json.loads((folder / "task.json").read_text())
    characters = metadata["num_characters"]
    assert metadata["judge_share"] == 0.5
    assert sum(characters.values()) == len(TEXT) and abs(characters["judge"] / len(TEXT) - 0.5) < 0.03
    half = TEXT[len(TEXT) - characters["judge"] :]
    assert half.startswith("line ") and half.startswith(decoded["judge"])
    assert task.train_words == frozenset(words_of(TEXT[: characters["train"]]))


def test_fillings_leave_the_judges_part_alone(tmp_path, source):
    data = prepare_text(tmp_path / "data", source, judge_share=0.5)
    shape = {"n_embd": 8, "n_head": 1, "n_layer": 1, "block_size": 32, "mask_token_id": 1}
    config = CriticGPTConfig(vocab_size=len(load_prepared(data)[1]), **shape)
    CriticGPTForMaskedLM(config).save_pretrained(tmp_path / "model")
    main(as_flags(task="fillings", model=tmp_path / "model", data_dir=data, output_dir=tmp_path / "out"))
    assert list(load_prepared(tmp_path / "out")[0]) == ["train", "validation", "test"]


# ---- pieces ----


@pytest.mark.parametrize("window", ["fixed", "lines"])
@pytest.mark.parametrize("block", [1, 7, 50])
def test_text_read_in_pieces_is_prepared_as_in_one(tmp_path, monkeypatch, window, block):
    text = TEXT + "Ä long wörd\r\n" + "x" * 90 + "\n" + TEXT.replace("line", "Straße")
    path = tmp_path / "corpus.txt"
    path.write_bytes(text.encode())
    task = TextTask(source=str(path), sequence_length=32, window=window)
    monkeypatch.setattr(files, "BLOCK_BYTES", block)
    monkeypatch.setattr(rows, "ROWS_PER_CHUNK", 3)
    splits, tokenizer, loaded = load_prepared(prepare_text(tmp_path / "data", path, window=window))
    assert task.reader().survey().num_characters == {"train": len(text)}
    for split, part in task.split(text).items():
        assert splits[split]["input_ids"][:] == [ids.tolist() for ids in task.windows(part, tokenizer, split)]
    assert loaded.train_words == set(words_of(task.split(text)["train"]))


# ---- streams ----


def test_a_stream_of_prepared_data_is_shuffled_in_each_epoch_and_alike_each_time(tmp_path):
    folder = prepare_sudoku(tmp_path / "data")
    stored = load_prepared(folder)[0]["train"]["input_ids"][:]
    stream = stream_prepared(folder, "train", seed=1, buffer_size=16)
    first = [row["input_ids"] for row in stream]
    assert first == [row["input_ids"] for row in stream_prepared(folder, "train", seed=1, buffer_size=16)]
    assert first != stored and sorted(first) == sorted(stored)
    stream.set_epoch(1)
    assert [row["input_ids"] for row in stream] != first
    assert [row["input_ids"] for row in stream_prepared(folder, buffer_size=1)] == stored
    with pytest.raises(ValueError, match="`split` must be one of train, validation, test, got 'dev'"):
        stream_prepared(folder, "dev")
    with pytest.raises(ValueError, match="`buffer_size` must be at least 1"):
        stream_prepared(folder, buffer_size=0)


MEMORY = """
import sys, threading
from critic_gpt.scripts.prepare_data import main
from critic_gpt.tasks import stream_prepared
from critic_gpt.training.data import IdentifiedStream

peak, done = 0, threading.Event()

def watch():
    global peak
    while not done.wait(0.01):
        with open("/proc/self/status") as status:
            peak = max(peak, next(int(line.split()[1]) for line in status if line.startswith("RssAnon")))

watcher = threading.Thread(target=watch)
watcher.start()
main(["--task", "text", "--source", sys.argv[1], "--output_dir", sys.argv[2], "--sequence_length", "128"])
count = sum(1 for _ in IdentifiedStream(stream_prepared(sys.argv[2], buffer_size=100), batch_size=4))
done.set()
watcher.join()
print("peak", peak, count)
"""


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs the memory figures of Linux")
def test_a_corpus_four_times_larger_takes_no_more_memory(tmp_path):
    peaks = []
    # Buffers are full from about 10 MB on: before, memory grows with what is read, whatever reads it.
    for num_megabytes in (15, 60):
        source, line = tmp_path / "corpus.txt", "the same words stand in every line of this corpus again\n"
        source.write_text(line * (num_megabytes * 2**20 // len(line)))
        command = [sys.executable, "-c", MEMORY, str(source), str(tmp_path / str(num_megabytes))]
        run = subprocess.run(command, capture_output=True, text=True, check=True)
        _, peak, count = run.stdout.strip().splitlines()[-1].split()
        assert int(count) > 0.85 * num_megabytes * 2**20 / 128
        peaks.append(int(peak) / 1024)
    # In MiB: less than the text itself, of which tokens and objects would take several times as much.
    assert peaks[1] - peaks[0] < 25


# ---- fillings ----


@pytest.fixture(scope="module")
def filled(tmp_path_factory):
    """Text, fillings of it by a model, and the flags that made them."""
    folder = tmp_path_factory.mktemp("filled")
    (folder / "corpus.txt").write_text(TEXT, encoding="utf-8")
    data = prepare_text(folder / "data", folder / "corpus.txt", window="lines", sequence_length=48)
    torch.manual_seed(0)
    shape = {"n_embd": 16, "n_head": 2, "n_layer": 2, "block_size": 48, "mask_token_id": 1, "pad_token_id": 0}
    config = CriticGPTConfig(vocab_size=len(load_prepared(data)[1]), **shape)
    CriticGPTForMaskedLM(config).save_pretrained(folder / "model")
    common = as_flags(task="fillings", model=folder / "model", data_dir=data)
    main([*common, *as_flags(num_sequences=70, batch_size=8, output_dir=folder / "fillings")])
    return data, folder / "fillings", common


def test_fillings_say_where_the_model_was_right(filled):
    data, folder, _ = filled
    truth, (splits, tokenizer, _) = load_prepared(data)[0], load_prepared(folder)
    assert {split: len(part) for split, part in splits.items()} == dict.fromkeys(tasks.SPLITS, 70)
    judged = 0
    for split, part in splits.items():
        for i, row in enumerate(part):
            true = truth[split][i % len(truth[split])]["input_ids"]
            assert len(row["input_ids"]) == len(row["labels"]) == len(true)
            assert not {tokenizer.mask_token_id, tokenizer.pad_token_id} & set(row["input_ids"])
            for token, label, right in zip(row["input_ids"], row["labels"], true, strict=True):
                assert label in (-100, 0, 1) and (token == right) == (label != 0)
            assert row["score"] == pytest.approx(row["labels"].count(0) / len(true))
            judged += len(true) - row["labels"].count(-100)
    assert judged > 0 and any(0 in labels for labels in splits["train"]["labels"])
    assert any(1 in labels for labels in splits["train"]["labels"])
    # They keep the task, and say what made them.
    old, new = json.loads((data / "task.json").read_text()), json.loads((folder / "task.json").read_text())
    assert new.pop("fillings") == {"model": "model", "seed": 0, "num_sequences": 70}
    counted = ("num_examples", "num_tokens")
    assert {k: v for k, v in new.items() if k not in counted} == {k: v for k, v in old.items() if k not in counted}
    assert load_task(folder) == load_task(data)


def test_a_sequence_that_comes_again_is_masked_otherwise_and_the_whole_is_repeatable(filled, tmp_path):
    data, folder, common = filled
    rows_ = load_prepared(folder)[0]["test"]
    num = len(load_prepared(data)[0]["test"])
    assert rows_[0]["labels"] != rows_[num]["labels"] or rows_[1]["labels"] != rows_[num + 1]["labels"]
    main([*common, "--num_sequences", "70", "--output_dir", str(tmp_path / "again")])
    assert load_prepared(tmp_path / "again")[0]["test"][:10] == rows_[:10]


def test_fillings_need_a_model_and_true_sequences(filled, tmp_path):
    _, folder, common = filled
    for flags, message in (
        (["--task", "fillings"], "`model` and `data_dir` must be given with --task fillings"),
        ([*common[:-1], str(folder)], "`data_dir` must hold true sequences"),
        ([*common, "--num_sequences", "0"], "`num_sequences` must be at least 1, got 0"),
        (["--task", "sudoku", "--model", "runs/lm"], "`model` belongs to the task 'fillings' only"),
    ):
        with pytest.raises(ValueError, match=message):
            main([*flags, *as_flags(output_dir=tmp_path / "other")])


@pytest.mark.parametrize(
    "flags", [["--task", "sudoku", "--size", "4", "--num_train", "20"], ["--task", "text", "--sequence_length", "64"]]
)
def test_a_bar_for_each_split_is_shown_at_a_terminal_alone(tmp_path, monkeypatch, capsys, flags):
    flags += [] if "text" in flags else ["--num_validation", "3", "--num_test", "3"]
    main([*flags, "--output_dir", str(tmp_path / "a")])
    assert "train:" not in capsys.readouterr().err  # `datasets` shows what it saves in any case
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    main([*flags, "--output_dir", str(tmp_path / "b")])
    said = capsys.readouterr().err
    metadata = json.loads((tmp_path / "b" / "task.json").read_text())
    for split, num in metadata["num_examples"].items():
        assert f"{split}: 100%" in said and f"{num}/{num} " in said
