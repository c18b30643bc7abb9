"""Effects over HTTP: listed with their deliveries, looked at, retried, discarded; by id and by filter."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from typing import Any

import hypothesis
import pytest
import schemathesis

from db.settings import Settings
from jobs.effects import effect as effects
from tests.api.service import running
from tests.api.test_openapi import DOCUMENT, FUZZ, JITTER, check
from tests.api.test_webhooks import LOCAL, Admin
from tests.worker import receiver
from tests.worker.receiver import effect

PATH = "/v1/admin/effects"


@pytest.fixture
async def admin(settings: Settings) -> AsyncIterator[Admin]:
    """An operator, two webhooks, and effects of every status."""
    async with running(settings.model_copy(update=LOCAL)) as service:
        made = Admin(service, await service.make_key("admin"))
        await made.made("http://127.0.0.1:9/a", types=["certificate.*", "usage.threshold_reached"])
        await made.made("http://127.0.0.1:9/b", types=["certificate.issued"])
        kinds = ["certificate.issued", "usage.threshold_reached", "certificate.revoked", "nobody.wants"]
        for number, type_ in enumerate(kinds * 2):
            await receiver.commit(service.sql, [effect(number, type_)])
        await service.sql.execute("UPDATE deliveries SET status = 'dead' WHERE effect_id IN ('e-4', 'e-5')")
        await service.sql.execute("UPDATE deliveries SET status = 'delivered' WHERE effect_id IN ('e-1', 'e-2')")
        yield made


def name(number: int) -> str:
    """The id of an effect."""
    return effects.message_id("user:u-1", f"e-{number}")


async def listed(admin: Admin, query: str = "") -> list[int]:
    """The numbers of the effects of a page."""
    answer = await admin("GET", f"{PATH}?{query}")
    assert answer.status == 200, answer.body
    numbers = {name(number): number for number in range(20)}
    return [numbers[one["id"]] for one in answer.body["effects"]]


async def test_the_list_is_newest_first_with_everything(admin: Admin) -> None:
    answer = await admin("GET", PATH)
    assert await listed(admin) == list(range(7, -1, -1))
    assert answer.body["cursor"] is None
    by_id = {one["id"]: one for one in answer.body["effects"]}
    assert [by_id[name(number)]["status"] for number in range(8)] == [
        *("pending", "delivered", "delivered", "none"),
        *("dead", "dead", "pending", "none"),
    ]
    one = by_id[name(0)]
    assert (one["type"], one["subject"], one["data"]) == ("certificate.issued", "user:u-1", {"number": 0})
    assert (one["at"], one["order"]) == ("2026-11-21T08:00:00Z", None)
    assert {held["destination"]["url"] for held in one["deliveries"]} == {
        "http://127.0.0.1:9/a",
        "http://127.0.0.1:9/b",
    }
    assert {held["attemptCount"] for held in one["deliveries"]} == {0}


async def test_filters(admin: Admin) -> None:
    first = (await admin("GET", "/v1/admin/webhooks")).body["webhooks"][0]["id"]
    assert await listed(admin, "status=dead") == [5, 4]
    assert await listed(admin, "status=pending") == [6, 0]
    assert await listed(admin, "type=nobody.wants") == [7, 3]
    assert await listed(admin, "type=certificate.*") == [6, 4, 2, 0]
    assert await listed(admin, "status=dead&type=certificate.issued") == [4]
    assert await listed(admin, f"destination={first}&type=usage.*") == [5, 1]
    assert await listed(admin, f"destination={uuid.uuid4()}") == []
    assert await listed(admin, f"destination={first}&status=delivered") == [2, 1]


@pytest.mark.parametrize("query", ["", "&type=*", "&status=pending", "&status=dead&type=certificate.*"])
async def test_pages(admin: Admin, query: str) -> None:
    whole, found, cursor = await listed(admin, query), [], ""
    while True:
        answer = await admin("GET", f"{PATH}?limit=1{query}{cursor}")
        found += [one["id"] for one in answer.body["effects"]]
        if answer.body["cursor"] is None:
            break
        cursor = f"&cursor={answer.body['cursor']}"
    assert found == [name(number) for number in whole]


@pytest.mark.parametrize(
    "query",
    [
        *("status=x", "status=", "type=a%20b", "type=%00", "type=", "destination=1", "destination=", "limit=0"),
        *("limit=1000", "limit=١", "cursor=!!", "cursor=MQ", "cursor=" + "a" * 500),
    ],
)
async def test_parameters_that_are_none(admin: Admin, query: str) -> None:
    answer = await admin("GET", f"{PATH}?{query}")
    assert (answer.status, answer.error["code"]) == (400, "invalid_parameter")
    assert answer.error["details"]["path"] == query.partition("=")[0]


async def test_one_with_its_attempts(admin: Admin) -> None:
    await admin.service.sql.execute(
        "INSERT INTO delivery_attempts SELECT id, 1, now(), 12, 500, NULL, 'oh' FROM deliveries WHERE effect_id = 'e-4'"
    )
    answer = await admin("GET", f"{PATH}/{name(4)}")
    assert answer.status == 200
    tried = [attempt for one in answer.body["deliveries"] for attempt in one["attempts"]]
    assert [(one["number"], one["status"], one["milliseconds"], one["response"]) for one in tried] == [
        (1, 500, 12, "oh")
    ] * 2


async def test_retry_and_discard_of_one(admin: Admin) -> None:
    assert (await admin("POST", f"{PATH}/{name(4)}/retry")).body == {"retried": 2, "refused": 0}
    assert await listed(admin, "status=dead") == [5]
    due = await admin.service.sql.fetchval(
        "SELECT bool_and(due_at <= now() AND enqueue_at <= now() AND tries = 0) FROM deliveries WHERE effect_id = 'e-4'"
    )
    assert due
    assert (await admin("POST", f"{PATH}/{name(5)}/discard")).body == {"discarded": 1, "refused": 0}
    assert (await admin("POST", f"{PATH}/{name(5)}/discard")).body == {"discarded": 0, "refused": 0}
    one = (await admin("GET", f"{PATH}/{name(5)}")).body["deliveries"][0]
    assert (one["status"], one["reason"]) == ("discarded", "discarded by an operator")
    # What was delivered stays so.
    assert (await admin("POST", f"{PATH}/{name(1)}/retry")).body == {"retried": 0, "refused": 0}
    assert (await admin("POST", f"{PATH}/{name(5)}/retry")).body == {"retried": 1, "refused": 0}


async def test_retry_and_discard_by_filter(admin: Admin) -> None:
    second = (await admin("GET", "/v1/admin/webhooks")).body["webhooks"][1]["id"]
    answer = await admin("POST", f"{PATH}/retry", {"destination": second, "type": "certificate.*"})
    assert answer.body == {"retried": 1, "refused": 0}
    assert (await admin("POST", f"{PATH}/discard", {})).body == {"discarded": 2, "refused": 0}
    assert await listed(admin, "status=dead") == []
    assert (await admin("POST", f"{PATH}/retry", {"status": "discarded"})).body == {"retried": 2, "refused": 0}
    answer = await admin("POST", f"{PATH}/discard", {"status": "pending"})
    assert answer.body["discarded"] == 6
    assert await listed(admin, "status=pending") == []
    assert await listed(admin, "status=delivered") == [2, 1]


async def test_what_goes_to_a_disabled_destination_is_refused(admin: Admin) -> None:
    first = (await admin("GET", "/v1/admin/webhooks")).body["webhooks"][0]["id"]
    await admin("PATCH", f"/{first}", {"enabled": False})
    answer = await admin("POST", f"{PATH}/retry", {})
    assert answer.body == {"retried": 1, "refused": 2}


async def test_an_operators_retry_wakes_a_destination_that_rests(admin: Admin) -> None:
    await admin.service.sql.execute("UPDATE destinations SET failures = 9, paused_until = now() + interval '1 hour'")
    await admin("POST", f"{PATH}/{name(5)}/retry")
    rows = await admin.service.sql.fetch("SELECT failures FROM destinations ORDER BY url")
    assert [row["failures"] for row in rows] == [0, 9]


async def test_a_delivery_that_waits_for_its_next_try_goes_at_once_and_one_under_way_is_left(admin: Admin) -> None:
    sql = admin.service.sql
    await sql.execute(
        "UPDATE deliveries SET due_at = now() + interval '1 h', enqueue_at = now() + interval '1 h' "
        "WHERE effect_id = 'e-0'"
    )
    await sql.execute(
        "UPDATE deliveries SET due_at = now() + interval '25 s', enqueue_at = now() + interval '26 s' "
        "WHERE effect_id = 'e-6'"
    )
    answer = await admin("POST", f"{PATH}/retry", {"status": "pending"})
    assert answer.body == {"retried": 2, "refused": 1}
    held = await sql.fetch("SELECT effect_id, due_at <= now() AS due FROM deliveries WHERE status = 'pending'")
    assert {row["effect_id"]: row["due"] for row in held} == {"e-0": True, "e-6": False}


@pytest.mark.parametrize(
    ("body", "path"),
    [
        ({"status": "delivered"}, "status"),
        ({"status": "nope"}, "status"),
        ({"status": 1}, "status"),
        ({"type": "a b"}, "type"),
        ({"destination": "x"}, "destination"),
        ({"more": 1}, "$"),
        ([], "$"),
    ],
)
async def test_filters_that_are_none(admin: Admin, body: Any, path: str) -> None:
    for verb in ("retry", "discard"):
        answer = await admin("POST", f"{PATH}/{verb}", body)
        assert (answer.status, answer.error["code"]) == (422, "invalid_body"), answer.body
        assert answer.error["details"]["path"] in {path, f"$.{path}"}
    assert await listed(admin, "status=dead") == [5, 4]


@pytest.mark.parametrize("one", ["x", "msg_", "msg_a", "msg_%00", "MSG_A", "msg_" + "a" * 500])
async def test_ids_that_are_none(admin: Admin, one: str) -> None:
    for method, path in (("GET", ""), ("POST", "/retry"), ("POST", "/discard")):
        answer = await admin(method, f"{PATH}/{one}{path}")
        assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_only_an_admin_may(admin: Admin) -> None:
    paths = [("GET", ""), ("GET", f"/{name(0)}"), ("POST", f"/{name(0)}/retry"), ("POST", f"/{name(0)}/discard")]
    for method, path in [*paths, ("POST", "/retry"), ("POST", "/discard")]:
        answer = await admin.service.ask(method, PATH + path)
        assert (answer.status, answer.error["code"]) == (403, "missing_scope")
        assert (await admin.service.ask(method, PATH + path, by=None)).status == 401


@pytest.mark.usefixtures("quiet")
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
@JITTER
async def test_fuzzed_by_an_admin_they_answer_as_described(admin: Admin, mode: schemathesis.GenerationMode) -> None:
    """The common fuzz has no key that may do this."""
    schema = schemathesis.openapi.from_dict(DOCUMENT).include(path_regex="/v1/admin/(webhooks|effects)")
    base = str(admin.service.client.make_url("")).rstrip("/")

    def fuzz() -> None:
        for result in schema.get_all_operations():
            operation = result.ok()  # type: ignore[union-attr]
            if mode == schemathesis.GenerationMode.NEGATIVE and not (operation.body or operation.query):
                continue

            @FUZZ
            @hypothesis.given(operation.as_strategy(generation_mode=mode))
            def one(case: schemathesis.Case[Any]) -> None:
                check(case, base, admin.key)

            one()

    await asyncio.to_thread(fuzz)
