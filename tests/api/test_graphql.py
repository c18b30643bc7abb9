"""Course progress by GraphQL through the whole pipe: the seed's own examples, the rules, pages, languages."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path
from typing import Any

import pytest
from graphql import print_schema

from api.graph import mutations, queries
from api.graph import schema as graph_schema
from tests.api.graph import COURSE, CREATE, DELETE, FIND, LIST, MARK, PATH, ROW, STATS, UPDATE, WATCH, Learner, fresh
from tests.api.service import Service, running

pytestmark = pytest.mark.usefixtures("quiet", "buries_nothing")
DOCS = (Path(__file__).parents[2] / "docs" / "graphql.md").read_text()
EXAMPLES = re.findall(r"^### ([^\n]+)\n\n```graphql\n(.*?)^```", DOCS, re.MULTILINE | re.DOTALL)


@pytest.fixture
def learner(service: Service) -> Learner:
    """A new one."""
    return Learner(service)


@pytest.mark.parametrize("by", ["the user", "a service"])
async def test_every_example_of_the_docs_runs(service: Service, by: str) -> None:
    learner = Learner(service, None if by == "the user" else "")
    ids = {"user_id_here": learner.id, "lesson_id_here": fresh("lesson"), "course_id_here": fresh("course")}
    answers: dict[str, dict[str, Any]] = {}
    for title, text in EXAMPLES:
        for placeholder, value in ids.items():
            text = text.replace(placeholder, value)  # noqa: PLW2901
        found = answers[title] = await learner.one(text)
        assert found["success"] is True, (title, found)
        if title == "Create User Progress":
            ids["progress_id_here"] = found["data"]["id"]
    assert len(answers) == 11
    assert answers["Update User Progress"]["data"]["completed"] is True
    assert answers["Update User Progress"]["data"]["watch_time_seconds"] == 1200
    assert answers["Delete User Progress"] == {"success": True, "message": "Progress has been deleted."}
    assert answers["Update Lesson Watch Time"]["data"]["watch_time_seconds"] == 1800
    listed = answers["Get User Progress List (with filtering)"]
    assert listed["pagination"] == {"totalItems": 1, "totalPages": 1, "currentPage": 1}
    assert listed["items"][0]["lessonId"] == ids["lesson_id_here"]
    assert answers["Get Course Progress"]["data"]["completed_lessons"] == 1
    assert answers["Get User Progress Statistics"]["data"] == {
        "total_courses_enrolled": 1,
        "total_lessons_completed": 1,
        "total_watch_time_hours": 0.5,
    }


def test_the_schema_is_in_its_normal_form_and_every_root_field_resolves() -> None:
    schema = graph_schema.build()
    assert print_schema(schema) + "\n" == graph_schema.FILE.read_text()
    assert schema.query_type is not None
    assert schema.mutation_type is not None
    assert schema.query_type.fields.keys() == queries.QUERIES.keys()
    assert schema.mutation_type.fields.keys() == mutations.MUTATIONS.keys()


async def test_a_row_as_it_is_kept(learner: Learner) -> None:
    lesson, course = fresh("lesson"), fresh("course")
    row = await learner.create(lesson, course, completed=True, watch_time_seconds=60)
    assert set(row) == set(ROW.split())
    assert (row["userId"], row["lessonId"], row["courseId"]) == (learner.id, lesson, course)
    assert (row["completed"], row["watch_time_seconds"]) == (True, 60)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", row["createdAt"])
    assert (await learner.one(FIND, {"id": row["id"]}))["data"] == row
    by_key = (
        f"query ($u: ID!, $l: ID!) {{ userProgressByUserAndLesson(userId: $u, lessonId: $l) {{ data {{ {ROW} }} }} }}"
    )
    assert (await learner.one(by_key, {"u": learner.id, "l": lesson}))["data"] == row


async def test_watch_time_adds_and_the_larger_of_both_sums_shows(learner: Learner) -> None:
    lesson = fresh("lesson")
    asked = {"user": learner.id, "lesson": lesson, "seconds": 40}
    assert (await learner.one(WATCH, asked))["data"]["watch_time_seconds"] == 40
    assert (await learner.one(WATCH, asked))["data"]["watch_time_seconds"] == 80
    row = await learner.create(lesson, watch_time_seconds=70)
    assert row["watch_time_seconds"] == 80
    changed = await learner.one(UPDATE, {"input": {"id": row["id"], "watch_time_seconds": 100}})
    assert changed["data"]["watch_time_seconds"] == 100


async def test_to_begin_a_lesson_again_takes_nothing_back_and_an_update_does(learner: Learner) -> None:
    lesson = fresh("lesson")
    row = (await learner.one(MARK, {"user": learner.id, "lesson": lesson}))["data"]
    assert row["completed"] is True
    assert (await learner.create(lesson, completed=False))["completed"] is True
    reopened = await learner.one(UPDATE, {"input": {"id": row["id"], "completed": False}})
    assert reopened["data"]["completed"] is False


async def test_what_is_deleted_is_gone_until_something_happens(learner: Learner) -> None:
    row = await learner.create(fresh("lesson"))
    assert (await learner.one(DELETE, {"id": row["id"]}))["success"] is True
    for query, variables in (
        (FIND, {"id": row["id"]}),
        (DELETE, {"id": row["id"]}),
        (UPDATE, {"input": {"id": row["id"]}}),
    ):
        found = await learner.one(query, variables)
        assert (found["success"], found["code"], found["data"]) == (False, "unknown_progress", None)
    assert (await learner.one(LIST))["items"] == []
    again = await learner.one(WATCH, {"user": learner.id, "lesson": row["lessonId"], "seconds": 1})
    assert again["data"]["id"] == row["id"]
    assert (await learner.one(FIND, {"id": row["id"]}))["success"] is True


async def test_pages_and_filters(learner: Learner) -> None:
    course = fresh("course")
    for number in range(7):
        await learner.create(f"{course}-{number}", course if number else fresh("course"), completed=number % 2 == 0)
    whole = await learner.one(LIST, {"limit": 100})
    assert [row["lessonId"] for row in whole["items"]] == [f"{course}-{number}" for number in reversed(range(7))]
    for page, size in ((1, 3), (2, 3), (3, 1), (4, 0)):
        part = await learner.one(LIST, {"page": page, "limit": 3})
        assert part["items"] == whole["items"][3 * (page - 1) :][:3]
        assert len(part["items"]) == size
        assert part["pagination"] == {"totalItems": 7, "totalPages": 3, "currentPage": page}
    assert (await learner.one(LIST))["pagination"] == {"totalItems": 7, "totalPages": 1, "currentPage": 1}
    for chosen, total in (
        ({"courseId": course}, 6),
        ({"courseId": course, "completed": True}, 3),
        ({"userId": learner.id, "completed": False}, 3),
        ({"lessonId": f"{course}-3"}, 1),
        ({"courseId": fresh("course")}, 0),
    ):
        assert (await learner.one(LIST, {"filter": chosen}))["pagination"]["totalItems"] == total, chosen


@pytest.mark.parametrize(
    ("variables", "path"),
    [
        ({"limit": 0}, "limit"),
        ({"limit": 101}, "limit"),
        ({"limit": -1}, "limit"),
        ({"page": 0}, "page"),
        ({"page": 2_000_000_000, "limit": 100}, "page"),
        ({"filter": {"courseId": ""}}, "filter.courseId"),
        ({"filter": {"lessonId": "a\u0000b"}}, "filter.lessonId"),
    ],
)
async def test_pages_that_cannot_be(learner: Learner, variables: dict[str, Any], path: str) -> None:
    found = await learner.one(LIST, variables)
    assert found["success"] is False
    assert found["code"] in {"invalid_parameter", "invalid_id"}
    assert path in found["message"]
    assert (found["items"], found["pagination"]) == ([], None)


async def test_a_service_lists_by_course_and_by_lesson(service: Service) -> None:
    everybody = Learner(service, "")
    course, lesson = fresh("course"), fresh("lesson")
    learners = [Learner(service) for _ in range(3)]
    for one in learners:
        await one.create(lesson, course)
        await one.create(fresh("lesson"), course, completed=True)
    for chosen, total in (
        ({"courseId": course}, 6),
        ({"courseId": course, "completed": True}, 3),
        ({"lessonId": lesson}, 3),
        ({"lessonId": lesson, "courseId": fresh("course")}, 0),
        ({"userId": learners[0].id, "courseId": course}, 2),
    ):
        found = await everybody.one(LIST, {"filter": chosen, "limit": 2})
        assert (found["pagination"]["totalItems"], len(found["items"])) == (total, min(2, total)), chosen
    for nothing in ({}, {"completed": True}):
        assert (await everybody.one(LIST, {"filter": nothing}))["code"] == "missing_subject"


async def test_course_progress_and_statistics(service: Service, learner: Learner) -> None:
    course, lessons = fresh("course"), [fresh("lesson") for _ in range(3)]
    key = await service.make_key("admin")
    put = {"title": "Joinery", "lessons": [{"id": one, "title": one} for one in lessons]}
    answer = await service.ask("PUT", f"/v1/courses/{course}", put, by=key)
    assert answer.status in {200, 201}, answer
    asked = {"user": learner.id, "course": course}
    untouched = (await learner.one(COURSE, asked))["data"]
    assert untouched == {
        "courseId": course,
        "total_lessons": 3,
        "completed_lessons": 0,
        "progress_percentage": 0,
        "total_watch_time": 0,
    }
    await learner.one(MARK, {"user": learner.id, "lesson": lessons[0]})
    await learner.one(WATCH, {"user": learner.id, "lesson": lessons[1], "seconds": 900})
    found = (await learner.one(COURSE, asked))["data"]
    assert found == untouched | {"completed_lessons": 1, "progress_percentage": 33, "total_watch_time": 900}
    assert (await learner.one(STATS, {"user": learner.id}))["data"] == {
        "total_courses_enrolled": 1,
        "total_lessons_completed": 1,
        "total_watch_time_hours": 0.25,
    }


async def test_nobody_has_begun_anything(learner: Learner) -> None:
    assert (await learner.one(STATS, {"user": learner.id}))["data"]["total_watch_time_hours"] == 0
    unknown = await learner.one(COURSE, {"user": learner.id, "course": fresh("course")})
    assert (unknown["success"], unknown["code"], unknown["data"]) == (False, "unknown_course", None)


@pytest.mark.parametrize(
    ("header", "message"),
    [("de", "Fortschritt"), ("es-MX,en;q=0.3", "progreso"), ("en", "Progress"), ("xx", "Progress"), ("", "Progress")],
)
async def test_messages_in_the_language_of_the_reader(learner: Learner, header: str, message: str) -> None:
    found = await learner.one(FIND, {"id": fresh("progress")}, Accept_Language=header)
    assert message.lower() in found["message"].lower()
    listed = await learner.one(LIST, {}, Accept_Language=header)
    assert message.lower() in listed["message"].lower()


async def test_what_the_door_refuses_says_where(learner: Learner) -> None:
    found = await learner.one(WATCH, {"user": learner.id, "lesson": "l", "seconds": -3}, Accept_Language="de")
    assert (found["success"], found["code"], found["data"]) == (False, "invalid_data", None)
    assert found["message"].startswith("Die Eingabe ist ungültig: seconds.")
    found = await learner.one(MARK, {"user": learner.id, "lesson": ""})
    assert found["code"] == "invalid_data"
    missing = await learner.one(UPDATE, {"input": {"completed": True}})
    assert missing["code"] == "invalid_data"


async def test_mutations_run_in_order_and_a_key_makes_them_count_once(learner: Learner) -> None:
    lesson = fresh("lesson")
    about = f'userId: "{learner.id}", lessonId: "{lesson}"'
    watched = f"updateLessonWatchTime({about}, seconds: 30) {{ data {{ watch_time_seconds }} }}"
    done = f'updateUserProgressByUserAndLesson({about}, updateUserProgressInput: {{ id: "anything", completed: true }})'
    twice = f"mutation {{ a: {watched} b: {watched} c: {done} {{ data {{ completed watch_time_seconds }} }} }}"
    key = fresh("key")
    first = await learner.ask(twice, Idempotency_Key=key)
    assert [one["data"]["watch_time_seconds"] for one in first.values()] == [30, 60, 60]
    assert await learner.ask(twice, Idempotency_Key=key) == first
    assert (await learner.one(LIST))["items"][0]["watch_time_seconds"] == 60


async def test_a_key_that_belongs_to_an_action_of_another_kind(service: Service, learner: Learner) -> None:
    enrolled = {"id": "taken:done", "kind": "course.enrolled", "userId": learner.id, "data": {"courseId": "c"}}
    await service.send(enrolled, Prefer="wait=10")
    query = f'mutation {{ done: markLessonAsCompleted(userId: "{learner.id}", lessonId: "l") {{ success code }} }}'
    answer = await learner.one(query, Idempotency_Key="taken")
    assert answer == {"success": False, "code": "id_reused"}


async def test_a_read_may_wait_for_what_was_sent(service: Service, learner: Learner) -> None:
    given = {"userId": learner.id, "lessonId": fresh("lesson")}
    late = await learner.post(CREATE, {"input": given}, Prefer="wait=0")
    assert late.body["data"]["createUserProgress"]["code"] == "accepted"
    position = late.body["extensions"]["position"]
    body = {"query": LIST}
    answer = await service.send(body, f"{PATH}?after={position}", by=learner.by)
    assert answer.body["data"]["userProgressList"]["pagination"]["totalItems"] == 1
    assert "Milepost-Stale" not in answer.headers
    wrong = await service.send(body, f"{PATH}?after=x", by=learner.by)
    assert wrong.status == 400


async def test_without_a_worker_a_mutation_is_accepted(settings: Any) -> None:
    async with running(settings) as service:
        learner = Learner(service)
        for query, variables in (
            (CREATE, {"input": {"userId": learner.id, "lessonId": "l", "courseId": "c"}}),
            (MARK, {"user": learner.id, "lesson": "l"}),
        ):
            answer = await service.send({"query": query, "variables": variables}, f"{PATH}?wait=0.05", by=learner.by)
            (found,) = answer.body["data"].values()
            assert (found["success"], found["code"], found["data"]) == (True, "accepted", None)
        many = "mutation { " + " ".join(
            f'm{n}: markLessonAsCompleted(userId: "{learner.id}", lessonId: "l{n}") {{ code }}' for n in range(20)
        )
        async with asyncio.timeout(15):  # all of them wait for the same second
            answer = await service.send({"query": many + " }"}, f"{PATH}?wait=1", by=learner.by)
        assert {one["code"] for one in answer.body["data"].values()} == {"accepted"}
        assert (
            await service.state.redis.xlen("mp:{p0}:actions")
            + await service.state.redis.xlen("mp:{p1}:actions")
            + (await service.state.redis.xlen("mp:{p2}:actions") + await service.state.redis.xlen("mp:{p3}:actions"))
            == 22
        )
