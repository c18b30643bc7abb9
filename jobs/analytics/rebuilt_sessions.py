"""`session_rollups` made anew: what each session counts for, from its row and facts, as a pass reckons it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

import asyncpg

from db import sql
from jobs import catalog as catalogs
from jobs.analytics import aside, cells, counted, counting, recounting
from jobs.analytics.aside import Fault
from jobs.analytics.counted import Counts
from jobs.analytics.funnel_catalog import Funnel, funnels
from jobs.analytics.recounting import Sums, moment
from jobs.family import Difference
from jobs.tracking.session import Session

READING: Final = sql.read("rebuilding")
PREFETCH: Final = 2000


class Counted(NamedTuple):
    """What a session counts for, and for whom and when; `fault`: why nobody can say."""

    visitor: str
    hour: datetime
    counts: Counts | None
    session: Session | None = None
    fault: str = ""

    def told(self) -> dict[str, Any]:
        """By field, numbers by measure."""
        found: dict[str, Any] = {"visitor": self.visitor, "hour": self.hour}
        if self.counts is None:
            found["(counted)"] = self.fault
        for base, (n, total) in sorted((self.counts or {}).items()):
            found.setdefault(base.measure, []).append((base.at, base.key, n, int(total)))
        return found


class SessionRollups:
    """`session_rollups`, keyed by session id. What is noted is left to the next pass, but for sessions aside."""

    name = "session_rollups"

    async def count(self, conn: asyncpg.Connection) -> int:
        """The planner's estimate."""
        number: int = await conn.fetchval(READING["count_session_rollups"])
        return number

    async def page(self, conn: asyncpg.Connection, after: str, limit: int) -> Sequence[tuple[str, str]]:
        """Every session by id: those that were never counted, too."""
        return [(row[0], row[1]) for row in await conn.fetch(counting.FACTS["page_sessions"], after, limit)]

    async def orphans(self, conn: asyncpg.Connection) -> AsyncIterator[tuple[str, str]]:
        """What was counted for sessions that are not there."""
        async for row in conn.cursor(READING["orphan_session_rollups"], prefetch=PREFETCH):
            yield row["session_id"], f"session:{row['session_id']}"

    async def kept(self, conn: asyncpg.Connection, keys: Sequence[str]) -> Mapping[str, Counted | None]:
        """The rows; None for sessions that began to arrive before the oldest day of facts."""
        await conn.execute(READING["wait_to_write"])
        settled = await _settled(conn, keys)
        torn = await _torn(conn, settled)
        found: dict[str, Counted | None] = dict.fromkeys(torn)
        for key, who, hour, body in await conn.fetch(counting.QUERIES["load_counted"], settled):
            counts = cells.readable(body)
            if key not in torn or counts is None:
                found[key] = Counted(who, hour, counts, fault="unreadable")
        return found

    async def rebuilt(
        self, conn: asyncpg.Connection, keys: Sequence[str], subjects: Sequence[str], now: datetime
    ) -> Mapping[str, Counted]:
        """As a pass reckons them."""
        funnel, found = await _funnels(conn), dict[str, Counted]()

        async def reckon(ids: Sequence[str]) -> None:
            sessions = await counting.sessions(conn, ids)
            read = await counting.read(conn, sessions, funnel, {}, keeps=False)
            found.update((one.session_id, _counted(one, counts)) for one, counts in read)

        for fault in await aside.isolated(conn, await _settled(conn, keys), reckon):
            found[fault.session_id] = _unknown(fault)
        return found

    def differences(self, kept: Counted | None, rebuilt: Counted | None, now: datetime) -> Sequence[Difference]:
        """By measure."""
        if kept is None or rebuilt is None:
            return [("(row)", "missing" if kept is None else "there", "there" if rebuilt else "no session")]
        mine, theirs = kept.told(), rebuilt.told()
        names = sorted(mine.keys() | theirs.keys())
        return [(name, mine.get(name), theirs.get(name)) for name in names if mine.get(name) != theirs.get(name)]

    async def save(self, conn: asyncpg.Connection, rows: Sequence[Counted]) -> None:
        """As a pass does: the difference goes into the rollups. What cannot be reckoned stays aside."""
        sums = Sums({}, {})
        sessions = sorted((row.session for row in rows if row.session is not None), key=lambda one: one.session_id)
        ids = [one.session_id for one in sessions]
        await _forget_unreadable(conn, ids)
        await recounting.recount(conn, sessions, await _funnels(conn), sums)
        await recounting.save(conn, sums, datetime.now(UTC))
        await aside.forget(conn, ids)

    async def delete(self, conn: asyncpg.Connection, keys: Sequence[str]) -> None:
        """They count for nothing."""
        sums = Sums({}, {})
        await recounting.take_back(conn, keys, sums)
        await recounting.save(conn, sums, datetime.now(UTC))

    def models(self, key: str) -> Iterable[str]:
        """None: no read model shows them."""
        return ()


def _counted(one: Session, counts: Counts) -> Counted:
    return Counted(counted.visitor(one), moment(cells.cut(one.at.timestamp(), "hour")), counts, session=one)


def _unknown(fault: Fault) -> Counted:
    return Counted("", moment(0), None, fault=f"cannot be reckoned: {type(fault.error).__name__}")


async def _settled(conn: asyncpg.Connection, keys: Sequence[str]) -> list[str]:
    """Those that no note names, and those that passes cannot reckon."""
    noted = {row["session_id"] for row in await conn.fetch(READING["noted_sessions"], keys)}
    return [key for key in keys if key not in noted]


async def _torn(conn: asyncpg.Connection, keys: Sequence[str]) -> set[str]:
    oldest: datetime | None = await conn.fetchval(counting.FACTS["oldest_day"])
    found = await conn.fetch(READING["arrivals"], keys)
    return {row["session_id"] for row in found if oldest is None or row["received_at"] < oldest}


async def _forget_unreadable(conn: asyncpg.Connection, ids: Sequence[str]) -> None:
    """Nobody knows what these counted for: the numbers are wrong by it until they are made anew, which comes next."""
    rows = await conn.fetch(counting.QUERIES["load_counted"], ids)
    if unreadable := [row["session_id"] for row in rows if cells.readable(row["counted"]) is None]:
        await conn.execute(READING["count_for_nothing"], unreadable, cells.pack({}))


async def _funnels(conn: asyncpg.Connection) -> Sequence[Funnel]:
    catalog = await catalogs.load(conn)
    return funnels(catalog.analytics, catalog.funnels)
