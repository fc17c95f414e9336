# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about what the page asks and is answered."""

import json
import urllib.request
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from page_requests import asked
from tiny_masked_lms import framed_tokenizer, tiny_masked_lm

from critic_gpt import get_critic_model
from critic_gpt.explorer import (
    Explorer,
    critic_view,
    denoising_view,
    edit,
    fill,
    generation_view,
    remask,
    score,
    start_from_sample,
)
from critic_gpt.explorer.drawing import visible
from critic_gpt.explorer.page import ACTS, MAX_DRAWN, Page, page_data, state_data, token_data, with_given
from critic_gpt.explorer.strategies_in_words import IN_WORDS
from critic_gpt.explorer.tokens import TokenView
from critic_gpt.explorer.web import serve
from critic_gpt.generation.declarations import remasking_names
from critic_gpt.tasks import SudokuTask


PLACE = {"split": "validation", "index": 1, "mask_rate": 0.8, "seed": 4}


@pytest.fixture
def page(explorer):
    return Page(explorer)


def begun(page, **fields):
    return page.answer("begin", {**PLACE, **fields})["state"]


def test_the_page_draws_what_the_library_sees(page, explorer):
    seen = page_data(critic_view(explorer, 1, mask_rate=0.8, seed=4, threshold=0.3))
    assert page.answer("critic", {**PLACE, "threshold": 0.3}) == {"views": [seen]}
    clean, masked = page.answer("sample", PLACE)["views"]
    assert "validation 1 of 3" in clean["headings"][0] and any("m" in token.get("k", "") for token in masked["tokens"])
    assert len(page.answer("text", {"text": "ab"})["views"][0]["tokens"]) == 2


def test_a_state_that_travels_over_the_net_comes_out_bit_for_bit(page, explorer):
    sent = begun(page)
    for act in ("fill", "score", "remask_worst", "fill"):
        answer = page.answer("act", {"act": act, "state": json.loads(json.dumps(sent)), "count": 3})
        sent = answer["state"]
    state = start_from_sample(explorer, 1, mask_rate=0.8, seed=4)
    state = fill(explorer, remask(explorer, score(explorer, fill(explorer, state)), count=3))
    assert sent == state_data(state)
    assert answer["view"] == with_given(page_data(denoising_view(explorer, state)), state)


def test_every_act_does_something_or_says_why_not(page):
    state = page.answer("act", {"act": "fill", "state": begun(page, mask_rate=1.0)})["state"]
    state = page.answer("act", {"act": "score", "state": state})["state"]
    for act in ACTS:
        fields = {"act": act, "state": state, "count": 2, "positions": [5], "token": "q", "threshold": 0.0}
        if act in ("unmask", "truth"):  # nothing is masked; and of a sample without a given token there is no truth
            with pytest.raises(ValueError, match=r"must be masked|must come from the data"):
                page.answer("act", fields)
        else:
            answer = page.answer("act", fields)
            assert answer["state"] != state or act == "score", act
    for wrong in ({"act": "dance"}, {"act": "fill", "state": None}, {"act": "set", "positions": [1], "token": "qq"}):
        with pytest.raises(ValueError, match=r"`(act|request|token)` must be"):
            page.answer("act", {"state": state, **wrong})


def test_tokens_are_set_masked_protected_and_freed_by_hand(page, explorer):
    state = begun(page, mask_rate=0.5)
    given, hole = state["editable"].index(0), state["editable"].index(1)

    def after(act, position, **more):
        return page.answer("act", {"act": act, "state": state, "positions": [position], **more})["state"]

    assert after("mask", given)["input_ids"][given] == 1 and after("mask", given)["editable"][given] == 1
    assert after("protect", given)["editable"][given] == 1, "protected before, free now"
    filled = after("set", hole, token="q")
    assert explorer.tokenizer.decode([filled["input_ids"][hole]]) == "q" and filled["forward_passes"] == 0
    state = filled
    assert after("protect", hole)["editable"][hole] == 0
    state = begun(page, mask_rate=0.5)
    with pytest.raises(ValueError, match="`protect` must be for tokens that are visible"):
        after("protect", hole)


@pytest.mark.parametrize(
    ("positions", "token", "message"),
    [
        ([24], 3, r"`positions` must be in \[0, 24\)"),
        ([-1], 3, "`positions`"),
        ([0], 0, "`token_id`"),
        ([0], 32, "`token_id`"),
    ],
)
def test_an_edit_that_makes_no_sense_is_refused(explorer, positions, token, message):
    with pytest.raises(ValueError, match=message):
        edit(explorer, start_from_sample(explorer, 0, mask_rate=0.5), positions, token)


def test_an_edit_takes_back_the_verdict_where_tokens_change_and_only_there(explorer):
    state = score(explorer, fill(explorer, start_from_sample(explorer, 0, mask_rate=0.5)))
    assert edit(explorer, state, [3], protect=True).error_probabilities == state.error_probabilities
    changed = edit(explorer, state, [3], 1)
    assert changed.error_probabilities is None and changed.input_ids[3] == 1 and changed.editable[3]


@pytest.mark.parametrize("how", [name for name in remasking_names() if name != "external"])
def test_a_generation_is_shown_step_by_step(page, explorer, how):
    state = begun(page)
    answer = page.answer("generate", {"state": state, "strategy": how, "num_steps": 3})
    start = start_from_sample(explorer, 1, mask_rate=0.8, seed=4)
    view = generation_view(explorer, start, remasking=how, num_steps=3)
    assert answer["view"] == with_given(page_data(view), start)
    assert answer["frames"] == [with_given(page_data(step), start) for step in view.steps] and len(view.steps) == 3
    assert answer["state"]["input_ids"] == [token.id for token in view.tokens]
    assert page.answer("act", {"act": "score", "state": answer["state"]})["state"]["critic_logits"]


def test_a_long_animation_leaves_out_steps(page, monkeypatch):
    monkeypatch.setattr("critic_gpt.explorer.page.MAX_DRAWN", 24 * 4 - 1)
    assert MAX_DRAWN > 1000
    answer = page.answer("generate", {"state": begun(page), "strategy": "none", "num_steps": 8})
    assert 2 <= len(answer["frames"]) <= 4


@pytest.mark.parametrize("fields", [{"add_critic_head": False}, {"correction_alpha": 0.0}])
def test_no_strategy_is_offered_that_the_model_cannot_follow(tiny_model, tokenizer, fields, rows):
    page = Page(Explorer(tiny_model(**fields), tokenizer, {"validation": rows}))
    offered, state = page.about()["strategies"], begun(page)
    assert next(iter(offered)) == "auto"
    for how in remasking_names():
        if how in offered:
            assert page.answer("generate", {"state": state, "strategy": how, "num_steps": 2})["frames"]
        else:
            with pytest.raises(ValueError, match="`strategy` must be one of"):
                page.answer("generate", {"state": state, "strategy": how, "num_steps": 2})


def test_every_strategy_of_the_package_is_explained_in_a_line():
    assert set(IN_WORDS) == set(remasking_names())
    assert all(30 < len(line) < 110 and line.endswith(".") for line in IN_WORDS.values())


def test_another_valid_grid_is_no_error(tiny_model):
    task = SudokuTask(size=4)
    tokenizer = task.tokenizer()
    truth, other = (tokenizer(grid)["input_ids"] for grid in ("1234341221434321", "2143432112343412"))
    explorer = Explorer(tiny_model(vocab_size=len(tokenizer)), tokenizer, {"validation": [{"input_ids": truth}]}, task)
    state = start_from_sample(explorer, 0, mask_rate=1.0)
    view = page_data(denoising_view(explorer, replace(state, input_ids=tuple(other))))
    assert view["another"] and not any("truth" in line for line in view["named"])
    assert "another valid grid: 16 tokens differ from the example, none is wrong" in view["headings"]
    wrong = page_data(denoising_view(explorer, replace(state, input_ids=(*other[:-1], other[1]))))
    assert not wrong["another"] and any("truth" in line for line in wrong["named"])
    same = page_data(denoising_view(explorer, replace(state, input_ids=tuple(truth))))
    assert not same["another"] and same["named"] == []


SENT = {"input_ids": [3, 1], "editable": [1, 1], "truth": [3, 4], "critic_logits": [0.5, 1], "changed": [1]}


@pytest.mark.parametrize(
    "hostile",
    [
        {"input_ids": []},
        {"input_ids": [3] * 49, "editable": [1] * 49},
        {"input_ids": [3, -1]},
        {"input_ids": [3, 32]},
        {"input_ids": [3, 1.5]},
        {"input_ids": [3, True]},
        {"input_ids": "ab"},
        {"editable": [1]},
        {"truth": [3, 99]},
        {"truth": [3]},
        {"critic_logits": [1e999, 0.0]},
        {"critic_logits": ["a", "b"]},
        {"step": 2**60},
        {"seed": "x"},
        {"changed": [[1]]},
    ],
)
def test_a_state_that_this_model_could_not_be_in_is_refused(page, hostile):
    assert page.answer("act", {"act": "fill", "state": {**SENT, "truth": None, "critic_logits": None}})
    with pytest.raises(ValueError, match="` must be "):
        page.answer("act", {"act": "fill", "state": {**SENT, **hostile}})


def test_the_page_begins_where_it_is_told_and_without_data_on_a_canvas_of_masks(explorer):
    about = Page(explorer, split="test", index=2, mask_rate=0.25, seed=9, threshold=0.7).about()
    assert about["begin"] == {"split": "test", "index": 2, "mask_rate": 0.25, "seed": 9, "threshold": 0.7}
    assert about["splits"] == {"validation": 3, "test": 1} and about["critic"]
    bare = Page(Explorer(explorer.model, explorer.tokenizer))
    about = bare.about()
    assert about["splits"] == {} and begun(bare, text=about["first_canvas"])["input_ids"] == [1] * 48
    with pytest.raises(ValueError, match="`data_dir` must be given"):
        bare.answer("sample", PLACE)


def test_a_critic_of_any_model_opens(page):
    model = tiny_masked_lm("bert")
    tokenizer = framed_tokenizer()
    page = Page(Explorer(get_critic_model(model, tokenizer=tokenizer), tokenizer))
    assert "masked language model (bert)" in page.about()["facts"]
    state = begun(page, text="w1 [MASK] w3")
    answer = page.answer("generate", {"state": state, "num_steps": 2, "strategy": "none"})
    assert len(answer["view"]["tokens"]) == 5 and 4 not in answer["state"]["input_ids"]
    with torch.no_grad():
        assert begun(page, text=page.about()["first_canvas"])


@given(st.text(), st.text())
def test_control_characters_of_data_have_signs(text, truth):
    token = token_data(TokenView(3, 5, text, truth=truth, truth_id=6, wrong=True, judged=True, error_probability=0.5))
    drawn = token.get("s", "") + token.get("d", "")
    assert visible(drawn) == drawn and set(token["k"]) == {"w", "j"}


def test_the_server_answers_as_the_page_does(explorer, page):
    server = serve(explorer, port=0, wait=False)
    try:
        assert server.url.startswith("http://127.0.0.1:")
        with urllib.request.urlopen(server.url, timeout=20) as response:
            html = response.read().decode()
        assert "critic_gpt explorer" in html and "http" not in html, "nothing is fetched from elsewhere"
        assert asked(server, "critic", **PLACE) == (200, page.answer("critic", PLACE))
        status, answer = asked(server, "text", text="<script>")
        assert status == 400 and "must hold only" in answer["error"]
    finally:
        server.close()


def test_an_impossible_or_a_taken_port_is_refused(explorer):
    with pytest.raises(ValueError, match=r"`port` must be in \[0, 65536\)"):
        serve(explorer, port=70000, wait=False)
    server = serve(explorer, port=0, wait=False)
    try:
        with pytest.raises(ValueError, match="`port` must be free"):
            serve(explorer, port=server.server_address[1], wait=False)
    finally:
        server.close()
