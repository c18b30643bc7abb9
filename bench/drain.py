"""The rows about the drain of one worker process: its rate, how it holds on a large table, the memory it takes."""

from __future__ import annotations

import asyncio
import gc
import random
import statistics
import time
from datetime import UTC, datetime

import asyncpg
import msgspec
from redis.asyncio import Redis

from bench import rows, stage
from bench.rows import ROUNDS, SESSIONS, Row
from bench.stage import Stage
from db import connect, partitions, stream
from jobs.action import Action
from worker import drain as draining


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


async def rate(st: Stage, number: int) -> float:
    """Fill the log, then drain it in this process: actions a second."""
    settings = rows.settings(st)
    server = connect.Server()
    client = connect.redis(settings.log_url, server=server)
    pool = await draining.pool(settings)
    await partitions.agree(pool, client, settings.partitions)
    await fill(st, client, number)
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


async def fill(st: Stage, client: Redis, number: int) -> None:
    """Append `number` actions with client ids, 20 to an entry, as the API does."""
    log = stream.Log(client, rows.settings(st).partitions, 1 << 40)
    log.refusal = None
    log.start()
    now = datetime.now(UTC)
    data = msgspec.json.encode(rows.interaction(0)["data"])
    waiting = []
    for begin in range(0, number, 20):
        session = f"session-{random.randrange(SESSIONS):08d}"
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


async def scale(st: Stage, size: int) -> tuple[Row, Row]:
    """The drain on a table of `size` rows against the empty one; the memory of a worker with much before it."""
    full = Row(f"drain at {size:,} rows", "the empty table", ">= 0.9")
    memory = Row("memory of a worker while 1,000,000 wait", "while 100,000 wait", "flat")
    conn = await connect.postgres(st.urls.database_url)
    await conn.execute("TRUNCATE interaction_events, user_sessions")
    empties = [await rate(st, 100_000) for _ in range(ROUNDS)]
    await _grow(conn, size)
    fulls = [await rate(st, 100_000) for _ in range(ROUNDS)]
    small = await _memory(st, 100_000)
    large = await _memory(st, 1_000_000)
    memory.ours, memory.theirs = f"{large / 2**20:.0f} MiB", f"{small / 2**20:.0f} MiB"
    memory.result, memory.reached = f"{large / small:.2f}", large < small * 1.25
    await conn.execute("TRUNCATE interaction_events, user_sessions")
    await conn.close()
    median = statistics.median(empties)
    return rows.ratio_of(full, fulls, [median] * len(fulls), "actions/s", 0.9), memory


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


async def _grow(conn: asyncpg.Connection, size: int) -> None:
    """Rows of earlier sessions, 20 each, as many a session as in the measured part."""
    for begin in range(0, size, 1_000_000):
        await conn.execute(
            """INSERT INTO interaction_events (subject, id, session_id, event_type, category, element_id,
                                               selection_value, previous_value, time_spent, at, received_at)
               SELECT 'session:old-' || i / 20, gen_random_uuid()::text, 'old-' || i / 20, 'selection', 'nest',
                      'nest-option-80', 'nest-80', 'nest-75', 1200, now(), now()
               FROM generate_series($1::bigint, $2::bigint) i""",
            begin,
            min(size, begin + 1_000_000) - 1,
            timeout=600,
        )
        await conn.execute(
            """INSERT INTO user_sessions (session_id, subject, at, last_at, received_at, interactions, snapshots,
                                          page_views, events, metrics)
               SELECT 'old-' || i, 'session:old-' || i, now(), now(), now(), 20, 0, 0, 0, 0
               FROM generate_series($1::bigint, $2::bigint) i ON CONFLICT DO NOTHING""",
            begin // 20,
            (min(size, begin + 1_000_000) - 1) // 20,
            timeout=600,
        )
    await conn.execute("VACUUM ANALYZE interaction_events, user_sessions", timeout=600)
