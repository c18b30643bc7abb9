"""The queries of the GraphQL schema: from the cached models where there is one, else one indexed look at Postgres."""

from __future__ import annotations

import math
from typing import Any, Final

import asyncpg
import msgspec

from api import reads, who
from api.errors import Problem
from api.graph.call import Call, Envelope, Field, no, ok, resolver
from db import sql
from jobs.courses import lesson as lessons
from jobs.courses import models
from jobs.courses import reads as course_reads
from jobs.courses.lesson import LessonProgress

LISTS: Final = sql.read("course_lists")
MOST_ITEMS: Final = 100
FARTHEST: Final = 100_000


class _Course(msgspec.Struct):
    """The cached model of a course, without its lessons."""

    courseId: str  # noqa: N815 - as GraphQL has it
    total_lessons: int | None
    completed_lessons: int
    progress_percentage: float | None
    total_watch_time: int


class _Statistics(msgspec.Struct):
    total_courses_enrolled: int
    total_lessons_completed: int
    total_watch_time_hours: float


_course: Final = msgspec.json.Decoder(_Course)
_statistics: Final = msgspec.json.Decoder(_Statistics)


@resolver
async def user_progress_list(
    field: Field,
    filter: dict[str, Any] | None = None,  # noqa: A002 - the argument's name
    page: int | None = 1,
    limit: int | None = 10,
) -> Envelope:
    """One page of lessons, the newest change first."""
    call, wanted = field.call, filter or {}
    user, course, lesson = (wanted.get(name) for name in ("user_id", "course_id", "lesson_id"))
    user = call.own if user is None else call.user(user, "filter.userId")
    for given, path in ((course, "filter.courseId"), (lesson, "filter.lessonId")):
        if given is not None:
            who.named(given, path)
    if user is None and course is None and lesson is None:
        raise Problem("missing_subject", "name a userId, a courseId or a lessonId", details={"path": "filter"})
    page, limit = 1 if page is None else page, 10 if limit is None else limit
    _check_page(page, limit)
    await call.count("read", user)
    query, names = _listed(user, course, lesson)
    given = (*names, wanted.get("completed"))
    async with call.state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        total = await conn.fetchval(query["count"], *given)
        rows = await conn.fetch(query["list"], *given, limit, (page - 1) * limit) if total > (page - 1) * limit else []
    items = [shown(LessonProgress(*row)) for row in rows]
    pagination = {"totalItems": total, "totalPages": math.ceil(total / limit), "currentPage": page}
    return ok(call, "progress.listed", items=items, pagination=pagination)


def _check_page(page: int, limit: int) -> None:
    if not 1 <= limit <= MOST_ITEMS:
        raise Problem("invalid_parameter", f"limit is 1 to {MOST_ITEMS}", status=422, details={"path": "limit"})
    if not (page >= 1 and page * limit <= FARTHEST):
        message = f"page begins at 1, and page times limit is {FARTHEST} at most: filter instead"
        raise Problem("invalid_parameter", message, status=422, details={"path": "page"})


def _listed(user: str | None, course: str | None, lesson: str | None) -> tuple[dict[str, str], tuple[str | None, ...]]:
    """The queries that an index answers, and what they take."""
    if user is not None:
        found = models.QUERIES
        return {"count": found["count_progress"], "list": found["list_progress"]}, (user, course, lesson)
    if lesson is not None:
        return {"count": LISTS["count_lesson"], "list": LISTS["list_lesson"]}, (lesson, course)
    return {"count": LISTS["count_course"], "list": LISTS["list_course"]}, (course,)


@resolver
async def user_progress(field: Field, id: str) -> Envelope:  # noqa: A002 - the argument's name
    """One row; somebody else's is none."""
    call = field.call
    row = await find(call, id)
    if row is None:
        return no(call, "unknown_progress", "there is no such progress")
    return ok(call, "progress.found", data=shown(row))


async def find(call: Call, progress_id: str) -> LessonProgress | None:
    """The row of an id, if this sender may see it: a read, for mutations too. Raises Problem for what is no id."""
    await call.count("read", call.own)
    async with call.state.pool.acquire() as conn:
        row = await course_reads.by_id(conn, who.named(progress_id, "id"))
    return row if row is not None and call.own in {None, row.user_id} else None


@resolver
async def user_progress_by_user_and_lesson(field: Field, user_id: str, lesson_id: str) -> Envelope:
    """One row by its key."""
    call = field.call
    user, lesson = call.user(user_id), who.named(lesson_id, "lessonId")
    await call.count("read", user)
    async with call.state.pool.acquire() as conn:
        row = await course_reads.by_lesson(conn, user, lesson)
    if row is None:
        return no(call, "unknown_progress", "there is no such progress")
    return ok(call, "progress.found", data=shown(row))


@resolver
async def get_course_progress(field: Field, user_id: str, course_id: str) -> Envelope:
    """From the cache; a course that was not begun is one with nothing done."""
    call = field.call
    user, course = call.user(user_id), who.named(course_id, "courseId")
    await call.count("read", user)

    async def load(conn: asyncpg.Connection) -> bytes | None:
        return await models.load_course(conn, user, course)

    body = await reads.model(call.state, f"user:{user}", models.course_name(user, course), load)
    if body is not None:
        found = msgspec.structs.asdict(_course.decode(body))
    else:
        async with call.state.pool.acquire() as conn:
            untouched = await models.course_of_nobody(conn, course)
        if untouched is None:
            return no(call, "unknown_course", "there is no such course")
        found = untouched
    return ok(call, "course.progress_found", data=found | {"total_watch_time": whole(found["total_watch_time"])})


@resolver
async def get_user_progress_stats(field: Field, user_id: str) -> Envelope:
    """From the cache; somebody who has not begun anything has zeros."""
    call = field.call
    user = call.user(user_id)
    await call.count("read", user)

    async def load(conn: asyncpg.Connection) -> bytes | None:
        return await models.load_statistics(conn, user)

    body = await reads.model(call.state, f"user:{user}", models.statistics_name(user), load)
    return ok(call, "stats.found", data=msgspec.structs.asdict(_statistics.decode(body or models.EMPTY_STATISTICS)))


def shown(row: LessonProgress) -> dict[str, Any]:
    """A row as GraphQL has it."""
    view = lessons.view(row)
    return view | {"watch_time_seconds": whole(view["watch_time_seconds"])}


def whole(seconds: int) -> int:
    """GraphQL's Int ends at 2^31 - 1, which is 68 years."""
    return min(seconds, 2**31 - 1)


QUERIES: Final = {
    "userProgressList": user_progress_list,
    "userProgress": user_progress,
    "userProgressByUserAndLesson": user_progress_by_user_and_lesson,
    "getCourseProgress": get_course_progress,
    "getUserProgressStats": get_user_progress_stats,
}
