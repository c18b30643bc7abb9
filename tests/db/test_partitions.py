"""The count of partitions: fixed at the first start, by whoever comes first."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from db import connect, partitions
from db.settings import Settings


async def test_the_first_start_decides_and_another_count_is_refused(settings: Settings, redis: Redis) -> None:
    pool = await connect.pool(settings, "test", 3)
    try:
        assert not await partitions.recall(redis, 4)
        await partitions.agree(pool, redis, 4)
        await partitions.agree(pool, redis, 4)
        assert await partitions.recall(redis, 4)
        for check in (partitions.agree(pool, redis, 8), partitions.recall(redis, 8)):
            with pytest.raises(partitions.Mismatch, match=r"MILEPOST_PARTITIONS is 8, but .* started with 4"):
                await check
        assert await pool.fetchval("SELECT count(*) FROM partitions") == 4
    finally:
        pool.terminate()


async def test_of_several_first_starts_with_one_count_all_agree(settings: Settings, redis: Redis) -> None:
    pool = await connect.pool(settings, "test", 3)
    try:
        await asyncio.gather(*(partitions.agree(pool, redis, 16) for _ in range(6)))
        assert [row[0] for row in await pool.fetch("SELECT id FROM partitions ORDER BY id")] == list(range(16))
    finally:
        pool.terminate()
