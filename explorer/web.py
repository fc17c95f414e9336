# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The explorer as a page: one HTML file, one style sheet, one script, and a small server of the standard library.

Nothing is counted, shared or fetched from elsewhere. `explorer/assets` holds what the browser gets.
"""

import ipaddress
import json
import sys
import threading
import traceback
from collections import Counter
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from importlib import resources
from typing import Any

from critic_gpt.explorer.guard import ABOUT, ASKED, MAX_CONNECTIONS, SHOWN, SILENCE, BusyError, Turns, refusal
from critic_gpt.explorer.page import Page
from critic_gpt.explorer.session import Explorer
from critic_gpt.hub.documents import parse_json


KINDS = {"html": "text/html", "css": "text/css", "js": "text/javascript", "svg": "image/svg+xml"}
# Own scripts and styles only, and no script ever from data: the browser itself refuses it.
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self'; base-uri 'none'; "
    "form-action 'none'; require-trusted-types-for 'script'; frame-ancestors "
)


class PageServer(ThreadingHTTPServer):
    """
    Answers one page.

    Args:
        page ([`Page`]): What it answers.
        host (`str`): Address to listen at.
        port (`int`): 0 takes any that is free.
        public_name (`str`, *optional*): The name under which a proxy serves it to everybody.
    """

    daemon_threads = True
    request_queue_size = 64

    def __init__(self, page: Page, host: str, port: int, public_name: str | None = None):
        self.address_family = 10 if ":" in host else 2  # AF_INET6, AF_INET
        self.page, self.served_at, self.proxied = page, public_name or host, public_name is not None
        self.turns, self.about = Turns(), json.dumps(page.about()).encode()
        self._lock, self._connected = threading.Lock(), Counter()
        files = resources.files("critic_gpt.explorer") / "assets"
        self.files = {path: (files / name).read_bytes() for path, name in SHOWN.items()}
        super().__init__((host, port), _Handler)
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{self.server_address[1]}/"

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """One address may not take all connections, unless it is the proxy, which brings everybody."""
        with self._lock:
            if not self.proxied and self._connected[client_address[0]] >= MAX_CONNECTIONS:
                return False
            self._connected[client_address[0]] += 1
        return True

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            with self._lock:
                self._connected[client_address[0]] -= 1
                self._connected = +self._connected

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A visitor who goes away is no error."""
        if not isinstance(sys.exception(), (ConnectionError, TimeoutError)):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Ends it."""
        self.shutdown()
        self.server_close()


class _Handler(BaseHTTPRequestHandler):
    server: PageServer
    timeout = SILENCE
    server_version, sys_version = "critic_gpt", ""

    def log_message(self, *_) -> None:
        """Nobody is counted."""

    def do_GET(self) -> None:
        path = self._path()
        if self._refused(path):
            return
        if path == ABOUT:
            self._send(200, self.server.about, "application/json")
        else:
            self._send(200, self.server.files[path], KINDS[SHOWN[path].rpartition(".")[2]])

    do_HEAD = do_GET

    def do_POST(self) -> None:
        path = self._path()
        if self._refused(path):
            return
        try:
            given = parse_json(self.rfile.read(int(self.headers["content-length"])), constants=False)
            with self.server.turns.turn(self._visitor(), self.headers.get("x-page", "")[:64]):
                status, answer = 200, self.server.page.answer(ASKED[path], given)
        except BusyError as error:
            status, answer = 429, {"error": str(error)}
        except (ValueError, OSError, RecursionError) as error:  # the last: lists within lists within lists
            status, answer = 400, {"error": " ".join(str(error).split())}
        except Exception:
            traceback.print_exc()
            status, answer = 500, {"error": "The server has failed, and has written down why."}
        self._send(status, json.dumps(answer, allow_nan=False).encode(), "application/json")

    def do_PUT(self) -> None:
        self._refused(self._path())

    do_DELETE = do_PATCH = do_OPTIONS = do_PUT

    def _path(self) -> str:
        return self.path.partition("?")[0]

    def _refused(self, path: str) -> bool:
        """Answers what is not to be answered."""
        headers = {name.lower(): value for name, value in self.headers.items()}
        refused = refusal(self.command, path, headers, self.server.served_at)
        if refused is not None:
            self._send(refused[0], refused[1].encode("utf-8", "replace"), "text/plain")
        return refused is not None

    def _visitor(self) -> str:
        """Where a request comes from: before a proxy the last address that is not of its own house."""
        if self.server.proxied:
            for named in reversed(self.headers.get("x-forwarded-for", "").split(",")):
                try:
                    if ipaddress.ip_address(named.strip()).is_global:
                        return named.strip()
                except ValueError:
                    break
        return self.client_address[0]

    def _send(self, status: int, content: bytes, kind: str) -> None:
        framed_by = "https://huggingface.co" if self.server.proxied else "'none'"
        self.send_response(status)
        headers = {
            "Content-Type": f"{kind}; charset=utf-8",
            "Content-Length": str(len(content)),
            "Content-Security-Policy": POLICY + framed_by,
            "X-Content-Type-Options": "nosniff",
            "Referrer-Policy": "no-referrer",
            "Cache-Control": "no-store",
        }
        for name, value in headers.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)


def serve(
    explorer: Explorer,
    host: str = "127.0.0.1",
    port: int = 7860,
    wait: bool = True,
    public_name: str | None = None,
    split: str = "validation",
    index: int = 0,
    mask_rate: float | None = None,
    seed: int = 1,
    threshold: float = 0.5,
) -> PageServer:
    """
    Serves the page until interrupted.

    Args:
        explorer ([`Explorer`]): What is explored.
        host (`str`, *optional*, defaults to `"127.0.0.1"`): Address; anything but this machine opens it to others.
        port (`int`, *optional*, defaults to 7860): 0 takes any that is free.
        wait (`bool`, *optional*, defaults to `True`): `False` returns at once; `close()` what it returns.
        public_name (`str`, *optional*): The name under which a proxy serves it to everybody, as that of a Space.
        split, index, mask_rate, seed, threshold: What stands in the fields at first.

    Returns:
        [`PageServer`]: With its address as `url`.
    """
    if not 0 <= port < 2**16:
        raise ValueError(f"`port` must be in [0, 65536), got {port}: 0 takes any that is free.")
    begin = {"split": split, "index": index, "mask_rate": mask_rate, "seed": seed, "threshold": threshold}
    try:
        server = PageServer(Page(explorer, **begin), host, port, public_name)
    except OSError as error:
        raise ValueError(
            f"`port` must be free at an address of this machine, got {host} and {port} ({error.strerror}): choose "
            "another, 0 takes any that is free."
        ) from error
    if not wait:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        return server
    print(f"The explorer is at {server.url} (Ctrl-C ends it).", flush=True)
    with server:
        server.serve_forever()
    return server
