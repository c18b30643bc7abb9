"""What a worker process says of itself every few seconds: that it lives, and how much it applies."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping
from typing import Any, Final

INTERVAL: Final = 5.0
"""Seconds between two heartbeats."""
RECENT: Final = 60.0
"""Seconds that a rate is of."""


class Beats:
    """The heartbeats of one process; times are seconds since the epoch."""

    def __init__(self, started: float) -> None:
        self.started = started
        self._held: deque[tuple[float, Counter[int]]] = deque([(started, Counter())])

    def tell(self, now: float, applied: Mapping[int, int], failure: str | None) -> dict[str, Any]:
        """`applied`: partition -> actions since the start; `rates` in the answer: a second, over the last minute."""
        if self._held[-1][0] > now:
            # The clock was set back: what is held is of no minute that can be told.
            self._held.clear()
            self._held.append((now, Counter(applied)))
        self._held.append((now, Counter(applied)))
        while self._held[1][0] <= now - RECENT:
            self._held.popleft()
        since, before = self._held[0]
        seconds = max(1.0, now - since)
        rates = {str(one): round((number - before[one]) / seconds, 2) for one, number in sorted(applied.items())}
        return {
            "at": now,
            "started": self.started,
            "applied": sum(applied.values()),
            "rates": {one: rate for one, rate in rates.items() if rate},
            "failure": failure,
        }
