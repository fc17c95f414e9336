# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the page as a visitor sees it: in a real browser, by mouse, touch and keyboard."""

import re

import pytest
import torch
from browser import chromium, opened

from critic_gpt import CriticGPTConfig, CriticGPTForMaskedLM
from critic_gpt.explorer import Explorer
from critic_gpt.explorer.web import serve
from critic_gpt.tasks import SudokuTask


GRIDS = ("1234341221434321", "2143432112343412", "3412123443212143")


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def tiny(vocab_size, **fields):
    torch.manual_seed(0)
    sizes = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "max_position_embeddings": 48}
    config = CriticGPTConfig(
        vocab_size=vocab_size, pad_token_id=0, mask_token_id=1, add_critic_head=True, **sizes, **fields
    )
    model = CriticGPTForMaskedLM(config).eval()
    torch.nn.init.normal_(model.critic_head.weight)
    return model


@pytest.fixture(scope="module")
def served():
    task = SudokuTask(size=4)
    tokenizer = task.tokenizer()
    rows = [{"input_ids": tokenizer(grid)["input_ids"]} for grid in GRIDS]
    explorer = Explorer(tiny(len(tokenizer)), tokenizer, {"validation": rows}, task, name="tests/sudoku")
    server = serve(explorer, port=0, wait=False)
    yield server
    server.close()


def settled(page):
    """Waits until everything asked for is answered, and there is no error."""
    page.evaluate("requests")
    assert page.locator(".error").all_inner_texts() == [""] * 3


def signs(page, panel="#denoise"):
    return page.locator(f"{panel} .result .t > span").all_inner_texts()


def test_it_opens_with_a_sample_and_every_tab_answers_its_button(browser, served):
    with opened(browser, served.url) as page:
        settled(page)
        assert page.inner_text("h1") == "tests/sudoku" and "masked diffusion" in page.inner_text("#facts")
        assert page.locator("#judge .result .t").count() == 16 and "validation 0 of 3" in page.inner_text(
            "#judge .result"
        )
        tabs = page.get_by_role("tab").all()
        assert len(tabs) == 3
        for tab in tabs:
            tab.click()
            panel = page.locator("[role=tabpanel]:visible")
            if panel.get_attribute("id") == "text":
                page.fill("#written", "1234[MASK]")
            panel.locator("button.main").click()
            settled(page)
            result, button = panel.locator(".result"), panel.locator("button.main")
            assert result.locator(".t").count() > 4 and "token" in result.inner_text() + page.inner_text("#signs")
            assert result.bounding_box()["y"] < button.bounding_box()["y"], "results stand above their buttons"


def test_the_mask_rate_is_that_of_the_slider_or_of_evaluation(browser, served):
    with opened(browser, served.url) as page:
        settled(page)
        assert "mask rate drawn" in page.inner_text("#judge .result") and page.locator("#rate").is_disabled()
        page.uncheck("#drawn")
        page.locator("#rate").focus()
        page.keyboard.press("End")
        settled(page)
        assert "16 of 16 tokens masked" in page.inner_text("#judge .result")
        assert page.inner_text("#rate-shown") == "100 %"


def test_the_canvas_is_edited_by_mouse_and_by_keys(browser, served):
    with opened(browser, served.url) as page:
        page.click("#tab-denoise")
        page.click("#do-empty")
        settled(page)
        page.locator("#canvas .t").nth(2).focus()
        page.keyboard.press("ArrowDown")  # to 6, beneath it in a grid of 4
        page.keyboard.press("3")
        settled(page)
        assert [i for i, sign in enumerate(signs(page)) if sign == "3"] == [6]
        page.check("[value=protect]")
        page.locator("#canvas .t").nth(6).click()
        settled(page)
        assert "given" in page.locator("#canvas .t").nth(6).get_attribute("aria-label")
        page.fill("#steps", "3")
        page.click("#do-generate")
        settled(page)
        assert signs(page)[6] == "3" and page.locator("#canvas .t.m").count() == 0
        assert page.inner_text("#frame-shown").startswith("7 of 7"), "the edits, three steps, the end"
        page.locator("#canvas .t").nth(0).focus()
        page.keyboard.press("Delete")
        settled(page)
        assert (
            page.locator("#canvas .t.m").count() == 1
            and page.evaluate("document.activeElement.dataset.position") == "0"
        )
        page.click("#undo")
        assert page.locator("#canvas .t.m").count() == 0


def test_a_denoising_is_an_animation_with_a_time_line(browser, served):
    with opened(browser, served.url, reduced_motion="no-preference") as page:
        page.click("#tab-denoise")
        page.fill("#steps", "2")
        page.click("#do-generate")
        settled(page)
        assert page.inner_text("#play") == "Pause"
        page.get_by_role("button", name="Play").wait_for()
        last = page.locator("#frame").input_value()
        assert last == page.locator("#frame").get_attribute("max") == "3"
        page.locator("#frame").focus()
        page.keyboard.press("Home")
        assert page.locator("#canvas .t.m").count() > 0 and "go" not in page.inner_text("#frame-shown")
        page.locator("#canvas .t").first.click()
        settled(page)
        assert page.locator("#frame").get_attribute("max") == "3", "an earlier step is shown, not edited"


def test_tabs_and_tokens_are_reached_by_keys_and_a_token_tells_its_numbers(browser, served):
    with opened(browser, served.url) as page:
        settled(page)
        token = page.locator("#judge .result .t[data-p]").first
        token.focus()
        assert re.fullmatch(r"position \d+: \d, P\(wrong\) [\d.]+ %.*", page.inner_text("#detail"))
        assert token.locator("small").inner_text() == str(round(100 * float(token.get_attribute("data-p"))))
        page.locator("#tab-judge").focus()
        page.keyboard.press("ArrowRight")
        assert page.locator("#denoise").is_visible() and page.evaluate("document.activeElement.id") == "tab-denoise"


def test_each_strategy_is_explained_and_an_error_is_a_sentence(browser, served):
    with opened(browser, served.url, expected="status of 400") as page:
        page.click("#tab-denoise")
        for name in page.locator("#strategy option").all_inner_texts():
            page.select_option("#strategy", name)
            assert len(page.inner_text("#strategy-line")) > 20, name
        settled(page)
        page.fill("#canvas-text", "no such letters")
        page.click("#do-text-begin")
        page.evaluate("requests")
        assert "must hold only" in page.inner_text("#denoise .error")
        page.click("#do-empty")
        settled(page)


def test_a_phone_has_no_sideways_scrolling_and_tokens_answer_to_touch(browser, served):
    with opened(browser, served.url, viewport={"width": 360, "height": 640}, has_touch=True) as page:
        settled(page)
        for tab in page.get_by_role("tab").all():
            tab.tap()
            assert page.evaluate("document.documentElement.scrollWidth") <= 360
        page.locator("#tab-denoise").tap()
        settled(page)
        page.locator("#canvas .t").nth(1).tap()
        settled(page)
        assert signs(page)[1] == "▁" and "position 1" in page.inner_text("#detail")


def test_text_of_data_is_text_and_a_page_without_data_begins_with_a_generation(browser, tokenizer):
    letters = "a, b"
    explorer = Explorer(tiny(len(tokenizer)), tokenizer, name="<img src=x onerror=alert(1)>")
    server = serve(explorer, port=0, wait=False)
    try:
        with opened(browser, server.url) as page:
            settled(page)
            assert page.inner_text("h1") == "<img src=x onerror=alert(1)>" and page.locator("img").count() == 0
            assert page.locator("#tab-judge").is_hidden() and page.locator("#place").is_hidden()
            assert page.locator("#canvas .t").count() == 48 and page.locator("#canvas .t.m").count() == 0
            page.click("#tab-text")
            page.fill("#written", letters)
            page.click("#do-text")
            settled(page)
            assert "".join(signs(page, "#text")) == letters
    finally:
        server.close()
