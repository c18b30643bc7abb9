"""The rows about taking actions in: single POSTs and batches of 100, acknowledged after the fsync."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections.abc import Sequence
from contextlib import ExitStack

import msgspec
from redis.asyncio import Redis

from bench import load, rows, stage
from bench.rows import ROUNDS, Row
from bench.stage import Stage


async def single(st: Stage) -> Row:
    """Single-action POST, validated, authenticated, acknowledged after the fsync."""
    row = Row("single-action POST", "bare aiohttp handler reading the same body", ">= 0.75")
    requests = rows.posts(st)
    ours, theirs, cpus = [], [], []
    with ExitStack() as stack:
        (api, api_process), (bare, bare_process) = rows.servers(st, stack)
        for _ in range(ROUNDS):
            before = stage.cpu(bare_process), stage.cpu(api_process)
            them = await load.drive(bare, requests)
            us = await load.drive(api, requests)
            rows.demand(us, 202)
            ours.append(us.rate)
            theirs.append(them.rate)
            spent = stage.cpu(bare_process) - before[0], stage.cpu(api_process) - before[1]
            cpus.append((spent[0] / len(them.latencies)) / (spent[1] / len(us.latencies)))
        await rows.forget(st)
    row = rows.ratio_of(row, ours, theirs, "requests/s", 0.75)
    row.detail["cpu_ratio"] = statistics.median(cpus)
    row.result += f" (by CPU time {row.detail['cpu_ratio']:.2f})"
    return row


async def batch(st: Stage) -> Row:
    """Batch POST of 100 actions against pipelined XADDs of the same actions by redis-py."""
    row = Row("batch POST of 100 actions", "100 pipelined XADDs of the same bytes, redis-py", ">= 0.8")
    lists = rows.lists(50)
    requests = rows.batches(st, lists)
    raw = [[msgspec.json.encode(action) for action in one] for one in lists]
    ours, theirs = [], []
    with ExitStack() as stack:
        (api, _), _ = rows.servers(st, stack)
        for _ in range(ROUNDS):
            theirs.append(await _pipelined(st, raw, 2.0))
            await rows.forget(st)
            us = await load.drive(api, requests, connections=8)
            rows.demand(us, 202)
            ours.append(us.rate * 100)
            await rows.forget(st)
    return rows.ratio_of(row, ours, theirs, "actions/s", 0.8)


async def _pipelined(st: Stage, raw: Sequence[Sequence[bytes]], seconds: float) -> float:
    client = Redis.from_url(st.urls.redis_url)
    sent, begun = 0, time.perf_counter()

    async def send() -> None:
        nonlocal sent
        while time.perf_counter() - begun < seconds:
            pipe = client.pipeline(transaction=False)
            for body in raw[sent // 100 % len(raw)]:
                pipe.xadd("bench:pipelined", {"b": body})
            await pipe.execute()
            sent += 100

    await asyncio.gather(*(send() for _ in range(8)))
    rate = sent / (time.perf_counter() - begun)
    await client.delete("bench:pipelined")
    await client.aclose()
    return rate
