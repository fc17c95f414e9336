# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Selection: which positions to reveal and to re-mask, and who decides (the precedence of scores).

Pure functions over tensors. Letters: B batch, T positions, V vocabulary. Scores: higher = more likely wrong =
re-masked first.
"""

import math
from typing import Any

import torch

from critic_gpt.diffusion.names import REMASK_SELECTION


def rank(scores: torch.Tensor, tie_break: torch.Tensor | None = None) -> torch.LongTensor:
    """Positions (B, T) by descending scores, equal ones by descending `tie_break`, then from left to right."""
    if tie_break is None:
        return scores.argsort(dim=-1, descending=True, stable=True)
    order = tie_break.argsort(dim=-1, descending=True, stable=True)
    return order.gather(-1, scores.gather(-1, order).argsort(dim=-1, descending=True, stable=True))


def select_worst(
    scores: torch.Tensor, eligible: torch.Tensor, count: torch.Tensor | int, tie_break: torch.Tensor | None = None
) -> torch.Tensor:
    """
    The `count` eligible positions of each row with the highest scores.

    Args:
        scores (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Higher is selected first, and NaN before
            any number.
        eligible (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Where selection is allowed.
        count (`torch.LongTensor` of shape `(batch_size,)` or `int`): How many; all eligible ones where there are
            fewer, none where it is negative.
        tie_break (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): Orders equal scores,
            higher first. Remaining ties go to the earlier position.

    Returns:
        `torch.BoolTensor` of shape `(batch_size, sequence_length)`.
    """
    ranking = rank(scores, tie_break)
    most = count[:, None] if isinstance(count, torch.Tensor) and count.dim() == 1 else count
    # The first `count` eligible ones of the ranking, whatever number stands at the others.
    ranked = eligible.gather(-1, ranking)
    chosen = ranked.cumsum(dim=-1).le(most).logical_and_(ranked)
    return torch.empty_like(eligible).scatter_(-1, ranking, chosen)


def gumbel_keys(scores: torch.Tensor, noise: torch.Tensor, temperature: float = 1.0) -> torch.Tensor:
    """
    Keys whose `k` largest are a weighted sample without replacement, as if one position after the other were drawn
    with probabilities proportional to `score ** (1 / temperature)` among those left (Gumbel top-k: Yellott 1977;
    Kool et al., "Stochastic Beams and Where to Find Them", 2019).

    Args:
        scores (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): P(wrong), at least 0. A score of 0 has
            the key -inf: it is drawn after all others only. NaN stays NaN.
        noise (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Uniform numbers in (0, 1).
        temperature (`float`, *optional*, defaults to 1.0): Above 0; near 0 the highest scores are taken, at large
            values all positions are equally likely.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, sequence_length)`: float32 at least.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32)).clamp(min=0.0)
    return scores.log() / temperature - (-noise.to(scores.dtype).log()).log()


def unlikelihood(probability: torch.Tensor, exponent: float, visible: torch.Tensor) -> torch.Tensor:
    """
    Logarithms of the weights `probability ** -exponent`, the largest of each row 0: the less likely a token, the more.

    One token of a row drawn by these weights, per unit of time at a rate in proportion, and drawn anew from p ** r
    given all others, leaves the law p ** (r + exponent), where `probability` is what p gives the token given all
    others (tests/diffusion/test_exact_chain.py).

    Args:
        probability (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Of the tokens that stand there.
        exponent (`float`): At least 0.
        visible (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): Where there are tokens; -inf elsewhere.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, sequence_length)`: float32 at least.
    """
    log_weight = settle(-exponent * probability.clamp(min=torch.finfo(probability.dtype).tiny).log())
    log_weight = log_weight.masked_fill(~visible, float("-inf"))
    return log_weight - log_weight.amax(dim=-1, keepdim=True).clamp(min=0.0)


def settle(scores: torch.Tensor) -> torch.Tensor:
    """
    Scores rounded to about six digits, so that no rounding error decides between positions of which the model says
    the same, as a rotary trunk does all over a canvas of [MASK]; results would then depend on the batch. Float32 at
    least comes out: float16 ends at 65504, below what a logit of 1 is scaled to.
    """
    scores = scores.to(torch.promote_types(scores.dtype, torch.float32))
    return scores.mul(2.0**20).round_().div_(2.0**20)


def entropy(probabilities: torch.Tensor) -> torch.Tensor:
    """Entropies (...) in nats of probabilities (..., V)."""
    return -torch.special.xlogy(probabilities, probabilities).sum(dim=-1)


def unmasking_order(
    probabilities: torch.Tensor | None,
    probability: torch.Tensor | None = None,
    unmasking: str = "confidence",
    noise: torch.Tensor | None = None,
) -> torch.Tensor:
    """
    How eagerly each masked position is revealed, higher first. Only what an order goes by has to be given.

    Args:
        probabilities (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`): The predictions, for
            `"margin"` and `"entropy"`.
        probability (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Those of the tokens drawn, for
            `"confidence"`.
        unmasking (`str`): `"confidence"` (probability of the token drawn, as in MaskGIT and LLaDA), `"margin"` (lead
            of the likeliest token over the second, Kim et al. 2025), `"entropy"` (lowest first), `"random"`,
            `"left_to_right"`.
        noise (`torch.FloatTensor` of shape `(batch_size, sequence_length)`): Uniform numbers for `"random"`; of
            `"left_to_right"` the shape alone counts.

    Returns:
        `torch.FloatTensor` of shape `(batch_size, sequence_length)`.
    """
    needed = {"confidence": probability, "margin": probabilities, "entropy": probabilities}.get(unmasking, noise)
    if needed is None:
        raise ValueError(f"`unmasking={unmasking!r}` needs what it goes by, got None: give it.")
    if unmasking == "confidence":
        return needed
    if unmasking == "margin":
        top = needed.topk(2, dim=-1).values
        return top[..., 0] - top[..., 1]
    if unmasking == "entropy":
        return -entropy(needed)
    if unmasking == "random":
        return needed
    if unmasking == "left_to_right":
        position = torch.arange(needed.shape[1], dtype=needed.dtype, device=needed.device)
        return -position.expand(needed.shape)
    raise ValueError(
        f"`unmasking` must be confidence, margin, entropy, random or left_to_right, got {unmasking!r}: choose one."
    )


REMASKING_PRECEDENCE = ("external", "critic", "confidence", "random")


def resolve_remasking(remasking: str, *, external: bool, critic: bool, confidence: bool = True) -> str:
    """
    The one place where the source of re-masking scores is decided: an external re-masking model before the critic,
    the critic before confidence, confidence before chance; a name other than `"auto"` overrides the order.

    Args:
        remasking (`str`): `"auto"` or the name of a strategy, returned as it is.
        external, critic, confidence (`bool`): Which scores are at hand.

    Returns:
        `str`: The strategy.
    """
    if remasking != "auto":
        return remasking
    at_hand = {"external": external, "critic": critic, "confidence": confidence, "random": True}
    return next(name for name in REMASKING_PRECEDENCE if at_hand[name])


def apply_remasking_step(
    input_ids: torch.Tensor,
    mask_token_id: int,
    num_remask: torch.Tensor | int | None = None,
    error_threshold: float | None = None,
    *,
    external_scores: torch.Tensor | None = None,
    critic_scores: torch.Tensor | None = None,
    confidence: torch.Tensor | None = None,
    remasking: str = "auto",
    protected_mask: torch.Tensor | None = None,
    attention_mask: torch.Tensor | None = None,
    randomness_strength: float = 0.0,
    noise: torch.Tensor | None = None,
    tie_break: torch.Tensor | None = None,
    remask_selection: str = "worst",
    selection_temperature: float = 1.0,
    selection_noise: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """
    Masks the tokens again that are most likely wrong. Pure: the same tensors in, the same tensors out.

    Eligible are tokens that are not [MASK], not protected and not padding. Of the scores given, `remasking="auto"`
    takes the first of: external, critic, confidence (as `1 - p`), chance.

    Args:
        input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Current tokens.
        mask_token_id (`int`): Id of [MASK].
        num_remask (`torch.LongTensor` of shape `(batch_size,)` or `int`, *optional*): How many tokens each row masks
            again: exactly so many, or all eligible ones where there are fewer. With `error_threshold` an upper limit.
        error_threshold (`float`, *optional*): Masks every eligible token whose score lies above it, in [0, 1].
        external_scores, critic_scores (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*):
            Higher = more likely wrong; P(wrong) in [0, 1] where a threshold or randomness is used.
        confidence (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): Probability of the
            current token.
        remasking (`str`, *optional*, defaults to `"auto"`): `"auto"`, `"external"`, `"critic"`, `"confidence"`,
            `"random"`.
        protected_mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`, *optional*): Never touched.
        attention_mask (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): 0 = padding.
        randomness_strength (`float`, *optional*, defaults to 0.0): r in [0, 1] of `(1 - r) * score + r * noise`.
        noise (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): Uniform numbers, needed where
            chance takes part.
        tie_break (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): Orders equal scores, such
            as the raw critic logits behind a table of 100 values.

    Returns:
        `tuple`: the tokens with [MASK] at the chosen positions, and the chosen positions (bool).
    """
    _check_selection(num_remask, error_threshold, randomness_strength, remask_selection, selection_temperature)
    source = resolve_remasking(
        remasking,
        external=external_scores is not None,
        critic=critic_scores is not None,
        confidence=confidence is not None,
    )
    scores: dict[str, Any] = {
        "external": external_scores,
        "critic": critic_scores,
        "confidence": None if confidence is None else 1.0 - confidence,
        "random": noise,
    }
    if source not in scores:
        raise ValueError(f"`remasking` must be auto or one of {', '.join(scores)}, got {source!r}: choose one.")
    argument = {"external": "external_scores", "critic": "critic_scores", "random": "noise"}.get(source, source)
    gumbel = remask_selection == "gumbel"
    needed = {argument: True, "noise": argument == "noise" or randomness_strength > 0, "selection_noise": gumbel}
    given: dict[str, Any] = {"selection_noise": selection_noise, "noise": noise, argument: scores[source]}
    for name, need in needed.items():
        if need and given[name] is None:
            raise ValueError(
                f"`{name}` must be given for `remasking={source!r}`, `randomness_strength={randomness_strength}` and "
                f"`remask_selection={remask_selection!r}`, got None: pass a (B, T) tensor."
            )
        if given[name] is not None:
            check_one_per_token(name, given[name], input_ids)
    eligible = input_ids != mask_token_id
    if protected_mask is not None:
        eligible = eligible & ~protected_mask.bool()
    if attention_mask is not None:
        eligible = eligible & attention_mask.bool()
    score = scores[source]
    if error_threshold is not None:
        # Not `score > error_threshold`: a broken score (NaN) must not pass for a safe one.
        eligible = eligible & ~(score <= error_threshold)
    if randomness_strength > 0:
        score = (1.0 - randomness_strength) * score + randomness_strength * given["noise"].to(score.dtype)
    if gumbel:
        # Keys are equal at scores of 0 only, between which nothing but chance may decide.
        score, tie_break = gumbel_keys(score, selection_noise, selection_temperature), selection_noise
    count = input_ids.shape[-1] if num_remask is None else num_remask
    chosen = select_worst(score, eligible, count, tie_break)
    return input_ids.masked_fill(chosen, mask_token_id), chosen


def check_one_per_token(name: str, values: torch.Tensor, input_ids: torch.Tensor) -> None:
    """Refuses what does not have the shape of `input_ids` (B, T), under the name it was given by."""
    if values.shape != input_ids.shape:
        raise ValueError(
            f"`{name}` must have the shape of `input_ids` {tuple(input_ids.shape)}, got {tuple(values.shape)}: give "
            "one number per token."
        )


def _check_selection(
    num_remask, error_threshold, randomness_strength, remask_selection, selection_temperature
) -> None:
    """Refuses settings of `apply_remasking_step` out of range, or that exclude each other."""
    if num_remask is None and error_threshold is None:
        raise ValueError("`num_remask` or `error_threshold` must be given, got neither: say how many or how bad.")
    if not 0.0 <= randomness_strength <= 1.0:
        raise ValueError(f"`randomness_strength` must be in [0, 1], got {randomness_strength}: 0 is deterministic.")
    if error_threshold is not None and not 0.0 <= error_threshold <= 1.0:
        raise ValueError(f"`error_threshold` must be in [0, 1], got {error_threshold}: it is a probability of error.")
    if remask_selection not in REMASK_SELECTION:
        raise ValueError(f"`remask_selection` must be worst or gumbel, got {remask_selection!r}: choose one.")
    if not 0.0 < selection_temperature < math.inf:
        raise ValueError(
            f"`selection_temperature` must be above 0 and finite, got {selection_temperature}: 1 is plain."
        )
    if remask_selection == "gumbel" and randomness_strength > 0:
        raise ValueError(
            '`randomness_strength` must be 0 beside `remask_selection="gumbel"`, which draws by chance already, got '
            f"{randomness_strength}: set `selection_temperature` instead, or drop one of the two."
        )
