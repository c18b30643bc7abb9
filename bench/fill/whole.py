"""A database as it is after 90 days of use: sessions, the API's own times, and the states of the other families."""

from __future__ import annotations

from datetime import datetime

from bench.fill import numbers, others, own_metrics
from bench.fill.numbers import Moved
from bench.fill.tracking import DAYS, Fill
from db import connect
from jobs.analytics.recounting import Sums


async def fill(database_url: str, sessions: int, now: datetime, moved: Moved) -> int:
    """So many sessions, one known person for ten of them, in an empty database; how many interactions there are."""
    interactions = await Fill(database_url, now, moved).run(sessions)
    conn = await connect.postgres(database_url)
    sums = Sums({}, {})
    own_metrics.add(sums, DAYS, now)
    await numbers.save(conn, sums, now, moved)
    await others.fill(conn, sessions // 10, now, lambda _done, name: moved(-1, name))
    moved(-1, "vacuum")
    await conn.execute("VACUUM ANALYZE", timeout=1800)
    await conn.close()
    return interactions
