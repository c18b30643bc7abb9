"""What a fill writes is what the worker and the passes would have written."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import asyncpg
from redis.asyncio import Redis

from bench.fill import tracking
from bench.fill.tracking import Fill
from db import connect, partitions
from db.settings import Settings
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
