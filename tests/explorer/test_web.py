# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
import os
import urllib.request

import pytest

from critic_gpt.explorer import Explorer, critic_view, denoising_view, fill, remask, score, start_from_sample
from critic_gpt.explorer.markup import view_html


pytest.importorskip("gradio", reason="the page needs gradio: pip install critic_gpt[web]")

from critic_gpt.explorer.web import ACTS, Page, build_page, page_strategies, serve
from critic_gpt.generation.declarations import remasking_names


PLACE = ("validation", 1, 0.8, 4)


@pytest.fixture
def page(explorer):
    return Page(explorer)


def test_the_page_draws_what_the_library_sees(page, explorer):
    assert page.critic(*PLACE, 0.3) == view_html(critic_view(explorer, 1, mask_rate=0.8, seed=4, threshold=0.3))
    assert "validation 1 of 3" in page.sample(*PLACE) and "2 tokens" in page.text("ab", 0.5)


def test_by_hand_is_what_the_library_does(page, explorer):
    states, _ = page.begin(*PLACE, "")
    for act in ("fill", "score", "mask worst again", "fill"):
        states, html = page.act(act, states, 3, "", 0.5)
    state = start_from_sample(explorer, 1, mask_rate=0.8, seed=4)
    state = fill(explorer, remask(explorer, score(explorer, fill(explorer, state)), count=3))
    assert states[-1] == state and html == view_html(denoising_view(explorer, state))
    states, _ = page.act("back", states, 3, "", 0.5)
    assert len(states) == 4


def test_every_button_does_something_or_says_why_not(page):
    states, _ = page.begin("validation", 1, 1.0, 4, "")
    states, _ = page.act("fill", states, 0, "", 0.5)
    states, _ = page.act("score", states, 0, "", 0.5)
    for act in ACTS:
        after, html = page.act(act, states, 2, "5", 0.0)
        assert "must" not in html or (act == "unmask" and after == states), act
    assert "`begin` must come before" in page.act("fill", (), 1, "", 0.5)[1]
    assert "`positions` must be whole numbers" in page.act("unmask", states, 1, "a", 0.5)[1]


@pytest.mark.parametrize("how", [name for name in remasking_names() if name != "external"])
def test_a_generation_can_be_stepped_through(page, how):
    assert how in page_strategies(page.explorer.model)
    view, end, first = page.generate(*PLACE, "", 0.5, how, 3)
    assert len(view.steps) == 3 and end == view_html(view) and first == page.step(view, 0)
    assert "step 2" in page.step(view, 2) == page.step(view, 99) and page.step(None, 0) == ""


@pytest.mark.parametrize("fields", [{"add_critic_head": False}, {"correction_alpha": 0.0}])
def test_no_strategy_is_offered_that_the_model_cannot_follow(tiny_model, tokenizer, fields, rows):
    model = tiny_model(**fields)
    page, offered = Page(Explorer(model, tokenizer, {"validation": rows})), page_strategies(model)
    (menu,) = [
        component["props"]["choices"]
        for component in build_page(page.explorer).get_config_file()["components"]
        if component["props"].get("label") == "strategy"
    ]
    assert [choice[0] for choice in menu] == offered and offered[0] == "auto"
    for how in remasking_names():
        view, end, _ = page.generate(*PLACE, "", 0.5, how, 2)
        assert (view is not None) == (how in offered), end


def test_errors_are_a_sentence_on_the_page_and_escaped(page):
    assert "`index` must be in" in page.sample("validation", 99, None, 1)
    html = page.text("<script>", 0.5)
    assert "<script>" not in html and "must hold only" in html
    assert page.generate(*PLACE, "abc", 0.5, "auto", 3)[0] is None
    assert "num_steps" in page.generate(*PLACE, "", 0.5, "auto", 0)[1]


def test_the_page_counts_nobody_and_starts_where_it_is_told(explorer):
    blocks = build_page(explorer, index=2, mask_rate=0.25, seed=9, threshold=0.7)
    assert blocks.analytics_enabled is False and os.environ["GRADIO_ANALYTICS_ENABLED"] == "False"
    settings = [component["props"] for component in blocks.get_config_file()["components"]]
    values = {props["label"]: props["value"] for props in settings if props.get("label") and "value" in props}
    assert (values["index"], values["seed"], values["threshold of P(wrong)"]) == (2, 9, 0.7)
    assert 0.25 in values.values() and values["split"] == "validation"


def test_a_page_without_data_still_scores_texts(explorer):
    explorer = Explorer(explorer.model, explorer.tokenizer)
    build_page(explorer)
    page = Page(explorer)
    assert "`data_dir` must be given" in page.sample(None, 0, None, 1) and "2 tokens" in page.text("ab", 0.5)


def test_an_impossible_port_is_refused(explorer):
    with pytest.raises(ValueError, match=r"`port` must be in \[0, 65536\)"):
        serve(explorer, port=70000, wait=False)


@pytest.mark.slow
def test_the_page_is_served_on_this_machine_and_answers(explorer, page):
    from gradio_client import Client

    blocks = serve(explorer, port=0, wait=False)
    try:
        assert blocks.local_url.startswith("http://127.0.0.1:") and blocks.share_url is None
        html = urllib.request.urlopen(blocks.local_url, timeout=20).read().decode()
        assert "critic_gpt explorer" in html and "fonts.googleapis" not in html
        client = Client(blocks.local_url, verbose=False)
        assert client.predict(*PLACE, 0.3, api_name="/critic") == page.critic(*PLACE, 0.3)
        client.predict(*PLACE, "", api_name="/begin")
        drawn = client.predict(1, "", 0.5, api_name="/fill")
        assert drawn == page.act("fill", page.begin(*PLACE, "")[0], 1, "", 0.5)[1]
    finally:
        blocks.close(verbose=False)
