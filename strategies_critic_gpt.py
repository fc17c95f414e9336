# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The registry of strategies: who decides which tokens are masked again, and what a step is."""

from .strategies_backtracking_critic_gpt import Backtrack
from .strategies_fill_all_critic_gpt import P2, Chance, Confidence, CriticFull, External, Multinomial, TokenCritic
from .strategies_one_pass_critic_gpt import Critic, PlainUnmasking, Prism, ProSeCo
from .strategies_remdm_critic_gpt import ReMDMCap, ReMDMConf, ReMDMLoop, ReMDMRescale
from .strategy_critic_gpt import Strategy


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
