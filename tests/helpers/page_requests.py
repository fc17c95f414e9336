# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What the page would send to its server, sent without a browser."""

import json
import urllib.error
import urllib.request


def asked(server, name: str, page: str = "1", **fields) -> tuple[int, dict]:
    """Status and answer of one request of one of a visitor's pages."""
    request = urllib.request.Request(f"{server.url}api/{name}", json.dumps(fields).encode(), {"x-page": page})
    try:
        with urllib.request.urlopen(request, timeout=30) as response:
            return response.status, json.load(response)
    except urllib.error.HTTPError as error:
        return error.code, json.load(error)
