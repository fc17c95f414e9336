# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Every strategy of the package in a line, for those who choose one from a menu."""

import inspect
from typing import Any

from critic_gpt.evaluation.competitors import left_out
from critic_gpt.generation.declarations import STRATEGIES, remasking_names


IN_WORDS = {
    "auto": "The critic's strategy if the model has a trained critic, else the model's own confidence.",
    "none": "Reveals the tokens that the model is surest of, a few per step; what is written stays.",
    "critic": "Reveals tokens and, in the same pass, re-masks those that the critic holds to be wrong.",
    "critic_full": "Fills every mask, lets the critic judge the whole, re-masks the worst share; two passes per step.",
    "external": "Fills every mask and re-masks what another model holds to be wrong.",
    "confidence": "Fills every mask and re-masks the tokens that were drawn with the least probability (MaskGIT).",
    "random": "Fills every mask and re-masks a random share.",
    "multinomial": "Draws every token anew at each step, masked or not (SUNDAE).",
    "backtrack": "Reveals what is sure; where the critic rejects the whole, goes back to the weakest guess.",
    "prism": "Reveals masks in random order and re-masks the tokens that the critic scores worst (PRISM).",
    "token_critic": "Fills every mask; the critic's best tokens stay, fewer are re-masked each step (Token-Critic).",
    "accept_reject": "Takes back a drawn token as far as the next pass finds it less likely than the draw did.",
    "remdm_cap": "Re-masks each visible token by chance, at a capped rate (ReMDM cap).",
    "remdm_rescale": "Re-masks each visible token by chance, at a rescaled rate (ReMDM rescale).",
    "remdm_conf": "Re-masks visible tokens by chance, the unsure ones rather (ReMDM conf).",
    "remdm_loop": "Writes the text, re-masks parts of it at a constant rate for a while, finishes it (ReMDM loop).",
    "p2": "Fills every mask and keeps the tokens the model is surest of, earlier ones included (P2).",
    "proseco": "Reveals tokens; every few steps the model corrects what it has written (ProSeCo).",
}


def strategies_in_words(model: Any) -> dict[str, str]:
    """
    The strategies that a model can follow without an outside model to name, each in a line; of one of the user's own
    the first line of its docstring.
    """
    offered = [name for name in remasking_names() if name not in ("auto", "external")]
    followed = ["auto", *(name for name in offered if left_out(model, {"remasking": name}) is None)]
    return {name: IN_WORDS.get(name) or _first_line(STRATEGIES[name]) for name in followed}


def _first_line(strategy: type) -> str:
    return (inspect.getdoc(strategy) or "A strategy of your own.").split("\n\n")[0].replace("\n", " ")
