# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What the page asks and is answered: plain data in, plain data out, whatever serves it.

The server remembers nobody: where a denoising by hand stands travels with the visitor, and is checked when it returns.
"""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import torch

from critic_gpt.explorer import denoising, denoising_views, views
from critic_gpt.explorer.denoising import DenoisingState
from critic_gpt.explorer.drawing import headings, lines_of, named, sign_of, visible
from critic_gpt.explorer.guard import MAX_CHARACTERS, MAX_STEPS, Fields
from critic_gpt.explorer.session import Explorer
from critic_gpt.explorer.strategies_in_words import strategies_in_words
from critic_gpt.explorer.tokens import TokenView
from critic_gpt.tasks import encode_strict


# Vocabularies up to this size are listed, to choose a token from.
MAX_LISTED = 200
# Tokens in all frames of one animation; of a longer one only every second, third, ... step is shown.
MAX_DRAWN = 60_000
# Masks on the first canvas, where no data say how many.
FIRST_CANVAS = 64
ACTS = ("fill", "score", "remask_worst", "remask_above", "remask_random", "unmask", "truth", "mask", "set", "protect")


def token_data(token: TokenView) -> dict[str, Any]:
    """One token as the page draws it: sign `s`, P(wrong) `p`, logit `l`, truth `d`, and in letters what it is, `k`."""
    signs = (("m", token.masked), ("n", token.filled), ("r", token.remasked), ("w", token.wrong), ("f", token.flagged))
    data = {
        "s": sign_of(token),
        "p": None if token.error_probability is None else round(token.error_probability, 4),
        "l": None if token.critic_logit is None else round(token.critic_logit, 3),
        "d": None if token.truth is None or token.masked else visible(token.truth),
        "k": "".join(letter for letter, there in signs if there) + ("j" if token.judged else ""),
    }
    return {name: value for name, value in data.items() if value not in (None, "")}


def page_data(view: Any) -> dict[str, Any]:
    """A view as the page draws it: its numbers in words, its tokens, how many stand in each line, the remarkable."""
    another = getattr(view, "another_right", False)
    return {
        "headings": headings(view),
        "tokens": [token_data(token) for token in view.tokens],
        "lines": [len(line) for line in lines_of(view.tokens, view.row_width)],
        "grid": view.row_width is not None,
        "named": named(view.tokens, another),
        "another": another,
    }


class Page:
    """
    The answers of the page.

    Args:
        explorer ([`Explorer`]): What is explored.
        begin: `split`, `index`, `mask_rate`, `seed` and `threshold` that stand in its fields at first.
    """

    def __init__(self, explorer: Explorer, **begin):
        self.explorer, self.begin_with = explorer, begin
        self.strategies = strategies_in_words(explorer.model)

    def about(self) -> dict[str, Any]:
        """What the page shows before anything is asked: the model, the choices, and what stands in the fields."""
        explorer = self.explorer
        model, task = explorer.model, explorer.task
        known = len(explorer.tokenizer)
        longest = model.backbone.max_text_length
        first = longest if task is None else task.sequence_length
        most = FIRST_CANVAS if explorer.row_width is None else first
        listed = sorted({*range(known)} - {*explorer.tokenizer.all_special_ids}) if known <= MAX_LISTED else []
        return {
            "name": explorer.name or type(model).__name__,
            "facts": self._facts(),
            "splits": {name: explorer.size(name) for name in explorer.split_names()},
            "tokens": [visible(explorer.text_of(token)) for token in listed],
            "strategies": self.strategies,
            "critic": bool(model.has_trained_critic),
            "first_canvas": explorer.tokenizer.mask_token * min(first or most, most),
            "max_steps": MAX_STEPS,
            "begin": self.begin_with,
        }

    def _facts(self) -> list[str]:
        """What the model is, in a few words each."""
        model, explorer = self.explorer.model, self.explorer
        size = sum(parameter.numel() for parameter in model.parameters())
        kind = "masked diffusion language model"
        if model.config.model_type != "critic_gpt":
            kind = f"masked language model ({model.config.model_type})"
        facts = [kind, f"{size / 1e6:.2f} million parameters", f"{len(explorer.tokenizer):,} tokens"]
        facts += [] if explorer.task is None else [f"task {explorer.task.name}"]
        longest = model.backbone.max_text_length
        facts += [] if longest is None else [f"texts of up to {longest:,} tokens"]
        if not model.has_trained_critic:
            return [*facts, "no trained critic: nothing is judged"]
        table = explorer.calibration
        counted = table.metadata.get("num_sequences")
        measured = "calibrated" + (f" on {counted:,} sequences" if isinstance(counted, int) else "")
        return [*facts, f"critic, {'not calibrated' if table.is_ramp else measured}"]

    def answer(self, name: str, given: Any) -> dict[str, Any]:
        """
        Answers one request.

        Args:
            name (`str`): `"sample"`, `"critic"`, `"text"`, `"begin"`, `"act"` or `"generate"`.
            given (`Any`): What was sent, a JSON document.

        Raises:
            `ValueError`: Something missing, out of range or of the wrong kind.
        """
        fields = Fields(given)
        answers: dict[str, Callable[[Fields], dict[str, Any]]] = {
            "sample": self._sample,
            "critic": self._critic,
            "text": self._text,
            "begin": self._begin,
            "act": self._act,
            "generate": self._generate,
        }
        return answers[name](fields)

    def _place(self, fields: Fields) -> dict[str, Any]:
        return {"index": fields.whole("index"), "split": fields.text("split", "validation")}

    def _masks(self, fields: Fields) -> dict[str, Any]:
        return {**self._place(fields), "mask_rate": fields.number("mask_rate"), "seed": fields.whole("seed", 1)}

    def _threshold(self, fields: Fields) -> float:
        return fields.number("threshold", 0.5)

    def _sample(self, fields: Fields) -> dict[str, Any]:
        clean = views.sample_view(self.explorer, **self._place(fields))
        masked = views.corrupted_view(self.explorer, **self._masks(fields))
        return {"views": [page_data(clean), page_data(masked)]}

    def _critic(self, fields: Fields) -> dict[str, Any]:
        view = views.critic_view(self.explorer, **self._masks(fields), threshold=self._threshold(fields))
        return {"views": [page_data(view)]}

    def _text(self, fields: Fields) -> dict[str, Any]:
        return {"views": [page_data(views.text_view(self.explorer, fields.text("text", ""), self._threshold(fields)))]}

    # ---- the canvas ----

    def _shown(self, state: DenoisingState, threshold: float) -> dict[str, Any]:
        """A state, to be sent back, and what it looks like."""
        return {"state": state_data(state), "view": self._on_canvas(state, threshold)}

    def _on_canvas(self, state: DenoisingState, threshold: float) -> dict[str, Any]:
        view = page_data(denoising_views.denoising_view(self.explorer, state, threshold))
        return with_given(view, state)

    def _begin(self, fields: Fields) -> dict[str, Any]:
        text = fields.text("text", "")
        if text:
            state = denoising.start_from_text(self.explorer, text, fields.whole("seed", 1))
        else:
            state = denoising.start_from_sample(self.explorer, **self._masks(fields))
            if all(state.editable):
                state = replace(state, truth=None)  # nothing of the sample is left for anything to differ from
        return self._shown(state, self._threshold(fields))

    def _state(self, fields: Fields) -> DenoisingState:
        state = state_of(Fields(fields.given.get("state")), self.explorer.model.backbone)
        return replace(state, seed=fields.whole("seed", state.seed))

    def _act(self, fields: Fields) -> dict[str, Any]:
        act, state, threshold = fields.text("act", ""), self._state(fields), self._threshold(fields)
        if act not in ACTS:
            raise ValueError(f"`act` must be one of {', '.join(ACTS)}, got {act!r:.40}: choose one.")
        positions = fields.listed("positions", (int,))
        return self._shown(self._acted(act, state, fields, positions, threshold), threshold)

    def _acted(
        self, act: str, state: DenoisingState, fields: Fields, positions: list[int], threshold: float
    ) -> DenoisingState:
        explorer = self.explorer
        if act == "fill":
            return denoising.fill(explorer, state)
        if act == "score":
            return denoising.score(explorer, state)
        if act == "unmask":
            chosen = {"positions": positions} if positions else {"count": fields.whole("count", 1)}
            return denoising.unmask(explorer, state, **chosen)
        if act == "truth":
            return denoising.reveal_truth(explorer, state, positions)
        if act == "mask":
            return denoising.edit(explorer, state, positions, explorer.model.config.mask_token_id)
        if act == "set":
            return denoising.edit(explorer, state, positions, self._token(fields.text("token", "")))
        if act == "protect":
            visible_ones = all(0 <= i < len(state.editable) and state.editable[i] for i in positions)
            return denoising.edit(explorer, state, positions, protect=visible_ones)
        if act == "remask_above":
            return denoising.remask(explorer, state, "threshold", threshold=threshold)
        by = "critic" if act == "remask_worst" else "random"
        return denoising.remask(explorer, state, by, fields.whole("count", 1))

    def _token(self, text: str) -> int:
        """The one token that a text is."""
        ids = encode_strict(self.explorer.tokenizer, text, split_special_tokens=False) if text else []
        if len(ids) != 1:
            raise ValueError(
                f"`token` must be one token of the model, got {text!r:.40}, which is {len(ids)}: write one."
            )
        return ids[0]

    def _generate(self, fields: Fields) -> dict[str, Any]:
        state, threshold = self._state(fields), self._threshold(fields)
        how = fields.text("strategy", "auto")
        if how not in self.strategies:
            raise ValueError(f"`strategy` must be one of {', '.join(self.strategies)}, got {how!r:.40}: choose one.")
        steps = fields.whole("num_steps", 8, MAX_STEPS)
        view = denoising_views.generation_view(self.explorer, state, threshold, remasking=how, num_steps=steps)
        every = 1 + len(view.steps) * len(view.tokens) // MAX_DRAWN
        ids = tuple(token.id for token in view.tokens)
        after = replace(
            state,
            input_ids=ids,
            action="generate",
            changed=tuple(i for i, (old, new) in enumerate(zip(state.input_ids, ids, strict=True)) if old != new),
            forward_passes=state.forward_passes + view.forward_passes,
            critic_logits=None,
            error_probabilities=None,
        )
        frames = [with_given(page_data(step), state) for step in view.steps[::every]]
        return {"frames": frames, "state": state_data(after), "view": with_given(page_data(view), state)}


def with_given(view: dict[str, Any], state: DenoisingState) -> dict[str, Any]:
    """A view of the page in which given tokens are marked by the letter `g`."""
    for token, editable in zip(view["tokens"], state.editable, strict=True):
        token["k"] = token.get("k", "") + ("" if editable else "g")
    return view


def state_data(state: DenoisingState) -> dict[str, Any]:
    """A state as JSON; `options` stay behind, since the page has none."""
    return {
        "input_ids": list(state.input_ids),
        "editable": [int(editable) for editable in state.editable],
        "seed": state.seed,
        "step": state.step,
        "forward_passes": state.forward_passes,
        "action": state.action,
        "changed": list(state.changed),
        "truth": None if state.truth is None else list(state.truth),
        "critic_logits": None if state.critic_logits is None else list(state.critic_logits),
        "error_probabilities": None if state.error_probabilities is None else list(state.error_probabilities),
    }


def state_of(fields: Fields, backbone: Any) -> DenoisingState:
    """
    The state that a visitor sends back, checked like anything that comes from outside.

    Args:
        fields ([`Fields`]): What was sent.
        backbone ([`Backbone`]): That of the model.

    Raises:
        `ValueError`: It is none that this model could be in.
    """
    ids = fields.listed("input_ids", (int,), None)
    longest, length = backbone.max_sequence_length or MAX_CHARACTERS, len(ids)
    if not 0 < length <= longest:
        raise ValueError(f"`input_ids` must be 1 to {longest} tokens, got {length}: begin first.")
    truth = None if fields.given.get("truth") is None else fields.listed("truth", (int, type(None)), length)
    for name, tokens in (("input_ids", ids), ("truth", truth or ())):
        if not all(token is None or 0 <= token < backbone.vocab_size for token in tokens):
            raise ValueError(f"`{name}` must be in [0, vocab_size = {backbone.vocab_size}), got others: begin anew.")
    verdicts = {
        name: tuple(float(value) for value in fields.listed(name, (float, int), length))
        for name in ("critic_logits", "error_probabilities")
        if fields.given.get(name) is not None
    }
    if not torch.tensor([*verdicts.values()]).isfinite().all():
        raise ValueError("`critic_logits` must be finite numbers, got others: score the tokens again.")
    return DenoisingState(
        input_ids=tuple(ids),
        editable=tuple(bool(value) for value in fields.listed("editable", (int, bool), length)),
        seed=fields.whole("seed", 1),
        step=fields.whole("step", 0, 2**31),
        forward_passes=fields.whole("forward_passes"),
        action=(fields.text("action") or "")[:20],
        changed=tuple(fields.listed("changed", (int,))),
        truth=None if truth is None else tuple(truth),
        **verdicts,
    )
