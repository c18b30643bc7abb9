"""What usage leaves to the schedule: what follows from time alone, and whether counters are the sums of their records.

Time is the log's: nothing ends before everything that arrived by then is applied.
"""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Final

import asyncpg

from db import keys, log, sql, stream
from jobs import catalog as catalogs
from jobs.usage import rollups, states
from jobs.usage.rows import QUERIES
from worker.context import Context

logger = log.get("usage")
REBUILD: Final = sql.read("rebuild")
ROWS: Final = 1000
ROUNDS: Final = 20
LOCK_SECONDS: Final = 2.0
"""A partition that a worker keeps busy for longer comes to its turn with the next tick."""
COMPARE_SECONDS: Final = 900
SHOWN: Final = 20


async def _watermark(ctx: Context) -> datetime:
    now = datetime.now(UTC)
    return await stream.watermark(ctx["log"], ctx["settings"].partitions, now)


async def expire_reservations(ctx: Context) -> str:
    """End what has expired: of subjects who decide nothing more, nobody else would.

    A commit that arrived in time is never refused for it, because it is applied already; dying leaves the rest to the
    next tick. Readers reckon with the time of expiry anyway, so that no read model changes.
    """
    before, ended = await _watermark(ctx), 0
    for _ in range(ROUNDS):
        rows = await ctx["pool"].fetch(QUERIES["due_reservations"], before, ROWS)
        due: dict[int, list[tuple[str, str]]] = defaultdict(list)
        for subject, name in rows:
            due[stream.partition_of(subject, ctx["settings"].partitions)].append((subject, name))
        done = sum([await _expire(ctx, partition, own, before) for partition, own in sorted(due.items())])
        ended += done
        if len(rows) < ROWS or not done:
            break
    return f"{ended} ended"


async def _expire(ctx: Context, partition: int, due: list[tuple[str, str]], before: datetime) -> int:
    """Under the lock of the partition: a worker's batch holds counters in memory, and writes them as it has them."""
    async with ctx["pool"].acquire() as conn, conn.transaction():
        await conn.execute(REBUILD["limit_wait"], f"{LOCK_SECONDS * 1000:.0f}ms")
        try:
            async with conn.transaction():
                await conn.execute(REBUILD["wait_for_partition"], partition)
        except asyncpg.LockNotAvailableError:
            return 0
        return await states.expire(conn, due, before)


async def close_periods(ctx: Context) -> str:
    """Close what is over, `closeAfterHours` behind its end; what comes later is a correction, with a revision."""
    async with ctx["pool"].acquire() as conn:
        hours = (await catalogs.load(conn)).usage.close_after_hours
    before, closed, number = await _watermark(ctx) - timedelta(hours=hours), 0, ROWS
    while number == ROWS:
        number = len(await ctx["pool"].fetch(QUERIES["close_periods"], before, hours, ROWS))
        closed += number
    return f"{closed} closed"


async def fold_usage(ctx: Context) -> str:
    """Fold what changed of the counters into the sums of the overview, a transaction for each pass."""
    folded, number = 0, rollups.ROWS
    while number == rollups.ROWS:
        async with ctx["pool"].acquire() as conn, conn.transaction():
            number = await rollups.fold(conn)
        folded += number
    return f"{folded} folded"


async def drop_reservations(ctx: Context) -> str:
    """Retention: ended reservations go with the day of their facts; counters and accounts stay."""
    day = datetime.now(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    before = day - timedelta(days=ctx["settings"].retention_days)
    return f"{await ctx['pool'].fetchval(QUERIES['drop_reservations'], before)} dropped"


async def compare_counters(ctx: Context) -> str:
    """Count the counters that are not the sums of their records, for the metric; `jobs recalculate` says more."""
    rows = await ctx["pool"].fetch(QUERIES["compare_usage"], timeout=COMPARE_SECONDS)
    for row in rows[:SHOWN]:
        logger.error("a counter is not the sum of its records", **{name: str(value) for name, value in row.items()})
    await ctx["log"].hset(keys.DIFFERING, "usage_counters", str(len(rows)))  # type: ignore[misc]
    return f"{len(rows)} differ"
