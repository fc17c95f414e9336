# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""`generate()` for masked diffusion models with a critic.

The mixin knows no model class: it asks for `logits` and `critic_logits` from a forward pass, for `mask_token_id`
and `correction_alpha` in the configuration and its description of the backbone ([`Backbone`]), for `critic_head`
(`None` without one), `has_trained_critic` and `has_trained_joint_head`, and for `calibration_for` where there is a
critic.

Letters: B batch, T positions, V vocabulary.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from transformers.generation import LogitsProcessorList, StoppingCriteriaList
from transformers.modeling_outputs import ModelOutput

from critic_gpt.backbones.description import Backbone
from critic_gpt.diffusion.randomness import STREAM_CANDIDATE, STREAM_PLACE, hash_integers, row_seeds, uniforms
from critic_gpt.generation.answers import check_callers
from critic_gpt.generation.blocks import critic_logits_in_windows, denoise_in_blocks, in_blocks
from critic_gpt.generation.canvas import Canvas, prepare_canvas, shift_seed_text
from critic_gpt.generation.compiled import Compiler, chosen_backend
from critic_gpt.generation.configuration import CriticGPTGenerationConfig
from critic_gpt.generation.finished import FinishedSequences, cut_off
from critic_gpt.generation.outcomes import DenoisingStep
from critic_gpt.generation.quality import judge_wrongness
from critic_gpt.generation.run import DenoisingRun
from critic_gpt.generation.settings import GenerationSettingsMixin, check_reads_our_tokens, resolve_settings
from critic_gpt.generation.stopping import Stopping, check_criteria
from critic_gpt.generation.strategies.base import Strategy
from critic_gpt.generation.streamers import Stream
from critic_gpt.heads.evaluation_mode import evaluation_mode


@dataclass
class CriticGPTGenerationOutput(ModelOutput):
    """
    Output of [`CriticGPTGenerationMixin.generate`].

    Generated tokens are those that were not given: they stand at positions that may change, and no generated EOS cut
    them off. Numbers of shape `(batch_size,)` are NaN for a row without such tokens, sums 0.

    Args:
        sequences (`torch.LongTensor` of shape `(batch_size, sequence_length)`): Finished sequences.
        error_probabilities (`torch.FloatTensor` of shape `(batch_size, sequence_length)`, *optional*): Calibrated
            P(wrong) of each generated token; 0 at given tokens, which are taken as true, and at padding. `None`
            without a trained critic.
        expected_errors (`torch.FloatTensor` of shape `(batch_size,)`, *optional*): Their sum: how many generated
            tokens are expected to be wrong.
        error_mean, error_p10, error_p50, error_p90 (`torch.FloatTensor` of shape `(batch_size,)`, *optional*): Mean
            and quantiles, linearly interpolated, of P(wrong) over the generated tokens. `None` without a trained
            critic.
        self_log_probability (`torch.FloatTensor` of shape `(batch_size,)`, *optional*): What the model itself held of
            its tokens: the mean over the generated tokens of the natural logarithm of the probability of each at the
            step that drew it last, after logits processors and before temperature, top-k and top-p. Tokens of a draft
            that were never drawn do not count. Each probability is conditional on what stood there at that step, so
            that their product is not the likelihood of the sequence.
        judge_wrongness (`torch.FloatTensor` of shape `(batch_size,)`, *optional*): What `judge_model` says, in
            [0, 1]; `None` without one.
        forward_passes (`int`): How often the trunk ran to generate.
        row_passes (`torch.LongTensor` of shape `(batch_size,)`): In how many of these runs each row took part, its
            candidates added up: a sequence that is finished early leaves the batch.
        tokens_per_forward (`torch.FloatTensor` of shape `(batch_size,)`): Generated tokens of each row over its
            `row_passes`.
        trunk_tokens (`torch.LongTensor` of shape `(batch_size,)`): How many tokens of each row, its candidates added
            up, went through the trunk in these runs: all of it in each, unless keys and values are kept.
        candidate_expected_errors (`torch.FloatTensor` of shape `(batch_size, num_candidates)`, *optional*): With
            `num_candidates` above 1: what the critic expected of each; the row shows the least.
        scoring_passes (`int`): How often it ran only to judge the result.
        judge_passes (`int`): How often `judge_model` ran.
        history (`list[DenoisingStep]`, *optional*): Every step, on the CPU.
        generated_mask (`torch.BoolTensor` of shape `(batch_size, sequence_length)`): True where a token was generated;
            False at given tokens, at padding, and where generated tokens were cut off.
    """

    sequences: torch.LongTensor | None = None
    error_probabilities: torch.FloatTensor | None = None
    expected_errors: torch.FloatTensor | None = None
    error_mean: torch.FloatTensor | None = None
    error_p10: torch.FloatTensor | None = None
    error_p50: torch.FloatTensor | None = None
    error_p90: torch.FloatTensor | None = None
    self_log_probability: torch.FloatTensor | None = None
    judge_wrongness: torch.FloatTensor | None = None
    forward_passes: int | None = None
    row_passes: torch.LongTensor | None = None
    tokens_per_forward: torch.FloatTensor | None = None
    candidate_expected_errors: torch.FloatTensor | None = None
    scoring_passes: int | None = None
    judge_passes: int | None = None
    history: list | None = None
    generated_mask: torch.BoolTensor | None = None
    trunk_tokens: torch.LongTensor | None = None


class CriticGPTGenerationMixin(GenerationSettingsMixin):
    """Adds `generate` to a masked diffusion model."""

    # Of the model that it is a part of.
    device: torch.device

    # Asked for by `repr` of a pipeline.
    output_modalities = ("text",)
    # Whether `forward` takes `return_logits`, and gives what its class says.
    forward_is_ours = False
    # Whether it has `bare_pass` and `layout_for`, which do the same with nothing around it.
    takes_bare_passes = False

    @torch.no_grad()
    def generate(
        self,
        input_ids: torch.LongTensor | None = None,
        attention_mask: torch.Tensor | None = None,
        generation_config: CriticGPTGenerationConfig | None = None,
        logits_processor: LogitsProcessorList | None = None,
        stopping_criteria: StoppingCriteriaList | None = None,
        protected_mask: torch.BoolTensor | None = None,
        remasking_model: Callable | None = None,
        judge_model: Callable | None = None,
        seed: int | list[int] | None = None,
        generator: torch.Generator | None = None,
        streamer: Any | None = None,
        compile: bool | str = False,
        **kwargs,
    ) -> CriticGPTGenerationOutput | torch.LongTensor:
        """
        Fills the [MASK] tokens of `input_ids` in `num_steps` denoising steps; where there are none, adds
        `max_new_tokens` of them first.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`, *optional*): Text with holes, or a
                prefix. Without it one sequence of `max_new_tokens` tokens is generated.
            attention_mask (`torch.Tensor` of the same shape, *optional*): 0 = padding; by default where
                `pad_token_id` stands.
            generation_config ([`CriticGPTGenerationConfig`], *optional*): Takes the place of the model's own.
            logits_processor ([`~transformers.LogitsProcessorList`], *optional*): Applied before temperature, top-k and
                top-p, on scores `(batch_size * sequence_length, vocab_size)`; `input_ids` are for each position the
                other tokens of its row, `(batch_size * sequence_length, sequence_length - 1)`. One that takes
                `cur_step` gets the number of steps left. Stock warpers (min-p, typical, ...) shape the draw alone, and
                stock processors that go by the end or the length of a text are refused.
            stopping_criteria ([`~transformers.StoppingCriteriaList`], *optional*): Asked after each step with the
                tokens `(batch_size, sequence_length)` of all rows, [MASK] among them, and a tuple of one tensor of
                scores `(batch_size, sequence_length, vocab_size)`: log-probabilities of the step's predictions, NaN in
                rows that are done. One truth value per row says which are done: these are finished in the same step,
                without a further pass, their masks filled by the step's predictions, and leave the batch. With
                `num_candidates` above 1 each candidate is a row. `MaxTimeCriteria` works as it is; `EosTokenCriteria`
                and `StopStringCriteria` end a row where a generated token completes what they wait for and no mask is
                left before it, and what was generated behind is cut.
            protected_mask (`torch.BoolTensor` of the same shape, *optional*): Positions that never change. By default
                every given token; visible tokens left unprotected may be revised, and a protected [MASK] stays one.
            remasking_model (callable or token classifier, *optional*): Judges tokens for `remasking="external"`:
                called with `input_ids` and `attention_mask`, higher output = better token: one logit per token, or two
                classes of which 1 is the good one.
            judge_model (callable or sequence scorer, *optional*): Judges the finished sequences: called with
                `input_ids` and `attention_mask`, gives the wrongness in [0, 1] of each row.
            seed (`int` or `list[int]`, *optional*): One number, or one per row: a row's result then depends on its own
                number only, whatever the batch around it.
            generator (`torch.Generator`, *optional*): Used where no seed is given; torch's global one by default.
            streamer (*optional*): A [`~transformers.generation.streamers.BaseStreamer`]. `put` gets the prompt, which
                is what stands ahead of the first place that may change, and in the end the rest; `put_draft`, if any,
                the rest after each step; `put_step`, if any, a [`StreamedStep`] with the critic's verdicts.
            compile (`bool` or `str`, *optional*, defaults to `False`): Whether passes run under `torch.compile`, and,
                under the critic's defaults with independent draws, whole steps, in one graph for all steps; a `str`
                names another backend than inductor. The first call for a shape takes as long as compiling does. No
                row may end before the others; a single one may end early.
            kwargs: Fields of [`CriticGPTGenerationConfig`], for this call.

        Returns:
            [`CriticGPTGenerationOutput`], or the sequences alone with `return_dict_in_generate=False`.
        """
        backbone = Backbone.of(self.config)
        if input_ids is None:
            input_ids = torch.empty((1, 0), dtype=torch.long, device=self.device)
            if backbone.frame_size:
                input_ids = backbone.framed(input_ids[0])[None]
        config, strategy = resolve_settings(
            self, generation_config, kwargs, remasking_model, input_ids, protected_mask
        )
        criteria = check_criteria(stopping_criteria, config)
        check_callers(streamer, {"remasking_model": remasking_model, "judge_model": judge_model})
        if judge_model is not None and not config.return_dict_in_generate:
            raise ValueError(
                "`judge_model` needs `return_dict_in_generate=True` for its verdict, got False: drop one of the two."
            )
        if streamer is not None and config.num_candidates > 1:
            raise ValueError(
                "`streamer` must be left out with several candidates, of which the best is known in the end only, got "
                f"one with `num_candidates={config.num_candidates}`: drop one of the two."
            )
        if input_ids.is_floating_point() or (input_ids.numel() and not self._knows(input_ids)):
            raise ValueError(
                f"`input_ids` must be whole numbers in [0, vocab_size = {backbone.vocab_size}), got "
                f"{input_ids.dtype} from {input_ids.min()} to {input_ids.max()}: use the model's own tokenizer."
            )
        canvas = prepare_canvas(
            input_ids, attention_mask, protected_mask, config, backbone.max_sequence_length, backbone.suffix_ids
        )
        length = canvas.input_ids.shape[1]
        check_reads_our_tokens(self, "judge_model", judge_model, length)
        # Which sees what a pass sees: of a text that is longer than the model, a window.
        check_reads_our_tokens(self, "remasking_model", remasking_model, backbone.longest(length))
        seeds = row_seeds(seed, canvas.input_ids.shape[0], generator)
        if config.seed_placement == "random":
            num_new = torch.full_like(seeds, config.max_new_tokens)
            shifted = _shifted(canvas.input_ids, canvas.attention_mask, num_new, seeds)
            editable = (shifted == config.mask_token_id) & canvas.attention_mask.bool()
            canvas = canvas._replace(input_ids=shifted, editable=editable)
        if config.num_candidates > 1:
            canvas = Canvas(*(part.repeat_interleave(config.num_candidates, dim=0) for part in canvas))
            seeds = candidate_seeds(seeds, config.num_candidates)
        run = DenoisingRun(self, canvas, config, seeds, logits_processor, remasking_model)
        backend = chosen_backend(compile, self, config, len(canvas.input_ids), strategy.asks_where, criteria)
        run.passes.compiler = None if backend is None else Compiler(self, backend)
        stopping = Stopping(criteria, canvas, config.mask_token_id)
        with evaluation_mode(self, remasking_model, judge_model), Stream(streamer, run) as stream:
            if in_blocks(config):
                denoise_in_blocks(run, strategy, stopping, stream, _denoise)
            else:
                whole = strategy(run)
                with run.alone(watched=bool(stopping) or streamer is not None):
                    _denoise(run, whole, stopping, stream)
            run.check_numbers()
            return self._finish(run, canvas, stopping, stream, judge_model)

    def place_seed_text(
        self,
        input_ids: torch.LongTensor,
        attention_mask: torch.Tensor,
        num_new_tokens: torch.LongTensor,
        seed: int | list[int] | None = None,
        generator: torch.Generator | None = None,
    ) -> torch.LongTensor:
        """
        What `seed_placement="random"` does, for a canvas that is complete: moves the given tokens of each row, as one
        block, to a random offset among the masks behind them. The same seeds give the same offsets as in `generate`.

        Args:
            input_ids (`torch.LongTensor` of shape `(batch_size, sequence_length)`): In each row the given tokens,
                then [MASK], then padding.
            attention_mask (`torch.Tensor` of shape `(batch_size, sequence_length)`): 0 = padding.
            num_new_tokens (`torch.LongTensor` of shape `(batch_size,)`): How many [MASK] stand behind the given
                tokens; a row with 0 stays as it is.
            seed, generator (*optional*): As for `generate`.

        Returns:
            `torch.LongTensor` of shape `(batch_size, sequence_length)`.
        """
        seeds = row_seeds(seed, len(input_ids), generator)
        return _shifted(input_ids, attention_mask, num_new_tokens, seeds)

    def _knows(self, input_ids: torch.Tensor) -> bool:
        return bool((input_ids.min() >= 0) & (input_ids.max() < Backbone.of(self.config).vocab_size))

    def _finish(
        self, run: DenoisingRun, canvas: Canvas, stopping: Stopping, stream: Stream, judge_model: Callable | None
    ) -> CriticGPTGenerationOutput | torch.LongTensor:
        """Cuts what lies behind an end, judges what is left, chooses among candidates and sums up."""
        config = run.config
        result, best, expected = cut_off(run, canvas, stopping), None, None
        stream.put_rest(result.sequences)
        reports = config.return_error_probabilities and config.return_dict_in_generate and self.has_trained_critic
        if reports or config.num_candidates > 1:
            result = self._judged(run, result)
        if config.num_candidates > 1:
            best, expected = best_candidates(result.expected_errors(), config.num_candidates)
            result = result.rows(best)
        stream.end(result.sequences, result.attention_mask, result.generated, result.error_probabilities)
        if not config.return_dict_in_generate:
            return result.sequences
        verdict = {}
        if judge_model is not None:
            verdict["judge_wrongness"] = judge_wrongness(judge_model, result.sequences, result.attention_mask)
        return CriticGPTGenerationOutput(
            **result.summary(run, best, reports),
            candidate_expected_errors=expected,
            scoring_passes=result.scoring_passes,
            judge_passes=int(judge_model is not None),
            **verdict,
        )

    def _judged(self, run: DenoisingRun, result: FinishedSequences) -> FinishedSequences:
        """The same with the critic's P(wrong), in one pass."""
        seen = result.sequences, result.attention_mask
        if result.sequences.shape[1] > Backbone.of(self.config).longest(result.sequences.shape[1]):
            fields = {"return_logits": False} if self.forward_is_ours else {}
            logits, passes = critic_logits_in_windows(self, *seen, fields)
        else:
            logits, passes = run.passes.verdict(*seen), 1
        run.note_scores(logits, result.attention_mask)
        run.check_numbers()
        wrong = run.calibration.error_probability(logits)
        return result._replace(error_probabilities=wrong, scoring_passes=passes)


def _denoise(run: DenoisingRun, strategy: Strategy, stopping: Stopping, stream: Stream) -> None:
    """The steps of a run; sequences in which nothing is left to do leave the batch."""
    tokens = run.canvas.input_ids
    run.keeps_prediction = bool(stopping)
    for step in range(strategy.last_step + 1):
        run.steps_left = run.steps_beyond + strategy.last_step + 1 - step
        outcome = strategy.step(tokens, step)
        if stopping:
            outcome = stopping.applied(run, outcome)
        run.record(tokens, outcome)
        stream.step(outcome)
        tokens = outcome.after
        if outcome.finished is None:
            continue
        going = (~outcome.finished).cpu()
        if not going.any():
            return
        if not going.all():
            going = going.to(tokens.device)
            tokens = tokens[going]
            strategy.keep(going)
            run.keep(going)


def candidate_seeds(seeds: torch.Tensor, num_candidates: int) -> torch.Tensor:
    """Seeds (batch_size * num_candidates,): of each row its own, then others made of it."""
    number = torch.arange(num_candidates, device=seeds.device)
    others = hash_integers(seeds[:, None], STREAM_CANDIDATE, number)
    return torch.where(number == 0, seeds[:, None], others).flatten()


def best_candidates(expected_errors: torch.Tensor, num_candidates: int) -> tuple[torch.Tensor, torch.Tensor]:
    """The place (batch_size,) of each row's best candidate among all, and the expected errors of each, by row."""
    by_row = expected_errors.view(-1, num_candidates)
    # A broken score (NaN) is no recommendation.
    best = by_row.nan_to_num(nan=float("inf")).argmin(dim=-1)
    return best + num_candidates * torch.arange(len(by_row), device=best.device), by_row


def _shifted(
    input_ids: torch.Tensor, attention_mask: torch.Tensor, num_new: torch.Tensor, seeds: torch.Tensor
) -> torch.Tensor:
    device = input_ids.device
    draw = uniforms(seeds.to(device), STREAM_PLACE, 0, 1).squeeze(-1)
    return shift_seed_text(input_ids, attention_mask, num_new.to(device), draw)


__all__ = ["CriticGPTGenerationMixin", "CriticGPTGenerationOutput", "DenoisingStep"]
