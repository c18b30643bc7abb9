"""What operators see of everybody's usage, in the periods that run now: by plan and meter, who uses most, who is near.

As Postgres has it at the moment of the request: the lists from one row for each subject, meter and period, the overview
from their sums (jobs/usage/rollups.py).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, Final

import asyncpg
from aiohttp import web

from api import answer, pages, who
from api.pages import Page
from api.state import State
from api.usage import meters
from db import sql
from jobs.usage import quota, rows
from jobs.usage.rows import QUERIES as STATES
from jobs.usage.rows import Account

QUERIES: Final = sql.read("usage_reports")
_SUMMED: Final = ("subjects", "used", "reserved", "near", "reached")


async def overview(request: web.Request) -> web.Response:
    """GET /v1/admin/usage/overview: usage by plan and by meter."""
    state = await who.operator(request)
    now = state.clock.now()
    async with state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        accounts = await conn.fetch(QUERIES["count_accounts_by_plan"], now)
        found = await conn.fetch(QUERIES["usage_by_plan"], now, _near(state))
    return answer.fresh({"at": now, "nearPercent": _near(state), **told(accounts, found, state.plans.default)})


def told(
    accounts: Iterable[Mapping[str, Any]], found: Iterable[Mapping[str, Any]], default: str
) -> dict[str, list[dict[str, Any]]]:
    """The rows as `plans`, each with its meters, and as `meters`, of all plans."""
    subjects: dict[str, int] = defaultdict(int)
    for row in accounts:
        subjects[row["plan"] or default] += row["subjects"]
    plans = {name: {"plan": name, "subjects": number, "meters": []} for name, number in sorted(subjects.items())}
    by_meter: dict[str, dict[str, Any]] = {}
    for row in found:
        one: Any = plans.setdefault(row["plan"], {"plan": row["plan"], "subjects": 0, "meters": []})
        own = {name: row[name] for name in _SUMMED}
        one["meters"].append({"action": row["action"], **own})
        held = by_meter.setdefault(row["action"], {"action": row["action"], **dict.fromkeys(_SUMMED, 0)})
        by_meter[row["action"]] = held | {name: held[name] + own[name] for name in _SUMMED}
    return {"plans": list(plans.values()), "meters": list(by_meter.values())}


async def top(request: web.Request) -> web.Response:
    """GET /v1/admin/usage/top?action=&limit=&page=: who used most."""
    state = await who.operator(request)
    now = state.clock.now()
    action, page = meters.demanded(request, state), pages.read(request)
    found = await state.pool.fetch(QUERIES["usage_top"], now, action, *page)
    listed = [_one(row, row["plan"], row["limit_value"], action) for row in found]
    return answer.fresh({"at": now, "action": action, "subjects": listed, "more": len(found) == page.limit})


async def near(request: web.Request) -> web.Response:
    """GET /v1/admin/usage/near-limit?action=&percent=&limit=&page=: the fullest first."""
    state = await who.operator(request)
    now = state.clock.now()
    action, page = meters.of(request, state), pages.read(request)
    percent = pages.number(request, "percent", _near(state), 1000)
    async with state.pool.acquire() as conn:
        listed, more = await _pressed(conn, state, now, action, percent, page)
    return answer.fresh({"at": now, "percent": percent, "subjects": listed, "more": more})


async def _pressed(
    conn: asyncpg.Connection, state: State, now: datetime, action: str | None, percent: int, page: Page
) -> tuple[list[dict[str, Any]], bool]:
    """Those that the limits of now are near to: who was given more since they were judged is left out."""
    found = await conn.fetch(QUERIES["usage_near_limit"], now, action, percent, *page)
    subjects = sorted({row["subject"] for row in found})
    accounts = {row["subject"]: rows.account(row) for row in await conn.fetch(STATES["load_usage_accounts"], subjects)}
    listed = []
    for row in found:
        account = accounts.get(row["subject"]) or Account(row["subject"], now)
        plan, limit = account.limit(row["action"], now, state.plans)
        if limit.limit and row["used"] * 100 >= percent * limit.limit:
            listed.append(_one(row, plan, limit.limit, row["action"]))
    return listed, len(found) == page.limit


def _one(row: Mapping[str, Any], plan: str, limit: int | None, action: str) -> dict[str, Any]:
    return {
        "subject": row["subject"],
        "action": action,
        "plan": plan,
        "used": row["used"],
        "reserved": row["reserved"],
        "limit": limit,
        "percentage": quota.percentage(row["used"], limit),
        "periodEnd": row["period_end"],
        "updatedAt": row["updated_at"],
    }


def _near(state: State) -> int:
    """The lowest threshold of the catalog."""
    return min(state.catalog.usage.thresholds, default=80)


ROUTES: Final = (
    web.get("/v1/admin/usage/overview", overview),
    web.get("/v1/admin/usage/top", top),
    web.get("/v1/admin/usage/near-limit", near),
)
