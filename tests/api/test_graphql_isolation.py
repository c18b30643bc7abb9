"""Whose progress: everything that a user token may not see or do looks as if it were not there."""

from __future__ import annotations

from typing import Any

import pytest

from tests.api.graph import COURSE, CREATE, DELETE, FIND, LIST, MARK, PATH, STATS, UPDATE, WATCH, Learner, fresh
from tests.api.service import Service, running

BY_KEY = "query ($user: ID!, $lesson: ID!) { userProgressByUserAndLesson(userId: $user, lessonId: $lesson) { code } }"
BY_KEY_SET = """mutation ($user: ID!, $lesson: ID!) {
  updateUserProgressByUserAndLesson(userId: $user, lessonId: $lesson, updateUserProgressInput: { completed: true }) {
    code
  }
}"""


def _about(user: str) -> list[tuple[str, dict[str, Any]]]:
    """Every field that names a user, asked of this one."""
    named = {"user": user, "lesson": "lesson", "course": "course"}
    return [
        (LIST, {"filter": {"userId": user}}),
        (BY_KEY, {"user": user, "lesson": "lesson"}),
        (COURSE, {"user": user, "course": "course"}),
        (STATS, {"user": user}),
        (CREATE, {"input": {"userId": user, "lessonId": "lesson"}}),
        (BY_KEY_SET, {"user": user, "lesson": "lesson"}),
        (MARK, {"user": user, "lesson": "lesson"}),
        (WATCH, {"user": user, "lesson": "lesson", "seconds": 1}),
        ("query ($user: ID!) { a: getUserProgressStats(userId: $user) { code } }", {"user": named["user"]}),
        (f'{{ ...f }} fragment f on Query {{ ... {{ x: getUserProgressStats(userId: "{user}") {{ code }} }} }}', {}),
    ]


@pytest.mark.usefixtures("quiet", "buries_nothing")
async def test_somebody_else_is_forbidden_whether_or_not_they_exist(service: Service) -> None:
    own, other = Learner(service), Learner(service)
    await other.create("lesson", "course", completed=True)
    for known, unknown in zip(_about(other.id), _about(fresh("nobody")), strict=True):
        answers = [await own.post(*asked) for asked in (known, unknown)]
        assert answers[0].body == answers[1].body, known[0]
        (error,) = answers[0].body["errors"]
        assert error["extensions"] == {"code": "forbidden_subject"}
        assert set(answers[0].body["data"].values()) == {None}
    assert await service.sql.fetchval("SELECT count(*) FROM user_progress WHERE user_id = $1", other.id) == 1
    row = (await other.one(LIST))["items"][0]
    assert row["watch_time_seconds"] == 0


@pytest.mark.usefixtures("quiet", "buries_nothing")
async def test_the_id_of_somebody_elses_progress_is_unknown(service: Service) -> None:
    own, other = Learner(service), Learner(service)
    row = await other.create("lesson", completed=False)
    for query, of in (
        (FIND, lambda given: {"id": given}),
        (DELETE, lambda given: {"id": given}),
        (UPDATE, lambda given: {"input": {"id": given, "completed": True}}),
    ):
        known, unknown = [await own.one(query, of(given)) for given in (row["id"], fresh("progress"))]
        assert known == unknown
        assert known["code"] == "unknown_progress"
    assert (await other.one(FIND, {"id": row["id"]}))["data"] == row


@pytest.mark.usefixtures("quiet", "buries_nothing")
async def test_one_forbidden_field_does_not_fail_those_beside_it(service: Service) -> None:
    own = Learner(service)
    two = (
        f'{name}: getUserProgressStats(userId: "{user}") {{ success }}' for name, user in (("a", "x"), ("b", own.id))
    )
    asked = f"{{ {' '.join(two)} }}"
    answer = await own.post(asked, Accept_Language="de")
    assert (answer.status, answer.body["data"]) == (200, {"a": None, "b": {"success": True}})
    (error,) = answer.body["errors"]
    assert (error["path"], error["message"]) == (["a"], "Sie können nur Ihren eigenen Fortschritt sehen und ändern.")


@pytest.mark.usefixtures("quiet")
async def test_who_nobody_knows(service: Service) -> None:
    body = {"query": '{ getUserProgressStats(userId: "u") { success } }'}
    ways: list[dict[str, Any]] = [
        {"by": None},
        {"by": "mp_" + "x" * 43},
        {"by": "no.such.token"},
        {"by": service.token("u", aud="another")},
        {"by": None, "Authorization": "Basic !!"},
    ]
    for way in ways:
        answer = await service.send(body, PATH, **way)
        assert answer.status == 401
        assert "data" not in answer.body
        assert answer.body["error"]["code"] == answer.body["errors"][0]["extensions"]["code"]
        assert answer.headers["WWW-Authenticate"].startswith("Bearer")
    public = await service.make_key("ingest")
    answer = await service.send(body, f"{PATH}?key={public}", by=None)
    assert (answer.status, answer.body["error"]["code"]) == (401, "unauthorized")


@pytest.mark.usefixtures("quiet")
async def test_scopes(service: Service) -> None:
    stats, mark = (STATS, {"user": "u"}), (MARK, {"user": fresh("u"), "lesson": fresh("l")})
    for scope, good, bad in (("read", stats, mark), ("ingest", mark, stats)):
        somebody = Learner(service, await service.make_key(scope))
        assert (await somebody.one(*good))["success"] is True
        answer = await somebody.post(*bad)
        assert (answer.status, answer.body["error"]["code"]) == (403, "missing_scope")


async def test_a_lesson_of_another_course_and_an_unknown_one(service: Service) -> None:
    course, lesson = fresh("course"), fresh("lesson")
    put = {"title": "Joinery", "lessons": [{"id": lesson, "title": "Saws"}]}
    answer = await service.ask("PUT", f"/v1/courses/{course}", put, by=await service.make_key("admin"))
    assert answer.status in {200, 201}
    learner = Learner(service)
    given = {"userId": learner.id, "lessonId": lesson, "courseId": fresh("course")}
    found = await learner.one(CREATE, {"input": given}, Accept_Language="de")
    assert (found["success"], found["code"], found["data"]) == (False, "lesson_of_another_course", None)
    assert found["message"] == "Die Lektion gehört zu einem anderen Kurs."
    await service.sql.execute("DELETE FROM dead_letters WHERE code = 'lesson_of_another_course'")


async def test_every_field_counts_against_the_rate_limit(settings: Any) -> None:
    limited = settings.model_copy(update={"rate_limit_update": "10/minute", "rate_limit_read": "5/minute"})
    async with running(limited, draining=True) as service:
        learner = Learner(service, service.token(who := fresh("learner")))
        aliases = " ".join(
            f'm{n}: markLessonAsCompleted(userId: "{who}", lessonId: "l{n}") {{ code }}' for n in range(12)
        )
        answer = await learner.post(f"mutation {{ {aliases} }}")
        assert answer.status == 200
        assert [error["path"] for error in answer.body["errors"]] == [["m10"], ["m11"]]
        assert {error["extensions"]["code"] for error in answer.body["errors"]} == {"rate_limited"}
        again = await learner.post(f'mutation {{ markLessonAsCompleted(userId: "{who}", lessonId: "l") {{ code }} }}')
        assert (again.status, again.body["error"]["code"]) == (429, "rate_limited")
        assert int(again.headers["Retry-After"]) > 0
        reads = " ".join(f'q{n}: getUserProgressStats(userId: "{who}") {{ code }}' for n in range(6))
        assert len((await learner.post(f"{{ {reads} }}")).body["errors"]) == 1


async def test_looking_for_ids_that_are_not_there_counts_too(settings: Any) -> None:
    limited = settings.model_copy(update={"rate_limit_read": "2/minute"})
    async with running(limited) as service:
        learner = Learner(service)
        query = 'mutation { deleteUserProgress(id: "nobody") { code } }'
        assert [(await learner.post(query)).status for _ in range(3)] == [200, 200, 429]
