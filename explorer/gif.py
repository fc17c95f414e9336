# Copyright 2026 the critic_gpt developers. Licensed under the Apache License, Version 2.0.
"""A denoising as an animated GIF, for places that show pictures alone. Needs Pillow (the extra `critic_gpt[viz]`)."""

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from PIL import Image, ImageDraw, ImageFont

from critic_gpt.explorer.drawing import error_color, lines_of, sign_of
from critic_gpt.explorer.tokens import TokenView


WIDTH, MARGIN, LINE, CELL = 720, 14, 25, 34
SIZE, SMALL = 17, 13
# Milliseconds of a step, and of the last one.
STEP, LAST = 500, 3000
# Taller pictures are too large for what shows GIFs.
MOST_LINES = 100
INK, DIM, PAPER, MASK = "#1c1e21", "#5c636e", "#ffffff", "#d5d9df"
# Where P(wrong) is at least so much, as many lines stand beneath a token, for those who see no colour.
UNDERLINES = (0.1, 0.5, 0.9)

Steps = Sequence[tuple[str, tuple[TokenView, ...]]]
# A token and where it stands: left, top, right, bottom.
Placed = list[tuple[TokenView, tuple[int, int, int, int]]]


def draw_gif(steps: Steps, row_width: int | None, title: str, comment: str | None = None) -> bytes:
    """
    Draws an animation.

    Args:
        steps: Of each step its heading and its tokens.
        row_width (`int`, *optional*): Tokens per line of a grid; by default lines end at newlines and at the margin.
        title (`str`): Stands above.
        comment (`str`, *optional*): Stands in the file, unseen.

    Raises:
        `ValueError`: The text is too long for a picture.
    """
    pen = _Pen(row_width)
    placed = [pen.placed(tokens) for _, tokens in steps]
    below = max((box[3] for tokens in placed for _, box in tokens), default=pen.top)
    if below > pen.top + MOST_LINES * (LINE if row_width is None else CELL):
        raise ValueError(
            f"`animate` must be .html for a text of more than {MOST_LINES} lines, got a GIF: name another."
        )
    right = WIDTH if row_width is None else max(560, 2 * MARGIN + row_width * CELL)
    size = (right, below + LINE + 2 * MARGIN)
    pictures = (pen.picture(size, title, heading, tokens) for (heading, _), tokens in zip(steps, placed, strict=True))
    first, file = next(pictures), io.BytesIO()
    durations = [STEP] * (len(steps) - 1) + [LAST]
    more: dict[str, Any] = {"comment": comment.encode()} if comment else {}
    first.save(
        file, format="GIF", save_all=True, append_images=pictures, duration=durations, loop=0, optimize=False, **more
    )
    return file.getvalue()


def _font(size: int) -> Any:
    """That of matplotlib, which has most of the signs that texts have; else Pillow's own."""
    found = importlib.util.find_spec("matplotlib")
    if found is not None and found.origin is not None:
        path = Path(found.origin).parent / "mpl-data" / "fonts" / "ttf" / "DejaVuSansMono.ttf"
        if path.is_file():
            return ImageFont.truetype(str(path), size)
    return ImageFont.load_default(size)


class _Pen:
    """Knows fonts and places."""

    def __init__(self, row_width: int | None):
        self.row_width, self.font, self.small = row_width, _font(SIZE), _font(SMALL)
        self.top = MARGIN + 2 * LINE

    def placed(self, tokens: tuple[TokenView, ...]) -> Placed:
        """Where tokens stand."""
        found: Placed = []
        top = self.top
        for line in lines_of(tokens, self.row_width):
            left = MARGIN
            for token in line:
                width = CELL if self.row_width is not None else max(9, round(self.font.getlength(sign_of(token))))
                height = CELL if self.row_width is not None else LINE
                if self.row_width is None and left + width > WIDTH - MARGIN and left > MARGIN:
                    left, top = MARGIN, top + LINE
                found.append((token, (left, top, left + width, top + height)))
                left += width
            top += CELL if self.row_width is not None else LINE
        return found

    def picture(self, size: tuple[int, int], title: str, heading: str, tokens: Placed) -> Image.Image:
        """One frame."""
        image = Image.new("RGB", size, PAPER)
        draw = ImageDraw.Draw(image)
        draw.text((MARGIN, MARGIN), title, INK, font=self.font)
        draw.text((MARGIN, MARGIN + LINE), heading, DIM, font=self.small)
        for token, box in tokens:
            self._token(draw, token, box)
        self._legend(draw, size[1] - LINE - MARGIN // 2)
        return image.quantize(64, dither=Image.Dither.NONE)

    def _token(self, draw: ImageDraw.ImageDraw, token: TokenView, box: tuple[int, int, int, int]) -> None:
        left, top, right, bottom = box
        p = token.error_probability
        inner = (left, top + 1, right - 1, bottom - 2)
        if token.masked:
            draw.rectangle(inner, fill=MASK)
            return
        if p is not None:
            draw.rectangle(inner, fill=error_color(p))
        elif self.row_width is not None:
            draw.rectangle(inner, outline=MASK)
        draw.text(((left + right - 1) / 2, (top + bottom) / 2 - 2), sign_of(token), INK, font=self.font, anchor="mm")
        for number in range(sum(p >= least for least in UNDERLINES) if p is not None else 0):
            draw.line((left + 1, bottom - 3 - 2 * number, right - 2, bottom - 3 - 2 * number), fill=INK)
        if token.remasked:
            draw.line((left, (top + bottom) / 2, right - 1, (top + bottom) / 2), fill=INK, width=2)

    def _legend(self, draw: ImageDraw.ImageDraw, top: int) -> None:
        left = MARGIN
        for p in (0.0, 0.25, 0.6, 0.95):
            draw.rectangle((left, top, left + 16, top + 16), fill=error_color(p))
            for number in range(sum(p >= least for least in UNDERLINES)):
                draw.line((left + 1, top + 14 - 2 * number, left + 15, top + 14 - 2 * number), fill=INK)
            left += 20
            draw.text((left, top), f"{p:.0%}", DIM, font=self.small)
            left += 38
        draw.text((left, top), "P(wrong)", DIM, font=self.small)
