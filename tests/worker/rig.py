"""A log with actions in it, and the means to apply them as a worker does; then what must be true afterwards."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import msgspec
from redis.asyncio import Redis

from db import connect, ending, keys, partitions, stream
from db.connect import Server
from db.settings import Settings
from db.stream import Position
from jobs.action import Action
from jobs.families import FAMILIES
from jobs.tracking import session as fold
from jobs.tracking.session import Session
from jobs.tracking.states import encode
from tests.jobs import oracle
from worker import batch, drain
from worker.applied import Applied
from worker.batch import Cursor
from worker.drain import Drain

PATIENCE = 60.0
_encode = msgspec.msgpack.Encoder().encode


async def until(holds: Callable[[], Awaitable[bool]], what: str) -> None:
    """Poll with a deadline."""
    async with asyncio.timeout(PATIENCE):
        while not await holds():  # noqa: ASYNC110 what is waited for is on a server
            await asyncio.sleep(0.02)
    assert what


class Rig:
    """One worker's connections on a database and a Redis of the test's own."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, client: Redis, server: Server) -> None:
        self.settings, self.pool, self.client, self.server = settings, pool, client, server
        self.cursors = [Cursor(number, count=64) for number in range(settings.partitions)]

    def drain(self) -> Drain:
        """A drain as a worker process has it."""
        return Drain(self.settings, self.pool, self.client, self.server)

    def partition(self, subject: str) -> int:
        """Where a subject's actions go."""
        return stream.partition_of(subject, self.settings.partitions)

    async def put(self, actions: Iterable[Action], size: int = 1) -> list[Position]:
        """Append, `size` actions to an entry; the position of each entry."""
        groups: dict[int, list[bytes]] = {}
        for action in actions:
            groups.setdefault(self.partition(action.subject), []).append(_encode(action))
        return [
            await self.put_bytes(partition, stream.pack(records[begin : begin + size]))
            for partition, records in groups.items()
            for begin in range(0, len(records), size)
        ]

    async def put_bytes(self, partition: int, body: bytes, entry_id: str = "*") -> Position:
        """Append an entry as it stands."""
        return Position.parse(await self.client.xadd(keys.actions(partition), {"b": body}, id=entry_id))

    async def apply(self, partition: int, *, cursor: Cursor | None = None) -> Applied | None:
        """One batch up to step 7: nothing is published."""
        async with self.pool.acquire() as conn:
            return await batch.run(conn, self.client, self.server, cursor or self.cursors[partition], 7)

    async def finish(self, worker: Drain | None = None) -> None:
        """Run a drain until nothing waits any more."""
        task = asyncio.create_task((worker or self.drain()).run())
        try:
            await until(lambda: self._is_done(task), "all is applied and trimmed")
        finally:
            await ending.ended(task)

    async def _is_done(self, task: asyncio.Task[None]) -> bool:
        if task.done():
            await task
        return await self.is_done()

    async def is_done(self) -> bool:
        """Whether every stream is empty and every position as Redis knows it that of Postgres."""
        numbers = range(self.settings.partitions)
        if any([await self.client.xlen(keys.actions(number)) for number in numbers]):
            return False
        held = await stream.applied(self.client, numbers)
        return held == await self.positions()

    async def positions(self) -> list[Position]:
        """As Postgres has them."""
        rows = await self.pool.fetch("SELECT position_ms, position_seq FROM partitions ORDER BY id")
        return [Position(*row) for row in rows]

    async def fetch(self, query: str, *values: object) -> list[Any]:
        """The first column."""
        return [row[0] for row in await self.pool.fetch(query, *values)]

    async def facts(self) -> dict[str, list[tuple[str, str]]]:
        """(subject, id) of every fact, by table."""
        return {
            facts.table: sorted(map(tuple, await self.pool.fetch(f"SELECT subject, id FROM {facts.table}")))
            for family in FAMILIES
            for facts in family.facts
        }

    async def dead(self) -> list[tuple[str, str]]:
        """(id, code) of the dead letters."""
        return sorted(map(tuple, await self.pool.fetch("SELECT action_id, code FROM dead_letters")))

    async def sessions(self) -> oracle.Rows:
        """The rows of user_sessions."""
        rows = await self.pool.fetch(f"SELECT {', '.join(fold.COLUMNS)} FROM user_sessions")
        return {row["session_id"]: dict(row) for row in rows}

    async def model(self, session_id: str, subject: str | None = None) -> bytes | None:
        """A session's read model in Redis."""
        name = keys.model(self.partition(subject or f"session:{session_id}"), f"session:{session_id}")
        found: bytes | None = await self.client.get(name)
        return found

    async def check(self, actions: Sequence[Action]) -> None:
        """Every fact once, states as reckoned anew, no old cache, nothing left in the log."""
        expected: dict[str, list[tuple[str, str]]] = {facts.table: [] for family in FAMILIES for facts in family.facts}
        for action in oracle.once(actions):
            expected[oracle.table(action)].append((action.subject, action.id))
        assert await self.facts() == {table: sorted(rows) for table, rows in expected.items()}
        assert await self.sessions() == oracle.sessions(actions)
        await self.check_models()
        assert await self.is_done()

    async def check_models(self) -> None:
        """Each model is what Postgres has, or absent."""
        for session_id, row in (await self.sessions()).items():
            held = await self.model(session_id, row["subject"])
            assert not held or held == encode(Session(**row)), session_id


@asynccontextmanager
async def rig(settings: Settings) -> AsyncIterator[Rig]:
    """As `worker.process` connects."""
    server = connect.Server()
    client = connect.redis(settings.log_url, connections=64, server=server)
    pool = await drain.pool(settings)
    try:
        await partitions.agree(pool, client, settings.partitions)
        yield Rig(settings, pool, client, server)
    finally:
        pool.terminate()
        await client.aclose()
