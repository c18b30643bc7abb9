"""SAQ: one job per event, on Redis."""

from collections.abc import Sequence
from typing import Any

import asyncpg
import orjson
from redis.asyncio import Redis
from saq import Queue
from saq.queue.redis import RedisQueue

from bench.peers import harness

CONFIG = harness.configure({"concurrency": 100, "pool": 10, "enqueue_width": 32, "workers": 1})
harness.use_uvloop()


def queue() -> Queue:
    width = CONFIG.settings["enqueue_width"]
    # Every idle slot of the worker blocks on a connection of its own; redis-py stops at 100 unless told otherwise.
    connections = 2 * (CONFIG.settings["concurrency"] + width)
    redis = Redis.from_url(CONFIG.redis_url, max_connections=connections)
    return RedisQueue(redis, dump=orjson.dumps, load=orjson.loads, max_concurrent_ops=width)


async def connect(ctx: dict[str, Any]) -> None:
    ctx["pool"] = await harness.connect_pool(CONFIG)


async def disconnect(ctx: dict[str, Any]) -> None:
    await ctx["pool"].close()


async def store(ctx: dict[str, Any], *, event: harness.Event) -> None:
    pool: asyncpg.Pool = ctx["pool"]
    await pool.execute(harness.INSERT, *harness.row(event))


def worker_settings() -> dict[str, Any]:
    """Called by SAQ's own command line."""
    return {
        "queue": queue(),
        "functions": [store],
        "concurrency": CONFIG.settings["concurrency"],
        "startup": connect,
        "shutdown": disconnect,
    }


async def enqueue(events: Sequence[harness.Event]) -> None:
    producer = queue()
    await producer.connect()
    try:
        # ttl=-1: a finished job leaves nothing behind, as for the peers without a result store.
        await harness.spread(
            events, CONFIG.settings["enqueue_width"], lambda event: producer.enqueue("store", event=event, ttl=-1)
        )
    finally:
        await producer.disconnect()


WORKER = ["-m", "saq", "bench.peers.saq_peer.worker_settings", "--workers", str(CONFIG.settings["workers"]), "--quiet"]

if __name__ == "__main__":
    harness.main(harness.Peer("saq", ("saq",), WORKER, enqueue), CONFIG)
