# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""How fast a training is: tokens per second, and the share of what the device can do (MFU).

What counts are the floating-point operations that the law of the training asks for (Chowdhery et al., "PaLM", 2022,
appendix B): a training that computes more than it needs has a lower share.
"""

import time

import torch
from torch import nn
from transformers import TrainerCallback


TOKENS_PER_SECOND, MFU = "tokens_per_second", "mfu"
# Side of the matrices whose product tells what a device can do.
_SIDE_CPU, _SIDE_OTHERS = 1024, 8192


class SpeedCallback(TrainerCallback):
    """
    Counts tokens, floating-point operations and seconds of training since the last log; evaluating and saving is none
    of it.
    """

    def __init__(self):
        self.reset()
        self.peak: float | None = None
        self._since: float | None = None

    def reset(self) -> None:
        """Counts from here on."""
        # Tensors once something was added: nobody waits for the device.
        self.tokens: torch.Tensor | float = 0.0
        self.operations: torch.Tensor | float = 0.0
        self.seconds = 0.0

    def add(self, tokens: torch.Tensor, operations: torch.Tensor | float) -> None:
        """Adds those of a micro-batch."""
        self.tokens = self.tokens + tokens
        self.operations = self.operations + operations

    def figures(self, accelerator) -> dict[str, float]:
        """What all processes together did since the last log, for the logs."""
        own = torch.tensor([float(self.tokens), float(self.operations), self.seconds], device=accelerator.device)
        tokens, operations, seconds = accelerator.gather(own[None]).sum(dim=0).tolist()
        self.reset()
        if seconds <= 0:
            return {}
        # Seconds were added up over the processes, which work side by side.
        found = {TOKENS_PER_SECOND: accelerator.num_processes * tokens / seconds}
        if self.peak is not None:
            found[MFU] = operations / (seconds * self.peak * 1e12)
        return found

    def on_train_begin(self, args, state, control, model=None, **kwargs):
        self.reset()
        self._since, self.peak = None, args.peak_tflops
        if self.peak == 0:
            half = torch.bfloat16 if args.bf16 else torch.float16 if args.fp16 else None
            self.peak = measured_peak(args.device, half or next(model.parameters()).dtype)

    def on_step_begin(self, args, state, control, **kwargs):
        if self._since is None:
            self._since = time.perf_counter()

    def on_step_end(self, args, state, control, **kwargs):
        now = time.perf_counter()
        self.seconds += now - (now if self._since is None else self._since)
        self._since = now  # what loads the next batch counts

    def on_evaluate(self, args, state, control, **kwargs):
        self._since = None

    def on_save(self, args, state, control, **kwargs):
        self._since = None


class PassOperations:
    """
    Floating-point operations of a model's passes: two for each weight of a matrix and token, and attention; twice as
    many again for the gradients, where there are some.

    Args:
        model (`nn.Module`): Has `base_model`.
        config: Its configuration.
    """

    def __init__(self, model: nn.Module, config):
        self._trunk = trunk = model.base_model
        embeddings = {id(one.weight) for one in trunk.modules() if isinstance(one, nn.Embedding)}
        weights = [one for one in trunk.parameters() if one.dim() == 2 and id(one) not in embeddings]
        width, layers = getattr(config, "hidden_size", 0), getattr(config, "num_hidden_layers", 0)
        self._weights = sum(one.numel() for one in weights)
        self._attention = 2 * layers * width  # times the length: scores and what they weigh
        self._head = getattr(config, "vocab_size", 0) * width

    def trunk(self, tokens: torch.Tensor, length: int) -> torch.Tensor:
        """A pass over so many tokens, in rows of this length."""
        trains = any(one.requires_grad for one in self._trunk.parameters())
        return (6.0 if trains else 2.0) * tokens * (self._weights + self._attention * length)

    def head(self, positions: torch.Tensor) -> torch.Tensor:
        """The LM head at so many positions."""
        return 6.0 * positions * self._head


def measured_peak(device: torch.device, dtype: torch.dtype) -> float:
    """What a device reaches, in 10^12 floating-point operations per second, in the best of some large products."""
    side = _SIDE_CPU if device.type == "cpu" else _SIDE_OTHERS
    left, right = (torch.ones(side, side, device=device, dtype=dtype) for _ in range(2))

    def wait():
        if device.type != "cpu":
            torch.accelerator.synchronize()

    seconds = []
    for _ in range(6):
        wait()
        begin = time.perf_counter()
        left @ right
        wait()
        seconds.append(time.perf_counter() - begin)
    return 2 * side**3 / min(seconds[1:]) / 1e12
