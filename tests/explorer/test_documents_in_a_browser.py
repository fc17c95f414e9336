# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about the files that travel alone as their readers see them: in a real browser, by mouse and keyboard."""

import pytest
from browser import chromium, opened

from critic_gpt.explorer.documents import document, element, facts
from critic_gpt.scripts.findings import Source
from critic_gpt.scripts.proofreading_page import proofreading_page


WIDTHS = (1280, 320)
BAD = "<img src=x onerror=alert(1)>"


@pytest.fixture(scope="module")
def browser():
    with chromium() as browser:
        yield browser


def saved(tmp_path, html):
    path = tmp_path / "page.html"
    path.write_text(html, encoding="utf-8", newline="")
    return path.as_uri()


def view(signs, chance=None):
    tokens = [{"s": sign, **({} if chance is None else {"p": chance})} for sign in signs]
    return {
        "headings": [signs],
        "tokens": tokens,
        "lines": [len(tokens)],
        "grid": False,
        "named": [],
        "another": False,
    }


def no_sideways_scrolling(page):
    return page.evaluate("document.documentElement.scrollWidth") <= page.viewport_size["width"]


@pytest.mark.parametrize("width", WIDTHS)
def test_an_animation_plays_and_is_stepped_by_keys(browser, tmp_path, width):
    samples = [[view("___"), view("a__", 0.2), view("ab<", 0.95)], [view("xyz")]]
    url = saved(tmp_path, document("animation", BAD, {"samples": samples}))
    more = {"viewport": {"width": width, "height": 700}, "ready": "#canvas .t"}
    with opened(browser, url, **more) as page:
        assert page.inner_text("h1") == BAD and page.locator("img").count() == 0
        assert page.inner_text("#frame-shown") == "1 of 3" and page.inner_text("#play") == "Play", "calm readers ask"
        page.keyboard.press("End")
        assert page.locator("#canvas .t > span").all_inner_texts() == ["a", "b", "<"]
        page.keyboard.press("ArrowLeft")
        assert page.inner_text("#frame-shown") == "2 of 3"
        page.keyboard.press("Space")
        page.get_by_text("3 of 3").wait_for()
        token = page.locator("#canvas .t").nth(1)
        token.focus()
        assert page.inner_text("#detail") == "position 1: b, P(wrong) 95.0 %" and token.get_attribute("data-u") == "3"
        page.select_option("#sample", "1")
        assert page.inner_text("#frame-shown") == "1 of 1" and no_sideways_scrolling(page)
    with opened(browser, url, **more, reduced_motion="no-preference") as page:
        page.get_by_text("3 of 3").wait_for()


def proof(text, *spans, holes=(), tokens=()):
    found = [
        {"text": text[i:j], "start": i, "end": j, "replacement": new, "max_error_probability": p}
        for i, j, new, p in spans
    ]
    gaps = [{"text": text[i:j], "start": i, "end": j, "replacement": new} for i, j, new in holes]
    return {"text": text, "spans": found, "holes": gaps, "unknown": [], "tokens": list(tokens)}


@pytest.mark.parametrize("width", WIDTHS)
def test_doubts_are_accepted_and_rejected_by_keys_and_the_text_comes_out_to_the_byte(browser, tmp_path, width):
    text = f"\U0001f600 hte cat {BAD}\r\nsta on\u202e [MASK] mat</script>\n"
    at = {word: text.index(word) for word in ("hte", "sta", "[MASK]")}
    other = {"start": at["sta"], "end": at["sta"] + 3, "replacements": [{"text": "sat"}, {"text": "stay"}]}
    result = proof(
        text,
        (at["hte"], at["hte"] + 3, "the", 0.97),
        (at["sta"], at["sta"] + 3, "sat", 0.6),
        holes=[(at["[MASK]"], at["[MASK]"] + 6, "the")],
        tokens=[other],
    )
    url = saved(tmp_path, proofreading_page([result], [Source("letter.txt", whole=text)], ["weak"]))

    def downloaded():
        with page.expect_download() as waiting:
            page.keyboard.press("d")
        assert waiting.value.suggested_filename == "letter.txt"
        return waiting.value.path().read_bytes().decode()

    with opened(browser, url, ready=".proof .t", viewport={"width": width, "height": 700}) as page:
        assert page.locator("img, main script").count() == 0 and BAD in page.inner_text(".proof")
        assert "\u202e" not in page.inner_text(".proof"), "no sign turns the text around it"
        assert page.locator(".note").all_inner_texts() == ["weak"]
        assert downloaded() == text, "nothing is changed before it is accepted"
        page.keyboard.press("n")
        assert page.inner_text("#detail").startswith("1:3: \u201chte\u201d, P(wrong) 97.0 %, open")
        page.keyboard.press("a")  # and goes on to the next
        assert page.inner_text("#detail").startswith("2:1: ")
        page.keyboard.press("2")
        page.keyboard.press("r")
        assert page.inner_text("#count") == "3 doubts: 2 accepted, 1 rejected, 0 open"
        changed = text.replace("hte", "the").replace("sta", "stay")
        assert downloaded() == changed and no_sideways_scrolling(page)
        page.click("#accept-all")
        assert downloaded() == text.replace("hte", "the").replace("sta", "sat").replace("[MASK]", "the")
        page.locator(".proof .t").nth(0).click()
        page.locator("#choices button").last.click()
        assert page.inner_text("#count") == "3 doubts: 2 accepted, 0 rejected, 1 open"


def test_lines_of_one_file_are_one_text_and_rows_of_json_one_each():
    whole = "ab\n\ncd\r\n"
    lines = [Source("f.txt", 1, whole, 0), Source("f.txt", 3, whole, 4)]
    page = proofreading_page([proof("ab", (1, 2, "x", 0.9)), proof("cd", (0, 1, "y", 0.8))], lines, [])
    assert '["a", {"t": "b", "r": ["x"], "at": "1:2", "p": 0.9}, "\\n\\n", {"t": "c"' in page
    rows = [Source("f.jsonl", 1), Source("f.jsonl", 2)]
    page = proofreading_page([proof("ab"), proof("cd")], rows, [])
    assert '"name": "f.jsonl:1", "file": "f.jsonl-1.txt"' in page and '"pieces": ["cd"]' in page


@pytest.mark.parametrize("width", WIDTHS)
def test_a_report_is_read_at_any_width(browser, tmp_path, width):
    legend = element("div", id="legend", class_="tokens numbers")
    body = element("div", legend, element("div", id="samples"), facts(BAD, {BAD: "x" * 300}))
    url = saved(tmp_path, document("report", "a report", {"samples": [view("ab<i>", 0.7)]}, body))
    with opened(browser, url, ready="#samples .t", viewport={"width": width, "height": 700}) as page:
        assert page.locator("#samples .t > span").all_inner_texts() == [*"ab<i>"] and page.locator("img").count() == 0
        page.locator("#samples .t").first.focus()
        page.keyboard.press("ArrowRight")
        assert "position 1: b, P(wrong) 70.0 %" in page.inner_text("#detail") and no_sideways_scrolling(page)
