# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a model's folder does, by every door of Transformers. Imports nothing of ours: it can be asked anywhere."""

from typing import Any

import torch
from transformers import (
    AutoConfig,
    AutoModel,
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoModelForTokenClassification,
    AutoTokenizer,
    pipeline,
)


AUTO_CLASSES = (AutoModel, AutoModelForMaskedLM, AutoModelForTokenClassification, AutoModelForSequenceClassification)
# What each pipeline is asked beside its text, where it needs anything.
CALLS: dict[str, dict[str, Any]] = {"critic-diffusion": {"max_new_tokens": 6, "num_steps": 3, "seed": 1}}


def plain(value: Any) -> Any:
    """
    A result as JSON gives it back, without the digits that the order of additions decides, and without entries that
    say nothing, which versions may add.
    """
    if isinstance(value, dict):
        return {key: plain(inner) for key, inner in value.items() if inner is not None}
    if isinstance(value, (list, tuple)):
        return [plain(inner) for inner in value]
    return round(value, 3) if isinstance(value, float) else value


def generated(model) -> dict[str, Any]:
    """Tokens and error probabilities by several strategies."""
    found = {}
    for name in ("auto", "none", "critic_full", "confidence", "random", "multinomial"):
        output = model.generate(max_new_tokens=12, num_steps=4, seed=3, remasking=name)
        found[name] = plain([output.sequences.tolist(), output.error_probabilities.tolist()])
    return found


def tables(model) -> list[Any]:
    """The beginnings of both calibration tables."""
    found = model.calibration, model.trajectory_calibration
    return [None if table is None else plain(table.probabilities[:3]) for table in found]


def exactly(model) -> list[Any]:
    """Logits, critic logits and jointly drawn tokens, to the last digit."""
    output = model(torch.arange(2, 32).repeat(2).view(4, 15).remainder(31) + 1)
    drawn = model.generate(max_new_tokens=12, num_steps=4, seed=3, token_draws="joint")
    return [values.tolist() for values in (output.logits, output.critic_logits, drawn.sequences)]


def look(where, tasks: list[str], model_kwargs: dict[str, Any] | None = None, **how) -> dict[str, Any]:
    """
    Loads a model by all Auto classes and pipelines, and says what came of it.

    Args:
        where (`str` or `os.PathLike`): Folder or hub name.
        tasks (`list[str]`): Of the pipelines.
        model_kwargs (`dict`, *optional*): Arguments of `from_pretrained` that `pipeline` takes under this name.
        how: Those that both take: `trust_remote_code`, `revision`, `token`.
    """
    rest = dict(model_kwargs or {})
    model = AutoModelForMaskedLM.from_pretrained(where, **how, **rest)
    pipes = {task: pipeline(task, model=where, model_kwargs=dict(rest), **how) for task in tasks}
    return {
        "config": type(AutoConfig.from_pretrained(where, **how, **rest)).__name__,
        "classes": [type(auto.from_pretrained(where, **how, **rest)).__name__ for auto in AUTO_CLASSES],
        "generated": generated(model),
        "tables": tables(model),
        "pipelines": {task: plain(pipe("abc. ", **CALLS.get(task, {}))) for task, pipe in pipes.items()},
        "tokens": AutoTokenizer.from_pretrained(where, **how, **rest)("abc")["input_ids"],
    }
