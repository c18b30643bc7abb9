"""How far somebody is in a long list that goes by time."""

from __future__ import annotations

import base64
import binascii
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple
from uuid import UUID

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND: Final = timedelta(microseconds=1)


class Place(NamedTuple):
    """The time and the id of the last row that was seen. As text it is what answers call a cursor."""

    at: datetime
    id: UUID

    def __str__(self) -> str:
        return f"{(self.at - _EPOCH) // _MICROSECOND}.{self.id.hex}"

    @classmethod
    def parse(cls, text: str) -> Place:
        """Raises ValueError for what is no cursor."""
        micros, _, last = text.partition(".")
        try:
            if not (micros.isascii() and micros.isdigit() and len(last) == 32):
                raise ValueError
            return cls(_EPOCH + int(micros) * _MICROSECOND, UUID(hex=last))
        except (ValueError, OverflowError):
            raise ValueError("this is no cursor of an earlier answer") from None


class SessionPlace(NamedTuple):
    """The beginning and the id of the last session that was seen; an id is any text, so that the cursor is encoded."""

    at: datetime
    id: str

    def __str__(self) -> str:
        text = f"{(self.at - _EPOCH) // _MICROSECOND}.{self.id}"
        return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")

    @classmethod
    def parse(cls, text: str) -> SessionPlace:
        """Raises ValueError for what is no cursor."""
        try:
            plain = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True).decode()
            micros, dot, last = plain.partition(".")
            if not dot or "\0" in last:
                raise ValueError
            return cls(_EPOCH + int(micros) * _MICROSECOND, last)
        except (binascii.Error, ValueError, OverflowError):
            raise ValueError("this is no cursor of an earlier answer") from None
