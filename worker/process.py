"""One worker process: the drain, arq, and the heartbeat, each going on when another one's server is away."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import socket
import sys
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import asyncpg
import msgspec
import prometheus_client
from redis.asyncio import Redis
from redis.exceptions import RedisError

from db import connect, ending, keys, lanes, log, partitions, promises
from db.settings import Settings, stop
from worker import drain, heartbeat, schedule
from worker.drain import Drain
from worker.follow_ups import FollowUps
from worker.outbox import Outbox

logger = log.get("worker")

LEAVE_SECONDS = 1.0
"""For the last word to a Redis that does not answer: who stops a process waits 10 s before they kill it."""
T = TypeVar("T")


async def run(settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; a batch under way is finished or rolled back, never half done."""
    if not settings.database_url or not settings.redis_url:
        stop("worker: set MILEPOST_DATABASE_URL and MILEPOST_REDIS_URL, or run `make up`, which starts both")
    if settings.metrics_port:
        prometheus_client.start_http_server(settings.metrics_port)
    server = connect.Server()
    client = connect.redis(settings.log_url, connections=4 * settings.partitions + 8, server=server)
    pool = await drain.pool(settings)
    journal = lanes.log(client, settings.partitions, sys.maxsize)
    follow_ups = FollowUps(pool, journal)
    outbox = Outbox(settings)
    draining = Drain(settings, pool, client, server, follow_ups, outbox)
    if main := asyncio.current_task():
        for name in (signal.SIGTERM, signal.SIGINT):
            asyncio.get_running_loop().add_signal_handler(name, main.cancel)
    # A batch makes rows by the ten thousand and no cycles: collecting after every 700 objects costs a fifth of it.
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    try:
        journal.waits = await _ready(settings, pool, client)
        journal.refusal = None
        journal.start()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(draining.run(), name="drain")
            tasks.create_task(schedule.run(settings, pool, client), name="arq")
            tasks.create_task(ending.surely(follow_ups.run()), name="follow-ups")
            tasks.create_task(outbox.run(), name="outbox")
            tasks.create_task(ending.surely(_beat(client, draining)), name="heartbeat")
    except asyncio.CancelledError:
        await _leave(client)
        logger.info("stopped")
    finally:
        await journal.stop()
        pool.terminate()
        await client.aclose()


async def _ready(settings: Settings, pool: asyncpg.Pool, client: Redis) -> list[tuple[str | int, ...]]:
    """Wait for both servers; refuse what can never be right: an evicting Redis, another count of partitions.

    The commands that make an append as durable as promised.
    """
    try:
        waits = await _until("Redis", lambda: promises.demand(client, settings.durability))
        await _until("Postgres", lambda: partitions.agree(pool, client, settings.partitions))
    except (promises.Misconfigured, partitions.Mismatch) as error:
        stop(f"worker: {error}")
    logger.info("draining", partitions=settings.partitions, connections=settings.drain_connections)
    return waits


async def _until(what: str, attempt: Callable[[], Coroutine[Any, Any, T]]) -> T:
    pause = 0.1
    while True:
        try:
            return await ending.surely(attempt())
        except (RedisError, asyncpg.PostgresError, asyncpg.InterfaceError, OSError, TimeoutError) as error:
            logger.warning("waiting for a server", server=what, error=str(error) or type(error).__name__)
            await asyncio.sleep(pause)
            pause = min(2.0, pause * 2)


async def _beat(client: Redis, draining: Drain) -> None:
    """arq keeps one health key for a whole queue, which hides a dead worker: each process says itself that it lives."""
    beats = heartbeat.Beats(time.time())
    while True:
        beat = beats.tell(time.time(), draining.moved, draining.failure)
        try:
            await client.hset(keys.WORKERS, _name(), msgspec.json.encode(beat).decode())  # type: ignore[misc]
        except (RedisError, OSError) as error:
            logger.warning("no heartbeat", error=str(error))
        await asyncio.sleep(heartbeat.INTERVAL)


async def _leave(client: Redis) -> None:
    """Who stops when told is not missed: only a process that died is called gone."""
    try:
        async with asyncio.timeout(LEAVE_SECONDS):
            await client.hdel(keys.WORKERS, _name())  # type: ignore[misc]
    except (RedisError, OSError) as error:
        logger.warning("the heartbeat stays for a minute", error=str(error) or type(error).__name__)


def _name() -> str:
    return f"{socket.gethostname()}:{os.getpid()}"
