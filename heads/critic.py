# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The critic heads, the score head, and layers whose making no other draw notices.

Letters: B batch, T positions, D width.
"""

import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN


# --------------------------------------------------------------------------------------------------------------------
# Critic
# --------------------------------------------------------------------------------------------------------------------


class ZeroLinear(nn.Linear):
    """A linear layer without a bias that is exactly zero until it has learnt something."""

    def __init__(self, in_features: int, out_features: int):
        super().__init__(in_features, out_features, bias=False)

    def reset_parameters(self) -> None:
        # The parent's draws would shift those of every module built later.
        nn.init.zeros_(self.weight)

    @property
    def is_trained(self) -> bool:
        """Whether it has learnt anything."""
        if self.weight.is_meta:
            # Offloaded by a `device_map`: there only while the layer runs, which gives the weights of unit vectors.
            with torch.no_grad():
                return bool(self(torch.eye(self.in_features, dtype=self.weight.dtype)).any())
        return bool(self.weight.detach().any())


class CriticHead(ZeroLinear):
    """One logit per token from the final norm's output: higher = more likely wrong."""

    # Whether it wants to know what the language model thinks of each token.
    reads_opinions = False

    def __init__(self, hidden_size: int):
        super().__init__(hidden_size, 1)

    def forward(self, hidden_states: torch.Tensor, opinions: torch.Tensor | None = None) -> torch.Tensor:
        return super().forward(hidden_states).squeeze(-1)


class UnnoticedLinear(nn.Linear):
    """
    A layer inside a head; the model draws its weights from [`unnoticed_generator`]. Their standard deviation is
    `initial_std`, or that of the model where it is `None`.
    """

    initial_std: float | None = None

    def reset_parameters(self) -> None:
        # The parent's draws would shift those of every module built later.
        nn.init.zeros_(self.weight)
        if self.bias is not None:
            nn.init.zeros_(self.bias)


class CriticMLPHead(nn.Module):
    """A critic that looks at the final norm's output through a hidden layer: (B, T, D) to logits (B, T)."""

    reads_opinions = False

    def __init__(self, hidden_size: int, hidden_act: str = "gelu", use_bias: bool = True):
        super().__init__()
        self.dense = UnnoticedLinear(hidden_size, hidden_size, bias=use_bias)
        self.act_fn = ACT2FN[hidden_act]
        self.output = CriticHead(hidden_size)

    def forward(self, hidden_states: torch.Tensor, opinions: torch.Tensor | None = None) -> torch.Tensor:
        return self.output(self.act_fn(self.dense(hidden_states)))

    @property
    def is_trained(self) -> bool:
        """Whether it has learnt anything: the last layer of a fresh head is exactly zero."""
        return self.output.is_trained


def unnoticed_generator(device: torch.device) -> torch.Generator | None:
    """
    A generator seeded from torch's global one, which stays where it is: whatever is drawn from that one comes out as
    if nothing had been drawn here. `None` on the meta device, where nothing is drawn.
    """
    if device.type == "meta":
        return None
    seed = torch.randint(2**62, (), generator=torch.default_generator.clone_state(), device="cpu")
    return torch.Generator(device).manual_seed(int(seed))


@torch.no_grad()
def initialise_unnoticed(module: nn.Module, std: float) -> None:
    """
    Draws the initial weights of a layer of a head, which no other draw notices.

    Args:
        module (`nn.Module`): A [`ZeroLinear`] or an [`UnnoticedLinear`].
        std (`float`): Standard deviation of the latter's weights.
    """
    if isinstance(module, ZeroLinear):
        # Zero: an untrained critic says one half everywhere, and can be told from a trained one. Nothing is
        # drawn, so the same seed gives the same other parameters with and without a critic.
        init.zeros_(module.weight)
        return
    own = module.initial_std
    generator = unnoticed_generator(module.weight.device)
    init.normal_(module.weight, mean=0.0, std=std if own is None else own, generator=generator)
    if module.bias is not None:
        init.zeros_(module.bias)


# --------------------------------------------------------------------------------------------------------------------
# Sequence scoring
# --------------------------------------------------------------------------------------------------------------------


class SequenceScoreHead(nn.Linear):
    """`sigmoid(A * (w . h) + B)` with learnable A and B: a score in (0, 1)."""

    def __init__(self, hidden_size: int):
        super().__init__(hidden_size, 1, bias=False)
        self.scale = nn.Parameter(torch.ones(1))
        self.shift = nn.Parameter(torch.zeros(1))

    def forward(self, hidden_states: torch.Tensor) -> torch.Tensor:
        return torch.sigmoid(self.scale * super().forward(hidden_states) + self.shift)
