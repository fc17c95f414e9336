# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the task "critic-diffusion"."""

import copy
import json
from itertools import pairwise

import pytest
import torch
from python_tokenizer import Words
from refusals import refused
from transformers import pipeline

import critic_gpt
from critic_gpt import CriticDiffusionPipeline, CriticGPTGenerationConfig
from critic_gpt.pipelines import critic_diffusion


KEYS = {
    *("generated_text", "tokens", "token_ids", "error_probabilities", "expected_errors"),
    *("error_mean", "error_p10", "error_p50", "error_p90", "self_log_probability", "judge_wrongness"),
    *("forward_passes", "scoring_passes", "judge_passes", "row_passes", "candidate_expected_errors"),
}
HOLES = "ab[MASK]de[MASK][MASK]h"
# Of different lengths, so that batches are padded.
PROMPTS = [HOLES, "the ", None, "[MASK]" * 12, {"text": "x[MASK]"}, {"prompt": "well"}, HOLES]


SHAPE = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "initializer_range": 0.3}
SHAPE |= {"vocab_size": 32, "max_position_embeddings": 48, "pad_token_id": 0, "mask_token_id": 1}


@pytest.fixture(scope="module")
def folder(tmp_path_factory, tokenizer):
    """
    A tiny model in float64: what a batch around a row does to the last digits decides nothing. Absolute positions, as
    with rotary ones all positions of an empty canvas look alike, and rounding alone would tell which come first.
    """
    torch.manual_seed(0)
    config = critic_gpt.CriticGPTConfig(**SHAPE, add_critic_head=True, position_embedding_type="absolute")
    model = critic_gpt.CriticGPTForMaskedLM(config)
    torch.nn.init.normal_(model.critic_head.weight)
    path = tmp_path_factory.mktemp("pipeline") / "model"
    model.double().save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def generate(folder):
    return pipeline("critic-diffusion", model=str(folder), num_steps=4)


# ---- what comes out ----


def test_the_keys_of_a_result_are_frozen_and_its_values_plain(generate):
    result = generate(HOLES, seed=0)
    assert set(result) == KEYS
    assert json.loads(json.dumps(result)) == result
    kinds = {
        str: ("generated_text",),
        list: ("tokens", "token_ids", "error_probabilities"),
        int: ("forward_passes", "scoring_passes", "judge_passes", "row_passes"),
        float: ("expected_errors", "error_mean", "error_p10", "error_p50", "error_p90", "self_log_probability"),
        type(None): ("judge_wrongness", "candidate_expected_errors"),
    }
    assert {name: type(result[name]) for name in result} == {name: kind for kind in kinds for name in kinds[kind]}
    assert {type(i) for i in result["token_ids"]} == {int}
    assert {type(p) for p in result["error_probabilities"]} == {float}


def test_tokens_ids_and_probabilities_are_aligned_and_given_ones_are_certain(generate, tokenizer):
    result = generate(HOLES, seed=0)
    assert len(result["tokens"]) == len(result["token_ids"]) == len(result["error_probabilities"]) == 8
    assert tokenizer.convert_tokens_to_ids(result["tokens"]) == result["token_ids"]
    assert "".join(result["tokens"]) == result["generated_text"] == tokenizer.decode(result["token_ids"])
    given = [p for i, p in enumerate(result["error_probabilities"]) if i not in (2, 5, 6)]
    assert given == [0.0] * 5
    assert all(0 < result["error_probabilities"][i] < 1 for i in (2, 5, 6))
    assert result["expected_errors"] == pytest.approx(sum(result["error_probabilities"]), abs=1e-12)


def test_given_text_is_unchanged_and_every_hole_filled(generate):
    text = generate(HOLES, seed=3)["generated_text"]
    assert (text[:2], text[3:5], text[7:], len(text)) == ("ab", "de", "h", 8)
    text = generate("a b\n.", max_new_tokens=5, seed=3)["generated_text"]
    assert text.startswith("a b\n.") and len(text) == 10
    assert len(generate(None, max_new_tokens=7, seed=3)["generated_text"]) == 7


def test_a_text_without_holes_is_continued_to_the_length_of_the_call_of_the_model_or_of_the_window(folder):
    generate = pipeline("critic-diffusion", model=str(folder))
    generate.model.generation_config.num_steps = 2
    assert len(generate("abc")["token_ids"]) == 48
    generate.model.generation_config.max_new_tokens = 6
    assert len(generate("abc")["token_ids"]) == 9
    assert len(generate("")["token_ids"]) == len(generate()["token_ids"]) == 6
    assert len(generate(HOLES)["token_ids"]) == 8
    assert len(generate("abc", max_new_tokens=2)["token_ids"]) == 5
    assert generate.model.generation_config.max_new_tokens == 6
    settings = CriticGPTGenerationConfig(max_new_tokens=4, num_steps=3)
    result = generate("abc", generation_config=settings)
    assert (len(result["token_ids"]), result["forward_passes"]) == (7, 3)
    assert settings.max_new_tokens == 4


def test_in_blocks_a_text_may_be_longer_than_the_model_and_prompts_of_any_length_share_a_batch(folder):
    generate = pipeline("critic-diffusion", model=str(folder), num_steps=40)
    case = {"block_length": 10, "cache_implementation": "dual", "seed": 0, "num_steps": 20}
    prompts = ["abc", "a" * 60, HOLES]
    batch = [generate(prompt, **case, **({} if prompt == HOLES else {"max_new_tokens": 100})) for prompt in prompts]
    assert [len(result["token_ids"]) for result in batch] == [103, 160, 8]
    assert all(result["generated_text"].startswith(prompt[:2]) for result, prompt in zip(batch, prompts, strict=True))
    together = generate(prompts[:2], **case, max_new_tokens=100, batch_size=2)
    assert together[0]["token_ids"] == batch[0]["token_ids"]
    generate.model.generation_config = CriticGPTGenerationConfig(block_length=16, num_steps=20)
    assert len(generate("abc")["token_ids"]) == 259  # 256 tokens by default, whatever the model takes at once
    with refused(start="`block_length` must be a whole number of at least 1, got 'all': "):
        generate("abc", block_length="all")


def test_passes_are_reported(generate):
    result = generate(HOLES, num_steps=3)
    assert (result["forward_passes"], result["scoring_passes"]) == (3, 1)
    result = generate(HOLES, num_steps=3, return_error_probabilities=False)
    assert (result["forward_passes"], result["scoring_passes"]) == (3, 0)
    assert result["error_probabilities"] is None and result["expected_errors"] is None
    assert generate(HOLES, num_steps=3, remasking="critic_full")["forward_passes"] == 5


@pytest.mark.parametrize("trained", [False, None])
def test_without_a_trained_critic_there_is_no_verdict(tiny_model, tokenizer, trained):
    model = tiny_model(add_critic_head=trained is not None)
    if model.critic_head is not None:
        torch.nn.init.zeros_(model.critic_head.weight)
    result = CriticDiffusionPipeline(model=model, tokenizer=tokenizer)(HOLES, num_steps=3)
    assert set(result) == KEYS
    assert result["error_probabilities"] is None and result["expected_errors"] is None
    assert result["error_mean"] is None and result["error_p90"] is None
    assert result["self_log_probability"] < 0
    assert (result["forward_passes"], result["scoring_passes"]) == (3, 0)


def test_the_history_tells_every_step(generate):
    kwargs = {"num_steps": 5, "remask_per_step": 2, "seed": 1}
    results = generate(["[MASK]" * 12, HOLES], batch_size=2, return_history=True, **kwargs)
    for result, plain in zip(results, generate(["[MASK]" * 12, HOLES], **kwargs), strict=True):
        history = result.pop("history")
        assert json.loads(json.dumps(history)) == history and len(history) == 5
        # A sum over a row that is padded may be rounded in the last of its 53 bits.
        assert result.pop("self_log_probability") == pytest.approx(plain.pop("self_log_probability"), rel=1e-14)
        assert result == plain
        assert history[-1]["filled"] == result["generated_text"]
        assert all(set(step) == {"input", "filled", "input_ids", "filled_ids", "remasked"} for step in history)
        for step in history:
            assert generate.tokenizer.decode(step["input_ids"]) == step["input"]
            assert generate.tokenizer.decode(step["filled_ids"]) == step["filled"]
            assert len(step["input_ids"]) == len(result["token_ids"])
        for now, after in pairwise(history):
            masked = [1 if i in now["remasked"] else token for i, token in enumerate(now["filled_ids"])]
            assert after["input_ids"] == masked
        assert "[PAD]" not in json.dumps(history)
    result = generate("[MASK]" * 12, return_history=True, **kwargs)
    assert result["history"][0]["input"] == "[MASK]" * 12
    assert any(step["remasked"] for step in result["history"])


def test_what_follows_a_generated_end_is_in_neither_text_nor_tokens(tiny_model, tokenizer):
    model = tiny_model(eos_token_id=5)
    with torch.no_grad():
        model.lm_head.weight[5] = model.lm_head.weight[6:].mean(dim=0)
    generate = CriticDiffusionPipeline(model=model, tokenizer=tokenizer)
    results = generate([None] * 20, max_new_tokens=30, num_steps=30, unmasking="random", seed=0, batch_size=4)
    assert any(len(result["tokens"]) < 30 for result in results)
    for result in results:
        assert "[PAD]" not in result["generated_text"]
        assert len(result["tokens"]) == len(result["error_probabilities"])
        assert len(result["tokens"]) == 30 or result["tokens"].index(".") == len(result["tokens"]) - 1


def test_the_numbers_of_a_row_are_those_of_its_generated_tokens(generate):
    result = generate(HOLES, seed=0)
    generated = torch.tensor([result["error_probabilities"][i] for i in (2, 5, 6)])
    assert result["error_mean"] == pytest.approx(generated.mean().item())
    for name, quantile in (("error_p10", 0.1), ("error_p50", 0.5), ("error_p90", 0.9)):
        assert result[name] == pytest.approx(generated.quantile(quantile).item())
    again = generate.model.generate(torch.tensor([generate.tokenizer(HOLES)["input_ids"]]), seed=[0], num_steps=4)
    assert result["self_log_probability"] == pytest.approx(again.self_log_probability.item())


def test_where_nothing_is_generated_there_are_no_means(generate):
    result = generate(HOLES, num_steps=2, protected_mask=torch.ones(1, 8))
    assert result["expected_errors"] == 0 and result["token_ids"].count(1) == 3
    assert result["error_mean"] is result["error_p50"] is result["self_log_probability"] is None


def test_of_several_candidates_the_best_comes_back_with_what_was_expected_of_each(generate):
    plain, results = generate(PROMPTS, seed=7), generate(PROMPTS, seed=7, num_candidates=3, batch_size=4)
    for before, result in zip(plain, results, strict=True):
        expected = result["candidate_expected_errors"]
        assert len(expected) == 3 and expected[0] == pytest.approx(before["expected_errors"], abs=1e-6)
        assert result["expected_errors"] == pytest.approx(min(expected), abs=1e-6)
        assert result["row_passes"] == 12 and json.loads(json.dumps(result)) == result
        if min(expected) == expected[0]:
            assert result["token_ids"] == before["token_ids"]


# ---- where a prompt stands ----


PLACED = ["abcde", "the ", None, "x", "well", "abcde"]
AT_RANDOM = {"seed_placement": "random", "max_new_tokens": 20}


def test_a_prompt_at_a_random_place_is_whole(generate):
    expected = generate(PLACED, seed=7, **AT_RANDOM)
    for prompt, result in zip(PLACED, expected, strict=True):
        assert len(result["token_ids"]) == len(prompt or "") + 20 and (prompt or "") in result["generated_text"]
        zeros = [i for i, p in enumerate(result["error_probabilities"]) if p == 0]
        assert "".join(result["tokens"][i] for i in zeros) == (prompt or "")
    assert any(not r["generated_text"].startswith(p) for p, r in zip(PLACED, expected, strict=True) if p)


def test_a_pipeline_places_a_prompt_where_generate_does(generate):
    ids = torch.tensor([generate.tokenizer("abcde")["input_ids"]])
    case = {"max_new_tokens": 20, "seed_placement": "random"}
    direct = generate.model.generate(ids, seed=[7 << 32], num_steps=4, **case)
    assert generate("abcde", seed=7, **case)["token_ids"] == direct.sequences[0].tolist()


def test_a_placement_comes_from_the_call_the_passed_configuration_or_the_models_own(folder):
    generate = pipeline("critic-diffusion", model=str(folder), num_steps=2, max_new_tokens=30)

    def text(**kwargs):
        return generate("abc", seed=3, **kwargs)["generated_text"]

    plain, placed = text(), text(seed_placement="random")
    assert plain.startswith("abc") and not placed.startswith("abc") and "abc" in placed
    settings = CriticGPTGenerationConfig(seed_placement="random", num_steps=2)
    assert text(generation_config=settings) == placed and settings.seed_placement == "random"
    assert text(generation_config=settings, seed_placement="prefix") == plain
    generate.model.generation_config.seed_placement = "random"
    assert text() == placed and text(seed_placement="prefix") == plain
    assert text(generation_config=CriticGPTGenerationConfig(num_steps=2)) == plain
    assert pipeline("critic-diffusion", model=generate.model, tokenizer=generate.tokenizer)(HOLES, num_steps=2)


# ---- other judges ----


@pytest.fixture(scope="module")
def judges(tmp_path_factory):
    """Folders of a token classifier and of a sequence scorer of the same vocabulary."""
    torch.manual_seed(1)
    path, shape = tmp_path_factory.mktemp("judges"), {**SHAPE, "num_hidden_layers": 1}
    for name, cls, labels in (("tokens", "Token", 2), ("rows", "Sequence", 1)):
        made = getattr(critic_gpt, f"CriticGPTFor{cls}Classification")
        made(critic_gpt.CriticGPTConfig(**shape, num_labels=labels)).save_pretrained(path / name)
    return path


def test_judges_are_given_as_folder_as_model_or_as_function(generate, judges):
    token_judge = critic_gpt.CriticGPTForTokenClassification.from_pretrained(judges / "tokens").eval()
    row_judge = critic_gpt.CriticGPTForSequenceClassification.from_pretrained(judges / "rows").eval()
    case = {"seed": 5, "batch_size": 3}
    by_folder = generate(PROMPTS, remasking_model=str(judges / "tokens"), judge_model=judges / "rows", **case)
    by_model = generate(PROMPTS, remasking_model=token_judge, judge_model=row_judge, **case)
    by_function = generate(
        PROMPTS,
        remasking_model=lambda input_ids, attention_mask: token_judge(input_ids, attention_mask).logits,
        judge_model=lambda input_ids, attention_mask: row_judge(input_ids, attention_mask).logits,
        **case,
    )
    assert by_folder == by_model == by_function
    assert [r["generated_text"] for r in by_folder] != [r["generated_text"] for r in generate(PROMPTS, **case)]
    for result in by_folder:
        assert (result["forward_passes"], result["judge_passes"]) == (4, 1)
        ids = torch.tensor([result["token_ids"]])
        expected = row_judge(ids).logits.item()
        assert result["judge_wrongness"] == pytest.approx(expected, abs=1e-5) and 0 < expected < 1


def test_an_external_model_comes_before_the_critic_whatever_its_output_looks_like(generate, judges):
    token_judge = critic_gpt.CriticGPTForTokenClassification.from_pretrained(judges / "tokens").eval()

    def one_logit(input_ids, attention_mask):
        logits = token_judge(input_ids, attention_mask).logits
        return logits[..., 1:] - logits[..., :1]

    case = {"seed": 5, "num_steps": 6}
    two_classes = generate("[MASK]" * 20, remasking_model=token_judge, **case)
    assert generate("[MASK]" * 20, remasking_model=one_logit, **case)["token_ids"] == two_classes["token_ids"]
    named = generate("[MASK]" * 20, remasking_model=token_judge, remasking="external", **case)
    assert named["token_ids"] == two_classes["token_ids"]


def test_a_folder_is_loaded_once(generate, judges, monkeypatch):
    folder, loaded = str(judges / "rows"), []
    original = critic_diffusion.AutoModelForSequenceClassification.from_pretrained
    monkeypatch.setattr(
        critic_diffusion.AutoModelForSequenceClassification,
        "from_pretrained",
        lambda path, **kwargs: loaded.append(path) or original(path, **kwargs),
    )
    fresh = CriticDiffusionPipeline(model=generate.model, tokenizer=generate.tokenizer)
    for _ in range(2):
        fresh(HOLES, judge_model=folder)
    assert loaded == [folder]


def test_judges_that_cannot_serve_are_refused_in_one_sentence(generate, judges, folder, tiny_config, tmp_path):
    cases = [
        (
            {"remasking_model": "no/such/model"},
            ("`remasking_model`", "token classifier", "'no/such/model'", "did not"),
        ),
        ({"judge_model": str(tmp_path)}, ("`judge_model`", "sequence scorer", "did not load")),
        ({"remasking_model": str(folder)}, ("`remasking_model`", "trained token classifier", "classifier.weight")),
        ({"remasking_model": judges / "rows"}, ("`remasking_model`", "classifier.weight")),
        ({"judge_model": judges / "tokens"}, ("`judge_model`", "score.weight")),
    ]
    torch.manual_seed(0)
    other = critic_gpt.CriticGPTForTokenClassification(tiny_config(vocab_size=33, num_labels=2))
    cases.append(({"remasking_model": other}, ("`remasking_model`", "vocabulary", "32 tokens", "got 33")))
    for kwargs, parts in cases:
        with refused("got", *parts):
            generate(HOLES, **kwargs)


# ---- what goes in ----


EARLY = {"stop_when_expected_errors_below": 6.0, "remasking": "critic", "num_steps": 8}


@pytest.mark.parametrize(("prompts", "case"), [(PROMPTS, {}), (PROMPTS, EARLY), (PLACED, AT_RANDOM)])
def test_the_same_seed_gives_the_same_whatever_the_batch_size(generate, prompts, case):
    expected = generate(prompts, seed=7, **case)
    assert generate(prompts, seed=7, **case) == expected != generate(prompts, seed=8, **case)
    for batch_size in (2, 3, 16):
        found = generate(prompts, seed=7, batch_size=batch_size, **case)
        for one, other in zip(found, expected, strict=True):
            assert all(one[name] == other[name] for name in ("generated_text", "token_ids", "row_passes"))
            assert one["error_probabilities"] == pytest.approx(other["error_probabilities"], abs=1e-9)
            assert one["row_passes"] <= one["forward_passes"]
    assert case != EARLY or len({result["row_passes"] for result in expected}) > 1


def test_the_side_on_which_a_tokenizer_pads_changes_nothing(generate, folder):
    other = pipeline("critic-diffusion", model=str(folder), num_steps=4)
    other.tokenizer.padding_side = "left"
    texts = [result["generated_text"] for result in generate(PROMPTS, seed=7)]
    assert [result["generated_text"] for result in other(PROMPTS, seed=7, batch_size=7)] == texts
    assert not any("[PAD]" in text for text in texts)


def test_a_single_prompt_is_the_first_of_a_list(generate):
    assert generate(HOLES, seed=4) == generate([HOLES, "other"], seed=4)[0]
    assert generate({"text": HOLES}, seed=4) == generate(HOLES, seed=4) == generate({"prompt": HOLES}, seed=4)
    assert generate({"text": None}, seed=4) == generate(None, seed=4) == generate(seed=4)


def test_the_same_prompt_twice_gives_two_results(generate):
    first, second = generate([None, None], seed=0, max_new_tokens=20)
    assert first["generated_text"] != second["generated_text"]


# ---- arguments ----


def test_generation_arguments_reach_generate(generate):
    greedy = {"temperature": 0, "remasking": "none"}
    assert generate(HOLES, seed=0, **greedy)["token_ids"] == generate(HOLES, seed=1, **greedy)["token_ids"]
    assert generate("[MASK]" * 20, seed=0)["token_ids"] != generate("[MASK]" * 20, seed=1)["token_ids"]
    assert generate(HOLES, num_steps=1)["forward_passes"] == 1
    assert generate(HOLES, num_steps=2)["forward_passes"] == 2
    with pytest.raises(ValueError, match="`unmasking` has no meaning"):
        generate(HOLES, remasking="random", unmasking="margin")


def test_the_models_own_settings_hold_where_the_call_says_nothing(tiny_model, tokenizer, tmp_path):
    model = tiny_model()
    model.generation_config.update(num_steps=3, max_new_tokens=5, temperature=0.0)
    model.save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    generate = pipeline("critic-diffusion", model=str(tmp_path))
    result = generate("ab", seed=0)
    assert (len(result["token_ids"]), result["forward_passes"]) == (7, 3)
    assert generate("ab", seed=1)["token_ids"] == result["token_ids"]
    # Used before, the temperature holds; the length is for prompts without holes.
    assert generate(HOLES, seed=0)["forward_passes"] == 3


def test_a_model_that_returns_sequences_alone_serves_a_pipeline_too(tiny_model, tokenizer):
    model = tiny_model()
    model.generation_config.return_dict_in_generate = False
    assert set(CriticDiffusionPipeline(model=model, tokenizer=tokenizer)(HOLES, num_steps=2)) == KEYS


@pytest.mark.parametrize(
    ("inputs", "kwargs", "parts"),
    [
        (HOLES, {"num_step": 3}, ("`num_step`", "did you mean `num_steps`?")),
        (HOLES, {"num_steps": 0}, ("`num_steps`", "at least 1")),
        (HOLES, {"return_dict_in_generate": False}, ("`return_dict_in_generate`", "False")),
        (HOLES, {"max_new_tokens": 3}, ("`max_new_tokens`", "without [MASK]", "3")),
        (HOLES, {"seed_placement": "random"}, ("`seed_placement`", "without [MASK]", "'random'")),
        ("abc", {"seed_placement": "suffix"}, ("`seed_placement`", "prefix, random", "'suffix'")),
        (HOLES, {"seed": 1.5}, ("`seed`", "1.5")),
        ("aBc[MASK]\tD", {}, ("`inputs`", "'B'", "'D'", r"'\t'")),
        ("a" * 50 + "[MASK]", {}, ("`inputs`", "48 positions", "51 tokens")),
        ("a" * 40, {"max_new_tokens": 9}, ("`max_new_tokens`", "48 positions", "got 9", "40 tokens")),
        ("a" * 48, {}, ("`inputs`", "room", "48 positions", "48 tokens")),
        ("a" * 57, {}, ("`inputs`", "room", "48 positions", "57 tokens")),
        (None, {"max_new_tokens": 0}, ("`max_new_tokens`", "got 0")),
        (None, {"max_new_tokens": 2.5}, ("`max_new_tokens`", "got 2.5")),
        (5, {}, ("`inputs` must be a text, None, or a list, dataset or generator of these",)),
        ([5], {}, ("`inputs` must be texts or None",)),
        ({"sentence": HOLES}, {}, ("`inputs`", "`prompt` or `text`", "'sentence'")),
    ],
)
def test_what_cannot_be_meant_is_one_sentence(generate, inputs, kwargs, parts):
    with refused("got", *parts):
        generate(inputs, **kwargs)


def test_a_tokenizer_in_python_serves_as_well(tiny_model):
    generate = CriticDiffusionPipeline(model=tiny_model(vocab_size=11), tokenizer=Words("abcdefgh", glue=""))
    result = generate("ab[MASK]d", num_steps=2)
    assert result["tokens"][:2] == ["a", "b"] and result["tokens"][3] == "d" and len(result["tokens"]) == 4
    with refused("got", "'y', 'z'"):
        generate("abz[MASK]y")


def test_the_token_that_ends_a_text_is_no_part_of_it(tiny_model, tokenizer):
    ending = copy.deepcopy(tokenizer)
    ending.add_special_tokens({"eos_token": "z"})
    model = tiny_model(eos_token_id=ending.eos_token_id)
    generate = pipeline("critic-diffusion", model=model, tokenizer=ending)
    results = generate(["ab"] * 12, max_new_tokens=20, seed=0, num_steps=8)
    ended = [result for result in results if result["tokens"][-1] == "z"]
    assert ended
    for result in ended:
        assert result["generated_text"] == "".join(result["tokens"][:-1]) and "z" not in result["generated_text"]
        assert len(result["tokens"]) == len(result["error_probabilities"])
