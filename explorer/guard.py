# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What stands before the page: it answers its own address and its own buttons, and takes no files."""

import ipaddress
import math
import re
import socket
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit


MAX_BODY = 2**20
MAX_STEPS = 200
MAX_CHARACTERS = 20_000
MAX_STATES = 200  # of one visitor's denoising by hand
# Requests that are answered at a time, of each button; and how many of all of them for one page that is open
# somewhere, and for one address, behind which several may be open. Less than all: then there is room for the others.
AT_A_TIME = 4
MAX_OF_A_PAGE, MAX_OF_AN_ADDRESS = 2, 3

# What buttons send.
_SENT = re.compile(r"/gradio_api/(queue/join|(call|run|api)/[\w/]+|reset|cancel)/?")
# Files of the machine, other machines, and parts of gradio that the page has no use for.
_CLOSED = re.compile(
    r"/(gradio_api/)?(upload|upload_progress|file[=/].*|proxy=.*|stream/.*|component_server|custom_component/.*|"
    r"process_recording|vibe-.*|undo-vibe-edit|run-history/.*|runs|deep_link|dev/.*|monitoring.*|profiling/.*)/?"
)


def is_own_address(host: str, served_at: str) -> bool:
    """
    Whether the `Host` of a request is one that this page is served at: a number, this machine's name, or what it was
    told. Any other name points here only because somebody's name server says so (DNS rebinding).
    """
    try:
        name = urlsplit(f"//{host}").hostname or ""
    except ValueError:
        return False
    if name in ("localhost", served_at.lower(), socket.gethostname().lower()):
        return True
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


def refusal(method: str, path: str, headers: dict[str, str], served_at: str) -> tuple[int, str] | None:
    """Why a request is not answered, as a status and a sentence; `None` where it is."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if not is_own_address(host, served_at):
        return 421, f"`Host` must be the address of this page, got {host!r:.80}: open the address that was printed."
    if origin is not None and urlsplit(origin).netloc.lower() != host.lower():
        return 403, f"`Origin` must be this page, got {origin!r:.80}: other pages may not send requests here."
    if method not in ("GET", "HEAD", "POST"):
        return 405, f"the method must be GET, HEAD or POST, got {method!r:.20}."
    if _CLOSED.fullmatch(path) or (method == "POST" and not _SENT.fullmatch(path)):
        return 404, "the page takes no files and has no such route."
    length = headers.get("content-length", "")
    if method == "POST" and not (length.isascii() and length.isdigit()):
        return 411, "a request must say its length."
    if method == "POST" and (len(length) > 12 or int(length) > MAX_BODY):
        return 413, f"a request must have at most {MAX_BODY:,} bytes: send a shorter text."
    return None


class Guard:
    """
    ASGI middleware that answers what [`refusal`] refuses and passes the rest on.

    Args:
        app (callable): The page.
        served_at (`str`): The host name it was told.
    """

    def __init__(self, app: Callable[..., Awaitable[None]], served_at: str):
        self.app, self.served_at = app, served_at

    async def __call__(self, scope: dict[str, Any], receive: Callable, send: Callable) -> None:
        refused = None
        if scope["type"] == "websocket":
            refused = 404, "the page has no such route."
        elif scope["type"] == "http":
            headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
            refused = refusal(scope["method"], scope["path"], headers, self.served_at)
        if refused is None:
            await self.app(scope, receive, send)
        elif scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
        else:
            kind = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
            await send({"type": "http.response.start", "status": refused[0], "headers": kind})
            await send({"type": "http.response.body", "body": refused[1].encode("utf-8", "replace")})


class BusyError(ValueError):
    """A visitor has as many requests as one may have."""


class Turns:
    """Who is being answered: a visitor who asks for more than a share is told so at once and keeps nobody waiting."""

    def __init__(self):
        self._lock, self._taken = threading.Lock(), Counter()

    @contextmanager
    def turn(self, address: str, page: str) -> Iterator[None]:
        """
        One request of a visitor.

        Args:
            address (`str`): Where it comes from.
            page (`str`): Which of the pages that are open there has sent it.

        Raises:
            [`BusyError`]: Others of the same visitor are being answered, as many as are allowed.
        """
        limits = {("address", address): MAX_OF_AN_ADDRESS, ("page", address, page): MAX_OF_A_PAGE}
        with self._lock:
            for key, most in limits.items():
                if self._taken[key] >= most:
                    raise BusyError(
                        f"`requests` of one {key[0]} must be at most {most} at a time, got one more: wait for the "
                        "others."
                    )
            self._taken.update(limits.keys())
        try:
            yield
        finally:
            with self._lock:
                self._taken.subtract(limits.keys())
                self._taken = +self._taken  # without those of whom there are none


def whole_number(name: str, value: float | None, most: int = 2**53) -> int:
    """What stands in a field of the page as a whole number in [-most, most]; nothing is 0."""
    if value is None:
        return 0
    if not math.isfinite(value) or abs(value) > most:
        raise ValueError(f"`{name}` must be a whole number of at most {most}, got {value}: choose a smaller one.")
    return int(value)


def check_length(name: str, text: str | None) -> str:
    """A text of the page, refused where it is longer than anybody reads."""
    if text is not None and len(text) > MAX_CHARACTERS:
        raise ValueError(
            f"`{name}` must have at most {MAX_CHARACTERS:,} characters, got {len(text):,}: shorten it, or use "
            "scripts/proofread.py."
        )
    return text or ""
