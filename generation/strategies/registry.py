# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The registry of strategies: who decides which tokens are masked again, and what a step is."""

from critic_gpt.generation.strategies.backtracking import Backtrack
from critic_gpt.generation.strategies.base import Strategy
from critic_gpt.generation.strategies.critic import Critic, Prism
from critic_gpt.generation.strategies.fill_all import (
    P2,
    Chance,
    Confidence,
    CriticFull,
    External,
    Multinomial,
    TokenCritic,
)
from critic_gpt.generation.strategies.proseco import ProSeCo
from critic_gpt.generation.strategies.remdm import ReMDMCap, ReMDMConf, ReMDMLoop, ReMDMRescale
from critic_gpt.generation.strategies.unmasking import PlainUnmasking


# By the value of `remasking` that names each.
STRATEGIES: dict[str, type[Strategy]] = {
    strategy.name: strategy
    for strategy in (
        Critic,
        PlainUnmasking,
        External,
        CriticFull,
        Backtrack,
        Confidence,
        Chance,
        Multinomial,
        Prism,
        TokenCritic,
        ReMDMCap,
        ReMDMRescale,
        ReMDMConf,
        ReMDMLoop,
        P2,
        ProSeCo,
    )
}
