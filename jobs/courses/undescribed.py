"""Actions about lessons and courses that nobody has described: asked for elsewhere, then sent again."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final

import asyncpg
import msgspec

from db import log, sql
from jobs.action import Action
from jobs.courses import answers, catalog
from jobs.courses.catalog import MOST_LESSONS, Conflict, LessonBody, NamedCourse
from jobs.courses.fold import LOOKED_UP
from jobs.courses.lookups import Lookups

QUERIES: Final = sql.read("course_lookups")
ROWS: Final = 200
LEASE_SECONDS: Final = 30.0
"""After which the look-ups of a process that died are taken by another."""
logger = log.get("lookups")
_action: Final = msgspec.msgpack.Decoder(Action)


class _Wanted(msgspec.Struct, rename="camel"):
    lesson_id: str | None = None
    course_id: str | None = None


async def run(pool: asyncpg.Pool, lookups: Lookups | None, now: datetime) -> int:
    """Ask for what the waiting actions name, and let them come again; how many.

    What is found is stored first; what is not, or by nobody who answers, comes again with a mark, so that the catalog
    decides. Dying at any moment leaves the actions where they are, to be taken again.
    """
    number = 0
    while rows := await pool.fetch(QUERIES["take_lookups"], ROWS, LEASE_SECONDS):
        actions = [_action.decode(row["body"]) for row in rows]
        wanted = [msgspec.json.decode(action.data, type=_Wanted) for action in actions]
        lessons, courses = await _ask(lookups, wanted) if lookups else ({}, {})
        async with pool.acquire() as conn:
            await _store(conn, [*lessons.values()], courses, now)
            async with conn.transaction():
                await again(conn, [_marked(action) for action in actions])
                keys = [row["subject"] for row in rows], [row["id"] for row in rows]
                await conn.execute(QUERIES["delete_lookups"], *keys)
        number += len(rows)
    return number


def _marked(action: Action) -> Action:
    return msgspec.structs.replace(action, flags=action.flags | LOOKED_UP)


async def again(conn: asyncpg.Connection, actions: Sequence[Action]) -> None:
    """Into the log by way of the follow-ups, whose sweep takes them at its next turn."""
    rows = sorted((one.subject, f"courses:{one.id}", msgspec.msgpack.encode(one)) for one in actions)
    if rows:
        await conn.execute(QUERIES["send_again"], *map(list, zip(*rows, strict=True)))


async def _ask(
    lookups: Lookups, wanted: Sequence[_Wanted]
) -> tuple[dict[str, answers.Lesson], dict[str, answers.Course]]:
    """The lessons that exist, and the courses that are named or hold them."""
    lesson_ids = sorted({one.lesson_id for one in wanted if one.lesson_id is not None})
    lessons = await _all(lesson_ids, lookups.lesson)
    course_ids = {one.course_id for one in wanted if one.course_id is not None and one.lesson_id is None}
    course_ids |= {one.course_id for one in lessons.values() if one.course_id is not None}
    return lessons, await _all(sorted(course_ids), lookups.course)


async def _all(ids: Sequence[str], ask: Any) -> dict[str, Any]:
    found = await asyncio.gather(*map(ask, ids), return_exceptions=True)
    for one in found:
        if isinstance(one, BaseException) and not isinstance(one, answers.NoAnswer):
            raise one
    return {key: one for key, one in zip(ids, found, strict=True) if one and not isinstance(one, BaseException)}


async def _store(
    conn: asyncpg.Connection, lessons: Iterable[answers.Lesson], courses: dict[str, answers.Course], now: datetime
) -> None:
    """Courses with the lessons that they list. A lesson that its course does not list is known, and not counted:

    a course of which only single lessons are known would be completed, and certified, with the first of them.
    """
    for course in courses.values():
        try:
            async with conn.transaction():
                await catalog.put(conn, [await _described(conn, course)], now)
        except Conflict as error:
            logger.warning("a course that was looked up is not taken", course=course.id, error=str(error))
    for lesson in lessons:
        if lesson.course_id is not None and await catalog.read(conn, lesson.course_id) is not None:
            async with conn.transaction():
                await catalog.know(conn, lesson.id, lesson.course_id, lesson.title or lesson.id, now)


async def _described(conn: asyncpg.Connection, course: answers.Course) -> NamedCourse:
    held = await catalog.read(conn, course.id)
    listed = {one.id: LessonBody(one.id, one.title or one.id, _whole(one.duration_seconds)) for one in course.lessons}
    lessons = list(listed.values())[:MOST_LESSONS] or (held.lessons if held else [])
    rule = held.certificate if held else "course_completed"
    return NamedCourse(title=course.title or course.id, lessons=lessons, certificate=rule, id=course.id)


def _whole(seconds: float | None) -> int | None:
    return None if seconds is None else round(seconds)
