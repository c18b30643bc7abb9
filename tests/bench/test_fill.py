"""What a fill writes is what the worker and the passes would have written."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
from redis.asyncio import Redis

from bench.fill import others, tracking
from bench.fill.tracking import Fill
from db import connect, days, partitions
from db.settings import Settings
from jobs.onboarding.rebuilt_days import Days
from jobs.rebuild import Rebuild
from jobs.tracking.family import Tracking


async def test_a_rebuild_finds_nothing_to_mend(settings: Settings, redis: Redis, monkeypatch: Any) -> None:
    """Sessions of every shape, a long one among them, and enough chunks that one follows another."""
    monkeypatch.setattr(tracking, "CHUNK", 200)
    monkeypatch.setattr(tracking, "LONG_ONES", 300)
    interactions = await Fill(settings.database_url, datetime.now(UTC)).run(500)
    conn, other = await connect.postgres(settings.database_url), await connect.postgres(settings.database_url)
    async with asyncpg.create_pool(settings.database_url, min_size=1, max_size=1) as pool:
        await partitions.agree(pool, redis, settings.partitions)
    assert await conn.fetchval("SELECT count(*) FROM interaction_events") == interactions > 500 * 10
    found: list[Any] = []
    work = Rebuild(conn, other, redis, True, lambda *one: found.append(one), tables=Tracking().state_tables())
    results = await work.run()
    assert not found
    assert {one.table: one.seen for one in results}["session_rollups"] == 500
    await conn.close()
    await other.close()


async def test_the_days_of_the_onboarding_are_counted(settings: Settings, redis: Redis) -> None:
    """Of everybody whom a fill writes."""
    conn, other = await connect.postgres(settings.database_url), await connect.postgres(settings.database_url)
    async with asyncpg.create_pool(settings.database_url, min_size=1, max_size=1) as pool:
        await partitions.agree(pool, redis, settings.partitions)
    now = datetime.now(UTC)
    await days.make(conn, [now.date() - timedelta(days=n) for n in range(tracking.DAYS)])
    await others.fill(conn, 200, now, lambda _done, _name: None)
    found: list[Any] = []
    work = Rebuild(conn, other, redis, True, lambda *one: found.append(one), tables=[Days()])
    (result,) = await work.run()
    assert (found, result.seen > 80) == ([], True)
    assert await conn.fetchval("SELECT count(*) FROM onboarding_days") == result.seen
    await conn.close()
    await other.close()
