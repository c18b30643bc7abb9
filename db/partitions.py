"""How many partitions there are: fixed at the first start, kept in Postgres, known to Redis."""

from __future__ import annotations

from typing import Final

import asyncpg
from redis.asyncio import Redis

from db import keys, sql

QUERIES: Final = sql.read("pipe")


class Mismatch(Exception):
    """This process is set to another number of partitions than the data was written with."""


async def agree(pool: asyncpg.Pool, client: Redis, wanted: int) -> None:
    """Make the partitions at the first start; afterwards demand the same number. Raises Mismatch."""
    await pool.execute(QUERIES["make_partitions"], wanted)
    held = await pool.fetchval(QUERIES["count_partitions"])
    # Only where it is not there yet: a full Redis refuses every SET, and its worker must start to drain it.
    if await client.get(keys.PARTITIONS) != str(held).encode():
        await client.set(keys.PARTITIONS, held)
    _demand(wanted, held)


async def recall(client: Redis, wanted: int) -> bool:
    """Whether Redis knows the number, when Postgres cannot be asked. Raises Mismatch."""
    held = await client.get(keys.PARTITIONS)
    if held is None:
        return False
    _demand(wanted, int(held))
    return True


def _demand(wanted: int, held: int) -> None:
    if wanted != held:
        raise Mismatch(
            f"MILEPOST_PARTITIONS is {wanted}, but this database was started with {held}: set it to {held}; "
            "subjects would go to other partitions otherwise"
        )
