# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A headless Chromium of the system's packages, driven by playwright; a page that keeps what went wrong."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest


NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")


@contextmanager
def chromium() -> Iterator:
    """A running browser; skips the test where there is none, or nothing to drive it."""
    driver = pytest.importorskip("playwright.sync_api", reason="playwright drives the browser: pip install .[dev]")
    found = next(filter(None, map(shutil.which, NAMES)), None)
    if found is None:
        if os.environ.get("CRITIC_GPT_REQUIRE_BROWSER"):
            pytest.fail("`chromium` must be installed, got none: make browser.")
        pytest.skip("no Chromium on this machine: make browser")
    with driver.sync_playwright() as playwright:
        # The sandbox of Chromium does not start as root, and the page is our own.
        yield playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])


@contextmanager
def opened(
    browser, url: str, expected: str | None = None, ready: str = "[role=tabpanel]:visible .result .t", **how
) -> Iterator:
    """
    A page at an address in a window of its own, loaded: what the selector `ready` names is there. Fails at the end if
    the console has said anything bad that was not `expected`, as of an answer that is a refusal.
    """
    context = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, "reduced_motion": "reduce", **how})
    context.set_default_timeout(10_000)
    page, faults, asked = context.new_page(), [], []
    page.on("console", lambda message: message.type in ("error", "warning") and faults.append(message.text))
    page.on("pageerror", lambda error: faults.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(url)
    page.wait_for_selector(ready)
    yield page
    context.close()
    assert [fault for fault in faults if expected is None or expected not in fault] == []
    asked = [address for address in asked if not address.startswith((url, "data:", "blob:"))]
    assert asked == [], "it asks nobody else"
