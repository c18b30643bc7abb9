"""Feature flags: which families of actions are taken. Postgres has them, Redis passes them on to every API process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import asyncpg
import msgspec
from redis.asyncio import Redis

from db import keys, sql

QUERIES: Final = sql.read("governing")
Flags = Mapping[str, bool]
"""Name of a family or group -> whether it is taken; one that was never switched is not in it, and taken."""


async def listed(conn: asyncpg.Connection | asyncpg.Pool) -> Sequence[asyncpg.Record]:
    """(family, enabled, changed_at, changed_by) of those that were ever switched."""
    rows: Sequence[asyncpg.Record] = await conn.fetch(QUERIES["list_flags"])
    return rows


async def read(conn: asyncpg.Connection | asyncpg.Pool) -> Flags:
    """As Postgres has them."""
    return {row["family"]: row["enabled"] for row in await listed(conn)}


async def switch(conn: asyncpg.Connection | asyncpg.Pool, family: str, *, enabled: bool, by: str) -> None:
    """Switch a family or a group on or off; `publish` tells those who run."""
    await conn.execute(QUERIES["set_flag"], family, enabled, by)


async def publish(conn: asyncpg.Connection | asyncpg.Pool, client: Redis) -> None:
    """Tell the API processes what Postgres has; of two that publish at once, the last to look sees what came last."""
    told: Flags | None = None
    while (flags := await read(conn)) != told:
        told = flags
        await client.set(keys.FLAGS, msgspec.json.encode(flags))
