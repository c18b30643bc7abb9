"""How fast this process answers: gathered for the rollups as histograms, and what sheds load when it is too slow.

Nothing is sent while a request is answered. What was gathered goes to Postgres every few seconds in one row, like the
metrics of a batch; while Postgres is away it is kept here, and an end of the process loses the seconds since the last.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from typing import Final

import asyncpg
import msgspec

from db import metrics, sql
from jobs.analytics.cells import bucket, cut, largest
from jobs.analytics.metrics import PLACES, exactly
from jobs.families import KINDS

QUERIES: Final = sql.read("tracking")
TIME, ERROR = "api_response_time", "api_error"
FLUSH_SECONDS: Final = 5.0
LEAST: Final = 20
"""Requests of a window that say something about its p95."""
MOST_ROWS: Final = 20_000
"""Rows that are kept while Postgres is away: more are forgotten, oldest first."""
SHEDDABLE: Final = frozenset(name for name, kind in KINDS.items() if kind.sheddable)

_Key = tuple[str, str, int, int]
"""Metric, path, minute, bucket."""


class Pace:
    """Of one process. `above`: seconds that the p95 of unwaited writes may have; 0: nothing is ever shed."""

    def __init__(self, above: float) -> None:
        self.above = above
        self.is_slow = False
        self._rows: dict[_Key, tuple[int, float, float]] = {}
        self._window = self._late = 0
        self._looked = time.monotonic()

    def note(self, path: str, seconds: Sequence[float], status: int, *, counts: bool) -> None:
        """What requests of the last half second took, in order of size.

        `counts`: they did not wait for anything but the log, so that their times say how we are.
        """
        minute = cut(time.time(), "minute")
        values, begin = [one * 1000 for one in seconds], 0
        while begin < len(values):
            place = bucket(values[begin])
            # Not bucket() for each: the loop stands still meanwhile.
            end = max(begin + 1, bisect_right(values, largest(place), begin))
            self._add((TIME, path, minute, place), values[begin:end])
            if status >= 500:
                self._add((ERROR, path, minute, place), values[begin:end])
            begin = end
        if counts:
            self._window += len(seconds)
            self._late += len(seconds) - bisect_right(seconds, self.above)

    def _add(self, key: _Key, values: Sequence[float]) -> None:
        n, total, most = self._rows.get(key, (0, 0.0, values[-1]))
        self._rows[key] = (n + len(values), total + sum(values), max(most, values[-1]))

    def look(self, now: float) -> None:
        """Judge the window that is over, if it is. The p95 is above the limit exactly when more than a 20th is.

        `now`: of time.monotonic().
        """
        if now - self._looked < FLUSH_SECONDS:
            return
        self.is_slow = bool(self.above) and self._window >= LEAST and self._late * 20 > self._window
        self._window = self._late = 0
        self._looked = now

    async def flush(self, pool: asyncpg.Pool) -> None:
        """Hand over what was gathered; it stays when Postgres does not take it."""
        metrics.fold()
        rows, self._rows = self._rows, {}
        if not rows:
            return
        try:
            await pool.execute(QUERIES["note_changes"], [], _noted(rows.items()), timeout=FLUSH_SECONDS)
        except BaseException:
            kept = dict(list(rows.items())[-MOST_ROWS:])
            for key, (n, total, most) in self._rows.items():
                old = kept.get(key, (0, 0.0, most))
                kept[key] = (old[0] + n, old[1] + total, max(old[2], most))
            self._rows = kept
            raise


def _noted(rows: Iterable[tuple[_Key, tuple[int, float, float]]]) -> str:
    body = [(*key, n, str(exactly(total).quantize(PLACES)), most) for key, (n, total, most) in rows]
    return msgspec.json.encode(body).decode()
