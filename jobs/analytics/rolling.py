"""Rolling up: what changed since the last pass moves its differences into the rollups.

A batch notes the sessions it changed in its own transaction. A pass takes such notes away and adds what follows from
them in one transaction: a pass that dies changes nothing, and the next one finds the notes again. The work of a pass is
that of what changed, never that of what is there.
"""

from __future__ import annotations

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from db import sql
from jobs import catalog as catalogs
from jobs.analytics import activity, cells, counted, days, metrics
from jobs.analytics.cells import Cell, Count
from jobs.analytics.funnel_catalog import Funnel, funnels
from jobs.analytics.funnels import Done
from jobs.tracking.session import Session

QUERIES: Final = sql.read("rollups")
CHANGES: Final = 200
"""Notes of a pass: that many batches."""
SESSIONS: Final = 2000
"""Sessions of a pass; what is over goes back."""
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
    rows = await conn.fetch(QUERIES["take_changes"], CHANGES)
    changed = sorted({session for row in rows for session in row["sessions"]})
    if len(changed) > SESSIONS:
        await conn.execute(QUERIES["put_back_changes"], changed[SESSIONS:])
    sums = Sums({}, {})
    metrics.add(sums.counts, sums.most, [row["metrics"] for row in rows if row["metrics"] is not None])
    await _sessions(conn, changed[:SESSIONS], funnels(catalog.analytics, catalog.funnels), sums)
    await _save(conn, sums, now)
    is_done = not await conn.fetchval(QUERIES["changes_left"])
    if is_done:
        await conn.execute(QUERIES["roll_through"], now)
    return Pass(min(len(changed), SESSIONS), is_done)


async def _sessions(conn: asyncpg.Connection, ids: Sequence[str], funnel: Sequence[Funnel], sums: Sums) -> None:
    """Every change of these sessions, and of the visitors they are of."""
    if not ids:
        return
    held = {row["session_id"]: row for row in await conn.fetch(QUERIES["load_counted"], ids)}
    moved: dict[tuple[str, int], int] = defaultdict(int)
    saved: list[tuple[str, str, datetime, bytes]] = []
    for session, counts in await count(conn, ids, funnel):
        old = held.get(session.session_id)
        who, hour = counted.visitor(session), cells.cut(session.at.timestamp(), "hour")
        body = cells.pack(counts)
        if old is None or old["counted"] != body:
            before = cells.spread(cells.unpack(None if old is None else old["counted"]))
            cells.add(sums.counts, cells.difference(before, cells.spread(counts)))
        if old is not None:
            moved[old["visitor"], int(old["hour"].timestamp())] -= 1
        moved[who, hour] += 1
        saved.append((session.session_id, who, moment(hour), body))
    await conn.execute(QUERIES["save_counted"], *_columns(saved))
    await _visitors(conn, {key: n for key, n in sorted(moved.items()) if n}, sums)


async def count(
    conn: asyncpg.Connection, ids: Sequence[str], funnel: Sequence[Funnel]
) -> list[tuple[Session, counted.Counts]]:
    """What these sessions count for, from their rows and facts; the bodies of their configurations are kept."""
    sessions = sorted(
        (Session(*row) for row in await conn.fetch(QUERIES["roll_sessions"], ids)), key=lambda s: s.session_id
    )
    whose = ([s.subject for s in sessions], [s.session_id for s in sessions])
    facts: dict[str, list[Done]] = defaultdict(list)
    for session_id, *fact in await conn.fetch(QUERIES["roll_facts"], *whose):
        facts[session_id].append(Done(*fact))
    finals: dict[str, str] = {}
    bodies: dict[str, str] = {}
    for session_id, body in await conn.fetch(QUERIES["final_configurations"], *whose):
        text = canonical(body)
        finals[session_id] = digest = hashlib.sha256(text.encode()).hexdigest()
        bodies[digest] = text
    if bodies:
        await conn.execute(QUERIES["save_configurations"], *_columns(sorted(bodies.items())))
    for own in facts.values():
        own.sort(key=lambda done: (done.at, done.id))
    return [(s, counted.of(s, facts.get(s.session_id, ()), finals.get(s.session_id), funnel)) for s in sessions]


def canonical(text: str) -> str:
    """JSON with its keys in order and whole numbers without a point: equal configurations are equal text."""
    return json.dumps(_plain(msgspec.json.decode(text)), sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _plain(one) for key, one in value.items()}
    if isinstance(value, list):
        return [_plain(one) for one in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


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
        old, new = activity.of(before[visitor]), activity.of(after[visitor])
        cells.add(sums.counts, cells.difference(old, new))


async def _hours(conn: asyncpg.Connection, visitors: Sequence[str]) -> Mapping[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for visitor, hour in await conn.fetch(QUERIES["load_visitor_hours"], visitors):
        found[visitor].append(int(hour.timestamp()))
    return found


async def _save(conn: asyncpg.Connection, sums: Sums, now: datetime) -> None:
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


async def prune(conn: asyncpg.Connection, now: datetime) -> None:
    """Forget minutes and hours that are older than they are kept."""
    for grain, seconds in cells.KEPT.items():
        await conn.execute(QUERIES["drop_old_rollups"], grain, moment(cells.cut(now.timestamp() - seconds, grain)))


async def follow_funnels(conn: asyncpg.Connection, now: datetime) -> int:
    """When the catalog's funnels are others than were reckoned with: note their sessions again; how many."""
    catalog = await catalogs.load(conn)
    text = msgspec.json.encode(funnels(catalog.analytics, catalog.funnels)).decode()
    known = await conn.fetchrow(QUERIES["rolled"])
    if known is None or known["funnels"] == text:
        return 0
    number, last = 0, ""
    while rows := await conn.fetch(QUERIES["later_sessions"], last, now - LOOKED_AT, SESSIONS):
        ids = [row["session_id"] for row in rows]
        await conn.execute(QUERIES["put_back_changes"], ids)
        number, last = number + len(ids), ids[-1]
    await conn.execute(QUERIES["set_funnels"], text)
    return number


def moment(seconds: int) -> datetime:
    """As Postgres has it."""
    return datetime.fromtimestamp(seconds, UTC)


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
