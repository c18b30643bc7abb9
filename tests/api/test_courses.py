"""Courses over HTTP: described, learned, read, certified, and what is refused."""

from __future__ import annotations

import json
import uuid
from typing import Any

import pytest

from tests.api.service import Answer, Service


def new(name: str) -> str:
    """An id of this test's own."""
    return f"{name}-{uuid.uuid4().hex[:8]}"


def body(*lessons: str, **more: Any) -> dict[str, Any]:
    """A course with these lessons."""
    return {"title": "Knots", "lessons": [{"id": one, "title": one.title()} for one in lessons], **more}


async def learn(service: Service, kind: str, user: str, **data: Any) -> Any:
    """One action, applied; its outcome."""
    answer = await service.send({"kind": kind, "userId": user, "data": data}, Prefer="wait=10")
    assert answer.status == 200, answer
    return answer.body["results"][0]["outcome"]


@pytest.fixture
async def admin(service: Service) -> str:
    """A key that may do all."""
    return await service.make_key("admin")


@pytest.fixture
async def course(service: Service) -> tuple[str, list[str]]:
    """A course of two lessons."""
    course_id, lessons = new("course"), [new("lesson"), new("lesson")]
    answer = await service.ask("PUT", f"/v1/courses/{course_id}", body(*lessons))
    assert answer.status == 200, answer
    return course_id, lessons


async def test_a_course_is_kept_as_it_was_described(service: Service) -> None:
    course_id, lesson = new("course"), new("lesson")
    given = {
        "title": "Ünïted knots",
        "lessons": [{"id": lesson, "title": "First", "durationSeconds": 90}],
        "certificate": "lesson_completed",
    }
    put = await service.ask("PUT", f"/v1/courses/{course_id}", given)
    again = await service.ask("PUT", f"/v1/courses/{course_id}", given)
    read = await service.get(f"/v1/courses/{course_id}", by=service.token("ada", aud="milepost", scope="read"))
    assert put.status == again.status == read.status == 200
    assert (
        put.body
        == again.body
        == read.body
        == {"id": course_id, **given, "version": 1, "updatedAt": put.body["updatedAt"]}
    )
    changed = await service.ask("PUT", f"/v1/courses/{course_id}", given | {"title": "Knots"})
    assert changed.body["version"] == 2
    tag = {"If_None_Match": read.headers["ETag"]}
    assert (await service.get(f"/v1/courses/{course_id}", **tag)).status == 200


async def test_a_user_learns_and_reads_their_progress(service: Service, course: tuple[str, list[str]]) -> None:
    course_id, (one, two) = course
    user = new("user")
    token = service.token(user, aud="milepost")
    untouched = await service.get(f"/v1/progress/courses/{course_id}", by=token)
    assert (untouched.status, untouched.body["progress_percentage"], untouched.body["lessons"]) == (200, 0, [])
    assert (await service.get("/v1/progress/stats", by=token)).body["total_courses_enrolled"] == 0
    await learn(service, "lesson.watched", user, lessonId=one, seconds=1800)
    outcome = await learn(service, "lesson.completed", user, lessonId=one, courseId=course_id)
    assert outcome["progress"]["watch_time_seconds"] == 1800
    assert outcome["course"]["progress_percentage"] == 50
    read = await service.get(f"/v1/progress/courses/{course_id}", by=token)
    assert (read.body["completed_lessons"], read.body["total_lessons"], read.body["total_watch_time"]) == (1, 2, 1800)
    assert [row["lessonId"] for row in read.body["lessons"]] == [one]
    assert (
        await service.get(f"/v1/progress/courses/{course_id}", by=token, If_None_Match=read.headers["ETag"])
    ).status == 304
    stats = (await service.get("/v1/progress/stats", by=token)).body
    assert (stats["total_courses_enrolled"], stats["total_lessons_completed"], stats["total_watch_time_hours"]) == (
        1,
        1,
        0.5,
    )
    done = await learn(service, "lesson.completed", user, lessonId=two)
    certificates = (await service.get("/v1/certificates", by=token)).body["certificates"]
    assert [held["serial"] for held in certificates] == [done["certificate"]]


async def test_models_that_are_gone_are_read_from_postgres(service: Service, course: tuple[str, list[str]]) -> None:
    course_id, lessons = course
    user = new("user")
    token = service.token(user, aud="milepost")
    for lesson in lessons:
        await learn(service, "lesson.completed", user, lessonId=lesson)
    paths = (f"/v1/progress/courses/{course_id}", "/v1/progress/stats", "/v1/certificates")
    held = [(await service.get(path, by=token)).body for path in paths]
    assert [key async for key in service.redis.scan_iter("*model:*") if user.encode() in key]
    await service.redis.delete(*[key async for key in service.redis.scan_iter("*model:*")])
    assert [(await service.get(path, by=token)).body for path in paths] == held


async def test_pages_and_filters(service: Service, course: tuple[str, list[str]]) -> None:
    course_id, (one, two) = course
    user = new("user")
    await learn(service, "lesson.completed", user, lessonId=one)
    await learn(service, "lesson.watched", user, lessonId=two, seconds=5)
    await learn(service, "lesson.watched", user, lessonId=new("lesson"), seconds=5)
    await learn(service, "lesson.progress_deleted", user, lessonId=new("lesson"))

    async def ids(query: str) -> tuple[list[str], dict[str, int]]:
        answer = await service.get(f"/v1/progress?userId={user}{query}")
        assert answer.status == 200, answer
        return [row["lessonId"] for row in answer.body["items"]], answer.body["pagination"]

    assert (await ids(""))[1] == {"totalItems": 3, "totalPages": 1, "currentPage": 1}
    assert await ids(f"&courseId={course_id}&completed=true") == (
        [one],
        {"totalItems": 1, "totalPages": 1, "currentPage": 1},
    )
    assert (await ids(f"&lessonId={two}"))[0] == [two]
    first, second = await ids("&limit=2"), await ids("&limit=2&page=2")
    assert (len(first[0]), len(second[0]), second[1]["totalPages"]) == (2, 1, 2)
    assert not set(first[0]) & set(second[0])


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("query", "path"),
    [
        ("page=0", "page"),
        ("page=1e3", "page"),
        ("page=99999&limit=100", "page"),
        ("limit=101", "limit"),
        ("limit=-1", "limit"),
        ("limit=", "limit"),
        ("completed=yes", "completed"),
        ("courseId=", "courseId"),
        ("lessonId=%00", "lessonId"),
        ("lessonId=" + "x" * 129, "lessonId"),
    ],
)
async def test_bad_parameters(service: Service, query: str, path: str) -> None:
    answer = await service.get(f"/v1/progress?userId=ada&{query}")
    assert (answer.status, answer.error["code"], answer.error["details"]) == (400, "invalid_parameter", {"path": path})


@pytest.mark.usefixtures("quiet")
async def test_nobody_reads_or_writes_for_somebody_else(service: Service, course: tuple[str, list[str]]) -> None:
    course_id, (one, _) = course
    token = service.token("mallory", aud="milepost")
    for path in ("/v1/progress", "/v1/progress/stats", f"/v1/progress/courses/{course_id}"):
        for user in ("ada", new("nobody")):
            answer = await service.get(f"{path}?userId={user}", by=token)
            assert (answer.status, answer.error["code"]) == (403, "forbidden_subject")
    action = {"kind": "lesson.completed", "userId": "ada", "data": {"lessonId": one}}
    assert (await service.send(action, by=token)).error["code"] == "forbidden_subject"
    for kind, data in (
        ("course.changed", {"courseId": course_id, "version": 2}),
        ("certificate.revoked", {"courseId": course_id, "reason": "envy"}),
        ("certificate.reinstated", {"courseId": course_id}),
    ):
        for by in (token, ""):
            answer = await service.send({"kind": kind, "userId": "mallory", "data": data}, by=by)
            assert (answer.status, answer.error["code"]) == (403, "forbidden_kind")


@pytest.mark.usefixtures("quiet")
async def test_who_may_describe_courses(service: Service) -> None:
    path = f"/v1/courses/{new('course')}"
    browser = await service.make_key("ingest")
    reader = await service.make_key("read")
    user = service.token("ada", aud="milepost")
    for by in (browser, reader, user):
        for method, given in (("PUT", body()), ("DELETE", None)):
            answer = await service.ask(method, path, given, by=by)
            assert (answer.status, answer.error["code"]) == (403, "missing_scope")
    assert (await service.get(path)).status == 404
    assert (await service.ask("PUT", path, body(), by=None)).status == 401


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("kind", "data", "path"),
    [
        ("lesson.watched", {"lessonId": "a", "seconds": -1}, "$.data.seconds"),
        ("lesson.watched", {"lessonId": "a", "seconds": 86_401}, "$.data.seconds"),
        ("lesson.watched", {"lessonId": "a", "seconds": 1.5}, "$.data.seconds"),
        ("lesson.watched", {"lessonId": "a"}, "$.data"),
        ("lesson.progress_set", {"lessonId": "a", "watchTimeSeconds": 100_000_001}, "$.data.watchTimeSeconds"),
        ("lesson.progress_set", {"lessonId": "a", "completed": "yes"}, "$.data.completed"),
        ("lesson.completed", {"lessonId": ""}, "$.data.lessonId"),
        ("lesson.completed", {"lessonId": "x" * 129}, "$.data.lessonId"),
        ("lesson.completed", {"lessonId": "a\n"}, "$.data.lessonId"),
        ("lesson.completed", {"lessonId": "a\u0085"}, "$.data.lessonId"),
        ("lesson.completed", {"lessonId": "a", "userId": "bob"}, "$.data"),
        ("course.enrolled", {"courseId": "a", "learnerName": "x" * 201}, "$.data.learnerName"),
        ("course.enrolled", {}, "$.data"),
    ],
)
async def test_bad_data_stops_at_the_door(service: Service, kind: str, data: dict[str, Any], path: str) -> None:
    answer = await service.send({"kind": kind, "userId": "ada", "data": data})
    assert (answer.status, answer.error["code"], answer.error["details"]["path"]) == (422, "invalid_data", path)


async def test_an_action_without_a_user(service: Service) -> None:
    answer = await service.send({"kind": "lesson.completed", "data": {"lessonId": "a"}})
    assert (answer.status, answer.error["code"]) == (422, "missing_subject")


async def test_a_lesson_of_another_course_is_told_to_who_waits(service: Service, course: tuple[str, list[str]]) -> None:
    _, (one, _) = course
    user = new("user")
    outcome = await learn(service, "lesson.completed", user, lessonId=one, courseId="other")
    assert outcome["error"] == "lesson_of_another_course"
    assert (await service.get(f"/v1/progress?userId={user}")).body["items"] == []
    dead = await service.sql.fetch("DELETE FROM dead_letters WHERE subject = $1 RETURNING code", f"user:{user}")
    assert [row["code"] for row in dead] == ["lesson_of_another_course"]


def refused(answer: Answer) -> tuple[int, str, Any]:
    """Status, code and path."""
    return answer.status, answer.error["code"], (answer.error.get("details") or {}).get("path")


@pytest.mark.usefixtures("quiet")
async def test_bad_courses(service: Service, course: tuple[str, list[str]]) -> None:
    course_id, (one, _) = course
    other = f"/v1/courses/{new('course')}"
    cases: list[tuple[Any, tuple[int, str, str | None]]] = [
        (body("a", "b", "a"), (422, "invalid_body", "$.lessons[2].id")),
        (body(new("l"), one), (422, "lesson_of_another_course", "$.lessons[1].id")),
        (body(*map(str, range(2001))), (422, "invalid_body", "$.lessons")),
        (body(certificate="maybe"), (422, "invalid_body", "$.certificate")),
        (body("a") | {"title": ""}, (422, "invalid_body", "$.title")),
        (body("a") | {"title": "a\x00"}, (422, "invalid_body", "$.title")),
        ({"title": "a"}, (422, "invalid_body", "$")),
        ({"title": "a", "lessons": [{"id": "a"}]}, (422, "invalid_body", "$.lessons[0]")),
        (
            {"title": "a", "lessons": [{"id": "a", "title": "a", "durationSeconds": -1}]},
            (422, "invalid_body", "$.lessons[0].durationSeconds"),
        ),
        (body() | {"id": "b"}, (422, "invalid_body", "$")),
        (b"{", (400, "malformed_json", None)),
        (b'{"title": "\xed\xa0\x80", "lessons": []}', (400, "malformed_json", None)),
        (b'{"title": "\\ud800", "lessons": []}', (400, "malformed_json", None)),
        (b'{"title": "x", "lessons": ' + b"[" * 100_000, (422, "invalid_body", "$.lessons[0]")),
    ]
    for given, expected in cases:
        found = await service.ask("PUT", other, given)
        assert refused(found) == expected, given
    assert (await service.get(other)).status == 404
    assert (await service.ask("PUT", f"/v1/courses/{'x' * 129}", body())).error["code"] == "invalid_parameter"
    assert (await service.get("/v1/courses/%0a")).error["code"] == "invalid_parameter"
    assert (await service.get(f"/v1/courses/{course_id}")).body["version"] == 1


@pytest.mark.usefixtures("quiet")
async def test_many_courses_or_none(service: Service, course: tuple[str, list[str]]) -> None:
    _, (taken, _) = course
    one, two = new("course"), new("course")
    bad = {"courses": [{"id": one, **body(new("l"))}, {"id": two, **body(taken)}]}
    assert refused(await service.ask("PUT", "/v1/courses", bad)) == (
        422,
        "lesson_of_another_course",
        "$.courses[1].lessons[0].id",
    )
    assert (await service.get(f"/v1/courses/{one}")).status == 404
    twice = {"courses": [{"id": one, **body()}, {"id": one, **body()}]}
    assert refused(await service.ask("PUT", "/v1/courses", twice)) == (422, "invalid_body", "$.courses[1].id")
    assert refused(await service.ask("PUT", "/v1/courses", {"courses": []})) == (422, "invalid_body", "$.courses")
    good = {"courses": [{"id": one, **body(new("l"))}, {"id": two, **body(new("l"))}]}
    for _ in range(2):
        answer = await service.ask("PUT", "/v1/courses", good)
        assert [(row["id"], row["version"]) for row in answer.body["courses"]] == [(one, 1), (two, 1)]


async def test_lessons_change_places_in_one_request(service: Service) -> None:
    one, other, (a, b) = new("course"), new("course"), (new("lesson"), new("lesson"))
    for here, there in ((a, b), (b, a)):
        courses = [{"id": one, **body(here)}, {"id": other, **body(there)}]
        assert (await service.ask("PUT", "/v1/courses", {"courses": courses})).status == 200
        assert [lesson["id"] for lesson in (await service.get(f"/v1/courses/{one}")).body["lessons"]] == [here]
        assert [lesson["id"] for lesson in (await service.get(f"/v1/courses/{other}")).body["lessons"]] == [there]
    both = [{"id": one, **body(a)}, {"id": other, **body(a)}]
    said = refused(await service.ask("PUT", "/v1/courses", {"courses": both}))
    assert said == (422, "lesson_of_another_course", "$.courses[0].lessons[0].id")
    assert [lesson["id"] for lesson in (await service.get(f"/v1/courses/{one}")).body["lessons"]] == [b]


async def test_a_deleted_course_frees_its_lessons(service: Service, course: tuple[str, list[str]]) -> None:
    course_id, lessons = course
    user = new("user")
    await learn(service, "lesson.completed", user, lessonId=lessons[0])
    assert (await service.ask("DELETE", f"/v1/courses/{course_id}")).body == {"deleted": course_id}
    assert (await service.ask("DELETE", f"/v1/courses/{course_id}")).status == 404
    assert (await service.get(f"/v1/courses/{course_id}")).status == 404
    outcome = await learn(service, "lesson.watched", user, lessonId=lessons[0], seconds=1)
    assert outcome["course"] == {
        "courseId": course_id,
        "total_lessons": None,
        "completed_lessons": 1,
        "progress_percentage": None,
        "total_watch_time": 1,
    }
    assert (await service.ask("PUT", f"/v1/courses/{new('course')}", body(*lessons))).status == 200


async def test_a_certificate_is_revoked_and_reinstated(
    service: Service, course: tuple[str, list[str]], admin: str
) -> None:
    _, lessons = course
    user = new("user")
    outcome = [await learn(service, "lesson.completed", user, lessonId=lesson) for lesson in lessons][-1]
    path = f"/v1/admin/certificates/{outcome['certificate']}"
    assert (await service.ask("POST", f"{path}/revoke", {"reason": "x"})).error["code"] == "missing_scope"
    first = (await service.get(f"/v1/certificates?userId={user}")).body["certificates"][0]
    key = {"Idempotency_Key": new("key")}
    revoked = await service.ask("POST", f"{path}/revoke", {"reason": "fraud"}, by=admin, **key)
    again = await service.ask("POST", f"{path}/revoke", {"reason": "other"}, by=admin, **key)
    assert revoked.status == 200, revoked
    assert revoked.body == again.body
    assert (revoked.body["status"], revoked.body["serial"]) == ("revoked", outcome["certificate"])
    kept = (await service.get(f"/v1/certificates?userId={user}")).body["certificates"]
    assert kept == [first | {"status": "revoked"}] == [revoked.body]
    reused = await service.ask("POST", f"{path}/reinstate", by=admin, **key)
    assert (reused.status, reused.error["code"]) == (422, "id_reused")  # nobody is told that it was done
    valid = await service.ask("POST", f"{path.lower()}/reinstate", by=admin)
    assert valid.body == first
    assert (await service.get(f"/v1/certificates?userId={user}")).body["certificates"] == [first]
    unknown = await service.ask("POST", "/v1/admin/certificates/0000-0000-0000-0000/revoke", {"reason": "x"}, by=admin)
    assert unknown.status == 404
    for bad in ({}, {"reason": ""}, {"reason": "x" * 501}, {"reason": 1}, {"reason": "x", "more": 1}):
        answer = await service.ask("POST", f"{path}/revoke", bad, by=admin)
        assert (answer.status, answer.error["code"]) == (422, "invalid_body")


async def test_a_retry_gets_the_first_outcome(service: Service, course: tuple[str, list[str]]) -> None:
    _, (one, _) = course
    user, action_id = new("user"), new("action")
    action = {"id": action_id, "kind": "lesson.watched", "userId": user, "data": {"lessonId": one, "seconds": 60}}
    first = await service.send(action, Prefer="wait=10")
    await learn(service, "lesson.watched", user, lessonId=one, seconds=5)
    again = await service.send(action, Prefer="wait=10")
    (result,), (repeated,) = first.body["results"], again.body["results"]
    assert (result["duplicate"], repeated["duplicate"]) == (False, True)
    assert repeated["outcome"] == result["outcome"]
    assert json.dumps(repeated["outcome"]["progress"]["watch_time_seconds"]) == "60"
