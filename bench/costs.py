"""What one action costs each part: CPU of every process, bytes in Redis while it waits, bytes in Postgres for good."""

from __future__ import annotations

import time
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import asyncpg
import msgspec
from redis.asyncio import Redis

from bench import drain, load, rows, stage
from bench.rows import Row
from bench.stage import Stage
from db import connect, keys, sql
from jobs.analytics import rolling

QUERIES: Final = sql.load((Path(__file__).parent / "costs.sql").read_text())
ROLLING: Final = sql.read("rollups")
BATCHES: Final = 2000
SINGLES: Final = 40_000
DRAINED: Final = 200_000
RECKONED: Final = 1000
PER_SESSION: Final = 20
"""Actions of a session, as in the fill."""


class Costs(msgspec.Struct):
    """Microseconds of CPU, and bytes. One action a request, and a hundred; `roll`: one reckoning of a session."""

    api_single: float = 0.0
    api_batch: float = 0.0
    redis_single: float = 0.0
    redis_batch: float = 0.0
    redis_drain: float = 0.0
    worker: float = 0.0
    postgres: float = 0.0
    roll_worker: float = 0.0
    roll_postgres: float = 0.0
    waiting_bytes: float = 0.0
    """In Redis, of an action that came alone."""
    wal_bytes: float = 0.0
    """Of an action, its part of its session and the rollups included."""
    fact_bytes: float = 0.0
    session_bytes: float = 0.0
    """State, what it counts for, its visitor's hour."""
    per_session: int = PER_SESSION


async def measured(st: Stage) -> Row:
    """Each part alone, one after the other: in CPU time, so that others on the machine matter little."""
    costs = Costs()
    await _taking_in(st, costs)
    await _applying(st, costs)
    row = Row("CPU of an action, posted alone", "in batches of 100", "")
    row.ours = _sum(costs.api_single + costs.redis_single, costs)
    row.theirs = _sum(costs.api_batch + costs.redis_batch, costs)
    row.detail = {"costs": msgspec.to_builtins(costs)}
    return row


def _sum(taken_in: float, costs: Costs) -> str:
    """All parts, with the rollups' share."""
    rolled = (costs.roll_worker + costs.roll_postgres) / costs.per_session
    total = taken_in + costs.redis_drain + costs.worker + costs.postgres + rolled
    return f"{total:.0f} us over all processes"


async def _taking_in(st: Stage, costs: Costs) -> None:
    """The API and Redis, while nobody drains."""
    client = Redis.from_url(st.urls.redis_url)
    redis_pid = int((await client.info("server"))["process_id"])
    await rows.forget(st)
    with ExitStack() as stack:
        (api, api_pid), _ = rows.servers(st, stack)

        async def spent(requests: list[bytes], each: int, connections: int, count: int) -> tuple[float, float]:
            await load.drive(api, requests, connections=connections, seconds=60, count=count // 10)
            before = stage.cpu(api_pid), stage.cpu(redis_pid)
            result = await load.drive(api, requests, connections=connections, seconds=60, count=count)
            rows.demand(result, 202)
            after = stage.cpu(api_pid), stage.cpu(redis_pid)
            of_api, of_redis = (1e6 * (b - a) / (count * each) for a, b in zip(before, after, strict=True))
            return of_api, of_redis

        costs.api_batch, costs.redis_batch = await spent(rows.batches(st, rows.lists(200)), 100, 8, BATCHES)
        await rows.forget(st)
        costs.api_single, costs.redis_single = await spent(rows.posts(st), 1, 64, SINGLES)
        costs.waiting_bytes = await _waiting(st, client) / (SINGLES + SINGLES // 10)
        await rows.forget(st)
    await client.aclose()


async def _waiting(st: Stage, client: Redis) -> int:
    """Bytes of the streams."""
    streams = [keys.actions(partition) for partition in range(rows.settings(st).partitions)]
    return sum([await client.memory_usage(key, samples=0) or 0 for key in streams])


async def _applying(st: Stage, costs: Costs) -> None:
    """A drain and then the rollups in this process, of sessions that nobody knows; both on empty tables."""
    client = Redis.from_url(st.urls.redis_url)
    conn: asyncpg.Connection = await connect.postgres(st.urls.database_url)
    await conn.execute(QUERIES["forget_sessions"])
    redis_pid, postmaster = int((await client.info("server"))["process_id"]), parent(conn.get_server_pid())
    ids = iter([f"costs-{number:08d}" for number in range(DRAINED // PER_SESSION)])
    marks: list[tuple[float, float, float]] = []

    def mark() -> None:
        marks.append((time.process_time(), stage.family_cpu(postmaster), stage.cpu(redis_pid)))

    lsn = await conn.fetchval(QUERIES["written"])
    await drain.rate(st, DRAINED, ids.__next__, mark)
    mark()
    costs.worker, costs.postgres, costs.redis_drain = (
        1e6 * (after - before) / DRAINED for before, after in zip(*marks, strict=True)
    )
    marks.clear()
    mark()
    sessions = await rolled(conn)
    mark()
    costs.roll_worker, costs.roll_postgres, _ = (
        1e6 * (after - before) / sessions for before, after in zip(*marks, strict=True)
    )
    costs.wal_bytes = float(await conn.fetchval(QUERIES["written"]) - lsn) / DRAINED
    sizes = dict(await conn.fetch(QUERIES["sizes"]))
    costs.fact_bytes = sizes["facts"] / DRAINED
    costs.session_bytes = sizes["sessions"] / (DRAINED // PER_SESSION)
    await conn.execute(QUERIES["forget_sessions"])
    await conn.close()
    await client.aclose()


async def of_filled(st: Stage, size: int) -> Row:
    """Bytes and reckonings as in life, of about `size` interactions; what some sessions count for is lost."""
    conn: asyncpg.Connection = await connect.postgres(st.urls.database_url)
    postmaster = parent(conn.get_server_pid())
    sizes = dict(await conn.fetch(QUERIES["sizes"]))
    facts, sessions = await conn.fetchrow(QUERIES["count_both"], timeout=300)
    ids = [row["session_id"] for row in await conn.fetch(QUERIES["forget_counted"], RECKONED)]
    await conn.execute(ROLLING["look_again"], ids)
    before = time.process_time(), stage.family_cpu(postmaster)
    done = await rolled(conn)
    worker, postgres = time.process_time() - before[0], stage.family_cpu(postmaster) - before[1]
    await conn.close()
    found = {
        "fact_bytes": sizes["facts"] / facts,
        "session_bytes": sizes["sessions"] / sessions,
        "roll_worker": 1e6 * worker / done,
        "roll_postgres": 1e6 * postgres / done,
    }
    row = Row(f"a session in life, at {size:,} interactions", "", "")
    row.ours = f"{found['fact_bytes']:.0f} bytes a fact, {found['session_bytes']:,.0f} bytes a session"
    row.result = f"reckoned in {found['roll_worker'] + found['roll_postgres']:.0f} us of CPU"
    row.detail = {"in_life": found}
    return row


async def rolled(conn: asyncpg.Connection) -> int:
    """Pass after pass, until nothing is left: how many sessions were reckoned."""
    sessions, is_done = 0, False
    while not is_done:
        async with conn.transaction():
            done = await rolling.roll(conn, datetime.now(UTC))
        sessions, is_done = sessions + done.sessions, done.is_done
    return sessions


def parent(pid: int) -> int:
    """The process that started this one: of a backend, the one that all of Postgres' processes come from."""
    return int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
