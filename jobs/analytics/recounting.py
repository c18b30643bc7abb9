"""What changed sessions move: what they count for now less what they did, and where visitors came and went.

The caller owns the transaction, and has its turn: one pass or rebuild at a time.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, NamedTuple

import asyncpg

from db import log
from jobs.analytics import activity, cells, counted, counting, days
from jobs.analytics.cells import Cell, Count
from jobs.analytics.counting import QUERIES, Latest
from jobs.analytics.funnel_catalog import Funnel
from jobs.tracking.session import Session

logger = log.get("rollups")


class Sums(NamedTuple):
    """What a pass adds: numbers by cell, and the largest values of metrics."""

    counts: dict[Cell, Count]
    most: dict[Cell, float]


async def take_back(conn: asyncpg.Connection, gone: Sequence[str], sums: Sums) -> None:
    """Sessions that are not there any more count for nothing; the caller owns the transaction, and has its turn."""
    moved: dict[tuple[str, int], int] = defaultdict(int)
    for old in await conn.fetch(QUERIES["drop_counted"], gone) if gone else ():
        counts = cells.readable(old["counted"])
        if counts is None:
            logger.error("what a session counted for cannot be read: the numbers keep it until they are rebuilt")
        cells.add(sums.counts, cells.difference(cells.spread(counts or {}), {}))
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
        if visitor.startswith(counted.ROBOT):
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


def moment(seconds: int) -> datetime:
    """As Postgres has it."""
    return datetime.fromtimestamp(seconds, UTC)


def _columns(rows: Iterable[Sequence[Any]]) -> list[list[Any]]:
    return [list(column) for column in zip(*rows, strict=True)]
