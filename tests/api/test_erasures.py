"""Erasing over HTTP: ordered once, carried out by a worker, told by receipts that name nobody."""

from __future__ import annotations

import asyncio
import uuid
from typing import Any, cast

import pytest

from db import ending
from jobs.privacy import erasure, orders
from tests.api.service import Answer, Service
from worker import privacy_jobs
from worker.context import Context

pytestmark = pytest.mark.usefixtures("quiet")
PATH = "/v1/admin/erasures"


@pytest.fixture
async def admin(service: Service) -> str:
    """A key with the scope admin."""
    return await service.make_key("admin")


def somebody() -> str:
    return f"gone-{uuid.uuid4().hex[:8]}"


async def ordered(service: Service, admin: str, user: str) -> Any:
    """The receipt that the order answers with."""
    answer = await service.send({"userId": user}, PATH, by=admin)
    assert answer.status == 202, answer.body
    assert answer.headers["Location"] == f"{PATH}/{answer.body['id']}"
    assert user not in str(answer.body)
    return answer.body


async def work(service: Service) -> str:
    """What a worker's schedule does."""
    made = {"pool": service.sql, "settings": service.settings, "log": service.redis}
    return await privacy_jobs.erase_people(cast("Context", made))


async def read(service: Service, admin: str, order: Any) -> Any:
    """The receipt."""
    answer = await service.get(f"{PATH}/{order['id']}", by=admin)
    assert answer.status == 200
    return answer.body


async def act(service: Service, user: str) -> Answer:
    """An action of theirs, applied."""
    body = {"kind": "page.viewed", "sessionId": f"s-{user}", "userId": user, "data": {"path": "/"}}
    answer = await service.send(body, by=await service.make_key("ingest"))
    await service.settle(answer)
    return answer


async def test_somebody_is_erased(service: Service, admin: str) -> None:
    user = somebody()
    await act(service, user)
    order = await ordered(service, admin, user)
    assert (order["status"], order["removed"], order["doneAt"]) == ("waiting", {}, None)
    assert (await ordered(service, admin, user))["id"] == order["id"]
    assert await work(service) == "1 erased"
    receipt = await read(service, admin, order)
    assert (receipt["status"], receipt["tries"], receipt["failure"]) == ("done", 1, None)
    assert receipt["removed"] == {"tracked_events": 1, "user_sessions": 1}
    assert len(receipt["positions"]) == service.settings.partitions
    assert (await service.get(f"/v1/sessions/s-{user}")).status == 404
    listed = (await service.get(f"{PATH}?limit=1", by=admin)).body
    assert [one["id"] for one in listed["erasures"]] == [order["id"]]
    again = await ordered(service, admin, user)
    assert again["id"] != order["id"]
    assert again["person"] == order["person"]
    newest = (await service.get(f"{PATH}?limit=1", by=admin)).body
    assert newest["erasures"][0]["id"] == again["id"]
    older = (await service.get(f"{PATH}?limit=1&cursor={newest['cursor']}", by=admin)).body
    assert older["erasures"][0]["id"] == order["id"]
    assert await work(service) == "1 erased"
    assert (await read(service, admin, again))["removed"] == {}


async def test_two_workers_and_two_operators_erase_once(service: Service, admin: str) -> None:
    user = somebody()
    await act(service, user)
    first, second = await asyncio.gather(*(ordered(service, admin, user) for _ in range(2)))
    assert first["id"] == second["id"]
    done = await asyncio.gather(*(work(service) for _ in range(3)))
    assert sorted(done) == ["0 erased", "0 erased", "1 erased"]
    receipt = await read(service, admin, first)
    assert (receipt["tries"], receipt["removed"]["user_sessions"]) == (1, 1)


async def test_while_somebody_holds_the_lease_nobody_else_works(service: Service, admin: str) -> None:
    order = await ordered(service, admin, somebody())
    async with service.sql.acquire() as conn:
        held = await orders.claim(conn)
        assert held is not None
        assert str(held.id) == order["id"]
        assert await orders.claim(conn, held.id) is None
        assert await work(service) == "0 erased"
        assert (await read(service, admin, order))["status"] == "running"
        # As if it had said nothing for the length of a lease.
        await conn.execute("UPDATE erasures SET lease_until = now() WHERE id = $1", held.id)
        assert (await read(service, admin, order))["status"] == "waiting"
        taken = await orders.claim(conn)
        assert taken is not None
        assert (taken.id, taken.holder == held.holder) == (held.id, False)
        with pytest.raises(orders.Lost):
            await orders.carry_out(service.settings, service.redis, held)
        assert (await read(service, admin, order))["status"] == "running"
        await orders.carry_out(service.settings, service.redis, taken)
    assert (await read(service, admin, order))["status"] == "done"


async def test_a_failure_is_told_and_tried_again(service: Service, admin: str, monkeypatch: pytest.MonkeyPatch) -> None:
    order = await ordered(service, admin, somebody())

    async def fails(_: object) -> None:
        raise OSError("the words of Postgres may name a row")

    with monkeypatch.context() as patch:
        patch.setattr(erasure.Erasure, "_letters", fails)
        assert await work(service) == "0 erased, 1 to go on with"
    receipt = await read(service, admin, order)
    assert (receipt["status"], receipt["failure"], receipt["stage"]) == ("waiting", "OSError", None)
    assert await work(service) == "0 erased", "it rests"
    await service.sql.execute("UPDATE erasures SET lease_until = now() WHERE holder IS NULL AND done_at IS NULL")
    assert await work(service) == "1 erased"
    receipt = await read(service, admin, order)
    assert (receipt["status"], receipt["failure"], receipt["tries"]) == ("done", None, 2)


async def test_who_is_stopped_gives_the_order_back(
    service: Service, admin: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    order = await ordered(service, admin, somebody())
    begun = asyncio.Event()

    async def waits(_: object) -> None:
        begun.set()
        await asyncio.Event().wait()

    with monkeypatch.context() as patch:
        patch.setattr(erasure.Erasure, "_letters", waits)
        task = asyncio.create_task(work(service))
        await begun.wait()
        await ending.ended(task)
    receipt = await read(service, admin, order)
    assert (receipt["status"], receipt["failure"]) == ("waiting", None)
    assert await work(service) == "1 erased"


async def test_admins_only_and_wrong_orders(service: Service, admin: str) -> None:
    order = await ordered(service, admin, somebody())
    for by, status in ((None, 401), (service.key, 403), (service.token("u-1", aud="milepost"), 403)):
        assert (await service.send({"userId": "x"}, PATH, by=by)).status == status
        assert (await service.get(PATH, by=by)).status == status
        assert (await service.get(f"{PATH}/{order['id']}", by=by)).status == status
    for body in ({}, {"userId": ""}, {"userId": "a\nb"}, {"userId": "x" * 129}, {"userId": 7}, {"userId": "a", "b": 1}):
        answer = await service.send(body, PATH, by=admin)
        assert (answer.status, answer.error["code"] in {"invalid_body", "invalid_id"}) == (422, True), body
    for name in ("x", "%00", str(uuid.UUID(int=0))):
        assert (await service.get(f"{PATH}/{name}", by=admin)).status == 404
    assert (await service.get(f"{PATH}?cursor=x", by=admin)).status == 400
    assert await work(service) == "1 erased"
