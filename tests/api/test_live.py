"""GET /v1/live: the state and then what changes, to whoever may hear it."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import AsyncExitStack
from itertools import pairwise

import aiohttp
import pytest

from api.live import audience
from api.live import routes as route
from db import keys, live, service_keys, stream
from db.settings import Settings
from tests.api.listening import Event, Stream, listening
from tests.api.listening import audience as audience_of
from tests.api.service import Service, running
from tests.api.telling import done, heard, partition, tell
from tests.worker.rig import until

SPENT = "milepost_http_seconds_sum"
pytestmark = pytest.mark.usefixtures("quiet", "all_leave")


async def test_the_state_and_then_what_changes_to_all_who_listen(service: Service, user: str, token: str) -> None:
    async with listening(service, by=token) as one, listening(service, query=f"?userId={user}") as two:
        for each in (one, two):
            (first,) = await each.state(1)
            assert (first.name, first.data["hasCreatedClip"], first.data["status"]["percentage"]) == (
                "onboarding",
                False,
                0,
            )
            assert each.response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
            assert each.response.headers["Cache-Control"] == "no-store"
            assert each.response.headers["X-Accel-Buffering"] == "no"
            assert 1000 <= each.retry <= 4000
        await done(service, user)
        for each in (one, two):
            event = await each.next()
            assert (event.name, event.data["hasCreatedClip"], event.id) == ("onboarding", True, each.last_id)


async def test_what_stands_already_comes_first(service: Service, user: str, token: str) -> None:
    course = {"title": "Go", "lessons": [{"id": f"{user}-1", "title": "One"}]}
    assert (await service.ask("PUT", f"/v1/courses/{user}", course)).status in {200, 201, 202}
    lesson = {"kind": "lesson.completed", "userId": user, "data": {"lessonId": f"{user}-1", "courseId": user}}
    assert (await service.send(lesson, Prefer="wait=10")).status == 200
    async with listening(service, by=token) as one:
        events = await one.state(3)
        assert [event.name for event in events] == ["onboarding", "progress", "certificate"]
        assert (events[1].data["courseId"], events[1].data["progress_percentage"]) == (user, 100)
        assert (events[2].data["courseTitle"], events[2].data["status"]) == ("Go", "valid")


async def test_a_listener_comes_back_and_is_sent_what_it_missed(service: Service, user: str, token: str) -> None:
    async with listening(service, by=token) as one:
        await one.state(1)
        await tell(service, user, 1, 2)
        assert await heard(one, 2) == [1, 2]
        last = one.last_id
    await tell(service, user, 3, 4)
    async with listening(service, by=token, Last_Event_ID=last) as one:
        assert [(await one.next()).data["n"] for _ in range(2)] == [3, 4]
        await tell(service, user, 5)
        assert (await one.next()).data["n"] == 5
    async with listening(service, by=token, query=f"?lastEventId={last}") as one:
        assert [(await one.next()).data["n"] for _ in range(3)] == [3, 4, 5]


async def test_one_who_was_away_for_long_begins_anew(service: Service, user: str, token: str) -> None:
    name = keys.live(partition(service, user), f"user:{user}")
    async with listening(service, by=token) as one:
        await one.state(1)
        await tell(service, user, 1)
        assert await heard(one, 1) == [1]
        newest = trimmed = one.last_id
    await tell(service, user, *range(300))
    assert await service.redis.xlen(name) < 200
    for last in (trimmed, "0-0", "nonsense", "1-1_2-2", "9" * 400, "-", "_", "1763712000000-0"):
        async with listening(service, by=token, Last_Event_ID=last) as one:
            assert [event.name for event in await one.state(1)] == ["onboarding"]
            newest = one.last_id
    await service.redis.delete(name)
    async with listening(service, by=token, Last_Event_ID=newest) as one:
        assert [event.name for event in await one.state(1)] == ["onboarding"]
        await tell(service, user, 7)
        assert await heard(one, 1) == [7]


async def test_two_subjects_in_one_stream(service: Service, user: str) -> None:
    org = uuid.uuid4().hex
    token = service.token(user, aud="milepost", org_id=org)
    place = stream.partition_of(f"org:{org}", service.settings.partitions)

    async def tell_org(number: int) -> None:
        await live.publish(service.redis, place, [(f"org:{org}", "referral", b'{"n":%d}' % number)])

    async with listening(service, by=token) as one:
        await one.state(3, usage=True)
        ids: list[tuple[stream.Position, ...]] = []
        for number in range(6):
            await (tell_org(number) if number % 2 else tell(service, user, number))
            event = await one.next()
            assert event.data["n"] == number
            ids.append(tuple(map(stream.Position.parse, event.id.split("_"))))
        assert ids == sorted(set(ids))
        assert all(a <= b for before, after in pairwise(ids) for a, b in zip(before, after, strict=True))
        last = one.last_id
    await tell(service, user, 6)
    await tell_org(7)
    async with listening(service, by=token, Last_Event_ID=last) as one:
        assert [(await one.next()).data["n"] for _ in range(2)] == [6, 7]
    await service.redis.delete(keys.live(place, f"org:{org}"))
    async with listening(service, by=token, Last_Event_ID=last) as one:
        assert (await one.next()).data["n"] == 6, "what is kept of the user"
        await one.state(0)
        await tell_org(8)
        assert (await one.next()).data["n"] == 8


async def test_who_may_listen_to_whom(service: Service, user: str, token: str) -> None:
    async def refused(path: str, by: str | None = "") -> tuple[int, str]:
        answer = await service.get(path, by=by)
        return answer.status, answer.error["code"]

    assert await refused(f"/v1/live?userId={user}2", token) == (403, "forbidden_subject")
    assert await refused("/v1/live?orgId=o", token) == (403, "forbidden_subject")
    assert await refused("/v1/live") == (422, "missing_subject")
    assert await refused("/v1/live?userId=%00") == (422, "invalid_id")
    assert await refused("/v1/live", None) == (401, "unauthorized")
    assert await refused("/v1/live?userId=u", await service.make_key("ingest")) == (403, "missing_scope")
    for query in ("", f"&userId={user}"):
        assert await refused(f"/v1/live?access_token={service.key}{query}", None) == (401, "invalid_key")
    assert await refused(f"/v1/live?access_token={token}x", None) == (401, "invalid_token")
    assert await refused(f"/v1/sessions/s?access_token={token}", None) == (401, "unauthorized"), "only here"
    async with service.client.get(f"/v1/live?access_token={token}") as response:
        assert (await Stream(response).state(1))[0].data["userId"] == user
        response.close()


@pytest.mark.parametrize("busy", [False, True])
async def test_a_token_that_expires_ends_its_stream(
    service: Service, user: str, busy: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    expires, tokens = int(time.time()) + 2, service.state.auth.tokens
    monkeypatch.setattr(tokens, "now", lambda: expires - 1)  # however long the beginning takes
    async with listening(service, by=service.token(user, aud="milepost", exp=expires)) as one:
        await one.state(1)
        monkeypatch.setattr(tokens, "now", time.time)
        while busy and (event := await _said(service, user, one)).name == "progress":
            assert event.data == {"n": 1, "fill": ""}
        event = event if busy else await one.next()
        assert (event.name, event.data["code"]) == ("closed", "token_expired")
        await one.ended()


async def _said(service: Service, user: str, one: Stream) -> Event:
    await tell(service, user, 1)
    return await one.next()


async def test_a_key_that_is_revoked_ends_its_stream(
    service: Service, user: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "HEARTBEAT_SECONDS", 0.1)
    key = await service.make_key("read")
    async with listening(service, by=key, query=f"?userId={user}") as one:
        await one.state(1)
        await service.sql.execute(
            "UPDATE service_keys SET revoked_at = now() WHERE hash = $1", service_keys.digest(key)
        )
        await service.redis.hset(keys.SERVICE_KEYS, f"revoked:{service_keys.digest(key)}", "1")  # type: ignore[misc]
        await service.redis.hdel(keys.SERVICE_KEYS, service_keys.digest(key))  # type: ignore[misc]
        event = await one.next()
        assert (event.name, event.data["code"]) == ("closed", "invalid_key")
        await one.ended()
        assert one.heartbeats > 0


async def test_so_many_streams_and_no_more(
    service: Service, user: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "HEARTBEAT_SECONDS", 3600.0)  # it is not a heartbeat that tells who has left
    async with AsyncExitStack() as stack:
        streams = [await stack.enter_async_context(listening(service, by=token)) for _ in range(audience.PER_SUBJECT)]
        for one in streams:
            await one.state(1)
        answer = await service.get("/v1/live", by=token)
        assert (answer.status, answer.error["code"]) == (429, "too_many_streams")
        assert int(answer.headers["Retry-After"]) > 0
        streams[0].response.close()

        async def another() -> bool:
            async with service.client.get("/v1/live", headers={"Authorization": f"Bearer {token}"}) as response:
                response.close()
                return response.status == 200

        await until(another, "a place is free")


async def test_a_process_holds_so_many_and_no_more(settings: Settings) -> None:
    one_only = settings.model_copy(update={"live_connections": 1})
    async with running(one_only) as service, listening(service, query="?userId=u") as one:
        await one.state(1)
        answer = await service.get("/v1/live?userId=v")
        assert (answer.status, answer.error["code"]) == (503, "streams_full")
        assert int(answer.headers["Retry-After"]) > 0


async def test_many(settings: Settings) -> None:
    async with running(settings) as service, aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        url = service.client.make_url("/v1/live")

        async def hear(number: int) -> int:
            query = {"userId": f"u{number % 40}"}
            async with session.get(url, params=query, headers={"Authorization": f"Bearer {service.key}"}) as response:
                one = Stream(response)
                await one.state(1)
                opened.release()
                (n,) = await heard(one, 1)
                response.close()
            return n

        opened = asyncio.Semaphore(0)
        tasks = [asyncio.create_task(hear(number)) for number in range(200)]
        for _ in tasks:
            await opened.acquire()
        assert len(audience_of(service)._listeners) == 200
        for number in range(40):
            await tell(service, f"u{number}", number)
        assert await asyncio.gather(*tasks) == [number % 40 for number in range(200)]

        async def empty() -> bool:
            return not audience_of(service)._listeners and not audience_of(service)._topics

        await until(empty, "all have left")


async def test_a_page_of_another_origin(settings: Settings) -> None:
    shop = "https://shop.example"
    allowing = settings.model_copy(update={"cors_origins": (shop,)})
    async with running(allowing) as service, listening(service, query="?userId=u", Origin=shop) as one:
        assert one.response.headers["Access-Control-Allow-Origin"] == shop


async def test_how_long_somebody_listens_is_no_time_of_ours(
    service: Service, user: str, token: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(route, "HEARTBEAT_SECONDS", 0.1)

    async def sample(name: str, labels: str = "") -> float:
        text = (await service.get("/metrics", by=None)).body.decode()
        return sum(float(line.split()[-1]) for line in text.splitlines() if line.startswith(name) and labels in line)

    left, spent = await sample("milepost_live_ended_total", "gone"), await sample(SPENT, '"/v1/live"')
    asked = time.monotonic()
    async with listening(service, by=token) as one:
        await one.state(1)
        opening = time.monotonic() - asked
        assert await sample("milepost_live_connections") == 1
        began, beats = time.monotonic(), one.heartbeats
        while time.monotonic() - began < 1 or one.heartbeats < beats + 2:
            await tell(service, user, 1)
            await heard(one, 1)

    async def counted() -> bool:
        return await sample("milepost_live_ended_total", "gone") == left + 1

    await until(counted, "it has left")
    assert await sample("milepost_live_connections") == 0
    assert await sample(SPENT, '"/v1/live"') - spent < opening


async def test_usage_as_it_is_and_as_it_changes(service: Service, user: str, token: str) -> None:
    """The same body as `current` has."""
    async with listening(service, by=token) as one:
        (first,) = [event for event in await one.state(2, usage=True) if event.name == "usage"]
        assert first.data["meters"]["DIAGRAM_UPLOAD"]["used"] == 0
        answer = await service.send({"action": "DIAGRAM_UPLOAD"}, "/v1/usage/consume", by=token)
        assert answer.status == 200
        changed = await one.next("usage")
        assert changed.data["meters"]["DIAGRAM_UPLOAD"]["used"] == 1
        assert changed.data == (await service.get("/v1/usage/current", by=token)).body
