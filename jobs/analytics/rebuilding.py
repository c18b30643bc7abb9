"""Rollups made anew from what they come of, and compared: for `python -m jobs rebuild`.

What sessions count for comes from their facts, every number from what sessions count for, days from the numbers.
Sessions that are noted and not rolled up yet are left to the next pass. Writing keeps passes waiting meanwhile.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time
from decimal import Decimal
from typing import Any, Final

import asyncpg
import msgspec

from db import sql
from jobs.analytics import activity, cells, counting, days, metrics, recounting
from jobs.analytics.cells import Cell, Count
from jobs.analytics.rebuilt_sessions import SessionRollups
from jobs.analytics.recounting import Sums, moment
from jobs.family import Difference, StateTable

READING: Final = sql.read("rebuilding")
PREFETCH: Final = 2000
SHOWN: Final = 50
"""Numbers that are told, when many differ."""
OURS: Final = "rollups"
"""Subject of numbers, which belong to nobody: they are looked at together."""


class _Numbers:
    """What tables have in common whose rows are looked at together, a few keys in all."""

    name = OURS

    async def count(self, conn: asyncpg.Connection) -> int:
        """Unknown before it is looked."""
        return 0

    async def orphans(self, conn: asyncpg.Connection) -> AsyncIterator[tuple[str, str]]:
        """None: `page` names everything."""
        for key in tuple[str, ...]():
            yield key, OURS

    def models(self, key: str) -> Iterable[str]:
        """None: no read model shows them."""
        return ()


class VisitorHours(_Numbers):
    """`visitor_hours`, as one row: what is there too much, and what is missing."""

    name = "visitor_hours"

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """One."""
        return [] if after else [("all", OURS)]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Any]:
        """(visitor, hour, sessions) that no session gives."""
        await conn.execute(READING["wait_to_write"])
        return {"all": [tuple(row) for row in await conn.fetch(READING["wrong_visitor_hours"])]}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Any]:
        """Those that sessions give and that are not there."""
        return {"all": [tuple(row) for row in await conn.fetch(READING["missing_visitor_hours"])]}

    def differences(self, kept: Any, rebuilt: Any, now: datetime) -> Sequence[Difference]:
        """Both lists: equal only when both are empty."""
        return [("hours", kept, rebuilt)]

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Any]) -> None:
        """All anew."""
        await conn.execute(READING["empty_visitor_hours"])
        await conn.execute(READING["fill_visitor_hours"])

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Nothing to do: there is one row, which is always rebuilt."""


Value = tuple[int, Decimal, float | None]
"""n, total, most."""
Held = dict[Cell, Value]


class Rollups(_Numbers):
    """`rollups`, as one row of all numbers; each is held twice meanwhile, as it is and as it should be."""

    name = "rollups"

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """One."""
        return [] if after else [("all", OURS)]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Held]:
        """The numbers, with what is noted of metrics and not rolled up; without those that leave no facts."""
        await conn.execute(READING["wait_to_write"])
        since, now = await _since(conn), datetime.now(UTC)
        held = await _noted(conn)
        async for row in conn.cursor(READING["load_rollups"], prefetch=PREFETCH):
            cell = Cell(row["grain"], row["measure"], int(row["start"].timestamp()), row["key"])
            held[cell] = _added(held.get(cell), (row["n"], row["total"], row["most"]))
        return {"all": {cell: value for cell, value in held.items() if _is_compared(cell, since, now)}}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Held]:
        """From what sessions count for, their visitors, and the facts of metrics."""
        since, held = await _since(conn), await _reckoned(conn)
        return {"all": {cell: value for cell, value in held.items() if _is_compared(cell, since, now)}}

    def differences(self, kept: Held | None, rebuilt: Held | None, now: datetime) -> Sequence[Difference]:
        """Cell by cell, some of them; minutes and hours that have become too old meanwhile do not count."""
        mine, theirs = kept or {}, rebuilt or {}
        found = [
            (" ".join((cell.grain, cell.measure, moment(cell.start).isoformat(), cell.key)), *values)
            for cell in sorted(mine.keys() | theirs.keys())
            for values in [(mine.get(cell), theirs.get(cell))]
            if not _is_right(*values) and cells.is_kept(cell, now.timestamp())
        ]
        more = len(found) - SHOWN
        return found if more <= 0 else [*found[:SHOWN], ("(and more)", more, more)]

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Held]) -> None:
        """Add the differences, so that what is noted counts once all the same."""
        (wanted,) = rows
        mine = (await self.kept(conn, ["all"]))["all"]
        old = {cell: Count(n, total) for cell, (n, total, _) in mine.items()}
        new = {cell: Count(n, total) for cell, (n, total, _) in wanted.items()}
        await recounting.save(conn, Sums(cells.difference(old, new), {}), datetime.now(UTC))
        most = [
            (*_row(cell), value[2])
            for cell, value in wanted.items()
            if value[2] != (mine[cell][2] if cell in mine else None)
        ]
        if most:
            await conn.execute(READING["set_most"], *map(list, zip(*most, strict=True)))

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Nothing to do: there is one row, which is always rebuilt."""


def _is_right(kept: Value | None, rebuilt: Value | None) -> bool:
    """The largest value may be one that was erased."""
    if kept is None or rebuilt is None:
        return kept == rebuilt
    return kept[:2] == rebuilt[:2] and (rebuilt[2] is None or (kept[2] is not None and kept[2] >= rebuilt[2]))


def _row(cell: Cell) -> tuple[str, str, datetime, str]:
    return cell.grain, cell.measure, moment(cell.start), cell.key


def _is_own(measure: str) -> bool:
    return measure.partition(":")[2] in metrics.BY_PATH


async def _since(conn: asyncpg.Connection) -> float:
    """From when on all facts of metrics are there: a day behind the oldest, since clocks of clients differ."""
    oldest: datetime | None = await conn.fetchval(counting.FACTS["oldest_day"])
    return (oldest or datetime.now(UTC)).timestamp() + cells.DAY


def _is_compared(cell: Cell, since: float, now: datetime) -> bool:
    if not cell.measure.startswith(("metric:", "path:")):
        return cells.is_kept(cell, now.timestamp())
    return cell.start >= since and cells.is_kept(cell, now.timestamp()) and not _is_own(cell.measure)


def _added(held: Value | None, more: Value) -> Value:
    if held is None:
        return more
    most = [one for one in (held[2], more[2]) if one is not None]
    return held[0] + more[0], held[1] + more[1], max(most, default=None)


async def _noted(conn: asyncpg.Connection) -> Held:
    """What batches noted of metrics and no pass has added."""
    sums = Sums({}, {})
    bodies = [row["metrics"] for row in await conn.fetch(READING["noted_metrics"])]
    metrics.add(sums.counts, sums.most, bodies)
    return _held(sums)


def _held(sums: Sums) -> Held:
    return {
        cell: (n, Decimal(total), sums.most.get(cell))
        for cell, (n, total) in sums.counts.items()
        if (n, total) != (0, 0)
    }


async def _reckoned(conn: asyncpg.Connection) -> Held:
    """Every number, from one reading of everything that counts."""
    sums = Sums({}, {})
    async for row in conn.cursor(READING["read_counted"], prefetch=PREFETCH):
        cells.add(sums.counts, cells.spread(cells.readable(row["counted"]) or {}))
    visitor, hours = None, list[int]()
    async for row in conn.cursor(READING["read_visitors"], prefetch=PREFETCH):
        if row["visitor"] != visitor:
            cells.add(sums.counts, activity.of(hours) if hours else {})
            visitor, hours = row["visitor"], []
        hours.append(int(row["hour"].timestamp()))
    cells.add(sums.counts, activity.of(hours) if hours else {})
    rows: list[Any] = []
    async for row in conn.cursor(READING["read_metrics"], prefetch=PREFETCH):
        rows.append(tuple(row))
        if len(rows) == PREFETCH:
            metrics.add(sums.counts, sums.most, [metrics.noted(rows)])
            rows.clear()
    metrics.add(sums.counts, sums.most, [metrics.noted(rows)])
    return _held(sums)


class Days(_Numbers):
    """`daily_analytics`, keyed by day, from the day's numbers."""

    name = "daily_analytics"

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """Every day that has numbers or a row, in order."""
        rows = await conn.fetch(READING["page_days"], date.fromisoformat(after or "0001-01-01"), limit)
        return [(row["day"].isoformat(), OURS) for row in rows]

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Any]:
        """The rows, but for when and how often they were revised."""
        await conn.execute(READING["wait_to_write"])
        rows = await conn.fetch(READING["load_days"], [date.fromisoformat(key) for key in keys])
        return {row["day"].isoformat(): (row["day"], *_told(row)) for row in rows}

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Any]:
        """As a pass makes them."""
        rows = await days.made(conn, [_midnight(key) for key in keys])
        return {row[0].isoformat(): (*row[:7], *map(msgspec.json.decode, row[7:])) for row in rows}

    def differences(self, kept: Any, rebuilt: Any, now: datetime) -> Sequence[Difference]:
        """Column by column."""
        if kept is None:
            return [("(row)", "missing", "there")]
        pairs = zip(days.COLUMNS, kept, rebuilt, strict=True)
        return [(name, mine, theirs) for name, mine, theirs in pairs if mine != theirs]

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Any]) -> None:
        """As a pass does."""
        await days.refresh(conn, [_midnight(row[0].isoformat()) for row in rows], datetime.now(UTC))

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """Nothing to do: a day of no numbers is a row of zeros."""


def _midnight(day: str) -> datetime:
    return datetime.combine(date.fromisoformat(day), time(), UTC)


def _told(row: asyncpg.Record) -> list[Any]:
    values = [row[name] for name in days.COLUMNS[1:]]
    return [*values[:-2], *map(msgspec.json.decode, values[-2:])]


def tables() -> Sequence[StateTable]:
    """In the order in which one follows from the other."""
    return SessionRollups(), VisitorHours(), Rollups(), Days()
