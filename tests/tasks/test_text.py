"""Claims about tokenizers, corpora, windows and the judge of text."""

import logging
import re
from hashlib import sha256
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentences import one_sentence
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from critic_gpt.tasks import build_character_tokenizer, encode_strict, words_of
from critic_gpt.tasks.corpus import read_corpus
from critic_gpt.tasks.text import TextTask
from critic_gpt.tasks.windows import fixed_windows, pack_lines


ANY_TEXT = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=60)
AWKWARD = " a  b\n\n\t\r\n\x0b\x0c\u2028e\u0301é ß İ 😀👩\u200d👧 .,!' n't [MASK][PAD] \ufeff\x00 "


# Tokenizers


@given(ANY_TEXT)
@settings(max_examples=100, deadline=None)
def test_character_tokenizer_gives_every_text_back_one_token_per_character(text):
    tokenizer = build_character_tokenizer(text, model_max_length=8)
    ids = encode_strict(tokenizer, text)
    assert len(ids) == len(text)
    assert tokenizer.decode(ids) == text
    assert len(tokenizer) == len(set(text)) + 2


def test_saved_character_tokenizer_is_the_same_without_remote_code(tmp_path):
    tokenizer = build_character_tokenizer(AWKWARD, model_max_length=12)
    tokenizer.save_pretrained(tmp_path)
    loaded = AutoTokenizer.from_pretrained(tmp_path)
    for one in (tokenizer, loaded):
        assert one.decode(encode_strict(one, AWKWARD)) == AWKWARD
        assert (one.pad_token, one.pad_token_id, one.mask_token, one.mask_token_id) == ("[PAD]", 0, "[MASK]", 1)
        assert (one.bos_token, one.eos_token, one.unk_token) == (None, None, None)
        assert one.model_max_length == 12 and one.clean_up_tokenization_spaces is False
    assert loaded.get_vocab() == tokenizer.get_vocab()


def test_mask_is_a_hole_in_a_prompt_and_plain_text_in_a_corpus():
    tokenizer = build_character_tokenizer("ab[MASK]", model_max_length=8)
    assert tokenizer("a[MASK]b")["input_ids"].count(tokenizer.mask_token_id) == 1
    assert encode_strict(tokenizer, "a[MASK]b", split_special_tokens=False) == tokenizer("a[MASK]b")["input_ids"]
    corpus_ids = encode_strict(tokenizer, "a[MASK]b")
    assert len(corpus_ids) == 8 and tokenizer.mask_token_id not in corpus_ids
    assert tokenizer("[MASK]")["input_ids"] == [1]  # encoding a corpus changes nothing for later prompts


def test_unknown_characters_are_never_lost_silently():
    tokenizer = build_character_tokenizer("ab", model_max_length=8)
    with pytest.raises(ValueError, match=r"got the unknown characters 'x', 'é'; remove them or build"):
        encode_strict(tokenizer, "axéb")
    with pytest.raises(ValueError, match=r"'x'"):
        encode_strict(tokenizer, "a[MASK]x", split_special_tokens=False)
    with pytest.raises(ValueError, match=r"and 16 more"):
        encode_strict(tokenizer, "cdefghijklmnopqrstuvwxyz01")
    with pytest.raises(Exception, match=r"WordLevel"):
        tokenizer("axb")


@pytest.mark.parametrize(("alphabet", "length", "field"), [("", 8, "text_or_alphabet"), ("ab", 0, "model_max_length")])
def test_impossible_tokenizers_are_refused(alphabet, length, field):
    with pytest.raises(ValueError, match=f"`{field}` must"):
        build_character_tokenizer(alphabet, length)


@pytest.fixture
def word_tokenizer_folder(tmp_path):
    backend = Tokenizer(models.WordLevel({"<unk>": 0, "one": 1, "two": 2}, unk_token="<unk>"))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    folder = tmp_path / "words"
    PreTrainedTokenizerFast(tokenizer_object=backend, unk_token="<unk>").save_pretrained(folder)
    return folder


def test_other_tokenizers_get_missing_mask_and_padding_tokens_and_say_so(word_tokenizer_folder, caplog):
    task = TextTask(tokenizer_name=str(word_tokenizer_folder), sequence_length=4)
    with caplog.at_level(logging.WARNING):
        tokenizer = task.tokenizer("unused")
    assert (tokenizer.mask_token, tokenizer.pad_token, tokenizer.model_max_length) == ("[MASK]", "[PAD]", 4)
    assert sorted([tokenizer.mask_token_id, tokenizer.pad_token_id]) == [3, 4]
    assert "no mask_token: added '[MASK]'" in caplog.text and "no pad_token: added '[PAD]'" in caplog.text


def test_other_tokenizers_report_what_they_do_not_cover(word_tokenizer_folder, caplog):
    task = TextTask(tokenizer_name=str(word_tokenizer_folder), sequence_length=2)
    tokenizer = task.tokenizer("unused")
    with pytest.raises(ValueError, match=r"unknown pieces 'three'"):
        encode_strict(tokenizer, "one three two")
    with caplog.at_level(logging.WARNING):
        windows = task.windows("one two\nthree one\n", tokenizer, "train")
    assert [window.tolist() for window in windows] == [[1, 2], [0, 1]]
    assert "1 of 4 tokens in train are <unk>" in caplog.text


# Corpora


def test_embedded_text_is_there_without_network_and_reproducible(tmp_path):
    corpus = read_corpus()
    assert len(corpus.text) > 100_000 and corpus == read_corpus()
    assert corpus.title.startswith("pydoc_data.topics")
    (tmp_path / "some.txt").write_bytes(AWKWARD.encode())
    own = read_corpus(str(tmp_path / "some.txt"))
    assert own.text == AWKWARD and all(sha256(one.text.encode()).hexdigest() == one.sha256 for one in (corpus, own))


def test_a_missing_file_is_not_looked_for_on_the_hub(tmp_path):
    for source in (str(tmp_path / "none"), "none.txt", "./none", "a/b/c"):
        with pytest.raises(FileNotFoundError, match=r"`source` must .*which does not exist; check the path"):
            read_corpus(source)


# Splits and windows


@given(st.text("ab\n", min_size=20, max_size=200), st.floats(0.1, 0.4), st.floats(0.1, 0.4))
@settings(max_examples=100, deadline=None)
def test_splits_are_the_text_in_order_cut_at_line_beginnings(text, validation_share, test_share):
    task = TextTask(validation_share=validation_share, test_share=test_share)
    splits = task.split(text)
    assert list(splits) == ["train", "validation", "test"] and all(splits.values())
    assert "".join(splits.values()) == text
    wanted = round(len(text) * (1 - validation_share - test_share))
    cut = len(splits["train"])
    assert cut >= wanted and (cut == wanted or text[cut - 1] == "\n")
    lines = task.split("a\n" * 500)  # where lines allow it, the shares are met
    assert [len(lines[name]) / 1000 for name in ("validation", "test")] == pytest.approx(
        [validation_share, test_share], abs=0.003
    )


@given(st.lists(st.integers(0, 9), max_size=50), st.integers(1, 12))
def test_fixed_windows_lose_only_an_incomplete_last_one(ids, sequence_length):
    windows = fixed_windows(np.array(ids, dtype=np.int32), sequence_length)
    assert windows.shape == (len(ids) // sequence_length, sequence_length)
    assert windows.flatten().tolist() == ids[: windows.size]


@given(st.lists(st.lists(st.integers(0, 9), max_size=20), max_size=20), st.integers(1, 8))
@settings(max_examples=200)
def test_packed_lines_lose_nothing_and_cut_only_long_lines(lines, sequence_length):
    windows = pack_lines([np.array(line, dtype=np.int32) for line in lines], sequence_length)
    assert all(1 <= len(window) <= sequence_length for window in windows)
    assert [token for window in windows for token in window.tolist()] == [token for line in lines for token in line]
    ends = np.cumsum([len(line) for line in lines])
    cuts = np.cumsum([0, *map(len, windows)])
    for begin, cut in pairwise(cuts[:-1]):
        if cut not in ends:
            line = int(np.searchsorted(ends, cut))
            assert len(lines[line]) > sequence_length
            assert (cut - (ends[line] - len(lines[line]))) % sequence_length == 0  # it began a window of its own
        else:  # as full as whole lines allow: the next line would not have fitted
            following = next(len(line) for line, end in zip(lines, ends, strict=True) if end > cut)
            assert cut - begin + following > sequence_length


@given(
    st.lists(st.text("ab [MASK]é\r\x0c", max_size=12), min_size=8, max_size=30), st.sampled_from(["fixed", "lines"])
)
@settings(max_examples=50, deadline=None)
def test_decoded_windows_are_the_text(lines, window):
    text = "\n".join(lines) + "\n"
    task = TextTask(sequence_length=4, window=window)
    tokenizer = task.tokenizer(text)
    decoded = "".join(tokenizer.decode(ids) for ids in task.windows(text, tokenizer))
    assert text.startswith(decoded)
    assert len(text) - len(decoded) < (4 if window == "fixed" else 1)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: TextTask(sequence_length=1), "`sequence_length` must be .*got 1"),
        (lambda: TextTask(window="sliding"), "`window` must be .*got 'sliding'"),
        (lambda: TextTask(validation_share=0.0), r"`validation_share` must be .*got 0\.0"),
        (lambda: TextTask(test_share=1.0), r"`test_share` must be .*got 1\.0"),
        (lambda: TextTask(validation_share=0.5, test_share=0.5), r"`.*judge_share` must be below 1, got 1.0"),
        (lambda: TextTask().split("abc"), "`source` must be long enough .*got 3 characters"),
        (
            lambda: TextTask(sequence_length=8).windows("abc", build_character_tokenizer("abc", 8), "test"),
            "at most the 3 tokens of the test split, got 8; shorten it",
        ),
        (lambda: TextTask(tokenizer_name="/none").tokenizer("text"), "`tokenizer` must be 'character' or the name or"),
        (lambda: TextTask(train_words=frozenset("a")).judge([]), "`texts` must hold at least one sample"),
        (lambda: TextTask().judge(["a"]), "`train_words` must hold the training words, .*load_task"),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(call, message):
    with one_sentence() as error:
        call()
    assert re.search(message, str(error.value))


# The judge


def test_words_at_the_edges_can_be_left_out():
    assert words_of("The cat_1, sat") == ["the", "cat_1", "sat"]
    assert words_of("The cat_1, sat", whole_only=True) == ["cat_1"]
    assert words_of("cat", whole_only=True) == []


def test_judge_gives_the_numbers_by_hand():
    task = TextTask(window="lines", train_words=frozenset({"the", "cat"}))
    verdict = task.judge(["The cat", "the dog", "The cat"])
    rates = {"known_word_rate": 5 / 6, "distinct_6gram_rate": 4 / 6, "distinct_rate": 2 / 3}
    assert {**rates, "duplicates": 1, "num_samples": 3}.items() <= verdict.items()
    assert task.judge(["abab", "cdcd"])["unigram_entropy_bits"] == pytest.approx(2.0)
    assert task.judge(["aaaa"])["unigram_entropy_bits"] == 0.0
    for text in ("", "a", "\n\n"):  # with nothing to count, shares are shares
        assert all(0 <= task.judge([text])[name] <= 1 for name in rates)


def test_judge_of_fixed_windows_does_not_blame_cut_words():
    words = frozenset({"the", "cat", "sat"})
    assert TextTask(window="fixed", train_words=words).judge(["e cat sa"])["known_word_rate"] == 1.0
    assert TextTask(window="lines", train_words=words).judge(["e cat sa"])["known_word_rate"] == 1 / 3
