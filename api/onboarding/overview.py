"""What operators see of the onboarding: where users leave the checklist, and what they do for the first time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import asyncpg
from aiohttp import web

from api import answer, time_range, who
from api.time_range import TimeRange
from jobs.catalog import Onboarding
from jobs.onboarding import days
from jobs.onboarding.checklist import percentage
from jobs.onboarding.days import Numbers, Step


async def read(request: web.Request) -> web.Response:
    """GET /admin/plg/onboarding/overview?timeRange=: of the users whose onboarding began to move in that time."""
    state = await who.operator(request)
    wanted = time_range.read(request, state.clock.now())
    async with state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        body = await _told(conn, wanted, state.catalog.onboarding)
    return answer.fresh(body)


async def _told(conn: asyncpg.Connection, wanted: TimeRange, catalog: Onboarding) -> dict[str, Any]:
    steps, numbers = await days.overview(conn, *wanted)
    completed, users = numbers.all_completed + numbers.all_skipped, numbers.users
    totals = {"users": users, "completed": completed, "skipped": numbers.all_skipped}
    return {
        "from": wanted.begin,
        "to": wanted.end,
        "totals": {**totals, "completionRate": _share(completed, users)},
        "steps": _steps(steps, numbers),
        "actions": [_action(one.action, *numbers.actions.get(one.action, (0, 0)), users) for one in catalog.actions],
    }


def _steps(names: Sequence[str], numbers: Numbers) -> list[dict[str, Any]]:
    """`entered`: stood before the step; `dropOff`: the share of those who went no further, 0 to 1."""
    rows = [numbers.steps.get(name) or Step() for name in names]
    entered = sum(row.ended for row in rows)
    told = []
    for place, (name, row) in enumerate(zip(names, rows, strict=True)):
        # Who closed a step entered the next one, and all of them the first.
        passed = entered - (rows[place - 1].ended if place else 0)
        told.append(_step(name, row, entered, passed))
        entered = passed
    return told


def _step(name: str, row: Step, entered: int, passed: int) -> dict[str, Any]:
    return {
        "step": name,
        "entered": entered,
        "completed": row.completed,
        "skipped": row.skipped,
        "dropOff": _share(entered - passed, entered),
        "medianTimeSpentSeconds": _seconds(days.median(row.spent)),
        "medianTimeBetweenStepsSeconds": _seconds(days.median(row.between)),
    }


def _action(name: str, number: int, times: int, users: int) -> dict[str, Any]:
    return {"action": name, "users": number, "times": times, "percentage": percentage(number, max(users, 1))}


def _share(part: int, whole: int) -> float:
    return round(part / whole, 4) if whole else 0.0


def _seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 3)


ROUTES: Final = (web.get("/admin/plg/onboarding/overview", read),)
