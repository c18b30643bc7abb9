"""A worker with courses: some actions of learners, and what Postgres, Redis and a rebuild have of them."""

from __future__ import annotations

import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

from db import connect, keys
from db.appending import Log
from jobs import rebuild
from jobs.action import Action, is_id
from jobs.courses import catalog, models, recompute
from jobs.courses.catalog import LessonBody, NamedCourse
from tests.jobs.learning import act
from tests.jobs.making import START
from tests.worker.rig import Rig
from worker.follow_ups import FollowUps

OLD = START - timedelta(days=1)


async def teach(rig: Rig, *courses: tuple[str, Sequence[str], str]) -> None:
    """Store courses: id, lessons, rule."""
    named = [
        NamedCourse(title=one.title(), lessons=[LessonBody(name, name) for name in ids], certificate=rule, id=one)  # type: ignore[arg-type]
        for one, ids, rule in courses
    ]
    async with rig.pool.acquire() as conn, conn.transaction():
        await catalog.put(conn, named, OLD)


def some(
    rng: random.Random, number: int, prefix: str = "a", claims: Sequence[str | None] = (None, "winds")
) -> list[Action]:
    """Distinct actions in odd order."""
    made = []
    for n in range(number):
        kind = rng.choice(
            ["watched", "progress_set", "completed", "completed", "reopened", "progress_deleted", "enrolled"]
        )
        user, minute, lesson = rng.choice("abc"), rng.randrange(8), rng.choice(["bowline", "hitch", "jib", "whistle"])
        data: dict[str, Any] = {"lessonId": lesson}
        if kind == "enrolled":
            data = {"courseId": rng.choice(["knots", "sails", "winds"]), "learnerName": rng.choice("XYZ")}
        elif lesson == "whistle" and kind != "progress_deleted" and (claim := rng.choice(claims)):
            data["courseId"] = claim
        if kind == "watched":
            data["seconds"] = rng.randrange(60)
        if kind == "progress_set":
            data |= rng.choice([{}, {"completed": rng.random() < 0.5}, {"watchTimeSeconds": rng.randrange(200)}])
        name = "course.enrolled" if kind == "enrolled" else f"lesson.{kind}"
        made.append(act(f"{prefix}{n}", name, user=user, minute=minute, **data))
    return made


async def shown(rig: Rig) -> tuple[Any, Any, Any]:
    """Lessons, courses and certificates as Postgres has them, in the form of the oracle."""
    columns = "user_id, lesson_id, id, course_id, completed, watch_time_seconds, created_at, updated_at"
    rows = await rig.pool.fetch(f"SELECT {columns} FROM user_progress WHERE deleted_at IS NULL")
    names = ("userId", "lessonId", "id", "courseId", "completed", "watch_time_seconds", "createdAt", "updatedAt")
    lessons = {(row[0], row[1]): dict(zip(names, row, strict=True)) for row in rows}
    reckoned = "enrolled_at, last_at, lessons_total, lessons_completed, watch_time_seconds, completed_at, learner_name"
    rows = await rig.pool.fetch(
        f"SELECT user_id, course_id, {reckoned} FROM user_courses WHERE enrolled_at IS NOT NULL"
    )
    courses = {(row[0], row[1]): dict(list(row.items())[2:]) for row in rows}
    held = await rig.pool.fetch("SELECT user_id, course_id FROM certificates")
    return lessons, courses, {tuple(row) for row in held}


async def model(rig: Rig, name: str, user: str) -> bytes | None:
    """A read model as it stands in Redis."""
    found: bytes | None = await rig.client.get(keys.model(rig.partition(f"user:{user}"), name))
    return found


async def check_models(rig: Rig) -> None:
    """Each model is what a read of Postgres would fill in."""
    users = await rig.fetch("SELECT DISTINCT user_id FROM user_courses")
    async with rig.pool.acquire() as conn:
        for user in users:
            assert await model(rig, models.statistics_name(user), user) == await models.load_statistics(conn, user)
            held = await models.load_certificates(conn, user)
            assert await model(rig, models.certificates_name(user), user) == held
            for course_id in await rig.fetch("SELECT course_id FROM user_courses WHERE user_id = $1", user):
                if course_id:
                    loaded = await models.load_course(conn, user, course_id)
                    assert await model(rig, models.course_name(user, course_id), user) == loaded


async def differences(rig: Rig, *, check: bool = True) -> dict[tuple[str, str], set[str]]:
    """What a rebuild finds, by table and key."""
    found: dict[tuple[str, str], set[str]] = {}
    conn, other = [await connect.postgres(rig.settings.database_url) for _ in range(2)]
    try:
        run = rebuild.Rebuild(
            conn,
            other,
            rig.client,
            check,
            lambda table, key, said: found.update({(table, key): {one[0] for one in said}}),
        )
        await run.run()
    finally:
        await conn.close()
        await other.close()
    return found


@asynccontextmanager
async def follow_ups(rig: Rig) -> AsyncIterator[FollowUps]:
    """What brings recomputed and looked-up actions back into the log."""
    journal = Log(rig.client, rig.settings.partitions, sys.maxsize)
    journal.refusal, journal.waits = None, []
    journal.start()
    try:
        yield FollowUps(rig.pool, journal)
    finally:
        await journal.stop()


async def recomputed(rig: Rig, chunk: int = 2) -> int:
    """All changed courses, through the log; how many actions that took."""
    await recompute.run(rig.pool, datetime.now(UTC), chunk)
    assert not any(map(is_id, await rig.fetch("SELECT id FROM follow_ups"))), "a client could use them up beforehand"
    async with follow_ups(rig) as back:
        number = await back.sweep()
    await rig.finish()
    return number
