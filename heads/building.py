# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The critic head that a configuration names."""

from typing import Any

from torch import nn
from transformers.activations import ACT2FN

from critic_gpt.heads.critic import CriticHead, CriticMLPHead
from critic_gpt.heads.odds import CriticOddsHead


def build_critic_head(config: Any, state_size: int) -> nn.Module:
    """
    A fresh head, which says one half of everything.

    Args:
        config ([`~transformers.PreTrainedConfig`]): With `critic_head_type`, and where it has them `hidden_act` and
            `use_bias`.
        state_size (`int`): Width of the states it reads.
    """
    if config.critic_head_type == "odds":
        return CriticOddsHead(state_size)
    if config.critic_head_type == "mlp":
        activation = getattr(config, "hidden_act", "gelu")
        known = activation if isinstance(activation, str) and activation in ACT2FN else "gelu"
        return CriticMLPHead(state_size, known, getattr(config, "use_bias", True))
    return CriticHead(state_size)
