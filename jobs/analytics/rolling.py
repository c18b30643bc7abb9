"""Rolling up: what changed since the last pass moves its differences into the rollups.

A batch notes the sessions it changed in its own transaction. A pass takes such notes away and adds what follows from
them in one transaction: a pass that dies changes nothing, and the next one finds the notes again. The work of a pass is
that of what changed, never that of what is there.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence, Set
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from db import sql
from jobs import catalog as catalogs
from jobs.analytics import activity, cells, counted, counting, days, metrics
from jobs.analytics.cells import Cell, Count
from jobs.analytics.counting import LATEST, Latest
from jobs.analytics.funnel_catalog import Funnel, funnels
from jobs.tracking.session import Session

QUERIES: Final = sql.read("rollups")
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


class Sums(NamedTuple):
    """What a pass adds: numbers by cell, and the largest values of metrics."""

    counts: dict[Cell, Count]
    most: dict[Cell, float]


async def roll(conn: asyncpg.Connection, now: datetime) -> Pass:
    """One pass; the caller owns the transaction. Another pass that is under way: nothing is done."""
    if not await conn.fetchval(QUERIES["try_rolling"]):
        return Pass(0, is_done=True)
    catalog = await catalogs.load(conn)
    rows = await conn.fetch(QUERIES["take_changes"], CHANGES, NAMED)
    sums = Sums({}, {})
    metrics.add(sums.counts, sums.most, [row["metrics"] for row in rows if row["metrics"] is not None])
    due = {session for row in rows if row["is_deferred"] for session in row["sessions"]}
    changed = sorted(due.union(*(row["sessions"] for row in rows)))
    await _leave(conn, changed[SESSIONS:], due, now)
    number = await _roll(conn, changed[:SESSIONS], due, funnels(catalog.analytics, catalog.funnels), sums, now)
    await save(conn, sums, now)
    is_done = not await conn.fetchval(QUERIES["changes_left"])
    if is_done:
        await conn.execute(QUERIES["roll_through"], now)
    return Pass(number, is_done)


async def _leave(conn: asyncpg.Connection, ids: Sequence[str], due: set[str], now: datetime) -> None:
    """To the next pass."""
    usual, large = [one for one in ids if one not in due], [one for one in ids if one in due]
    if usual:
        await conn.execute(QUERIES["look_again"], usual)
    if large:
        await conn.execute(QUERIES["defer_changes"], large, now)


async def _roll(
    conn: asyncpg.Connection,
    ids: Sequence[str],
    due: set[str],
    funnel: Sequence[Funnel],
    sums: Sums,
    now: datetime,
) -> int:
    """The changes of these sessions; large ones that are not `due` wait for the next minute. How many were reckoned."""
    if not ids:
        return 0
    found = await counting.sessions(conn, ids)
    gone = set(ids) - {one.session_id for one in found}
    await take_back(conn, sorted(gone), sums)
    large = [s.session_id for s in found if counting.size(s) > OFTEN_MOST and s.session_id not in due]
    if large:
        await conn.execute(QUERIES["defer_changes"], large, moment(cells.cut(now.timestamp(), "minute") + cells.MINUTE))
        found = [one for one in found if one.session_id not in set(large)]
    latest: list[Latest] = []
    await recount(conn, found, funnel, sums, latest)
    await _tell_latest(conn, latest, gone.union(one.session_id for one in found))
    return len(found) + len(gone)


async def take_back(conn: asyncpg.Connection, gone: Sequence[str], sums: Sums) -> None:
    """Sessions that are not there any more count for nothing; the caller owns the transaction, and has its turn."""
    moved: dict[tuple[str, int], int] = defaultdict(int)
    for old in await conn.fetch(QUERIES["drop_counted"], gone) if gone else ():
        cells.add(sums.counts, cells.difference(cells.spread(cells.unpack(old["counted"])), {}))
        moved[old["visitor"], int(old["hour"].timestamp())] -= 1
    await _visitors(conn, dict(sorted(moved.items())), sums)


async def recount(
    conn: asyncpg.Connection,
    sessions: Sequence[Session],
    funnel: Sequence[Funnel],
    sums: Sums,
    latest: list[Latest] | None = None,
) -> None:
    """Every change of these sessions, and of the visitors they are of, is remembered and added to `sums`."""
    moved: dict[tuple[str, int], int] = defaultdict(int)
    for part in counting.parts(sessions):
        await _recount(conn, part, funnel, sums, moved, latest)
    await _visitors(conn, {one: n for one, n in sorted(moved.items()) if n}, sums)


async def _recount(
    conn: asyncpg.Connection,
    sessions: Sequence[Session],
    funnel: Sequence[Funnel],
    sums: Sums,
    moved: dict[tuple[str, int], int],
    latest: list[Latest] | None,
) -> None:
    """The same of some of them; where visitors came and went is added to `moved`."""
    ids = [one.session_id for one in sessions]
    held = {row["session_id"]: row for row in await conn.fetch(QUERIES["load_counted"], ids)}
    before = {key: cells.unpack(row["counted"]) for key, row in held.items()}
    saved: list[tuple[str, str, datetime, bytes]] = []
    for session, counts in await counting.read(conn, sessions, funnel, before, latest):
        key = session.session_id
        who, hour = counted.visitor(session), cells.cut(session.at.timestamp(), "hour")
        row = (key, who, moment(hour), cells.pack(counts))
        if key in held and tuple(held[key]) == row:
            continue
        cells.add(sums.counts, cells.difference(cells.spread(before.get(key, {})), cells.spread(counts)))
        if key in held:
            moved[held[key]["visitor"], int(held[key]["hour"].timestamp())] -= 1
        moved[who, hour] += 1
        saved.append(row)
    if saved:
        await conn.execute(QUERIES["save_counted"], *_columns(saved))


async def _tell_latest(conn: asyncpg.Connection, latest: Sequence[Latest], looked_at: Set[str]) -> None:
    """Those of this pass, and of the ones before it those of other sessions: the newest."""
    known = msgspec.json.decode((await conn.fetchrow(QUERIES["rolled"]))["latest"], type=list[Latest])
    newest = sorted([*latest, *(one for one in known if one.session_id not in looked_at)], reverse=True)
    if newest[:LATEST] != known:
        await conn.execute(QUERIES["save_latest"], msgspec.json.encode(newest[:LATEST]).decode())


async def _visitors(conn: asyncpg.Connection, moved: Mapping[tuple[str, int], int], sums: Sums) -> None:
    """Sessions that came, went, or changed hands: the difference of what their visitors count for."""
    if not moved:
        return
    who = sorted({visitor for visitor, _ in moved})
    before = await _hours(conn, who)
    rows = [(visitor, moment(hour), n) for (visitor, hour), n in moved.items()]
    await conn.execute(QUERIES["add_visitor_hours"], *_columns(rows))
    await conn.execute(QUERIES["drop_visitor_hours"], who)
    after = await _hours(conn, who)
    for visitor in who:
        if visitor.startswith(counted.BOT):
            continue
        old, new = activity.of(before[visitor]), activity.of(after[visitor])
        cells.add(sums.counts, cells.difference(old, new))


async def _hours(conn: asyncpg.Connection, visitors: Sequence[str]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for visitor, hour in await conn.fetch(QUERIES["load_visitor_hours"], visitors):
        found[visitor].append(int(hour.timestamp()))
    return found


async def save(conn: asyncpg.Connection, sums: Sums, now: datetime) -> None:
    """Add the numbers, and make the days anew that they are of."""
    kept = {cell: c for cell, c in sums.counts.items() if c != (0, 0) and cells.is_kept(cell, now.timestamp())}
    if not kept:
        return
    ordered = sorted(kept)
    rows = [
        (c.grain, c.measure, moment(c.start), c.key, kept[c].n, Decimal(kept[c].total), sums.most.get(c))
        for c in ordered
    ]
    await conn.execute(QUERIES["add_rollups"], *_columns(rows))
    less = [(c.grain, c.measure, moment(c.start), c.key) for c in ordered if kept[c].n <= 0]
    if less:
        await conn.execute(QUERIES["drop_empty_rollups"], *_columns(less))
    await days.refresh(conn, sorted({moment(c.start) for c in ordered if c.grain == "day"}), now)


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


def moment(seconds: int) -> datetime:
    """As Postgres has it."""
    return datetime.fromtimestamp(seconds, UTC)


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
