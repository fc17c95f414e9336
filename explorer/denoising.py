# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Denoising by hand, one act at a time, by the laws of `generate`.

    state = start_from_sample(explorer, index=3, mask_rate=1.0, seed=0)
    while state.step < 4:
        state = remask(explorer, score(explorer, fill(explorer, state)), count=8)
    denoising_view(explorer, fill(explorer, state))

A state never changes: every act gives a new one, so that going back is keeping the old one. Filling, scoring and
re-masking with the counts of `generate(remasking="critic_full", seed=...)` gives its very tokens.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import torch
from transformers.generation import LogitsProcessorList

from critic_gpt.diffusion.randomness import row_seeds
from critic_gpt.diffusion.selection import settle
from critic_gpt.explorer.session import Explorer
from critic_gpt.explorer.views import check_threshold
from critic_gpt.generation.canvas import Canvas, prepare_canvas, scheduled_reveal
from critic_gpt.generation.run import DenoisingRun


REMASK_BY = ("critic", "threshold", "random", "positions")


@dataclass(frozen=True)
class DenoisingState:
    """
    Where a denoising by hand stands; plain values only.

    Args:
        input_ids (`tuple[int]`), editable (`tuple[bool]`): Tokens, and which of them may change.
        seed (`int`): Of all draws.
        step (`int`): Number of the denoising step, which draws its own random numbers; from 0.
        forward_passes (`int`): How often the model ran so far.
        action (`str`): What was done last; changed (`tuple[int]`): and where.
        truth (`tuple[int | None]`, *optional*): What stands there in the data, if it comes from there.
        critic_logits, error_probabilities (`tuple[float]`, *optional*): The verdict on exactly these tokens; `None`
            until they are scored.
        options (`dict`): Fields of [`CriticGPTGenerationConfig`] that shape the draws, such as `temperature`.
    """

    input_ids: tuple[int, ...]
    editable: tuple[bool, ...]
    seed: int = 0
    step: int = 0
    forward_passes: int = 0
    action: str = "start"
    changed: tuple[int, ...] = ()
    truth: tuple[int | None, ...] | None = None
    critic_logits: tuple[float, ...] | None = None
    error_probabilities: tuple[float, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)


# --------------------------------------------------------------------------------------------------------------------
# Beginnings
# --------------------------------------------------------------------------------------------------------------------


def _settings(explorer: Explorer, options: Mapping[str, Any]):
    """Settings that serve every act: those of filling all, whose strategy by chance asks for no critic."""
    config = explorer.model.resolve_generation_config(**{**options, "remasking": "random"})
    config.max_new_tokens = None
    return config


def _start(explorer: Explorer, input_ids: torch.Tensor, seed: int, truth, revise: bool, options) -> DenoisingState:
    protected = torch.zeros_like(input_ids, dtype=torch.bool) if revise else None
    backbone = explorer.model.backbone
    canvas = prepare_canvas(
        input_ids,
        explorer.attention_mask(input_ids),
        protected,
        _settings(explorer, options),
        backbone.max_sequence_length,
    )
    ids, editable = canvas.input_ids[0].tolist(), canvas.editable[0].tolist()
    return DenoisingState(tuple(ids), tuple(editable), seed, truth=truth, options=dict(options))


def start_from_sample(
    explorer: Explorer,
    index: int,
    split: str = "validation",
    mask_rate: float | None = None,
    seed: int = 1,
    **options,
) -> DenoisingState:
    """
    Begins with an example as the collator corrupts it. What is visible there is given and stays.

    Args:
        explorer ([`Explorer`]): What is explored.
        index, split, mask_rate, seed: As for [`corrupted_view`]; the seed is that of the draws as well.
        options: Fields of [`CriticGPTGenerationConfig`] that shape draws (`temperature`, `top_k`, `top_p`,
            `randomness_strength`, ...).

    Returns:
        [`DenoisingState`].
    """
    input_ids = explorer.corrupted(index, split, mask_rate, seed)["input_ids"]
    mask_id = explorer.model.config.mask_token_id
    if not (input_ids == mask_id).any():
        raise ValueError(
            f"`mask_rate` must leave something to denoise in example {index}, got {mask_rate} with no mask: choose a "
            "higher one."
        )
    truth = tuple(None if token == mask_id else token for token in explorer.example(index, split))
    return _start(explorer, input_ids, seed, truth, False, options)


def start_from_text(explorer: Explorer, text: str, seed: int = 1, revise: bool = False, **options) -> DenoisingState:
    """
    Begins with a text of the user's. Its `[MASK]`s are holes; the rest is given and stays, or with `revise` may be
    masked as well.

    Args:
        explorer ([`Explorer`]): What is explored.
        text (`str`): With at least one `[MASK]`, unless it is to be revised.
        seed (`int`, *optional*, defaults to 1): Of all draws.
        revise (`bool`, *optional*, defaults to `False`): Whether what is written may change.
        options: As for [`start_from_sample`].

    Returns:
        [`DenoisingState`].
    """
    input_ids = explorer.encoded(text)
    if not revise and not (input_ids == explorer.model.config.mask_token_id).any():
        raise ValueError(f"`text` must hold a [MASK] to denoise, got {text!r:.60}: write one, or revise the text.")
    return _start(explorer, input_ids, seed, None, revise, options)


def start_from_ids(explorer: Explorer, input_ids: torch.Tensor, seed: int = 1, **options) -> DenoisingState:
    """
    Begins with tokens of shape `(1, sequence_length)`, whose masks are holes; the rest is given and stays.

    Args:
        explorer ([`Explorer`]): What is explored.
        input_ids (`torch.LongTensor` of shape `(1, sequence_length)`): The tokens, in the model's frame.
        seed (`int`, *optional*, defaults to 1): Of all draws.
        options: As for [`start_from_sample`].
    """
    return _start(explorer, input_ids, seed, None, False, options)


# --------------------------------------------------------------------------------------------------------------------
# Acts
# --------------------------------------------------------------------------------------------------------------------


def _run(explorer: Explorer, state: DenoisingState, unmasking: str | None = None) -> DenoisingRun:
    """The run of `generate` that stands where the state stands, and lifts masks in an order."""
    input_ids = torch.tensor([state.input_ids], device=explorer.model.device)
    editable = torch.tensor([state.editable], device=explorer.model.device)
    canvas = Canvas(input_ids, explorer.attention_mask(input_ids), editable)
    config = _settings(explorer, state.options)
    config.unmasking = unmasking or config.unmasking
    return DenoisingRun(explorer.model, canvas, config, row_seeds(state.seed, 1), LogitsProcessorList())


def _after(state: DenoisingState, action: str, tokens: torch.Tensor, **changes) -> DenoisingState:
    """The state with other tokens, of which nobody has said anything yet."""
    ids = tuple(tokens[0].tolist())
    changed = tuple(i for i, (old, new) in enumerate(zip(state.input_ids, ids, strict=True)) if old != new)
    fresh = {"critic_logits": None, "error_probabilities": None} if changed else {}
    return replace(state, input_ids=ids, action=action, changed=changed, **fresh, **changes)


@torch.no_grad()
def fill(explorer: Explorer, state: DenoisingState) -> DenoisingState:
    """Fills every mask with the model's own draws: one forward pass, in the same step."""
    run = _run(explorer, state)
    tokens = run.canvas.input_ids
    prediction = run.predict(tokens, run.forward(tokens).logits, state.step)
    masked = run.canvas.editable & (tokens == run.config.mask_token_id)
    filled = torch.where(masked, prediction.tokens, tokens)
    return _after(state, "fill", filled, forward_passes=state.forward_passes + 1)


@torch.no_grad()
def score(explorer: Explorer, state: DenoisingState) -> DenoisingState:
    """Lets the critic judge what is visible: one forward pass; the tokens stay."""
    logits = explorer.critic_logits(torch.tensor([state.input_ids], device=explorer.model.device))
    return replace(
        state,
        action="score",
        changed=(),
        critic_logits=tuple(logits[0].tolist()),
        error_probabilities=tuple(explorer.calibration.error_probability(logits)[0].tolist()),
        forward_passes=state.forward_passes + 1,
    )


@torch.no_grad()
def remask(
    explorer: Explorer,
    state: DenoisingState,
    by: str = "critic",
    count: int | None = None,
    threshold: float | None = None,
    positions: Iterable[int] = (),
) -> DenoisingState:
    """
    Re-masks tokens and goes on to the next step; no forward pass.

    Args:
        explorer ([`Explorer`]): What is explored.
        state ([`DenoisingState`]): Scored, if the critic decides.
        by (`str`, *optional*, defaults to `"critic"`): `"critic"` (the `count` worst), `"threshold"` (all whose
            P(wrong) lies above `threshold`, at most `count`), `"random"` (`count` of them), `"positions"`.
        count (`int`, *optional*): How many, at least 0; all that may change where there are fewer.
        threshold (`float`, *optional*): In [0, 1].
        positions (iterable of `int`, *optional*): Chosen by hand.

    Returns:
        [`DenoisingState`].

    Raises:
        `ValueError`: Something missing or out of range, or a state that nobody has scored.
    """
    if by not in REMASK_BY:
        raise ValueError(f"`by` must be one of {', '.join(REMASK_BY)}, got {by!r}: choose one.")
    if by in ("critic", "random") and count is None:
        raise ValueError(f"`count` must be given to mask again by {by}, got None: say how many.")
    if count is not None and count < 0:
        raise ValueError(f"`count` must be at least 0, got {count}: say how many tokens to mask.")
    run = _run(explorer, state)
    tokens, mask_id = run.canvas.input_ids, run.config.mask_token_id
    if by == "positions":
        chosen = _chosen(state, positions, [token != mask_id for token in state.input_ids], "visible")
        after = tokens.masked_fill(chosen.to(tokens.device), mask_id)
        return _after(state, "remask", after, step=state.step + 1)
    scores = {"remasking": "random", "num_remask": count}
    if by != "random":
        if state.critic_logits is None:
            raise ValueError("`state` must be scored before the critic can choose, got one that is not: score it.")
        device = tokens.device
        scores |= {
            "remasking": "critic",
            "critic_scores": torch.tensor([state.error_probabilities], device=device),
            "tie_break": settle(torch.tensor([state.critic_logits], device=device)),
        }
    if by == "threshold":
        if threshold is None:
            raise ValueError("`threshold` must be given to mask again by threshold, got None: 0.5 is a beginning.")
        check_threshold(threshold)
        run.config.error_threshold = threshold
    after, _ = run.remask(tokens, state.step, **scores)
    return _after(state, "remask", after, step=state.step + 1)


@torch.no_grad()
def unmask(
    explorer: Explorer,
    state: DenoisingState,
    count: int | None = None,
    order: str = "confidence",
    positions: Iterable[int] = (),
) -> DenoisingState:
    """
    Reveals some masks as the model draws them and goes on to the next step: one forward pass.

    Args:
        explorer ([`Explorer`]): What is explored.
        state ([`DenoisingState`]): With masks.
        count (`int`, *optional*): How many, in this `order`, as in one step of `generate(remasking="none")`.
        order (`str`, *optional*, defaults to `"confidence"`): `"confidence"`, `"margin"`, `"entropy"`, `"random"` or
            `"left_to_right"`.
        positions (iterable of `int`, *optional*): Chosen by hand, in place of a count.

    Returns:
        [`DenoisingState`].
    """
    run, positions = _run(explorer, state, order), list(positions)
    if (count is None) == (not positions) or (count is not None and count < 0):
        raise ValueError(
            f"`count` (at least 0) or `positions` must be given, one of the two, got {count} and {positions}: say how "
            "many masks to lift, or which."
        )
    tokens, mask_id = run.canvas.input_ids, run.config.mask_token_id
    hidden = [token == mask_id for token in state.input_ids]
    chosen = _chosen(state, positions, hidden, "masked") if positions else None
    prediction = run.predict(tokens, run.forward(tokens).logits, state.step)
    if chosen is not None:
        after = torch.where(chosen.to(tokens.device), prediction.tokens, tokens)
    else:
        editable = run.canvas.editable
        target = (editable & (tokens != mask_id)).sum(dim=-1) + count
        eagerness = run.eagerness(prediction, prediction.probability, state.step)
        revealed = scheduled_reveal(tokens, editable, eagerness, mask_id, target, torch.zeros_like(editable))
        after = torch.where(revealed, prediction.tokens, tokens)
    passes = state.forward_passes + 1
    return _after(state, "unmask", after, step=state.step + 1, forward_passes=passes)


def reveal_truth(explorer: Explorer, state: DenoisingState, positions: Iterable[int]) -> DenoisingState:
    """Puts what stands in the data at positions that may change, masked or not; no forward pass, the same step."""
    if state.truth is None:
        raise ValueError("`state` must come from the data to know the truth, got a text: begin with a sample.")
    known = [token is not None for token in state.truth]
    chosen = _chosen(state, positions, known, "known")[0].tolist()
    pairs = zip(chosen, state.truth, state.input_ids, strict=True)
    return _after(state, "truth", torch.tensor([[true if take else now for take, true, now in pairs]]))


def edit(
    explorer: Explorer,
    state: DenoisingState,
    positions: Iterable[int],
    token_id: int | None = None,
    protect: bool | None = None,
) -> DenoisingState:
    """
    Writes on the canvas by hand, at any position; no forward pass, the same step.

    Args:
        explorer ([`Explorer`]): What is explored.
        state ([`DenoisingState`]): The state.
        positions (iterable of `int`): Where.
        token_id (`int`, *optional*): The token to put there. [MASK] makes a hole, which the model may fill.
        protect (`bool`, *optional*): Whether what stands there is given and stays, which a [MASK] cannot be.

    Returns:
        [`DenoisingState`].

    Raises:
        `ValueError`: A position that there is not, a token without a meaning, or a protected [MASK].
    """
    positions, mask_id = set(positions), explorer.model.config.mask_token_id
    length, known = len(state.input_ids), len(explorer.tokenizer)
    outside = [position for position in positions if not 0 <= position < length]
    if outside:
        raise ValueError(f"`positions` must be in [0, {length}), got {outside[0]}: choose others.")
    unfit = explorer.model.config.pad_token_id, *(id for id in explorer.tokenizer.all_special_ids if id != mask_id)
    if token_id is not None and (not 0 <= token_id < known or token_id in unfit):
        raise ValueError(f"`token_id` must be a token of a text or [MASK], got {token_id}: choose another.")
    ids = [token_id if token_id is not None and i in positions else now for i, now in enumerate(state.input_ids)]
    if protect and any(ids[position] == mask_id for position in positions):
        raise ValueError("`protect` must be for tokens that are visible, got a [MASK]: set it first.")
    editable = [
        token == mask_id or (not protect if protect is not None and i in positions else before)
        for i, (token, before) in enumerate(zip(ids, state.editable, strict=True))
    ]
    return _after(replace(state, editable=tuple(editable)), "edit", torch.tensor([ids]))


def _chosen(state: DenoisingState, positions: Iterable[int], allowed: list[bool], what: str) -> torch.Tensor:
    """Positions chosen by hand as a mask (1, T)."""
    chosen = torch.zeros((1, len(allowed)), dtype=torch.bool)
    for position in positions:
        if not (0 <= position < len(allowed) and allowed[position] and state.editable[position]):
            raise ValueError(
                f"`positions` must be {what}, changeable and in [0, {len(allowed)}), got {position}: choose others."
            )
        chosen[0, position] = True
    return chosen
