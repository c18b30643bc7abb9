"""What the dashboard asks for beside the analytics: by admins only, in numbers that the tables bear out."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC, datetime, timedelta
from typing import Any

import hypothesis
import msgspec
import pytest
import schemathesis

from jobs.action import Action
from tests.api.service import Answer, Service
from tests.api.test_openapi import DOCUMENT, FUZZ, check

READS = (
    "/api/admin/analytics/sessions",
    "/api/admin/analytics/courses",
    "/api/admin/pipe",
    "/v1/admin/dead",
)
FEW = hypothesis.settings(FUZZ, max_examples=20)
LIMITED = (*READS[:2], "/v1/admin/dead")


@pytest.fixture
async def admin(service: Service) -> str:
    """A key with the scope admin."""
    return await service.make_key("admin")


async def bury(service: Service, body: bytes, code: str = "poison", message: str = "it would not") -> str:
    """A dead letter as the worker writes it."""
    return str(
        await service.sql.fetchval(
            "INSERT INTO dead_letters (partition, position, action_id, kind, subject, code, message, body) "
            "VALUES (0, '1-0', 'a-1', 'interaction.recorded', 'session:s-1', $1, $2, $3) RETURNING id",
            *(code, message, body),
        )
    )


def click(action_id: str, data: bytes = b'{"eventType":"click","category":"nest"}', *, days: float = 0) -> bytes:
    """An accepted interaction."""
    now = datetime.now(UTC) - timedelta(days=days)
    body = Action(action_id, "interaction.recorded", f"session:{action_id}", now, now, 0, data, session_id=action_id)
    return msgspec.msgpack.encode(body)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("path", READS)
async def test_admins_only(service: Service, admin: str, path: str) -> None:
    assert (await service.get(path, by=admin)).status == 200
    assert (await service.get(path, by=None)).status == 401
    for by in ("", service.token("u-1", aud="milepost", scope="read ingest")):
        refused = await service.get(path, by=by)
        assert (refused.status, refused.error["code"]) == (403, "missing_scope")


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("verb", ["retry", "discard"])
async def test_letters_are_moved_by_admins_only(service: Service, verb: str) -> None:
    letter = await bury(service, click("never"))
    path = f"/v1/admin/dead/{letter}/{verb}"
    assert (await service.send(None, path, by=None)).status == 401
    assert (await service.send(None, path)).status == 403
    assert (await service.send(None, path, by=service.token("u-1", aud="milepost"))).status == 403
    assert (await service.get(f"/v1/admin/dead/{letter}")).status == 403
    row = await service.sql.fetchrow("SELECT retried_at, discarded_at FROM dead_letters WHERE id = $1::uuid", letter)
    assert tuple(row) == (None, None)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("path", LIMITED)
@pytest.mark.parametrize("limit", ["-1", "0", "1e9", "1000000000", "x", "", "%00", "٣"])
async def test_wrong_limits(service: Service, admin: str, path: str, limit: str) -> None:
    answer = await service.get(f"{path}?limit={limit}", by=admin)
    assert (answer.status, answer.error["details"]) == (400, {"path": "limit"})


@pytest.mark.usefixtures("quiet")
async def test_wrong_parameters(service: Service, admin: str) -> None:
    for query in ("status=dead", "status=", "code=%00"):
        assert (await service.get(f"/v1/admin/dead?{query}", by=admin)).status == 400, query
    assert (await service.get("/api/admin/analytics/sessions?timeRange=1y", by=admin)).status == 400
    for name in ("x", "0", "%00", "0192f3b0-0000-0000-0000-000000000000"):
        for method, verb in (("GET", ""), ("POST", "/retry"), ("POST", "/discard")):
            answer = await service.ask(method, f"/v1/admin/dead/{name}{verb}", by=admin)
            assert (answer.status, answer.error["code"]) == (404, "not_found"), name


async def test_the_newest_sessions(service: Service, admin: str) -> None:
    now = datetime.now(UTC)
    for number in range(3):
        body = {"sessionId": f"new-{number}", "interaction": {"eventType": "click", "category": "<b>nest"}}
        await service.settle(await service.send(body, "/api/sessions/track-interaction"))
    answer = await service.get("/api/admin/analytics/sessions?limit=3", by=admin)
    assert [one["sessionId"] for one in answer.body["sessions"]] == ["new-2", "new-1", "new-0"]
    assert {one["lastCategory"] for one in answer.body["sessions"]} == {"<b>nest"}
    begin = (now - timedelta(days=3)).isoformat().replace("+00:00", "Z")
    end = (now - timedelta(days=2)).isoformat().replace("+00:00", "Z")
    assert (await service.get(f"{READS[0]}?from={begin}&to={end}", by=admin)).body["sessions"] == []


async def test_courses(service: Service, admin: str) -> None:
    course = {"title": "Knots", "lessons": [{"id": "knot-1", "title": "One"}]}
    assert (await service.ask("PUT", "/v1/courses/knots", course, by=admin)).status == 200
    actions: list[dict[str, Any]] = [
        {"kind": "course.enrolled", "userId": user, "data": {"courseId": "knots"}} for user in ("kim", "lee")
    ]
    actions += [{"kind": "lesson.completed", "userId": "kim", "data": {"lessonId": "knot-1"}}]
    await service.settle(await service.send({"actions": actions}))
    answer = await service.get("/api/admin/analytics/courses", by=admin)
    found = next(one for one in answer.body["courses"] if one["courseId"] == "knots")
    assert found == {
        "courseId": "knots",
        "title": "Knots",
        "isDeleted": False,
        "enrolments": 2,
        "completions": 1,
        "completionRate": 0.5,
        "watchTimeSeconds": 0,
        "certificates": 1,
        "revokedCertificates": 0,
    }
    assert answer.body["totals"]["enrolments"] == sum(one["enrolments"] for one in answer.body["courses"])


async def test_the_pipe(service: Service, admin: str) -> None:
    body = (await service.get("/api/admin/pipe", by=admin)).body
    assert (body["redis"], body["postgres"]) == ("ok", "ok")
    assert [one["id"] for one in body["partitions"]] == list(range(service.settings.partitions))
    assert any(one["alive"] for one in body["workers"])
    names = "SELECT DISTINCT application_name FROM pg_stat_activity WHERE datname = current_database()"
    assert "milepost-status" not in [row[0] for row in await service.sql.fetch(names)]


async def read(service: Service, admin: str, letter: str) -> Any:
    """One letter."""
    answer = await service.get(f"/v1/admin/dead/{letter}", by=admin)
    assert answer.status == 200, answer.body
    return answer.body


async def act(service: Service, admin: str, letter: str, verb: str) -> Answer:
    """Retry or discard."""
    return await service.send(None, f"/v1/admin/dead/{letter}/{verb}", by=admin)


@pytest.mark.usefixtures("quiet")
async def test_a_letter_is_retried_once(service: Service, admin: str) -> None:
    letter = await bury(service, click("again"))
    listed = (await service.get("/v1/admin/dead?code=poison", by=admin)).body
    assert letter in {one["id"] for one in listed["letters"]}
    assert {one["code"]: one["number"] for one in listed["codes"]}["poison"] >= 1
    assert (await act(service, admin, letter, "retry")).body == {"retried": 1, "reason": None}
    second = (await act(service, admin, letter, "retry")).body
    assert (second["retried"], second["reason"][:16]) == (0, "it is not open a")
    assert (await act(service, admin, letter, "discard")).body["discarded"] == 0
    assert (await read(service, admin, letter))["status"] == "retried"
    last = await service.send({"kind": "page.viewed", "sessionId": "again", "data": {"path": "/"}})
    await service.settle(last)
    assert "again" in await service.ids("again")


@pytest.mark.usefixtures("quiet")
async def test_what_cannot_be_retried_is_discarded(service: Service, admin: str) -> None:
    for body, word in ((b"\xff", "decoded"), (click("old", days=900), "retention")):
        letter = await bury(service, body)
        refused = (await act(service, admin, letter, "retry")).body
        assert refused["retried"] == 0
        assert word in refused["reason"]
        assert (await act(service, admin, letter, "discard")).body == {"discarded": 1, "reason": None}
        listed = (await service.get("/v1/admin/dead?limit=200", by=admin)).body["letters"]
        assert letter not in {one["id"] for one in listed}
        everything = (await service.get("/v1/admin/dead?status=all&limit=200", by=admin)).body["letters"]
        assert {one["id"]: one["status"] for one in everything}[letter] == "discarded"


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("data", [b'{"a":NaN}', b'"\\ud800"', b"\xff\x00", b"[" * 100_000, b"<script>"])
async def test_hostile_letters_are_shown(service: Service, admin: str, data: bytes) -> None:
    letter = await bury(service, click("hostile", data), message="</script>\x1b[31m")
    shown = await read(service, admin, letter)
    assert shown["message"] == "</script>\x1b[31m"
    assert "data" in shown["action"]
    await act(service, admin, letter, "discard")


async def bury_many(service: Service, number: int, code: str, kind: str = "interaction.recorded") -> list[str]:
    """Dead letters of their own code."""
    ids = [f"{code}-{one}" for one in range(number)]
    bodies = [click(one) for one in ids]
    rows = await service.sql.fetch(
        "INSERT INTO dead_letters (partition, position, action_id, kind, subject, code, message, body) "
        "SELECT 0, '1-0', k.id, $1, 'session:' || k.id, $2, 'it would not', k.body "
        "FROM unnest($3::text[], $4::bytea[]) AS k (id, body) RETURNING id",
        *(kind, code, ids, bodies),
    )
    return [str(row["id"]) for row in rows]


async def of_all(service: Service, admin: str, verb: str, **selection: object) -> Any:
    """One request of retry or discard of all."""
    answer = await service.send(selection, f"/v1/admin/dead/{verb}", by=admin)
    assert answer.status == 200, answer.body
    return answer.body


async def statuses(service: Service, code: str) -> Counter[str]:
    """How many letters of a code are open, retried, discarded."""
    rows = await service.sql.fetch(
        "SELECT CASE WHEN retried_at IS NOT NULL THEN 'retried' WHEN discarded_at IS NOT NULL THEN 'discarded' "
        "ELSE 'open' END AS status FROM dead_letters WHERE code = $1",
        code,
    )
    return Counter(row["status"] for row in rows)


@pytest.mark.usefixtures("quiet")
async def test_letters_page_by_page(service: Service, admin: str) -> None:
    ids = await bury_many(service, 7, "paged")
    await bury_many(service, 1, "paged", "future.kind")
    seen: list[str] = []
    path = "/v1/admin/dead?code=paged&family=tracking&limit=3"
    page = (await service.get(path, by=admin)).body
    while True:
        assert page["total"] == 7
        seen += [one["id"] for one in page["letters"]]
        if page["cursor"] is None:
            break
        page = (await service.get(f"{path}&cursor={page['cursor']}", by=admin)).body
    assert (len(seen), set(seen)) == (7, set(ids))
    assert {one["code"]: one["number"] for one in page["codes"]}["paged"] == 8
    kinds = {one["kind"]: (one["number"], one["family"]) for one in page["kinds"]}
    assert kinds["future.kind"] == (1, None)
    assert kinds["interaction.recorded"][1] == "tracking"
    alone = (await service.get("/v1/admin/dead?code=paged&kind=future.kind", by=admin)).body
    assert (alone["total"], alone["cursor"]) == (1, None)
    assert (await service.get("/v1/admin/dead?kind=future.kind&family=usage", by=admin)).body["total"] == 0


@pytest.mark.usefixtures("quiet")
async def test_all_of_a_filter_are_retried_part_by_part(service: Service, admin: str) -> None:
    await bury_many(service, 5, "parted")
    await bury_many(service, 2, "apart")
    old = await bury(service, click("parted-old", days=900), "parted")
    first = await of_all(service, admin, "retry", code="parted", family="tracking", limit=4)
    assert (first["retried"] + first["refused"], first["left"]) == (4, 2)
    # What dies behind the first request is not of this run.
    (late,) = await bury_many(service, 1, "parted")
    second = await of_all(service, admin, "retry", code="parted", family="tracking", cursor=first["cursor"])
    assert (second["left"], second["cursor"]) == (0, None)
    assert first["retried"] + second["retried"] == 5
    reasons = [*first["reasons"], *second["reasons"]]
    assert [one["number"] for one in reasons] == [1]
    assert "retention" in reasons[0]["reason"]
    assert {one: (await read(service, admin, one))["status"] for one in (old, late)} == {old: "open", late: "open"}
    assert await statuses(service, "apart") == {"open": 2}
    assert await of_all(service, admin, "discard", code="parted") == {"discarded": 2, "left": 0, "cursor": None}
    assert await statuses(service, "parted") == {"retried": 5, "discarded": 2}


@pytest.mark.usefixtures("quiet")
async def test_two_operators_at_once_do_each_letter_once(service: Service, admin: str) -> None:
    await bury_many(service, 60, "twice")
    answers = await asyncio.gather(
        *(of_all(service, admin, verb, code="twice") for verb in ("retry", "retry", "discard", "retry"))
    )
    sent = sum(one.get("retried", 0) for one in answers)
    put_away = sum(one.get("discarded", 0) for one in answers)
    assert sent + put_away == 60
    expected = {name: number for name, number in (("retried", sent), ("discarded", put_away)) if number}
    assert await statuses(service, "twice") == expected
    last = await service.send({"kind": "page.viewed", "sessionId": "twice-0", "data": {"path": "/"}})
    await service.settle(last)


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("verb", ["retry", "discard"])
async def test_wrong_selections(service: Service, admin: str, verb: str) -> None:
    path = f"/v1/admin/dead/{verb}"
    assert (await service.send({}, path, by=None)).status == 401
    assert (await service.send({}, path)).status == 403
    for body, at in (
        ({"family": "none"}, "family"),
        ({"code": "a\0b"}, "code"),
        ({"limit": 0}, "limit"),
        ({"limit": 1001}, "limit"),
        ({"cursor": "x"}, "cursor"),
        ({"cursor": "99999999999999999999.00000000000000000000000000000000"}, "cursor"),
        ({"status": "open"}, ""),
    ):
        answer = await service.send(body, path, by=admin)
        assert (answer.status, answer.error["code"]) == (422, "invalid_body"), body
        assert answer.error["details"]["path"].endswith(at)
    for query in ("family=none", "kind=%00", "cursor=x", "cursor=1."):
        assert (await service.get(f"/v1/admin/dead?{query}", by=admin)).status == 400, query


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
async def test_fuzzed_it_answers_as_described(service: Service, admin: str, mode: schemathesis.GenerationMode) -> None:
    # What other tests left dies again when it is retried, and says so.
    assert (await service.send({}, "/v1/admin/dead/discard", by=admin)).body["left"] == 0
    for data in (b"\xff", click("fuzzed")):
        await bury(service, data)
    paths = "^(/v1/admin/dead.*|/api/admin/pipe|/api/admin/analytics/(sessions|courses))$"
    schema = schemathesis.openapi.from_dict(DOCUMENT).include(path_regex=paths)
    base = str(service.client.make_url("")).rstrip("/")

    def fuzz() -> None:
        for result in schema.get_all_operations():
            operation = result.ok()  # type: ignore[union-attr]
            if mode == schemathesis.GenerationMode.NEGATIVE and not operation.query:
                continue

            @FEW
            @hypothesis.given(operation.as_strategy(generation_mode=mode))
            def one(case: schemathesis.Case[Any]) -> None:
                check(case, base, admin)

            one()

    await asyncio.to_thread(fuzz)
