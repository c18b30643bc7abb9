"""Which of the fonts beside this module has which letters."""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Final

from fontTools.ttLib import TTFont

FOLDER: Final = Path(__file__).with_name("fonts")
DISPLAY: Final = "NotoSerifDisplay-Regular"
PRINT: Final = "NotoSans-Regular"
LAST: Final = ("DroidSansFallbackFull", "NanumSquareR")
"""Asked last, Korean at the end: the Chinese letters of that font are empty."""


@cache
def fallbacks() -> tuple[str, ...]:
    """The fonts to ask for what DISPLAY and PRINT lack, in order."""
    names = sorted(path.stem for path in FOLDER.glob("*.ttf"))
    return (*(name for name in names if name not in {DISPLAY, PRINT, *LAST}), *LAST)


@cache
def letters(name: str) -> frozenset[int]:
    """The code points that a font has."""
    with TTFont(FOLDER / f"{name}.ttf", lazy=True) as font:
        return frozenset(font.getBestCmap())


def home(letter: str) -> str | None:
    """The font that shows a letter; None when no font does (emoji, and scripts that nobody has added)."""
    point = ord(letter)
    if point in letters(DISPLAY) and point in letters(PRINT):
        return DISPLAY
    return next((name for name in fallbacks() if point in letters(name)), None)


def needed(texts: Iterable[str]) -> tuple[str, ...]:
    """The fallbacks that these texts need, in the order to ask them."""
    homes = {home(letter) for text in texts for letter in set(text)}
    return tuple(name for name in fallbacks() if name in homes)


def printable(text: str) -> str:
    """The text without what no font has: a gap reads better than a box."""
    return " ".join("".join(letter for letter in text if home(letter) is not None).split())
