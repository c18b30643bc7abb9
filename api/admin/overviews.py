"""What the dashboard shows beside the analytics: newest sessions, courses, the pipe."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime
from typing import Any, Final

import asyncpg
from aiohttp import web

from api import answer, pages, time_range, who
from api.analytics.routes import bots, route
from api.state import State
from db import sql
from jobs import status
from jobs.analytics import answers
from jobs.analytics.answers import Answer, share
from jobs.place import SessionPlace

QUERIES: Final = sql.read("admin")
LATEST, MOST = 50, 200
COURSES: Final = 1000
_LAST: Final = SessionPlace(datetime.max.replace(tzinfo=UTC), "")
WAIT: Final = 5.0
"""Seconds for a connection, before Postgres counts as away."""


async def _sessions(conn: asyncpg.Connection, request: web.Request, _: State, now: datetime) -> Answer:
    """Newest first, those behind `cursor`; of bots with `bots=include` only."""
    asked, everybody = time_range.read(request, now, "24h"), bots(request)
    wanted = answers.span(asked.begin, asked.end, now)
    limit = pages.number(request, "limit", LATEST, MOST)
    # Behind nothing that began at the end of the range, whatever it is called.
    behind = min(pages.place(request.query.get("cursor"), SessionPlace.parse) or _LAST, SessionPlace(wanted.end, ""))
    rows = await conn.fetch(
        QUERIES["latest_sessions"], wanted.begin, *behind, limit + 1, [False, True] if everybody else [False]
    )
    kept = rows[:limit]
    return {
        **answers.told(wanted),
        "bots": 0 if everybody else await answers.bot_sessions(conn, wanted),
        "sessions": [_session(row) for row in kept],
        "cursor": str(SessionPlace(kept[-1]["at"], kept[-1]["session_id"])) if len(rows) > limit else None,
    }


def _session(row: asyncpg.Record) -> dict[str, Any]:
    return {
        "sessionId": row["session_id"],
        "subject": row["subject"],
        "startedAt": row["at"],
        "lastAt": row["last_at"],
        "endedAt": row["ended_at"],
        "completedAt": row["completed_at"],
        "interactions": row["interactions"],
        "deviceType": row["device_type"],
        "lastCategory": row["last_category"],
        "totalPrice": row["total_price"],
        "completionPercentage": row["completion_percentage"],
        "isBot": row["is_bot"],
    }


async def _courses(conn: asyncpg.Connection, request: web.Request, _: State, now: datetime) -> Answer:
    """`completionRate`: of those enrolled, 0..1; certificates are the valid ones."""
    rows = await conn.fetch(QUERIES["courses_overview"], pages.number(request, "limit", COURSES, COURSES))
    return {"totals": _course(_sum(rows)), "courses": [_described(row) for row in rows]}


def _sum(rows: list[asyncpg.Record]) -> dict[str, int]:
    return {name: sum(row[name] for row in rows) for name in ("enrolments", "completions", "watch_time", *_GIVEN)}


_GIVEN: Final = ("valid", "revoked")


def _course(counts: Any) -> dict[str, Any]:
    return {
        "enrolments": counts["enrolments"],
        "completions": counts["completions"],
        "completionRate": share(counts["completions"], counts["enrolments"]),
        "watchTimeSeconds": counts["watch_time"],
        "certificates": counts["valid"],
        "revokedCertificates": counts["revoked"],
    }


def _described(row: asyncpg.Record) -> dict[str, Any]:
    named = {"courseId": row["course_id"], "title": row["title"], "isDeleted": bool(row["deleted"])}
    return named | _course(row)


async def pipe(request: web.Request) -> web.Response:
    """GET /api/admin/pipe: what `python -m jobs status` shows; it answers although Redis or Postgres is away."""
    state = await who.operator(request)
    return answer.fresh(await status.ask(state.settings, state.pool.acquire(timeout=WAIT), nullcontext(state.redis)))


ROUTES: Final = (
    route("sessions", _sessions),
    route("courses", _courses),
    web.get("/api/admin/pipe", pipe),
)
