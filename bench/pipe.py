"""The rows about the whole way: from the first POST to the last row in Postgres, and how fresh it is under load."""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack

import msgspec
from redis.asyncio import Redis

from bench import load, rows, stage
from bench.rows import ROUNDS, Row
from bench.stage import Stage
from db import connect, keys, stream


async def end_to_end(st: Stage, best: float, peer: str, events: int = 200_000) -> Row:
    """From the first POST to the last row in Postgres, through HTTP, against the best of the job queues."""
    row = Row("accepted to in Postgres, batches of 100", f"one job for each event: best of five, {peer}", ">= 10x")
    requests = rows.batches(st, rows.lists(200))
    conn = await connect.postgres(st.urls.database_url)
    rates = []
    with ExitStack() as stack:
        (api, _), _ = rows.servers(st, stack)
        stack.enter_context(stage.process(st, "-m", "worker"))
        await stage.draining(st)
        for _ in range(ROUNDS):
            await conn.execute("TRUNCATE interaction_events, user_sessions")
            begun = time.perf_counter()
            us = await load.drive(api, requests, connections=8, seconds=60, count=events // 100)
            rows.demand(us, 202)
            ended = await stage.applied(conn, "interaction_events", events)
            rates.append(events / (ended - begun))
    await conn.execute("TRUNCATE interaction_events, user_sessions")
    await conn.close()
    return rows.ratio_of(row, rates, [best] * len(rates), "events/s", 10)


async def freshness(st: Stage) -> tuple[Row, Row]:
    """At half the top rate of single POSTs with a worker beside: accepted to applied, and a write that waits."""
    fresh = Row("freshness at half the top rate", "", "p99 < 100 ms")
    waited = Row("waited write at half the top rate", "", "p95 < 50 ms")
    plain, wait = rows.posts(st), rows.posts(st, headers="Prefer: wait=5\r\n")
    with ExitStack() as stack:
        (api, _), _ = rows.servers(st, stack)
        stack.enter_context(stage.process(st, "-m", "worker"))
        await stage.draining(st)
        top = (await load.drive(api, plain)).rate
        await stage.quiet(st)
        seen = _Freshness(st)
        async with seen:
            await load.drive(api, plain, rate=top / 2, seconds=5, seen=seen.acknowledged)
        await stage.quiet(st)
        results, _ = await asyncio.gather(
            load.drive(api, wait, connections=128, rate=top / 10, seconds=5),
            load.drive(api, plain, connections=48, rate=top * 0.4, seconds=5),
        )
        rows.demand(results, 200)
    ages = sorted(seen.ages)
    p50, p99 = ages[len(ages) // 2], ages[int(len(ages) * 0.99)]
    fresh.ours = f"p50 {p50 * 1e3:.1f} ms, p99 {p99 * 1e3:.1f} ms of {len(ages):,} at {top / 2:,.0f}/s"
    fresh.result, fresh.reached = f"{p99 * 1e3:.0f} ms", p99 < 0.1
    p95 = results.quantile(0.95)
    waited.ours = f"p50 {results.quantile(0.5) * 1e3:.1f} ms, p95 {p95 * 1e3:.1f} ms of {len(results.latencies):,}"
    waited.result, waited.reached = f"{p95 * 1e3:.0f} ms", p95 < 0.05
    return fresh, waited


class _Freshness:
    """Notes when each acknowledged position is told to be applied."""

    def __init__(self, st: Stage) -> None:
        self.client = Redis.from_url(st.urls.redis_url)
        self.ages: list[float] = []
        self._waiting: dict[int, list[tuple[stream.Position, float]]] = {}
        self._applied: dict[int, stream.Position] = {}

    def acknowledged(self, body: bytes, sent: float) -> None:
        partition, _, position = msgspec.json.decode(body)["position"].partition(".")
        self._note(int(partition), stream.Position.parse(position), sent)

    def _note(self, partition: int, position: stream.Position, sent: float) -> None:
        if self._applied.get(partition, stream.START) >= position:
            self.ages.append(time.perf_counter() - sent)
        else:
            self._waiting.setdefault(partition, []).append((position, sent))

    async def __aenter__(self) -> None:
        self.channel = self.client.pubsub(ignore_subscribe_messages=True)
        await self.channel.subscribe(keys.APPLIED_CHANNEL)
        self.task = asyncio.create_task(self._listen())

    async def _listen(self) -> None:
        while True:
            message = await self.channel.get_message(timeout=1)
            if message is None:
                continue
            text, _, position = message["data"].decode().partition(".")
            partition, now = int(text), time.perf_counter()
            self._applied[partition] = upto = stream.Position.parse(position)
            waiting = self._waiting.get(partition, [])
            self.ages += [now - sent for place, sent in waiting if place <= upto]
            self._waiting[partition] = [one for one in waiting if one[0] > upto]

    async def __aexit__(self, *_: object) -> None:
        deadline = time.perf_counter() + 10
        while any(self._waiting.values()) and time.perf_counter() < deadline:  # noqa: ASYNC110 - messages come in
            await asyncio.sleep(0.05)
        assert not any(self._waiting.values()), "acknowledged actions that nobody applied"
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)
        await self.channel.aclose()
        await self.client.aclose()
