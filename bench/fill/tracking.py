"""Sessions with their facts, states and rollups, as the worker and the passes would have left them."""

from __future__ import annotations

import asyncio
import random
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import Any, Final

import asyncpg
import msgspec

from bench.fill import numbers, people, shapes
from bench.fill.numbers import Moved
from bench.fill.people import Who
from bench.fill.shapes import Shape
from db import connect, days, sql
from jobs import catalog as catalogs
from jobs.analytics import activity, cells, metrics
from jobs.analytics.cells import DAY, HOUR, MINUTE, Base, Count
from jobs.analytics.funnel_catalog import funnels
from jobs.analytics.recounting import Sums, moment
from jobs.tracking import rows
from jobs.tracking.family import Tracking
from jobs.tracking.session import COLUMNS, IDLE

QUERIES: Final = sql.load((Path(__file__).parent / "fill.sql").read_text())
ROLLING: Final = sql.read("rollups")
READING: Final = sql.read("rebuilding")
DAYS: Final = 90
CHUNK: Final = 10_000
LONG_ONES: Final = 50_000
"""One of so many sessions is a long one."""
TABLES: Final = {
    rows.INTERACTIONS: ("shape_interactions", "repeat_interactions"),
    rows.SNAPSHOTS: ("shape_snapshots", "repeat_snapshots"),
    rows.METRICS: ("shape_metrics", "repeat_metrics"),
    rows.EVENTS: ("shape_events", "repeat_events"),
}
_TIMES: Final = tuple(name for name in COLUMNS if name == "at" or name.endswith("_at"))


@dataclass(slots=True)
class Fill:
    """One fill: `now` is the end of its DAYS; `moved` is told how many sessions are there."""

    database_url: str
    now: datetime
    moved: Moved = lambda _done, _words: None
    seed: int = 1
    sums: Sums = field(default_factory=lambda: Sums({}, {}))
    old: dict[Base, Count] = field(default_factory=dict)
    """What sessions count for of which no hour is kept, by day."""
    hours: dict[str, set[int]] = field(default_factory=lambda: defaultdict(set))

    async def run(self, sessions: int) -> int:
        """Fill an empty database with so many sessions; how many interactions they have."""
        conn, other = await connect.postgres(self.database_url), await connect.postgres(self.database_url)
        # Python may think for long about the states, while the facts are being written.
        await other.execute("SET idle_in_transaction_session_timeout = 0")
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
        first, number = 0, 0
        for chunk in self._chunks(made, begin, sessions):
            # The facts are Postgres's work alone, and the states mostly Python's.
            states = [(made[shape], who) for shape, who in chunk]
            await asyncio.gather(_repeat(other, first, chunk), self._save(conn, states))
            first, number = first + len(chunk), number + sum(shape.session.interactions for shape, _ in states)
            self.moved(first, f"{number:,} interactions")
        await self._visitors(conn)
        await self._rollups(conn, made)
        await conn.execute(ROLLING["set_funnels"], msgspec.json.encode(wanted).decode(), None)
        await conn.execute(ROLLING["roll_through"], self.now)
        return number

    def _chunks(self, made: Sequence[Shape], begin: date, sessions: int) -> Iterator[list[tuple[int, Who]]]:
        """(shape, who and when) of all sessions, in the order of their times, CHUNK at a time."""
        drawn = random.Random(self.seed)
        starts = sorted(people.start(drawn, begin, self.now) for _ in range(sessions))
        usual = drawn.sample(range(len(made) - 1), len(made) - 1)
        for first in range(0, sessions, CHUNK):
            chunk = []
            for n in range(first, min(first + CHUNK, sessions)):
                shape = len(made) - 1 if n % LONG_ONES == LONG_ONES // 2 else usual[n % len(usual)]
                # It is over by now.
                latest = (self.now - made[shape].length).timestamp() - MINUTE
                start = min(starts[n], int(latest) // MINUTE * MINUTE)
                chunk.append((shape, people.who(drawn, start, sessions)))
            yield chunk

    async def _save(self, conn: asyncpg.Connection, chunk: Sequence[tuple[Shape, Who]]) -> None:
        """Their states, and what they count for."""
        states, rollups, measured = [], [], list[Any]()
        for shape, who in chunk:
            states.append(_state(shape, who, self.now))
            counts = _moved(shape.counts, who.start)
            visitor = who.visitor
            rollups.append((who.session_id, visitor, moment(who.start // HOUR * HOUR), cells.pack(counts)))
            self._count(counts)
            self.hours[visitor].add(who.start // HOUR * HOUR)
            shift = timedelta(seconds=who.start)
            measured += [(row[6], row[7], None, row[9] + shift) for row in shape.rows.get(rows.METRICS, ())]
            if len(measured) > CHUNK:
                metrics.add(self.sums.counts, self.sums.most, [metrics.noted(measured)])
                measured.clear()
        metrics.add(self.sums.counts, self.sums.most, [metrics.noted(measured)])
        async with conn.transaction():
            await conn.copy_records_to_table("user_sessions", records=states, columns=COLUMNS)
            await conn.copy_records_to_table("session_rollups", records=rollups)

    def _count(self, counts: Mapping[Base, Count]) -> None:
        # Long sessions reach into the hours that are kept.
        if next(iter(counts)).at > self.now.timestamp() - cells.KEPT["hour"] - DAY:
            cells.add(self.sums.counts, cells.spread(counts))
            return
        for (measure, at, key), (n, total) in counts.items():
            base = Base(measure, at - at % DAY, key)
            held = self.old.get(base)
            self.old[base] = Count(n, total) if held is None else Count(held.n + n, held.total + total)

    async def _visitors(self, conn: asyncpg.Connection) -> None:
        for done, hours in enumerate(self.hours.values()):
            cells.add(self.sums.counts, activity.of(hours))
            if done % 20_000 == 0:
                self.moved(-1, f"{done:,} of {len(self.hours):,} visitors")
        await conn.execute(READING["fill_visitor_hours"], timeout=600)

    async def _rollups(self, conn: asyncpg.Connection, made: Sequence[Shape]) -> None:
        bodies = dict(shape.configuration for shape in made if shape.configuration is not None)
        await conn.execute(ROLLING["save_configurations"], list(bodies), list(bodies.values()))
        cells.add(self.sums.counts, cells.spread(self.old))
        await numbers.save(conn, self.sums, self.now, self.moved)


async def _lay_out(conn: asyncpg.Connection, made: Sequence[Shape]) -> None:
    """The facts of the shapes, where `repeat_…` finds them."""
    await conn.execute(QUERIES["make_shapes"])
    for facts in Tracking.facts:
        records = [(number, *row) for number, shape in enumerate(made) for row in shape.rows.get(facts.table, ())]
        name = TABLES[facts.table][0]
        await conn.copy_records_to_table(name, records=records, columns=("shape", *facts.columns))
    await conn.execute(QUERIES["index_shapes"])


async def _repeat(conn: asyncpg.Connection, first: int, chunk: Sequence[tuple[int, Who]]) -> None:
    """The facts of some sessions."""
    records = [(first + n, shape, *who[:5], timedelta(seconds=who.start)) for n, (shape, who) in enumerate(chunk)]
    async with conn.transaction():
        await conn.copy_records_to_table("chunk", records=records)
        for _, query in TABLES.values():
            await conn.execute(QUERIES[query], timeout=600)
        await conn.execute(QUERIES["empty_chunk"])


def _state(shape: Shape, who: Who, now: datetime) -> tuple[Any, ...]:
    """The row of `user_sessions`."""
    shift = timedelta(seconds=who.start)
    held = msgspec.structs.asdict(shape.session)
    row = held | {name: held[name] + shift for name in _TIMES if held[name] is not None}
    row |= {"session_id": who.session_id, "subject": who.subject, "user_id": who.user_id}
    row |= {"anonymous_id": who.anonymous_id, "org_id": who.org_id}
    row["user_received_at"] = row["received_at"] if who.user_id is not None else None
    if row["ended_at"] is None and row["last_at"] < now - IDLE:
        row["ended_at"] = row["last_at"]
    return tuple(row.values())


def _moved(counts: Mapping[Base, Count], start: int) -> dict[Base, Count]:
    """What a shape counts for when it begins then."""
    hour = start // HOUR * HOUR
    return {
        Base(measure, at + (start if measure == "actions" else hour), key): count
        for (measure, at, key), count in counts.items()
    }
