# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""What the fronts share: colours, signs, lines, and a view's numbers in words."""

import colorsys
import unicodedata
from functools import singledispatch

from critic_gpt.explorer.denoising_views import DenoisingView, GenerationView, StepView
from critic_gpt.explorer.tokens import TokenView
from critic_gpt.explorer.views import CorruptedView, CriticView, SampleView, TextView


MASK_SIGN = "\N{LOWER ONE EIGHTH BLOCK}"
NEWLINE_SIGN = "\N{DOWNWARDS ARROW WITH CORNER LEFTWARDS}"
_HARMLESS = "\n\t\N{ZERO WIDTH JOINER}\N{ZERO WIDTH NON-JOINER}"
# Remarkable tokens named one by one beneath a text.
MOST_NAMED = 12


def error_color(probability: float) -> str:
    """From green at P(wrong) = 0 over yellow to red at 1, light enough for black letters: `"#rrggbb"`."""
    red, green, blue = colorsys.hls_to_rgb((1.0 - probability) / 3, 0.72, 0.75)
    return f"#{round(255 * red):02x}{round(255 * green):02x}{round(255 * blue):02x}"


def visible(text: str) -> str:
    """A text on which no terminal acts and in which nothing hides: control characters have signs of their own."""
    signs = []
    for character in text:
        if character == "\n":
            signs.append(NEWLINE_SIGN)
        elif ord(character) < 32:
            signs.append(chr(0x2400 + ord(character)))
        elif unicodedata.category(character) in ("Cc", "Cf", "Zl", "Zp"):
            signs.append("\N{REPLACEMENT CHARACTER}")
        else:
            signs.append(character)
    return "".join(signs)


def visible_text(text: str) -> str:
    """
    A text of several lines on which no terminal acts: as `visible`, but newlines, tabs, and the joiners of Indic
    scripts, Persian and emoji stay. Whatever comes from a model, data or a file passes here on its way to a terminal.
    """
    return "".join(character if character in _HARMLESS else visible(character) for character in text)


def sign_of(token: TokenView) -> str:
    """A token as it is drawn, on one line."""
    return MASK_SIGN if token.masked else visible(token.text)


def lines_of(tokens: tuple[TokenView, ...], row_width: int | None) -> list[list[TokenView]]:
    """Tokens in lines: a grid by its width, a text where its newlines are."""
    if row_width is not None:
        return [list(tokens[start : start + row_width]) for start in range(0, len(tokens), row_width)]
    lines = [[]]
    for token in tokens:
        lines[-1].append(token)
        if "\n" in token.text and not token.masked:
            lines.append([])
    return lines if lines[-1] else lines[:-1]


def mark_of(token: TokenView, another_right: bool = False) -> str:
    """
    One letter for what is remarkable where there is no colour: `+` wrong and flagged, `x` wrong and not flagged,
    `!` right and flagged, or flagged without a truth, `~` re-masked, else a space. Where `another_right`, nothing is
    wrong.
    """
    if token.remasked:
        return "~"
    if token.wrong and not another_right:
        return "+" if token.flagged else "x"
    return "!" if token.flagged else " "


def named(tokens: tuple[TokenView, ...], another_right: bool = False) -> list[str]:
    """
    The remarkable tokens one by one, those likeliest wrong first: place, token, truth, P(wrong), verdict. Where
    `another_right`, what differs from the truth is no error, and only what is flagged is remarkable.
    """
    found = [
        token
        for token in tokens
        if not token.masked and ((token.wrong and not another_right) or token.flagged or token.remasked)
    ]
    found.sort(key=lambda token: -(1.0 if token.error_probability is None else token.error_probability))
    lines = []
    for token in found[:MOST_NAMED]:
        parts = [f"{token.position}: {sign_of(token)!r}"]
        if token.wrong:
            parts.append(f"{'example' if another_right else 'truth'} {visible(token.truth)!r}")
        if token.error_probability is not None:
            parts.append(f"P(wrong) {token.error_probability:.1%}")
        outcome = None if another_right else token.outcome
        parts += [part for part in (outcome, "re-masked" if token.remasked else None) if part]
        lines.append(", ".join(parts))
    return lines + ([f"and {len(found) - MOST_NAMED} more"] if len(found) > MOST_NAMED else [])


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f}"


def _verdict(judged: dict | None) -> list[str]:
    """What the task says; figures that one text alone cannot have are left out."""
    several = ("duplicates", "num_samples", "distinct_rate")
    shown = {name: value for name, value in (judged or {}).items() if name not in several}
    return ["task: " + ", ".join(f"{name} {value:.3g}" for name, value in shown.items())] if shown else []


def _another(view: CriticView | DenoisingView | GenerationView) -> list[str]:
    """That what differs from the example is right, too."""
    if not view.another_right:
        return []
    differ = sum(bool(token.wrong) for token in view.tokens)
    kind = "grid" if view.row_width else "text"
    return [f"another valid {kind}: {differ} tokens differ from the example, none is wrong"]


def _stand_in(calibrated: bool) -> list[str]:
    return [] if calibrated else ["not calibrated: P(wrong) is read off a plain ramp"]


@singledispatch
def headings(view) -> list[str]:
    """The numbers of a view in words, one line each."""
    raise TypeError(
        f"`view` must be one of this package's views, got {type(view).__name__}: make it by a view function."
    )


@headings.register
def _(view: SampleView) -> list[str]:
    return [f"{view.split} {view.index} of {view.num_examples}, {len(view.tokens)} tokens"]


@headings.register
def _(view: CorruptedView) -> list[str]:
    rate = "drawn" if view.mask_rate is None else f"{view.mask_rate:g}"
    place = f"{view.split} {view.index} of {view.num_examples}"
    return [f"{place}, mask rate {rate}, seed {view.seed}: {view.num_masked} of {len(view.tokens)} tokens masked"]


@headings.register
def _(view: CriticView) -> list[str]:
    counts = ", ".join(f"{name.upper()} {number}" for name, number in view.counts.items())
    lines = headings.dispatch(CorruptedView)(view)
    if view.another_right:
        flagged = view.counts["tp"] + view.counts["fp"]
        judged = f"{view.num_filled} filled, {view.num_judged} judged, {flagged} flagged at threshold"
        errors = f"wrong tokens: {view.expected_wrong:.2f} expected"
        return [*lines, f"{judged} {view.threshold:g}", *_another(view), errors, *_stand_in(view.calibrated)]
    lines.append(f"{view.num_filled} filled, {view.num_judged} judged at threshold {view.threshold:g}: {counts}")
    for name, spread in view.scores.items():
        numbers = ", ".join(f"{key} {_percent(spread[key])}" for key in ("mean", "p10", "p50", "p90"))
        lines.append(f"{spread['count']} {name}: P(wrong) {numbers}")
    lines.append(
        f"wrong tokens: {view.expected_wrong:.2f} expected, {view.true_wrong} true; AUROC {_number(view.auroc)}"
    )
    return lines + _stand_in(view.calibrated)


@headings.register
def _(view: TextView) -> list[str]:
    lines = [
        f"{len(view.tokens)} tokens, {view.num_masked} masked, {view.num_flagged} flagged at threshold "
        f"{view.threshold:g}; {view.expected_wrong:.2f} wrong tokens expected"
    ]
    return lines + _verdict(view.judged) + _stand_in(view.calibrated)


def _errors(view: DenoisingView | GenerationView) -> str:
    """Expected and true number of wrong tokens, as far as they are known."""
    parts = [f"{view.expected_wrong:.2f} expected"] if view.expected_wrong is not None else []
    if view.true_wrong is not None and not view.another_right:
        parts.append(f"{view.true_wrong} differ from the truth")
    return f"; wrong tokens: {', '.join(parts)}" if parts else ""


@headings.register
def _(view: DenoisingView) -> list[str]:
    passes = f"{view.forward_passes} forward passes"
    return [
        f"step {view.step}, {view.action}: {view.num_masked} masks left, {passes}{_errors(view)}",
        *_another(view),
        *_verdict(view.judged),
    ]


@headings.register
def _(view: StepView) -> list[str]:
    replaced = f"{view.num_replaced} replaced, " if view.num_replaced else ""
    return [
        f"step {view.step}: {view.num_masked_before} masks went in, {view.num_filled} filled, {replaced}"
        f"{view.num_remasked} re-masked"
    ]


@headings.register
def _(view: GenerationView) -> list[str]:
    cost = f"{view.forward_passes} forward passes and {view.scoring_passes} to judge"
    line = f"{view.strategy}, seed {view.seed}: {len(view.steps)} steps, {cost}{_errors(view)}"
    return [line, *_another(view), *_verdict(view.judged)]
