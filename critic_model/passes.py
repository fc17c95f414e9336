# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""States and logits of one pass of somebody else's model."""

import inspect
from collections.abc import Callable
from typing import Any

import torch
from torch import nn


def forward_parameters(model: nn.Module) -> set[str]:
    """The arguments that a model's own forward pass names, not those of a critic's class around it."""
    stock = getattr(type(model), "stock_class", type(model))
    return set(inspect.signature(stock.forward).parameters)


def pass_of(
    model: nn.Module, forward: Callable[..., Any], source: str, inputs: dict[str, Any]
) -> tuple[torch.Tensor, torch.Tensor | None, Any]:
    """
    One pass, of which the states are caught on the way.

    Args:
        model ([`~transformers.PreTrainedModel`]): The model.
        forward (callable): Its own forward pass, called with the model.
        source (`str`): Where the states come from, as [`~backbones.description.Backbone`] says it.
        inputs (`dict`): What it gets.

    Returns:
        `tuple`: states, logits, and the whole output.
    """
    if source == "hidden_states":
        wanted = inputs.pop("output_hidden_states", False)
        output = forward(model, **inputs, output_hidden_states=True, return_dict=True)
        layers = getattr(output, "decoder_hidden_states", None) or output.hidden_states
        if not wanted and "hidden_states" in output:
            output["hidden_states"] = None
        return layers[-1], output.logits, output
    caught: list[Any] = []
    handle = model.base_model.register_forward_hook(lambda module, args, output: caught.append(output))
    try:
        output = forward(model, **inputs, return_dict=True)
    finally:
        handle.remove()
    last = caught[-1]
    if source == "base_logits":  # of all positions that there could be
        length = inputs["input_ids"].shape[1]
        return last.logits[:, :length], output.logits[:, :length], output
    states = last[0] if isinstance(last, tuple) else last.last_hidden_state
    return states, output.logits, output
