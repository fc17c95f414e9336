# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""The task "critic-proofread": a text in; how likely each token is wrong, and what else might stand there."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch

from critic_gpt.hub.text import uncovered
from critic_gpt.pipelines.critic_pipeline import CriticPipeline


# What a token is: judged; a [MASK], which is no error; what the tokenizer does not know; another special token.
TEXT, HOLE, UNKNOWN, SPECIAL = "text", "hole", "unknown", "special"
# What decoding writes for bytes that make no character.
NO_CHARACTER = "\N{REPLACEMENT CHARACTER}"


@dataclass
class _Tokens:
    """A text and its tokens: what the model sees, where each stands in the text, what kind it is; later the proof."""

    text: str
    ids: list[int]
    offsets: list[tuple[int, int]]
    kinds: list[str]
    proof: Any = None


class CriticProofreadPipeline(CriticPipeline):
    """
    Reads an existing text; says how likely each token is wrong and what the model would write instead.

    Example:

    ```python
    >>> import critic_gpt
    >>> from transformers import pipeline

    >>> proofread = pipeline("critic-proofread", model="runs/demo/model")
    >>> result = proofread("123456456123...", correct=True)
    >>> result["expected_errors"], result["spans"], result["corrected_text"]
    ```

    The critic has learnt to find the errors that the model itself makes when it fills masks. It finds other errors
    (typos, grammar, other authors' code) only as far as they look like such fillings: tokens that are likely one by
    one but do not go together. Odd spellings that the model never writes may pass. Where `calibrate --source planted`
    has measured a table of texts with few errors, P(wrong) comes from that table and the critic and the language model
    decide together; otherwise it comes from the table of the model's own fillings, and in a text with few errors it
    tends to be too high. A model trained with `critic_regime` `"full"` or `"mixed"` has judged complete sequences, one
    trained with `"partial"` or `"sparse"` only such with masks left in them, which a text does not have.

    A call takes a text, a list of texts, or a dataset or generator of these (also mappings with the key `text`), and
    returns for each a dictionary of plain Python values; for a dataset or generator an iterator over them. Places are
    counted in characters of the text, `text[start:end]`.

    - `text` (`str`): The text.
    - `tokens` (`list[dict]`): All its tokens:
        - `text`, `start`, `end`: Where it stands.
        - `token` (`str`), `token_id` (`int`): The token; [MASK] for what is unknown.
        - `kind` (`str`): `"text"`; `"hole"`, a literal [MASK]; `"unknown"`, which the tokenizer does not know and the
          model therefore sees as a hole; `"special"`, another special token.
        - `error_probability` (`float` or `None`): P(wrong) of a token of the kind `"text"`.
        - `replacements` (`list[dict]`): Other tokens, the likeliest first: `text`, `token`, `token_id`, and
          `probability` given that the present one is wrong. Empty where none were asked for.
    - `spans` (`list[dict]`): Neighbouring tokens above `threshold`, merged: `text`, `start`, `end`,
      `max_error_probability`, `mean_error_probability`, and `replacement` (`str`), the likeliest one of each token put
      together, each as if it alone were wrong.
    - `holes`, `unknown` (`list[dict]`): Neighbouring tokens of these kinds, merged: `text`, `start`, `end`,
      `replacement`. What the tokenizer drops is listed among the unknown too, with the `replacement` "". White space
      at the end of a text that the tokenizer does not know is neither: files end with a line.
    - `expected_errors` (`float`): Sum of P(wrong): how many tokens are expected to be wrong.
    - `calibrated` (`bool`): Whether P(wrong) comes from a measured table; otherwise from a plain ramp.
    - `weakness` (`str` or `None`): Why the model is too weak to rely on for this text, if it is.
    - `windows` (`int`): How many windows the text makes.
    - `forward_passes` (`int`): How many windows of this text went through the model, whatever the batch.

    With `correct=True` also:

    - `corrected_text` (`str`): The text with tokens replaced. Holes and unknown characters stay.
    - `corrections` (`list[dict]`): What differs: `text`, `start`, `end` in the given text, and `replacement`.
    - `corrected_expected_errors` (`float`): How many tokens of the corrected text are expected to be wrong.
    - `rounds` (`int`): How often tokens were replaced and the text was judged again.
    - `settled` (`bool`): Whether nothing is left that would be replaced.

    Scores do not depend on the batch but for the rounding of floating-point arithmetic.

    Args of a call:
        threshold (`float`, *optional*, defaults to 0.5): P(wrong) above which a token is doubtful, in [0, 1].
        top_k (`int`, *optional*, defaults to 5): Replacements for each token; with 0 there are none.
        suggest_by (`str`, *optional*, defaults to `"auto"`): `"visible"`: replacements for every token from the pass
            that judges, as a model trained with a `correction_alpha` above 0 can name them. `"masked"`: for doubtful
            tokens alone, from a second pass that does not see them. `"auto"`: the first where it was trained.
        window (`int`, *optional*): Tokens that the model sees at once; as many as it has positions by default.
        stride (`int`, *optional*): Tokens that neighbouring windows share; half a window by default. Each token is
            judged in the window that shows most on both of its sides. With 0 a text is cut into pieces that know
            nothing of each other, such as grids one after another.
        batch_size (`int`, *optional*, defaults to 1): Texts read together, and windows in one forward pass.
        correct (`bool`, *optional*, defaults to `False`): Replace a doubtful token where the likeliest replacement is
            right more likely than it, judge again, and so on; of all states the one with the fewest expected errors
            is returned.
        max_rounds (`int`, *optional*): How often at most, 8 by default; for `correct=True`.
        on_windows (callable, *optional*): Called after each forward pass with how many windows of the texts read
            together are done, and how many are known.

    Raises:
        `ValueError`: A model without a trained critic, a tokenizer of another model, or a value out of range.
    """

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self._known_tokens: dict[int, dict[str, Any]] = {}
        self._never_suggested = {*self._never_drawn, *self.tokenizer.all_special_ids}

    def _check_model(self) -> None:
        super()._check_model()
        if not callable(getattr(self.model, "proofread", None)):
            raise ValueError(
                f"`model` must be able to proofread, got one of type {self.model.config.model_type!r}: load one with "
                "a critic."
            )
        self.model.check_proofreads()

    def __call__(self, inputs: Any, **kwargs):
        batch_size = kwargs.get("batch_size")
        kwargs["windows_per_pass"] = (self._batch_size or 1) if batch_size is None else batch_size
        return super().__call__(inputs, **kwargs)

    def _sanitize_parameters(self, windows_per_pass: int | None = None, top_k: int | None = None, **kwargs):
        known = ("threshold", "suggest_by", "window", "stride", "correct", "max_rounds", "on_windows")
        unknown = sorted(kwargs.keys() - set(known))
        if unknown:
            raise ValueError(
                f"`{unknown[0]}` must be an argument of proofreading, got {kwargs[unknown[0]]!r}: choose among "
                f"{', '.join(('top_k', *known))}."
            )
        forward = {name: value for name, value in kwargs.items() if value is not None}
        if windows_per_pass is not None:
            forward["batch_size"] = windows_per_pass
        if top_k is not None:
            forward["top_k"] = top_k
        return {}, forward, {}

    # ---- from a text to tokens ----

    def _read(self, item: Any) -> dict[str, list[_Tokens]]:
        # No tensors in sight: the parent would pad texts of all lengths to the longest.
        return {"texts": [self._encode(self._text_of(item))]}

    def _encode(self, text: str) -> _Tokens:
        tokenizer = self.tokenizer
        found = _Tokens(text, [], [], [])
        special = set(tokenizer.all_special_ids)
        for token, start, end in self._placed_tokens(text) if tokenizer.is_fast else self._found_again(text):
            written = text[start:end]
            kind = TEXT
            if token == tokenizer.mask_token_id:
                kind = HOLE
            elif self._is_unknown(token, written):
                kind = UNKNOWN
            elif token in special:
                kind = SPECIAL
            found.ids.append(tokenizer.mask_token_id if token is None or kind == UNKNOWN else token)
            found.offsets.append((start, end))
            found.kinds.append(kind)
        # The end of a line at the end of a file is white space, which tokenizers drop as they like, not a hole in it.
        while found.kinds and found.kinds[-1] == UNKNOWN and text[slice(*found.offsets[-1])].isspace():
            for kept in (found.ids, found.offsets, found.kinds):
                kept.pop()
        return found

    def _found_again(self, text: str) -> Iterator[tuple[int, int, int]]:
        """Tokens of a tokenizer in Python, which tells no places, found again one after another."""
        tokenizer, done = self.tokenizer, 0
        for token in tokenizer.tokenize(text):
            special = token in tokenizer.all_special_tokens
            written = token if special else tokenizer.convert_tokens_to_string([token])
            written = written.strip() or written
            start = text.find(written, done)
            if start < 0 or text[done:start].strip():
                raise ValueError(
                    f"`tokenizer` must tell where its tokens stand, got {type(tokenizer).__name__}, whose {token!r} "
                    "is not found again in the text: use a fast tokenizer."
                )
            done = start + len(written)
            yield tokenizer.convert_tokens_to_ids(token), start, done

    # ---- the model ----

    def _forward(self, model_inputs: dict[str, list], **settings) -> dict[str, list[_Tokens]]:
        # One text comes in a list, several as a list of such lists.
        texts = [text for item in model_inputs["texts"] for text in (item if isinstance(item, list) else [item])]
        proofs = self.model.proofread(
            [torch.tensor(text.ids, dtype=torch.long) for text in texts],
            judged=[torch.tensor([kind == TEXT for kind in text.kinds], dtype=torch.bool) for text in texts],
            suppressed_ids=self._never_suggested,
            **settings,
        )
        for text, proof in zip(texts, proofs, strict=True):
            text.proof = proof
        return {"texts": texts}

    # ---- from tokens to an answer ----

    def postprocess(self, model_outputs: dict[str, Any]) -> dict[str, Any]:
        text = model_outputs["texts"]
        text = text[0] if isinstance(text, list) else text
        proof, errors = text.proof, text.proof.error_probabilities.tolist()
        pairs = [
            [(token, chance) for token, chance in zip(ids, chances, strict=True) if chance > 0]
            for ids, chances in zip(proof.candidate_ids.tolist(), proof.candidate_probabilities.tolist(), strict=True)
        ]
        best = [found[0][0] if found else token for found, token in zip(pairs, text.ids, strict=True)]
        result = {
            "text": text.text,
            "tokens": [self._token(text, place, errors[place], found) for place, found in enumerate(pairs)],
            "spans": [],
            "holes": self._edits_of(text, HOLE, best),
            "unknown": self._edits_of(text, UNKNOWN, best),
            "expected_errors": sum(errors, 0.0),
            "calibrated": proof.calibrated,
            "weakness": proof.weakness,
            "windows": proof.windows,
            "forward_passes": proof.forward_passes,
        }
        dropped = _dropped(self.tokenizer, text)
        result["unknown"] = sorted([*result["unknown"], *dropped], key=lambda span: span["start"])
        for begin, end in _runs(proof.doubtful.tolist(), text.offsets):
            span = self._edit(text, begin, end, best)
            numbers = {"max": max(errors[begin:end]), "mean": sum(errors[begin:end]) / (end - begin)}
            result["spans"].append({**span, **{f"{name}_error_probability": p for name, p in numbers.items()}})
        if proof.corrected_ids is not None:
            result |= self._corrected(text)
        return result

    def _token(self, text: _Tokens, place: int, error: float, found: list[tuple[int, float]]) -> dict[str, Any]:
        start, end = text.offsets[place]
        return {
            "text": text.text[start:end],
            "start": start,
            "end": end,
            "token": self._written(text.ids[place])["token"],
            "token_id": text.ids[place],
            "kind": text.kinds[place],
            "error_probability": error if text.kinds[place] == TEXT else None,
            "replacements": [{**self._written(token), "probability": chance} for token, chance in found],
        }

    def _written(self, token: int) -> dict[str, Any]:
        """A token by itself."""
        if token not in self._known_tokens:
            name = self.tokenizer.convert_ids_to_tokens(token)
            self._known_tokens[token] = {"text": self._decode([token]), "token": name, "token_id": token}
        return self._known_tokens[token]

    def _corrected(self, text: _Tokens) -> dict[str, Any]:
        proof, ids = text.proof, text.proof.corrected_ids.tolist()
        runs = _runs([new != old for new, old in zip(ids, text.ids, strict=True)], text.offsets)
        corrections = [self._edit(text, *run, ids) for run in runs]
        corrections = [one for one in corrections if one["replacement"] != one["text"]]
        pieces, done = [], 0
        for correction in corrections:
            pieces += [text.text[done : correction["start"]], correction["replacement"]]
            done = correction["end"]
        return {
            "corrected_text": "".join([*pieces, text.text[done:]]),
            "corrections": corrections,
            "corrected_expected_errors": proof.corrected_expected_errors,
            "rounds": proof.rounds,
            "settled": proof.settled,
        }

    def _edits_of(self, text: _Tokens, kind: str, ids: list[int]) -> list[dict[str, Any]]:
        """The edits of neighbouring tokens of one kind."""
        return [self._edit(text, *run, ids) for run in _runs([one == kind for one in text.kinds], text.offsets)]

    def _edit(self, text: _Tokens, begin: int, end: int, ids: list[int]) -> dict[str, Any]:
        """Where tokens stand in the text, and what would stand there with other ids; all else stays as it is."""
        begin, end = _whole_characters(text.offsets, begin, end)
        before = text.ids[max(0, begin - 1) : begin]
        present, replacement = (self._decode(part[begin:end], before) for part in (text.ids, ids))
        start, stop = text.offsets[begin][0], text.offsets[end - 1][1]
        # Many tokenizers keep the space before a word in its token, and leave it out of the token's place.
        space = present[: len(present) - len(present.lstrip())]
        if space and not text.text.startswith(space, start):
            if replacement.startswith(space):
                replacement = replacement[len(space) :]
            elif text.text.endswith(space, 0, start):
                start -= len(space)
        written = text.text[start:stop]
        if NO_CHARACTER in replacement and NO_CHARACTER not in present:
            replacement = written  # tokens of bytes that make no character together are no text
        return {"text": written, "start": start, "end": stop, "replacement": replacement}

    def _decode(self, ids: list[int], before: Sequence[int] = ()) -> str:
        """Tokens as text, as they read behind those `before` them."""
        whole = self.tokenizer.decode([*before, *ids], clean_up_tokenization_spaces=False)
        head = self.tokenizer.decode([*before], clean_up_tokenization_spaces=False) if before else ""
        return whole[len(head) :] if whole.startswith(head) else self._decode(ids)


def _runs(marked: list[bool], offsets: list[tuple[int, int]] | None = None) -> list[tuple[int, int]]:
    """Marked places that are neighbours, as (begin, end); with offsets of tokens grown to whole characters."""
    runs: list[tuple[int, int]] = []
    for place in (place for place, chosen in enumerate(marked) if chosen):
        begin, end = (place, place + 1) if offsets is None else _whole_characters(offsets, place, place + 1)
        if runs and begin <= runs[-1][1]:
            runs[-1] = (runs[-1][0], max(end, runs[-1][1]))
        else:
            runs.append((begin, end))
    return runs


def _whole_characters(offsets: list[tuple[int, int]], begin: int, end: int) -> tuple[int, int]:
    """A run of tokens, grown by those that share a character with it: a token of bytes may be a part of one."""
    while begin > 0 and offsets[begin - 1][1] > offsets[begin][0]:
        begin -= 1
    while end < len(offsets) and offsets[end][0] < offsets[end - 1][1]:
        end += 1
    return begin, end


def _dropped(tokenizer: Any, text: _Tokens) -> list[dict[str, Any]]:
    """What no token stands for."""
    placed = [(token, start, end) for token, (start, end) in zip(text.ids, text.offsets, strict=True)]
    return [
        {"text": text.text[start:end], "start": start, "end": end, "replacement": ""}
        for start, end in _runs(uncovered(tokenizer, text.text, placed))
    ]
