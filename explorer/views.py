# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What can be seen of a sample, a corruption, the critic's verdict and a text: plain data, drawn elsewhere.

    from critic_gpt.explorer import Explorer, critic_view, view_data

    view = critic_view(Explorer(model, tokenizer, splits), index=3, split="validation", mask_rate=0.5)
    view.counts, view.scores["wrong"]["mean"], [token.text for token in view.tokens if token.wrong]
    json.dumps(view_data(view))

Views hold Python values only and draw nothing; `None` stands for what is not known or not asked.
"""

import dataclasses
from dataclasses import dataclass
from typing import Any

import torch

from critic_gpt.diffusion.critic_targets import build_critic_artifacts_from_logits
from critic_gpt.evaluation.metrics import auroc, summary_by_target
from critic_gpt.explorer.session import Explorer
from critic_gpt.explorer.tokens import TokenView, another_right, plain, positions_of, token_views
from critic_gpt.generation.quality import error_summary


@dataclass(frozen=True)
class SampleView:
    """A clean example: its place in the data, its text and tokens, and how it is laid out (`row_width`)."""

    split: str
    index: int
    num_examples: int
    text: str
    tokens: tuple[TokenView, ...]
    row_width: int | None


@dataclass(frozen=True)
class CorruptedView(SampleView):
    """An example as the model sees it: `mask_rate` asked for (`None`: drawn), masks there are, and the seed."""

    mask_rate: float | None
    seed: int
    num_masked: int


@dataclass(frozen=True)
class CriticView(CorruptedView):
    """
    The model's own filling under the critic's eyes.

    Args:
        threshold (`float`): A token is flagged as wrong where its P(wrong) lies above.
        calibrated (`bool`): Whether P(wrong) comes from a measured table, not from the stand-in.
        num_judged, num_filled (`int`): How many tokens the verdict counts at, and how many the model filled.
        counts (`dict`): `tp`, `fp`, `tn`, `fn` over the judged tokens; positive = flagged as wrong.
        scores (`dict`): For `right` and `wrong` judged tokens `count`, and `mean`, `p10`, `p50`, `p90` of P(wrong),
            `None` where there are none.
        auroc (`float`, *optional*): Of the raw logits; `None` where all judged tokens are right or all are wrong.
        expected_wrong (`float`), true_wrong (`int`): Sum of P(wrong) over the judged tokens, and the wrong ones.
        another_right (`bool`): Whether the tokens differ from the example and the task says that they are right, too,
            as another valid grid: then `wrong` and the counts tell only where the two differ.
        forward_passes (`int`): What the view cost.
    """

    threshold: float
    calibrated: bool
    num_judged: int
    num_filled: int
    counts: dict[str, int]
    scores: dict[str, dict[str, float | int | None]]
    auroc: float | None
    expected_wrong: float
    true_wrong: int
    another_right: bool
    forward_passes: int


@dataclass(frozen=True)
class TextView:
    """A text of the user's under the critic's eyes; fields as in [`CriticView`], `judged` by the task, if any."""

    text: str
    tokens: tuple[TokenView, ...]
    row_width: int | None
    threshold: float
    calibrated: bool
    num_masked: int
    num_flagged: int
    expected_wrong: float
    judged: dict[str, float | int] | None
    forward_passes: int


def view_data(view: Any) -> Any:
    """A view as dictionaries, lists and plain values, ready for strict JSON."""
    if dataclasses.is_dataclass(view):
        data = {field.name: view_data(getattr(view, field.name)) for field in dataclasses.fields(view)}
        return data | {"outcome": view.outcome} if isinstance(view, TokenView) else data
    if isinstance(view, dict):
        return {key: view_data(value) for key, value in view.items()}
    if isinstance(view, (list, tuple)):
        return [view_data(value) for value in view]
    return view


def check_threshold(threshold: float) -> None:
    """Refuses what is no probability."""
    if not 0.0 <= threshold <= 1.0:
        raise ValueError(f"`threshold` must be in [0, 1], got {threshold}: it is a probability of error.")


def _known_truth(explorer: Explorer, ids: list[int]) -> list[int | None]:
    """A [MASK] in the data is a hole whose truth nobody knows."""
    return [None if token == explorer.model.config.mask_token_id else token for token in ids]


def _place(explorer: Explorer, index: int, split: str) -> dict[str, Any]:
    """The fields that every view of an example begins with."""
    ids = explorer.example(index, split)
    return {
        "split": split,
        "index": index,
        "num_examples": explorer.size(split),
        "text": explorer.tokenizer.decode(ids),
        "row_width": explorer.row_width,
    }


def sample_view(explorer: Explorer, index: int, split: str = "validation") -> SampleView:
    """
    A clean example.

    Args:
        explorer ([`Explorer`]): What is explored.
        index (`int`): Which example, counted from 0.
        split (`str`, *optional*, defaults to `"validation"`): Of which split.

    Returns:
        [`SampleView`].
    """
    ids = explorer.example(index, split)
    return SampleView(tokens=token_views(explorer, ids), **_place(explorer, index, split))


def corrupted_view(
    explorer: Explorer, index: int, split: str = "validation", mask_rate: float | None = None, seed: int = 1
) -> CorruptedView:
    """
    An example as the collator corrupts it in evaluation, the truth beside every token.

    Args:
        explorer ([`Explorer`]): What is explored.
        index (`int`): Which example, counted from 0.
        split (`str`, *optional*, defaults to `"validation"`): Of which split.
        mask_rate (`float`, *optional*): Expected share of masks in (0, 1]; `None` draws one, as evaluation does.
        seed (`int`, *optional*, defaults to 1): Of the masks; 1 is that of `scripts/evaluate.py`.

    Returns:
        [`CorruptedView`].
    """
    batch = explorer.corrupted(index, split, mask_rate, seed)
    truth = _known_truth(explorer, explorer.example(index, split))
    tokens = token_views(explorer, batch["input_ids"][0].tolist(), truth=truth)
    num_masked = sum(token.masked for token in tokens)
    place = _place(explorer, index, split)
    return CorruptedView(tokens=tokens, mask_rate=mask_rate, seed=seed, num_masked=num_masked, **place)


def _artifacts(explorer: Explorer, batch: dict[str, torch.Tensor]):
    """What the critic is given, and the truth: the masks of a batch filled by the model."""
    config = explorer.model.config
    return build_critic_artifacts_from_logits(
        batch["input_ids"],
        explorer.forward(batch["input_ids"]).logits,
        batch["labels"],
        config.mask_token_id,
        pad_token_id=config.pad_token_id,
        scope=config.critic_target_scope,
        fill=config.critic_fill,
        fill_mask=batch["fill_mask"],
        fill_uniforms=batch["fill_uniforms"],
    )


def critic_view(
    explorer: Explorer,
    index: int,
    split: str = "validation",
    mask_rate: float | None = None,
    seed: int = 1,
    threshold: float = 0.5,
) -> CriticView:
    """
    Lets the model fill the masks of an example and the critic judge the filling, by the law of training and
    evaluation ([`build_critic_artifacts_from_logits`]).

    Args:
        explorer ([`Explorer`]): What is explored; its `critic_regime` says how many masks are filled.
        index, split, mask_rate, seed: As for [`corrupted_view`].
        threshold (`float`, *optional*, defaults to 0.5): Above this P(wrong), in [0, 1], a token counts as flagged.

    Returns:
        [`CriticView`].

    Raises:
        `ValueError`: A model without a trained critic, an index or a number out of range.
    """
    check_threshold(threshold)
    batch = explorer.corrupted(index, split, mask_rate, seed)
    artifacts = _artifacts(explorer, batch)
    logits = explorer.critic_logits(artifacts.critic_input)
    probabilities, valid = explorer.calibration.error_probability(logits), artifacts.critic_valid
    tokens = token_views(
        explorer,
        artifacts.critic_input[0].tolist(),
        truth=_known_truth(explorer, explorer.example(index, split)),
        filled=positions_of(artifacts.filled),
        judged=positions_of(valid),
        error_probabilities=probabilities[0].tolist(),
        critic_logits=logits[0].tolist(),
        threshold=threshold,
    )
    outcomes = [token.outcome for token in tokens]
    target = artifacts.critic_target[valid]
    return CriticView(
        tokens=tokens,
        mask_rate=mask_rate,
        seed=seed,
        num_masked=int((batch["input_ids"] == explorer.model.config.mask_token_id).sum()),
        threshold=threshold,
        calibrated=not explorer.calibration.is_ramp,
        num_judged=int(valid.sum()),
        num_filled=int(artifacts.filled.sum()),
        counts={name: outcomes.count(name.upper()) for name in ("tp", "fp", "tn", "fn")},
        scores=_scores(probabilities, artifacts.critic_target, valid),
        auroc=auroc(logits[valid], target) if len(target) else None,
        expected_wrong=float(probabilities[valid].double().sum()),
        true_wrong=int(target.sum()),
        another_right=another_right(explorer, tokens),
        forward_passes=2,
        **_place(explorer, index, split),
    )


def _scores(probabilities: torch.Tensor, target: torch.Tensor, valid: torch.Tensor) -> dict[str, dict]:
    """How P(wrong) spreads over right and over wrong judged tokens."""
    nobody = {"count": 0, "mean": None, "p10": None, "p90": None}
    summary = {"right": nobody, "wrong": nobody}
    if valid.any():
        summary = summary_by_target(probabilities[valid], target[valid])
    for name, value in (("right", 0), ("wrong", 1)):
        median = error_summary(probabilities, valid & (target == value))["error_p50"]
        summary[name] = {**summary[name], "p50": plain(median.item())}
    return summary


def text_view(explorer: Explorer, text: str, threshold: float = 0.5) -> TextView:
    """
    Lets the critic judge a text; a literal `[MASK]` in it is a hole, on which there is no verdict. P(wrong) is that of
    proofreading where the model has a table of planted errors.

    Args:
        explorer ([`Explorer`]): What is explored.
        text (`str`): Of 1 to `max_position_embeddings` tokens that the tokenizer knows. Layout is part of the text:
            a grid is written as one line.
        threshold (`float`, *optional*, defaults to 0.5): As for [`critic_view`].

    Returns:
        [`TextView`].

    Raises:
        `ValueError`: A model without a trained critic, unknown characters, a text too long.
    """
    check_threshold(threshold)
    ids = explorer.encoded(text)
    logits = explorer.critic_logits(ids)
    probabilities, passes = explorer.calibration.error_probability(logits), 1
    planted = getattr(explorer.model, "planted_calibration", None)
    if planted is not None:  # measured on texts, where few tokens are wrong, which the other table is not
        probabilities = explorer.model.proofread([ids[0]], top_k=0)[0].error_probabilities[None].to(ids.device)
        passes = 2
    visible = (ids != explorer.model.config.mask_token_id) & explorer.attention_mask(ids).bool()
    tokens = token_views(
        explorer,
        ids[0].tolist(),
        judged=positions_of(visible),
        error_probabilities=probabilities[0].tolist(),
        critic_logits=logits[0].tolist(),
        threshold=threshold,
    )
    num_masked = sum(token.masked for token in tokens)
    return TextView(
        text=text,
        tokens=tokens,
        row_width=explorer.row_width,
        threshold=threshold,
        calibrated=planted is not None or not explorer.calibration.is_ramp,
        num_masked=num_masked,
        num_flagged=sum(bool(token.flagged) for token in tokens),
        expected_wrong=float(probabilities[visible].double().sum()),
        judged=None if num_masked else explorer.judged(text),
        forward_passes=passes,
    )
