"""The courses as they are taught: what `PUT /v1/courses/{id}` stores.

A course and its lessons change behind a lock that every batch of course actions shares: what was reckoned by the old
course is committed by then, and `course.changed` of each of its users, applied later, reckons it anew.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Final

import asyncpg
import msgspec
from msgspec import Meta

from db import sql
from jobs.courses.certificate import Rule
from jobs.kind import ID_PATTERN, Id

QUERIES: Final = sql.read("course_catalog")
MOST_LESSONS: Final = 2000
MOST_COURSES: Final = 500
Title = Annotated[str, Meta(min_length=1, max_length=500, pattern=ID_PATTERN)]
Duration = Annotated[int, Meta(ge=0, le=10_000_000)]


class LessonBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True, frozen=True):
    """One lesson, in its place."""

    id: Id
    title: Title
    duration_seconds: Duration | None = None


class CourseBody(msgspec.Struct, rename="camel", forbid_unknown_fields=True):
    """A whole course: lessons that are not named are its own no longer."""

    title: Title
    lessons: Annotated[list[LessonBody], Meta(max_length=MOST_LESSONS)]
    certificate: Rule = "course_completed"


class NamedCourse(CourseBody, rename="camel", forbid_unknown_fields=True, kw_only=True):
    """A course among others."""

    id: Id


class Conflict(Exception):
    """A lesson cannot be of this course: code, message, path in the body."""

    def __init__(self, code: str, message: str, path: str) -> None:
        super().__init__(message)
        self.code, self.path = code, path


class Stored(msgspec.Struct, rename="camel"):
    """A course as it is kept."""

    id: str
    title: str
    certificate: Rule
    lessons: list[LessonBody]
    version: int
    updated_at: datetime


async def read(conn: asyncpg.Connection, course_id: str) -> Stored | None:
    """The course with its current lessons, in order; None when there is none, or it was deleted."""
    row = await conn.fetchrow(QUERIES["read_course"], course_id)
    if row is None or row["deleted_at"] is not None:
        return None
    lessons = [LessonBody(*one) for one in await conn.fetch(QUERIES["read_lessons"], course_id)]
    return Stored(course_id, row["title"], row["certificate"], lessons, row["version"], row["updated_at"])


async def put(conn: asyncpg.Connection, courses: Sequence[NamedCourse], now: datetime, root: str = "$") -> list[Stored]:
    """Store courses, all or none; one that is there already stays as it is, with its version. Raises Conflict.

    `root`: where they lie in the body, `{}` for their index. The caller owns the transaction, and commits at once:
    until then no batch of course actions goes on.
    """
    await conn.execute(QUERIES["lock_courses"])
    held = [await read(conn, course.id) for course in courses]
    # All of them let go of lessons before one takes any: a lesson may move between courses, whatever their order.
    for course in courses:
        await conn.execute(QUERIES["remove_lessons"], course.id, [lesson.id for lesson in course.lessons], now)
    return [
        await _put(conn, course, known, now, root.format(index))
        for index, (course, known) in enumerate(zip(courses, held, strict=True))
    ]


async def _put(conn: asyncpg.Connection, course: NamedCourse, held: Stored | None, now: datetime, root: str) -> Stored:
    await _check(conn, course, root)
    if held is not None and (held.title, held.certificate, held.lessons) == (
        course.title,
        course.certificate,
        course.lessons,
    ):
        return held
    version = await conn.fetchval(QUERIES["store_course"], course.id, course.title, course.certificate, now)
    if course.lessons:
        columns = map(list, zip(*map(msgspec.structs.astuple, course.lessons), strict=True))
        await conn.execute(QUERIES["store_lessons"], course.id, *columns)
    return Stored(course.id, course.title, course.certificate, course.lessons, version, now)


async def _check(conn: asyncpg.Connection, course: NamedCourse, root: str) -> None:
    places: dict[str, str] = {}
    for index, lesson in enumerate(course.lessons):
        path = f"{root}.lessons[{index}].id"
        if lesson.id in places:
            raise Conflict("invalid_body", f"lesson {lesson.id!r} stands twice", path)
        places[lesson.id] = path
    taken = {row[0]: row[1] for row in await conn.fetch(QUERIES["lessons_of_others"], course.id, list(places))}
    for lesson_id, path in places.items():
        if lesson_id in taken:
            message = f"lesson {lesson_id!r} belongs to course {taken[lesson_id]!r}"
            raise Conflict("lesson_of_another_course", message, path)


async def know(conn: asyncpg.Connection, lesson_id: str, course_id: str, title: str, now: datetime) -> None:
    """A lesson that is none of the current ones of its course, unless it is there already."""
    await conn.execute(QUERIES["lock_courses"])
    await conn.execute(QUERIES["know_lesson"], lesson_id, course_id, title, now)


async def delete(conn: asyncpg.Connection, course_id: str, now: datetime) -> bool:
    """Forget a course and its lessons; progress and certificates stay. Whether there was one."""
    await conn.execute(QUERIES["lock_courses"])
    if await conn.fetchval(QUERIES["delete_course"], course_id, now) is None:
        return False
    await conn.execute(QUERIES["remove_lessons"], course_id, [], now)
    return True
