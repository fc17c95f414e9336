# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
# ruff: noqa: F401
"""All strategies of the package: importing this module registers them.

A new strategy in one of these files is registered by its decorator alone. A new file takes one line here, since a
model's folder holds the files that such lines name.
"""

from critic_gpt.generation.declarations import STRATEGIES
from critic_gpt.generation.strategies.accept_reject import AcceptReject
from critic_gpt.generation.strategies.backtracking import Backtrack
from critic_gpt.generation.strategies.base import register_strategy
from critic_gpt.generation.strategies.critic import Critic
from critic_gpt.generation.strategies.fill_all import FillAll
from critic_gpt.generation.strategies.proseco import ProSeCo
from critic_gpt.generation.strategies.remdm import ReMDM
from critic_gpt.generation.strategies.unmasking import PlainUnmasking
