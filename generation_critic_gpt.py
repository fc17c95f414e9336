# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""`generate()` for masked diffusion models with a critic.

The mixin knows no model class: it asks for `logits` and `critic_logits` from a forward pass, for `mask_token_id`,
`vocab_size` and `max_position_embeddings` in the configuration, and for `critic_head`, `has_trained_critic` and
`calibration` where there is a critic. Letters: B batch, T positions, V vocabulary.
"""

import copy
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NamedTuple

import torch
from transformers.generation import (
    LogitsProcessorList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)
from transformers.modeling_outputs import ModelOutput
from transformers.utils import logging

from .calibration_critic_gpt import CriticCalibration
from .denoising_critic_gpt import (
    Canvas,
    Prediction,
    cut_after_eos,
    external_scores,
    one_pass_step,
    predict_tokens,
    prepare_canvas,
)
from .diffusion_critic_gpt import (
    STREAM_REMASK,
    STREAM_REVEAL,
    STREAM_SAMPLE,
    row_seeds,
    uniforms,
)
from .generation_configuration_critic_gpt import (
    DEFAULT_REMASK_PER_STEP,
    DEFAULT_SCHEDULES,
    ONE_PASS_REMASKING,
    CriticGPTGenerationConfig,
)
from .remasking_critic_gpt import (
    apply_remasking_step,
    remask_ratios,
    resolve_remasking,
    reveal_shares,
    settle,
    share_of,
)


logger = logging.get_logger(__name__)

# Arguments of `from_pretrained` that decide where files come from.
_LOCATION_ARGUMENTS = ("subfolder", "revision", "token", "cache_dir", "local_files_only", "force_download", "proxies")


@dataclass
class CriticGPTGenerationOutput(ModelOutput):
    """
    Output of [`CriticGPTGenerationMixin.generate`].

    Args:
        sequences (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Finished sequences.
        error_probabilities (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): Calibrated
            P(wrong) of each generated token; 0 at given tokens, which are taken as true, and at padding. `None`
            without a trained critic.
        expected_errors (`torch.FloatTensor` of shape `(batch_size,)`, *optional*): Their sum: how many generated
            tokens are expected to be wrong.
        forward_passes (`int`): How often the trunk ran to generate.
        scoring_passes (`int`): How often it ran only to judge the result.
        history (`list[DenoisingStep]`, *optional*): Every step, on the CPU.
    """

    sequences: torch.LongTensor | None = None
    error_probabilities: torch.FloatTensor | None = None
    expected_errors: torch.FloatTensor | None = None
    forward_passes: int | None = None
    scoring_passes: int | None = None
    history: list | None = None


class DenoisingStep(NamedTuple):
    """One step of the history: what went in, what stood there once masks were filled, what was masked again (B, T)."""

    input_ids: torch.Tensor
    filled: torch.Tensor
    remasked: torch.Tensor
    error_probabilities: torch.Tensor | None


class _Run:
    """What one call of `generate` carries from step to step: settings, randomness, counters, history."""

    def __init__(self, model, canvas: Canvas, config: CriticGPTGenerationConfig, seeds, processors, streamer):
        self.model = model
        self.canvas = canvas
        self.config = config
        self.seeds = seeds.to(canvas.input_ids.device)
        # Place of each token among the real ones of its row: padding, on whichever side, moves no random number.
        self.place = (canvas.attention_mask.long().cumsum(dim=-1) - 1).clamp(min=0)
        self.processors = processors
        self.warpers = _warpers(config)
        self.streamer = streamer
        self.forward_passes = 0
        self.history = [] if config.return_history else None
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
        return apply_remasking_step(
            input_ids,
            self.config.mask_token_id,
            error_threshold=self.config.error_threshold,
            remasking=scores.pop("remasking", "critic"),
            protected_mask=~self.canvas.editable,
            randomness_strength=self.config.randomness_strength,
            noise=self.uniforms(STREAM_REMASK, step),
            **scores,
        )

    def record(self, input_ids, filled, remasked, probabilities, after) -> None:
        if self.history is not None:
            rows = (input_ids, filled, remasked, probabilities)
            self.history.append(DenoisingStep(*[None if row is None else row.cpu() for row in rows]))
        if self.streamer is not None and hasattr(self.streamer, "put_draft"):
            self.streamer.put_draft(after.cpu())


class CriticGPTGenerationMixin:
    """Adds `generate` to a masked diffusion model."""

    # Asked for by `repr` of a pipeline.
    output_modalities = ("text",)

    @torch.no_grad()
    def generate(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        generation_config: CriticGPTGenerationConfig | None = None,
        logits_processor: LogitsProcessorList | None = None,
        protected_mask: torch.BoolTensor | None = None,
        remasking_model: Callable | None = None,
        seed: int | list[int] | None = None,
        generator: torch.Generator | None = None,
        streamer: Any | None = None,
        **kwargs,
    ) -> CriticGPTGenerationOutput | torch.LongTensor:
        """
        Fills the [MASK] tokens of `input_ids` in `num_steps` denoising steps; where there are none, appends
        `max_new_tokens` of them first.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): Text with holes, or a
                prefix. Without it one sequence of `max_new_tokens` tokens is generated.
            attention_mask (`torch.Tensor` of the same shape, *optional*): 0 = padding; by default where
                `pad_token_id` stands.
            generation_config ([`CriticGPTGenerationConfig`], *optional*): Takes the place of the model's own.
            logits_processor ([`~transformers.LogitsProcessorList`], *optional*): Applied before temperature, top-k and
                top-p, on scores `(batch_size * sequence_length, vocab_size)`.
            protected_mask (`torch.BoolTensor` of the same shape, *optional*): Positions that never change. By default
                every given token; visible tokens left unprotected may be revised, and a protected [MASK] stays one.
            remasking_model (callable or token classifier, *optional*): Judges tokens for `remasking="external"`:
                called with `input_ids` and `attention_mask`, higher output = better token.
            seed (`int` or `list[int]`, *optional*): One number, or one a row: a row's result then depends on its own
                number only, whatever the batch around it.
            generator (`torch.Generator`, *optional*): Used where no seed is given; torch's global one by default.
            streamer (*optional*): A [`~transformers.generation.streamers.BaseStreamer`]. `put` gets what all rows
                have of a prefix and, in the end, the rest; `put_draft`, if any, every step.
            kwargs: Fields of [`CriticGPTGenerationConfig`], for this call.

        Returns:
            [`CriticGPTGenerationOutput`], or the sequences alone with `return_dict_in_generate=False`.
        """
        config, explicit = self._prepare_generation_config(generation_config, kwargs)
        if input_ids is None:
            input_ids = torch.empty((1, 0), dtype=torch.long, device=self.device)
        prefix_only = protected_mask is None and not bool((input_ids == config.mask_token_id).any())
        if "max_new_tokens" not in explicit and not prefix_only:
            # A number in the model's own configuration is meant for prefixes.
            config.max_new_tokens = None
        if remasking_model is not None and config.remasking not in ("auto", "external"):
            raise ValueError(
                f'`remasking_model` is for `remasking="external"`, got {config.remasking!r}: drop one of the two.'
            )
        strategy = resolve_remasking(
            config.remasking, external=remasking_model is not None, critic=self._has_critic_to_use(config)
        )
        if config.schedule is None:
            config.schedule = DEFAULT_SCHEDULES.get(strategy, "linear")
        has_critic = getattr(self, "critic_head", None) is not None
        config.check_strategy(strategy, explicit, critic=has_critic, external=remasking_model is not None)
        if strategy == "random":
            # A threshold of the model's own configuration means nothing to chance.
            config.error_threshold = None
        if input_ids.is_floating_point() or (input_ids.numel() and not self._knows(input_ids)):
            raise ValueError(
                f"`input_ids` must be whole numbers in [0, vocab_size = {self.config.vocab_size}), got "
                f"{input_ids.dtype} from {input_ids.min()} to {input_ids.max()}: use the model's own tokenizer."
            )
        canvas = prepare_canvas(input_ids, attention_mask, protected_mask, config, self.config.max_position_embeddings)
        seeds = row_seeds(seed, canvas.input_ids.shape[0], generator)
        run = _Run(self, canvas, config, seeds, LogitsProcessorList(logits_processor or []), streamer)
        prefix = 0
        if streamer is not None and config.max_new_tokens is not None:
            prefix = int(canvas.attention_mask.sum(dim=-1).min()) - config.max_new_tokens
            if prefix > 0:
                streamer.put(canvas.input_ids[:, :prefix].cpu())
        if strategy in ONE_PASS_REMASKING:
            sequences = self._generate_one_pass(run, strategy)
        else:
            sequences = self._generate_fill_all(run, strategy, remasking_model)
        return self._finish(run, sequences, prefix)

    def _knows(self, input_ids: torch.Tensor) -> bool:
        return bool((input_ids.min() >= 0) & (input_ids.max() < self.config.vocab_size))

    def _generate_one_pass(self, run: _Run, strategy: str) -> torch.Tensor:
        """Each step: one pass gives predictions for the masks and the verdict on the visible tokens (PRISM:
        Kim et al., "Fine-Tuning Masked Diffusion for Provable Self-Correction", 2025)."""
        config, canvas = run.config, run.canvas
        mask_id, x, editable = config.mask_token_id, canvas.input_ids, canvas.editable
        total = editable.sum(dim=-1)
        first_visible = (editable & (x != mask_id)).sum(dim=-1)
        num_remask = DEFAULT_REMASK_PER_STEP if config.remask_per_step is None else config.remask_per_step
        shares = reveal_shares(config.schedule, config.num_steps)
        # A draft without a [MASK] has nothing to reveal, so no schedule limits how much of it is revised.
        draft = first_visible == total
        for step, share in enumerate(shares):
            output = run.forward(x)
            last = step == len(shares) - 1
            target = first_visible + share_of(total - first_visible, share)
            remasked = torch.zeros_like(editable)
            probabilities = None
            if strategy == "critic":
                probabilities = run.calibration.error_probability(output.critic_logits)
                if 0 < step < len(shares) - 1:
                    wanted = total if config.error_threshold is not None else torch.full_like(total, num_remask)
                    _, remasked = run.remask(
                        x,
                        step,
                        critic_scores=probabilities,
                        tie_break=settle(output.critic_logits),
                        # Tokens masked again must still fit among those the schedule leaves masked.
                        num_remask=torch.minimum(wanted, torch.where(draft, total, total - target)),
                    )
            prediction = run.predict(x, output.logits, step)
            noise = run.uniforms(STREAM_REVEAL, step)
            after = one_pass_step(
                x, editable, prediction, mask_id, total if last else target, config.unmasking, noise, remasked
            )
            run.record(x, torch.where(remasked, x, after), remasked, probabilities, after)
            x = after
        return x

    def _generate_fill_all(self, run: _Run, strategy: str, remasking_model: Callable | None) -> torch.Tensor:
        """Each step: fill every mask, score the complete sequence, mask the worst share again (Lezama et al.,
        "Improved Masked Image Generation with Token-Critic", 2022; MaskGIT for `confidence`)."""
        config, canvas = run.config, run.canvas
        x, editable = canvas.input_ids, canvas.editable
        total = editable.sum(dim=-1)
        ratios = remask_ratios(config.schedule, config.num_steps, config.start_ratio, config.end_ratio)
        confidence = None
        for step in range(config.num_steps):
            prediction = run.predict(x, run.forward(x).logits, step)
            masked = editable & (x == config.mask_token_id)
            filled = torch.where(masked, prediction.tokens, x)
            if confidence is None:
                confidence = prediction.probabilities.gather(-1, filled[..., None]).squeeze(-1)
            # A token keeps the probability it was drawn with: a model is not trained to judge its visible tokens.
            confidence = torch.where(masked, prediction.probability, confidence)
            if step == config.num_steps - 1:
                run.record(x, filled, torch.zeros_like(editable), None, filled)
                return filled
            scores, probabilities = {"remasking": strategy}, None
            if strategy == "critic_full":
                critic_logits = run.forward(filled).critic_logits
                probabilities = run.calibration.error_probability(critic_logits)
                scores = {"critic_scores": probabilities, "tie_break": settle(critic_logits)}
            elif strategy == "external":
                judged = remasking_model(input_ids=filled, attention_mask=canvas.attention_mask)
                scores["external_scores"] = external_scores(judged)
            elif strategy == "confidence":
                scores["confidence"] = settle(confidence)
            num_remask = share_of(total, ratios[step + 1]) if config.error_threshold is None else None
            after, remasked = run.remask(filled, step, num_remask=num_remask, **scores)
            run.record(x, filled, remasked, probabilities, after)
            # The one place where the loop waits for the device: the adaptive stop.
            if config.error_threshold is not None and not bool(remasked.any()):
                return filled
            x = after
        return x

    def _finish(self, run: _Run, sequences: torch.Tensor, prefix: int):
        config, editable, attention_mask = run.config, run.canvas.editable, run.canvas.attention_mask
        if config.eos_token_id is not None and config.pad_token_id is not None:
            sequences = cut_after_eos(sequences, editable, config.eos_token_id, config.pad_token_id)
            cut = editable & (sequences == config.pad_token_id)
            editable, attention_mask = editable & ~cut, attention_mask.masked_fill(cut, 0)
        if run.streamer is not None:
            run.streamer.put(sequences[:, prefix:].cpu())
            run.streamer.end()
        if not config.return_dict_in_generate:
            return sequences
        output = CriticGPTGenerationOutput(
            sequences=sequences, forward_passes=run.forward_passes, scoring_passes=0, history=run.history
        )
        if config.return_error_probabilities and getattr(self, "has_trained_critic", False):
            logits = self(input_ids=sequences, attention_mask=attention_mask, return_dict=True).critic_logits
            probabilities = run.calibration.error_probability(logits)
            output.error_probabilities = probabilities.masked_fill(~editable, 0.0)
            output.expected_errors = output.error_probabilities.sum(dim=-1)
            output.scoring_passes = 1
        return output

    # ---- settings ----

    def _prepare_generation_config(self, generation_config, kwargs) -> tuple[CriticGPTGenerationConfig, set[str]]:
        """Call over passed configuration over the model's own over defaults; and which fields this call set itself."""
        CriticGPTGenerationConfig.refuse_unknown(
            {k: v for k, v in kwargs.items() if k not in CriticGPTGenerationConfig._FIELDS}
        )
        if not isinstance(generation_config, (CriticGPTGenerationConfig, type(None))):
            raise ValueError(
                "`generation_config` must be a CriticGPTGenerationConfig, got a "
                f"{type(generation_config).__name__}: write `CriticGPTGenerationConfig(num_steps=64)`."
            )
        explicit = {name for name, value in kwargs.items() if value is not None}
        if generation_config is not None:
            explicit |= {
                n for n in CriticGPTGenerationConfig._FIELDS if getattr(generation_config, n, None) is not None
            }
        config = copy.deepcopy(generation_config or self.generation_config)
        # A number in the call takes the place of a threshold in the model's own configuration, and the other way.
        for name, other in (("error_threshold", "remask_per_step"), ("remask_per_step", "error_threshold")):
            if name in explicit and other not in explicit:
                setattr(config, other, None)
        config.update(**{k: v for k, v in kwargs.items() if v is not None})
        defaults = CriticGPTGenerationConfig._get_default_generation_params()
        tokens = ("mask_token_id", "pad_token_id", "bos_token_id", "eos_token_id")
        defaults.update({name: getattr(self.config, name, None) for name in tokens})
        for name, value in defaults.items():
            if getattr(config, name) is None:
                setattr(config, name, value)
        config.validate()
        if config.mask_token_id is None:
            raise ValueError(
                "`mask_token_id` must be set to generate, got None: set it in the model's configuration, from the "
                "tokenizer's `mask_token_id`."
            )
        for name in ("mask_token_id", "pad_token_id"):
            value = getattr(config, name)
            if value is not None and not 0 <= value < self.config.vocab_size:
                raise ValueError(
                    f"`{name}` must be in [0, vocab_size = {self.config.vocab_size}), got {value}: take it from the "
                    "tokenizer the model was trained with."
                )
        return config, explicit

    def _has_critic_to_use(self, config: CriticGPTGenerationConfig) -> bool:
        if getattr(self, "critic_head", None) is None:
            return False
        trained = self.has_trained_critic
        guides = config.remasking in ("auto", "critic", "critic_full")
        judges = config.return_error_probabilities and config.return_dict_in_generate
        if not trained:
            logger.warning_once("The critic head has not been trained: train it before it can guide generation.")
        elif getattr(self, "calibration", None) is None and (guides or judges):
            logger.warning_once(
                "The critic is not calibrated: its scores are read as error probabilities by a plain ramp. Run "
                "scripts/calibrate.py for true ones."
            )
        return trained

    def adjust_generation_fn(
        self, generation_config, from_auto_class, from_pipeline, pretrained_model_name_or_path, **kwargs
    ) -> None:
        """Called by `from_pretrained`: takes the configuration passed to it, else the one beside the weights."""
        if generation_config is not None:
            self.generation_config = copy.deepcopy(generation_config)
        elif pretrained_model_name_or_path is not None:
            location = {name: kwargs[name] for name in _LOCATION_ARGUMENTS if kwargs.get(name) is not None}
            try:
                self.generation_config = CriticGPTGenerationConfig.from_pretrained(
                    pretrained_model_name_or_path,
                    _from_auto=from_auto_class,
                    _from_pipeline=from_pipeline,
                    **location,
                )
            except OSError:
                logger.info(f"No generation_config.json in {pretrained_model_name_or_path}: the defaults are used.")


def _warpers(config: CriticGPTGenerationConfig) -> LogitsProcessorList:
    """What shapes the draw of a token; a temperature of 0 draws none."""
    warpers = LogitsProcessorList()
    if config.temperature not in (0, 1):
        warpers.append(TemperatureLogitsWarper(float(config.temperature)))
    if config.top_k is not None:
        warpers.append(TopKLogitsWarper(config.top_k))
    if config.top_p is not None and config.top_p < 1.0:
        warpers.append(TopPLogitsWarper(float(config.top_p)))
    return warpers


__all__ = ["CriticGPTGenerationMixin", "CriticGPTGenerationOutput", "DenoisingStep"]
