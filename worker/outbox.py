"""Deliveries as arq jobs: handed over behind the commit, and by a sweep; a job carries its delivery's id alone.

The row in Postgres is the truth. A job that is lost, comes twice or comes too early does no harm: the claim decides.
arq keeps the name of a job until it has ended, and drops with it whatever was enqueued under that name meanwhile: a
delivery that may go for another reason than before is a job of another name.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Sequence
from datetime import UTC
from typing import Any, Final, cast
from uuid import UUID

import asyncpg
from arq import Worker, func
from arq.connections import ArqRedis
from arq.constants import job_key_prefix
from arq.jobs import serialize_job
from arq.typing import WorkerCoroutine
from arq.utils import timestamp_ms
from redis.exceptions import RedisError

from db import connect, ending, keys, log
from db.settings import Settings
from jobs.effects import carriers, destinations
from jobs.effects.deliveries import Courier
from worker import arq_redis

logger = log.get("outbox")
_warn = log.Seldom(logger, seconds=60)

MOST: Final = 50_000
"""Ids that wait in memory, about 5 MB."""
CHUNK: Final = 500
JOBS: Final = 200
"""Deliveries of one process at a time; one that waits costs next to nothing."""
CONNECTIONS: Final = 8
POLL_SECONDS: Final = 0.1
EXPIRE_MS: Final = 3_600_000
PAUSE: Final = 1.0

Job = tuple[UUID, str]
"""A delivery, and why it may go: the two are the job's name."""
COMMITTED: Final = ""
FOLLOWS: Final = "follows"
"""The one before it in its order is over. Its first job may have found that one still there, and be about to end."""


class Outbox:
    """Takes the ids of fresh deliveries without ever waiting, and delivers: one in each worker process."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._jobs: list[Job] = []
        self._wake = asyncio.Event()

    def put(self, ids: Sequence[UUID], why: str = COMMITTED) -> None:
        """Hand these over soon. What finds no room, and what Redis does not take, the sweep finds in Postgres."""
        if len(self._jobs) + len(ids) > MOST:
            _warn("the outbox is full: deliveries are left to the sweep", number=len(ids))
            return
        self._jobs += [(one, why) for one in ids]
        self._wake.set()

    async def run(self) -> None:
        """Hand over and deliver, until cancelled; jobs under way have 5 s to end."""
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(ending.surely(self._always(self._hand_over)), name="outbox-out")
            tasks.create_task(self._always(self._deliver), name="outbox-jobs")

    async def _always(self, work: Any) -> None:
        """Begin anew whatever happens, unless cancelled."""
        while not ending.asked():
            try:
                await work()
            except (RedisError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
                _warn("deliveries wait for a server", error=str(error) or type(error).__name__)
            except Exception:
                logger.exception("deliveries met a fault of their own, starting again")
            await asyncio.sleep(PAUSE)

    async def _hand_over(self) -> None:
        async with _redis(self.settings) as redis:
            while True:
                await self._wake.wait()
                self._wake.clear()
                while self._jobs:
                    chunk, self._jobs = self._jobs[:CHUNK], self._jobs[CHUNK:]
                    await enqueue(redis, chunk)

    async def _deliver(self) -> None:
        settings = self.settings
        pool = await connect.pool(settings, "milepost-deliveries", CONNECTIONS)
        try:
            async with pool.acquire() as conn, conn.transaction():
                await destinations.sync(conn, settings)
            async with _redis(settings) as redis, carriers.opened(settings) as out:
                running = worker(settings, redis, self, Courier(pool, out, settings.webhook_timeout))
                try:
                    await ending.surely(running.main())
                finally:
                    await arq_redis.stop(running)
        finally:
            pool.terminate()


@contextlib.asynccontextmanager
async def _redis(settings: Settings) -> Any:
    redis = await arq_redis.connected(settings.redis_url, keys.ARQ_DELIVERIES)
    try:
        yield redis
    finally:
        with contextlib.suppress(RedisError, OSError):
            await redis.aclose(close_connection_pool=True)


async def enqueue(redis: ArqRedis, jobs: Sequence[Job]) -> int:
    """Make a job of each that is none yet, all in one trip: arq's own way takes three for each. How many were made."""
    now = timestamp_ms()
    async with redis.pipeline(transaction=False) as pipe:
        for one, why in jobs:
            name = f"{one}:{why}"
            job = serialize_job("deliver", (str(one),), {}, None, now, serializer=arq_redis.encoded)
            pipe.set(job_key_prefix + name, job, px=EXPIRE_MS, nx=True)
            pipe.zadd(keys.ARQ_DELIVERIES, {name: now}, nx=True)
        return sum((await pipe.execute())[1::2])


async def named(redis: ArqRedis, ids: Sequence[UUID]) -> list[Job]:
    """Deliveries that nobody has claimed yet, under the name of the job that they have, if they have one."""
    async with redis.pipeline(transaction=False) as pipe:
        for one in ids:
            pipe.exists(f"{job_key_prefix}{one}:{FOLLOWS}")
        return [(one, FOLLOWS if held else COMMITTED) for one, held in zip(ids, await pipe.execute(), strict=True)]


async def deliver(ctx: dict[Any, Any], one: str) -> None:
    """The job of one delivery. Whatever goes wrong, its row says when it is due again."""
    courier: Courier = ctx["courier"]
    try:
        async with asyncio.timeout(courier.lease):
            following = await courier.deliver(UUID(one))
    except (asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
        _warn("a delivery is left to the sweep", delivery=one, error=str(error) or type(error).__name__)
    except Exception:
        logger.exception("a delivery met a fault of its own; it is left to the sweep", delivery=one)
    else:
        if following:
            ctx["outbox"].put(following, FOLLOWS)


def worker(settings: Settings, redis: ArqRedis, outbox: Outbox, courier: Courier) -> Worker:
    """arq's worker of the deliveries. Tries are counted in Postgres alone."""
    seconds = courier.lease + 2
    return arq_redis.AtOnce(
        functions=[func(cast("WorkerCoroutine", deliver), name="deliver", keep_result=0, timeout=seconds)],
        redis_pool=redis,
        queue_name=keys.ARQ_DELIVERIES,
        job_serializer=arq_redis.encoded,
        job_deserializer=arq_redis.decoded,
        handle_signals=False,
        job_timeout=seconds,
        max_jobs=JOBS,
        max_tries=1_000_000,
        keep_result=0,
        poll_delay=POLL_SECONDS,
        health_check_key=f"{keys.ARQ_DELIVERIES}:health",
        timezone=UTC,
        ctx={"courier": courier, "outbox": outbox, "settings": settings},
    )
