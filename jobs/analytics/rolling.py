"""Rolling up: what changed since the last pass moves its differences into the rollups.

A batch notes the sessions it changed in its own transaction. A pass takes such notes away and adds what follows from
them in one transaction: a pass that dies changes nothing, and the next one finds the notes again. The work of a pass is
that of what changed, never that of what is there.
"""

from __future__ import annotations

from collections.abc import Sequence, Set
from datetime import datetime, timedelta
from typing import Final, NamedTuple

import asyncpg
import msgspec

from jobs import catalog as catalogs
from jobs.analytics import aside, cells, counting, metrics, recounting
from jobs.analytics.aside import Fault
from jobs.analytics.counted import LATEST
from jobs.analytics.counting import QUERIES, Latest
from jobs.analytics.funnel_catalog import Funnel, funnels
from jobs.analytics.recounting import Sums, moment

CHANGES: Final = 5000
"""Notes of a pass, at most: that many batches."""
NAMED: Final = 20_000
"""Sessions that its notes name, about. Batches name the same ones again and again, and each is reckoned once."""
SESSIONS: Final = 200
"""Sessions that a pass reckons; others that its notes name are noted again. A drain beside it waits for no more."""
OFTEN_MOST: Final = 5000
"""Facts of a session that is reckoned in each pass; one of more has its turn once a minute, since all are read."""
PAGES: Final = 20
"""Times SESSIONS that a run notes again when funnels have changed."""
LOOKED_AT: Final = timedelta(days=90)
"""How far back changed funnels are reckoned anew."""


class Pass(NamedTuple):
    """What one pass did."""

    sessions: int
    is_done: bool
    """Nothing was left to do when it ended."""
    faults: Sequence[Fault] = ()
    """Sessions that it put aside."""


async def roll(conn: asyncpg.Connection, now: datetime) -> Pass:
    """One pass; the caller owns the transaction. Another pass that is under way: nothing is done."""
    if not await conn.fetchval(QUERIES["try_rolling"]):
        return Pass(0, is_done=True)
    catalog = await catalogs.load(conn)
    rows = await conn.fetch(QUERIES["take_changes"], CHANGES, NAMED)
    sums = Sums({}, {})
    metrics.add(sums.counts, sums.most, [row["metrics"] for row in rows if row["metrics"] is not None])
    await recounting.save(conn, sums, now)
    due = {session for row in rows if row["is_deferred"] for session in row["sessions"]}
    changed = sorted(due.union(*(row["sessions"] for row in rows)))
    await _leave(conn, changed[SESSIONS:], due, now)
    step = _Step(conn, funnels(catalog.analytics, catalog.funnels), due, now)
    faults = await step.roll(changed[:SESSIONS]) if changed else []
    is_done = not await conn.fetchval(QUERIES["changes_left"])
    if is_done:
        await conn.execute(QUERIES["roll_through"], now)
    return Pass(step.number, is_done, faults)


async def count_now(conn: asyncpg.Connection, ids: Sequence[str], now: datetime) -> None:
    """Reckon these sessions, also those that are aside; who still cannot be reckoned counts for nothing until it can.

    What nobody can read stays counted, and aside. Those that are gone are left to the passes, which take their notes
    away, too. The caller owns the transaction.
    """
    await conn.execute(QUERIES["wait_rolling"])
    catalog = await catalogs.load(conn)
    there = [one.session_id for one in await counting.sessions(conn, ids)]
    faults = await _Step(conn, funnels(catalog.analytics, catalog.funnels), set(there), now).roll(there)
    await _take_back(conn, [one.session_id for one in faults], now)


async def take_back_aside(conn: asyncpg.Connection, ids: Sequence[str], now: datetime) -> None:
    """Those of these that are aside count for nothing until they can be reckoned; the caller owns the transaction."""
    if await aside.known(conn, ids):
        await conn.execute(QUERIES["wait_rolling"])
        await _take_back(conn, sorted(await aside.known(conn, ids)), now)


async def unreadable(conn: asyncpg.Connection) -> int:
    """How many sessions are aside of which nobody can read what they count for."""
    return sum(cells.readable(row["counted"]) is None for row in await conn.fetch(QUERIES["counted_aside"]))


async def _take_back(conn: asyncpg.Connection, ids: Sequence[str], now: datetime) -> None:
    held = await conn.fetch(QUERIES["load_counted"], ids) if ids else []
    readable = [row["session_id"] for row in held if cells.readable(row["counted"]) is not None]
    sums = Sums({}, {})
    await recounting.take_back(conn, readable, sums)
    await recounting.save(conn, sums, now)
    await _tell_latest(conn, [], set(ids))


async def _leave(conn: asyncpg.Connection, ids: Sequence[str], due: set[str], now: datetime) -> None:
    """To the next pass."""
    usual, large = [one for one in ids if one not in due], [one for one in ids if one in due]
    if usual:
        await conn.execute(QUERIES["look_again"], usual)
    if large:
        await conn.execute(QUERIES["defer_changes"], large, now)


class _Step:
    """The sessions of one pass: reckoned together, and around what cannot be reckoned in parts."""

    def __init__(self, conn: asyncpg.Connection, funnel: Sequence[Funnel], due: Set[str], now: datetime) -> None:
        self._conn, self._funnel, self._due, self._now = conn, funnel, due, now
        self.number = 0

    async def roll(self, ids: Sequence[str]) -> list[Fault]:
        """Those that are aside are tried alone, and only when they are due; who failed is put aside."""
        conn = self._conn
        tries = await aside.known(conn, ids)
        faults = await aside.isolated(conn, [one for one in ids if one not in tries], self._recounted)
        for one in sorted(tries.keys() & self._due):
            faults += await aside.isolated(conn, [one], self._recounted)
        done = set(ids) - (tries.keys() - self._due) - {fault.session_id for fault in faults}
        await aside.forget(conn, sorted(done))
        await aside.put(conn, faults, tries, self._now)
        return faults

    async def _recounted(self, ids: Sequence[str]) -> None:
        """The changes of these sessions; large ones that are not due wait for the next minute."""
        if not ids:
            return
        conn, sums, latest = self._conn, Sums({}, {}), list[Latest]()
        found = await counting.sessions(conn, ids)
        gone = set(ids) - {one.session_id for one in found}
        await recounting.take_back(conn, sorted(gone), sums)
        large = [s.session_id for s in found if counting.size(s) > OFTEN_MOST and s.session_id not in self._due]
        if large:
            minute = cells.cut(self._now.timestamp(), "minute") + cells.MINUTE
            await conn.execute(QUERIES["defer_changes"], large, moment(minute))
            found = [one for one in found if one.session_id not in set(large)]
        await recounting.recount(conn, found, self._funnel, sums, latest)
        await _tell_latest(conn, latest, gone.union(one.session_id for one in found))
        await recounting.save(conn, sums, self._now)
        self.number += len(found) + len(gone)


async def _tell_latest(conn: asyncpg.Connection, latest: Sequence[Latest], looked_at: Set[str]) -> None:
    """Those of this pass, and of the ones before it those of other sessions: the newest."""
    known = msgspec.json.decode((await conn.fetchrow(QUERIES["rolled"]))["latest"], type=list[Latest])
    newest = sorted([*latest, *(one for one in known if one.session_id not in looked_at)], reverse=True)
    if newest[:LATEST] != known:
        await conn.execute(QUERIES["save_latest"], msgspec.json.encode(newest[:LATEST]).decode())


async def drop_configurations(conn: asyncpg.Connection) -> None:
    """Forget the bodies that no session ended with any more; the caller owns the transaction."""
    await conn.execute(QUERIES["wait_rolling"])
    await conn.execute(QUERIES["drop_configurations"])


async def prune(conn: asyncpg.Connection, now: datetime) -> None:
    """Forget minutes and hours that are older than they are kept; the caller owns the transaction."""
    await conn.execute(QUERIES["wait_rolling"])
    for grain, seconds in cells.KEPT.items():
        await conn.execute(QUERIES["drop_old_rollups"], grain, moment(cells.cut(now.timestamp() - seconds, grain)))


async def follow_funnels(conn: asyncpg.Connection, now: datetime) -> int:
    """When the catalog's funnels are others than were reckoned with: note their sessions again, some in each run.

    How many were noted; the caller owns the transaction.
    """
    await conn.execute(QUERIES["wait_rolling"])
    catalog = await catalogs.load(conn)
    text = msgspec.json.encode(funnels(catalog.analytics, catalog.funnels)).decode()
    known = await conn.fetchrow(QUERIES["rolled"])
    last: str | None = known["looking"] if known["funnels"] == text else ""
    number = 0
    for _ in range(PAGES if last is not None else 0):
        rows = await conn.fetch(QUERIES["later_sessions"], last, now - LOOKED_AT, SESSIONS)
        if not rows:
            last = None
            break
        await conn.execute(QUERIES["look_again"], [row["session_id"] for row in rows])
        number, last = number + len(rows), rows[-1]["session_id"]
    if (text, last) != (known["funnels"], known["looking"]):
        await conn.execute(QUERIES["set_funnels"], text, last)
    return number
