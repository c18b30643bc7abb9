"""How far somebody is in a long list that goes by time: as text it is what answers call a cursor."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)
_NONE: Final = "this is no cursor of an earlier answer"


class Place(NamedTuple):
    """The time and the id of the last row that was seen."""

    at: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{_micros(self.at)}.{self.id.hex}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises ValueError for what is no cursor."""
        micros, _, last = text.partition(".")
        try:
            if not (micros.isascii() and micros.isdigit() and len(last) == 32):
                raise ValueError
            return cls(_at(micros), UUID(hex=last))
        except (ValueError, OverflowError):
            raise ValueError(_NONE) from None


class SessionPlace(NamedTuple):
    """The beginning and the id of the last session that was seen; an id is any text, so that the cursor is encoded."""

    at: datetime
    id: str

    def __str__(self) -> str:
        return _encoded(f"{_micros(self.at)}.{self.id}")

    @classmethod
    def parse(cls, text: str) -> SessionPlace:
        """Raises ValueError for what is no cursor."""
        try:
            micros, dot, last = _decoded(text).partition(".")
            if not dot or "\0" in last:
                raise ValueError
            return cls(_at(micros), last)
        except (ValueError, OverflowError):
            raise ValueError(_NONE) from None


class EffectPlace(NamedTuple):
    """Of the last effect that was seen: when it was written, its place among those of one moment, its id."""

    at: datetime
    number: int
    id: str

    def __str__(self) -> str:
        return _encoded(f"{_micros(self.at)}.{self.number}.{self.id}")

    @classmethod
    def parse(cls, text: str) -> EffectPlace:
        """Raises ValueError for what is no cursor."""
        try:
            plain = _decoded(text)
            micros, number, last = plain.split(".")
            if not plain.isascii() or not 0 <= int(number) < 1 << 31 or not last.replace("_", "").isalnum():
                raise ValueError
            return cls(_at(micros), int(number), last)
        except (ValueError, OverflowError):
            raise ValueError(_NONE) from None


def _micros(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _at(micros: str) -> datetime:
    return _EPOCH + int(micros) * _MICROSECOND


def _encoded(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def _decoded(text: str) -> str:
    return base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
