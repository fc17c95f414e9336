# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What a denoising by hand looks like, and a replay of what `generate` did: plain data, drawn elsewhere."""

from collections.abc import Iterable
from dataclasses import dataclass

import torch

from critic_gpt.explorer.denoising import DenoisingState
from critic_gpt.explorer.session import Explorer
from critic_gpt.explorer.tokens import TokenView, another_right, positions_of, token_views
from critic_gpt.explorer.views import check_threshold
from critic_gpt.generation.strategies.registry import STRATEGIES


@dataclass(frozen=True)
class DenoisingView:
    """
    What a [`DenoisingState`] looks like. `num_masked` masks are left; `expected_wrong` is the sum of P(wrong) over
    the scored tokens that may change; `true_wrong` counts visible ones that differ from the truth; `judged` is what
    the task says of a text without masks, `another_right` as in [`CriticView`].
    """

    tokens: tuple[TokenView, ...]
    row_width: int | None
    text: str
    step: int
    action: str
    forward_passes: int
    num_masked: int
    threshold: float
    expected_wrong: float | None
    true_wrong: int | None
    another_right: bool
    judged: dict[str, float | int] | None


@dataclass(frozen=True)
class StepView:
    """
    One step of `generate`: what stood there once masks were filled, which tokens are new, which re-masked. New are
    those that filled masks (`num_filled`) and those drawn in place of another token (`num_replaced`).
    """

    step: int
    tokens: tuple[TokenView, ...]
    row_width: int | None
    num_masked_before: int
    num_filled: int
    num_replaced: int
    num_remasked: int


@dataclass(frozen=True)
class GenerationView:
    """What `generate` did: every step, the finished tokens with P(wrong), their sum, cost, and the task's verdict."""

    steps: tuple[StepView, ...]
    tokens: tuple[TokenView, ...]
    row_width: int | None
    text: str
    strategy: str
    seed: int
    threshold: float
    expected_wrong: float | None
    true_wrong: int | None
    another_right: bool
    judged: dict[str, float | int] | None
    forward_passes: int
    scoring_passes: int


def denoising_view(explorer: Explorer, state: DenoisingState, threshold: float = 0.5) -> DenoisingView:
    """
    What a state looks like.

    Args:
        explorer ([`Explorer`]): What is explored.
        state ([`DenoisingState`]): The state.
        threshold (`float`, *optional*, defaults to 0.5): As for [`critic_view`].

    Returns:
        [`DenoisingView`].
    """
    check_threshold(threshold)
    ids, again = list(state.input_ids), state.action == "remask"
    tokens = token_views(
        explorer,
        ids,
        truth=state.truth,
        filled=set() if again else set(state.changed),
        remasked=set(state.changed) if again else set(),
        judged={i for i, editable in enumerate(state.editable) if editable},
        error_probabilities=state.error_probabilities,
        critic_logits=state.critic_logits,
        threshold=threshold,
    )
    num_masked, text = sum(token.masked for token in tokens), explorer.tokenizer.decode(ids)
    return DenoisingView(
        tokens=tokens,
        row_width=explorer.row_width,
        text=text,
        step=state.step,
        action=state.action,
        forward_passes=state.forward_passes,
        num_masked=num_masked,
        threshold=threshold,
        expected_wrong=None if state.error_probabilities is None else _expected(tokens),
        true_wrong=None if state.truth is None else sum(bool(token.wrong) for token in tokens),
        another_right=another_right(explorer, tokens),
        judged=None if num_masked else explorer.judged(text),
    )


def _expected(tokens: Iterable[TokenView]) -> float:
    return sum(token.error_probability or 0.0 for token in tokens if token.judged)


def generation_view(explorer: Explorer, state: DenoisingState, threshold: float = 0.5, **options) -> GenerationView:
    """
    Lets `generate` finish what a state began, and replays its steps.

    Args:
        explorer ([`Explorer`]): What is explored.
        state ([`DenoisingState`]): Tokens, what may change, and the seed; a fresh one for a generation from the
            beginning.
        threshold (`float`, *optional*, defaults to 0.5): As for [`critic_view`].
        options: Fields of [`CriticGPTGenerationConfig`], such as `remasking` and `num_steps`; beside those of the
            state.

    Returns:
        [`GenerationView`].
    """
    check_threshold(threshold)
    model, options = explorer.model, {**state.options, **options}
    input_ids = torch.tensor([state.input_ids], device=model.device)
    editable = torch.tensor([state.editable], device=model.device)
    output = model.generate(
        input_ids=input_ids,
        attention_mask=explorer.attention_mask(input_ids),
        protected_mask=~editable,
        seed=state.seed,
        **{**options, "return_history": True, "return_dict_in_generate": True},
    )
    ids = output.sequences[0].tolist()
    # What follows a generated EOS has become padding, which is drawn and otherwise no token.
    real = positions_of(explorer.attention_mask(output.sequences))
    judged = None if output.error_probabilities is None else output.error_probabilities[0].tolist()
    judged = None if judged is None else [p if i in real else None for i, p in enumerate(judged)]
    tokens = token_views(
        explorer,
        ids,
        truth=None if state.truth is None else [t if i in real else None for i, t in enumerate(state.truth)],
        filled=positions_of(input_ids != output.sequences) & real,
        judged=positions_of(editable) & real,
        error_probabilities=judged,
        threshold=threshold,
    )
    text = explorer.tokenizer.decode([token for i, token in enumerate(ids) if i in real])
    strategy = model.resolve_generation_config(**options).remasking
    early = STRATEGIES[strategy].passes_per_step == 1
    return GenerationView(
        steps=tuple(_step_view(explorer, n, step, state, threshold, early) for n, step in enumerate(output.history)),
        tokens=tokens,
        row_width=explorer.row_width,
        text=text,
        strategy=strategy,
        seed=state.seed,
        threshold=threshold,
        expected_wrong=None if judged is None else _expected(tokens),
        true_wrong=None if state.truth is None else sum(bool(token.wrong) for token in tokens),
        another_right=another_right(explorer, [token for token in tokens if token.position in real]),
        judged=explorer.judged(text),
        forward_passes=int(output.row_passes[0]),
        scoring_passes=output.scoring_passes,
    )


def _step_view(
    explorer: Explorer, number: int, step, state: DenoisingState, threshold: float, early: bool
) -> StepView:
    """A step as data; `early`: the verdict came before the masks were filled, and says nothing of the new tokens."""
    new, again = positions_of(step.input_ids != step.filled), positions_of(step.remasked)
    probabilities = None if step.error_probabilities is None else step.error_probabilities[0].tolist()
    if early and probabilities is not None:
        probabilities = [None if i in new else value for i, value in enumerate(probabilities)]
    tokens = token_views(
        explorer,
        step.filled[0].tolist(),
        truth=state.truth,
        filled=new,
        remasked=again,
        judged={i for i, editable in enumerate(state.editable) if editable},
        error_probabilities=probabilities,
        threshold=threshold,
    )
    masks = positions_of(step.input_ids == explorer.model.config.mask_token_id)
    return StepView(
        number,
        tokens,
        explorer.row_width,
        num_masked_before=len(masks),
        num_filled=len(new & masks),
        num_replaced=len(new - masks),
        num_remasked=len(again),
    )
