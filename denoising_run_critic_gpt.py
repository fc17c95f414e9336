# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What one call of `generate` carries from step to step: settings, randomness, counters, history.

Letters: B batch, T positions, V vocabulary.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import torch
from transformers.generation import (
    GenerationConfig,
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from .calibration_critic_gpt import CriticCalibration
from .denoising_critic_gpt import Canvas, Prediction, predict_tokens
from .diffusion_critic_gpt import STREAM_REMASK, STREAM_SAMPLE, STREAM_SELECT, uniforms
from .remasking_critic_gpt import apply_remasking_step


# Where no token has been drawn; no probability is negative.
NOT_DRAWN = -1.0


class DenoisingStep(NamedTuple):
    """One step of the history: what went in, what stood there once masks were filled, what was masked again (B, T)."""

    input_ids: torch.Tensor
    filled: torch.Tensor
    remasked: torch.Tensor
    error_probabilities: torch.Tensor | None


class StepOutcome(NamedTuple):
    """
    What a strategy made of one step, all (B, T): the tokens once masks were `filled`, the positions `remasked`, the
    tokens `after` it, where tokens were `drawn` and the model's `probability` of them, P(wrong) where the critic
    spoke, and whether nothing is left to do.
    """

    filled: torch.Tensor
    remasked: torch.Tensor
    after: torch.Tensor
    drawn: torch.Tensor
    probability: torch.Tensor
    error_probabilities: torch.Tensor | None = None
    finished: bool = False


class DenoisingRun:
    """
    What strategies work with.

    Args:
        model: With `forward`, and `calibration` where there is a critic.
        canvas ([`Canvas`]): Where generation takes place.
        config ([`CriticGPTGenerationConfig`]): Complete.
        seeds (`torch.LongTensor` of shape `(batch_size,)`): One a row.
        processors ([`~transformers.LogitsProcessorList`]): Applied before temperature, top-k and top-p.
        streamer (*optional*): Gets every step if it has `put_draft`.
        remasking_model (callable, *optional*): The external judge of tokens.
    """

    def __init__(
        self,
        model: Any,
        canvas: Canvas,
        config: GenerationConfig,
        seeds: torch.Tensor,
        processors: LogitsProcessorList,
        streamer: Any | None = None,
        remasking_model: Callable | None = None,
    ):
        self.model = model
        self.canvas = canvas
        self.config = config
        self.seeds = seeds.to(canvas.input_ids.device)
        # Place of each token among the real ones of its row: padding, on whichever side, moves no random number.
        self.place = (canvas.attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)
        self.processors = processors
        self.warpers = _warpers(config)
        self.streamer = streamer
        self.remasking_model = remasking_model
        self.forward_passes = 0
        self.history = [] if config.return_history else None
        # The probability each token was last drawn with; kept only for an output that reports it.
        self.drawn_probability = None
        self.calibration = getattr(model, "calibration", None) or CriticCalibration.ramp()
        self.special_ids = sorted({i for i in (config.mask_token_id, config.pad_token_id) if i is not None})

    def uniforms(self, stream: int, step: int) -> torch.Tensor:
        return uniforms(self.seeds, stream, step, self.place.shape[1]).gather(-1, self.place)

    def forward(self, input_ids: torch.Tensor):
        self.forward_passes += 1
        return self.model(input_ids=input_ids, attention_mask=self.canvas.attention_mask, return_dict=True)

    def predict(self, input_ids: torch.Tensor, logits: torch.Tensor, step: int) -> Prediction:
        draw = None if self.config.temperature == 0 else self.uniforms(STREAM_SAMPLE, step)
        return predict_tokens(input_ids, logits, self.special_ids, self.processors, draw, self.warpers)

    def remask(self, input_ids: torch.Tensor, step: int, **scores) -> tuple[torch.Tensor, torch.Tensor]:
        """`apply_remasking_step` under the settings of this run."""
        config = self.config
        gumbel = config.remask_selection == "gumbel"
        return apply_remasking_step(
            input_ids,
            config.mask_token_id,
            error_threshold=config.error_threshold,
            protected_mask=~self.canvas.editable,
            randomness_strength=config.randomness_strength,
            noise=self.uniforms(STREAM_REMASK, step),
            remask_selection=config.remask_selection,
            selection_temperature=config.selection_temperature,
            selection_noise=self.uniforms(STREAM_SELECT, step) if gumbel else None,
            **scores,
        )

    def record(self, input_ids: torch.Tensor, outcome: StepOutcome) -> None:
        """Keeps what the output and the streamer want of a step that began with `input_ids`."""
        if self.config.return_dict_in_generate:
            if self.drawn_probability is None:
                self.drawn_probability = torch.full_like(outcome.probability, NOT_DRAWN)
            self.drawn_probability = torch.where(outcome.drawn, outcome.probability, self.drawn_probability)
        if self.history is not None:
            rows = (input_ids, outcome.filled, outcome.remasked, outcome.error_probabilities)
            self.history.append(DenoisingStep(*[None if row is None else row.cpu() for row in rows]))
        if self.streamer is not None and hasattr(self.streamer, "put_draft"):
            self.streamer.put_draft(outcome.after.cpu())


def _warpers(config: GenerationConfig) -> LogitsProcessorList:
    """What shapes the draw of a token; a temperature of 0 draws none."""
    warpers = LogitsProcessorList()
    if config.temperature not in (0, 1):
        warpers.append(TemperatureLogitsWarper(float(config.temperature)))
    if config.top_k is not None:
        warpers.append(TopKLogitsWarper(config.top_k))
    if config.top_p is not None and config.top_p < 1.0:
        warpers.append(TopPLogitsWarper(float(config.top_p)))
    return warpers
