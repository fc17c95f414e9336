# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What stands before the page: it answers its own address and its own buttons, and takes no files."""

import ipaddress
import math
import socket
import threading
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit


MAX_BODY = 2**21
MAX_STEPS = 200
MAX_CHARACTERS = 20_000
# Requests that are answered at a time, and how many of them for one page that is open somewhere, and for one address,
# behind which several may be open. Less than all: then there is room for the others.
AT_A_TIME = 4
MAX_OF_A_PAGE, MAX_OF_AN_ADDRESS = 2, 3
# Seconds that a request waits for its turn, and that a connection may be silent; connections of one address.
PATIENCE, SILENCE, MAX_CONNECTIONS = 60.0, 30.0, 32

# What the page consists of, and what it asks: nothing else has an address.
SHOWN = {"/": "index.html"}
SHOWN |= {f"/{name}": name for name in ("tokens.css", "page.css", "tokens.js", "page.js", "icon.svg")}
ABOUT = "/api/about"
ASKED = {f"/api/{name}": name for name in ("sample", "critic", "text", "begin", "act", "generate")}


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


def refusal(method: str, path: str, headers: Mapping[str, str], served_at: str) -> tuple[int, str] | None:
    """Why a request is not answered, as a status and a sentence; `None` where it is."""
    host, origin = headers.get("host", ""), headers.get("origin")
    if not is_own_address(host, served_at):
        return 421, f"`Host` must be the address of this page, got {host!r:.80}: open the address that was printed."
    if origin is not None and _place_of(origin) != host.lower():
        return 403, f"`Origin` must be this page, got {origin!r:.80}: other pages may not send requests here."
    if method not in ("GET", "HEAD", "POST"):
        return 405, f"the method must be GET, HEAD or POST, got {method!r:.20}."
    if path not in (ASKED if method == "POST" else (*SHOWN, ABOUT)):
        return 404, "the page takes no files and has no such route."
    length = headers.get("content-length", "")
    if method == "POST" and not (length.isascii() and length.isdigit()):
        return 411, "a request must say its length."
    if method == "POST" and (len(length) > 12 or int(length) > MAX_BODY):
        return 413, f"a request must have at most {MAX_BODY:,} bytes: send a shorter text."
    return None


def _place_of(origin: str) -> str | None:
    try:
        return urlsplit(origin).netloc.lower()
    except ValueError:
        return None


class BusyError(ValueError):
    """A visitor has as many requests as one may have."""


class Turns:
    """Who is being answered: a visitor who asks for more than a share is told so at once and keeps nobody waiting."""

    def __init__(self):
        self._lock, self._taken = threading.Lock(), Counter()
        self._free = threading.BoundedSemaphore(AT_A_TIME)

    @contextmanager
    def turn(self, address: str, page: str) -> Iterator[None]:
        """
        One request of a visitor.

        Args:
            address (`str`): Where it comes from.
            page (`str`): Which of the pages that are open there has sent it.

        Raises:
            [`BusyError`]: Others of the same visitor are being answered, as many as are allowed; or others have been
                answered for too long.
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
            if not self._free.acquire(timeout=PATIENCE):
                raise BusyError(f"`requests` must be at most {AT_A_TIME} at a time, got more: try again in a minute.")
            try:
                yield
            finally:
                self._free.release()
        finally:
            with self._lock:
                self._taken.subtract(limits.keys())
                self._taken = +self._taken  # without those of whom there are none


class Fields:
    """
    What a request says, of which nothing is taken on trust.

    Args:
        given (`Any`): The JSON document that was sent.
    """

    def __init__(self, given: Any):
        if not isinstance(given, dict):
            raise ValueError(f"`request` must be a JSON object, got {type(given).__name__}: send its fields by name.")
        self.given = given

    def number(self, name: str, default: float | None = None) -> float | None:
        """A finite number, or `default` where there is none."""
        value = self.given.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not -(2**53) <= value <= 2**53:
            raise ValueError(f"`{name}` must be a number, got {value!r:.40}: send another.")
        return value

    def whole(self, name: str, default: int = 0, most: int = 2**53) -> int:
        """A whole number in [-most, most], or `default` where there is none."""
        value = self.number(name, default)
        if value != math.floor(value) or abs(value) > most:
            raise ValueError(f"`{name}` must be a whole number of at most {most}, got {value}: choose a smaller one.")
        return int(value)

    def text(self, name: str, default: str | None = None) -> str | None:
        """A text, refused where it is longer than anybody reads."""
        value = self.given.get(name)
        if value is None:
            return default
        if not isinstance(value, str):
            raise ValueError(f"`{name}` must be a text, got {value!r:.40}: send one.")
        if len(value) > MAX_CHARACTERS:
            raise ValueError(
                f"`{name}` must have at most {MAX_CHARACTERS:,} characters, got {len(value):,}: shorten it, or use "
                "scripts/proofread.py."
            )
        return value

    def listed(self, name: str, kinds: tuple[type, ...], length: int | None = None) -> list[Any]:
        """A list of values of these kinds, `length` of them; without one, none where nothing is given."""
        values = self.given.get(name)
        if values is None and length is None:
            return []
        if not isinstance(values, list) or len(values) > MAX_CHARACTERS or (length or len(values)) != len(values):
            raise ValueError(f"`{name}` must be a list of the right length, got {values!r:.40}: begin anew.")
        if any(type(value) not in kinds for value in values):
            raise ValueError(f"`{name}` must be a list of {kinds[0].__name__}, got {values!r:.40}: begin anew.")
        return values
