"""arq: one job per event."""

from collections.abc import Sequence
from typing import Any

import asyncpg
from arq import create_pool
from arq.connections import RedisSettings

from bench.peers import harness

CONFIG = harness.configure({"max_jobs": 100, "poll_delay": 0.01, "pool": 10, "enqueue_width": 32})
harness.use_uvloop()
REDIS = RedisSettings.from_dsn(CONFIG.redis_url)


# arq's command line logs two lines for each job unless told otherwise.
QUIET = {"version": 1, "disable_existing_loggers": False, "loggers": {"arq": {"level": "WARNING"}}}


async def connect(ctx: dict[str, Any]) -> None:
    ctx["pool"] = await harness.connect_pool(CONFIG)


async def disconnect(ctx: dict[str, Any]) -> None:
    await ctx["pool"].close()


async def store(ctx: dict[str, Any], event: harness.Event) -> None:
    pool: asyncpg.Pool = ctx["pool"]
    await pool.execute(harness.INSERT, *harness.row(event))


class WorkerSettings:
    """Read by arq's own command line."""

    functions = (store,)
    redis_settings = REDIS
    on_startup = connect
    on_shutdown = disconnect
    max_jobs = CONFIG.settings["max_jobs"]
    poll_delay = CONFIG.settings["poll_delay"]
    keep_result = 0
    log_results = False


async def enqueue(events: Sequence[harness.Event]) -> None:
    redis = await create_pool(REDIS)
    try:
        await harness.spread(events, CONFIG.settings["enqueue_width"], lambda event: redis.enqueue_job("store", event))
    finally:
        await redis.aclose()


WORKER = ["-m", "arq", "bench.peers.arq_peer.WorkerSettings", "--custom-log-dict", "bench.peers.arq_peer.QUIET"]

if __name__ == "__main__":
    harness.main(harness.Peer("arq", ("arq",), WORKER, enqueue), CONFIG)
