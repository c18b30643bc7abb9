"""The courses as they are taught, and what operators rule about certificates."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Annotated, Any, Final

import asyncpg
import msgspec
from aiohttp import web
from msgspec import Meta

from api import form, public_url, reads, updates
from api.auth import senders
from api.certificates import routes as certificates
from api.courses.progress import named_course
from api.errors import Problem
from api.state import STATE, State
from jobs.action import Draft, Sender
from jobs.courses import catalog
from jobs.courses.catalog import MOST_COURSES, Conflict, CourseBody, NamedCourse, Stored
from jobs.courses.certificate import addressed
from jobs.courses.kinds import Reason

LOCK_SECONDS: Final = 10
"""How long a change waits for the batches under way; everybody behind it waits, too."""
MOST_LESSONS_AT_ONCE: Final = 20_000


class Courses(msgspec.Struct, forbid_unknown_fields=True):
    """Body of PUT /v1/courses: all of them are stored, or none."""

    courses: Annotated[list[NamedCourse], Meta(min_length=1, max_length=MOST_COURSES)]


class Revocation(msgspec.Struct, forbid_unknown_fields=True):
    """Body of POST /v1/admin/certificates/{serial}/revoke."""

    reason: Reason


_course: Final = msgspec.json.Decoder(CourseBody)
_courses: Final = msgspec.json.Decoder(Courses)
_revocation: Final = msgspec.json.Decoder(Revocation)


async def put(request: web.Request) -> web.Response:
    """PUT /v1/courses/{courseId}: the whole course. The same content again changes nothing."""
    await _teacher(request)
    course_id, body = named_course(request), await form.read(request, _course)
    named = NamedCourse(title=body.title, lessons=body.lessons, certificate=body.certificate, id=course_id)
    (stored,) = await _store(request.app[STATE], [named], "$")
    return _json(stored)


async def put_all(request: web.Request) -> web.Response:
    """PUT /v1/courses: many at once."""
    await _teacher(request)
    courses = (await form.read(request, _courses)).courses
    if sum(len(course.lessons) for course in courses) > MOST_LESSONS_AT_ONCE:
        message = f"more than {MOST_LESSONS_AT_ONCE} lessons in one request: send several"
        raise Problem("invalid_body", message, details={"path": "$.courses"})
    seen: set[str] = set()
    for index, course in enumerate(courses):
        if course.id in seen:
            path = f"$.courses[{index}].id"
            raise Problem("invalid_body", f"course {course.id!r} stands twice", details={"path": path})
        seen.add(course.id)
    stored = await _store(request.app[STATE], courses, "$.courses[{}]")
    return _json({"courses": [{"id": one.id, "version": one.version, "updatedAt": one.updated_at} for one in stored]})


async def read(request: web.Request) -> web.Response:
    """GET /v1/courses/{courseId}: the course with its lessons."""
    state = request.app[STATE]
    await state.auth.sender(request, "read")
    course_id = named_course(request)
    async with state.pool.acquire() as conn, conn.transaction(isolation="repeatable_read", readonly=True):
        found = await catalog.read(conn, course_id)
    if found is None:
        raise Problem("not_found", "there is no such course")
    return reads.answer(request, msgspec.json.encode(found))


async def delete(request: web.Request) -> web.Response:
    """DELETE /v1/courses/{courseId}: it is taught no longer; progress and certificates stay."""
    await _teacher(request)
    course_id = named_course(request)
    async with _changing(request.app[STATE]) as conn:
        if not await catalog.delete(conn, course_id, datetime.now(UTC)):
            raise Problem("not_found", "there is no such course")
    return _json({"deleted": course_id})


async def revoke(request: web.Request) -> web.Response:
    """POST /v1/admin/certificates/{serial}/revoke: it stays, and says that it is no longer valid."""
    sender = await _admin(request)
    body = await form.read(request, _revocation)
    return await _rule(request, sender, "certificate.revoked", {"reason": body.reason})


async def reinstate(request: web.Request) -> web.Response:
    """POST /v1/admin/certificates/{serial}/reinstate: valid again, as it was."""
    return await _rule(request, await _admin(request), "certificate.reinstated", {})


async def _rule(request: web.Request, sender: Sender, kind: str, data: dict[str, Any]) -> web.Response:
    state, wait = request.app[STATE], updates.seconds(request)
    serial = certificates.serial(request.match_info["serial"])
    owner = None if serial is None else await state.pool.fetchrow(certificates.QUERIES["find_certificate"], serial)
    if owner is None:
        raise Problem("not_found", "there is no such certificate")
    content = msgspec.Raw(msgspec.json.encode({"courseId": owner["course_id"], **data}))
    draft = Draft(kind=kind, id=updates.key(request), user_id=owner["user_id"], data=content)
    update = await updates.send(state, sender, draft, wait)
    if update.outcome is None:
        return updates.accepted(update, {})
    shown = update.outcome["certificate"]
    if shown["courseId"] != owner["course_id"]:
        raise Problem("id_reused", "the id belongs to a ruling on another certificate: send a new id")
    return _json(addressed(shown, public_url.base(request)))


async def _teacher(request: web.Request) -> Sender:
    """Admins, and services: a key that may only send is one that browsers have."""
    sender = await request.app[STATE].auth.sender(request, "ingest")
    senders.require(sender, "admin" if sender.role == "user" else "read")
    return sender


async def _admin(request: web.Request) -> Sender:
    return await request.app[STATE].auth.sender(request, "admin")


async def _store(state: State, courses: Sequence[NamedCourse], root: str) -> list[Stored]:
    try:
        async with _changing(state) as conn:
            return await catalog.put(conn, courses, datetime.now(UTC), root)
    except Conflict as error:
        raise Problem(error.code, str(error), details={"path": error.path}) from None


@asynccontextmanager
async def _changing(state: State) -> AsyncIterator[asyncpg.Connection]:
    try:
        async with state.pool.acquire() as conn, conn.transaction():
            await conn.execute(f"SET LOCAL lock_timeout = '{LOCK_SECONDS}s'")
            yield conn
    except asyncpg.LockNotAvailableError:
        raise Problem("database_unavailable", "a batch of actions takes too long: try again") from None


def _json(body: object) -> web.Response:
    return web.Response(body=msgspec.json.encode(body), content_type="application/json")


ROUTES: Final = (
    web.put("/v1/courses", put_all),
    web.put("/v1/courses/{courseId}", put),
    web.get("/v1/courses/{courseId}", read),
    web.delete("/v1/courses/{courseId}", delete),
    web.post("/v1/admin/certificates/{serial}/revoke", revoke),
    web.post("/v1/admin/certificates/{serial}/reinstate", reinstate),
)
