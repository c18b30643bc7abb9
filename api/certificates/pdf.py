"""A certificate as a PDF: one page, A4 landscape, its QR code leads to its public page. Equal input, equal bytes."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Final, cast

import segno
from fpdf import FPDF

from api import messages
from api.certificates import fonts
from api.certificates.shown import Certificate, shown

Colour = tuple[int, int, int]
Steps = Sequence[tuple[float, int]]

WIDTH, HEIGHT = 297.0, 210.0
MIDDLE: Final = WIDTH / 2
TEXT: Final = 224.0
"""Width of the lines, mm."""

PAPER: Final[Colour] = (254, 253, 249)
INK: Final[Colour] = (24, 38, 66)
GREY: Final[Colour] = (92, 99, 112)
GOLD: Final[Colour] = (173, 138, 68)
PALE: Final[Colour] = (243, 237, 222)
RED: Final[Colour] = (176, 32, 37)
WHITE: Final[Colour] = (255, 255, 255)

# Point sizes with the lines they may take, tried in order: a short name stands large, a long one stays whole.
NAME: Final[Steps] = ((42, 1), (36, 1), (31, 1), (27, 1), (23, 1), (23, 2), (19, 2), (16, 3))
TITLE: Final[Steps] = ((26, 1), (22, 1), (20, 2), (17, 2), (15, 3), (13, 3), (11, 4))
SMALL: Final[Steps] = ((9.5, 1), (8, 1), (7, 2), (6, 3))


def render(certificate: Certificate, url: str, language: str) -> bytes:
    """The file. `url` is the public page's; no clock is read: the file says that it was made when it was issued."""
    page = _Page(certificate, url, language)
    page.draw()
    return bytes(page.pdf.output())


class _Page:
    """One page and what stands on it, from its edge inwards."""

    def __init__(self, certificate: Certificate, url: str, language: str) -> None:
        self.certificate, self.url, self.language = certificate, url, language
        self.name = fonts.printable(shown(certificate.learner_name))
        self.title = fonts.printable(shown(certificate.course_title)) or shown(certificate.course_id)
        self.reason = fonts.printable(shown(certificate.revoked_reason))
        self.accent = GOLD if certificate.status == "valid" else GREY
        self.pdf = self._blank()

    def _blank(self) -> FPDF:
        pdf = FPDF("landscape", "mm", "A4")
        pdf.set_auto_page_break(False)
        pdf.set_margin(0)
        pdf.c_margin = 0
        pdf.set_creation_date(self.certificate.issued_at)
        pdf.set_title(f"{self.text('title')} · {self.title}")
        pdf.set_author("Milepost")
        pdf.set_creator("Milepost")
        pdf.set_producer("Milepost")
        pdf.set_lang(self.language)
        for name in (fonts.DISPLAY, fonts.PRINT, *(fallbacks := fonts.needed(self._texts()))):
            pdf.add_font(name, fname=fonts.FOLDER / f"{name}.ttf")
        pdf.set_fallback_fonts([*fallbacks], exact_match=False)
        pdf.set_text_shaping(True)
        pdf.add_page()
        return pdf

    def _texts(self) -> Iterator[str]:
        """All that may be written: which fonts go in depends on it."""
        yield from (self.name, self.title, self.reason, self.url)
        yield from (text for key, text in messages.LANGUAGES[self.language].items() if key.startswith(("cert", "date")))

    def text(self, key: str, **values: object) -> str:
        """A message of the catalog."""
        return messages.text(self.language, f"certificate.{key}", **values)

    def draw(self) -> None:
        """Everything, back to front."""
        self._fill(PAPER)
        self.pdf.rect(0, 0, WIDTH, HEIGHT, "F")
        self._rosette(MIDDLE, 103, 74, PALE, 0.12)
        self._border()
        self._words()
        self._foot()
        if self.certificate.revoked_at is not None:
            self._stamp(self.certificate.revoked_at)

    # Ornament

    def _border(self) -> None:
        """A woven band between two frames, a rosette on each corner."""
        near, far = 7.5, 15.5
        self._pen(self.accent, 0.1)
        for phase in range(6):
            self._weave(11.5, phase * math.pi / 3)
        self._pen(INK, 0.7)
        self.pdf.rect(near, near, WIDTH - 2 * near, HEIGHT - 2 * near)
        self._pen(INK, 0.25)
        self.pdf.rect(far, far, WIDTH - 2 * far, HEIGHT - 2 * far)
        for x in (11.5, WIDTH - 11.5):
            for y in (11.5, HEIGHT - 11.5):
                self._fill(PAPER)
                self._pen(INK, 0.25)
                self.pdf.rect(x - 4, y - 4, 8, 8, "DF")
                self._rosette(x, y, 3.4, self.accent, 0.1, petals=8)

    def _weave(self, middle: float, phase: float) -> None:
        """One thread of the band on all four sides; whole waves, so that it meets itself."""
        swing, step = 3.0, 1.1
        for length, across in ((WIDTH, HEIGHT), (HEIGHT, WIDTH)):
            count = int((length - 2 * middle) / step)
            waves = round(length / 26)
            along = [middle + (length - 2 * middle) * at / count for at in range(count + 1)]
            turn = [swing * math.sin(phase + 2 * math.pi * waves * at / count) for at in range(count + 1)]
            for line, sign in ((middle, 1), (across - middle, -1)):
                points = [(at, line + sign * by) for at, by in zip(along, turn, strict=True)]
                self.pdf.polyline(points if length == WIDTH else [(y, x) for x, y in points])

    def _rosette(self, x: float, y: float, radius: float, colour: Colour, line: float, petals: int = 18) -> None:
        """A guilloche: curves that turn around a centre, as on bank notes."""
        self._pen(colour, line)
        steps = max(240, int(radius * 9))
        for ring in range(1, 6):
            inner, outer = radius * (0.16 * ring), radius * (0.16 * ring + 0.2)
            for phase in (0.0, math.pi):
                self.pdf.polygon(
                    [
                        (x + r * math.cos(turn), y + r * math.sin(turn))
                        for turn in (2 * math.pi * at / steps for at in range(steps))
                        for r in [inner + (outer - inner) * (1 + math.sin(petals * turn + phase + ring)) / 2]
                    ]
                )

    # Words

    def _words(self) -> None:
        """Heading, name and course, in the middle of the page."""
        self._line(fonts.DISPLAY, self.text("title"), 25, 17, INK, ((34, 1), (28, 1), (24, 1), (20, 2)))
        self._pen(self.accent, 0.5)
        self.pdf.line(MIDDLE - 17, 45.5, MIDDLE + 17, 45.5)
        if self.name:
            self._line(fonts.PRINT, self.text("certifies"), 53, 6, GREY, ((12, 1), (10, 2)))
            self._line(fonts.DISPLAY, self.name, 62, 24, INK, NAME)
            self._line(fonts.PRINT, self.text("completed"), 91, 6, GREY, ((12, 1), (10, 2)))
            self._line(fonts.DISPLAY, self.title, 99, 28, INK, TITLE)
        else:
            self._line(fonts.PRINT, self.text("completed_by_holder"), 62, 8, GREY, ((12, 1), (10, 2)))
            self._line(fonts.DISPLAY, self.title, 75, 42, INK, ((34, 1), (30, 2), *TITLE))

    def _foot(self) -> None:
        """Date and number to the left, the seal in the middle, the QR code to the right."""
        certificate = self.certificate
        self._pair(self.text("issued"), fonts.DISPLAY, messages.date(self.language, certificate.issued_at), 146)
        self._pair(self.text("serial"), fonts.PRINT, certificate.serial, 162)
        self._seal(MIDDLE, 158, 16)
        self._qr(236.5, 138.5, 32)
        self._line(fonts.PRINT, self.text("verify"), 171.5, 4.5, GREY, SMALL, middle=252.5, width=50)
        self._line(fonts.PRINT, self.text("verify_at", url=self.url), 184.5, 7, GREY, SMALL)

    def _pair(self, label: str, font: str, value: str, y: float) -> None:
        """A label above what it names, on the left."""
        self._line(fonts.PRINT, label, y, 4, GREY, ((8, 1), (7, 2)), middle=58, width=62)
        self._line(font, value, y + 4.2, 7, INK, ((12, 1), (11, 1), (9, 2)), middle=58, width=62)

    def _seal(self, x: float, y: float, radius: float) -> None:
        self._fill(PAPER)
        self._pen(self.accent, 0.6)
        self.pdf.circle(x, y, radius, "DF")
        self._rosette(x, y, radius - 0.8, self.accent, 0.14, petals=24)
        self._fill(self.accent)
        self.pdf.circle(x, y, radius * 0.43, "F")
        self._pen(WHITE, 1.1)
        if self.certificate.status == "valid":
            self.pdf.polyline([(x - 3, y + 0.2), (x - 0.9, y + 2.4), (x + 3.2, y - 2.4)])
        else:
            self.pdf.line(x - 2.4, y - 2.4, x + 2.4, y + 2.4)
            self.pdf.line(x - 2.4, y + 2.4, x + 2.4, y - 2.4)

    def _qr(self, x: float, y: float, size: float) -> None:
        """Dark modules as rectangles on white, four light ones around; the whole of it is a link, too."""
        rows = [bytes(row) for row in segno.make(self.url, error="m", micro=False).matrix]
        module = size / (len(rows) + 8)
        self._fill(WHITE)
        self.pdf.rect(x, y, size, size, "F")
        self._fill(INK)
        for top, row in enumerate(rows):
            for left, length in _runs(row):
                self.pdf.rect(x + (left + 4) * module, y + (top + 4) * module, length * module, module, "F")
        self.pdf.link(x, y, size, size, self.url, alt_text=self.text("verify"))

    def _stamp(self, at: datetime) -> None:
        """What nobody can overlook: across the page, and in words with day and reason."""
        words = self.text("revoked").upper()
        with self.pdf.rotation(12, MIDDLE, 92), self.pdf.local_context(fill_opacity=0.82, stroke_opacity=0.82):
            self._pen(RED, 1.2)
            self.pdf.rect(MIDDLE - 72, 75, 144, 34)
            self._pen(RED, 0.4)
            self.pdf.rect(MIDDLE - 70, 77, 140, 30)
            self._line(fonts.DISPLAY, words, 77, 30, RED, ((72, 1), (60, 1), (48, 1), (36, 1), (24, 1)), width=134)
        said = self.text("revoked_on", date=messages.date(self.language, at))
        if self.reason:
            said += " · " + self.text("reason", reason=self.reason)
        self._line(fonts.PRINT, said, 127, 8, RED, ((12, 1), (10, 1), (8, 2), (6, 3)))

    # The pen

    def _line(
        self,
        font: str,
        text: str,
        y: float,
        height: float,
        colour: Colour,
        steps: Steps,
        *,
        middle: float = MIDDLE,
        width: float = TEXT,
    ) -> None:
        """Text in the largest size that fits, centred in the box below `y`."""
        lines, size = self._fit(font, text, width, steps)
        self.pdf.set_font(font, size=size)
        self.pdf.set_text_color(*colour)
        leading = size * 0.3528 * 1.18
        top = y + (height - leading * len(lines)) / 2
        for number, line in enumerate(lines):
            self.pdf.set_xy(middle - width / 2, top + number * leading)
            self.pdf.cell(width, leading, line, align="C")

    def _fit(self, font: str, text: str, width: float, steps: Steps) -> tuple[list[str], float]:
        """The lines and their size; words are broken, and the end cut off, only in the smallest."""
        lines: list[str] = []
        for size, most in steps:
            lines = self._broken(font, size, text, width)
            if len(lines) <= most and " ".join(lines).split() == text.split():
                return lines, size
        size, most = steps[-1]
        if len(lines) > most:
            lines = [*lines[: most - 1], lines[most - 1][:-1].rstrip() + "…"]
        return lines, size

    def _broken(self, font: str, size: float, text: str, width: float) -> list[str]:
        self.pdf.set_font(font, size=size)
        lines = self.pdf.multi_cell(width, 1, text, align="L", dry_run=True, output="LINES")
        return [line.strip() for line in cast("list[str]", lines)]

    def _pen(self, colour: Colour, width: float) -> None:
        self.pdf.set_draw_color(*colour)
        self.pdf.set_line_width(width)

    def _fill(self, colour: Colour) -> None:
        self.pdf.set_fill_color(*colour)


def _runs(row: bytes) -> Iterator[tuple[int, int]]:
    """(start, length) of each run of dark modules."""
    start = None
    for at, dark in enumerate([*row, 0]):
        if dark and start is None:
            start = at
        elif not dark and start is not None:
            yield start, at - start
            start = None
