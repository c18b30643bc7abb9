"""arq: the scheduled jobs of a worker process, one table of them.

Every job is idempotent and looks at what there is to do, not at when it last ran: arq neither catches up a missed tick
nor finishes a killed one, so the next tick does.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final, TypedDict

import asyncpg
import msgspec
from arq import Worker, cron
from arq.connections import ArqRedis, RedisSettings, create_pool
from arq.cron import CronJob
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, ConnectionError, RedisError, TimeoutError

from db import keys, log, sql
from db.settings import Settings
from jobs import session
from jobs.tracking import QUERIES as TRACKING
from worker import batch

logger = log.get("schedule")
PIPE: Final = sql.read("pipe")

SWEEP_ROWS: Final = 5000
DEAD_AFTER: Final = 60.0
"""Seconds after which the heartbeat of a worker is forgotten."""


class Context(TypedDict):
    """What every job gets."""

    pool: asyncpg.Pool
    """connections of the drain's pool"""
    settings: Settings
    """this process's settings"""
    log: Redis
    """the Redis of the log"""
    redis: ArqRedis
    """arq's own client, set by arq"""


async def make_days(ctx: Context) -> str:
    """The fact tables' day partitions, a week ahead."""
    async with ctx["pool"].acquire() as conn:
        await batch.make_days(conn)
    return "made"


async def drop_days(ctx: Context) -> str:
    """Retention: days older than RETENTION_DAYS are dropped whole."""
    before = datetime.now(UTC).date() - timedelta(days=ctx["settings"].retention_days)
    async with ctx["pool"].acquire() as conn:
        await conn.execute("SET lock_timeout = '3s'")
        try:
            dropped = await conn.fetch(PIPE["drop_days"], before)
        finally:
            await conn.execute("RESET lock_timeout")
    return f"{len(dropped)} dropped"


async def end_idle_sessions(ctx: Context) -> str:
    """30 idle minutes end a session."""
    ended, number = 0, SWEEP_ROWS
    while number == SWEEP_ROWS:
        done = await ctx["pool"].execute(TRACKING["end_idle_sessions"], datetime.now(UTC) - session.IDLE, SWEEP_ROWS)
        number = int(done.split()[-1])
        ended += number
    return f"{ended} ended"


async def forget_workers(ctx: Context) -> str:
    """Heartbeats of processes that are gone."""
    beats = await ctx["log"].hgetall(keys.WORKERS)
    gone = [name for name, beat in beats.items() if msgspec.json.decode(beat)["at"] < time.time() - DEAD_AFTER]
    if gone:
        await ctx["log"].hdel(keys.WORKERS, *gone)
    return f"{len(gone)} forgotten"


Job = Callable[[Context], Awaitable[str]]

SCHEDULES: Final[tuple[tuple[Job, dict[str, Any]], ...]] = (
    (make_days, {"minute": {7}, "second": 0, "run_at_startup": True}),
    (drop_days, {"hour": {3}, "minute": {17}, "second": 0}),
    (end_idle_sessions, {"second": {20}}),
    (forget_workers, {"second": {40}}),
)
"""Every scheduled job and its cron times, in UTC."""


def _told(job: Job) -> Callable[[dict[Any, Any]], Awaitable[None]]:
    """The job, with a line and a record of how it went; its failure is the next tick's work, not arq's."""

    async def run(ctx: dict[Any, Any]) -> None:
        name, started = job.__name__, time.time()
        try:
            result, failed = await job(ctx), False  # type: ignore[arg-type]
        except (asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError) as error:
            result, failed = f"{type(error).__name__}: {error}", True
        seconds = round(time.time() - started, 3)
        (logger.warning if failed else logger.debug)("schedule ran", job=name, result=result, seconds=seconds)
        record = {"at": started, "seconds": seconds, "result": result, "failed": failed}
        await ctx["log"].hset(keys.SCHEDULES, name, msgspec.json.encode(record))

    run.__qualname__ = job.__name__
    return run


def crons() -> list[CronJob]:
    """The table as arq takes it: every name pinned, no result kept, one run for all workers."""
    return [
        cron(_told(job), name=f"cron:{job.__name__}", timeout=60, max_tries=3, keep_result=0, unique=True, **times)
        for job, times in SCHEDULES
    ]


def redis_settings(url: str) -> RedisSettings:
    """arq's connection: without these retries a restart of Redis would end the worker process."""
    settings = RedisSettings.from_dsn(url)
    faults = [ConnectionError, TimeoutError, OSError, asyncio.TimeoutError, BusyLoadingError]
    settings.retry = Retry(ExponentialBackoff(cap=1, base=0.05), 30, supported_errors=tuple(faults))
    settings.retry_on_timeout = True
    settings.retry_on_error = faults
    settings.conn_timeout = 5
    return settings


async def connected(url: str) -> ArqRedis:
    """A pool for enqueueing: JSON, since whoever can write to Redis could run code by arq's default, pickle."""
    return await create_pool(
        redis_settings(url),
        job_serializer=msgspec.json.encode,
        job_deserializer=msgspec.json.decode,
        default_queue_name=keys.ARQ_QUEUE,
    )


def worker(settings: Settings, redis: ArqRedis, pool: asyncpg.Pool, client: Redis) -> Worker:
    """arq's worker. By keyword, because arq ignores what a settings class inherits."""
    return Worker(
        cron_jobs=crons(),
        redis_pool=redis,
        queue_name=keys.ARQ_QUEUE,
        job_serializer=msgspec.json.encode,
        job_deserializer=msgspec.json.decode,
        handle_signals=False,
        job_completion_wait=5,
        job_timeout=60,
        max_tries=3,
        keep_result=0,
        health_check_key=f"{keys.ARQ_QUEUE}:health",
        timezone=UTC,
        ctx={"pool": pool, "settings": settings, "log": client},
    )


async def run(settings: Settings, pool: asyncpg.Pool, client: Redis) -> None:
    """Run arq; when its Redis goes away for longer than its own retries, begin anew."""
    while True:
        try:
            redis = await connected(settings.redis_url)
            running = worker(settings, redis, pool, client)
            try:
                await running.main()
            finally:
                await running.close()
        except (RedisError, OSError) as error:
            logger.warning("arq stopped, starting it again", error=str(error) or type(error).__name__)
            await asyncio.sleep(1)
