"""arq's Redis: connections that outlive a restart of it, JSON instead of pickle, and the end of a worker."""

from __future__ import annotations

import asyncio
from typing import Final

import msgspec
from arq import Worker
from arq.connections import ArqRedis, RedisSettings, create_pool
from redis import exceptions
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialBackoff
from redis.exceptions import BusyLoadingError, RedisError

from db import keys, log

logger = log.get("schedule")

STOP_SECONDS: Final = 5.0
"""How long the jobs under way may take to end when the process is stopped."""


def redis_settings(url: str) -> RedisSettings:
    """arq's connection: without these retries a restart of Redis would end the worker process."""
    settings = RedisSettings.from_dsn(url)
    faults: list[type[Exception]] = [exceptions.ConnectionError, exceptions.TimeoutError, OSError, BusyLoadingError]
    settings.retry = Retry(ExponentialBackoff(cap=1, base=0.05), 30, supported_errors=tuple(faults))  # type: ignore[arg-type]
    settings.retry_on_timeout = True
    settings.retry_on_error = faults
    settings.conn_timeout = 5
    return settings


async def connected(url: str, queue: str = keys.ARQ_QUEUE) -> ArqRedis:
    """A pool for enqueueing: JSON, since whoever can write to Redis could run code by arq's default, pickle."""
    return await create_pool(
        redis_settings(url),
        job_serializer=msgspec.json.encode,
        job_deserializer=msgspec.json.decode,
        default_queue_name=queue,
    )


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
