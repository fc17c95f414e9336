# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Passes and whole steps of generation under `torch.compile`: one graph for all steps of a canvas.

Shapes must not change on the way: no row may leave the batch before the others, and what differs between steps is put
in as numbers.
"""

import types
from collections.abc import Callable
from typing import Any

import torch
from transformers.generation import GenerationConfig

from critic_gpt.generation.strategy_declarations import ADAPTIVE_UNMASKING


class CompiledFunctions:
    """What was compiled for one model, each function for one kind of call; a copy of the model begins with nothing."""

    def __init__(self):
        self._made: dict[tuple, Callable] = {}

    def __reduce__(self):
        return CompiledFunctions, ()

    def of(self, function: Callable, backend: str, like: torch.Tensor, *kind: Any) -> Callable:
        """A function compiled for tokens (B, T) like these, and for this kind of call."""
        key = self._key(function, backend, like, *kind)
        if key not in self._made:
            # With code of its own each: torch gives up on one that it has compiled for many models and shapes.
            code = function.__code__.replace()
            own = types.FunctionType(code, function.__globals__, function.__name__, function.__defaults__)
            own.__kwdefaults__ = function.__kwdefaults__
            mode = {"mode": "reduce-overhead"} if (backend, like.device.type) == ("inductor", "cuda") else {}
            self._made[key] = torch.compile(own, fullgraph=True, dynamic=False, backend=backend, **mode)
        return self._made[key]

    def forget(self, function: Callable, backend: str, like: torch.Tensor, *kind: Any) -> None:
        """Lets a function be compiled anew: torch gives up on one whose model changed too often since."""
        self._made.pop(self._key(function, backend, like, *kind), None)

    @staticmethod
    def _key(function: Callable, backend: str, like: torch.Tensor, *kind: Any) -> tuple:
        return (function, backend, tuple(like.shape), like.device, *kind)


class Compiler:
    """
    Calls functions compiled, for one call of `generate`.

    Args:
        model ([`CriticGPTForMaskedLM`]): Keeps what was compiled.
        backend (`str`): Of `torch.compile`.
    """

    def __init__(self, model: Any, backend: str):
        self._functions = model.__dict__.setdefault("_compiled_functions", CompiledFunctions())
        self._model, self._backend = model, backend

    def __call__(self, function: Callable, input_ids: torch.Tensor, *arguments: Any, kind: tuple = ()) -> Any:
        """What `function(model, input_ids, *arguments)` gives, a tuple of tensors."""
        input_ids = input_ids.contiguous()  # a graph is one of strides, too
        which = function, self._backend, input_ids, *kind
        if input_ids.device.type == "cuda":
            torch.compiler.cudagraph_mark_step_begin()
        try:
            try:
                found = self._functions.of(*which)(self._model, input_ids, *arguments)
            except torch._dynamo.exc.FailOnRecompileLimitHit:
                self._functions.forget(*which)
                found = self._functions.of(*which)(self._model, input_ids, *arguments)
        except torch._dynamo.exc.TorchDynamoException as error:
            cause: Any = getattr(error, "inner_exception", error)
            says = next((line.strip() for line in str(cause).splitlines() if line.strip()), "nothing")
            raise RuntimeError(
                f"`compile` needs a backend that works here, got {self._backend!r}, which says {says:.200}: "
                "install a C++ compiler such as g++ (Triton for a GPU), or leave `compile` out."
            ) from error
        if input_ids.device.type == "cuda":  # where the next replay writes over what this one gave
            found = type(found)(*(None if one is None else one.clone() for one in found))
        return found


def chosen_backend(
    compile: Any, model: Any, config: GenerationConfig, num_rows: int, asks_where: bool, criteria: Any
) -> str | None:
    """
    The backend of `torch.compile` that a call asks for; `None` for none.

    Args:
        compile (`bool` or `str`): As passed to `generate`.
        model: Whose passes are compiled.
        config ([`CriticGPTGenerationConfig`]): Complete.
        num_rows (`int`): How many sequences, candidates of one counted each. A single one may end early: that is the
            end of the call, and no other shape.
        asks_where (`bool`): Whether the strategy is one of ours.
        criteria: The stopping criteria.

    Raises:
        `ValueError`: There is no such backend, or shapes would change on the way.
    """
    if compile is None or compile is False:
        return None
    backend = "inductor" if compile is True else compile
    known = torch.compiler.list_backends(exclude_tags=())
    if not isinstance(backend, str) or backend not in known:
        raise ValueError(
            f"`compile` must be True, False or a backend of torch.compile, got {compile!r:.60}: True takes inductor."
        )
    if not (asks_where and model.takes_bare_passes):
        raise ValueError(
            "`compile` is for a CriticGPT as it is, without adapters, hooks, or a forward pass or strategy of your "
            f"own, got {compile!r} for a {type(model).__name__} with `remasking={config.remasking!r}`: leave it out."
        )
    changing = {
        "block_length": config.block_length,
        "cache_implementation": config.cache_implementation,
        "stopping_criteria": bool(criteria) or None,
        "unmasking": config.unmasking if config.unmasking in ADAPTIVE_UNMASKING else None,
    }
    ending_some = {name: getattr(config, name) or None for name in ("polish_steps", "stop_when_expected_errors_below")}
    if num_rows > 1:
        changing |= ending_some
    name, value = next(((name, value) for name, value in changing.items() if value is not None), (None, None))
    if name is not None:
        given = "criteria" if value is True else repr(value)
        raise ValueError(
            f"`compile` needs steps whose shapes do not change, got `{name}` ({given}), by which they do: "
            f"drop one of the two{', or pass one sequence at a time' if name in ending_some else ''}."
        )
    return backend
