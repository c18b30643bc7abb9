"""The read models of a user's courses: their names, their bodies, and how a miss loads them."""

from __future__ import annotations

from typing import Any, Final

import asyncpg
import msgspec

from db import sql
from jobs.courses import certificate as certificates
from jobs.courses import course as progress
from jobs.courses import lesson as lessons
from jobs.courses.certificate import Certificate
from jobs.courses.course import Enrolment
from jobs.courses.lesson import LessonProgress
from jobs.courses.states import QUERIES as STATES
from jobs.courses.states import States

QUERIES: Final = sql.read("course_reads")
_encode: Final = msgspec.json.Encoder().encode


def course_name(user_id: str, course_id: str) -> str:
    """Of a user in a course. The length tells where one id ends: both may hold colons."""
    return f"progress:{len(user_id)}:{user_id}:{course_id}"


def statistics_name(user_id: str) -> str:
    """Of all courses of a user."""
    return f"stats:{user_id}"


def certificates_name(user_id: str) -> str:
    """Of all certificates of a user."""
    return f"certificates:{user_id}"


def course_body(enrolment: Enrolment, rows: list[LessonProgress]) -> bytes:
    """`GET /v1/progress/courses/{id}`: the course's progress, and that of its lessons."""
    return _encode({**progress.details(enrolment), "lessons": lessons.views(rows)})


def statistics_body(enrolments: list[Enrolment]) -> bytes:
    """`GET /v1/progress/stats`."""
    return _encode(progress.statistics(enrolments))


def certificates_body(held: list[Certificate], titles: dict[str, str]) -> bytes:
    """`GET /v1/certificates`: by time of issue."""
    ordered = sorted(held, key=lambda one: (one.issued_at, one.serial))
    return _encode({"certificates": [certificates.view(one, titles.get(one.course_id)) for one in ordered]})


def live_body(enrolment: Enrolment) -> bytes:
    """The snapshot for those who look on: the course without its lessons."""
    return _encode(progress.details(enrolment))


def certificate_body(held: Certificate, title: str | None, public_url: str = "") -> bytes:
    """The snapshot of one certificate."""
    return _encode(certificates.addressed(certificates.view(held, title), public_url))


def written(states: States) -> list[tuple[str, bytes]]:
    """The models of what a batch has changed."""
    found = []
    for (user_id, course_id), standing in states.changed_standings.items():
        if course_id:
            rows = list(standing.rows.values())
            found.append((course_name(user_id, course_id), course_body(standing.enrolment, rows)))
    for user_id in {user_id for user_id, _ in states.changed_standings}:
        own = list(states.enrolments[user_id].values())
        found.append((statistics_name(user_id), statistics_body(own)))
    # A course that changed may have another title, which stands in its certificates.
    changed = states.changed_certificates.keys() | states.changed_standings.keys()
    for user_id in {user_id for user_id, course_id in changed if course_id in states.certificates[user_id]}:
        held = list(states.certificates[user_id].values())
        found.append((certificates_name(user_id), certificates_body(held, states.titles)))
    return found


async def load_course(conn: asyncpg.Connection, user_id: str, course_id: str) -> bytes | None:
    """The model of a user in a course; None when they have nothing to do with it."""
    row = await conn.fetchrow(QUERIES["read_enrolment"], user_id, course_id)
    if row is None:
        return None
    rows = await conn.fetch(STATES["load_progress"], [user_id], [course_id], [])
    return course_body(Enrolment(*row), [LessonProgress(*one) for one in rows])


async def load_statistics(conn: asyncpg.Connection, user_id: str) -> bytes | None:
    """The model of all courses of a user; None when there are none."""
    rows = await conn.fetch(STATES["load_enrolments"], [user_id])
    return statistics_body([Enrolment(*row) for row in rows]) if rows else None


async def load_certificates(conn: asyncpg.Connection, user_id: str) -> bytes | None:
    """The model of all certificates of a user; None when there are none."""
    rows = await conn.fetch(STATES["load_certificates"], [user_id])
    titles = {row["course_id"]: row["title"] for row in rows}
    return certificates_body([Certificate(*row[:-1]) for row in map(tuple, rows)], titles) if rows else None


EMPTY_STATISTICS: Final = statistics_body([])
EMPTY_CERTIFICATES: Final = certificates_body([], {})


async def course_of_nobody(conn: asyncpg.Connection, course_id: str) -> dict[str, Any] | None:
    """What a user who has not begun a course is shown of it; None when nobody has described it."""
    row = await conn.fetchrow(QUERIES["count_lessons"], course_id)
    if row is None:
        return None
    times = {"enrolledAt": None, "lastAt": None, "completedAt": None}
    return {"courseId": course_id, **progress.counts(0, row["total"], 0), **times, "lessons": []}
