# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A hub on the loopback interface: as much of the wire protocol of the Hugging Face Hub as `huggingface_hub` speaks.

    with LoopbackHub() as hub:
        environment = {**os.environ, **hub.environment(folder), "HF_TOKEN": "writer"}   # for a subprocess

The client reads its address (HF_ENDPOINT) when it is imported, so whoever talks to this hub is a process of its own.
Repositories are models, or Spaces by the name `spaces/USER/NAME`, in memory; a commit is a mapping from paths to
bytes. Standard library only. Status codes and headers are those that the client tells errors apart by.
"""

import base64
import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, unquote, urlsplit


# Who the tokens belong to, and what they allow. Any other token is refused.
TOKENS = {"writer": ("me", "write"), "reader": ("me", "read"), "stranger": ("other", "write")}


class Refusal(Exception):
    """An answer that is an error: status, the hub's code for it, text."""

    def __init__(self, status: int, code: str | None, message: str, commit: str | None = None):
        super().__init__(message)
        self.status, self.code, self.message, self.commit = status, code, message, commit


def blob_id(content: bytes) -> str:
    """The id that git gives to a file."""
    return hashlib.sha1(b"blob %d\0" % len(content) + content).hexdigest()


@dataclass
class Repository:
    """A model repository: its commits by id, and what its branches point to."""

    private: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    branches: dict[str, str] = field(default_factory=dict)

    def __post_init__(self):
        self.commit({}, "main")

    def commit(self, files: dict[str, bytes], branch: str) -> str:
        """Adds a commit to a branch, and returns its id."""
        listing = sorted((path, blob_id(content)) for path, content in files.items())
        sha = hashlib.sha1(repr((len(self.commits), self.branches.get(branch), listing)).encode()).hexdigest()
        self.commits[sha] = dict(files)
        self.branches[branch] = sha
        return sha

    def resolve(self, revision: str) -> str:
        """The commit that a branch or a commit's id means."""
        sha = self.branches.get(revision, revision)
        if sha not in self.commits:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return sha

    def files(self, revision: str = "main") -> dict[str, bytes]:
        """The files of a revision."""
        return self.commits[self.resolve(revision)]


class LoopbackHub:
    """
    The server, from `with` to the end of it.

    Attributes:
        repositories (`dict[str, Repository]`): By name.
        requests (`list[str]`): "METHOD path" of every request so far.
        faults (`dict[str, list[str | None]]`): What happens to the next commits to a repository, one after another:
            "drop" (the connection breaks in the middle of the upload), "500", or nothing. The repository then stays
            as it was.
        refuses_with (`int`, *optional*): The status of every answer, where the hub answers nobody.
        before_commit (callable, *optional*): Called once, before the next commit.
    """

    def __init__(self):
        self.repositories: dict[str, Repository] = {}
        self.requests: list[str] = []
        self.faults: dict[str, list[str | None]] = {}
        self.refuses_with: int | None = None
        self.before_commit: Callable[[], object] | None = None
        self.lock = threading.RLock()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"hub": self}))
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> "LoopbackHub":
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        return self

    def __exit__(self, *_):
        self._server.shutdown()
        self._server.server_close()

    def environment(self, home: Path) -> dict[str, str]:
        """Variables of a process that talks to this hub, and keeps what it fetches below `home`."""
        return {"HF_ENDPOINT": self.url, "HF_HOME": str(home), "HF_HUB_OFFLINE": "0", "HF_HUB_DISABLE_TELEMETRY": "1"}

    def user(self, token: str | None) -> tuple[str | None, str]:
        """Whose token it is and what it allows; nobody's without one."""
        if token is None:
            return None, "read"
        if token not in TOKENS:
            raise Refusal(401, None, "Invalid credentials in Authorization header")
        return TOKENS[token]

    def readable(self, name: str, token: str | None) -> Repository:
        """The repository, if this token may know that it exists."""
        user, _ = self.user(token)
        repository = self.repositories.get(name)
        if repository is None or (repository.private and user != name.split("/")[-2]):
            # Whoever has shown no token is told to; nobody learns whether a private repository exists.
            raise Refusal(401 if user is None else 404, "RepoNotFound", "Repository not found")
        return repository

    def writable(self, name: str, token: str | None) -> Repository:
        """The repository, if this token may write there."""
        repository = self.readable(name, token)
        self.check_writer(name, token)
        return repository

    def check_writer(self, name: str, token: str | None) -> None:
        """Refuses a token that may not write under this name."""
        user, role = self.user(token)
        if user is None:
            raise Refusal(401, None, "Invalid username or password.")
        if role != "write" or user != name.split("/")[-2]:
            raise Refusal(403, None, f"You don't have the rights to write to {name} with this token")


class _Handler(BaseHTTPRequestHandler):
    hub: LoopbackHub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self._answer()

    def do_GET(self):
        self._answer()

    def do_POST(self):
        self._answer()

    # ---- from a request to a method, and back ----

    def _answer(self) -> None:
        address = urlsplit(self.path)
        self.hub.requests.append(f"{self.command} {unquote(address.path)}")
        self.query = parse_qs(address.query)
        scheme, _, token = self.headers.get("Authorization", "").partition(" ")
        self.token = token if scheme == "Bearer" else None
        length = int(self.headers.get("Content-Length", 0))
        target = re.fullmatch(_MODEL + "/commit/.*", address.path)
        faults = self.hub.faults.get(target[1], []) if target else []
        self.fault = faults.pop(0) if faults else None
        if self.fault == "drop":
            self.rfile.read(length // 2)
            self.close_connection = True
            return
        self.body = self.rfile.read(length)
        if target and self.hub.before_commit:
            act, self.hub.before_commit = self.hub.before_commit, None
            act()
        try:
            if self.hub.refuses_with:
                raise Refusal(self.hub.refuses_with, None, "Nobody is answered")
            for method, pattern, answer in _ROUTES:
                found = re.fullmatch(pattern, address.path)
                if found and self.command in method:
                    with self.hub.lock:
                        answer(self, *(part and unquote(part) for part in found.groups()))
                    return
            raise Refusal(404, None, f"No such address: {self.command} {self.path}")
        except Refusal as refusal:
            headers = {"X-Error-Message": refusal.message}
            if refusal.code:
                headers["X-Error-Code"] = refusal.code
            if refusal.commit:
                headers["X-Repo-Commit"] = refusal.commit
            self._send(json.dumps({"error": refusal.message}).encode(), refusal.status, headers)

    def _send(self, content: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in {"Content-Length": str(len(content)), **(headers or {})}.items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def _send_json(self, content) -> None:
        self._send(json.dumps(content).encode(), 200, {"Content-Type": "application/json"})

    # ---- repositories ----

    def create(self) -> None:
        wanted = json.loads(self.body)
        user, _ = self.hub.user(self.token)
        place = "spaces/" if wanted.get("type") == "space" else ""
        name = f"{place}{wanted.get('organization') or user}/{wanted['name']}"
        self.hub.check_writer(name, self.token)
        url = f"{self.hub.url}/{name}"
        if name in self.hub.repositories:
            content = json.dumps({"error": "You already created this model repo", "url": url}).encode()
            return self._send(content, 409)
        self.hub.repositories[name] = Repository(private=wanted.get("visibility") == "private")
        self._send_json({"url": url, "name": name})

    def who(self) -> None:
        user, role = self.hub.user(self.token)
        if user is None:
            raise Refusal(401, None, "Invalid username or password.")
        self._send_json({"type": "user", "name": user, "orgs": [], "auth": {"accessToken": {"role": role}}})

    def info(self, name: str, revision: str | None) -> None:
        repository = self.hub.readable(name, self.token)
        sha = repository.resolve(revision or "main")
        siblings = [{"rfilename": path} for path in sorted(repository.commits[sha])]
        self._send_json({"id": name, "sha": sha, "private": repository.private, "siblings": siblings, "tags": []})

    def refs(self, name: str) -> None:
        heads = self.hub.readable(name, self.token).branches.items()
        branches = [{"name": head, "ref": f"refs/heads/{head}", "targetCommit": sha} for head, sha in heads]
        self._send_json({"branches": branches, "converts": [], "tags": []})

    def branch(self, name: str, head: str) -> None:
        repository = self.hub.writable(name, self.token)
        if head in repository.branches:
            raise Refusal(409, None, f"Reference already exists: {head}")
        repository.branches[head] = repository.resolve(json.loads(self.body or b"{}").get("startingPoint", "main"))
        self._send_json({})

    def tree(self, name: str, revision: str) -> None:
        files = self.hub.readable(name, self.token).files(revision)
        self._send_json([self._entry(path, content) for path, content in sorted(files.items())])

    def paths(self, name: str, revision: str) -> None:
        files = self.hub.readable(name, self.token).files(revision)
        form = self.headers.get("Content-Type", "").startswith("application/x-www-form-urlencoded")
        asked = parse_qs(self.body.decode())["paths"] if form else json.loads(self.body)["paths"]
        self._send_json([self._entry(path, files[path]) for path in asked if path in files])

    @staticmethod
    def _entry(path: str, content: bytes) -> dict:
        return {"type": "file", "path": path, "size": len(content), "oid": blob_id(content)}

    # ---- up ----

    def validate(self) -> None:
        self._send_json({"errors": [], "warnings": []})

    def preupload(self, name: str, revision: str) -> None:
        repository = self.hub.writable(name, self.token)
        known = repository.files(revision) if revision in repository.branches else {}
        self._send_json(
            {
                "files": [
                    {
                        "path": path,
                        "uploadMode": "regular",
                        "shouldIgnore": False,
                        "oid": blob_id(known[path]) if path in known else None,
                    }
                    for path in (file["path"] for file in json.loads(self.body)["files"])
                ]
            }
        )

    def commit(self, name: str, revision: str) -> None:
        repository = self.hub.writable(name, self.token)
        head = repository.branches.get(revision)
        if head is None:
            raise Refusal(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        if self.fault == "500":
            raise Refusal(500, None, "Internal error")
        files = dict(repository.commits[head])
        for line in self.body.splitlines():
            entry = json.loads(line)
            value = entry["value"]
            if entry["key"] == "header" and value.get("parentCommit", head) != head:
                raise Refusal(412, None, "A commit has happened since. Please refresh and try again.")
            if entry["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            if entry["key"] == "deletedFile":
                del files[value["path"]]
        answer = {}
        if "create_pr" in self.query:
            number = 1 + sum(branch.startswith("refs/pr/") for branch in repository.branches)
            revision = f"refs/pr/{number}"
            answer = {"pullRequestUrl": f"{self.hub.url}/{name}/discussions/{number}"}
        sha = repository.commit(files, revision)
        url = f"{self.hub.url}/{name}/commit/{sha}"
        self._send_json({"success": True, "commitOid": sha, "commitUrl": url, **answer})

    # ---- down ----

    def resolve(self, name: str, revision: str, path: str) -> None:
        repository = self.hub.readable(name, self.token)
        sha = repository.resolve(revision)
        content = repository.commits[sha].get(path)
        if content is None:
            raise Refusal(404, "EntryNotFound", "Entry not found", commit=sha)
        self._send(content, 200, {"X-Repo-Commit": sha, "ETag": f'"{blob_id(content)}"', "Accept-Ranges": "none"})


_MODEL = r"/api/(?:models/)?((?:spaces/)?[^/]+/[^/]+)"
_ROUTES = [
    ("POST", "/api/repos/create", _Handler.create),
    ("GET", "/api/whoami-v2", _Handler.who),
    ("POST", "/api/validate-yaml", _Handler.validate),
    ("GET", rf"{_MODEL}(?:/revision/([^/]+))?", _Handler.info),
    ("GET", rf"{_MODEL}/refs", _Handler.refs),
    ("POST", rf"{_MODEL}/branch/([^/]+)", _Handler.branch),
    ("GET", rf"{_MODEL}/tree/([^/]+)", _Handler.tree),
    ("POST", rf"{_MODEL}/paths-info/([^/]+)", _Handler.paths),
    ("POST", rf"{_MODEL}/preupload/([^/]+)", _Handler.preupload),
    ("POST", rf"{_MODEL}/commit/([^/]+)", _Handler.commit),
    ("GET HEAD", r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", _Handler.resolve),
]
