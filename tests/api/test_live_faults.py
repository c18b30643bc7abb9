"""Streams when something is lost, slow, away or ends: nobody misses a change, nobody is left behind."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from aiohttp.test_utils import TestClient, TestServer

from api import app
from api.live import audience, listener
from db import connect, ending, keys, live, models, partitions
from db.settings import Settings
from db.stream import Position
from tests.api.listening import Stream, listening
from tests.api.listening import audience as audience_of
from tests.api.service import Service, _drain, running
from tests.api.telling import done, heard, partition, tell
from tests.db.test_appending import ready, valkey
from tests.worker.rig import until
from worker import batch
from worker.batch import Cursor

pytestmark = pytest.mark.usefixtures("quiet", "all_leave")


async def test_nothing_is_kept_for_nobody(service: Service, user: str, token: str) -> None:
    place, name = partition(service, user), keys.live(partition(service, user), f"user:{user}")
    await done(service, user)
    assert not await service.redis.exists(name)
    async with listening(service, by=token) as one:
        await one.state(1)
        await done(service, user, "added_subtitles")
        assert (await one.next()).data["hasAddedSubtitles"] is True
        assert 0 < await service.redis.ttl(name) <= live.KEPT_SECONDS
        assert 0 < await service.redis.ttl(keys.listened(place)) <= live.KEPT_SECONDS
    await done(service, user, "reframed_video")
    async with listening(service, by=token, Last_Event_ID=one.last_id) as one:
        assert (await one.next()).data["hasReframedVideo"] is True, "it was expected back"


async def test_a_message_that_is_lost_is_made_up_for(service: Service, user: str, token: str) -> None:
    name = keys.live(partition(service, user), f"user:{user}")
    async with listening(service, by=token) as one:
        await one.state(1)
        await service.redis.xadd(name, {"event": "progress", "body": b'{"n":1}'})
        assert await heard(one, 1) == [1]
        await service.redis.flushdb()
        assert [event.name for event in await one.state(1)] == ["onboarding"], "what Redis lost may have been news"
        await partitions.agree(service.sql, service.redis, service.settings.partitions)
        await done(service, user)
        assert (await one.next()).data["hasCreatedClip"] is True


@pytest.mark.parametrize("keeps", [True, False], ids=["kept", "lost"])
async def test_redis_goes_away_and_comes_back(settings: Settings, tmp_path: Path, keeps: bool) -> None:
    words = ("--appendonly", "yes" if keeps else "no")
    async with AsyncExitStack() as stack:
        with valkey(tmp_path / "one", *words) as url:
            client = await ready(url)
            own = settings.model_copy(update={"redis_url": url})
            service = await stack.enter_async_context(running(own, draining=True))
            one = await stack.enter_async_context(listening(service, query="?userId=u"))
            await one.state(1)
            await done(service, "u")
            assert (await one.next()).data["hasCreatedClip"] is True
            last = one.last_id
            await client.shutdown(nosave=True)
            await client.aclose()
        port = url.rsplit(":", 1)[1].removesuffix("/0")
        with valkey(tmp_path / "one", *words, "--port", port):
            client = await ready(url)
            await client.aclose()
            if not keeps:
                assert [event.name for event in await one.state(1)] == ["onboarding"]

            async def works() -> bool:
                body = {"action": "added_subtitles", "projectId": "p", "userId": "u", "id": "again"}
                return (await service.send(body, "/v1/onboarding/progress/update?wait=10")).status == 200

            await until(works, "it takes and applies again")
            while not (await one.next("onboarding")).data["hasAddedSubtitles"]:
                pass
            if one.last_id == last:
                await one.state(0)  # it was read as a state, whose id comes at its end
            assert one.last_id > last
            await stack.aclose()


@pytest.mark.parametrize("renumbered", [False, True], ids=["", "and Redis is another"])
async def test_a_worker_that_dies_behind_its_commit(settings: Settings, renumbered: bool) -> None:
    server = connect.Server()
    async with running(settings) as service, connect.redis(settings.log_url, server=server) as client:
        await client.ping()
        async with listening(service, query="?userId=u") as one:
            await one.state(1)
            body = {"action": "created_clip", "projectId": "p", "userId": "u"}
            assert (await service.send(body, "/v1/onboarding/progress/update?wait=0")).status == 202
            cursor = Cursor(partition(service, "u"), 100)
            async with service.sql.acquire() as conn:
                committed = await batch.run(conn, client, server, cursor, 7)
            assert committed is not None
            assert [told.event for told in committed.live] == ["onboarding"]
            if renumbered:
                await client.set(keys.generation(cursor.partition), "another")
            task = await _drain(settings)
            try:
                assert (await one.state(1))[0].data["hasCreatedClip"] is True
            finally:
                await ending.ended(task)


async def test_who_begins_to_listen_while_a_worker_publishes_is_told_with_the_change_itself(service: Service) -> None:
    """The worker looked who listens before they did; whatever it does behind the change may never happen."""
    ways: tuple[Any, ...] = (models.publish, models.forget)
    for number, publish in enumerate(ways):
        here, there = f"user:{uuid.uuid4()}", f"user:{uuid.uuid4()}"
        place, at = 0, Position(int(time.time() * 1000) + number, 0)
        generation = f"{(await service.redis.get(keys.generation(place)) or b'').decode()}/{await run_id(service)}"
        (before,) = await live.keep(service.redis, [(place, here)])
        rest: Any = ({"m": b"new"}, {}, ()) if publish is models.publish else (["m"],)
        await publish(service.redis, place, generation, at, *rest, {here, there})
        assert await service.redis.get(keys.model(place, "m")) == (b"new" if publish is models.publish else None)
        (entries,) = await live.since(service.redis, [(place, here, before)])
        assert entries is not None
        assert [entry.event for entry in entries] == [live.AGAIN]
        assert not await service.redis.exists(keys.live(place, there))


async def run_id(service: Service) -> str:
    """Of the Redis server."""
    found: str = (await service.redis.info("server"))["run_id"]
    return found


async def test_who_reads_too_slowly_is_cut_off_and_comes_back(service: Service, user: str, token: str) -> None:
    async with listening(service, by=token) as quick:
        await quick.state(1)
        url = service.client.make_url("/v1/live")
        reader, writer = await asyncio.open_connection(url.host, url.port, limit=1024)
        writer.write(f"GET /v1/live HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\r\n".encode())
        assert b"200" in await reader.readline()
        slow = next(iter(audience_of(service)._listeners - {_of(service, quick)}))
        ids = []
        for number in range(60):  # the sockets of both sides hold some megabytes
            await tell(service, user, number, size=200_000)
            assert await heard(quick, 1) == [number]
            ids.append(quick.last_id)
            if slow.ended:
                break
        assert slow.ended == "slow"
        writer.transport.abort()

    async with listening(service, by=token, Last_Event_ID=ids[0]) as one:
        assert await heard(one, len(ids) - 1) == list(range(1, len(ids)))


def _of(service: Service, one: Stream) -> listener.Listener:
    connection = one.response.connection
    assert connection is not None
    assert connection.transport is not None
    port = connection.transport.get_extra_info("sockname")[1]
    return next(
        each
        for each in audience_of(service)._listeners
        if (each._request.transport or pytest.fail("it is gone")).get_extra_info("peername")[1] == port
    )


async def test_a_stop_ends_streams_at_once(settings: Settings) -> None:
    """Those that wait, and one whose reader has stopped reading."""
    async with running(settings) as service:
        server = TestServer(app.make(settings))
        async with TestClient(server) as client:
            other = Service(settings, client, service.sql, service.redis, service.key)
            async with AsyncExitStack() as stack:
                streams = [await stack.enter_async_context(listening(other, query="?userId=u")) for _ in range(5)]
                for one in streams:
                    await one.state(1)
                _, writer = await asyncio.open_connection(server.host, server.port, limit=1024)
                head = f"GET /v1/live?userId=u HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {service.key}\r\n\r\n"
                writer.write(head.encode())
                stuck = audience_of(other)

                async def writes() -> bool:
                    await tell(service, "u", 0, size=300_000)
                    for one in streams:
                        await heard(one, 1)
                    return any(each.writing for each in stuck._listeners)

                await until(writes, "one hangs")
                began = time.monotonic()
                await server.close()
                assert time.monotonic() - began < 15
                for one in streams:
                    await one.ended()
                writer.transport.abort()


async def test_a_stop_while_a_state_is_being_read(service: Service) -> None:
    go = asyncio.Event()

    async def state(_: str) -> list[bytes]:
        await go.wait()
        return []

    one = audience.Audience(service.redis, service.settings.partitions, 10, state)
    one.start()
    topic = audience.Topic("user:u", 0)
    one._restore(topic)
    assert topic.lost
    go.set()
    await one.stop()
    assert all(task.done() for task in one._tasks)
