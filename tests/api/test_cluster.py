"""The whole pipe on a cluster of three servers: what it can do, and that nothing is lost or doubled in its troubles."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from db import keys, slots, stream
from db.settings import Settings
from jobs import status
from tests import nodes
from tests.api.listening import listening
from tests.api.service import Service, running
from tests.nodes import Node, Nodes, until

PARTITIONS = 8


@pytest.fixture(scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Nodes]:
    async with nodes.running(tmp_path_factory.mktemp("cluster")) as made:
        yield made


@pytest.fixture
async def clustered(settings: Settings, cluster: Nodes) -> AsyncIterator[Settings]:
    """The log on the cluster, arq on a plain Redis."""
    changes = {"stream_url": cluster.url, "partitions": PARTITIONS, "durability": "fsync"}
    yield settings.model_copy(update=changes)
    for node in cluster.nodes:
        await node.client.flushall()


class Crowd:
    """Sessions that go on clicking, each action again under its id until it is accepted."""

    def __init__(self, service: Service, number: int) -> None:
        self.service = service
        self.sessions = [uuid.uuid4().hex for _ in range(number)]
        self.sent: list[tuple[str, str]] = []
        self.statuses: Counter[int] = Counter()
        self._over = asyncio.Event()

    @contextmanager
    def clicking(self) -> Iterator[None]:
        """While the block lasts; await `done` afterwards."""
        self._tasks = [asyncio.create_task(self._click(session)) for session in self.sessions]
        self._tasks.append(asyncio.create_task(self._batches()))
        try:
            yield
        finally:
            self._over.set()

    async def more(self, number: int) -> None:
        """Wait until so many more were accepted."""
        wanted = len(self.sent) + number
        await until(lambda: self._has(wanted))

    async def done(self) -> None:
        """Everything that was sent is accepted, and was applied once; states say the same."""
        await asyncio.gather(*self._tasks)
        held = dict(Counter(session for session, _ in self.sent))
        await until(lambda: self._is_applied(len(self.sent)))
        rows = await self.service.sql.fetch("SELECT session_id, id FROM interaction_events")
        assert sorted(map(tuple, rows)) == sorted(self.sent)
        rows = await self.service.sql.fetch("SELECT session_id, interactions FROM user_sessions")
        assert dict(map(tuple, rows)) == held

    async def _has(self, number: int) -> bool:
        return len(self.sent) >= number

    async def _is_applied(self, number: int) -> bool:
        if await self.service.sql.fetchval("SELECT count(*) FROM interaction_events") < number:
            return False
        held = await asyncio.gather(
            *(self.service.redis.xlen(keys.actions(number)) for number in range(PARTITIONS)), return_exceptions=True
        )
        return not any(held)

    async def _click(self, session: str) -> None:
        while not self._over.is_set():
            await self._send([session])

    async def _batches(self) -> None:
        """One action for each session at once, over all nodes."""
        while not self._over.is_set():
            await self._send(self.sessions)

    async def _send(self, sessions: list[str]) -> None:
        body = [click(session) for session in sessions]
        while True:
            answer = await self.service.send({"actions": body})
            self.statuses[answer.status] += 1
            if answer.status == 202:
                assert answer.body["accepted"] == len(body)
                self.sent += [(one["sessionId"], one["id"]) for one in body]
                return
            assert answer.status == 503, answer.body
            await asyncio.sleep(0.05)


def click(session: str) -> dict[str, Any]:
    """An interaction with an id of its own."""
    data = {"eventType": "click", "category": "frame"}
    return {"kind": "interaction.recorded", "id": uuid.uuid4().hex, "sessionId": session, "data": data}


async def test_the_whole_pipe(clustered: Settings, cluster: Nodes) -> None:
    changed = clustered.model_copy(update={"rate_limit_read": "3/minute"})
    async with running(changed, draining=True) as service:
        sessions = [f"s-{number}" for number in range(40)]
        assert {stream.partition_of(f"session:{one}", PARTITIONS) for one in sessions} == set(range(PARTITIONS))
        answer = await service.send({"actions": [click(one) for one in sessions]})
        assert (answer.status, answer.body.get("accepted")) == (202, 40), answer.body
        assert len(answer.body["position"].split(",")) == PARTITIONS
        read = await service.get(f"/v1/sessions/{sessions[0]}?after={answer.body['position']}")
        assert (read.status, read.body["interactions"], read.headers.get("Milepost-Stale")) == (200, 1, None)
        await until(lambda: _holds(service, sessions[0]))
        waited = await service.send({"actions": [click(one) for one in sessions]}, Prefer="wait=10")
        assert (waited.status, len(waited.body["results"])) == (200, 40), waited.body
        read = await service.get(f"/v1/sessions/{sessions[0]}")
        assert read.body["interactions"] == 2
        user = uuid.uuid4().hex
        token = service.token(user)
        async with listening(service, by=token) as heard:
            await heard.state(1)
            step = {"action": "created_clip", "projectId": "p", "userId": user}
            done = await service.send(step, "/v1/onboarding/progress/update?wait=10")
            assert (done.status, done.body["success"]) == (200, True)
            assert (await heard.next("onboarding")).data["hasCreatedClip"]
        used = [
            await service.send({"action": "DIAGRAM_UPLOAD", "quantity": 1}, "/v1/usage/consume?wait=10", by=token)
            for _ in range(30)
        ]
        assert {one.status for one in used} == {200, 429}
        other = service.token(uuid.uuid4().hex)
        limited = [(await service.get("/v1/onboarding/progress", by=other)).status for _ in range(4)]
        assert limited == [200, 200, 200, 429]
        for partition in range(PARTITIONS):
            await service.redis.xadd(keys.actions(partition), {"b": b"no messagepack"})
        await until(lambda: _buried(service, PARTITIONS))
        assert (await service.get("/readyz")).status == 200
        assert b"milepost_backlog_bytes" in (await service.get("/metrics")).body
        found = await status.read(changed)
        assert (found.redis, len(found.partitions)) == ("ok", PARTITIONS)
    for node in cluster.nodes:
        assert await node.client.dbsize() > 0, "each has its part"


async def _holds(service: Service, session: str) -> bool:
    partition = stream.partition_of(f"session:{session}", PARTITIONS)
    return bool(await service.redis.get(keys.model(partition, f"session:{session}")))


async def _buried(service: Service, number: int) -> bool:
    found = await service.sql.fetchval("SELECT count(*) FROM dead_letters WHERE code = 'undecodable'")
    return bool(found == number)


async def test_a_master_that_is_killed_and_comes_back(clustered: Settings, cluster: Nodes) -> None:
    """Its partitions are answered 503 meanwhile, the others go on; nothing accepted is lost, nothing doubled."""
    async with running(clustered, draining=True) as service:
        crowd = Crowd(service, 16)
        gone = await cluster.owner(slots.of_partition(0))
        with crowd.clicking():
            await crowd.more(200)
            gone.kill()
            await crowd.more(100)
            gone.start()
            await gone.answers()
            await cluster.settled()
            await crowd.more(200)
        await crowd.done()
        assert set(crowd.statuses) == {202, 503}


async def test_a_replica_that_takes_over(settings: Settings, tmp_path: Path) -> None:
    """With durability replica it has all that was accepted; the master that comes back is its replica then."""
    async with nodes.running(tmp_path, replicas=True) as cluster:
        changes = {"stream_url": cluster.url, "partitions": PARTITIONS, "durability": "replica"}
        async with running(settings.model_copy(update=changes), draining=True) as service:
            crowd = Crowd(service, 16)
            slot = slots.of_partition(0)
            gone = await cluster.owner(slot)
            with crowd.clicking():
                await crowd.more(100)
                gone.kill()
                await until(lambda: _is_led_by_another(cluster, slot, gone))
                gone.start()
                await gone.answers()
                await cluster.settled()
                await crowd.more(200)
            await crowd.done()
            assert gone is not await cluster.owner(slot)


async def _is_led_by_another(cluster: Nodes, slot: int, gone: Node) -> bool:
    return await cluster.owner(slot) is not gone


async def test_slots_that_move_under_load(clustered: Settings, cluster: Nodes) -> None:
    """Every partition goes to the next node and back; nobody is told no."""
    async with running(clustered, draining=True) as service:
        crowd = Crowd(service, 16)
        with crowd.clicking():
            await crowd.more(100)
            for number, partition in itertools.product(range(2), range(PARTITIONS)):
                slot = slots.of_partition(partition)
                at = cluster.nodes.index(await cluster.owner(slot))
                await cluster.move(slot, cluster.nodes[(at + (1 if number == 0 else -1)) % len(cluster.nodes)])
                await crowd.more(20)
        await crowd.done()
        assert set(crowd.statuses) == {202}
