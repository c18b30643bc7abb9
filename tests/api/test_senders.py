"""Who may send what: keys, tokens, scopes, other people's ids, limits."""

from __future__ import annotations

import dataclasses
import time
import uuid
from typing import Any

import pytest

from api.operations import OPERATIONS
from db import service_keys
from db.settings import Settings
from jobs.families import KINDS
from tests.api.service import Service, running

pytestmark = pytest.mark.usefixtures("quiet")

AUDIENCE = {"aud": "milepost"}


def ended(session: str, **fields: Any) -> dict[str, Any]:
    return {"kind": "session.ended", "sessionId": session, **fields}


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"aud": "milepost", "exp": 1}, "token_expired"),
        ({"aud": "somebody-else"}, "invalid_token"),
        ({}, "invalid_token"),
        ({"aud": "milepost", "nbf": time.time() + 10**7}, "invalid_token"),
        ({"aud": "milepost", "sub": "a\0b"}, "invalid_token"),
        ({"aud": "milepost", "org_id": 7}, "invalid_token"),
    ],
)
async def test_tokens_that_are_refused(service: Service, claims: dict[str, Any], code: str) -> None:
    answer = await service.send(ended("s"), by=service.token("u", **claims))
    assert (answer.status, answer.error["code"]) == (401, code)
    assert answer.headers["WWW-Authenticate"].startswith('Bearer realm="milepost", error="invalid_token"')


async def test_nobody(service: Service) -> None:
    for one in OPERATIONS:
        if one.method != "POST" or "graphql" in one.path:
            continue
        path = one.path.format(
            step="WELCOME",
            serial="0000-0000-0000-0000",
            webhookId=uuid.UUID(int=0),
            effectId=uuid.UUID(int=0),
            reservationId="r-1",
            subject="user:ada",
            letterId=uuid.UUID(int=0),
        )
        answer = await service.send(ended("s"), path, by=None)
        assert (answer.status, answer.error["code"]) == (401, "unauthorized"), path
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="milepost"'
    assert (await service.get("/v1/sessions/s", by=None)).status == 401


async def test_scopes(service: Service) -> None:
    read, write = await service.make_key("read"), await service.make_key("ingest")
    answer = await service.send(ended("s"), by=read)
    assert (answer.status, answer.error["code"], answer.error["details"]) == (403, "missing_scope", {"scope": "ingest"})
    assert (await service.send(ended("s"), by=write)).status == 202
    answer = await service.get("/v1/sessions/s", by=write)
    assert (answer.status, answer.error["code"], answer.error["details"]) == (403, "missing_scope", {"scope": "read"})


async def test_a_revoked_key(service: Service) -> None:
    key = await service.make_key("ingest")
    async with service.sql.acquire() as conn:
        name = await conn.fetchval("SELECT name FROM service_keys WHERE hash = $1", service_keys.digest(key))
        await service_keys.revoke(conn, name)
    answer = await service.send(ended("s"), by=key)
    assert (answer.status, answer.error["code"]) == (401, "invalid_key")


@pytest.mark.parametrize(("field", "value"), [("userId", "somebody"), ("orgId", "their-org")])
async def test_other_peoples_ids(service: Service, field: str, value: str) -> None:
    session, token = uuid.uuid4().hex, service.token("me", org_id="my-org", **AUDIENCE)
    alone = await service.send(ended(session, id="bad", **{field: value}), by=token)
    assert (alone.status, alone.error["code"]) == (403, "forbidden_subject")
    assert alone.error["details"]["rejected"][0]["id"] == "bad"
    batch = [ended(session, id="1"), ended(session, id="2", **{field: value}), ended(session, id="3", userId="me")]
    answer = await service.send({"actions": batch}, by=token)
    assert (answer.status, answer.body["ids"]) == (202, ["1", "3"])
    (rejected,) = answer.body["rejected"]
    assert (rejected["index"], rejected["id"], rejected["code"], rejected["path"]) == (
        *(1, "2", "forbidden_subject", f"$.{field}"),
    )
    await service.settle(answer)
    rows = await service.sql.fetch("SELECT id, user_id, org_id FROM tracked_events WHERE session_id = $1", session)
    assert {tuple(row) for row in rows} == {("1", "me", "my-org"), ("3", "me", "my-org")}


async def test_a_token_without_an_organisation_speaks_for_none(service: Service) -> None:
    answer = await service.send(ended("s", orgId="any"), by=service.token("me", **AUDIENCE))
    assert (answer.status, answer.error["code"]) == (403, "forbidden_subject")


async def test_an_admin_token_and_a_service_speak_for_anybody(service: Service) -> None:
    for by in (service.token("boss", scope="admin", **AUDIENCE), service.key):
        session = uuid.uuid4().hex
        answer = await service.send(ended(session, userId="u", orgId="o", id="1"), by=by, Prefer="wait=10")
        assert answer.body["results"][0]["outcome"] == {"sessionId": session}


async def test_a_beacon(service: Service) -> None:
    """navigator.sendBeacon: text/plain, no header of one's own, the key in the address."""
    public, session = await service.make_key("ingest"), uuid.uuid4().hex
    body = {"sessionId": session, "interaction": {"eventType": "click", "category": "c"}}
    path = f"/api/sessions/track-interaction?key={public}"
    answer = await service.send(body, path, by=None, Content_Type="text/plain;charset=UTF-8")
    assert answer.status == 202
    answer = await service.send(ended(session), f"/v1/actions?key={public}", by=None, Content_Type="text/plain")
    assert answer.status == 202
    await service.settle(answer)
    answer = await service.send(ended(session), f"/v1/actions?key={service.key}", by=None)
    assert (answer.status, answer.error["code"]) == (401, "invalid_key"), "a key that reads has no place in an address"
    for wrong in ("", "mp_short", "x" * 5000, "%00", "%ff"):
        answer = await service.send(ended(session), f"/v1/actions?key={wrong}", by=None)
        assert (answer.status, answer.error["code"]) == (401, "invalid_key")


@pytest.mark.parametrize(
    ("path", "body", "code", "wrong"),
    [
        ("/api/sessions/track-interaction", {"sessionId": "s"}, "invalid_body", "$"),
        ("/api/sessions/track-interaction", {"sessionId": 1, "interaction": {}}, "invalid_body", "$.sessionId"),
        ("/api/sessions/track-interaction", {"sessionId": "s", "interaction": {}}, "invalid_data", "$.interaction"),
        (
            "/api/sessions/track-interaction",
            {"sessionId": "s", "interaction": {"eventType": "click", "category": ""}},
            *("invalid_data", "$.interaction.category"),
        ),
        ("/api/sessions/track-interaction", {"sessionId": "", "interaction": {}}, "invalid_id", "$.sessionId"),
        (
            "/api/sessions/save-config",
            {"sessionId": "s", "configuration": {}, "trigger": "x"},
            "invalid_data",
            "$.trigger",
        ),
        (
            "/api/sessions/save-config",
            {"sessionId": "s", "configuration": [], "trigger": "auto_save"},
            *("invalid_data", "$.configuration"),
        ),
        ("/api/performance/track", {"metricName": "m", "value": "1"}, "invalid_body", "$.value"),
        ("/api/performance/track", {"metricName": "", "value": 1}, "invalid_data", "$.metricName"),
        ("/api/performance/track", {"metricName": "m", "value": 1, "userId": "u"}, "invalid_body", "$"),
        ("/api/performance/track", [], "invalid_body", "$"),
    ],
)
async def test_the_paths_are_those_of_the_body(service: Service, path: str, body: Any, code: str, wrong: str) -> None:
    answer = await service.send(body, path)
    assert (answer.status, answer.error["code"], answer.error["details"]["path"]) == (422, code, wrong)


async def test_the_session_routes_fill_the_tables(service: Service) -> None:
    session = uuid.uuid4().hex
    bodies: list[tuple[str, dict[str, Any]]] = [
        (
            "/api/sessions/track-interaction",
            {
                "interaction": {
                    "eventType": "selection",
                    "category": "frame",
                    "timeSpent": 5,
                    "deviceInfo": {"width": 3},
                }
            },
        ),
        (
            "/api/sessions/save-config",
            {"configuration": {"frame": "oak"}, "trigger": "page_exit", "totalPrice": 9.5, "completionPercentage": 0},
        ),
        ("/api/performance/track", {"metricName": "paint", "value": 3, "additionalData": {"path": "/"}}),
        ("/api/performance/track", {"metricName": "paint", "value": 0}),
    ]
    for path, body in bodies:
        answer = await service.send({"sessionId": session, **body}, path, Prefer="wait=10")
        assert (answer.status, answer.body["rejected"]) == (200, [])
    one = await service.sql.fetchrow("SELECT * FROM interaction_events WHERE session_id = $1", session)
    assert (one["event_type"], one["category"], one["time_spent"], one["viewport_width"]) == (
        "selection",
        "frame",
        5,
        3,
    )
    two = await service.sql.fetchrow("SELECT * FROM configuration_snapshots WHERE session_id = $1", session)
    assert (two["configuration_data"], two["total_price"], two["completion_percentage"]) == ('{"frame": "oak"}', 9.5, 0)
    three = await service.sql.fetch(
        "SELECT value, additional_data FROM performance_metrics WHERE session_id = $1", session
    )
    assert {tuple(row) for row in three} == {(3.0, '{"path": "/"}'), (0.0, None)}


async def test_a_limit_on_ingest(settings: Settings) -> None:
    limited = settings.model_copy(update={"rate_limit_ingest": "2/minute"})
    async with running(limited) as service:
        answers = [await service.send(ended("s"), path="/v1/actions") for _ in range(3)]
        assert [answer.status for answer in answers] == [202, 202, 429]
        assert [answer.headers["RateLimit-Remaining"] for answer in answers] == ["1", "0", "0"]
        last = answers[-1]
        assert last.error["code"] == "rate_limited"
        assert 1 <= int(last.headers["Retry-After"]) <= 60
        performance = await service.send({"metricName": "m", "value": 1}, "/api/performance/track")
        assert performance.status == 429
        other = await service.make_key("ingest")
        assert (await service.send(ended("s"), by=other)).status == 202


async def test_without_a_limit_nobody_counts(service: Service) -> None:
    answer = await service.send(ended("s"))
    assert "RateLimit-Limit" not in answer.headers


async def test_a_kind_that_users_may_not_send(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    kind = dataclasses.replace(KINDS["session.ended"], senders=frozenset(("service", "admin")))
    monkeypatch.setitem(KINDS, "session.ended", kind)
    session, token = uuid.uuid4().hex, service.token("me", **AUDIENCE)
    alone = await service.send(ended(session), by=token)
    assert (alone.status, alone.error["code"], alone.error["details"]["path"]) == (403, "forbidden_kind", "$.kind")
    batch = [ended(session, id="1"), {"kind": "page.viewed", "sessionId": session, "id": "2"}]
    answer = await service.send({"actions": batch}, by=token)
    assert (answer.status, answer.body["ids"], answer.body["rejected"][0]["code"]) == (202, ["2"], "forbidden_kind")
    assert (await service.send(ended(session))).status == 202
