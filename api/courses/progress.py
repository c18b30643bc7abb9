"""Progress in courses: of a lesson, of a course, of all. The same over GraphQL is in api/graph/endpoint.py."""

from __future__ import annotations

from typing import Final

import msgspec
from aiohttp import web

from api import errors, pages, reads, who
from api.errors import Problem
from api.state import State
from jobs.action import is_id
from jobs.courses import lesson as lessons
from jobs.courses import models
from jobs.courses import reads as course_reads
from jobs.courses.reads import Wanted

DEFAULT_ROWS: Final = 20


async def own(request: web.Request) -> web.Response:
    """GET /v1/progress: the lessons of a user, the newest change first."""
    state, user_id, limits = await _begin(request)
    wanted = _wanted(request, user_id)
    reached = await reads.after(request, state)
    async with state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        page = await course_reads.page(conn, wanted)
    body = {"items": [lessons.view(row) for row in page.rows], "pagination": page.pagination}
    return reads.answer(request, msgspec.json.encode(body), reached, limits)


async def course(request: web.Request) -> web.Response:
    """GET /v1/progress/courses/{courseId}: how far a user is, with their lessons."""
    state, user_id, limits = await _begin(request)
    course_id = named_course(request)
    reached = await reads.after(request, state)
    name = models.course_name(user_id, course_id)
    body = await reads.model(state, f"user:{user_id}", name, lambda conn: models.load_course(conn, user_id, course_id))
    return reads.answer(request, body or await _untouched(state, course_id), reached, limits)


async def statistics(request: web.Request) -> web.Response:
    """GET /v1/progress/stats: all courses of a user together, and each."""
    state, user_id, limits = await _begin(request)
    reached = await reads.after(request, state)
    name = models.statistics_name(user_id)
    body = await reads.model(state, f"user:{user_id}", name, lambda conn: models.load_statistics(conn, user_id))
    return reads.answer(request, body or models.EMPTY_STATISTICS, reached, limits)


async def _begin(request: web.Request) -> tuple[State, str, dict[str, str]]:
    state, sender = await who.reader(request)
    user_id = who.user(request, sender)
    return state, user_id, await state.rates.check(sender, "read", user_id)


async def _untouched(state: State, course_id: str) -> bytes:
    """Not kept: it would not change with the course."""
    async with state.pool.acquire() as conn:
        found = await models.course_of_nobody(conn, course_id)
    if found is None:
        raise Problem("not_found", "there is no such course, and this user is in none of this name")
    return msgspec.json.encode(found)


def named_course(request: web.Request) -> str:
    """The id of the path. Raises Problem 400."""
    return _id("courseId", request.match_info["courseId"])


def _id(name: str, value: str) -> str:
    if not is_id(value):
        raise errors.parameter(name, "an id is 1 to 128 characters without control characters")
    return value


def _wanted(request: web.Request, user_id: str) -> Wanted:
    query = request.query
    named = {name: _id(name, query[name]) for name in ("courseId", "lessonId") if name in query}
    completed = query.get("completed")
    if completed not in (None, "true", "false"):
        raise errors.parameter("completed", "completed is true or false")
    done = None if completed is None else completed == "true"
    page = pages.read(request, DEFAULT_ROWS, course_reads.MOST_ROWS)
    return Wanted(user_id, named.get("courseId"), named.get("lessonId"), done, page.number, page.limit)


ROUTES: Final = (
    web.get("/v1/progress", own),
    web.get("/v1/progress/stats", statistics),
    web.get("/v1/progress/courses/{courseId}", course),
)
