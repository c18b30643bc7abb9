"""The plans as one API process knows them: Redis tells of them as it does of the catalog, Postgres has them."""

from __future__ import annotations

from datetime import UTC, datetime

import asyncpg
from redis.asyncio import Redis

from db import keys
from jobs.usage import plans
from jobs.usage.plans import Version


async def read(pool: asyncpg.Pool) -> list[Version]:
    """The stored versions in force now or later."""
    return await plans.in_force(pool, datetime.now(UTC))


async def publish(pool: asyncpg.Pool, client: Redis) -> None:
    """Tell the API processes what Postgres has; of two that publish at once, the last to look sees what came last."""
    told: list[Version] | None = None
    while (found := await read(pool)) != told:
        told = found
        await client.set(keys.PLANS, plans.encode(found))
