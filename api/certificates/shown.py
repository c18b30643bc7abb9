"""A certificate as people see it, and text from outside made fit to be shown."""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

MOST_CHARACTERS: Final = 300
MOST_MARKS: Final = 4
"""Marks above and below one letter: real names have two or three, vandals hundreds."""

# Joiners shape Persian and Indic words; other format characters turn the direction of what stands around them.
_JOINERS: Final = "\u200c\u200d"


@dataclass(frozen=True, slots=True)
class Certificate:
    """One certificate, as stored; names and titles are text from outside."""

    serial: str
    user_id: str
    learner_name: str | None
    course_id: str
    course_title: str
    issued_at: datetime
    revoked_at: datetime | None = None
    revoked_reason: str | None = None

    @property
    def status(self) -> Literal["valid", "revoked"]:
        """`revoked` while it is: reinstating takes it back."""
        return "valid" if self.revoked_at is None else "revoked"


def shown(text: str | None) -> str:
    """Text from outside in one line: no control or format characters, no towers of marks, 300 characters at most."""
    return " ".join("".join(_kept(unicodedata.normalize("NFC", (text or "")[: 4 * MOST_CHARACTERS]))).split())


def _kept(text: str) -> Iterator[str]:
    letters = marks = 0
    for letter in text:
        category = unicodedata.category(letter)
        marks = marks + 1 if category in {"Mn", "Me"} else 0
        if marks > MOST_MARKS or (category[0] == "C" and letter not in _JOINERS and not letter.isspace()):
            continue
        letters += 1
        if letters == MOST_CHARACTERS:
            yield "…"
            return
        yield letter
