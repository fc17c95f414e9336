# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What code from outside gives back: processors, criteria, judges. It is what it must be, or refused in one sentence.

Letters: N places, V vocabulary.
"""

from collections.abc import Mapping
from typing import Any

import torch
from transformers.generation import LogitsProcessorList


class CheckedProcessors(LogitsProcessorList):
    """Logits processors and warpers, each of which must make scores (N, V) of scores (N, V)."""

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor, **kwargs) -> torch.Tensor:
        """As the parent's, which takes whatever comes back."""
        for processor in self:
            made = LogitsProcessorList([processor])(input_ids, scores, **kwargs)
            wanted = f"scores of shape {tuple(scores.shape)} on {scores.device}"
            fits = is_dense(made) and made.is_floating_point() and made.shape == scores.shape
            if not fits or made.device != scores.device:
                raise ValueError(
                    f"`logits_processor` must return {wanted}, got {described(made)} from {name_of(processor)}: "
                    "return the scores it was given, changed."
                )
            scores = made.to(scores.dtype)
        return scores


def nothing_to_draw() -> ValueError:
    """The error about scores that are no numbers, or all impossible, once processors have changed them."""
    return ValueError(
        "`logits_processor` must leave a token possible at each place and change no score to NaN or +infinity, got "
        "scores by which none can be drawn: correct it; where the model fails without it too, load it in another "
        "dtype, such as float32."
    )


def scores_of(field: str, output: Any) -> torch.Tensor:
    """
    The numbers that a judge gives, in float32 at least.

    Args:
        field (`str`): Name of the argument that holds the judge, for errors.
        output: A tensor, or what has one as `logits`.
    """
    scores: Any = output if isinstance(output, torch.Tensor) else getattr(output, "logits", None)
    if not is_dense(scores) or scores.is_complex():
        raise ValueError(
            f"`{field}` must return a tensor of numbers, or an output with `logits`, got {described(output)}: "
            "return one."
        )
    return scores.to(torch.promote_types(scores.dtype, torch.float32))


def truth_values(field: str, said: Any, like: torch.Tensor) -> torch.Tensor:
    """
    What a criterion says, as truth values (A,).

    Args:
        field (`str`): Name of the argument that holds the criterion, for errors.
        said: A truth value, or one for each row, as a tensor or a list.
        like (`torch.BoolTensor` of shape `(batch_size,)`): What the answer is to be like.
    """
    try:
        given = torch.as_tensor(said)
    except (TypeError, ValueError, RuntimeError):  # nothing that a tensor could be made of
        given = None
    if not is_dense(given) or given.dtype != torch.bool:
        raise ValueError(
            f"`{field}` must return truth values, got {described(said)}: compare what you count with a bound."
        )
    if given.shape not in ((), like.shape):
        raise ValueError(
            f"`{field}` must give one truth value per row, {tuple(like.shape)}, got {tuple(given.shape)}: reduce over "
            "the positions."
        )
    return given.to(like.device).expand(like.shape)


def check_callers(streamer: Any, judges: Mapping[str, Any]) -> None:
    """
    Refuses what a call could not ask, before the work.

    Args:
        streamer (*optional*): As passed to `generate`.
        judges (`Mapping[str, Any]`): By the name of its argument, `None` where there is none.
    """
    for name, judge in judges.items():
        if judge is not None and not callable(judge):
            raise ValueError(f"`{name}` must be a model or a function, got {described(judge)}: pass one, or drop it.")
    for method in ("put", "end"):
        if streamer is not None and not callable(getattr(streamer, method, None)):
            raise ValueError(
                f"`streamer` must have a method `{method}`, got {described(streamer)} without one: derive it from "
                "`transformers.generation.streamers.BaseStreamer`."
            )


def is_dense(given: Any) -> bool:
    """Whether this is a tensor with numbers in it."""
    return isinstance(given, torch.Tensor) and given.layout == torch.strided and given.device.type != "meta"


def described(given: Any) -> str:
    """What was given instead, in a few words."""
    if isinstance(given, torch.Tensor):
        return f"a tensor {tuple(given.shape)} of {given.dtype} on {given.device}"
    return "None" if given is None else f"a {type(given).__name__}"


def name_of(given: Any) -> str:
    """What a callable is called."""
    return getattr(given, "__name__", type(given).__name__)
