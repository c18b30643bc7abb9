"""Day partitions of the fact tables: made ahead, and for whatever day an action arrived on."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from typing import Final

import asyncpg

from db import sql

QUERIES: Final = sql.read("pipe")


async def make(conn: asyncpg.Connection, days: Iterable[date] = ()) -> int:
    """Those from yesterday to two days ahead, and of `days`, in a transaction of their own; how many were made now.

    Not more ahead: each day that exists costs a probe for every id of an older subject.
    """
    today = datetime.now(UTC).date()
    async with conn.transaction():
        await conn.execute("SET LOCAL lock_timeout = '3s'")
        made: int = await conn.fetchval(QUERIES["ensure_days"], today - timedelta(days=1), today + timedelta(days=2))
        for day in sorted(days):
            made += await conn.fetchval(QUERIES["ensure_days"], day, day)
    return made
