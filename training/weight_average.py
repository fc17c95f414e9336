# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A moving average of the weights in training: what is evaluated and published, while training goes on beside it."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import safetensors.torch
import torch
from torch import nn
from torch.distributed.tensor import DTensor, distribute_tensor
from torch.optim.swa_utils import get_ema_multi_avg_fn
from transformers import TrainerCallback


# Lies in a checkpoint beside the state of the optimizer, which belongs to these weights.
TRAINING_WEIGHTS_NAME = "training_weights.safetensors"


class WeightAverageCallback(TrainerCallback):
    """
    Keeps an exponential moving average of the weights that the optimizer holds, on their devices:
    `average += (1 - d) * (weight - average)` after every optimizer step, `d = min(decay, (1 + n) / (10 + n))` after n
    steps before it (the warm-up of TensorFlow's `ExponentialMovingAverage`).

    A trainer with `ema_decay` makes it, and evaluates and saves within [`~WeightAverageCallback.applied`]. Every
    process of a distributed run keeps the same average, since all make the same steps.

    Args:
        decay (`float`): In [0, 1).
    """

    def __init__(self, decay: float):
        self.decay = decay
        self._weights: dict[str, nn.Parameter] = {}
        self._averages: list[torch.Tensor] = []
        self._applied = False

    def start(self, model: nn.Module, optimizer: torch.optim.Optimizer) -> None:
        """Begins with the present weights."""
        held = {id(weight) for group in optimizer.param_groups for weight in group["params"]}
        self._weights = {name: weight for name, weight in model.named_parameters() if id(weight) in held}
        for name, weight in self._weights.items():
            if weight.dtype in (torch.float16, torch.bfloat16):
                raise ValueError(
                    f"`ema_decay` must be 0 for weights in half precision, whose rounding would swallow the changes, "
                    f"got {self.decay} and {name} in {weight.dtype}: load the model in float32 and give --bf16."
                )
        self._averages = [weight.detach().clone() for weight in self._weights.values()]

    @torch.no_grad()
    def on_optimizer_step(self, args, state, control, **kwargs):
        steps = state.global_step
        decay = min(self.decay, (1 + steps) / (10 + steps))
        get_ema_multi_avg_fn(decay)(self._averages, list(self._weights.values()), None)

    @contextmanager
    def applied(self) -> Iterator[None]:
        """Within it the model is its average; without one, outside of training, it stays as it is."""
        if self._applied:
            yield
            return
        self._exchange()
        self._applied = True
        try:
            yield
        finally:
            self._applied = False
            self._exchange()

    @torch.no_grad()
    def _exchange(self) -> None:
        # By content: optimizers and compiled code know the weights by their place in memory.
        for weight, average in zip(self._weights.values(), self._averages, strict=True):
            kept = weight.clone()
            weight.copy_(average)
            average.copy_(kept)

    def save_training_weights(self, folder: str | os.PathLike, writer: bool = True) -> None:
        """Writes the weights that training goes on with; every process must call it, and one of them be the writer."""
        weights = {name: _whole(weight.detach()).contiguous() for name, weight in self._weights.items()}
        if not writer:
            return
        safetensors.torch.save_file(weights, Path(folder, TRAINING_WEIGHTS_NAME), metadata={"format": "pt"})

    def finish(self) -> None:
        """Leaves the average in the model for good."""
        self._exchange()
        self._weights, self._averages = {}, []


@torch.no_grad()
def load_training_weights(model: nn.Module, folder: str | os.PathLike) -> None:
    """
    Gives a model the weights that a training went on with, where a checkpoint holds them apart from their average.

    Args:
        model (`nn.Module`): Loaded from the same checkpoint.
        folder (`str` or `os.PathLike`): The checkpoint.

    Raises:
        `ValueError`: The weights are those of another model.
    """
    path = Path(folder, TRAINING_WEIGHTS_NAME)
    if not path.is_file():
        return
    stored, own = safetensors.torch.load_file(path), dict(model.named_parameters())
    for name, weight in stored.items():
        if name not in own or own[name].shape != weight.shape:
            raise ValueError(
                f"`resume_from_checkpoint` must be of the model that is trained, got {str(path)!r} with {name} of "
                f"shape {tuple(weight.shape)}: resume with the model and the flags it was made with."
            )
        own[name].copy_(_like(weight, own[name]))


def _whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor whose parts may lie with several processes, in each of them."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def _like(tensor: torch.Tensor, sharded: torch.Tensor) -> torch.Tensor:
    """A tensor that every process has, divided among them as another one is."""
    if not isinstance(sharded, DTensor):
        return tensor
    # No rank's values are sent to the others: all have read the same file.
    tensor = tensor.to(sharded.device)
    return distribute_tensor(tensor, sharded.device_mesh, sharded.placements, src_data_rank=None)
