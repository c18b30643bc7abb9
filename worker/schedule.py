"""arq: the scheduled jobs of a worker process, one table of them.

Every job is idempotent and looks at what there is to do, not at when it last ran: arq neither catches up a missed tick
nor finishes a killed one, so the next tick does.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Final, cast

import asyncpg
import msgspec
from arq import Worker, cron
from arq.connections import ArqRedis
from arq.cron import CronJob, next_cron
from arq.typing import WorkerCoroutine
from redis.asyncio import Redis
from redis.exceptions import RedisError

from db import days, ending, keys, log, models, sql, stream
from db.settings import Settings
from jobs.courses.lookups import Lookups
from jobs.tracking import session
from jobs.tracking.family import QUERIES as TRACKING
from worker import arq_redis, privacy_jobs, usage_jobs
from worker.context import Context
from worker.course_jobs import look_up, recompute_courses, stop_asking
from worker.onboarding_jobs import count_onboarding
from worker.privacy_jobs import erase_people
from worker.rollup_jobs import roll_up, tidy_rollups
from worker.sweeps import count_deliveries, drop_effects, settle_deliveries, sweep_deliveries
from worker.usage_jobs import close_periods, compare_counters, drop_reservations, expire_reservations, fold_usage

logger = log.get("schedule")
PIPE: Final = sql.read("pipe")

SWEEP_ROWS: Final = 5000
DEAD_AFTER: Final = 60.0
"""Seconds after which the heartbeat of a worker is forgotten."""


async def make_days(ctx: Context) -> str:
    """The fact tables' day partitions, from yesterday to two days ahead."""
    async with ctx["pool"].acquire() as conn:
        await days.make(conn)
    return "made"


async def drop_days(ctx: Context) -> str:
    """Retention: days older than RETENTION_DAYS are dropped whole."""
    before = datetime.now(UTC).date() - timedelta(days=ctx["settings"].retention_days)
    async with ctx["pool"].acquire() as conn, conn.transaction():
        await conn.execute("SET LOCAL lock_timeout = '3s'")
        dropped = await conn.fetch(PIPE["drop_days"], before)
    return f"{len(dropped)} dropped"


async def drop_dead_letters(ctx: Context) -> str:
    """Retention: letters that were retried or discarded, RETENTION_DAYS later."""
    before = datetime.now(UTC) - timedelta(days=ctx["settings"].retention_days)
    return f"{await ctx['pool'].fetchval(PIPE['drop_dead_letters'], before)} dropped"


async def end_idle_sessions(ctx: Context) -> str:
    """30 idle minutes end a session."""
    before, ended, number = datetime.now(UTC) - session.IDLE, 0, SWEEP_ROWS
    while number == SWEEP_ROWS:
        async with ctx["pool"].acquire() as conn, conn.transaction():
            rows = await conn.fetch(TRACKING["end_idle_sessions"], before, SWEEP_ROWS)
            # Before the commit: dying behind it would leave old models.
            await _drop_models(ctx, rows)
        number = len(rows)
        ended += number
    return f"{ended} ended"


async def _drop_models(ctx: Context, rows: Sequence[asyncpg.Record]) -> None:
    names: dict[int, list[str]] = defaultdict(list)
    for row in rows:
        partition = stream.partition_of(row["subject"], ctx["settings"].partitions)
        names[partition].append(f"session:{row['session_id']}")
    for partition, own in names.items():
        await models.drop(ctx["log"], partition, own)


async def forget_workers(ctx: Context) -> str:
    """Heartbeats of processes that are gone."""
    beats: dict[str, bytes] = await ctx["log"].hgetall(keys.WORKERS)  # type: ignore[misc]
    gone = [name for name, beat in beats.items() if msgspec.json.decode(beat)["at"] < time.time() - DEAD_AFTER]
    if gone:
        await ctx["log"].hdel(keys.WORKERS, *gone)  # type: ignore[misc]
    return f"{len(gone)} forgotten"


Job = Callable[[Context], Awaitable[str]]

SCHEDULES: Final[tuple[tuple[Job, dict[str, Any]], ...]] = (
    (make_days, {"minute": {7}, "second": 0, "run_at_startup": True}),
    (drop_days, {"hour": {3}, "minute": {17}, "second": 0}),
    (drop_dead_letters, {"hour": {3}, "minute": {47}, "second": 0}),
    (end_idle_sessions, {"second": {20}}),
    (forget_workers, {"second": {40}}),
    (sweep_deliveries, {"second": set(range(0, 60, 2))}),
    (count_deliveries, {"second": set(range(5, 60, 10))}),
    (settle_deliveries, {"second": {50}}),
    (drop_effects, {"minute": {37}, "second": 0}),
    (roll_up, {"second": set(range(0, 60, 2))}),
    (tidy_rollups, {"second": {25}}),
    (count_onboarding, {"second": {15}}),
    (recompute_courses, {"second": set(range(3, 60, 5))}),
    (look_up, {"second": set(range(1, 60, 2))}),
    (expire_reservations, {"second": {10, 40}}),
    (close_periods, {"minute": set(range(2, 60, 5)), "second": 30}),
    (fold_usage, {"second": set(range(6, 60, 10))}),
    (drop_reservations, {"hour": {3}, "minute": {27}, "second": 0}),
    (erase_people, {"second": set(range(4, 60, 5)), "timeout": privacy_jobs.ERASE_SECONDS}),
    (compare_counters, {"hour": {4}, "minute": {7}, "second": 0, "timeout": usage_jobs.COMPARE_SECONDS}),
)
"""Every scheduled job and its cron times, in UTC; `timeout` in seconds, 60 unless said otherwise."""
_OPTIONS: Final = ("timeout", "run_at_startup")


def due(times: Mapping[str, Any], now: datetime) -> float:
    """When a job with these times runs next, unix seconds."""
    own = {name: value for name, value in times.items() if name not in _OPTIONS}
    return next_cron(now, **own).timestamp()


async def announce(client: Redis) -> None:
    """Say when every job runs next; jobs that this version does not have are forgotten."""
    now = datetime.now(UTC)
    told = {job.__name__: str(due(times, now)) for job, times in SCHEDULES}
    for key in (keys.SCHEDULES, keys.SCHEDULES_DUE):
        names: list[bytes] = await client.hkeys(key)  # type: ignore[misc]
        if gone := [name.decode() for name in names if name.decode() not in told]:
            await client.hdel(key, *gone)  # type: ignore[misc]
    await client.hset(keys.SCHEDULES_DUE, mapping=told)  # type: ignore[misc]


def _told(job: Job, times: Mapping[str, Any]) -> WorkerCoroutine:
    """The job, with a line and a record of how it went; its failure is the next tick's work, not arq's."""

    async def run(ctx: dict[Any, Any]) -> None:
        name, started = job.__name__, time.time()
        try:
            result, failed = await job(ctx), False  # type: ignore[arg-type]
        except (asyncpg.PostgresError, asyncpg.InterfaceError, RedisError, OSError) as error:
            result, failed = f"{type(error).__name__}: {error}", True
        except Exception as error:
            logger.exception("a schedule met a fault of its own", job=name)
            result, failed = f"{type(error).__name__}: {error}", True
        seconds = round(time.time() - started, 3)
        (logger.warning if failed else logger.debug)("schedule ran", job=name, result=result, seconds=seconds)
        record = {"at": started, "seconds": seconds, "result": result, "failed": failed}
        await ctx["log"].hset(keys.SCHEDULES, name, msgspec.json.encode(record))
        await ctx["log"].hset(keys.SCHEDULES_DUE, name, str(due(times, datetime.now(UTC))))

    run.__qualname__ = job.__name__
    return cast("WorkerCoroutine", run)


def crons() -> list[CronJob]:
    """The table as arq takes it: every name pinned, no result kept, one run for all workers."""
    return [
        cron(
            _told(job, times),
            name=f"cron:{job.__name__}",
            max_tries=3,
            keep_result=0,
            unique=True,
            **{"timeout": 60, **times},
        )
        for job, times in SCHEDULES
    ]


def worker(settings: Settings, redis: ArqRedis, pool: asyncpg.Pool, client: Redis) -> Worker:
    """arq's worker. By keyword, because arq ignores what a settings class inherits."""
    return Worker(
        cron_jobs=crons(),
        redis_pool=redis,
        queue_name=keys.ARQ_QUEUE,
        job_serializer=arq_redis.encoded,
        job_deserializer=arq_redis.decoded,
        handle_signals=False,
        job_timeout=60,
        max_tries=3,
        keep_result=0,
        health_check_key=f"{keys.ARQ_QUEUE}:health",
        timezone=UTC,
        on_shutdown=stop_asking,
        ctx={
            "pool": pool,
            "settings": settings,
            "log": client,
            "lookups": Lookups(settings.nats_url, settings.lookup_timeout) if settings.nats_url else None,
        },
    )


async def run(settings: Settings, pool: asyncpg.Pool, client: Redis) -> None:
    """Run arq; when its Redis goes away for longer than its own retries, begin anew."""
    while not ending.asked():
        try:
            await _serve(settings, pool, client)
        except (RedisError, OSError) as error:
            logger.warning("arq stopped, starting it again", error=str(error) or type(error).__name__)
        except Exception:
            logger.exception("arq met a fault of its own, starting it again")
        await asyncio.sleep(1)


async def _serve(settings: Settings, pool: asyncpg.Pool, client: Redis) -> None:
    redis = await arq_redis.connected(settings.redis_url)
    try:
        running = worker(settings, redis, pool, client)
        await announce(client)
        try:
            await ending.surely(running.main())
        finally:
            await arq_redis.stop(running)
    finally:
        with contextlib.suppress(RedisError, OSError):
            await redis.aclose(close_connection_pool=True)
