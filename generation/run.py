# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What one call of `generate` does in a step: the pass, what it says, and what is drawn by it.

Letters: B batch, T positions, V vocabulary.
"""

import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import cached_property, partial
from typing import Any

import torch
from torch.nn import functional as F
from transformers.generation import (
    GenerationConfig,
    SuppressTokensLogitsProcessor,
)

from critic_gpt.backbones.description import Backbone
from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.diffusion.corruption import suppress_tokens
from critic_gpt.diffusion.drawable import never_drawn_ids
from critic_gpt.diffusion.randomness import (
    ONE_STEP,
    STREAM_DRAW_ORDER,
    STREAM_RACE,
    STREAM_REMASK,
    STREAM_REVEAL,
    STREAM_SAMPLE,
    STREAM_SELECT,
    block_sums,
)
from critic_gpt.diffusion.selection import apply_remasking_step
from critic_gpt.generation.answers import CheckedProcessors, nothing_to_draw
from critic_gpt.generation.canvas import Canvas, external_scores
from critic_gpt.generation.drawing import settings_as_warpers, sort_processors
from critic_gpt.generation.joint_draws import Draw, JointHead, Race, draw_jointly
from critic_gpt.generation.passes import Passes
from critic_gpt.generation.prediction import (
    SMALL,
    Prediction,
    at_least_float32,
    draw_some,
    draw_tokens,
    other_tokens,
    processed,
    undrawn,
)
from critic_gpt.generation.present_rows import PresentRows
from critic_gpt.generation.reveal_order import RevealOrder
from critic_gpt.heads.joint import JointReading
from critic_gpt.heads.numbers import not_finite


# Of which every token is prepared for joint draws before the first one.
_SMALL_VOCABULARY = 1024


class DenoisingRun(PresentRows):
    """
    What strategies work with: the passes of the model, what is predicted and drawn, and the rows it is drawn in.

    Args:
        model: With `forward`, and `calibration_for` and `has_trained_critic` where there is a critic.
        canvas ([`Canvas`]): Where generation takes place.
        config ([`CriticGPTGenerationConfig`]): Complete.
        seeds (`torch.LongTensor` of shape `(batch_size,)`): One a row.
        processors (`list[LogitsProcessor]`): Applied before temperature, top-k and top-p; warpers among them shape
            the draw alone.
        remasking_model (callable, *optional*): The external judge of tokens.
    """

    def __init__(
        self,
        model: Any,
        canvas: Canvas,
        config: GenerationConfig,
        seeds: torch.Tensor,
        processors: list[Callable] | None,
        remasking_model: Callable | None = None,
    ):
        super().__init__(canvas, config, seeds)
        self.model = model
        self.remasking_model = remasking_model
        # What the last pass left for predictions, and for joint draws: queries and keys.
        self.states: torch.Tensor | None = None
        self.joint_states: tuple[torch.Tensor | None, torch.Tensor | None] = None, None
        self.passes = Passes(model, with_joint=config.token_draws == "joint")
        self.vocab_size = Backbone.of(model.config).vocab_size
        # Steps that are left, the present one included; and those of later blocks among them.
        self.steps_left, self.steps_beyond = 1, 0
        # The last prediction, where somebody asks for it: it is as large as all logits.
        self.keeps_prediction = False
        self.prediction: Prediction | None = None
        # Whether the language model and its critic gave numbers so far; known to the device alone.
        self.broken_logits = self.broken_scores = torch.zeros((), dtype=torch.bool, device=canvas.input_ids.device)
        suppressed = config.suppressed_token_ids, config.mask_token_id, config.pad_token_id
        self.special_ids = never_drawn_ids(model.config, *suppressed)
        self.processors, self.own_warpers = sort_processors(processors)
        for given in (self.processors, self.own_warpers):
            if given:  # whatever they make of the scores, what is drawn is a token
                given.append(SuppressTokensLogitsProcessor(self.special_ids, device=canvas.input_ids.device))

    @cached_property
    def calibration(self) -> CriticCalibration:
        """The table that fits these settings; asked for where the critic speaks only, since it may warn."""
        table = self.model.calibration_for(self._whole_config)
        return CriticCalibration.or_ramp(table, warn=self.model.has_trained_critic)

    @contextmanager
    def alone(self, watched: bool) -> Iterator[None]:
        """
        Within it no tensor of this run is seen by others, where that is so: torch then keeps no account of what
        changes when, a tenth of the time of a small pass. What the run is asked for afterwards are plain tensors.

        Args:
            watched (`bool`): Whether somebody looks on.
        """
        others = watched or self.passes.compiler is not None or self.remasking_model is not None
        others = others or self.processors or self.own_warpers
        if others or not self.passes.are_bare or torch.is_autocast_enabled(self.sequences.device.type):
            yield
            return
        with torch.inference_mode():
            yield
        self.make_plain()

    @cached_property
    def joint_values(self) -> Callable[[torch.Tensor], torch.Tensor]:
        """What a joint head keeps of tokens: of a small vocabulary looked up, since all are drawn again and again."""
        if self.vocab_size > _SMALL_VOCABULARY:
            return self.model.joint_values
        table = self.model.joint_values(torch.arange(self.vocab_size, device=self.canvas.input_ids.device))
        return lambda tokens: F.embedding(tokens, table.flatten(1)).unflatten(-1, table.shape[1:])

    @cached_property
    def joint_shifted(self) -> JointReading:
        """How what a joint head reads shifts scores."""
        return self.model.joint_reading()

    def uniforms(self, stream: int, step: int) -> torch.Tensor:
        return self.chance.uniforms(stream, step)

    def forward(self, input_ids: torch.Tensor):
        """
        One pass. Where the strategy says what it wants predicted, the logits of a large canvas are left to
        [`DenoisingRun.predict`]: the output then has none.
        """
        self.count_pass()
        output = self._read(input_ids)
        self.judged_ids, self.critic_logits = input_ids, getattr(output, "critic_logits", None)
        self.states = getattr(output, "last_hidden_state", None)
        self.joint_states = getattr(output, "joint_queries", None), getattr(output, "joint_keys", None)
        if self.critic_logits is not None:
            self.note_scores(self.critic_logits, self.canvas.attention_mask)
        return output

    def whole_step(self, function: Callable, input_ids: torch.Tensor, *arguments: Any, kind: tuple) -> Any:
        """A step as one compiled function ([`Passes`]); it gives `critic_logits` and `probability` among others."""
        self.count_pass()
        found = self.passes.whole_step(function, input_ids, self._sight, *arguments, kind=kind)
        self.judged_ids, self.critic_logits = input_ids, found.critic_logits
        self.note_scores(self.critic_logits, self.canvas.attention_mask)
        self.note_probability(found.probability)
        return found

    def _read(self, input_ids: torch.Tensor) -> Any:
        """What the model makes of tokens (B, T); of a block's states, where they are all there is, come the logits."""
        with_logits = not self.reads_some(input_ids)
        if self.block is None:
            return self.passes.read(input_ids, self._sight, with_logits)
        output, tokens = self.block.read(input_ids)
        self._block_tokens[self.rows] += tokens
        if output.logits is None and with_logits:
            output = output._replace(logits=self.model.lm_logits(output.last_hidden_state))
        return output

    def judged_by(self, judge: Callable, input_ids: torch.Tensor) -> torch.Tensor:
        """Scores (B, T), higher = more likely wrong, of somebody else's judge, who sees all that a pass sees."""
        if self.block is not None:
            return self.block.judged_by(judge, input_ids)
        return external_scores(judge(input_ids=input_ids, attention_mask=self.canvas.attention_mask))

    def reads_some(self, input_ids: torch.Tensor) -> bool:
        """Whether predictions are made at the positions that are asked for alone."""
        if not self.passes.asks_where or self.processors or self.own_warpers or self.keeps_prediction:
            return False
        return input_ids.numel() * self.vocab_size > SMALL

    def note_scores(self, critic_logits: torch.Tensor, attention_mask: torch.Tensor) -> None:
        """Keeps in mind whether any score (B, T) of a real token is no number."""
        if _surely_numbers(critic_logits):
            return
        self.broken_scores = self.broken_scores | (~critic_logits.isfinite() & attention_mask.bool()).any()

    def check_numbers(self) -> None:
        """
        Raises a `ValueError` where a prediction or a score was no number, which would pass for a token or for a safe
        one. Waits for the device.
        """
        if bool(self.broken_logits):
            raise nothing_to_draw() if self.processors or self.own_warpers else not_finite("logits")
        if bool(self.broken_scores):
            raise not_finite("critic scores")

    def predict(
        self,
        input_ids: torch.Tensor,
        logits: torch.Tensor | None,
        step: int,
        exclude: torch.Tensor | None = None,
        stream: int = STREAM_SAMPLE,
        temperature: float | None = None,
        where: torch.Tensor | None = None,
        draws: torch.Tensor | bool = True,
    ) -> Prediction:
        """
        Draws tokens under the settings of this run, or at another temperature than theirs.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): What the last pass saw.
            logits (`torch.FloatTensor` of shape `(batch_size, sequence_length, vocab_size)`, *optional*): What it
                said; `None` where the pass left them to this.
            step (`int`): Whose random numbers are taken.
            exclude (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): Never drawn there.
            stream (`int`, *optional*): Of random numbers.
            temperature (`float`, *optional*): Takes the place of the configuration's.
            where (`torch.BoolTensor` of shape `(batch_size, sequence_length)`, *optional*): Where it is wanted, all
                over by default. Elsewhere nothing is promised.
            draws (`bool` or `torch.BoolTensor` of shape `(batch_size, sequence_length)`, *optional*): Where tokens
                are drawn: all over that, nowhere (`False`; a warper of the user's is shown all the same what each
                position would be by itself), or there at least.
        """
        some = self.reads_some(input_ids)
        places = None
        if some and where is not None and input_ids.device.type == "cpu":
            # Elsewhere this would wait for the device, and to make all scores costs no more than a bare pass does.
            places = where.flatten().nonzero().squeeze(-1)
        scores = self._scores(input_ids, logits, places)
        if draws is False and not self.own_warpers:
            return undrawn(input_ids, scores, places, at_once=not some)
        draw = self._draw(stream, step, self.temperature_at(input_ids) if temperature is None else temperature)
        if not some:
            return self._noted(draw_tokens(input_ids, scores, *draw, exclude))
        only = draws if isinstance(draws, torch.Tensor) and places is not None else None
        return self._noted(draw_some(input_ids, scores, places, *draw, exclude, only))

    def _scores(
        self, input_ids: torch.Tensor, logits: torch.Tensor | None, places: torch.Tensor | None
    ) -> torch.Tensor:
        """By what tokens are drawn: (B, T, V), or of some places (N, V)."""
        if logits is None:
            states = self.states
            assert states is not None  # a pass that makes no logits leaves them
            own = self.model.lm_logits(states if places is None else states.flatten(0, 1)[places])
        elif places is not None:
            own = logits.flatten(0, 1)[places]
        else:
            if self.passes.are_bare and not self.processors:
                return suppress_tokens(at_least_float32(logits), self.special_ids, in_place=True)
            others = None if self.block is None else self._others_of_block
            return processed(logits, input_ids, self.special_ids, self.processors, self.steps_left, others)
        return suppress_tokens(own, self.special_ids, in_place=True)

    def _others_of_block(self, input_ids: torch.Tensor) -> torch.Tensor:
        """For each place of the block all tokens of its text but its own, (B * N, T - 1)."""
        return other_tokens(self.sequences[self.rows].scatter(1, self.columns, input_ids), self.columns)

    def _noted(self, prediction: Prediction) -> Prediction:
        """Keeps what is asked for later of a prediction, which it gives back."""
        self.note_probability(prediction.probability)
        if self.keeps_prediction:
            self.prediction = prediction
        return prediction

    def note_probability(self, probability: torch.Tensor) -> None:
        """Keeps in mind whether any probability (B, T) of what was drawn is no number, as all of broken logits are."""
        if not _surely_numbers(probability):
            self.broken_logits = self.broken_logits | (probability.isnan() & self.canvas.editable).any()
            if self.broken_logits.device.type == "cpu":
                self.check_numbers()  # at once where nothing has to be waited for

    def draw_jointly(
        self, input_ids: torch.Tensor, prediction: Prediction, masked: torch.Tensor, count: int, step: int
    ) -> Prediction:
        """`draw_jointly` under the settings of this run, after the last forward pass."""
        draw, race, sums = self._draw(STREAM_SAMPLE, step, self.temperature_at(input_ids)), None, None
        opinion = self._order.opinion(drawn=False)
        if self.vocab_size > ONE_STEP and opinion is not None and not draw.warpers:  # both of one look
            said, sums = prediction.read(lambda known: (opinion(known), block_sums(known)), where=masked)
            eagerness = self._order.eagerness(said, said, partial(self.uniforms, STREAM_REVEAL, step))
        else:
            eagerness = self.eagerness(prediction, None, step, where=masked)
        if self.vocab_size > ONE_STEP:
            race = Race(None if draw.uniforms is None else partial(self.chance.several, STREAM_RACE, step), sums)
        tie_break = self.uniforms(STREAM_DRAW_ORDER, step)
        head = JointHead(*self.joint_states, self.joint_values, self.joint_shifted)
        return self._noted(draw_jointly(prediction, input_ids, masked, eagerness, tie_break, count, head, draw, race))

    @property
    def _order(self) -> RevealOrder:
        """Of the present settings, which are those of a block while one is open."""
        return RevealOrder(self.config.unmasking)

    def eagerness(
        self,
        prediction: Prediction,
        probability: torch.Tensor | None,
        step: int,
        where: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """
        How eagerly masks are revealed (B, T), higher first; `probability` (B, T) is what confidence means, that of the
        likeliest token by default.
        """
        opinion = self._order.opinion(drawn=probability is not None)
        said = None if opinion is None else prediction.read(opinion, where=where)
        probability = prediction.probability if probability is None else probability
        return self._order.eagerness(said, probability, partial(self.uniforms, STREAM_REVEAL, step))

    def temperature_at(self, input_ids: torch.Tensor) -> float | torch.Tensor:
        """How warm the tokens of a step are drawn that begins with `input_ids`: one number, or one per row (B,)."""
        begin, end = self.config.temperature, self.config.temperature_end
        if end is None:
            return begin
        editable = self.canvas.editable
        visible = (editable & (input_ids != self.config.mask_token_id)).sum(dim=-1)
        share = visible / editable.sum(dim=-1).clamp(min=1)
        return begin + (end - begin) * share

    def _draw(self, stream: int, step: int, temperature: float | torch.Tensor) -> Draw:
        """The numbers that tokens are drawn by, none at a temperature of 0, and what shapes the draw."""
        likeliest = not isinstance(temperature, torch.Tensor) and temperature == 0
        draw = None if likeliest else self.uniforms(stream, step)
        warpers = settings_as_warpers(self.config, temperature, self.canvas.input_ids.shape[1])
        return Draw(draw, CheckedProcessors([*self.own_warpers, *warpers]))

    def remask(self, input_ids: torch.Tensor, step: int, **scores) -> tuple[torch.Tensor, torch.Tensor]:
        """`apply_remasking_step` under the settings of this run."""
        config = self.config
        gumbel, by_chance = config.remask_selection == "gumbel", scores.get("remasking") == "random"
        own = {"error_threshold": config.error_threshold, "protected_mask": ~self.canvas.editable}
        return apply_remasking_step(
            input_ids,
            config.mask_token_id,
            randomness_strength=config.randomness_strength,
            noise=self.uniforms(STREAM_REMASK, step) if by_chance or config.randomness_strength else None,
            remask_selection=config.remask_selection,
            selection_temperature=config.selection_temperature,
            selection_noise=self.uniforms(STREAM_SELECT, step) if gumbel else None,
            **{**own, **scores},
        )


def _surely_numbers(values: torch.Tensor) -> bool:
    """Whether all are finite, as far as one look says that: a sum of numbers is one. Never waits for a device."""
    return values.device.type == "cpu" and math.isfinite(values.sum())
