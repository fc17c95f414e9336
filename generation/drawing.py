# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Which logits processors of Transformers apply to the draws of a pass.

A processor is asked about every position of every row at once: `scores` are `(batch_size * sequence_length,
vocab_size)`, and `input_ids` `(batch_size * sequence_length, sequence_length - 1)` hold, for each, the *other* tokens
of its row, [MASK] among them. There is no last token and no length that grows: what goes by these is refused.

That holds of the positions that are drawn and of all others: with a processor or a warper of the user's the scores of
the whole canvas are made in every pass. Joint draws show warpers the rows that are drawn together, whichever they are.
"""

from collections.abc import Callable
from typing import Any

import torch
from transformers.generation import (
    EpsilonLogitsWarper,
    EtaLogitsWarper,
    GenerationConfig,
    InfNanRemoveLogitsProcessor,
    LogitNormalization,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    NoBadWordsLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    SequenceBiasLogitsProcessor,
    SuppressTokensLogitsProcessor,
    TemperatureLogitsWarper,
    TopHLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TypicalLogitsWarper,
)

from critic_gpt.generation.answers import CheckedProcessors


# What shapes the draw of a token and says nothing of how likely the model holds it, as `temperature` and `top_k`.
WARPERS = (
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
    TopHLogitsWarper,
    MinPLogitsWarper,
    TypicalLogitsWarper,
    EpsilonLogitsWarper,
    EtaLogitsWarper,
)
POSITION_FREE = (
    SuppressTokensLogitsProcessor,
    RepetitionPenaltyLogitsProcessor,
    InfNanRemoveLogitsProcessor,
    LogitNormalization,
)
# Position-free too, for single tokens.
SINGLE_TOKENS = (SequenceBiasLogitsProcessor, NoBadWordsLogitsProcessor)


def checked_list(name: str, given: Any) -> list[Callable]:
    """The callables of an argument that takes a list of them; `None` is an empty one."""
    given = [] if given is None else given
    if not isinstance(given, (list, tuple)) or not all(callable(one) for one in given):
        raise ValueError(f"`{name}` must be a list of callables, got {given!r:.80}: write `[...]` around one.")
    return list(given)


def is_stock(given: Any, module: str) -> bool:
    """Whether an object is of a class that a module of Transformers defines, not of a user's own subclass."""
    return type(given).__module__ == f"transformers.generation.{module}"


def sort_processors(given: Any) -> tuple[LogitsProcessorList, LogitsProcessorList]:
    """
    Tells the processors of a call apart.

    Args:
        given (`list[LogitsProcessor]`, *optional*): As passed to `generate`.

    Returns:
        `tuple[LogitsProcessorList, LogitsProcessorList]`: Those that change what the model holds to be likely, and the
        warpers, which shape the draw alone.

    Raises:
        `ValueError`: One goes by the end or the length of a text that is written from left to right.
    """
    processors, warpers = CheckedProcessors(), CheckedProcessors()
    for processor in checked_list("logits_processor", given):
        if isinstance(processor, WARPERS):
            warpers.append(processor)
            continue
        stock = is_stock(processor, "logits_process")
        if stock and isinstance(processor, SINGLE_TOKENS):
            longer = [ids for ids in processor.sequence_bias if len(ids) > 1]
            if longer:
                raise ValueError(
                    f"`logits_processor` must name single tokens in a {type(processor).__name__}, since those beside "
                    f"each other may be drawn in the same step, got {longer[0]}: leave longer sequences out."
                )
        elif stock and not isinstance(processor, POSITION_FREE):
            known = ", ".join(kind.__name__ for kind in (*POSITION_FREE, *SINGLE_TOKENS, *WARPERS))
            raise ValueError(
                "`logits_processor` must not go by the end or the length of a text, which is not written from left to "
                f"right here, got a {type(processor).__name__}: take one of {known}, or one of your own."
            )
        processors.append(processor)
    return processors, warpers


class PlacedTemperature(LogitsProcessor):
    """
    Divides scores (n, V) by a temperature of each.

    Args:
        temperature (`torch.FloatTensor` of shape `(n,)`): Above 0.
    """

    def __init__(self, temperature: torch.Tensor):
        self.temperature = temperature

    @classmethod
    def of_rows(cls, temperature: torch.Tensor, length: int) -> "PlacedTemperature":
        """That of all positions (B * T) of rows that have one temperature each (B,)."""
        return cls(temperature.repeat_interleave(length))

    def __call__(self, input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        return scores / self.temperature.to(scores.dtype)[:, None]


def warpers_at(warpers: LogitsProcessorList | None, places: torch.Tensor | slice) -> LogitsProcessorList | None:
    """The warpers of all positions (B * T) for those at places (n,)."""
    if not warpers or not any(isinstance(one, PlacedTemperature) for one in warpers):
        return warpers
    return CheckedProcessors(
        PlacedTemperature(one.temperature[places]) if isinstance(one, PlacedTemperature) else one for one in warpers
    )


def settings_as_warpers(
    config: GenerationConfig, temperature: float | torch.Tensor, length: int
) -> list[LogitsProcessor]:
    """
    What the settings make of the draw of a token.

    Args:
        config ([`CriticGPTGenerationConfig`]): With `top_k` and `top_p`.
        temperature (`float`, or `torch.FloatTensor` of shape `(batch_size,)`): One for all, or of each row; 0 draws no
            token.
        length (`int`): Positions T of a row.
    """
    warpers: list[LogitsProcessor] = []
    if isinstance(temperature, torch.Tensor):
        warpers.append(PlacedTemperature.of_rows(temperature, length))
    elif temperature not in (0, 1):
        warpers.append(TemperatureLogitsWarper(float(temperature)))
    if config.top_k is not None:
        warpers.append(TopKLogitsWarper(config.top_k))
    if config.top_p is not None and config.top_p < 1.0:
        warpers.append(TopPLogitsWarper(float(config.top_p)))
    return warpers
