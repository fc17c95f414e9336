# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Every setting of generation, declared once: its values, default and meaning, and what it depends on or excludes.

Here stand those of every generation; what only some strategies know, and name in their `takes`, is declared in
`strategy_declarations`. The configuration, its checks, the strategies, the flags of the scripts and
docs/GENERATION.md read `SETTINGS`, which holds both. A new setting is one entry and the code that acts on it.
"""

from typing import TYPE_CHECKING

from critic_gpt.generation.strategy_declarations import OF_STRATEGIES
from critic_gpt.generation.values import NO_OR_SOME_IDS, TOKEN_IDS, Clash, Setting, number, one_of, switch, whole


if TYPE_CHECKING:
    from critic_gpt.generation.strategies.base import Strategy  # which imports this module


# Strategies by their value of `remasking`. `register_strategy` adds to it.
STRATEGIES: dict[str, "type[Strategy]"] = {}


def remasking_names() -> tuple[str, ...]:
    """The values of `remasking` at present."""
    return ("auto", *STRATEGIES)


# What is read anew between passes over the whole text, all else being kept.
CACHES = ("prefix", "dual")
# How many answers are right: chooses among families of defaults (`Strategy.takes` and `Strategy.takes_for_many`).
ANSWERS = ("one", "many")
_TEXT_AND_STEPS = (
    Setting(
        "max_new_tokens",
        whole(1),
        "length of what is generated, for prompts without [MASK]",
        "How many [MASK] tokens are added where the input holds none.",
    ),
    Setting(
        "seed_placement",
        one_of(("prefix", "random")),
        "where a prompt without [MASK] stands in it",
        'Where the given tokens stand among those masks: before them, or with `"random"` as one block at a random '
        "offset per row; every offset is equally likely.",
        default="prefix",
    ),
    Setting(
        "num_steps",
        whole(1),
        "denoising steps",
        'Number of denoising steps; each is one forward pass of the trunk, two under `"critic_full"` and '
        '`"token_critic"` (the last needs no second). `polish_steps` and the corrections of `"proseco"` come on top.',
        default=64,
    ),
    Setting(
        "block_length",
        whole(1),
        "generate so many tokens at a time, from left to right",
        "Generates the text in blocks of so many of the tokens that may change, counted from the left, one after the "
        "other; `num_steps` and `polish_steps` are spread over them, and all else holds of each block. The text may "
        "then be longer than the model, which sees the block within as much of the text as it takes; and it ends with "
        "the block in which an EOS is generated, where there is a `pad_token_id`.",
        default_words="all at once",
    ),
    Setting(
        "cache_implementation",
        one_of(CACHES),
        "keep keys and values between passes over the whole: of all but the block, or of all before it",
        'Which keys and values are kept from one pass to the next: `"dual"`, those of all but the block; `"prefix"`, '
        "those of all before it. The first pass of each block sees the whole text, those that follow only the rest, "
        "beside what is kept, which is an approximation once a token has changed.",
        default_words="none",
    ),
    Setting(
        "cache_refresh_interval",
        whole(1),
        "passes of a block from one over the whole text to the next",
        "How many passes of a block there are from one that sees the whole text to the next; 1 keeps nothing.",
        default_words="the first pass of each block alone sees it all",
    ),
    Setting(
        "answers",
        one_of(ANSWERS),
        "how many answers are right, which chooses the defaults of the other settings",
        'What the defaults of the other settings are for: `"one"`, where one answer is right, as in Sudoku: the worst '
        'tokens are re-masked, which seeks the likeliest answer; or `"many"`, where many are right, as in text: '
        "chance decides by weights, which keeps variety. Training writes it for the task "
        "(docs/WHICH_SETTINGS.md). What is set beside it counts.",
        default="one",
    ),
    Setting(
        "remasking",
        one_of(remasking_names),
        "strategy: who decides what is re-masked",
        'Who decides which tokens are re-masked. `"critic"` (one pass per step: the verdict on the visible tokens '
        'comes with the predictions for the masks), `"none"`, or the strategies that fill every mask and then re-mask '
        'a share: `"critic_full"` (two passes per step), `"external"` (a `remasking_model`), `"confidence"`, '
        '`"random"`; or `"multinomial"`, which draws all that may change anew at each step, masked or not, and is '
        'meant for models trained with `correction_alpha`; or `"backtrack"`, for what has one right answer (one '
        "pass per step: reveals what is sure, and where the critic does not accept the whole, returns to the token "
        "that had the strongest rival when it was revealed, and tries that rival); or the methods of others: "
        '`"prism"`, `"token_critic"` (both need a critic), `"remdm_cap"`, `"remdm_rescale"`, `"remdm_conf"`, '
        '`"remdm_loop"`, `"p2"`, `"proseco"` (needs `correction_alpha`); or the name of a strategy of your own '
        '(`register_strategy`). `"auto"`: external if given, else a trained critic, else confidence.',
        default="auto",
    ),
)
_DRAWS_AND_RESULTS = (
    Setting(
        "num_candidates",
        whole(1),
        "generate so many per row, keep the one with the fewest expected errors",
        "Generates so many candidates for each row and returns the one with the fewest expected errors. Needs a "
        "trained critic.",
        default=1,
    ),
    Setting(
        "temperature",
        number("[0, inf)"),
        "temperature of the draw; 0 takes the likeliest token",
        "Divides the logits; 0 takes the likeliest token.",
        default=1.0,
    ),
    Setting(
        "temperature_end",
        number("(0, inf)"),
        "temperature once all is visible: from `temperature` to it in proportion to the visible share",
        "Of what may change the share that is visible, s, moves the temperature of a step linearly: "
        "`(1 - s) * temperature + s * temperature_end`.",
        default_words="`temperature`",
        clash=Clash(
            "temperature",
            lambda mine, other: other == 0,
            "`temperature_end` must be left out at `temperature={other}`, which takes the likeliest token throughout, "
            "got {mine}: raise the temperature, or leave it out.",
        ),
    ),
    Setting("top_k", whole(1), "draw among so many likeliest tokens only"),
    Setting("top_p", number("(0, 1]"), "draw among the likeliest tokens of this total probability"),
    Setting(
        "return_error_probabilities",
        switch(),
        "judge the finished text by the critic, in one more pass",
        "Judge the finished sequences, in one more pass that is reported as `scoring_passes`. Needs a trained critic.",
        default=True,
    ),
    Setting("return_history", switch(), "return every step", default=False, is_flag=False),
    Setting(
        "return_dict_in_generate",
        switch(),
        "return all results, not the sequences alone",
        default=True,
        is_flag=False,
    ),
    Setting("mask_token_id", whole(), "id of [MASK]", default_words="that of the model's configuration"),
    Setting("pad_token_id", whole(), "id of padding", default_words="that of the model's configuration"),
    Setting(
        "suppressed_token_ids",
        NO_OR_SOME_IDS,
        "ids that are never drawn, beside [MASK] and padding",
        "Ids that are never drawn, beside [MASK], padding and the rows of an embedding that is larger than its "
        "vocabulary: special tokens such as [UNK] and [CLS].",
        default_words="those of the model's configuration",
    ),
    Setting(
        "bos_token_id",
        whole(),
        "id of the first token, kept for other tools",
        "Kept for other tools; nothing begins with it unless it is given.",
        default_words="that of the model's configuration",
    ),
    Setting(
        "eos_token_id",
        TOKEN_IDS,
        "what follows such a generated token is cut",
        "What follows a generated EOS is cut (replaced by padding) where there is a `pad_token_id`.",
        default_words="that of the model's configuration",
    ),
)
# By name. A strategy from outside may add its own.
SETTINGS: dict[str, Setting] = {
    setting.name: setting for setting in (*_TEXT_AND_STEPS, *OF_STRATEGIES, *_DRAWS_AND_RESULTS)
}


def strategy_settings() -> list[str]:
    """The names of those that mean something to some strategies only."""
    return [name for name, setting in SETTINGS.items() if setting.of_strategies]
