"""What delivers, as a worker process runs it, on a database and a Redis of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, cast
from uuid import UUID

import asyncpg
from redis.asyncio import Redis

from db import connect, ending, keys
from db.settings import Settings
from jobs.family import Effect
from tests.worker import receiver
from tests.worker.rig import until
from worker import arq_redis, sweeps
from worker.context import Context
from worker.outbox import Outbox


class Office:
    """An outbox that delivers, and the means to look at it."""

    def __init__(self, settings: Settings, pool: asyncpg.Pool, ctx: Context) -> None:
        self.settings, self.pool, self.ctx = settings, pool, ctx
        self.outbox = Outbox(settings)
        self.task: asyncio.Task[None] | None = None

    def open(self) -> None:
        """Begin to deliver."""
        self.task = asyncio.create_task(self.outbox.run())

    async def close(self) -> None:
        """End as a process does at SIGTERM."""
        if self.task is not None:
            await ending.ended(self.task)
            self.task = None

    async def put(self, effects: Iterable[Effect]) -> list[UUID]:
        """Commit, and hand over as the drain does."""
        ids = await receiver.commit(self.pool, effects)
        self.outbox.put(ids)
        return ids

    async def synced(self) -> None:
        """Until the destinations of the settings are in the table."""

        async def kept() -> bool:
            return bool(await self.pool.fetchval("SELECT count(*) FROM destinations WHERE sort <> 'webhook'"))

        await until(kept, "kept")

    async def sweep(self) -> str:
        """One tick of the sweep."""
        return await sweeps.sweep_deliveries(self.ctx)

    async def hurry(self) -> str:
        """As if the time of every next try had come; what is under way is left alone."""
        await self.pool.execute(
            "UPDATE deliveries SET due_at = now() - interval '1 s', enqueue_at = now() - interval '1 s' "
            "WHERE status = 'pending' AND (due_at <= now() OR enqueue_at = due_at)"
        )
        await self.pool.execute("UPDATE destinations SET paused_until = now() - interval '1 s' WHERE failures > 0")
        return await self.sweep()

    async def statuses(self) -> dict[str, int]:
        """How many deliveries are of each status."""
        return dict(await receiver.statuses(self.pool))

    async def stands(self, **wanted: int) -> None:
        """Until the deliveries stand so."""
        await until(lambda: self._is(wanted), f"{wanted}")

    async def _is(self, wanted: dict[str, int]) -> bool:
        return await self.statuses() == wanted

    async def tried(self, number: int) -> None:
        """Until so many attempts are written."""

        async def enough() -> bool:
            return len(await receiver.attempts(self.pool)) >= number

        await until(enough, f"{number} attempts")


def soon(holds: Callable[[], bool]) -> Awaitable[None]:
    """Until something in this process holds."""

    async def look() -> bool:
        return holds()

    return until(look, "it holds")


@asynccontextmanager
async def office(settings: Settings, *, closed: bool = False, **changes: Any) -> AsyncIterator[Office]:
    """An office that may send to this machine."""
    own = settings.model_copy(update={"webhook_allow": ("127.0.0.0/8", "::1/128")} | changes)
    async with AsyncExitStack() as stack:
        pool = await connect.pool(own, "test-office", 4)
        stack.callback(pool.terminate)
        client: Redis = connect.redis(own.log_url)
        stack.push_async_callback(client.aclose)
        redis = await arq_redis.connected(own.redis_url, keys.ARQ_DELIVERIES)
        stack.push_async_callback(redis.aclose, close_connection_pool=True)
        made = Office(own, pool, cast("Context", {"pool": pool, "settings": own, "log": client, "redis": redis}))
        stack.push_async_callback(made.close)
        if not closed:
            made.open()
        yield made
