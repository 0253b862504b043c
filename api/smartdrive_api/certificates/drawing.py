"""Drawing on A4 pages: texts that are never markup, in a font that has the letters, and two plots."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence
from datetime import date
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any, Final, NamedTuple

if TYPE_CHECKING:
    from io import BytesIO

WIDTH: Final = 595.28  # A4, in points
HEIGHT: Final = 841.89
MARGIN: Final = 48.0
INNER: Final = WIDTH - 2 * MARGIN
_BOTTOM: Final = 62.0

INK: Final = "#1c2730"
GREY: Final = "#5d6b78"
PALE: Final = "#d9e2e8"
TINT: Final = "#f3f7f9"
ACCENT: Final = "#0b6e86"
BAD: Final = "#b3261e"
REGULAR: Final = "SmartDrive"
BOLD: Final = "SmartDriveBold"


class Bar(NamedTuple):
    """A month and what was driven in it; None where no distance is known."""

    month: date
    value: float | None


class Point(NamedTuple):
    """A day's estimate with its interval."""

    day: date
    value: float
    low: float | None
    high: float | None


class Sheets:
    """Pages that are filled from the top; whoever writes too much gets another one.

    Args:
        stream: where the PDF goes.
        title: of the document.
        footer: at the left of each page's foot.
        pages: how many there will be; None where that is what is to be found out.
    """

    def __init__(self, stream: BytesIO, title: str, footer: str, pages: int | None) -> None:
        from reportlab.pdfgen.canvas import Canvas

        _register_fonts()
        self._canvas = Canvas(stream, pagesize=(WIDTH, HEIGHT), lang="en")
        self._canvas.setTitle(title)
        self._canvas.setAuthor("SmartDrive")
        self._canvas.setCreator("smartdrive-api")
        self._footer, self._pages = footer, pages
        self.page = 1
        self.y = HEIGHT - MARGIN

    def finish(self) -> int:
        """Write the file; how many pages it has."""
        self._foot()
        self._canvas.save()
        return self.page

    def turn(self) -> None:
        """Go on on a new page."""
        self._foot()
        self._canvas.showPage()
        self.page += 1
        self.y = HEIGHT - MARGIN

    def need(self, height: float) -> None:
        """Go on on a new page where less than this is left, in points."""
        if self.y - height < _BOTTOM:
            self.turn()

    def put(
        self,
        x: float,
        y: float,
        text: str,
        size: float = 9.5,
        *,
        bold: bool = False,
        colour: str = INK,
        align: str = "left",
    ) -> None:
        """One line of text at a place."""
        canvas = self._canvas
        canvas.setFont(BOLD if bold else REGULAR, size)
        canvas.setFillColor(_colour(colour))
        draw = {"left": canvas.drawString, "right": canvas.drawRightString, "centre": canvas.drawCentredString}
        draw[align](x, y, shown(text))

    def block(
        self,
        x: float,
        y: float,
        width: float,
        text: str,
        size: float = 9.5,
        *,
        bold: bool = False,
        colour: str = INK,
        most: int = 50,
    ) -> float:
        """Lines of text that are broken to a width, at most so many; where the next line would stand."""
        lines = broken(text, width, size, bold=bold)
        if len(lines) > most:
            lines = [*lines[: most - 1], lines[most - 1][:-1] + "…"]
        for line in lines:
            self.put(x, y, line, size, bold=bold, colour=colour)
            y -= 1.35 * size
        return y

    def write(
        self, text: str, size: float = 9.5, *, bold: bool = False, colour: str = INK, indent: float = 0
    ) -> None:
        """A paragraph at the top of what is left."""
        for line in broken(text, INNER - indent, size, bold=bold):
            self.need(1.4 * size)
            self.y -= 1.4 * size
            self.put(MARGIN + indent, self.y, line, size, bold=bold, colour=colour)

    def heading(self, text: str) -> None:
        """A heading, which stands above something of its page."""
        self.need(70)
        self.y -= 30
        self.put(MARGIN, self.y, text, 14, bold=True, colour=ACCENT)
        self.y -= 6

    def box(self, x: float, y: float, width: float, height: float, *, fill: str = TINT) -> None:
        """A coloured rectangle; `y` is its lower edge."""
        self._canvas.setFillColor(_colour(fill))
        self._canvas.roundRect(x, y, width, height, 5, stroke=0, fill=1)

    def line(self, x: float, y: float, to_x: float, to_y: float, colour: str = PALE, width: float = 0.6) -> None:
        """A straight line."""
        self._canvas.setStrokeColor(_colour(colour))
        self._canvas.setLineWidth(width)
        self._canvas.line(x, y, to_x, to_y)

    def dot(self, x: float, y: float, radius: float, colour: str) -> None:
        """A filled circle."""
        self._canvas.setFillColor(_colour(colour))
        self._canvas.circle(x, y, radius, stroke=0, fill=1)

    def bar(self, x: float, y: float, width: float, height: float, colour: str) -> None:
        """A filled rectangle without round corners; `y` is its lower edge."""
        self._canvas.setFillColor(_colour(colour))
        self._canvas.rect(x, y, width, height, stroke=0, fill=1)

    def _foot(self) -> None:
        self.line(MARGIN, 46, WIDTH - MARGIN, 46)
        self.put(MARGIN, 34, self._footer, 7.5, colour=GREY)
        of = "" if self._pages is None else f" of {self._pages}"
        self.put(WIDTH - MARGIN, 34, f"Page {self.page}{of}", 7.5, colour=GREY, align="right")


def plot_points(
    sheets: Sheets, points: Sequence[Point], first: date, last: date, *, warn: float, height: float
) -> None:
    """Estimates of 0 to 100 % by day, each with its interval, and a line under which they warn."""
    sheets.need(height + 24)
    x, y, width = MARGIN + 26, sheets.y - height, INNER - 30
    for value in (0, 20, 40, 60, 80, 100):
        at = y + height * value / 100
        sheets.line(x, at, x + width, at)
        sheets.put(x - 6, at - 3, f"{value} %", 7.5, colour=GREY, align="right")
    sheets.line(x, y + height * warn / 100, x + width, y + height * warn / 100, BAD, 0.9)
    span = max(1, (last - first).days)
    for point in points:
        at = x + 4 + (width - 8) * (point.day - first).days / span
        if point.low is not None and point.high is not None:
            low, high = (y + height * _within(end, 0, 100) / 100 for end in (point.low, point.high))
            sheets.line(at, low, at, high, "#8fbecb", 1.4)
    for point in points:
        at = x + 4 + (width - 8) * (point.day - first).days / span
        sheets.dot(at, y + height * _within(point.value, 0, 100) / 100, 1.6, ACCENT)
    sheets.put(x, y - 12, first.isoformat(), 7.5, colour=GREY)
    sheets.put(x + width, y - 12, last.isoformat(), 7.5, colour=GREY, align="right")
    sheets.y = y - 18


def plot_bars(sheets: Sheets, bars: Sequence[Bar], *, unit: str, height: float) -> None:
    """One bar for each month from the first to the last; a month without any is empty."""
    sheets.need(height + 24)
    x, y, width = MARGIN + 40, sheets.y - height, INNER - 44
    top, step = _scale(max((bar.value or 0 for bar in bars), default=0))
    for number in range(round(top / step) + 1):
        at = y + height * number * step / top
        sheets.line(x, at, x + width, at)
        sheets.put(x - 6, at - 3, f"{number * step:,.0f} {unit}", 7.5, colour=GREY, align="right")
    begin, end = bars[0].month, bars[-1].month
    months = (end.year - begin.year) * 12 + end.month - begin.month + 1
    slot = width / months
    every = math.ceil(34 / slot)
    known = {bar.month: bar.value for bar in bars}
    for number in range(months):
        month = date(begin.year + (begin.month - 1 + number) // 12, (begin.month - 1 + number) % 12 + 1, 1)
        left = x + number * slot
        tall = height * (known.get(month) or 0) / top
        if tall > 0:
            sheets.bar(left + 0.15 * slot, y, 0.7 * slot, tall, ACCENT)
        if number % every == 0:
            sheets.put(left + slot / 2, y - 12, f"{month:%Y-%m}", 7.5, colour=GREY, align="centre")
    sheets.y = y - 18


def shown(text: str) -> str:
    """A text as it can be printed: no control or formatting characters, and a square for what the font lacks."""
    glyphs = _register_fonts()
    plain = (" " if one.isspace() else one for one in unicodedata.normalize("NFC", text))
    kept = (one for one in plain if not unicodedata.category(one).startswith("C"))
    return "".join(one if ord(one) in glyphs else "■" for one in kept)


def broken(text: str, width: float, size: float, *, bold: bool = False) -> list[str]:
    """The lines of a text, none wider than a width in points; a word that is too long is broken anywhere."""
    from reportlab.pdfbase.pdfmetrics import stringWidth

    _register_fonts()
    font = BOLD if bold else REGULAR
    space = stringWidth(" ", font, size)
    lines: list[str] = []
    used = width  # of the last line
    for word in shown(text).split():
        wide = stringWidth(word, font, size)
        if lines and used + space + wide <= width:
            lines[-1] += f" {word}"
            used += space + wide
        elif wide <= width:
            lines.append(word)
            used = wide
        else:
            lines.append("")
            used = 0.0
            for one in word:
                wide = stringWidth(one, font, size)
                if lines[-1] and used + wide > width:
                    lines.append("")
                    used = 0.0
                lines[-1] += one
                used += wide
    return lines


@cache
def _register_fonts() -> frozenset[int]:
    """Register Source Sans Pro (SIL Open Font License 1.1), of which PDFs carry a part; its characters."""
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    folder = resources.files("font_source_sans_pro") / "files"
    for name, file in {REGULAR: "SourceSansPro-Regular.ttf", BOLD: "SourceSansPro-Bold.ttf"}.items():
        with resources.as_file(folder / file) as path:
            pdfmetrics.registerFont(TTFont(name, str(path)))
    return frozenset(pdfmetrics.getFont(REGULAR).face.charToGlyph)


@cache
def _colour(text: str) -> Any:
    from reportlab.lib.colors import HexColor

    return HexColor(text)


def _within(value: float, low: float, high: float) -> float:
    return min(high, max(low, value))


def _scale(most: float) -> tuple[float, float]:
    """The top of an axis that begins at 0, and its step: 1, 2 or 5 times a power of ten."""
    if most <= 0:
        return 1, 1
    power = 10.0 ** math.floor(math.log10(most / 4))
    step = next(power * one for one in (1, 2, 5, 10) if power * one * 5 >= most)
    return step * math.ceil(most / step), step
