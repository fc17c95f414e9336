# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about sources of text: the same documents from files of every kind, given splits, and what is refused."""

import bz2
import gzip
import json
import logging
import lzma
import re

import datasets
import pyarrow
import pyarrow.parquet
import pytest
from prepared_folders import prepare_text
from sentences import one_sentence

from critic_gpt.hub.documents import cause_of
from critic_gpt.tasks import files, load_prepared
from critic_gpt.tasks.corpus import CorpusReader, read_corpus


ROWS = ["first, with a comma", 'second "quoted"\nof two lines', "third: é 😀", "\u2028 separators \x0c stay"]
JOINED = "".join(f"{row}\n" for row in ROWS)


def json_lines(rows, column="text"):
    return "".join(json.dumps({"id": i, column: row}, ensure_ascii=i % 2 == 0) + "\n" for i, row in enumerate(rows))


def table(rows, delimiter, column="text"):
    quoted = ('"' + row.replace('"', '""') + '"' for row in rows)
    return f"id{delimiter}{column}\n" + "".join(f"{i}{delimiter}{row}\n" for i, row in enumerate(quoted))


def parquet(path, rows, column="text"):
    pyarrow.parquet.write_table(pyarrow.table({"id": list(range(len(rows))), column: rows}), path)
    return path.read_bytes()


def contents(tmp_path, column="text"):
    """The rows in files of every kind, by name."""
    records = [{column: row} for row in ROWS]
    return {
        "rows.jsonl": json_lines(ROWS, column).encode(),
        "rows.JSONL": json_lines(ROWS, column).encode("utf-8-sig"),
        "lines.json": json_lines(ROWS, column).encode(),
        "rows.json": json.dumps(records).encode(),
        "wrapped.json": json.dumps({"data": records}).encode(),
        "columns.json": json.dumps({column: ROWS}).encode(),
        "rows.csv": table(ROWS, ",", column).encode(),
        "wide.csv": table(ROWS, ",", column).encode("utf-16"),
        "rows.tsv": table(ROWS, "\t", column).encode(),
        "rows.parquet": parquet(tmp_path / "made.parquet", ROWS, column),
        "nameless": parquet(tmp_path / "made.parquet", ROWS, column),
        "rows.jsonl.gz": gzip.compress(json_lines(ROWS, column).encode(), mtime=0),
        "rows.csv.bz2": bz2.compress(table(ROWS, ",", column).encode()),
        "rows.json.xz": lzma.compress(json.dumps(records).encode()),
        "rows.parquet.gz": gzip.compress(parquet(tmp_path / "made.parquet", ROWS, column), mtime=0),
    }


@pytest.mark.parametrize("column", ["text", "body"])
def test_the_same_rows_are_read_from_tables_of_every_kind(tmp_path, column):
    for name, content in contents(tmp_path, column).items():
        path = tmp_path / name
        path.write_bytes(content)
        corpus = read_corpus(str(path), text_column=column)
        assert (corpus.text, corpus.title) == (JOINED, name)
        with pytest.raises(ValueError, match=f"`text_column` must be a column of '{name}', got 'none'; choose one of"):
            read_corpus(str(path), text_column="none")


TEXT = "\r\nline é\r\n\ttabs\n\n  end 😀"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-32"])
@pytest.mark.parametrize("compress", [bytes, gzip.compress, bz2.compress, lzma.compress])
def test_a_text_is_the_same_in_every_encoding_compression_and_folder(tmp_path, encoding, compress, monkeypatch):
    (tmp_path / "folder").mkdir()
    content = compress(TEXT.encode(encoding))
    (tmp_path / "folder" / "some.txt").write_bytes(content)
    for block in (3, 1 << 20):
        monkeypatch.setattr(files, "BLOCK_BYTES", block)
        assert read_corpus(str(tmp_path / "folder" / "some.txt")).text == TEXT
        assert read_corpus(str(tmp_path / "folder")).text == TEXT + "\n"
    assert read_corpus(str(tmp_path / "*" / "*.txt")).text == TEXT + "\n"


def test_a_folder_of_any_text_is_read_in_order_and_what_is_no_text_is_named(tmp_path, caplog):
    for name in ("b.md", "a.py", "sub/c.rst", "test_code.py", "tests/d.weird"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(f"{name}\n")
    (tmp_path / "picture.png").write_bytes(b"\x89PNG\0\0")
    (tmp_path / ".hidden").write_text("hidden")
    with caplog.at_level(logging.WARNING):
        reader = CorpusReader(str(tmp_path))
        text = "".join(piece for piece, _ in reader.pieces())
    assert text == "a.py\nb.md\nsub/c.rst\ntest_code.py\ntests/d.weird\n"
    assert reader.splits == ("train",) and "1 of 6 files" in caplog.text


@pytest.mark.parametrize("form", ["files", "folders", "saved", "texts"])
def test_given_splits_stay_what_they_are_and_missing_ones_are_cut(tmp_path, form):
    rows = {"train": [f"train {i} of the rows" for i in range(100)], "validation": [f"given {i}" for i in range(9)]}
    source = tmp_path / "source"
    if form == "saved":
        parts = {name: datasets.Dataset.from_dict({"text": part}) for name, part in rows.items()}
        datasets.DatasetDict(parts).save_to_disk(source)
    for split, part in rows.items():
        name = {"validation": "valid"}.get(split, split)
        path = {"files": f"{name}-00001.jsonl", "folders": f"{name}/part.jsonl", "texts": f"{name}.txt"}.get(form)
        if path is not None:
            (source / path).parent.mkdir(parents=True, exist_ok=True)
            (source / path).write_text("".join(f"{row}\n" for row in part) if form == "texts" else json_lines(part))
    splits, tokenizer, _ = load_prepared(prepare_text(tmp_path / "data", source, sequence_length=8, window="lines"))
    decoded = {split: "".join(tokenizer.batch_decode(part["input_ids"][:])) for split, part in splits.items()}
    assert list(splits) == ["train", "validation", "test"]
    assert decoded["validation"] == "".join(f"{row}\n" for row in rows["validation"])
    assert decoded["train"] + decoded["test"] == "".join(f"{row}\n" for row in rows["train"])
    assert json.loads((tmp_path / "data" / "task.json").read_text())["given_splits"] == ["validation"]
    assert read_corpus(str(source), dataset_split="validation").text == decoded["validation"]


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("torn.jsonl", b'{"text": "a"}\n{"text": "b', "whose line 2 is no JSON .*Unterminated string"),
        ("torn.json", b'[{"text": "a"}, {"te', "which is no JSON"),
        ("torn.txt.gz", gzip.compress(b"abc" * 1000, mtime=0)[:-20], "which is torn or damaged"),
        ("torn.at.its.end.gz", gzip.compress(b"abc" * 1000, mtime=0)[:-8], "which is torn or damaged"),
        ("more.behind.gz", gzip.compress(b"abc", mtime=0) + b"more", "which cannot be read .Not a gzipped file"),
        ("torn.early.gz", gzip.compress(b"abc" * 1000, mtime=0)[:12], "which is torn or damaged"),
        ("sixteen.txt", "the cat".encode("utf-16-le"), "which is no text: it holds bytes of 0, as UTF-16"),
        ("torn.parquet", b"PAR1" + b"x" * 40, "which is torn or damaged"),
        ("number.jsonl", b'{"text": 3}\n', "`text_column` must hold text in every row, got int in 'text' in line 1"),
        ("null.jsonl", b'{"text": "a"}\n{"text": null}\n', "got NoneType in 'text' in line 2 of 'null.jsonl'"),
        ("short.csv", b"id,text\n1,a\n2\n", "got NoneType in 'text' in line 3"),
        (
            "twice.csv",
            b"text,id,text\na,1,b\n",
            "`text_column` must be one column of 'twice.csv', got 'text', the name of 2",
        ),
        ("blank.csv", b"\n\nid,letter\n1,a\n", "got 'text'; choose one of id, letter"),
        ("blanks.csv", b"\n\n", "which is empty"),
        ("quote.csv", b'id,text\n1,"a\n2,b\n', "whose line . is no row of a table"),
        ("list.jsonl", b"[1]\n", "whose line 1 is neither an object nor a text"),
        ("half.jsonl", b'{"text": "a \\ud800 b"}\n', r"must hold whole characters, got 'half.jsonl' with '\\ud800'"),
        ("some.zip", b"PK\x03\x04rest", "which is a ZIP archive"),
        ("binary.txt", b"ab\0\xff\xfe", "which is no text: it holds bytes of 0"),
        ("latin.txt", "é".encode("latin-1"), "whose byte 0 is none; convert the file to UTF-8"),
        ("odd.txt", "é".encode("utf-16") + b"x", "whose byte . is none of UTF-16; convert"),
        ("late.txt", b"abcd\xff", "whose byte 4 is none"),
        ("half.txt", "aä".encode() + b"b\xc3", "whose byte 4 is none"),
        ("two.txt", b"abc\xc3d", "whose byte 3 is none"),
        ("white.txt", b" \n", "which is empty"),
        ("empty.jsonl", b"\n", "which is empty"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_in_one_sentence_with_its_cause(
    tmp_path, monkeypatch, name, content, message
):
    (tmp_path / name).write_bytes(content)
    for block in (1 << 20, 2):  # in whatever blocks it is read
        if block == 2 and not name.endswith("txt"):
            continue
        monkeypatch.setattr(files, "BLOCK_BYTES", block)
        with one_sentence(name) as error:
            read_corpus(str(tmp_path / name))
        assert re.search(message, str(error.value))


def test_flags_without_an_effect_are_refused(tmp_path):
    (tmp_path / "some.txt").write_text("abc")
    for flags, message in (
        ({"text_column": "body"}, "`text_column` is for tables, got 'body' for 'some.txt'"),
        ({"dataset_split": "test"}, "`dataset_split` must be a split of 'some.txt', got 'test'; choose one of train"),
        ({"dataset_config": "en"}, "`dataset_config` is for datasets of the hub, got 'en'"),
    ):
        with pytest.raises(ValueError, match=message):
            read_corpus(str(tmp_path / "some.txt"), **flags)
    for source in ("*.none", "."):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(FileNotFoundError, match=r"`source` must be files of text, got .*, where there are none"):
            read_corpus(str(tmp_path / "empty" / source))


def test_the_first_of_all_causes_is_shown():
    try:
        try:
            raise KeyError("the true reason")
        except KeyError as error:
            raise RuntimeError("An error occurred while generating the dataset") from error
    except RuntimeError as error:
        assert cause_of(error) == "An error occurred while generating the dataset: 'the true reason'"
