"""Sessions with their facts, states and rollups, as the worker and the passes would have left them."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import asyncpg
import msgspec

from bench.fill import numbers, own_metrics, shapes
from bench.fill.numbers import Moved
from bench.fill.shapes import EPOCH, INTERACTIONS, Shape
from db import connect, days, sql
from jobs import catalog as catalogs
from jobs.analytics import activity, cells, counted, metrics, rebuilding, rolling
from jobs.analytics.cells import DAY, HOUR, MINUTE, Base, Cell, Count
from jobs.analytics.funnel_catalog import funnels
from jobs.analytics.rolling import Sums, moment
from jobs.tracking import family
from jobs.tracking.session import COLUMNS, IDLE

QUERIES: Final = sql.load((Path(__file__).parent / "fill.sql").read_text())
DAYS: Final = 90
CHUNK: Final = 10_000
LONG_ONES: Final = 50_000
"""One of so many sessions is a long one."""
TABLES: Final = {
    family.INTERACTIONS: ("shape_interactions", "repeat_interactions"),
    family.SNAPSHOTS: ("shape_snapshots", "repeat_snapshots"),
    family.METRICS: ("shape_metrics", "repeat_metrics"),
    family.EVENTS: ("shape_events", "repeat_events"),
}
_TIMES: Final = [
    COLUMNS.index(name)
    for name in ("at", "last_at", "received_at", "ended_at", "device_at", "last_category_at", "priced_at", "completed_at")
]

class Who(NamedTuple):
    """Whose session it is, and when it begins: seconds since 1970, a whole minute."""

    subject: str
    session_id: str
    user_id: str | None
    anonymous_id: str | None
    org_id: str | None
    start: int


@dataclass(slots=True)
class Fill:
    """One fill: `now` is the end of its DAYS; `moved` is told how many sessions are there."""

    database_url: str
    now: datetime
    moved: Moved = lambda _done, _words: None
    seed: int = 1
    sums: Sums = field(default_factory=lambda: Sums({}, {}))
    hours: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    async def run(self, sessions: int) -> int:
        """Fill an empty database with so many sessions; how many interactions they have."""
        conn, other = await connect.postgres(self.database_url), await connect.postgres(self.database_url)
        try:
            return await self._run(conn, other, sessions)
        finally:
            await conn.close()
            await other.close()

    async def _run(self, conn: asyncpg.Connection, other: asyncpg.Connection, sessions: int) -> int:
        begin = self.now.date() - timedelta(days=DAYS - 1)
        await days.make(conn, [begin + timedelta(days=n) for n in range(DAYS)])
        catalog = await catalogs.load(conn)
        wanted = funnels(catalog.analytics, catalog.funnels)
        made = shapes.made(wanted)
        await _lay_out(other, made)
        drawn = random.Random(self.seed)  # noqa: S311
        starts = sorted(_start(drawn, begin, self.now) for _ in range(sessions))
        order = drawn.sample(range(len(made) - 1), len(made) - 1)
        facts, number = None, 0
        for first in range(0, sessions, CHUNK):
            chunk = []
            for n in range(first, min(first + CHUNK, sessions)):
                shape = len(made) - 1 if n % LONG_ONES == LONG_ONES // 2 else order[n % len(order)]
                latest = self.now - made[shape].length - timedelta(minutes=1)
                start = min(starts[n], int(latest.timestamp()) // MINUTE * MINUTE)
                chunk.append((shape, _who(drawn, start, sessions)))
                number += made[shape].session.interactions
            if facts is not None:
                await facts
            facts = asyncio.create_task(_repeat(other, first, chunk))
            await self._save(conn, [(made[shape], who) for shape, who in chunk])
            self.moved(first + len(chunk), f"{number:,} interactions")
        if facts is not None:
            await facts
        await self._visitors(conn)
        await self._rollups(conn, made)
        await conn.execute(rolling.QUERIES["set_funnels"], msgspec.json.encode(wanted).decode(), None)
        await conn.execute(rolling.QUERIES["roll_through"], self.now)
        return number

    async def _save(self, conn: asyncpg.Connection, chunk: Sequence[tuple[Shape, Who]]) -> None:
        """Their states, and what they count for."""
        states, rollups, measured = [], [], list[Any]()
        for shape, who in chunk:
            states.append(_state(shape, who, self.now))
            counts = _moved(shape.counts, who.start)
            visitor = _visitor(who)
            rollups.append((who.session_id, visitor, moment(who.start // HOUR * HOUR), cells.pack(counts)))
            self._count(counts)
            self.hours[visitor].add(who.start // HOUR * HOUR)
            shift = timedelta(seconds=who.start)
            measured += [(row[6], row[7], None, row[9] + shift) for row in shape.rows.get(family.METRICS, ())]
            if len(measured) > CHUNK:
                metrics.add(self.sums.counts, self.sums.most, [metrics.noted(measured)])
                measured.clear()
        metrics.add(self.sums.counts, self.sums.most, [metrics.noted(measured)])
        async with conn.transaction():
            await conn.copy_records_to_table("user_sessions", records=states, columns=COLUMNS)
            await conn.copy_records_to_table("session_rollups", records=rollups)

    def _count(self, counts: Mapping[Base, Count]) -> None:
        # Long sessions reach into the hours that are kept.
        young = self.now.timestamp() - cells.KEPT["hour"] - DAY
        held = self.sums.counts
        if next(iter(counts)).at > young:
            cells.add(held, cells.spread(counts))
            return
        # As `spread` says, without the grains that are kept no more.
        for (measure, at, key), (n, total) in counts.items():
            if measure != "configuration":
                _add(held, Cell("day", measure, at - at % DAY, key), n, total)
            if measure in {"configuration", "choice"}:
                _add(held, Cell("all", measure, 0, key), n, total)

    async def _visitors(self, conn: asyncpg.Connection) -> None:
        for done, hours in enumerate(self.hours.values()):
            cells.add(self.sums.counts, activity.of(hours))
            if done % 20_000 == 0:
                self.moved(-1, f"{done:,} of {len(self.hours):,} visitors")
        await conn.execute(rebuilding.READING["fill_visitor_hours"], timeout=600)

    async def _rollups(self, conn: asyncpg.Connection, made: Sequence[Shape]) -> None:
        bodies = dict(shape.configuration for shape in made if shape.configuration is not None)
        await conn.execute(rolling.QUERIES["save_configurations"], list(bodies), list(bodies.values()))
        own_metrics.add(self.sums, DAYS, self.now)
        await numbers.save(conn, self.sums, self.now, self.moved)


def _add(held: dict[Cell, Count], cell: Cell, n: int, total: Any) -> None:
    before = held.get(cell)
    held[cell] = Count(n, total) if before is None else Count(before.n + n, before.total + total)


async def _lay_out(conn: asyncpg.Connection, made: Sequence[Shape]) -> None:
    """The facts of the shapes, where `repeat_…` finds them."""
    await conn.execute(QUERIES["make_shapes"])
    for facts in family.Tracking.facts:
        rows = [(number, *row) for number, shape in enumerate(made) for row in shape.rows.get(facts.table, ())]
        name = TABLES[facts.table][0]
        await conn.copy_records_to_table(name, records=rows, columns=("shape", *facts.columns))
    await conn.execute(QUERIES["index_shapes"])


async def _repeat(conn: asyncpg.Connection, first: int, chunk: Sequence[tuple[int, Who]]) -> None:
    """The facts of some sessions."""
    rows = [
        (first + n, shape, *who[:5], timedelta(seconds=who.start)) for n, (shape, who) in enumerate(chunk)
    ]
    async with conn.transaction():
        await conn.copy_records_to_table("chunk", records=rows)
        for _, query in TABLES.values():
            await conn.execute(QUERIES[query], timeout=600)
        await conn.execute(QUERIES["empty_chunk"])


def _start(drawn: random.Random, begin: Any, now: datetime) -> int:
    """A minute of the last DAYS: more of them later, by day than by night, and on weekdays."""
    first = int(datetime(begin.year, begin.month, begin.day, tzinfo=UTC).timestamp())
    while True:
        at = first + int((now.timestamp() - first) * drawn.random() ** 0.8) // MINUTE * MINUTE
        hour, weekday = at // HOUR % 24, (at // DAY + 3) % 7
        if drawn.random() < (1.0 if 7 <= hour <= 21 else 0.25) * (1.0 if weekday < 5 else 0.7):
            return at


def _who(drawn: random.Random, start: int, sessions: int) -> Who:
    """Three of ten sessions are opened by us, for an anonymous id or a user; half of the others have one of the two."""
    share = drawn.random()
    person = int(sessions * 0.5 * drawn.random() ** 1.5)
    user = f"user-{person:07d}" if share < 0.1 or 0.3 <= share < 0.55 else None
    anonymous = f"{person * 2654435761 % 2**64:016x}" if 0.1 <= share < 0.3 or 0.55 <= share < 0.75 else None
    org = f"org-{person % 997:04d}" if user is not None and person % 3 == 0 else None
    # One of ours has its start in its name: the same visitor cannot have two that begin at once.
    if share < 0.3:
        subject = f"user:{user}" if user is not None else f"anonymous:{anonymous}"
        return Who(subject, f"auto:{subject}@{start * 1000 + drawn.randrange(1000)}", user, anonymous, org, start)
    session_id = f"{drawn.getrandbits(128):032x}"
    return Who(f"session:{session_id}", session_id, user, anonymous, org, start)


def _visitor(who: Who) -> str:
    if who.user_id is not None:
        return "user:" + who.user_id
    return f"anonymous:{who.anonymous_id}" if who.anonymous_id is not None else f"session:{who.session_id}"


def _state(shape: Shape, who: Who, now: datetime) -> tuple[Any, ...]:
    """The row of `user_sessions`."""
    shift = timedelta(seconds=who.start)
    row = list(msgspec.structs.astuple(shape.session))
    for place in _TIMES:
        if row[place] is not None:
            row[place] += shift
    session = dict(zip(COLUMNS, row, strict=True))
    session |= {"session_id": who.session_id, "subject": who.subject, "user_id": who.user_id}
    session |= {"anonymous_id": who.anonymous_id, "org_id": who.org_id}
    session["user_at"] = session["last_at"] if who.user_id is not None else None
    if session["ended_at"] is None and session["last_at"] < now - IDLE:
        session["ended_at"] = session["last_at"]
    return tuple(session.values())


def _moved(counts: Mapping[Base, Count], start: int) -> dict[Base, Count]:
    """What a shape counts for when it begins then."""
    hour = start // HOUR * HOUR
    return {
        Base(measure, at + (start if measure == "actions" else hour), key): count
        for (measure, at, key), count in counts.items()
    }
