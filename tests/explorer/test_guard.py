# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Claims about who may ask the page what: its own address, its own buttons, in bounded sizes."""

import json
import threading
import urllib.error
import urllib.request

import pytest

from critic_gpt.explorer.guard import (
    MAX_BODY,
    MAX_CHARACTERS,
    MAX_OF_A_PAGE,
    MAX_STEPS,
    BusyError,
    Turns,
    is_own_address,
    refusal,
)


PLACE = ("validation", 1, 0.8, 4)
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
        ("GET", "/config", OWN, None),
        ("POST", "/gradio_api/queue/join", {**OWN, **LENGTH, "origin": "http://127.0.0.1:7860"}, None),
        ("POST", "/gradio_api/call/critic", {**OWN, **LENGTH}, None),
        ("GET", "/", {"host": "evil.example"}, 421),
        ("GET", "/", {}, 421),
        ("POST", "/gradio_api/queue/join", {**OWN, **LENGTH, "origin": "http://evil.example"}, 403),
        ("POST", "/gradio_api/queue/join", {**OWN, **LENGTH, "origin": "null"}, 403),
        ("POST", "/gradio_api/queue/join", {**OWN, **LENGTH, "origin": "http://127.0.0.1:8000"}, 403),
        ("POST", "/gradio_api/upload", {**OWN, **LENGTH}, 404),
        ("POST", "/upload", {**OWN, **LENGTH}, 404),
        ("POST", "/gradio_api/component_server", {**OWN, **LENGTH}, 404),
        ("GET", "/gradio_api/file=/etc/passwd", OWN, 404),
        ("GET", "/gradio_api/proxy=http://evil.example", OWN, 404),
        ("PUT", "/", OWN, 405),
        ("POST", "/gradio_api/queue/join", OWN, 411),
        ("POST", "/gradio_api/queue/join", {**OWN, "content-length": str(MAX_BODY + 1)}, 413),
    ],
)
def test_what_is_refused(method, path, headers, status):
    refused = refusal(method, path, headers, "127.0.0.1")
    assert (refused and refused[0]) == status


web = pytest.importorskip("critic_gpt.explorer.web", reason="the page needs gradio: pip install critic_gpt[web]")


@pytest.mark.parametrize("steps", [MAX_STEPS + 1, 1e9, float("inf"), float("nan")])
def test_steps_and_lengths_are_bounded(explorer, steps):
    page = web.Page(explorer)
    assert "`num_steps` must be a whole number of at most" in page.generate(*PLACE, "", 0.5, "auto", steps)[1]
    long = "a" * (MAX_CHARACTERS + 1)
    said = (page.text(long, 0.5), page.begin(*PLACE, long)[1], page.generate(*PLACE, long, 0.5, "auto", 2)[1])
    assert all("must have at most 20,000 characters" in html for html in said)
    assert "must be a whole number" in page.sample("validation", steps if steps > 1e12 else 1e300, None, 1)


@pytest.fixture
def served(explorer):
    blocks = web.serve(explorer, port=0, wait=False)
    yield blocks
    blocks.close(verbose=False)


def status_of(url, data=None, **headers):
    request = urllib.request.Request(url, data, {name.replace("_", "-"): value for name, value in headers.items()})
    try:
        return urllib.request.urlopen(request, timeout=20).status
    except urllib.error.HTTPError as error:
        return error.code


def test_the_page_as_served_refuses_other_names_pages_and_files(served):
    url = served.local_url
    assert status_of(url) == 200
    assert status_of(url, Host="evil.example") == 421
    assert status_of(url + "gradio_api/upload", b"files", content_type="multipart/form-data; boundary=x") == 404
    call = json.dumps({"data": ["ab", 0.5]}).encode()
    sent = {"content_type": "application/json"}
    assert status_of(url + "gradio_api/call/text", call, **sent) == 200
    assert status_of(url + "gradio_api/call/text", call, Origin="http://evil.example", **sent) == 403


def test_one_visitor_does_not_block_another(served, monkeypatch):
    from gradio_client import Client

    inner, free, begun = web.views.text_view, threading.Event(), threading.Semaphore(0)

    def slow(explorer, text, threshold):
        if text == "slow":
            begun.release()
            free.wait(30)
        return inner(explorer, text, threshold)

    monkeypatch.setattr(web.views, "text_view", slow)
    busy, other = (Client(served.local_url, verbose=False) for _ in range(2))
    asked = [busy.submit("slow", 0.5, api_name="/text") for _ in range(8)]  # more than are answered at a time
    assert all(begun.acquire(timeout=30) for _ in range(MAX_OF_A_PAGE))
    assert "2 tokens" in other.predict("ab", 0.5, api_name="/text")
    assert not free.is_set()
    free.set()
    said = [job.exception(timeout=30) or job.result() for job in asked]
    answered = [html for html in said if "4 tokens" in str(html)]
    assert len(answered) == MAX_OF_A_PAGE
    assert all("must be at most 2 at a time" in str(refused) for refused in said if refused not in answered)


def test_an_address_has_a_share_whatever_pages_it_names():
    turns = Turns()
    with turns.turn("a", "1"), turns.turn("a", "2"), turns.turn("a", "3"):
        with pytest.raises(BusyError, match="`requests` of one address must be at most 3"), turns.turn("a", "4"):
            pass
        with turns.turn("b", "1"):
            pass
    with turns.turn("a", "1"), turns.turn("a", "1"), pytest.raises(BusyError, match="one page"), turns.turn("a", "1"):
        pass
