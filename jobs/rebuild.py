"""`python -m jobs rebuild`: every table of states from its facts, chunk by chunk, while the workers go on.

Writing locks the row of one partition for each chunk, so that no worker moves its subjects meanwhile; checking takes no
lock: one snapshot shows facts and states of the same moment, since they are committed together.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from redis.asyncio import Redis

from db import keys, partitions, sql, stream
from jobs.families import FAMILIES
from jobs.family import Difference, StateTable

QUERIES: Final = sql.read("rebuild")
CHUNK: Final = 500
LOCK_SECONDS = 5.0
LOCK_TRIES = 6
"""A worker's batch takes fractions of a second; in between, others come to their turn who want the row, too."""
AGAIN_SECONDS: Final = 1.0
"""A reader or a worker that still held the old state may fill the cache behind the first drop: it is dropped twice."""

Found = Callable[[str, str, Sequence[Difference]], None]
Moved = Callable[[int, int], None]


class Busy(Exception):
    """A partition stayed locked for too long."""


@dataclass(slots=True)
class Result:
    """One table: rows looked at, rows that differed, rows left alone because retention has dropped their facts."""

    table: str
    seen: int = 0
    differing: int = 0
    left: int = 0


def shown(value: Any) -> str:
    """A value of a difference, for people."""
    return value.isoformat() if isinstance(value, datetime) else repr(value)


def all_tables() -> list[StateTable]:
    """Of every family."""
    return [table for family in FAMILIES for table in family.state_tables()]


@dataclass(slots=True)
class Rebuild:
    """One run over all tables. `other`: a second connection, which pages while the first one works."""

    conn: asyncpg.Connection
    other: asyncpg.Connection
    client: Redis
    check: bool
    found: Found
    moved: Moved = lambda _seen, _total: None
    partitions: int = 0
    tables: Sequence[StateTable] = field(default_factory=all_tables)
    _dropped: deque[tuple[float, list[str]]] = field(default_factory=deque)

    async def run(self) -> list[Result]:
        """Every table."""
        self.partitions = await self.conn.fetchval(partitions.QUERIES["count_partitions"])
        results = [await self._table(table) for table in self.tables]
        while self._dropped:
            await asyncio.sleep(max(0.0, self._dropped[0][0] - time.monotonic()))
            await self._drop_again()
        return results

    async def _table(self, table: StateTable) -> Result:
        result = Result(table.name)
        total = await table.count(self.conn)
        async for chunk in self._chunks(_pages(self.other, table)):
            await self._chunk(table, chunk, result)
            self.moved(result.seen, max(total, result.seen))
        async with self.other.transaction(isolation="repeatable_read", readonly=True):
            async for chunk in self._chunks(table.orphans(self.other)):
                await self._chunk(table, chunk, result)
                self.moved(result.seen, max(total, result.seen))
        return result

    async def _chunks(self, rows: AsyncIterator[tuple[str, str]]) -> AsyncIterator[tuple[int, dict[str, str]]]:
        """Rows gathered by partition: what waits is at most one chunk for each."""
        waiting: dict[int, dict[str, str]] = {}
        async for key, subject in rows:
            partition = stream.partition_of(subject, self.partitions)
            chunk = waiting.setdefault(partition, {})
            chunk[key] = subject
            if len(chunk) >= CHUNK:
                yield partition, waiting.pop(partition)
        for item in waiting.items():
            yield item

    async def _chunk(self, table: StateTable, chunk: tuple[int, dict[str, str]], result: Result) -> None:
        partition, rows = chunk
        names, subjects = list(rows), sorted(set(rows.values()))
        async with self._transaction(partition):
            now = datetime.now(UTC)
            kept = await table.kept(self.conn, names)
            left = {key for key, row in kept.items() if row is None}
            rebuilt = await table.rebuilt(self.conn, [name for name in names if name not in left], subjects, now)
            differing = _differing(table, names, kept, rebuilt, now)
            if not self.check:
                if rows_now := [rebuilt[key] for key in differing if key in rebuilt]:
                    await table.save(self.conn, rows_now)
                if gone := [key for key in differing if key not in rebuilt]:
                    await table.delete(self.conn, gone)
        result.seen += len(names)
        result.left += len(left)
        result.differing += len(differing)
        for key, differences in differing.items():
            self.found(table.name, key, differences)
        if differing and not self.check:
            await self._drop([keys.model(partition, name) for key in differing for name in table.models(key)])

    @asynccontextmanager
    async def _transaction(self, partition: int) -> AsyncIterator[None]:
        if self.check:
            async with self.conn.transaction(isolation="repeatable_read", readonly=True):
                yield
            return
        async with self.conn.transaction():
            await hold(self.conn, partition)
            yield

    async def _drop(self, models: list[str]) -> None:
        if not models:
            return
        await self.client.delete(*models)
        self._dropped.append((time.monotonic() + AGAIN_SECONDS, models))
        while self._dropped and self._dropped[0][0] <= time.monotonic():
            await self._drop_again()

    async def _drop_again(self) -> None:
        await self.client.delete(*self._dropped.popleft()[1])


async def hold(conn: asyncpg.Connection, partition: int) -> None:
    """Keep the workers from a partition until the caller's transaction ends; their batches take fractions of a second.

    Raises Busy.
    """
    for _ in range(LOCK_TRIES):
        try:
            async with conn.transaction():
                await conn.execute(QUERIES["limit_wait"], f"{LOCK_SECONDS * 1000:.0f}ms")
                await conn.execute(QUERIES["wait_for_partition"], partition)
            return
        except asyncpg.LockNotAvailableError:
            continue
    raise Busy(f"partition {partition} was locked for {LOCK_SECONDS * LOCK_TRIES:g} s: see `python -m jobs status`")


def _differing(
    table: StateTable, names: Sequence[str], kept: Mapping[str, object], rebuilt: Mapping[str, object], now: datetime
) -> dict[str, Sequence[Difference]]:
    """The differences by key; a row that went away since it was listed has none."""
    found: dict[str, Sequence[Difference]] = {}
    for name in names:
        mine, theirs = kept.get(name), rebuilt.get(name)
        if (name in kept and mine is None) or (mine is None and theirs is None):
            continue
        if mine != theirs and (differences := table.differences(mine, theirs, now)):
            found[name] = differences
    return found


async def _pages(conn: asyncpg.Connection, table: StateTable) -> AsyncIterator[tuple[str, str]]:
    after = ""
    while rows := await table.page(conn, after, 4 * CHUNK):
        for row in rows:
            yield row
        after = rows[-1][0]
