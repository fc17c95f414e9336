# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Proofreads token sequences of any length: P(wrong) per token, alternatives, corrections.

A mixin that knows no model class: it asks a forward pass for `logits` and `critic_logits`, and the model for
`calibration` and `has_trained_critic`. Letters: W windows of a batch, T positions, V vocabulary, K candidates.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, NamedTuple

import torch

from critic_gpt.backbones.description import Backbone
from critic_gpt.calibration.rates import at_own_rate
from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.calibration.text_score import TOGETHER, text_scores
from critic_gpt.diffusion.drawable import never_drawn_ids
from critic_gpt.diffusion.selection import settle
from critic_gpt.diffusion.windows import owned_ranges, window_starts
from critic_gpt.heads.evaluation_mode import evaluation_mode
from critic_gpt.heads.numbers import check_finite


SUGGEST_BY = ("auto", "visible", "masked")
DEFAULT_ROUNDS = 8
# Of a model that takes sequences of any length.
DEFAULT_WINDOW = 512
# A model is too weak that finds less than this share of planted errors at 1 % false alarms; and for a text, of enough
# tokens to tell, that it expects to be wrong in more than this share.
LEAST_FOUND, LEAST_JUDGED, MOST_WRONG = 0.5, 100, 0.2


@dataclass
class Proof:
    """
    What [`ProofreadingMixin.proofread`] says about one sequence, on the CPU.

    Args:
        error_probabilities (`torch.FloatTensor` of shape `(sequence_length,)`): Calibrated P(wrong) of each judged
            token; 0 where nothing was judged.
        doubtful (`torch.BoolTensor` of shape `(sequence_length,)`): Where that is above the threshold.
        candidate_ids (`torch.LongTensor` of shape `(sequence_length, top_k)`): Other tokens that might stand there,
            the likeliest first.
        candidate_probabilities (`torch.FloatTensor` of shape `(sequence_length, top_k)`): The probability of each,
            given that the present token is wrong; 0 where there is no such candidate. At a [MASK] that of filling it.
        windows (`int`): How many windows the sequence makes.
        forward_passes (`int`): How many windows of this sequence went through the model, all passes together.
        calibrated (`bool`): Whether the probabilities come from a measured table; otherwise from a plain ramp.
        weakness (`str`, *optional*): Why the model is too weak to rely on for this text, if it is.
        corrected_ids (`torch.LongTensor` of shape `(sequence_length,)`, *optional*): The tokens after correction.
            This and what follows is `None` where no correction was asked for.
        corrected_expected_errors (`float`, *optional*): The sum of P(wrong) over them.
        rounds (`int`, *optional*): How often tokens were replaced.
        settled (`bool`, *optional*): Whether nothing is left that would be replaced in `corrected_ids`.
    """

    error_probabilities: torch.Tensor
    doubtful: torch.Tensor
    candidate_ids: torch.Tensor
    candidate_probabilities: torch.Tensor
    windows: int
    forward_passes: int
    calibrated: bool
    weakness: str | None = None
    corrected_ids: torch.Tensor | None = None
    corrected_expected_errors: float | None = None
    rounds: int | None = None
    settled: bool | None = None


@dataclass(eq=False)
class _Text:
    """A sequence in progress, all on the CPU: its present tokens and what is known about them."""

    ids: torch.Tensor  # (T,)
    judged: torch.Tensor  # (T,) whether the critic is asked
    starts: list[int]
    owned: list[tuple[int, int]]
    scores: torch.Tensor  # (T,) by which it is judged
    candidate_ids: torch.Tensor  # (T, K)
    candidates: torch.Tensor  # (T, K) their probabilities
    changed: torch.Tensor  # (T,) since the model saw it last
    errors: torch.Tensor  # (T,) P(wrong), 0 where not judged
    doubtful: torch.Tensor  # (T,)
    passes: int = 0
    rounds: int = 0
    seen: set[bytes] = field(default_factory=set)
    best: "_State | None" = None  # of those that correction went through

    def proof(self, top_k: int, run: "ProofreadingRun") -> Proof:
        """What is known of it now; correction goes on in the same tensors."""
        candidates = self.candidate_ids[:, :top_k].clone(), self.candidates[:, :top_k].clone()
        weakness = self.weakness(run.rate is not None, run.found)
        known = len(self.starts), self.passes, run.calibrated, weakness
        return Proof(self.errors, self.doubtful, *candidates, *known)

    def weakness(self, planted: bool, found: float | None) -> str | None:
        """Why not to rely on what is said of it, if there is a reason."""
        share = float(self.errors.sum()) / max(1, int(self.judged.sum()))
        if int(self.judged.sum()) >= LEAST_JUDGED and share > MOST_WRONG:
            expected = f"{share:.0%} of the tokens are expected to be wrong: "
            if planted:
                return f"{expected}the model knows no such texts; train it on texts of this kind."
            return f"{expected}the table is of the model's own fillings; calibrate.py --source planted."
        if found is not None and found < LEAST_FOUND:
            return f"the model is weak: at 1 % false alarms it finds {found:.0%} of planted errors; train it longer."
        return None

    def corrected(self, proof: Proof) -> Proof:
        """Its proof from before correction, with what came of that."""
        ids, expected_errors, settled = self.best
        found = {"corrected_ids": ids, "corrected_expected_errors": expected_errors, "settled": settled}
        return replace(proof, forward_passes=self.passes, rounds=self.rounds, **found)


class _State(NamedTuple):
    """A state that correction reached: tokens (T,), how many seem wrong, whether none is left to replace."""

    ids: torch.Tensor
    expected_errors: float
    settled: bool


class _Shown(NamedTuple):
    """A window in progress: whose it is, what it shows, where it begins, and which tokens it speaks for."""

    text: _Text
    ids: torch.Tensor
    start: int
    begin: int
    end: int


class ProofreadingRun:
    """What one call of [`ProofreadingMixin.proofread`] carries, whose arguments these are."""

    def __init__(
        self,
        model: Any,
        window: int,
        stride: int,
        batch_size: int,
        num_candidates: int,
        threshold: float,
        masks_doubtful: bool,
        suppressed_ids: Collection[int],
        on_windows: Callable[[int, int], None] | None,
    ):
        self.on_windows, self.num_read, self.num_known = on_windows, 0, 0
        self.model, self.window, self.stride, self.batch_size = model, window, stride, batch_size
        self.backbone = Backbone.of(model.config)
        self.num_candidates = min(num_candidates, self.backbone.vocab_size)
        self.threshold, self.masks_doubtful = threshold, masks_doubtful
        self.mask_id = model.config.mask_token_id
        never = never_drawn_ids(model.config)
        self.never = self._marked(never)
        self.suppressed = self._marked({*suppressed_ids, *never})
        table, self.rate = _table_for_texts(model)
        # An earlier table of planted errors was measured on the critic alone.
        self.together = self.rate is not None and table.metadata.get("text_score") == TOGETHER
        self.found = None if self.rate is None else table.metadata.get("found_at_one_percent")
        self.calibrated = table is not None
        self.calibration = CriticCalibration.or_ramp(table)

    def _marked(self, ids: Collection[int]) -> torch.Tensor:
        """A mask (V,) of these ids."""
        marked = torch.zeros(self.backbone.vocab_size, dtype=torch.bool)
        marked[sorted(ids)] = True
        return marked.to(self.model.device)

    def text(self, ids: torch.Tensor, judged: torch.Tensor | None) -> _Text:
        """A sequence (T,) of which nothing is known yet."""
        ids = ids.detach().cpu()
        length, starts = len(ids), window_starts(len(ids), self.window, self.stride)
        visible = ids != self.mask_id
        visible[: len(self.backbone.prefix_ids) - len(self.backbone.missing_frame(ids)[0])] = False
        own_end = len(self.backbone.suffix_ids) - len(self.backbone.missing_frame(ids)[1])
        visible[length - own_end :] = False
        return _Text(
            ids=ids,
            judged=visible if judged is None else visible & judged.bool().cpu(),
            starts=starts,
            owned=owned_ranges(starts, length, self.window),
            scores=torch.zeros(length),
            candidate_ids=torch.zeros((length, self.num_candidates), dtype=torch.long),
            candidates=torch.zeros((length, self.num_candidates)),
            changed=torch.ones(length, dtype=torch.bool),
            errors=torch.zeros(length),
            doubtful=torch.zeros(length, dtype=torch.bool),
        )

    def read(self, texts: Sequence[_Text]) -> None:
        """Judges texts; of one that was read before, only windows with a changed token go through the model."""
        for batch, scores, logits in self._pass(self._windows(texts)):
            scores = scores.float().cpu()
            for row, (text, _, start, begin, end) in enumerate(batch):
                text.scores[begin:end] = scores[row, begin - start : end - start]
            self._keep_candidates(batch, logits)
        for text in texts:
            check_finite("critic scores", text.scores)
            before = text.doubtful
            text.errors = self.calibration.error_probability(settle(text.scores)).masked_fill(~text.judged, 0.0)
            if self.rate is not None:
                text.errors = at_own_rate(text.errors, text.judged, self.rate)
            text.doubtful = text.judged & (text.errors > self.threshold)
            text.changed = text.changed | (text.doubtful != before)
        if self.masks_doubtful and self.num_candidates:
            # What the model would write where it does not see the doubtful tokens; it has learnt nothing else.
            for text in texts:
                text.candidates[text.judged & ~text.doubtful] = 0.0
            for batch, _, logits in self._pass(self._windows(texts, masked=True)):
                self._keep_candidates(batch, logits, masked=True)
        for text in texts:
            text.changed = torch.zeros_like(text.changed)

    def _windows(self, texts: Sequence[_Text], masked: bool = False) -> list[_Shown]:
        """Windows that show something changed; with the doubtful tokens `masked`, those that speak for any of them."""
        windows = []
        for text in texts:
            ids = text.ids.masked_fill(text.doubtful, self.mask_id) if masked else text.ids
            for start, (begin, end) in zip(text.starts, text.owned, strict=True):
                stop = start + self.window
                if bool(text.changed[start:stop].any()) and (not masked or bool(text.doubtful[begin:end].any())):
                    windows.append(_Shown(text, ids[start:stop], start, begin, end))
        return sorted(windows, key=lambda shown: len(shown.ids))  # those of one length need no padding

    def _pass(self, windows: list[_Shown]) -> Iterator[tuple[list[_Shown], torch.Tensor, torch.Tensor]]:
        """Sends windows through the model, `batch_size` at a time: each batch, its scores and the LM's logits."""
        pad_id, device = self.model.config.pad_token_id, self.model.device
        self.num_known += len(windows)
        for first in range(0, len(windows), self.batch_size):
            batch = windows[first : first + self.batch_size]
            heads, rows = zip(*(self._framed(shown.ids) for shown in batch), strict=True)
            shape = (len(batch), max(len(row) for row in rows))
            input_ids = torch.full(shape, self.mask_id if pad_id is None else pad_id)
            attention_mask = torch.zeros(shape, dtype=torch.long)
            for row, shown in enumerate(batch):
                input_ids[row, : len(rows[row])] = rows[row]
                attention_mask[row, : len(rows[row])] = 1
                shown.text.passes += 1
            inputs = {"input_ids": input_ids.to(device), "attention_mask": attention_mask.to(device)}
            output = self.model(**inputs, return_dict=True)
            scores = output.critic_logits
            if self.together:
                scores = text_scores(scores, output.logits, inputs["input_ids"], self.never)
            yield batch, _without_heads(scores, heads), _without_heads(output.logits, heads)
            self.num_read += len(batch)
            if self.on_windows is not None:
                self.on_windows(self.num_read, self.num_known)

    def _framed(self, ids: torch.Tensor) -> tuple[int, torch.Tensor]:
        """A window within the frame that the model knows, and how far that moves it."""
        prefix, suffix = self.backbone.missing_frame(ids)
        return len(prefix), torch.cat([prefix, ids, suffix])

    def _keep_candidates(self, batch: list[_Shown], logits: torch.Tensor, masked: bool = False) -> None:
        """The likeliest tokens other than the present ones, from logits (W, T, V); if `masked`, of doubtful ones."""
        if not self.num_candidates:
            return
        highest = logits.amax(dim=-1).cpu()
        for row, (_, _, start, begin, end) in enumerate(batch):
            check_finite("logits", highest[row, begin - start : end - start])
        present = torch.full(logits.shape[:2], self.mask_id)
        for row, (text, ids, start, _, _) in enumerate(batch):
            present[row, : len(ids)] = text.ids[start : start + len(ids)]
        logits = settle(logits).masked_fill(self.suppressed, float("-inf"))
        logits = logits.scatter(-1, present.to(logits.device)[..., None], float("-inf"))
        # NaN: no other token is possible.
        probabilities, ids = logits.softmax(dim=-1).nan_to_num(nan=0.0).topk(self.num_candidates, dim=-1)
        probabilities, ids = probabilities.float().cpu(), ids.cpu()
        for row, (text, _, start, begin, end) in enumerate(batch):
            kept = text.doubtful[begin:end] if masked else slice(None)
            text.candidates[begin:end][kept] = probabilities[row, begin - start : end - start][kept]
            text.candidate_ids[begin:end][kept] = ids[row, begin - start : end - start][kept]

    def correct(self, texts: Sequence[_Text], max_rounds: int) -> None:
        """Replaces doubtful tokens until none is left to replace, the tokens return to a former state, or a limit."""
        going = list(texts)
        while going:
            changed = []
            for text in going:
                better = self._to_replace(text)
                state = _State(text.ids, float(text.errors.double().sum()), not bool(better.any()))
                if text.best is None or state.expected_errors < text.best.expected_errors:
                    text.best = state
                text.seen.add(text.ids.numpy().tobytes())
                ids = torch.where(better, text.candidate_ids[:, 0], text.ids)
                # Two tokens may give way to each other in turn, for ever.
                if text.rounds < max_rounds and ids.numpy().tobytes() not in text.seen:
                    text.ids, text.changed, text.rounds = ids, better, text.rounds + 1
                    changed.append(text)
            going = changed
            self.read(going)

    def _to_replace(self, text: _Text) -> torch.Tensor:
        """Doubtful tokens (T,) of which the likeliest other one is right more likely than they are."""
        return text.doubtful & (text.errors * text.candidates[:, 0] > 1.0 - text.errors)


class ProofreadingMixin:
    """Adds `proofread` to a masked diffusion model with a critic."""

    def check_proofreads(self) -> None:
        """Refuses a model without a trained critic, which could say nothing."""
        if not self.has_trained_critic:
            what = "none" if self.critic_head is None else "a critic head that was never trained"
            raise ValueError(
                f"`model` must have a trained critic to proofread, got {what}: train one with `add_critic_head=True` "
                "(scripts/train.py), or load another model."
            )

    @torch.no_grad()
    def proofread(
        self,
        sequences: Sequence[torch.LongTensor],
        judged: Sequence[torch.BoolTensor] | None = None,
        window: int | None = None,
        stride: int | None = None,
        batch_size: int = 8,
        top_k: int = 5,
        threshold: float = 0.5,
        suggest_by: str = "auto",
        suppressed_ids: Collection[int] = (),
        correct: bool = False,
        max_rounds: int | None = None,
        on_windows: Callable[[int, int], None] | None = None,
    ) -> list[Proof]:
        """
        Judges every token of complete sequences, suggests alternatives, and corrects the sequences if asked to.

        Args:
            sequences (list of `torch.LongTensor` of shape `(sequence_length,)`): Of any length, also 0; not padded.
            judged (list of `torch.BoolTensor` of the same shapes, *optional*): Which tokens the critic judges; all
                but [MASK] by default, which it never judges. The others are context.
            window (`int`, *optional*): Tokens of the text that the model sees at once; by default as many as it takes
                beside its frame, 512 if it takes any number.
            stride (`int`, *optional*): Tokens that neighbouring windows share, in [0, window); half a window by
                default. Each token is judged in the window that shows most on both of its sides.
            batch_size (`int`, *optional*, defaults to 8): Windows in one forward pass.
            top_k (`int`, *optional*, defaults to 5): Candidates for each token; 0 asks for none.
            threshold (`float`, *optional*, defaults to 0.5): P(wrong), in [0, 1], above which a token is doubtful.
            suggest_by (`str`, *optional*, defaults to `"auto"`): Where candidates come from. `"visible"`: from the
                pass that judges, for every token; a model trained with a `correction_alpha` above 0 has learnt to
                name the right token where a wrong one stands. `"masked"`: from a second pass in which all doubtful
                tokens are [MASK], for these alone. `"auto"`: the first where it was trained, else the second. At a
                [MASK] of the input always from the pass that judges.
            suppressed_ids (collection of `int`, *optional*): Never a candidate, beside [MASK] and the padding.
            correct (`bool`, *optional*, defaults to `False`): Replace every doubtful token by its first candidate, of
                probability q, where this is right more likely than the token, P(wrong) q > 1 - P(wrong), and judge
                again, until there is nothing to replace. Of all states on the way the one with the fewest expected
                errors is kept.
            max_rounds (`int`, *optional*): How often at most, at least 1; 8 by default.
            on_windows (callable, *optional*): Called after each forward pass with the number of windows that are read,
                and of those that are known to be read; correction adds to them.

        Returns:
            `list[Proof]`: One per sequence, independent of the other sequences.

        Raises:
            `ValueError`: No trained critic, a value out of range, or logits or scores that are NaN or infinite.
        """
        self.check_proofreads()
        self._check_inputs(sequences, threshold, suggest_by)
        window, stride, max_rounds = self._checked_counts(window, stride, batch_size, top_k, correct, max_rounds)
        masks = suggest_by == "masked" or (suggest_by == "auto" and self.config.correction_alpha == 0)
        wanted = max(top_k, 1) if correct else top_k
        run = ProofreadingRun(self, window, stride, batch_size, wanted, threshold, masks, suppressed_ids, on_windows)
        judged = [None] * len(sequences) if judged is None else judged
        texts = [run.text(*pair) for pair in zip(sequences, judged, strict=True)]
        with evaluation_mode(self):
            run.read(texts)
            proofs = [text.proof(top_k, run) for text in texts]
            if correct:
                run.correct(texts, max_rounds)
                proofs = [text.corrected(proof) for text, proof in zip(texts, proofs, strict=True)]
        return proofs

    def _check_inputs(self, sequences: Sequence[torch.Tensor], threshold: Any, suggest_by: Any) -> None:
        if isinstance(threshold, bool) or not isinstance(threshold, (int, float)) or not 0.0 <= threshold <= 1.0:
            raise ValueError(f"`threshold` must be a probability in [0, 1], got {threshold!r}: 0.5 is even odds.")
        if suggest_by not in SUGGEST_BY:
            raise ValueError(f"`suggest_by` must be one of {', '.join(SUGGEST_BY)}, got {suggest_by!r}: choose one.")
        for ids in sequences:
            if ids.dim() != 1 or ids.is_floating_point() or (len(ids) and not self._in_vocabulary(ids)):
                raise ValueError(
                    f"`sequences` must be tensors (sequence_length,) of ids in [0, vocab_size = "
                    f"{Backbone.of(self.config).vocab_size}), got {ids.dtype} of shape {tuple(ids.shape)}: encode "
                    "each text by the model's own tokenizer."
                )

    def _checked_counts(
        self, window: Any, stride: Any, batch_size: Any, top_k: Any, correct: bool, max_rounds: Any
    ) -> tuple[int, int, int]:
        """`window`, `stride` and `max_rounds`, by default where they are `None`; refuses what makes no sense."""
        longest = Backbone.of(self.config).max_text_length
        window = (longest or DEFAULT_WINDOW) if window is None else window
        stride = window // 2 if stride is None and _is_whole(window) else stride
        if max_rounds is not None and not correct:
            raise ValueError(
                f"`max_rounds` is for `correct=True`, got {max_rounds!r} without: leave it out, or ask to correct."
            )
        max_rounds = DEFAULT_ROUNDS if max_rounds is None else max_rounds
        bounds = {
            "window": (window, 1, longest),
            "stride": (stride, 0, None if not _is_whole(window) else window - 1),
            "batch_size": (batch_size, 1, None),
            "top_k": (top_k, 0, None),
            "max_rounds": (max_rounds, 1, None),
        }
        for name, (value, least, most) in bounds.items():
            if not _is_whole(value) or value < least or (most is not None and value > most):
                span = f"of at least {least}" if most is None else f"from {least} to {most}"
                raise ValueError(f"`{name}` must be a whole number {span}, got {value!r}: choose another one.")
        return window, stride, max_rounds

    def _in_vocabulary(self, ids: torch.Tensor) -> bool:
        return int(ids.min()) >= 0 and int(ids.max()) < Backbone.of(self.config).vocab_size


def _without_heads(values: torch.Tensor, heads: Sequence[int]) -> torch.Tensor:
    """Values (W, T, ...) of windows without what stands before each of them."""
    if not any(heads):
        return values
    return torch.stack([row.roll(-head, dims=0) for row, head in zip(values, heads, strict=True)])


def _table_for_texts(model: Any) -> tuple[CriticCalibration | None, float | None]:
    """The table by which texts are judged, and the share of errors it was measured at, where they were planted."""
    planted = getattr(model, "planted_calibration", None)
    rate = None if planted is None else planted.metadata.get("positive_rate")
    if not rate or rate >= 1.0:
        return model.calibration, None
    return planted, rate


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


__all__ = ["Proof", "ProofreadingMixin"]
