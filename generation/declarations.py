# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Every setting of generation, declared once: its values, default and meaning, and what it depends on or excludes.

The configuration, its checks, the strategies, the flags of the scripts and docs/GENERATION.md read `SETTINGS`. A new
setting is one entry here and the code that acts on it; what only some strategies know is named there in `takes`.
"""

import functools

from critic_gpt.diffusion.names import REMASK_SELECTION, SCHEDULES
from critic_gpt.generation.values import (
    COUNT_OR_SHARE,
    NO_OR_SOME_IDS,
    SCHEDULE,
    TOKEN_IDS,
    Clash,
    Condition,
    Setting,
    number,
    one_of,
    switch,
    truth,
    whole,
)


# Orders of unmasking that themselves decide how many tokens a step reveals.
ADAPTIVE_UNMASKING = ("entropy_bound", "confidence_threshold")
UNMASKING = ("confidence", "margin", "entropy", "random", "left_to_right", *ADAPTIVE_UNMASKING)
# Strategies by their value of `remasking`. `register_strategy` adds to it.
STRATEGIES: dict[str, type] = {}


def remasking_names() -> tuple[str, ...]:
    """The values of `remasking` at present."""
    return ("auto", *STRATEGIES)


_of_strategies = functools.partial(Setting, of_strategies=True)


_ANOTHER_ORDER = "for another order of unmasking"
# What is read anew between passes over the whole text, all else being kept.
CACHES = ("prefix", "dual")
# How many answers are right: chooses among families of defaults (`Strategy.takes` and `Strategy.takes_for_many`).
ANSWERS = ("one", "many")
_DECLARED = (
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
    _of_strategies(
        "unmasking",
        one_of(UNMASKING),
        "order in which masks are revealed",
        'Which masks are revealed first: `"confidence"`, `"margin"`, `"entropy"`, `"random"` or `"left_to_right"`, as '
        'many as the `schedule` says; or an order that itself decides how many: `"entropy_bound"` or '
        '`"confidence_threshold"` (`"backtrack"` takes no other than these two). Such an order ends before '
        "`num_steps` where nothing is re-masked, and in the last step reveals what is left, with a warning (under "
        '`"backtrack"` more in each step as the end comes near).',
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
    _of_strategies(
        "schedule",
        SCHEDULE,
        f"masks over the steps: {', '.join(SCHEDULES)}, a number or one ratio per step, as in 0.9,0.5,0.1",
        'Share of the canvas that is masked over the steps: `"linear"`, `"quadratic"` (reveals early), `"root"` '
        '(reveals early, and leaves some masks for the last steps), `"cosine"`, a number a above 0 '
        '(`1 - progress ** a`: 1 is linear, 0.6 is `"root"`), a list with one ratio per step or a function of '
        "progress. A function cannot be saved.",
        condition=Condition(
            "unmasking",
            lambda value: value not in ADAPTIVE_UNMASKING,
            "beside an `unmasking` that itself decides how many tokens a step reveals",
            "choose another order of unmasking",
        ),
    ),
    _of_strategies(
        "entropy_bound",
        number("[0, inf)"),
        "nats of entropy that unmasking=entropy_bound takes on per step",
        "Nats: a step reveals masks in ascending order of entropy as long as the sum of all their entropies but the "
        "largest stays within.",
        condition=Condition(
            "unmasking",
            lambda value: value == "entropy_bound",
            _ANOTHER_ORDER,
            'set `unmasking="entropy_bound"`',
        ),
    ),
    _of_strategies(
        "confidence_threshold",
        number("[0, 1]"),
        "probability above which unmasking=confidence_threshold reveals a token",
        "A step reveals every mask whose token, as drawn, has a probability above it, and one mask at least.",
        condition=Condition(
            "unmasking",
            lambda value: value == "confidence_threshold",
            _ANOTHER_ORDER,
            'set `unmasking="confidence_threshold"`',
        ),
    ),
    _of_strategies(
        "token_draws",
        one_of(("independent", "joint")),
        "draw the tokens of one pass each by itself, or in the light of each other",
        'How the tokens of one pass are drawn: `"independent"`, each by itself, or `"joint"`, one after the other, '
        'each in the light of those before, by a joint head. The latter is the default of `"critic"` where the model '
        "has a trained joint head.",
        harmless="independent",
    ),
    _of_strategies(
        "remask_per_step",
        COUNT_OR_SHARE,
        "tokens re-masked per step, or as in 0.2 a share of the masks",
        "How many tokens a one-pass step re-masks; a float in (0, 1) is a share of the masks that are there (of a "
        "draft without any, of its tokens), rounded, one token at least.",
    ),
    _of_strategies(
        "remask_by",
        one_of(("alternative", "error", "likelihood")),
        "rank tokens by P(wrong), by how likely another one is right instead, or by how unlikely they are",
        'What the critic\'s strategy ranks tokens by: `"error"`, P(wrong); or `"alternative"`, the odds '
        "`P q / (1 - P)` that the language model's best other token is right rather than the present one: P is "
        "P(wrong), q the other one's probability given that the present one is wrong. Where nothing better is known, "
        'an uncertain token stays. Or `"likelihood"`: the weight `c ** -remask_exponent`, where c is the language '
        "model's probability of the token that stands there, in the same pass; no critic takes part in that.",
    ),
    _of_strategies(
        "remask_exponent",
        number("[0, inf)"),
        "exponent g of remask_by=likelihood: weight c ** -g",
        'g of the weight `c ** -g`: with `remask_selection="gumbel"` and tokens drawn at the temperature 1 / r the '
        "law p ** (r + g) is kept where c is the probability of each token given all others; 0 lets chance alone "
        "choose.",
        harmless=1.0,
        condition=Condition(
            "remask_by",
            lambda value: value == "likelihood",
            "where tokens are not ranked by the language model's probability",
            'set `remask_by="likelihood"`',
        ),
    ),
    _of_strategies(
        "remasked_first",
        truth(),
        "reveal what was re-masked first in the next step",
        "Whether the next step reveals the tokens that were re-masked before all other masks, so that each is drawn "
        "anew in the light of what it was judged by; the others by `unmasking`.",
        harmless=False,
        condition=Condition(
            "unmasking",
            lambda value: value not in ADAPTIVE_UNMASKING,
            "beside an `unmasking` that itself decides which tokens a step reveals",
            "choose another order of unmasking",
        ),
    ),
    _of_strategies(
        "remask_floor",
        number("[0, 1)"),
        "never re-mask a token whose P(wrong) is not above it",
        "Of the tokens that `remask_per_step` asks for, those whose P(wrong) is not above it are left alone, so that "
        "nothing is re-masked where nothing seems wrong. 0 re-masks the full number.",
        default_words="0.1 or, with a table of trajectories, twice the share of wrong tokens there, if that is more "
        "(0.5 at most)",
        harmless=0.0,
        condition=Condition(
            "correction",
            lambda value: value != "replace",
            "where wrong tokens are replaced at once, which takes better odds than even",
            'set `correction="auto"`',
        ),
    ),
    _of_strategies("start_ratio", number("[0, 1]"), "share re-masked at first, where a strategy fills all masks"),
    _of_strategies("end_ratio", number("[0, 1]"), "share re-masked at last, where a strategy fills all masks"),
    _of_strategies(
        "error_threshold",
        number("[0, 1]"),
        "re-mask every token with P(wrong) above it",
        "Instead of a number: re-masks every token with P(wrong) above it, in a one-pass step as many of them as the "
        "schedule leaves masked. A strategy that fills all masks stops a sequence early once nothing lies above.",
        clash=Clash(
            "remask_per_step",
            lambda mine, other: True,
            "`error_threshold` and `remask_per_step` exclude each other, got {mine} and {other}: give one of the two.",
        ),
    ),
    _of_strategies(
        "randomness_strength",
        number("[0, 1]"),
        "share of chance in the choice of what is re-masked",
        "r: tokens are ranked for re-masking by `(1 - r) * score + r * noise`, the score being P(wrong) or that of "
        "`remask_by`.",
        harmless=0.0,
    ),
    _of_strategies(
        "remask_selection",
        one_of(REMASK_SELECTION),
        "the worst tokens, or a weighted draw among them",
        'Which tokens are re-masked: `"worst"`, those with the highest P(wrong), or `"gumbel"`, a weighted sample '
        "without replacement, proportional to `P(wrong) ** (1 / selection_temperature)`.",
        harmless="worst",
        clash=Clash(
            "randomness_strength",
            lambda mine, other: mine == "gumbel" and bool(other),
            '`randomness_strength` must be 0 beside `remask_selection="gumbel"`, which draws by chance already, got '
            "{other}: set `selection_temperature` instead, or drop one of the two.",
        ),
    ),
    _of_strategies(
        "selection_temperature",
        number("(0, inf)"),
        "temperature of that weighted draw",
        "Of the draw of `remask_selection`.",
        harmless=1.0,
        condition=Condition(
            "remask_selection",
            lambda value: value == "gumbel",
            "where the worst tokens are taken",
            'set `remask_selection="gumbel"`',
        ),
    ),
    _of_strategies(
        "correction",
        one_of(("auto", "remask", "replace")),
        "re-mask wrong tokens, or draw others in their place at once",
        'What the critic does with a token that it holds to be wrong: `"remask"`; `"replace"`, the language model '
        "draws another one in the same pass, if the odds by `remask_by` are better than even or P(wrong) is above "
        '`error_threshold`; `"auto"`: re-masks, and replaces in the last step, where a mask could no longer be '
        "filled.",
    ),
    _of_strategies(
        "polish_steps",
        whole(0),
        "up to so many further steps, as long as anything seems wrong",
        "Up to so many further steps of the critic once the schedule has revealed all, each one pass, as long as "
        "anything lies above `polish_threshold`.",
        harmless=0,
    ),
    _of_strategies(
        "polish_threshold",
        number("[0, 1]"),
        "P(wrong) above which polishing corrects a token",
        "P(wrong) above which a token is corrected in those steps.",
        default_words="`error_threshold` where given, else 0.5",
        condition=Condition("polish_steps", bool, "without steps of polishing", "set `polish_steps`"),
    ),
    _of_strategies(
        "stop_when_expected_errors_below",
        number("(0, inf)"),
        "end a sequence once fewer wrong tokens than that are expected in it",
        "Ends a sequence as soon as fewer wrong tokens than that are expected in it, its masks filled; it leaves the "
        'batch, and costs nothing more. `"backtrack"` counts only what the critic saw complete.',
    ),
    _of_strategies(
        "revision_threshold",
        number("[0, 1]"),
        "P(wrong) above which a token of a finished block may change again with the next one",
        "Of the tokens of finished blocks those whose P(wrong), in the first pass of a block, is above it may change "
        "once more with that block, the worst first and at most as many as it holds; by default none does.",
    ),
    _of_strategies("remdm_eta", number("[0, 1]"), "how much ReMDM re-masks", "Eta of ReMDM."),
    _of_strategies(
        "loop_start",
        number("(0, 1)"),
        "share of the steps after which remdm_loop starts to re-mask",
        clash=Clash(
            "loop_end",
            lambda mine, other: mine >= other,
            "`loop_start` must lie below `loop_end`, got {mine} and {other}: exchange them, or leave them out.",
            replaces=False,
        ),
    ),
    _of_strategies("loop_end", number("(0, 1)"), "share of the steps after which remdm_loop stops re-masking"),
    _of_strategies("loop_visible", number("(0, 1)"), "share of visible tokens that remdm_loop holds in between"),
    _of_strategies("corrector_interval", whole(1), "steps between the corrections of proseco"),
    _of_strategies("corrector_steps", whole(1), "passes per correction of proseco"),
    _of_strategies(
        "corrector_temperature",
        number("[0, inf)"),
        "temperature of the corrector of proseco; 0 takes the likeliest token",
    ),
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
SETTINGS: dict[str, Setting] = {setting.name: setting for setting in _DECLARED}


def strategy_settings() -> list[str]:
    """The names of those that mean something to some strategies only."""
    return [name for name, setting in SETTINGS.items() if setting.of_strategies]
