"""Usage through the whole pipe: HTTP, the log, the worker, Postgres, and back."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any

import pytest

from tests.api.service import Answer, Service

pytestmark = pytest.mark.usefixtures("quiet", "buries_nothing")
TRACK, CHECK, CONSUME = "/v1/usage/track", "/v1/usage/check", "/v1/usage/consume"
RESERVE, CURRENT = "/v1/usage/reserve", "/v1/usage/current"
UPLOAD = {"action": "DIAGRAM_UPLOAD"}


class Customer:
    """A user with a token, on the default plan."""

    def __init__(self, service: Service) -> None:
        self.service, self.id = service, f"user-{uuid.uuid4().hex[:12]}"
        self.token = service.token(self.id, aud="milepost")

    async def send(self, path: str, body: Any = None, **headers: str) -> Answer:
        """POST as this user."""
        return await self.service.send(body, path, by=self.token, **headers)

    async def consume(self, action: str = "DIAGRAM_UPLOAD", **more: Any) -> Answer:
        """Use something."""
        return await self.send(CONSUME, {"action": action, **more})

    async def reserve(self, **more: Any) -> str:
        """The id of a reservation of two analyses, or what `more` says."""
        answer = await self.send(RESERVE, {"action": "AI_ANALYSIS", "quantity": 2, **more})
        assert answer.status == 200, answer
        return str(answer.body["reservationId"])

    async def end(self, reservation: str, word: str = "commit", body: Any = None) -> Answer:
        """Commit or release."""
        return await self.send(f"/v1/usage/reservations/{reservation}/{word}", body)

    async def get(self, path: str, **headers: str) -> Answer:
        """GET as this user."""
        return await self.service.get(path, by=self.token, **headers)

    async def meter(self, action: str = "DIAGRAM_UPLOAD") -> dict[str, Any]:
        """How one meter stands."""
        found: dict[str, Any] = (await self.get(CURRENT)).body["meters"][action]
        return found


@pytest.fixture
def ada(service: Service) -> Customer:
    """A new one."""
    return Customer(service)


@pytest.fixture
def bob(service: Service) -> Customer:
    """Another one."""
    return Customer(service)


async def test_the_limit_of_a_plan(ada: Customer) -> None:
    answers = [await ada.consume() for _ in range(6)]
    assert [answer.status for answer in answers] == [200] * 5 + [429]
    first, last = answers[0].body, answers[-1]
    assert {name: first[name] for name in ("allowed", "action", "used", "reserved", "limit", "remaining")} == {
        "allowed": True,
        "action": "DIAGRAM_UPLOAD",
        "used": 1,
        "reserved": 0,
        "limit": 5,
        "remaining": 4,
    }
    assert (first["percentage"], first["unlimited"], first["warning"], first["quantity"]) == (20, False, None, 1)
    assert [answer.body["warning"] for answer in answers[:5]] == [None, None, None, 80, 100]
    assert "Retry-After" not in last.headers
    details = last.error["details"]
    assert last.error["code"] == "plan_limit_exceeded"
    assert details.keys() == {"action", "used", "reserved", "limit", "resetsAt", "plan", "upgrade"}
    assert (details["used"], details["limit"], details["plan"]) == (5, 5, "FREE")
    assert details["upgrade"].keys() == {"plan", "url", "message"}
    assert details["upgrade"]["plan"] == "PROFESSIONAL"
    assert details["resetsAt"] == first["resetsAt"]


async def test_a_feature_that_the_plan_lacks_and_a_file_that_is_too_large(ada: Customer) -> None:
    answer = await ada.consume("EXPORT_PDF")
    assert (answer.status, answer.error["code"]) == (403, "feature_not_in_plan")
    assert answer.error["details"]["upgrade"]["plan"] == "PROFESSIONAL"
    answer = await ada.consume(fileSize=10_485_761)
    assert (answer.status, answer.error["code"]) == (413, "file_too_large")
    assert (answer.error["details"]["maxFileSize"], answer.error["details"]["fileSize"]) == (10_485_760, 10_485_761)
    assert (await ada.consume(fileSize=10_485_760)).status == 200
    assert (await ada.meter())["used"] == 1


async def test_tracking_never_fails_for_a_limit(ada: Customer) -> None:
    answer = await ada.send(TRACK, {**UPLOAD, "quantity": 7, "resourceId": "d-7", "metadata": {"bytes": 12}})
    assert (answer.status, answer.body["accepted"], answer.body["id"] != "") == (202, True, True)
    shown = await ada.get(f"{CURRENT}?after={answer.body['position']}")
    assert shown.body["meters"]["DIAGRAM_UPLOAD"]["used"] == 7
    answer = await ada.send(f"{TRACK}?wait=10", {**UPLOAD, "id": "t-2"})
    assert (answer.status, answer.body["quantity"], answer.body["id"]) == (200, 1, "t-2")
    again = await ada.send(TRACK, {**UPLOAD, "id": "t-2"}, Prefer="wait=10")
    assert (again.status, again.body) == (200, answer.body)
    assert (await ada.meter())["used"] == 8
    assert (await ada.consume()).status == 429


async def test_a_check_counts_nothing(ada: Customer) -> None:
    before = await ada.get(f"{CHECK}?action=DIAGRAM_UPLOAD&quantity=5")
    assert (before.status, before.body["allowed"], before.body["used"]) == (200, True, 0)
    denied = await ada.get(f"{CHECK}?action=DIAGRAM_UPLOAD&quantity=6")
    assert (denied.status, denied.body["allowed"], denied.body["reason"]) == (200, False, "plan_limit_exceeded")
    assert denied.body["upgrade"]["plan"] == "PROFESSIONAL"
    size = await ada.get(f"{CHECK}?action=DIAGRAM_UPLOAD&fileSize=99999999999")
    assert (size.body["allowed"], size.body["reason"]) == (False, "file_too_large")
    free = await ada.get(f"{CHECK}?action=PROCEDURE_VIEW")
    assert (free.body["limit"], free.body["percentage"], free.body["unlimited"]) == (None, None, True)
    assert (await ada.meter())["used"] == 0
    await ada.consume(quantity=4)
    after = await ada.get(f"{CHECK}?action=DIAGRAM_UPLOAD", If_None_Match=before.headers["ETag"])
    assert (after.status, after.body["used"], after.body["warning"]) == (200, 4, 80)
    assert (await ada.get(f"{CHECK}?action=DIAGRAM_UPLOAD", If_None_Match=after.headers["ETag"])).status == 304


async def test_current_shows_everything(ada: Customer) -> None:
    body = (await ada.get(CURRENT)).body
    assert (body["plan"], body["nextPlan"], body["features"]) == ("FREE", None, [])
    assert body["period"].keys() == {"start", "end"}
    assert body["limits"] == {"maxFileSize": 10_485_760, "storage": 104_857_600, "teamSize": 1}
    assert body["meters"]["EXPORT_PDF"]["limit"] == 0
    assert body["meters"]["STORAGE_BYTES"] | {"unit": "bytes", "resetsAt": None} == body["meters"]["STORAGE_BYTES"]


async def test_a_reservation_is_committed_in_part(ada: Customer) -> None:
    name = await ada.reserve()
    assert (await ada.meter("AI_ANALYSIS"))["reserved"] == 2
    assert (await ada.consume("AI_ANALYSIS", quantity=2)).status == 429
    too_much = await ada.end(name, body={"quantity": 3})
    assert (too_much.status, too_much.error["code"]) == (422, "commit_exceeds_reservation")
    done = await ada.end(name, body={"quantity": 1, "id": f"c-{name}"})
    assert (done.status, done.body["used"], done.body["reserved"], done.body["released"]) == (200, 1, 0, 1)
    assert (await ada.end(name, body={"quantity": 1, "id": f"c-{name}"})).body == done.body
    twice = await ada.end(name)
    assert (twice.status, twice.error["code"]) == (409, "reservation_committed")
    assert (await ada.end(name, "release")).error["code"] == "reservation_committed"


async def test_a_reservation_is_released_and_expires(ada: Customer) -> None:
    name = await ada.reserve()
    done = await ada.end(name, "release", {})
    assert (done.status, done.body["used"], done.body["reserved"], done.body["released"]) == (200, 0, 0, 2)
    assert (await ada.end(name)).error["code"] == "reservation_released"
    name = await ada.reserve(ttl=1)

    async def is_free() -> bool:
        return bool((await ada.meter("AI_ANALYSIS"))["reserved"] == 0)

    async with asyncio.timeout(60):
        while not await is_free():  # noqa: ASYNC110 nothing tells when a reservation ends
            await asyncio.sleep(0.05)
    late = await ada.end(name)
    assert (late.status, late.error["code"]) == (409, "reservation_expired")


async def test_somebody_elses_reservation_is_none(ada: Customer, bob: Customer) -> None:
    name = await ada.reserve()
    for word in ("commit", "release"):
        theirs, nobodys = await bob.end(name, word), await bob.end("no-such", word)
        assert (theirs.status, theirs.error["code"]) == (nobodys.status, nobodys.error["code"])
        assert (theirs.status, theirs.error["code"]) == (404, "unknown_reservation")
    assert (await ada.end(name)).status == 200


@pytest.mark.parametrize("name", ["%00", "%0A", "x" * 129, "%ED%A0%80", "%2e%2e%2f%2e%2e", "'%3B--"])
async def test_hostile_reservations(ada: Customer, name: str) -> None:
    for word in ("commit", "release"):
        answer = await ada.end(name, word)
        assert answer.status in {400, 404}, answer
        assert answer.error["code"] in {"unknown_reservation", "not_found", "malformed"}


BAD: list[tuple[dict[str, Any], str, str]] = [
    ({"action": "NOBODYS"}, "unknown_meter", "$.action"),
    ({"action": ""}, "invalid_body", "$.action"),
    ({"action": "x" * 65}, "invalid_body", "$.action"),
    ({"action": 1}, "invalid_body", "$.action"),
    ({}, "invalid_body", "$"),
    ({**UPLOAD, "quantity": 0}, "", "$.quantity"),
    ({**UPLOAD, "quantity": -1}, "", "$.quantity"),
    ({**UPLOAD, "quantity": 10**18}, "invalid_body", "$.quantity"),
    ({**UPLOAD, "quantity": 10**30}, "invalid_body", "$.quantity"),
    ({**UPLOAD, "quantity": 1.5}, "invalid_body", "$.quantity"),
    ({**UPLOAD, "quantity": "1"}, "invalid_body", "$.quantity"),
    ({**UPLOAD, "quantity": None}, "invalid_body", "$.quantity"),
    ({**UPLOAD, "quantity": True}, "invalid_body", "$.quantity"),
    ({**UPLOAD, "resourceId": "\x00"}, "invalid_body", "$.resourceId"),
    ({**UPLOAD, "resourceId": "x" * 129}, "invalid_body", "$.resourceId"),
    ({**UPLOAD, "metadata": []}, "invalid_data", "$.metadata"),
    ({**UPLOAD, "metadata": {"a": "\x00"}}, "bad_text", "$"),
    ({**UPLOAD, "id": "\n"}, "invalid_id", "$.id"),
    ({**UPLOAD, "id": ""}, "invalid_id", "$.id"),
    ({**UPLOAD, "id": "x" * 129}, "invalid_id", "$.id"),
    ({**UPLOAD, "more": 1}, "invalid_body", "$"),
]


@pytest.mark.parametrize("path", [TRACK, CONSUME, RESERVE])
@pytest.mark.parametrize(("body", "code", "wrong"), BAD)
async def test_bad_bodies(ada: Customer, path: str, body: dict[str, Any], code: str, wrong: str) -> None:
    answer = await ada.send(path, body)
    assert answer.status == 422, answer
    assert answer.error["code"] in ({code} if code else {"invalid_body", "invalid_data"})
    assert answer.error["details"]["path"] == wrong
    assert (await ada.meter())["used"] == 0


@pytest.mark.parametrize(
    ("query", "status", "code"),
    [
        ("", 400, "invalid_parameter"),
        ("action=NOBODYS", 422, "unknown_meter"),
        ("action=%00", 422, "unknown_meter"),
        ("action=DIAGRAM_UPLOAD&quantity=0", 400, "invalid_parameter"),
        ("action=DIAGRAM_UPLOAD&quantity=-1", 400, "invalid_parameter"),
        ("action=DIAGRAM_UPLOAD&quantity=1.5", 400, "invalid_parameter"),
        ("action=DIAGRAM_UPLOAD&quantity=1e3", 400, "invalid_parameter"),
        (f"action=DIAGRAM_UPLOAD&quantity={10**18}", 400, "invalid_parameter"),
        ("action=DIAGRAM_UPLOAD&quantity=%D9%A1", 400, "invalid_parameter"),
        ("action=DIAGRAM_UPLOAD&fileSize=-1", 400, "invalid_parameter"),
        ("action=DIAGRAM_UPLOAD&after=x", 400, "invalid_position"),
    ],
)
async def test_bad_checks(ada: Customer, query: str, status: int, code: str) -> None:
    answer = await ada.get(f"{CHECK}?{query}")
    assert (answer.status, answer.error["code"]) == (status, code)


async def test_a_token_acts_for_its_own_user_only(ada: Customer, bob: Customer) -> None:
    for other in ({"userId": bob.id}, {"orgId": "acme"}):
        query = "&".join(f"{name}={value}" for name, value in other.items())
        for answer in (
            await ada.consume(**other),
            await ada.send(TRACK, {**UPLOAD, **other}),
            await ada.send(f"{CONSUME}?{query}", UPLOAD),
            await ada.get(f"{CURRENT}?{query}"),
            await ada.get(f"{CHECK}?action=DIAGRAM_UPLOAD&{query}"),
        ):
            assert (answer.status, answer.error["code"]) == (403, "forbidden_subject")
    assert (await bob.meter())["used"] == 0
    assert (await ada.consume(userId=ada.id)).status == 200


async def test_a_service_names_the_subject(service: Service) -> None:
    org = f"org-{uuid.uuid4().hex[:8]}"
    missing = await service.send(UPLOAD, CONSUME)
    assert (missing.status, missing.error["code"]) == (422, "missing_subject")
    assert (await service.get(CURRENT)).error["code"] == "missing_subject"
    assert (await service.send({**UPLOAD, "orgId": org}, CONSUME)).body["used"] == 1
    assert (await service.send({**UPLOAD, "userId": org}, CONSUME)).body["used"] == 1
    assert (await service.send(UPLOAD, f"{CONSUME}?orgId={org}")).body["used"] == 2
    shown = await service.get(f"{CURRENT}?orgId={org}")
    assert shown.body["meters"]["DIAGRAM_UPLOAD"]["used"] == 2
    for wrong in ("%00", "", "x" * 129):
        assert (await service.get(f"{CURRENT}?userId={wrong}")).error["code"] == "invalid_id"


async def test_who_may(service: Service) -> None:
    ingest, read = await service.make_key("ingest"), await service.make_key("read")
    body = {**UPLOAD, "userId": f"u-{uuid.uuid4().hex}"}
    assert (await service.send(body, TRACK, by=ingest)).status == 202
    for path, key in (
        (CONSUME, ingest),
        (CONSUME, read),
        (RESERVE, ingest),
        (TRACK, read),
        (f"{TRACK}?wait=1", ingest),
    ):
        answer = await service.send(body, path, by=key)
        assert (answer.status, answer.error["code"]) == (403, "missing_scope"), path
    assert (await service.get(f"{CURRENT}?userId=u", by=ingest)).error["code"] == "missing_scope"


async def test_the_id_of_another_kind(ada: Customer) -> None:
    assert (await ada.send(f"{TRACK}?wait=10", {**UPLOAD, "id": "i-1"})).status == 200
    for path in (CONSUME, RESERVE):
        answer = await ada.send(path, {**UPLOAD, "id": "i-1"})
        assert (answer.status, answer.error["code"]) == (422, "id_reused")
    assert (await ada.send(CONSUME, UPLOAD, Idempotency_Key="i-2")).body["id"] == "i-2"
    again = await ada.send(CONSUME, UPLOAD, Idempotency_Key="i-2")
    assert (again.status, again.body["used"]) == (200, 2)
    assert (await ada.meter())["used"] == 2


async def test_more_reservations_than_the_model_lists(ada: Customer) -> None:
    """When those expire that it does not list, Postgres is asked."""
    for _ in range(70):  # one batch each: what comes in one is listed together
        await ada.reserve(action="PROCEDURE_VIEW", ttl=3)
    async with asyncio.timeout(60):
        while (await ada.meter("PROCEDURE_VIEW"))["reserved"]:  # noqa: ASYNC110 nothing tells when they end
            await asyncio.sleep(0.05)
