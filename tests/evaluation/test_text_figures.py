# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about known words, in scripts with and without spaces between them."""

import random
import re
import unicodedata

import pytest
import regex
from hypothesis import given, settings
from hypothesis import strategies as st

from critic_gpt.tasks import TextTask, words_of
from critic_gpt.tasks.words import iterate_words


TEXTS = {
    "chinese": "今天天气很好，我们去公园散步。孩子们在湖边放风筝，老人坐在树下喝茶聊天。",
    "japanese": "明日の朝、駅の前で友だちに会います。一緒に美術館へ行って、コーヒーを飲む予定です。",
    "hindi": "मेरी बहन हर सुबह बगीचे में टहलती है। शाम को हम सब मिलकर चाय पीते हैं और कहानियाँ सुनते हैं।",
    "thai": "วันนี้อากาศดีมาก เราไปเดินเล่นที่สวนสาธารณะ แล้วกินข้าวกับเพื่อนที่ร้านใกล้บ้าน",
    "english": "We don't know every word, but we know these: naïve café, x_1 and 42.",
}


@pytest.mark.parametrize("text", TEXTS.values(), ids=TEXTS)
@pytest.mark.parametrize("window", ["fixed", "lines"])
def test_real_text_is_known_and_the_same_characters_shuffled_are_not(text, window):
    task = TextTask(train_words=frozenset(words_of(f"{text} {text}")), window=window)
    characters = regex.findall(r"\X", text)
    random.Random(0).shuffle(characters)
    assert task.judge([text])["known_word_rate"] == 1.0
    assert task.judge(["".join(characters)])["known_word_rate"] < 0.4


def test_hindi_words_keep_their_vowel_signs_and_unspaced_scripts_are_read_in_pairs():
    assert words_of("हिन्दी, भाषा।") == ["हिन्दी", "भाषा"]
    assert words_of("GPT模型很大。好") == ["gpt", "模型", "型很", "很大", "好"]
    assert words_of("ที่นี่", whole_only=False) == ["ที่นี่"]  # two characters, each with its marks
    # A window cuts words at its ends, and the characters there may lack their marks.
    assert words_of("天气很好", whole_only=True) == ["气很"] and words_of("(天气)", whole_only=True) == ["天气"]


def has_marks(text):
    return any(unicodedata.category(character).startswith("M") for character in text.casefold())


WITHOUT_MARKS = st.text(st.characters(max_codepoint=0x24F, categories=["L", "Nd", "P", "Z", "Cc"]))


@given(WITHOUT_MARKS.filter(lambda text: not has_marks(text)))
@settings(deadline=None)
def test_in_alphabets_without_marks_a_word_is_what_it_always_was(text):
    assert words_of(text) == re.findall(r"\w+", text.casefold())
    assert words_of(text, whole_only=True) == re.findall(r"(?<=\W)\w+(?=\W)", text.casefold())


@given(st.lists(st.text(st.sampled_from("ab 今天，हिน् ที่\u200d\u0301."))))
@settings(deadline=None)
def test_a_text_in_pieces_has_the_words_of_the_whole(pieces):
    assert [word for words in iterate_words(pieces) for word in words] == words_of("".join(pieces))
