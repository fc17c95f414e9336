# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the task "critic-proofread"."""

import json
from functools import partial
from itertools import pairwise

import pytest
import torch
from python_tokenizer import Words
from refusals import refused
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers
from transformers import BertConfig, BertForMaskedLM, PreTrainedTokenizerFast

from critic_gpt import CriticCalibration, CriticProofreadPipeline


KEYS = {"text", "tokens", "spans", "holes", "unknown", "expected_errors", "calibrated", "weakness", "windows"}
KEYS |= {"forward_passes"}
CORRECTED = {"corrected_text", "corrections", "corrected_expected_errors", "rounds", "settled"}
TOKEN = {"text", "start", "end", "token", "token_id", "kind", "error_probability", "replacements"}
SPAN = {"text", "start", "end", "replacement"}
TEXT = "the quick brown fox,\njumps over the lazy dog. the end of it is not yet near."
TEXTS = [TEXT, "abc", "", "a[MASK]b", {"text": "well"}, "one Two", "x" * 48, "y" * 49]


@pytest.fixture
def model(tiny_model):
    """In float64: what a batch around a row does to the last digits decides nothing."""
    model = tiny_model().double()
    with torch.no_grad():
        model.critic_head.weight.mul_(0.5)
    model.calibration = CriticCalibration([(i / 99) ** 0.5 for i in range(100)])
    return model


@pytest.fixture
def proofread(model, tokenizer):
    return CriticProofreadPipeline(model=model, tokenizer=tokenizer)


def applied(result):
    """The text of a result with its corrections carried out by a reader."""
    text = result["text"]
    for correction in reversed(result["corrections"]):
        assert text[correction["start"] : correction["end"]] == correction["text"]
        text = text[: correction["start"]] + correction["replacement"] + text[correction["end"] :]
    return text


# ---- what comes out ----


def test_the_keys_of_a_result_are_frozen_and_its_values_plain(proofread):
    plain, corrected = proofread(TEXT), proofread(TEXT, correct=True)
    assert set(plain) == KEYS and set(corrected) == KEYS | CORRECTED
    for result in (plain, corrected):
        assert json.loads(json.dumps(result, allow_nan=False)) == result
        assert {frozenset(token) for token in result["tokens"]} == {frozenset(TOKEN)}
        numbers = {"max_error_probability", "mean_error_probability"}
        assert result["spans"] and all(set(span) == SPAN | numbers for span in result["spans"])
        (names,) = {frozenset(r) for token in result["tokens"] for r in token["replacements"]}
        assert names == {"text", "token", "token_id", "probability"}
        types = (result["expected_errors"], result["calibrated"], result["windows"], result["forward_passes"])
        assert [type(value) for value in types] == [float, bool, int, int] and result["calibrated"]
    assert corrected["corrections"] and all(set(correction) == SPAN for correction in corrected["corrections"])
    types = (corrected["corrected_expected_errors"], corrected["rounds"], corrected["settled"])
    assert [type(value) for value in types] == [float, int, bool]


def test_tokens_stand_where_they_say_and_their_errors_add_up(proofread, model, tokenizer):
    result = proofread(TEXT)
    assert [token["text"] for token in result["tokens"]] == list(TEXT)
    assert all(TEXT[token["start"] : token["end"]] == token["text"] for token in result["tokens"])
    assert [token["token_id"] for token in result["tokens"]] == tokenizer(TEXT)["input_ids"]
    proof = model.proofread([torch.tensor(tokenizer(TEXT)["input_ids"])], suppressed_ids=[0, 1])[0]
    assert [token["error_probability"] for token in result["tokens"]] == proof.error_probabilities.tolist()
    assert result["expected_errors"] == pytest.approx(proof.error_probabilities.sum().item(), abs=1e-5)
    assert (result["windows"], result["forward_passes"]) == (proof.windows, proof.forward_passes) == (3, 3)
    for token, ids in zip(result["tokens"], proof.candidate_ids.tolist(), strict=True):
        assert [r["token_id"] for r in token["replacements"]] == ids and len(ids) == 5
        assert token["token_id"] not in ids and not {0, 1} & set(ids)
        assert all(r["text"] == r["token"] == tokenizer.decode([r["token_id"]]) for r in token["replacements"])


def test_neighbouring_doubtful_tokens_are_one_span(proofread):
    for threshold in (0.0, 0.3, 0.6, 0.9, 1.0):
        result = proofread(TEXT, threshold=threshold)
        doubtful = [token["error_probability"] > threshold for token in result["tokens"]]
        inside = [place for span in result["spans"] for place in range(span["start"], span["end"])]
        assert inside == [place for place, yes in enumerate(doubtful) if yes]
        assert all(before["end"] < after["start"] for before, after in pairwise(result["spans"]))
        for span in result["spans"]:
            tokens = result["tokens"][span["start"] : span["end"]]
            errors = [token["error_probability"] for token in tokens]
            assert span["text"] == TEXT[span["start"] : span["end"]]
            assert span["max_error_probability"] == max(errors)
            assert span["mean_error_probability"] == pytest.approx(sum(errors) / len(errors))
            assert span["replacement"] == "".join(token["replacements"][0]["text"] for token in tokens)


def test_how_many_replacements_there_are_is_asked_for(proofread):
    assert {len(token["replacements"]) for token in proofread(TEXT, top_k=2)["tokens"]} == {2}
    none = proofread(TEXT, top_k=0, correct=True)
    assert not any(token["replacements"] for token in none["tokens"])
    assert all(span["replacement"] == span["text"] for span in none["spans"])
    assert none["corrected_text"] == proofread(TEXT, correct=True)["corrected_text"] != TEXT
    masked = proofread(TEXT, suggest_by="masked")
    assert masked["forward_passes"] > masked["windows"]
    for token in masked["tokens"]:
        assert bool(token["replacements"]) == (token["error_probability"] > 0.5)


def test_a_corrected_text_differs_where_it_says_and_is_expected_to_be_better(proofread):
    for result in proofread(TEXTS, correct=True):
        assert applied(result) == result["corrected_text"]
        assert result["corrected_expected_errors"] <= result["expected_errors"]
        assert proofread(result["corrected_text"])["expected_errors"] == result["corrected_expected_errors"]
    limited = proofread(TEXT, correct=True, max_rounds=1)
    assert limited["rounds"] == 1 and limited["forward_passes"] <= 2 * limited["windows"]


# ---- what is no text to judge ----


def test_a_hole_is_a_hole_and_no_error(proofread):
    result = proofread("ab[MASK][MASK]c[MASK]", correct=True, threshold=0.0)
    assert [token["kind"] for token in result["tokens"]] == ["text", "text", "hole", "hole", "text", "hole"]
    holes = [token for token in result["tokens"] if token["kind"] == "hole"]
    assert all(hole["error_probability"] is None and len(hole["replacements"]) == 5 for hole in holes)
    first, second, third = (hole["replacements"][0]["text"] for hole in holes)
    expected = [("[MASK][MASK]", 2, 14, first + second), ("[MASK]", 15, 21, third)]
    assert [
        tuple(hole[key] for key in ("text", "start", "end", "replacement")) for hole in result["holes"]
    ] == expected
    assert all("[MASK]" not in span["text"] for span in result["spans"])
    assert result["corrected_text"].count("[MASK]") == 3
    judged = [token["error_probability"] for token in result["tokens"] if token["kind"] == "text"]
    assert result["expected_errors"] == pytest.approx(sum(judged))


def test_what_a_tokenizer_of_characters_does_not_know_is_a_hole_that_is_named(proofread):
    result, holes = proofread("aB[MASK]cÄÖ"), proofread("a[MASK][MASK]c[MASK][MASK]")
    assert [token["kind"] for token in result["tokens"]] == ["text", "unknown", "hole", "text", "unknown", "unknown"]
    assert [token["text"] for token in result["tokens"]] == ["a", "B", "[MASK]", "c", "Ä", "Ö"]
    assert [(u["text"], u["start"], u["end"]) for u in result["unknown"]] == [("B", 1, 2), ("ÄÖ", 9, 11)]
    for token, hole in zip(result["tokens"], holes["tokens"], strict=True):
        assert token["error_probability"] == hole["error_probability"]
        assert token["replacements"] == hole["replacements"]
    assert [token["error_probability"] is None for token in result["tokens"]] == [False, True, True, False, True, True]
    alone = proofread("Ä")
    assert alone["expected_errors"] == 0.0 and [token["kind"] for token in alone["tokens"]] == ["unknown"]


@pytest.mark.parametrize("end", ["\r", "\t\r", "\u2028"])
def test_the_end_of_a_file_is_no_hole_where_the_tokenizer_does_not_know_it(proofread, end):
    with_end, without = proofread(f"abcabc{end}", correct=True), proofread("abcabc", correct=True)
    assert with_end.pop("text") == f"{without.pop('text')}{end}" and not with_end["unknown"]
    assert with_end.pop("corrected_text") == f"{without.pop('corrected_text')}{end}"
    assert with_end == without


def test_another_special_token_is_seen_and_not_judged(proofread):
    result = proofread("ab[PAD]c", threshold=0.0)
    assert [token["kind"] for token in result["tokens"]] == ["text", "text", "special", "text"]
    assert result["tokens"][2]["error_probability"] is None and result["tokens"][2]["token_id"] == 0
    assert [span["text"] for span in result["spans"]] == ["ab", "c"] and not result["unknown"]


def test_an_empty_text_has_nothing_wrong(proofread):
    result = proofread("", correct=True)
    assert (result["tokens"], result["spans"], result["expected_errors"], result["windows"]) == ([], [], 0.0, 0)
    assert (result["corrected_text"], result["forward_passes"], result["settled"]) == ("", 0, True)


# ---- other tokenizers ----


def fast(backend, **special):
    return PreTrainedTokenizerFast(tokenizer_object=backend, pad_token="[PAD]", mask_token="[MASK]", **special)


def pipeline_of(tiny_model, tokenizer, **sizes):
    vocabulary = {"vocab_size": len(tokenizer) + 3, "mask_token_id": tokenizer.mask_token_id}
    model = tiny_model(**vocabulary, pad_token_id=tokenizer.pad_token_id, **sizes)
    return CriticProofreadPipeline(model=model, tokenizer=tokenizer)


def spliced(proofread, text, changes):
    """What becomes of a text whose tokens at some places are exchanged, as after a correction."""
    (tokens,) = proofread.preprocess(text)["texts"]
    sequences, never = [torch.tensor(tokens.ids)], proofread._never_suggested
    proof = proofread.model.proofread(sequences, suppressed_ids=never, correct=True)[0]
    proof.corrected_ids = torch.tensor(tokens.ids)
    for place, token in changes.items():
        proof.corrected_ids[place] = proofread.tokenizer.convert_tokens_to_ids(token)
    tokens.proof = proof
    result = proofread.postprocess({"texts": [tokens]})
    assert applied(result) == result["corrected_text"]
    return result["corrected_text"]


@pytest.fixture
def bytes_tokenizer():
    """Bytes with few merges; a word's token has the space before it, its place has not."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder, backend.post_processor = decoders.ByteLevel(), processors.ByteLevel(trim_offsets=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["[PAD]", "[MASK]"]
    trainer = trainers.BpeTrainer(vocab_size=290, special_tokens=special, initial_alphabet=alphabet)
    backend.train_from_iterator(["hello world said the world to the hello there"] * 9, trainer)
    return fast(backend)


def test_a_character_of_several_tokens_is_never_cut(tiny_model, bytes_tokenizer):
    proofread = pipeline_of(tiny_model, bytes_tokenizer)
    text = "hé \N{GRINNING FACE} world"
    result = proofread(text, threshold=0.0)
    places = [(token["start"], token["end"]) for token in result["tokens"]]
    assert places.count((1, 2)) == 2 and places.count((3, 4)) >= 3
    assert result["spans"][0]["text"] == text and not result["unknown"]
    # One byte of two is exchanged: half of a character is no text, and what stands there stays.
    assert spliced(proofread, text, {places.index((1, 2)): "a"}) == text
    # Rows of the embedding beyond the vocabulary are never suggested.
    everything = proofread("hello", top_k=1000)
    suggested = {r["token_id"] for token in everything["tokens"] for r in token["replacements"]}
    assert max(suggested) == len(bytes_tokenizer) - 1 and not {0, 1} & suggested


def test_tokens_of_bytes_are_corrected_to_text_and_no_two_spans_share_a_character(tiny_model, bytes_tokenizer):
    text, corrections = "naïve café, très \N{GRINNING FACE}: für 12 €", 0
    for seed in range(6):
        proofread = pipeline_of(partial(tiny_model, seed=seed, correction_alpha=0.1), bytes_tokenizer)
        result = proofread(text, threshold=0.3, correct=True)
        corrections += len(result["corrections"])
        assert "\ufffd" not in result["corrected_text"]
        for found in ("spans", "corrections"):
            assert not any("\ufffd" in span["replacement"] for span in result[found])
            assert all(one["end"] <= other["start"] for one, other in pairwise(result[found]))
    assert corrections


def test_the_space_before_a_word_goes_with_its_token(tiny_model, bytes_tokenizer):
    proofread = pipeline_of(tiny_model, bytes_tokenizer)
    tokens = [token["token"] for token in proofread("hello world the")["tokens"]]
    assert tokens == ["hello", "Ġworld", "Ġthe"]
    assert spliced(proofread, "hello world  the", {1: "Ġthe"}) == "hello the  the"
    assert spliced(proofread, "hello world the", {1: "s"}) == "hellos the"
    assert spliced(proofread, "hello world the", {0: "Ġthe", 2: "hello"}) == " the worldhello"


def test_pieces_of_words_are_put_together_and_what_is_unknown_or_dropped_is_named(tiny_model):
    names = ["[PAD]", "[MASK]", "[UNK]", "play", "##ing", "##ed", "walk", "the", ",", "work"]
    backend = Tokenizer(models.WordPiece({name: i for i, name in enumerate(names)}, unk_token="[UNK]"))
    backend.normalizer = normalizers.Sequence([normalizers.Replace("\x07", ""), normalizers.Lowercase()])
    backend.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    backend.decoder = decoders.WordPiece()
    proofread = pipeline_of(tiny_model, fast(backend, unk_token="[UNK]"))
    text = "The playing,\n\n  zebra \x07walked [UNK]"
    result = proofread(text, top_k=20)
    kinds = [(token["text"], token["kind"]) for token in result["tokens"]]
    assert kinds[:4] == [("The", "text"), ("play", "text"), ("ing", "text"), (",", "text")]
    assert kinds[4:] == [("zebra", "unknown"), ("walk", "text"), ("ed", "text"), ("[UNK]", "special")]
    assert [(u["text"], u["replacement"] == "") for u in result["unknown"]] == [("zebra", False), ("\x07", True)]
    assert result["tokens"][4]["error_probability"] is None and result["tokens"][4]["token"] == "[MASK]"
    assert "[UNK]" not in {r["token"] for token in result["tokens"] for r in token["replacements"]}
    # All but the exchanged tokens stays as it was, capitals and white space too.
    corrected = text.replace("playing", "played").replace("walk", "work")
    assert spliced(proofread, text, {2: "##ed", 5: "work"}) == corrected
    assert spliced(proofread, "The play the", {1: "##ing"}) == "Theing the"


def test_a_tokenizer_in_python_serves_as_long_as_its_tokens_are_found_again(tiny_model):
    proofread = pipeline_of(tiny_model, Words())
    result = proofread("a  rose is[MASK]\nno daisy")
    found = [(token["text"], token["kind"]) for token in result["tokens"]]
    words = [("a", "text"), ("rose", "text"), ("is", "text"), ("[MASK]", "hole"), ("no", "text"), ("daisy", "unknown")]
    assert found == words
    assert spliced(proofread, "a  rose is\nno", {1: "no", 3: "a"}) == "a  no is\na"
    with refused("use a fast tokenizer.", start="`tokenizer` must tell where its tokens stand, got Words"):
        pipeline_of(tiny_model, Words(capitals=True))("a rose")


# ---- inputs, batches, windows ----


def test_results_do_not_depend_on_the_batch(proofread):
    alone = [proofread(text, correct=True) for text in TEXTS]
    for batch_size in (1, 3, len(TEXTS)):
        found = proofread(TEXTS, batch_size=batch_size, correct=True)
        for first, second in zip(alone, found, strict=True):
            for name in ("corrected_text", "corrections", "expected_errors", "forward_passes", "holes", "unknown"):
                assert first[name] == second[name], (batch_size, name)
            errors = [[token["error_probability"] for token in result["tokens"]] for result in (first, second)]
            assert errors[0] == errors[1]


def test_no_pass_has_more_windows_than_the_batch_size(proofread, model):
    rows = []
    model.model.register_forward_hook(
        lambda module, args, kwargs, output: rows.append(len(kwargs["input_ids"])), with_kwargs=True
    )
    for batch_size, most in ((None, 1), (2, 2), (5, 5)):
        rows.clear()
        kwargs = {} if batch_size is None else {"batch_size": batch_size}
        results = [proofread("abcdefghij" * 30, **kwargs), *proofread(["abc" * 40, "b"], **kwargs)]
        assert max(rows) == most and sum(rows) == sum(result["forward_passes"] for result in results)


def test_windows_are_as_asked_for(proofread):
    text = "abcdefghi" * 8
    pieces = proofread([text[start : start + 12] for start in range(0, 72, 12)])
    cut = proofread(text, window=12, stride=0)
    errors = [token["error_probability"] for token in cut["tokens"]]
    assert errors == [token["error_probability"] for piece in pieces for token in piece["tokens"]]
    assert (cut["windows"], proofread(text, window=12)["windows"], proofread(text)["windows"]) == (6, 11, 2)


# ---- refusals ----


@pytest.mark.parametrize(
    ("inputs", "kwargs", "parts"),
    [
        (TEXT, {"treshold": 0.3}, ("`treshold`", "got 0.3", "threshold")),
        (TEXT, {"threshold": 2}, ("`threshold`", "[0, 1]", "got 2")),
        (TEXT, {"top_k": -1}, ("`top_k`", "got -1")),
        (TEXT, {"window": 49}, ("`window`", "from 1 to 48", "got 49")),
        (TEXT, {"stride": 48}, ("`stride`", "from 0 to 47", "got 48")),
        (TEXT, {"suggest_by": "ear"}, ("`suggest_by`", "got 'ear'")),
        (TEXT, {"max_rounds": 2}, ("`max_rounds`", "`correct=True`", "got 2")),
        (TEXT, {"correct": True, "max_rounds": 0}, ("`max_rounds`", "got 0")),
        (None, {}, ("`inputs` must be a text, or a list, dataset or generator of texts, got None",)),
        ([None], {}, ("`inputs` must be texts, got None",)),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(proofread, inputs, kwargs, parts):
    with refused(*parts):
        proofread(inputs, **kwargs)


def test_a_model_that_cannot_proofread_is_refused_when_it_is_met(tiny_model, tokenizer):
    untrained = tiny_model()
    torch.nn.init.zeros_(untrained.critic_head.weight)
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 1, "intermediate_size": 8}
    other = BertForMaskedLM(BertConfig(vocab_size=32, **sizes))
    cases = [
        (tiny_model(add_critic_head=False), tokenizer, "`model` must have a trained critic to proofread, got none"),
        (untrained, tokenizer, "got a critic head that was never trained: train one"),
        (other, tokenizer, "`model` must be able to proofread, got one of type 'bert'"),
    ]
    for model, given, part in cases:
        with refused(part):
            CriticProofreadPipeline(model=model, tokenizer=given)


def test_a_tokenizer_that_reads_neither_characters_nor_unknown_words_says_so_itself(tiny_model):
    backend = Tokenizer(models.WordLevel({"[PAD]": 0, "[MASK]": 1, "rose": 2, "is": 3}))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    proofread = pipeline_of(tiny_model, fast(backend))
    assert len(proofread("rose is rose")["tokens"]) == 3
    with refused("`inputs` must consist of what the tokenizer knows"):
        proofread("rose is daisy")
