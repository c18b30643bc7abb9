"""What operators see of the referrals: how many become what, who refers most, what was granted."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from aiohttp import web

from api import answer, pages, time_range, who
from api.referrals.routes import QUERIES
from api.time_range import TimeRange

EVER: Final = TimeRange(datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC))
TOP: Final = 10
MOST_TOP: Final = 100


async def read(request: web.Request) -> web.Response:
    """GET /admin/plg/referrals/overview?timeRange=&limit=: of the claims of that time; of all without one."""
    state = await who.operator(request)
    named = {"timeRange", "from", "to"} & request.query.keys()
    wanted = time_range.read(request, state.clock.now()) if named else EVER
    top = pages.number(request, "limit", TOP, MOST_TOP)
    async with state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        body = await _told(conn, wanted, top)
    return answer.fresh(body)


async def _told(conn: asyncpg.Connection, wanted: TimeRange, top: int) -> dict[str, Any]:
    counts = dict(await conn.fetchrow(QUERIES["referrals_overview"], *wanted))
    seconds = counts.pop("seconds")
    return {
        "from": wanted.begin if wanted is not EVER else None,
        "to": wanted.end if wanted is not EVER else None,
        "codes": await conn.fetchval(QUERIES["count_referral_codes"], *wanted),
        **counts,
        "conversionRate": _share(counts["completed"] + counts["rewarded"], counts["total"]),
        "medianSecondsToComplete": None if seconds is None else round(float(seconds), 3),
        "topReferrers": [
            {**row, "conversionRate": _share(row["converted"], row["total"])}
            for row in await conn.fetch(QUERIES["top_referrers"], *wanted, top)
        ],
        "rewards": [dict(row) for row in await conn.fetch(QUERIES["rewards_overview"], *wanted)],
    }


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


ROUTES: Final = (web.get("/admin/plg/referrals/overview", read),)
