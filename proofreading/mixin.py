# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""Proofreads token sequences of any length: P(wrong) per token, alternatives, corrections.

A mixin that knows no model class: it asks a forward pass for `logits` and `critic_logits`, and the model for
`calibration` and `has_trained_critic`.
"""

from collections.abc import Callable, Collection, Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import nn
from transformers import PreTrainedConfig

from critic_gpt.backbones.description import Backbone
from critic_gpt.heads.evaluation_mode import evaluation_mode
from critic_gpt.proofreading.proof import Proof
from critic_gpt.proofreading.run import ProofreadingRun


SUGGEST_BY = ("auto", "visible", "masked")
DEFAULT_ROUNDS = 8
# Of a model that takes sequences of any length.
DEFAULT_WINDOW = 512


class ProofreadingMixin:
    """Adds `proofread` to a masked diffusion model with a critic."""

    # Of the model that it is a part of.
    config: PreTrainedConfig
    critic_head: nn.Module | None
    if TYPE_CHECKING:  # read-only, which an attribute would not say

        @property
        def has_trained_critic(self) -> bool: ...

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
            proofs = [run.proof(text, top_k) for text in texts]
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


def _is_whole(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


__all__ = ["Proof", "ProofreadingMixin"]
