# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Reads texts of any length window by window: scores, candidates, corrections.

Letters: W windows of a batch, T positions, V vocabulary, K candidates.
"""

from collections.abc import Callable, Collection, Iterator, Sequence
from typing import Any

import torch

from critic_gpt.backbones.description import Backbone
from critic_gpt.calibration.rates import at_own_rate
from critic_gpt.calibration.table import CriticCalibration
from critic_gpt.calibration.text_score import TOGETHER, text_scores
from critic_gpt.diffusion.drawable import never_drawn_ids
from critic_gpt.diffusion.selection import settle
from critic_gpt.diffusion.windows import owned_ranges, window_starts
from critic_gpt.heads.numbers import check_finite
from critic_gpt.proofreading.proof import Proof, State, TextInProgress, Window


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
        planted = {} if table is None or self.rate is None else table.metadata
        # An earlier table of planted errors was measured on the critic alone.
        self.together = planted.get("text_score") == TOGETHER
        self.found: float | None = planted.get("found_at_one_percent")
        self.calibrated = table is not None
        self.calibration = CriticCalibration.or_ramp(table)

    def _marked(self, ids: Collection[int]) -> torch.Tensor:
        """A mask (V,) of these ids."""
        marked = torch.zeros(self.backbone.vocab_size, dtype=torch.bool)
        marked[sorted(ids)] = True
        return marked.to(self.model.device)

    def text(self, ids: torch.Tensor, judged: torch.Tensor | None) -> TextInProgress:
        """A sequence (T,) of which nothing is known yet."""
        ids = ids.detach().cpu()
        length, starts = len(ids), window_starts(len(ids), self.window, self.stride)
        visible = ids != self.mask_id
        visible[: len(self.backbone.prefix_ids) - len(self.backbone.missing_frame(ids)[0])] = False
        own_end = len(self.backbone.suffix_ids) - len(self.backbone.missing_frame(ids)[1])
        visible[length - own_end :] = False
        return TextInProgress(
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

    def read(self, texts: Sequence[TextInProgress]) -> None:
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

    def _windows(self, texts: Sequence[TextInProgress], masked: bool = False) -> list[Window]:
        """Windows that show something changed; with the doubtful tokens `masked`, those that speak for any of them."""
        windows = []
        for text in texts:
            ids = text.ids.masked_fill(text.doubtful, self.mask_id) if masked else text.ids
            for start, (begin, end) in zip(text.starts, text.owned, strict=True):
                stop = start + self.window
                if bool(text.changed[start:stop].any()) and (not masked or bool(text.doubtful[begin:end].any())):
                    windows.append(Window(text, ids[start:stop], start, begin, end))
        return sorted(windows, key=lambda shown: len(shown.ids))  # those of one length need no padding

    def _pass(self, windows: list[Window]) -> Iterator[tuple[list[Window], torch.Tensor, torch.Tensor]]:
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

    def _keep_candidates(self, batch: list[Window], logits: torch.Tensor, masked: bool = False) -> None:
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

    def correct(self, texts: Sequence[TextInProgress], max_rounds: int) -> None:
        """Replaces doubtful tokens until none is left to replace, the tokens return to a former state, or a limit."""
        going = list(texts)
        while going:
            changed = []
            for text in going:
                better = self._to_replace(text)
                state = State(text.ids, float(text.errors.double().sum()), not bool(better.any()))
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

    def proof(self, text: TextInProgress, top_k: int) -> Proof:
        """What is known of a text now; correction goes on in the same tensors."""
        return Proof(
            error_probabilities=text.errors,
            doubtful=text.doubtful,
            candidate_ids=text.candidate_ids[:, :top_k].clone(),
            candidate_probabilities=text.candidates[:, :top_k].clone(),
            windows=len(text.starts),
            forward_passes=text.passes,
            calibrated=self.calibrated,
            weakness=text.weakness(self.rate is not None, self.found),
        )

    def _to_replace(self, text: TextInProgress) -> torch.Tensor:
        """Doubtful tokens (T,) of which the likeliest other one is right more likely than they are."""
        return text.doubtful & (text.errors * text.candidates[:, 0] > 1.0 - text.errors)


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
