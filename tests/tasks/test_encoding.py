# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the tokens of prepared text: those of the whole text, whatever the tokenizer, blocks and windows."""

import copy
import functools
import itertools
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from prepared_folders import prepare_text
from tiny_tokenizers import LOSSY, MAKERS, TEXT, tiny_tokenizer
from tokenizers import normalizers
from transformers import AddedToken, ByT5Tokenizer

from critic_gpt.hub.text import placed_tokens, uncovered
from critic_gpt.tasks import encoding, files, load_prepared
from critic_gpt.tasks.corpus import Piece
from critic_gpt.tasks.text import TextTask
from critic_gpt.tasks.tokenizers import encode_strict
from critic_gpt.tasks.vocabulary import make_ready


def encoded(tokenizer, text, cuts=()):
    """The ids of a text that comes in pieces."""
    places = [0, *sorted(cuts), len(text)]
    pieces = [Piece(text[a:b], b == len(text)) for a, b in itertools.pairwise(places)]
    parts = [tokens.ids for tokens, _ in encoding.encode_documents(tokenizer, pieces, "train")]
    return [token for part in parts for token in part.tolist()]


@pytest.mark.parametrize("kind", [*MAKERS, *LOSSY])
@pytest.mark.parametrize("window", ["fixed", "lines"])
@given(data=st.data())
@settings(max_examples=12, deadline=None)
def test_every_window_reads_as_the_source_does_and_is_a_part_of_the_whole_texts_tokens(kind, window, data):
    text = TEXT[data.draw(st.integers(0, 60)) :]
    length = data.draw(st.integers(2, 70))
    tokenizer = tiny_tokenizer(kind)
    whole = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    windows = TextTask(sequence_length=length, window=window).windows(text, tokenizer)
    assert all(1 <= len(ids) <= length for ids in windows)
    joined = " ".join(map(str, whole))
    for ids in windows:
        assert f" {' '.join(map(str, ids))} " in f" {joined} "
        if kind not in LOSSY:
            assert tokenizer.decode(ids.tolist()) in text
    left_out = len(whole) - sum(map(len, windows))
    if length >= 8:  # else a character may be longer than a window
        assert left_out <= encoding.LEFT_OUT + (length if window == "fixed" else 0)


@pytest.mark.parametrize("kind", [*MAKERS, *LOSSY])
@given(data=st.data())
@settings(max_examples=15, deadline=None)
def test_blocks_give_the_tokens_of_the_whole_text(kind, data):
    tokenizer = tiny_tokenizer(kind)
    text = TEXT[data.draw(st.integers(0, 200)) :]
    whole = tokenizer(text, add_special_tokens=False, split_special_tokens=True)["input_ids"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(encoding, "BLOCK", data.draw(st.integers(100, 400)))
        patch.setattr(encoding, "OVERLAP", data.draw(st.integers(60, 200)))
        patch.setattr(encoding, "BATCH", 1000)
        cuts = data.draw(st.lists(st.integers(0, len(text)), max_size=5))
        found = encoded(tokenizer, text, cuts)
    assert found == whole[len(whole) - len(found) :]
    # At most the first word, with a space before it that is not there.
    assert len(whole) - len(found) <= (encoding.LEFT_OUT if kind == "byte-level BPE with a space before" else 0)


def test_blocks_that_have_too_little_in_common_become_one(monkeypatch):
    tokenizer = tiny_tokenizer("BPE as Llama 2")
    monkeypatch.setattr(encoding, "BLOCK", 50)
    monkeypatch.setattr(encoding, "OVERLAP", 10)
    assert encoded(tokenizer, TEXT) == tokenizer(TEXT, add_special_tokens=False)["input_ids"]


def test_tokenizers_in_python_give_the_tokens_of_the_whole_text():
    tokenizer = ByT5Tokenizer()
    ids = tokenizer(TEXT, add_special_tokens=False)["input_ids"]
    assert encoded(tokenizer, TEXT, [10, 500]) == ids
    windows = TextTask(sequence_length=64, window="lines").windows(TEXT, tokenizer)
    assert [token for window in windows for token in window.tolist()] == ids
    assert all(tokenizer.decode(window.tolist()) in TEXT for window in windows)


def test_a_tokenizer_that_composes_is_not_asked_for_decomposed_characters():
    composed = copy.deepcopy(tiny_tokenizer("characters"))
    composed.backend_tokenizer.normalizer = normalizers.NFC()
    assert encode_strict(composed, "cafe\u0301") == encode_strict(composed, "café")
    assert encoded(composed, "cafe\u0301\n") == encode_strict(composed, "café\n")
    with pytest.raises(ValueError, match="unknown characters '\u0301'"):
        encode_strict(composed, "x\u0301")


# ---- masks and padding that are added ----


def words_around_masks(tokenizer):
    text = "the cat sat on the mat, and  the dog is in the house.\n"
    words = text.split(" ")
    for i in range(1, len(words) - 1):
        if words[i] and words[i - 1]:
            yield " ".join([*words[:i], tokenizer.mask_token, *words[i + 1 :]])


@pytest.mark.parametrize("kind", MAKERS)
def test_a_mask_that_is_filled_by_a_word_leaves_no_doubled_space(kind):
    tokenizer = copy.deepcopy(tiny_tokenizer(kind))
    make_ready(tokenizer)
    options = {"add_special_tokens": False}
    head = "the " if kind == "characters" else "the"
    # What this tokenizer makes of a word in the middle of a text.
    word = tokenizer("the cat", **options)["input_ids"][len(tokenizer(head, **options)["input_ids"]) :]
    for prompt in words_around_masks(tokenizer):
        for ids in (tokenizer(prompt, **options)["input_ids"], [t for t, _, _ in placed_tokens(tokenizer, prompt)]):
            place = ids.index(tokenizer.mask_token_id)
            filled = tokenizer.decode([*ids[:place], *word, *ids[place + 1 :]])
            assert " cat" in filled and filled.count("  ") <= prompt.count("  ")
        # As pipelines read it, all that was given stays to the letter.
        assert filled.removeprefix(" ") == prompt.replace("[MASK]", "cat")


@pytest.mark.parametrize("kind", MAKERS)
@given(st.lists(st.sampled_from(["[MASK]", "the", " cat", "\n", " ", ",", "is", "  ", "é"]), min_size=1, max_size=12))
@settings(max_examples=25, deadline=None)
def test_a_prompt_keeps_all_but_one_space_before_a_mask(kind, parts):
    prompt = "the" + "".join(parts) + "."
    tokenizer = masked(kind)
    placed = list(placed_tokens(tokenizer, prompt))
    assert [token for token, _, _ in placed].count(tokenizer.mask_token_id) == prompt.count("[MASK]")
    read = tokenizer.decode([token for token, _, _ in placed]).removeprefix(" ")
    takes_space = tokenizer.added_tokens_decoder[tokenizer.mask_token_id].lstrip
    assert read == (prompt.replace(" [MASK]", "[MASK]") if takes_space else prompt)
    assert all(prompt[a:b].endswith("[MASK]") for token, a, b in placed if token == tokenizer.mask_token_id)
    assert not any(uncovered(tokenizer, prompt, placed))


@functools.cache
def masked(kind):
    tokenizer = copy.deepcopy(tiny_tokenizer(kind))
    make_ready(tokenizer)
    return tokenizer


def test_what_is_no_character_of_a_prompt_is_told_from_what_is():
    tokenizer = masked("byte-level BPE, composed")
    composed, decomposed = (list(placed_tokens(tokenizer, text)) for text in ("café", "\ufeffcafe\u0301"))
    assert [token for token, _, _ in composed] == [token for token, _, _ in decomposed]
    assert not any(uncovered(tokenizer, "\ufeffcafe\u0301", decomposed))
    assert [token for token, a, _ in placed_tokens(tokenizer, "the \udc80 cat") if a == 4] == [None]


def test_padding_is_a_token_of_its_own_and_a_mask_stays_what_it_is():
    for kind, shared in itertools.product(("byte-level BPE", "BPE as Llama 2"), ("eos_token", "unk_token")):
        tokenizer = copy.deepcopy(tiny_tokenizer(kind))
        tokenizer.pad_token = getattr(tokenizer, shared)
        tokenizer.add_special_tokens({"mask_token": AddedToken("<mask>", lstrip=False)})
        changes = make_ready(tokenizer)
        assert tokenizer.pad_token == "[PAD]" and any("for a pad_token: added '[PAD]'" in change for change in changes)
        assert make_ready(tokenizer) == [] and tokenizer.mask_token == "<mask>"


# ---- where documents end ----


@pytest.fixture
def eos_folder(tmp_path):
    tiny_tokenizer("byte-level BPE").save_pretrained(tmp_path / "tokenizer")
    return tmp_path / "tokenizer"


def prepare(tmp_path, source, tokenizer, **flags):
    folder = tmp_path / f"data{len(list(tmp_path.iterdir()))}"
    return prepare_text(folder, source, **{"sequence_length": 24, "tokenizer": tokenizer, **flags})


@pytest.mark.parametrize("window", ["fixed", "lines"])
def test_documents_end_with_eos_and_nothing_behind_it_is_taught(tmp_path, eos_folder, window):
    documents = [f"document {i} is in the house\n" * (1 + i % 4) for i in range(60)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps({"text": text}) + "\n" for text in documents))
    splits, tokenizer, _ = load_prepared(prepare(tmp_path, tmp_path / "rows.jsonl", eos_folder, window=window))
    found = []
    for split in ("train", "validation", "test"):
        text = ""
        for ids in splits[split]["input_ids"]:
            kept = [token for token in ids if token != tokenizer.mask_token_id]
            assert ids[: len(kept)] == kept  # masks stand at the end
            assert tokenizer.eos_token_id not in kept[:-1]
            text += tokenizer.decode([token for token in kept if token != tokenizer.eos_token_id])
            if kept[-1] == tokenizer.eos_token_id:
                assert len(ids) == 24
                found.append(text)
                text = ""
        assert text == ""
    assert found == documents


def test_a_literal_eos_ends_a_document_in_whatever_blocks_it_is_read(tmp_path, eos_folder, monkeypatch):
    (tmp_path / "one.txt").write_text("<|endoftext|>".join(f"the cat {i} sat" for i in range(50)))
    for block in (3, 1 << 20):
        monkeypatch.setattr(files, "BLOCK_BYTES", block)
        splits, tokenizer, _ = load_prepared(prepare(tmp_path, tmp_path / "one.txt", eos_folder))
        texts = [tokenizer.decode(ids, skip_special_tokens=True) for ids in splits["train"]["input_ids"]]
        assert texts == [f"the cat {i} sat" for i in range(len(texts))] and len(texts) > 40
    splits, tokenizer, _ = load_prepared(prepare(tmp_path, tmp_path / "one.txt", eos_folder, end_documents=False))
    assert not any(tokenizer.eos_token_id in ids for ids in splits["train"]["input_ids"])
    with pytest.raises(ValueError, match="`end_documents` needs a tokenizer with an EOS, got 'character'"):
        prepare(tmp_path, tmp_path / "one.txt", "character", end_documents=True)
