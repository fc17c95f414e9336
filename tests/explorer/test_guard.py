# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about who may ask the page what: its own address, its own buttons, in bounded sizes."""

import json
import re
import threading
import urllib.error
import urllib.request
from concurrent.futures import ThreadPoolExecutor, as_completed

import pytest
from hypothesis import given
from hypothesis import strategies as st
from page_requests import asked

from critic_gpt.explorer import views
from critic_gpt.explorer.guard import (
    MAX_BODY,
    MAX_CHARACTERS,
    MAX_OF_A_PAGE,
    MAX_STEPS,
    BusyError,
    Fields,
    Turns,
    is_own_address,
    refusal,
)
from critic_gpt.explorer.page import Page
from critic_gpt.explorer.web import serve


PLACE = {"split": "validation", "index": 1, "mask_rate": 0.8, "seed": 4}
OWN = {"host": "127.0.0.1:7860"}
LENGTH = {"content-length": "10"}


def test_only_numbers_and_names_of_this_machine_are_its_address():
    own = ("127.0.0.1:7860", "localhost:7860", "localhost", "[::1]:7860", "192.168.1.5:80", "lab.example:7860")
    assert all(is_own_address(host, "lab.example") for host in own)
    others = ("evil.example", "evil.example:7860", "127.0.0.1.evil.example", "localhost.evil.example", "", "[", "a@b")
    assert not any(is_own_address(host, "127.0.0.1") for host in others)


@pytest.mark.parametrize(
    ("method", "path", "headers", "status"),
    [
        ("GET", "/", OWN, None),
        ("GET", "/page.js", OWN, None),
        ("GET", "/api/about", OWN, None),
        ("POST", "/api/act", {**OWN, **LENGTH, "origin": "http://127.0.0.1:7860"}, None),
        ("POST", "/api/critic", {**OWN, **LENGTH}, None),
        ("GET", "/", {"host": "evil.example"}, 421),
        ("GET", "/", {}, 421),
        ("POST", "/api/act", {**OWN, **LENGTH, "origin": "http://evil.example"}, 403),
        ("POST", "/api/act", {**OWN, **LENGTH, "origin": "null"}, 403),
        ("POST", "/api/act", {**OWN, **LENGTH, "origin": "http://[evil"}, 403),
        ("POST", "/api/act", {**OWN, **LENGTH, "origin": "http://127.0.0.1:8000"}, 403),
        ("POST", "/api/upload", {**OWN, **LENGTH}, 404),
        ("POST", "/", {**OWN, **LENGTH}, 404),
        ("GET", "/api/act", OWN, 404),
        ("GET", "/../web.py", OWN, 404),
        ("GET", "/page.js/", OWN, 404),
        ("GET", "//etc/passwd", OWN, 404),
        ("PUT", "/", OWN, 405),
        ("POST", "/api/act", OWN, 411),
        ("POST", "/api/act", {**OWN, "content-length": "-1"}, 411),
        ("POST", "/api/act", {**OWN, "content-length": str(MAX_BODY + 1)}, 413),
        ("POST", "/api/act", {**OWN, "content-length": "9" * 5000}, 413),
    ],
)
def test_what_is_refused(method, path, headers, status):
    refused = refusal(method, path, headers, "127.0.0.1")
    assert (refused and refused[0]) == status


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(JSON)
def test_whatever_is_sent_is_read_as_what_it_should_be_or_refused_in_a_sentence(sent):
    fields = Fields({"field": sent})
    for read, kind in ((fields.whole, int), (fields.number, (int, float)), (fields.text, str)):
        try:
            value = read("field")
        except ValueError as error:
            assert str(error).startswith("`field` must be ")
        else:
            assert value is None or (isinstance(value, kind) and value == sent) or (sent is None and value == 0)
    for length in (None, 2):
        try:
            values = fields.listed("field", (int,), length)
        except ValueError as error:
            assert str(error).startswith("`field` must be ")
        else:
            assert all(type(value) is int for value in values) and len(values) == (length or len(values))


@pytest.mark.parametrize("steps", [MAX_STEPS + 1, 1e9, float("inf"), float("nan"), "8", True, 2.5])
def test_steps_and_lengths_are_bounded(explorer, steps):
    page = Page(explorer)
    state = page.answer("begin", PLACE)["state"]
    with pytest.raises(ValueError, match="`num_steps` must be a"):
        page.answer("generate", {"state": state, "num_steps": steps})
    long = "a" * (MAX_CHARACTERS + 1)
    for name in ("text", "begin"):
        with pytest.raises(ValueError, match="must have at most 20,000 characters"):
            page.answer(name, {"text": long})


@pytest.fixture
def served(explorer):
    server = serve(explorer, port=0, wait=False)
    yield server
    server.close()


def status_of(url, data=None, method=None, **headers):
    names = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        return urllib.request.urlopen(urllib.request.Request(url, data, names, method=method), timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_page_as_served_refuses_other_names_pages_and_files(served):
    url = served.url
    assert status_of(url) == 200 and status_of(url, Host="evil.example") == 421
    assert status_of(url + "upload", b"files", content_type="multipart/form-data; boundary=x") == 404
    assert status_of(url, method="DELETE") == 405 and status_of(url, method="BREW") == 501
    call = json.dumps({"text": "ab"}).encode()
    assert status_of(url + "api/text", call) == 200
    assert status_of(url + "api/text", call, Origin="http://evil.example") == 403


@pytest.mark.parametrize(
    "sent", [b"", b"{", b"[1]", b"\xff", b'{"threshold": NaN}', b"[" * 100_000, b'"' + b"a" * 9999]
)
def test_what_is_no_request_is_refused_in_a_sentence(served, sent):
    request = urllib.request.Request(served.url + "api/text", sent)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20)
    assert refused.value.code == 400 and len(json.load(refused.value)["error"]) < 300


def test_a_browser_is_told_to_run_nothing_else_and_to_show_the_page_in_no_frame(served):
    headers = urllib.request.urlopen(served.url, timeout=20).headers
    policy = headers["Content-Security-Policy"]
    assert "script-src 'self'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert headers["X-Content-Type-Options"] == "nosniff" and "Access-Control-Allow-Origin" not in headers


def test_one_visitor_does_not_block_another(served, monkeypatch):
    inner, free, begun = views.text_view, threading.Event(), threading.Semaphore(0)

    def slow(explorer, text, threshold):
        if text == "slow":
            begun.release()
            free.wait(30)
        return inner(explorer, text, threshold)

    monkeypatch.setattr(views, "text_view", slow)
    with ThreadPoolExecutor(8) as pool:
        busy = [pool.submit(asked, served, "text", text="slow") for _ in range(8)]  # more than are answered at a time
        assert all(begun.acquire(timeout=30) for _ in range(MAX_OF_A_PAGE))
        status, answer = asked(served, "text", page="2", text="ab")
        assert status == 200 and len(answer["views"][0]["tokens"]) == 2 and not free.is_set()
        done = as_completed(busy, timeout=30)
        refused = [next(done).result() for _ in range(8 - MAX_OF_A_PAGE)]
        free.set()
        answered = [future.result() for future in done]
    assert all(status == 429 and re.search("at most [23] at a time", answer["error"]) for status, answer in refused)
    assert [status for status, _ in answered] == [200] * MAX_OF_A_PAGE


def test_a_proxy_brings_many_visitors_under_the_public_name(explorer):
    server = serve(explorer, port=0, wait=False, public_name="me-sudoku.hf.space")
    try:
        assert status_of(server.url, Host="me-sudoku.hf.space") == 200 and status_of(server.url, Host="evil") == 421
        policy = urllib.request.urlopen(server.url, timeout=20).headers["Content-Security-Policy"]
        assert "frame-ancestors https://huggingface.co" in policy
        with server.turns.turn("8.8.4.4", "1"), server.turns.turn("8.8.4.4", "2"), server.turns.turn("8.8.4.4", "3"):
            call = json.dumps({"text": "ab"}).encode()
            assert status_of(server.url + "api/text", call, X_Forwarded_For="8.8.8.8, 8.8.4.4, 10.0.0.1") == 429
            assert status_of(server.url + "api/text", call, X_Forwarded_For="8.8.4.4, 8.8.8.8") == 200
    finally:
        server.close()


def test_an_address_has_a_share_whatever_pages_it_names():
    turns = Turns()
    with turns.turn("a", "1"), turns.turn("a", "2"), turns.turn("a", "3"):
        with pytest.raises(BusyError, match="`requests` of one address must be at most 3"), turns.turn("a", "4"):
            pass
        with turns.turn("b", "1"):
            pass
    with turns.turn("a", "1"), turns.turn("a", "1"), pytest.raises(BusyError, match="one page"), turns.turn("a", "1"):
        pass
