"""The time of arrival, read once for each turn of the event loop: a clock costs more than all checks of an id."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime


class Clock:
    """`now` of the loop's turn, and the loop's own seconds, which uvloop reads once a turn, too."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self.seconds = loop.time
        self._turn = -1.0
        self._now = datetime.now(UTC)

    def now(self) -> datetime:
        """Aware, UTC; exact to the turn, and to a millisecond under uvloop."""
        turn = self.seconds()
        if turn != self._turn:
            self._turn, self._now = turn, datetime.now(UTC)
        return self._now
