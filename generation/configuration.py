# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Configuration of generation: how a masked diffusion model with a critic fills its masks."""

import difflib
import math
from collections.abc import Callable
from typing import Any

from transformers.generation import GenerationConfig
from transformers.utils import logging

from critic_gpt.diffusion.schedules import SCHEDULES, is_exponent
from critic_gpt.diffusion.selection import REMASK_SELECTION
from critic_gpt.generation.strategies.base import ADAPTIVE_UNMASKING
from critic_gpt.generation.strategies.registry import STRATEGIES


logger = logging.get_logger(__name__)

UNMASKING = ("confidence", "margin", "entropy", "random", "left_to_right", *ADAPTIVE_UNMASKING)
CORRECTION = ("auto", "remask", "replace")
REMASK_BY = ("alternative", "error")
TOKEN_DRAWS = ("independent", "joint")
REMASKING = ("auto", *STRATEGIES)
SEED_PLACEMENT = ("prefix", "random")
# Two ways to say the same: what a call says of one takes the place of what a stored configuration says of the other.
EXCLUSIVE = (("error_threshold", "remask_per_step"), ("remask_selection", "randomness_strength"))
# Arguments of Transformers' own `generate`, and what does the same here.
ELSEWHERE = {
    "do_sample": "`temperature=0` takes the likeliest token.",
    "max_length": "`max_new_tokens` says how many tokens are added.",
    "num_beams": "`num_candidates` keeps the best of several.",
    "num_return_sequences": "repeat the rows of `input_ids`, or keep the best of `num_candidates`.",
    "min_p": "put a `MinPLogitsWarper` into `logits_processor`.",
    "typical_p": "put a `TypicalLogitsWarper` into `logits_processor`.",
    "repetition_penalty": "put a `RepetitionPenaltyLogitsProcessor` into `logits_processor`.",
    "suppress_tokens": "put a `SuppressTokensLogitsProcessor` into `logits_processor`.",
    "bad_words_ids": "put a `NoBadWordsLogitsProcessor` into `logits_processor`.",
    "max_time": "put a `MaxTimeCriteria` into `stopping_criteria`.",
    "stop_strings": "put a `StopStringCriteria` into `stopping_criteria`.",
}


class CriticGPTGenerationConfig(GenerationConfig):
    """
    How a masked diffusion model generates. A field left at `None` takes the default named here.

    Args:
        max_new_tokens (`int`, *optional*): How many [MASK] tokens are added where the input holds none.
        seed_placement (`str`, *optional*, defaults to `"prefix"`): Where the given tokens stand among those masks:
            before them, or with `"random"` as one block at a random offset, one a row; every offset is equally likely.
        num_steps (`int`, *optional*, defaults to 64): Number of denoising steps; each is one forward pass of the
            trunk, two under `"critic_full"` and `"token_critic"` (the last needs no second). `polish_steps` and the
            corrections of `"proseco"` come on top.
        unmasking (`str`, *optional*, defaults to `"confidence"`): Which masks are revealed first: `"confidence"`,
            `"margin"`, `"entropy"`, `"random"` (the default under `"prism"` and `"proseco"`) or `"left_to_right"`, as
            many as the `schedule` says; or an order that itself decides how many: `"entropy_bound"` or
            `"confidence_threshold"` (the default under `"backtrack"`, which takes no other than these two). It ends
            before `num_steps` where nothing is masked again, and in the last step reveals what is left, with a
            warning (under `"backtrack"` more in each step as the end comes near). One-pass strategies only.
        entropy_bound (`float`, *optional*, defaults to 0.1): Nats, at least 0: a step reveals masks in ascending order
            of entropy as long as the sum of all their entropies but the largest stays within.
        confidence_threshold (`float`, *optional*, defaults to 0.9): A step reveals every mask whose token, as drawn,
            has a probability above it, and one mask at least. 0.97 under `"backtrack"`.
        token_draws (`str`, *optional*): How the tokens of one pass are drawn: `"independent"`, each by itself, or
            `"joint"`, one after the other, each in the light of those before, by a joint head. The latter is the
            default of `"critic"` where the model has a trained joint head. One-pass strategies only.
        remasking (`str`, *optional*, defaults to `"auto"`): Who decides which tokens are masked again. `"critic"` (one
            pass a step: the verdict on the visible tokens comes with the predictions for the masks), `"none"`, or the
            strategies that fill every mask and then mask a share again: `"critic_full"` (two passes a step),
            `"external"` (a `remasking_model`), `"confidence"`, `"random"`; or `"multinomial"`, which draws all that
            may change anew at each step, masked or not, and is meant for models trained with `correction_alpha`; or
            `"backtrack"`, for what has one right answer (one pass a step: reveals what is sure, and where the critic
            does not accept the whole, goes back to the token with the best odds for another); or the methods of
            others: `"prism"`, `"token_critic"` (both need a critic), `"remdm_cap"`, `"remdm_rescale"`, `"remdm_conf"`,
            `"remdm_loop"`, `"p2"`, `"proseco"` (needs `correction_alpha`).
            `"auto"`: external if given, else a trained critic, else confidence.
        schedule (`str`, `float`, `list[float]` or callable, *optional*): Share of the canvas that is masked over the
            steps: `"linear"` (the default of most strategies), `"quadratic"` (reveals early), `"root"` (reveals early,
            and leaves some masks for the last steps; the default under `"critic"`), `"cosine"` (the default under
            `"token_critic"`), a number a above 0 (`1 - progress ** a`: 1 is linear, 0.6 is `"root"`), a list with one
            ratio a step or a function of progress. A function cannot be saved.
        remask_per_step (`int` or `float`, *optional*, defaults to 0.2): How many tokens a one-pass step masks again;
            a float in (0, 1) is a share of the masks that are there (of a draft without any, of its tokens), rounded,
            one token at least. 4 under `"prism"`.
        remask_by (`str`, *optional*, defaults to `"alternative"`): By what the critic's strategy ranks tokens:
            `"error"`, P(wrong); or `"alternative"`, the odds `P q / (1 - P)` that the language model's best other
            token is right rather than the present one: P is P(wrong), q the other one's probability given that the
            present one is wrong. Where nothing better is known, an uncertain token stays.
        remask_floor (`float`, *optional*): In [0, 1): of the tokens that `remask_per_step` asks for, those whose
            P(wrong) is not above it are left alone, so that nothing is masked again where nothing seems wrong. By
            default 0.1 or, with a table of trajectories, twice the share of wrong tokens there, if that is more (0.5
            at most). 0 masks the full number again. `"critic"` only.
        error_threshold (`float`, *optional*): Instead of a number: masks again every token with P(wrong) above it,
            in a one-pass step as many of them as the schedule leaves masked. A strategy that fills all masks stops a
            sequence early once nothing lies above.
        correction (`str`, *optional*, defaults to `"auto"`): What the critic does with a token that it holds to be
            wrong: `"remask"`; `"replace"`, the language model draws another one in the same pass, if the odds by
            `remask_by` are better than even or P(wrong) is above `error_threshold`; `"auto"`: masks again, and
            replaces in the last step, where a mask could no longer be filled.
        polish_steps (`int`, *optional*, defaults to 0): Up to so many further steps of the critic once the schedule
            has revealed all, each one pass, as long as anything lies above `polish_threshold`.
        polish_threshold (`float`, *optional*): P(wrong) above which a token is corrected there; `error_threshold`
            where given, else 0.5.
        stop_when_expected_errors_below (`float`, *optional*): Ends a sequence as soon as fewer wrong tokens than that
            are expected in it, its masks filled; it leaves the batch, and costs nothing more. For `"critic"`, and for
            `"backtrack"`, where it is 0.1 by default and counts only what the critic saw complete.
        num_candidates (`int`, *optional*, defaults to 1): Generates so many candidates for each row and returns the
            one with the fewest expected errors. Needs a trained critic.
        start_ratio, end_ratio (`float`, *optional*, default to 0.95 and 0.05): Ends of the schedule of the strategies
            that fill all masks.
        randomness_strength (`float`, *optional*, defaults to 0.0): r in [0, 1]: tokens are ranked for re-masking by
            `(1 - r) * score + r * noise`, the score being P(wrong) or that of `remask_by`. Excludes
            `remask_selection="gumbel"`.
        remask_selection (`str`, *optional*, defaults to `"worst"`): Which tokens are masked again: `"worst"`, those
            with the highest P(wrong), or `"gumbel"`, a weighted sample without replacement, proportional to
            `P(wrong) ** (1 / selection_temperature)`.
        selection_temperature (`float`, *optional*, defaults to 1.0): Above 0; see there.
        remdm_eta (`float`, *optional*, defaults to 0.04): Eta of ReMDM, in [0, 1].
        loop_start, loop_end, loop_visible (`float`, *optional*, default to 0.45, 0.95 and 0.9): `"remdm_loop"` holds
            the share `loop_visible` of visible tokens between these two shares of the steps.
        corrector_interval, corrector_steps (`int`, *optional*, default to 4 and 1): `"proseco"` corrects after every
            so many steps, in so many passes.
        corrector_temperature (`float`, *optional*, defaults to 0.0): Of the tokens of its corrector; 0 takes the
            likeliest.
        temperature (`float`, *optional*, defaults to 1.0): Divides the logits; 0 takes the likeliest token.
        top_k (`int`, *optional*): Draw among the `top_k` likeliest tokens only.
        top_p (`float`, *optional*): Draw among the likeliest tokens that make up `top_p` of the probability.
        return_error_probabilities (`bool`, *optional*, defaults to `True`): Judge the finished sequences, in one more
            pass that is reported as `scoring_passes`. Needs a trained critic.
        return_history (`bool`, *optional*, defaults to `False`): Return every step.
        return_dict_in_generate (`bool`, *optional*, defaults to `True`): `False` returns the sequences alone.
        mask_token_id, pad_token_id, bos_token_id, eos_token_id (`int`, *optional*): Taken from the model's
            configuration by default. What follows a generated EOS is cut (replaced by padding) where there is a
            `pad_token_id`. `bos_token_id` is kept for other tools, and nothing begins with it unless it is given.
    """

    _FIELDS = (
        "max_new_tokens",
        "seed_placement",
        "num_steps",
        "unmasking",
        "entropy_bound",
        "confidence_threshold",
        "token_draws",
        "remasking",
        "schedule",
        "remask_per_step",
        "remask_by",
        "remask_floor",
        "error_threshold",
        "correction",
        "polish_steps",
        "polish_threshold",
        "stop_when_expected_errors_below",
        "num_candidates",
        "start_ratio",
        "end_ratio",
        "randomness_strength",
        "remask_selection",
        "selection_temperature",
        "remdm_eta",
        "loop_start",
        "loop_end",
        "loop_visible",
        "corrector_interval",
        "corrector_steps",
        "corrector_temperature",
        "temperature",
        "top_k",
        "top_p",
        "return_error_probabilities",
        "return_history",
        "return_dict_in_generate",
        "mask_token_id",
        "pad_token_id",
        "bos_token_id",
        "eos_token_id",
    )

    def __init__(self, **kwargs):
        # The parent's constructor is left out on purpose: most of its fields mean nothing here.
        for name in self._FIELDS:
            setattr(self, name, kwargs.pop(name, None))
        self._commit_hash = kwargs.pop("_commit_hash", None)
        self._from_model_config = kwargs.pop("_from_model_config", None)
        self.transformers_version = kwargs.pop("transformers_version", None)
        self.refuse_unknown(kwargs)
        self.validate()

    @classmethod
    def refuse_unknown(cls, kwargs: dict, also: tuple[str, ...] = ()) -> None:
        """Raises a `ValueError` that names the nearest of our fields and of what is known `also`."""
        for name in kwargs:
            raise ValueError(cls._unknown(name, kwargs[name], also))

    @classmethod
    def _unknown(cls, name: str, value: Any, also: tuple[str, ...] = ()) -> str:
        got = " ".join(repr(value).split())[:80]  # of a tensor several lines
        if name in ELSEWHERE:
            return f"`{name}` is not an argument of generation, got {got}: {ELSEWHERE[name]}"
        near = difflib.get_close_matches(name, (*cls._FIELDS, *also), n=1)
        hint = f"did you mean `{near[0]}`?" if near else f"known are {', '.join(cls._FIELDS)}."
        return f"`{name}` is not an argument of generation, got {got}: {hint}"

    @classmethod
    def from_dict(cls, config_dict: dict[str, Any], **kwargs) -> "CriticGPTGenerationConfig":
        """As the parent's; what a stored file holds beyond our fields is named in a warning and left out."""
        known = {}
        for name, value in config_dict.items():
            if name in cls._FIELDS or name in ("_commit_hash", "_from_model_config", "transformers_version"):
                known[name] = value
            elif value is not None:
                logger.warning(cls._unknown(name, value))
        return super().from_dict(known, **kwargs)

    def to_dict(self) -> dict[str, Any]:
        """As the parent's; a schedule that is a function is written by its name, to be looked at only."""
        output = super().to_dict()
        if callable(output["schedule"]):
            output["schedule"] = repr(output["schedule"])
        return output

    @staticmethod
    def _get_default_generation_params() -> dict[str, Any]:
        # What depends on the strategy stands there.
        return {
            "seed_placement": "prefix",
            "num_steps": 64,
            "remasking": "auto",
            "num_candidates": 1,
            "temperature": 1.0,
            "return_error_probabilities": True,
            "return_history": False,
            "return_dict_in_generate": True,
        }

    def validate(self, strict: bool = False, **unused):
        """
        Checks every field that is set; raises a `ValueError` that names field, rule and value. `strict` is what the
        parent asks for before it saves.
        """
        if strict and callable(self.schedule):
            raise ValueError(
                f"`schedule` must be a name or a list to be saved, got {self.schedule!r}: write a list of ratios, or "
                "give the function to each call."
            )
        names = {
            "unmasking": UNMASKING,
            "remasking": REMASKING,
            "seed_placement": SEED_PLACEMENT,
            "remask_selection": REMASK_SELECTION,
            "correction": CORRECTION,
            "remask_by": REMASK_BY,
            "token_draws": TOKEN_DRAWS,
        }
        for name, known in names.items():
            _check(self, name, lambda v, known=known: v in known, f"one of {', '.join(known)}")
        for name in (
            "max_new_tokens",
            "num_steps",
            "top_k",
            "num_candidates",
            "corrector_interval",
            "corrector_steps",
        ):
            _check(self, name, lambda v: _is_int(v) and v >= 1, "a whole number of at least 1")
        _check(self, "polish_steps", lambda v: _is_int(v) and v >= 0, "a whole number of at least 0")
        _check(
            self,
            "remask_per_step",
            lambda v: (_is_int(v) and v >= 0) or (isinstance(v, float) and 0.0 < v < 1.0),
            "a whole number of at least 0 or a share in (0, 1)",
        )
        for name in (
            "error_threshold",
            "polish_threshold",
            "confidence_threshold",
            "start_ratio",
            "end_ratio",
            "randomness_strength",
            "remdm_eta",
        ):
            _check(self, name, lambda v: _is_number(v) and 0.0 <= v <= 1.0, "in [0, 1]")
        _check(self, "remask_floor", lambda v: _is_number(v) and 0.0 <= v < 1.0, "in [0, 1)")
        _check(self, "top_p", lambda v: _is_number(v) and 0.0 < v <= 1.0, "in (0, 1]")
        for name in ("loop_start", "loop_end", "loop_visible"):
            _check(self, name, lambda v: _is_number(v) and 0.0 < v < 1.0, "in (0, 1)")
        for name in ("selection_temperature", "stop_when_expected_errors_below"):
            _check(self, name, lambda v: _is_number(v) and 0.0 < v < math.inf, "above 0 and finite")
        for name in ("temperature", "corrector_temperature", "entropy_bound"):
            _check(self, name, lambda v: _is_number(v) and 0.0 <= v < math.inf, "at least 0 and finite")
        _check(
            self,
            "schedule",
            lambda v: callable(v) or isinstance(v, (list, tuple)) or v in SCHEDULES or is_exponent(v),
            f"{', '.join(SCHEDULES)}, a number above 0, a list of ratios or a function",
        )
        for name in ("mask_token_id", "pad_token_id", "bos_token_id"):
            _check(self, name, _is_int, "a whole number")
        _check(
            self,
            "eos_token_id",
            lambda v: _is_int(v) or (isinstance(v, (list, tuple)) and len(v) > 0 and all(map(_is_int, v))),
            "a whole number or a list of them",
        )
        self._check_together()

    def _check_together(self) -> None:
        """Refuses fields that contradict each other, each allowed by itself."""
        if self.error_threshold is not None and self.remask_per_step is not None:
            raise ValueError(
                f"`error_threshold` and `remask_per_step` exclude each other, got {self.error_threshold} and "
                f"{self.remask_per_step}: give one of the two."
            )
        if None not in (self.loop_start, self.loop_end) and self.loop_start >= self.loop_end:
            raise ValueError(
                f"`loop_start` must lie below `loop_end`, got {self.loop_start} and {self.loop_end}: exchange them, "
                "or leave them out."
            )
        if self.remask_selection == "gumbel" and self.randomness_strength:
            raise ValueError(
                '`randomness_strength` must be 0 beside `remask_selection="gumbel"`, which draws by chance already, '
                f"got {self.randomness_strength}: set `selection_temperature` instead, or drop one of the two."
            )

    def get_generation_mode(self, *args, **kwargs):
        raise NotImplementedError("`get_generation_mode` has no meaning for masked diffusion.")

    @classmethod
    def from_model_config(cls, *args, **kwargs):
        # Transformers then builds the plain configuration, which is what we want.
        raise NotImplementedError("`from_model_config` has no meaning for masked diffusion.")


def _is_int(value) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _check(config: GenerationConfig, name: str, rule: Callable[[Any], bool], words: str) -> None:
    value = getattr(config, name)
    if value is not None and not rule(value):
        raise ValueError(f"`{name}` must be {words}, got {value!r}: correct it, or leave it out for the default.")


__all__ = ["CriticGPTGenerationConfig"]
