# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Muon for the matrices of the blocks and AdamW for everything else, as one optimizer."""

from collections.abc import Callable, Collection
from typing import Any

import torch
from torch import nn


def orthogonalized(matrix: torch.Tensor, coefficients: tuple[float, float, float], steps: int, eps: float):
    """
    The matrix with its singular values brought near one by Newton-Schulz iterations, as torch's Muon makes it, but on
    a CPU in float32: torch multiplies in bfloat16, which CPUs without units for it do some hundred times slower.

    Args:
        matrix (`torch.Tensor` of shape `(rows, columns)`): An update.
        coefficients (`tuple[float, float, float]`): Of the quintic polynomial of an iteration.
        steps (`int`): Iterations.
        eps (`float`): Least norm that is divided by.

    Returns:
        `torch.Tensor` of the same shape, in float32 on a CPU, else in bfloat16.
    """
    a, b, c = coefficients
    wide = matrix.to(torch.float32 if matrix.device.type == "cpu" else torch.bfloat16)
    tall = matrix.shape[0] > matrix.shape[1]
    wide = wide.T if tall else wide
    wide = wide / wide.norm().clamp(min=eps)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = torch.addmm(wide, torch.addmm(gram, gram, gram, beta=b, alpha=c), wide, beta=a)
    return wide.T if tall else wide


class Muon(torch.optim.Muon):
    """torch's Muon, with the same settings and state, whose matrices are made by [`orthogonalized`]."""

    @torch.no_grad()
    def step(self, closure: None = None) -> None:
        """One step of every matrix that has a gradient."""
        for group in self.param_groups:
            for parameter in group["params"]:
                if parameter.grad is not None:
                    self._step_one(parameter, group)

    def _step_one(self, parameter: nn.Parameter, group: dict[str, Any]) -> None:
        state, gradient = self.state[parameter], parameter.grad
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        average = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = gradient.lerp(average, group["momentum"]) if group["nesterov"] else average
        update = orthogonalized(update, group["ns_coefficients"], group["ns_steps"], group["eps"])
        rows, columns = parameter.shape
        parameter.mul_(1 - group["lr"] * group["weight_decay"])
        parameter.add_(update, alpha=-group["lr"] * max(1, rows / columns) ** 0.5)


class MuonAdamW(torch.optim.Optimizer):
    """
    Muon (Jordan et al., "Muon: An optimizer for hidden layers in neural networks", 2024) for the parameter groups that
    say `muon=True`, whose parameters must be matrices, and AdamW for the others. Both have the defaults of torch;
    groups and states are this optimizer's, so that its `state_dict` is whole.

    Args:
        params (`list[dict]`): Parameter groups, as [`parameter_groups`] makes them.
        lr (`float`): Learning rate of AdamW, for groups that name none; above 0.
        muon_lr (`float`): Learning rate of Muon, for groups that name none; above 0.
        adamw_options: As for `torch.optim.AdamW`: `betas`, `eps`, `fused`.
    """

    def __init__(self, params: list[dict[str, Any]], lr: float, muon_lr: float, **adamw_options):
        self._parts = {
            False: torch.optim.AdamW([{"params": []}], lr=lr, **adamw_options),
            True: Muon([{"params": []}], lr=muon_lr),
        }
        super().__init__(params, {"lr": lr, "muon": False})

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """As the parent's, with the defaults of the group's own kind."""
        part = self._parts[param_group.get("muon", False)]
        super().add_param_group({**part.defaults, **param_group})

    def step(self, closure: Callable[[], torch.Tensor] | None = None) -> torch.Tensor | None:
        """One step of both."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for muon, part in self._parts.items():
            # Set anew at each step: loading a state replaces the groups and the states.
            part.param_groups = [group for group in self.param_groups if group["muon"] is muon]
            part.state = self.state
            part.step()
        return loss


def parameter_groups(
    parameters: dict[str, nn.Parameter],
    decayed: Collection[str],
    weight_decay: float,
    learning_rate: float,
    matrices: Collection[str] = (),
    muon_learning_rate: float | None = None,
) -> list[dict[str, Any]]:
    """
    Parameters sorted into groups of an optimizer: those with weight decay and those without, and the same of Muon's.

    Args:
        parameters (`dict[str, nn.Parameter]`): By name.
        decayed (`Collection[str]`): Names of the parameters with weight decay.
        weight_decay (`float`): Their weight decay.
        learning_rate (`float`): Of the parameters that are not Muon's.
        matrices (`Collection[str]`, *optional*): Names of those that Muon optimises.
        muon_learning_rate (`float`, *optional*): Of `matrices`; needed where there are some.

    Returns:
        `list[dict]`: Two groups, one of which may be empty, and at most two of Muon's (`muon=True`), none empty.
    """
    groups = []
    for muon, rate in ((False, learning_rate), (True, muon_learning_rate)):
        for decay in (True, False):
            chosen = [
                parameter
                for name, parameter in parameters.items()
                if (name in matrices) is muon and (name in decayed) is decay
            ]
            group = {"params": chosen, "lr": rate, "weight_decay": weight_decay if decay else 0.0}
            if muon and chosen:
                groups.append({**group, "muon": True})
            elif not muon:
                groups.append(group)
    return groups
