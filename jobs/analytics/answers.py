"""The answers of `/api/admin/analytics/`: sums of rollups, put together. None of them reads a fact of a closed day.

A range is cut to whole hours up to 48 of them, else to whole UTC days; every answer says the range it holds for.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Literal, NamedTuple

import asyncpg

from db import sql
from jobs.analytics import cells
from jobs.analytics.cells import BOT, DAY, HOUR, WEEK, cut

QUERIES: Final = sql.read("analytics")
FINE: Final = 48 * HOUR
"""Ranges up to here are told by the hour."""
WEEKS: Final = 12

Answer = dict[str, Any]


class Span(NamedTuple):
    """A range of starts: from `begin`, before `end`, cut to the grain."""

    grain: Literal["hour", "day"]
    begin: datetime
    end: datetime

    def starts(self) -> list[datetime]:
        """Every start in it, in order: series have no gaps."""
        step = timedelta(seconds=HOUR if self.grain == "hour" else DAY)
        return [self.begin + n * step for n in range(round((self.end - self.begin) / step))]

    def cover(self) -> tuple[list[str], list[datetime]]:
        """Grains and starts that together are the range, a whole week instead of its days: for what is kept by week."""
        starts = self.starts()
        if self.grain == "hour":
            return [self.grain] * len(starts), starts
        first, last = _whole_weeks(self.begin, self.end)
        days = [start for start in starts if not first <= start < last]
        weeks = [first + n * timedelta(weeks=1) for n in range((last - first) // timedelta(weeks=1))]
        return ["day"] * len(days) + ["week"] * len(weeks), days + weeks


def _whole_weeks(begin: datetime, end: datetime) -> tuple[datetime, datetime]:
    """From the first Monday in a range to the last one; none: twice the same."""
    first = _moment(cut(begin.timestamp() + WEEK - 1, "week"))
    return first, max(first, _moment(cut(end.timestamp(), "week")))


def span(begin: datetime, end: datetime, now: datetime) -> Span:
    """Whole hours or days that cover a range; hours while they are kept."""
    first, last = begin.timestamp(), end.timestamp()
    is_fine = last - first <= FINE and first >= now.timestamp() - cells.KEPT["hour"]
    grain: Literal["hour", "day"] = "hour" if is_fine else "day"
    step = HOUR if is_fine else DAY
    return Span(grain, _moment(cut(first, grain)), _moment(cut(last - 0.000001, grain) + step))


def measured(names: Sequence[str], *, bots: bool) -> list[str]:
    """The measures to add up: those of people, and with `bots` theirs beside them."""
    return [*names, *(BOT + name for name in names)] if bots else list(names)


async def bot_sessions(conn: asyncpg.Connection, wanted: Span) -> int:
    """How many sessions of bots began in a range."""
    number: int = await conn.fetchval(QUERIES["count_of"], wanted.grain, BOT + "sessions", wanted.begin, wanted.end)
    return number


async def retention(conn: asyncpg.Connection, now: datetime, weeks: int = WEEKS) -> Answer:
    """Visitors by the week (Monday, UTC) of their first session: how many came back in each week after it."""
    this = cut(now.timestamp(), "week")
    begin = this - (weeks - 1) * WEEK
    found: dict[int, dict[int, int]] = defaultdict(dict)
    for start, week, n in await conn.fetch(QUERIES["retention_cells"], _moment(begin), _moment(this)):
        found[int(start.timestamp())][week] = n
    return {"cohorts": [_cohort(start, found[start], (this - start) // WEEK) for start in range(begin, this + 1, WEEK)]}


def _cohort(start: int, counts: Mapping[int, int], last: int) -> Answer:
    size = counts.get(0, 0)
    visitors = [counts.get(week, 0) for week in range(last + 1)]
    return {
        "week": _moment(start).date(),
        "visitors": size,
        "retained": [{"week": week, "visitors": n, "share": share(n, size)} for week, n in enumerate(visitors)],
    }


async def through(conn: asyncpg.Connection, now: datetime) -> datetime:
    """Every action that was applied before this is in the answers."""
    found: datetime = await conn.fetchval(QUERIES["rolled_through"], now)
    return found


def share(part: int, whole: int) -> float:
    """0..1, and 0 of nothing."""
    return round(part / whole, 6) if whole else 0.0


def most(counts: Mapping[str, int]) -> list[tuple[str, int]]:
    """The largest first, ties by name."""
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def shares(counts: Mapping[str, int], name: str) -> list[Answer]:
    """Each key with its share of all; '' is told as null."""
    number = sum(counts.values())
    return [{name: key or None, "sessions": n, "share": share(n, number)} for key, n in most(counts)]


def told(wanted: Span) -> Answer:
    """The range that an answer holds for."""
    return {"from": wanted.begin, "to": wanted.end, "grain": wanted.grain}


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
