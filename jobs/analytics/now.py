"""What happens now: sessions, actions a minute, the newest actions, the API's pace. A few rows, never a scan."""

from __future__ import annotations

from collections import defaultdict
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import asyncpg
import msgspec

from jobs.analytics import cells
from jobs.analytics.answers import QUERIES, Answer
from jobs.analytics.cells import MINUTE, cut
from jobs.analytics.counting import Latest
from jobs.analytics.recounting import moment

ACTIVE: Final = timedelta(minutes=5)
MINUTES: Final = 30
PACE_MINUTES: Final = 5


async def read(conn: asyncpg.Connection, now: datetime) -> Answer:
    """As of `now`; minutes without actions are told, too. Times of the API in ms, null without a request."""
    this = cut(now.timestamp(), "minute")
    starts = [moment(this - n * MINUTE) for n in reversed(range(MINUTES))]
    counts: dict[datetime, int] = dict.fromkeys(starts, 0)
    for start, _, _, n, _, _ in await conn.fetch(
        QUERIES["series_cells"], "minute", ["actions"], starts[0], moment(this + MINUTE)
    ):
        counts[start] += n
    return {
        "at": now,
        "activeSessions": await conn.fetchval(QUERIES["active_sessions"], now - ACTIVE),
        "actionsPerMinute": [{"minute": start, "actions": n} for start, n in counts.items()],
        "latest": [_told(one) for one in await _latest(conn)],
        "api": await _pace(conn, this),
    }


async def _latest(conn: asyncpg.Connection) -> list[Latest]:
    return msgspec.json.decode(await conn.fetchval(QUERIES["latest_actions"]), type=list[Latest])


def _told(one: Latest) -> dict[str, Any]:
    at = datetime.fromtimestamp(one.at, UTC)
    return {"at": at, "kind": one.kind, "name": one.name, "sessionId": one.session_id}


async def _pace(conn: asyncpg.Connection, this: int) -> Answer:
    begin, end = moment(this - PACE_MINUTES * MINUTE), moment(this + MINUTE)
    times: dict[int, int] = defaultdict(int)
    found = await conn.fetch(QUERIES["histograms"], "minute", "metric:api_response_time", begin, end)
    for index, n in (pair for row in found for pair in zip(row["buckets"], row["counts"], strict=True)):
        times[index] += n
    return {
        "requests": sum(times.values()),
        "p50Ms": cells.quantile(times, 0.5),
        "p95Ms": cells.quantile(times, 0.95),
    }
