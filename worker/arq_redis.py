"""arq's Redis: connections that outlive a restart of it, JSON instead of pickle; how jobs begin, how a worker ends."""

from __future__ import annotations

import asyncio
from typing import Any, Final, cast

import msgspec
from arq import Worker
from arq.connections import ArqRedis
from arq.constants import in_progress_key_prefix
from arq.utils import timestamp_ms
from redis import exceptions
from redis.asyncio import ConnectionPool
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, RedisError

from db import connect, keys, log

logger = log.get("schedule")

ANSWER_SECONDS: Final = 10.0
"""A connection that says nothing for so long is given up for a new one."""
STOP_SECONDS: Final = 5.0
"""How long the jobs under way may take to end when the process is stopped."""


def encoded(job: dict[str, Any]) -> bytes:
    """A job or its result as JSON: whoever can write to Redis could run code by arq's default, pickle."""
    return msgspec.json.encode(job, enc_hook=repr)


def decoded(job: bytes) -> dict[str, Any]:
    """A job as it was enqueued."""
    return cast("dict[str, Any]", msgspec.json.decode(job))


async def connected(url: str, queue: str = keys.ARQ_QUEUE) -> ArqRedis:
    """A pool for enqueueing, which answers. Without its retries a restart of Redis would end the worker process.

    redis-py reads the URL: arq's own reading knows no escapes in a password, and no certificates behind the `?`.
    """
    faults: list[type[Exception]] = [exceptions.ConnectionError, exceptions.TimeoutError, OSError, BusyLoadingError]
    pool = ConnectionPool.from_url(
        url,
        socket_timeout=ANSWER_SECONDS,
        socket_connect_timeout=5,
        retry=Retry(ExponentialBackoff(cap=1, base=0.05), 30, supported_errors=tuple(faults)),  # type: ignore[arg-type]
        retry_on_timeout=True,
        retry_on_error=faults,
    )
    connect.honest(pool)
    redis = ArqRedis(pool, job_serializer=encoded, job_deserializer=decoded, default_queue_name=queue)
    try:
        await redis.ping()
    except BaseException:
        await redis.aclose(close_connection_pool=True)
        raise
    return redis


class AtOnce(Worker):
    """arq's worker, but what one look at the queue finds is begun in one trip.

    arq begins jobs one after another, two trips and a write each: where every write waits for the disk, that was all it
    did.
    """

    async def start_jobs(self, job_ids: list[bytes]) -> None:
        """Begin as many of these as there is room for, if nobody else has."""
        waiting = [name for one in job_ids if (name := one.decode()) not in self.tasks]
        while waiting and (room := self.max_jobs - self.job_counter) > 0:
            names, waiting = waiting[:room], waiting[room:]
            await self._begin(names)

    async def _begin(self, names: list[str]) -> None:
        now, milliseconds = timestamp_ms(), int(self.in_progress_timeout_s * 1000)
        # Marked before it is looked up: who ends a job takes both away together, so that none is begun behind its end.
        async with self.pool.pipeline(transaction=False) as pipe:
            for name in names:
                pipe.set(in_progress_key_prefix + name, b"1", px=milliseconds, nx=True)
                pipe.zscore(self.queue_name, name)
            answers = await pipe.execute()
        ended: list[str] = []
        for name, marked, score in zip(names, answers[::2], answers[1::2], strict=True):
            if marked and score and score <= now:
                await self.sem.acquire()
                self.job_counter += 1
                task = self.tasks[name] = self.loop.create_task(self.run_job(name, int(score)))
                task.add_done_callback(lambda _: self._release_sem_dec_counter_on_complete())
            elif marked:
                ended.append(in_progress_key_prefix + name)
        if ended:
            await self.pool.delete(*ended)


async def stop(running: Worker) -> None:
    """Let the jobs under way end. arq itself would cancel them, unless it handled the signals, which are ours."""
    running.allow_pick_jobs = False
    if running.tasks:
        await asyncio.wait(running.tasks.values(), timeout=STOP_SECONDS)
    try:
        # Without Redis arq would go on trying for as long as its retries allow.
        async with asyncio.timeout(STOP_SECONDS):
            await running.close()
    except (RedisError, OSError) as error:
        logger.warning("arq did not end in order", error=str(error) or type(error).__name__)
