"""GraphQL over HTTP: media types, statuses, GET, and what clients send that is none of it."""

from __future__ import annotations

import gzip
import json
from typing import Any
from urllib.parse import quote

import pytest
from graphql import get_introspection_query

from api.graph import queries
from jobs.action import is_id
from jobs.courses import models as course_models
from tests.api.graph import CREATE, FIND, MARK, PATH, STATS, Learner
from tests.api.service import Answer, Service, running

JSON, RESPONSE = "application/json", "application/graphql-response+json"


@pytest.fixture
def learner(service: Service) -> Learner:
    """A new one."""
    return Learner(service)


def body(answer: Answer) -> Any:
    """Of either media type."""
    return json.loads(answer.body) if isinstance(answer.body, bytes) else answer.body


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    ("accept", "media"),
    [
        ("*/*", JSON),
        ("application/*", JSON),
        (JSON, JSON),
        (RESPONSE, RESPONSE),
        (f"{RESPONSE}, {JSON};q=0.9", RESPONSE),
        (f"{JSON}, {RESPONSE}", RESPONSE),
        (f"{RESPONSE};q=0.1, {JSON};q=0.9", JSON),
        (f"{RESPONSE};charset=utf-8", RESPONSE),
        (f"{JSON};q=0, {RESPONSE}", RESPONSE),
        ("text/plain, */*;q=0.1", JSON),
        ("APPLICATION/JSON", JSON),
        ("rubbish, ;;;, */*", JSON),
    ],
)
async def test_the_media_type_of_the_answer(learner: Learner, accept: str, media: str) -> None:
    answer = await learner.post("{ __typename }", Accept=accept)
    assert answer.status == 200
    assert answer.headers["Content-Type"] == f"{media}; charset=utf-8"
    wrong = await learner.post("{", Accept=accept)
    assert wrong.status == (200 if media == JSON else 400)
    assert body(wrong).keys() == {"errors"}


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("accept", ["text/plain", "image/*", f"{JSON};q=0", "*/*;q=0"])
async def test_what_nobody_can_answer_in(learner: Learner, accept: str) -> None:
    answer = await learner.post("{ __typename }", Accept=accept)
    assert (answer.status, answer.body["error"]["code"]) == (406, "not_acceptable")


@pytest.mark.usefixtures("quiet")
async def test_queries_by_get_and_no_mutations(learner: Learner) -> None:
    service = learner.service
    variables = quote(json.dumps({"user": learner.id}))
    found = await service.get(f"{PATH}?query={quote(STATS)}&variables={variables}", by=learner.by)
    assert found.body["data"]["getUserProgressStats"]["success"] is True
    two = "query a { __typename } mutation b { __typename }"
    assert (await service.get(f"/graphql?query={quote(two)}&operationName=a", by=learner.by)).status == 200
    for accept in (JSON, RESPONSE):
        refused = await service.get(f"/graphql?query={quote(two)}&operationName=b", by=learner.by, Accept=accept)
        assert (refused.status, refused.headers["Allow"]) == (405, "POST")
        assert body(refused)["errors"][0]["extensions"]["code"] == "method_not_allowed"
    for rest in ("", "?query=", "?variables=1&query=x", "?query=x&variables=[", "?query=x&extensions=1"):
        answer = await service.get(f"/graphql{rest}", by=learner.by, Accept=RESPONSE)
        assert answer.status == 400, rest


@pytest.mark.usefixtures("quiet")
async def test_other_bodies(learner: Learner) -> None:
    async def send(content: bytes, **headers: str) -> tuple[int, str]:
        answer = await learner.service.send(content, PATH, by=learner.by, **headers)
        assert "data" not in answer.body, content[:50]
        return answer.status, answer.body["errors"][0]["extensions"]["code"]

    good = b'{"query":"{__typename}"}'
    for media in ("text/plain", "application/graphql", "application/x-www-form-urlencoded", "multipart/form-data"):
        assert await send(good, Content_Type=media) == (415, "unsupported_media_type")
    assert await send(good, Content_Type="application/json; charset=latin-1") == (415, "unsupported_media_type")
    assert await send(b"[" + good + b"," + good + b"]") == (400, "graphql_request")
    for content in (b"{}", b'{"query":1}', b'{"query":null}', b'{"query":"x","variables":[]}', b"1", b"null", b'"x"'):
        assert await send(content) == (400, "graphql_request"), content
    for content in (b"", b"{", b'{"query":"\xff"}', b'{"query":"\\ud800"}', b'{"query":NaN}', b"[" * 100_000):
        status, code = await send(content)
        assert (status, code) in {(400, "malformed_json"), (400, "graphql_request")}, content[:50]
    assert await send(b'{"query":"' + b" " * 300_000 + b'"}') == (413, "too_large")
    bomb = gzip.compress(b'{"query":"' + b" " * 3_000_000 + b'"}')
    assert await send(bomb, Content_Encoding="gzip") == (413, "too_large")
    assert await send(gzip.compress(good)[:-9], Content_Encoding="gzip") == (400, "malformed")
    deep = json.dumps({"query": "query($v: ID!) { userProgress(id: $v) { code } }", "variables": None}).encode()
    deep = deep.replace(b"null", b'{"v":' + b"[" * 50_000 + b"]" * 50_000 + b"}")
    assert (await send(deep))[0] == 400


@pytest.mark.usefixtures("quiet")
async def test_gzip_and_what_else_is_in_a_request(learner: Learner) -> None:
    packed = gzip.compress(json.dumps({"query": "{ __typename }", "extensions": {"a": 1}, "more": [1]}).encode())
    answer = await learner.service.send(packed, PATH, by=learner.by, Content_Encoding="gzip")
    assert answer.body == {"data": {"__typename": "Query"}}


@pytest.mark.usefixtures("quiet", "buries_nothing")
@pytest.mark.parametrize(
    "value", ["", "a\u0000b", "\x7f", "x" * 129, "x" * 100_000, "\u2028", "' OR 1=1 --", "%", "\u202e", "😀" * 128]
)
async def test_hostile_ids(service: Service, value: str) -> None:
    for learner in (Learner(service), Learner(service, "")):
        found = await learner.one(FIND, {"id": value})
        assert (found["success"], found["data"]) == (False, None)
        mark = await learner.post(MARK, {"user": learner.id, "lesson": value})
        (envelope,) = mark.body["data"].values()
        assert envelope["success"] is is_id(value)
    stats = await Learner(service).post(STATS, {"user": value})
    assert stats.body["errors"][0]["extensions"]["code"] == "forbidden_subject"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize(
    "given",
    [
        {"userId": 1.5},
        {"userId": {"a": [1]}},
        {"userId": None},
        {},
        {"userId": "u", "lessonId": "l", "watch_time_seconds": 1e400},
        {"userId": "u", "lessonId": "l", "watch_time_seconds": 2**31},
        {"userId": "u", "lessonId": "l", "watch_time_seconds": "1"},
        {"userId": "u", "lessonId": "l", "completed": "yes"},
        {"userId": "u", "lessonId": "l", "hacked": True},
        {"userId": "u", "lessonId": "l", "courseId": [["x"] * 1000] * 10},
        [1],
        "text",
    ],
)
async def test_variables_that_do_not_fit(learner: Learner, given: Any) -> None:
    content = json.dumps({"query": CREATE, "variables": {"input": given}}).replace("Infinity", "1e400").encode()
    answer = await learner.service.send(content, PATH, by=learner.by, Accept=RESPONSE)
    assert answer.status == 400
    errors = body(answer)["errors"]
    assert all(one["extensions"]["code"] in {"graphql_invalid", "graphql_request"} for one in errors)
    assert all(len(one["message"]) <= 500 for one in errors)


@pytest.mark.usefixtures("quiet")
async def test_an_id_may_be_declared_as_text(learner: Learner) -> None:
    asked = "query ($u: String!) { getUserProgressStats(userId: $u) { success } }"
    assert (await learner.one(asked, {"u": learner.id}))["success"] is True
    maybe = asked.replace("String!", "String")
    assert await learner.codes(maybe, {"u": learner.id}) == ["graphql_invalid"]
    assert await learner.codes(asked.replace("String!", "Int!"), {"u": 1}) == ["graphql_invalid"]
    assert (await learner.ask("query ($n: String!) { __type(name: $n) { name } }", {"n": "Query"}))["__type"]


async def test_no_fault_of_ours_is_told(
    learner: Learner, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setitem(course_models.QUERIES, "find_progress", "SELECT secret FROM passwords WHERE id = $1")
    answer = await learner.post(FIND, {"id": "x"})
    assert answer.body["data"] == {"userProgress": None}
    (error,) = answer.body["errors"]
    assert error["extensions"] == {"code": "internal"}
    assert "passwords" not in json.dumps(answer.body)
    assert "Traceback" not in json.dumps(answer.body)


async def test_a_fault_below_a_resolver_is_not_told_either(learner: Learner, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "whole", lambda _: "a secret that is no number")
    await learner.create("lesson")
    answer = await learner.post("{ userProgressList { success items { id watch_time_seconds } } }")
    assert {one["extensions"]["code"] for one in answer.body["errors"]} == {"internal"}
    assert "secret" not in json.dumps(answer.body)


async def test_postgres_is_away(settings: Any) -> None:
    async with running(settings) as service:
        learner = Learner(service, service.token("u"))
        service.state.pool.terminate()
        answer = await learner.post(FIND, {"id": "x"})
        assert (answer.status, answer.body["error"]["code"]) == (503, "database_unavailable")
        assert answer.headers["Retry-After"]


@pytest.mark.usefixtures("quiet")
async def test_the_schema_may_be_read_by_anybody_where_it_is_no_secret(service: Service) -> None:
    answer = await service.send({"query": get_introspection_query()}, PATH, by=None)
    assert {"UserProgress", "CourseProgress"} <= {one["name"] for one in answer.body["data"]["__schema"]["types"]}
    mixed = await service.send({"query": '{ __typename userProgress(id: "x") { code } }'}, PATH, by=None)
    assert mixed.status == 401
    hidden = await service.send(
        {"query": '{ ...f } fragment f on Query { userProgress(id: "x") { code } }'}, PATH, by=None
    )
    assert hidden.status == 401


async def test_the_schema_is_not_told_in_production(settings: Any) -> None:
    closed = settings.model_copy(update={"env": "production"})
    assert closed.introspects is False
    async with running(closed) as service:
        learner = Learner(service, service.token("u"))
        for query in (get_introspection_query(), '{ __type(name: "Query") { name } }'):
            answer = await learner.post(query, Accept=RESPONSE)
            assert answer.status == 400
            assert "introspection has been disabled" in body(answer)["errors"][0]["message"]
        assert (await learner.ask("{ __typename }")) == {"__typename": "Query"}
        assert (await service.send({"query": "{ __typename }"}, PATH, by=None)).status == 401
        for query, variables in (
            ('{ userProgres(id: "x") { code } }', None),
            ('{ userProgress(ide: "x") { code } }', None),
            ('mutation { createUserProgress(createUserProgressInput: {userID: "x"}) { code } }', None),
            (CREATE, {"input": {"userID": "x"}}),
        ):
            answer = await learner.post(query, variables)
            assert answer.body["errors"]
            assert "Did you mean" not in json.dumps(answer.body), query
        page = await service.get("/graphql", by=None, Accept="text/html")
        assert page.status in {401, 406}
        assert (await service.get("/graphql/graphiql/explorer.js", by=None)).status == 404
    opened = settings.model_copy(update={"env": "production", "graphql_introspection": "on"})
    assert opened.introspects is True


@pytest.mark.usefixtures("quiet")
async def test_suggestions_elsewhere(learner: Learner) -> None:
    answer = await learner.post('{ userProgres(id: "x") { code } }')
    assert "Did you mean 'userProgress'" in answer.body["errors"][0]["message"]


@pytest.mark.usefixtures("quiet")
async def test_a_null_where_none_may_be(learner: Learner) -> None:
    query = 'query ($id: ID = "x") { userProgress(id: $id) { code } }'
    assert (await learner.one(query))["code"] == "unknown_progress"
    assert await learner.codes(query, {"id": None}) == ["graphql_invalid"]
