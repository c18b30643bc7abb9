"""The row about reading a session from the cache."""

from __future__ import annotations

from contextlib import ExitStack

from redis.asyncio import Redis

from bench import load, rows, stage
from bench.rows import ROUNDS, Row
from bench.stage import Stage
from db import keys, stream


async def cached_read(st: Stage) -> Row:
    """GET /v1/sessions/{id} from Redis against a bare handler with one Redis GET of the same bytes."""
    row = Row("cached read of a session", "bare aiohttp handler with one Redis GET", ">= 0.9, p99 < 10 ms")
    with ExitStack() as stack:
        (api, _), (bare, _) = rows.servers(st, stack)
        with stage.process(st, "-m", "worker"):
            await stage.draining(st)
            posts = rows.posts(st, 200, "Prefer: wait=5\r\n")
            rows.demand(await load.drive(api, posts, connections=8, seconds=20, count=len(posts)), 200)
        client = Redis.from_url(st.urls.redis_url)
        count = rows.settings(st).partitions
        for number in range(200):
            name = f"session-{number:08d}"
            model = keys.model(stream.partition_of("session:" + name, count), "session:" + name)
            await client.set(name, await client.get(model) or b"")
        await client.aclose()
        requests = [load.request("GET", f"/v1/sessions/session-{number:08d}", st.key) for number in range(200)]
        ours, theirs, p99s = [], [], []
        for _ in range(ROUNDS):
            theirs.append((await load.drive(bare, requests)).rate)
            us = await load.drive(api, requests)
            rows.demand(us, 200)
            ours.append(us.rate)
            half = await load.drive(api, requests, rate=us.rate / 2)
            p99s.append(half.quantile(0.99))
        await rows.forget(st)
    return rows.reads(row, ours, theirs, p99s)
