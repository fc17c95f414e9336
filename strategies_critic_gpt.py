# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The strategies of generation: who decides which tokens are masked again, and what a step is.

A strategy is one class with one entry in `STRATEGIES`. The class declares what it accepts, its defaults, what it needs
and what it costs; an instance serves one call of `generate` and makes its steps. Letters: B batch, T positions.
"""

from typing import Any, ClassVar

import torch
from transformers.generation import GenerationConfig

from .denoising_critic_gpt import external_scores, one_pass_step
from .denoising_run_critic_gpt import DenoisingRun, StepOutcome
from .diffusion_critic_gpt import STREAM_REVEAL
from .remasking_critic_gpt import remask_ratios, reveal_shares, settle, share_of


SCORE_ARGUMENTS = ("error_threshold", "randomness_strength", "remask_selection", "selection_temperature")
# Fields of the generation configuration that mean something to some strategies only.
STRATEGY_ARGUMENTS = ("unmasking", "remask_per_step", "start_ratio", "end_ratio", "schedule", *SCORE_ARGUMENTS)
SCORE_DEFAULTS = {"randomness_strength": 0.0, "remask_selection": "worst", "selection_temperature": 1.0}


class Strategy:
    """
    One way of denoising.

    Class attributes:
        name (`str`): Its value of `remasking`.
        family (`str`): Its kind in words, for errors.
        accepts (`tuple[str]`): Those of `STRATEGY_ARGUMENTS` that mean something to it.
        defaults (`dict`): Values of accepted fields that nobody set.
        harmless (`dict`): Values that say of a field without meaning what is the case anyway.
        unused_beside_threshold (`tuple[str]`): Accepted fields that mean nothing once `error_threshold` is set.
        needs_critic, needs_external (`bool`): Whether it works with a critic head or a `remasking_model` only.
        passes_per_step (`int`): Forward passes of the trunk a step, the last one excepted, which needs a single one.
    """

    name: ClassVar[str]
    family: ClassVar[str]
    accepts: ClassVar[tuple[str, ...]] = ()
    defaults: ClassVar[dict[str, Any]] = {}
    harmless: ClassVar[dict[str, Any]] = SCORE_DEFAULTS
    unused_beside_threshold: ClassVar[tuple[str, ...]] = ()
    needs_critic: ClassVar[bool] = False
    needs_external: ClassVar[bool] = False
    passes_per_step: ClassVar[int] = 1

    def __init__(self, run: DenoisingRun):
        self.run = run
        self.last_step = run.config.num_steps - 1
        self.editable = run.canvas.editable
        self.total = self.editable.sum(dim=-1)  # (B,) what may change
        self.nothing = torch.zeros_like(self.editable)

    def step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        """Makes denoising step number `step` on the tokens (B, T)."""
        raise NotImplementedError

    @classmethod
    def forward_passes(cls, num_steps: int) -> int:
        """How many passes of the trunk `num_steps` steps take at most; fewer only where a threshold stops early."""
        return cls.passes_per_step * (num_steps - 1) + 1

    @classmethod
    def _matters(cls, name: str, value: Any) -> bool:
        return value != cls.harmless.get(name)

    @classmethod
    def check(cls, config: GenerationConfig, explicit: set[str], *, critic: bool, external: bool) -> None:
        """
        Refuses what contradicts the strategy.

        Args:
            config ([`CriticGPTGenerationConfig`]): The settings.
            explicit (`set[str]`): Fields that the call itself set; the others give way silently.
            critic, external (`bool`): Whether there are a critic head and a `remasking_model`.
        """
        if cls.needs_critic and not critic:
            raise ValueError(
                f"`remasking` must not be {cls.name!r} for a model without a critic head (`add_critic_head=False`), "
                f'got {cls.name!r}: choose "confidence" or "none", or train a critic.'
            )
        if cls.needs_external and not external:
            raise ValueError(
                f'`remasking_model` must be given for `remasking="{cls.name}"`, got None: pass a callable.'
            )
        for name in STRATEGY_ARGUMENTS:
            value = getattr(config, name)
            if name not in explicit or not cls._matters(name, value):
                continue
            if name not in cls.accepts:
                raise ValueError(
                    f"`{name}` has no meaning for `remasking={cls.name!r}`, a {cls.family} strategy, got {value!r}: "
                    "leave it out, or name another strategy in `remasking`."
                )
            if config.error_threshold is not None and name in cls.unused_beside_threshold:
                raise ValueError(
                    f"`{name}` has no meaning beside `error_threshold={config.error_threshold}` where all masks are "
                    f"filled, got {value!r}: give one of the two."
                )
        temperature, drawn = config.selection_temperature, config.remask_selection == "gumbel"
        if "selection_temperature" in explicit and not drawn and cls._matters("selection_temperature", temperature):
            raise ValueError(
                f"`selection_temperature` has no meaning where the worst tokens are taken, got {temperature}: set "
                '`remask_selection="gumbel"`, or leave it out.'
            )

    @classmethod
    def complete(cls, config: GenerationConfig) -> None:
        """Sets its defaults in `config`, in place, and takes out what means nothing to it."""
        threshold = config.error_threshold if "error_threshold" in cls.accepts else None
        unused = () if threshold is None else cls.unused_beside_threshold
        for name in STRATEGY_ARGUMENTS:
            if name not in cls.accepts or name in unused:
                setattr(config, name, cls.harmless.get(name))
            elif getattr(config, name) is None:
                setattr(config, name, cls.defaults.get(name))


# --------------------------------------------------------------------------------------------------------------------
# One pass a step: predictions for the masks and the verdict on the visible tokens together
# --------------------------------------------------------------------------------------------------------------------


class PlainUnmasking(Strategy):
    """Reveals masks by the schedule and masks nothing again."""

    name, family = "none", "one-pass"
    accepts = ("unmasking", "schedule")
    defaults: ClassVar = {"unmasking": "confidence", "schedule": "linear"}
    harmless: ClassVar = {**SCORE_DEFAULTS, "remask_per_step": 0}

    def __init__(self, run: DenoisingRun):
        super().__init__(run)
        config = run.config
        self.first_visible = (self.editable & (run.canvas.input_ids != config.mask_token_id)).sum(dim=-1)
        self.shares = reveal_shares(config.schedule, config.num_steps)

    def step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        run, config = self.run, self.run.config
        output = run.forward(input_ids)
        target = self.first_visible + share_of(self.total - self.first_visible, self.shares[step])
        remasked, probabilities = self.judge(input_ids, output, step, target)
        prediction = run.predict(input_ids, output.logits, step)
        after = one_pass_step(
            input_ids,
            self.editable,
            prediction,
            config.mask_token_id,
            self.total if step == self.last_step else target,
            config.unmasking,
            run.uniforms(STREAM_REVEAL, step),
            remasked,
        )
        drawn = (input_ids == config.mask_token_id) & (after != config.mask_token_id)
        filled = torch.where(remasked, input_ids, after)
        return StepOutcome(filled, remasked, after, drawn, prediction.probability, probabilities)

    def judge(self, input_ids, output, step: int, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Which visible tokens are masked again (B, T), where `target` (B,) are to be visible; and P(wrong)."""
        return self.nothing, None


class Critic(PlainUnmasking):
    """Reveals masks by the schedule and masks again what the critic holds to be wrong, in the same pass (PRISM:
    Kim et al., "Fine-Tuning Masked Diffusion for Provable Self-Correction", 2025)."""

    name, needs_critic = "critic", True
    accepts = (*PlainUnmasking.accepts, "remask_per_step", *SCORE_ARGUMENTS)
    # The schedule and the number chosen by measurement (docs/EXPERIMENTS.md).
    defaults: ClassVar = {**PlainUnmasking.defaults, **SCORE_DEFAULTS, "schedule": "quadratic", "remask_per_step": 2}
    harmless: ClassVar = SCORE_DEFAULTS
    unused_beside_threshold = ("remask_per_step",)

    def __init__(self, run: DenoisingRun):
        super().__init__(run)
        # A draft without a [MASK] has nothing to reveal, so no schedule limits how much of it is revised.
        self.draft = self.first_visible == self.total

    def judge(self, input_ids, output, step: int, target: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        config = self.run.config
        probabilities = self.run.calibration.error_probability(output.critic_logits)
        if not 0 < step < self.last_step:
            return self.nothing, probabilities
        # Tokens masked again must still fit among those the schedule leaves masked.
        room = torch.where(self.draft, self.total, self.total - target)
        threshold = config.error_threshold is not None
        wanted = self.total if threshold else torch.full_like(self.total, config.remask_per_step)
        _, remasked = self.run.remask(
            input_ids,
            step,
            remasking="critic",
            critic_scores=probabilities,
            tie_break=settle(output.critic_logits),
            num_remask=torch.minimum(wanted, room),
        )
        return remasked, probabilities


# --------------------------------------------------------------------------------------------------------------------
# Fill all: fill every mask, score the complete sequence, mask the worst share again
# --------------------------------------------------------------------------------------------------------------------


class FillAll(Strategy):
    """Fills every mask, scores the complete sequence and masks its worst share again (Lezama et al., "Improved Masked
    Image Generation with Token-Critic", 2022); with a threshold until nothing lies above it."""

    family = "fill-all"
    accepts = ("start_ratio", "end_ratio", "schedule", *SCORE_ARGUMENTS)
    defaults: ClassVar = {**SCORE_DEFAULTS, "start_ratio": 0.95, "end_ratio": 0.05, "schedule": "linear"}
    # All that lies above is masked, so that no order among the tokens decides.
    unused_beside_threshold = (
        "schedule",
        "start_ratio",
        "end_ratio",
        "remask_selection",
        "selection_temperature",
        "randomness_strength",
    )

    def __init__(self, run: DenoisingRun):
        super().__init__(run)
        config = run.config
        self.ratios = None
        if config.error_threshold is None:
            self.ratios = remask_ratios(config.schedule, config.num_steps, config.start_ratio, config.end_ratio)

    def step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        run = self.run
        prediction = run.predict(input_ids, run.forward(input_ids).logits, step)
        masked = self.editable & (input_ids == run.config.mask_token_id)
        filled = torch.where(masked, prediction.tokens, input_ids)
        if step == self.last_step:
            return StepOutcome(filled, self.nothing, filled, masked, prediction.probability)
        scores, probabilities = self.scores(filled, masked, prediction)
        num_remask = None if self.ratios is None else share_of(self.total, self.ratios[step + 1])
        after, remasked = run.remask(filled, step, num_remask=num_remask, remasking=self.source, **scores)
        # The one place where generation waits for the device: the adaptive stop.
        finished = self.ratios is None and not bool(remasked.any())
        return StepOutcome(filled, remasked, after, masked, prediction.probability, probabilities, finished)

    # What the scores are called where they are applied.
    source: ClassVar[str]

    def scores(self, filled, masked, prediction) -> tuple[dict[str, torch.Tensor], torch.Tensor | None]:
        """The scores of the complete sequence, as arguments of `apply_remasking_step`; and the critic's P(wrong)."""
        raise NotImplementedError


class External(FillAll):
    """Judged by a model or function of the user's."""

    name, source, needs_external = "external", "external", True

    def scores(self, filled, masked, prediction):
        judged = self.run.remasking_model(input_ids=filled, attention_mask=self.run.canvas.attention_mask)
        return {"external_scores": external_scores(judged)}, None


class CriticFull(FillAll):
    """Judged by the critic, in a pass of its own over the complete sequence."""

    name, source, needs_critic, passes_per_step = "critic_full", "critic", True, 2

    def scores(self, filled, masked, prediction):
        logits = self.run.forward(filled).critic_logits
        probabilities = self.run.calibration.error_probability(logits)
        return {"critic_scores": probabilities, "tie_break": settle(logits)}, probabilities


class Confidence(FillAll):
    """Judged by the probability with which each token was drawn (MaskGIT: Chang et al., "MaskGIT: Masked Generative
    Image Transformer", 2022)."""

    name, source = "confidence", "confidence"

    def __init__(self, run: DenoisingRun):
        super().__init__(run)
        self.confidence = None

    def scores(self, filled, masked, prediction):
        if self.confidence is None:
            # Of a draft nothing else is known.
            self.confidence = prediction.probabilities.gather(-1, filled[..., None]).squeeze(-1)
        # A token keeps the probability it was drawn with: a model is not trained to judge its visible tokens.
        self.confidence = torch.where(masked, prediction.probability, self.confidence)
        return {"confidence": settle(self.confidence)}, None


class Chance(FillAll):
    """Masks a random share again."""

    name, source = "random", "random"
    # A threshold means nothing to chance.
    accepts = tuple(name for name in FillAll.accepts if name != "error_threshold")

    def scores(self, filled, masked, prediction):
        return {}, None


# --------------------------------------------------------------------------------------------------------------------
# Redraw all: no masks after the first step
# --------------------------------------------------------------------------------------------------------------------


class Multinomial(Strategy):
    """
    Draws every position that may change anew at each step, masked or not, from the model's prediction for the
    complete sequence of the step before: a Markov chain over sequences that are whole from the first step on, with
    all positions drawn at once and independently (as the sampler of Savinov et al., "Step-unrolled Denoising
    Autoencoders for Text Generation", 2022). It relies on predictions at *visible* tokens, to which a plain masked
    diffusion loss gives no training: it is meant for models trained to correct their own fillings
    (`correction_alpha`). There is no schedule, and a step has no memory but the tokens.
    """

    name, family = "multinomial", "redraw-all"
    harmless: ClassVar = {**SCORE_DEFAULTS, "remask_per_step": 0}

    def step(self, input_ids: torch.Tensor, step: int) -> StepOutcome:
        prediction = self.run.predict(input_ids, self.run.forward(input_ids).logits, step)
        after = torch.where(self.editable, prediction.tokens, input_ids)
        return StepOutcome(after, self.nothing, after, self.editable, prediction.probability)


STRATEGIES: dict[str, type[Strategy]] = {
    strategy.name: strategy
    for strategy in (Critic, PlainUnmasking, External, CriticFull, Confidence, Chance, Multinomial)
}
