"""Every number twice, as it is and as it should be, a week at a time: both come from rows in the order of time.

What should be comes from what sessions count for, their visitors, and the facts of metrics. A session counts for
nothing before its first hour, so that a week is whole as soon as all sources have come to the next one.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from decimal import Decimal
from sys import intern
from typing import Final

import asyncpg

from db import sql
from jobs.analytics import cells, counting, metrics
from jobs.analytics.cells import DAY, HOUR, WEEK, Cell, Grain, cut
from jobs.analytics.recounting import Sums, moment

READING: Final = sql.read("rebuilding")
PREFETCH: Final = 2000

Value = tuple[int, Decimal, float | None]
"""n, total, most."""
Held = dict[Cell, Value]
_ZERO: Final = Decimal(0)
"""One for all: hundreds of thousands of numbers have no sum."""
_Part = tuple[int, Held]
"""Numbers, and the time of which they are; those of later parts lie no earlier."""


async def pairs(conn: asyncpg.Connection, now: datetime) -> AsyncIterator[tuple[Held, Held]]:
    """What is kept and what should be, of each week and then of all time; within a transaction.

    Left out is what nobody can reckon: metrics of days whose facts are not all there, the API's own times, and minutes
    and hours that are too old to be kept.
    """
    since, ever, noted = await _since(conn, now), Held(), set[Cell]()
    mine = _weeks([_rows(conn)])
    theirs = _weeks([_sessions(conn, ever), _metrics(conn, noted), *_visitors(conn, now)])
    one, other = await anext(mine, None), await anext(theirs, None)
    while one or other:
        week = min(part[0] for part in (one, other) if part)
        kept, wanted = Held(), Held()
        if one and one[0] == week:
            kept, one = one[1], await anext(mine, None)
        if other and other[0] == week:
            wanted, other = other[1], await anext(theirs, None)
        _await(noted, kept, wanted)
        yield _compared(kept, since, now), _compared(wanted, since, now)
    yield {cell: value async for cell, value in _stored(conn, "load_all_time")}, _compared(ever, since, now)


async def _since(conn: asyncpg.Connection, now: datetime) -> float:
    """From when on all facts of metrics are there: a day behind the oldest, since clocks of clients differ."""
    oldest: datetime | None = await conn.fetchval(counting.FACTS["oldest_day"])
    return (oldest or now).timestamp() + DAY


def _await(noted: set[Cell], kept: Held, wanted: Held) -> None:
    """A largest value may be one that is only noted: a maximum cannot be taken back out of the facts as a sum can."""
    for cell in noted & kept.keys() & wanted.keys():
        (n, total, most), so_far = wanted[cell], kept[cell][2]
        if so_far is not None and most is not None and so_far < most:
            wanted[cell] = n, total, so_far


def _compared(held: Held, since: float, now: datetime) -> Held:
    return {cell: value for cell, value in held.items() if (value[0] or value[1]) and _is_compared(cell, since, now)}


def _is_compared(cell: Cell, since: float, now: datetime) -> bool:
    if not cell.measure.startswith(("metric:", "path:", "called:")):
        return cells.is_kept(cell, now.timestamp())
    own = cell.measure.partition(":")[2] in metrics.BY_PATH
    return cell.start >= since and cells.is_kept(cell, now.timestamp()) and not own


class _Source:
    """Parts in the order of time, of which the next one is known."""

    def __init__(self, parts: AsyncIterator[_Part]) -> None:
        self._parts = parts
        self.next: _Part | None = None

    async def begin(self) -> None:
        """Before anything else."""
        self.next = await anext(self._parts, None)

    async def take(self, until: int, into: dict[int, Held]) -> None:
        """Everything before a time, by week."""
        while self.next is not None and self.next[0] < until:
            for cell, value in self.next[1].items():
                held = into.setdefault(cut(cell.start, "week"), {})
                held[cell] = _added(held.get(cell), value)
            self.next = await anext(self._parts, None)


async def _weeks(sources: Sequence[AsyncIterator[_Part]]) -> AsyncIterator[_Part]:
    """All of them together, by week; what a long session counts for later is held until then."""
    own, found = [_Source(one) for one in sources], dict[int, Held]()
    for one in own:
        await one.begin()
    while True:
        times = [cut(one.next[0], "week") for one in own if one.next is not None]
        if not times and not found:
            return
        week = min([*times, *found])
        for one in own:
            await one.take(week + WEEK, found)
        if held := found.pop(week, None):
            yield week, held


async def _stored(conn: asyncpg.Connection, query: str) -> AsyncIterator[tuple[Cell, Value]]:
    async for row in conn.cursor(READING[query], prefetch=PREFETCH):
        cell = Cell(row["grain"], intern(row["measure"]), int(row["start"].timestamp()), row["key"])
        yield cell, (row["n"], row["total"] or _ZERO, row["most"])


async def _rows(conn: asyncpg.Connection) -> AsyncIterator[_Part]:
    """As they are kept."""
    async for cell, value in _stored(conn, "load_rollups"):
        yield cell.start, {cell: value}


async def _sessions(conn: asyncpg.Connection, ever: Held) -> AsyncIterator[_Part]:
    """From what they count for; what is of all time goes to `ever`."""
    async for row in conn.cursor(READING["read_counted"], prefetch=PREFETCH):
        part = Held()
        for cell, (n, total) in cells.spread(cells.readable(row["counted"]) or {}).items():
            value: Value = n, Decimal(total) if total else _ZERO, None
            if cell.grain == "all":
                ever[cell] = _added(ever.get(cell), value)
            else:
                part[cell] = value
        yield int(row["hour"].timestamp()), part


async def _metrics(conn: asyncpg.Connection, noted: set[Cell]) -> AsyncIterator[_Part]:
    """From their facts, without those that are noted and that no pass has added: both as of one moment.

    The numbers that wait for such a pass go to `noted`, before all others.
    """
    rows: list[asyncpg.Record] = []
    async for row in conn.cursor(READING["read_metrics"], prefetch=PREFETCH):
        if row["noted"] is not None:
            added = _summed([row["noted"]])
            noted.update(added)
            yield 0, {cell: (-n, -total, None) for cell, (n, total, _) in added.items()}
            continue
        rows.append(row)
        if len(rows) == PREFETCH:
            yield _facts(rows)
            rows.clear()
    if rows:
        yield _facts(rows)


def _facts(rows: Sequence[asyncpg.Record]) -> _Part:
    noted = metrics.noted([(row["metric_name"], row["value"], row["data"], row["at"]) for row in rows])
    return cut(rows[0]["at"].timestamp(), "week"), _summed([noted])


def _summed(bodies: Sequence[str | bytes]) -> Held:
    sums = Sums({}, {})
    metrics.add(sums.counts, sums.most, bodies)
    return {cell: (n, Decimal(total), sums.most.get(cell)) for cell, (n, total) in sums.counts.items()}


def _visitors(conn: asyncpg.Connection, now: datetime) -> list[AsyncIterator[_Part]]:
    """Reckoned by Postgres, which sorts what memory does not hold."""
    hours = moment(cut(now.timestamp() - cells.KEPT["hour"], "hour") - HOUR)
    return [
        _grouped(conn, "reckon_visitors", "visitors", "hour", "hour", hours),
        _grouped(conn, "reckon_visitors", "visitors", "day", "day", moment(0)),
        _grouped(conn, "reckon_cohorts", "retention", "week"),
    ]


async def _grouped(
    conn: asyncpg.Connection, query: str, measure: str, grain: Grain, *given: str | datetime
) -> AsyncIterator[_Part]:
    async for start, key, n in conn.cursor(READING[query], *given, prefetch=PREFETCH):
        seconds = int(start.timestamp())
        yield seconds, {Cell(grain, measure, seconds, key): (n, _ZERO, None)}


def _added(held: Value | None, more: Value) -> Value:
    if held is None:
        return more
    most = [one for one in (held[2], more[2]) if one is not None]
    return held[0] + more[0], held[1] + more[1] if more[1] else held[1], max(most, default=None)
