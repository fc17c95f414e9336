# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a model says must be numbers: the one refusal of generation, proofreading and the explorer."""

import torch


def not_finite(what: str) -> ValueError:
    """The error about `"logits"` or `"critic scores"` that are NaN or infinite."""
    return ValueError(
        f"`model` must give finite {what}, got NaN or infinity: load it in another dtype, such as float32, and check "
        "its weights."
    )


def check_finite(what: str, values: torch.Tensor) -> None:
    """
    Refuses values that are NaN or infinite, which would pass for those of a safe token. Waits for the device.

    Args:
        what (`str`): `"logits"`, of which the largest of each token is asked for, or `"critic scores"`.
        values (`torch.Tensor`): Of real tokens.
    """
    if not bool(values.isfinite().all()):
        raise not_finite(what)
