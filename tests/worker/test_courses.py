"""Courses through the whole pipe: the log, a drain, Postgres, Redis."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import pytest

from db import keys
from db.settings import Settings
from jobs import course_models as models
from jobs.action import Action
from tests.jobs.making import NOW, START
from tests.worker import rig as rigs
from tests.worker.rig import Rig

MINUTE = timedelta(minutes=1)


def act(action_id: str, kind: str, *, user: str = "ada", minute: int = 0, flags: int = 0, **data: Any) -> Action:
    """An action of a user, as the door makes it."""
    body = json.dumps(data).encode()
    return Action(action_id, kind, f"user:{user}", START + minute * MINUTE, NOW, flags, body, user)


@pytest.fixture
async def rig(settings: Settings) -> AsyncIterator[Rig]:
    """A worker on a database of its own, with one course of two lessons."""
    async with rigs.rig(settings) as made:
        await made.pool.execute(
            "INSERT INTO courses (course_id, title, certificate, version, updated_at)"
            " VALUES ('knots', 'Knots', 'course_completed', 1, $1)",
            START - timedelta(days=1),
        )
        await made.pool.execute(
            "INSERT INTO lessons (lesson_id, course_id, title, position)"
            " VALUES ('bowline', 'knots', 'Bowline', 0), ('hitch', 'knots', 'Hitch', 1)"
        )
        yield made


async def model(rig: Rig, name: str, user: str = "ada") -> Any:
    """A read model as it stands in Redis."""
    found = await rig.client.get(keys.model(rig.partition(f"user:{user}"), name))
    return None if found is None else json.loads(found)


async def test_a_course_is_completed_and_certified(rig: Rig) -> None:
    await rig.put(
        [
            act("1", "course.enrolled", courseId="knots", learnerName="Ada L."),
            act("2", "lesson.watched", lessonId="bowline", seconds=60),
            act("3", "lesson.completed", lessonId="bowline", minute=1),
            act("4", "lesson.completed", lessonId="hitch", courseId="knots", minute=2),
            act("4", "lesson.completed", lessonId="hitch", courseId="knots", minute=2),
        ]
    )
    await rig.finish()
    assert await rig.dead() == []
    course = await model(rig, models.course_name("ada", "knots"))
    assert (course["completed_lessons"], course["total_lessons"], course["progress_percentage"]) == (2, 2, 100)
    assert course["total_watch_time"] == 60
    assert [lesson["lessonId"] for lesson in course["lessons"]] == ["bowline", "hitch"]
    (held,) = (await model(rig, models.certificates_name("ada")))["certificates"]
    assert (held["courseTitle"], held["status"]) == ("Knots", "valid")
    assert (await model(rig, models.statistics_name("ada")))["total_lessons_completed"] == 2
    assert await rig.fetch("SELECT type FROM effects") == ["certificate.issued"]
    assert await rig.fetch("SELECT learner_name FROM certificates") == ["Ada L."]
