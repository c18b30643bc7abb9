"""The mutations of the GraphQL schema: each is one action, judged, appended and awaited like any other."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from api import updates
from api.errors import Problem
from api.graph.call import Envelope, Field, no, ok, resolver
from api.graph.queries import find, whole
from jobs.action import Draft


@resolver
async def create_user_progress(field: Field, create_user_progress_input: dict[str, Any]) -> Envelope:
    """Begin a lesson. What is false or 0 is left out, so that it takes nothing back where there is progress."""
    given = create_user_progress_input
    data = {
        "lessonId": given["lesson_id"],
        "courseId": given.get("course_id"),
        "completed": given.get("completed") or None,
        "watchTimeSeconds": given.get("watch_time_seconds") or None,
    }
    return await _send(field, given["user_id"], "lesson.progress_set", data, "progress.created")


@resolver
async def update_user_progress(field: Field, update_user_progress_input: dict[str, Any]) -> Envelope:
    """Change the row that the input's id names."""
    given = update_user_progress_input
    if given.get("id") is None:
        raise Problem("invalid_data", "updateUserProgress needs it", status=422, details={"path": "id"})
    row = await find(field.call, given["id"])
    if row is None:
        return no(field.call, "unknown_progress", "there is no such progress")
    return await _set(field, row.user_id, row.lesson_id, given)


@resolver
async def update_user_progress_by_user_and_lesson(
    field: Field, user_id: str, lesson_id: str, update_user_progress_input: dict[str, Any]
) -> Envelope:
    """Change the row that user and lesson name; it begins here if there is none."""
    return await _set(field, user_id, lesson_id, update_user_progress_input)


@resolver
async def delete_user_progress(field: Field, id: str) -> Envelope:  # noqa: A002 - the argument's name
    """Put a row away."""
    row = await find(field.call, id)
    if row is None:
        return no(field.call, "unknown_progress", "there is no such progress")
    return await _send(field, row.user_id, "lesson.progress_deleted", {"lessonId": row.lesson_id}, "progress.deleted")


@resolver
async def mark_lesson_as_completed(
    field: Field, user_id: str, lesson_id: str, course_id: str | None = None
) -> Envelope:
    """The lesson is done."""
    data = {"lessonId": lesson_id, "courseId": course_id}
    return await _send(field, user_id, "lesson.completed", data, "lesson.completed")


@resolver
async def update_lesson_watch_time(
    field: Field, user_id: str, lesson_id: str, seconds: int, course_id: str | None = None
) -> Envelope:
    """Seconds add up."""
    data = {"lessonId": lesson_id, "courseId": course_id, "seconds": seconds}
    return await _send(field, user_id, "lesson.watched", data, "lesson.watch_time_updated")


async def _set(field: Field, user_id: str, lesson_id: str, given: dict[str, Any]) -> Envelope:
    data = {
        "lessonId": lesson_id,
        "completed": given.get("completed"),
        "watchTimeSeconds": given.get("watch_time_seconds"),
    }
    return await _send(field, user_id, "lesson.progress_set", data, "progress.updated")


async def _send(field: Field, user_id: str, kind: str, data: dict[str, Any], said: str) -> Envelope:
    """One action; its outcome's row, or word that it will be applied."""
    call = field.call
    user = call.user(user_id)
    await call.count("update", user)
    content = msgspec.json.encode({name: value for name, value in data.items() if value is not None})
    # One key for several mutations: the same place of the same request is the same action when it comes again.
    action_id = None if call.key is None else f"{call.key}:{field.name}"
    draft = Draft(kind=kind, id=action_id, user_id=user, data=msgspec.Raw(content))
    update = await updates.send(call.state, call.sender, draft, call.seconds())
    call.positions.append(update.position)
    if update.outcome is None:
        return ok(call, "request.accepted", data=None) | {"code": "accepted"}
    row = update.outcome["progress"]
    return ok(call, said, data=row | {"watch_time_seconds": whole(row["watch_time_seconds"])})


MUTATIONS: Final = {
    "createUserProgress": create_user_progress,
    "updateUserProgress": update_user_progress,
    "updateUserProgressByUserAndLesson": update_user_progress_by_user_and_lesson,
    "deleteUserProgress": delete_user_progress,
    "markLessonAsCompleted": mark_lesson_as_completed,
    "updateLessonWatchTime": update_lesson_watch_time,
}
