# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Switches dropout off while a model is asked, and back on as it was."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from torch import nn


@contextmanager
def evaluation_mode(*models: Any) -> Iterator[None]:
    """
    Within it models are in evaluation mode; afterwards every module of them is in the mode it was in. The trainers of
    Transformers leave a model in training mode, where the same seed gives another text at each call.

    Args:
        models (`nn.Module`): What is no module, such as a function that judges, is left alone.
    """
    training = [module for model in models if isinstance(model, nn.Module) for module in model.modules()]
    training = [module for module in training if module.training]
    for module in training:
        module.training = False
    try:
        yield
    finally:
        for module in training:
            module.training = True
