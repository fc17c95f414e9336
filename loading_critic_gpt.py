# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Where the files of a model come from: what is loaded beside the weights is looked for where they are."""

from typing import Any


# Arguments of `from_pretrained` that decide where files come from.
LOCATION_ARGUMENTS = ("subfolder", "revision", "token", "cache_dir", "local_files_only", "force_download")


def location_of(kwargs: dict[str, Any]) -> dict[str, Any]:
    """Those arguments of a `from_pretrained` call that say where files come from, as far as they are set."""
    return {name: kwargs[name] for name in LOCATION_ARGUMENTS if kwargs.get(name) is not None}
