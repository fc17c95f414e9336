# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The settings that mean something to some strategies only: which masks a step reveals, and which tokens it corrects.

A strategy names those that it knows in its `takes`, with its own defaults. `declarations` joins them to the settings
of every generation.
"""

import functools

from critic_gpt.diffusion.names import REMASK_SELECTION, SCHEDULES
from critic_gpt.generation.values import (
    COUNT_OR_SHARE,
    SCHEDULE,
    Clash,
    Condition,
    Setting,
    number,
    one_of,
    truth,
    whole,
)


# Orders of unmasking that themselves decide how many tokens a step reveals.
ADAPTIVE_UNMASKING = ("entropy_bound", "confidence_threshold")
UNMASKING = ("confidence", "margin", "entropy", "random", "left_to_right", *ADAPTIVE_UNMASKING)

_ANOTHER_ORDER = "for another order of unmasking"
_of_strategies = functools.partial(Setting, of_strategies=True)
OF_STRATEGIES = (
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
        "tokens re-masked per step; as in 0.2 a share of the masks, or half of all tokens over all steps",
        "How many tokens a one-pass step re-masks; a float in (0, 1) is a share of the masks that are there (of a "
        'draft without any, of its tokens), rounded, one token at least; `"half"` is half of the tokens that may '
        "change, spread evenly over the steps.",
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
)
