"""Reading a session: one's own writes, one's own sessions, never something older than what was known."""

from __future__ import annotations

import asyncio
import time
import uuid
from datetime import UTC, datetime, timedelta
from typing import Any

import asyncpg
import pytest

from api import reads, sessions
from db import connect, ending, keys, stream
from db.settings import Settings
from jobs.tracking.states import AUTO
from tests.api.service import Service, _drain, running
from worker import batch
from worker.batch import Cursor

pytestmark = pytest.mark.usefixtures("quiet")


def click(session: str, **fields: Any) -> dict[str, Any]:
    data = {"eventType": "click", "category": "frame"}
    return {"kind": "interaction.recorded", "sessionId": session, "data": data, **fields}


async def test_what_was_written_is_read(service: Service) -> None:
    session, answer = uuid.uuid4().hex, None
    for number in range(1, 6):
        sent = await service.send(click(session, userId="u", at=f"2026-11-21T08:00:0{number}Z"))
        answer = await service.get(f"/v1/sessions/{session}?after={sent.body['position']}")
        assert answer.status == 200
        assert "Milepost-Stale" not in answer.headers
        assert answer.body["interactions"] == number
    assert answer is not None
    expected = {"sessionId": session, "subject": f"session:{session}", "userId": "u", "lastCategory": "frame"}
    assert answer.body.items() >= expected.items()
    assert answer.body["at"] == "2026-11-21T08:00:01Z"
    assert answer.body["lastAt"] == "2026-11-21T08:00:05Z"


async def test_a_session_that_we_opened(service: Service) -> None:
    visitor = "v" * 128
    sent = await service.send({"kind": "page.viewed", "anonymousId": visitor}, Prefer="wait=10")
    session = sent.body["results"][0]["outcome"]["sessionId"]
    assert session.startswith(AUTO)
    answer = await service.get(f"/v1/sessions/{session}")
    assert (answer.status, answer.body["pageViews"], answer.body["anonymousId"]) == (200, 1, visitor)


@pytest.mark.parametrize(
    "position",
    [
        *(
            "",
            "1",
            "1.",
            ".1-0",
            "x.1-0",
            "1.x-0",
            "1.1",
            "1.1-",
            "4.1-0",
            "-1.1-0",
            "1.-1-0",
            "1.1-0,",
            "1.1-0,,2.1-0",
        ),
        *("1.1-0;2.1-0", "%C2%B2.1-0", "1.%D9%A1-0", "1.1-0%00", "9" * 5000 + ".1-0", "1." + "9" * 21 + "-0", "+1.1-0"),
    ],
)
async def test_positions_that_are_none(service: Service, position: str) -> None:
    answer = await service.get(f"/v1/sessions/s?after={position}")
    assert (answer.status, answer.error["code"]) == (400, "invalid_position")
    assert answer.error["details"] == {"path": "after"}
    assert answer.error["message"].startswith("a position looks like")


async def test_a_position_of_the_future(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reads, "AFTER_SECONDS", 0.2)
    session = uuid.uuid4().hex
    await service.send(click(session), Prefer="wait=10")
    for future in ("0." + "9" * 20 + "-0", f"0.{int(time.time() * 1000) + 10**6}-0,1.0-0"):
        started = time.monotonic()
        answer = await service.get(f"/v1/sessions/{session}?after={future}")
        assert 0.2 <= time.monotonic() - started < 10
        assert (answer.status, answer.headers["Milepost-Stale"], answer.body["interactions"]) == (200, "true", 1)


async def test_what_is_not_there(service: Service) -> None:
    answer = await service.get(f"/v1/sessions/{uuid.uuid4().hex}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


@pytest.mark.parametrize(
    "odd",
    [
        "%00",
        "a%00b",
        "%0A",
        "%C2%85",
        "%ED%A0%80",
        "%FF",
        "x" * 4000,
        "a%2Fb",
        "%2E%2E",
        "auto:",
        "auto:x",
        "%F0%9F%98%80",
    ],
)
async def test_odd_ids(service: Service, odd: str) -> None:
    answer = await service.get(f"/v1/sessions/{odd}")
    assert (answer.status, answer.error["code"]) == (404, "not_found")


async def test_a_user_learns_nothing_of_others(service: Service) -> None:
    me, session = (
        service.token("me", aud="milepost"),
        {name: uuid.uuid4().hex for name in ("mine", "theirs", "nobodys")},
    )
    await service.send(click(session["mine"]), by=me, Prefer="wait=10")
    await service.send(click(session["theirs"], userId="somebody"), Prefer="wait=10")
    await service.send(click(session["nobodys"]), Prefer="wait=10")
    assert (await service.get(f"/v1/sessions/{session['mine']}", by=me)).status == 200
    refused = [
        await service.get(f"/v1/sessions/{one}", by=me)
        for one in (session["theirs"], session["nobodys"], uuid.uuid4().hex, "%00", f"{AUTO}user:somebody@1")
    ]
    assert {answer.status for answer in refused} == {403}
    assert all(answer.body == refused[0].body for answer in refused)
    assert {frozenset(answer.headers) for answer in refused} == {frozenset(refused[0].headers)}


async def test_a_session_stays_with_the_user_who_came_first(service: Service) -> None:
    session = uuid.uuid4().hex
    await service.send(click(session, userId="owner"), Prefer="wait=10")
    thief = service.token("thief", aud="milepost")
    for at in ("2026-11-01T08:00:00Z", "2026-11-21T23:00:00Z", None):
        stolen = await service.send(click(session, **({} if at is None else {"at": at})), by=thief, Prefer="wait=10")
        assert stolen.status == 200
    assert (await service.get(f"/v1/sessions/{session}", by=thief)).status == 403
    held = await service.get(f"/v1/sessions/{session}")
    assert (held.body["userId"], held.body["interactions"]) == ("owner", 4)


async def test_a_slow_read_never_undoes_a_newer_write(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    session, loaded, go_on = uuid.uuid4().hex, asyncio.Event(), asyncio.Event()
    await service.send(click(session), Prefer="wait=10")
    await service.redis.delete(_model(service, session))
    load = sessions._load

    async def slow(conn: asyncpg.Connection, session_id: str) -> bytes | None:
        found = await load(conn, session_id)
        loaded.set()
        await go_on.wait()
        return found

    monkeypatch.setattr(sessions, "_load", slow)
    reading = asyncio.create_task(service.get(f"/v1/sessions/{session}"))
    await loaded.wait()
    sent = await service.send(click(session))
    await service.settle(sent)
    # The worker has written the newer model; without it, only the position stands in the way of the old one.
    await service.redis.delete(_model(service, session))
    go_on.set()
    assert (await reading).body["interactions"] == 1, "what was true when it was asked"
    monkeypatch.setattr(sessions, "_load", load)
    assert (await service.get(f"/v1/sessions/{session}")).body["interactions"] == 2


def _model(service: Service, session: str) -> str:
    partition = stream.partition_of(f"session:{session}", service.settings.partitions)
    return keys.model(partition, f"session:{session}")


async def test_what_a_worker_left_behind_between_commit_and_cache_is_mended(settings: Settings) -> None:
    server, session = connect.Server(), uuid.uuid4().hex
    cursor = Cursor(stream.partition_of(f"session:{session}", settings.partitions), 100)
    async with running(settings) as service, connect.redis(settings.log_url, server=server) as client:

        async def commit() -> None:
            await service.send(click(session))
            async with service.sql.acquire() as conn:
                done = await batch.run(conn, client, server, cursor, 7)
            assert done is not None
            assert len(done.items) == 1
            cursor.keep(done)

        await client.ping()
        await commit()
        assert (await service.get(f"/v1/sessions/{session}")).body["interactions"] == 1
        await commit()  # and it dies before step 8
        assert (await service.get(f"/v1/sessions/{session}")).body["interactions"] == 1, "the cache knows no better"
        task = await _drain(settings)
        try:
            await service.settle(await service.send(click(session)))
            assert (await service.get(f"/v1/sessions/{session}")).body["interactions"] == 3
        finally:
            await ending.ended(task)


async def test_waiting_for_the_outcome(service: Service) -> None:
    session = uuid.uuid4().hex
    actions = [click(session, id="1"), {"kind": "nope", "id": "2"}, click(session, id="3"), click(session, id="1")]
    answer = await service.send({"actions": actions}, Prefer="respond-async, wait=10")
    assert answer.status == 200
    assert [one["index"] for one in answer.body["rejected"]] == [1]
    outcome = {"sessionId": session}
    assert answer.body["results"] == [
        {"id": "1", "outcome": outcome, "duplicate": False},
        {"id": "3", "outcome": outcome, "duplicate": False},
        {"id": "1", "outcome": outcome, "duplicate": True},
    ]
    again = await service.send(click(session, id="1"), Prefer='wait="5"')
    assert again.body["results"] == [{"id": "1", "outcome": outcome, "duplicate": True}]
    assert await service.ids(session) == {"1", "3"}


async def test_a_retry_without_a_session_gets_the_first_answer(service: Service) -> None:
    now, visitor = datetime.now(UTC), uuid.uuid4().hex
    first = {"kind": "page.viewed", "anonymousId": visitor, "id": "r", "at": (now - timedelta(hours=2)).isoformat()}
    one = await service.send(first, Prefer="wait=10")
    two = await service.send(first | {"at": now.isoformat()}, Prefer="wait=10")
    assert two.body["results"] == [one.body["results"][0] | {"duplicate": True}]


@pytest.mark.parametrize("prefer", ["wait", "wait=", "wait=0", "wait=-1", "wait=x", "await=5", "wait=99999", "a=b"])
async def test_preferences_that_are_not_ours(service: Service, prefer: str) -> None:
    answer = await service.send(click("s"), Prefer=prefer)
    assert (answer.status, "results" in answer.body) == (202, False)


async def test_nobody_applies(settings: Settings) -> None:
    async with running(settings) as service:
        started = time.monotonic()
        answer = await service.send(click("s"), Prefer="wait=1")
        assert 1 <= time.monotonic() - started < 15
        assert (answer.status, "results" in answer.body) == (202, False)
        assert service.state.waiting._outcomes == {}, "nobody waits any more"
        ready = await service.get("/readyz", by=None)
        assert (ready.status, ready.body["checks"]) == (503, {"log": True, "drain": False})
        assert int(ready.headers["Retry-After"]) > 0
        assert (await service.get("/livez", by=None)).status == 200
