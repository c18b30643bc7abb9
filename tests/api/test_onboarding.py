"""Onboarding through the whole pipe: HTTP, the log, the worker, Postgres, Redis, and back."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import Any

import pytest

from db import keys, stream
from db.settings import Settings
from jobs import catalog
from tests.api.service import Answer, Service, running

pytestmark = pytest.mark.usefixtures("quiet", "buries_nothing")
UPDATE = "/v1/onboarding/progress/update"
STEPS = catalog.default().onboarding.steps
EMPTY = {
    **dict.fromkeys(("hasCreatedClip", "hasAddedSubtitles", "hasReframedVideo", "hasShared"), False),
    **dict.fromkeys(("firstClipAt", "firstSubtitleAt", "firstReframeAt", "firstShareAt", "lastExportAt")),
    "exportCount": 0,
    "completionPercentage": 0,
}


class User:
    """Somebody with a token of their own."""

    def __init__(self, service: Service, **claims: Any) -> None:
        self.service, self.id = service, f"user-{uuid.uuid4().hex[:12]}"
        self.token = service.token(self.id, aud="milepost", **claims)

    async def get(self, path: str, **headers: str) -> Answer:
        """GET as this user."""
        return await self.service.get(path, by=self.token, **headers)

    async def post(self, path: str, body: Any = None, **headers: str) -> Answer:
        """POST as this user."""
        return await self.service.send(body, path, by=self.token, **headers)

    async def update(self, action: str, query: str = "", **more: Any) -> Answer:
        """One update of the progress."""
        return await self.post(UPDATE + query, {"action": action, "projectId": "project-7", **more})

    async def rows(self, table: str) -> list[dict[str, Any]]:
        """What Postgres has of this user."""
        found = await self.service.sql.fetch(f"SELECT * FROM {table} WHERE user_id = $1", self.id)
        return [dict(row) for row in found]


@pytest.fixture
def user(service: Service) -> User:
    """A new one."""
    return User(service)


async def test_the_walk_of_the_seed(user: User) -> None:
    before = await user.get("/v1/onboarding/progress")
    assert (before.status, before.body) == (200, {"userId": user.id, **EMPTY})
    first = await user.update("created_clip", metadata={"clipCount": 5})
    assert first.status == 200
    assert (first.body["success"], first.body["isFirstTime"]) == (True, True)
    second = await user.update("created_clip")
    assert second.body["isFirstTime"] is False
    assert second.body["progress"]["firstClipAt"] == first.body["progress"]["firstClipAt"]
    await user.update("added_subtitles", metadata={"language": "de"})
    shared = [await user.update("shared_content", metadata={"platform": name, "format": "mp4"}) for name in ("a", "b")]
    after = await user.get("/v1/onboarding/progress")
    assert after.body == shared[-1].body["progress"]
    assert (after.body["completionPercentage"], after.body["exportCount"]) == (75, 2)
    assert after.body["hasReframedVideo"] is False
    assert after.body["lastExportAt"] >= after.body["firstShareAt"] > after.body["firstClipAt"]
    (row,) = await user.rows("user_onboarding")
    assert (row["has_created_clip"], row["has_reframed_video"], row["export_count"]) == (True, False, 2)


async def test_an_unknown_user_leaves_no_trace(user: User) -> None:
    for path in ("progress", "status"):
        assert (await user.get(f"/v1/onboarding/{path}")).status == 200
    for table in ("onboarding_actions", "onboarding_progress", "onboarding_events"):
        assert await user.rows(table) == []
    partition = stream.partition_of(f"user:{user.id}", user.service.settings.partitions)
    assert await user.service.redis.get(keys.model(partition, f"onboarding:{user.id}")) is None


async def test_an_update_that_is_sent_again_gets_the_first_answer(user: User) -> None:
    first = await user.update("created_clip", id="once")
    again = await user.update("created_clip", id="once")
    by_header = await user.post(UPDATE, {"action": "created_clip", "projectId": "x"}, Idempotency_Key="once")
    assert first.body == again.body == by_header.body
    assert first.body["isFirstTime"] is True
    (row,) = await user.rows("onboarding_actions")
    assert row["count"] == 1
    other = await user.post("/v1/onboarding/steps/WELCOME/complete", {"id": "once"})
    assert (other.status, other.error["code"]) == (422, "id_reused")


async def test_an_id_of_another_kind_with_the_same_sort_of_outcome_is_told(user: User) -> None:
    """To complete and to skip both answer with the status: who skips is not told the status of a completion."""
    key = uuid.uuid4().hex
    done = await user.post("/v1/onboarding/steps/WELCOME/complete", None, Idempotency_Key=key)
    assert done.status == 200
    skipped = await user.post("/v1/onboarding/steps/UPLOAD_VIDEO/skip", None, Idempotency_Key=key)
    assert (skipped.status, skipped.error["code"]) == (422, "id_reused")
    assert "onboarding.step_completed" in skipped.error["message"]
    assert (await user.get("/v1/onboarding/status")).body == done.body["status"]
    again = await user.post("/v1/onboarding/steps/WELCOME/complete", None, Idempotency_Key=key)
    assert (again.status, again.body) == (200, done.body)
    assert len(await user.rows("onboarding_events")) == 1


async def test_two_at_once_are_first_once(user: User) -> None:
    answers = await asyncio.gather(*(user.update("created_clip") for _ in range(20)))
    assert sorted(answer.body["isFirstTime"] for answer in answers) == [False] * 19 + [True]
    effects = await user.service.sql.fetch("SELECT type, data FROM effects WHERE subject = $1", f"user:{user.id}")
    assert [row["type"] for row in effects] == ["first_created_clip"]
    told = json.loads(effects[0]["data"])
    assert told == {"userId": user.id, "orgId": None, "projectId": "project-7", "action": "created_clip"}


async def test_without_waiting(user: User) -> None:
    answer = await user.update("created_clip", "?wait=0")
    assert answer.status == 202
    assert answer.body.keys() == {"success", "accepted", "position"}
    read = await user.get(f"/v1/onboarding/progress?after={answer.body['position']}")
    assert read.body["hasCreatedClip"] is True
    wrong = await user.update("created_clip", "?wait=soon")
    assert (wrong.status, wrong.error["code"]) == (400, "invalid_parameter")


async def test_too_late_is_202_without_is_first_time(settings: Settings) -> None:
    async with running(settings) as service:
        user = User(service)
        user.token = service.token(user.id)
        answer = await user.update("created_clip", "?wait=0.05")
        assert (answer.status, answer.body["accepted"]) == (202, True)
        assert "isFirstTime" not in answer.body


async def test_the_earliest_at_wins(user: User) -> None:
    times = [f"2026-11-21T08:{minute}:00+00:00" for minute in (30, 10, 20)]
    answers = [await user.update("created_clip", at=at) for at in times]
    assert [answer.body["isFirstTime"] for answer in answers] == [True, False, False]
    assert answers[-1].body["progress"]["firstClipAt"] == "2026-11-21T08:10:00Z"


async def test_etags(user: User) -> None:
    await user.update("created_clip")
    for path, step in (("/v1/onboarding/progress", "WELCOME"), ("/v1/onboarding/status", "UPLOAD_VIDEO")):
        first = await user.get(path)
        tag = first.headers["ETag"]
        assert (await user.get(path, If_None_Match=tag)).status == 304
        await user.update("shared_content")
        await user.post(f"/v1/onboarding/steps/{step}/complete")
        assert (await user.get(path, If_None_Match=tag)).status == 200


async def test_the_checklist(user: User) -> None:
    done = await user.post("/v1/onboarding/steps/WELCOME/complete", {"timeSpentSeconds": 12.4})
    assert done.status == 200
    assert done.body["status"]["currentStep"] == "UPLOAD_VIDEO"
    skipped = await user.post("/v1/onboarding/steps/UPLOAD_VIDEO/skip")
    assert skipped.body["status"]["percentage"] == 17
    rest = await user.post("/v1/onboarding/skip")
    assert rest.status == 200
    status = await user.get("/v1/onboarding/status")
    assert status.body == rest.body["status"]
    assert {name: status.body[name] for name in ("currentStep", "completed", "skipped", "percentage")} == {
        "currentStep": "COMPLETED",
        "completed": True,
        "skipped": True,
        "percentage": 17,
    }
    assert [one["status"] for one in status.body["steps"]] == ["completed"] + ["skipped"] * 5
    assert status.body["steps"][0]["timeSpentSeconds"] == 12
    facts = len(await user.rows("onboarding_events"))
    assert (await user.post("/v1/onboarding/skip")).body == rest.body
    assert len(await user.rows("onboarding_events")) == facts
    again = await user.post("/v1/onboarding/steps/VIEW_CLIPS/complete")
    assert again.body["status"]["percentage"] == 33
    assert (await user.post("/v1/onboarding/steps/VIEW_CLIPS/skip")).body["status"]["percentage"] == 33


async def test_skipping_the_rest_twice_with_one_id(user: User) -> None:
    answers = await asyncio.gather(*(user.post("/v1/onboarding/skip", {"id": "i" * 128}) for _ in range(3)))
    assert {answer.status for answer in answers} == {200}
    assert len(await user.rows("onboarding_events")) == len(STEPS)


async def test_a_service_names_the_user(service: Service, user: User) -> None:
    body = {"action": "created_clip", "projectId": "p"}
    assert (await service.send(body, UPDATE)).error["code"] == "missing_subject"
    assert (await service.send({**body, "userId": user.id, "orgId": "acme"}, UPDATE)).status == 200
    assert (await service.send(body, f"{UPDATE}?userId={user.id}")).body["isFirstTime"] is False
    read = await service.get(f"/v1/onboarding/progress?userId={user.id}")
    assert read.body == (await user.get("/v1/onboarding/progress")).body
    admin = service.token(user.id, aud="milepost", scope="admin")
    assert (await service.get("/v1/onboarding/progress", by=admin)).body == read.body


async def test_who_may_only_ingest_is_told_nothing(service: Service, user: User) -> None:
    key = await service.make_key("ingest")
    body = {"action": "created_clip", "projectId": "p", "userId": user.id}
    answer = await service.send(body, UPDATE, by=key)
    assert (answer.status, answer.error["code"]) == (403, "missing_scope")
    assert (await service.send(body, f"{UPDATE}?wait=0", by=key)).status == 202


async def test_a_qualifying_organisation_is_told_on(service: Service) -> None:
    user = User(service, org_id=f"org-{uuid.uuid4().hex[:8]}")
    await user.update("shared_content", at="2026-11-21T08:00:00Z")
    for minute in (30, 10, 20):
        assert (await user.update("created_clip", at=f"2026-11-21T08:{minute}:00Z")).status == 200
    (row,) = await user.rows("onboarding_organizations")
    assert row["qualified_at"].isoformat() == "2026-11-21T08:10:00+00:00"
    async with asyncio.timeout(60):
        while (held := await _qualified(service, row["org_id"])) != row["qualified_at"]:
            assert held is None or held > row["qualified_at"]
            await asyncio.sleep(0.02)


async def _qualified(service: Service, org_id: str) -> Any:
    query = "SELECT min(at) FROM referral_events WHERE kind = 'referral.qualified' AND org_id = $1"
    return await service.sql.fetchval(query, org_id)


UPDATES: list[tuple[Any, int, str, str | None]] = [
    ({"action": "flew", "projectId": "p"}, 422, "unknown_action", "$.action"),
    ({"action": "created_clip"}, 422, "invalid_body", "$"),
    ({"projectId": "p"}, 422, "invalid_body", "$"),
    ({"action": 1, "projectId": "p"}, 422, "invalid_body", "$.action"),
    ({"action": "created_clip", "projectId": ""}, 422, "invalid_data", "$.projectId"),
    ({"action": "created_clip", "projectId": "p" * 257}, 422, "invalid_data", "$.projectId"),
    ({"action": "created_clip", "projectId": "p\x00"}, 422, "bad_text", "$"),
    ({"action": "created_clip", "projectId": "p", "metadata": []}, 422, "invalid_data", "$.metadata"),
    ({"action": "created_clip", "projectId": "p", "metadata": "x"}, 422, "invalid_data", "$.metadata"),
    ({"action": "created_clip", "projectId": "p", "metadata": {"x": "y" * 300_000}}, 422, "too_large", "$"),
    ({"action": "created_clip", "projectId": "p", "metadata": {"x": [[]] * 0 + [1e999]}}, 400, "malformed_json", None),
    ({"action": "created_clip", "projectId": "p", "isFirstTime": True}, 422, "invalid_body", "$"),
    ({"action": "created_clip", "projectId": "p", "at": "yesterday"}, 422, "invalid_body", "$.at"),
    ({"action": "created_clip", "projectId": "p", "at": "2026-11-21T08:00:00"}, 422, "invalid_action", "$.at"),
    ({"action": "created_clip", "projectId": "p", "id": ""}, 422, "invalid_id", "$.id"),
    ({"action": "created_clip", "projectId": "p", "id": "i" * 129}, 422, "invalid_id", "$.id"),
    (b"", 400, "malformed_json", None),
    (b"{", 400, "malformed_json", None),
    (b"[]", 422, "invalid_body", "$"),
    (b'{"action": "created_clip", "projectId": "\xff"}', 400, "malformed_json", None),
    (b"[" * 100_000, 422, "invalid_body", "$"),
    (b'{"metadata": ' + b"[" * 100_000, 400, "malformed_json", None),
]


@pytest.mark.parametrize(("body", "status", "code", "path"), UPDATES, ids=range(len(UPDATES)))
async def test_updates_that_are_refused(user: User, body: Any, status: int, code: str, path: str | None) -> None:
    answer = await user.post(UPDATE, body)
    assert (answer.status, answer.error["code"]) == (status, code), answer.error
    assert (answer.error.get("details") or {}).get("path") == path
    assert await user.rows("onboarding_events") == []


async def test_whose_it_is_not(user: User, service: Service) -> None:
    body = {"action": "created_clip", "projectId": "p"}
    for answer in (
        await user.post(UPDATE, {**body, "userId": "somebody"}),
        await user.post(UPDATE, {**body, "orgId": "somebody"}),
        await user.post(f"{UPDATE}?userId=somebody", body),
        await user.get("/v1/onboarding/progress?userId=somebody"),
        await user.get("/v1/onboarding/status?userId=somebody"),
        await user.post("/v1/onboarding/steps/WELCOME/complete", {"userId": "somebody"}),
        await user.post("/v1/onboarding/skip", {"userId": "somebody"}),
    ):
        assert (answer.status, answer.error["code"]) == (403, "forbidden_subject")
    for path in ("/v1/onboarding/progress", "/v1/onboarding/status", "/admin/plg/onboarding/overview"):
        assert (await service.get(path, by=None)).status == 401
    for answer in (
        await user.get("/admin/plg/onboarding/overview"),
        await service.get("/admin/plg/onboarding/overview"),
    ):
        assert (answer.status, answer.error["code"]) == (403, "missing_scope")


@pytest.mark.parametrize(
    ("path", "body", "status", "code"),
    [
        ("steps/FLY/complete", None, 422, "unknown_step"),
        ("steps/welcome/skip", None, 422, "unknown_step"),
        ("steps/COMPLETED/complete", None, 422, "unknown_step"),
        ("steps/%00/complete", None, 422, "bad_text"),
        ("steps/" + "x" * 300 + "/skip", None, 422, "invalid_data"),
        ("steps/WELCOME/complete", {"timeSpentSeconds": -1}, 422, "invalid_data"),
        ("steps/WELCOME/complete", {"timeSpentSeconds": "1"}, 422, "invalid_body"),
        ("steps/WELCOME/complete", {"step": "WELCOME"}, 422, "invalid_body"),
        ("steps/WELCOME/complete", b"x", 400, "malformed_json"),
        ("steps/WELCOME/reopen", None, 404, "not_found"),
        ("skip", {"id": ""}, 422, "invalid_id"),
        ("skip", {"id": 7}, 422, "invalid_body"),
        ("skip", {"steps": []}, 422, "invalid_body"),
    ],
)
async def test_steps_that_are_refused(user: User, path: str, body: Any, status: int, code: str) -> None:
    answer = await user.post(f"/v1/onboarding/{path}", body)
    assert (answer.status, answer.error["code"]) == (status, code), answer.error
    assert await user.rows("onboarding_events") == []


async def test_over_the_limit(settings: Settings) -> None:
    limited = settings.model_copy(update={"rate_limit_update": "3/minute", "rate_limit_read": "2/minute"})
    async with running(limited, draining=True) as service:
        user, other = User(service), User(service)
        for one in (user, other):
            one.token = service.token(one.id)
        answers = [await user.update("created_clip") for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 200, 429]
        assert answers[0].headers["RateLimit-Remaining"] == "2"
        assert int(answers[3].headers["Retry-After"]) > 0
        assert [(await user.get("/v1/onboarding/progress")).status for _ in range(3)] == [200, 200, 429]
        assert (await other.update("created_clip")).status == 200
        paths = [f"/v1/onboarding/progress?userId={n}" for n in range(4)]
        assert [(await service.get(path)).status for path in paths] == [200] * 4, "a service acts for many"


async def test_the_overview(settings: Settings) -> None:
    async with running(settings, draining=True) as service:
        admin = await service.make_key("admin")
        empty = await service.get("/admin/plg/onboarding/overview", by=admin)
        assert empty.status == 200
        assert empty.body["totals"] == {"users": 0, "completed": 0, "skipped": 0, "completionRate": 0.0}
        assert [one["step"] for one in empty.body["steps"]] == list(STEPS)
        actions = [_step("ada", step, n, 10 * n) for n, step in enumerate(STEPS)]
        actions += [_step("bob", STEPS[0], 0, 20), _step("bob", STEPS[1], 4, None, "skipped")]
        actions += [_step("cy", STEPS[0], 0, 60)]
        actions += [
            {"kind": "onboarding.action_completed", "userId": who, "data": {"action": what, "projectId": "p"}}
            for who, what in (("ada", "created_clip"), ("ada", "created_clip"), ("dee", "shared_content"))
        ]
        await service.send({"actions": actions}, Prefer="wait=10")
        answer = await service.get("/admin/plg/onboarding/overview?timeRange=24h", by=admin)
        found = answer.body
        assert found["totals"] == {"users": 4, "completed": 1, "skipped": 0, "completionRate": 0.25}
        first, second, third = found["steps"][:3]
        assert first == {
            "step": "WELCOME",
            "entered": 3,
            "completed": 3,
            "skipped": 0,
            "dropOff": 0.0,
            "medianTimeSpentSeconds": 20.0,
            "medianTimeBetweenStepsSeconds": None,
        }
        assert (second["entered"], second["completed"], second["skipped"], second["dropOff"]) == (3, 1, 1, 0.3333)
        assert second["medianTimeBetweenStepsSeconds"] == 150.0
        assert (third["entered"], third["completed"], third["dropOff"]) == (2, 1, 0.5)
        assert [(one["action"], one["users"], one["times"], one["percentage"]) for one in found["actions"]] == [
            *(("created_clip", 1, 2, 25), ("added_subtitles", 0, 0, 0), ("reframed_video", 0, 0, 0)),
            ("shared_content", 1, 1, 25),
        ]
        away = "from=2026-01-01T00:00:00Z&to=2026-02-01T00:00:00%2B01:00"
        assert (await service.get(f"/admin/plg/onboarding/overview?{away}", by=admin)).body["totals"]["users"] == 0
        for wrong in ("timeRange=1y", "from=yesterday", "to=2026-02-01T00:00:00Z", "from=2020-01-01T00:00:00Z",
                      "timeRange=7d&from=2026-01-01T00:00:00Z", "from=2026-01-01T00:00:00"):  # fmt: skip
            answer = await service.get(f"/admin/plg/onboarding/overview?{wrong}", by=admin)
            assert (answer.status, answer.error["code"]) == (400, "invalid_parameter"), wrong


def _step(user: str, step: str, minute: int, seconds: int | None, what: str = "completed") -> dict[str, Any]:
    data = {"step": step} | ({} if seconds is None else {"timeSpentSeconds": seconds})
    from datetime import UTC, datetime, timedelta

    at = datetime.now(UTC) - timedelta(hours=2) + timedelta(minutes=minute)
    return {"kind": f"onboarding.step_{what}", "userId": user, "at": at.isoformat(), "data": data}
