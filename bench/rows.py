"""What is measured, a function for each row of docs/performance.md. Ours and the other take turns."""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import time
from collections.abc import Awaitable, Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
import msgspec
from redis.asyncio import Redis

from bench import load, stage
from bench.stage import Stage
from db import connect, keys, partitions, stream
from db.settings import Settings
from jobs.action import Action
from worker import drain as draining

ROUNDS: Final = 3
SESSIONS: Final = 1000
"""Active at once, so that a batch has fewer sessions than actions, as in life."""


@dataclass(slots=True)
class Row:
    """One line of the table: rates or latencies of ours and of the other, and whether the goal is reached."""

    what: str
    against: str
    goal: str
    ours: str = ""
    theirs: str = ""
    result: str = ""
    reached: bool | None = None
    detail: dict[str, Any] = field(default_factory=dict)


def interaction(session: int, action_id: str | None = None) -> dict[str, Any]:
    """A typical interaction, 300 bytes as the log carries it."""
    data = {
        "eventType": "selection",
        "category": "nest",
        "elementId": "nest-option-80",
        "selectionValue": "nest-80",
        "previousValue": "nest-75",
        "timeSpent": 1200,
        "deviceInfo": {"type": "mobile", "width": 390, "height": 844},
    }
    action = {"kind": "interaction.recorded", "sessionId": f"session-{session:08d}", "data": data}
    return action if action_id is None else {"id": action_id, **action}


def ratio_of(row: Row, ours: Sequence[float], theirs: Sequence[float], unit: str, goal: float) -> Row:
    pairs = [a / b for a, b in zip(ours, theirs, strict=True)]
    ratio = statistics.median(pairs)
    row.ours, row.theirs = (f"{statistics.median(values):,.0f} {unit}" for values in (ours, theirs))
    row.result, row.reached = f"{ratio:.2f}", ratio >= goal
    row.detail = {"ratio": ratio, "ratios": pairs, "ours": list(ours), "theirs": list(theirs)}
    return row


async def single(st: Stage) -> Row:
    """Single-action POST, validated, authenticated, acknowledged after the fsync."""
    row = Row("single-action POST", "bare aiohttp handler reading the same body", ">= 0.75")
    bodies = [msgspec.json.encode(interaction(number)) for number in range(SESSIONS)]
    requests = [load.request("POST", "/v1/actions", st.key, body) for body in bodies]
    ours, theirs, cpus = [], [], []
    with ExitStack() as stack:
        (api, api_process), (bare, bare_process) = servers(st, stack)
        for _ in range(ROUNDS):
            before = stage.cpu(bare_process), stage.cpu(api_process)
            them = await load.drive(bare, requests)
            us = await load.drive(api, requests)
            demand(us, 202)
            ours.append(us.rate)
            theirs.append(them.rate)
            spent = stage.cpu(bare_process) - before[0], stage.cpu(api_process) - before[1]
            cpus.append((spent[0] / len(them.latencies)) / (spent[1] / len(us.latencies)))
        await forget(st)
    row = ratio_of(row, ours, theirs, "requests/s", 0.75)
    row.detail["cpu_ratio"] = statistics.median(cpus)
    row.result += f" (by CPU time {row.detail['cpu_ratio']:.2f})"
    return row


async def batch(st: Stage) -> Row:
    """Batch POST of 100 actions against pipelined XADDs of the same actions by redis-py."""
    row = Row("batch POST of 100 actions", "100 pipelined XADDs of the same bytes, redis-py", ">= 0.8")
    lists = [[interaction(random.randrange(SESSIONS)) for _ in range(100)] for _ in range(50)]
    requests = [load.request("POST", "/v1/actions", st.key, msgspec.json.encode({"actions": one})) for one in lists]
    raw = [[msgspec.json.encode(action) for action in one] for one in lists]
    ours, theirs = [], []
    with ExitStack() as stack:
        (api, _), _ = servers(st, stack)
        for _ in range(ROUNDS):
            theirs.append(await _pipelined(st, raw, 2.0))
            await forget(st)
            us = await load.drive(api, requests, connections=8)
            demand(us, 202)
            ours.append(us.rate * 100)
            await forget(st)
    return ratio_of(row, ours, theirs, "actions/s", 0.8)


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


async def drained(st: Stage, actions: int = 300_000, rounds: int = ROUNDS, sessions: int = SESSIONS) -> Row:
    """The drain of one worker process against COPY of the rows that it made, table and indexes alike."""
    row = Row("drain, one worker process", "asyncpg COPY of the same rows, same table and indexes", ">= 0.6, then 0.7")
    ours, theirs = [], []
    conn = await connect.postgres(st.urls.database_url)
    for _ in range(rounds):
        await conn.execute("TRUNCATE interaction_events, user_sessions")
        ours.append(await drain_rate(st, actions, sessions))
        theirs.append(await _copied(conn, actions))
    await conn.execute("TRUNCATE interaction_events, user_sessions")
    await conn.close()
    return ratio_of(row, ours, theirs, "actions/s", 0.6)


async def drain_rate(st: Stage, number: int, sessions: int = SESSIONS, first: int = 0) -> float:
    """Fill the log, then drain it in this process: actions a second."""
    settings = _settings(st)
    server = connect.Server()
    client = connect.redis(settings.log_url, server=server)
    pool = await draining.pool(settings)
    await partitions.agree(pool, client, settings.partitions)
    await fill(st, client, number, sessions, first)
    running = draining.Drain(settings, pool, client, server)
    gc.freeze()
    gc.set_threshold(200_000, 20, 20)
    begun = time.perf_counter()
    task = asyncio.create_task(running.run())
    while running.applied < number:
        if task.done():
            task.result()
        await asyncio.sleep(0.01)
    seconds = time.perf_counter() - begun
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)
    await pool.close()
    await client.aclose()
    return number / seconds


async def fill(st: Stage, client: Redis, number: int, sessions: int, first: int = 0) -> None:
    """Append `number` actions with client ids, 20 to an entry, as the door does."""
    log = stream.Log(client, _settings(st).partitions, 1 << 40)
    log.refusal = None
    log.start()
    now = datetime.now(UTC)
    data = msgspec.json.encode(interaction(0)["data"])
    waiting = []
    for begin in range(0, number, 20):
        session = f"session-{first + random.randrange(sessions):08d}"
        partition = stream.partition_of("session:" + session, log.partitions)
        records = [
            msgspec.msgpack.encode(
                Action(
                    f"client-{random.getrandbits(96):024x}",
                    "interaction.recorded",
                    "session:" + session,
                    now,
                    now,
                    0,
                    data,
                    session_id=session,
                )
            )
            for _ in range(begin, min(begin + 20, number))
        ]
        waiting.append(log.append([(partition, record) for record in records]))
        if len(waiting) == 200:
            await asyncio.gather(*waiting)
            waiting = []
    await asyncio.gather(*waiting)
    await log.stop()


async def _copied(conn: asyncpg.Connection, number: int) -> float:
    columns = [
        row["attname"]
        for row in await conn.fetch(
            "SELECT attname FROM pg_attribute WHERE attrelid = 'interaction_events'::regclass"
            " AND attnum > 0 AND attgenerated = '' ORDER BY attnum"
        )
    ]
    rows = [tuple(row) for row in await conn.fetch(f"SELECT {', '.join(columns)} FROM interaction_events")]
    assert len(rows) == number
    await conn.execute("TRUNCATE interaction_events")
    begun = time.perf_counter()
    for begin in range(0, number, 5000):
        await conn.copy_records_to_table("interaction_events", records=rows[begin : begin + 5000], columns=columns)
    return number / (time.perf_counter() - begun)


async def end_to_end(st: Stage, best: float, peer: str, events: int = 200_000) -> Row:
    """From the first POST to the last row in Postgres, through HTTP, against the best of the job queues."""
    row = Row("accepted to in Postgres, batches of 100", f"one job for each event: best of five, {peer}", ">= 10x")
    lists = [[interaction(random.randrange(SESSIONS)) for _ in range(100)] for _ in range(200)]
    requests = [load.request("POST", "/v1/actions", st.key, msgspec.json.encode({"actions": one})) for one in lists]
    conn = await connect.postgres(st.urls.database_url)
    rates = []
    with ExitStack() as stack:
        (api, _), _ = servers(st, stack)
        stack.enter_context(stage.process(st, "-m", "worker"))
        await stage.draining(st)
        for _ in range(ROUNDS):
            await conn.execute("TRUNCATE interaction_events, user_sessions")
            begun = time.perf_counter()
            us = await load.drive(api, requests, connections=8, seconds=60, count=events // 100)
            demand(us, 202)
            ended = await stage.applied(conn, "interaction_events", events)
            rates.append(events / (ended - begun))
    await conn.execute("TRUNCATE interaction_events, user_sessions")
    await conn.close()
    return ratio_of(row, rates, [best] * len(rates), "events/s", 10)


async def freshness(st: Stage) -> tuple[Row, Row]:
    """At half the top rate of single POSTs with a worker beside: accepted to applied, and a write that waits."""
    fresh = Row("freshness at half the top rate", "", "p99 < 100 ms")
    waited = Row("waited write at half the top rate", "", "p95 < 50 ms")
    bodies = [msgspec.json.encode(interaction(number)) for number in range(SESSIONS)]
    plain = [load.request("POST", "/v1/actions", st.key, body) for body in bodies]
    wait = [load.request("POST", "/v1/actions", st.key, body, "Prefer: wait=5\r\n") for body in bodies]
    with ExitStack() as stack:
        (api, _), _ = servers(st, stack)
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
        demand(results, 200)
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


async def cached_read(st: Stage) -> Row:
    """GET /v1/sessions/{id} from Redis against a bare handler with one Redis GET of the same bytes."""
    row = Row("cached read of a session", "bare aiohttp handler with one Redis GET", ">= 0.9, p99 < 10 ms")
    bodies = [msgspec.json.encode(interaction(number)) for number in range(200)]
    with ExitStack() as stack:
        (api, _), (bare, _) = servers(st, stack)
        with stage.process(st, "-m", "worker"):
            await stage.draining(st)
            posts = [load.request("POST", "/v1/actions", st.key, body, "Prefer: wait=5\r\n") for body in bodies]
            demand(await load.drive(api, posts, connections=8, seconds=20, count=len(posts)), 200)
        client = Redis.from_url(st.urls.redis_url)
        count = _settings(st).partitions
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
            demand(us, 200)
            ours.append(us.rate)
            half = await load.drive(api, requests, rate=us.rate / 2)
            p99s.append(half.quantile(0.99))
        await forget(st)
    row = ratio_of(row, ours, theirs, "reads/s", 0.9)
    p99 = statistics.median(p99s)
    row.result += f", p99 {p99 * 1e3:.1f} ms at half the rate"
    row.reached = bool(row.reached) and p99 < 0.01
    return row


async def scale(st: Stage, rows: int) -> tuple[Row, Row]:
    """The drain on a table of `rows` rows against the empty one; the memory of a worker with much before it."""
    full = Row(f"drain at {rows:,} rows", "the empty table", ">= 0.9")
    memory = Row("memory of a worker while 1,000,000 wait", "while 100,000 wait", "flat")
    conn = await connect.postgres(st.urls.database_url)
    await conn.execute("TRUNCATE interaction_events, user_sessions")
    empties = [await drain_rate(st, 100_000) for _ in range(ROUNDS)]
    await _grow(conn, rows)
    fulls = [await drain_rate(st, 100_000) for _ in range(ROUNDS)]
    small = await stage.drain_memory(st, 100_000, fill)
    large = await stage.drain_memory(st, 1_000_000, fill)
    memory.ours, memory.theirs = f"{large / 2**20:.0f} MiB", f"{small / 2**20:.0f} MiB"
    memory.result, memory.reached = f"{large / small:.2f}", large < small * 1.25
    await conn.execute("TRUNCATE interaction_events, user_sessions")
    await conn.close()
    median = statistics.median(empties)
    return ratio_of(full, fulls, [median] * len(fulls), "actions/s", 0.9), memory


async def _grow(conn: asyncpg.Connection, rows: int) -> None:
    """Rows of earlier sessions, 20 each, as many a session as in the measured part."""
    for begin in range(0, rows, 1_000_000):
        await conn.execute(
            """INSERT INTO interaction_events (subject, id, session_id, event_type, category, element_id,
                                               selection_value, previous_value, time_spent, at, received_at)
               SELECT 'session:old-' || i / 20, gen_random_uuid()::text, 'old-' || i / 20, 'selection', 'nest',
                      'nest-option-80', 'nest-80', 'nest-75', 1200, now(), now()
               FROM generate_series($1::bigint, $2::bigint) i""",
            begin,
            min(rows, begin + 1_000_000) - 1,
            timeout=600,
        )
        await conn.execute(
            """INSERT INTO user_sessions (session_id, subject, at, last_at, received_at, interactions, snapshots,
                                          page_views, events, metrics)
               SELECT 'old-' || i, 'session:old-' || i, now(), now(), now(), 20, 0, 0, 0, 0
               FROM generate_series($1::bigint, $2::bigint) i ON CONFLICT DO NOTHING""",
            begin // 20,
            (min(rows, begin + 1_000_000) - 1) // 20,
            timeout=600,
        )
    await conn.execute("VACUUM ANALYZE interaction_events, user_sessions", timeout=600)


def _settings(st: Stage) -> Settings:
    return Settings(database_url=st.urls.database_url, redis_url=st.urls.redis_url)


def servers(st: Stage, stack: ExitStack, **env: str) -> tuple[tuple[str, int], tuple[str, int]]:
    """Our API and the bare one: URL and process id of each."""
    found = []
    for module in ("api", "bench.bare"):
        port = stage.free_port()
        arguments = [str(port), st.urls.redis_url] if module == "bench.bare" else []
        process = stack.enter_context(stage.process(st, "-m", module, *arguments, MILEPOST_PORT=str(port), **env))
        url = f"http://127.0.0.1:{port}"
        stage.await_http(url + "/livez")
        found.append((url, process.pid))
    return found[0], found[1]


async def forget(st: Stage) -> None:
    """Drop what nobody drained, so that the next round begins as this one did."""
    client = Redis.from_url(st.urls.redis_url)
    await client.delete(*(keys.actions(partition) for partition in range(_settings(st).partitions)))
    await client.aclose()


def demand(result: load.Result, status: int) -> None:
    if set(result.statuses) != {status}:
        raise RuntimeError(f"answers other than {status}: {dict(result.statuses)}")


Measure = Callable[[Stage], Awaitable[Row | tuple[Row, ...]]]
