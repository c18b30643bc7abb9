"""The rows about the drain of one worker process: its rate, and the memory it takes."""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime

import asyncpg
import msgspec
from redis.asyncio import Redis

from bench import rows, stage
from bench.rows import ROUNDS, SESSIONS, Row
from bench.stage import Stage
from db import appending, connect, partitions, stream
from jobs.action import Action
from worker import drain as draining


def usual() -> str:
    """One of those that are active at once."""
    return f"session-{random.randrange(SESSIONS):08d}"


async def drained(st: Stage, actions: int = 300_000) -> Row:
    """The drain of one worker process against COPY of the rows that it made, table and indexes alike."""
    row = Row("drain, one worker process", "asyncpg COPY of the same rows, same table and indexes", ">= 0.6, then 0.7")
    ours, theirs = [], []
    conn = await connect.postgres(st.urls.database_url)
    for _ in range(ROUNDS):
        await conn.execute("TRUNCATE interaction_events, user_sessions")
        ours.append(await rate(st, actions))
        theirs.append(await _copied(conn, actions))
    await conn.execute("TRUNCATE interaction_events, user_sessions")
    await conn.close()
    return rows.ratio_of(row, ours, theirs, "actions/s", 0.6)


async def rate(
    st: Stage, number: int, draw: Callable[[], str] = usual, begins: Callable[[], None] = lambda: None
) -> float:
    """Fill the log, then drain it in this process: actions a second. `begins` is called between the two."""
    async with _ready(st) as (running, client):
        await fill(st, client, number, draw)
        gc.freeze()
        gc.set_threshold(200_000, 20, 20)
        begins()
        begun = time.perf_counter()
        async with _at_work(running):
            await _until(running, number, 0.01)
            return number / (time.perf_counter() - begun)


async def alone(st: Stage, times: int) -> float:
    """Seconds from appending one action to an empty log until it is applied, in this process: the median."""
    took = []
    async with _ready(st) as (running, client), _at_work(running):
        for number in range(times):
            begun = time.perf_counter()
            await fill(st, client, 1)
            await _until(running, number + 1, 0.0005)
            took.append(time.perf_counter() - begun)
    return statistics.median(took)


@asynccontextmanager
async def _ready(st: Stage) -> AsyncIterator[tuple[draining.Drain, Redis]]:
    """A drain that has not begun, and a client of its log."""
    settings = rows.settings(st)
    server = connect.Server()
    client = connect.redis(settings.log_url, server=server)
    pool = await draining.pool(settings)
    await partitions.agree(pool, client, settings.partitions)
    yield draining.Drain(settings, pool, client, server), client
    await pool.close()
    await client.aclose()


@asynccontextmanager
async def _at_work(running: draining.Drain) -> AsyncIterator[None]:
    task = asyncio.create_task(running.run())
    yield
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


async def _until(running: draining.Drain, number: int, looks: float) -> None:
    while running.applied < number:
        if running.failure:
            raise RuntimeError(running.failure)
        await asyncio.sleep(looks)


async def fill(st: Stage, client: Redis, number: int, draw: Callable[[], str] = usual) -> None:
    """Append `number` actions with client ids, 20 of the session that was drawn to an entry, as the API does."""
    log = appending.Log(client, rows.settings(st).partitions, 1 << 40)
    log.refusal = None
    log.start()
    now = datetime.now(UTC)
    data = msgspec.json.encode(rows.interaction(0)["data"])
    waiting = []
    for begin in range(0, number, 20):
        session = draw()
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
    made = [tuple(row) for row in await conn.fetch(f"SELECT {', '.join(columns)} FROM interaction_events")]
    assert len(made) == number
    await conn.execute("TRUNCATE interaction_events")
    begun = time.perf_counter()
    for begin in range(0, number, 5000):
        await conn.copy_records_to_table("interaction_events", records=made[begin : begin + 5000], columns=columns)
    return number / (time.perf_counter() - begun)


async def memory(st: Stage) -> Row:
    """What a worker takes that has much before it."""
    row = Row("memory of a worker while 1,000,000 wait", "while 100,000 wait", "flat")
    small = await _memory(st, 100_000)
    large = await _memory(st, 1_000_000)
    row.ours, row.theirs = f"{large / 2**20:.0f} MiB", f"{small / 2**20:.0f} MiB"
    row.result, row.reached = f"{large / small:.2f}", large < small * 1.25
    return row


async def _memory(st: Stage, waiting: int) -> int:
    """The most memory of a worker process that finds `waiting` actions and drains them."""
    conn = await connect.postgres(st.urls.database_url)
    client = Redis.from_url(st.urls.redis_url)
    before = await conn.fetchval("SELECT count(*) FROM interaction_events")
    await fill(st, client, waiting)
    with stage.process(st, "-m", "worker") as running:
        await stage.applied(conn, "interaction_events", before + waiting, seconds=300)
        peak = stage.peak_memory(running.pid)
    await conn.close()
    await client.aclose()
    return peak
