"""What operators see of the onboarding: where users leave the checklist, and what they do for the first time."""

from __future__ import annotations

from typing import Any, Final

import asyncpg
from aiohttp import web

from api import answer, time_range, who
from api.time_range import TimeRange
from jobs.catalog import Onboarding
from jobs.onboarding.checklist import percentage
from jobs.onboarding.rows import QUERIES


async def read(request: web.Request) -> web.Response:
    """GET /admin/plg/onboarding/overview?timeRange=: of the users whose onboarding began to move in that time."""
    state = await who.operator(request)
    wanted = time_range.read(request, state.clock.now())
    async with state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        body = await _told(conn, wanted, state.catalog.onboarding)
    return answer.fresh(body)


async def _told(conn: asyncpg.Connection, wanted: TimeRange, catalog: Onboarding) -> dict[str, Any]:
    totals = await conn.fetchrow(QUERIES["onboarding_totals"], *wanted)
    steps = await conn.fetch(QUERIES["onboarding_steps_overview"], *wanted)
    done = {row["action"]: row for row in await conn.fetch(QUERIES["onboarding_actions_overview"], *wanted)}
    users = totals["users"]
    return {
        "from": wanted.begin,
        "to": wanted.end,
        "totals": {**totals, "completionRate": _share(totals["completed"], users)},
        "steps": [_step(row) for row in steps],
        "actions": [_action(one.action, done.get(one.action), users) for one in catalog.actions],
    }


def _step(row: asyncpg.Record) -> dict[str, Any]:
    """`entered`: stood before the step; `dropOff`: the share of those who went no further, 0 to 1."""
    entered = row["entered"]
    return {
        "step": row["step"],
        "entered": entered,
        "completed": row["completed"],
        "skipped": row["skipped"],
        "dropOff": _share(entered - row["passed"], entered),
        "medianTimeSpentSeconds": _seconds(row["time_spent"]),
        "medianTimeBetweenStepsSeconds": _seconds(row["between_steps"]),
    }


def _action(name: str, row: asyncpg.Record | None, users: int) -> dict[str, Any]:
    number, times = (0, 0) if row is None else (row["users"], row["times"])
    return {"action": name, "users": number, "times": times, "percentage": percentage(number, max(users, 1))}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(float(value), 3)


ROUTES: Final = (web.get("/admin/plg/onboarding/overview", read),)
