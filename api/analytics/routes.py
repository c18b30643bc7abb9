"""What operators ask of sessions: `/api/admin/analytics/`. Every answer says through when it holds."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import datetime
from typing import Any, Final

import asyncpg
from aiohttp import web

from api import answer, errors, pages, time_range, who
from api.errors import Problem
from api.state import State
from jobs.analytics import answers, conversion, journey, overview, paths, performance, popular
from jobs.analytics.answers import Answer, Span
from jobs.analytics.funnel_catalog import DEFAULT
from jobs.tracking.family import QUERIES as TRACKING
from jobs.tracking.session import Session

BASE: Final = "/api/admin/analytics"
TOP: Final = 10
MOST: Final = 100
METRIC: Final = "api_response_time"

Asked = Callable[[asyncpg.Connection, web.Request, State, datetime], Awaitable[Answer]]


def route(path: str, asked: Asked) -> web.RouteDef:
    """A read of one answer, by admins, in one snapshot of the database."""

    async def handle(request: web.Request) -> web.Response:
        state = await who.operator(request)
        now = state.clock.now()
        try:
            async with state.answering.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
                body = await asked(conn, request, state, now)
                body["appliedThrough"] = await answers.through(conn, now)
        except asyncpg.SerializationError:
            # A replica ends a read that keeps it from going on.
            raise Problem("database_unavailable", "the database ended this read: send it again") from None
        return answer.fresh(body)

    return web.get(f"{BASE}/{path}", handle)


def _span(request: web.Request, now: datetime) -> Span:
    wanted = time_range.read(request, now)
    return answers.span(wanted.begin, wanted.end, now)


def bots(request: web.Request) -> bool:
    """Whether bots are counted, too."""
    text = request.query.get("bots", "exclude")
    if text not in {"exclude", "include"}:
        raise errors.parameter("bots", "bots is include or exclude")
    return text == "include"


async def _overview(conn: asyncpg.Connection, request: web.Request, state: State, now: datetime) -> Answer:
    return await overview.read(conn, _span(request, now), bots=bots(request))


async def _funnel(conn: asyncpg.Connection, request: web.Request, state: State, now: datetime) -> Answer:
    name = request.query.get("funnel", DEFAULT)
    chosen = conversion.named(state.catalog, name)
    known = [DEFAULT, *(one.name for one in state.catalog.funnels)]
    if chosen is None:
        said = f"there is no such funnel; there are {', '.join(known)}"
        raise errors.parameter("funnel", said)
    return await conversion.read(conn, _span(request, now), chosen, bots=bots(request)) | {"funnels": known}


async def _popular(conn: asyncpg.Connection, request: web.Request, state: State, now: datetime) -> Answer:
    return await popular.read(conn, pages.number(request, "limit", TOP, MOST), bots=bots(request))


async def _performance(conn: asyncpg.Connection, request: web.Request, state: State, now: datetime) -> Answer:
    metric = request.query.get("metric", METRIC)[:256]
    found = await performance.read(conn, _span(request, now), metric if _is_text(metric) else "")
    return found | {"metrics": await performance.names(conn)}


async def _retention(conn: asyncpg.Connection, request: web.Request, state: State, now: datetime) -> Answer:
    weeks = pages.number(request, "weeks", answers.WEEKS, 52)
    return await answers.retention(conn, time_range.until(request, now), weeks)


async def _paths(conn: asyncpg.Connection, request: web.Request, state: State, now: datetime) -> Answer:
    wanted, limit = _span(request, now), pages.number(request, "limit", 20, MOST)
    return await paths.read(conn, wanted, limit, bots=bots(request))


async def _journey(conn: asyncpg.Connection, request: web.Request, state: State, now: datetime) -> Answer:
    session_id = request.query.get("sessionId", "")
    if not session_id:
        raise errors.parameter("sessionId", "sessionId names the session")
    rows = await conn.fetch(TRACKING["load_sessions"], [session_id]) if _is_text(session_id) else []
    if not rows:
        raise Problem("not_found", "there is no such session")
    session = Session(*rows[0])
    found: dict[str, Any] = {"session": session}
    return found | await journey.read(conn, session)


def _is_text(text: str) -> bool:
    """Whether Postgres may hold this at all."""
    return "\0" not in text and not any("\ud800" <= character <= "\udfff" for character in text)


ROUTES: Final = (
    route("overview", _overview),
    route("user-journey", _journey),
    route("popular-configs", _popular),
    route("conversion-funnel", _funnel),
    route("performance", _performance),
    route("retention", _retention),
    route("paths", _paths),
)
